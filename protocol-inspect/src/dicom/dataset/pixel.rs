//! Pixel data: fragments of encapsulated images (PS3.5 A.4), and how long a native image is (PS3.3 C.7.6.3).
//!
//! Nothing is decoded.

use dicom_core::Tag;
use dicom_core::header::VR;

use super::super::fault::refusal;
use super::Walker;
use super::header::{Header, UNDEFINED};
use super::judges::Element;
use crate::{Reason, Refusal};

impl Walker {
    pub(super) fn on_fragment(&mut self, header: Header) -> Result<(), Refusal> {
        let length = header.length;
        if length == UNDEFINED {
            let detail = "is a fragment of undefined length";
            return Err(self.fault(header.tag, Reason::Structure, detail));
        }
        self.even_end(header)?;
        let Some(fragments) = self.levels.last_mut() else {
            return Ok(());
        };
        let number = fragments.items;
        let is_offset_table = number == 0;
        fragments.items = number.saturating_add(1);
        if is_offset_table && !length.is_multiple_of(4) {
            let detail = "is a basic offset table that is not a whole number of offsets";
            return Err(self.fault(header.tag, Reason::Structure, detail));
        }
        let (judges, mut tell) = self.judging();
        judges.fragment(number, length, &mut tell)?;
        self.begin_value(header.tag, VR::OB, None, length)
    }

    pub(super) fn end_fragments(&mut self, header: Header) -> Result<(), Refusal> {
        if header.length != 0 {
            let detail = "is a delimiter with a length";
            return Err(self.fault(header.tag, Reason::Structure, detail));
        }
        let items = self.levels.last().map_or(0, |level| level.items);
        if items < 2 {
            let detail = "has no offset table or no fragment";
            let location = super::nesting::name(super::PIXEL_DATA);
            return Err(refusal(Reason::Structure, location, detail));
        }
        self.pop_level(self.header_at)
    }
}

/// What the image says of its size.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Geometry {
    samples: Option<u16>,
    subsampling: Subsampling,
    frames: Option<u64>,
    rows: Option<u16>,
    columns: Option<u16>,
    bits: Option<u16>,
}

/// How many of the samples are left out by the photometric interpretation.
#[derive(Clone, Copy, Debug, Default)]
enum Subsampling {
    #[default]
    None,
    /// YBR_FULL_422, YBR_PARTIAL_422: two samples instead of three.
    Third,
    /// YBR_PARTIAL_420: one and a half instead of three.
    Half,
}

impl Geometry {
    pub(super) fn element(&mut self, element: &Element<'_>) {
        if element.depth == 0
            && let Some(learned) = self.learn(element.tag, element.value, element.big_endian)
        {
            *self = learned;
        }
    }

    /// With this value; `None` if it says nothing about the geometry.
    fn learn(self, tag: Tag, value: &[u8], big_endian: bool) -> Option<Self> {
        let number = || match *value {
            [a, b] if big_endian => Some(u16::from_be_bytes([a, b])),
            [a, b] => Some(u16::from_le_bytes([a, b])),
            _ => None,
        };
        let mut geometry = self;
        match tag {
            SAMPLES => geometry.samples = number(),
            ROWS => geometry.rows = number(),
            COLUMNS => geometry.columns = number(),
            BITS => geometry.bits = number(),
            FRAMES => {
                let text = std::str::from_utf8(value.trim_ascii()).ok()?;
                geometry.frames = text.trim_end_matches('\0').parse().ok();
            }
            PHOTOMETRIC => {
                geometry.subsampling = match value.trim_ascii() {
                    b"YBR_FULL_422" | b"YBR_PARTIAL_422" => Subsampling::Third,
                    b"YBR_PARTIAL_420" => Subsampling::Half,
                    _ => Subsampling::None,
                };
            }
            _ => return None,
        }
        Some(geometry)
    }

    /// The length of native pixel data, padded to even; `None` if the image does not say enough.
    pub(super) fn native_length(self) -> Option<u64> {
        let pixels = u64::from(self.rows?)
            .checked_mul(u64::from(self.columns?))?
            .checked_mul(self.frames.unwrap_or(1))?;
        let samples = pixels.checked_mul(u64::from(self.samples.unwrap_or(1)))?;
        let samples = match self.subsampling {
            Subsampling::None => samples,
            Subsampling::Third => pixels.checked_mul(2)?,
            Subsampling::Half => pixels.checked_mul(3)?.div_ceil(2),
        };
        let bytes = samples.checked_mul(u64::from(self.bits?))?.div_ceil(8);
        bytes.checked_next_multiple_of(2)
    }
}

const SAMPLES: Tag = Tag(0x0028, 0x0002);
const PHOTOMETRIC: Tag = Tag(0x0028, 0x0004);
const FRAMES: Tag = Tag(0x0028, 0x0008);
const ROWS: Tag = Tag(0x0028, 0x0010);
const COLUMNS: Tag = Tag(0x0028, 0x0011);
const BITS: Tag = Tag(0x0028, 0x0100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_length_of_images() {
        let image = |samples: u16, photometric: &[u8], bits: u16, frames: &[u8]| {
            let mut geometry = Geometry::default();
            for (tag, value) in [
                (SAMPLES, samples.to_le_bytes().to_vec()),
                (PHOTOMETRIC, photometric.to_vec()),
                (FRAMES, frames.to_vec()),
                (ROWS, 5_u16.to_le_bytes().to_vec()),
                (COLUMNS, 3_u16.to_le_bytes().to_vec()),
                (BITS, bits.to_le_bytes().to_vec()),
            ] {
                geometry = geometry.learn(tag, &value, false).unwrap();
            }
            geometry.native_length()
        };
        assert_eq!(image(1, b"MONOCHROME2 ", 16, b"1 "), Some(30));
        assert_eq!(image(1, b"MONOCHROME2 ", 8, b"1 "), Some(16));
        assert_eq!(image(1, b"MONOCHROME2 ", 1, b"2 "), Some(4));
        assert_eq!(image(3, b"RGB ", 8, b"2 "), Some(90));
        assert_eq!(image(3, b"YBR_FULL_422", 8, b"1 "), Some(30));
        assert_eq!(Geometry::default().native_length(), None);
    }
}

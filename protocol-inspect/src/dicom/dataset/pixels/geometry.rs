//! What an image says of its pixels, and whether it can be so (PS3.3 C.7.6.3, PS3.5 8).
//!
//! In: the elements of group 0028 of one data set or item. Out: the length of native pixel data, and contradictions.
//! Knows nothing of the pixels themselves.

use dicom_core::Tag;

use super::super::super::transfer::Compression;
use super::Doubt;
use super::photometric::Photometric;
use crate::severity::Weight;

/// The description of one image, as far as it came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Image {
    pub(super) samples: Option<u16>,
    pub(super) rows: Option<u16>,
    pub(super) columns: Option<u16>,
    pub(super) allocated: Option<u16>,
    stored: Option<u16>,
    high: Option<u16>,
    representation: Option<u16>,
    planar: Option<u16>,
    photometric: Option<Photometric>,
    frames: Frames,
}

/// Number of Frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Frames {
    #[default]
    Absent,
    Number(u32),
    Wrong,
}

impl Image {
    /// Takes note of this value, if it is one of the description.
    pub(super) fn learn(&mut self, tag: Tag, value: &[u8], big_endian: bool) {
        let number = super::number(value, big_endian);
        match tag {
            SAMPLES => self.samples = number,
            ROWS => self.rows = number,
            COLUMNS => self.columns = number,
            ALLOCATED => self.allocated = number,
            STORED => self.stored = number,
            HIGH => self.high = number,
            REPRESENTATION => self.representation = number,
            PLANAR => self.planar = number,
            FRAMES => self.frames = Frames::read(value),
            PHOTOMETRIC => self.photometric = Photometric::read(value),
            _ => {}
        }
    }

    /// How many frames the pixel data must hold; `None` if it is no number.
    pub(super) fn frames(&self) -> Option<u32> {
        match self.frames {
            Frames::Absent => Some(1),
            Frames::Number(frames) => Some(frames),
            Frames::Wrong => None,
        }
    }

    /// The length of native pixel data, padded to even; `None` if the image does not say enough.
    pub(super) fn native_length(&self) -> Option<u128> {
        self.length_of(self.frames()?, self.allocated?)
    }

    /// The length of native pixel data whose colours are said to be subsampled, but are not: what decompression leaves.
    pub(super) fn unsubsampled_length(&self) -> Option<u128> {
        let mut image = *self;
        image
            .photometric
            .take_if(|one| matches!(one, Photometric::YbrFull422 | Photometric::YbrPartial422))?;
        image.native_length()
    }

    /// The length of one frame, padded to even.
    pub(super) fn frame_length(&self) -> Option<u128> {
        self.length_of(1, self.allocated?)
    }

    /// The length of float or double float pixel data.
    pub(super) fn float_length(&self, bits: u16) -> Option<u128> {
        self.length_of(self.frames()?, bits)
    }

    /// Each factor is of 32 bits at most, so that nothing can overflow.
    fn length_of(&self, frames: u32, bits: u16) -> Option<u128> {
        let pixels = u128::from(self.rows?)
            .checked_mul(u128::from(self.columns?))?
            .checked_mul(u128::from(frames))?;
        let subsampled = self.photometric.map_or((1, 1), Photometric::subsampling);
        let samples = match subsampled {
            (1, 1) => pixels.checked_mul(u128::from(self.samples.unwrap_or(1)))?,
            (samples, of) => pixels.checked_mul(samples)?.div_ceil(of),
        };
        let bytes = samples.checked_mul(u128::from(bits))?.div_ceil(8);
        bytes.checked_next_multiple_of(2)
    }

    pub(super) fn is_palette(&self) -> bool {
        self.photometric == Some(Photometric::PaletteColor)
    }

    /// What cannot be so, when pixel data come.
    pub(super) fn doubts(&self, compression: Option<Compression>) -> impl Iterator<Item = Doubt> {
        let checks = [
            (self.no_size(), Weight::Content, "has no pixels"),
            (
                self.frames == Frames::Wrong || self.frames == Frames::Number(0),
                Weight::Content,
                "has a number of frames that no image has",
            ),
            (
                self.allocated.is_some_and(|bits| {
                    bits != 1 && (bits == 0 || !bits.is_multiple_of(8) || bits > 64)
                }),
                Weight::Content,
                "has bits allocated that no pixel has",
            ),
            (
                exceeds(self.stored, self.allocated),
                Weight::Content,
                "has more bits stored than allocated",
            ),
            (
                self.stored == Some(0),
                Weight::Content,
                "has no bits stored",
            ),
            (
                self.high
                    .is_some_and(|high| self.allocated.is_some_and(|allocated| high >= allocated)),
                Weight::Content,
                "has a high bit that is not allocated",
            ),
            (
                self.high.is_some_and(|high| {
                    self.stored
                        .is_some_and(|stored| high.checked_add(1) != Some(stored))
                }),
                Weight::Strict,
                "has a high bit that is not the highest of those stored",
            ),
            (
                self.representation.is_some_and(|value| value > 1),
                Weight::Content,
                "has a pixel representation that is neither signed nor unsigned",
            ),
            (
                self.planar.is_some_and(|value| value > 1),
                Weight::Content,
                "has a planar configuration that does not exist",
            ),
            (
                self.samples == Some(0),
                Weight::Content,
                "has no samples per pixel",
            ),
        ];
        let found = checks.into_iter().filter(|(wrong, _, _)| *wrong);
        let found = found.map(|(_, weight, detail)| Doubt { weight, detail });
        let colours = self
            .photometric
            .and_then(|photometric| photometric.doubt(self, compression));
        found.chain(colours)
    }

    fn no_size(&self) -> bool {
        self.rows == Some(0) || self.columns == Some(0)
    }
}

impl Frames {
    fn read(value: &[u8]) -> Self {
        let padding = |byte: &u8| matches!(byte, 0 | b' ');
        let start = value.iter().position(|byte| !padding(byte));
        let Some(start) = start else {
            return Self::Absent;
        };
        let end = value
            .iter()
            .rposition(|byte| !padding(byte))
            .unwrap_or(start);
        let digits = value
            .get(start..=end)
            .and_then(|text| std::str::from_utf8(text).ok());
        let number = digits.and_then(|digits| digits.parse::<i32>().ok());
        match number.and_then(|number| u32::try_from(number).ok()) {
            Some(number) => Self::Number(number),
            None => Self::Wrong,
        }
    }
}

fn exceeds(one: Option<u16>, other: Option<u16>) -> bool {
    one.is_some_and(|one| other.is_some_and(|other| one > other))
}

const SAMPLES: Tag = Tag(0x0028, 0x0002);
const PHOTOMETRIC: Tag = Tag(0x0028, 0x0004);
const PLANAR: Tag = Tag(0x0028, 0x0006);
const FRAMES: Tag = Tag(0x0028, 0x0008);
const ROWS: Tag = Tag(0x0028, 0x0010);
const COLUMNS: Tag = Tag(0x0028, 0x0011);
const ALLOCATED: Tag = Tag(0x0028, 0x0100);
const STORED: Tag = Tag(0x0028, 0x0101);
const HIGH: Tag = Tag(0x0028, 0x0102);
const REPRESENTATION: Tag = Tag(0x0028, 0x0103);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_length_of_images() {
        let image = |samples: u16, photometric: &[u8], bits: u16, frames: &[u8]| {
            let mut image = Image::default();
            for (tag, value) in [
                (SAMPLES, samples.to_le_bytes().to_vec()),
                (PHOTOMETRIC, photometric.to_vec()),
                (FRAMES, frames.to_vec()),
                (ROWS, 5_u16.to_le_bytes().to_vec()),
                (COLUMNS, 3_u16.to_le_bytes().to_vec()),
                (ALLOCATED, bits.to_le_bytes().to_vec()),
            ] {
                image.learn(tag, &value, false);
            }
            image.native_length()
        };
        assert_eq!(image(1, b"MONOCHROME2 ", 16, b"1 "), Some(30));
        assert_eq!(image(1, b"MONOCHROME2 ", 8, b"1 "), Some(16));
        assert_eq!(image(1, b"MONOCHROME2 ", 1, b"2 "), Some(4));
        assert_eq!(image(3, b"RGB ", 8, b"2 "), Some(90));
        assert_eq!(image(3, b"YBR_FULL_422", 8, b"1 "), Some(30));
        assert_eq!(image(3, b"YBR_PARTIAL_420 ", 8, b"1 "), Some(24));
        assert_eq!(image(1, b"MONOCHROME2 ", 8, b"-1"), None);
        assert_eq!(image(1, b"MONOCHROME2 ", 8, b""), Some(16));
        assert_eq!(Image::default().native_length(), None);
    }

    #[test]
    fn the_largest_image_does_not_overflow() {
        let mut image = Image::default();
        for tag in [SAMPLES, ROWS, COLUMNS, ALLOCATED] {
            image.learn(tag, &[0xff, 0xff], false);
        }
        image.learn(FRAMES, b"2147483647", false);
        let side = 65_535_u128;
        let bits = side * side * side * side * 2_147_483_647;
        assert_eq!(
            image.native_length(),
            Some(bits.div_ceil(8).next_multiple_of(2))
        );
    }
}

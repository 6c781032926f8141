//! Other bulk data that is as long as its description says: overlays, lookup tables, waveforms.
//!
//! In: the elements of one data set or item. Out: how long the data must be.
//! PS3.3 C.9.2 (overlays), C.7.6.3.1.5 and C.11 (lookup tables), C.10.9 (waveforms).

use dicom_core::Tag;

use super::number;

/// How long some data must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Exactly(u128),
    /// Entries of 8 bits may be written as they are or as 16 bits.
    Either(u128, u128),
    /// The second is of entries of 8 bits that are said to have 16.
    Doubtful(u128, u128),
}

impl Length {
    pub(super) fn fits(self, length: u32) -> bool {
        let length = u128::from(length);
        match self {
            Self::Exactly(expected) => padded(expected) == length,
            Self::Either(one, other) | Self::Doubtful(one, other) => {
                padded(one) == length || padded(other) == length
            }
        }
    }
}

impl Length {
    /// Whether it fits, but only as what is written by mistake.
    pub(super) fn is_doubtful(self, length: u32) -> bool {
        match self {
            Self::Exactly(_) | Self::Either(..) => false,
            Self::Doubtful(expected, _) => padded(expected) != u128::from(length),
        }
    }
}

fn padded(length: u128) -> u128 {
    length.checked_next_multiple_of(2).unwrap_or(length)
}

/// One overlay plane. Groups ascend, so that only the last is of interest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Overlay {
    group: u16,
    rows: Option<u16>,
    columns: Option<u16>,
    frames: Option<u32>,
}

impl Overlay {
    pub(super) fn learn(&mut self, tag: Tag, value: &[u8], big_endian: bool) {
        if self.group != tag.group() {
            *self = Self {
                group: tag.group(),
                ..Self::default()
            };
        }
        match tag.element() {
            0x0010 => self.rows = number(value, big_endian),
            0x0011 => self.columns = number(value, big_endian),
            0x0015 => {
                let padding = |c| matches!(c, ' ' | '\0');
                let text = std::str::from_utf8(value).ok();
                self.frames = text.and_then(|text| text.trim_matches(padding).parse().ok());
            }
            _ => {}
        }
    }

    /// One bit for each pixel of each frame (PS3.5 8.1.2).
    pub(super) fn length(&self, group: u16) -> Option<Length> {
        if self.group != group {
            return None;
        }
        let bits = u128::from(self.rows?)
            .checked_mul(u128::from(self.columns?))?
            .checked_mul(u128::from(self.frames.unwrap_or(1)))?;
        Some(Length::Exactly(bits.div_ceil(8)))
    }
}

/// A descriptor: number of entries, first value, bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lut {
    entries: u32,
    bits: u16,
}

impl Lut {
    pub(super) fn read(value: &[u8], big_endian: bool) -> Option<Self> {
        let [e0, e1, _, _, b0, b1] = *value else {
            return None;
        };
        let entries = number(&[e0, e1], big_endian)?;
        Some(Self {
            // PS3.3 C.11.1.1: 0 stands for 2 to the 16th.
            entries: if entries == 0 {
                65_536
            } else {
                u32::from(entries)
            },
            bits: number(&[b0, b1], big_endian)?,
        })
    }

    pub(super) fn is_possible(self) -> bool {
        (8..=16).contains(&self.bits)
    }

    pub(super) fn has_as_many(self, other: Self) -> bool {
        self.entries == other.entries
    }

    pub(super) fn length(self) -> Length {
        let entries = u128::from(self.entries);
        let wide = entries.saturating_mul(2);
        if self.bits <= 8 {
            Length::Either(entries, wide)
        } else {
            Length::Exactly(wide)
        }
    }
}

impl Lut {
    /// Palettes of 8 bits are often said to be of 16.
    fn palette_length(self) -> Length {
        match self.length() {
            Length::Exactly(wide) => Length::Doubtful(wide, u128::from(self.entries)),
            length @ (Length::Either(..) | Length::Doubtful(..)) => length,
        }
    }
}

/// Lookup tables of a data set or item.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Luts {
    /// (0028,3002).
    table: Option<Lut>,
    /// (0028,1101) to (0028,1104).
    palette: [Option<Lut>; 4],
    /// Whether (0028,1201) to (0028,1204) or their segmented siblings came.
    data: [bool; 4],
}

impl Luts {
    /// Takes note of a descriptor; `false` if it is none that can be.
    pub(super) fn learn(&mut self, tag: Tag, value: &[u8], big_endian: bool) -> bool {
        let place = match tag.element() {
            0x3002 => &mut self.table,
            element @ 0x1101..=0x1104 => {
                let index = usize::from(element.saturating_sub(0x1101));
                match self.palette.get_mut(index) {
                    Some(place) => place,
                    None => return true,
                }
            }
            _ => return true,
        };
        *place = Lut::read(value, big_endian);
        value.is_empty() || place.is_some_and(Lut::is_possible)
    }

    /// How long the data in this element must be; `None` if it holds none, or nothing says how long.
    pub(super) fn length(&mut self, tag: Tag) -> Option<Length> {
        match tag.element() {
            0x3006 => self.table.map(Lut::length),
            element @ 0x1201..=0x1204 => {
                let index = usize::from(element.saturating_sub(0x1201));
                self.note(index);
                let descriptor = self.palette.get(index).copied().flatten();
                descriptor.map(Lut::palette_length)
            }
            element @ 0x1221..=0x1224 => {
                self.note(usize::from(element.saturating_sub(0x1221)));
                None
            }
            _ => None,
        }
    }

    fn note(&mut self, index: usize) {
        if let Some(data) = self.data.get_mut(index) {
            *data = true;
        }
    }

    /// What a palette colour image misses.
    pub(super) fn palette_doubt(&self) -> Option<&'static str> {
        let [red, green, blue, _] = self.palette;
        let (Some(red), Some(green), Some(blue)) = (red, green, blue) else {
            return Some("has no palette, which its photometric interpretation needs");
        };
        if !self.data.iter().take(3).all(|data| *data) {
            return Some("has no palette, which its photometric interpretation needs");
        }
        (!red.has_as_many(green) || !red.has_as_many(blue))
            .then_some("has palettes with different numbers of colours")
    }
}

/// One multiplex group.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waveform {
    channels: Option<u16>,
    samples: Option<u32>,
    allocated: Option<u16>,
}

impl Waveform {
    pub(super) fn learn(&mut self, tag: Tag, value: &[u8], big_endian: bool) {
        match tag {
            CHANNELS => self.channels = number(value, big_endian),
            SAMPLES => {
                self.samples = value
                    .first_chunk()
                    .filter(|_| value.len() == 4)
                    .map(|bytes| {
                        if big_endian {
                            u32::from_be_bytes(*bytes)
                        } else {
                            u32::from_le_bytes(*bytes)
                        }
                    });
            }
            ALLOCATED => self.allocated = number(value, big_endian),
            _ => {}
        }
    }

    pub(super) fn length(&self) -> Option<Length> {
        let values = u128::from(self.channels?).checked_mul(u128::from(self.samples?))?;
        let bits = values.checked_mul(u128::from(self.allocated?))?;
        Some(Length::Exactly(bits.div_ceil(8)))
    }
}

const CHANNELS: Tag = Tag(0x003a, 0x0005);
const SAMPLES: Tag = Tag(0x003a, 0x0010);
const ALLOCATED: Tag = Tag(0x5400, 0x1004);

//! Headers of elements, items and delimiters (PS3.5 7.1, 7.5), cut from the bytes.
//!
//! In: bytes where a header begins, in one piece or in several. Out: [`Header`]s. Judges nothing.

use dicom_core::Tag;
use dicom_core::header::VR;

use super::nesting::Encoding;
use super::vr;

/// A complete header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) tag: Tag,
    pub(super) vr: Written,
    pub(super) length: u32,
}

/// What a header says of its value representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing: implicit encoding, items and delimiters.
    Nothing,
    /// This one.
    As(VR),
    /// This one, with reserved bytes that are not zero.
    Reserved(VR),
    /// Letters that are none.
    Unknown,
}

impl Header {
    /// The header at the start of these bytes and what is behind it; `None` if they end in it.
    #[inline(always)]
    pub(super) fn split(bytes: &[u8], encoding: Encoding) -> Option<(Self, &[u8])> {
        let (head, rest) = bytes.split_first_chunk::<SHORT>()?;
        let [g0, g1, e0, e1, b4, b5, b6, b7] = *head;
        let tag = Tag(word([g0, g1], encoding), word([e0, e1], encoding));
        if encoding.implicit || tag.group() == DELIMITERS {
            let header = Self {
                tag,
                vr: Written::Nothing,
                length: double([b4, b5, b6, b7], encoding),
            };
            return Some((header, rest));
        }
        let vr = vr::of([b4, b5]);
        if !vr.is_some_and(vr::is_long) {
            let header = Self {
                tag,
                vr: vr.map_or(Written::Unknown, Written::As),
                length: u32::from(word([b6, b7], encoding)),
            };
            return Some((header, rest));
        }
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let written = if [b6, b7] == [0, 0] {
            Written::As
        } else {
            Written::Reserved
        };
        let header = Self {
            tag,
            vr: vr.map_or(Written::Unknown, written),
            length: double(*length, encoding),
        };
        Some((header, rest))
    }
}

/// Collects a header that comes in several pieces.
#[derive(Default)]
pub(super) struct HeaderBytes {
    bytes: [u8; LONG],
    length: usize,
}

impl HeaderBytes {
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Takes what is missing; the header, once it is complete.
    #[cold]
    pub(super) fn fill(&mut self, bytes: &mut &[u8], encoding: Encoding) -> Option<Header> {
        loop {
            let wanted = if self.length < SHORT { SHORT } else { LONG };
            let missing = wanted.saturating_sub(self.length);
            let (taken, behind) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
            let free = self.bytes.iter_mut().skip(self.length);
            for (place, byte) in free.zip(taken) {
                *place = *byte;
            }
            self.length = self.length.saturating_add(taken.len());
            *bytes = behind;
            if self.length < wanted {
                return None;
            }
            let got = self.bytes.get(..self.length).unwrap_or_default();
            if let Some((header, _)) = Header::split(got, encoding) {
                self.length = 0;
                return Some(header);
            }
        }
    }
}

fn word(bytes: [u8; 2], encoding: Encoding) -> u16 {
    if encoding.big_endian {
        u16::from_be_bytes(bytes)
    } else {
        u16::from_le_bytes(bytes)
    }
}

fn double(bytes: [u8; 4], encoding: Encoding) -> u32 {
    if encoding.big_endian {
        u32::from_be_bytes(bytes)
    } else {
        u32::from_le_bytes(bytes)
    }
}

pub(super) const UNDEFINED: u32 = 0xffff_ffff;
pub(super) const ITEM: Tag = Tag(0xfffe, 0xe000);
pub(super) const ITEM_END: Tag = Tag(0xfffe, 0xe00d);
pub(super) const SEQUENCE_END: Tag = Tag(0xfffe, 0xe0dd);
pub(super) const DELIMITERS: u16 = 0xfffe;
const SHORT: usize = 8;
const LONG: usize = 12;

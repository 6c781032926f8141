//! The data dictionary (PS3.6): what each standard data element may be.
//!
//! In: a tag. Out: its [`Entry`], from tables that are compiled in; nothing is built, hashed or allocated at run time
//! but the tag itself. Knows no names and judges nothing. Where the facts come from: `data/dicom_dictionary/PROVENANCE.md`.
//!
//! # Format of `slots.bin`
//!
//! A perfect hash, all numbers little-endian: 2,048 displacements (u16), 8,192 tags (u32, group in the upper half), and for
//! each of these the number of its entry (u8; 255 if the slot is free). The tag times [`MULTIPLIER`],
//! modulo 2⁶⁴, has the number of its displacement in the upper 11 bits and where it would be without in the 13 bits from
//! bit 40 on.

mod entries;

use dicom_core::Tag;
use dicom_core::header::VR;

use entries::{ENTRIES, MULTIPLIER};

/// What the dictionary says of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The value representations that it may have; never empty.
    pub(super) vrs: &'static [VR],
    /// The least number of values, if there is one at all.
    pub(super) vm_min: u32,
    /// The largest number of values; `None` if there is no bound.
    pub(super) vm_max: Option<u32>,
    /// By how many the number of values grows: 2 for `2-2n`.
    pub(super) vm_step: u32,
    /// Whether new objects should not have it.
    pub(super) retired: bool,
}

impl Entry {
    /// The entry of a standard element, a private creator or a group length; `None` for other private elements
    /// and for elements that the dictionary does not know.
    pub(super) fn of(tag: Tag) -> Option<&'static Self> {
        let (group, element) = (tag.group(), tag.element());
        if element == 0 {
            return Some(&GROUP_LENGTH);
        }
        if group & 1 == 1 {
            return (0x0010..=0x00ff)
                .contains(&element)
                .then_some(&PRIVATE_CREATOR);
        }
        let group = match group >> 8 {
            // Repeating groups (PS3.5 7.6); 7FE0 is the pixel data's.
            high @ (0x50 | 0x60) if group & 0xff <= LAST_REPEATED => high << 8,
            0x7f if group != PIXEL_DATA => 0x7f00,
            _ => group,
        };
        find((u32::from(group) << 16) | u32::from(element))
    }

    /// Whether an element may have so many values, of which there is at least one.
    pub(super) fn allows(&self, values: u32) -> bool {
        let above = values.checked_sub(self.vm_min);
        let below = self.vm_max.is_none_or(|most| values <= most);
        below && above.is_some_and(|above| above.is_multiple_of(self.vm_step))
    }

    /// Its value representation where none is written (PS3.5 A.1).
    pub(super) fn implied(&self) -> VR {
        if self.vrs.contains(&VR::OW) {
            return VR::OW;
        }
        self.vrs.first().copied().unwrap_or(VR::UN)
    }
}

fn find(tag: u32) -> Option<&'static Entry> {
    let [b0, b1, b2, ..] = u64::from(tag).wrapping_mul(MULTIPLIER).to_be_bytes();
    let bucket = usize::from(u16::from_be_bytes([b0, b1]) >> 5);
    let start = u16::from_be_bytes([b1, b2]) & LAST_SLOT;
    let move_by = u16::from_le_bytes(*MOVES.get(bucket)?);
    let slot = usize::from(start.wrapping_add(move_by) & LAST_SLOT);
    if u32::from_le_bytes(*TAGS.get(slot)?) != tag {
        return None;
    }
    ENTRIES.get(usize::from(*NUMBERS.get(slot)?))
}

const fn entry(
    vrs: &'static [VR],
    vm_min: u32,
    vm_max: Option<u32>,
    vm_step: u32,
    retired: bool,
) -> Entry {
    Entry {
        vrs,
        vm_min,
        vm_max,
        vm_step,
        retired,
    }
}

/// PS3.5 7.2: (gggg,0000).
static GROUP_LENGTH: Entry = entry(&[VR::UL], 1, Some(1), 1, true);
/// PS3.5 7.8.1: (gggg,0010) to (gggg,00FF) of odd groups.
static PRIVATE_CREATOR: Entry = entry(&[VR::LO], 1, Some(1), 1, false);

const LAST_REPEATED: u16 = 0x1e;
const PIXEL_DATA: u16 = 0x7fe0;
const LAST_SLOT: u16 = 0x1fff;

const SECTIONS: (&[u8], &[u8]) = include_bytes!("slots.bin").split_at(2 * 2048);
static MOVES: &[[u8; 2]] = SECTIONS.0.as_chunks().0;
static TAGS: &[[u8; 4]] = SECTIONS.1.split_at(4 * 8192).0.as_chunks().0;
static NUMBERS: &[u8] = SECTIONS.1.split_at(4 * 8192).1;

#[cfg(test)]
mod tests;

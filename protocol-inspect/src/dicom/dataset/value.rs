//! One value as it streams by: how much of it is still to come.

use dicom_core::Tag;
use dicom_core::header::VR;

use super::super::dictionary::Entry;
use super::header::DELIMITERS;
use super::judges::MAX_KEPT;

/// A value of which some bytes are still to come.
pub(super) struct Value {
    pub(super) tag: Tag,
    pub(super) vr: VR,
    pub(super) length: u32,
    remaining: u32,
    pub(super) entry: Option<&'static Entry>,
}

impl Value {
    /// Before the first.
    pub(super) fn none() -> Self {
        Self {
            tag: Tag(0, 0),
            vr: VR::UN,
            length: 0,
            remaining: 0,
            entry: None,
        }
    }

    /// The header of another came.
    #[inline]
    pub(super) fn begin(&mut self, tag: Tag, vr: VR, entry: Option<&'static Entry>, length: u32) {
        self.tag = tag;
        self.vr = vr;
        self.entry = entry;
        self.length = length;
        self.remaining = length;
    }

    pub(super) fn is_complete(&self) -> bool {
        self.remaining == 0
    }

    /// Whether none of its bytes came yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.remaining == self.length
    }

    /// Whether it is bytes of pixel data, not the value of an element.
    pub(super) fn is_fragment(&self) -> bool {
        self.tag.group() == DELIMITERS
    }

    /// Whether judges are shown every piece of it: it is not kept as a whole, or it is a fragment.
    pub(super) fn is_long(&self) -> bool {
        self.is_fragment() || usize::try_from(self.length).unwrap_or(usize::MAX) > MAX_KEPT
    }

    /// Takes what belongs to it.
    #[inline]
    pub(super) fn take<'b>(&mut self, bytes: &mut &'b [u8]) -> &'b [u8] {
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let (own, rest) = bytes.split_at_checked(wanted).unwrap_or((bytes, &[]));
        let taken = u32::try_from(own.len()).unwrap_or(u32::MAX);
        self.remaining = self.remaining.saturating_sub(taken);
        *bytes = rest;
        own
    }
}

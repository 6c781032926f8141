//! One value as it streams by: its syntax, and its first bytes for the judges.

use dicom_core::Tag;
use dicom_core::header::VR;

use super::super::dictionary::Entry;
use super::super::policy::Level;
use super::super::uid::{self, UidScan};
use super::header::DELIMITERS;
use super::judges::{MAX_KEPT, Tell};
use super::vr;
use crate::severity::Weight;
use crate::{Reason, Refusal};

/// A value of which some bytes are still to come.
pub(super) struct Value {
    pub(super) tag: Tag,
    pub(super) vr: VR,
    pub(super) length: u32,
    remaining: u32,
    pub(super) entry: Option<&'static Entry>,
    scan: Scan,
    uid: UidScan,
    /// The padding of a list of UIDs came.
    is_padded: bool,
}

#[derive(Clone, Copy)]
enum Scan {
    /// Bytes of any kind.
    Opaque,
    /// One or more UIDs.
    Uid,
    /// Text without control characters but escapes.
    Line,
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
            scan: Scan::Opaque,
            uid: UidScan::default(),
            is_padded: false,
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
        self.scan = if vr == VR::UI {
            self.uid = UidScan::default();
            self.is_padded = false;
            Scan::Uid
        } else if vr::is_line(vr) {
            Scan::Line
        } else {
            Scan::Opaque
        };
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

    /// Looks at the next of its bytes.
    #[inline]
    pub(super) fn scan(&mut self, own: &[u8], tell: &mut Tell<'_>) -> Result<(), Refusal> {
        match self.scan {
            Scan::Opaque => Ok(()),
            Scan::Uid => scan_uids(own, &mut self.uid, &mut self.is_padded)
                .map_err(|detail| tell.refuse(self.tag, Reason::Encoding, detail)),
            Scan::Line => {
                if has_control(own) {
                    let detail = "has a control character";
                    tell.finding(self.tag, STRICT, Reason::Encoding, detail)?;
                }
                Ok(())
            }
        }
    }

    /// All bytes came.
    #[inline]
    pub(super) fn end(&self, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        match self.scan {
            Scan::Opaque | Scan::Line => Ok(()),
            Scan::Uid => {
                let scan = &self.uid;
                if scan.leading_zero {
                    tell.finding(self.tag, STRICT, Reason::Encoding, uid::LEADING_ZERO)?;
                }
                if scan.is_empty() {
                    return Ok(());
                }
                scan.end()
                    .map_err(|detail| tell.refuse(self.tag, Reason::Encoding, detail))
            }
        }
    }
}

/// Many bytes at once: nothing ends early within a block.
#[inline]
fn has_control(bytes: &[u8]) -> bool {
    let control = |byte: u8| byte < b' ' && byte != ESCAPE;
    let (blocks, rest) = bytes.as_chunks::<8>();
    let in_block = |block: &[u8; 8]| block.iter().fold(false, |any, byte| any | control(*byte));
    blocks.iter().any(in_block) || rest.iter().fold(false, |any, byte| any | control(*byte))
}

/// UIDs are separated by backslashes and padded at the very end.
fn scan_uids(bytes: &[u8], scan: &mut UidScan, padded: &mut bool) -> Result<(), &'static str> {
    for byte in bytes {
        match byte {
            // A space as padding is wrong but common; the facts that matter are checked again, strictly.
            0 | b' ' => *padded = true,
            _ if *padded => return Err(uid::CHARACTER),
            b'\\' => {
                if !scan.is_empty() {
                    scan.end()?;
                }
                *scan = UidScan::next(scan);
            }
            _ => scan.push(*byte)?,
        }
    }
    Ok(())
}

const STRICT: (Level, Weight) = (Level::Values, Weight::Strict);
/// Begins a change of character set (ISO 2022).
const ESCAPE: u8 = 0x1b;

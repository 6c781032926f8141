//! One value as it streams by: its syntax, and its first bytes for the judges.

use dicom_core::Tag;
use dicom_core::header::VR;

use super::super::policy::Level;
use super::super::uid::{self, UidScan};
use super::judges::{MAX_KEPT, Tell};
use super::vr;
use crate::severity::Weight;
use crate::{Reason, Refusal};

/// A value of which some bytes are still to come.
pub(super) struct Value {
    pub(super) tag: Tag,
    remaining: u32,
    scan: Scan,
    pub(super) vr: VR,
    pub(super) length: u32,
    kept: Vec<u8>,
}

enum Scan {
    /// Bytes of any kind.
    Opaque,
    /// One or more UIDs.
    Uid { scan: UidScan, padded: bool },
    /// Text without control characters but escapes.
    Line,
}

impl Value {
    pub(super) fn new(tag: Tag, vr: VR, length: u32) -> Self {
        let scan = if vr == VR::UI {
            Scan::Uid {
                scan: UidScan::default(),
                padded: false,
            }
        } else if vr::is_line(vr) {
            Scan::Line
        } else {
            Scan::Opaque
        };
        Self {
            tag,
            remaining: length,
            scan,
            vr,
            length,
            kept: Vec::new(),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.remaining == 0
    }

    pub(super) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Takes what belongs to it and returns the rest.
    pub(super) fn push<'b>(
        &mut self,
        bytes: &'b [u8],
        tell: &mut Tell<'_>,
    ) -> Result<&'b [u8], Refusal> {
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let (own, rest) = bytes.split_at_checked(wanted).unwrap_or((bytes, &[]));
        let taken = u32::try_from(own.len()).unwrap_or(u32::MAX);
        self.remaining = self.remaining.saturating_sub(taken);
        let room = MAX_KEPT.saturating_sub(self.kept.len());
        self.kept.extend(own.iter().take(room));
        match &mut self.scan {
            Scan::Opaque => {}
            Scan::Uid { scan, padded } => {
                scan_uids(own, scan, padded)
                    .map_err(|detail| tell.refuse(self.tag, Reason::Encoding, detail))?;
            }
            Scan::Line => {
                let control = |byte: &u8| *byte < b' ' && *byte != ESCAPE;
                if own.iter().any(control) {
                    let detail = "has a control character";
                    tell.finding(self.tag, STRICT, Reason::Encoding, detail)?;
                }
            }
        }
        Ok(rest)
    }

    /// All bytes came.
    pub(super) fn end(&self, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        match &self.scan {
            Scan::Opaque | Scan::Line => Ok(()),
            Scan::Uid { scan, .. } => {
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

//! One value as it streams by: its syntax, and the few that are kept.

use dicom_core::Tag;
use dicom_core::header::VR;

use super::super::fault::{Warnings, refusal};
use super::super::policy::Profile;
use super::super::uid::{self, UidScan};
use super::{is_fact, level, vr};
use crate::{Reason, Refusal};

/// A value of which some bytes are still to come.
pub(super) struct Value {
    pub(super) tag: Tag,
    remaining: u32,
    scan: Scan,
    kept: Option<Vec<u8>>,
}

enum Scan {
    /// Bytes of any kind.
    Opaque,
    /// One or more UIDs.
    Uid { scan: UidScan, padded: bool },
    /// Text without control characters but escapes.
    Line,
}

/// What is wrong with a value; the walker knows where it stands.
pub(super) struct ValueFault {
    pub(super) reason: Reason,
    pub(super) detail: &'static str,
}

impl Value {
    pub(super) fn new(tag: Tag, vr: VR, length: u32, is_root: bool) -> Self {
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
            kept: (is_root && is_fact(tag)).then(Vec::new),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.remaining == 0
    }

    pub(super) fn kept(&self) -> Option<&[u8]> {
        self.kept.as_deref()
    }

    /// Takes what belongs to it and returns the rest.
    pub(super) fn push<'b>(
        &mut self,
        bytes: &'b [u8],
        profile: Profile,
        warnings: &mut Warnings,
    ) -> Result<&'b [u8], ValueFault> {
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let (own, rest) = bytes.split_at_checked(wanted).unwrap_or((bytes, &[]));
        let taken = u32::try_from(own.len()).unwrap_or(u32::MAX);
        self.remaining = self.remaining.saturating_sub(taken);
        if let Some(kept) = &mut self.kept {
            let room = MAX_KEPT.saturating_sub(kept.len());
            kept.extend(own.iter().take(room));
        }
        match &mut self.scan {
            Scan::Opaque => {}
            Scan::Uid { scan, padded } => {
                scan_uids(own, scan, padded)?;
            }
            Scan::Line => {
                let control = |byte: &u8| *byte < b' ' && *byte != ESCAPE;
                if own.iter().any(control) {
                    let detail = "has a control character";
                    self.doubt(Reason::Encoding, detail, profile, warnings)?;
                }
            }
        }
        Ok(rest)
    }

    /// All bytes came.
    pub(super) fn end(&self, profile: Profile, warnings: &mut Warnings) -> Result<(), ValueFault> {
        match &self.scan {
            Scan::Opaque | Scan::Line => Ok(()),
            Scan::Uid { scan, .. } => {
                if scan.leading_zero {
                    self.doubt(Reason::Encoding, uid::LEADING_ZERO, profile, warnings)?;
                }
                if scan.is_empty() {
                    return Ok(());
                }
                scan.end().map_err(encoding)
            }
        }
    }

    fn doubt(
        &self,
        reason: Reason,
        detail: &'static str,
        profile: Profile,
        warnings: &mut Warnings,
    ) -> Result<(), ValueFault> {
        let fault = |_: Refusal| ValueFault { reason, detail };
        warnings
            .doubt(profile, refusal(reason, level::name(self.tag), detail))
            .map_err(fault)
    }
}

/// UIDs are separated by backslashes and padded at the very end.
fn scan_uids(bytes: &[u8], scan: &mut UidScan, padded: &mut bool) -> Result<(), ValueFault> {
    for byte in bytes {
        match byte {
            // A space as padding is wrong but common; the facts that matter are checked again, strictly.
            0 | b' ' => *padded = true,
            _ if *padded => return Err(encoding(uid::CHARACTER)),
            b'\\' => {
                if !scan.is_empty() {
                    scan.end().map_err(encoding)?;
                }
                *scan = UidScan::next(scan);
            }
            _ => scan.push(*byte).map_err(encoding)?,
        }
    }
    Ok(())
}

fn encoding(detail: &'static str) -> ValueFault {
    ValueFault {
        reason: Reason::Encoding,
        detail,
    }
}

/// Longer than any value that is a fact; a longer one is no longer a fact but is still judged.
const MAX_KEPT: usize = 128;
/// Begins a change of character set (ISO 2022).
const ESCAPE: u8 = 0x1b;

//! Inflates a deflated data set as it arrives (PS3.5 A.5).
//!
//! In: bytes in any chunks. Out: what they inflate to, in pieces; a refusal at the first fault or bound.
//! Keeps the window that the format needs (32 KiB) and as much room again, however long the stream is.
//! Knows nothing of elements. What was received is what is forwarded: nothing is deflated again.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::super::fault::refusal;
use crate::{LimitReached, Limits, Reason, Refusal};

/// A deflated stream on its way.
pub(super) struct Inflater {
    state: Box<DecompressorOxide>,
    /// The last 32 KiB that came out, and what comes out next.
    window: Vec<u8>,
    /// Where the next byte goes.
    at: usize,
    received: u64,
    inflated: u64,
    /// Behind the stream: whether the pad byte came.
    ended: Option<bool>,
    most: u64,
    ratio: u64,
}

impl Inflater {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            state: Box::default(),
            window: vec![0; WINDOW.saturating_mul(2)],
            at: 0,
            received: 0,
            inflated: 0,
            ended: None,
            most: limits.dicom_dataset,
            ratio: limits.dicom_inflate_ratio,
        }
    }

    /// Hands what these bytes inflate to over to `walk`.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut walk: impl FnMut(&[u8]) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        // What is left inside comes out even when no more goes in.
        while self.ended.is_none() {
            let (status, taken, made) = decompress(
                &mut self.state,
                bytes,
                &mut self.window,
                self.at,
                TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
            );
            bytes = bytes.get(taken..).unwrap_or_default();
            self.received = self.received.saturating_add(wide(taken));
            self.inflated = self.inflated.saturating_add(wide(made));
            let end = self.at.saturating_add(made);
            walk(self.window.get(self.at..end).unwrap_or_default())?;
            self.at = end;
            self.check_bounds()?;
            match status {
                TINFLStatus::Done => self.ended = Some(false),
                TINFLStatus::HasMoreOutput => self.slide(),
                TINFLStatus::NeedsMoreInput => return Ok(()),
                // The library may add to them.
                TINFLStatus::Failed
                | TINFLStatus::FailedCannotMakeProgress
                | TINFLStatus::BadParam
                | TINFLStatus::Adler32Mismatch
                | _ => {
                    return Err(fault("is not a deflated stream"));
                }
            }
        }
        for byte in bytes {
            if self.ended != Some(false) || *byte != 0 {
                return Err(fault("has bytes behind its deflated stream"));
            }
            self.ended = Some(true);
        }
        Ok(())
    }

    /// How many bytes came out so far.
    pub(super) fn inflated(&self) -> u64 {
        self.inflated
    }

    /// Nothing more comes.
    pub(super) fn finish(&self) -> Result<(), Refusal> {
        if self.ended.is_none() {
            return Err(fault("ends within its deflated stream"));
        }
        Ok(())
    }

    /// Makes room behind the last 32 KiB.
    fn slide(&mut self) {
        let keep = self.at.saturating_sub(WINDOW);
        self.window.copy_within(keep..self.at, 0);
        self.at = self.at.saturating_sub(keep);
    }

    //= C7
    fn check_bounds(&self) -> Result<(), Refusal> {
        if self.inflated > self.most {
            return Err(LimitReached {
                limit: "dicom_dataset",
                got: self.inflated,
                max: self.most,
            }
            .into());
        }
        let most = self.received.saturating_mul(self.ratio);
        if self.inflated > FREE && self.inflated > most {
            return Err(LimitReached {
                limit: "dicom_inflate_ratio",
                got: self.ratio.saturating_add(1),
                max: self.ratio,
            }
            .into());
        }
        Ok(())
    }
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn fault(detail: &'static str) -> Refusal {
    refusal(Reason::Encoding, "data set", detail)
}

/// How far back the format refers (RFC 1951 2).
const WINDOW: usize = 32 << 10;
/// Up to here the ratio does not matter: an empty image of this size harms nobody.
const FREE: u64 = 1 << 20;

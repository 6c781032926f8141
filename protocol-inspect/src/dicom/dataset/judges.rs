//! Those who look at the elements of a data set besides the walk itself, each for one thing.
//!
//! In: every element that has a value, once the value is complete; sequences and items as they open and close;
//! fragments of pixel data. Out: findings, and [`Facts`] at the end.
//! Knows nothing of headers, bytes under way and nesting.

use dicom_core::Tag;
use dicom_core::header::VR;

use super::super::dictionary::Entry;
use super::super::fault::{Warnings, refusal};
use super::super::policy::{Level, Strictness};
use super::brief::Brief;
use super::facts::{self, Facts};
use super::nesting::{self, Nesting};
use super::pixel;
use crate::severity::{Severity, Weight};
use crate::{Reason, Refusal};

/// An element whose value is complete. Sequences and fragments are not elements here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'v> {
    pub(super) tag: Tag,
    /// As encoded; in implicit encoding, as the dictionary says.
    pub(super) vr: VR,
    /// What the dictionary says of it; `None` for private elements (but not their creators) and unknown ones.
    pub(super) entry: Option<&'static Entry>,
    /// Of the whole value, in bytes.
    pub(super) length: u32,
    /// The value, or the first [`MAX_KEPT`] bytes of a longer one.
    pub(super) value: &'v [u8],
    pub(super) big_endian: bool,
    /// How many sequences it is in.
    pub(super) depth: usize,
}

/// Longer than any value on which something else depends. Longer values are only judged as they stream by.
//= C7
pub(super) const MAX_KEPT: usize = 1024;

/// Where findings go.
pub(super) struct Tell<'w> {
    pub(super) strictness: &'w Strictness,
    pub(super) nesting: &'w [Nesting],
    pub(super) warnings: &'w mut Warnings,
}

impl Tell<'_> {
    /// The refusal of what no profile tolerates ([`Weight::Firm`]).
    pub(super) fn refuse(&self, tag: Tag, reason: Reason, detail: &'static str) -> Refusal {
        refusal(reason, nesting::path(self.nesting, tag), detail)
    }

    /// Something is wrong with this element, or with its absence from where the walk stands.
    ///
    /// # Errors
    /// The refusal, if the profile refuses it.
    pub(super) fn finding(
        &mut self,
        tag: Tag,
        (level, weight): (Level, Weight),
        reason: Reason,
        detail: &'static str,
    ) -> Result<(), Refusal> {
        let severity = self.strictness.severity(level, weight);
        if severity == Severity::Ignore {
            return Ok(());
        }
        let fault = self.refuse(tag, reason, detail);
        if severity == Severity::Refuse {
            return Err(fault);
        }
        self.warnings.warn(fault);
        Ok(())
    }
}

/// All of them.
pub(super) struct Judges {
    pub(super) pixels: pixel::Geometry,
    pub(super) facts: Facts,
}

impl Judges {
    pub(super) fn new(_brief: &Brief) -> Self {
        Self {
            pixels: pixel::Geometry::default(),
            facts: Facts::default(),
        }
    }

    pub(super) fn element(
        &mut self,
        element: &Element<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<(), Refusal> {
        facts::element(&mut self.facts, element, tell)?;
        self.pixels.element(element);
        Ok(())
    }
}

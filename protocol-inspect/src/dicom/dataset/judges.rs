//! Those who look at the elements of a data set besides the walk itself, each for one thing.
//!
//! In: every element that has a value, once the value is complete; sequences and items as they open and close;
//! fragments of pixel data. Out: findings, and [`Facts`] at the end.
//! Knows nothing of headers, bytes under way and nesting.

use dicom_core::Tag;
use dicom_core::header::VR;

use super::super::dictionary::Entry;
use super::super::fault::{Warnings, refusal};
use super::super::iod;
use super::super::policy::{Level, Rule};
use super::super::transfer::TransferSyntax;
use super::brief::Brief;
use super::candidates::{Candidates, Found};
use super::documents::Documents;
use super::facts::{self, Facts};
use super::nesting::{self, Nesting};
use super::object::Object;
use super::pixels::Pixels;
use super::rules::RuleJudge;
use super::transaction::Transaction;
use super::values::Values;
use crate::severity::{Severity, Weight};
use crate::{Reason, Refusal};

/// An element whose value is complete. Sequences and fragments are not elements here.
#[derive(Clone, Copy)]
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

/// An element with a value of more than [`MAX_KEPT`] bytes, of which none came yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Long {
    pub(super) tag: Tag,
    pub(super) vr: VR,
    /// In bytes.
    pub(super) length: u32,
    /// How many sequences it is in.
    pub(super) depth: usize,
}

/// Longer than any value on which something else depends. Longer values are only judged as they stream by.
//= C7
pub(super) const MAX_KEPT: usize = 1024;

/// Where findings go.
pub(super) struct Tell<'w> {
    pub(super) candidates: &'w mut Candidates,
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
        let found = self.candidates.found(level, weight);
        self.say(found, tag, reason, detail)
    }

    /// As [`Self::finding`], for what only some rules mind.
    pub(super) fn finding_of(
        &mut self,
        tag: Tag,
        (level, weight): (Level, Weight),
        minds: impl Fn(&Rule) -> bool,
        reason: Reason,
        detail: &'static str,
    ) -> Result<(), Refusal> {
        let found = self.candidates.found_by(level, weight, minds);
        self.say(found, tag, reason, detail)
    }

    /// Leaves only the rules whose own bounds leave this data set, in shadow too.
    ///
    /// # Errors
    /// The refusal, if no rule would be left.
    pub(super) fn narrow(
        &mut self,
        tag: Tag,
        keep: impl Fn(&Rule) -> bool,
        reason: Reason,
        detail: &'static str,
    ) -> Result<(), Refusal> {
        let place = nesting::path(self.nesting, tag);
        self.narrow_at(&place, keep, reason, detail)
    }

    /// As [`Self::narrow`], about another place than where the walk stands.
    pub(super) fn narrow_at(
        &mut self,
        place: &str,
        keep: impl Fn(&Rule) -> bool,
        reason: Reason,
        detail: &'static str,
    ) -> Result<(), Refusal> {
        if self.candidates.narrow(keep) {
            return Ok(());
        }
        Err(refusal(reason, place, detail))
    }

    fn say(
        &mut self,
        found: Found,
        tag: Tag,
        reason: Reason,
        detail: &'static str,
    ) -> Result<(), Refusal> {
        match found.severity {
            Severity::Ignore => return Ok(()),
            Severity::Refuse => return Err(self.refuse(tag, reason, detail)),
            Severity::Warn => {}
        }
        if found.in_shadow && !self.warnings.is_told_in_shadow(detail) {
            let fault = self.refuse(tag, reason, detail);
            self.warnings.warn_in_shadow(fault);
        } else if !self.warnings.is_told(detail) {
            let fault = self.refuse(tag, reason, detail);
            self.warnings.warn(fault);
        }
        Ok(())
    }
}

impl iod::Tell for Tell<'_> {
    fn finding(&mut self, tag: Tag, weight: Weight, detail: &'static str) -> Result<(), Refusal> {
        self.finding(tag, (Level::Object, weight), Reason::Field, detail)
    }
}

/// All of them.
pub(super) struct Judges {
    pixels: Pixels,
    documents: Documents,
    pub(super) facts: Facts,
    pub(super) values: Values,
    object: Object,
    pub(super) rules: RuleJudge,
}

impl Judges {
    pub(super) fn new(brief: &Brief, syntax: TransferSyntax) -> Self {
        Self {
            pixels: Pixels::new(syntax, &brief.policy.limits),
            documents: Documents::new(brief),
            facts: Facts {
                transaction: Transaction::of(brief),
                ..Facts::default()
            },
            values: Values::new(brief),
            object: Object::new(brief),
            rules: RuleJudge::default(),
        }
    }

    pub(super) fn element(
        &mut self,
        element: &Element<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<(), Refusal> {
        facts::element(&mut self.facts, element, tell)?;
        self.facts.transaction.element(element, tell)?;
        self.rules.element(element, tell)?;
        self.pixels.element(element, tell)?;
        self.documents.element(element, tell)?;
        self.values.element(element, tell)?;
        self.object.element(element, tell)
    }

    /// A value begins that is longer than [`MAX_KEPT`]: all its bytes come as chunks, and then [`Self::element`].
    pub(super) fn long(&mut self, long: &Long, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        self.pixels.long(long, tell)?;
        self.documents.long(long);
        self.values.long(long);
        Ok(())
    }

    /// The next bytes of such a value, or of a fragment.
    pub(super) fn chunk(&mut self, bytes: &[u8], tell: &mut Tell<'_>) -> Result<(), Refusal> {
        self.values.chunk(bytes);
        self.pixels.chunk(bytes, tell)?;
        self.documents.chunk(bytes, tell)
    }

    /// A sequence opens: an element without value, in as many sequences as its depth says.
    pub(super) fn open_sequence(
        &mut self,
        sequence: &Element<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<(), Refusal> {
        self.object.open_sequence(sequence.tag, tell)
    }

    /// An item in so many sequences opens.
    pub(super) fn open_item(&mut self, depth: usize, _tell: &mut Tell<'_>) -> Result<(), Refusal> {
        self.values.open_item(depth);
        self.object.open_item();
        Ok(())
    }

    /// The item in so many sequences is over.
    pub(super) fn close_item(&mut self, depth: usize, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        self.pixels.close_item(depth);
        self.object.close_item(tell)
    }

    /// The innermost of so many sequences is over.
    pub(super) fn close_sequence(
        &mut self,
        _depth: usize,
        _tell: &mut Tell<'_>,
    ) -> Result<(), Refusal> {
        self.object.close_sequence();
        Ok(())
    }

    /// Encapsulated pixel data opens: an element without value.
    pub(super) fn open_fragments(
        &mut self,
        pixels: &Element<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<(), Refusal> {
        self.object.open_fragments(pixels.tag);
        self.pixels.open_fragments(pixels, tell)
    }

    /// A fragment of so many bytes opens; the first, number 0, is the basic offset table.
    pub(super) fn fragment(
        &mut self,
        number: u64,
        length: u32,
        tell: &mut Tell<'_>,
    ) -> Result<(), Refusal> {
        self.pixels.fragment(number, length, tell)
    }

    /// Encapsulated pixel data is over.
    pub(super) fn close_fragments(&mut self, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        self.pixels.close_fragments(tell)
    }

    /// The data set is over, and nothing of it is open.
    pub(super) fn finish(&mut self, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        self.object.finish(tell)?;
        self.rules.finish(tell)
    }
}

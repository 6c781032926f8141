//! What an examination of one message found, and how much it weighs.
//!
//! A finding says the same thing to three readers: a [`Refusal`] to the operator,
//! a code of table 0357 and a [`Place`] to the sender, and a [`Fault`] that chooses the acknowledgement.

use std::borrow::Cow;

use super::place::Place;
use super::policy::Level;
pub(crate) use crate::severity::Weight;
use crate::{Reason, Refusal, Warning};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) weight: Weight,
    pub(crate) level: Level,
    pub(crate) reason: Reason,
    pub(crate) place: Place,
    pub(crate) detail: Cow<'static, str>,
    pub(crate) code: ErrorCode,
    pub(crate) fault: Fault,
}

/// Whose word the acknowledgement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// MSH-9, MSH-11 or MSH-12: AR, or CR in enhanced mode.
    Header,
    /// A rule of this site, or a destination that cannot be reached: AR, or CE in enhanced mode.
    Rule,
    /// Anything else in the message: AE, or CE in enhanced mode.
    Content,
}

/// Codes of HL7 table 0357.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// 100.
    SegmentSequence,
    /// 101.
    RequiredField,
    /// 102.
    DataType,
    /// 103.
    TableValue,
    /// 200.
    MessageType,
    /// 201.
    EventCode,
    /// 202.
    ProcessingId,
    /// 203.
    VersionId,
    /// 204.
    UnknownKey,
    /// 205.
    DuplicateKey,
    /// 207.
    Internal,
}

impl ErrorCode {
    /// The code as it stands in ERR.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.entry().0
    }

    /// The table's name for it.
    pub(crate) fn text(self) -> &'static str {
        self.entry().1
    }

    fn entry(self) -> (&'static str, &'static str) {
        match self {
            Self::SegmentSequence => ("100", "Segment sequence error"),
            Self::RequiredField => ("101", "Required field missing"),
            Self::DataType => ("102", "Data type error"),
            Self::TableValue => ("103", "Table value not found"),
            Self::MessageType => ("200", "Unsupported message type"),
            Self::EventCode => ("201", "Unsupported event code"),
            Self::ProcessingId => ("202", "Unsupported processing id"),
            Self::VersionId => ("203", "Unsupported version id"),
            Self::UnknownKey => ("204", "Unknown key identifier"),
            Self::DuplicateKey => ("205", "Duplicate key identifier"),
            Self::Internal => ("207", "Application internal error"),
        }
    }
}

impl Finding {
    pub(crate) fn new(
        weight: Weight,
        reason: Reason,
        place: Place,
        detail: impl Into<Cow<'static, str>>,
        code: ErrorCode,
        fault: Fault,
    ) -> Self {
        Self {
            weight,
            level: level_of(reason, code),
            reason,
            place,
            detail: detail.into(),
            code,
            fault,
        }
    }

    pub(crate) fn firm(
        reason: Reason,
        place: Place,
        detail: impl Into<Cow<'static, str>>,
        code: ErrorCode,
        fault: Fault,
    ) -> Self {
        Self::new(Weight::Firm, reason, place, detail, code, fault)
    }

    /// The same at another level than follows from its reason and code.
    pub(crate) fn at_level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    pub(crate) fn refusal(&self) -> Refusal {
        Refusal::new(self.reason, self.place.text(), self.detail.as_ref())
    }

    pub(crate) fn warning(&self) -> Warning {
        self.refusal().into()
    }

    /// As [`Self::warning`], of what only shadow tolerates.
    pub(crate) fn shadow_warning(&self) -> Warning {
        Warning {
            shadow: true,
            ..self.warning()
        }
    }
}

/// The level at which most findings of a reason and code are made.
fn level_of(reason: Reason, code: ErrorCode) -> Level {
    match reason {
        Reason::Encoding | Reason::Framing => Level::Encoding,
        Reason::Structure => Level::Structure,
        Reason::Embedded => Level::Embedded,
        Reason::Field
        | Reason::Sequence
        | Reason::Unsupported
        | Reason::Forbidden
        | Reason::Identity
        | Reason::Limit
        | Reason::Rate
        | Reason::Destination => match code {
            ErrorCode::SegmentSequence => Level::Structure,
            ErrorCode::DataType => Level::DataTypes,
            ErrorCode::TableValue => Level::Tables,
            ErrorCode::RequiredField
            | ErrorCode::MessageType
            | ErrorCode::EventCode
            | ErrorCode::ProcessingId
            | ErrorCode::VersionId
            | ErrorCode::UnknownKey
            | ErrorCode::DuplicateKey
            | ErrorCode::Internal => Level::Fields,
        },
    }
}

/// The findings of one message: the first that ends the examination, and a bounded list of the others.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) firm: Option<Finding>,
    pub(crate) others: Vec<Finding>,
    /// How many bytes were looked at one by one, again and again included.
    pub(crate) steps: usize,
    /// How many of each weight are kept, and of each weight and level.
    kept: [(usize, [usize; LEVELS]); WEIGHTS],
}

impl Findings {
    /// Forgets everything but the room that it had.
    pub(crate) fn clear(&mut self) {
        self.firm = None;
        self.others.clear();
        self.steps = 0;
        self.kept = Default::default();
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        let (weight, level) = (finding.weight, finding.level);
        if !self.wants(weight, level) {
            return;
        }
        if weight == Weight::Firm {
            self.firm = Some(finding);
            return;
        }
        if let Some((all, levels)) = self.kept.get_mut(pool(weight)) {
            *all = all.saturating_add(1);
            if let Some(here) = levels.get_mut(index(level)) {
                *here = here.saturating_add(1);
            }
        }
        self.others.push(finding);
    }

    pub(crate) fn count(&mut self, steps: usize) {
        self.steps = self.steps.saturating_add(steps);
    }

    /// Whether a finding like this would still be kept. Places are costly, so ask before you look for one.
    ///
    /// None is crowded out by those of other weights, nor wholly by those of other levels:
    /// a profile may ignore a level, and must still see what it refuses.
    pub(crate) fn wants(&self, weight: Weight, level: Level) -> bool {
        if weight == Weight::Firm {
            return self.firm.is_none();
        }
        self.kept.get(pool(weight)).is_some_and(|(all, levels)| {
            *all < MOST || levels.get(index(level)).is_some_and(|n| *n < LEAST)
        })
    }

    /// The first finding that weighs at least so much.
    pub(crate) fn first(&self, at_least: Weight) -> Option<&Finding> {
        self.others.iter().find(|f| f.weight >= at_least)
    }
}

/// Where the findings of a weight are counted.
fn pool(weight: Weight) -> usize {
    match weight {
        Weight::Hint => 0,
        Weight::Notice => 1,
        Weight::Strict => 2,
        Weight::Content | Weight::Firm => 3,
    }
}

fn index(level: Level) -> usize {
    match level {
        Level::Encoding => 0,
        Level::Structure => 1,
        Level::Fields => 2,
        Level::DataTypes => 3,
        Level::Lengths => 4,
        Level::Tables => 5,
        Level::Embedded => 6,
        Level::Site => 7,
    }
}

const WEIGHTS: usize = 4;
const LEVELS: usize = 8;

/// Most findings of one weight that are kept, whatever their level.
//= C7
const MOST: usize = 16;

/// How many of one weight and level are kept beyond that.
//= C7
const LEAST: usize = 2;

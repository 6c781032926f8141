//! Whether the data set of a request about a normalized instance has what its service asks for, and nothing that the
//! service does not let change (PS3.4 F.7.2, J.3).
//!
//! In: service and SOP class, then elements, sequences and items as they stream by. Out: findings.
//! Of values only a few bits are kept, of levels only those that are open.
//! Knows nothing of requests before this one: whether a step was begun is for whoever remembers that.

mod tables;

use dicom_core::Tag;

use super::dataset::{Normalized, StepStatus};
use super::dimse::{Direction, status};
use super::iod::{Tell, Value};
use crate::Refusal;
use crate::severity::Weight;
use tables::{Act, Attribute, FAILURE_REASON, STEP_STATUS, Table, Usage};

/// The judge of one data set.
#[derive(Debug)]
pub(super) struct Judge {
    act: Act,
    /// The data set and the items that are open; as deep as tables are, since what is in no table is ignored.
    open: Vec<Open>,
    /// How many sequences are open of which no table has the items.
    ignored: usize,
    status: Option<StepStatus>,
    /// Which attributes stand inside of Referenced SOP Sequence that must not stand outside too.
    inside: Vec<u32>,
}

/// An open level.
#[derive(Debug)]
struct Open {
    rows: &'static [Attribute],
    present: u32,
    filled: u32,
    /// The row of the sequence that was opened last in it.
    sequence: Option<usize>,
}

impl Judge {
    /// Of such a data set, if the service asks something of it that is known here.
    pub(super) fn new(content: &Normalized) -> Option<Self> {
        if content.direction == Direction::Response {
            return None;
        }
        let class = content.sop_class.as_ref()?;
        let table = Table::of(content.service, class.as_str(), content.type_id)?;
        Some(Self {
            act: table.act,
            open: vec![Open::new(table.rows)],
            ignored: 0,
            status: None,
            inside: Vec::new(),
        })
    }

    /// An element whose value is complete.
    ///
    /// # Errors
    /// The refusal, if the profile refuses it.
    pub(super) fn element(
        &mut self,
        value: &Value<'_>,
        tell: &mut impl Tell,
    ) -> Result<(), Refusal> {
        if self.ignored > 0 {
            return Ok(());
        }
        let is_root = self.open.len() == 1;
        let Some(open) = self.open.last_mut() else {
            return Ok(());
        };
        let Some((place, row)) = open.row(value.tag) else {
            return Ok(());
        };
        // A sequence is filled by items.
        let is_filled = row.items.is_empty() && !is_empty(value);
        open.mark(place, is_filled);
        if row.usage == Usage::Either && !is_root && !self.inside.contains(&row.tag) {
            self.inside.push(row.tag);
        }
        forbidden(row, value.tag, tell)?;
        match row.tag {
            STEP_STATUS if is_root => self.step(value, tell),
            FAILURE_REASON if is_filled && !is_reason(value) => {
                tell.finding(value.tag, Weight::Strict, OUTSIDE)
            }
            _ => Ok(()),
        }
    }

    /// A sequence begins.
    ///
    /// # Errors
    /// The refusal, if it must not be there and the profile refuses that.
    pub(super) fn open_sequence(&mut self, tag: Tag, tell: &mut impl Tell) -> Result<(), Refusal> {
        if self.ignored > 0 {
            self.ignored = self.ignored.saturating_add(1);
            return Ok(());
        }
        let Some(open) = self.open.last_mut() else {
            return Ok(());
        };
        let found = open.row(tag);
        open.sequence = found.map(|(place, _)| place);
        if found.is_none_or(|(_, row)| row.items.is_empty()) {
            self.ignored = 1;
        }
        let Some((place, row)) = found else {
            return Ok(());
        };
        open.mark(place, false);
        forbidden(row, tag, tell)
    }

    /// An item of the sequence begins.
    pub(super) fn open_item(&mut self) {
        let Some(open) = self.open.last_mut().filter(|_| self.ignored <= 1) else {
            return;
        };
        let Some(place) = open.sequence else {
            return;
        };
        open.mark(place, true);
        let rows = open.rows.get(place).map_or(&[][..], |row| row.items);
        if self.ignored == 0 {
            self.open.push(Open::new(rows));
        }
    }

    /// The item is over.
    ///
    /// # Errors
    /// The refusal, if the profile refuses what it lacks.
    pub(super) fn close_item(&mut self, tell: &mut impl Tell) -> Result<(), Refusal> {
        if self.ignored > 0 || self.open.len() <= 1 {
            return Ok(());
        }
        let Some(item) = self.open.pop() else {
            return Ok(());
        };
        item.judge(false, tell)
    }

    /// The sequence is over.
    pub(super) fn close_sequence(&mut self) {
        self.ignored = self.ignored.saturating_sub(1);
    }

    /// The data set is complete.
    ///
    /// # Errors
    /// The refusal, if the profile refuses what it lacks.
    pub(super) fn finish(&mut self, tell: &mut impl Tell) -> Result<(), Refusal> {
        self.open.truncate(1);
        let Some(data_set) = self.open.last() else {
            return Ok(());
        };
        let is_final = self.act == Act::Changes
            && matches!(
                self.status,
                Some(StepStatus::Completed | StepStatus::Discontinued)
            );
        data_set.judge(is_final, tell)?;
        for (place, row) in data_set.rows.iter().enumerate() {
            let (is_present, _) = data_set.state(place);
            if is_present && row.usage == Usage::Either && self.inside.contains(&row.tag) {
                tell.finding(tag(row.tag), Weight::Strict, TWICE)?;
            }
        }
        Ok(())
    }

    //= DICOM PS3.4 F.7.2.1.2
    fn step(&mut self, value: &Value<'_>, tell: &mut impl Tell) -> Result<(), Refusal> {
        let status = StepStatus::of(value.bytes);
        self.status = Some(status);
        let detail = match (self.act, status) {
            (Act::Begins, StepStatus::InProgress) | (Act::Commits, _) => None,
            // What is empty is told at the end.
            (Act::Begins, StepStatus::Unknown) if is_empty(value) => None,
            (Act::Begins, _) => Some(NOT_BEGUN),
            (Act::Changes, StepStatus::Unknown) => Some(NO_STATUS),
            (
                Act::Changes,
                StepStatus::InProgress | StepStatus::Completed | StepStatus::Discontinued,
            ) => None,
        };
        detail.map_or(Ok(()), |detail| {
            tell.finding(value.tag, Weight::Content, detail)
        })
    }
}

impl Open {
    fn new(rows: &'static [Attribute]) -> Self {
        Self {
            rows,
            present: 0,
            filled: 0,
            sequence: None,
        }
    }

    fn row(&self, tag: Tag) -> Option<(usize, &'static Attribute)> {
        let wanted = number(tag);
        let place = self.rows.binary_search_by_key(&wanted, |row| row.tag);
        let place = place.ok()?;
        Some((place, self.rows.get(place)?))
    }

    fn mark(&mut self, place: usize, is_filled: bool) {
        let bit = bit(place);
        self.present |= bit;
        if is_filled {
            self.filled |= bit;
        }
    }

    /// Whether the attribute is present, and whether it has a value.
    fn state(&self, place: usize) -> (bool, bool) {
        let bit = bit(place);
        (self.present & bit != 0, self.filled & bit != 0)
    }

    fn judge(&self, is_final: bool, tell: &mut impl Tell) -> Result<(), Refusal> {
        for (place, row) in self.rows.iter().enumerate() {
            let found = match (row.usage, self.state(place)) {
                (Usage::Required, (false, _)) => Some((Weight::Content, MISSING)),
                (Usage::Required, (true, false)) => Some((Weight::Content, EMPTY)),
                (Usage::Present, (false, _)) => Some((Weight::Strict, MISSING)),
                // It may have come with a change before.
                //= DICOM PS3.4 F.7.2.2.2
                (Usage::Final, (false, _)) if is_final => Some((Weight::Strict, NOT_FINAL)),
                (Usage::Final, (true, false)) if is_final => Some((Weight::Content, EMPTY)),
                (
                    Usage::Required
                    | Usage::Present
                    | Usage::Optional
                    | Usage::Final
                    | Usage::Fixed
                    | Usage::Set
                    | Usage::Absent
                    | Usage::Either,
                    _,
                ) => None,
            };
            if let Some((weight, detail)) = found {
                tell.finding(tag(row.tag), weight, detail)?;
            }
        }
        Ok(())
    }
}

/// What must not be there at all.
fn forbidden(row: &Attribute, tag: Tag, tell: &mut impl Tell) -> Result<(), Refusal> {
    match row.usage {
        Usage::Fixed => tell.finding(tag, Weight::Content, FORBIDDEN),
        Usage::Set => tell.finding(tag, Weight::Strict, FORBIDDEN),
        Usage::Absent => tell.finding(tag, Weight::Content, NOTHING_FAILED),
        Usage::Required | Usage::Present | Usage::Optional | Usage::Final | Usage::Either => Ok(()),
    }
}

/// The status (PS3.7 annex C) of what a finding of this module says.
pub(super) fn status_of(detail: &str) -> Option<u16> {
    match detail {
        MISSING | NOT_FINAL => Some(status::MISSING_ATTRIBUTE),
        EMPTY => Some(status::MISSING_VALUE),
        NOT_BEGUN | NO_STATUS | OUTSIDE | TWICE | NOTHING_FAILED => Some(status::INVALID_ATTRIBUTE),
        FORBIDDEN => Some(status::PROCESSING_FAILURE),
        _ => None,
    }
}

/// Nothing but padding is no value.
fn is_empty(value: &Value<'_>) -> bool {
    let is_whole = usize::try_from(value.length) == Ok(value.bytes.len());
    let is_number = number(value.tag) == FAILURE_REASON;
    is_whole
        && value
            .bytes
            .iter()
            .all(|byte| matches!(byte, b' ' | 0) && !is_number)
}

/// Why storage commitment can fail (PS3.3 C.14.1.1).
fn is_reason(value: &Value<'_>) -> bool {
    let &[a, b] = value.bytes else {
        return false;
    };
    let reason = match value.big_endian {
        true => u16::from_be_bytes([a, b]),
        false => u16::from_le_bytes([a, b]),
    };
    matches!(reason, 0x0110 | 0x0112 | 0x0119 | 0x0122 | 0x0131 | 0x0213)
}

fn bit(place: usize) -> u32 {
    let place = u32::try_from(place).unwrap_or(u32::MAX);
    1_u32.checked_shl(place).unwrap_or_default()
}

fn number(tag: Tag) -> u32 {
    u32::from(tag.group()) << 16 | u32::from(tag.element())
}

fn tag(number: u32) -> Tag {
    let [a, b, c, d] = number.to_be_bytes();
    Tag(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

const MISSING: &str = "is required by the service and missing";
const EMPTY: &str = "is required by the service and empty";
const NOT_FINAL: &str = "is required in the final state and does not come with it";
const FORBIDDEN: &str = "must not change";
const NOTHING_FAILED: &str = "is in a message in which nothing can have failed";
const NOT_BEGUN: &str = "of a new step is not IN PROGRESS";
const NO_STATUS: &str = "is none that a step can have";
const OUTSIDE: &str = "is not one of the reasons";
const TWICE: &str = "stands outside of the list of instances and inside";

//! What services ask of the data sets of normalized instances: performed procedure steps (PS3.4 F.7.2, table F.7.2-1)
//! and storage commitment (PS3.4 J.3.2 and J.3.3, tables J.3-1 and J.3-2).
//!
//! In: service, SOP class, event type. Out: tables by tag. An attribute that is not in its table may be there.
//! The contents of code sequences are in no table, and what is type 3 only where its items or its value are judged.

use super::super::dimse::Service;
use super::super::sop::{PERFORMED_PROCEDURE_STEP, STORAGE_COMMITMENT};

/// An attribute at a level.
#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) tag: u32,
    pub(super) usage: Usage,
    /// The attributes of its items, if it is a sequence of which they are judged.
    pub(super) items: &'static [Self],
}

/// What the service asks of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// Type 1: present with a value.
    Required,
    /// Type 2: present, perhaps without a value.
    Present,
    /// Type 3: only its items or its value are judged.
    Optional,
    /// Type 3, but with a value in the final state (table F.7.2-1, note 1).
    Final,
    /// Not allowed: whom and what the instance is about stands since it was created.
    Fixed,
    /// Not allowed: something else that stands since it was created.
    Set,
    /// Absent from a report of success.
    Absent,
    /// Not at this level if it is at the other: outside of Referenced SOP Sequence or inside (PS3.4 J.3.2.1, J.3.3.1).
    Either,
}

/// A table, and what its data set does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    pub(super) rows: &'static [Attribute],
    pub(super) act: Act,
}

/// What a data set does to its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A performed procedure step begins: its status is IN PROGRESS.
    Begins,
    /// A performed procedure step changes, and perhaps ends.
    Changes,
    /// Storage commitment is asked for or reported.
    Commits,
}

impl Table {
    /// Of a request of this service for an instance of this class, if there is one.
    pub(super) fn of(service: Service, sop_class: &str, type_id: Option<u16>) -> Option<Self> {
        let (rows, act): (&[Attribute], Act) = match (service, sop_class, type_id) {
            (Service::NCreate, PERFORMED_PROCEDURE_STEP, _) => (&STEP_BEGINS, Act::Begins),
            (Service::NSet, PERFORMED_PROCEDURE_STEP, _) => (&STEP_CHANGES, Act::Changes),
            (Service::NAction, STORAGE_COMMITMENT, _) => (&COMMITMENT_ASKED, Act::Commits),
            (Service::NEventReport, STORAGE_COMMITMENT, Some(1)) => {
                (&COMMITMENT_GIVEN, Act::Commits)
            }
            (Service::NEventReport, STORAGE_COMMITMENT, Some(2)) => {
                (&COMMITMENT_FAILED, Act::Commits)
            }
            _ => return None,
        };
        Some(Self { rows, act })
    }
}

const fn row(tag: u32, usage: Usage) -> Attribute {
    sequence(tag, usage, &[])
}

const fn sequence(tag: u32, usage: Usage, items: &'static [Attribute]) -> Attribute {
    Attribute { tag, usage, items }
}

use Usage::{Absent, Either, Final, Fixed, Optional, Present, Required, Set};

/// (0040,0252) Performed Procedure Step Status.
pub(super) const STEP_STATUS: u32 = 0x0040_0252;
/// (0008,1197) Failure Reason.
pub(super) const FAILURE_REASON: u32 = 0x0008_1197;
/// (0008,1199) Referenced SOP Sequence.
const REFERENCED: u32 = 0x0008_1199;
/// (0008,1198) Failed SOP Sequence.
const FAILED: u32 = 0x0008_1198;

/// SOP Instance Reference (PS3.3 table 10-11).
static REFERENCE: [Attribute; 2] = [row(0x0008_1150, Required), row(0x0008_1155, Required)];

static SCHEDULED: [Attribute; 8] = [
    row(0x0008_0050, Present),
    sequence(0x0008_1110, Present, &REFERENCE),
    row(0x0020_000d, Required),
    row(0x0032_1060, Present),
    row(0x0040_0007, Present),
    row(0x0040_0008, Present),
    row(0x0040_0009, Present),
    row(0x0040_1001, Present),
];

static SERIES: [Attribute; 8] = [
    row(0x0008_0054, Present),
    row(0x0008_103e, Present),
    row(0x0008_1050, Present),
    row(0x0008_1070, Present),
    sequence(0x0008_1140, Present, &REFERENCE),
    row(0x0018_1030, Required),
    row(0x0020_000e, Required),
    sequence(0x0040_0220, Present, &REFERENCE),
];

//= DICOM PS3.4 F.7.2.1
static STEP_BEGINS: [Attribute; 22] = [
    row(0x0008_0060, Required),
    row(0x0008_1032, Present),
    sequence(0x0008_1120, Present, &REFERENCE),
    row(0x0010_0010, Present),
    row(0x0010_0020, Present),
    row(0x0010_0030, Present),
    row(0x0010_0040, Present),
    row(0x0020_0010, Present),
    row(0x0040_0241, Required),
    row(0x0040_0242, Present),
    row(0x0040_0243, Present),
    row(0x0040_0244, Required),
    row(0x0040_0245, Required),
    row(0x0040_0250, Present),
    row(0x0040_0251, Present),
    row(STEP_STATUS, Required),
    row(0x0040_0253, Required),
    row(0x0040_0254, Present),
    row(0x0040_0255, Present),
    row(0x0040_0260, Present),
    sequence(0x0040_0270, Required, &SCHEDULED),
    sequence(0x0040_0340, Present, &SERIES),
];

//= DICOM PS3.4 F.7.2.2
static STEP_CHANGES: [Attribute; 26] = [
    row(0x0008_0060, Set),
    row(0x0008_1120, Fixed),
    row(0x0010_0010, Fixed),
    row(0x0010_0020, Fixed),
    row(0x0010_0021, Fixed),
    row(0x0010_0024, Fixed),
    row(0x0010_0030, Fixed),
    row(0x0010_0040, Fixed),
    row(0x0010_1002, Fixed),
    row(0x0020_0010, Set),
    row(0x0038_0010, Set),
    row(0x0038_0014, Set),
    row(0x0038_0060, Set),
    row(0x0038_0062, Set),
    row(0x0038_0064, Set),
    row(0x0040_0241, Set),
    row(0x0040_0242, Set),
    row(0x0040_0243, Set),
    row(0x0040_0244, Set),
    row(0x0040_0245, Set),
    row(0x0040_0250, Final),
    row(0x0040_0251, Final),
    row(STEP_STATUS, Optional),
    row(0x0040_0253, Set),
    row(0x0040_0270, Fixed),
    sequence(0x0040_0340, Final, &SERIES),
];

static ASKED: [Attribute; 4] = [
    row(0x0008_1150, Required),
    row(0x0008_1155, Required),
    row(0x0088_0130, Either),
    row(0x0088_0140, Either),
];

static GIVEN: [Attribute; 5] = [
    row(0x0008_0054, Either),
    row(0x0008_1150, Required),
    row(0x0008_1155, Required),
    row(0x0088_0130, Either),
    row(0x0088_0140, Either),
];

static NOT_GIVEN: [Attribute; 3] = [
    row(0x0008_1150, Required),
    row(0x0008_1155, Required),
    row(FAILURE_REASON, Required),
];

//= DICOM PS3.4 J.3.2
static COMMITMENT_ASKED: [Attribute; 5] = [
    row(0x0008_1195, Required),
    row(FAILED, Absent),
    sequence(REFERENCED, Required, &ASKED),
    row(0x0088_0130, Either),
    row(0x0088_0140, Either),
];

//= DICOM PS3.4 J.3.3
static COMMITMENT_GIVEN: [Attribute; 6] = [
    row(0x0008_0054, Either),
    row(0x0008_1195, Required),
    row(FAILED, Absent),
    sequence(REFERENCED, Required, &GIVEN),
    row(0x0088_0130, Either),
    row(0x0088_0140, Either),
];

//= DICOM PS3.4 J.3.3
static COMMITMENT_FAILED: [Attribute; 6] = [
    row(0x0008_0054, Either),
    row(0x0008_1195, Required),
    sequence(FAILED, Required, &NOT_GIVEN),
    // There if something did not fail.
    sequence(REFERENCED, Optional, &GIVEN),
    row(0x0088_0130, Either),
    row(0x0088_0140, Either),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_fit_into_the_bits_of_a_level() {
        let mut levels: Vec<&[Attribute]> = vec![
            &STEP_BEGINS,
            &STEP_CHANGES,
            &COMMITMENT_ASKED,
            &COMMITMENT_GIVEN,
            &COMMITMENT_FAILED,
        ];
        while let Some(level) = levels.pop() {
            assert!(level.len() <= 32, "more than bits");
            assert!(level.is_sorted_by_key(|row| row.tag));
            assert!(
                level
                    .iter()
                    .zip(level.iter().skip(1))
                    .all(|(a, b)| a.tag != b.tag)
            );
            levels.extend(level.iter().map(|row| row.items));
        }
    }
}

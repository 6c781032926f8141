//! Observations: which may be made, of what type, in which units, within which bounds.
//!
//! In: an OBX segment. Out: a finding for the first thing that is wrong.
//! One code may stand for several observations, such as a pressure in two units: one of them must fit wholly.

use serde::{Deserialize, Serialize};

use super::super::finding::{ErrorCode, Fault, Finding};
use super::super::segment::Segment;
use super::Told;
use super::decimal::{Decimal, Number};
use super::walk::{Slice, Walk, place};
use crate::Reason;

/// An observation that may be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// OBX-3.1.
    pub code: String,
    /// OBX-3.3; may be empty.
    pub system: String,
    /// Allowed values of OBX-2; empty allows all.
    pub types: Vec<String>,
    /// Allowed values of OBX-6.1, of which a value must have one; empty allows all.
    pub units: Vec<String>,
    /// The least that each repetition of OBX-5 may be.
    pub min: Option<Decimal>,
    /// The most.
    pub max: Option<Decimal>,
}

/// The observations that may be made, found by their code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Observation>", into = "Vec<Observation>")]
pub struct Observations(Vec<Observation>);

/// The fields of OBX that matter here.
struct Fields<'a> {
    value_type: Slice<'a>,
    value: Slice<'a>,
    units: Slice<'a>,
    is_valued: bool,
    repetition: u8,
}

/// What does not fit, in the order in which one looks: the last is the nearest miss.
struct Wrong {
    field: usize,
    repetition: usize,
    component: usize,
    start: usize,
    detail: &'static str,
    code: ErrorCode,
}

pub(super) fn judge(segment: &Segment<'_>, allowed: &Observations, told: &mut Told<'_>) {
    let mut walk = Walk::new(segment);
    let value_type = walk.field(2);
    let identifier = walk.field(3);
    let value = walk.field(5);
    let fields = Fields {
        value_type,
        value,
        units: walk.field(6).part(1, 0, segment),
        is_valued: value.has_content(segment),
        repetition: segment.delimiters().repetition,
    };
    let (code, system) = (
        identifier.part(1, 0, segment),
        identifier.part(3, 0, segment),
    );
    let mut nearest: Option<Wrong> = None;
    for observation in allowed.named(code.bytes, system.bytes) {
        let Some(wrong) = observation.misfit(&fields) else {
            return;
        };
        if nearest
            .as_ref()
            .is_none_or(|near| wrong.step() > near.step())
        {
            nearest = Some(wrong);
        }
    }
    let wrong = nearest.unwrap_or(Wrong {
        field: 3,
        repetition: 0,
        component: 0,
        start: identifier.start,
        detail: "is not an observation that the profile allows",
        code: ErrorCode::TableValue,
    });
    told.add(|weight| {
        let part = (wrong.component, 0);
        let place = place(segment, wrong.field, wrong.repetition, part, wrong.start);
        let (reason, fault) = (Reason::Field, Fault::Content);
        Finding::new(weight, reason, place, wrong.detail, wrong.code, fault)
    });
}

impl From<Vec<Observation>> for Observations {
    fn from(mut all: Vec<Observation>) -> Self {
        // Stable, so that those of one code are tried in the order in which they were written.
        all.sort_by(|a, b| a.identifier().cmp(&b.identifier()));
        Self(all)
    }
}

impl From<Observations> for Vec<Observation> {
    fn from(observations: Observations) -> Self {
        observations.0
    }
}

impl Observations {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn named(&self, code: &[u8], system: &[u8]) -> impl Iterator<Item = &Observation> {
        let wanted = (code, system);
        let first = self.0.partition_point(|one| one.identifier() < wanted);
        let rest = self.0.get(first..).unwrap_or_default();
        rest.iter()
            .take_while(move |one| one.identifier() == wanted)
    }
}

impl Observation {
    fn identifier(&self) -> (&[u8], &[u8]) {
        (self.code.as_bytes(), self.system.as_bytes())
    }

    /// What of the segment is not this observation.
    fn misfit(&self, fields: &Fields<'_>) -> Option<Wrong> {
        let listed = |list: &[String], slice: Slice<'_>| {
            list.is_empty()
                || (slice.bytes.is_empty() && !fields.is_valued)
                || list.iter().any(|one| one.as_bytes() == slice.bytes)
        };
        let wrong = |field, component, slice: Slice<'_>, detail| Wrong {
            field,
            repetition: 0,
            component,
            start: slice.start,
            detail,
            code: ErrorCode::TableValue,
        };
        if !listed(&self.types, fields.value_type) {
            let detail = "is not the type that the profile gives this observation";
            return Some(wrong(2, 0, fields.value_type, detail));
        }
        if !listed(&self.units, fields.units) {
            let detail = "is not a unit that the profile gives this observation";
            return Some(wrong(6, 1, fields.units, detail));
        }
        self.out_of_range(fields)
    }

    fn out_of_range(&self, fields: &Fields<'_>) -> Option<Wrong> {
        if !fields.is_valued || (self.min.is_none() && self.max.is_none()) {
            return None;
        }
        let pieces = || fields.value.split(fields.repetition);
        let several = pieces().nth(1).is_some();
        pieces().enumerate().find_map(|(index, piece)| {
            if piece.bytes.is_empty() {
                return None;
            }
            let detail = match Number::parse(piece.bytes) {
                None => "is not a number, and the profile gives this observation bounds",
                Some(number)
                    if self
                        .min
                        .as_ref()
                        .is_some_and(|min| min.compare(&number).is_lt()) =>
                {
                    "is less than the profile allows"
                }
                Some(number)
                    if self
                        .max
                        .as_ref()
                        .is_some_and(|max| max.compare(&number).is_gt()) =>
                {
                    "is more than the profile allows"
                }
                Some(_) => return None,
            };
            Some(Wrong {
                field: 5,
                repetition: if several { index.saturating_add(1) } else { 0 },
                component: 0,
                start: piece.start,
                detail,
                code: ErrorCode::DataType,
            })
        })
    }
}

impl Wrong {
    /// How far an observation fits: its type, its units, its value.
    fn step(&self) -> u8 {
        match self.field {
            5 => 2,
            6 => 1,
            _ => 0,
        }
    }
}

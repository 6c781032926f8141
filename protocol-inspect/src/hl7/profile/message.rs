//! Segments and fields: which may, must and must not be there, and what their values may be.
//!
//! In: a message and what a profile says of its type. Out: findings.
//! One pass over each segment of which something is said, as far as its last field of which something is said.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::super::finding::{ErrorCode, Fault, Finding};
use super::super::header::Header;
use super::super::message::Message;
use super::super::place::Place;
use super::super::segment::Segment;
use super::Told;
use super::pattern::Pattern;
use super::walk::{Slice, Walk, place};
use crate::Reason;

/// What messages of some types must look like. The default asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageConstraints {
    /// `ORU^R01` or `ORU^*`; empty: all messages.
    types: Vec<String>,
    /// The segments that may occur beside MSH; empty: any.
    allowed: BTreeSet<String>,
    /// The segments that must not occur.
    forbidden: BTreeSet<String>,
    /// The segments of which there must be at least one.
    required: BTreeSet<String>,
    /// What is asked of the fields of a segment, in their order.
    fields: BTreeMap<String, Vec<Check>>,
}

/// A field, a component or a subcomponent; 0 is "the whole".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Part {
    /// The field, from 1.
    pub field: usize,
    /// The component.
    pub component: usize,
    /// The subcomponent.
    pub subcomponent: usize,
}

/// What is asked of a part of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Constraint {
    /// It is valued: a field in one repetition at least, a part in each repetition that is not empty.
    Required,
    /// It is empty.
    Empty,
    /// Its value is one of these.
    OneOf(BTreeSet<String>),
    /// Its whole value matches.
    Matches(Pattern),
    /// It has at most so many repetitions; said of fields.
    Repetitions(usize),
    /// Its value has at most so many bytes.
    Length(usize),
}

/// One constraint and what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Check {
    part: Part,
    constraint: Constraint,
}

impl MessageConstraints {
    /// For messages of these types, `ORU^R01` or `ORU^*`; for all if there are none.
    #[must_use]
    pub fn of_types(types: Vec<String>) -> Self {
        Self {
            types,
            ..Self::default()
        }
    }

    /// Lets a segment occur; those that are not named so may not, MSH excepted.
    pub fn allow_segment(&mut self, name: &str) {
        self.allowed.insert(name.to_owned());
    }

    /// Keeps a segment out.
    pub fn forbid_segment(&mut self, name: &str) {
        self.forbidden.insert(name.to_owned());
    }

    /// Asks for at least one segment of a name.
    pub fn require_segment(&mut self, name: &str) {
        self.required.insert(name.to_owned());
    }

    /// Asks something of a part of every segment of a name.
    pub fn constrain(&mut self, segment: &str, part: Part, constraint: Constraint) {
        let checks = self.fields.entry(segment.to_owned()).or_default();
        let at = checks.partition_point(|check| check.part.field <= part.field);
        checks.insert(at, Check { part, constraint });
    }

    /// Whether it is about messages with this header.
    pub(super) fn is_about(&self, header: &Header) -> bool {
        self.types.is_empty() || self.types.iter().any(|allowed| header.is_of(allowed))
    }
}

pub(super) fn judge(message: &Message<'_>, constraints: &MessageConstraints, told: &mut Told<'_>) {
    for segment in message.segments() {
        let name = segment.name();
        let outside =
            !constraints.allowed.is_empty() && name != "MSH" && !constraints.allowed.contains(name);
        if outside {
            structure(segment, "is no segment that the profile allows", told);
        } else if constraints.forbidden.contains(name) {
            structure(segment, "is a segment that the profile forbids", told);
        }
        if let Some(checks) = constraints.fields.get(name) {
            fields(segment, checks, told);
        }
    }
    for name in &constraints.required {
        if !message.segments().any(|segment| segment.name() == name) {
            told.add(|weight| {
                let place = Place {
                    segment: name.as_str().into(),
                    occurrence: 1,
                    ..Place::default()
                };
                let detail = "is required by the profile and missing";
                let code = ErrorCode::SegmentSequence;
                Finding::new(
                    weight,
                    Reason::Structure,
                    place,
                    detail,
                    code,
                    Fault::Content,
                )
            });
        }
    }
}

fn structure(segment: &Segment<'_>, detail: &'static str, told: &mut Told<'_>) {
    told.add(|weight| {
        let place = Place::of(segment, segment.offset());
        let code = ErrorCode::SegmentSequence;
        Finding::new(
            weight,
            Reason::Structure,
            place,
            detail,
            code,
            Fault::Content,
        )
    });
}

fn fields(segment: &Segment<'_>, checks: &[Check], told: &mut Told<'_>) {
    let mut walk = Walk::new(segment);
    for check in checks {
        let field = walk.field(check.part.field);
        if let Some(wrong) = check.judge(field, segment) {
            told.add(|weight| wrong.finding(weight, check, segment));
        }
    }
}

/// Where and how a constraint is not met.
struct Wrong {
    /// 0 if it is the field as a whole.
    repetition: usize,
    start: usize,
}

impl Check {
    /// The first thing that is wrong with a field.
    fn judge(&self, field: Slice<'_>, segment: &Segment<'_>) -> Option<Wrong> {
        let Part {
            component,
            subcomponent,
            ..
        } = self.part;
        let between = segment.delimiters().repetition;
        let several = || field.split(between).nth(1).is_some();
        let at = |index: usize, start| Wrong {
            repetition: if several() {
                index.saturating_add(1)
            } else {
                0
            },
            start,
        };
        let whole = Wrong {
            repetition: 0,
            start: field.start,
        };
        match &self.constraint {
            Constraint::Repetitions(most) => {
                let more = field.split(between).nth(*most);
                return more.map(|repetition| Wrong {
                    repetition: most.saturating_add(1),
                    start: repetition.start,
                });
            }
            Constraint::Required if component == 0 => {
                let valued = field.split(between).any(|r| r.is_valued(segment));
                return (!valued).then_some(whole);
            }
            Constraint::Required if !field.has_content(segment) => return Some(whole),
            Constraint::Required
            | Constraint::Empty
            | Constraint::OneOf(_)
            | Constraint::Matches(_)
            | Constraint::Length(_) => {}
        }
        field
            .split(between)
            .enumerate()
            .find_map(|(index, repetition)| {
                let part = repetition.part(component, subcomponent, segment);
                let good = match &self.constraint {
                    Constraint::Required => {
                        !repetition.has_content(segment) || part.is_valued(segment)
                    }
                    Constraint::Repetitions(_) => true,
                    Constraint::Empty => !part.has_content(segment),
                    Constraint::OneOf(_) | Constraint::Matches(_) | Constraint::Length(_)
                        if !part.has_content(segment) =>
                    {
                        true
                    }
                    Constraint::OneOf(values) => contains(values, part.bytes),
                    Constraint::Matches(pattern) => pattern.matches(part.bytes),
                    Constraint::Length(most) => part.bytes.len() <= *most,
                };
                (!good).then(|| at(index, part.start))
            })
    }
}

fn contains(values: &BTreeSet<String>, value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|value| values.contains(value))
}

impl Wrong {
    fn finding(self, weight: super::Weight, check: &Check, segment: &Segment<'_>) -> Finding {
        let (detail, code) = match &check.constraint {
            Constraint::Required => (
                "is required by the profile and missing",
                ErrorCode::RequiredField,
            ),
            Constraint::Empty => (
                "is valued, and the profile says that it is empty",
                ErrorCode::DataType,
            ),
            Constraint::OneOf(_) => (
                "is not a value that the profile allows",
                ErrorCode::TableValue,
            ),
            Constraint::Matches(_) => (
                "is not of the form that the profile asks for",
                ErrorCode::DataType,
            ),
            Constraint::Repetitions(_) => (
                "has more repetitions than the profile allows",
                ErrorCode::DataType,
            ),
            Constraint::Length(_) => ("is longer than the profile allows", ErrorCode::DataType),
        };
        let Part {
            field,
            component,
            subcomponent,
        } = check.part;
        let part = (component, subcomponent);
        let place = place(segment, field, self.repetition, part, self.start);
        Finding::new(weight, Reason::Field, place, detail, code, Fault::Content)
    }
}

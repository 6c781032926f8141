//! Judges the fields of every segment that the message's version knows: present, repeated, too many, too long,
//! and each value by its data type and table.
//!
//! In: a message whose counts are within their limits. Out: findings with the exact place, never a value.
//! Knows nothing of which segments a message needs, of Z segments, and of the header fields that `check.rs` judges.
//!
//! Only a value that no reader can understand (`12a` as a number, the 31st of June) is wrong beyond doubt.
//! What is missing, too many or too long by the letter of the standard weighs [`Weight::Strict`]: newer versions add
//! fields, components and codes, and senders use them early.
//!
//! One pass: every byte is looked at once to find where values end, and once more as part of its value.

mod datatype;
mod primitive;

use super::finding::{ErrorCode, Fault, Finding, Findings, Weight};
use super::grammar::{self, Usage, Version};
use super::message::Message;
use super::place::Place;
use super::policy::Level;
use super::segment::Segment;
use crate::Reason;
use datatype::{Parts, Shape, Types, bit};

/// Judges the fields of all segments.
pub(crate) fn judge(message: &Message<'_>, findings: &mut Findings) {
    let Some(version) = version(message) else {
        return;
    };
    let mut types = Types::new(version);
    let mut stops = [false; 256];
    let delimiters = message.delimiters();
    for byte in [
        delimiters.field,
        delimiters.component,
        delimiters.repetition,
        delimiters.subcomponent,
    ] {
        if let Some(stop) = stops.get_mut(usize::from(byte)) {
            *stop = true;
        }
    }
    let mut known: Option<Known> = None;
    for segment in message.segments() {
        // Segments of one name come in rows.
        let name = segment.name().as_bytes();
        if known.is_none_or(|k| k.grammar.id().0 != name) {
            known = grammar::SegmentId::new(name)
                .and_then(|id| version.segment(id))
                .map(Known::new);
        }
        // A segment without fields is known by its name alone.
        if let Some(known) = known.filter(|k| !k.grammar.fields().is_empty()) {
            Walk::new(segment, known, &mut types, findings).run(&stops);
        }
    }
}

fn version(message: &Message<'_>) -> Option<Version> {
    let msh = message.segments().next()?;
    Version::of(str::from_utf8(msh.field(12).component(1)).ok()?)
}

/// A segment of the standard, and its required fields, the first in bit 0.
#[derive(Clone, Copy)]
struct Known {
    grammar: grammar::Segment,
    required: u128,
}

impl Known {
    fn new(grammar: grammar::Segment) -> Self {
        let required = grammar
            .fields()
            .iter()
            .zip(0_u32..)
            .filter(|(field, _)| field.usage == Usage::Required)
            .fold(0, |mask, (_, index)| {
                mask | 1_u128.checked_shl(index).unwrap_or_default()
            });
        Self { grammar, required }
    }
}

/// Where in the segment the walk stands. Numbers count from 1.
#[derive(Clone, Copy)]
struct At {
    field: usize,
    repetition: usize,
    component: usize,
    subcomponent: usize,
    /// Byte of the segment.
    byte: usize,
}

/// The walk over one segment.
struct Walk<'w, 'a> {
    segment: &'w Segment<'a>,
    grammar: grammar::Segment,
    required: u128,
    types: &'w mut Types<'a>,
    findings: &'w mut Findings,
    at: At,
    /// What the standard says of the field at hand; `None` if it is not ours to judge.
    field: Option<grammar::Field>,
    /// The shape of its data type.
    shape: Shape,
    /// The same of the component at hand.
    part: Option<grammar::Field>,
    part_shape: Shape,
    /// Where the field, its repetition and its component begin.
    field_start: usize,
    repetition_start: usize,
    component_start: usize,
    /// Whether the field has a value.
    valued: bool,
    /// Which components of the repetition and which subcomponents of the component have a value, the first in bit 0.
    components: u64,
    subcomponents: u64,
    /// OBX-2, which tells the data type of OBX-5.
    value_type: &'a [u8],
}

impl<'w, 'a> Walk<'w, 'a> {
    fn new(
        segment: &'w Segment<'a>,
        known: Known,
        types: &'w mut Types<'a>,
        findings: &'w mut Findings,
    ) -> Self {
        Self {
            segment,
            grammar: known.grammar,
            required: known.required,
            types,
            findings,
            at: At {
                field: 0,
                repetition: 1,
                component: 1,
                subcomponent: 1,
                byte: 0,
            },
            field: None,
            shape: Shape::Opaque,
            part: None,
            part_shape: Shape::Opaque,
            field_start: 0,
            repetition_start: 0,
            component_start: 0,
            valued: false,
            components: 0,
            subcomponents: 0,
            value_type: &[],
        }
    }

    fn run(mut self, stops: &[bool; 256]) {
        let delimiters = *self.segment.delimiters();
        let bytes = self.segment.bytes();
        let mut rest = bytes.get(3..).unwrap_or_default();
        if self.segment.name() == "MSH" {
            // MSH-1 and MSH-2 are the delimiters themselves.
            self.at.field = 2;
            let skip = self.segment.field(2).bytes().len().saturating_add(4);
            rest = bytes.get(skip..).unwrap_or_default();
        }
        self.findings.count(bytes.len());
        let mut inside = false;
        loop {
            let length = rest
                .iter()
                .position(|b| stops.get(usize::from(*b)) == Some(&true))
                .unwrap_or(rest.len());
            let (value, tail) = rest.split_at(length);
            let start = bytes.len().saturating_sub(rest.len());
            let end = start.saturating_add(length);
            if inside && !value.is_empty() {
                self.at.byte = start;
                self.value(value);
            }
            let Some((&delimiter, after)) = tail.split_first() else {
                if inside {
                    self.end_field(end);
                }
                break;
            };
            if delimiter == delimiters.field {
                if inside {
                    self.end_field(end);
                }
                inside = true;
                self.begin_field(end.saturating_add(1));
            } else if delimiter == delimiters.repetition {
                self.end_repetition(end);
                self.at.repetition = self.at.repetition.saturating_add(1);
                self.begin_repetition(end.saturating_add(1));
            } else if delimiter == delimiters.component {
                self.end_component(end);
                self.at.component = self.at.component.saturating_add(1);
                self.begin_component(end.saturating_add(1));
            } else {
                self.at.subcomponent = self.at.subcomponent.saturating_add(1);
            }
            rest = after;
        }
        self.absent_fields(bytes.len());
    }

    fn begin_field(&mut self, start: usize) {
        self.at.field = self.at.field.saturating_add(1);
        self.at.repetition = 1;
        self.valued = false;
        self.field_start = start;
        self.field = None;
        self.shape = Shape::Unread;
        self.begin_repetition(start);
    }

    fn begin_repetition(&mut self, start: usize) {
        self.repetition_start = start;
        self.at.component = 1;
        self.components = 0;
        self.begin_component(start);
    }

    fn begin_component(&mut self, start: usize) {
        self.component_start = start;
        self.at.subcomponent = 1;
        self.subcomponents = 0;
        self.part = None;
        self.part_shape = Shape::Unread;
    }

    /// One value that no delimiter divides; never empty.
    fn value(&mut self, value: &'a [u8]) {
        self.findings.count(value.len());
        if !self.valued {
            self.valued = true;
            // Looked up late, because most fields are empty.
            if !self.judged_elsewhere(self.at.field) {
                self.field = self.grammar.field(self.at.field);
            }
            if let Some(field) = self.field {
                self.shape = self.shape_of_field(field);
            }
        }
        let Some(field) = self.field else {
            return;
        };
        if self.segment.name() == "OBX" && self.at.field == 2 && self.components == 0 {
            self.value_type = value;
        }
        self.subcomponents |= bit(self.at.subcomponent);
        self.components |= bit(self.at.component);
        if let Shape::Primitive(primitive) = self.shape {
            if self.at.component > 1 {
                self.once_extra_component(2);
            } else if self.at.subcomponent > 1 {
                self.once_extra_subcomponent(2);
            } else {
                self.primitive(primitive, field.table, value);
            }
        } else if let Some(parts) = self.shape.parts() {
            if matches!(self.part_shape, Shape::Unread) {
                self.part = parts.fields.nth(self.at.component);
                self.part_shape = self.part.map_or(Shape::Opaque, |part| {
                    self.types.part_shape(self.shape, self.at.component, part)
                });
            }
            match self.part {
                Some(part) => self.value_of_component(part, value),
                None => self.once_extra_component(parts.fields.len().saturating_add(1)),
            }
        }
    }

    fn value_of_component(&mut self, part: grammar::Field, value: &'a [u8]) {
        if let Shape::Primitive(primitive) = self.part_shape {
            if self.at.subcomponent > 1 {
                self.once_extra_subcomponent(2);
            } else {
                self.primitive(primitive, part.table, value);
            }
        } else if let Some(parts) = self.part_shape.parts() {
            match parts.fields.nth(self.at.subcomponent) {
                Some(_) if self.at.subcomponent == 1 => {
                    if let Some((primitive, table)) = self.types.innermost(part) {
                        self.primitive(primitive, table, value);
                    }
                }
                // Nothing divides a subcomponent, so of a composite only the first component can stand there.
                Some(sub) => {
                    if let Some((primitive, table)) = self.types.innermost(sub) {
                        self.primitive(primitive, table, value);
                    }
                }
                None => self.once_extra_subcomponent(parts.fields.len().saturating_add(1)),
            }
        }
    }

    fn primitive(&mut self, primitive: grammar::Primitive, table: u16, value: &'a [u8]) {
        if value == NULL {
            return;
        }
        if let Err((weight, detail)) = primitive::judge(primitive, value) {
            self.add(weight, self.at, detail, Level::DataTypes);
        } else if primitive == grammar::Primitive::Id && self.types.is_unlisted(table, value) {
            let detail = "is not a code of its table";
            self.add(Weight::Strict, self.at, detail, Level::Tables);
        }
    }

    fn end_component(&mut self, end: usize) {
        if self.subcomponents == 0 {
            return;
        }
        let (Some(_), Some(part)) = (self.shape.parts(), self.part) else {
            return;
        };
        if self.is_null(self.component_start, end) {
            return;
        }
        if self
            .types
            .is_too_long(self.segment, (self.component_start, end), part)
        {
            let at = At {
                subcomponent: 0,
                byte: self.component_start,
                ..self.at
            };
            self.add(Weight::Strict, at, TOO_LONG, Level::Lengths);
        }
        if let Some(subs) = self.part_shape.parts() {
            self.missing_parts(subs, self.subcomponents, |number, at| At {
                subcomponent: number,
                ..at
            });
        }
    }

    fn end_repetition(&mut self, end: usize) {
        self.end_component(end);
        let Some(field) = self.field else {
            return;
        };
        if self.components == 0 || self.is_null(self.repetition_start, end) {
            return;
        }
        let whole = At {
            component: 0,
            subcomponent: 0,
            byte: self.repetition_start,
            ..self.at
        };
        if self
            .types
            .is_too_long(self.segment, (self.repetition_start, end), field)
        {
            self.add(Weight::Strict, whole, TOO_LONG, Level::Lengths);
        }
        if let Some(parts) = self.shape.parts() {
            self.missing_parts(parts, self.components, |number, at| At {
                component: number,
                subcomponent: 0,
                ..at
            });
        }
    }

    fn end_field(&mut self, end: usize) {
        if self.valued {
            self.end_repetition(end);
        }
        let whole = At {
            repetition: 0,
            component: 0,
            subcomponent: 0,
            byte: self.field_start,
            ..self.at
        };
        if !self.valued {
            let index = u32::try_from(self.at.field.saturating_sub(1)).unwrap_or(u32::MAX);
            let required = self.required.checked_shr(index).unwrap_or_default() & 1 == 1;
            if required && !self.judged_elsewhere(self.at.field) {
                self.missing(whole);
            }
            return;
        }
        let Some(field) = self.field else {
            let last = self.grammar.fields().len();
            // QPD and RDT end in as many fields as the query has.
            let open_end = self.grammar.field(last).is_some_and(datatype::goes_on);
            if self.at.field > last && !open_end {
                let detail = "stands behind the last field of its segment";
                self.add(Weight::Strict, whole, detail, Level::Fields);
            }
            return;
        };
        if field.usage == Usage::Withdrawn {
            self.add(Weight::Notice, whole, "is withdrawn", Level::Fields);
        } else if field.usage == Usage::NotUsed {
            let detail = "must not be valued";
            self.add(Weight::Strict, whole, detail, Level::Fields);
        }
        let too_many = field.repeats > 0 && self.at.repetition > usize::from(field.repeats);
        if too_many && !datatype::goes_on(field) {
            let detail = "has more repetitions than allowed";
            self.add(Weight::Strict, whole, detail, Level::Fields);
        }
        let untyped =
            self.segment.name() == "OBX" && self.at.field == 5 && self.value_type.is_empty();
        if untyped {
            self.missing(At { field: 2, ..whole });
        }
    }

    /// The fields behind the end of the segment.
    fn absent_fields(&mut self, end: usize) {
        let seen = u32::try_from(self.at.field).unwrap_or(u32::MAX);
        let mut left = self.required.checked_shr(seen).unwrap_or_default();
        while left != 0 {
            let number = seen.saturating_add(left.trailing_zeros()).saturating_add(1);
            left &= left.wrapping_sub(1);
            let number = usize::try_from(number).unwrap_or(usize::MAX);
            if !self.judged_elsewhere(number) {
                self.missing(At {
                    field: number,
                    repetition: 0,
                    component: 0,
                    subcomponent: 0,
                    byte: end,
                });
            }
        }
    }

    fn judged_elsewhere(&self, field: usize) -> bool {
        self.segment.name() == "MSH" && HEADER.contains(&field)
    }

    fn is_null(&self, start: usize, end: usize) -> bool {
        self.segment.bytes().get(start..end) == Some(NULL)
    }

    fn missing_parts(&mut self, parts: Parts, valued: u64, place: impl Fn(usize, At) -> At) {
        if parts.required & !valued == 0 {
            return;
        }
        for number in 1..=parts.fields.len() {
            if parts.required & !valued & bit(number) != 0 {
                let at = At {
                    byte: self.repetition_start,
                    ..self.at
                };
                self.missing(place(number, at));
            }
        }
    }

    fn missing(&mut self, at: At) {
        let detail = "is required and missing";
        self.add_coded(
            Weight::Strict,
            at,
            detail,
            Level::Fields,
            ErrorCode::RequiredField,
        );
    }

    /// Says it of the first component that is too many, not of each.
    fn once_extra_component(&mut self, first: usize) {
        let from = bit(first).wrapping_sub(1);
        if (self.components & !from).count_ones() <= 1 && self.subcomponents.count_ones() <= 1 {
            let at = At {
                subcomponent: 0,
                ..self.at
            };
            let detail = "stands behind the last component of its data type";
            self.add(Weight::Strict, at, detail, Level::DataTypes);
        }
    }

    fn once_extra_subcomponent(&mut self, first: usize) {
        let from = bit(first).wrapping_sub(1);
        if (self.subcomponents & !from).count_ones() <= 1 {
            let detail = "stands behind the last subcomponent of its data type";
            self.add(Weight::Strict, self.at, detail, Level::DataTypes);
        }
    }

    fn shape_of_field(&mut self, field: grammar::Field) -> Shape {
        if self.segment.name() == "OBX" && self.at.field == 5 {
            self.types.shape_named(self.value_type)
        } else {
            self.types.shape(field)
        }
    }

    fn add(&mut self, weight: Weight, at: At, detail: &'static str, level: Level) {
        let code = if level == Level::Tables {
            ErrorCode::TableValue
        } else {
            ErrorCode::DataType
        };
        self.add_coded(weight, at, detail, level, code);
    }

    fn add_coded(
        &mut self,
        weight: Weight,
        at: At,
        detail: &'static str,
        level: Level,
        code: ErrorCode,
    ) {
        if !self.findings.wants(weight) {
            return;
        }
        let place = self.place(at);
        let finding = Finding::new(weight, Reason::Field, place, detail, code, Fault::Content);
        self.findings.add(finding.at_level(level));
    }

    fn place(&self, at: At) -> Place {
        let composite = self.shape.parts().is_some();
        let nested = at.subcomponent > 1 || self.part_shape.parts().is_some();
        Place {
            segment: self.segment.name().to_owned(),
            occurrence: self.segment.occurrence(),
            repeated: self.segment.occurrence() > 1,
            field: at.field,
            repetition: if at.repetition > 1 || self.repeats_at(at) {
                at.repetition
            } else {
                0
            },
            component: if composite || at.component > 1 || at.subcomponent > 1 {
                at.component
            } else {
                0
            },
            subcomponent: if nested { at.subcomponent } else { 0 },
            offset: Some(self.segment.offset().saturating_add(at.byte)),
        }
    }

    /// Whether the field goes on with another repetition.
    fn repeats_at(&self, at: At) -> bool {
        let delimiters = self.segment.delimiters();
        at.repetition == 1
            && self
                .segment
                .bytes()
                .iter()
                .skip(at.byte)
                .find(|b| **b == delimiters.field || **b == delimiters.repetition)
                == Some(&delimiters.repetition)
    }
}

/// Deletes what the receiver has.
//= HL7 v2.5.1 2.5.3.5
const NULL: &[u8] = b"\"\"";

const TOO_LONG: &str = "is longer than the standard allows";

/// The fields of MSH that `check.rs` judges.
const HEADER: [usize; 11] = [1, 2, 7, 9, 10, 11, 12, 14, 15, 16, 18];

#[cfg(test)]
mod tests;

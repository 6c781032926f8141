//! The walk over one segment, from the end of one value to the end of the next.
//!
//! In: a segment, what its version says of it, and where values end. Out: findings, in the order of their places.
//! The places of what is wrong are made when something is wrong, and only of findings that are kept.

use super::super::delimiters::Delimiters;
use super::super::finding::{ErrorCode, Findings, Weight};
use super::super::grammar::{Primitive, Usage};
use super::super::message::Message;
use super::super::policy::Level;
use super::super::segment::Segment;
use super::super::stops::Stops;
use super::compiled::{Compiled, Element, Form, Kind, Layout, OPAQUE, TableNumber};
use super::composite;
use super::datatype::bit;
use super::primitive;

/// What all segments of a message have in common.
pub(super) struct Ground<'g, 'a> {
    pub(super) bytes: &'a [u8],
    pub(super) delimiters: Delimiters,
    pub(super) compiled: &'g Compiled,
    pub(super) stops: Stops<'a, 5>,
    /// The last OBX-2 and what it means: observations come in rows.
    pub(super) value_type: (&'a [u8], &'g Kind),
}

impl<'g, 'a> Ground<'g, 'a> {
    pub(super) fn new(message: &Message<'a>, compiled: &'g Compiled, stops: Stops<'a, 5>) -> Self {
        Self {
            bytes: message.bytes(),
            delimiters: *message.delimiters(),
            compiled,
            stops,
            value_type: (&[], &OPAQUE),
        }
    }
}

/// Where in the segment the walk stands. Numbers count from 1.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) field: usize,
    pub(super) repetition: usize,
    pub(super) component: usize,
    pub(super) subcomponent: usize,
    /// Byte of the message.
    pub(super) byte: usize,
}

/// The walk over one segment.
pub(super) struct Walk<'w, 'g, 'a> {
    pub(super) segment: &'w Segment<'a>,
    pub(super) layout: &'g Layout,
    pub(super) fields: &'g [Element],
    pub(super) ground: &'w mut Ground<'g, 'a>,
    pub(super) findings: &'w mut Findings,
    /// The fields that are judged elsewhere, the first in bit 1.
    pub(super) elsewhere: u32,
    pub(super) is_observation: bool,
    pub(super) at: At,
    /// What the standard says of the field at hand; `None` if it is not ours to judge.
    pub(super) field: Option<&'g Element>,
    pub(super) kind: &'g Kind,
    /// The same of the component at hand, once it has a value.
    pub(super) part: Option<&'g Element>,
    pub(super) part_kind: &'g Kind,
    /// Where the field, its repetition and its component begin.
    pub(super) field_start: usize,
    pub(super) repetition_start: usize,
    pub(super) component_start: usize,
    /// Whether the field has more than one repetition, once it was asked.
    pub(super) repeats: Option<bool>,
    /// Which components of the repetition and which subcomponents of the component have a value, the first in bit 0.
    pub(super) components: u64,
    pub(super) subcomponents: u64,
    /// OBX-2, which tells the data type of OBX-5.
    pub(super) value_type: &'a [u8],
}

impl<'w, 'g, 'a> Walk<'w, 'g, 'a> {
    pub(super) fn new(
        segment: &'w Segment<'a>,
        layout: &'g Layout,
        ground: &'w mut Ground<'g, 'a>,
        findings: &'w mut Findings,
    ) -> Self {
        Self {
            segment,
            layout,
            fields: ground.compiled.fields(layout),
            ground,
            findings,
            elsewhere: if layout.id.0 == *b"MSH" { HEADER } else { 0 },
            is_observation: layout.id.0 == *b"OBX",
            at: At {
                field: 0,
                repetition: 1,
                component: 1,
                subcomponent: 1,
                byte: 0,
            },
            field: None,
            kind: &OPAQUE,
            part: None,
            part_kind: &OPAQUE,
            field_start: 0,
            repetition_start: 0,
            component_start: 0,
            repeats: None,
            components: 0,
            subcomponents: 0,
            value_type: &[],
        }
    }

    pub(super) fn run(mut self) {
        let start = self.segment.offset();
        let end = start.saturating_add(self.segment.bytes().len());
        // Once to find where values end, and once as part of a value.
        self.findings.count(self.segment.bytes().len());
        self.findings.count(self.segment.bytes().len());
        let mut skip = start.saturating_add(3);
        if self.layout.id.0 == *b"MSH" {
            // MSH-1 and MSH-2 are the delimiters themselves.
            self.at.field = 2;
            skip = skip.saturating_add(self.segment.field(2).bytes().len());
            skip = skip.saturating_add(1);
        }
        self.ground.stops.seek(skip);
        let mut stop = self.ground.stops.next();
        while stop < end {
            // Places in the bytes and numbers of what stands there: none is more than their length.
            let start = stop.wrapping_add(1);
            self.at.field = self.at.field.wrapping_add(1);
            let first = self.ground.stops.next();
            stop = if !self.ends_field(first, end) {
                self.divided_field(start, first, end)
            } else if first == start {
                self.empty_field(start);
                first
            } else if self.is_clean(start, first) {
                first
            } else {
                self.begin_field(start);
                self.field(first, end)
            };
        }
        self.absent_fields(end);
    }

    /// Whether a stop is one between fields, or the last.
    #[inline]
    pub(super) fn ends_field(&self, stop: usize, end: usize) -> bool {
        stop >= end || self.ground.bytes.get(stop) == Some(&self.ground.delimiters.field)
    }

    /// Walks through a field whose first stop is known; tells the stop that ends it.
    #[inline(never)]
    pub(super) fn field(&mut self, first: usize, end: usize) -> usize {
        let delimiters = self.ground.delimiters;
        let mut valued = false;
        let mut start = self.field_start;
        let mut stop = first;
        loop {
            let value = self.ground.bytes.get(start..stop).unwrap_or_default();
            if !value.is_empty() {
                if !valued {
                    valued = true;
                    self.look_up();
                }
                self.at.byte = start;
                self.value(value);
            }
            start = stop.saturating_add(1);
            if self.ends_field(stop, end) {
                break;
            }
            let delimiter = self.ground.bytes.get(stop).copied().unwrap_or_default();
            if delimiter == delimiters.component {
                self.end_component(stop);
                self.at.component = self.at.component.saturating_add(1);
                self.begin_component(start);
            } else if delimiter == delimiters.subcomponent {
                self.at.subcomponent = self.at.subcomponent.saturating_add(1);
            } else {
                self.end_repetition(stop);
                self.at.repetition = self.at.repetition.saturating_add(1);
                self.begin_repetition(start);
            }
            stop = self.ground.stops.next();
        }
        if valued {
            self.end_repetition(stop);
            self.end_field();
        } else {
            self.empty_field(self.field_start);
        }
        stop
    }

    #[inline]
    pub(super) fn begin_field(&mut self, start: usize) {
        self.at.repetition = 1;
        self.field_start = start;
        self.repeats = None;
        self.field = None;
        self.kind = &OPAQUE;
        self.begin_repetition(start);
    }

    #[inline]
    fn begin_repetition(&mut self, start: usize) {
        self.repetition_start = start;
        self.at.component = 1;
        self.components = 0;
        self.begin_component(start);
    }

    #[inline]
    fn begin_component(&mut self, start: usize) {
        self.component_start = start;
        self.at.subcomponent = 1;
        self.subcomponents = 0;
        self.part = None;
        self.part_kind = &OPAQUE;
    }

    /// What the standard says of the field. Looked up late, because most fields are empty.
    #[inline]
    fn look_up(&mut self) {
        if self.judged_elsewhere(self.at.field) {
            return;
        }
        self.field = self.fields.get(self.at.field.saturating_sub(1));
        if let Some(field) = self.field {
            self.kind = if self.is_observation && self.at.field == 5 {
                self.kind_of_value()
            } else {
                self.ground.compiled.kind(field.kind)
            };
        }
    }

    pub(super) fn kind_of_value(&mut self) -> &'g Kind {
        if self.ground.value_type.0 != self.value_type {
            let kind = self.ground.compiled.kind_named(self.value_type);
            self.ground.value_type = (self.value_type, kind);
        }
        self.ground.value_type.1
    }

    /// One value that no delimiter divides; never empty.
    #[inline]
    fn value(&mut self, value: &'a [u8]) {
        let Some(field) = self.field else {
            return;
        };
        if self.is_observation && self.at.field == 2 && self.components == 0 {
            self.value_type = value;
        }
        self.subcomponents |= bit(self.at.subcomponent);
        self.components |= bit(self.at.component);
        match self.kind.form {
            Form::Opaque => {}
            Form::Primitive(primitive) => {
                if self.at.component > 1 {
                    self.once_extra_component(2);
                } else if self.at.subcomponent > 1 {
                    self.once_extra_subcomponent(2);
                } else {
                    self.primitive(primitive, field.table, value);
                }
            }
            Form::Composite => {
                let parts = self.ground.compiled.parts(self.kind);
                if self.part.is_none() {
                    self.part = parts.get(self.kind.index(self.at.component, parts.len()));
                    if let Some(part) = self.part {
                        self.part_kind = self.ground.compiled.kind(part.kind);
                    }
                }
                match self.part {
                    Some(part) => self.value_of_component(part, value),
                    None => self.once_extra_component(parts.len().saturating_add(1)),
                }
            }
        }
    }

    #[inline]
    fn value_of_component(&mut self, part: &Element, value: &[u8]) {
        match self.part_kind.form {
            Form::Opaque => {}
            Form::Primitive(primitive) => {
                if self.at.subcomponent > 1 {
                    self.once_extra_subcomponent(2);
                } else {
                    self.primitive(primitive, part.table, value);
                }
            }
            Form::Composite => {
                let parts = self.ground.compiled.parts(self.part_kind);
                // Nothing divides a subcomponent, so of a composite only the first component can stand there.
                let judged = match parts.get(self.at.subcomponent.saturating_sub(1)) {
                    Some(_) if self.at.subcomponent == 1 => part.innermost,
                    Some(sub) => sub.innermost,
                    None => {
                        self.once_extra_subcomponent(parts.len().saturating_add(1));
                        None
                    }
                };
                if let Some((primitive, table)) = judged {
                    self.primitive(primitive, table, value);
                }
            }
        }
    }

    #[inline]
    fn primitive(&mut self, primitive: Primitive, table: TableNumber, value: &[u8]) {
        if primitive == Primitive::Id {
            if table != 0 && value != NULL && self.ground.compiled.is_unlisted(table, value) {
                let detail = "is not a code of its table";
                self.add(Weight::Strict, self.at, detail, Level::Tables);
            }
        } else if let Err((weight, detail)) = primitive::judge(primitive, value)
            && value != NULL
        {
            self.add(weight, self.at, detail, Level::DataTypes);
        }
    }

    #[inline]
    fn end_component(&mut self, end: usize) {
        if self.subcomponents == 0 || self.kind.form != Form::Composite {
            return;
        }
        let Some(part) = self.part else {
            return;
        };
        let missing = self.part_kind.required & !self.subcomponents;
        let long = self.may_be_too_long(self.component_start, end, part);
        let rule = self
            .part_kind
            .rule
            .filter(|r| !r.allows(self.subcomponents));
        let doubt = missing != 0 || long || rule.is_some();
        if doubt && !self.is_null(self.component_start, end) {
            self.judge_component(end, part, missing);
        }
    }

    #[cold]
    fn judge_component(&mut self, end: usize, part: &Element, missing: u64) {
        if self.is_too_long(self.component_start, end, part) {
            let at = At {
                subcomponent: 0,
                byte: self.component_start,
                ..self.at
            };
            self.add(Weight::Strict, at, TOO_LONG, Level::Lengths);
        }
        let count = self.ground.compiled.parts(self.part_kind).len();
        let place = |number, at| At {
            subcomponent: number,
            ..at
        };
        self.missing_parts(count, missing, place);
        let separator = self.ground.delimiters.subcomponent;
        if let Some(rule) = self.part_kind.rule {
            self.composite(rule, (self.component_start, end), separator, place);
        }
    }

    #[inline]
    fn end_repetition(&mut self, end: usize) {
        self.end_component(end);
        let Some(field) = self.field else {
            return;
        };
        if self.components == 0 {
            return;
        }
        let missing = self.kind.required & !self.components;
        let long = self.may_be_too_long(self.repetition_start, end, field);
        let rule = self.kind.rule.filter(|r| !r.allows(self.components));
        let doubt = missing != 0 || long || rule.is_some();
        if doubt && !self.is_null(self.repetition_start, end) {
            self.judge_repetition(end, field, missing);
        }
    }

    #[cold]
    fn judge_repetition(&mut self, end: usize, field: &Element, missing: u64) {
        if self.is_too_long(self.repetition_start, end, field) {
            let whole = At {
                component: 0,
                subcomponent: 0,
                byte: self.repetition_start,
                ..self.at
            };
            self.add(Weight::Strict, whole, TOO_LONG, Level::Lengths);
        }
        let count = self.ground.compiled.parts(self.kind).len();
        let place = |number, at| At {
            component: number,
            subcomponent: 0,
            ..at
        };
        self.missing_parts(count, missing, place);
        let separator = self.ground.delimiters.component;
        if let Some(rule) = self.kind.rule {
            self.composite(rule, (self.repetition_start, end), separator, place);
        }
    }

    /// Judges what components have to do with each other.
    fn composite(
        &mut self,
        rule: composite::Rule,
        (start, end): (usize, usize),
        separator: u8,
        place: impl Fn(usize, At) -> At,
    ) {
        let value = self.ground.bytes.get(start..end).unwrap_or_default();
        self.findings.count(value.len());
        if let Some((number, weight, detail)) = rule.judge(value, separator) {
            let at = At {
                byte: start,
                ..self.at
            };
            self.add(weight, place(number, at), detail, Level::DataTypes);
        }
    }

    #[inline]
    fn empty_field(&mut self, start: usize) {
        let element = self.fields.get(self.at.field.wrapping_sub(1));
        let required = element.is_some_and(|element| element.usage == Usage::Required);
        if required && !self.judged_elsewhere(self.at.field) {
            self.kind = &OPAQUE;
            self.part_kind = &OPAQUE;
            self.field_start = start;
            self.missing(self.whole());
        }
    }

    /// The place of the whole field.
    fn whole(&self) -> At {
        At {
            repetition: 0,
            component: 0,
            subcomponent: 0,
            byte: self.field_start,
            ..self.at
        }
    }

    /// The end of a field that has a value.
    #[inline]
    fn end_field(&mut self) {
        let Some(field) = self.field else {
            self.foreign_field();
            return;
        };
        let too_many = field.repeats > 0 && self.at.repetition > usize::from(field.repeats);
        let untyped = self.is_observation && self.at.field == 5 && self.value_type.is_empty();
        if field.is_odd() || too_many || untyped {
            self.judge_field(field, too_many, untyped);
        }
    }

    /// A field that is judged elsewhere, or that the standard does not have.
    fn foreign_field(&mut self) {
        if self.at.field > self.fields.len() && !self.layout.open_end {
            let detail = "stands behind the last field of its segment";
            self.add(Weight::Strict, self.whole(), detail, Level::Fields);
        }
    }

    #[cold]
    fn judge_field(&mut self, field: &Element, too_many: bool, untyped: bool) {
        let whole = self.whole();
        if field.usage == Usage::Withdrawn {
            self.add(Weight::Notice, whole, "is withdrawn", Level::Fields);
        } else if field.usage == Usage::NotUsed {
            let detail = "must not be valued";
            self.add(Weight::Strict, whole, detail, Level::Fields);
        }
        if too_many {
            let detail = "has more repetitions than allowed";
            self.add(Weight::Strict, whole, detail, Level::Fields);
        }
        if untyped {
            self.missing(At { field: 2, ..whole });
        }
    }

    /// The fields behind the end of the segment.
    #[inline]
    fn absent_fields(&mut self, end: usize) {
        let seen = u32::try_from(self.at.field).unwrap_or(u32::MAX);
        let left = self.layout.required.checked_shr(seen).unwrap_or_default();
        if left != 0 {
            self.judge_absent_fields(end, seen, left);
        }
    }

    #[cold]
    fn judge_absent_fields(&mut self, end: usize, seen: u32, mut left: u128) {
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

    #[inline]
    pub(super) fn judged_elsewhere(&self, field: usize) -> bool {
        let field = u32::try_from(field).unwrap_or(u32::MAX);
        self.elsewhere.checked_shr(field).unwrap_or_default() & 1 == 1
    }

    fn is_null(&self, start: usize, end: usize) -> bool {
        self.ground.bytes.get(start..end) == Some(NULL)
    }

    /// Whether bytes are more than the standard allows characters.
    #[inline]
    fn may_be_too_long(&self, start: usize, end: usize, element: &Element) -> bool {
        let most = usize::try_from(element.most).unwrap_or(usize::MAX);
        element.most != u32::MAX && end.saturating_sub(start) > most
    }

    /// Whether they are more characters than the standard allows.
    /// A character counts once however many bytes it has, and so does an escape sequence.
    //= HL7 v2.5.1 2.5.3.2
    fn is_too_long(&mut self, start: usize, end: usize, element: &Element) -> bool {
        if !self.may_be_too_long(start, end, element) {
            return false;
        }
        let bytes = self.ground.bytes.get(start..end).unwrap_or_default();
        self.findings.count(bytes.len());
        let escape = self.ground.delimiters.escape;
        let (mut characters, mut escaped) = (0_usize, false);
        for byte in bytes {
            if *byte == escape {
                escaped = !escaped;
                characters = characters.saturating_add(usize::from(escaped));
            } else if !escaped && !matches!(byte, 0x80..=0xbf) {
                characters = characters.saturating_add(1);
            }
        }
        characters > usize::try_from(element.most).unwrap_or(usize::MAX)
    }

    fn missing_parts(&mut self, count: usize, missing: u64, place: impl Fn(usize, At) -> At) {
        if missing == 0 || !self.findings.wants(Weight::Strict, Level::Fields) {
            return;
        }
        for number in (1..=count).filter(|number| missing & bit(*number) != 0) {
            let at = At {
                byte: self.repetition_start,
                ..self.at
            };
            self.missing(place(number, at));
        }
    }

    #[cold]
    fn missing(&mut self, at: At) {
        let detail = "is required and missing";
        let code = ErrorCode::RequiredField;
        self.add_coded(Weight::Strict, at, detail, Level::Fields, code);
    }
}

/// Deletes what the receiver has.
//= HL7 v2.5.1 2.5.3.5
pub(super) const NULL: &[u8] = b"\"\"";

const TOO_LONG: &str = "is longer than the standard allows";

/// The fields of MSH that `check.rs` judges: 1, 2, 7, 9 to 12, 14 to 16 and 18.
const HEADER: u32 = 0b0101_1101_1110_1000_0110;

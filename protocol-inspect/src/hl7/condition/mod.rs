//! Fields that the standard requires or forbids under a condition which the same message tells.
//!
//! In: a message. Out: findings, mostly of weight [`Weight::Strict`]: what is missing by the letter of the standard is
//! missing in much of what is sent. What holds within one segment is a table (`facts.rs`); what holds between segments
//! is here. Knows nothing of fields that are always required: `fields` does.
//!
//! One pass: a segment without facts costs nothing, any other one look for its separators.

mod facts;

use self::facts::{Fact, Rule, When};
use super::delimiters::Delimiters;
use super::finding::{ErrorCode, Fault, Finding, Findings, Weight};
use super::header::Version;
use super::message::Message;
use super::place::Place;
use super::policy::Level;
use super::segment::Segment;
use super::stops::Stops;
use crate::Reason;

/// Judges the conditions of all segments.
pub(crate) fn judge(message: &Message<'_>, findings: &mut Findings) {
    let Some(msh) = message.segments().next() else {
        return;
    };
    let kind = message.head().field(9);
    let Some(version) = Version::named(message.head().field(12).component(1)) else {
        return;
    };
    let code = kind.component(1);
    let mut walk = Walk {
        version,
        code,
        content: code == b"MDM" && message.segments().any(|s| s.name() == "OBX"),
        event: kind.component(2),
        findings,
        orc: None,
        timing: None,
        response: &[],
        observation: None,
        stops: Stops::new(message.bytes(), [message.delimiters().field, b'\r']),
    };
    if version >= Version::V2_5 && kind.is_valued() && kind.component(3).is_empty() {
        walk.structure_is_missing(msh);
    }
    for segment in message.segments() {
        walk.segment(segment);
    }
}

/// The walk over a message.
struct Walk<'w, 'm, 'a> {
    version: Version,
    /// MSH-9.1.
    code: &'a [u8],
    /// MSH-9.2.
    event: &'a [u8],
    /// Whether it is a document message with content.
    content: bool,
    findings: &'w mut Findings,
    /// The common order to which the next request belongs.
    orc: Option<Cut<'m, 'a>>,
    /// The timing to which another may follow.
    timing: Option<Cut<'m, 'a>>,
    /// MFI-6.
    response: &'a [u8],
    /// OBX-3 and OBX-4 of the observation before.
    observation: Option<(&'a [u8], &'a [u8])>,
    /// Where fields and segments end, in the whole message: one look at each block of it.
    stops: Stops<'a, 2>,
}

/// A segment with its fields at hand.
#[derive(Clone, Copy)]
struct Cut<'m, 'a> {
    segment: &'m Segment<'a>,
    /// Where each field ends, the name being the first.
    ends: [usize; MOST],
    /// How many of them there are.
    count: usize,
}

impl<'m, 'a> Walk<'_, 'm, 'a> {
    fn segment(&mut self, segment: &'m Segment<'a>) {
        let name = segment.name();
        let facts = facts::of(name);
        let between = matches!(name, "EVN" | "MFI" | "MFE" | "TQ1");
        if facts.is_empty() && !between {
            return;
        }
        let cut = Cut::new(segment, &mut self.stops);
        self.findings.count(segment.bytes().len());
        for fact in facts {
            let holds = (fact.since..=fact.until).contains(&self.version);
            if holds && let Some((detail, code)) = self.breach(fact, &cut) {
                self.add(fact.weight, segment, fact.field, detail, code);
            }
        }
        match name {
            "EVN" => self.event_is_that_of_the_header(&cut),
            "MFI" => self.response = cut.first(6),
            "MFE" => self.entry_is_answerable(&cut),
            "OBR" => self.request_is_that_of_its_order(&cut),
            "OBX" => self.observation_is_another(&cut),
            "ORC" => self.orc = Some(cut),
            "TQ1" => self.timing_is_joined(cut),
            _ => {}
        }
        if !matches!(name, "TQ1" | "TQ2") {
            self.timing = None;
        }
        if name != "OBX" {
            self.observation = None;
        }
    }

    /// What is wrong by a fact, if anything.
    fn breach(&self, fact: &Fact, cut: &Cut<'_, '_>) -> Option<(&'static str, ErrorCode)> {
        let all = |conditions: &[When]| conditions.iter().all(|when| self.holds(when, cut));
        match &fact.rule {
            Rule::Needed(conditions) if !cut.has(fact.field) && all(conditions) => {
                let detail = match fact.weight {
                    Weight::Firm | Weight::Content | Weight::Strict => REQUIRED,
                    Weight::Notice | Weight::Hint => "is usual here and missing",
                };
                Some((detail, ErrorCode::RequiredField))
            }
            Rule::Forbidden(conditions) if cut.has(fact.field) && all(conditions) => {
                Some(("must not be valued here", ErrorCode::DataType))
            }
            Rule::OneOf(fields) if !fields.iter().any(|field| cut.has(*field)) => Some((
                "is required where what can stand for it is missing",
                ErrorCode::RequiredField,
            )),
            Rule::Needed(_) | Rule::Forbidden(_) | Rule::OneOf(_) => None,
        }
    }

    fn holds(&self, when: &When, cut: &Cut<'_, '_>) -> bool {
        match when {
            When::Valued(fields) => fields.iter().any(|field| cut.has(*field)),
            When::Empty(fields) => !fields.iter().any(|field| cut.has(*field)),
            When::Is(field, values) => values.contains(&cut.first(*field)),
            When::IsNot(field, values) => !values.contains(&cut.first(*field)),
            When::Type(code) => self.code == *code,
            When::Event(events) => events.contains(&self.event),
            When::Content => self.content,
        }
    }

    /// Without the structure a receiver must guess it; but it is missing in most of what is sent.
    //= HL7 v2.5.1 2.15.9.9
    fn structure_is_missing(&mut self, msh: &Segment<'_>) {
        if matches!(self.code, b"ACK" | b"MCF") {
            return;
        }
        self.findings.add(Finding {
            place: Place::msh(9).component(3),
            ..finding(
                Weight::Hint,
                msh,
                9,
                "is required and missing",
                ErrorCode::RequiredField,
            )
        });
    }

    /// Withdrawn with 2.7, and then whatever stands there says nothing.
    //= HL7 v2.5.1 3.4.1.1
    fn event_is_that_of_the_header(&mut self, evn: &Cut<'_, '_>) {
        let told = self.version < Version::V2_7 && evn.has(1) && !self.event.is_empty();
        if told && evn.first(1) != self.event {
            let detail = "is not the event of MSH-9";
            self.add(Weight::Strict, evn.segment, 1, detail, ErrorCode::EventCode);
        }
    }

    /// Who wants an answer to each record must number them.
    //= HL7 v2.5.1 8.5.2.2
    fn entry_is_answerable(&mut self, mfe: &Cut<'_, '_>) {
        let wanted = !self.response.is_empty() && self.response != b"NE";
        if wanted && !mfe.has(2) && self.version >= Version::V2_3 {
            self.missing(mfe.segment, 2);
        }
    }

    //= HL7 v2.5.1 4.5.1.2
    //= HL7 v2.5.1 4.5.1.3
    //= HL7 v2.5.1 4.5.1.8
    fn request_is_that_of_its_order(&mut self, obr: &Cut<'_, '_>) {
        let orc = self.orc.take();
        if self.version < Version::V2_3 {
            return;
        }
        let in_orc = |field| orc.is_some_and(|orc| orc.has(field));
        for (field, detail) in [
            (2, "is not the number in ORC-2"),
            (3, "is not the number in ORC-3"),
        ] {
            let other = orc.map_or(obr.first(field), |orc| orc.first(field));
            if obr.has(field) && in_orc(field) && obr.first(field) != other {
                self.add(
                    Weight::Strict,
                    obr.segment,
                    field,
                    detail,
                    ErrorCode::UnknownKey,
                );
            }
        }
        let named = [2, 3]
            .into_iter()
            .any(|field| obr.has(field) || in_orc(field));
        if self.code == b"ORU" && !named {
            self.missing(obr.segment, 3);
        }
        let is_child = orc.is_some_and(|orc| orc.first(1) == b"CH");
        if is_child && !obr.has(29) && !in_orc(8) {
            self.missing(obr.segment, 29);
        }
    }

    /// Two values of one observation are told apart by OBX-4; lines of one text are sent so, too.
    //= HL7 v2.5.1 7.4.2.4
    fn observation_is_another(&mut self, obx: &Cut<'_, 'a>) {
        let (identifier, part) = (obx.field(3), obx.field(4));
        if obx.has(3) && self.observation == Some((identifier, part)) {
            let detail = "does not tell the observation from the one before";
            self.add(Weight::Hint, obx.segment, 4, detail, ErrorCode::DataType);
        }
        self.observation = Some((identifier, part));
    }

    /// A timing to which another follows says how they go together.
    //= HL7 v2.5.1 4.5.4.12
    fn timing_is_joined(&mut self, tq1: Cut<'m, 'a>) {
        if let Some(before) = self.timing.replace(tq1)
            && !before.has(12)
        {
            self.missing(before.segment, 12);
        }
    }

    fn missing(&mut self, segment: &Segment<'_>, field: usize) {
        let code = ErrorCode::RequiredField;
        self.add(Weight::Strict, segment, field, REQUIRED, code);
    }

    fn add(
        &mut self,
        weight: Weight,
        segment: &Segment<'_>,
        field: usize,
        detail: &'static str,
        code: ErrorCode,
    ) {
        if self.findings.wants(weight, Level::Fields) {
            let finding = finding(weight, segment, field, detail, code);
            // The bytes before the place were looked at to find it, and to name it.
            let at = finding.place.offset.unwrap_or_default();
            let before = at.saturating_sub(segment.offset());
            self.findings.count(before.saturating_mul(2));
            self.findings.add(finding);
        }
    }
}

fn finding(
    weight: Weight,
    segment: &Segment<'_>,
    field: usize,
    detail: &'static str,
    code: ErrorCode,
) -> Finding {
    let separator = segment.delimiters().field;
    let before = memchr::memchr_iter(separator, segment.bytes()).nth(field.saturating_sub(1));
    let at = before.map_or(segment.bytes().len(), |at| at.saturating_add(1));
    let place = Place {
        field,
        repetition: 0,
        component: 0,
        subcomponent: 0,
        ..Place::of(segment, segment.offset().saturating_add(at))
    };
    Finding::new(weight, Reason::Field, place, detail, code, Fault::Content).at_level(Level::Fields)
}

impl<'m, 'a> Cut<'m, 'a> {
    /// `stops` are those of the message, not yet behind the segment.
    fn new(segment: &'m Segment<'a>, stops: &mut Stops<'a, 2>) -> Self {
        let (start, length) = (segment.offset(), segment.bytes().len());
        stops.seek(start);
        let (mut ends, mut count) = ([0; MOST], 0_usize);
        for slot in &mut ends {
            *slot = stops.next().saturating_sub(start).min(length);
            count = count.saturating_add(1);
            if *slot >= length {
                break;
            }
        }
        Self {
            segment,
            ends,
            count,
        }
    }

    fn field(&self, number: usize) -> &'a [u8] {
        if number >= self.count {
            return &[];
        }
        let before = number.checked_sub(1).and_then(|n| self.ends.get(n));
        let start = before.map_or(0, |end| end.saturating_add(1));
        let end = self.ends.get(number).copied().unwrap_or_default();
        self.segment.bytes().get(start..end).unwrap_or_default()
    }

    /// Whether the field has a value, and not the null.
    fn has(&self, number: usize) -> bool {
        let field = self.field(number);
        let delimiters = self.segment.delimiters();
        field != b"\"\"" && field.iter().any(|b| !delimiters.contains(*b))
    }

    /// The first component of the first repetition.
    fn first(&self, number: usize) -> &'a [u8] {
        let delimiters: &Delimiters = self.segment.delimiters();
        let mut parts = self
            .field(number)
            .split(|b| *b == delimiters.component || *b == delimiters.repetition);
        parts.next().unwrap_or_default()
    }
}

const REQUIRED: &str = "is required here and missing";

/// One more than the highest field of which a fact speaks.
const MOST: usize = 48;

#[cfg(test)]
mod tests;

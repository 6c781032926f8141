//! Counts the parts of each segment and judges the escape sequences in it.
//!
//! In: a message, and the bounds. Out: findings, heaviest first where it matters.
//! Knows nothing of what the parts mean. Bytes are looked at one by one only where a bound can be reached.

use super::escape;
use super::finding::{ErrorCode, Fault, Finding, Findings, Weight};
use super::message::{Message, too_large};
use super::place::Place;
use super::policy::Level;
use super::segment::Segment;
use crate::{LimitReached, Limits, Reason};

/// Judges the segments in their order, until one of them ends the examination.
pub(crate) fn judge(message: &Message<'_>, limits: &Limits, findings: &mut Findings) {
    if is_plain(message, limits) {
        findings.count(message.bytes().len());
        return;
    }
    for segment in message.segments() {
        if findings.firm.is_none() {
            walk(segment, limits, findings);
        }
    }
}

/// The fewest delimiters with which a segment can reach a bound.
fn fewest(limits: &Limits) -> usize {
    limits
        .hl7_fields
        .min(limits.hl7_repetitions)
        .min(limits.hl7_components)
}

/// Whether no segment is long enough to reach a bound, and nothing is escaped.
fn is_plain(message: &Message<'_>, limits: &Limits) -> bool {
    // MSH-2 has the escape character in it, and is judged with the delimiters.
    let text = message.bytes().get(MSH_2_END..).unwrap_or_default();
    message.longest() < fewest(limits)
        && memchr::memchr(message.delimiters().escape, text).is_none()
}

/// Counts the parts of a segment and judges its escape sequences.
fn walk(segment: &Segment<'_>, limits: &Limits, findings: &mut Findings) {
    // Where there are not enough delimiters to reach any bound, they need not be counted one by one.
    let fewest = fewest(limits);
    if segment.bytes().len() < fewest || count(segment) < fewest {
        escapes(segment, findings);
    } else {
        walk_slowly(segment, limits, findings);
    }
}

/// Where MSH-2 ends, which is text about the delimiters and not delimited text, or else the name.
fn beginning(segment: &Segment<'_>) -> usize {
    if segment.name() == "MSH" {
        segment.field(2).bytes().len().saturating_add(4)
    } else {
        3
    }
}

/// How many delimiters a segment has, without branches, so that many bytes are looked at at once.
fn count(segment: &Segment<'_>) -> usize {
    let delimiters = segment.delimiters();
    segment
        .bytes()
        .chunks(255)
        .map(|chunk| {
            let found = chunk.iter().fold(0_u8, |count, byte| {
                let is_one = (*byte == delimiters.field)
                    | (*byte == delimiters.repetition)
                    | (*byte == delimiters.component)
                    | (*byte == delimiters.subcomponent);
                count.wrapping_add(u8::from(is_one))
            });
            usize::from(found)
        })
        .fold(0, usize::saturating_add)
}

/// Judges the escape sequences of a segment.
fn escapes(segment: &Segment<'_>, findings: &mut Findings) {
    let escape = segment.delimiters().escape;
    let bytes = segment.bytes();
    findings.count(bytes.len());
    let mut at = beginning(segment);
    while let Some(found) = memchr::memchr(escape, bytes.get(at..).unwrap_or_default()) {
        let begin = at.saturating_add(found);
        at = escape_sequence(segment, begin, findings).saturating_add(1);
    }
}

/// The same, with every delimiter counted.
fn walk_slowly(segment: &Segment<'_>, limits: &Limits, findings: &mut Findings) {
    let delimiters = segment.delimiters();
    let (mut repetitions, mut components) = (1_usize, 1_usize);
    let mut fields = usize::from(segment.name() == "MSH");
    let bytes = segment.bytes();
    let mut at = beginning(segment);
    while let Some(&byte) = bytes.get(at) {
        findings.count(1);
        let reached = if byte == delimiters.field {
            fields = fields.saturating_add(1);
            (repetitions, components) = (1, 1);
            LimitReached::check("hl7_fields", fields, limits.hl7_fields)
        } else if byte == delimiters.repetition {
            repetitions = repetitions.saturating_add(1);
            components = 1;
            LimitReached::check("hl7_repetitions", repetitions, limits.hl7_repetitions)
        } else if byte == delimiters.component || byte == delimiters.subcomponent {
            components = components.saturating_add(1);
            LimitReached::check("hl7_components", components, limits.hl7_components)
        } else if byte == delimiters.escape {
            at = escape_sequence(segment, at, findings);
            Ok(())
        } else {
            Ok(())
        };
        if let Err(reached) = reached {
            findings.add(too_large(reached, segment.name()));
            return;
        }
        at = at.saturating_add(1);
    }
}

/// Judges the escape sequence that begins at `at`; returns its last byte.
fn escape_sequence(segment: &Segment<'_>, at: usize, findings: &mut Findings) -> usize {
    let delimiters = segment.delimiters();
    let rest = segment
        .bytes()
        .get(at.saturating_add(1)..)
        .unwrap_or_default();
    let end = rest.iter().position(|b| delimiters.contains(*b));
    findings.count(end.unwrap_or(rest.len()));
    let closed = end.filter(|end| rest.get(*end) == Some(&delimiters.escape));
    let (complaint, next) = match closed {
        Some(length) => {
            let inner = rest.get(..length).unwrap_or_default();
            let next = at.saturating_add(length).saturating_add(1);
            (escape::judge(inner, delimiters).err(), next)
        }
        None => {
            let next = at.saturating_add(end.unwrap_or(rest.len()));
            let complaint = (Weight::Content, "has an escape character without its end");
            (Some(complaint), next)
        }
    };
    if let Some((weight, detail)) = complaint
        && findings.wants(weight, Level::Encoding)
    {
        findings.count(at);
        findings.add(Finding::new(
            weight,
            Reason::Encoding,
            Place::of(segment, segment.offset().saturating_add(at)),
            detail,
            ErrorCode::DataType,
            Fault::Content,
        ));
    }
    next
}

/// Where MSH-2 ends at the earliest.
const MSH_2_END: usize = 8;

//! Whether the segments of a message are those of its structure, in its order.
//!
//! In: a message. Out: findings, each at the segment or the byte where it shows. Nothing here is refused by the standard
//! profile: receivers are told to ignore what they do not expect, and much of what is sent lacks what the standard
//! asks for. The strict profile refuses it, and also what it cannot judge, because the version does not know the event.
//! Local (Z) segments may stand anywhere; `local.rs` judges which do.
//! Knows nothing of fields beyond MSH-9 and MSH-12.

mod matcher;

use self::matcher::{Fault as Misplaced, Plan, Walk};
use super::check::structure_code;
use super::finding::{ErrorCode, Fault, Finding, Findings, Weight};
use super::grammar::{SegmentId, Structure, StructureName, Version};
use super::header::{Head, token};
use super::message::Message;
use super::place::Place;
use super::segment::Segment;
use crate::Reason;

/// Judges the structure of a message.
pub(crate) fn judge(message: &Message<'_>, findings: &mut Findings) {
    let Some((version, structure)) = structure_of(message.head(), findings) else {
        return;
    };
    let Some(plan) = Plan::of(version, structure) else {
        return;
    };
    let mut walk = Walk::new(plan);
    let mut faults = 0_usize;
    for segment in message.segments().skip(1) {
        let Some(name) = SegmentId::new(segment.name().as_bytes()) else {
            continue;
        };
        if name == CONTINUATION {
            continue;
        }
        if let Err(misplaced) = walk.take(name) {
            findings.add(finding(misplaced, message, Some(segment), structure, plan));
            faults = faults.saturating_add(1);
            if faults == MOST_FAULTS {
                break;
            }
        }
    }
    // A header alone is judged elsewhere.
    if faults < MOST_FAULTS
        && message.count() > 1
        && let Err(misplaced) = walk.finish()
    {
        findings.add(finding(misplaced, message, None, structure, plan));
    }
    findings.count(walk.steps());
}

/// The structure that MSH-9 asks for. Nothing is said of a header that is judged wrong elsewhere.
//= HL7 v2.5.1 2.15.9.9
fn structure_of(msh: &Head<'_>, findings: &mut Findings) -> Option<(Version, Structure)> {
    let version = Version::of(str::from_utf8(msh.field(12).component(1)).ok()?)?;
    let field = msh.field(9);
    let (code, trigger, named) = (field.component(1), field.component(2), field.component(3));
    let needs_no_event = code == b"MCF" || code == b"ACK";
    if token(code).is_none()
        || (token(trigger).is_none() && !(trigger.is_empty() && needs_no_event))
    {
        return None;
    }
    let wrong = |reason, component, detail, code| {
        let place = Place::msh(9).component(component);
        Finding::new(Weight::Strict, reason, place, detail, code, Fault::Header)
    };
    let named = structure_code(named)
        .filter(|prefix| *prefix == code)
        .and_then(|_| StructureName::new(named));
    let Some(expected) = version.structure_for(code, trigger) else {
        findings.add(if knows_type(version, code) {
            let detail = "is not an event of this type in this version";
            wrong(Reason::Unsupported, 2, detail, ErrorCode::EventCode)
        } else {
            let detail = "is not a message type of this version";
            wrong(Reason::Unsupported, 1, detail, ErrorCode::MessageType)
        });
        // A local event may still use a structure of the standard, if it says so.
        return Some((version, version.structure(named?)?));
    };
    if named.is_some_and(|named| named != expected) {
        findings.add(wrong(
            Reason::Field,
            3,
            "is not the structure of this event in this version",
            ErrorCode::MessageType,
        ));
    }
    Some((version, version.structure(expected)?))
}

fn knows_type(version: Version, code: &[u8]) -> bool {
    version.structures().any(|structure| {
        let name = structure.name();
        name.as_str().as_bytes().split(|b| *b == b'_').next() == Some(code)
    })
}

/// `segment` is the one that has no place where it stands; `None` is the end of the message.
fn finding(
    misplaced: Misplaced,
    message: &Message<'_>,
    segment: Option<&Segment<'_>>,
    structure: Structure,
    plan: &Plan,
) -> Finding {
    let offset = segment.map_or(message.bytes().len(), Segment::offset);
    let here = segment.map_or_else(
        || Place::default().byte(offset),
        |segment| Place::of(segment, offset),
    );
    let name = structure.name();
    let (place, detail) = match misplaced {
        Misplaced::Missing(place) => missing(place, message, offset, structure, plan),
        Misplaced::Repeated => (here, format!("may not be repeated here in {name}")),
        Misplaced::OutOfOrder => (here, format!("is out of order in {name}")),
        Misplaced::Foreign => (here, format!("is no segment of {name}")),
    };
    Finding::new(
        Weight::Strict,
        Reason::Structure,
        place,
        detail,
        ErrorCode::SegmentSequence,
        Fault::Content,
    )
}

/// A segment that is not there has the place that it should have.
fn missing(
    place: usize,
    message: &Message<'_>,
    offset: usize,
    structure: Structure,
    plan: &Plan,
) -> (Place, String) {
    let name = structure.name();
    let place = plan.required(place);
    let around = matcher::node_at(structure, plan.group(place));
    let around = match around.map(|node| node.group_name()) {
        Some(group) if !group.is_empty() => format!("group {group} of {name}"),
        Some(_) | None => name.to_string(),
    };
    let Some(segment) = plan.segment(place) else {
        let place = Place::default().byte(offset);
        return (place, format!("a segment is required here by {around}"));
    };
    let before = message
        .segments()
        .take_while(|s| s.offset() < offset)
        .filter(|s| s.name() == segment.as_str())
        .count();
    let place = Place {
        segment: segment.as_str().into(),
        occurrence: before.saturating_add(1),
        repeated: before > 0,
        offset: Some(offset),
        ..Place::default()
    };
    (place, format!("is required by {around} and missing"))
}

/// The rest of a segment that was cut; judged elsewhere.
const CONTINUATION: SegmentId = SegmentId(*b"ADD");

/// Most faults of structure that are told of one message: what comes behind so many is a guess,
/// and the findings of the fields need room too.
const MOST_FAULTS: usize = 8;

#[cfg(test)]
mod tests;

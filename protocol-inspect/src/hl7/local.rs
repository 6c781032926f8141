//! Local (Z) segments: which a rule lists, and how long they may be.
//!
//! In: a message before one rule. Out: findings, each at the segment.
//! Nobody but sender and receiver knows what stands in a local segment, so it is the easiest place for what does not
//! belong into a message. A rule that lists them lets these pass and no others; without a list the strict profile lets
//! none pass, and every profile bounds them all together.
//! A segment that no version of HL7 knows is a local one by another name: it counts, and no rule can list it.
//! Knows nothing of where they stand: they may stand anywhere.

use super::finding::{ErrorCode, Fault, Finding, Findings, Weight};
use super::grammar::{SegmentId, is_segment_of_any_version};
use super::judge::Case;
use super::place::Place;
use super::policy::Level;
use super::segment::Segment;
use crate::Reason;

/// Judges the local segments of a message by what the rule says of them.
pub(crate) fn judge(case: &Case<'_>, findings: &mut Findings) {
    let mut told = false;
    let mut all = 0_usize;
    // Segments of one name stand together, and a name of the standard is looked up once for all of them.
    let mut known = "";
    for segment in case.message.segments() {
        let name = segment.name();
        if name == known {
            continue;
        }
        if !name.starts_with('Z') && is_standard(name) {
            known = name;
            continue;
        }
        let length = segment.bytes().len();
        match &case.rule.local_segments {
            Some(listed) => match listed.iter().find(|l| l.name == segment.name()) {
                Some(listed) if length <= listed.max_bytes => {}
                Some(_) => add(
                    findings,
                    segment,
                    Weight::Content,
                    Level::Site,
                    "is longer than the rule allows for this local segment",
                ),
                None => add(
                    findings,
                    segment,
                    Weight::Content,
                    Level::Site,
                    "is a local segment that the rule does not list",
                ),
            },
            None => {
                let before = all;
                all = all.saturating_add(length);
                if all > LONGEST_UNLISTED && before <= LONGEST_UNLISTED {
                    let detail = "the local segments up to here are longer than 16384 bytes, and the rule lists none";
                    add(findings, segment, Weight::Content, Level::Site, detail);
                } else if !told && name.starts_with('Z') {
                    told = true;
                    let detail = "is a local segment, and the rule lists none";
                    add(findings, segment, Weight::Strict, Level::Structure, detail);
                }
            }
        }
    }
}

/// Whether some version of HL7 has a segment of this name.
fn is_standard(name: &str) -> bool {
    SegmentId::new(name.as_bytes()).is_some_and(is_segment_of_any_version)
}

fn add(
    findings: &mut Findings,
    segment: &Segment<'_>,
    weight: Weight,
    level: Level,
    detail: &'static str,
) {
    if findings.wants(weight, level) {
        let finding = Finding::new(
            weight,
            Reason::Forbidden,
            Place::of(segment, segment.offset()),
            detail,
            ErrorCode::SegmentSequence,
            Fault::Rule,
        );
        findings.add(finding.at_level(level));
    }
}

/// Most bytes of all local segments of a message together when no rule lists them:
/// enough for the few fields that local segments are for, too little to carry a document past the rules for documents.
//= C7
const LONGEST_UNLISTED: usize = 16 << 10;

//! Examines one message as deep as it can be done without the grammar:
//! the header's fields and the character set; then hands the segments to `structure`, the counts and escape sequences
//! to `counts`, the fields to `fields`.
//!
//! In: the content of a frame. Out: findings, heaviest first where it matters.
//! Knows nothing of rules; what a finding leads to is for `judge.rs`.
//! Every byte is looked at a constant number of times.

use std::borrow::Cow;

use super::charset;
use super::condition;
use super::counts;
use super::fields;
use super::finding::{ErrorCode, Fault, Finding, Findings, Weight};
use super::header::{Condition, Head, Version, token};
use super::message::Message;
use super::place::Place;
use super::policy::Policy;
use super::timestamp;
use crate::Reason;

/// Examines a message by itself, whatever the rules say; `now` is the present in seconds since 1970, if it matters.
#[cfg(test)]
pub(crate) fn examine(message: &Message<'_>, policy: &Policy, now: Option<i64>) -> Findings {
    let mut findings = Findings::default();
    examine_into(message, policy, now, &mut findings);
    findings
}

/// The same, with room for findings that earlier messages had.
pub(crate) fn examine_into(
    message: &Message<'_>,
    policy: &Policy,
    now: Option<i64>,
    findings: &mut Findings,
) {
    findings.clear();
    header(message.head(), now, findings);
    if let Some(msh) = message.segments().next() {
        charset::judge(message, msh, policy, findings);
    }
    structure(message, findings);
    super::structure::judge(message, findings);
    counts::judge(message, &policy.limits, findings);
    if findings.firm.is_none() {
        fields::judge(message, findings);
        condition::judge(message, findings);
    }
}

fn header(msh: &Head<'_>, now: Option<i64>, findings: &mut Findings) {
    let version = version(msh, findings);
    message_type(msh, version, findings);
    processing(msh, findings);
    control_id(msh, version, findings);
    time(msh, version, now, findings);
    for field in [15, 16] {
        let value = msh.field(field);
        if value.is_valued() && Condition::named(value.bytes()).is_none() {
            findings.add(table_value(field, "is not AL, NE, ER or SU"));
        }
    }
    if msh.field(14).is_valued() {
        findings.add(continued(Weight::Strict, Place::msh(14)));
    }
    if msh.delimiters().truncation.is_some() && version.is_some_and(|v| v < Version::V2_7) {
        findings.add(Finding::new(
            Weight::Strict,
            Reason::Encoding,
            Place::msh(2),
            "declares a truncation character, which version 2.7 brought",
            ErrorCode::DataType,
            Fault::Content,
        ));
    }
}

//= HL7 v2.5.1 2.15.9.12
fn version(msh: &Head<'_>, findings: &mut Findings) -> Option<Version> {
    let field = msh.field(12);
    let version = Version::named(field.component(1));
    if version.is_none() {
        findings.add(if field.is_valued() {
            Finding::new(
                Weight::Content,
                Reason::Unsupported,
                Place::msh(12),
                "is not a version from 2.1 to 2.8.2",
                ErrorCode::VersionId,
                Fault::Header,
            )
        } else {
            missing(12, Fault::Header)
        });
    }
    version
}

//= HL7 v2.5.1 2.15.9.9
fn message_type(msh: &Head<'_>, version: Option<Version>, findings: &mut Findings) {
    let field = msh.field(9);
    if !field.is_valued() {
        findings.add(missing(9, Fault::Header));
        return;
    }
    let mut wrong = |weight, component, detail, code| {
        findings.add(Finding::new(
            weight,
            Reason::Field,
            Place::msh(9).component(component),
            detail,
            code,
            Fault::Header,
        ));
    };
    let code = field.component(1);
    if token(code).is_none() {
        wrong(
            Weight::Content,
            1,
            "is not a message type",
            ErrorCode::MessageType,
        );
    }
    let trigger = field.component(2);
    if trigger.is_empty() {
        if !matches!(code, b"ACK" | b"MCF") {
            let weight = if version.is_some_and(|v| v < Version::V2_3) {
                Weight::Strict
            } else {
                Weight::Content
            };
            wrong(weight, 2, "is required and missing", ErrorCode::EventCode);
        }
    } else if token(trigger).is_none() {
        wrong(
            Weight::Content,
            2,
            "is not a trigger event",
            ErrorCode::EventCode,
        );
    }
    let structure = field.component(3);
    if !structure.is_empty() {
        match structure_code(structure) {
            None => wrong(
                Weight::Content,
                3,
                "is not a message structure",
                ErrorCode::MessageType,
            ),
            // Receivers choose their parser by it, so it would be a way around the rule.
            Some(prefix) if prefix != code => wrong(
                Weight::Content,
                3,
                "is not a structure of this message type",
                ErrorCode::MessageType,
            ),
            Some(_) => {}
        }
    }
    if field.repetitions().nth(1).is_some() {
        // Which of them counts is a receiver's guess, and the rule was asked about the first only.
        wrong(
            Weight::Content,
            0,
            "has more than one repetition",
            ErrorCode::MessageType,
        );
    }
    if field.components().skip(3).any(|c| !c.is_empty()) {
        wrong(
            Weight::Strict,
            0,
            "has more than a type, a trigger and a structure",
            ErrorCode::MessageType,
        );
    }
}

/// The message type at the start of `ORU_R01` or `ACK`.
pub(super) fn structure_code(structure: &[u8]) -> Option<&[u8]> {
    let mut parts = structure.split(|b| *b == b'_');
    let prefix = parts.next()?;
    token(prefix)?;
    match (parts.next(), parts.next()) {
        (None, None) => Some(prefix),
        (Some(event), None) => token(event).map(|_| prefix),
        (_, Some(_)) => None,
    }
}

fn processing(msh: &Head<'_>, findings: &mut Findings) {
    let field = msh.field(11);
    if !field.is_valued() {
        findings.add(missing(11, Fault::Header));
        return;
    }
    let mut wrong = |weight, component, detail| {
        findings.add(Finding::new(
            weight,
            Reason::Field,
            Place::msh(11).component(component),
            detail,
            ErrorCode::ProcessingId,
            Fault::Header,
        ));
    };
    if !matches!(field.component(1), b"P" | b"D" | b"T") {
        wrong(Weight::Content, 1, "is not P, D or T");
    }
    if !matches!(field.component(2), b"" | b"A" | b"R" | b"I" | b"T") {
        wrong(Weight::Strict, 2, "is not A, R, I or T");
    }
}

fn control_id(msh: &Head<'_>, version: Option<Version>, findings: &mut Findings) {
    let field = msh.field(10);
    if !field.is_valued() {
        findings.add(missing(10, Fault::Content));
        return;
    }
    let length = field.bytes().len();
    let normative = match version {
        Some(v) if v < Version::V2_7 => 20,
        Some(_) | None => LONGEST_CONTROL_ID,
    };
    let wrong = |weight, detail: Cow<'static, str>| {
        Finding::new(
            weight,
            Reason::Field,
            Place::msh(10),
            detail,
            ErrorCode::DataType,
            Fault::Content,
        )
    };
    if length > LONGEST_CONTROL_ID {
        let detail = format!("is longer than {LONGEST_CONTROL_ID}");
        findings.add(wrong(Weight::Firm, detail.into()));
    } else if length > normative {
        // Identifiers of 32 and 36 characters are everywhere; only the letter of the standard is against them.
        let detail = format!("is longer than {normative}");
        findings.add(wrong(Weight::Strict, detail.into()));
    }
    let delimiters = msh.delimiters();
    if field
        .bytes()
        .iter()
        .any(|b| delimiters.contains(*b) && *b != delimiters.escape)
    {
        findings.add(wrong(Weight::Content, "is not a single value".into()));
    }
}

//= HL7 v2.5.1 2.15.9.7
fn time(msh: &Head<'_>, version: Option<Version>, now: Option<i64>, findings: &mut Findings) {
    let field = msh.field(7);
    if !field.is_valued() {
        match version {
            Some(v) if v >= Version::V2_5 => findings.add(missing(7, Fault::Content)),
            // Required since 2.4; that version is read with good will.
            Some(Version::V2_4) => findings.add(Finding {
                weight: Weight::Strict,
                ..missing(7, Fault::Content)
            }),
            Some(_) | None => {}
        }
        return;
    }
    let mut wrong = |weight, component, detail| {
        findings.add(Finding::new(
            weight,
            Reason::Field,
            Place::msh(7).component(component),
            detail,
            ErrorCode::DataType,
            Fault::Content,
        ));
    };
    if let Err(detail) = timestamp::judge(field.component(1)) {
        wrong(Weight::Content, 0, detail);
    }
    if let Some(detail) = now.and_then(|now| timestamp::far_from(field.component(1), now)) {
        wrong(Weight::Notice, 0, detail);
    }
    if !matches!(
        field.component(2),
        b"" | b"Y" | b"L" | b"D" | b"H" | b"M" | b"S"
    ) {
        wrong(Weight::Strict, 2, "is not a degree of precision");
    }
    if field.repetitions().nth(1).is_some() {
        wrong(Weight::Content, 0, "has more than one repetition");
    }
}

fn structure(message: &Message<'_>, findings: &mut Findings) {
    let wrong = |weight, detail| {
        Finding::new(
            weight,
            Reason::Structure,
            Place::default(),
            detail,
            ErrorCode::SegmentSequence,
            Fault::Content,
        )
    };
    if !message.is_terminated() {
        let detail = "the last segment has no carriage return";
        findings.add(wrong(Weight::Strict, detail));
    }
    if let Some(addendum) = message.segments().find(|s| s.name() == "ADD") {
        let place = Place::of(addendum, addendum.offset());
        findings.add(continued(Weight::Content, place));
    }
    let is_local = message.head().field(9).bytes().starts_with(b"Z");
    if message.count() < 2 && !is_local {
        findings.add(wrong(Weight::Content, "has no segment after its header"));
    }
}

/// Half a message: its other half would be judged without it.
fn continued(weight: Weight, place: Place) -> Finding {
    Finding::new(
        weight,
        Reason::Unsupported,
        place,
        "continued messages are not carried",
        ErrorCode::Internal,
        Fault::Content,
    )
}

fn missing(field: usize, fault: Fault) -> Finding {
    Finding::new(
        Weight::Content,
        Reason::Field,
        Place::msh(field),
        "is required and missing",
        ErrorCode::RequiredField,
        fault,
    )
}

fn table_value(field: usize, detail: &'static str) -> Finding {
    Finding::new(
        Weight::Content,
        Reason::Field,
        Place::msh(field),
        detail,
        ErrorCode::TableValue,
        Fault::Content,
    )
}

/// Longest MSH-10 of the newest version; longer ones are refused by all profiles, because we must echo it.
const LONGEST_CONTROL_ID: usize = 199;

/// The findings in one message of a test.
#[cfg(test)]
pub(super) fn findings_of(text: &str, limits: &crate::Limits) -> Findings {
    let policy = Policy {
        limits: limits.clone(),
        default_charset: "ASCII".to_owned(),
        ..Policy::default()
    };
    match Message::read(text.as_bytes(), limits) {
        Ok(message) => examine(&message, &policy, None),
        Err(finding) => panic!("{}", finding.refusal()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::Level;
    use super::*;
    use crate::Limits;

    /// Ten times the bytes may cost ten times the steps, not a hundred times.
    /// Counted, because clocks lie on busy machines.
    #[test]
    fn cost_grows_with_length_only() {
        let limits = Limits {
            hl7_segments: usize::MAX,
            hl7_fields: usize::MAX,
            hl7_repetitions: usize::MAX,
            hl7_components: usize::MAX,
            ..Limits::default()
        };
        let units = [
            "\\Q\\", "\\", "\\P\\", "|", "~", "^", "&", "\u{e4}", "\rA01", "\\X0D\\",
        ];
        for unit in units {
            let steps = |count: usize| {
                let tail = unit.repeat(count);
                let text = format!("MSH|^~\\&|A|B|C|D|20260101||ORU^R01|1|P|2.5\rPID|{tail}\r");
                findings_of(&text, &limits).steps
            };
            // Places of the few findings that are kept are looked for from the start of the segment,
            // and `condition` looks once more for its separators.
            let length = unit.len() * 20_000;
            assert!(
                steps(20_000) <= 7 * length + 5_000,
                "{unit:?}: {}",
                steps(20_000)
            );
        }
    }

    /// What costs most for its bytes within the default limits: each byte is looked at a few times, however many there are.
    #[test]
    fn the_worst_messages_cost_a_few_looks_at_each_byte() {
        let obx = |value: &str| format!("OBX|1|NM|a||{value}||||||F\r");
        let lines = [
            format!("PID{}\r", "|1".repeat(500)),
            format!("PID|||{}\r", "1~".repeat(9_000)),
            format!("PID|||{}\r", "^^^a&b&c&d^^x~".repeat(2_000)),
            format!("PID|||{}\r", format!("{}~", "^&".repeat(1_000)).repeat(10)),
            format!("PID|||{}\r", "\"\"~".repeat(9_000)),
            format!("NTE|1||{}\r", "\\".repeat(20_001)),
            format!("NTE|1||{}\r", "\\Q\\".repeat(9_000)),
            format!("NTE|1||\\X{}\\\r", "4".repeat(20_001)),
            obx(&"1".repeat(20_000)),
            obx(&" 1".repeat(10_000)),
            obx(&"1~".repeat(9_000)),
            obx(&"1e".repeat(9_000)),
            "NTE\r".to_owned(),
            "ZAA\rQPD\rRXA\rAL1\r".to_owned(),
            "ORC|RE\rOBR|1\rNTE|1\rOBX|1|ST|a||b\r".to_owned(),
        ];
        for line in lines {
            let fewer = (60_000 / line.len()).min(2_000 / line.matches('\r').count());
            let steps = |count: usize| {
                let text = format!(
                    "MSH|^~\\&|A|B|C|D|20260101||ORU^R01^ORU_R01|1|P|2.5.1\r{}",
                    line.repeat(count)
                );
                let steps = findings_of(&text, &Limits::default()).steps;
                let head = line.get(..20).unwrap_or(&line);
                assert!(steps <= 7 * text.len() + 20_000, "{head}: {steps}");
                steps
            };
            let (one, four) = (steps(fewer), steps(4 * fewer));
            assert!(four <= 4 * one + 20_000, "{one} {four}");
        }
    }

    #[test]
    fn weaker_findings_do_not_crowd_out_stronger_ones() {
        let soft = "\\P\\".repeat(100);
        let text =
            format!("MSH|^~\\&|A|B|C|D|20260101||ORU^R01^ORU_R01|1|P|2.5\rPID|||1||{soft}\\Q\\\r");
        let findings = findings_of(&text, &Limits::default());
        let refusal = findings.first(Weight::Content).unwrap().refusal();
        assert_eq!(
            refusal.to_string(),
            "PID-5 (byte 360): is not an escape sequence"
        );
        assert_eq!(findings.others.len(), 17);
    }

    #[test]
    fn findings_of_one_level_do_not_crowd_out_those_of_another() {
        let soft = "\\P\\".repeat(100);
        let text =
            format!("MSH|^~\\&|A|B|C|D|20260101||ORU^R01^ORU_R01|1|P|2.5\rPID|||1||{soft}|||Q~Q\r");
        let findings = findings_of(&text, &Limits::default());
        let of = |level| findings.others.iter().filter(|f| f.level == level).count();
        assert!(of(Level::Encoding) >= 15);
        assert_eq!(of(Level::Fields), 1);
    }
}

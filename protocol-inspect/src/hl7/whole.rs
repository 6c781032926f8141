//! Whether a message is whole and of one version.
//!
//! In: a message before one rule. Out: findings.
//! A receiver that joins fragments acts on a message that nobody judged, longer than any bound;
//! one that reads the second version of two reads it by rules that this one was not judged by.
//! Addenda (ADD) and continuations (MSH-14) are for `check.rs`.

use super::check::structure_code;
use super::finding::{ErrorCode, Fault, Finding, Findings, Weight};
use super::judge::Case;
use super::place::Place;
use crate::Reason;

/// Judges what makes a message less or more than one.
pub(crate) fn judge(case: &Case<'_>, findings: &mut Findings) {
    one_type(case, findings);
    one_version(case, findings);
    no_fragment(case, findings);
}

/// The rule and the grammar were asked about the first version only.
fn one_version(case: &Case<'_>, findings: &mut Findings) {
    if case.message.head().field(12).repetitions().nth(1).is_none() {
        return;
    }
    let pinned = !case.rule.versions.is_empty();
    findings.add(Finding::new(
        if pinned {
            Weight::Firm
        } else {
            Weight::Content
        },
        Reason::Field,
        Place::msh(12),
        "has more than one repetition",
        ErrorCode::VersionId,
        Fault::Header,
    ));
}

/// Receivers choose by one repetition or another of MSH-9, or by its structure: a second one would be a way around
/// what the rule allows.
fn one_type(case: &Case<'_>, findings: &mut Findings) {
    let field = case.message.head().field(9);
    let code = field.component(1);
    let structure = field.component(3);
    let is_other = !structure.is_empty() && structure_code(structure) != Some(code);
    let is_free = case.rule.send.iter().any(|allowed| allowed == "*");
    if !is_free && (is_other || field.repetitions().nth(1).is_some()) {
        findings.add(Finding::firm(
            Reason::Field,
            Place::msh(9),
            "has more than one message type",
            ErrorCode::MessageType,
            Fault::Header,
        ));
    }
}

/// DSC says that more follows. In queries and their answers that is the next page, which is a message of its own.
//= HL7 v2.5.1 2.10.2
fn no_fragment(case: &Case<'_>, findings: &mut Findings) {
    let pages = case.is_answer || case.header.code.starts_with(b"Q");
    let continues = case.message.segments().find(|segment| {
        if segment.name() != "DSC" {
            return false;
        }
        let style = segment.field(2);
        (segment.field(1).is_valued() || style.is_valued())
            && match style.bytes() {
                b"I" => false,
                b"" => !pages,
                _ => true,
            }
    });
    if let Some(dsc) = continues {
        findings.add(Finding::new(
            Weight::Content,
            Reason::Unsupported,
            Place::of(dsc, dsc.offset()),
            "continued messages are not carried",
            ErrorCode::Internal,
            Fault::Content,
        ));
    }
}

#[cfg(test)]
mod tests {
    use crate::hl7::{Frame, Policy, Rule, Verdict, judge};

    /// `ok`, or the refusal, in shadow or not.
    fn say(text: &str, versions: &[&str], shadow: bool) -> String {
        let policy = Policy {
            default_charset: "ASCII".into(),
            rules: vec![Rule {
                name: "r".into(),
                send: vec!["*".into()],
                versions: versions.iter().map(ToString::to_string).collect(),
                shadow,
                ..Rule::default()
            }],
            ..Policy::default()
        };
        match judge(Frame::around(text.as_bytes()), &policy, None).verdict {
            Verdict::Accept(_) => "ok".into(),
            Verdict::Refuse(refused) => refused.refusal.to_string(),
        }
    }

    fn result(version: &str, tail: &str) -> String {
        format!(
            "MSH|^~\\&|A|B|C|D|20260101||ORU^R01^ORU_R01|1|P|{version}\r\
             OBR|1||1|93000^ECG^C4\rOBX|1|NM|1^x||72||||||F\r{tail}"
        )
    }

    fn query(tail: &str) -> String {
        format!(
            "MSH|^~\\&|A|B|C|D|20260101||QRY^A19^QRY_A19|1|P|2.3\r\
             QRD|20260101|R|I|1|||1^RD|4711^X^Y|DEM|ADT\r{tail}"
        )
    }

    #[test]
    fn fragments_are_refused_and_pages_are_not() {
        let refused = "DSC (byte 111): continued messages are not carried";
        for (tail, says) in [
            ("", "ok"),
            ("DSC|\r", "ok"),
            ("DSC||I\r", "ok"),
            ("DSC|more|I\r", "ok"),
            ("DSC|more\r", refused),
            ("DSC|more|F\r", refused),
            ("DSC||F\r", refused),
            ("DSC|more|X\r", refused),
        ] {
            let said = say(&result("2.5.1", tail), &[], false);
            assert!(
                said == says
                    || (says == refused && said.ends_with("continued messages are not carried")),
                "{tail:?}: {said}"
            );
        }
        assert_eq!(say(&query("DSC|more\r"), &[], false), "ok");
        assert_ne!(say(&query("DSC|more|F\r"), &[], false), "ok");
    }

    #[test]
    fn two_versions_are_refused() {
        let refused = "MSH-12: has more than one repetition";
        let two = result("2.5.1~2.1", "");
        assert_eq!(say(&two, &[], false), refused);
        assert_eq!(say(&two, &["2.5.1"], false), refused);
        // What a rule pins is no matter of content.
        assert_eq!(say(&two, &["2.5.1"], true), refused);
        assert_eq!(say(&two, &[], true), "ok");
        assert_eq!(say(&result("2.5.1", ""), &["2.5.1"], false), "ok");
        assert_eq!(say(&result("2.5.1^DEU", ""), &["2.5.1"], false), "ok");
    }
}

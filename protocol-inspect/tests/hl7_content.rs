//! What stands inside of segments: local segments and embedded documents, each refusal beside its accepted twin.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use protocol_inspect::hl7::{Frame, LocalSegment, Policy, Profile, Rule, Verdict, judge};

const HEAD: &str =
    "MSH|^~\\&|ECG|CARDIO|HIS|MAIN|20260101||ORU^R01|M1|P|2.5.1\rPID|1||1||X\rOBR|1|||X\r";

/// `ok`, followed by the warnings; or the refusal.
fn say(body: &str, rule: &Rule) -> String {
    let policy = Policy {
        default_charset: "ASCII".into(),
        rules: vec![Rule {
            name: "r".into(),
            send: vec!["*".into()],
            ..rule.clone()
        }],
        ..Policy::default()
    };
    let text = format!("{HEAD}{body}\r");
    match judge(Frame::around(text.as_bytes()), &policy, None).verdict {
        Verdict::Accept(accepted) => {
            let told = accepted
                .warnings
                .iter()
                .map(|w| format!("; {}: {}", w.location, w.detail));
            format!("ok{}", told.collect::<String>())
        }
        Verdict::Refuse(refused) => {
            assert!(refused.refusal.detail.len() < 120);
            refused.refusal.to_string()
        }
    }
}

fn standard() -> Rule {
    Rule::default()
}

fn strict() -> Rule {
    Rule {
        profiles: vec![Profile::strict()],
        ..Rule::default()
    }
}

#[test]
fn local_segments_are_those_of_the_list() {
    let listed = |list: &[(&str, usize)]| Rule {
        local_segments: Some(
            list.iter()
                .map(|(name, max_bytes)| LocalSegment {
                    name: (*name).into(),
                    max_bytes: *max_bytes,
                })
                .collect(),
        ),
        ..strict()
    };
    let only = listed(&[("ZPD", 10), ("ZBE", 5)]);
    for (body, said) in [
        ("ZPD|a|bcde", "ok"),
        ("ZBE|1\rZPD|1\rZPD|1234.6", "ok"),
        (
            "ZPD|a|bcdef",
            "ZPD (byte 80): is longer than the rule allows for this local segment",
        ),
        (
            "ZBE|1\rZPE|",
            "ZPE (byte 86): is a local segment that the rule does not list",
        ),
    ] {
        assert_eq!(say(body, &only), said, "{body}");
    }
    let none = listed(&[]);
    assert_eq!(
        say("ZPD|1", &none),
        "ZPD (byte 80): is a local segment that the rule does not list"
    );
    assert_eq!(say("NTE|1", &none), "ok");
}

#[test]
fn local_segments_without_a_list_are_few_and_short() {
    let soft = "ZPD (byte 80): is a local segment, and the rule lists none";
    assert_eq!(say("ZPD|1", &strict()), soft);
    assert_eq!(say("ZPD|1", &standard()), format!("ok; {soft}"));
    // All of them together: cutting a document into pieces does not help.
    let half = "x".repeat((16 << 10) / 2 - 4);
    assert_eq!(
        say(&format!("ZPD|{half}\rZPD|{half}"), &standard()),
        format!("ok; {soft}")
    );
    assert_eq!(
        say(&format!("ZPD|{half}\rZPD|{half}x"), &standard()),
        "ZPD[2] (byte 8273): the local segments up to here are longer than 16384 bytes, and the rule lists none"
    );
}

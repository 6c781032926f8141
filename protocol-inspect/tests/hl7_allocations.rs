//! A message that is accepted without a warning costs no allocation once messages like it were seen.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fmt::Write as _;

use protocol_inspect::hl7::profile::{Constraints, Observation};
use protocol_inspect::hl7::{
    Embedded, Frame, Judge, LocalSegment, Patients, Policy, Profile, Rule, Verdict, patient_hash,
};

const MSH: &str = "MSH|^~\\&|ECG^1.2.840.113619.6.408^ISO|CARDIO|HIS|MAIN|20260101120000||";

fn messages() -> Vec<(&'static str, String)> {
    let oru = format!(
        "{MSH}ORU^R01^ORU_R01|1|P|2.5.1||||||UNICODE UTF-8\r\
         PID|1||4711^^^HOSP^PI||Muster^Eva^^^^^L||19700101|F|||Weg 1^^Ort^^12345^CHE\r\
         ORC|RE||F1\rOBR|1||F1|8867-4^Heart rate^LN|||20260101115900||||||||||||||||||F\r"
    );
    let mut many = oru.clone();
    for number in 1..=2_000 {
        write!(
            many,
            "OBX|{number}|NM|8867-4^Heart rate^LN|{number}|72|/min|60-100|N|||F|||20260101120000\r"
        )
        .unwrap();
    }
    let adt = format!(
        "{MSH}ADT^A01^ADT_A01|1|P|2.3.1\rEVN|A01|20260101120000\r\
         PID|1||4711^^^HOSP^PI||Muster^Eva||19700101|F\rPV1|1|I|3^12^A\r"
    );
    let names: String = ('A'..='Z').map(|c| format!("ZA{c}|1|\u{e4}\r")).collect();
    vec![
        (
            "ORU",
            format!("{oru}OBX|1|ST|1^Note^L||a\\T\\b~caf\u{e9}||||||F\r"),
        ),
        ("ORU with many OBX", many),
        ("ADT", adt),
        (
            "local segments",
            format!("{oru}{names}OBX|1|ST|1^Note^L||a||||||F\r"),
        ),
    ]
}

/// The rule that accepts is not the first: rules that miss cost nothing either.
fn policy(profile: Profile) -> Policy {
    let rule = |name: &str, send: &str| Rule {
        name: name.to_owned(),
        send: vec![send.to_owned()],
        bind_sender: true,
        profiles: vec![profile.clone()],
        local_segments: Some(
            ('A'..='Z')
                .map(|c| LocalSegment {
                    name: format!("ZA{c}"),
                    max_bytes: 8,
                })
                .collect(),
        ),
        ..Rule::default()
    };
    Policy {
        default_charset: "ASCII".to_owned(),
        senders: vec![(
            "ECG^1.2.840.113619.6.408^ISO".to_owned(),
            "CARDIO".to_owned(),
        )],
        rules: vec![rule("orders", "ORM^O01"), rule("all", "*")],
        ..Policy::default()
    }
}

/// How many allocations one judgement makes, and how many warnings it has.
fn cost(judge: &mut Judge, text: &str, policy: &Policy) -> (u64, usize) {
    let frame = Frame::around(text.as_bytes());
    let mut judgement = None;
    let counted = allocation_counter::measure(|| {
        judgement = Some(judge.judge(frame, policy, Some(1_767_268_800)));
    });
    let warnings = match judgement.unwrap().verdict {
        Verdict::Accept(accepted) => accepted.warnings.len(),
        Verdict::Refuse(refused) => panic!("{}", refused.refusal),
    };
    (counted.count_total, warnings)
}

#[test]
fn accepted_messages_cost_no_allocation_after_the_first() {
    for profile in [Profile::strict(), Profile::standard()] {
        let policy = policy(profile);
        let mut judge = Judge::new();
        let messages = messages();
        for (_, text) in &messages {
            assert!(cost(&mut judge, text, &policy).0 > 0 || messages.len() > 1);
        }
        for (name, text) in messages.iter().chain(messages.iter().rev()) {
            let (allocations, warnings) = cost(&mut judge, text, &policy);
            assert_eq!(warnings, 0, "{name}");
            assert_eq!(allocations, 0, "{name}");
        }
    }
}

/// A rule that binds patient, device and clock, lists hosts and asks for a profile.
fn demanding() -> Policy {
    let mut policy = policy(Profile {
        constraints: Constraints {
            versions: vec!["2.5.1".to_owned()],
            charsets: vec!["UNICODE UTF-8".to_owned()],
            observations: [("8867-4", "NM"), ("1", "RP"), ("2", "ED"), ("3", "SN")]
                .map(|(code, data_type)| Observation {
                    code: code.to_owned(),
                    system: "LN".to_owned(),
                    types: vec![data_type.to_owned()],
                    units: Vec::new(),
                    min: "20"
                        .to_owned()
                        .try_into()
                        .ok()
                        .filter(|_| data_type == "NM"),
                    max: None,
                })
                .to_vec()
                .into(),
            ..Constraints::default()
        },
        ..Profile::strict()
    });
    let key = b"a key that only this test knows.";
    policy.device_ids = vec!["MONITOR7^^1.2.3.7^ISO".to_owned()];
    policy.patients = Patients::new(key, [patient_hash(key, ["HOSP", "", ""], "4711")]);
    for rule in &mut policy.rules {
        rule.bind_patient = true;
        rule.clock_window = Some(86_400);
        rule.embedded = Embedded {
            hosts: vec!["a.org".to_owned()],
            ..Embedded::default()
        };
    }
    policy
}

/// Only what is embedded is unpacked somewhere, and that needs room: a few allocations, however many results there are.
#[test]
fn a_rule_that_asks_for_much_costs_no_allocation_either() {
    let (_, with_note) = messages().swap_remove(0);
    let (head, _) = with_note.split_once("OBX").unwrap();
    let tail = "||||||F|||||||MONITOR7^^1.2.3.7^ISO\r";
    let results = format!(
        "{head}OBX|1|NM|8867-4^Heart rate^LN||72|/min|||||F|||||||MONITOR7^^1.2.3.7^ISO\r\
         OBX|2|SN|3^Titer^LN||^1^:^128{tail}"
    );
    let pointer = format!("{results}OBX|3|RP|1^Picture^LN||http://a.org/1^^IM^JPEG{tail}");
    let document = format!(
        "{results}OBX|3|ED|2^Report^LN||^IM^JPEG^Base64^/9j/4AAQSkZJRgABAQAAAQABAAD/2Q=={tail}"
    );
    let (policy, mut judge) = (demanding(), Judge::new());
    for (text, most) in [(results, 0), (pointer, 2), (document, 3)] {
        cost(&mut judge, &text, &policy);
        let (allocations, warnings) = cost(&mut judge, &text, &policy);
        assert_eq!(warnings, 0);
        assert!(allocations <= most, "{allocations} {text}");
    }
}

/// The twin: a message with a warning has to say something, so the counter does count.
#[test]
fn a_warning_costs_something() {
    let policy = policy(Profile::standard());
    let mut judge = Judge::new();
    let (_, adt) = messages().swap_remove(2);
    let soft = adt.trim_end_matches('\r');
    for _ in 0..2 {
        let (allocations, warnings) = cost(&mut judge, soft, &policy);
        assert_eq!(warnings, 1);
        assert!(allocations > 0);
    }
}

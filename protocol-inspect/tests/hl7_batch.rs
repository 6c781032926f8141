//! Batches: what passes whole, beside the nearest that is refused whole.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use protocol_inspect::hl7::ack::{self, Stamp};
use protocol_inspect::hl7::{Answer, Batch, Frame, Policy, Profile, Refused, Rule, Verdict, judge};
use protocol_inspect::{Limits, Reason};

const FHS: &str = "FHS|^~\\&|ECG|CARDIO|HIS|MAIN|20260101||||F-1";
const BHS: &str = "BHS|^~\\&|ECG|CARDIO|HIS|MAIN|20260101||||B-1";

fn message(id: &str) -> String {
    format!("MSH|^~\\&|ECG|CARDIO|HIS|MAIN|20260101||ORU^R01|{id}|P|2.5\rPID|1||1||X\rOBR|1|||X\r")
}

fn lines(parts: &[&str]) -> String {
    let end = |part: &&str| {
        let end = if part.ends_with('\r') { "" } else { "\r" };
        format!("{part}{end}")
    };
    parts.iter().map(end).collect()
}

fn rule() -> Rule {
    Rule {
        name: "results".to_owned(),
        send: vec!["ORU^R01".to_owned()],
        bind_sender: true,
        batches: true,
        ..Rule::default()
    }
}

fn policy(rules: Vec<Rule>) -> Policy {
    Policy {
        default_charset: "ASCII".to_owned(),
        senders: vec![("ECG".to_owned(), "CARDIO".to_owned())],
        rules,
        ..Policy::default()
    }
}

fn verdict(text: &str, policy: &Policy) -> Result<(Batch, Vec<String>), Box<Refused>> {
    let frame = Frame::around(text.as_bytes());
    let whole = frame.bytes().clone();
    match judge(frame, policy, None).verdict {
        Verdict::Accept(accepted) => {
            assert_eq!(accepted.permit.into_bytes(), whole, "as it came");
            let told = accepted.warnings.iter().map(|w| w.location.clone());
            Ok((accepted.batch.unwrap(), told.collect()))
        }
        Verdict::Refuse(refused) => Err(Box::new(refused)),
    }
}

#[test]
fn the_envelope_has_an_order() {
    let (one, two) = (message("1"), message("2"));
    let all = policy(vec![rule()]);
    for right in [
        lines(&[BHS, &one, "BTS|1"]),
        lines(&[BHS, &one, &two, "BTS|2"]),
        lines(&[FHS, BHS, &one, "BTS|1", "FTS|1"]),
        lines(&[FHS, BHS, &one, "BTS|1", BHS, &two, "BTS|1", "FTS|2"]),
        lines(&[BHS, &one, "BTS|01"]),
        lines(&[BHS, &one, "BTS|1"]).trim_end().to_owned(),
    ] {
        assert!(verdict(&right, &all).is_ok(), "{right}");
    }
    for wrong in [
        lines(&[BHS]),
        lines(&[FHS]),
        lines(&[BHS, &one]),
        lines(&[BHS, "BTS|0"]),
        lines(&[BHS, "PID|1", "BTS|0"]),
        lines(&[FHS, &one, "FTS|0"]),
        lines(&[FHS, BHS, &one, "BTS|1"]),
        lines(&[FHS, "FTS|0"]),
        lines(&[BHS, &one, "BTS|1", "FTS|1"]),
        lines(&[BHS, &one, "BTS|1", &two]),
        lines(&[BHS, &one, "BTS|1", "PID|1"]),
        lines(&[BHS, &one, BHS, &two, "BTS|1", "BTS|1"]),
        lines(&[BHS, FHS, &one, "BTS|1"]),
        lines(&[BHS, &one, "BTS|1", "BTS|1"]),
        lines(&[FHS, FHS, BHS, &one, "BTS|1", "FTS|1"]),
        lines(&[FHS, BHS, &one, "BTS|1", "FTS|1", BHS, &two, "BTS|1"]),
        lines(&[BHS, &one, "BTS|1"]) + "\r",
        lines(&[BHS, "", &one, "BTS|1"]),
        lines(&[BHS, &one, "BTS^1"]),
        lines(&[BHS, &one, "\nBTS|1"]),
        lines(&[&one, "BTS|1"]),
    ] {
        assert!(verdict(&wrong, &all).is_err(), "{wrong}");
    }
}

#[test]
fn the_counts_are_right_or_missing() {
    let one = message("1");
    let strict = || Rule {
        profiles: vec![Profile::strict()],
        ..rule()
    };
    let shadow = Rule {
        shadow: true,
        ..strict()
    };
    for (bts, fts, standard, in_shadow) in [
        ("BTS|1", "FTS|1", Some(0), true),
        ("BTS", "FTS|1", Some(1), true),
        ("BTS|", "FTS", Some(2), true),
        ("BTS|2", "FTS|1", None, false),
        ("BTS|1", "FTS|2", None, false),
        ("BTS|+1", "FTS|1", None, false),
        ("BTS|x", "FTS|1", None, false),
        ("BTS|99999999999999999999999", "FTS|1", None, false),
    ] {
        let text = lines(&[FHS, BHS, &one, bts, fts]);
        let under = |rule: Rule| verdict(&text, &policy(vec![rule])).map(|(_, told)| told);
        let told = under(rule());
        let counts = told.map(|told| told.iter().filter(|t| t.contains("TS-1")).count());
        assert_eq!(counts.ok(), standard, "{bts} {fts}");
        let refused = under(strict())
            .err()
            .map(|refused| refused.refusal.location);
        let at_counts = refused
            .as_ref()
            .is_some_and(|at| at.starts_with("BTS-1") || at.starts_with("FTS-1"));
        assert_eq!(at_counts, standard != Some(0), "{bts} {fts}: {refused:?}");
        assert_eq!(under(shadow.clone()).is_ok(), in_shadow, "{bts} {fts}");
    }
}

//= C5
#[test]
fn the_envelope_speaks_in_the_name_of_the_device() {
    let one = message("1");
    for (head, passes) in [
        (BHS.to_owned(), true),
        (BHS.replace("|ECG|CARDIO|", "|||"), true),
        (BHS.replace("|ECG|", "|PUMP|"), false),
        (BHS.replace("|CARDIO|", "|ICU|"), false),
        (BHS.replace("|ECG|", "||"), false),
    ] {
        let text = lines(&[&head, &one, "BTS|1"]);
        let result = verdict(&text, &policy(vec![rule()]));
        assert_eq!(result.is_ok(), passes, "{head}");
        if let Err(refused) = result {
            assert_eq!(refused.refusal.reason, Reason::Identity);
        }
        let free = Rule {
            bind_sender: false,
            ..rule()
        };
        assert!(verdict(&text, &policy(vec![free])).is_ok());
    }
    let text = lines(&[
        FHS.replace("|ECG|", "|PUMP|").as_str(),
        BHS,
        &one,
        "BTS|1",
        "FTS|1",
    ]);
    assert!(verdict(&text, &policy(vec![rule()])).is_err());
}

#[test]
fn its_delimiters_are_the_same_everywhere() {
    let one = message("1");
    for (text, passes) in [
        (lines(&[BHS, &one, "BTS|1"]), true),
        (
            lines(&[BHS, &one.replace("^~\\&|", "^~\\#|"), "BTS|1"]),
            false,
        ),
        (
            lines(&[&BHS.replace("^~\\&|", "^~\\#|"), &one, "BTS|1"]),
            false,
        ),
        (lines(&[&BHS.replace('|', "$"), &one, "BTS|1"]), false),
        (lines(&[BHS, &one.replace('|', "$"), "BTS|1"]), false),
        (
            lines(&[&BHS.replace('|', "$"), &one.replace('|', "$"), "BTS$1"]),
            true,
        ),
        (lines(&[BHS, &one, "BTS$1"]), false),
        (
            lines(&[FHS, &BHS.replace("^~", "~^"), &one, "BTS|1", "FTS|1"]),
            false,
        ),
    ] {
        assert_eq!(
            verdict(&text, &policy(vec![rule()])).is_ok(),
            passes,
            "{text}"
        );
    }
}

#[test]
fn it_has_an_id_to_know_the_answer_by() {
    let one = message("1");
    let without = |head: &str| head.replace("F-1", "").replace("B-1", "");
    for (text, passes) in [
        (lines(&[&without(BHS), &one, "BTS|1"]), false),
        (lines(&[&without(FHS), BHS, &one, "BTS|1", "FTS|1"]), true),
        (lines(&[FHS, &without(BHS), &one, "BTS|1", "FTS|1"]), true),
        (
            lines(&[
                &without(FHS),
                BHS,
                &one,
                "BTS|1",
                BHS,
                &one,
                "BTS|1",
                "FTS|2",
            ]),
            false,
        ),
        (
            lines(&[BHS, &one, "BTS|1", BHS, &message("2"), "BTS|1"]),
            false,
        ),
    ] {
        assert_eq!(
            verdict(&text, &policy(vec![rule()])).is_ok(),
            passes,
            "{text}"
        );
    }
}

#[test]
fn one_rule_accepts_every_message_or_none_passes() {
    let admit = message("2").replace("ORU^R01", "ADT^A01");
    let mixed = lines(&[BHS, &message("1"), &admit, "BTS|2"]);
    let named = |name: &str, send: &[&str]| Rule {
        name: name.to_owned(),
        send: send.iter().map(|s| (*s).to_owned()).collect(),
        ..rule()
    };
    let each = policy(vec![named("a", &["ORU^R01"]), named("b", &["ADT^A01"])]);
    let refused = verdict(&mixed, &each).unwrap_err();
    assert_eq!(
        refused.refusal.to_string(),
        "message 2 of the batch, MSH-9: no rule allows this trigger event"
            .replace("trigger event", "message type")
    );
    assert_eq!(refused.rule.as_deref(), Some("a"), "it came furthest");
    let both = policy(vec![
        named("a", &["ORU^R01"]),
        named("c", &["ORU^R01", "ADT^A01"]),
    ]);
    assert!(verdict(&mixed, &both).is_ok());
    let closed = policy(vec![Rule {
        batches: false,
        ..named("c", &["ORU^R01", "ADT^A01"])
    }]);
    assert_eq!(
        verdict(&mixed, &closed).unwrap_err().refusal.reason,
        Reason::Unsupported
    );
}

#[test]
fn a_message_hides_nothing_that_it_could_not_hide_alone() {
    let good = message("1");
    for (inner, passes) in [
        (good.clone(), true),
        (good.replace("|ECG|", "|PUMP|"), false),
        (good.replace("20260101", "2026-1-1"), false),
        (good.replace("PID|1", "PID|\\1"), false),
        (good.replace("PID|1", "PID|\n1"), false),
        (good.replace("PID|1", "pid|1"), false),
        (good.replace("|1\r", "|\r"), true),
        (good.replace("PID|", "PIDX|"), false),
    ] {
        let text = lines(&[BHS, &message("0"), &inner, "BTS|2"]);
        let result = verdict(&text, &policy(vec![rule()]));
        assert_eq!(result.is_ok(), passes, "{inner}");
        if let Err(refused) = result {
            let location = refused.refusal.location;
            assert!(
                location.starts_with("message 2 of the batch, "),
                "{location}"
            );
        }
    }
}

//= C7
#[test]
fn it_has_a_bounded_number_of_messages() {
    let many = |count: usize| {
        let all: String = (0..count).map(|n| message(&n.to_string())).collect();
        lines(&[BHS, &all, &format!("BTS|{count}")])
    };
    let small = Policy {
        limits: Limits {
            hl7_batch_messages: 10,
            ..Limits::default()
        },
        ..policy(vec![rule()])
    };
    assert!(verdict(&many(10), &small).is_ok());
    let refused = verdict(&many(11), &small).unwrap_err().refusal;
    assert_eq!(refused.reason, Reason::Limit);
    assert!(refused.location.starts_with("hl7_batch_messages"));
    assert!(verdict(&many(1_000), &policy(vec![rule()])).is_ok());
    assert!(verdict(&many(1_001), &policy(vec![rule()])).is_err());
}

#[test]
fn a_refusal_refers_to_the_batch_and_names_the_message() {
    let bad = message("2").replace("20260101", "2026-1-1");
    let text = lines(&[BHS, &message("1"), &bad, "BTS|2"]);
    let judgement = judge(Frame::around(text.as_bytes()), &policy(vec![rule()]), None);
    let Verdict::Refuse(refused) = judgement.verdict else {
        panic!("accepted");
    };
    let stamp = Stamp {
        time: "20260101120000+0000".to_owned(),
        control_id: "LZ1".to_owned(),
    };
    let header = judgement.header.unwrap();
    assert_eq!(header.kind(), "BHS");
    let (_, spoken) = ack::refuse(&header, &refused, &stamp).unwrap();
    let said = String::from_utf8(spoken.into_bytes().to_vec()).unwrap();
    insta::assert_snapshot!(said.replace('\r', "\n").replace(['\x0b', '\x1c'], ""));
}

#[test]
fn an_answer_refers_to_the_batch_as_a_whole_or_message_by_message() {
    let text = lines(&[FHS, BHS, &message("1"), &message("2"), "BTS|2", "FTS|1"]);
    let all = policy(vec![rule()]);
    let frame = Frame::around(text.as_bytes());
    let header = judge(frame, &all, None).header.unwrap();
    let (batch, _) = verdict(&text, &all).unwrap();
    let ack = |code: &str, id: &str| {
        format!("MSH|^~\\&|HIS|MAIN|ECG|CARDIO|20260101||ACK|9|P|2.5\rMSA|{code}|{id}\r")
    };
    let back = |reference: &str, acks: &[String]| {
        let head = format!("BHS|^~\\&|HIS|MAIN|ECG|CARDIO|20260101||||R-1|{reference}");
        lines(&[&head, &acks.concat(), &format!("BTS|{}", acks.len())])
    };
    let (first, second) = (ack("AA", "1"), ack("AA", "2"));
    let both = [first.clone(), second.clone()];
    for (answer, answers, complete, code) in [
        (ack("AA", "F-1"), true, true, "AA"),
        (ack("AE", "B-1"), true, true, "AE"),
        (ack("AA", "1"), false, true, "AA"),
        (back("B-1", &both), true, true, "AA"),
        (back("F-1", &both), true, true, "AA"),
        (back("B-2", &both), false, true, "AA"),
        (back("B-1", std::slice::from_ref(&first)), true, false, "AA"),
        (
            back("B-1", &[first.clone(), ack("AE", "2")]),
            true,
            true,
            "AE",
        ),
        (back("B-1", &[ack("AR", "1"), second]), true, true, "AR"),
        (
            back("B-1", &[first.clone(), ack("AA", "3")]),
            false,
            false,
            "AA",
        ),
    ] {
        let read = Answer::read(Frame::around(answer.as_bytes()), &all).unwrap();
        assert_eq!(read.answers(&header, Some(&batch)), answers, "{answer}");
        assert_eq!(read.is_complete(Some(&batch)), complete, "{answer}");
        assert_eq!(read.code.code(), code, "{answer}");
        assert!(!read.answers(&header, None) || !read.is_batch());
        assert!(read.approve(&all, "results").is_ok());
    }
    for broken in [
        back("", &both),
        back("B-1", &[]),
        back("B-1", &[first.replace("MSA|AA", "MSA|OK")]),
        back("B-1", &[message("1")]),
        back("B-1", &both).replace("BTS|2", "BTS|3"),
    ] {
        assert!(
            Answer::read(Frame::around(broken.as_bytes()), &all).is_err(),
            "{broken}"
        );
    }
}

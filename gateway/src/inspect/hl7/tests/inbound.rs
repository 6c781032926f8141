//! Answers of the destination, judged as messages: what is relayed, what is dropped, and what the device is told.

use super::*;

fn query(id: &str, asked: &str) -> Vec<u8> {
    frame(&format!(
        "MSH|^~\\&|ECG|CARDIO|HIS|MAIN|20260101||QBP^Q22^QBP_Q21|{id}|P|2.5|||{asked}\r\
         QPD|Q22^Find^HL70471|T1|@PID.3^1\rRCP|I\r"
    ))
}

fn response(kind: &str, id: &str, body: &str) -> Vec<u8> {
    frame(&format!(
        "MSH|^~\\&|HIS|MAIN|ECG|CARDIO|20260101||{kind}|H1|P|2.5\rMSA|AA|{id}\r\
         QAK|T1|OK\rQPD|Q22^Find^HL70471|T1|@PID.3^1\r{body}"
    ))
}

fn asking() -> Script {
    let mut s = Script::new();
    let ProtocolPolicy::Hl7(mut hl7) = policy().protocol else {
        panic!("not HL7");
    };
    hl7.rules.push(Rule {
        name: "query".into(),
        send: vec!["QBP^Q22".into()],
        receive: vec!["RSP^K22".into()],
        bind_sender: true,
        ..Rule::default()
    });
    s.session.update(&ConnectionPolicy {
        protocol: ProtocolPolicy::Hl7(hl7),
        ..policy()
    });
    s
}

fn told_device(s: &Script) -> usize {
    s.out
        .iter()
        .filter(|line| line.starts_with("forward to device") || line.starts_with("speak"))
        .count()
}

#[test]
fn a_query_is_answered_with_what_its_rule_expects() {
    let good = response("RSP^K22^RSP_K21", "1", "PID|1||4711\r");
    for (answer, passes) in [
        (good.clone(), true),
        (answer("AE", "1"), true),
        (response("RSP^K21^RSP_K21", "1", "PID|1||4711\r"), false),
        (response("ADR^A19", "1", "PID|1||4711\r"), false),
        (good.replace(b"4711", b"47\\11"), false),
        (good.replace(b"PID|1|", b"PID|one|"), false),
    ] {
        let mut s = asking();
        s.device(&query("1", "")).connected().hospital(&answer);
        assert_eq!(told_device(&s), usize::from(passes), "{}", s.told());
        // Nothing is said in the destination's place.
        let ended = s
            .told()
            .ends_with("close device reset\nclose hospital reset");
        assert_eq!(ended, !passes, "{}", s.told());
        let unanswered = s.decisions.iter().any(|d| d.outcome == Outcome::Unanswered);
        assert_eq!(unanswered, !passes);
    }
}

#[test]
fn data_comes_back_only_under_the_rule_of_its_message() {
    for (message, passes) in [(query("1", ""), true), (message("1", ""), false)] {
        let mut s = asking();
        s.device(&message).connected();
        s.hospital(&response("RSP^K22^RSP_K21", "1", ""));
        assert_eq!(told_device(&s), usize::from(passes), "{}", s.told());
    }
}

#[test]
fn a_query_that_was_answered_with_data_goes_up_again() {
    let mut s = asking();
    s.device(&query("1", "")).connected();
    s.hospital(&response("RSP^K22^RSP_K21", "1", ""));
    s.device(&query("1", ""));
    assert_eq!(s.sent, query("1", "").repeat(2));
}

#[test]
fn deferred_data_is_judged_by_the_rule_of_its_message() {
    for (kind, passes) in [("RSP^K22^RSP_K21", true), ("RSP^K21^RSP_K21", false)] {
        let mut s = asking();
        s.device(&query("1", "AL|AL")).connected();
        s.hospital(&answer("CA", "1"));
        s.hospital(&response(kind, "1", "PID|1||4711\r"));
        assert_eq!(told_device(&s), 1 + usize::from(passes), "{}", s.told());
        assert!(
            s.session.deadline().is_some(),
            "what was committed stays so"
        );
    }
}

#[test]
fn sloppy_acknowledgements_are_the_truth_and_broken_ones_are_not() {
    let good = answer("AA", "1");
    for (answer, passes, warned) in [
        (good.clone(), true, false),
        // The time of the message and a segment of nobody's.
        (good.replace(b"|20260101|", b"|2026-1-1|"), true, true),
        (good.replace(b"\r\x1c", b"\rPV1|1\r\x1c"), true, true),
        (good.replace(b"|P|2.5", b"|P|"), true, true),
        // No code of table 0008, none at all, one that this mode does not have.
        (good.replace(b"MSA|AA", b"MSA|OK"), false, false),
        (good.replace(b"MSA|AA", b"MSA|aa"), false, false),
        (good.replace(b"MSA|AA", b"MSA|"), false, false),
        (good.replace(b"MSA|AA", b"MSA|CA"), false, false),
        // Two MSA, none, one in front of the header, a second header.
        (good.replace(b"\r\x1c", b"\rMSA|AE|1\r\x1c"), false, false),
        (good.replace(b"MSA|AA|1\r", b""), false, false),
        (good.replace(b"\x0bMSH", b"\x0bMSA|AA|1\rMSH"), false, false),
        (good.replace(b"\r\x1c", b"\rMSH|^~\\&|\r\x1c"), false, false),
        // Another message, or none.
        (good.replace(b"|AA|1", b"|AA|2"), false, false),
        (good.replace(b"|AA|1", b"|AA|"), false, false),
        (good.replace(b"|AA|1", b"|AA|1\\"), false, false),
        (frame("\x06"), false, false),
    ] {
        let mut s = Script::new();
        s.device(&message("1", "")).connected().hospital(&answer);
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(told_device(&s), usize::from(passes), "{text}: {}", s.told());
        let refused = s.decisions.iter().any(|d| d.outcome == Outcome::Refused);
        assert_eq!(refused, !passes, "{text}");
        let warnings = s.decisions.iter().any(|d| !d.warnings.is_empty());
        assert_eq!(warnings, warned, "{text}: {}", s.told());
        s.later(30_000);
        assert_eq!(s.session.deadline().is_none(), !passes, "{text}");
        assert!(!passes || told_device(&s) == 1);
    }
}

#[test]
fn the_mode_of_the_message_decides_which_code_fits() {
    for (asked, code, passes) in [
        ("", "AA", true),
        ("", "CA", false),
        ("", "CE", false),
        ("AL|NE", "CA", true),
        ("AL|NE", "CR", true),
        ("AL|NE", "AA", true),
        ("SU|NE", "CA", true),
        ("ER|NE", "CE", true),
        ("ER|NE", "AA", false),
        ("NE|ER", "AE", true),
        ("NE|AL", "CA", false),
        ("NE|NE", "AE", false),
        ("NE|NE", "CE", false),
    ] {
        let mut s = Script::new();
        s.device(&message("1", asked)).connected();
        s.hospital(&answer(code, "1"));
        assert_eq!(told_device(&s), usize::from(passes), "{asked} {code}");
    }
}

#[test]
fn an_answer_in_the_middle_of_pipelined_messages_changes_no_turn() {
    let mut s = Script::new();
    let all: Vec<_> = ["1", "2", "3"].map(|id| message(id, "")).into();
    s.device(&all.concat()).connected();
    s.hospital(&answer("AA", "2")).hospital(&answer("AA", "3"));
    assert_eq!((told_device(&s), s.sent.len()), (0, all[0].len()));
    s.hospital(&answer("AA", "1"))
        .hospital(&answer("AE", "2"))
        .hospital(&answer("AR", "3"));
    let told: Vec<_> = s.decisions.iter().map(|d| d.answer.as_deref()).collect();
    assert_eq!(
        told,
        [None, None, Some("AA"), Some("AE"), Some("AR")],
        "the two that came too early were dropped"
    );
    // An acknowledgement of the device in the middle of its own messages is a message under the rules.
    s.device(&[message("4", ""), acknowledge("AA", "H1"), message("5", "")].concat());
    s.hospital(&answer("AA", "4")).hospital(&answer("AA", "5"));
    let last = s.decisions.iter().rev().take(3).map(|d| d.outcome);
    assert_eq!(
        last.collect::<Vec<_>>(),
        [Outcome::Forwarded, Outcome::Refused, Outcome::Forwarded]
    );
}

#[test]
fn an_acknowledgement_that_nobody_waits_for_is_dropped() {
    let mut s = Script::new();
    s.device(&message("1", "")).connected();
    s.hospital(&answer("AA", "1"));
    let before = told_device(&s);
    s.hospital(&answer("AA", "1"));
    s.hospital(&answer("AE", "1"));
    assert_eq!(told_device(&s), before);
    s.device(&message("1", ""));
    assert!(
        s.told().contains("Repeated"),
        "the late AE undoes nothing: {}",
        s.told()
    );
}

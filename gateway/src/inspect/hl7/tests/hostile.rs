//! What a hostile device, a hostile destination or mere bad luck tries; each beside the honest case.

use protocol_inspect::hl7::{Framer, Message};

use super::*;

fn count(s: &Script, outcome: Outcome) -> usize {
    s.decisions.iter().filter(|d| d.outcome == outcome).count()
}

//= C6
#[test]
fn what_was_committed_and_failed_later_goes_up_again() {
    for (last, again) in [("AE", 2), ("AR", 2), ("AA", 1)] {
        let mut s = Script::new();
        s.device(&message("1", "AL|AL")).connected();
        s.hospital(&answer("CA", "1")).hospital(&answer(last, "1"));
        s.device(&message("1", "AL|AL"));
        assert_eq!(s.sent, message("1", "AL|AL").repeat(again), "{last}");
        assert_eq!(count(&s, Outcome::Repeated), 2 - again, "{last}");
    }
}

//= C6
#[test]
fn a_late_answer_to_an_older_message_is_no_success_for_a_newer_of_the_same_id() {
    let newer = message("1", "").replace(b"PID|1", b"PID|2");
    for (older, forgiven) in [
        (message("1", "NE|AL"), false),
        (message("9", "NE|AL"), true),
    ] {
        let mut s = Script::new();
        s.device(&older).connected();
        s.device(&newer).hospital(&answer("AA", "1")).later(30_000);
        assert_eq!(count(&s, Outcome::Unanswered) == 0, forgiven);
        s.session = Script::with(s.session.exchange.clone()).session;
        s.device(&newer);
        assert_eq!(count(&s, Outcome::Repeated) == 1, forgiven);
    }
}

#[test]
fn an_answer_comes_in_pieces_and_with_company() {
    let mut s = Script::new();
    s.device(&[message("1", ""), message("2", "")].concat())
        .connected();
    let (first, second) = (answer("AA", "1"), answer("AA", "2"));
    s.hospital(&first[..9]);
    s.hospital(&[&first[9..], &second[..]].concat());
    assert_eq!(s.sent, [message("1", ""), message("2", "")].concat());
    let mut s = Script::new();
    s.device(&message("1", "")).connected();
    s.hospital(&[answer("AA", "1"), b"junk".to_vec()].concat());
    assert_eq!(count(&s, Outcome::Forwarded), 1, "{}", s.told());
    assert!(
        s.told()
            .ends_with("close device reset\nclose hospital reset")
    );
    assert!(s.told().contains("forward to device"), "{}", s.told());
}

#[test]
fn a_destination_that_answers_unasked_is_not_given_up() {
    let mut s = Script::new();
    for n in 0..100 {
        let id = n.to_string();
        s.device(&message(&id, "NE|NE"));
        if n == 0 {
            s.connected();
        }
        s.hospital(&answer("AA", &id));
    }
    assert!(s.session.wants(Side::Device));
    assert!(!s.told().contains("forward to device"));
}

//= C5
#[test]
fn a_devices_own_acknowledgement_is_bound_to_it() {
    for (ack, passes) in [
        (acknowledge("CA", "H9"), true),
        (acknowledge("CA", "H9").replace(b"|ECG|", b"|PUMP|"), false),
        (
            acknowledge("CA", "H9").replace(b"\r\x1c", b"\rPID|1\r\x1c"),
            false,
        ),
    ] {
        let mut s = Script::new();
        s.device(&message("1", "AL|AL")).connected();
        s.hospital(&answer("CA", "1"));
        s.hospital(&answer_asking("AA", "1", "H9"));
        let before = s.sent.len();
        s.device(&ack);
        assert_eq!(s.sent.len() > before, passes, "{}", s.told());
    }
}

//= C7
#[test]
fn a_flood_that_comes_to_nothing_is_recorded_at_a_bounded_pace() {
    let bad = message("1", "").replace(b"PID|1", b"PID|\\1");
    let mut s = Script::new();
    s.device(&bad.repeat(400));
    let first = count(&s, Outcome::Refused);
    assert!((200..300).contains(&first), "{first}");
    assert!(!s.session.wants(Side::Device) && !s.session.idle());
    s.later(1_000);
    let second = count(&s, Outcome::Refused) - first;
    assert!((1..=21).contains(&second), "{second}");
    s.device_ends(false);
    for _ in 0..400 {
        s.later(50);
    }
    assert_eq!(count(&s, Outcome::Refused), 400);
    assert!(s.told().ends_with("close device\nclose hospital"));
    let mut s = Script::new();
    s.device(&message("0", ""))
        .connected()
        .hospital(&answer("AA", "0"));
    for n in 1..400 {
        let id = n.to_string();
        s.device(&message(&id, "")).hospital(&answer("AA", &id));
    }
    assert_eq!(
        count(&s, Outcome::Forwarded),
        400,
        "good messages wait for nobody"
    );
}

//= C7
#[test]
fn all_that_waits_is_accounted_for() {
    let mut s = Script::new();
    let (one, two) = (message("1", ""), message("2", ""));
    assert!(s.session.idle() && s.session.held() == 0);
    s.device(&one[..20]);
    assert!(!s.session.idle() && s.session.held() == 20);
    s.device(&one[20..]).device(&two);
    assert_eq!(s.session.held(), one.len() + two.len());
    s.connected();
    assert_eq!(s.session.held(), two.len());
    s.hospital(&answer("AA", "1")).hospital(b"\x0bMSH");
    assert!(!s.session.idle() && s.session.held() == 4);
    s.hospital(&answer("AA", "2")[4..]);
    assert!(s.session.idle() && s.session.held() == 0, "{}", s.told());
}

//= C8
#[test]
fn a_broken_stream_is_on_record_even_if_its_turn_never_comes() {
    for reset in [false, true] {
        let mut s = Script::new();
        s.device(&[message("1", ""), b"GET /".to_vec()].concat());
        s.connected();
        if reset {
            s.device_ends(true);
        } else {
            s.later(30_000);
        }
        let streams = s.decisions.iter().filter(|d| d.what == Subject::Stream);
        assert_eq!(streams.count(), 1, "{}", s.told());
    }
}

#[test]
fn nothing_that_a_sender_writes_can_shape_what_we_say() {
    let values: [&[u8]; 9] = [
        b"A\\X0D\\MSA",
        b"A\\",
        b"A~B",
        b"A^B&C",
        b"\xff\xfe",
        b"A\\F\\B",
        b"\"\"",
        b"A\x1bB",
        b"A\tB",
    ];
    for value in values {
        for field in [&b"ECG"[..], b"CARDIO", b"HIS", b"MAIN", b"M-1"] {
            let bad = message("M-1", "").replace(field, value);
            let bad = bad.replace(b"PID|1", b"PID|\\1");
            let mut said = Vec::new();
            let mut session = Script::new().session;
            session.receive(Side::Device, &bad, Instant::now(), wall(0));
            while let Some(step) = session.poll() {
                assert!(!matches!(step, Step::Forward { .. }));
                if let Step::Speak { spoken, .. } = step {
                    said.extend_from_slice(&spoken.into_bytes());
                }
            }
            let mut framer = Framer::new(1 << 20);
            framer.receive(&said);
            let frame = framer.poll().unwrap().unwrap();
            assert!(framer.poll().is_none() && framer.buffered() == 0);
            let read =
                Message::parse(frame.content(), &protocol_inspect::Limits::default()).unwrap();
            let names: Vec<_> = read.segments().map(|s| s.name()).collect();
            assert_eq!(names, ["MSH", "MSA", "ERR"], "{value:?}");
            let msa = read.segments().nth(1).unwrap();
            assert!(msa.field(1).bytes().starts_with(b"A") && msa.field(3).bytes().is_empty());
        }
    }
}

/// Its twin, with a warning, is in `the_same_bytes_are_answered_from_memory`.
#[test]
fn a_used_id_is_refused_where_the_rule_says_so() {
    let mut s = Script::new();
    let mut policy = policy();
    if let ProtocolPolicy::Hl7(hl7) = &mut policy.protocol {
        hl7.rules[0].unique_ids = true;
    }
    s.session.update(&policy);
    s.device(&message("1", ""))
        .connected()
        .hospital(&answer("AA", "1"));
    s.say("-- the same again is answered from memory");
    s.device(&message("1", ""));
    s.say("-- another under its id is refused");
    s.device(&message("1", "").replace(b"PID|1", b"PID|2"));
    s.say("-- and under the next id taken");
    s.device(&message("2", ""));
    insta::assert_snapshot!(s.told());
}

#[test]
fn a_decision_does_not_show_its_identifier() {
    let mut s = Script::new();
    s.device(&message("SECRET", ""));
    s.end(EndReason::Killed);
    let decision = s.decisions.first().unwrap();
    assert_eq!(decision.identifier.as_deref(), Some(&b"SECRET"[..]));
    assert!(!format!("{decision:?}").contains("83, 69, 67, 82"));
}

//= C7
#[test]
fn one_write_before_a_reset_is_not_thousands_of_records() {
    for (messages, streams) in [(5_000, 1), (60, 0)] {
        let mut s = Script::new();
        let all: Vec<_> = (0..messages).map(|n| message(&n.to_string(), "")).collect();
        s.device(&all.concat()).device_ends(true);
        assert!(s.decisions.len() <= 66, "{}", s.decisions.len());
        let of_stream = s.decisions.iter().filter(|d| d.what == Subject::Stream);
        assert_eq!(of_stream.count(), streams);
        assert!(s.session.deadline().is_none() && s.sent.is_empty());
    }
}

//! Streaming: what goes on before the verdict, what never does, and what a refusal midway leads to.

use proptest::prelude::*;

use super::script::{Script, limits, policy, streaming};
use super::words::*;
use super::*;
use crate::inspect::{Decision, Outcome, Rate, digest};

/// With an association of a service that streams.
fn established() -> Script {
    Script::established_with(streaming)
}

fn rated(policy: &mut ConnectionPolicy) {
    streaming(policy);
    policy.rate = Some(Rate {
        messages: 1,
        per_ms: 1_000,
        burst: 1,
    });
}

/// Cut in the middle of the last fragment of `rest` bytes, header included.
fn all_but(message: &[u8], rest: usize) -> (&[u8], &[u8]) {
    message.split_at(message.len() - rest)
}

//= C2
#[test]
fn a_streamed_store_arrives_byte_for_byte() {
    let mut s = established();
    let set = instance("1.2.3.4", 300_000);
    let message = store(1, "1.2.3.4", &set, 16_000);
    for chunk in message.chunks(7_000) {
        s.device(chunk);
    }
    s.hospital(&store_rsp(1, 0));
    let whole = [store_command(1, ULTRASOUND, "1.2.3.4"), set].concat();
    assert!(s.to_hospital == whole);
    let [decision] = s.decisions.as_slice() else {
        panic!("{:?}", s.decisions);
    };
    assert_eq!(decision.outcome, Outcome::Forwarded);
    assert_eq!(decision.digest, Some(*blake3::hash(&whole).as_bytes()));
    assert_eq!(decision.length, whole.len() as u64);
    assert_eq!(
        decision.warnings.first().map(String::as_str),
        Some("streaming: released as it was verified")
    );
    assert!(s.most < 300 << 10, "{} were held", s.most);
    assert!(!s.told().contains("spool"));
}

#[test]
fn small_messages_are_held_until_their_verdict_all_the_same() {
    let mut s = established();
    let message = store(1, "1.2.3.4", &instance("1.2.3.4", 3_000), 700);
    let (before, last) = all_but(&message, 1);
    s.device(before);
    assert_eq!(s.told(), "");
    s.device(last).hospital(&store_rsp(1, 0));
    s.device(&find(2)).hospital(&find_rsp(2, None));
    let says = |warning: &String| warning.starts_with("streaming");
    let streamed = s.decisions.iter().map(|d| d.warnings.iter().any(says));
    assert_eq!(streamed.collect::<Vec<_>>(), [true, false]);
}

//= C1
#[test]
fn the_last_fragment_waits_for_the_verdict() {
    let mut s = established();
    let set = instance("1.2.3.4", 300_000);
    let message = store(1, "1.2.3.4", &set, 16_000);
    let (before, last) = all_but(&message, 1);
    s.device(before);
    let sent = s.to_hospital.len();
    assert!(sent > 200_000 && sent < set.len());
    assert!(!s.told().contains("data 16378 last") && !s.last_was_sent());
    s.device(last);
    assert!(s.last_was_sent());
}

#[test]
fn the_last_byte_is_not_sent_before_an_empty_last_fragment() {
    let mut s = established();
    let set = instance("1.2.3.4", 300_000);
    let mut message = data(3, 3, &store_command(1, ULTRASOUND, "1.2.3.4"));
    for piece in set.chunks(16_000) {
        message.extend(data(3, 0, piece));
    }
    s.device(&message);
    assert!(s.to_hospital.len() < store_command(1, ULTRASOUND, "1.2.3.4").len() + set.len());
    assert!(!s.last_was_sent());
    s.device(&data(3, 2, &[]));
    assert!(s.last_was_sent() && s.to_hospital.ends_with(&set));
}

//= C1
#[test]
fn a_refusal_midway_aborts_the_destination_and_answers_the_sender() {
    let mut s = established();
    let mut set = instance("1.2.3.4", 300_000);
    set.extend(explicit(0x0008, 0x0005, b"CS", b"ISO_IR 100"));
    set.extend(filled(100_000));
    let message = store(1, "1.2.3.4", &set, 16_000);
    s.device(&message[..message.len() / 2]).say("half");
    s.device(&message[message.len() / 2..]);
    assert!(!s.last_was_sent());
    insta::assert_snapshot!(without_data(&s.told()));
    assert_eq!(outcomes(&s.decisions), [Outcome::Refused]);
    s.later(60_000);
    assert!(s.is_over());
}

//= C1
#[test]
fn a_refusal_at_the_last_fragment_leaves_the_instance_incomplete() {
    let mut s = established();
    let mut set = instance("1.2.3.4", 300_000);
    set.pop();
    s.device(&store(1, "1.2.3.4", &set, 16_000));
    assert!(!s.last_was_sent());
    insta::assert_snapshot!(without_data(&s.told()));
    assert_eq!(outcomes(&s.decisions), [Outcome::Refused]);
}

#[test]
fn a_refusal_before_the_first_byte_lets_the_association_live() {
    let mut s = established();
    let set = instance("1.2.3.4", 300_000);
    s.say("another instance than the command says");
    s.device(&store(1, "1.2.3.5", &instance("1.2.3.4", 10), 16_000));
    s.say("a service that no rule allows");
    s.device(&data(3, 3, &n_delete(2, ULTRASOUND, "1.2.3.4")));
    assert!(s.to_hospital.is_empty() && s.session.held() == 0);
    s.say("and an accepted one");
    s.device(&store(3, "1.2.3.4", &set, 16_000))
        .hospital(&store_rsp(3, 0));
    let outcomes = outcomes(&s.decisions);
    assert_eq!(outcomes.last(), Some(&Outcome::Forwarded));
    assert_eq!(outcomes.len(), 3);
    assert!(s.last_was_sent());
}

#[test]
fn a_sender_that_does_not_wait_for_its_refusal_is_on_record_as_refused() {
    let mut s = established();
    let mut set = instance("1.2.3.4", 300_000);
    set.extend(explicit(0x0008, 0x0005, b"CS", b"ISO_IR 100"));
    set.extend(filled(100_000));
    let message = store(1, "1.2.3.4", &set, 16_000);
    s.device(&message[..message.len() - 20_000]).device_ends();
    assert_eq!(outcomes(&s.decisions).last(), Some(&Outcome::Refused));
    assert!(!s.last_was_sent());
}

/// What the record says that the hospital has of a message that did not end.
fn assert_incomplete(s: &Script, outcome: Outcome) {
    let of_message = |d: &&Decision| d.what == Subject::Message;
    let messages: Vec<_> = s.decisions.iter().filter(of_message).collect();
    let [decision] = messages.as_slice() else {
        panic!("{:?}", s.decisions);
    };
    let went = s.to_hospital.len();
    assert!(went > 100_000 && !s.last_was_sent());
    assert_eq!(decision.outcome, outcome);
    assert_eq!(decision.rule.as_deref(), Some("us"));
    assert_eq!(decision.length, went as u64);
    assert_eq!(decision.digest, Some(digest::of(&s.to_hospital)));
    assert_eq!(warned(decision), [went_on(went)]);
}

fn went_on(bytes: usize) -> String {
    format!("incomplete: {bytes} bytes went on, without the last fragment")
}

fn warned(decision: &Decision) -> Vec<String> {
    let says = |warning: &&String| warning.starts_with("incomplete");
    decision.warnings.iter().filter(says).cloned().collect()
}

//= C8
#[test]
fn what_went_on_of_a_message_that_does_not_end_is_on_record() {
    // In fragments that are large, small, and tiny.
    for fragment in [16_000, 700, 2] {
        let set = instance("1.2.3.4", 250_000);
        let message = store(1, "1.2.3.4", &set, fragment);
        let half = &message[..message.len() * 2 / 3];
        let mut s = established();
        s.device(half).device_ends();
        assert_incomplete(&s, Outcome::Abandoned);
        let mut s = established();
        s.device(half).hospital_ends();
        assert_incomplete(&s, Outcome::Undelivered);
        // Broken by the destination, by the device, and by nobody in time.
        let mut s = established();
        s.device(half).hospital(&store_rsp(1, 0));
        assert_incomplete(&s, Outcome::Undelivered);
        let mut s = established();
        s.device(half).later(60_000);
        assert_incomplete(&s, Outcome::Abandoned);
        let mut s = established();
        let mut broken = data(3, 3, &store_command(1, ULTRASOUND, "1.2.3.4"));
        for piece in set[..200_000].chunks(fragment) {
            broken.extend(data(3, 0, piece));
        }
        broken.extend(data(5, 0, &set[..2]));
        s.device(&broken);
        assert_incomplete(&s, Outcome::Abandoned);
    }
    // Nothing went on, or all of it.
    let message = store(1, "1.2.3.4", &instance("1.2.3.4", 3_000), 700);
    let mut s = established();
    s.device(&message[..2_000]).device_ends();
    let last = s.decisions.last().unwrap();
    assert_eq!((last.length, last.digest, warned(last)), (0, None, vec![]));
    let mut s = established();
    s.device(&message).hospital(&store_rsp(1, 0));
    let last = s.decisions.last().unwrap();
    assert_eq!((last.outcome, warned(last)), (Outcome::Forwarded, vec![]));
}

//= C8
#[test]
fn what_went_on_of_a_refused_message_is_on_record() {
    let mut set = instance("1.2.3.4", 300_000);
    set.extend(explicit(0x0008, 0x0005, b"CS", b"ISO_IR 100"));
    set.extend(filled(100_000));
    let message = store(1, "1.2.3.4", &set, 16_000);
    let mut s = established();
    s.device(&message);
    let whole = [store_command(1, ULTRASOUND, "1.2.3.4"), set].concat();
    let decision = s.decisions.first().unwrap();
    assert_eq!(decision.outcome, Outcome::Refused);
    assert_eq!(decision.length, whole.len() as u64, "all that came");
    assert_eq!(decision.digest, Some(digest::of(&whole)));
    assert_eq!(warned(decision), [went_on(s.to_hospital.len())]);
    // Its sender goes in the middle of what is thrown away.
    let mut s = established();
    s.device(&message[..message.len() - 20_000]).device_ends();
    assert_incomplete(&s, Outcome::Refused);
    // Refused before anything went on.
    let mut s = established();
    let mut set = explicit(0x0010, 0x0010, b"PN", b"A ");
    set.extend(instance("1.2.3.4", 300_000));
    s.device(&store(1, "1.2.3.4", &set, 2_000));
    let decision = s.decisions.first().unwrap();
    assert_eq!(
        (decision.outcome, warned(decision)),
        (Outcome::Refused, vec![])
    );
    assert!(decision.length > 300_000 && s.most < 100_000, "{}", s.most);
}

#[test]
fn the_sender_hears_of_a_lost_destination() {
    let mut s = established();
    let message = store(1, "1.2.3.4", &instance("1.2.3.4", 300_000), 16_000);
    s.device(&message[..200_000]).hospital_ends();
    insta::assert_snapshot!(without_data(&s.told()));
}

#[test]
fn an_answer_before_the_last_fragment_is_a_violation() {
    let mut s = established();
    let message = store(1, "1.2.3.4", &instance("1.2.3.4", 300_000), 16_000);
    s.device(&message[..200_000]).hospital(&store_rsp(1, 0));
    assert!(!s.to_device.windows(4).any(|bytes| bytes == STATUS));
    assert!(s.told().contains("speak to Hospital: A-ABORT (2, 2)"));
    assert!(!s.last_was_sent());
}

#[test]
fn the_rate_is_asked_before_the_first_byte() {
    let mut s = Script::established_with(rated);
    let set = instance("1.2.3.4", 300_000);
    s.device(&store(1, "1.2.3.4", &set, 16_000));
    assert!(s.to_hospital.is_empty() && !s.session.wants(Side::Device));
    s.token(false);
    assert!(s.to_hospital.is_empty());
    assert_eq!(outcomes(&s.decisions), [Outcome::Refused]);
    assert!(s.told().contains("status a700"));
    s.device(&store(2, "1.2.3.4", &set, 16_000)).token(true);
    assert!(s.last_was_sent() && !s.session.wants_token());
    s.hospital(&store_rsp(2, 0));
    assert_eq!(outcomes(&s.decisions).last(), Some(&Outcome::Forwarded));
}

#[test]
fn a_message_that_does_not_end_is_aborted_and_one_that_is_held_back_is_not() {
    let message = store(1, "1.2.3.4", &instance("1.2.3.4", 300_000), 16_000);
    for held_back in [false, true] {
        let mut s = established();
        s.device(&message[..200_000]).later(29_000);
        if held_back {
            let now = s.now();
            s.session.held_back(Side::Device, now);
        }
        s.later(1_000);
        assert_eq!(s.is_over(), !held_back);
    }
}

#[test]
fn a_pdu_of_many_pieces_must_end_in_its_time() {
    let mut s = established();
    let message = store(1, "1.2.3.4", &instance("1.2.3.4", 300_000), 100_000);
    s.device(&message[..1_000]);
    for piece in message[1_000..].chunks(10).take(6) {
        s.later(5_000);
        if s.is_over() {
            return;
        }
        s.device(piece);
    }
    panic!("a PDU may last for ever");
}

//= C7
#[test]
fn a_receiver_of_small_pdus_gets_small_pdus() {
    let mut s = Script::with(streaming);
    s.device(&rq())
        .connected()
        .hospital(&ac_with(("PACS1", "US07"), &[1, 3, 5, 7], 1_000));
    let set = instance("1.2.3.4", 100_000);
    s.device(&store(1, "1.2.3.4", &set, 60_000));
    let fragments = s.told().matches(" data 994").count();
    assert_eq!(fragments, set.len() / 994);
    assert!(s.to_hospital.ends_with(&set));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// However the bytes are cut, the same goes on, and it goes on as a whole or without its last fragment.
    #[test]
    fn any_chunking_gives_the_same(
        sizes in prop::collection::vec(1_usize..60_000, 1..40),
        fragment in 100_usize..60_000,
        damaged in any::<bool>(),
    ) {
        let mut set = instance("1.2.3.4", 200_000);
        if damaged {
            set.extend(explicit(0x0008, 0x0005, b"CS", b"ISO_IR 100"));
        }
        let stream = store(1, "1.2.3.4", &set, fragment);
        let mut s = established();
        let mut rest = stream.as_slice();
        for size in sizes.iter().cycle() {
            let (chunk, behind) = rest.split_at((*size).min(rest.len()));
            s.device(chunk);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        let whole = [store_command(1, ULTRASOUND, "1.2.3.4"), set].concat();
        prop_assert!(whole.starts_with(&s.to_hospital));
        prop_assert_eq!(s.to_hospital.len() == whole.len(), !damaged);
        prop_assert_eq!(s.last_was_sent(), !damaged);
        let most = 2 * limits(&mut policy()).dicom_pdu + 64_000;
        prop_assert!(s.most < most, "{} were held", s.most);
    }
}

fn outcomes(decisions: &[Decision]) -> Vec<Outcome> {
    decisions.iter().map(|decision| decision.outcome).collect()
}

/// What happens, and not how much of the data set goes when.
fn without_data(told: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in told.lines() {
        let data = line.starts_with("forward to Hospital: P-DATA-TF");
        let line = if data {
            "forward to Hospital: data"
        } else {
            line
        };
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    lines.join("\n")
}

/// The element that says success, as it begins.
const STATUS: &[u8] = &[0, 0, 0, 9];

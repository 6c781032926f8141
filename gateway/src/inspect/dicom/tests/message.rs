//! Messages: verbatim or not at all.

use proptest::prelude::*;

use super::script::{Script, limits, rules};
use super::words::*;
use super::*;
use crate::inspect::{Outcome, Rate};

//= C2
#[test]
fn a_store_arrives_byte_for_byte() {
    let mut s = Script::established();
    let set = instance("1.2.3.4", 3_000);
    s.device(&store(1, "1.2.3.4", &set, 700));
    s.hospital(&store_rsp(1, 0));
    insta::assert_snapshot!(s.told());
    let whole = [store_command(1, ULTRASOUND, "1.2.3.4"), set].concat();
    assert_eq!(s.to_hospital, whole);
    assert_eq!(s.decisions.len(), 1);
    let decision = &s.decisions[0];
    assert_eq!(decision.digest, Some(*blake3::hash(&whole).as_bytes()));
    assert_eq!(decision.length, whole.len() as u64);
}

//= C1
#[test]
fn nothing_goes_up_before_the_verdict() {
    let mut s = Script::established();
    let message = store(1, "1.2.3.4", &instance("1.2.3.4", 3_000), 700);
    let (before, last) = message.split_at(message.len() - 1);
    s.device(before);
    assert_eq!(s.told(), "");
    s.device(last);
    assert!(s.to_hospital.len() > 3_000);
}

#[test]
fn a_failure_of_the_destination_is_passed_on() {
    let mut s = Script::established();
    s.device(&store(1, "1.2.3.4", &instance("1.2.3.4", 10), 700));
    s.hospital(&store_rsp(1, 0xa700));
    insta::assert_snapshot!(s.told());
}

#[test]
fn refused_stores_are_answered_and_the_association_lives_on() {
    let mut s = Script::established();
    let good = instance("1.2.3.4", 10);
    s.say("instance is not that of the command");
    s.device(&store(1, "1.2.3.5", &good, 100));
    s.say("SOP class is not that of the context");
    let mut wrong_class = data(3, 3, &store_command(2, CT, "1.2.3.4"));
    wrong_class.extend(fragments(3, &good, 100));
    s.device(&wrong_class);
    s.say("data set cut off");
    s.device(&store(3, "1.2.3.4", &good[..good.len() - 1], 100));
    s.say("service without a rule");
    s.device(&data(3, 3, &delete(4)));
    assert!(s.to_hospital.is_empty() && s.session.held() == 0);
    s.say("and an accepted one");
    s.device(&store(5, "1.2.3.4", &good, 100))
        .hospital(&store_rsp(5, 0));
    insta::assert_snapshot!(s.told());
    let digests: Vec<_> = s.decisions.iter().map(|decision| decision.digest).collect();
    assert!(digests.iter().all(Option::is_some));
}

#[test]
fn answers_must_fit_the_question() {
    let mut told = String::new();
    let found = explicit(0x0010, 0x0010, b"PN", b"DOE^JANE");
    let cases = [
        ("none asked", Vec::new(), echo_rsp(1)),
        ("other id", echo(1), echo_rsp(2)),
        ("other service", echo(1), store_rsp(1, 0)),
        (
            "data set cut off",
            find(1),
            find_rsp(1, Some(&found[..found.len() - 1])),
        ),
        (
            "a request that no rule allows",
            Vec::new(),
            store(1, "1.2", &instance("1.2", 2), 99),
        ),
    ];
    for (name, asked, answer) in cases {
        let mut s = Script::established();
        s.device_may_say(&asked).say(name).hospital(&answer);
        told += &s.told();
        told.push('\n');
    }
    insta::assert_snapshot!(told);
}

#[test]
fn a_second_request_before_the_response_is_a_violation() {
    let mut s = Script::established();
    s.device(&[echo(1), echo(2)].concat());
    insta::assert_snapshot!(s.told());
}

#[test]
fn a_cancel_passes_and_the_request_ends_with_its_response() {
    let mut s = Script::established();
    s.device(&find(1)).device(&cancel(1));
    s.hospital(&find_rsp(1, None));
    insta::assert_snapshot!(s.told());
}

#[test]
fn the_rate_is_asked_once_a_message() {
    let rated = |policy: &mut ConnectionPolicy| {
        policy.rate = Some(Rate {
            messages: 1,
            per_ms: 1_000,
            burst: 1,
        });
    };
    let mut s = Script::established_with(rated);
    let first = store(1, "1.2.3.4", &instance("1.2.3.4", 10), 100);
    s.device(&first).say("waits");
    assert!(!s.session.wants(Side::Device) && s.session.wants(Side::Hospital));
    assert!(s.session.held() > 0);
    s.token(false).say("the next one");
    s.device(&store(2, "1.2.3.4", &instance("1.2.3.4", 10), 100))
        .token(true);
    s.hospital(&store_rsp(2, 0));
    s.say("a message of the hospital needs no token");
    s.hospital(&event_report(9, &filled(10), 100))
        .device(&event_report_rsp(9));
    insta::assert_snapshot!(s.told());
}

#[test]
fn a_device_that_is_held_back_is_not_late() {
    let rated = |policy: &mut ConnectionPolicy| {
        policy.rate = Some(Rate {
            messages: 1,
            per_ms: 1_000,
            burst: 1,
        });
    };
    let mut s = Script::established_with(rated);
    s.hospital(&event_report(9, &filled(10), 100));
    s.device(&echo(1)).later(200_000).token(true).later(59_999);
    s.device(&event_report_rsp(9)).hospital(&echo_rsp(1));
    assert!(s.session.idle());
    assert!(s.decisions.iter().all(|d| d.outcome == Outcome::Forwarded));
}

//= C7
#[test]
fn a_large_message_goes_through_the_spool() {
    let small = |policy: &mut ConnectionPolicy| limits(policy).dicom_memory = 100 << 10;
    let mut s = Script::established_with(small);
    let set = instance("1.2.3.4", 1 << 20);
    let message = store(1, "1.2.3.4", &set, 16_000);
    for chunk in message.chunks(10_000) {
        s.device(chunk);
    }
    s.hospital(&store_rsp(1, 0));
    let whole = [store_command(1, ULTRASOUND, "1.2.3.4"), set].concat();
    assert!(s.to_hospital == whole);
    assert_eq!(
        s.decisions[0].digest,
        Some(*blake3::hash(&whole).as_bytes())
    );
    assert!(s.most < 300 << 10, "{} were held", s.most);
    let told = s.told();
    assert!(told.contains("unspool\n") && told.contains("\ndrop spool"));
    s.say("and a small one after it does not");
    s.device(&store(2, "1.2.3.5", &instance("1.2.3.5", 10), 500))
        .hospital(&store_rsp(2, 0));
    assert_eq!(s.told().matches("drop spool").count(), 1);
    assert!(s.decisions.iter().all(|d| d.outcome == Outcome::Forwarded));
}

#[test]
fn a_refused_large_message_is_dropped_from_the_spool() {
    let small = |policy: &mut ConnectionPolicy| limits(policy).dicom_memory = 0;
    let mut s = Script::established_with(small);
    let set = instance("1.2.3.4", 200 << 10);
    s.device(&store(1, "1.2.3.5", &set, 16_000));
    insta::assert_snapshot!(s.told());
    assert!(s.to_hospital.is_empty());
}

//= C7
#[test]
fn a_message_that_the_spool_does_not_take_is_refused_and_the_association_lives_on() {
    let small = |policy: &mut ConnectionPolicy| limits(policy).dicom_memory = 0;
    let set = instance("1.2.3.4", 200 << 10);
    let message = store(1, "1.2.3.4", &set, 16_000);
    // In the middle, with its last bytes, and when all of it is given at once.
    for (room, chunk) in [(0, 9_000), (set.len() - 1, 9_000), (1_000, usize::MAX)] {
        let mut s = Script::established_with(small);
        s.room = room;
        for chunk in message.chunks(chunk) {
            s.device(chunk);
        }
        assert!(s.to_hospital.is_empty() && s.session.held() == 0);
        assert!(s.told().contains("status a700"), "{}", s.told());
        let refused = &s.decisions[0];
        let why = (refused.outcome, refused.reason.as_deref());
        assert_eq!(why, (Outcome::Refused, Some("limit")));
        s.room = usize::MAX;
        s.device(&store(2, "1.2.3.4", &set, 16_000))
            .hospital(&store_rsp(2, 0));
        assert_eq!(s.decisions[1].outcome, Outcome::Forwarded);
        assert!(s.to_hospital.ends_with(&set));
    }
}

//= C7
#[test]
fn what_is_held_goes_to_the_spool_when_memory_is_scarce() {
    let mut s = Script::established();
    let set = instance("1.2.3.4", 200 << 10);
    let message = store(1, "1.2.3.4", &set, 16_000);
    s.device(&message[..100_000]);
    let now = s.now();
    assert!(s.session.held() > 60_000 && s.session.relieve(now));
    assert!(s.session.held() < 40_000 && !s.session.relieve(now));
    s.device(&message[100_000..]).hospital(&store_rsp(1, 0));
    assert!(s.to_hospital.ends_with(&set) && s.told().contains("spool"));
}

#[test]
fn one_spool_serves_one_side_at_a_time() {
    let small = |policy: &mut ConnectionPolicy| limits(policy).dicom_memory = 100 << 10;
    let mut s = Script::established_with(small);
    let set = instance("1.2.3.4", 400 << 10);
    let message = store(1, "1.2.3.4", &set, 16_000);
    let (before, last) = message.split_at(message.len() - 10);
    let report = filled(400 << 10);
    let event = event_report(7, &report, 16_000);
    s.device(before);
    s.hospital(&event);
    assert!(!s.session.wants(Side::Hospital) && s.session.wants(Side::Device));
    s.device(last);
    s.device(&event_report_rsp(7)).hospital(&store_rsp(1, 0));
    assert!(s.to_hospital.windows(set.len()).any(|window| window == set));
    assert!(
        s.to_device
            .windows(report.len())
            .any(|window| window == report)
    );
    let kinds: Vec<_> = s
        .decisions
        .iter()
        .map(|d| (d.kind.as_str(), d.outcome))
        .collect();
    let forwarded = Outcome::Forwarded;
    assert_eq!(
        kinds,
        [("N-EVENT-REPORT", forwarded), ("C-STORE", forwarded)]
    );
}

#[test]
fn what_is_in_the_spool_when_the_hospital_is_lost_is_unanswered() {
    let small = |policy: &mut ConnectionPolicy| limits(policy).dicom_memory = 0;
    let mut s = Script::established_with(small);
    s.device(&store(1, "1.2.3.4", &instance("1.2.3.4", 100), 16_000));
    s.hospital_ends();
    insta::assert_snapshot!(s.told());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However the bytes are cut, the same goes on and the same is answered.
    #[test]
    fn any_chunking_gives_the_same(
        sizes in prop::collection::vec(1usize..900, 1..40),
        fragment in 20usize..600,
        memory in 0usize..3_000,
    ) {
        let set = instance("1.2.3.4", 2_000);
        let stream = [
            store(1, "1.2.3.5", &set, fragment),
            store(2, "1.2.3.4", &set, fragment),
        ].concat();
        let mut s = Script::established_with(|policy| limits(policy).dicom_memory = memory);
        let mut rest = stream.as_slice();
        for size in sizes.iter().cycle() {
            let (chunk, behind) = rest.split_at((*size).min(rest.len()));
            s.device(chunk);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        s.hospital(&store_rsp(2, 0));
        let whole = [store_command(2, ULTRASOUND, "1.2.3.4"), set].concat();
        prop_assert!(s.to_hospital == whole);
        let outcomes: Vec<_> = s.decisions.iter().map(|d| d.outcome).collect();
        prop_assert_eq!(outcomes, vec![Outcome::Refused, Outcome::Forwarded]);
    }

    /// Whatever is said, nothing panics, nothing is left without a deadline and little is held.
    #[test]
    fn noise_is_survived(
        mut stream in prop::sample::select(vec![
            store(1, "1.2.3.4", &instance("1.2.3.4", 300), 90),
            [find(1), cancel(1), release_rq()].concat(),
            [echo(1), event_report_rsp(3), abort_pdu(0, 0)].concat(),
        ]),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        from_hospital in any::<bool>(),
    ) {
        let index = at.index(stream.len());
        stream[index] = byte;
        let mut s = Script::established();
        if from_hospital {
            s.hospital(&stream);
        } else {
            s.device(&stream);
        }
        prop_assert!(s.session.held() <= stream.len());
        s.later(60_000).later(600_000).later(30_000);
        prop_assert!(s.is_over());
    }
}

fn delete(id: u16) -> Vec<u8> {
    n_delete(id, ULTRASOUND, "1.2.3.4")
}

//= C8
#[test]
fn a_request_that_is_held_back_waits_and_its_sender_is_not_late() {
    let mut s = Script::established();
    let set = instance("1.2.3.4", 10);
    s.device(&store(1, "1.2.3.4", &set, 700)).hold(true);
    assert!(!s.session.wants(Side::Device));
    s.hospital(&store_rsp(1, 0));
    assert_eq!(s.decisions.len(), 1, "what was under way is finished");
    let sent = s.to_hospital.len();
    let second = store(2, "1.2.3.4", &set, 700);
    let (begun, rest) = second.split_at(5);
    s.hold(false).device(begun).hold(true).later(100_000);
    assert_eq!((s.to_hospital.len(), s.decisions.len()), (sent, 1));
    s.hold(false).device(rest).hospital(&store_rsp(2, 0));
    assert_eq!((s.to_hospital.len(), s.decisions.len()), (2 * sent, 2));
}

//= C8
#[test]
fn a_message_whose_first_fragment_came_is_finished_while_its_sender_is_held_back() {
    let mut s = Script::established();
    let set = instance("1.2.3.4", 10);
    let message = store(1, "1.2.3.4", &set, 700);
    let first = 6 + u32::from_be_bytes(message[2..6].try_into().unwrap());
    let (begun, rest) = message.split_at(first.try_into().unwrap());
    s.device(begun).hold(true);
    s.device(rest).hospital(&store_rsp(1, 0));
    assert_eq!(s.decisions.last().unwrap().outcome, Outcome::Forwarded);
    assert!(!s.session.wants(Side::Device), "and nothing after it");
}

//= C8
#[test]
fn an_association_is_not_asked_for_while_its_opener_is_held_back() {
    let mut s = Script::new();
    s.hold(true).later(100_000);
    assert!(!s.session.wants(Side::Device), "and it is not late");
    s.hold(false).device(&rq()).connected().hospital(&ac(&[1]));
    assert_eq!(s.decisions.last().unwrap().outcome, Outcome::Forwarded);
    s = Script::new();
    s.later(100_000);
    assert!(s.session.deadline().is_none(), "who is not held back is");
}

//= C7
#[test]
fn results_beyond_the_bound_do_not_come_back() {
    let mut s = Script::established_with(|policy| rules(policy)[0].query.max_results = Some(1));
    let found = explicit(0x0010, 0x0010, b"PN", b"DOE^JANE");
    s.device(&find(1));
    for _ in 0..3 {
        s.say("a result").hospital(&find_rsp(1, Some(&found)));
    }
    s.say("the last").hospital(&find_rsp(1, None));
    s.say("and the association lives on");
    s.device(&echo(2)).hospital(&echo_rsp(2));
    insta::assert_snapshot!(s.told());
    assert_eq!(s.session.held(), 0);
}

//= C5
#[test]
fn the_record_names_the_rule_that_accepts() {
    let mut s = Script::established_with(|policy| {
        let rules = rules(policy);
        rules[0].modalities = vec!["US".into()];
        let mut other = rules[0].clone();
        other.name = "mr".into();
        other.modalities = vec!["MR".into()];
        rules.push(other);
    });
    let of = |modality: &[u8; 2]| {
        let mut set = instance("1.2.3.4", 0);
        let patient = set.windows(4).position(|tag| tag == [0x10, 0, 0x10, 0]);
        let patient = patient.unwrap();
        set.splice(patient..patient, explicit(0x0008, 0x0060, b"CS", modality));
        set
    };
    s.device(&store(1, "1.2.3.4", &of(b"MR"), 700))
        .hospital(&store_rsp(1, 0));
    s.device(&store(2, "1.2.3.4", &of(b"US"), 700))
        .hospital(&store_rsp(2, 0));
    s.device(&store(3, "1.2.3.4", &of(b"CT"), 700));
    insta::assert_snapshot!(s.told());
}

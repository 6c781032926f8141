//! The hospital side misbehaves: refuses, hangs, dies, answers nonsense. The sender never gets a success that the
//! destination has not given, and an outcome that is unknown is not made up.

use std::time::Duration;

use e2e::hl7::{self, Reply};
use e2e::{Behaviour, Clinic, HIS, Lab, Place, Sink, text, wait};

/// What the sender must see for each behaviour of a receiver that we did not write.
//= C6
#[test]
fn answers_of_the_destination_decide() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let cases = [
            ("AA", Some("AA"), "forwarded"),
            ("AE", Some("AE"), "forwarded"),
            ("AR", Some("AR"), "forwarded"),
            ("slow", Some("AA"), "forwarded"),
            ("hang", None, "unanswered"),
            ("close", None, "unanswered"),
            ("wrong-id", None, "unanswered"),
            ("garbage", None, "unanswered"),
        ];
        for (number, (mode, expected, outcome)) in cases.iter().enumerate() {
            clinic.his.behave(mode);
            let control = format!("H{number}");
            let mut client = clinic.ecg.mllp(clinic.his.address());
            client.send(&hl7::frame(&hl7::oru(&control))).unwrap();
            match (client.reply(wait::SOON), expected) {
                (Reply::Answer(answer), Some(code)) => {
                    assert_eq!(
                        (&*answer.code, &*answer.control),
                        (*code, &*control),
                        "{mode}"
                    );
                }
                // No invented answer: the sender must find out by itself, by sending again.
                (Reply::Closed | Reply::Reset, None) => {}
                (other, _) => panic!("{mode}: {other:?}"),
            }
            assert_eq!(
                clinic.his.wait_for(number + 1)[number],
                hl7::oru(&control),
                "{mode}"
            );
            let decisions = clinic.gateway.wait_for_decisions("ecg-0042", number + 1);
            assert_eq!(text(&decisions[number], "outcome"), *outcome, "{mode}");
        }
        clinic.his.behave("AA");
        let mut client = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(
            client.exchange(&hl7::oru("H4")).code,
            "AA",
            "sent again after no answer"
        );
    });
}

#[test]
fn an_unreachable_destination_is_said_so() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        // Nobody listens on the IPv6 address: refused.
        let six = std::net::SocketAddr::new("fd20::210".parse().unwrap(), 2575);
        let mut client = clinic.ecg.mllp(six);
        let answer = client.exchange(&hl7::oru("U1"));
        assert_eq!(
            (&*answer.code, &*answer.error),
            ("AR", "207"),
            "{}",
            answer.text
        );
        // Now it is there: the same connection delivers.
        let sink = Sink::listen(lab, Place::Hospital, six, Behaviour::Acknowledge);
        assert_eq!(client.exchange(&hl7::oru("U2")).code, "AA");
        assert_eq!(sink.bytes(), hl7::frame(&hl7::oru("U2")));
    });
}

#[test]
fn a_silent_network_is_said_so() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        // The address is gone: nobody answers, not even with a refusal.
        let _ = lab
            .output(
                Place::Hospital,
                &["ip", "route", "add", "blackhole", "10.20.0.1/32"],
            )
            .ok();
        let mut client = clinic.ecg.mllp(clinic.his.address());
        let (answer, took) = wait::timed(|| client.exchange(&hl7::oru("Q1")));
        assert_eq!(
            (&*answer.code, &*answer.error),
            ("AR", "207"),
            "{}",
            answer.text
        );
        assert!(took < Duration::from_secs(6), "took {took:?}");
    });
}

#[test]
fn a_destination_that_dies_under_a_message_ends_the_connection() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let six = std::net::SocketAddr::new("fd20::210".parse().unwrap(), 2575);
        for behaviour in [
            Behaviour::ResetAfter(0),
            Behaviour::ResetAfter(50),
            Behaviour::CloseAfter(50),
        ] {
            let sink = Sink::listen(lab, Place::Hospital, six, behaviour.clone());
            let mut client = clinic.ecg.mllp(six);
            client.send(&hl7::frame(&hl7::oru("K1"))).unwrap();
            match client.reply(wait::SOON) {
                Reply::Closed | Reply::Reset => {}
                // Nothing of it was taken: then, and only then, may we say so.
                Reply::Answer(answer) => assert_eq!(&*answer.code, "AR", "{behaviour:?}"),
                Reply::Nothing => panic!("{behaviour:?}: still open"),
            }
            sink.close();
        }
        let sink = Sink::listen(lab, Place::Hospital, six, Behaviour::AcknowledgeSlowly);
        assert_eq!(clinic.ecg.mllp(six).exchange(&hl7::oru("K2")).code, "AA");
        assert_eq!(sink.bytes(), hl7::frame(&hl7::oru("K2")));
    });
}

#[test]
fn words_of_the_destination_that_nobody_asked_for_do_not_pass() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let six = std::net::SocketAddr::new("fd20::210".parse().unwrap(), 2575);
        let sink = Sink::listen(lab, Place::Hospital, six, Behaviour::Acknowledge);
        let mut client = clinic.ecg.mllp(six);
        assert_eq!(client.exchange(&hl7::oru("I1")).code, "AA");
        sink.say(&hl7::frame(b"MSH|^~\\&|EVIL|||||||E1|P|2.5\rMSA|AA|I1\r"));
        match client.reply(Duration::from_secs(2)) {
            Reply::Answer(answer) => panic!("passed: {}", answer.text),
            Reply::Closed | Reply::Reset | Reply::Nothing => {}
        }
        assert_eq!(
            clinic
                .ecg
                .mllp((HIS, 2575).into())
                .exchange(&hl7::oru("I2"))
                .code,
            "AA"
        );
    });
}

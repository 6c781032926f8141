//! The main job: HL7 from a device at home to the HIS. What is valid and allowed arrives byte for byte;
//! what is not is refused with the proper answer, and the journal tells the story.
//!
//! The messages are data: `hl7/accept` and `hl7/refuse`, each with the answer that it must get.

use e2e::hl7::{self, Answer, Reply, fixtures};
use e2e::{Behaviour, Clinic, HIS, Lab, Place, Sink, Watch, leaks, text, wait};

//= C1
//= C2
//= C6
#[test]
fn accepted_messages_arrive_byte_for_byte() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let mut client = clinic.ecg.mllp(clinic.his.address());
        for (number, fixture) in fixtures("accept").iter().enumerate() {
            let answer = client.exchange(&fixture.content);
            assert_eq!(
                answer.code, fixture.code,
                "{}: {}",
                fixture.name, answer.text
            );
            let received = clinic.his.wait_for(number + 1);
            same(&received[number], &fixture.content, &fixture.name);
        }
        let count = fixtures("accept").len();
        let decisions = clinic.gateway.wait_for_decisions("ecg-0042", count);
        assert_eq!(decisions.len(), count);
        for decision in &decisions {
            assert_eq!(text(decision, "outcome"), "forwarded");
            assert_eq!(text(decision, "service"), "his-results");
            assert_eq!(text(decision, "rule"), "ecg-results");
            assert_eq!(text(decision, "answer"), "AA");
            assert!(text(decision, "digest").starts_with("hmac:"), "{decision}");
        }
        assert_eq!(leaks(&clinic.gateway, &hl7::CANARIES), [""; 0]);
    });
}

//= C1
//= C8
#[test]
fn refused_messages_do_not_arrive() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let bystander = clinic.bystander();
        let mut other = bystander.mllp(clinic.his.address());
        assert_eq!(other.exchange(&hl7::oru_from("ECG|WARD3", "B0")).code, "AA");
        let watch = Watch::start(lab, Place::Hospital, "eth0");
        let mut client = clinic.ecg.mllp(clinic.his.address());
        let refused = fixtures("refuse");
        for fixture in &refused {
            let answer = client.exchange(&fixture.content);
            assert_eq!(
                answer.code, fixture.code,
                "{}: {}",
                fixture.name, answer.text
            );
            let expected = fixture.error.is_empty() || answer.error == fixture.error;
            assert!(expected, "{}: {}", fixture.name, answer.text);
            assert!(
                answer.text.contains("\rERR|"),
                "{}: {}",
                fixture.name,
                answer.text
            );
        }
        // Not even a connection was opened for the refused ones.
        assert_eq!(watch.stop().packets_to(HIS), 0);
        assert_eq!(clinic.his.received().len(), 1);
        // The same connection goes on with a message that is right, and so does everybody else.
        assert_eq!(client.exchange(&hl7::oru("GOOD")).code, "AA");
        assert_eq!(other.exchange(&hl7::oru_from("ECG|WARD3", "B1")).code, "AA");
        assert_eq!(clinic.his.wait_for(3).len(), 3);

        let decisions = clinic
            .gateway
            .wait_for_decisions("ecg-0042", refused.len() + 1);
        assert_eq!(decisions.len(), refused.len() + 1);
        for (decision, fixture) in decisions.iter().zip(&refused) {
            assert_eq!(text(decision, "outcome"), "refused", "{}", fixture.name);
            assert_eq!(text(decision, "answer"), fixture.code, "{}", fixture.name);
            assert!(!text(decision, "reason").is_empty(), "{decision}");
        }
        assert_eq!(leaks(&clinic.gateway, &hl7::CANARIES), [""; 0]);
    });
}

#[test]
fn a_client_that_we_did_not_write_is_served() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let file = lab.directory().join("message");
        std::fs::write(&file, hl7::frame(&hl7::oru("M1"))).unwrap();
        let said = clinic.ecg.mllp_send(clinic.his.address(), &file).ok();
        assert_eq!(hl7::field(&said.out, "MSA", 1), "AA", "{}", said.out);
        assert_eq!(hl7::field(&said.out, "MSA", 2), "M1", "{}", said.out);
        // mllp_send leaves the last segment terminator out; so must we.
        same(
            &clinic.his.wait_for(1)[0],
            hl7::oru("M1").trim_ascii_end(),
            "mllp_send",
        );

        let refused = &fixtures("refuse")[0];
        std::fs::write(&file, hl7::frame(&refused.content)).unwrap();
        let said = clinic.ecg.mllp_send(clinic.his.address(), &file).ok();
        assert_eq!(
            hl7::field(&said.out, "MSA", 1),
            refused.code,
            "{}",
            said.out
        );
        assert_eq!(clinic.his.received().len(), 1);
    });
}

#[test]
fn framing_of_the_hospital_leg_is_exact() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let six = std::net::SocketAddr::new("fd20::210".parse().unwrap(), 2575);
        let sink = Sink::listen(lab, Place::Hospital, six, Behaviour::Acknowledge);
        let mut client = clinic.ecg.mllp(six);
        let (one, two) = (hl7::oru("S1"), hl7::large_oru("S2", 1 << 20));
        assert_eq!(client.exchange(&one).code, "AA");
        assert_eq!(client.exchange(&two).code, "AA");
        same(
            &sink.bytes(),
            &[hl7::frame(&one), hl7::frame(&two)].concat(),
            "stream",
        );
    });
}

#[test]
fn pipelined_messages_are_answered_in_order() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let mut client = clinic.ecg.mllp(clinic.his.address());
        let refused = &fixtures("refuse")[0];
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for number in 0..20 {
            let control = format!("P{number}");
            if number % 4 == 3 {
                stream.extend(hl7::frame(&refused.content));
                expected.push((refused.code.clone(), "R01".to_owned()));
            } else {
                stream.extend(hl7::frame(&hl7::oru(&control)));
                expected.push(("AA".to_owned(), control));
            }
        }
        client.send(&stream).unwrap();
        let got: Vec<(String, String)> = expected
            .iter()
            .map(|_| match client.reply(wait::SOON) {
                Reply::Answer(Answer { code, control, .. }) => (code, control),
                other @ (Reply::Closed | Reply::Reset | Reply::Nothing) => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(got, expected);
        assert_eq!(clinic.his.wait_for(15).len(), 15);
    });
}

#[test]
fn a_repeated_message_is_answered_from_memory() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let mut client = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("D1")).code, "AA");
        assert_eq!(client.exchange(&hl7::oru("D1")).code, "AA");
        assert_eq!(client.exchange(&hl7::oru("D2")).code, "AA");
        let received = clinic.his.wait_for(2);
        same(&received[0], &hl7::oru("D1"), "first");
        same(&received[1], &hl7::oru("D2"), "second");
        assert_eq!(received.len(), 2);
        let outcomes: Vec<String> = clinic
            .gateway
            .wait_for_decisions("ecg-0042", 3)
            .iter()
            .map(|decision| text(decision, "outcome").to_owned())
            .collect();
        assert_eq!(outcomes, ["forwarded", "repeated", "forwarded"]);
    });
}

/// Compares as text, which is easier to read than numbers.
#[track_caller]
fn same(got: &[u8], expected: &[u8], what: &str) {
    assert_eq!(
        got.escape_ascii().to_string(),
        expected.escape_ascii().to_string(),
        "{what}"
    );
}

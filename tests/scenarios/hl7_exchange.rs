//! What a destination may say besides one answer to one message: later answers, data, answers to batches, commits.

use std::net::SocketAddr;
use std::time::Duration;

use e2e::hl7::{self, Reply};
use e2e::{Behaviour, Clinic, Lab, Place, Sink, reset, text, wait};

fn six() -> SocketAddr {
    "[fd20::210]:2575".parse().unwrap()
}

/// With these in MSH-15 and MSH-16.
fn asking(control: &str, asked: &str) -> Vec<u8> {
    let plain = String::from_utf8(hl7::oru(control)).unwrap();
    plain
        .replacen("|P|2.5.1", &format!("|P|2.5.1|||{asked}"), 1)
        .into_bytes()
}

//= C6
#[test]
fn a_later_answer_comes_back_on_another_connection() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let message = asking("L1", "AL|AL");
        let committed = hl7::frame(&hl7::acknowledge_with(&message, "CA"));
        let sink = Sink::listen(lab, Place::Hospital, six(), Behaviour::Say(committed));
        let mut first = clinic.ecg.mllp(six());
        assert_eq!(first.exchange(&message).code, "CA");
        let mut second = clinic.ecg.mllp(six());
        // Its upstream is there once something went up; the commit of the other message answers nothing here.
        second.send(&hl7::frame(&asking("L2", "NE|NE"))).unwrap();
        wait::until("both messages at the sink", wait::SOON, || {
            (sink.bytes().len() > message.len() * 2).then_some(())
        });
        // Until its end is seen, the first one is where the answer belongs.
        reset(first.stream());
        wait::for_true("the end of the first", wait::SOON, || {
            clinic.gateway.status()["sessions"] == 1
        });
        sink.say(&hl7::frame(&hl7::acknowledge_with(&message, "AA")));
        match second.reply(wait::SOON) {
            Reply::Answer(answer) => {
                assert_eq!((&*answer.code, &*answer.control), ("AA", "L1"));
            }
            other @ (Reply::Closed | Reply::Reset | Reply::Nothing) => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_batch_passes_whole_where_the_rule_carries_it() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let head = "BHS|^~\\&|ECG|CARDIO|HIS|NORD|20260102101500||||BATCH-1\r";
        let batch = [
            head.as_bytes(),
            &hl7::oru("B1"),
            &hl7::oru("B2"),
            b"BTS|2\r",
        ]
        .concat();
        let acknowledged = String::from_utf8(hl7::acknowledge(&hl7::oru("B1"))).unwrap();
        let acknowledged = acknowledged.replace("|AA|B1", "|AA|BATCH-1");
        let say = Behaviour::Say(hl7::frame(acknowledged.as_bytes()));
        let sink = Sink::listen(lab, Place::Hospital, six(), say);
        let mut client = clinic.ecg.mllp(six());
        let refused = client.exchange(&batch);
        assert_eq!((&*refused.code, &*refused.control), ("AR", "BATCH-1"));
        clinic.site.replace(
            "send = [\"ORU^R01\", ",
            "batches = true, send = [\"ORU^R01\", ",
        );
        let _ = clinic.gateway.lazaret(&["apply"]).ok();
        let mut client = clinic.ecg.mllp(six());
        assert_eq!(client.exchange(&batch).code, "AA");
        assert_eq!(sink.bytes(), hl7::frame(&batch));
        let decisions = clinic.gateway.wait_for_decisions("ecg-0042", 2);
        assert_eq!(text(&decisions[1], "outcome"), "forwarded");
    });
}

#[test]
fn commits_travel_both_ways() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            let address = "address = \"[fd20::210]:2575\"";
            site.replace(address, &format!("{address}\nmllp = 2"));
        });
        let answer = hl7::frame(&hl7::acknowledge(&hl7::oru("M1")));
        let say = [hl7::frame(&[0x06]), answer].concat();
        let sink = Sink::listen(lab, Place::Hospital, six(), Behaviour::Say(say));
        let mut client = clinic.ecg.mllp(six());
        client.send(&hl7::frame(&hl7::oru("M1"))).unwrap();
        let Reply::Answer(commit) = client.reply(wait::SOON) else {
            panic!("no commit");
        };
        assert_eq!(commit.text, "\u{6}");
        let Reply::Answer(answer) = client.reply(wait::SOON) else {
            panic!("no answer");
        };
        assert_eq!(answer.code, "AA");
        sink.behave(Behaviour::Silent);
        client.send(&hl7::frame(&[0x06])).unwrap();
        wait::until("the commit at the sink", Duration::from_secs(5), || {
            sink.bytes().ends_with(&hl7::frame(&[0x06])).then_some(())
        });
    });
}

//! Attacks on the way: bits that change between device and gateway, and messages that come twice.

use e2e::hl7::{self, Reply};
use e2e::tunnel::Middle;
use e2e::{Clinic, Device, Gateway, His, Lab, Place, Site, Watch, text, wait};

use super::{arrives, said};

/// Results changed on their way, by somebody who sits in the internet.
//= C1
//= C2
#[test]
fn attack_01_tampering_in_transit() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let _gateway = Gateway::start(lab, &site);
        let his = His::start(lab);
        let middle = Middle::start(lab);
        let ecg = Device::prepare(lab, &site, "ecg-0042", Place::Home1);
        ecg.dial(middle.address());
        ecg.wait_for_handshake();
        let mut client = ecg.mllp(his.address());
        assert_eq!(client.exchange(&hl7::oru("M0")).code, "AA");

        // The connection to the HIS is open, and still no byte goes over it.
        let watch = Watch::start(lab, Place::Hospital, "eth0");
        middle.tamper(true);
        client.send(&hl7::frame(&hl7::oru("M1"))).unwrap();
        wait::for_true(
            "the message and its repetitions, changed",
            wait::SOON,
            || middle.tampered() >= 4,
        );
        assert_eq!(watch.stop().payload_to(his.address()), 0);
        assert_eq!(his.received(), [hl7::oru("M0")]);

        // The twin is the same message as TCP sends it again, untouched.
        middle.tamper(false);
        match client.reply(wait::SOON) {
            Reply::Answer(answer) => assert_eq!(said(&answer), "AA"),
            other @ (Reply::Closed | Reply::Reset | Reply::Nothing) => panic!("{other:?}"),
        }
        assert_eq!(his.wait_for(2), [hl7::oru("M0"), hl7::oru("M1")]);
    });
}

/// The same message once more, on another connection and from another device; other bytes under its MSH-10.
//= C6
#[test]
fn attack_09_replay_and_reused_control_id() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let bystander = clinic.bystander();
        arrives(&clinic, &[("the first", hl7::oru("D1"))]);
        let watch = Watch::start(lab, Place::Hospital, "eth0");
        for _ in 0..2 {
            let mut client = clinic.ecg.mllp(clinic.his.address());
            assert_eq!(said(&client.exchange(&hl7::oru("D1"))), "AA");
        }
        let mut other = bystander.mllp(clinic.his.address());
        let stolen = other.exchange(&hl7::oru("D1"));
        assert_eq!(said(&stolen), "AR 204 MSH^1^4^1");
        assert_eq!(watch.stop().payload_to(clinic.his.address()), 0);
        assert_eq!(clinic.his.received().len(), 1);

        // Devices restart their counters: other bytes are another message, and the journal says what happened.
        let reused = super::changed("D1", "||72|", "||73|");
        arrives(&clinic, &[("reused", reused), ("the next", hl7::oru("D2"))]);
        let decisions = clinic.gateway.wait_for_decisions("ecg-0042", 5);
        let outcomes: Vec<&str> = decisions.iter().map(|d| text(d, "outcome")).collect();
        assert_eq!(
            outcomes,
            [
                "forwarded",
                "repeated",
                "repeated",
                "forwarded",
                "forwarded"
            ]
        );
        let warned = |number: usize| decisions[number].to_string().contains("MSH-10");
        assert_eq!((warned(3), warned(4)), (true, false), "{}", decisions[3]);
    });
}

/// The same where the rule wants every MSH-10 to be new.
//= C1
#[test]
fn attack_09_reused_control_id_where_ids_are_unique() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            site.replace(
                "hl7 = { send = [\"ORU^R01\"",
                "hl7 = { unique_ids = true, send = [\"ORU^R01\"",
            );
        });
        arrives(&clinic, &[("the first", hl7::oru("D1"))]);
        let watch = Watch::start(lab, Place::Hospital, "eth0");
        let mut client = clinic.ecg.mllp(clinic.his.address());
        let reused = client.exchange(&super::changed("D1", "||72|", "||73|"));
        assert_eq!(said(&reused), "AE 205 MSH^1^10^1");
        assert_eq!(said(&client.exchange(&hl7::oru("D1"))), "AA");
        assert_eq!(watch.stop().payload_to(clinic.his.address()), 0);
        arrives(&clinic, &[("the next", hl7::oru("D2"))]);
    });
}

//! Attacks through acknowledgements: false ones from either side, and ours as a mirror.

use e2e::hl7::{self, Reply};
use e2e::{Behaviour, Clinic, HIS, Lab, Place, Sink, Watch, wait};

use super::{arrives, broken, changed, next, refused, said};

/// An acknowledgement that somebody makes up.
fn forged(msh9: &str, msa: &str) -> Vec<u8> {
    hl7::frame(&hl7::message(&[
        &format!("MSH|^~\\&|HIS|NORD|ECG|CARDIO|20260102101501||{msh9}|FORGED|P|2.5.1"),
        msa,
    ]))
}

//= C6
#[test]
fn attack_08_false_acknowledgements() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            site.replace("answer_timeout = \"3s\"", "answer_timeout = \"1s\"");
        });
        // From the device: it acknowledges what nobody sent it. There is no answer to an answer.
        let watch = Watch::start(lab, Place::Hospital, "eth0");
        let own = forged("ACK^R01^ACK", "MSA|AA|X1");
        let text = String::from_utf8(own).unwrap();
        let own = text.replace("|HIS|NORD|ECG|CARDIO|", "|ECG|CARDIO|HIS|NORD|");
        let mut client = clinic.ecg.mllp(clinic.his.address());
        client.send(own.as_bytes()).unwrap();
        let refused = client.exchange(&changed("A0", "ORU^R01^ORU_R01", "ADT^A01^ADT_A01"));
        assert_eq!(
            (said(&refused), refused.control),
            ("AR 200 MSH^1^9^1".into(), "A0".into())
        );
        assert_eq!(watch.stop().packets_to(HIS), 0);

        // From the hospital: none of these is the answer to A1, and so there is none.
        let six = "[fd20::210]:2575".parse().unwrap();
        let false_ones = [
            forged("ACK^R01^ACK", "MSA|AA|A2"),
            forged("ACK^R01^ACK", "MSA|AA|"),
            forged("ACK^R01^ACK", "MSA|OK|A1"),
            forged("ACK^R01^ACK", "MSA|aa|A1"),
            forged("ACK^R01^ACK", "MSA||A1"),
            forged("ACK^R01^ACK", "ERR|"),
            forged("ORU^R01^ORU_R01", "OBR|1"),
            hl7::frame(b"\x06"),
            hl7::frame(b"AA"),
        ]
        .concat();
        let sink = Sink::listen(
            lab,
            Place::Hospital,
            six,
            Behaviour::Say(false_ones.clone()),
        );
        let mut client = clinic.ecg.mllp(six);
        client.send(&hl7::frame(&hl7::oru("A1"))).unwrap();
        assert_eq!(next(&mut client), "close");
        // Nothing was taken for delivered: the same message goes up again, and the true answer among false ones counts.
        let truth = hl7::frame(&hl7::acknowledge_with(&hl7::oru("A1"), "AE"));
        sink.behave(Behaviour::Say(
            [false_ones.clone(), truth, false_ones].concat(),
        ));
        let mut client = clinic.ecg.mllp(six);
        assert_eq!(said(&client.exchange(&hl7::oru("A1"))), "AE");
        assert_eq!(sink.bytes(), hl7::frame(&hl7::oru("A1")).repeat(2));
        let silence = std::time::Duration::from_millis(300);
        assert!(!matches!(client.reply(silence), Reply::Answer(_)));
        arrives(&clinic, &[("answered by the HIS", hl7::oru("A3"))]);
    });
}

#[test]
fn attack_26_reflection_in_our_answers() {
    let secret = "SECRETVALUE";
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let mut client = clinic.ecg.mllp(clinic.his.address());
        let watch = Watch::start(lab, Place::Hospital, "eth0");
        let long = "N".repeat(5_000);
        let header = "ECG|CARDIO|HIS|NORD|";
        let attacks = [
            ("content", changed("N1", "||72|", &format!("||{secret}|"))),
            (
                "a name",
                changed("N2", "|19700101|", &format!("|{secret}|")),
            ),
            ("a type", changed("N3", "ORU^R01^ORU_R01", secret)),
            ("a version", changed("N4", "|2.5.1", &format!("|{secret}"))),
            (
                "a segment",
                [&hl7::oru("N5")[..], b"SECRETVALUE|x\r"].concat(),
            ),
            (
                "hidden segments",
                changed("N6", header, "ECG|CARDIO|HIS\\X0D\\MSA\\F\\AA\\F\\N6|NORD|"),
            ),
            ("markup", changed("N7", header, "E|C|<b>H</b>|\"';--|")),
            ("repetitions", changed("N8", header, "E|C|A~B|NORD|")),
            ("half an escape", changed("N9", header, "E|C|HIS\\F|NORD|")),
            (
                "a long name",
                changed("N10", header, &format!("E|C|{long}|{long}|")),
            ),
            ("a long control id", hl7::oru(&long)),
            (
                "bytes of a terminal",
                changed("N11", header, "E|C|\x1b[2J|NORD|"),
            ),
        ];
        for (what, message) in &attacks {
            let answer = client.exchange(message);
            let text = &answer.text;
            assert!(matches!(&*answer.code, "AE" | "AR"), "{what}: {text}");
            assert!(!text.contains(secret), "{what}: {text}");
            assert!(text.len() < 1_500, "{what}: {} bytes", text.len());
            let names: Vec<&str> = text.split_terminator('\r').map(|s| &s[..3]).collect();
            assert_eq!(names, ["MSH", "MSA", "ERR"], "{what}: {text}");
            let inside = |c: char| c == '\r' || (' '..='~').contains(&c);
            assert!(text.chars().all(inside), "{what}: {text:?}");
            assert!(!text.contains("\\X"), "{what}: {text}");
            assert!(
                hl7::field(text, "MSH", 9).starts_with("ACK"),
                "{what}: {text}"
            );
        }
        assert_eq!(watch.stop().packets_to(HIS), 0);
        // The twin of a mirror: an honest sender knows its answer by its own names and MSH-10.
        let answer = client.exchange(&changed("N12", "|ECG|CARDIO|", "|ECG|OTHER|"));
        assert_eq!(
            (&*answer.control, hl7::field(&answer.text, "MSH", 5)),
            ("N12", "ECG")
        );
        arrives(&clinic, &[("right", hl7::oru("N13"))]);
    });
}

#[test]
fn attack_28_other_protocols_and_releases() {
    let close: &[&str] = &["close"];
    let body = hl7::frame(&hl7::oru("O1"));
    let post = format!(
        "POST /hl7 HTTP/1.1\r\nContent-Type: x-application/hl7-v2+er7\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        broken(
            &clinic,
            &[
                ("HL7 over HTTP", [post.as_bytes(), &body].concat(), close),
                ("a frame that is a commit", hl7::frame(&[0x06]), close),
                ("a frame that is no commit", hl7::frame(&[0x15]), close),
                (
                    "a commit without a frame",
                    [&[0x06], &body[..]].concat(),
                    close,
                ),
                (
                    "a commit in front of a message",
                    hl7::frame(&[&[0x06], &hl7::oru("O2")[..]].concat()),
                    close,
                ),
            ],
        );
        refused(
            &clinic,
            &[(
                "a commit behind it",
                [&hl7::oru("O3")[..], &[0x06]].concat(),
                "AE 100",
            )],
        );
        arrives(&clinic, &[("release 1", hl7::oru("O4"))]);

        // Release 2 is spoken where the service says so, and there a commit is no message either.
        let site = &clinic.site;
        let six = "[fd20::210]:2575".parse().unwrap();
        let address = "address = \"[fd20::210]:2575\"";
        site.replace(address, &format!("{address}\nmllp = 2"));
        assert_eq!(clinic.gateway.lazaret(&["apply"]).code, 0);
        let answer = hl7::frame(&hl7::acknowledge(&hl7::oru("O5")));
        let say = [hl7::frame(&[0x06]), answer].concat();
        let sink = Sink::listen(lab, Place::Hospital, six, Behaviour::Say(say));
        let mut client = clinic.ecg.mllp(six);
        client.send(&hl7::frame(&[0x06])).unwrap();
        assert_eq!(next(&mut client), "close");
        assert_eq!(sink.bytes(), b"");
        let mut client = clinic.ecg.mllp(six);
        client.send(&hl7::frame(&hl7::oru("O5"))).unwrap();
        let commit = client.reply(wait::SOON);
        assert!(
            matches!(&commit, Reply::Answer(answer) if answer.text == "\u{6}"),
            "{commit:?}"
        );
        assert_eq!(next(&mut client), "AA");
        assert_eq!(sink.bytes(), hl7::frame(&hl7::oru("O5")));
    });
}

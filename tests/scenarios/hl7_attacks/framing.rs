//! Attacks on MLLP: what is one message to the gateway must be one message to the HIS, and nothing else is a message.

use e2e::hl7::{self, Reply};
use e2e::{Behaviour, Clinic, Lab, Place, Sink, Watch};

use super::{arrives, broken, changed, next, note, raw_note, refused};

/// A merge of two patients, which no device may send.
fn merge(control: &str) -> Vec<u8> {
    hl7::message(&[
        &format!("MSH|^~\\&|ECG|CARDIO|HIS|NORD|20260102101500||ADT^A40^ADT_A39|{control}|P|2.5.1"),
        "EVN||20260102101500",
        "PID|1||4711^^^NORD^MR||CANARYNAME^ZOE",
        "MRG|0815^^^NORD^MR",
    ])
}

//= C1
//= C2
#[test]
fn attack_04_frame_smuggling() {
    let junk = |byte: u8| raw_note("S1", &[b'a', byte, b'b']);
    let second = hl7::frame(&merge("S2"));
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        refused(&clinic, &[("CR inside a field", junk(b'\r'), "AE 100")]);
        broken(
            &clinic,
            &[
                ("VT inside a field", hl7::frame(&junk(0x0b)), &["close"]),
                ("FS inside a field", hl7::frame(&junk(0x1c)), &["close"]),
                (
                    "FS and VT, no CR",
                    hl7::frame(&raw_note("S1", &[&[0x1c], &second[..]].concat())),
                    &["close"],
                ),
                (
                    "a frame inside a frame",
                    hl7::frame(&raw_note("S1", &second)),
                    &["close"],
                ),
                (
                    "FS CR inside of MSH",
                    hl7::frame(&changed("S1", "|P|", "|\x1c\r|P|")),
                    &["AR 101 MSH^1^12^1", "close"],
                ),
            ],
        );
        // The whole second frame: the first is cut where it says, and the second is judged alone.
        let six = "[fd20::210]:2575".parse().unwrap();
        let sink = Sink::listen(lab, Place::Hospital, six, Behaviour::Acknowledge);
        let cut = hl7::oru("S3");
        let mut client = clinic.ecg.mllp(six);
        let smuggled = [&cut[..], &[0x1c, 0x0d], &second, b"||F\r\x1c\r"].concat();
        client.send(&[&[0x0b], &smuggled[..]].concat()).unwrap();
        let got: Vec<String> = (0..3).map(|_| next(&mut client)).collect();
        assert_eq!(got, ["AA", "AR 200 MSH^1^9^1", "close"]);
        assert_eq!(sink.bytes(), hl7::frame(&cut));
        // The twin: two frames as they should be, and only they, on the wire.
        let mut client = clinic.ecg.mllp(six);
        let two = [hl7::frame(&hl7::oru("S4")), hl7::frame(&hl7::oru("S5"))].concat();
        client.send(&two).unwrap();
        assert_eq!(
            (next(&mut client), next(&mut client)),
            ("AA".into(), "AA".into())
        );
        assert_eq!(sink.received().last(), Some(&two));
    });
}

#[test]
fn attack_05_coalesced_and_split_messages() {
    let short = |number: usize| {
        hl7::message(&[
            &format!("MSH|^~\\&|ECG|CARDIO|||20260102||ORU^R01|{number:03}|P|2.5.1"),
            "OBR|1|||93000^ECG^C4",
            "OBX|1|NM|8867-4||72||||||F",
        ])
    };
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let mut client = clinic.ecg.mllp(clinic.his.address());
        let stream = |number| [hl7::frame(&short(number)), hl7::frame(&merge("M"))].concat();
        let length = stream(0).len();
        for cut in 1..=length {
            let both = stream(cut);
            let (head, tail) = both.split_at(cut);
            // Segments of their own: Nagle is off and the tunnel does not merge.
            client.send(head).unwrap();
            client.send(tail).unwrap();
            let got = (next(&mut client), next(&mut client));
            let expected = ("AA".to_owned(), "AR 200 MSH^1^9^1".to_owned());
            assert_eq!(got, expected, "cut at {cut}");
        }
        let received = clinic.his.wait_for(length);
        let sent: Vec<Vec<u8>> = (1..=length).map(short).collect();
        assert!(received == sent, "not what was sent");
    });
}

#[test]
fn attack_06_second_header_in_a_frame() {
    let with = |segments: &str| [&hl7::oru("H1")[..], segments.as_bytes()].concat();
    let header = "MSH|^~\\&|ECG|CARDIO|HIS|NORD|20260102101500||ADT^A40^ADT_A39|H2|P|2.5.1\r";
    let merge = merge("H2");
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        refused(
            &clinic,
            &[
                ("a second header", with(header), "AE 100 MSH^2"),
                (
                    "two whole messages",
                    [&hl7::oru("H1")[..], &merge].concat(),
                    "AE 100 MSH^2",
                ),
                (
                    "one of other delimiters",
                    with("MSH#*~\\&#ECG#CARDIO#HIS#NORD#20260102##ADT*A40#H2#P#2.5.1\r"),
                    "AE 100",
                ),
                (
                    "before the patient",
                    changed("H1", "PID|", &format!("{header}PID|")),
                    "AE 100 MSH^2",
                ),
                ("bare", with("MSH\r"), "AE 100 MSH^2"),
            ],
        );
        // MSH as text is text.
        let text = note("H3", "MSH\\F\\\\S\\\\R\\\\E\\\\T\\ of another device");
        arrives(&clinic, &[("the word", text)]);
    });
}

#[test]
fn attack_07_junk_before_a_frame() {
    let frame = hl7::frame(&hl7::oru("J1"));
    let before = |junk: &[u8]| [junk, &frame[..]].concat();
    let close: &[&str] = &["close"];
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        broken(
            &clinic,
            &[
                (
                    "HTTP",
                    before(b"POST / HTTP/1.1\r\nHost: his\r\n\r\n"),
                    close,
                ),
                (
                    "a TLS hello",
                    before(b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03"),
                    close,
                ),
                (
                    "a DICOM association",
                    before(b"\x01\x00\x00\x00\x00\xcd\x00\x01"),
                    close,
                ),
                (
                    "a proxy header",
                    before(b"PROXY TCP4 10.20.0.1 10.20.2.10 1 2575\r\n"),
                    close,
                ),
                ("a line end", before(b"\r\n"), close),
                ("a NUL", before(b"\0"), close),
                ("the end of a frame", before(b"\x1c\r"), close),
                ("a start block twice", before(b"\x0b"), close),
                ("no frame at all", hl7::oru("J1"), close),
            ],
        );
        // Between two frames it ends the connection too: the first is a message, the second is none.
        let mut client = clinic.ecg.mllp(clinic.his.address());
        let stream = [hl7::frame(&hl7::oru("J2")), before(b"\n")].concat();
        client.send(&stream).unwrap();
        assert_eq!(
            (next(&mut client), next(&mut client)),
            ("AA".into(), "close".into())
        );
        assert_eq!(clinic.his.wait_for(1), [hl7::oru("J2")]);
        arrives(&clinic, &[("nothing before it", hl7::oru("J1"))]);
    });
}

//= C7
#[test]
fn attack_11_slow_drip_and_endless_frame() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            site.replace("receive_timeout = \"5s\"", "receive_timeout = \"1s\"");
            site.replace("[limits]", "[limits]\nhl7_message = \"64KiB\"");
        });
        let bystander = clinic.bystander();
        let mut other = bystander.mllp(clinic.his.address());
        let relay = clinic.gateway.workers()["relay-hl7"];
        let (before, _) = e2e::memory(relay);
        let watch = Watch::start(lab, Place::Hospital, "eth0");

        // A byte now and then keeps nothing open: the whole frame has the deadline.
        let frame = hl7::frame(&hl7::oru("E1"));
        let mut slow = clinic.ecg.mllp(clinic.his.address());
        let pause = std::time::Duration::from_millis(50);
        let ended = frame[..frame.len() - 2]
            .iter()
            .any(|byte| slow.send(&[*byte]).is_err() || slow.reply(pause) != Reply::Nothing);
        assert!(ended, "a frame in {} drops was waited for", frame.len());

        // One that never ends is refused when it is too long, and what follows is not read.
        let mut endless = clinic.ecg.mllp(clinic.his.address());
        endless.send(&frame[..frame.len() - 2]).unwrap();
        let part = vec![b'x'; 64 << 10];
        let taken = (0..4096)
            .take_while(|_| endless.send(&part).is_ok())
            .count();
        assert!(taken < 4096, "256 MiB were taken");
        assert_eq!(next(&mut endless), "close");
        let (after, _) = e2e::memory(relay);
        assert!(after < before + (8 << 10), "from {before} to {after} KiB");
        super::nothing_arrived(&clinic, watch, 0);

        assert_eq!(other.exchange(&hl7::oru_from("ECG|WARD3", "B1")).code, "AA");
        // The twins: slow but in time, and long but within the bound.
        let mut slow = clinic.ecg.mllp(clinic.his.address());
        let frame = hl7::frame(&hl7::oru("E2"));
        for part in frame.chunks(frame.len() / 4) {
            assert_eq!(slow.reply(pause), Reply::Nothing);
            slow.send(part).unwrap();
        }
        assert_eq!(next(&mut slow), "AA");
        arrives(&clinic, &[("long", hl7::large_oru("E3", 62 << 10))]);
    });
}

/// A batch of these messages, with this number of them in BTS-1.
fn batch(control: &str, messages: &[Vec<u8>], said: usize) -> Vec<u8> {
    let head = format!("BHS|^~\\&|ECG|CARDIO|HIS|NORD|20260102101500||||{control}\r");
    let tail = format!("BTS|{said}\r");
    [head.as_bytes(), &messages.concat(), tail.as_bytes()].concat()
}

#[test]
fn attack_23_batch_wrapping() {
    let two = |control: &str| batch(control, &[hl7::oru("B1"), hl7::oru("B2")], 2);
    let wrapped = [&b"FHS|^~\\&|ECG|CARDIO\r"[..], &two("W"), b"FTS|1\r"].concat();
    let theirs = hl7::oru_from("ECG|WARD3", "B3");
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        refused(
            &clinic,
            &[
                ("where no rule carries batches", two("W1"), "AR 200"),
                ("a file of batches", wrapped, "AR 200"),
                (
                    "from the middle on",
                    [&hl7::oru("B0")[..], b"BTS|1\r"].concat(),
                    "AR 200 BTS^1",
                ),
            ],
        );
        clinic
            .site
            .replace("hl7 = { send = [", "hl7 = { batches = true, send = [");
        assert_eq!(clinic.gateway.lazaret(&["apply"]).code, 0);
        refused(
            &clinic,
            &[
                (
                    "one that the rule forbids",
                    batch("W2", &[hl7::oru("B1"), merge("B2")], 2),
                    "AR 200 MSH^1^9^1",
                ),
                (
                    "one of another device",
                    batch("W3", &[hl7::oru("B1"), theirs], 2),
                    "AR 204 MSH^1^4^1",
                ),
                (
                    "more than BTS says",
                    batch("W4", &[hl7::oru("B1"), hl7::oru("B2")], 1),
                    "AE 100 BTS^1^1^1",
                ),
                (
                    "fewer",
                    batch("W5", &[hl7::oru("B1")], 2),
                    "AE 100 BTS^1^1^1",
                ),
                (
                    "a message behind it",
                    [&two("W6")[..], &hl7::oru("B3")].concat(),
                    "AE 100",
                ),
                ("a batch in a batch", batch("W7", &[two("W8")], 2), "AE 100"),
            ],
        );
        // ERR-2 is the place in the message; which message it is, the text says.
        let batch = batch("W0", &[hl7::oru("B1"), merge("B2")], 2);
        let answer = clinic.ecg.mllp(clinic.his.address()).exchange(&batch);
        assert_eq!(answer.control, "W0");
        assert!(answer.text.contains("message 2"), "{}", answer.text);
        // The twin goes up in one frame, as it came, and is answered once.
        let six = "[fd20::210]:2575".parse().unwrap();
        let answer = String::from_utf8(hl7::acknowledge(&hl7::oru("B1"))).unwrap();
        let answer = hl7::frame(answer.replace("|AA|B1", "|AA|W9").as_bytes());
        let sink = Sink::listen(lab, Place::Hospital, six, Behaviour::Say(answer));
        assert_eq!(clinic.ecg.mllp(six).exchange(&two("W9")).code, "AA");
        assert_eq!(sink.bytes(), hl7::frame(&two("W9")));
    });
}

//! Devices that break MLLP, on purpose or not: a clear refusal, nothing at the hospital, nobody else harmed,
//! memory bounded.

use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use e2e::hl7::{self, Client, Reply};
use e2e::{Clinic, HIS, Lab, Place, Watch, memory, reset, wait};

#[test]
fn frames_split_at_every_byte_are_one_message() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let mut client = clinic.ecg.mllp(clinic.his.address());
        // Byte by byte once, then cut in two at every place.
        for byte in hl7::frame(&hl7::oru("BYTES")) {
            client.send(&[byte]).unwrap();
        }
        assert_eq!(code(&mut client), "AA");
        let length = hl7::frame(&hl7::oru("C000")).len();
        for cut in 1..length {
            let frame = hl7::frame(&hl7::oru(&format!("C{cut:03}")));
            let (head, tail) = frame.split_at(cut);
            client.send(head).unwrap();
            // A segment of its own: Nagle is off and the tunnel does not merge.
            client.stream().flush().unwrap();
            client.send(tail).unwrap();
            assert_eq!(code(&mut client), "AA", "cut at {cut}");
        }
        let received = clinic.his.wait_for(length);
        assert_eq!(received.len(), length);
        assert_eq!(
            received[length - 1],
            hl7::oru(&format!("C{:03}", length - 1))
        );
    });
}

#[test]
fn two_frames_in_one_segment_are_two_messages() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let mut client = clinic.ecg.mllp(clinic.his.address());
        let both = [hl7::frame(&hl7::oru("T1")), hl7::frame(&hl7::oru("T2"))].concat();
        client.send(&both).unwrap();
        assert_eq!(
            (code(&mut client), code(&mut client)),
            ("AA".into(), "AA".into())
        );
        assert_eq!(clinic.his.wait_for(2), [hl7::oru("T1"), hl7::oru("T2")]);
    });
}

/// Streams that are not MLLP. Each ends its connection, or is refused with an answer; none reaches the HIS.
#[test]
fn broken_frames_reach_nobody() {
    let oru = hl7::oru("X1");
    let mut inner_start = oru.clone();
    inner_start.insert(40, 0x0b);
    let mut inner_end = oru.clone();
    inner_end.insert(40, 0x1c);
    let smuggled = [oru.as_slice(), &[0x1c], &hl7::frame(&hl7::oru("X2"))].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (
            "junk before a frame",
            [b"GET / HTTP/1.1\r\n\r\n".to_vec(), hl7::frame(&oru)].concat(),
        ),
        ("a start block inside", hl7::frame(&inner_start)),
        ("an end block inside", hl7::frame(&inner_end)),
        ("a frame inside a frame", hl7::frame(&smuggled)),
        (
            "no carriage return after the end",
            [hl7::frame(&oru)[..oru.len() + 2].to_vec(), hl7::frame(&oru)].concat(),
        ),
        ("nothing in the frame", hl7::frame(b"")),
        ("no MSH", hl7::frame(b"PID|1\r")),
        ("a TLS greeting", hex("16030100c8010000c40303")),
        (
            "a DICOM association",
            hex("0100000000cd0001000050414353310000"),
        ),
        (
            "only line feeds",
            hl7::frame(b"MSH|^~\\&|ECG|CARDIO\nPID|1\n"),
        ),
    ];
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let bystander = clinic.bystander();
        let mut other = bystander.mllp(clinic.his.address());
        assert_eq!(other.exchange(&hl7::oru_from("ECG|WARD3", "B0")).code, "AA");
        let watch = Watch::start(lab, Place::Hospital, "eth0");
        for (name, bytes) in &cases {
            let mut client = clinic.ecg.mllp(clinic.his.address());
            let _ = client.send(bytes);
            match client.reply(wait::SOON) {
                Reply::Answer(answer) => assert_ne!(answer.code, "AA", "{name}: {}", answer.text),
                Reply::Closed | Reply::Reset => {}
                Reply::Nothing => panic!("{name}: neither answered nor ended"),
            }
        }
        assert_eq!(watch.stop().packets_to(HIS), 0);
        assert_eq!(other.exchange(&hl7::oru_from("ECG|WARD3", "B1")).code, "AA");
        assert_eq!(
            clinic
                .ecg
                .mllp(clinic.his.address())
                .exchange(&hl7::oru("OK"))
                .code,
            "AA"
        );
        assert_eq!(clinic.his.wait_for(3).len(), 3);
    });
}

//= C7
#[test]
fn a_message_of_a_gibibyte_is_refused_early_and_in_bounded_memory() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let bystander = clinic.bystander();
        let mut other = bystander.mllp(clinic.his.address());
        let relay = clinic.gateway.workers()["relay-hl7"];
        let (_, before) = memory(relay);
        let mut client = clinic.ecg.mllp(clinic.his.address());
        let mut sent = 0_usize;
        client
            .send(&[&[0x0b], hl7::oru("G1").as_slice()].concat())
            .unwrap();
        let part = vec![b'x'; 64 << 10];
        while sent < 1 << 30 && client.send(&part).is_ok() {
            sent += part.len();
        }
        assert!(sent < 256 << 20, "{sent} bytes were taken");
        let end = client.reply(wait::SOON);
        assert!(
            !matches!(&end, Reply::Answer(answer) if answer.code == "AA"),
            "{end:?}"
        );
        let (_, after) = memory(relay);
        assert!(
            after - before < 64 << 10,
            "grew from {before} to {after} KiB"
        );
        assert_eq!(other.exchange(&hl7::oru_from("ECG|WARD3", "B1")).code, "AA");
        assert_eq!(clinic.his.wait_for(1).len(), 1);
    });
}

#[test]
fn a_frame_without_end_is_given_up() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            site.replace("receive_timeout = \"5s\"", "receive_timeout = \"1s\"");
        });
        let mut client = clinic.ecg.mllp(clinic.his.address());
        let begun = Instant::now();
        client
            .send(&[&[0x0b], hl7::oru("E1").as_slice()].concat())
            .unwrap();
        let end = client.reply(wait::SOON);
        assert!(!matches!(&end, Reply::Nothing), "still open");
        assert!(
            begun.elapsed() >= Duration::from_millis(900),
            "after {:?}",
            begun.elapsed()
        );
        // A slow sender that is faster than the limit is served.
        let mut client = clinic.ecg.mllp(clinic.his.address());
        let frame = hl7::frame(&hl7::oru("E2"));
        for part in frame.chunks(frame.len() / 8) {
            client.send(part).unwrap();
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(code(&mut client), "AA");
        assert_eq!(clinic.his.wait_for(1), [hl7::oru("E2")]);
    });
}

#[test]
fn senders_that_vanish_leave_nothing_behind() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        for number in 0..20 {
            let mut client = clinic.ecg.mllp(clinic.his.address());
            let frame = hl7::frame(&hl7::oru(&format!("V{number}")));
            client.send(&frame[..frame.len() / 2]).unwrap();
            if number % 2 == 0 {
                reset(client.stream());
            }
        }
        wait::for_true("no session is left", wait::SOON, || {
            clinic.gateway.status()["sessions"] == 0
        });
        assert_eq!(
            clinic
                .ecg
                .mllp(clinic.his.address())
                .exchange(&hl7::oru("V"))
                .code,
            "AA"
        );
        assert_eq!(clinic.his.wait_for(1), [hl7::oru("V")]);
    });
}

//= C7
#[test]
fn connections_of_one_device_are_bounded() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            site.replace("[limits]", "[limits]\nconnections_per_device = 4");
        });
        let bystander = clinic.bystander();
        let mut clients: Vec<Client> = Vec::new();
        for number in 0..4 {
            let mut client = clinic.ecg.mllp(clinic.his.address());
            assert_eq!(client.exchange(&hl7::oru(&format!("N{number}"))).code, "AA");
            clients.push(client);
        }
        // Turned away, perhaps before it knows that it was connected.
        let sent = |message: &[u8]| match clinic.ecg.tcp_within(clinic.his.address(), wait::SOON) {
            Ok(stream) => {
                let mut client = Client::new(stream);
                let _ = client.send(&hl7::frame(message));
                client.reply(wait::SOON)
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                Reply::Reset
            }
        };
        let end = sent(&hl7::oru("N5"));
        assert!(matches!(end, Reply::Closed | Reply::Reset), "{end:?}");
        let mut other = bystander.mllp(clinic.his.address());
        assert_eq!(other.exchange(&hl7::oru_from("ECG|WARD3", "B")).code, "AA");
        drop(clients.pop());
        wait::for_true(
            "room for one more",
            wait::SOON,
            || matches!(sent(&hl7::oru("N6")), Reply::Answer(answer) if answer.code == "AA"),
        );
    });
}

#[track_caller]
fn code(client: &mut Client) -> String {
    match client.reply(wait::SOON) {
        Reply::Answer(answer) => answer.code,
        other @ (Reply::Closed | Reply::Reset | Reply::Nothing) => panic!("{other:?}"),
    }
}

fn hex(text: &str) -> Vec<u8> {
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

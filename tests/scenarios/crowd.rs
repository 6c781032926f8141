//! Many at once, slow ones, silent ones: everybody who may is served, memory follows the number of connections and
//! not what they send, and nobody can keep the gateway to himself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use e2e::hl7::{self, Client, Reply};
use e2e::{
    Archive, Archiving, Behaviour, Clinic, Device, HIS, Images, Lab, PACS, Place, Sink, memory,
    wait,
};

const MANY: usize = 300;

/// Hundreds of connections that all work, opened at once and used at once; then one too many.
//= C7
#[test]
fn hundreds_of_connections_are_served() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            site.replace(
                "[limits]",
                &format!("[limits]\nconnections_per_device = {MANY}"),
            );
            site.replace(
                "address = \"10.20.2.10:2575\"",
                "address = \"10.20.2.10:2577\"",
            );
        });
        let sink = Sink::listen(lab, Place::Hospital, his(), Behaviour::Acknowledge);
        let bystander = clinic.bystander();
        let relay = clinic.gateway.workers()["relay-hl7"];
        let (before, _) = memory(relay);
        let mut clients: Vec<Client> = (0..MANY).map(|_| clinic.ecg.mllp(his())).collect();
        for round in 0..2 {
            for (number, client) in clients.iter_mut().enumerate() {
                client
                    .send(&hl7::frame(&hl7::oru(&format!("N{round}-{number}"))))
                    .unwrap();
            }
            for (number, client) in clients.iter_mut().enumerate() {
                match client.reply(wait::SOON) {
                    Reply::Answer(answer) => assert_eq!(
                        (answer.code.as_str(), answer.control),
                        ("AA", format!("N{round}-{number}")),
                        "{}",
                        answer.text
                    ),
                    other @ (Reply::Closed | Reply::Reset | Reply::Nothing) => {
                        panic!("{number}: {other:?}")
                    }
                }
            }
        }
        assert_eq!(clinic.gateway.status()["sessions"], MANY);
        let (after, _) = memory(relay);
        let each = (after - before) / u64::try_from(MANY).unwrap();
        assert!(each < 200, "{each} KiB a connection");
        // One more is refused, another device is not.
        // The reset may come before the device sees that it is connected.
        if let Ok(stream) = clinic.ecg.tcp(his()) {
            let mut more = Client::new(stream);
            let _ = more.send(&hl7::frame(&hl7::oru("MORE")));
            assert!(matches!(
                more.reply(wait::SOON),
                Reply::Closed | Reply::Reset
            ));
        }
        assert_eq!(
            bystander
                .mllp(his())
                .exchange(&hl7::oru_from("ECG|WARD3", "B"))
                .code,
            "AA"
        );
        drop(clients);
        wait::for_true("all sessions are over", wait::SOON, || {
            clinic.gateway.status()["sessions"] == 0
        });
        wait::for_true("the hospital is let go", wait::SOON, || sink.open() == 0);
    });
}

/// Every place that a device may hold, held by messages that never end: the next device does not wait.
//= C7
#[test]
fn slow_and_half_open_senders_hold_only_themselves_up() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            site.replace(
                "receive_timeout = \"5s\"",
                "receive_timeout = \"3s\"\nidle_timeout = \"4s\"",
            );
        });
        let us = Device::connect(lab, &clinic.site, "us-07", Place::Clinician);
        let images = Images::make(lab);
        let _archive = Archive::start(lab, Archiving::Pynetdicom);
        let relays = ["relay-hl7", "relay-dicom"].map(|name| clinic.gateway.workers()[name]);
        let before = relays.map(|pid| memory(pid).0);
        let bystander = clinic.bystander();
        // HL7: nothing at all, half a message, a byte now and then. DICOM: nothing, half a head, half a request.
        let message = [&[0x0b], hl7::large_oru("SLOW", 3 << 20).as_slice()].concat();
        let mut held: Vec<(&str, TcpStream)> = Vec::new();
        for _ in 0..5 {
            for (name, bytes) in [
                ("silent", &[][..]),
                ("half", &message[..]),
                ("drips", &message[..40]),
            ] {
                held.push((name, opened(&clinic.ecg, his_port(2575), bytes)));
            }
            for (name, bytes) in [
                ("silent", &[][..]),
                ("half a head", &[1, 0, 0]),
                ("drips", &[1, 0, 0, 0, 0x10, 0, 0, 1]),
            ] {
                held.push((name, opened(&us, (PACS, 104).into(), bytes)));
            }
        }
        let begun = Instant::now();
        let mut served = 0;
        while begun.elapsed() < Duration::from_secs(8) {
            for (_, stream) in held.iter().filter(|(name, _)| *name == "drips") {
                let _ = { stream }.write(b"x");
            }
            let control = format!("B{served}");
            let (answer, took) = wait::timed(|| {
                bystander
                    .mllp(his_port(2575))
                    .exchange(&hl7::oru_from("ECG|WARD3", &control))
            });
            assert_eq!(answer.code, "AA");
            assert!(took < Duration::from_secs(2), "{took:?}");
            served += 1;
            std::thread::sleep(Duration::from_millis(300));
        }
        let said = us.modality("store", "US07", "PACS1", &images.path("us.dcm"));
        assert!(said.out.contains("status 0000"), "{}", said.all());
        for (name, mut stream) in held {
            stream
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            let end = std::iter::repeat_with(|| stream.read(&mut [0; 1024]))
                .find(|read| !matches!(read, Ok(1..)));
            let open = end
                .unwrap()
                .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
            assert!(!open, "{name}: still open after {:?}", begun.elapsed());
        }
        wait::for_true("no session is left", wait::SOON, || {
            clinic.gateway.status()["sessions"] == 0
        });
        for (pid, before) in relays.into_iter().zip(before) {
            let (_, most) = memory(pid);
            assert!(
                most < before + (64 << 10),
                "grew from {before} to {most} KiB"
            );
        }
        assert_eq!(clinic.his.received().len(), served);
    });
}

/// A device that sends and never reads what comes back.
//= C7
#[test]
fn a_sender_that_does_not_read_is_not_buffered_for() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let bystander = clinic.bystander();
        let relay = clinic.gateway.workers()["relay-hl7"];
        let (before, _) = memory(relay);
        let mut stream = clinic.ecg.tcp(clinic.his.address()).unwrap();
        stream
            .set_write_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        // Refused at once, so that the answers are ours: as many as the gateway is willing to make.
        let refused = hl7::frame(&hl7::oru_from("NOT|MINE", "R")).repeat(100);
        let begun = Instant::now();
        let mut sent = 0;
        while begun.elapsed() < Duration::from_secs(10) && sent < 256 << 20 {
            match stream.write(&refused) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        assert!(sent < 64 << 20, "{sent} bytes were taken");
        let (_, most) = memory(relay);
        assert!(
            most < before + (64 << 10),
            "grew from {before} to {most} KiB"
        );
        assert_eq!(
            bystander
                .mllp(clinic.his.address())
                .exchange(&hl7::oru_from("ECG|WARD3", "B"))
                .code,
            "AA"
        );
        // Its refusals are paced: what it sent would keep the gateway busy for long. It goes away instead.
        drop(stream);
        wait::for_true("the session ends", wait::SOON, || {
            clinic.gateway.status()["sessions"] == 0
        });
    });
}

fn opened(device: &Device<'_>, to: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = device.tcp(to).unwrap();
    stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let _ = stream.write_all(bytes);
    stream
}

fn his() -> SocketAddr {
    his_port(2577)
}

fn his_port(port: u16) -> SocketAddr {
    (HIS, port).into()
}

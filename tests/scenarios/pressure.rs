//! What a device can make the gateway write, remember or fill up: nobody can drown the journal, the memory or the
//! disk, and when the disk is full anyway the gateway closes.

use std::net::Ipv4Addr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::time::Duration;

use e2e::hl7::{self, Reply};
use e2e::{Clinic, Lab, memory, wait};

/// Sixty thousand flows that no rule allows, each to another address and port.
//= C7
#[test]
fn a_scan_drowns_neither_memory_nor_journal() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let bystander = clinic.bystander();
        let (before, _) = memory(clinic.gateway.pid());
        let records = clinic.gateway.journal().len();
        let packets: Vec<Vec<u8>> = (0..60_000_u32).map(probe).collect();
        let begun = std::time::Instant::now();
        clinic.ecg.inject(&packets);
        let answer = bystander
            .mllp(clinic.his.address())
            .exchange(&hl7::oru_from("ECG|WARD3", "B"));
        assert_eq!(answer.code, "AA");
        clinic.gateway.wait_for_record("flow-denied", |_| true);
        std::thread::sleep(Duration::from_secs(3));
        let written = clinic.gateway.journal().len() - records;
        eprintln!(
            "60,000 denied flows in {:?}: {written} records",
            begun.elapsed()
        );
        assert!(written < 6_000, "{written} records");
        let (_, most) = memory(clinic.gateway.pid());
        eprintln!("supervisor from {before} to {most} KiB");
        assert!(
            most < before + (32 << 10),
            "grew from {before} to {most} KiB"
        );
        assert_eq!(
            clinic
                .ecg
                .mllp(clinic.his.address())
                .exchange(&hl7::oru("S"))
                .code,
            "AA"
        );
    });
}

/// No room for the journal: nothing is forwarded that could not be recorded; with room again, everything is.
//= C8
#[test]
fn a_full_disk_closes_and_room_opens_again() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with_little_room(lab);
        let mut client = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("F0")).code, "AA");
        let filler = clinic.site.state().join("audit/filler");
        let _ = std::fs::write(&filler, vec![0; 1 << 20]);
        // Some records still fit into the page that is there.
        let refused = (0..200).any(|number| !taken(&clinic, &format!("F1-{number}")));
        assert!(refused, "200 messages were forwarded without a journal");
        wait::for_true("status says so", wait::SOON, || {
            clinic.gateway.status()["journal"] != "writable"
        });
        let before = clinic.his.received().len();
        assert!(!taken(&clinic, "F2"));
        assert_eq!(
            clinic.his.received().len(),
            before,
            "forwarded without a journal"
        );
        std::fs::remove_file(filler).unwrap();
        wait::for_true("messages with room again", wait::SOON, || {
            taken(&clinic, "F3")
        });
        let said = clinic.gateway.lazaret(&["audit", "verify"]);
        assert_eq!(said.code, 0, "{}", said.all());
    });
}

/// Whether a message on a connection of its own is acknowledged; without a journal there may be no connection at all.
fn taken(clinic: &Clinic<'_>, control: &str) -> bool {
    let Ok(stream) = clinic.ecg.tcp(clinic.his.address()) else {
        return false;
    };
    let mut client = hl7::Client::new(stream);
    let _ = client.send(&hl7::frame(&hl7::oru(control)));
    matches!(client.reply(Duration::from_secs(5)), Reply::Answer(answer) if answer.code == "AA")
}

/// Sockets of the gateway are for its own user.
#[test]
fn sockets_are_closed_to_others() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let folders = [clinic.site.runtime(), "/run/wireguard".into()];
        let mut sockets = 0;
        for folder in folders {
            for entry in std::fs::read_dir(&folder).unwrap().flatten() {
                let meta = entry.metadata().unwrap();
                let ours = !entry.file_name().to_string_lossy().starts_with("wg");
                if meta.file_type().is_socket() && ours {
                    let (mode, open) = (
                        meta.permissions().mode(),
                        std::fs::metadata(&folder).unwrap().permissions().mode(),
                    );
                    assert!(
                        mode & 0o007 == 0 || open & 0o001 == 0,
                        "{:?}: {mode:o}",
                        entry.path()
                    );
                    sockets += 1;
                }
            }
        }
        assert_eq!(sockets, 2);
    });
}

/// A datagram of the ECG to an address and port that differ for every number.
fn probe(number: u32) -> Vec<u8> {
    let to = Ipv4Addr::new(10, 20, u8::try_from(number % 250).unwrap(), 200);
    let port = u16::try_from(1 + number % 60_001).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 64, 0, 1];
    packet.extend(to.octets());
    let sum: u32 = packet
        .chunks(2)
        .map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])))
        .sum();
    let folded = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    packet[10..12].copy_from_slice(&folded.to_be_bytes());
    packet.extend([0x30, 0x39, port[0], port[1], 0, 8, 0, 0]);
    packet
}

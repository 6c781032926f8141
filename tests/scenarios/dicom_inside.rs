//! Bytes that are wrong inside of an association that was granted: the association ends with an abort or a status,
//! the archive is told, it stores nothing, and others go on.

use e2e::{Archive, Archiving, Clinic, Device, Images, Lab, Place, memory, wait};

/// What is sent, how often, and why it is wrong.
const CASES: [(&str, &str, usize); 16] = [
    ("PDU of length 0", "040000000000", 1),
    ("PDU of length 1", "04000000000100", 1),
    ("PDU of length 0xFFFFFFFF", "0400ffffffff", 1),
    ("fragment of length 0", "04000000000400000000", 1),
    ("fragment of length 1", "0400000000050000000101", 1),
    ("fragment beyond its PDU", "040000000006ffffffff0103", 1),
    (
        "fragment of length 0xFFFFFFFF in front of another",
        "04000000000affffffff010300000002",
        1,
    ),
    (
        "a context that was not granted",
        "0400000000060000000209030000",
        1,
    ),
    ("an even context", "0400000000060000000202030000", 1),
    (
        "a data set without a command",
        "0400000000080000000401020800",
        1,
    ),
    ("an empty command", "040000000006000000020103", 1),
    ("a second request", "01000000000400010000", 1),
    (
        "a release answer that nobody asked for",
        "06000000000400000000",
        1,
    ),
    ("an unknown PDU", "ee000000000400000000", 1),
    (
        "a million empty fragments that are never the last",
        "040000000006000000020101",
        1_000_000,
    ),
    ("a command that never ends", "", 0),
];

//= C7
#[test]
fn broken_bytes_in_an_association_end_it() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let us = Device::connect(lab, &clinic.site, "us-07", Place::Home2);
        let images = Images::make(lab);
        let archive = Archive::start(lab, Archiving::Pynetdicom);
        let relay = clinic.gateway.workers()["relay-dicom"];
        let (before, _) = memory(relay);
        for (name, hex, count) in CASES {
            let script = if count == 0 {
                // Fragments of 4 KiB of a command set, for ever.
                format!("inside:0400000010060000100201 01{}*2000", "00".repeat(4096))
                    .replace(' ', "")
            } else {
                format!("inside:{hex}*{count}")
            };
            let said = us.modality(&script, "US07", "PACS1", "-");
            assert!(said.out.contains("answer 02"), "{name}: {}", said.all());
            let ended = ["then 07", "then closed", "then reset"];
            assert!(
                ended.iter().any(|end| said.out.contains(end)),
                "{name}: {}",
                said.all()
            );
            eprintln!("{name}: {}", said.out.replace('\n', "; "));
        }
        wait::for_true("no session is left", wait::SOON, || {
            clinic.gateway.status()["sessions"] == 0
        });
        assert!(archive.stored().is_empty());
        assert_eq!(
            archive
                .asked()
                .iter()
                .filter(|line| line.starts_with("store"))
                .count(),
            0
        );
        let (_, most) = memory(relay);
        assert!(
            most < before + (32 << 10),
            "grew from {before} to {most} KiB"
        );
        assert_eq!(
            clinic.gateway.workers()["relay-dicom"],
            relay,
            "the relay died"
        );
        let said = us.modality("store", "US07", "PACS1", &images.path("us.dcm"));
        assert!(
            said.out.contains("status 0000\nagain 0000"),
            "{}",
            said.all()
        );
    });
}

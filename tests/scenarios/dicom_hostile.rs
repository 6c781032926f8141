//! Devices that break DICOM: what both reference archives would take is refused, with the status of the standard,
//! and the association lives on where the standard lets it.

use e2e::{Archive, Archiving, Device, Gateway, Images, Lab, PACS, Place, Site, Watch, memory};

/// Faults inside of a C-STORE: refused by status, nothing stored, the next message passes.
#[test]
fn broken_messages_are_refused_and_the_association_lives_on() {
    let scripts = [
        "class-mismatch",
        "instance-mismatch",
        "traversal",
        "group-2",
        "unordered",
        "odd-length",
        "deep",
        "claims-2g",
        "truncated",
    ];
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let gateway = Gateway::start(lab, &site);
        let us = Device::connect(lab, &site, "us-07", Place::Home2);
        let images = Images::make(lab);
        let archive = Archive::start(lab, Archiving::Pynetdicom);
        let relay = gateway.workers()["relay-dicom"];
        let (_, before) = memory(relay);
        for (number, script) in scripts.iter().enumerate() {
            let said = us.modality(script, "US07", "PACS1", &images.path("us.dcm"));
            assert!(said.out.contains("accepted"), "{script}: {}", said.all());
            assert!(
                !said.out.contains("status 0000"),
                "{script}: {}",
                said.all()
            );
            assert!(said.out.contains("status"), "{script}: {}", said.all());
            assert!(said.out.contains("again 0000"), "{script}: {}", said.all());
            assert_eq!(archive.wait_for(number + 1).len(), number + 1, "{script}");
        }
        let stored: Vec<String> = archive
            .asked()
            .into_iter()
            .filter(|line| line.starts_with("store"))
            .collect();
        assert_eq!(stored.len(), scripts.len(), "{stored:?}");
        let (_, after) = memory(relay);
        assert!(
            after - before < 64 << 10,
            "grew from {before} to {after} KiB"
        );
        assert_eq!(gateway.workers()["relay-dicom"], relay, "the relay died");
    });
}

/// Byte streams that are no association at all.
#[test]
fn broken_streams_reach_nobody() {
    let pdus = [
        ("length 0", "010000000000"),
        ("length 1", "01000000000100"),
        ("length 0xFFFFFFFF", "0100ffffffff0001000050414353"),
        ("an unknown type", "990000000004deadbeef"),
        ("data before an association", "0400000000080000000401030000"),
        ("an answer instead of a request", "02000000004400010000"),
        ("HL7", "0b4d53487c5e7e5c267c4543477c"),
        ("HTTP", "474554202f20485454502f312e310d0a0d0a"),
        ("TLS", "16030100c8010000c40303"),
    ];
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let gateway = Gateway::start(lab, &site);
        let us = Device::connect(lab, &site, "us-07", Place::Home2);
        let images = Images::make(lab);
        let _archive = Archive::start(lab, Archiving::Pynetdicom);
        let watch = Watch::start(lab, Place::Hospital, "eth0");
        for (name, hex) in pdus {
            let said = us.modality(&format!("raw-pdu:{hex}"), "US07", "PACS1", "-");
            let ended = ["answer 0700", "answer 0300", "closed", "reset"];
            assert!(
                ended.iter().any(|end| said.out.starts_with(end)),
                "{name}: {}",
                said.all()
            );
        }
        assert_eq!(watch.stop().packets_to(PACS), 0);
        let said = us.modality("store", "US07", "PACS1", &images.path("us.dcm"));
        assert!(said.out.contains("status 0000"), "{}", said.all());
        assert_eq!(gateway.workers().len(), 4);
    });
}

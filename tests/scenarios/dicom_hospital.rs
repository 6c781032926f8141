//! The archive misbehaves: is not there, is silent at every stage, dies in the middle. The modality is never told
//! of a success, is told soon, and the gateway keeps neither memory nor sessions.

use std::net::SocketAddr;
use std::time::Duration;

use e2e::{
    Archive, Archiving, Behaviour, Clinic, Device, Images, Lab, PACS, Place, Sink, data_set,
    memory, text, wait,
};

/// Servers that take a connection and are no archive.
//= C6
#[test]
fn an_archive_that_is_none_gives_a_rejection() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let us = Device::connect(lab, &clinic.site, "us-07", Place::Home2);
        let images = Images::make(lab);
        let file = images.path("us.dcm");
        let cases = [
            ("refuses", None),
            ("silent", Some(Behaviour::Silent)),
            ("resets at once", Some(Behaviour::ResetAfter(0))),
            ("resets in the request", Some(Behaviour::ResetAfter(40))),
            ("hangs up", Some(Behaviour::CloseAfter(40))),
            ("sends the request back", Some(Behaviour::Echo)),
        ];
        for (name, behaviour) in cases {
            let sink = behaviour.map(|b| Sink::listen(lab, Place::Hospital, pacs(), b));
            let (said, took) = wait::timed(|| us.modality("store", "US07", "PACS1", &file));
            let said_so = said.out.contains("rejected") || said.out.contains("aborted");
            assert!(
                said_so && !said.out.contains("status"),
                "{name}: {}",
                said.all()
            );
            assert!(took < Duration::from_secs(12), "{name}: {took:?}");
            if let Some(sink) = sink {
                sink.close();
            }
        }
        assert_no_session(&clinic);
        let archive = Archive::start(lab, Archiving::Pynetdicom);
        let said = us.modality("store", "US07", "PACS1", &file);
        assert!(said.out.contains("status 0000"), "{}", said.all());
        assert_eq!(archive.wait_for(2).len(), 2);
    });
}

/// `kill -9` of the archive while a large image is under way, then while it owes an answer.
//= C6
#[test]
fn an_archive_that_is_killed_gives_an_abort() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let us = Device::connect(lab, &clinic.site, "us-07", Place::Home2);
        let images = Images::make(lab);
        let relay = clinic.gateway.workers()["relay-dicom"];
        for (number, stage) in ["answer", "data"].iter().enumerate() {
            let archive = Archive::start(lab, Archiving::Pynetdicom);
            archive.behave("hang");
            archive.forget();
            let file = images.path(if *stage == "data" {
                "us-medium.dcm"
            } else {
                "us.dcm"
            });
            let said = std::thread::scope(|scope| {
                let sending = scope.spawn(|| us.modality("store", "US07", "PACS1", &file));
                wait::for_true("a request at the archive", wait::SOON, || {
                    let asked = if *stage == "data" {
                        "association"
                    } else {
                        "store"
                    };
                    archive.asked().iter().any(|line| line.starts_with(asked))
                });
                archive.kill9();
                sending.join().unwrap()
            });
            assert!(said.out.contains("aborted"), "{stage}: {}", said.all());
            assert!(!said.out.contains("status"), "{stage}: {}", said.all());
            drop(archive);
            assert_no_session(&clinic);
            let decisions = clinic.gateway.wait_for_decisions("us-07", number + 1);
            assert!(
                decisions
                    .iter()
                    .all(|d| text(d, "what") != "message" || text(d, "outcome") != "forwarded"),
                "{stage}: {decisions:?}"
            );
        }
        assert_eq!(clinic.gateway.workers()["relay-dicom"], relay);
        let archive = Archive::start(lab, Archiving::Storescp);
        let _ = us.storescu("US07", "PACS1", &[&images.path("us.dcm")]).ok();
        assert_eq!(archive.wait_for(1).len(), 1);
    });
}

/// Larger than memory may hold: byte for byte through the spool, the files are gone afterwards; refused at its very
/// end, nothing of it reaches the archive; more than the spool may hold is refused with out of resources.
//= C1 C2 C7
#[test]
fn large_images_pass_through_the_spool() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            site.replace(
                "[limits]",
                "[limits]\ndicom_memory = \"1MiB\"\nspool = \"8MiB\"",
            );
        });
        let us = Device::connect(lab, &clinic.site, "us-07", Place::Home2);
        let images = Images::make(lab);
        let file = images.path("us-medium.dcm");
        let archive = Archive::start(lab, Archiving::Pynetdicom);
        let relay = clinic.gateway.workers()["relay-dicom"];
        let (before, _) = memory(relay);
        let said = us.modality("store", "US07", "PACS1", &file);
        assert!(
            said.out.contains("status 0000\nagain 0000"),
            "{}",
            said.all()
        );
        let sent = data_set(std::path::Path::new(&file));
        for stored in archive.wait_for(2) {
            assert!(
                std::fs::read(stored).unwrap() == sent,
                "the image was changed"
            );
        }
        let (_, most) = memory(relay);
        assert!(
            most < before + (8 << 10),
            "grew from {before} to {most} KiB for {} bytes",
            sent.len()
        );
        // The last element is wrong: 5 MiB went into the spool and nothing went on.
        let said = us.modality("odd-length", "US07", "PACS1", &file);
        assert!(
            said.out.contains("status C") || said.out.contains("status A900"),
            "{}",
            said.all()
        );
        assert!(said.out.contains("again 0000"), "{}", said.all());
        assert_eq!(archive.wait_for(3).len(), 3);
        assert_eq!(
            archive
                .asked()
                .iter()
                .filter(|line| line.starts_with("store"))
                .count(),
            3
        );
        assert!(spool_files(clinic.gateway.workers()["relay-dicom"]).is_empty());
        // Two at once do not fit.
        let said = std::thread::scope(|scope| {
            let both = [0, 1].map(|_| scope.spawn(|| us.modality("store", "US07", "PACS1", &file)));
            both.map(|sending| sending.join().unwrap())
        });
        let statuses: Vec<&str> = said.iter().map(|said| said.out.as_str()).collect();
        assert!(
            statuses.iter().any(|out| out.contains("status 0000")),
            "{statuses:?}"
        );
        assert!(
            statuses
                .iter()
                .all(|out| out.contains("status 0000") || out.contains("status A7")),
            "{statuses:?}"
        );
        assert_no_session(&clinic);
    });
}

fn assert_no_session(clinic: &Clinic<'_>) {
    wait::for_true("no session is left", wait::SOON, || {
        clinic.gateway.status()["sessions"] == 0
    });
}

/// Files without a name that a process holds.
fn spool_files(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten();
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let names = targets.map(|target| target.to_string_lossy().into_owned());
    names.filter(|name| name.contains("(deleted)")).collect()
}

fn pacs() -> SocketAddr {
    (PACS, 104).into()
}

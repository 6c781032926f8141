//! DICOM from an ultrasound at home to the PACS, with DCMTK and pynetdicom on both ends.

use e2e::{
    Archive, Archiving, Device, Gateway, Images, Lab, Place, Site, data_set, leaks, text, wait,
};

struct Imaging<'a> {
    site: Site,
    gateway: Gateway<'a>,
    us: Device<'a>,
    images: Images,
}

impl<'a> Imaging<'a> {
    fn open(lab: &'a Lab) -> Self {
        Self::open_with(lab, |_| {})
    }

    /// With a PACS whose service streams.
    fn streaming(lab: &'a Lab) -> Self {
        Self::open_with(lab, |site| {
            let called = "called_ae = \"PACS1\"";
            site.replace(called, &format!("{called}\nrelease = \"streaming\""));
        })
    }

    fn open_with(lab: &'a Lab, change: impl FnOnce(&Site)) -> Self {
        let site = Site::standard(lab);
        change(&site);
        let gateway = Gateway::start(lab, &site);
        let us = Device::connect(lab, &site, "us-07", Place::Home2);
        let images = Images::make(lab);
        Self {
            site,
            gateway,
            us,
            images,
        }
    }
}

#[test]
fn verification_works() {
    Lab::run(|lab| {
        let world = Imaging::open(lab);
        let _archive = Archive::start(lab, Archiving::Storescp);
        let _ = world.us.echoscu("US07", "PACS1").ok();
    });
}

/// The archive keeps the bytes as received. Directly and through the gateway they are the same.
//= C2
#[test]
fn data_sets_arrive_byte_for_byte() {
    Lab::run(|lab| byte_for_byte(lab, &Imaging::open(lab), 0));
}

/// The same while they are still being sent.
//= C2
#[test]
fn streamed_data_sets_arrive_byte_for_byte() {
    Lab::run(|lab| byte_for_byte(lab, &Imaging::streaming(lab), 1));
}

fn byte_for_byte(lab: &Lab, world: &Imaging<'_>, warnings: usize) {
    let archive = Archive::start(lab, Archiving::Storescp);
    for (number, name) in ["us.dcm", "us-implicit.dcm", "ct.dcm", "us-large.dcm"]
        .iter()
        .enumerate()
    {
        let file = world.images.path(name);
        let direct = lab.output(
            Place::Hospital,
            &[
                "/usr/bin/storescu",
                "-R",
                "-aet",
                "US07",
                "-aec",
                "PACS1",
                "10.20.1.10",
                "104",
                &file,
            ],
        );
        let _ = direct.ok();
        let stored = archive.wait_for(number + 1);
        let path = newest(&stored);
        let expected = data_set(&path);
        std::fs::remove_file(&path).unwrap();
        let _ = world.us.storescu("US07", "PACS1", &[&file]).ok();
        let stored = archive.wait_for(number + 1);
        assert!(data_set(&newest(&stored)) == expected, "{name} was changed");
    }
    // An association and a store for each.
    let decisions = world.gateway.wait_for_decisions("us-07", 8);
    let stores: Vec<_> = decisions
        .iter()
        .filter(|d| text(d, "kind").starts_with("C-STORE"))
        .collect();
    assert_eq!(stores.len(), 4, "{decisions:?}");
    assert!(
        stores
            .iter()
            .all(|d| text(d, "outcome") == "forwarded" && text(d, "rule") == "us-images")
    );
    for store in stores {
        let told = store["warnings"].as_array().into_iter().flatten();
        let streamed = told.filter(|warning| warning.to_string().contains("streaming"));
        assert_eq!(streamed.count(), warnings, "{store}");
    }
    assert_eq!(leaks(&world.gateway, &e2e::hl7::CANARIES), [""; 0]);
}

#[test]
fn pynetdicom_on_both_ends() {
    Lab::run(|lab| {
        let world = Imaging::open(lab);
        let archive = Archive::start(lab, Archiving::Pynetdicom);
        let said = world
            .us
            .modality("store", "US07", "PACS1", &world.images.path("us.dcm"));
        assert!(
            said.out.contains("status 0000\nagain 0000"),
            "{}",
            said.all()
        );
        assert_eq!(archive.wait_for(2).len(), 2);
        // What the archive answers is what the device hears.
        archive.behave("refuse");
        let said = world
            .us
            .modality("store", "US07", "PACS1", &world.images.path("us.dcm"));
        assert!(said.out.contains("status A700"), "{}", said.all());
        archive.behave("warn");
        let said = world
            .us
            .modality("store", "US07", "PACS1", &world.images.path("us.dcm"));
        assert!(said.out.contains("status B000"), "{}", said.all());
    });
}

#[test]
fn several_images_in_one_association() {
    Lab::run(|lab| {
        let world = Imaging::open(lab);
        let archive = Archive::start(lab, Archiving::Dcmqrscp);
        let files = ["us.dcm", "us-implicit.dcm", "ct.dcm"].map(|name| world.images.path(name));
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let _ = world.us.storescu("US07", "PACS1", &files).ok();
        assert_eq!(archive.wait_for(3).len(), 3);
    });
}

#[test]
fn queries_work_for_who_may_ask() {
    Lab::run(|lab| {
        let world = Imaging::open(lab);
        let archive = Archive::start(lab, Archiving::Dcmqrscp);
        let _ = world
            .us
            .storescu("US07", "PACS1", &[&world.images.path("us.dcm")])
            .ok();
        let _ = archive.wait_for(1);
        let desk = Device::connect(lab, &world.site, "desk-1", Place::Clinician);
        let said = desk
            .findscu("DESK1", "PACS1", &["StudyInstanceUID", "PatientID=4711"])
            .ok();
        assert!(
            said.all().contains("1.2.826.0.1.3680043.10.5200.2.1"),
            "{}",
            said.all()
        );
        // The ultrasound may store, not ask.
        let said = world.us.findscu("US07", "PACS1", &["StudyInstanceUID"]);
        assert!(
            !said.all().contains("1.2.826.0.1.3680043.10.5200.2.1"),
            "{}",
            said.all()
        );
        // The desk may ask, not store.
        let said = desk.storescu("DESK1", "PACS1", &[&world.images.path("us-implicit.dcm")]);
        assert_ne!(said.code, 0, "{}", said.all());
        assert_eq!(archive.stored().len(), 1);
    });
}

//= DICOM PS3.8 9.3.4
#[test]
fn associations_are_rejected_with_the_right_reason() {
    Lab::run(|lab| {
        let world = Imaging::open(lab);
        let file = world.images.path("us.dcm");
        // The PACS is not there.
        let said = world.us.modality("store", "US07", "PACS1", &file);
        assert!(said.out.contains("rejected 2 3 1"), "{}", said.all());
        let archive = Archive::start(lab, Archiving::Pynetdicom);
        for (calling, called, reason) in [
            ("OTHER", "PACS1", "rejected 1 1 3"),
            ("US07", "PACS9", "rejected 1 1 7"),
        ] {
            let said = world.us.modality("store", calling, called, &file);
            assert!(
                said.out.contains(reason),
                "{calling} {called}: {}",
                said.all()
            );
        }
        assert!(archive.asked().is_empty(), "{:?}", archive.asked());
        // A SOP class that the rule does not name: accepted association, refused context.
        let said = world
            .us
            .modality("store", "US07", "PACS1", &world.images.path("mr.dcm"));
        assert!(!said.out.contains("status"), "{}", said.all());
        assert!(archive.stored().is_empty());
        let said = world.us.modality("store", "US07", "PACS1", &file);
        assert!(said.out.contains("status 0000"), "{}", said.all());
        let record = world.gateway.wait_for_record("decision", |d| {
            text(d, "answer").starts_with("A-ASSOCIATE-RJ 1/1/3")
        });
        assert_eq!(text(&record, "reason"), "identity");
    });
}

#[test]
fn an_archive_that_misbehaves_gives_no_success() {
    Lab::run(|lab| {
        let world = Imaging::open(lab);
        let archive = Archive::start(lab, Archiving::Pynetdicom);
        for mode in ["abort", "hang"] {
            archive.behave(mode);
            let said = world
                .us
                .modality("store", "US07", "PACS1", &world.images.path("us.dcm"));
            assert!(said.out.contains("accepted"), "{mode}: {}", said.all());
            assert!(!said.out.contains("status"), "{mode}: {}", said.all());
        }
        drop(archive);
        let archive = Archive::start(lab, Archiving::Pynetdicom);
        archive.behave("ok");
        wait::for_true("a store after all of that", wait::SOON, || {
            let said = world
                .us
                .modality("store", "US07", "PACS1", &world.images.path("us.dcm"));
            said.out.contains("status 0000")
        });
    });
}

fn newest(paths: &[std::path::PathBuf]) -> std::path::PathBuf {
    let modified =
        |path: &&std::path::PathBuf| std::fs::metadata(path).and_then(|m| m.modified()).unwrap();
    paths.iter().max_by_key(modified).unwrap().clone()
}

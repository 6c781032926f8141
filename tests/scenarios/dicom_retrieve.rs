//! Asking an archive for what it has: C-FIND, C-MOVE and C-GET of DCMTK, as far as the rule allows and no further;
//! several presentation contexts, of which only the allowed ones reach the archive.

use e2e::{Archive, Archiving, Device, Gateway, Images, Lab, Place, Site, text};

const STUDY: &str = "1.2.826.0.1.3680043.10.5200.2.1";

#[test]
fn queries_moves_and_gets_follow_the_rule() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        site.replace(
            "dicom = { allow = [\"C-ECHO\", \"C-FIND\"] }",
            "dicom = { allow = [\"C-ECHO\", \"C-FIND\", \"C-MOVE\", \"C-GET\"], move_destinations = [\"STORE2\"] }",
        );
        let gateway = Gateway::start(lab, &site);
        let archive = Archive::start(lab, Archiving::Dcmqrscp);
        let second = Archive::start_at(
            lab,
            Archiving::Storescp,
            "10.20.1.10:11113".parse().unwrap(),
        );
        let images = Images::make(lab);
        let us = Device::connect(lab, &site, "us-07", Place::Home2);
        let desk = Device::connect(lab, &site, "desk-1", Place::Clinician);
        let _ = us.storescu("US07", "PACS1", &[&images.path("us.dcm")]).ok();
        assert_eq!(archive.wait_for(1).len(), 1);

        let said = desk
            .findscu("DESK1", "PACS1", &["StudyInstanceUID", "PatientID=4711"])
            .ok();
        assert!(said.all().contains(STUDY), "{}", said.all());
        // Nothing matches: a success without an answer is passed on as such.
        let said = desk
            .findscu("DESK1", "PACS1", &["StudyInstanceUID", "PatientID=NOBODY"])
            .ok();
        assert!(!said.all().contains(STUDY), "{}", said.all());

        let _ = desk.movescu("DESK1", "PACS1", "STORE2", STUDY).ok();
        assert_eq!(second.wait_for(1).len(), 1);
        // PS3.4 C.4.2.1.5: A801, move destination unknown; the archive does not hear of it.
        let said = desk.movescu("DESK1", "PACS1", "OTHER", STUDY);
        assert_ne!(said.code, 0, "{}", said.all());
        assert_eq!(second.stored().len(), 1);
        let record = gateway.wait_for_record("decision", |d| text(d, "answer").contains("A801"));
        assert_eq!(text(&record, "outcome"), "refused");

        let folder = lab.folder("got");
        let _ = desk.getscu("DESK1", "PACS1", &folder, STUDY).ok();
        let got: Vec<_> = std::fs::read_dir(&folder).unwrap().flatten().collect();
        assert_eq!(got.len(), 1, "{got:?}");
        // The ultrasound may do none of it.
        for said in [
            us.findscu("US07", "PACS1", &["StudyInstanceUID"]),
            us.movescu("US07", "PACS1", "STORE2", STUDY),
            us.getscu("US07", "PACS1", &folder, STUDY),
        ] {
            assert!(
                !said.all().contains(STUDY) || said.code != 0,
                "{}",
                said.all()
            );
        }
        assert_eq!((second.stored().len(), archive.stored().len()), (1, 1));
    });
}

/// Eight contexts proposed, one to many transfer syntaxes each; every one gets the standard's result.
//= DICOM PS3.8 9.3.3.2
#[test]
fn only_allowed_contexts_reach_the_archive() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let gateway = Gateway::start(lab, &site);
        let archive = Archive::start(lab, Archiving::Pynetdicom);
        let images = Images::make(lab);
        let us = Device::connect(lab, &site, "us-07", Place::Home2);
        let said = us.modality("contexts", "US07", "PACS1", &images.path("us.dcm"));
        let results: Vec<&str> = said
            .out
            .lines()
            .filter(|line| line.starts_with("context"))
            .collect();
        for (name, accepted) in [
            ("Verification SOP Class", true),
            ("Ultrasound Image Storage", true),
            ("CT Image Storage", true),
            ("MR Image Storage", false),
            ("Study Root Query/Retrieve Information Model - FIND", false),
            ("Study Root Query/Retrieve Information Model - MOVE", false),
            ("Patient Root Query/Retrieve Information Model - GET", false),
            ("Storage Commitment Push Model SOP Class", false),
            ("1.2.3.4.5", false),
        ] {
            let of = |line: &&&str| line.ends_with(&format!(" {name}"));
            let line = results
                .iter()
                .find(of)
                .unwrap_or_else(|| panic!("{name}: {}", said.all()));
            assert_eq!(line.contains(" 0 "), accepted, "{line}");
        }
        assert!(
            said.out.contains("status 0000\nagain 0000"),
            "{}",
            said.all()
        );
        let asked = archive.asked();
        let names = asked
            .iter()
            .find(|line| line.starts_with("association"))
            .unwrap();
        for foreign in ["MR Image", "Query/Retrieve", "Commitment", "1.2.3.4.5"] {
            assert!(!names.contains(foreign), "{names}");
        }
        let _ = gateway.wait_for_record("decision", |d| {
            text(d, "what") == "association" || !text(d, "kind").is_empty()
        });
    });
}

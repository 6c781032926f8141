//! Attacks with queries and retrievals, and with what they bring.

use e2e::modality::{IMPLICIT, Modality, Request, element, header, mark, title};
use e2e::{Archive, Archiving, Device, Gateway, Images, Lab, PACS, Place, Site, wait};

use super::access::{FIND, find, keys};

const WORKLIST: &str = "1.2.840.10008.5.1.4.31";
const LEVEL: (u32, &str) = (0x0008_0052, "STUDY");
const PATIENT: (u32, &str) = (0x0010_0020, "4711");
const QUERIES: &str = "dicom = { allow = [\"C-ECHO\", \"C-FIND\"] }";

/// A workstation that asks for studies and for the worklist.
fn asking() -> Request {
    let mut request = Request::new(&[(1, FIND, &[IMPLICIT]), (3, WORKLIST, &[IMPLICIT])]);
    request.calling = title("DESK1");
    request
}

#[track_caller]
fn dial(desk: &Device<'_>, request: &Request, says: &str) -> Modality {
    let stream = desk.tcp_within((PACS, 104).into(), wait::SOON);
    let mut modality = Modality::new(stream.expect("a connection"));
    assert_eq!(modality.associate(request), says);
    modality
}

/// All that comes back for a query.
fn asked(modality: &mut Modality, context: u8, set: &[u8], wanted: &[u8]) -> Vec<String> {
    let mut said = vec![modality.ask_in(context, set, Some(wanted))];
    while said
        .last()
        .is_some_and(|last| last.starts_with("status FF"))
    {
        said.push(modality.hears());
    }
    said
}

/// A sequence with one item of these keys, in implicit VR little endian.
fn scheduled(wanted: &[(u32, &str)]) -> Vec<u8> {
    let inside = keys(wanted);
    let length = u32::try_from(inside.len()).unwrap();
    let head = [0x40, 0, 0, 1];
    let outer = (length + 8).to_le_bytes();
    [&head[..], &outer, &mark(0xe000, length), &inside].concat()
}

/// Paths, control characters and bombs in titles and keys: a worklist server makes file names of them.
#[test]
#[expect(clippy::too_many_lines, reason = "a table of attacks")]
fn attack_03_crafted_queries() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let archive = Archive::start(lab, Archiving::Pynetdicom);
        let gateway = Gateway::start(lab, &site);
        let desk = Device::connect(lab, &site, "desk-1", Place::Home1);
        for (called, says) in [
            ("../../../WL", "RJ 1/1/7"),
            ("..\\..\\WL", "ABORT 2/6"),
            ("PACS1\x1b[2J", "ABORT 2/6"),
        ] {
            let mut request = asking();
            request.called = title(called);
            let _ = dial(&desk, &request, says);
        }
        assert!(archive.asked().is_empty(), "{:?}", archive.asked());
        let at = |key: (u32, &str)| [keys(&[PATIENT]), scheduled(&[key])].concat();
        let with = |key: (u32, &str)| keys(&[PATIENT, key]);
        let behind = |bytes: &[u8]| [&keys(&[PATIENT]), bytes].concat();
        let open = [
            vec![0x40, 0, 0, 1, 0xff, 0xff, 0xff, 0xff],
            mark(0xe000, 0xffff_ffff),
        ]
        .concat();
        let mut odd = keys(&[PATIENT]);
        odd[4] = 3;
        odd.pop();
        let mut wrong = Vec::new();
        let mut modality = dial(&desk, &asking(), "AC 0 0");
        for (what, wanted, gets) in [
            ("a bell in the station", at((0x0040_0001, "WS\x07")), "C000"),
            (
                "a line feed in the modality",
                at((0x0008_0060, "US\nX")),
                "C000",
            ),
            ("a date that is none", at((0x0040_0002, "2026-x")), "C000"),
            (
                "a path as the patient",
                keys(&[(0x0010_0020, "../../root")]),
                "C000",
            ),
            (
                "a path as the study",
                with((0x0020_000d, "../../x")),
                "C000",
            ),
            (
                "an escape in a name",
                keys(&[(0x0010_0010, "A\x1b[2J"), PATIENT]),
                "C000",
            ),
            (
                "a NUL in a name",
                keys(&[(0x0010_0010, "A\0B*"), PATIENT]),
                "C000",
            ),
            ("no key at all", Vec::new(), "A900"),
            ("keys of odd length", odd, "C000"),
            (
                "keys out of order",
                keys(&[PATIENT, (0x0008_0050, "1")]),
                "C000",
            ),
            ("a key twice", keys(&[PATIENT, PATIENT]), "C000"),
            (
                "a key that is longer than the query",
                behind(&[0x40, 0, 1, 0, 0xfe, 0xff, 0xff, 0x7f]),
                "C000",
            ),
            ("an item that is never ended", behind(&open), "C000"),
            (
                "a hundred thousand items deep",
                behind(&open.repeat(100_000)),
                "A700",
            ),
            (
                "meta information of a file",
                [element(0x0002_0010, "UI", b"1.2\0"), keys(&[PATIENT])].concat(),
                "C000",
            ),
            (
                "value representations where none are",
                header(0x0010_0020, "LO", 4),
                "C000",
            ),
        ] {
            let said = asked(&mut modality, 3, &find(1, WORKLIST), &wanted);
            if said != [format!("status {gets}")] {
                wrong.push(format!("{what}: {said:?}, not {gets}"));
            }
            if !said[0].starts_with("status") {
                modality = dial(&desk, &asking(), "AC 0 0");
            }
        }
        assert_eq!(wrong, [""; 0]);
        let finds = || {
            archive
                .asked()
                .into_iter()
                .filter(|line| line.starts_with("find"))
        };
        assert_eq!(finds().count(), 0);
        // The twins: for a station, for a range of dates.
        archive.behave("1");
        for wanted in [
            at((0x0040_0001, "WS1")),
            at((0x0040_0002, "20260101-20260131")),
        ] {
            let said = asked(&mut modality, 3, &find(2, WORKLIST), &wanted);
            assert_eq!(said, ["status FF00", "status 0000"]);
        }
        assert_eq!(finds().count(), 2);
        let log = gateway.log();
        assert!(!log.contains('\x1b') && !log.contains('\x07'), "{log}");
    });
}

/// Paths in codes, of characters that a code cannot have: a strict rule refuses, a standard one warns.
#[test]
fn attack_03_paths_in_codes_under_a_strict_rule() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        site.replace(QUERIES, &format!("profile = \"strict\"\n{QUERIES}"));
        let archive = Archive::start(lab, Archiving::Pynetdicom);
        archive.behave("1");
        let _gateway = Gateway::start(lab, &site);
        let desk = Device::connect(lab, &site, "desk-1", Place::Home1);
        let mut modality = dial(&desk, &asking(), "AC 0 0");
        let at = |key: (u32, &str)| [keys(&[PATIENT]), scheduled(&[key])].concat();
        for key in [(0x0008_0060, "../../x"), (0x0008_0060, "C:\\x")] {
            let said = asked(&mut modality, 3, &find(1, WORKLIST), &at(key));
            assert_eq!(said, ["status C000"], "{key:?}");
        }
        for key in [(0x0040_0001, "WS1"), (0x0008_0060, "US")] {
            let said = asked(&mut modality, 3, &find(2, WORKLIST), &at(key));
            assert_eq!(said, ["status FF00", "status 0000"], "{key:?}");
        }
    });
}

/// More results than the rule lets through, from an archive that was asked a right question.
#[test]
fn attack_13_more_results_than_allowed() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        site.replace(
            QUERIES,
            "dicom = { allow = [\"C-ECHO\", \"C-FIND\"], query = { max_results = 3 } }",
        );
        let archive = Archive::start(lab, Archiving::Pynetdicom);
        let _gateway = Gateway::start(lab, &site);
        let desk = Device::connect(lab, &site, "desk-1", Place::Home1);
        let mut modality = dial(&desk, &asking(), "AC 0 0");
        let (set, wanted) = (find(1, FIND), keys(&[LEVEL, PATIENT]));
        for (brings, last) in [
            ("3", "status 0000"),
            ("4", "status A700"),
            ("400", "status A700"),
            ("1", "status 0000"),
        ] {
            archive.behave(brings);
            let said = asked(&mut modality, 1, &set, &wanted);
            let (end, results) = said.split_last().unwrap();
            assert_eq!(end, last, "{brings}");
            assert_eq!(
                results.len(),
                brings.parse::<usize>().unwrap().min(3),
                "{brings}"
            );
        }
    });
}

/// An archive that gives paths as names: DCMTK `getscu` makes file names of what comes.
#[test]
fn attack_02_paths_that_come_back() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        site.replace(QUERIES, "dicom = { allow = [\"C-ECHO\", \"C-GET\"] }");
        let archive = Archive::start(lab, Archiving::Pynetdicom);
        let _gateway = Gateway::start(lab, &site);
        let images = Images::make(lab);
        let us = Device::connect(lab, &site, "us-07", Place::Home2);
        let desk = Device::connect(lab, &site, "desk-1", Place::Clinician);
        let said = us.modality("store", "US07", "PACS1", &images.path("us.dcm"));
        assert!(said.out.contains("status 0000"), "{}", said.all());
        assert!(archive.wait_for(1).len() <= 2);
        let folder = lab.folder("got");
        let study = format!("{}.2.1", e2e::modality::ROOT);
        let said = desk.getscu("DESK1", "PACS1", &folder, &study);
        let brought = archive
            .asked()
            .into_iter()
            .filter(|line| line.starts_with("brings"));
        assert_eq!(brought.count(), 5, "{}", said.all());
        let got: Vec<_> = std::fs::read_dir(&folder).unwrap().flatten().collect();
        assert_eq!(got.len(), 1, "{got:?} {}", said.all());
        let name = got[0].file_name().to_string_lossy().into_owned();
        assert!(
            name.contains(&format!("{}.1.", e2e::modality::ROOT)),
            "{name}"
        );
    });
}

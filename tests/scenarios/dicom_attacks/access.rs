//! Attacks by those who may speak: asking for everything, sending it elsewhere, changing it on the way.

use e2e::modality::{
    IMPLICIT, Modality, Request, VERIFICATION, command, store, text, title, us, with,
};
use e2e::{Archive, Archiving, Device, Gateway, Lab, PACS, Place, Site, Watch, wait};

pub(super) const FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";
const MOVE: &str = "1.2.840.10008.5.1.4.1.2.2.2";

/// An identifier in implicit VR little endian.
pub(super) fn keys(elements: &[(u32, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (tag, value) in elements {
        let [a, b, c, d] = tag.to_be_bytes();
        bytes.extend([b, a, d, c]);
        let value = text(value);
        bytes.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        bytes.extend(value);
    }
    bytes
}

/// A C-FIND-RQ.
pub(super) fn find(id: u16, class: &str) -> Vec<u8> {
    let mut set = with(store(id, class, "1.2"), 0x0100, us(0x0020));
    set.retain(|(element, _)| *element != 0x1000);
    command(&with(set, 0x0800, us(1)))
}

/// Everything of everybody, by query and by retrieval; and a destination that is not in the rule.
#[test]
fn attack_13_bulk_exfiltration() {
    const LEVEL: (u32, &str) = (0x0008_0052, "STUDY");
    Lab::run(|lab| {
        let site = Site::standard(lab);
        site.replace(
            "dicom = { allow = [\"C-ECHO\", \"C-FIND\"] }",
            "dicom = { allow = [\"C-ECHO\", \"C-FIND\", \"C-MOVE\"], move_destinations = [\"STORE2\"], query = { require = [\"PatientID\"] } }",
        );
        let archive = Archive::start(lab, Archiving::Dcmqrscp);
        let _gateway = Gateway::start(lab, &site);
        let desk = Device::connect(lab, &site, "desk-1", Place::Home1);
        let mut request = Request::new(&[
            (1, FIND, &[IMPLICIT]),
            (3, MOVE, &[IMPLICIT]),
            (5, VERIFICATION, &[IMPLICIT]),
        ]);
        request.calling = title("DESK1");
        let dial = || {
            let to = (PACS, 104).into();
            let mut modality =
                Modality::new(desk.tcp_within(to, wait::SOON).expect("a connection"));
            assert_eq!(modality.associate(&request), "AC 0 0 0");
            modality
        };
        let moves = |id, to: &str| {
            let mut set = with(store(id, MOVE, "1.2"), 0x0100, us(0x0021));
            set.retain(|(element, _)| *element != 0x1000);
            command(&with(with(set, 0x0800, us(1)), 0x0600, text(to)))
        };
        let mut modality = dial();
        let watch = Watch::start(lab, Place::Hospital, "eth0");
        for (what, wanted) in [
            ("no key", vec![LEVEL]),
            ("an empty key", vec![LEVEL, (0x0010_0020, "")]),
            ("a wildcard", vec![LEVEL, (0x0010_0020, "*")]),
            ("many wildcards", vec![LEVEL, (0x0010_0020, "*?*")]),
            (
                "another key",
                vec![LEVEL, (0x0010_0010, "*"), (0x0020_000d, "")],
            ),
        ] {
            let said = modality.ask_in(1, &find(1, FIND), Some(&keys(&wanted)));
            assert!(
                said.starts_with("status A9") || said.starts_with("status C"),
                "{what}: {said}"
            );
            let said = modality.ask_in(3, &moves(2, "STORE2"), Some(&keys(&wanted)));
            assert!(
                said.starts_with("status A9") || said.starts_with("status C"),
                "{what}: {said}"
            );
        }
        for rogue in ["ROGUE", "OTHER"] {
            let named = keys(&[LEVEL, (0x0010_0020, "4711")]);
            assert_eq!(
                modality.ask_in(3, &moves(3, rogue), Some(&named)),
                "status A801"
            );
        }
        assert_eq!(
            watch.stop().payload_to((PACS, 104).into()),
            0,
            "bytes to the archive"
        );
        // One patient is a question.
        let named = keys(&[LEVEL, (0x0010_0020, "4711")]);
        assert_eq!(
            modality.ask_in(1, &find(4, FIND), Some(&named)),
            "status 0000"
        );
        assert!(archive.stored().is_empty());
    });
}

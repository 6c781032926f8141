//! The journal: it tells the story, shows every tampering, and contains nothing of a patient.

use std::path::PathBuf;

use e2e::{Clinic, Lab, Site, hl7, lazaret, leaks, text};

/// A gateway that forwarded two messages, refused one and stopped; its journal.
fn story(lab: &Lab) -> (Site, PathBuf) {
    let Clinic {
        site,
        gateway,
        his,
        ecg,
        ..
    } = Clinic::open(lab);
    let mut client = ecg.mllp(his.address());
    assert_eq!(client.exchange(&hl7::oru("J1")).code, "AA");
    assert_eq!(client.exchange(&hl7::oru_from("NOT|MINE", "J2")).code, "AR");
    assert_eq!(client.exchange(&hl7::oru("J3")).code, "AA");
    drop(client);
    gateway.wait_for_record("connection-closed", |_| true);
    assert_eq!(leaks(&gateway, &hl7::CANARIES), [""; 0]);
    assert!(gateway.stop().success());
    let folder = site.state().join("audit");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .collect();
    files.sort();
    let last = files.pop().unwrap();
    (site, last)
}

//= C8
#[test]
fn the_journal_tells_the_story() {
    Lab::run(|lab| {
        let (site, file) = story(lab);
        let said = lazaret(lab, &site, &["audit", "verify"]).ok();
        assert!(!said.out.trim().is_empty());
        let journal = std::fs::read_to_string(file).unwrap();
        let events: Vec<String> = journal
            .lines()
            .map(|line| text(&serde_json::from_str(line).unwrap(), "event").to_owned())
            .collect();
        let mut rest = events.iter();
        for expected in [
            "gateway-started",
            "tunnel-up",
            "connection-opened",
            "decision",
            "decision",
            "connection-closed",
            "gateway-stopped",
        ] {
            assert!(
                rest.any(|event| event == expected),
                "{expected} is not in its place: {events:?}"
            );
        }
        let tail = lazaret(lab, &site, &["audit", "tail"]).ok();
        assert!(
            tail.out.contains("ecg-0042") && tail.out.contains("refused"),
            "{}",
            tail.out
        );
    });
}

/// Each way to tamper with it, and its twin: untouched, it verifies.
#[test]
fn tampering_shows() {
    Lab::run(|lab| {
        let (site, file) = story(lab);
        let whole = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = whole.split_inclusive('\n').collect();
        let middle = lines.len() / 2;
        let mut removed = lines.clone();
        removed.remove(middle);
        let mut swapped = lines.clone();
        swapped.swap(middle, middle + 1);
        let mut doubled = lines.clone();
        doubled.insert(middle, lines[middle]);
        let cases = [
            ("a changed word", whole.replacen("refused", "forwarded", 1)),
            ("a removed record", removed.concat()),
            ("two records exchanged", swapped.concat()),
            ("a record twice", doubled.concat()),
            ("the end cut off", lines[..lines.len() - 1].concat()),
            (
                "half a record at the end",
                whole[..whole.len() - 20].to_owned(),
            ),
            ("the beginning cut off", lines[1..].concat()),
            ("nothing", String::new()),
        ];
        for (what, text) in cases {
            std::fs::write(&file, text).unwrap();
            let said = lazaret(lab, &site, &["audit", "verify"]);
            assert_ne!(said.code, 0, "{what} was not noticed: {}", said.all());
            assert_ne!(said.code, 101, "{what}: {}", said.all());
        }
        std::fs::write(&file, &whole).unwrap();
        let _ = lazaret(lab, &site, &["audit", "verify"]).ok();
    });
}

#[test]
fn files_are_not_readable_by_others() {
    use std::os::unix::fs::PermissionsExt;
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        for (path, _) in clinic.gateway.written() {
            let Ok(meta) = std::fs::metadata(&path) else {
                continue;
            };
            let mode = meta.permissions().mode() & 0o007;
            assert_eq!(mode, 0, "{} can be read by everybody", path.display());
        }
    });
}

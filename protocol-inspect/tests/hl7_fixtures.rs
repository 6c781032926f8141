//! Every file of `tests/hl7` gets its verdict; the snapshots are the specification of what we say.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use protocol_inspect::hl7::{Profile, inspect_offline};
use protocol_inspect::{Refusal, Report};

#[test]
fn accepts_what_is_right() {
    insta::assert_snapshot!(verdicts("accept", &Profile::standard(), |report| {
        report.refusal.is_none()
    }));
}

#[test]
fn refuses_what_is_wrong() {
    insta::assert_snapshot!(verdicts("refuse", &Profile::standard(), |report| {
        report.refusal.is_some()
    }));
}

#[test]
fn the_strict_profile_refuses_what_the_standard_refuses() {
    insta::assert_snapshot!(verdicts("accept", &Profile::strict(), |_| true));
}

#[test]
fn a_stream_of_frames_gets_a_verdict_each() {
    let good = fixture(&directory("accept").join("oru-r01.hl7"));
    let bad = fixture(&directory("refuse").join("msh7-dashes.hl7"));
    let mut stream = Vec::new();
    for message in [&good, &bad, &good] {
        stream.push(0x0b);
        stream.extend_from_slice(message);
        stream.extend_from_slice(b"\x1c\r");
    }
    let said = |stream: &[u8]| -> Vec<String> {
        inspect_offline(stream, true, &Profile::standard())
            .iter()
            .map(line)
            .collect()
    };
    let mut all = said(&stream);
    stream.truncate(stream.len() - 1);
    all.extend(said(&stream).last().cloned());
    stream.extend_from_slice(b"\rGET /");
    all.extend(said(&stream).last().cloned());
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn verdicts_do_not_quote_the_message() {
    for directory_name in ["accept", "refuse"] {
        for path in files(directory_name) {
            let reports = inspect_offline(&fixture(&path), false, &Profile::strict());
            let said = format!("{reports:?}");
            for value in ["ANNA", "4711", "HEART", "19700101", "KLINGON"] {
                assert!(!said.contains(value), "{}: {value}", path.display());
            }
        }
    }
}

fn verdicts(name: &str, profile: &Profile, right: impl Fn(&Report) -> bool) -> String {
    let mut out = String::new();
    for path in files(name) {
        let stem = path.file_stem().unwrap_or_default().display();
        for report in inspect_offline(&fixture(&path), false, profile) {
            writeln!(out, "{stem}: {}", line(&report)).unwrap();
            assert!(right(&report), "{stem}: {}", line(&report));
        }
    }
    out
}

fn line(report: &Report) -> String {
    let say =
        |reason: &str, location: &str, detail: &str| format!("[{reason}] {location}: {detail}");
    let mut line = format!("{} ", report.kind);
    match &report.refusal {
        None => line.push_str("accept"),
        Some(Refusal {
            reason,
            location,
            detail,
        }) => line.push_str(&say(reason.code(), location, detail)),
    }
    for warning in &report.warnings {
        line.push_str("; warning ");
        line.push_str(&say(
            warning.reason.code(),
            &warning.location,
            &warning.detail,
        ));
    }
    line
}

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/hl7")
        .join(name)
}

fn files(name: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

/// Turns the text form of a fixture into bytes (see `tests/hl7/README.md`).
fn fixture(path: &Path) -> Vec<u8> {
    let text = std::fs::read(path).unwrap();
    let mut bytes = Vec::new();
    let mut rest = text.as_slice();
    while let Some((&first, others)) = rest.split_first() {
        rest = others;
        match (first, others) {
            (b'\n', _) => bytes.push(b'\r'),
            (b'<', [high, low, b'>', after @ ..]) => {
                let digits = String::from_utf8(vec![*high, *low]).unwrap();
                bytes.push(u8::from_str_radix(&digits, 16).unwrap());
                rest = after;
            }
            _ => bytes.push(first),
        }
    }
    bytes
}

//! Replays what the fuzzer found worth keeping: the same invariants, no fuzzer needed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking"
)]

#[path = "../fuzz/targets/dicom_invariants.rs"]
mod dicom_invariants;

use std::path::Path;

fn replay(target: &str, hold: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        hold(&std::fs::read(&path).unwrap());
        inputs += 1;
    }
    assert!(inputs >= 20, "{target}: {inputs}");
}

#[test]
fn streams() {
    replay("dicom_stream", dicom_invariants::stream);
}

#[test]
fn dialogues() {
    replay("dicom_dialogue", dicom_invariants::dialogue);
}

#[test]
fn data_sets() {
    replay("dicom_data_set", dicom_invariants::data_set);
}

#[test]
fn files() {
    replay("dicom_file", dicom_invariants::file);
}

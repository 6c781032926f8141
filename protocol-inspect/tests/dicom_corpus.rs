//! Files that somebody else made, from outside of the repository: what is refused is printed and must be known.
//!
//! `LAZARET_CORPUS` names the folder (default `../shared/corpus` beside the project);
//! pydicom's own test files are looked at too when Python finds the package.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    reason = "tests are tables, fail by panicking and say what they skip"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use protocol_inspect::Base;
use protocol_inspect::dicom::inspect_offline;

#[test]
fn corpus() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let corpus = std::env::var_os("LAZARET_CORPUS")
        .map_or_else(|| project.join("../shared/corpus"), PathBuf::from)
        .join("dicom");
    if !corpus.is_dir() {
        println!(
            "no corpus at {}: set LAZARET_CORPUS to judge its files",
            corpus.display()
        );
        return;
    }
    let refused = judge(&corpus);
    println!("{refused:#?}");
    // Behind its deflated stream stands what ends gzip, a checksum and a length;
    // the other one has neither patient, study nor series.
    let known = ["image_dfl.dcm", "SC_rgb_jls_lossy_line.dcm"];
    let unknown = refused
        .values()
        .flatten()
        .filter(|name| !known.contains(&name.as_str()));
    assert_eq!(unknown.count(), 0, "look at each: is it really wrong?");
}

#[test]
fn files_of_pydicom() {
    let script = "import pydicom, os; print(os.path.dirname(pydicom.__file__))";
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers/bin/python");
    assert!(
        python.exists(),
        "pydicom is missing: please run tests/setup"
    );
    let output = Command::new(python).args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let package = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let data = package.join("data");
    assert!(data.exists(), "{}", data.display());
    let refused = judge(&data);
    println!("{refused:#?}");
    let unknown = refused
        .values()
        .flatten()
        .filter(|name| !KNOWN_OF_PYDICOM.contains(&name.as_str()));
    assert_eq!(unknown.count(), 0, "look at each: is it really wrong?");
}

/// What pydicom tests its tolerance with. It warns of the value that is no integer in `badVR.dcm`, too.
const KNOWN_OF_PYDICOM: [&str; 22] = [
    // Not carried.
    "image_dfl.dcm",
    // Cut off.
    "MR_truncated.dcm",
    "no_meta.dcm",
    "rtplan_truncated.dcm",
    // Headers that are wrong, or none of DICOM.
    "DICOMDIR-nooffset",
    "README",
    "SC_rgb_jpeg.dcm",
    "meta_missing_tsyntax.dcm",
    "nested_priv_SQ.dcm",
    "winter.dcm",
    // No SOP class, or none of the UIDs of study and series: fragments of data sets that were never images.
    "JPEGLSNearLossless_08.dcm",
    "JPEGLSNearLossless_16.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_jls_lossy_sample.dcm",
    "UN_sequence.dcm",
    "chrSQEncoding.dcm",
    "chrSQEncoding1.dcm",
    "no_meta_group_length.dcm",
    "priv_SQ.dcm",
    // A code stream made up of bytes that look like a delimiter.
    "JPEG2000-embedded-sequence-delimiter.dcm",
    // Pixel data that is longer than the image.
    "MR_small_padded.dcm",
    // Letters where an integer must be: Number of Frames.
    "badVR.dcm",
];

/// Files by what is wrong with them under the standard profile.
fn judge(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let mut refused: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut accepted, mut folders) = (0, vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_some_and(|extension| extension != "dcm") {
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            for report in inspect_offline(&bytes, false, Base::Standard) {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                match report.refusal {
                    None => accepted += 1,
                    Some(refusal) => refused.entry(refusal.to_string()).or_default().push(name),
                }
            }
        }
    }
    println!("{accepted} accepted");
    refused
}

//! Replays what the fuzzer found worth keeping: the same invariants, no fuzzer needed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panicking"
)]

#[path = "../fuzz/targets/hl7_invariants.rs"]
mod invariants;

use std::path::Path;

#[test]
fn the_corpus_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/hl7");
    let mut inputs = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        invariants::hold(&std::fs::read(&path).unwrap());
        inputs += 1;
    }
    assert!(inputs >= 100, "{inputs}");
}

/// A message with each byte of it removed or replaced by one that matters.
#[test]
fn the_neighbours_of_a_message_hold() {
    let message = b"\x0bMSH|^~\\&|A|B|C|D|20260131||ORU^R01|1|P|2.5\rOBR|||1|A^B&C~\\F\\\rOBX|1|NM|1||2|||||F\r\x1c\r";
    for how in [1, 2_u8] {
        let input: Vec<u8> = std::iter::once(how).chain(*message).collect();
        invariants::hold(&input);
        for at in 1..input.len() {
            let mut shorter = input.clone();
            shorter.remove(at);
            invariants::hold(&shorter);
            for byte in *b"\x0b\x1c\r\n|^~\\&#\0\xff" {
                let mut other = input.clone();
                other[at] = byte;
                invariants::hold(&other);
            }
        }
    }
}

//! Any bytes: `dicom_invariants::dialogue`.
#![no_main]
#![allow(dead_code, reason = "the other targets use the rest")]

mod dicom_invariants;

libfuzzer_sys::fuzz_target!(|input: &[u8]| dicom_invariants::dialogue(input));

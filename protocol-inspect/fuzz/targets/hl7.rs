//! Any bytes as a stream of HL7 over MLLP.
#![no_main]

mod invariants;

libfuzzer_sys::fuzz_target!(|input: &[u8]| invariants::hold(input));

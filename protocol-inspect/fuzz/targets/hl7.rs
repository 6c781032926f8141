//! Any bytes as a stream of HL7 over MLLP.
#![no_main]

mod hl7_invariants;

libfuzzer_sys::fuzz_target!(|input: &[u8]| hl7_invariants::hold(input));

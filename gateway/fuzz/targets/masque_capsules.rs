//! Any bytes as capsules in a tunnel's stream.
#![no_main]
#![allow(dead_code, unused_imports, reason = "a part of the gateway, and of what holds for it")]

#[path = "../../src/masque/mod.rs"]
mod masque;
mod masque_invariants;

libfuzzer_sys::fuzz_target!(|input: &[u8]| masque_invariants::capsules(input));

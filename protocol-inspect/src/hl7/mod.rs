//! HL7 version 2 over MLLP.

mod policy;

pub use policy::{Policy, Profile, Rule};

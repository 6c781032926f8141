//! DICOM: upper layer (PS3.8), DIMSE (PS3.7) and data sets (PS3.5).

mod policy;

pub use policy::{Policy, Profile, Rule};

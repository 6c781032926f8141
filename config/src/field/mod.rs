//! Types of values, which check themselves while they are read.

pub(crate) mod basic;
pub(crate) mod database;
pub(crate) mod dicom;
pub(crate) mod dicom_rule;
pub(crate) mod document;
pub(crate) mod enrol;
pub(crate) mod hl7;
pub(crate) mod hours;
pub(crate) mod key;
pub(crate) mod machine;
pub(crate) mod net;
pub(crate) mod party;
pub(crate) mod path;
pub(crate) mod pki;
pub(crate) mod quantity;

//! Pure inspectors for HL7 v2 over MLLP and for DICOM.
//!
//! This crate decides whether bytes are what they claim to be.
//! In: bytes and the time at which they came.
//! Out: verdicts, and [`Permit`]s: the only values that a relay may forward.
//! It knows nothing of sockets, files, clocks, threads or processes, and everything in it is bounded by [`Limits`].
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::string_slice,
    reason = "the input is hostile"
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::string_slice,
        reason = "tests fail by panicking"
    )
)]

mod blob;
mod limits;
mod patients;
mod severity;
mod embedded;
mod verdict;
mod charset;
pub mod dicom;
pub mod hl7;

pub use limits::{LimitReached, Limits};
pub use patients::{Patients, patient_hash};
pub use severity::{Base, Severity};
pub use verdict::{Permit, Reason, Refusal, Report, Spoken, Warning};

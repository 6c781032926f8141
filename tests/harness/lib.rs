//! The laboratory of the end-to-end scenarios: a small world in network namespaces, with real peers.
//!
//! In: nothing but the tools that `tests/setup` installs. Out: [`Lab::run`], which gives a test a fresh world.
//! No privilege is needed: a test executes itself again inside new user, network, mount and process namespaces.
//! Everything in the world ends with the test, however it ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::must_use_candidate,
    clippy::missing_panics_doc,
    reason = "test equipment reads the clock and fails by panicking"
)]

mod appliance;
mod lab;
mod process;
mod site;
mod gateway;
mod device;
mod hospital;
mod sink;
mod dicom;
mod partner;
mod postgres;
mod wall;
mod watch;
mod clinic;
pub mod desk;
mod clinician;
pub mod hl7;
pub mod modality;
pub mod tunnel;
pub mod wait;

pub use appliance::Appliance;
pub use clinic::Clinic;
pub use clinician::{ClinicFile, Clinician};
pub use device::{Device, wan4, wan6};
pub use dicom::{Images, data_set, peer_program, peer_script};
pub use gateway::{Gateway, Said, lazaret, machine, memory, patient_hashes, text};
pub use hl7::fixture_path;
pub use hospital::{Archive, Archiving, His};
pub use lab::{CONSOLE, HIS, Lab, PACS, Place};
pub use partner::{Partner, hospital_calls, hospital_speaks_from};
pub use postgres::Postgres;
pub use process::{Output, Process};
pub use sink::{Behaviour, Sink, reset};
pub use site::Site;
pub use wall::WallClock;
pub use watch::{Watch, leaks};

//! Scenarios: what the gateway must do, shown on real traffic of real peers. One module a promise or plane.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "scenarios fail by panicking"
)]

mod world;
mod cli;
mod tunnel;
mod tunnel_hostile;
mod bad_configuration;
mod segmentation;
mod routing;
mod consoles;
mod hl7_path;
mod hl7_hostile;
mod hl7_hospital;
mod hl7_answers;
mod hl7_identity;
mod hl7_exchange;
mod hl7_attacks;
mod dicom_path;
mod dicom_hostile;
mod dicom_inside;
mod dicom_hospital;
mod dicom_retrieve;
mod dicom_attacks;
mod dicom_inward;
mod audit;
mod canary;
mod containment;
mod break_glass;
mod clock;
mod registry;
mod registry_disk;
mod clock_steps;
mod behaviour;
mod resilience;
mod relays;
mod traffic;
mod crowd;
mod pressure;
mod sandbox;
mod health;
mod quic;
mod quic_hostile;
mod certified;
mod connect;
mod connect_peer;
mod connect_refused;
mod connect_renewed;
mod roaming;

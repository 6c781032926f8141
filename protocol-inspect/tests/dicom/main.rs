//! DICOM inspection from outside: tables of accepted and refused bytes, and properties.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    reason = "tests are tables, fail by panicking and say what they skip"
)]

mod bounds;
mod build;
mod association;
mod command;
mod data_set;
mod documents;
mod elements;
mod message;
mod normalized;
mod pixels;
mod object;
mod properties;
mod tree;
mod rules;
mod transaction;
mod upper_layer;
mod values;
mod walk;

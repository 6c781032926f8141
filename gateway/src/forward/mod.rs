//! The relay: pumps what the inspectors approved, and nothing else.

pub mod message;

//! Who is known, and how they stand.
//!
//! The configuration says who exists; what operators decided about them at run time is kept here
//! and outlives restarts and changes of the configuration.

pub mod standing;

pub use standing::{Entry, Registry, RegistryError};

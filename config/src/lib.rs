//! The configuration of a Lazaret gateway.
//!
//! In: `lazaret.toml` and `conf.d/*.toml`. Out: a [`Config`] that is right, or errors with file, line, column and caret.
//! Knows nothing of what a running gateway does with it.

mod name;
mod model;

pub use model::*;
pub use name::{DeviceName, ProfileName, RoleName, RuleName, ServiceName};

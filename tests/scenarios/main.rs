//! Scenarios: what the gateway must do, shown on real traffic of real peers. One module a promise or plane.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "scenarios fail by panicking"
)]

mod world;

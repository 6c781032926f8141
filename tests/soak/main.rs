//! What takes minutes: attacks, a crowd of devices, a database that is away for long, renewals.
//!
//! `tests/soak/run` runs it, with a gateway that was built for speed, and shows what was measured.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "scenarios fail by panicking and print what they measured"
)]

mod attacks;
mod crowd;
mod database;
mod enrolments;
mod renewals;

use std::time::Duration;

/// How long a story goes on that has no end of its own.
fn length() -> Duration {
    let minutes = std::env::var("SOAK_MINUTES").map_or(10, |text| text.parse().unwrap());
    Duration::from_secs(60 * minutes)
}

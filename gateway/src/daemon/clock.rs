//! The one place where the clocks are read.
//!
//! Everything else gets the time as an argument or through the [`Clock`] trait.
#![expect(
    clippy::disallowed_methods,
    reason = "this is where the clocks are read"
)]

use std::time::Instant;

use jiff::Timestamp;

use crate::flow::Clock;

/// The clocks of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}

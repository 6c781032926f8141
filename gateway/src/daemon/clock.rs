//! The one place where the clocks are read.
//!
//! Everything else gets the time as an argument or through the [`Clock`] trait.
#![expect(
    clippy::disallowed_methods,
    reason = "this is where the clocks are read"
)]

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::flow::Clock;

/// The clocks of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    /// Since the machine was started, also while it slept, and which start of it that was.
    #[must_use]
    pub fn boot(self) -> (Duration, String) {
        let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let up = Duration::try_from(up).unwrap_or_default();
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        (up, boot.unwrap_or_default().trim().to_owned())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}

//! How fast messages that come to nothing are dealt with.
//!
//! A refusal or a repetition costs the destination nothing, so no rate of a rule holds it back,
//! but each is a record: without a bound one device could fill the journal, and a journal that cannot be written
//! stops all others. A few hundred pass at once, as after a long outage; then the device waits.

use std::time::{Duration, Instant};

/// The pace of one connection.
pub(super) struct Pace {
    /// When everything until now is paid for, less the burst.
    ready_at: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        let ready_at = credited(now);
        Self { ready_at }
    }

    /// One more message came to nothing.
    //= C7
    pub(super) fn charge(&mut self, now: Instant) {
        self.ready_at = self.ready_at.max(credited(now)) + EACH;
    }

    /// From when on the next message may be dealt with.
    pub(super) fn ready_at(&self) -> Instant {
        self.ready_at
    }
}

/// A machine that just started may have no instant so early; then there is less credit.
fn credited(now: Instant) -> Instant {
    now.checked_sub(EACH * BURST).unwrap_or(now)
}

/// The time between two messages in the long run.
const EACH: Duration = Duration::from_millis(50);
/// Messages that may come to nothing at once.
const BURST: u32 = 256;

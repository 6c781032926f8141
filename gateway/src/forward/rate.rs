//! How often a subject may send: token buckets, shared by all connections of the subject.
//!
//! In: a subject, its rate and the time. Out: one token, or when to come back.
//! Knows nothing of connections or messages. A subject that disconnects keeps its bucket.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::inspect::Rate;

/// The buckets of all subjects.
///
/// A bucket is the instant at which it will be full again; that one value says everything.
#[derive(Debug)]
pub struct Rates {
    full_at: HashMap<u64, Instant>,
    capacity: usize,
}

impl Rates {
    /// Room for the buckets of so many subjects.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            full_at: HashMap::new(),
            capacity: capacity.max(1),
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// The instant at which one more try makes sense.
    pub fn take(&mut self, subject: u64, rate: Rate, now: Instant) -> Result<(), Instant> {
        if rate.messages == 0 {
            return Err(now + period(rate));
        }
        if !self.full_at.contains_key(&subject) && !self.make_room(now) {
            return Err(now + RETRY);
        }
        let (interval, depth) = shape(rate);
        // A stricter rate after an update must not be waited for longer than its own bucket is deep.
        let full_at = self.full_at.entry(subject).or_insert(now);
        let behind = full_at.saturating_duration_since(now).min(depth);
        let after = behind + interval;
        if after > depth {
            *full_at = now + behind;
            return Err(now + (after - depth));
        }
        *full_at = now + after;
        Ok(())
    }

    /// A full bucket says no more than no bucket, so those go first.
    //= C7
    fn make_room(&mut self, now: Instant) -> bool {
        if self.full_at.len() >= self.capacity {
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        self.full_at.len() < self.capacity
    }
}

/// The time that one token takes to come back, and the time that an empty bucket takes to fill.
fn shape(rate: Rate) -> (Duration, Duration) {
    let interval = period(rate) / rate.messages.max(1);
    (interval, interval.saturating_mul(rate.burst.max(1)))
}

/// Longer periods say nothing more, and instants could not be added to.
fn period(rate: Rate) -> Duration {
    Duration::from_millis(rate.per_ms.clamp(1, 366 * 86_400_000))
}

/// When a subject without a bucket may try again.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests begin now")]
    use super::*;

    const TWO_A_SECOND: Rate = Rate {
        messages: 2,
        per_ms: 1_000,
        burst: 3,
    };

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let (mut rates, now) = (Rates::new(8), Instant::now());
        for _ in 0..3 {
            assert_eq!(rates.take(1, TWO_A_SECOND, now), Ok(()));
        }
        let again = now + Duration::from_millis(500);
        assert_eq!(rates.take(1, TWO_A_SECOND, now), Err(again));
        assert_eq!(rates.take(1, TWO_A_SECOND, again), Ok(()));
        assert!(rates.take(1, TWO_A_SECOND, again).is_err());
    }

    #[test]
    fn the_long_run_is_the_rate() {
        let (mut rates, start) = (Rates::new(8), Instant::now());
        let granted = (0..10_000)
            .filter(|ms| {
                let now = start + Duration::from_millis(*ms);
                rates.take(1, TWO_A_SECOND, now).is_ok()
            })
            .count();
        assert_eq!(granted, 20 + 2);
    }

    #[test]
    fn subjects_do_not_share() {
        let (mut rates, now) = (Rates::new(8), Instant::now());
        while rates.take(1, TWO_A_SECOND, now).is_ok() {}
        assert_eq!(rates.take(2, TWO_A_SECOND, now), Ok(()));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_only_full_buckets() {
        let (mut rates, now) = (Rates::new(2), Instant::now());
        rates.take(1, TWO_A_SECOND, now).unwrap();
        rates.take(2, TWO_A_SECOND, now).unwrap();
        assert!(rates.take(3, TWO_A_SECOND, now).is_err());
        let later = now + Duration::from_secs(2);
        assert_eq!(rates.take(3, TWO_A_SECOND, later), Ok(()));
        assert_eq!(rates.full_at.len(), 1);
    }

    #[test]
    fn a_stricter_rate_holds_at_once_and_no_rate_passes_nothing() {
        let (mut rates, now) = (Rates::new(2), Instant::now());
        let slow = Rate {
            messages: 1,
            per_ms: 3_600_000,
            burst: 100,
        };
        while rates.take(1, slow, now).is_ok() {}
        let again = rates.take(1, TWO_A_SECOND, now).unwrap_err();
        assert_eq!(again - now, Duration::from_millis(500));
        let never = Rate {
            messages: 0,
            ..TWO_A_SECOND
        };
        assert!(rates.take(2, never, now).is_err());
    }
}

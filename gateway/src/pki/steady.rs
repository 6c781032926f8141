//! Whether the wall clock can be believed enough to let go of something for ever.
//!
//! In: both clocks. Out: yes, when the wall clock went as the other one for a day. A clock that stepped ahead, and will
//! step back, must not make the gateway forget what was revoked.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::validity::later;

/// Since when the wall clock goes as the other one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steady {
    begun: Option<(Instant, Timestamp)>,
}

impl Steady {
    /// Looks at both clocks.
    pub fn look(&mut self, now: Instant, wall: Timestamp) -> bool {
        let (begun, wall_then) = *self.begun.get_or_insert((now, wall));
        let elapsed = now.saturating_duration_since(begun);
        let expected = later(wall_then, elapsed);
        let off = wall.duration_since(expected).unsigned_abs();
        if off > TOLERANCE {
            self.begun = Some((now, wall));
            return false;
        }
        elapsed >= LONG_ENOUGH
    }
}

/// Clocks are corrected a little all the time.
const TOLERANCE: Duration = Duration::from_mins(5);
const LONG_ENOUGH: Duration = Duration::from_hours(24);

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make up their time")]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_steps_is_believed_a_day_later() {
        let start = Instant::now();
        let wall: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let mut steady = Steady::default();
        let mut look = |hours: u64, step: i64| {
            let elapsed = Duration::from_hours(hours);
            let wall = later(wall, elapsed) + jiff::SignedDuration::from_secs(step);
            steady.look(start + elapsed, wall)
        };
        assert!(!look(0, 0) && !look(23, 0));
        assert!(look(24, 0) && look(25, 240), "a small correction");
        let day = 86_400;
        assert!(!look(26, day), "a step ahead");
        assert!(!look(49, day));
        assert!(look(50, day));
        assert!(!look(51, 0), "and back");
        assert!(!look(74, 0));
        assert!(look(75, 0));
    }
}

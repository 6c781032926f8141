//! The time as the registry sees it, which does not go back.
//!
//! In: both clocks. Out: the time that counts when something ends. What ended once does not begin again because the wall
//! clock steps back; but a clock that stepped ahead for a while, and back, ends nothing for good. Pure.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// The earliest time that it can be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    floor: Timestamp,
    begun: Option<(Instant, Timestamp)>,
}

impl Floor {
    /// It was so late before.
    pub(super) fn new(floor: Option<Timestamp>) -> Self {
        Self {
            floor: floor.unwrap_or(Timestamp::UNIX_EPOCH),
            begun: None,
        }
    }

    /// Looks at both clocks.
    pub(super) fn look(&mut self, now: Instant, wall: Timestamp) {
        let (begun, then) = *self.begun.get_or_insert((now, wall));
        let elapsed = now.saturating_duration_since(begun);
        let expected = SignedDuration::try_from(elapsed).and_then(|by| then.checked_add(by));
        let off = expected.map_or(Duration::MAX, |at| wall.duration_since(at).unsigned_abs());
        if off > TOLERANCE {
            self.begun = Some((now, wall));
        } else if elapsed >= LONG_ENOUGH {
            self.floor = self.floor.max(wall);
        }
    }

    /// The time that counts.
    pub(super) fn time(&self, wall: Timestamp) -> Timestamp {
        self.floor.max(wall)
    }

    /// What is to be remembered beyond a restart.
    pub(super) fn floor(&self) -> Timestamp {
        self.floor
    }
}

/// Clocks are corrected a little all the time.
const TOLERANCE: Duration = Duration::from_mins(5);
/// A wall clock that went as the other one for so long is believed.
const LONG_ENOUGH: Duration = Duration::from_hours(1);

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make up their time")]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_go_back_and_a_blunder_ahead_is_forgiven() {
        let begin = Instant::now();
        let start = Timestamp::from_second(1_700_000_000).unwrap();
        let wall = |minutes: i64| start + SignedDuration::from_mins(minutes);
        let mut floor = Floor::new(None);
        let mut look = |minutes: u64, by_the_wall: i64| {
            floor.look(begin + Duration::from_mins(minutes), wall(by_the_wall));
            floor.time(wall(by_the_wall))
        };
        assert_eq!(look(0, 0), wall(0));
        assert_eq!(look(59, 59), wall(59));
        assert_eq!(look(59, 30), wall(30), "nobody knows yet which is right");
        assert_eq!(look(118, 89), wall(89));
        assert_eq!(look(119, 90), wall(90));
        let day = 24 * 60;
        assert_eq!(look(120, 90 - day), wall(90), "a day back");
        assert_eq!(look(121, 91 + day), wall(91 + day), "a day ahead");
        assert_eq!(look(122, 92), wall(92), "and back");
        assert_eq!(look(123, 50), wall(90));
        let again = Floor::new(Some(floor.floor()));
        assert_eq!(again.time(start), wall(90), "after a restart");
    }
}

//! How long to wait before the next attempt.
//!
//! In: how the last one ended, and chance. Out: a duration. Knows no clock.

use std::time::Duration;

/// The first pause, and the longest after silence.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// After a no, of a person or of a certificate.
const AFTER_NO: Duration = Duration::from_secs(300);
/// A tunnel that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(30);

/// Doubles from attempt to attempt, with up to half of it left to chance, so that a thousand clients do not come back at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    next: Duration,
}

impl Default for Pause {
    fn default() -> Self {
        Self { next: SHORTEST }
    }
}

impl Pause {
    /// After an attempt that gave a tunnel for so long. `chance` is any number, anew each time.
    pub fn after(&mut self, lasted: Duration, is_final: bool, chance: u64) -> Duration {
        if lasted >= GOOD {
            self.next = SHORTEST;
        }
        let whole = if is_final { AFTER_NO } else { self.next };
        self.next = self.next.saturating_mul(2).min(LONGEST);
        let half = whole / 2;
        let span = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_millis(chance.checked_rem(span).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_begin_anew() {
        let mut pause = Pause::default();
        let seconds: Vec<_> = (0..9)
            .map(|_| {
                pause
                    .after(Duration::ZERO, false, u64::MAX / 2)
                    .as_secs_f64()
            })
            .collect();
        let upper = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0];
        for (found, upper) in seconds.into_iter().zip(upper) {
            assert!((upper / 2.0..=upper).contains(&found), "{found} of {upper}");
        }
        assert!(pause.after(Duration::ZERO, true, 0) >= Duration::from_secs(150));
        let fresh = pause.after(Duration::from_secs(31), false, 0);
        assert_eq!(fresh, Duration::from_millis(500));
        // Chance spreads over the second half.
        let spread = |chance| Pause::default().after(Duration::ZERO, false, chance);
        assert_eq!(
            (spread(0), spread(499)),
            (Duration::from_millis(500), Duration::from_millis(999))
        );
    }
}

//! Unpredictable numbers from one seed, so that tests can repeat them.
//!
//! In: 32 bytes of entropy, once. Out: numbers nobody can predict without them.

use std::time::Duration;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// SHA-256 of the seed and a counter.
pub struct Chance {
    seed: Zeroizing<[u8; 32]>,
    drawn: u64,
}

impl Chance {
    /// Begins with a seed.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            seed: Zeroizing::new(seed),
            drawn: 0,
        }
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.drawn = self.drawn.wrapping_add(1);
        let digest = Sha256::new()
            .chain_update(self.seed.as_slice())
            .chain_update(self.drawn.to_le_bytes())
            .finalize();
        digest.first_chunk().copied().map_or(0, u64::from_le_bytes)
    }

    /// A duration below `bound`, in whole milliseconds.
    pub fn below(&mut self, bound: Duration) -> Duration {
        let bound = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.draw().checked_rem(bound).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_with_the_seed_and_stays_below_the_bound() {
        let draw = |seed| {
            let mut chance = Chance::new([seed; 32]);
            (0..50)
                .map(|_| chance.below(Duration::from_secs(5)))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(1).iter().all(|d| *d < Duration::from_secs(5)));
        assert_eq!(Chance::new([0; 32]).below(Duration::ZERO), Duration::ZERO);
    }
}

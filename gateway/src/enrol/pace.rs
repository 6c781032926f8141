//! How often somebody may bring a wrong token: counted by where they are.
//!
//! In: sources, failures and time. Out: whether one may try. Pure and bounded.
//! Who brings good tokens is never slowed down, but for what others at the same place did wrong.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Failures by source.
#[derive(Debug, Default)]
pub(super) struct Pace {
    sources: BTreeMap<IpAddr, Failures>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    /// Of the first of them.
    since: Instant,
}

impl Pace {
    /// Whether somebody there may try.
    pub(super) fn may_try(&self, source: IpAddr, now: Instant) -> bool {
        let failures = self.sources.get(&neighbourhood(source));
        failures.is_none_or(|one| one.is_over(now) || one.count < MOST_FAILURES)
    }

    /// Somebody there brought a wrong token. True if that was the last that is heard for now.
    pub(super) fn failed(&mut self, source: IpAddr, now: Instant) -> bool {
        let source = neighbourhood(source);
        if !self.sources.contains_key(&source) && self.sources.len() >= MOST_SOURCES {
            self.make_room(now);
        }
        let fresh = Failures {
            count: 0,
            since: now,
        };
        let failures = self.sources.entry(source).or_insert(fresh);
        if failures.is_over(now) {
            *failures = fresh;
        }
        failures.count = failures.count.saturating_add(1);
        failures.count == MOST_FAILURES
    }

    /// Those that are over go, or else whoever failed least and longest ago.
    fn make_room(&mut self, now: Instant) {
        self.sources.retain(|_, failures| !failures.is_over(now));
        if self.sources.len() < MOST_SOURCES {
            return;
        }
        let least = self.sources.iter().min_by_key(|(_, f)| (f.count, f.since));
        if let Some(source) = least.map(|(source, _)| *source) {
            self.sources.remove(&source);
        }
    }
}

impl Failures {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= WINDOW
    }
}

/// Whoever has one address of IPv6 has all of its /64.
pub(super) fn neighbourhood(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Wrong tokens from one source in a window.
//= C7
const MOST_FAILURES: u32 = 20;
const WINDOW: Duration = Duration::from_mins(10);
/// Sources that are remembered.
//= C7
const MOST_SOURCES: usize = 4096;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make up their time")]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_guesses_waits_and_others_do_not() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let (guesser, other) = (address("198.51.100.7"), address("198.51.100.8"));
        for count in 1..=MOST_FAILURES {
            assert!(pace.may_try(guesser, start));
            assert_eq!(pace.failed(guesser, start), count == MOST_FAILURES);
        }
        assert!(!pace.may_try(guesser, start) && pace.may_try(other, start));
        assert!(!pace.may_try(address("::ffff:198.51.100.7"), start));
        let almost = start + WINDOW - Duration::from_secs(1);
        assert!(!pace.may_try(guesser, almost) && pace.may_try(guesser, start + WINDOW));
        assert!(!pace.failed(guesser, start + WINDOW));
        assert!(pace.may_try(guesser, start + WINDOW));
    }

    #[test]
    fn a_network_of_one_is_one() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        for number in 0..MOST_FAILURES {
            pace.failed(address(&format!("2001:db8::{number:x}")), start);
        }
        assert!(!pace.may_try(address("2001:db8::ffff"), start));
        assert!(pace.may_try(address("2001:db8:0:1::1"), start));
    }

    //= C7
    #[test]
    fn what_is_remembered_is_bounded_and_keeps_the_worst() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let guesser = address("198.51.100.7");
        for _ in 0..MOST_FAILURES {
            pace.failed(guesser, start);
        }
        for number in 0..10_000_u32 {
            pace.failed(IpAddr::V4((0x0a00_0000 + number).into()), start);
        }
        assert_eq!(pace.sources.len(), MOST_SOURCES);
        assert!(!pace.may_try(guesser, start));
    }
}

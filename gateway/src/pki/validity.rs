//! When certificates hold: from when to when, when they are renewed, what may still be done after their end.
//!
//! In: times and settings. Out: periods and verdicts. Reads no clock and draws no chance.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// From when to when a certificate holds, both inclusive, in whole seconds.
//= RFC 5280 4.1.2.5
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// From when.
    pub not_before: Timestamp,
    /// To when.
    pub not_after: Timestamp,
}

/// What a certificate is good for at a moment, apart from its revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// It does not hold yet.
    TooEarly {
        /// From when.
        from: Timestamp,
    },
    /// It holds.
    Valid {
        /// To when.
        until: Timestamp,
    },
    /// It holds no more, but the device may renew it, and nothing else.
    RenewOnly {
        /// To when.
        until: Timestamp,
    },
    /// It is good for nothing; the device must be enrolled anew.
    TooLate {
        /// Since when.
        since: Timestamp,
    },
}

impl Validity {
    /// Of a certificate that is issued now: it begins a little earlier, since the clocks of devices differ, and does not
    /// end after its authority. `None` when that has too little left.
    #[must_use]
    pub fn issued(now: Timestamp, lifetime: Duration, authority: Self) -> Option<Self> {
        let now = whole(now);
        let validity = Self {
            not_before: earlier(now, BACKDATED).max(authority.not_before),
            not_after: later(now, lifetime).min(authority.not_after),
        };
        let useful = later(now, lifetime.min(LEAST)) <= validity.not_after;
        (useful && validity.not_before <= now).then_some(validity)
    }

    /// Of an authority that is made now.
    #[must_use]
    pub fn of_authority(now: Timestamp, lifetime: Duration) -> Self {
        let now = whole(now);
        Self {
            not_before: earlier(now, BACKDATED),
            not_after: later(now, lifetime),
        }
    }

    /// What the certificate is good for.
    #[must_use]
    pub fn verdict(self, now: Timestamp, grace: Duration) -> Verdict {
        let last = later(self.not_after, grace);
        if now < self.not_before {
            Verdict::TooEarly {
                from: self.not_before,
            }
        } else if now <= self.not_after {
            Verdict::Valid {
                until: self.not_after,
            }
        } else if now <= last {
            Verdict::RenewOnly { until: last }
        } else {
            Verdict::TooLate { since: last }
        }
    }

    /// When it is to be renewed: after two thirds of its life, give or take a twentieth by `chance`,
    /// so that devices that were enrolled together do not come back together. Its life is from its making to its end.
    #[must_use]
    pub fn renewal(self, chance: u32) -> Timestamp {
        let made = later(self.not_before, BACKDATED).min(self.not_after);
        let life = self.not_after.duration_since(made).as_secs();
        // Thousandths of life: 617 to 716.
        let share = 617_i64.saturating_add(i64::from(chance % 100));
        let after = life.saturating_mul(share).checked_div(1000).unwrap_or(0);
        made.checked_add(SignedDuration::from_secs(after))
            .unwrap_or(self.not_after)
    }
}

/// A moment later, or the last there is.
#[must_use]
pub fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.checked_add(by).map_or(END, |later| later.min(END))
}

/// A moment earlier, or the first there is.
#[must_use]
pub fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    now.checked_sub(by)
        .map_or(Timestamp::UNIX_EPOCH, |at| at.max(Timestamp::UNIX_EPOCH))
}

/// Without parts of a second, which certificates do not have.
#[must_use]
pub fn whole(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// How much earlier than its making a certificate begins.
const BACKDATED: Duration = Duration::from_mins(5);
/// A certificate that holds for less is not issued, unless its lifetime is less.
const LEAST: Duration = Duration::from_hours(1);
/// 9999-01-01: certificates know no later year than 9999.
const END: Timestamp = Timestamp::constant(253_370_764_800, 0);

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_certificate_ends_with_its_authority() {
        let now = at("2026-03-01T12:00:00.7Z");
        let authority = Validity {
            not_before: at("2026-01-01T00:00:00Z"),
            not_after: at("2026-03-11T00:00:00Z"),
        };
        let issued = Validity::issued(now, 5 * DAY, authority).unwrap();
        assert_eq!(issued.not_before, at("2026-03-01T11:55:00Z"));
        assert_eq!(issued.not_after, at("2026-03-06T12:00:00Z"));
        let longer = Validity::issued(now, 30 * DAY, authority).unwrap();
        assert_eq!(longer.not_after, authority.not_after);
        let last = at("2026-03-10T23:00:00Z");
        assert!(Validity::issued(last, DAY, authority).is_some());
        let too_late = at("2026-03-10T23:00:01Z");
        assert_eq!(Validity::issued(too_late, DAY, authority), None);
        assert!(Validity::issued(too_late, 90 * DAY / 86_400, authority).is_some());
        let before = at("2025-12-31T23:59:59Z");
        assert_eq!(Validity::issued(before, DAY, authority), None);
        assert!(Validity::issued(authority.not_before, DAY, authority).is_some());
    }

    #[test]
    fn after_its_end_a_certificate_can_only_be_renewed_and_then_not_even_that() {
        let (start, end) = (at("2026-03-01T00:00:00Z"), at("2026-03-31T00:00:00Z"));
        let validity = Validity {
            not_before: start,
            not_after: end,
        };
        let last = at("2026-04-14T00:00:00Z");
        let verdicts = [
            ("2026-02-28T23:59:59Z", Verdict::TooEarly { from: start }),
            ("2026-03-01T00:00:00Z", Verdict::Valid { until: end }),
            ("2026-03-31T00:00:00Z", Verdict::Valid { until: end }),
            ("2026-03-31T00:00:01Z", Verdict::RenewOnly { until: last }),
            ("2026-04-14T00:00:00Z", Verdict::RenewOnly { until: last }),
            ("2026-04-14T00:00:01Z", Verdict::TooLate { since: last }),
        ];
        for (now, verdict) in verdicts {
            assert_eq!(validity.verdict(at(now), 14 * DAY), verdict, "{now}");
        }
        let at_once = validity.verdict(at("2026-03-31T00:00:01Z"), Duration::ZERO);
        assert_eq!(at_once, Verdict::TooLate { since: end });
    }

    #[test]
    fn renewals_are_spread_around_two_thirds() {
        let validity = Validity {
            not_before: at("2026-03-01T00:00:00Z"),
            not_after: at("2026-03-31T00:00:00Z"),
        };
        let all: std::collections::BTreeSet<Timestamp> =
            (0..1000).map(|chance| validity.renewal(chance)).collect();
        assert_eq!(all.len(), 100);
        assert!(*all.first().unwrap() >= at("2026-03-19T12:00:00Z"));
        assert!(*all.last().unwrap() <= at("2026-03-22T12:00:00Z"));
    }

    /// What a certificate is backdated by is no part of its life.
    #[test]
    fn a_short_life_has_two_thirds_too() {
        let now = at("2026-03-01T12:00:00Z");
        let authority = Validity::of_authority(now, 30 * DAY);
        let issued = Validity::issued(now, Duration::from_secs(90), authority).unwrap();
        for chance in 0..100 {
            let after = issued.renewal(chance).duration_since(now).as_secs();
            assert!((55..=64).contains(&after), "{after}");
        }
        let over = Validity {
            not_after: issued.not_before,
            ..issued
        };
        assert_eq!(over.renewal(0), over.not_after);
    }

    #[test]
    fn no_time_is_out_of_range() {
        let ends = [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH];
        for now in ends {
            let authority = Validity::of_authority(now, Duration::MAX);
            assert!(authority.not_after <= END && authority.not_before >= Timestamp::UNIX_EPOCH);
            let _any = Validity::issued(now, Duration::MAX, authority);
            let _any = authority.verdict(now, Duration::MAX);
        }
    }
}

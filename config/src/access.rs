//! Whether a device may use a service at a moment, for how long, and if not, why it may no longer.
//!
//! In: names and a moment. Out: the rules that hold then, and when the last of them ends. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::{Config, Rule};
use crate::name::{DeviceName, RuleName, ServiceName};

/// What lets a device use a service at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Access<'c> {
    /// The rules that hold, at least one.
    pub rules: Vec<(&'c RuleName, &'c Rule)>,
    /// The first moment at which none holds; `None` if no such moment is known.
    pub ends: Option<Timestamp>,
}

/// Why no rule lets a device use a service at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapsed {
    /// One would at other hours.
    Hours,
    /// One did until its last day.
    Until,
    /// There is none.
    NoRule,
}

impl Config {
    /// Whether rules let a device use a service at a moment; how the device itself stands is not known here.
    ///
    /// # Errors
    /// Why they do not.
    pub fn access(
        &self,
        device: &DeviceName,
        service: &ServiceName,
        now: Timestamp,
    ) -> Result<Access<'_>, Lapsed> {
        let all = self.rules_for(device, service);
        let holding = |at| all.iter().filter(move |(_, rule)| rule.holds_at(at));
        let rules: Vec<_> = holding(now).copied().collect();
        if rules.is_empty() {
            let later = |(_, rule): &(_, &Rule)| rule.next_change(now).is_some();
            return Err(match all.as_slice() {
                [] => Lapsed::NoRule,
                _ if all.iter().any(later) => Lapsed::Hours,
                _ => Lapsed::Until,
            });
        }
        let mut at = now;
        for _ in 0..MOST_WINDOWS {
            let mut ends = holding(at).map(|(_, rule)| rule.next_change(at));
            // One of them goes on, as far as is known.
            let Some(last) = ends.by_ref().try_fold(at, |last, end| Some(last.max(end?))) else {
                return Ok(Access { rules, ends: None });
            };
            if last == at {
                return Ok(Access {
                    rules,
                    ends: Some(at),
                });
            }
            at = last;
        }
        Ok(Access { rules, ends: None })
    }
}

impl Access<'_> {
    /// Whether a session goes on: by one rule at least neither its age nor its silence is too long.
    ///
    /// # Errors
    /// Which of the two ends it.
    pub fn goes_on(&self, age: Duration, silence: Duration) -> Result<(), Overdue> {
        let over = |most: Option<Duration>, is: Duration| most.is_some_and(|most| is >= most);
        let limits = || self.rules.iter().map(|(_, rule)| &rule.limit);
        if limits().any(|limit| !over(limit.longest, age) && !over(limit.idle, silence)) {
            return Ok(());
        }
        let old = limits().all(|limit| over(limit.longest, age));
        Err(if old { Overdue::Longest } else { Overdue::Idle })
    }

    /// How long a session may last in all; `None` is for ever.
    #[must_use]
    pub fn longest(&self) -> Option<Duration> {
        let mut all = self.rules.iter().map(|(_, rule)| rule.limit.longest);
        all.try_fold(Duration::ZERO, |most, one| Some(most.max(one?)))
    }
}

/// Which limit of a session is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// `idle`.
    Idle,
    /// `longest`.
    Longest,
}

/// Windows that follow each other without a gap; after so many no end is known.
const MOST_WINDOWS: usize = 16;

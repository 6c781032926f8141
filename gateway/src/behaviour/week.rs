//! The hours of the week at which a device is there.
//!
//! In: moments. Out: how many of each hour were seen, and whether an hour is usual. The time zone is an argument.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// How often a device was there at each hour of the week, from Monday at 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Week {
    hours: Vec<u16>,
    /// The hour that was counted last, since 1970.
    last: i64,
}

impl Default for Week {
    fn default() -> Self {
        Self {
            hours: vec![0; HOURS],
            last: i64::MIN,
        }
    }
}

impl Week {
    /// The hour of the week of a moment.
    pub(super) fn slot(at: Timestamp, zone: &TimeZone) -> u8 {
        let civil = zone.to_datetime(at);
        let day = civil.weekday().to_monday_zero_offset();
        let slot = i16::from(day) * 24 + i16::from(civil.hour());
        u8::try_from(slot).unwrap_or(0)
    }

    /// It was there.
    pub(super) fn add(&mut self, slot: u8, at: Timestamp) {
        let hour = at.as_second().div_euclid(3600);
        if hour != self.last {
            self.last = hour;
            self.mark(slot);
        }
    }

    pub(super) fn mark(&mut self, slot: u8) {
        // A file may have been cut.
        self.hours.resize(HOURS, 0);
        if let Some(count) = self.hours.get_mut(usize::from(slot)) {
            *count = count.saturating_add(1);
        }
    }

    /// Whether it was there at this hour or the one before or after, on this or another day of the kind.
    pub(super) fn is_usual(&self, slot: u8) -> bool {
        let (day, hour) = (slot / 24, slot % 24);
        let days = if day < 5 { 0..5 } else { 5..7 };
        let seen = |slot: usize| self.hours.get(slot % HOURS).is_some_and(|count| *count > 0);
        days.into_iter().any(|day: u8| {
            let at = usize::from(day) * 24 + usize::from(hour);
            [at + HOURS - 1, at, at + 1].into_iter().any(seen)
        })
    }

    pub(super) fn hours(&self) -> &[u16] {
        &self.hours
    }
}

/// As in `sat 03:00`.
pub(super) fn words(slot: u8) -> String {
    let day = DAYS.get(usize::from(slot / 24)).copied().unwrap_or("?");
    format!("{day} {:02}:00", slot % 24)
}

pub(super) const HOURS: usize = 7 * 24;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

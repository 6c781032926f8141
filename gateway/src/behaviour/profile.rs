//! One device: what it said to whom, when and how much.
//!
//! In: what it says. Out: what it never did before, once it was watched long enough.
//! The memory of a device is fixed: so many lines, so many that were told, a week of hours.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use lazaret_config::Deviation;
use serde::{Deserialize, Serialize};

use super::week::{self, Week};
use super::{Settings, Sighting};
use crate::control::message::{HabitLine, HabitStatus};
use crate::flow::{DeviceName, ServiceName};

/// What is known of a device.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Profile {
    /// Seconds that it was watched in earlier lives of the gateway.
    watched: u64,
    /// Since when it is watched in this one.
    #[serde(skip)]
    since: Option<Instant>,
    lines: Vec<Line>,
    week: Week,
    busiest_minute: u32,
    busiest_hour: u32,
    #[serde(skip)]
    minute: Span,
    #[serde(skip)]
    hour: Span,
    told: Told,
    /// The alerts of each kind to which is added what comes now.
    #[serde(skip)]
    open: [Option<(Instant, u64)>; Deviation::ALL.len()],
}

/// Something that a device says to a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    service: ServiceName,
    message: Box<str>,
    sop_class: Option<Box<str>>,
    /// By which it passed last.
    rule: Box<str>,
    amount: u64,
    largest: u64,
    would_refuse: u64,
    first: Timestamp,
    last: Timestamp,
}

/// What was told and not accepted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Told {
    lines: Vec<Line>,
    hours: Vec<u8>,
    minute: u32,
    hour: u32,
}

/// Messages in a span of time.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    begin: Option<Instant>,
    count: u32,
}

/// What a device never did before.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) deviation: Deviation,
    /// Which: never more than [`LONGEST_VALUE`] bytes and what surrounds them.
    pub(super) value: String,
}

impl Profile {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: Some(now),
            ..Self::default()
        }
    }

    /// As it is written: the time that it was watched is a number then.
    pub(super) fn kept(&self, now: Instant) -> Self {
        Self {
            watched: self.watched(now).as_secs(),
            since: None,
            ..self.clone()
        }
    }

    /// As it was read.
    pub(super) fn resume(&mut self, now: Instant) {
        self.since = Some(now);
        self.lines.truncate(MOST_LINES);
        self.told.lines.truncate(MOST_TOLD);
        self.told.hours.truncate(MOST_TOLD);
    }

    fn watched(&self, now: Instant) -> Duration {
        let before = Duration::from_secs(self.watched);
        let since = self.since.map(|since| now.saturating_duration_since(since));
        before.saturating_add(since.unwrap_or_default())
    }

    /// How long it will still be learnt; `None` once it was.
    pub(super) fn learns_for(&self, settings: &Settings<'_>, now: Instant) -> Option<Duration> {
        let left = settings.learn.checked_sub(self.watched(now))?;
        (!left.is_zero()).then_some(left)
    }

    pub(super) fn note(
        &mut self,
        sighting: &Sighting<'_>,
        settings: &Settings<'_>,
        (now, wall): (Instant, Timestamp),
    ) -> Vec<Found> {
        let slot = Week::slot(wall, settings.zone);
        let minute = self.minute.add(now, MINUTE);
        let hour = self.hour.add(now, HOUR);
        let mut found = Vec::new();
        if self.learns_for(settings, now).is_some() {
            self.busiest_minute = self.busiest_minute.max(minute);
            self.busiest_hour = self.busiest_hour.max(hour);
            if sighting.passed {
                self.week.add(slot, wall);
                if !self.count(sighting, wall) && !self.learn(sighting, wall) {
                    found.push(Found {
                        deviation: Deviation::Variety,
                        value: format!("more than {MOST_LINES} things"),
                    });
                }
            }
            return found;
        }
        found.extend(self.unknown(sighting, wall));
        if found.is_empty() && sighting.passed {
            self.count(sighting, wall);
        }
        found.extend(self.too_many(settings.rate_factor, minute, hour));
        // A week must have been seen before an hour of it is unusual.
        if settings.learn >= WEEK {
            if self.week.is_usual(slot) {
                self.week.add(slot, wall);
            } else {
                if self.told.hours.len() < MOST_TOLD && !self.told.hours.contains(&slot) {
                    self.told.hours.push(slot);
                }
                found.push(Found {
                    deviation: Deviation::Hour,
                    value: week::words(slot),
                });
            }
        }
        found
    }

    /// Counts what is known. False if it is not.
    fn count(&mut self, sighting: &Sighting<'_>, wall: Timestamp) -> bool {
        let known = self.lines.iter_mut().find(|line| line.is(sighting));
        let Some(line) = known else { return false };
        line.add(sighting, wall);
        true
    }

    /// Learns what is not known. False if there is no room.
    //= C7
    fn learn(&mut self, sighting: &Sighting<'_>, wall: Timestamp) -> bool {
        if self.lines.len() >= MOST_LINES {
            return false;
        }
        self.lines.push(Line::new(sighting, wall));
        true
    }

    /// What of a message is new, from the widest to the narrowest.
    fn unknown(&mut self, sighting: &Sighting<'_>, wall: Timestamp) -> Option<Found> {
        let lines = || self.lines.iter().filter(|l| l.service == *sighting.service);
        let (service, message) = (sighting.service, shown(sighting.message));
        let (deviation, value) = if lines().next().is_none() {
            (Deviation::Service, service.to_string())
        } else if !lines().any(|line| *line.message == *message) {
            (Deviation::Message, format!("{message} to {service}"))
        } else {
            let class = shown(sighting.sop_class?);
            if lines().any(|line| line.sop_class.as_deref() == Some(class)) {
                return None;
            }
            (Deviation::SopClass, format!("{class} to {service}"))
        };
        let told = &mut self.told.lines;
        if let Some(line) = told.iter_mut().find(|line| line.is(sighting)) {
            line.add(sighting, wall);
        } else if told.len() < MOST_TOLD {
            told.push(Line::new(sighting, wall));
        }
        Some(Found { deviation, value })
    }

    fn too_many(&mut self, factor: u32, minute: u32, hour: u32) -> Option<Found> {
        let most = |busiest: u32, least| busiest.saturating_mul(factor).max(least);
        let found = if minute > most(self.busiest_minute, LEAST_MINUTE) {
            format!(
                "{minute} messages in a minute, {} before",
                self.busiest_minute
            )
        } else if hour > most(self.busiest_hour, LEAST_HOUR) {
            format!("{hour} messages in an hour, {} before", self.busiest_hour)
        } else {
            return None;
        };
        self.told.minute = self.told.minute.max(minute);
        self.told.hour = self.told.hour.max(hour);
        Some(Found {
            deviation: Deviation::Rate,
            value: found,
        })
    }

    /// The alert of this kind that is not older than an hour.
    pub(super) fn open(&self, deviation: Deviation, now: Instant) -> Option<u64> {
        let (since, number) = (*self.open.get(place(deviation))?)?;
        (now.saturating_duration_since(since) < PERIOD).then_some(number)
    }

    pub(super) fn opened(&mut self, deviation: Deviation, number: u64, now: Instant) {
        if let Some(open) = self.open.get_mut(place(deviation)) {
            *open = Some((now, number));
        }
    }

    /// What was told is usual from now on.
    pub(super) fn accept(&mut self) {
        let told = std::mem::take(&mut self.told);
        let room = MOST_LINES.saturating_sub(self.lines.len());
        self.lines.extend(told.lines.into_iter().take(room));
        for slot in told.hours {
            self.week.mark(slot);
        }
        self.busiest_minute = self.busiest_minute.max(told.minute);
        self.busiest_hour = self.busiest_hour.max(told.hour);
        self.open = Default::default();
    }

    pub(super) fn habit(
        &self,
        device: &DeviceName,
        settings: &Settings<'_>,
        now: Instant,
    ) -> HabitStatus {
        HabitStatus {
            device: device.clone(),
            roles: Vec::new(),
            watched_seconds: self.watched(now).as_secs(),
            learning_seconds: (self.learns_for(settings, now)).map(|left| left.as_secs().max(1)),
            busiest_minute: self.busiest_minute,
            busiest_hour: self.busiest_hour,
            hours: self.week.hours().to_vec(),
            lines: self.lines.iter().map(Line::status).collect(),
        }
    }
}

impl Line {
    fn new(sighting: &Sighting<'_>, wall: Timestamp) -> Self {
        let mut line = Self {
            service: sighting.service.clone(),
            message: shown(sighting.message).into(),
            sop_class: sighting.sop_class.map(|class| shown(class).into()),
            rule: Box::default(),
            amount: 0,
            largest: 0,
            would_refuse: 0,
            first: wall,
            last: wall,
        };
        line.add(sighting, wall);
        line
    }

    fn is(&self, sighting: &Sighting<'_>) -> bool {
        self.service == *sighting.service
            && *self.message == *shown(sighting.message)
            && self.sop_class.as_deref() == sighting.sop_class.map(shown)
    }

    fn add(&mut self, sighting: &Sighting<'_>, wall: Timestamp) {
        self.amount = self.amount.saturating_add(1);
        self.largest = self.largest.max(sighting.length);
        self.would_refuse = (self.would_refuse).saturating_add(u64::from(sighting.would_refuse));
        self.last = wall;
        let rule = sighting.rule.map_or("", shown);
        if *self.rule != *rule {
            self.rule = rule.into();
        }
    }

    fn status(&self) -> HabitLine {
        HabitLine {
            service: self.service.clone(),
            message: self.message.to_string(),
            sop_class: self.sop_class.as_deref().map(str::to_owned),
            rule: self.rule.to_string(),
            amount: self.amount,
            largest: self.largest,
            would_refuse: self.would_refuse,
            first: self.first,
            last: self.last,
        }
    }
}

impl Span {
    /// How many there are in the span of this moment, with this one.
    fn add(&mut self, now: Instant, length: Duration) -> u32 {
        let inside = |begin: Instant| now.saturating_duration_since(begin) < length;
        if !self.begin.is_some_and(inside) {
            *self = Self {
                begin: Some(now),
                count: 0,
            };
        }
        self.count = self.count.saturating_add(1);
        self.count
    }
}

/// What a relay says is not believed to be short or printable.
//= C7
fn shown(text: &str) -> &str {
    if text.len() <= LONGEST_VALUE && !text.chars().any(char::is_control) {
        text
    } else {
        "(cannot be shown)"
    }
}

fn place(deviation: Deviation) -> usize {
    let mut all = Deviation::ALL.iter();
    all.position(|one| *one == deviation).unwrap_or(0)
}

/// Different things that a device says, to all services.
//= C7
const MOST_LINES: usize = 64;
/// Of what was told, for who accepts it.
//= C7
const MOST_TOLD: usize = 16;
//= C7
const LONGEST_VALUE: usize = 128;
/// Never too many in a minute, whatever was learnt.
const LEAST_MINUTE: u32 = 20;
/// Never too many in an hour, whatever was learnt.
const LEAST_HOUR: u32 = 60;
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const WEEK: Duration = Duration::from_hours(7 * 24);
/// What comes so soon after an alert belongs to it.
const PERIOD: Duration = Duration::from_hours(1);

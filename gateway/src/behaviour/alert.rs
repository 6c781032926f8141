//! What was told of devices: one alert of a kind and device in an hour, whatever comes.

use std::collections::VecDeque;

use jiff::Timestamp;
use lazaret_config::{Deviation, Reaction};
use serde::{Deserialize, Serialize};

use super::profile::Found;
use crate::control::message::AlertStatus;
use crate::flow::DeviceName;

/// A device did what it never did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Never used twice.
    pub number: u64,
    /// Which device.
    pub device: DeviceName,
    /// What it did.
    pub deviation: Deviation,
    /// The first of what it did.
    pub values: Vec<String>,
    /// How often.
    pub amount: u64,
    /// For the first time.
    pub first: Timestamp,
    /// For the last time.
    pub last: Timestamp,
    /// Whether it leads to quarantine.
    pub quarantines: bool,
    /// Somebody said that it is usual.
    pub accepted: bool,
}

impl Alert {
    /// What happened, in a sentence without its subject.
    #[must_use]
    pub fn words(&self) -> String {
        let value = self.values.first().map_or("", String::as_str);
        match self.deviation {
            Deviation::Service => format!("speaks with service {value} for the first time"),
            Deviation::Message => format!("sends {value} for the first time"),
            Deviation::SopClass => format!("names SOP class {value} for the first time"),
            Deviation::Rate => format!("sends too much: {value}"),
            Deviation::Hour => format!("is there at an unusual hour: {value}"),
            Deviation::Variety => format!("says too many different things: {value}"),
        }
    }

    /// For operators.
    #[must_use]
    pub fn status(&self) -> AlertStatus {
        AlertStatus {
            number: self.number,
            device: self.device.clone(),
            what: self.deviation.as_str().to_owned(),
            words: self.words(),
            values: self.values.clone(),
            amount: self.amount,
            first: self.first,
            last: self.last,
            quarantines: self.quarantines,
            accepted: self.accepted,
        }
    }
}

/// The latest.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Alerts {
    list: VecDeque<Alert>,
    last: u64,
}

impl Alerts {
    pub(super) fn raise(
        &mut self,
        device: &DeviceName,
        found: &Found,
        reaction: Reaction,
        at: Timestamp,
    ) -> Alert {
        self.last = self.last.saturating_add(1);
        let alert = Alert {
            number: self.last,
            device: device.clone(),
            deviation: found.deviation,
            values: vec![found.value.clone()],
            amount: 1,
            first: at,
            last: at,
            quarantines: reaction == Reaction::Quarantine,
            accepted: false,
        };
        //= C7
        while self.list.len() >= MOST_ALERTS {
            self.list.pop_front();
        }
        self.list.push_back(alert.clone());
        alert
    }

    /// It goes on.
    pub(super) fn add(&mut self, number: u64, value: &str, at: Timestamp) {
        let place = self.place(number);
        let Some(alert) = place.and_then(|place| self.list.get_mut(place)) else {
            return;
        };
        alert.amount = alert.amount.saturating_add(1);
        alert.last = alert.last.max(at);
        match alert.deviation {
            // The last says most.
            Deviation::Rate => alert.values = vec![value.to_owned()],
            Deviation::Service
            | Deviation::Message
            | Deviation::SopClass
            | Deviation::Hour
            | Deviation::Variety => {
                let is_new = !alert.values.iter().any(|known| known == value);
                if is_new && alert.values.len() < MOST_VALUES {
                    alert.values.push(value.to_owned());
                }
            }
        }
    }

    /// Whether an alert leads to quarantine.
    pub(super) fn quarantines(&self, number: u64) -> bool {
        let alert = self.place(number).and_then(|place| self.list.get(place));
        alert.is_some_and(|alert| alert.quarantines)
    }

    /// They are in the order of their numbers.
    fn place(&self, number: u64) -> Option<usize> {
        let place = self
            .list
            .binary_search_by_key(&number, |alert| alert.number);
        place.ok()
    }

    pub(super) fn accept(&mut self, device: &DeviceName) -> usize {
        let own = |alert: &&mut Alert| alert.device == *device && !alert.accepted;
        let mut accepted = 0;
        for alert in self.list.iter_mut().filter(own) {
            alert.accepted = true;
            accepted += 1;
        }
        accepted
    }

    pub(super) fn latest<'a>(
        &'a self,
        device: Option<&'a DeviceName>,
    ) -> impl Iterator<Item = &'a Alert> {
        let own = move |alert: &&Alert| device.is_none_or(|device| alert.device == *device);
        self.list.iter().rev().filter(own)
    }

    pub(super) fn waiting(&self) -> usize {
        self.list.iter().filter(|alert| !alert.accepted).count()
    }
}

/// That are remembered; the journal has all.
//= C7
const MOST_ALERTS: usize = 1024;
/// Different things that an alert lists.
//= C7
const MOST_VALUES: usize = 8;

//! What was seen of each device, and who came that nobody knows.
//!
//! In: decisions of relays, what the tunnel and the table say. Out: a few lines a device for operators, and what the
//! database is to add to its own. Bounded: of each kind the latest values are kept, of strangers the latest of all.
//! What a relay says is not believed to be short or printable. Time is an argument; no answer is waited for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::supervisor::Supervisor;
use crate::control::message::{SeenStatus, StrangerStatus};
use crate::flow::{Clock, DeviceName, ServiceName, Side};
use crate::inspect::{Decision, Observed, Outcome, Subject};
use crate::registry::known::{PublicKey, Seen, Sighting, Strange, What};
use crate::registry::task::ToTask;
use crate::tunnel::message::Stranger;

/// What was seen.
#[derive(Default)]
pub(super) struct Inventory {
    devices: BTreeMap<DeviceName, Sheet>,
    strangers: BTreeMap<(String, String, String), Entry>,
    /// What the database knew is here.
    remembers: bool,
    /// The database was told something and did not answer yet.
    told: Option<Instant>,
    last: Option<Instant>,
}

type Sheet = BTreeMap<What, BTreeMap<String, Entry>>;

struct Entry {
    seen: Seen,
    /// What the database does not have.
    unsaid: Option<Seen>,
    /// What it is being told.
    sent: Option<Seen>,
}

impl Inventory {
    /// Something of a device.
    pub(super) fn note(&mut self, device: &DeviceName, what: What, value: &str, seen: Seen) {
        //= C7
        if value.len() > LONGEST_VALUE || value.chars().any(char::is_control) {
            return;
        }
        if !self.devices.contains_key(device) {
            if self.devices.len() >= MOST_DEVICES {
                return;
            }
            self.devices.insert(device.clone(), Sheet::new());
        }
        let Some(sheet) = self.devices.get_mut(device) else {
            return;
        };
        let values = sheet.entry(what).or_default();
        if let Some(entry) = values.get_mut(value) {
            return entry.add(seen);
        }
        make_room(values, MOST_OF_A_KIND);
        values.insert(value.to_owned(), Entry::new(seen));
    }

    /// Something that came from nobody who is known.
    pub(super) fn note_stranger(&mut self, what: &str, source: &str, value: &str, seen: Seen) {
        let key = (what.to_owned(), source.to_owned(), value.to_owned());
        if let Some(entry) = self.strangers.get_mut(&key) {
            return entry.add(seen);
        }
        make_room(&mut self.strangers, MOST_STRANGERS);
        self.strangers.insert(key, Entry::new(seen));
    }

    /// What a decision says of its device.
    pub(super) fn decided(
        &mut self,
        device: &DeviceName,
        service: &ServiceName,
        decision: &Decision,
        at: Timestamp,
    ) {
        if decision.from != Side::Device {
            return;
        }
        let once = Seen::at(at, 1);
        match decision.outcome {
            Outcome::Forwarded | Outcome::Unanswered | Outcome::Repeated => {}
            Outcome::Refused => {
                let why = decision.reason.as_deref().unwrap_or("unknown");
                return self.note(device, What::Refused, why, once);
            }
            Outcome::Undelivered | Outcome::Abandoned => return,
        }
        match decision.what {
            Subject::Message => {
                self.note(device, What::Service, service.as_str(), once);
                self.note(device, What::Message, &decision.kind, once);
            }
            Subject::Association => {}
            Subject::Answer | Subject::Stream => return,
        }
        for observed in &decision.observed {
            match observed {
                Observed::SopClass(uid) => self.note(device, What::SopClass, uid, once),
                Observed::Software(text) => self.note(device, What::Software, text, once),
            }
        }
    }

    /// When a device shook hands last.
    pub(super) fn handshake(&self, device: &DeviceName) -> Option<Timestamp> {
        let sheet = self.devices.get(device)?;
        Some(sheet.get(&What::Handshake)?.get("")?.seen.last)
    }

    /// The latest value of a kind.
    pub(super) fn latest(&self, device: &DeviceName, what: What) -> Option<&str> {
        let values = self.devices.get(device)?.get(&what)?;
        let latest = values.iter().max_by_key(|(_, entry)| entry.seen.last);
        latest.map(|(value, _)| value.as_str())
    }

    /// All that was seen of a device.
    pub(super) fn sheet(&self, device: &DeviceName) -> Vec<SeenStatus> {
        let sheet = self.devices.get(device).into_iter().flatten();
        let all = sheet.flat_map(|(what, values)| {
            values.iter().map(|(value, entry)| SeenStatus {
                what: what.as_str().to_owned(),
                value: value.clone(),
                amount: entry.seen.amount,
                first: entry.seen.first,
                last: entry.seen.last,
            })
        });
        all.collect()
    }

    /// Those who are unknown, the latest first.
    pub(super) fn strangers(&self) -> Vec<StrangerStatus> {
        let all = self.strangers.iter().map(|((what, source, value), entry)| {
            let (what, source, value) = (what.clone(), source.clone(), value.clone());
            StrangerStatus {
                what,
                source,
                value,
                amount: entry.seen.amount,
                first: entry.seen.first,
                last: entry.seen.last,
            }
        });
        let mut all: Vec<StrangerStatus> = all.collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.last));
        all
    }

    /// What the database knew, once.
    pub(super) fn remember(&mut self, seen: Vec<Sighting>, strange: Vec<Strange>) {
        if std::mem::replace(&mut self.remembers, true) {
            return;
        }
        for one in seen {
            let before = self.unsaid(&one.device, one.what, &one.value);
            self.note(&one.device, one.what, &one.value, one.seen);
            if let Some(entry) = self.entry(&one.device, one.what, &one.value) {
                entry.unsaid = before;
            }
        }
        for one in strange {
            let key = (one.what.clone(), one.source.clone(), one.value.clone());
            let before = self.strangers.get(&key).and_then(|entry| entry.unsaid);
            self.note_stranger(&one.what, &one.source, &one.value, one.seen);
            if let Some(entry) = self.strangers.get_mut(&key) {
                entry.unsaid = before;
            }
        }
    }

    fn entry(&mut self, device: &DeviceName, what: What, value: &str) -> Option<&mut Entry> {
        self.devices.get_mut(device)?.get_mut(&what)?.get_mut(value)
    }

    fn unsaid(&mut self, device: &DeviceName, what: What, value: &str) -> Option<Seen> {
        self.entry(device, what, value)?.unsaid
    }

    /// What the database is to be told now, if it is time.
    fn tell(&mut self, now: Instant) -> Option<(Vec<Sighting>, Vec<Strange>)> {
        let waited = |at: Option<Instant>, long| {
            at.is_none_or(|at| now.saturating_duration_since(at) >= long)
        };
        if !waited(self.last, EVERY) || !waited(self.told, PATIENCE) {
            return None;
        }
        if self.told.is_some() {
            self.noted(false);
        }
        self.last = Some(now);
        let (mut seen, mut strange) = (Vec::new(), Vec::new());
        for (device, sheet) in &mut self.devices {
            for (what, values) in sheet {
                for (value, entry) in values.iter_mut().filter(|(_, one)| one.unsaid.is_some()) {
                    if seen.len() >= AT_ONCE {
                        break;
                    }
                    if let Some(unsaid) = entry.send() {
                        let (device, value) = (device.clone(), value.clone());
                        let what = *what;
                        seen.push(Sighting {
                            device,
                            what,
                            value,
                            seen: unsaid,
                        });
                    }
                }
            }
        }
        for ((what, source, value), entry) in &mut self.strangers {
            if let Some(unsaid) = entry.send() {
                let (what, source, value) = (what.clone(), source.clone(), value.clone());
                strange.push(Strange {
                    what,
                    source,
                    value,
                    seen: unsaid,
                });
            }
        }
        if seen.is_empty() && strange.is_empty() {
            return None;
        }
        self.told = Some(now);
        Some((seen, strange))
    }

    /// The database has what it was told, or does not.
    pub(super) fn noted(&mut self, done: bool) {
        self.told = None;
        let sheets = self.devices.values_mut().flat_map(BTreeMap::values_mut);
        let entries = sheets.flat_map(BTreeMap::values_mut);
        for entry in entries.chain(self.strangers.values_mut()) {
            if let Some(sent) = entry.sent.take().filter(|_| !done) {
                entry
                    .unsaid
                    .get_or_insert(Seen { amount: 0, ..sent })
                    .add(sent);
            }
        }
    }
}

impl Entry {
    fn new(seen: Seen) -> Self {
        Self {
            seen,
            unsaid: Some(seen),
            sent: None,
        }
    }

    fn add(&mut self, seen: Seen) {
        self.seen.add(seen);
        match &mut self.unsaid {
            Some(unsaid) => unsaid.add(seen),
            None => self.unsaid = Some(seen),
        }
    }

    fn send(&mut self) -> Option<Seen> {
        let unsaid = self.unsaid.take()?;
        self.sent = Some(unsaid);
        Some(unsaid)
    }
}

/// What was not seen for the longest time goes.
fn make_room<K: Ord + Clone>(entries: &mut BTreeMap<K, Entry>, most: usize) {
    if entries.len() < most {
        return;
    }
    let oldest = entries.iter().min_by_key(|(_, entry)| entry.seen.last);
    if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
        entries.remove(&oldest);
    }
}

impl Supervisor {
    /// Handshakes of keys that nobody knows.
    pub(super) fn strangers_came(&mut self, strangers: &[Stranger]) {
        let at = self.now();
        for one in strangers {
            let (source, key) = (one.source.to_string(), PublicKey(one.key).to_string());
            let seen = Seen::at(at, one.handshakes);
            self.inventory.note_stranger("key", &source, &key, seen);
        }
    }

    /// Tells the database what was seen.
    pub(super) fn follow_inventory(&mut self) {
        if let Some((seen, strange)) = self.inventory.tell(self.clock.now())
            && !self.records.note(ToTask::Seen(seen, strange))
        {
            self.inventory.noted(false);
        }
    }
}

//= C7
const MOST_DEVICES: usize = 65_536;
/// As in the database.
//= C7
const MOST_OF_A_KIND: usize = 32;
//= C7
const MOST_STRANGERS: usize = 1024;
//= C7
const LONGEST_VALUE: usize = 128;
/// Lines that the database is told at once.
//= C7
const AT_ONCE: usize = 10_000;
const EVERY: Duration = Duration::from_mins(1);
const PATIENCE: Duration = Duration::from_mins(5);

#[cfg(test)]
#[path = "inventory_tests.rs"]
#[allow(clippy::disallowed_methods, reason = "tests make up their time")]
mod tests;

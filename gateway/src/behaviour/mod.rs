//! What is usual for each device, and what is not.
//!
//! In: what a device said to which service, how long it was, whether it passed, and the time. Out: alerts, and what was
//! learnt. A device is watched for a while; what it does for the first time after that is told, and not learnt.
//! How long it was watched and how much came in a minute is measured with the monotonic clock, so that a step of the
//! wall clock neither ends the learning nor makes a rate; only hours of the week are by the wall clock.
//! Knows nothing of connections, of what was said, and of what becomes of a device.

pub mod alert;
mod profile;
mod shelf;
mod week;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lazaret_config::{Deviation, Reaction};

use self::alert::{Alert, Alerts};
use self::profile::Profile;
pub use self::shelf::Shelf;
use crate::control::message::HabitStatus;
use crate::flow::{DeviceName, ServiceName};

/// Something that a device said.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'s> {
    /// To whom.
    pub service: &'s ServiceName,
    /// The type of the message in the protocol's words; may be empty.
    pub message: &'s str,
    /// The UID of its SOP class.
    pub sop_class: Option<&'s str>,
    /// By which rule it passed.
    pub rule: Option<&'s str>,
    /// In bytes.
    pub length: u64,
    /// What is refused is not learnt.
    pub passed: bool,
    /// It passed only because its rule is in shadow.
    pub would_refuse: bool,
}

/// What holds now.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'s> {
    /// How long a device is watched.
    pub learn: Duration,
    /// How many times the most is too much.
    pub rate_factor: u32,
    /// In which hours are counted.
    pub zone: &'s TimeZone,
}

/// All devices.
#[derive(Debug)]
pub struct Behaviour {
    /// By their names, so that a part can be written at a time.
    shards: Vec<BTreeMap<DeviceName, Profile>>,
    dirty: Vec<bool>,
    alerts: Alerts,
    alerts_are_dirty: bool,
    /// Looked at last for something to write.
    cursor: usize,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| BTreeMap::new()).collect(),
            dirty: vec![false; SHARDS],
            alerts: Alerts::default(),
            alerts_are_dirty: false,
            cursor: 0,
        }
    }
}

impl Behaviour {
    /// Notes what a device said. Returns what is to be told now: the first of its kind in an hour.
    pub fn note(
        &mut self,
        device: &DeviceName,
        sighting: &Sighting<'_>,
        settings: &Settings<'_>,
        react: impl Fn(Deviation) -> Reaction,
        (now, wall): (Instant, Timestamp),
    ) -> Vec<Alert> {
        let shard = shard_of(device);
        let Some(profiles) = self.shards.get_mut(shard) else {
            return Vec::new();
        };
        //= C7
        if !profiles.contains_key(device) {
            if profiles.len() >= MOST_DEVICES / SHARDS {
                return Vec::new();
            }
            profiles.insert(device.clone(), Profile::new(now));
        }
        let Some(profile) = profiles.get_mut(device) else {
            return Vec::new();
        };
        if let Some(dirty) = self.dirty.get_mut(shard) {
            *dirty = true;
        }
        let mut told = Vec::new();
        for found in profile.note(sighting, settings, (now, wall)) {
            let reaction = react(found.deviation);
            if reaction == Reaction::Ignore {
                continue;
            }
            self.alerts_are_dirty = true;
            let open = profile.open(found.deviation, now);
            // What leads to quarantine is never added to what did not.
            let open = open.filter(|number| {
                reaction != Reaction::Quarantine || self.alerts.quarantines(*number)
            });
            match open {
                Some(number) => self.alerts.add(number, &found.value, wall),
                None => {
                    let alert = self.alerts.raise(device, &found, reaction, wall);
                    profile.opened(found.deviation, alert.number, now);
                    told.push(alert);
                }
            }
        }
        told
    }

    /// What was told of a device is usual from now on. How many alerts that ends.
    pub fn accept(&mut self, device: &DeviceName) -> usize {
        if let Some(profile) = self.profile_mut(device) {
            profile.accept();
        }
        self.alerts_are_dirty = true;
        self.alerts.accept(device)
    }

    /// A device is watched anew. False if it was never seen.
    pub fn relearn(&mut self, device: &DeviceName, now: Instant) -> bool {
        let Some(profile) = self.profile_mut(device) else {
            return false;
        };
        *profile = Profile::new(now);
        self.alerts_are_dirty = true;
        self.alerts.accept(device);
        true
    }

    fn profile_mut(&mut self, device: &DeviceName) -> Option<&mut Profile> {
        let shard = shard_of(device);
        *self.dirty.get_mut(shard)? = true;
        self.shards.get_mut(shard)?.get_mut(device)
    }

    /// The alerts that are remembered, the latest first; of one device, or of all.
    pub fn alerts<'a>(&'a self, device: Option<&'a DeviceName>) -> impl Iterator<Item = &'a Alert> {
        self.alerts.latest(device)
    }

    /// How many devices are still being learnt, and how many alerts nobody accepted.
    #[must_use]
    pub fn counts(&self, settings: &Settings<'_>, now: Instant) -> (usize, usize) {
        let profiles = self.shards.iter().flat_map(BTreeMap::values);
        let learning = profiles.filter(|one| one.learns_for(settings, now).is_some());
        (learning.count(), self.alerts.waiting())
    }

    /// What was learnt of a device.
    #[must_use]
    pub fn habit(
        &self,
        device: &DeviceName,
        settings: &Settings<'_>,
        now: Instant,
    ) -> Option<HabitStatus> {
        let profile = self.shards.get(shard_of(device))?.get(device)?;
        Some(profile.habit(device, settings, now))
    }

    /// Everybody of whom something was learnt.
    pub fn devices(&self) -> impl Iterator<Item = &DeviceName> {
        self.shards.iter().flat_map(BTreeMap::keys)
    }
}

/// Where a device is kept (FNV-1a).
fn shard_of(device: &DeviceName) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in device.as_str().bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    usize::try_from(hash).unwrap_or(0) % SHARDS
}

/// Parts that are written one at a time.
const SHARDS: usize = 64;
/// As in the inventory; each part has its share.
//= C7
const MOST_DEVICES: usize = 65_536;

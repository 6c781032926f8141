//! The registry as the supervisor works with it: in memory, and in a snapshot on the disk.
//!
//! In: decisions of operators, and what the database says. Out: how everybody stands, and who is enrolled.
//! A decision is in the snapshot before anything else, so that a revocation is not forgotten while the database is away;
//! what the database does not have yet is remembered until it has.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use lazaret_config::{Config, Enrolled, Identity};

use super::floor::Floor;
use super::known::{By, Change, Known, Origin, PublicKey, whole};
use super::old;
use super::snapshot::{self, RegistryError, Snapshot};
use super::store::{Loaded, Version};
use super::writer::Writer;
use crate::flow::{DeviceName, Standing};

/// Everybody who is known beside the files, and how all stand.
#[derive(Debug)]
pub struct Registry {
    directory: PathBuf,
    state: Arc<Snapshot>,
    writer: Writer,
    /// Nothing is known yet of those who were revoked: nobody is let in until the database said it.
    awaited: bool,
    /// Devices of the files with a key that was taken from somebody else, and from whom.
    barred: BTreeMap<DeviceName, DeviceName>,
    /// Whose time is over, as of the last [`Self::follow_time`].
    expired: BTreeSet<DeviceName>,
    floor: Floor,
    wall: Timestamp,
    /// What counts for whatever ends; as of the last look.
    time: Timestamp,
}

impl Registry {
    /// Reads the snapshot in this directory; without one, the standings of version 0.1; without both it is empty.
    /// Then, if there is a database that may know more, nobody is let in before it was asked.
    ///
    /// # Errors
    /// When a file cannot be read or understood, or a new snapshot cannot be written.
    pub fn open(state_dir: &Path, wall: Timestamp, database: bool) -> Result<Self, RegistryError> {
        let before = snapshot::read(state_dir)?;
        let fresh = before.is_none();
        let state = before.unwrap_or_default();
        let mut registry = Self {
            directory: state_dir.to_owned(),
            writer: Writer::new(state_dir),
            awaited: fresh && database,
            barred: BTreeMap::new(),
            expired: BTreeSet::new(),
            floor: Floor::new(state.floor),
            wall,
            time: wall,
            state: Arc::new(state),
        };
        if fresh {
            registry.import_old(wall)?;
        }
        // A crash may have come between the two steps of the import.
        old::put_away(state_dir)?;
        registry.look(wall);
        Ok(registry)
    }

    fn import_old(&mut self, wall: Timestamp) -> Result<(), RegistryError> {
        let mut next = Snapshot::clone(&self.state);
        for (number, (device, entry)) in (0_i64..).zip(old::read(&self.directory)?) {
            let change = Change {
                // No other change of this registry has a mark below zero, and the next gateway has its own database
                // or other devices.
                mark: -1 - number - wall.as_millisecond().abs(),
                device,
                before: Standing::Active,
                after: entry.standing,
                why: entry.why,
                by: By {
                    uid: 0,
                    name: "version 0.1".to_owned(),
                },
                at: whole(entry.since),
            };
            apply(&mut next.devices, &change);
            owe(&mut next, &change);
            next.unsaved.push_back(change);
        }
        if next != *self.state {
            self.replace(next)?;
        }
        Ok(())
    }

    /// How a device stands.
    #[must_use]
    pub fn standing(&self, device: &DeviceName) -> Standing {
        let known = self.state.devices.get(device);
        let standing = known.map_or(Standing::Active, |known| known.standing);
        if self.barred.contains_key(device) {
            return Standing::Revoked;
        }
        if self.awaited {
            return standing.max(Standing::Pending);
        }
        if self.expired.contains(device) {
            standing.max(Standing::Expired)
        } else {
            standing
        }
    }

    /// What is known of a device, if it is enrolled or an operator ever changed its standing.
    #[must_use]
    pub fn entry(&self, device: &DeviceName) -> Option<&Known> {
        self.state.devices.get(device)
    }

    /// Everything that is known, also of devices that are not configured.
    #[must_use]
    pub fn all(&self) -> &BTreeMap<DeviceName, Known> {
        &self.state.devices
    }

    /// Those who stand in no file and are let in, as the configuration wants to know them.
    pub fn let_in(&self) -> impl Iterator<Item = (&DeviceName, Enrolled)> {
        let devices = self.state.devices.iter();
        devices
            .filter(|(name, known)| known.origin != Origin::File && self.standing(name).is_let_in())
            .filter_map(|(name, known)| Some((name, known.enrolled(self.time)?)))
    }

    /// Whether this key is one of the device's at this hour. Those of devices of the files are not known here.
    #[must_use]
    pub fn is_key_of(&self, device: &DeviceName, key: PublicKey) -> bool {
        let known = self.entry(device);
        known
            .filter(|known| known.origin != Origin::File)
            .is_none_or(|known| known.keys_at(self.time).any(|own| own == key))
    }

    /// Whether nobody is let in because nothing is known yet of those who were revoked.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.awaited
    }

    /// Devices of a configuration with a key that was taken from somebody else, and from whom.
    //= C5
    #[must_use]
    pub fn withdrawn(&self, files: &Config) -> BTreeMap<DeviceName, DeviceName> {
        let (time, mut taken) = (self.time, HashMap::new());
        for (name, known) in &self.state.devices {
            let revoked = known.standing == Standing::Revoked;
            let ended = |until: Option<Timestamp>| until.is_some_and(|until| until <= time);
            let keys = known.keys.iter();
            for key in keys.filter(|key| revoked || ended(key.until)) {
                taken.insert(key.wireguard.0, name);
            }
        }
        let mut barred = BTreeMap::new();
        for (name, device) in &files.devices {
            if let Identity::WireGuard { public_key, .. } = &device.identity
                && let Some(other) = taken.get(public_key).filter(|other| **other != name)
            {
                barred.insert(name.clone(), DeviceName::clone(other));
            }
        }
        barred
    }

    /// Devices of these files whose key was taken from somebody else are not let in.
    pub fn follow_files(&mut self, files: &Config) {
        self.barred = self.withdrawn(files);
    }

    /// Devices of the files that are not let in because their key was taken from somebody else.
    pub fn all_barred(&self) -> impl Iterator<Item = &DeviceName> {
        self.barred.keys()
    }

    /// From whom the key of a device of the files was taken, if it was.
    #[must_use]
    pub fn barred(&self, device: &DeviceName) -> Option<&DeviceName> {
        self.barred.get(device)
    }

    /// Revoked devices whose certificates may not be revoked yet.
    #[must_use]
    pub fn owed(&self) -> &BTreeSet<DeviceName> {
        &self.state.owed
    }

    /// The certificates of these devices are revoked.
    pub fn paid(&mut self, devices: &BTreeSet<DeviceName>) {
        let state = Arc::make_mut(&mut self.state);
        state.owed.retain(|device| !devices.contains(device));
        self.writer.write_soon(&self.state);
    }

    /// What counts for whatever ends: the wall clock, but never earlier than it was beyond doubt.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// The database as it was last.
    #[must_use]
    pub fn database(&self) -> Option<Version> {
        self.state.database
    }

    /// What the database does not have yet, the oldest first.
    #[must_use]
    pub fn unsaved(&self) -> &VecDeque<Change> {
        &self.state.unsaved
    }

    /// Changes the standing of a device. It is on the disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written; then nothing changed.
    pub fn set(&mut self, change: Change) -> Result<(), RegistryError> {
        let mut next = Snapshot::clone(&self.state);
        apply(&mut next.devices, &change);
        owe(&mut next, &change);
        remember(&mut next.unsaved, change);
        self.replace(next)
    }

    /// Changes the standing of a device for the life of this process, when it cannot be written.
    /// The next change that can be written takes it along.
    pub fn hold(&mut self, change: Change) {
        let state = Arc::make_mut(&mut self.state);
        apply(&mut state.devices, &change);
        owe(state, &change);
        remember(&mut state.unsaved, change);
        self.look(self.wall);
    }

    /// The database has a change. It need not be on the disk: to send it again does no harm.
    pub fn saved(&mut self, mark: i64) {
        let state = Arc::make_mut(&mut self.state);
        state.unsaved.retain(|change| change.mark != mark);
    }

    /// Takes over what the database says. What it does not have yet stays, unless it would undo what nobody here knew.
    /// True if anything is different.
    pub fn take_over(&mut self, loaded: Loaded) -> bool {
        let before = &self.state;
        let mut next = Snapshot {
            database: Some(loaded.version),
            devices: loaded.devices,
            unsaved: before.unsaved.clone(),
            floor: before.floor,
            owed: before.owed.clone(),
        };
        let revoked =
            |known: Option<&Known>| known.is_some_and(|known| known.standing == Standing::Revoked);
        for (device, known) in &next.devices {
            if revoked(Some(known)) && !revoked(before.devices.get(device)) {
                next.owed.insert(device.clone());
            }
        }
        for change in &next.unsaved {
            let theirs = next.devices.get(&change.device);
            if theirs.is_none_or(|known| change.holds_over(known.standing, known.since)) {
                apply(&mut next.devices, change);
            }
        }
        let waited = std::mem::take(&mut self.awaited);
        if next == *self.state {
            return waited;
        }
        let different = next.devices != self.state.devices;
        self.state = Arc::new(next);
        self.writer.write_soon(&self.state);
        self.look(self.wall);
        different || waited
    }

    /// As [`Self::take_over`], of one device; of all others the database says what it said before.
    pub fn take_in(&mut self, one: Loaded) -> bool {
        let mut different = std::mem::take(&mut self.awaited);
        let state = Arc::make_mut(&mut self.state);
        state.database = Some(one.version);
        for (device, mut known) in one.devices {
            let before = state.devices.get(&device);
            let revoked = |known: &Known| known.standing == Standing::Revoked;
            if revoked(&known) && !before.is_some_and(revoked) {
                state.owed.insert(device.clone());
            }
            for change in state.unsaved.iter().filter(|one| one.device == device) {
                if change.holds_over(known.standing, known.since) {
                    decide(&mut known, change);
                }
            }
            different |= before != Some(&known);
            state.devices.insert(device, known);
        }
        self.writer.write_soon(&self.state);
        self.look(self.wall);
        different
    }

    /// Time goes on, or steps. True if somebody's time is over now, or a key's.
    pub fn follow_time(&mut self, wall: Timestamp, now: Instant) -> bool {
        self.floor.look(now, wall);
        let changed = self.look(wall);
        let (known, floor) = (self.state.floor, self.floor.floor());
        let ends = self.state.devices.values().flat_map(|known| {
            let keys = known.keys.iter().filter_map(|key| key.until);
            keys.chain(known.expires)
        });
        let passed = |at: Timestamp| at <= floor && known.is_none_or(|known| at > known);
        // What ended is not to begin again after a restart with a clock that went back.
        if { ends }.any(passed) {
            Arc::make_mut(&mut self.state).floor = Some(floor);
            self.writer.write_soon(&self.state);
        }
        changed
    }

    fn look(&mut self, wall: Timestamp) -> bool {
        self.wall = wall;
        let time = self.floor.time(wall);
        let before = std::mem::replace(&mut self.time, time);
        let devices = self.state.devices.iter();
        let over = |known: &Known| known.expires.is_some_and(|expires| expires <= time);
        let expired: BTreeSet<DeviceName> = devices
            .filter(|(_, known)| over(known))
            .map(|(name, _)| name.clone())
            .collect();
        let (first, last) = (before.min(time), before.max(time));
        let ended = |until: Timestamp| until > first && until <= last;
        let keys = self.state.devices.values().flat_map(|known| &known.keys);
        let key_ended = keys.filter_map(|key| key.until).any(ended);
        let before = std::mem::replace(&mut self.expired, expired);
        before != self.expired || key_ended
    }

    /// Those whose time is over.
    #[must_use]
    pub fn expired(&self) -> &BTreeSet<DeviceName> {
        &self.expired
    }

    /// Who stands otherwise because its time is over, which it was not for these; and how each stood before.
    #[must_use]
    pub fn ended_since(&self, before: &BTreeSet<DeviceName>) -> Vec<(DeviceName, Standing)> {
        let ended = self.expired.difference(before);
        let stood = ended.filter_map(|device| Some((device.clone(), self.entry(device)?.standing)));
        stood
            .filter(|(_, standing)| *standing < Standing::Expired)
            .collect()
    }

    fn replace(&mut self, next: Snapshot) -> Result<(), RegistryError> {
        let next = Arc::new(next);
        self.writer.write(&next)?;
        self.state = next;
        self.look(self.wall);
        Ok(())
    }
}

fn apply(devices: &mut BTreeMap<DeviceName, Known>, change: &Change) {
    let known = devices
        .entry(change.device.clone())
        .or_insert_with(|| Known {
            origin: Origin::File,
            standing: Standing::Active,
            approved: true,
            removed: false,
            why: String::new(),
            since: change.at,
            roles: BTreeSet::new(),
            keys: Vec::new(),
            certificates: Vec::new(),
            addresses: Vec::new(),
            serial: None,
            patients: Vec::new(),
            hl7_sender: None,
            ae_title: None,
            created: change.at,
            created_by: change.by.name.clone(),
            expires: None,
        });
    decide(known, change);
}

fn decide(known: &mut Known, change: &Change) {
    known.standing = change.after;
    known.approved |= change.after == Standing::Active;
    known.why.clone_from(&change.why);
    known.since = change.at;
}

/// The certificates of a revoked device are to be revoked, whatever becomes of it later.
//= C9
fn owe(state: &mut Snapshot, change: &Change) {
    if change.after == Standing::Revoked {
        state.owed.insert(change.device.clone());
    }
}

/// The last decision about each device counts; its history is complete as long as there is room.
//= C7
fn remember(unsaved: &mut VecDeque<Change>, change: Change) {
    if unsaved.len() >= MAX_UNSAVED {
        unsaved.retain(|other| other.device != change.device);
    }
    unsaved.push_back(change);
}

/// So many changes wait for the database with their history; beyond, one of each device.
const MAX_UNSAVED: usize = 65_536;

#[cfg(test)]
#[path = "memory_tests.rs"]
#[allow(clippy::disallowed_methods, reason = "tests make up their time")]
pub(super) mod tests;

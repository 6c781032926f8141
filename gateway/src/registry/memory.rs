//! The registry as the supervisor works with it: in memory, and in a snapshot on the disk.
//!
//! In: decisions of operators, and what the database says. Out: how everybody stands, and who is enrolled.
//! A decision is in the snapshot before anything else, so that a revocation is not forgotten while the database is away;
//! what the database does not have yet is remembered until it has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lazaret_config::Enrolled;

use super::known::{By, Change, Known, Origin, PublicKey, whole};
use super::old;
use super::snapshot::{self, RegistryError, Snapshot};
use super::store::{Loaded, Version};
use crate::flow::{DeviceName, Standing};

/// Everybody who is known beside the files, and how all stand.
#[derive(Debug)]
pub struct Registry {
    directory: PathBuf,
    state: Snapshot,
    /// Whose time is over, as of the last [`Self::follow_time`].
    expired: BTreeSet<DeviceName>,
    wall: Timestamp,
}

impl Registry {
    /// Reads the snapshot in this directory; without one, the standings of version 0.1; without both it is empty.
    ///
    /// # Errors
    /// When a file cannot be read or understood, or a new snapshot cannot be written.
    pub fn open(state_dir: &Path, wall: Timestamp) -> Result<Self, RegistryError> {
        let before = snapshot::read(state_dir)?;
        let fresh = before.is_none();
        let mut registry = Self {
            directory: state_dir.to_owned(),
            state: before.unwrap_or_default(),
            expired: BTreeSet::new(),
            wall,
        };
        if fresh {
            registry.import_old(wall)?;
        }
        // A crash may have come between the two steps of the import.
        old::put_away(state_dir)?;
        registry.follow_time(wall);
        Ok(registry)
    }

    fn import_old(&mut self, wall: Timestamp) -> Result<(), RegistryError> {
        let mut next = self.state.clone();
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
            next.unsaved.push_back(change);
        }
        if next != self.state {
            snapshot::write(&self.directory, &next)?;
            self.state = next;
        }
        Ok(())
    }

    /// How a device stands.
    #[must_use]
    pub fn standing(&self, device: &DeviceName) -> Standing {
        let known = self.state.devices.get(device);
        let standing = known.map_or(Standing::Active, |known| known.standing);
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
            .filter_map(|(name, known)| Some((name, known.enrolled()?)))
    }

    /// The keys that a device has beside the newest, at this hour.
    pub fn older_keys(&self, device: &DeviceName) -> impl Iterator<Item = PublicKey> {
        let keys = self.entry(device).map_or(&[][..], |known| &known.keys);
        let wall = self.wall;
        let rest = keys.iter().skip(1);
        rest.filter(move |key| key.until.is_some_and(|until| until > wall))
            .map(|key| key.wireguard)
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

    /// Changes the standing of a device and returns the one before. It is on the disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written; then nothing changed.
    pub fn set(&mut self, change: Change) -> Result<(), RegistryError> {
        let mut next = self.state.clone();
        apply(&mut next.devices, &change);
        remember(&mut next.unsaved, change);
        self.replace(next)
    }

    /// Changes the standing of a device for the life of this process, when it cannot be written.
    /// The next change that can be written takes it along.
    pub fn hold(&mut self, change: Change) {
        apply(&mut self.state.devices, &change);
        remember(&mut self.state.unsaved, change);
        self.follow_time(self.wall);
    }

    /// The database has a change. It need not be on the disk: to send it again does no harm.
    pub fn saved(&mut self, mark: i64) {
        self.state.unsaved.retain(|change| change.mark != mark);
    }

    /// Takes over what the database says. What it does not have yet stays. True if anything is different.
    ///
    /// # Errors
    /// When it cannot be written to the disk; it holds all the same.
    pub fn take_over(&mut self, loaded: Loaded) -> Result<bool, RegistryError> {
        let mut next = Snapshot {
            database: Some(loaded.version),
            devices: loaded.devices,
            unsaved: self.state.unsaved.clone(),
        };
        for change in &next.unsaved {
            let theirs = next.devices.get(&change.device);
            let later = theirs.is_some_and(|k| k.since > change.at && k.standing >= change.after);
            if !later {
                apply(&mut next.devices, change);
            }
        }
        if next == self.state {
            return Ok(false);
        }
        let different = next.devices != self.state.devices;
        let written = snapshot::write(&self.directory, &next);
        self.state = next;
        self.follow_time(self.wall);
        written.map(|()| different)
    }

    /// Time goes on, or steps. True if somebody's time is over now, or not over any more, or a key's.
    pub fn follow_time(&mut self, wall: Timestamp) -> bool {
        let before = std::mem::replace(&mut self.wall, wall);
        let devices = self.state.devices.iter();
        let over = |known: &Known| known.expires.is_some_and(|expires| expires <= wall);
        let expired: BTreeSet<DeviceName> = devices
            .filter(|(_, known)| over(known))
            .map(|(name, _)| name.clone())
            .collect();
        let (first, last) = (before.min(wall), before.max(wall));
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

    fn replace(&mut self, next: Snapshot) -> Result<(), RegistryError> {
        snapshot::write(&self.directory, &next)?;
        self.state = next;
        self.follow_time(self.wall);
        Ok(())
    }
}

impl Known {
    /// As the configuration wants to know it; `None` without a key.
    #[must_use]
    pub fn enrolled(&self) -> Option<Enrolled> {
        let sender = self.hl7_sender.as_deref();
        Some(Enrolled {
            origin: self.origin.as_str(),
            public_key: self.keys.first()?.wireguard.0,
            addresses: self.addresses.clone(),
            roles: self.roles.clone(),
            hl7_sender: sender.and_then(|sender| Enrolled::hl7_sender_of(sender).ok()),
            ae_title: self.ae_title.clone(),
            patients: self.patients.clone(),
        })
    }
}

fn apply(devices: &mut BTreeMap<DeviceName, Known>, change: &Change) {
    let known = devices
        .entry(change.device.clone())
        .or_insert_with(|| Known {
            origin: Origin::File,
            standing: Standing::Active,
            why: String::new(),
            since: change.at,
            roles: BTreeSet::new(),
            keys: Vec::new(),
            addresses: Vec::new(),
            serial: None,
            patients: Vec::new(),
            hl7_sender: None,
            ae_title: None,
            created: change.at,
            created_by: change.by.name.clone(),
            expires: None,
        });
    known.standing = change.after;
    known.why.clone_from(&change.why);
    known.since = change.at;
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
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::registry::known::DeviceKey;

    fn name(text: &str) -> DeviceName {
        text.parse().unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn open(directory: &Path) -> Registry {
        Registry::open(directory, at(0)).unwrap()
    }

    fn change(device: &str, after: Standing, mark: i64) -> Change {
        Change {
            mark,
            device: name(device),
            before: Standing::Active,
            after,
            why: "lost".to_owned(),
            by: By {
                uid: 0,
                name: "root".to_owned(),
            },
            at: at(mark),
        }
    }

    fn enrolled() -> Known {
        let key = |byte| DeviceKey {
            wireguard: PublicKey([byte; 32]),
            until: None,
        };
        let older = DeviceKey {
            until: Some(at(50)),
            ..key(2)
        };
        Known {
            origin: Origin::Enrolled,
            standing: Standing::Active,
            why: String::new(),
            since: at(0),
            roles: BTreeSet::new(),
            keys: vec![key(1), older],
            addresses: vec!["10.64.1.1".parse().unwrap()],
            serial: None,
            patients: Vec::new(),
            hl7_sender: Some("ECG^HOME".to_owned()),
            ae_title: None,
            created: at(0),
            created_by: "root".to_owned(),
            expires: Some(at(100)),
        }
    }

    fn loaded(revision: i64, devices: &[(&str, Known)]) -> Loaded {
        let devices = devices.iter();
        Loaded {
            version: Version {
                identity: 7,
                revision,
            },
            devices: devices.map(|(n, known)| (name(n), known.clone())).collect(),
            handshakes: BTreeMap::new(),
        }
    }

    #[test]
    fn standings_outlive_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let mut registry = open(&state);
        assert_eq!(registry.standing(&name("ecg-1")), Standing::Active);
        registry.set(change("ecg-1", Standing::Revoked, 1)).unwrap();
        let again = open(&state);
        assert_eq!(again.standing(&name("ecg-1")), Standing::Revoked);
        assert_eq!(again.standing(&name("ecg-2")), Standing::Active);
        assert_eq!(again.all(), registry.all());
        assert_eq!(again.unsaved(), registry.unsaved());
        let path = state.join(snapshot::FILE);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        insta::assert_snapshot!(std::fs::read_to_string(&path).unwrap());
    }

    /// As it was written by version 0.1.
    const OLD: &str = "{\n  \"version\": 1,\n  \"devices\": {\n    \"ecg-1\": {\n      \"standing\": \"revoked\",\n      \"why\": \"lost\",\n      \"since\": \"2026-11-21T22:56:17Z\"\n    }\n  }\n}\n";

    #[test]
    fn the_standings_of_version_0_1_are_imported_once() {
        let directory = tempfile::tempdir().unwrap();
        let old = directory.path().join("registry.json");
        std::fs::write(&old, OLD).unwrap();
        let registry = open(directory.path());
        assert_eq!(registry.standing(&name("ecg-1")), Standing::Revoked);
        assert_eq!(registry.unsaved().len(), 1);
        assert!(!old.exists() && directory.path().join("registry.json.imported").exists());
        // A crash between the two steps: what is known already is not imported over.
        let mut registry = open(directory.path());
        registry.set(change("ecg-1", Standing::Active, 5)).unwrap();
        std::fs::write(&old, OLD).unwrap();
        let registry = open(directory.path());
        assert_eq!(registry.standing(&name("ecg-1")), Standing::Active);
        assert!(!old.exists());
    }

    #[test]
    fn damage_releases_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let mut registry = open(directory.path());
        registry.set(change("a", Standing::Revoked, 1)).unwrap();
        let path = directory.path().join(snapshot::FILE);
        let good = std::fs::read_to_string(&path).unwrap();
        for (bad, why) in [
            (String::new(), "damaged"),
            (good[..good.len() / 2].to_owned(), "damaged"),
            (good.replace("revoked", "forgiven"), "damaged"),
            (good.replace("\"why\"", "\"because\""), "damaged"),
            (good.replace("\"version\":1", "\"version\":2"), "version 2"),
        ] {
            std::fs::write(&path, &bad).unwrap();
            let error = Registry::open(directory.path(), at(0)).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        for bad in [&OLD[..40], &OLD.replace("revoked", "forgiven")] {
            std::fs::write(directory.path().join("registry.json"), bad).unwrap();
            assert!(Registry::open(directory.path(), at(0)).is_err());
        }
    }

    #[test]
    fn a_crash_before_the_rename_leaves_the_old_state() {
        let directory = tempfile::tempdir().unwrap();
        let mut registry = open(directory.path());
        registry.set(change("a", Standing::Revoked, 1)).unwrap();
        let half = directory.path().join("registry.snapshot.json.new");
        std::fs::write(half, "{\"vers").unwrap();
        let mut again = open(directory.path());
        assert_eq!(again.standing(&name("a")), Standing::Revoked);
        again.set(change("a", Standing::Active, 2)).unwrap();
    }

    #[test]
    fn what_is_not_written_does_not_hold_unless_it_must() {
        let directory = tempfile::tempdir().unwrap();
        let mut registry = open(directory.path());
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        registry.directory = file;
        registry.set(change("a", Standing::Revoked, 1)).unwrap_err();
        assert_eq!(registry.standing(&name("a")), Standing::Active);
        registry.hold(change("a", Standing::Quarantined, 2));
        assert_eq!(registry.standing(&name("a")), Standing::Quarantined);
        assert_eq!(
            open(directory.path()).standing(&name("a")),
            Standing::Active
        );
        registry.directory = directory.path().to_owned();
        registry.set(change("b", Standing::Revoked, 3)).unwrap();
        let again = open(directory.path());
        assert_eq!(again.standing(&name("a")), Standing::Quarantined);
    }

    #[test]
    fn a_revocation_is_not_forgotten_by_a_database_that_does_not_know_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut registry = open(directory.path());
        assert!(
            registry
                .take_over(loaded(1, &[("ecg-1", enrolled())]))
                .unwrap()
        );
        assert!(
            !registry
                .take_over(loaded(1, &[("ecg-1", enrolled())]))
                .unwrap()
        );
        registry
            .set(change("ecg-1", Standing::Revoked, 10))
            .unwrap();
        let mut registry = open(directory.path());
        let mut quarantined = enrolled();
        (quarantined.standing, quarantined.since) = (Standing::Quarantined, at(20));
        registry
            .take_over(loaded(2, &[("ecg-1", quarantined)]))
            .unwrap();
        assert_eq!(registry.standing(&name("ecg-1")), Standing::Revoked);
        assert_eq!(registry.let_in().count(), 0);
        // Once the database has it, the database says how it is.
        registry.saved(10);
        registry
            .take_over(loaded(3, &[("ecg-1", enrolled())]))
            .unwrap();
        assert_eq!(registry.standing(&name("ecg-1")), Standing::Active);
        assert_eq!(registry.let_in().count(), 1);
    }

    #[test]
    fn time_ends_devices_and_keys_and_a_clock_that_steps_back_gives_them_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut registry = open(directory.path());
        registry
            .take_over(loaded(1, &[("ecg-1", enrolled())]))
            .unwrap();
        let ecg = name("ecg-1");
        let keys = |registry: &Registry| registry.older_keys(&ecg).count();
        assert_eq!(
            (keys(&registry), registry.standing(&ecg)),
            (1, Standing::Active)
        );
        assert!(!registry.follow_time(at(49)));
        assert!(registry.follow_time(at(50)));
        assert_eq!(
            (keys(&registry), registry.standing(&ecg)),
            (0, Standing::Active)
        );
        assert!(!registry.follow_time(at(99)));
        assert!(registry.follow_time(at(100)));
        assert_eq!(registry.standing(&ecg), Standing::Expired);
        assert_eq!(registry.let_in().count(), 0);
        assert!(!registry.follow_time(at(200)));
        assert!(registry.follow_time(at(10)));
        assert_eq!(
            (keys(&registry), registry.standing(&ecg)),
            (1, Standing::Active)
        );
        // Nobody comes back from revocation by the end of time.
        registry
            .set(change("ecg-1", Standing::Revoked, 20))
            .unwrap();
        registry.follow_time(at(100));
        assert_eq!(registry.standing(&ecg), Standing::Revoked);
    }
}

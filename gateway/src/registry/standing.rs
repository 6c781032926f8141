//! The standing of devices, on the disk.
//!
//! In: a decision of an operator. Out: the standing of each device, [`Standing::Active`] by default.
//! `registry.json` is replaced as a whole: after a crash it holds the old state or the new one.
//! A file that cannot be understood is an error, not an empty registry, so that nobody is released by damage.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::flow::DeviceName;
use crate::flow::Standing;

/// The standings of all devices that ever had another than [`Standing::Active`].
#[derive(Debug)]
pub struct Registry {
    directory: PathBuf,
    devices: BTreeMap<DeviceName, Entry>,
}

/// How a device stands, since when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// How.
    pub standing: Standing,
    /// In the operator's words.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
}

/// Why the registry cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The system says no.
    #[error("cannot {what} {path}")]
    Io {
        /// `read`, `write`, ….
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What it says.
        #[source]
        cause: io::Error,
    },
    /// Not what this program wrote.
    #[error("{path} is damaged: restore it, or remove it to make every device active")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        #[source]
        cause: serde_json::Error,
    },
    /// Of a later program.
    #[error("{path} has version {version}, this program knows version 1")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u64,
    },
    /// Longer than [`MAX_SIZE`].
    #[error("{0} is too large")]
    TooLarge(PathBuf),
}

impl Registry {
    /// Reads the registry in this directory; without a file it is empty.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn open(state_dir: &Path) -> Result<Self, RegistryError> {
        let path = state_dir.join(FILE);
        let mut registry = Self {
            directory: state_dir.to_owned(),
            devices: BTreeMap::new(),
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(registry),
            Err(cause) => return Err(failed("read", &path)(cause)),
        };
        let mut json = Vec::new();
        file.take(MAX_SIZE + 1)
            .read_to_end(&mut json)
            .map_err(failed("read", &path))?;
        if u64::try_from(json.len()).unwrap_or(u64::MAX) > MAX_SIZE {
            return Err(RegistryError::TooLarge(path));
        }
        let damaged = |cause| RegistryError::Damaged {
            path: path.clone(),
            cause,
        };
        // The version first: a later one may have other fields.
        let Version { version } = serde_json::from_slice(&json).map_err(damaged)?;
        if version != VERSION {
            return Err(RegistryError::Version { path, version });
        }
        let stored: Stored = serde_json::from_slice(&json).map_err(damaged)?;
        registry.devices = stored.devices;
        Ok(registry)
    }

    /// How a device stands.
    #[must_use]
    pub fn standing(&self, device: &DeviceName) -> Standing {
        self.devices
            .get(device)
            .map_or(Standing::Active, |entry| entry.standing)
    }

    /// What is known of a device, if an operator ever changed its standing.
    #[must_use]
    pub fn entry(&self, device: &DeviceName) -> Option<&Entry> {
        self.devices.get(device)
    }

    /// Everything that is known, also of devices that are not configured.
    #[must_use]
    pub fn all(&self) -> &BTreeMap<DeviceName, Entry> {
        &self.devices
    }

    /// Changes the standing of a device and returns the one before. It is on the disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written; then nothing changed.
    pub fn set(
        &mut self,
        device: &DeviceName,
        standing: Standing,
        why: &str,
        wall: Timestamp,
    ) -> Result<Standing, RegistryError> {
        let before = self.standing(device);
        let entry = Entry {
            standing,
            why: why.to_owned(),
            since: wall,
        };
        let mut devices = self.devices.clone();
        devices.insert(device.clone(), entry);
        self.save(&devices)?;
        self.devices = devices;
        Ok(before)
    }

    /// Changes the standing of a device for the life of this process, when it cannot be written, and returns the
    /// one before. The next [`Self::set`] that succeeds writes it too.
    pub fn hold(
        &mut self,
        device: &DeviceName,
        standing: Standing,
        why: &str,
        wall: Timestamp,
    ) -> Standing {
        let before = self.standing(device);
        let entry = Entry {
            standing,
            why: why.to_owned(),
            since: wall,
        };
        self.devices.insert(device.clone(), entry);
        before
    }

    fn save(&self, devices: &BTreeMap<DeviceName, Entry>) -> Result<(), RegistryError> {
        let path = self.directory.join(FILE);
        let new = self.directory.join("registry.json.new");
        let failed = |cause| failed("write", &path)(cause);
        let stored = StoredRef {
            version: VERSION,
            devices,
        };
        let mut json = serde_json::to_vec_pretty(&stored).map_err(|e| failed(e.into()))?;
        json.push(b'\n');
        if u64::try_from(json.len()).unwrap_or(u64::MAX) > MAX_SIZE {
            return Err(RegistryError::TooLarge(path));
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(failed)?;
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .map_err(failed)?;
        file.write_all(&json).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        std::fs::rename(&new, &path).map_err(failed)?;
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed)
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RegistryError {
    let path = path.to_owned();
    move |cause| RegistryError::Io { what, path, cause }
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[expect(dead_code, reason = "read before, as `Version`")]
    version: u64,
    devices: BTreeMap<DeviceName, Entry>,
}

#[derive(Serialize)]
struct StoredRef<'a> {
    version: u64,
    devices: &'a BTreeMap<DeviceName, Entry>,
}

const FILE: &str = "registry.json";
const VERSION: u64 = 1;
/// Largest registry that is read or written.
pub const MAX_SIZE: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn name(text: &str) -> DeviceName {
        text.parse().unwrap()
    }

    #[test]
    fn standings_outlive_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let wall: Timestamp = "2026-11-21T22:56:17Z".parse().unwrap();
        let mut registry = Registry::open(&state).unwrap();
        assert_eq!(registry.standing(&name("ecg-1")), Standing::Active);
        let set = |r: &mut Registry, s| r.set(&name("ecg-1"), s, "lost", wall).unwrap();
        assert_eq!(set(&mut registry, Standing::Quarantined), Standing::Active);
        assert_eq!(set(&mut registry, Standing::Revoked), Standing::Quarantined);

        let again = Registry::open(&state).unwrap();
        assert_eq!(again.standing(&name("ecg-1")), Standing::Revoked);
        assert_eq!(again.standing(&name("ecg-2")), Standing::Active);
        assert_eq!(again.all(), registry.all());
        let path = state.join(FILE);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        insta::assert_snapshot!(std::fs::read_to_string(&path).unwrap());
    }

    #[test]
    fn a_crash_before_the_rename_leaves_the_old_state() {
        let directory = tempfile::tempdir().unwrap();
        let mut registry = Registry::open(directory.path()).unwrap();
        registry
            .set(&name("a"), Standing::Revoked, "", Timestamp::UNIX_EPOCH)
            .unwrap();
        std::fs::write(directory.path().join("registry.json.new"), "{\"vers").unwrap();
        let mut again = Registry::open(directory.path()).unwrap();
        assert_eq!(again.standing(&name("a")), Standing::Revoked);
        again
            .set(&name("a"), Standing::Active, "", Timestamp::UNIX_EPOCH)
            .unwrap();
    }

    #[test]
    fn damage_releases_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let mut registry = Registry::open(directory.path()).unwrap();
        registry
            .set(&name("a"), Standing::Revoked, "", Timestamp::UNIX_EPOCH)
            .unwrap();
        let path = directory.path().join(FILE);
        let good = std::fs::read_to_string(&path).unwrap();
        for (bad, why) in [
            (String::new(), "damaged"),
            (good[..good.len() / 2].to_owned(), "damaged"),
            (good.replace("revoked", "forgiven"), "damaged"),
            (good.replace("\"why\"", "\"because\""), "damaged"),
            (
                good.replace("\"version\": 1", "\"version\": 2"),
                "version 2",
            ),
        ] {
            std::fs::write(&path, &bad).unwrap();
            let error = Registry::open(directory.path()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn what_is_not_written_does_not_hold() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let mut registry = Registry {
            directory: file,
            devices: BTreeMap::new(),
        };
        assert!(
            registry
                .set(&name("a"), Standing::Revoked, "", Timestamp::UNIX_EPOCH)
                .is_err()
        );
        assert_eq!(registry.standing(&name("a")), Standing::Active);
    }

    #[test]
    fn what_is_held_is_written_as_soon_as_the_disk_takes_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut registry = Registry::open(directory.path()).unwrap();
        let wall = Timestamp::UNIX_EPOCH;
        let before = registry.hold(&name("a"), Standing::Quarantined, "", wall);
        assert_eq!(before, Standing::Active);
        assert_eq!(registry.standing(&name("a")), Standing::Quarantined);
        let again = Registry::open(directory.path()).unwrap();
        assert_eq!(again.standing(&name("a")), Standing::Active);
        registry
            .set(&name("b"), Standing::Revoked, "", wall)
            .unwrap();
        let again = Registry::open(directory.path()).unwrap();
        assert_eq!(again.standing(&name("a")), Standing::Quarantined);
    }
}

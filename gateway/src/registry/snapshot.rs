//! The file that the supervisor starts with, whatever the database does.
//!
//! `registry.snapshot.json` is replaced as a whole: after a crash it holds the old state or the new one.
//! A file that cannot be understood is an error, not an empty registry, so that nobody is released by damage.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::known::{Change, Known};
use super::store::Version;
use crate::flow::{DeviceName, Standing};

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
    #[error("{path} is damaged: restore it, or remove it to go by the database alone")]
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

/// What is in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// The database, if there ever was one.
    pub(super) database: Option<Version>,
    /// Everybody.
    pub(super) devices: BTreeMap<DeviceName, Known>,
    /// What is not in the database yet.
    pub(super) unsaved: VecDeque<Change>,
    /// It was so late before, beyond doubt.
    pub(super) floor: Option<Timestamp>,
    /// Revoked devices whose certificates may not be revoked yet.
    pub(super) owed: BTreeSet<DeviceName>,
}

/// The snapshot in a directory, if there is one.
pub(super) fn read(directory: &Path) -> Result<Option<Snapshot>, RegistryError> {
    let path = directory.join(FILE);
    let Some(json) = read_file(&path)? else {
        return Ok(None);
    };
    let stored: Stored = parse(&path, &json)?;
    let revoked = || {
        let devices = stored.devices.iter();
        let revoked = devices.filter(|(_, known)| known.standing == Standing::Revoked);
        revoked.map(|(name, _)| name.clone()).collect()
    };
    Ok(Some(Snapshot {
        database: stored.database,
        floor: stored.floor,
        // Whoever wrote this did not say what is owed: once more does no harm.
        owed: stored.owed.unwrap_or_else(revoked),
        devices: stored.devices,
        unsaved: stored.unsaved,
    }))
}

/// The contents of a file of bounded size; `None` if there is none.
pub(super) fn read_file(path: &Path) -> Result<Option<Vec<u8>>, RegistryError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(failed("read", path)(cause)),
    };
    let mut json = Vec::new();
    file.take(MAX_SIZE + 1)
        .read_to_end(&mut json)
        .map_err(failed("read", path))?;
    if u64::try_from(json.len()).unwrap_or(u64::MAX) > MAX_SIZE {
        return Err(RegistryError::TooLarge(path.to_owned()));
    }
    Ok(Some(json))
}

/// The version first: a later one may have other fields.
pub(super) fn parse<T: serde::de::DeserializeOwned>(
    path: &Path,
    json: &[u8],
) -> Result<T, RegistryError> {
    let damaged = |cause| RegistryError::Damaged {
        path: path.to_owned(),
        cause,
    };
    let OnlyVersion { version } = serde_json::from_slice(json).map_err(damaged)?;
    if version != VERSION {
        let path = path.to_owned();
        return Err(RegistryError::Version { path, version });
    }
    serde_json::from_slice(json).map_err(damaged)
}

/// Replaces the snapshot. It is on the disk when this returns.
pub(super) fn write(directory: &Path, snapshot: &Snapshot) -> Result<(), RegistryError> {
    let stored = StoredRef {
        version: VERSION,
        database: snapshot.database,
        devices: &snapshot.devices,
        unsaved: &snapshot.unsaved,
        floor: snapshot.floor,
        owed: &snapshot.owed,
    };
    replace_file(directory, FILE, &stored)
}

/// Replaces a file as a whole; 0600. It is on the disk when this returns.
pub(super) fn replace_file(
    directory: &Path,
    name: &str,
    stored: &impl Serialize,
) -> Result<(), RegistryError> {
    let path = directory.join(name);
    let new = directory.join(format!("{name}.new"));
    let failed = |cause| failed("write", &path)(cause);
    let mut json = serde_json::to_vec(stored).map_err(|e| failed(e.into()))?;
    json.push(b'\n');
    if u64::try_from(json.len()).unwrap_or(u64::MAX) > MAX_SIZE {
        return Err(RegistryError::TooLarge(path));
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
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
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed)
}

pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RegistryError {
    let path = path.to_owned();
    move |cause| RegistryError::Io { what, path, cause }
}

#[derive(Deserialize)]
struct OnlyVersion {
    version: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[expect(dead_code, reason = "read before, as `OnlyVersion`")]
    version: u64,
    database: Option<Version>,
    devices: BTreeMap<DeviceName, Known>,
    unsaved: VecDeque<Change>,
    #[serde(default)]
    floor: Option<Timestamp>,
    #[serde(default)]
    owed: Option<BTreeSet<DeviceName>>,
}

#[derive(Serialize)]
struct StoredRef<'a> {
    version: u64,
    database: Option<Version>,
    devices: &'a BTreeMap<DeviceName, Known>,
    unsaved: &'a VecDeque<Change>,
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<Timestamp>,
    owed: &'a BTreeSet<DeviceName>,
}

pub(super) const FILE: &str = "registry.snapshot.json";
const VERSION: u64 = 1;
/// Largest registry that is read or written, in bytes.
//= C7
pub const MAX_SIZE: u64 = 256 << 20;

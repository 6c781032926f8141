//! Makes a database the registry's that is not the one before: made new, put back from a copy, or moved.
//!
//! Only an operator asks for it. What the gateway knows is written over what is there, but never lets anybody do more:
//! the stricter standing, the earlier end of a device and of a key count, and no token is open any more.
//! What is somebody else's by now stays theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tracing::warn;

use super::{INSERT_CERTIFICATE, INSERT_KEY, Place, Store, StoreError, insert, on};
use crate::flow::{DeviceName, Standing};
use crate::registry::known::{DeviceKey, Known};

impl Store {
    /// Opens whatever is there, or makes it; a damaged file is put aside. Then writes down everybody who is known.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn adopt(
        place: &Place,
        seed: i64,
        devices: &[(DeviceName, Known)],
    ) -> Result<Self, StoreError> {
        let store = match Self::open(place, None, seed).await {
            Err(StoreError::Damaged(_)) if put_aside(place)? => {
                Self::open(place, None, seed).await?
            }
            opened => opened?,
        };
        match store.merge(devices).await {
            Ok(()) => Ok(store),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    async fn merge(&self, devices: &[(DeviceName, Known)]) -> Result<(), StoreError> {
        on!(self, pool => {
            let mut tx = pool.begin().await?;
            sqlx::query(COUNT).execute(&mut *tx).await?;
            // In an older copy a token may be open that was used or taken back since.
            sqlx::query(REVOKE_TOKENS).execute(&mut *tx).await?;
            let mut there = There::of(
                sqlx::query_as(DEVICES).fetch_all(&mut *tx).await?,
                sqlx::query_as(KEYS).fetch_all(&mut *tx).await?,
                sqlx::query_as(CERTIFICATES).fetch_all(&mut *tx).await?,
                sqlx::query_as(ADDRESSES).fetch_all(&mut *tx).await?,
            );
            for step in there.steps(devices) {
                match step {
                    Step::Stand(name, known) => {
                        sqlx::query(SET_STANDING)
                            .bind(known.standing.as_str())
                            .bind(&known.why)
                            .bind(known.since.as_millisecond())
                            .bind(name.as_str())
                            .execute(&mut *tx)
                            .await?;
                    }
                    Step::End(name, at) => {
                        sqlx::query(SET_EXPIRES)
                            .bind(at)
                            .bind(name.as_str())
                            .execute(&mut *tx)
                            .await?;
                    }
                    Step::EndKey(key, at) => {
                        sqlx::query(SET_UNTIL).bind(at).bind(key).execute(&mut *tx).await?;
                    }
                    Step::AddKey(name, key, added) => {
                        sqlx::query(INSERT_KEY)
                            .bind(key.wireguard.to_string())
                            .bind(name.as_str())
                            .bind(added)
                            .bind(key.until.map(Timestamp::as_millisecond))
                            .execute(&mut *tx)
                            .await?;
                    }
                    Step::AddCertificate(name, fingerprint, added) => {
                        sqlx::query(INSERT_CERTIFICATE)
                            .bind(fingerprint)
                            .bind(name.as_str())
                            .bind(added)
                            .execute(&mut *tx)
                            .await?;
                    }
                    Step::Insert(name, known) => insert!(&mut *tx, name.as_str(), &known),
                }
            }
            tx.commit().await?;
            Ok(())
        })
    }
}

/// What is done to the database.
enum Step<'d> {
    Stand(&'d DeviceName, &'d Known),
    /// When a device is let in no more.
    End(&'d DeviceName, i64),
    /// When a key is taken no more.
    EndKey(String, i64),
    AddKey(&'d DeviceName, &'d DeviceKey, i64),
    AddCertificate(&'d DeviceName, &'d str, i64),
    Insert(&'d DeviceName, Box<Known>),
}

/// What is in the database.
struct There {
    /// Standing, end and serial number.
    devices: BTreeMap<String, (String, Option<i64>, Option<String>)>,
    /// Whose each key is, and its end.
    keys: BTreeMap<String, (String, Option<i64>)>,
    /// Of each device, those without an end.
    newest: BTreeMap<String, Vec<String>>,
    /// Fingerprints of keys of certificates.
    certificates: BTreeSet<String>,
    addresses: BTreeSet<String>,
    /// Of those who are not revoked.
    serials: BTreeSet<String>,
}

impl There {
    fn of(
        devices: Vec<(String, String, Option<i64>, Option<String>)>,
        keys: Vec<(String, String, Option<i64>)>,
        certificates: Vec<(String,)>,
        addresses: Vec<(String,)>,
    ) -> Self {
        let devices = devices.into_iter();
        let mut newest: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, owner, _) in keys.iter().filter(|(.., until)| until.is_none()) {
            newest.entry(owner.clone()).or_default().push(key.clone());
        }
        let keys = keys.into_iter();
        Self {
            devices: devices
                .map(|(name, standing, end, serial)| (name, (standing, end, serial)))
                .collect(),
            keys: keys
                .map(|(key, owner, until)| (key, (owner, until)))
                .collect(),
            newest,
            serials: BTreeSet::new(),
            certificates: certificates.into_iter().map(|(key,)| key).collect(),
            addresses: addresses.into_iter().map(|(address,)| address).collect(),
        }
    }

    /// First who loses something, so that what it had is free for those who are not there yet.
    fn steps<'d>(&mut self, devices: &'d [(DeviceName, Known)]) -> Vec<Step<'d>> {
        let mut steps = Vec::new();
        let is_there = |(name, _): &&(DeviceName, Known)| self.devices.contains_key(name.as_str());
        let (there, absent): (Vec<_>, Vec<_>) = devices.iter().partition(is_there);
        for (name, known) in there {
            self.restrict(name, known, &mut steps);
        }
        let revoked = Standing::Revoked.as_str();
        let devices = self.devices.values();
        self.serials = devices
            .filter(|(standing, ..)| standing != revoked)
            .filter_map(|(.., serial)| serial.clone())
            .collect();
        for (name, known) in absent {
            steps.push(self.newcomer(name, known));
        }
        steps
    }

    /// What was taken from a device stays taken from it.
    //= C5
    fn restrict<'d>(&mut self, name: &'d DeviceName, known: &'d Known, steps: &mut Vec<Step<'d>>) {
        if let Some((standing, end, _)) = self.devices.get_mut(name.as_str()) {
            if Standing::from_word(standing).is_some_and(|theirs| theirs < known.standing) {
                known.standing.as_str().clone_into(standing);
                steps.push(Step::Stand(name, known));
            }
            let ours = known.expires.map(Timestamp::as_millisecond);
            if let Some(at) = ours.filter(|at| end.is_none_or(|end| *at < end)) {
                *end = Some(at);
                steps.push(Step::End(name, at));
            }
        }
        for fingerprint in &known.certificates {
            if self.certificates.insert(fingerprint.clone()) {
                let added = known.since.as_millisecond();
                steps.push(Step::AddCertificate(name, fingerprint, added));
            }
        }
        let mut newest = None;
        for (age, key) in (0_i64..).zip(&known.keys) {
            let (text, until) = (
                key.wireguard.to_string(),
                key.until.map(Timestamp::as_millisecond),
            );
            match self.keys.get_mut(&text) {
                Some((owner, _)) if owner != name.as_str() => {
                    warn!(device = %name, owner, "its key is somebody else's in the database");
                    if known.standing == Standing::Revoked {
                        steps.push(Step::EndKey(text, LONG_AGO));
                    }
                    continue;
                }
                Some((_, theirs)) => {
                    if let Some(at) = until.filter(|at| theirs.is_none_or(|end| *at < end)) {
                        *theirs = Some(at);
                        steps.push(Step::EndKey(text.clone(), at));
                    }
                }
                None => {
                    let added = known.since.as_millisecond().saturating_sub(age);
                    self.keys
                        .insert(text.clone(), (name.as_str().to_owned(), until));
                    steps.push(Step::AddKey(name, key, added));
                }
            }
            if self.keys.get(&text).is_some_and(|(_, end)| end.is_none()) {
                newest = Some(text);
            }
        }
        let Some(newest) = newest else { return };
        // A device has one newest key: the one that the gateway knows.
        for key in self.newest.remove(name.as_str()).unwrap_or_default() {
            if let Some((_, until @ None)) = self.keys.get_mut(&key)
                && key != newest
            {
                *until = Some(LONG_AGO);
                steps.push(Step::EndKey(key, LONG_AGO));
            }
        }
    }

    /// A device that is not there, but for what is somebody else's by now.
    fn newcomer<'d>(&mut self, name: &'d DeviceName, known: &Known) -> Step<'d> {
        let mut known = known.clone();
        known.keys.retain(|key| {
            let text = key.wireguard.to_string();
            let free = !self.keys.contains_key(&text);
            if free {
                let until = key.until.map(Timestamp::as_millisecond);
                self.keys.insert(text, (name.as_str().to_owned(), until));
            } else {
                warn!(device = %name, "its key is somebody else's in the database");
            }
            free
        });
        known.certificates.retain(|fingerprint| {
            let free = self.certificates.insert(fingerprint.clone());
            if !free {
                warn!(device = %name, "the key of its certificate is somebody else's in the database");
            }
            free
        });
        known.addresses.retain(|address| {
            let free = self.addresses.insert(address.to_string());
            if !free {
                warn!(device = %name, "its address is somebody else's in the database");
            }
            free
        });
        let taken = known.standing != Standing::Revoked
            && (known.serial.as_ref()).is_some_and(|serial| !self.serials.insert(serial.clone()));
        if taken {
            warn!(device = %name, "its serial number is somebody else's in the database");
            known.serial = None;
        }
        Step::Insert(name, Box::new(known))
    }
}

/// Renames the damaged file, so that nothing of it is lost. False if there is no file.
fn put_aside(place: &Place) -> Result<bool, StoreError> {
    let Place::File(path) = place else {
        return Ok(false);
    };
    for suffix in ["", "-wal", "-shm"] {
        let from = with_suffix(path, suffix);
        let to = with_suffix(path, &format!("{suffix}.damaged"));
        match std::fs::rename(&from, to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Away(sqlx::Error::Io(error)));
            }
            _ => {}
        }
    }
    Ok(true)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

const COUNT: &str = "UPDATE meta SET value = value + 1 WHERE name = 'revision'";
const REVOKE_TOKENS: &str =
    "UPDATE token SET revoked = created WHERE uses_left > 0 AND revoked IS NULL";
const DEVICES: &str = "SELECT name, standing, expires, serial FROM device";
const KEYS: &str = "SELECT value, device, until FROM device_key WHERE kind = 'wireguard'";
const CERTIFICATES: &str = "SELECT value FROM device_key WHERE kind = 'certificate'";
const ADDRESSES: &str = "SELECT address FROM device_address";
const SET_STANDING: &str = "UPDATE device SET standing = $1, why = $2, since = $3 WHERE name = $4";
const SET_EXPIRES: &str = "UPDATE device SET expires = $1 WHERE name = $2";
const SET_UNTIL: &str = "UPDATE device_key SET until = $1 WHERE kind = 'wireguard' AND value = $2";
/// Whatever the clock says, it is over.
const LONG_AGO: i64 = 0;

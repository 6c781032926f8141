//! Changes what is known. Each change is one transaction that begins with the counter of changes,
//! so that writers follow each other on both databases.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;

use super::error::Taken;
use super::settle::{ALL_ADDRESSES, ALL_KEYS, NAMES, There, complete, settle};
use super::{INSERT_KEY, Pool, Store, StoreError, insert, on};
use crate::flow::{DeviceName, Standing};
use crate::registry::addresses::Addresses;
use crate::registry::known::{By, Change, Newcomer, Origin, PublicKey};

/// Another key for a device.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// Which device.
    pub device: DeviceName,
    /// Its key from now on.
    pub key: PublicKey,
    /// Until when the keys before are taken too; `None` is not at all.
    pub overlap_until: Option<Timestamp>,
    /// In the operator's words.
    pub why: String,
    /// Drawn for the record of it.
    pub mark: i64,
    /// Who decided.
    pub by: By,
    /// When.
    pub at: Timestamp,
}

/// Another end for a device.
#[derive(Clone, Debug)]
pub struct Extension {
    /// Which device.
    pub device: DeviceName,
    /// When it stops being let in; `None` is never.
    pub expires: Option<Timestamp>,
    /// In the operator's words.
    pub why: String,
    /// Drawn for the record of it.
    pub mark: i64,
    /// Who decided.
    pub by: By,
    /// When.
    pub at: Timestamp,
}

impl Store {
    /// Gives a device another end.
    ///
    /// # Errors
    /// When the device is unknown, or the database does not take it.
    pub async fn extend(&self, extension: &Extension) -> Result<(), StoreError> {
        let name = extension.device.as_str();
        on!(self, pool => {
            let mut tx = pool.begin().await?;
            let (revision,): (i64,) = sqlx::query_as(COUNT).bind(1_i64).fetch_one(&mut *tx).await?;
            let changed = sqlx::query(SET_EXPIRES)
                .bind(extension.expires.map(Timestamp::as_millisecond))
                .bind(name)
                .execute(&mut *tx)
                .await?;
            if changed.rows_affected() == 0 {
                return Err(StoreError::Unknown(extension.device.clone()));
            }
            sqlx::query(EVENT)
                .bind(revision)
                .bind(extension.mark)
                .bind(name)
                .bind(extension.at.as_millisecond())
                .bind(i64::from(extension.by.uid))
                .bind(&extension.by.name)
                .bind("extended")
                .bind(&extension.why)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(())
        })
    }

    /// Writes another standing down, once however often it is called with the same mark.
    ///
    /// What somebody else decided stays, unless this is stricter or its author knew of it.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn save(&self, change: &Change) -> Result<(), StoreError> {
        let (name, at) = (change.device.as_str(), change.at.as_millisecond());
        on!(self, pool => {
            let mut tx = pool.begin().await?;
            let (revision,): (i64,) = sqlx::query_as(COUNT).bind(1_i64).fetch_one(&mut *tx).await?;
            let seen: Option<(i64,)> =
                sqlx::query_as(SEEN).bind(change.mark).fetch_optional(&mut *tx).await?;
            if seen.is_some() {
                tx.rollback().await?;
                return Ok(());
            }
            let now: Option<(String, i64)> =
                sqlx::query_as(STANDING).bind(name).fetch_optional(&mut *tx).await?;
            let holds = now.as_ref().is_none_or(|(standing, since)| {
                let since = Timestamp::from_millisecond(*since).unwrap_or(Timestamp::MAX);
                Standing::from_word(standing)
                    .is_some_and(|standing| change.holds_over(standing, since))
            });
            if now.is_none() {
                sqlx::query(INSERT_FILE)
                    .bind(name)
                    .bind(Standing::Active.as_str())
                    .bind(at)
                    .bind(&change.by.name)
                    .execute(&mut *tx)
                    .await?;
            }
            sqlx::query(EVENT)
                .bind(revision)
                .bind(change.mark)
                .bind(name)
                .bind(at)
                .bind(i64::from(change.by.uid))
                .bind(&change.by.name)
                .bind(change.what())
                .bind(&change.why)
                .execute(&mut *tx)
                .await?;
            if holds {
                sqlx::query(SET_STANDING)
                    .bind(change.after.as_str())
                    .bind(&change.why)
                    .bind(at)
                    .bind(name)
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
            Ok(())
        })
    }

    /// Adds devices, all or none; those without addresses get some.
    ///
    /// # Errors
    /// [`StoreError::Refused`] with everything that cannot be; or when the database does not take it.
    pub async fn add(
        &self,
        newcomers: &[Newcomer],
        mut addresses: Addresses,
    ) -> Result<(), StoreError> {
        let count = i64::try_from(newcomers.len()).unwrap_or(i64::MAX);
        on!(self, pool => {
            let mut tx = pool.begin().await?;
            let (last,): (i64,) = sqlx::query_as(COUNT).bind(count).fetch_one(&mut *tx).await?;
            let (complete, walk) = match newcomers {
                [one] => {
                    let (complete, walk) = settle!(self, &mut *tx, one, addresses);
                    (vec![complete], Some(walk))
                }
                // Of so many it is less work to read everything.
                _ => {
                    let there = There {
                        names: sqlx::query_as(NAMES).fetch_all(&mut *tx).await?,
                        keys: sqlx::query_as(ALL_KEYS).fetch_all(&mut *tx).await?,
                        addresses: sqlx::query_as(ALL_ADDRESSES).fetch_all(&mut *tx).await?,
                    };
                    (complete(newcomers, there, &mut addresses)?, None)
                }
            };
            for (revision, (newcomer, known)) in (last.saturating_sub(count)..last).zip(&complete) {
                let name = newcomer.name.as_str();
                insert!(&mut *tx, name, known);
                let what = match known.origin {
                    Origin::Imported => "imported",
                    Origin::Enrolled | Origin::File => "added",
                };
                sqlx::query(EVENT)
                    .bind(revision.saturating_add(1))
                    .bind(newcomer.mark)
                    .bind(name)
                    .bind(known.created.as_millisecond())
                    .bind(i64::from(newcomer.by.uid))
                    .bind(&newcomer.by.name)
                    .bind(what)
                    .bind(&known.why)
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
            self.walk.go_on(walk);
            Ok(())
        })
    }

    /// Gives a device another key.
    ///
    /// # Errors
    /// When the device is unknown, the key is somebody's, or the database does not take it.
    pub async fn rotate(&self, rotation: &Rotation) -> Result<(), StoreError> {
        let (name, key) = (rotation.device.as_str(), rotation.key.to_string());
        let at = rotation.at.as_millisecond();
        // A key that is not to be taken any more ended, whatever the clock says.
        let until = rotation.overlap_until.map_or(0, Timestamp::as_millisecond);
        on!(self, pool => {
            let mut tx = pool.begin().await?;
            let (revision,): (i64,) = sqlx::query_as(COUNT).bind(1_i64).fetch_one(&mut *tx).await?;
            let known: Option<(i64,)> =
                sqlx::query_as(ENROLLED).bind(name).fetch_optional(&mut *tx).await?;
            if known.is_none() {
                return Err(StoreError::Unknown(rotation.device.clone()));
            }
            let owner: Option<(String,)> =
                sqlx::query_as(KEY_OWNER).bind(&key).fetch_optional(&mut *tx).await?;
            if let Some((owner,)) = owner {
                return Err(StoreError::Refused(vec![(0, Taken::Key(owner))]));
            }
            sqlx::query(END_KEYS).bind(until).bind(name).execute(&mut *tx).await?;
            sqlx::query(INSERT_KEY)
                .bind(&key)
                .bind(name)
                .bind(at)
                .bind(None::<i64>)
                .execute(&mut *tx)
                .await?;
            sqlx::query(EVENT)
                .bind(revision)
                .bind(rotation.mark)
                .bind(name)
                .bind(at)
                .bind(i64::from(rotation.by.uid))
                .bind(&rotation.by.name)
                .bind("rotated")
                .bind(&rotation.why)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(())
        })
    }

    /// Writes a copy of the database into a new file.
    ///
    /// # Errors
    /// When it is no file of ours, the new file exists, or cannot be written.
    pub async fn backup(&self, path: &Path) -> Result<(), StoreError> {
        let Pool::Sqlite(pool) = &self.pool else {
            return Err(StoreError::NotAFile);
        };
        let failed = |cause| StoreError::Backup {
            path: path.to_owned(),
            cause,
        };
        let Some(text) = path.to_str() else {
            return Err(failed(std::io::ErrorKind::InvalidFilename.into()));
        };
        // The mode is right before the first byte; SQLite takes an empty file for a new one.
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        let copied = sqlx::query("VACUUM INTO $1").bind(text).execute(pool).await;
        if let Err(error) = copied {
            // What is not whole is no backup.
            std::fs::remove_file(path).map_err(failed)?;
            // Whatever it is, it is of the copy: whether the database itself can be used is looked at every second.
            return Err(failed(std::io::Error::other(error)));
        }
        std::fs::File::open(path)
            .and_then(|file| file.sync_all())
            .map_err(failed)
    }
}

pub(super) const COUNT: &str =
    "UPDATE meta SET value = value + $1 WHERE name = 'revision' RETURNING value";
const SEEN: &str = "SELECT revision FROM device_event WHERE mark = $1";
const STANDING: &str = "SELECT standing, since FROM device WHERE name = $1";
const SET_STANDING: &str = "UPDATE device SET standing = $1, why = $2, since = $3, approved = CASE WHEN $1 = 'active' THEN 1 ELSE approved END WHERE name = $4";
pub(super) const EVENT: &str = "INSERT INTO device_event (revision, mark, device, at, uid, who, what, why) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const INSERT_FILE: &str = "INSERT INTO device (name, origin, standing, why, since, roles, patients, created, created_by) VALUES ($1, 'file', $2, '', $3, '', '', $3, $4)";
const ENROLLED: &str =
    "SELECT since FROM device WHERE name = $1 AND origin <> 'file' AND standing <> 'revoked'";
const SET_EXPIRES: &str =
    "UPDATE device SET expires = $1 WHERE name = $2 AND origin <> 'file' AND standing <> 'revoked'";
const KEY_OWNER: &str = "SELECT device FROM device_key WHERE kind = 'wireguard' AND value = $1";
const END_KEYS: &str = "UPDATE device_key SET until = $1 WHERE kind = 'wireguard' AND device = $2 AND (until IS NULL OR until > $1)";

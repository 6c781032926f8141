//! The registry's database: SQLite in a file, or PostgreSQL. The same queries on both.
//!
//! In: changes. Out: what is known, and why not when it cannot be told.
//! A database that is damaged, gone or another one than before is an error; nothing is made anew in its place.
//! Knows nothing of the network or of who may change what.

mod adopt;
mod change;
mod error;
mod load;
mod open;
mod place;
mod remove;
mod seen;
mod settle;
mod token;
#[cfg(test)]
pub(in crate::registry) mod tests;

pub use change::{Extension, Rotation};
pub use error::{StoreError, Taken};
pub use load::Loaded;
pub use place::Place;
pub use remove::Removal;

use std::time::Duration;

use sqlx::{PgPool, SqlitePool};

/// An open database.
#[derive(Debug)]
pub struct Store {
    pool: Pool,
    place: Place,
    /// The file that was opened, by device and inode.
    file: Option<(u64, u64)>,
    /// Where the search for free addresses ended.
    walk: settle::Walk,
}

#[derive(Debug)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Which database it is, and how many changes it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Drawn when it was made.
    pub identity: i64,
    /// Changes so far.
    pub revision: i64,
}

impl Version {
    /// Whether this is one change later than what was known.
    #[must_use]
    pub fn follows(self, known: Self) -> bool {
        self.identity == known.identity && Some(self.revision) == known.revision.checked_add(1)
    }

    /// Whether this is the database that was known before, with everything that it had then.
    ///
    /// # Errors
    /// [`StoreError::Other`]; [`StoreError::Older`] when changes are missing, as after a restored copy.
    pub fn after(self, known: Self) -> Result<(), StoreError> {
        if self.identity != known.identity {
            return Err(StoreError::Other);
        }
        if self.revision < known.revision {
            let found = self;
            return Err(StoreError::Older { found, known });
        }
        Ok(())
    }
}

/// The same code for both databases.
macro_rules! on {
    ($store:expr, $pool:ident => $body:expr) => {
        match &$store.pool {
            $crate::registry::store::Pool::Sqlite($pool) => $body,
            $crate::registry::store::Pool::Postgres($pool) => $body,
        }
    };
}
use on;

/// Writes a device down that is not there, with its keys and addresses.
macro_rules! insert {
    ($connection:expr, $name:expr, $known:expr) => {{
        let (name, known): (&str, &$crate::registry::known::Known) = ($name, $known);
        sqlx::query($crate::registry::store::INSERT)
            .bind(name)
            .bind(known.origin.as_str())
            .bind(known.standing.as_str())
            .bind(&known.why)
            .bind(known.since.as_millisecond())
            .bind($crate::registry::store::joined(
                known.roles.iter().map(|role| role.as_str()),
            ))
            .bind(&known.serial)
            .bind($crate::registry::store::joined(
                known.patients.iter().map(String::as_str),
            ))
            .bind(&known.hl7_sender)
            .bind(&known.ae_title)
            .bind(known.created.as_millisecond())
            .bind(&known.created_by)
            .bind(known.expires.map(jiff::Timestamp::as_millisecond))
            .bind(i64::from(known.approved))
            .bind(i64::from(known.removed))
            .execute($connection)
            .await?;
        // The newest key is the first.
        for (age, key) in (0_i64..).zip(&known.keys) {
            sqlx::query($crate::registry::store::INSERT_KEY)
                .bind(key.wireguard.to_string())
                .bind(name)
                .bind(known.created.as_millisecond().saturating_sub(age))
                .bind(key.until.map(jiff::Timestamp::as_millisecond))
                .execute($connection)
                .await?;
        }
        for fingerprint in &known.certificates {
            sqlx::query($crate::registry::store::INSERT_CERTIFICATE)
                .bind(fingerprint)
                .bind(name)
                .bind(known.created.as_millisecond())
                .execute($connection)
                .await?;
        }
        for address in &known.addresses {
            sqlx::query($crate::registry::store::INSERT_ADDRESS)
                .bind(address.to_string())
                .bind(name)
                .execute($connection)
                .await?;
        }
    }};
}
use insert;

impl Store {
    /// Ends all connections; SQLite writes its log back into the file.
    pub async fn close(self) {
        on!(self, pool => pool.close().await);
    }
}

fn joined<'t>(words: impl Iterator<Item = &'t str>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

const INSERT: &str = "INSERT INTO device (name, origin, standing, why, since, roles, serial, patients, hl7_sender, ae_title, created, created_by, expires, approved, removed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
const INSERT_KEY: &str = "INSERT INTO device_key (kind, value, device, added, until) VALUES ('wireguard', $1, $2, $3, $4)";
const INSERT_CERTIFICATE: &str =
    "INSERT INTO device_key (kind, value, device, added) VALUES ('certificate', $1, $2, $3)";
const INSERT_ADDRESS: &str = "INSERT INTO device_address (address, device) VALUES ($1, $2)";
/// For one connection to be made or to become free.
const ACQUIRE: Duration = Duration::from_secs(5);
/// For another process that writes into the same file.
const BUSY: Duration = Duration::from_secs(2);

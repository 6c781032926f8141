//! Reads what is known.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use super::{Pool, Store, StoreError, Version, on};
use crate::flow::{DeviceName, Standing};
use crate::registry::known::{By, Chapter, DeviceKey, Known, Origin};

/// Everything in the database at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Which database, and how far.
    pub version: Version,
    /// By name.
    pub devices: BTreeMap<DeviceName, Known>,
}

/// As in [`DeviceRow`].
macro_rules! columns {
    () => {
        "SELECT name, origin, standing, why, since, roles, serial, patients, hl7_sender, ae_title, created, created_by, expires, approved, removed"
    };
}
macro_rules! keys {
    () => {
        "SELECT device, value, until FROM device_key WHERE kind = 'wireguard'"
    };
}
macro_rules! newest_first {
    () => {
        " ORDER BY device, CASE WHEN until IS NULL THEN 0 ELSE 1 END, added DESC, value"
    };
}
macro_rules! certificates {
    () => {
        "SELECT device, value FROM device_key WHERE kind = 'certificate'"
    };
}

type DeviceRow = (
    String,
    String,
    String,
    String,
    i64,
    String,
    Option<String>,
    String,
    Option<String>,
    Option<String>,
    i64,
    String,
    Option<i64>,
    i64,
    i64,
);

/// Whose, which, and until when.
type KeyRow = (String, String, Option<i64>);

impl Store {
    /// All devices, as they are at one moment.
    ///
    /// # Errors
    /// When the database does not answer or holds what it cannot hold.
    pub async fn load(&self) -> Result<Loaded, StoreError> {
        self.version().await?;
        let begin = self.begin();
        on!(self, pool => {
            let mut tx = pool.begin_with(begin).await?;
            let meta: Vec<(String, i64)> = sqlx::query_as(META).fetch_all(&mut *tx).await?;
            let devices: Vec<DeviceRow> = sqlx::query_as(DEVICES).fetch_all(&mut *tx).await?;
            let keys: Vec<KeyRow> =
                sqlx::query_as(KEYS).fetch_all(&mut *tx).await?;
            let certificates: Vec<(String, String)> =
                sqlx::query_as(CERTIFICATES).fetch_all(&mut *tx).await?;
            let addresses: Vec<(String, String)> =
                sqlx::query_as(ADDRESSES).fetch_all(&mut *tx).await?;
            tx.rollback().await?;
            // Somebody else may have let addresses go.
            self.walk.go_on(None);
            assemble(&meta, devices, (keys, certificates), addresses)
        })
    }

    /// One device, as it is at one moment; nobody if it is not there.
    ///
    /// # Errors
    /// When the database does not answer or holds what it cannot hold.
    pub async fn load_one(&self, device: &DeviceName) -> Result<Loaded, StoreError> {
        let name = device.as_str();
        let begin = self.begin();
        on!(self, pool => {
            let mut tx = pool.begin_with(begin).await?;
            let meta: Vec<(String, i64)> = sqlx::query_as(META).fetch_all(&mut *tx).await?;
            let devices: Vec<DeviceRow> =
                sqlx::query_as(DEVICE).bind(name).fetch_all(&mut *tx).await?;
            let keys: Vec<KeyRow> =
                sqlx::query_as(ITS_KEYS).bind(name).fetch_all(&mut *tx).await?;
            let certificates: Vec<(String, String)> =
                sqlx::query_as(ITS_CERTIFICATES).bind(name).fetch_all(&mut *tx).await?;
            let addresses: Vec<(String, String)> =
                sqlx::query_as(ITS_ADDRESSES).bind(name).fetch_all(&mut *tx).await?;
            tx.rollback().await?;
            assemble(&meta, devices, (keys, certificates), addresses)
        })
    }

    /// By default each query of a server would see another moment.
    fn begin(&self) -> &'static str {
        match &self.pool {
            Pool::Sqlite(_) => "BEGIN",
            Pool::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    /// What became of a device, the latest last; at most a thousand lines of it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn story(&self, device: &DeviceName) -> Result<Vec<Chapter>, StoreError> {
        type Row = (i64, i64, i64, String, String, String);
        let rows: Vec<Row> = on!(self, pool => {
            sqlx::query_as(STORY)
                .bind(device.as_str())
                .bind(MAX_CHAPTERS)
                .fetch_all(pool)
                .await
        })?;
        let mut story = Vec::with_capacity(rows.len());
        for (revision, at, uid, name, what, why) in rows.into_iter().rev() {
            let uid = u32::try_from(uid).map_err(|_| strange("the uid of a change"))?;
            story.push(Chapter {
                revision: u64::try_from(revision).map_err(|_| strange("the number of a change"))?,
                at: time(at)?,
                by: By { uid, name },
                what,
                why,
            });
        }
        Ok(story)
    }
}

fn assemble(
    meta: &[(String, i64)],
    rows: Vec<DeviceRow>,
    (keys, certificates): (Vec<KeyRow>, Vec<(String, String)>),
    addresses: Vec<(String, String)>,
) -> Result<Loaded, StoreError> {
    let value = |wanted: &str| {
        let row = meta.iter().find(|(name, _)| name == wanted);
        row.map(|(_, value)| *value)
            .ok_or_else(|| strange("which database it is"))
    };
    let version = Version {
        identity: value("identity")?,
        revision: value("revision")?,
    };
    let mut devices: HashMap<String, Known> = HashMap::with_capacity(rows.len());
    for row in rows {
        let (name, known) = device(row)?;
        devices.insert(name, known);
    }
    for (device, key, until) in keys {
        let known = devices.get_mut(&device);
        let known = known.ok_or_else(|| strange("whose key it is"))?;
        known.keys.push(DeviceKey {
            wireguard: key.parse().map_err(|_| strange("a key"))?,
            until: until.map(time).transpose()?,
        });
    }
    for (device, fingerprint) in certificates {
        let known = devices.get_mut(&device);
        let known = known.ok_or_else(|| strange("whose certificate it is"))?;
        known.certificates.push(fingerprint);
    }
    for (device, address) in addresses {
        let known = devices.get_mut(&device);
        let known = known.ok_or_else(|| strange("whose address it is"))?;
        let address = address.parse().map_err(|_| strange("an address"))?;
        known.addresses.push(address);
    }
    for known in devices.values_mut() {
        known.addresses.sort_unstable();
    }
    let mut named = BTreeMap::new();
    for (name, known) in devices {
        named.insert(name.parse().map_err(|_| strange("a name"))?, known);
    }
    Ok(Loaded {
        version,
        devices: named,
    })
}

fn device(row: DeviceRow) -> Result<(String, Known), StoreError> {
    let (
        name,
        origin,
        standing,
        why,
        since,
        roles,
        serial,
        patients,
        sender,
        title,
        created,
        by,
        expires,
        approved,
        removed,
    ) = row;
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let mut all = BTreeSet::new();
    for role in words(&roles) {
        all.insert(role.parse().map_err(|_| strange("a role"))?);
    }
    let known = Known {
        origin: match origin.as_str() {
            "file" => Origin::File,
            "enrolled" => Origin::Enrolled,
            "imported" => Origin::Imported,
            _ => return Err(strange("an origin")),
        },
        standing: Standing::from_word(&standing).ok_or_else(|| strange("a standing"))?,
        approved: approved != 0,
        removed: removed != 0,
        why,
        since: time(since)?,
        roles: all,
        keys: Vec::new(),
        certificates: Vec::new(),
        addresses: Vec::new(),
        serial,
        patients: words(&patients),
        hl7_sender: sender,
        ae_title: title,
        created: time(created)?,
        created_by: by,
        expires: expires.map(time).transpose()?,
    };
    Ok((name, known))
}

pub(super) fn time(milliseconds: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(milliseconds).map_err(|_| strange("a time"))
}

pub(super) fn strange(what: &str) -> StoreError {
    StoreError::Damaged(format!("{what} cannot be understood"))
}

/// Longest story that is told.
//= C7
const MAX_CHAPTERS: i64 = 1000;
const META: &str = "SELECT name, value FROM meta";
const DEVICES: &str = concat!(columns!(), " FROM device");
const DEVICE: &str = concat!(columns!(), " FROM device WHERE name = $1");
const KEYS: &str = concat!(keys!(), newest_first!());
const ITS_KEYS: &str = concat!(keys!(), " AND device = $1", newest_first!());
const CERTIFICATES: &str = concat!(certificates!(), " ORDER BY device, added DESC, value");
const ITS_CERTIFICATES: &str = concat!(
    certificates!(),
    " AND device = $1 ORDER BY added DESC, value"
);
const ADDRESSES: &str = "SELECT device, address FROM device_address";
const ITS_ADDRESSES: &str = "SELECT device, address FROM device_address WHERE device = $1";
const STORY: &str = "SELECT revision, at, uid, who, what, why FROM device_event WHERE device = $1 ORDER BY revision DESC LIMIT $2";

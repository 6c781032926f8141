//! Opens a database, and makes sure that it is the one that was known.

use std::borrow::Cow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{PgPool, SqlStr, SqlitePool};

use super::{ACQUIRE, Place, Pool, Store, StoreError, Version, on};

impl Store {
    /// Opens the database that was known, or a new one if none was.
    ///
    /// `seed` is drawn by chance; it becomes the identity of a database that is made now.
    ///
    /// # Errors
    /// When it is gone, damaged, another or older than what was known, or does not answer.
    pub async fn open(
        place: &Place,
        known: Option<Version>,
        seed: i64,
    ) -> Result<Self, StoreError> {
        let store = Self::connect(place, known.is_none()).await?;
        let checked = store.check(known, seed).await;
        match checked {
            Ok(()) => Ok(store),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    async fn connect(place: &Place, create: bool) -> Result<Self, StoreError> {
        let (pool, file) = match place {
            Place::File(path) => {
                let (pool, file) = open_file(path, create).await?;
                (Pool::Sqlite(pool), Some(file))
            }
            Place::Server(server) => {
                let options = super::place::postgres(server)?;
                let pool: PgPool = PgPoolOptions::new()
                    .max_connections(1)
                    .acquire_timeout(ACQUIRE)
                    .connect_with(options)
                    .await?;
                (Pool::Postgres(pool), None)
            }
        };
        Ok(Self {
            pool,
            place: place.clone(),
            file,
            walk: super::settle::Walk::default(),
        })
    }

    async fn check(&self, known: Option<Version>, seed: i64) -> Result<(), StoreError> {
        self.check_integrity().await?;
        if known.is_some() && !self.has_tables().await? {
            return Err(StoreError::Empty);
        }
        let migrator = migrator();
        on!(self, pool => migrator.run(pool).await)?;
        on!(self, pool => sqlx::query(IDENTIFY).bind(seed).execute(pool).await.map(drop))?;
        let Some(known) = known else { return Ok(()) };
        self.version().await?.after(known)
    }

    async fn check_integrity(&self) -> Result<(), StoreError> {
        let Pool::Sqlite(pool) = &self.pool else {
            return Ok(());
        };
        let said: Vec<(String,)> = sqlx::query_as("PRAGMA integrity_check(3)")
            .fetch_all(pool)
            .await?;
        let said: Vec<String> = said.into_iter().map(|(line,)| line).collect();
        if said == ["ok"] {
            return Ok(());
        }
        Err(StoreError::Damaged(said.join("; ")))
    }

    async fn has_tables(&self) -> Result<bool, StoreError> {
        let tables: (i64,) = match &self.pool {
            Pool::Sqlite(pool) => sqlx::query_as(SQLITE_TABLES).fetch_one(pool).await?,
            Pool::Postgres(pool) => sqlx::query_as(POSTGRES_TABLES).fetch_one(pool).await?,
        };
        Ok(tables.0 > 0)
    }

    /// Which database this is, and how far.
    ///
    /// # Errors
    /// When it does not answer, or its file is gone.
    pub async fn version(&self) -> Result<Version, StoreError> {
        // An open file answers although its name was removed or given to another.
        if let (Place::File(path), Some(file)) = (&self.place, self.file)
            && identify(path).ok() != Some(file)
        {
            return Err(StoreError::Gone(path.clone()));
        }
        let rows: Vec<(String, i64)> = on!(self, pool => sqlx::query_as("SELECT name, value FROM meta").fetch_all(pool).await)?;
        let value = |wanted: &str| {
            rows.iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, v)| *v)
        };
        match (value("identity"), value("revision")) {
            (Some(identity), Some(revision)) => Ok(Version { identity, revision }),
            _ => Err(StoreError::Damaged(
                "it does not say which it is".to_owned(),
            )),
        }
    }
}

async fn open_file(path: &Path, create: bool) -> Result<(SqlitePool, (u64, u64)), StoreError> {
    match path.try_exists() {
        Ok(false) if !create => return Err(StoreError::Gone(path.to_owned())),
        Ok(_) => {}
        Err(cause) => return Err(StoreError::Away(sqlx::Error::Io(cause))),
    }
    let options = super::place::sqlite(path, create);
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE)
        .connect_with(options)
        .await?;
    let file = identify(path).map_err(|cause| StoreError::Away(sqlx::Error::Io(cause)))?;
    Ok((pool, file))
}

fn identify(path: &Path) -> std::io::Result<(u64, u64)> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Steps that were ever released never change: the database remembers their digests.
fn migrator() -> Migrator {
    let steps = STEPS.iter().map(|(version, description, sql)| {
        Migration::new(
            *version,
            Cow::Borrowed(description),
            MigrationType::Simple,
            SqlStr::from_static(sql),
            false,
        )
    });
    Migrator::with_migrations(steps.collect())
}

const STEPS: [(i64, &str, &str); 3] = [
    (1, "devices", include_str!("0001_devices.sql")),
    (2, "tokens", include_str!("0002_tokens.sql")),
    (3, "approved", include_str!("0003_approved.sql")),
];
const IDENTIFY: &str =
    "INSERT INTO meta (name, value) VALUES ('identity', $1) ON CONFLICT (name) DO NOTHING";
const SQLITE_TABLES: &str =
    "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'meta'";
const POSTGRES_TABLES: &str = "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'meta' AND table_schema = current_schema()";

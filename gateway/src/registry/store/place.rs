//! Where a database is, as the driver wants to know it.

use std::path::{Path, PathBuf};

use lazaret_config::{Database, DatabaseHost, Server};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use super::{BUSY, StoreError};

/// Where the registry's database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file.
    File(PathBuf),
    /// A PostgreSQL server.
    Server(Server),
}

impl Place {
    /// As configured; the default is a file in the state directory.
    #[must_use]
    pub fn new(database: &Database, state_dir: &Path) -> Self {
        match database {
            Database::File => Self::File(state_dir.join(FILE)),
            Database::Server(server) => Self::Server(server.clone()),
        }
    }
}

impl Place {
    /// Whether there may be a database already, as far as this machine can tell.
    #[must_use]
    pub fn may_exist(&self) -> bool {
        match self {
            Self::File(path) => path.try_exists().unwrap_or(true),
            Self::Server(_) => true,
        }
    }
}

/// Waits for other writers, holds what refers to each other together, and is on the disk when it says so.
pub(super) fn sqlite(path: &Path, create: bool) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(create)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
}

/// TLS with the certificates of `ca_file`, or a way that stays in this machine.
///
/// # Errors
/// When the password cannot be read.
pub(super) fn postgres(server: &Server) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::new_without_pgpass()
        .port(server.port)
        .username(&server.user)
        .database(&server.database)
        .application_name("lazaret")
        .options([("statement_timeout", STATEMENT_TIMEOUT)]);
    let options = match &server.host {
        DatabaseHost::Socket(directory) => options.socket(directory),
        DatabaseHost::Address(address) => options.host(&address.to_string()),
        DatabaseHost::Name(name) => options.host(name),
    };
    let options = match &server.ca_file {
        Some(file) => options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert(file),
        None => options.ssl_mode(PgSslMode::Disable),
    };
    let Some(file) = &server.password_file else {
        return Ok(options);
    };
    let password = lazaret_config::read_password(file).map_err(StoreError::Password)?;
    Ok(options.password(&String::from_utf8_lossy(password.as_bytes())))
}

const FILE: &str = "registry.db";
/// Nothing here takes long.
const STATEMENT_TIMEOUT: &str = "10s";

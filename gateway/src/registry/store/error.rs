//! Why the database does not do what it should, by what an operator can do about it.

use std::path::PathBuf;

use sqlx::error::ErrorKind;
use sqlx::migrate::MigrateError;

use super::Version;
use crate::flow::DeviceName;

/// Why something is not in the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It was there once.
    #[error("the registry's database is gone: {0}")]
    Gone(PathBuf),
    /// It was there once.
    #[error("the registry's tables are not in the database any more")]
    Empty,
    /// Nobody answers, or not in time.
    #[error("the registry's database cannot be reached")]
    Away(#[source] sqlx::Error),
    /// No rights to read or write it.
    #[error("the registry's database cannot be written")]
    ReadOnly(#[source] sqlx::Error),
    /// No room on its disk.
    #[error("there is no room for the registry's database")]
    Full(#[source] sqlx::Error),
    /// Not what a database looks like.
    #[error("the registry's database is damaged: {0}")]
    Damaged(String),
    /// Of a later program, or changed by somebody else.
    #[error("the registry's database has another structure than this program knows")]
    Structure(#[source] MigrateError),
    /// Not the one that this gateway knew.
    #[error("this is another database than the one before")]
    Other,
    /// The one that this gateway knew, but as it was before.
    #[error(
        "the registry's database was put back to change {}, this gateway knows change {}",
        found.revision, known.revision
    )]
    Older {
        /// What it says.
        found: Version,
        /// What it said before.
        known: Version,
    },
    /// The password cannot be read.
    #[error("the password of the registry's database cannot be read")]
    Password(#[source] lazaret_config::KeyFileError),
    /// What should be added contradicts what is there; number of the newcomer, from 0.
    #[error("{} of the devices cannot be added", .0.len())]
    Refused(Vec<(usize, Taken)>),
    /// Nobody has the name.
    #[error("there is no enrolled device {0}")]
    Unknown(DeviceName),
    /// It was used, taken back or ended.
    #[error("the token is not good any more")]
    Spent,
    /// Nobody made it, or it cannot be used any more.
    #[error("there is no token of this id that could still be used")]
    NoToken,
    /// As many as there may be.
    #[error("too many tokens wait to be used: revoke some")]
    TooManyTokens,
    /// Somebody else was there at the same moment.
    #[error("it was changed by somebody else at the same moment: try again")]
    Race(#[source] sqlx::Error),
    /// A file of that name is there already, or cannot be written.
    #[error("cannot write {path}")]
    Backup {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// Only of a file.
    #[error("a PostgreSQL database is backed up by its own tools, such as pg_dump")]
    NotAFile,
    /// It was tried before.
    #[error("the registry's database cannot be used now: {0}")]
    Unusable(String),
    /// Anything else.
    #[error("the registry's database does not do what it is told")]
    Sql(#[source] sqlx::Error),
}

/// What a newcomer cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Taken {
    /// The name.
    #[error("there is a device {0} already")]
    Name(DeviceName),
    /// A key, of this or of a former device.
    #[error("device {0} has or had the same key")]
    Key(String),
    /// An address.
    #[error("device {0} has the same address")]
    Address(String),
    /// A serial number.
    #[error("device {0} has the same serial number")]
    Serial(String),
    /// No address is left.
    #[error(transparent)]
    Exhausted(#[from] crate::registry::addresses::Exhausted),
}

impl StoreError {
    /// Whether the database is not to be used, rather than what was asked of it.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::Refused(_)
            | Self::Unknown(_)
            | Self::Race(_)
            | Self::Spent
            | Self::NoToken
            | Self::TooManyTokens
            | Self::Backup { .. }
            | Self::Unusable(_)
            | Self::NotAFile => false,
            Self::Gone(_)
            | Self::Empty
            | Self::Away(_)
            | Self::ReadOnly(_)
            | Self::Full(_)
            | Self::Damaged(_)
            | Self::Structure(_)
            | Self::Other
            | Self::Older { .. }
            | Self::Password(_)
            | Self::Sql(_) => true,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let Some(told) = error.as_database_error() else {
            let away = matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
            );
            let strange = matches!(
                error,
                sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)
            );
            return match (away, strange) {
                (true, _) => Self::Away(error),
                (false, true) => Self::Damaged(error.to_string()),
                (false, false) => Self::Sql(error),
            };
        };
        if told.kind() == ErrorKind::UniqueViolation {
            return Self::Race(error);
        }
        // SQLite says its number, PostgreSQL five characters (`SQLSTATE`).
        let code = told.code().unwrap_or_default().into_owned();
        let primary = code.parse::<u32>().ok().filter(|_| code.len() < 5);
        match (primary.map(|code| code & 0xff), code.as_str()) {
            (Some(8), _) | (None, "25006" | "42501") => Self::ReadOnly(error),
            (Some(13), _) | (None, "53100") => Self::Full(error),
            (Some(11 | 26), _) => Self::Damaged(told.message().to_owned()),
            (Some(5 | 6 | 10 | 14), _) => Self::Away(error),
            (None, code)
                if ["08", "28", "3D", "53", "57", "58"]
                    .contains(&code.get(..2).unwrap_or_default()) =>
            {
                Self::Away(error)
            }
            (None, code) if code.starts_with("XX") => Self::Damaged(told.message().to_owned()),
            (Some(_) | None, _) => Self::Sql(error),
        }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        if let MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) = error {
            cause.into()
        } else {
            Self::Structure(error)
        }
    }
}

//! Files of the state directory that say what was, is and will be in force.
//!
//! Each is replaced as a whole and on the disk when a function returns.
//! What this program did not write is an error, never an empty file.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Why what is kept of policies cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system says no.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// `read` or `write`.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What it says.
        #[source]
        cause: io::Error,
    },
    /// Not what this program wrote.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// Says what could not be done, and where.
pub(super) fn failed(what: &'static str, path: &Path) -> impl Fn(io::Error) -> StoreError {
    move |cause| StoreError::Io {
        what,
        path: path.to_owned(),
        cause,
    }
}

pub(super) fn damaged(path: &Path, why: impl ToString) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

/// Says which version of a policy is in force although the files say something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pin {
    /// The version in the history.
    pub(super) version: u64,
    /// SHA-256 over the files that it stands in place of, in hex; other files win.
    pub(super) instead_of: String,
    /// The files are on trial: they are in force until the gateway ends.
    #[serde(default)]
    pub(super) trial: bool,
}

/// Files that were agreed to, and come into force when the gateway starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Admitted {
    /// SHA-256 over them, in hex.
    pub(super) digest: String,
    /// Who asked for it, and by whose word, as it will stand in the history.
    pub(super) word: super::Word,
}

/// What is in a file of the state directory; `None` if there is none.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(failed("read", path)(cause)),
    };
    let mut json = Vec::new();
    let read = file.take(LONGEST).read_to_end(&mut json);
    read.map_err(failed("read", path))?;
    if u64::try_from(json.len()).unwrap_or(u64::MAX) >= LONGEST {
        return Err(damaged(path, "it is too long"));
    }
    let Versioned { format, value } =
        serde_json::from_slice(&json).map_err(|error| damaged(path, error))?;
    if format != FORMAT {
        return Err(damaged(
            path,
            format!("it has format {format}, this program knows {FORMAT}"),
        ));
    }
    Ok(Some(value))
}

/// Replaces a file of the state directory; `None` removes it.
pub(super) fn replace<T: Serialize>(path: &Path, value: Option<&T>) -> Result<(), StoreError> {
    let written = match value {
        Some(value) => private(path.parent()).and_then(|()| {
            let new = path.with_extension("new");
            write(&new, &json(value)?)?;
            std::fs::rename(&new, path)
        }),
        None => match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => removed,
        },
    };
    let synced = written.and_then(|()| path.parent().map_or(Ok(()), sync));
    synced.map_err(failed("write", path))
}

/// As it is written, with the number of its format.
pub(super) fn json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let format = FORMAT;
    let mut json = serde_json::to_vec(&Versioned { format, value })?;
    json.push(b'\n');
    Ok(json)
}

/// A new file, on the disk when this returns; an old one of the same name is nobody's.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A directory for its owner alone, if it is not there yet.
pub(super) fn private(directory: Option<&Path>) -> io::Result<()> {
    let Some(directory) = directory else {
        return Ok(());
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// Names in a directory are on the disk when this returns.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    format: u32,
    #[serde(flatten)]
    value: T,
}

const FORMAT: u32 = 1;
/// Bytes of a file that is read: records of changes are bounded, everything else is short.
//= C7
const LONGEST: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_replaced_removed_and_never_guessed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/pinned.json");
        assert_eq!(read::<Pin>(&path).unwrap(), None);
        replace::<Pin>(&path, None).unwrap();
        for version in [1, 2] {
            let pin = Pin {
                version,
                instead_of: "00".to_owned(),
                trial: false,
            };
            replace(&path, Some(&pin)).unwrap();
            assert_eq!(read(&path).unwrap(), Some(pin));
        }
        for (text, why) in [
            ("", "EOF"),
            ("{}", "format"),
            (
                r#"{"format":2,"version":1,"instead_of":""}"#,
                "it has format 2",
            ),
            (
                r#"{"format":1,"version":-1,"instead_of":""}"#,
                "invalid value",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let shown = read::<Pin>(&path).unwrap_err().to_string();
            assert!(
                shown.contains("is damaged") && shown.contains(why),
                "{shown}"
            );
        }
        replace::<Pin>(&path, None).unwrap();
        replace::<Pin>(&path, None).unwrap();
        assert_eq!(read::<Pin>(&path).unwrap(), None);
    }
}

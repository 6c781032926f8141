//! The keys of the journal: 32 random bytes in a file that only its owner reads.
//!
//! A key is created once, whole or not at all, and never replaced.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// A key.
pub type Key = Zeroizing<[u8; 32]>;

/// The key for digests and identifiers of messages.
pub const DIGEST_KEY: &str = "digest.key";
/// The key that seals the sync point.
pub const LOG_KEY: &str = "log.key";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The system says no.
    #[error("cannot use {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        #[source]
        cause: io::Error,
    },
    /// Not 32 bytes.
    #[error("{0} is not a key of 32 bytes")]
    Length(PathBuf),
    /// Not the owner's alone.
    #[error("{0} can be read by others")]
    Mode(PathBuf),
    /// The system has no random bytes.
    #[error("no random bytes")]
    Random,
}

/// Reads a key.
///
/// # Errors
/// When it is not there, not 32 bytes, or not the owner's alone.
pub fn read(path: &Path) -> Result<Key, KeyError> {
    let io = |cause| KeyError::Io {
        path: path.to_owned(),
        cause,
    };
    let mut file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if metadata.mode() & 0o077 != 0 {
        return Err(KeyError::Mode(path.to_owned()));
    }
    if !metadata.is_file() || metadata.len() != 32 {
        return Err(KeyError::Length(path.to_owned()));
    }
    let mut key = Zeroizing::new([0; 32]);
    file.read_exact(key.as_mut_slice()).map_err(io)?;
    Ok(key)
}

/// Reads a key, or creates it if it is not there.
///
/// # Errors
/// As [`read`], and when it cannot be created.
pub fn read_or_create(directory: &Path, name: &str) -> Result<Key, KeyError> {
    let path = directory.join(name);
    match read(&path) {
        Err(KeyError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
            create(directory, name)?;
            read(&path)
        }
        read => read,
    }
}

/// The name appears only when the key is on the disk, and never in the place of another key.
fn create(directory: &Path, name: &str) -> Result<(), KeyError> {
    let path = directory.join(name);
    let new = directory.join(format!("{name}.new"));
    let io = |cause| KeyError::Io {
        path: path.clone(),
        cause,
    };
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(key.as_mut_slice()).map_err(|_| KeyError::Random)?;
    match std::fs::remove_file(&new) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(io(cause)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(io)?;
    file.write_all(key.as_slice()).map_err(io)?;
    file.sync_all().map_err(io)?;
    std::fs::hard_link(&new, &path).map_err(io)?;
    std::fs::remove_file(&new).map_err(io)?;
    File::open(directory).and_then(|d| d.sync_all()).map_err(io)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_created_once_and_is_the_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let first = read_or_create(directory.path(), LOG_KEY).unwrap();
        assert_eq!(first, read_or_create(directory.path(), LOG_KEY).unwrap());
        assert_ne!(first, read_or_create(directory.path(), DIGEST_KEY).unwrap());
        let path = directory.path().join(LOG_KEY);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read(&path), Err(KeyError::Mode(_))));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, [0; 31]).unwrap();
        assert!(matches!(
            read_or_create(directory.path(), LOG_KEY),
            Err(KeyError::Length(_))
        ));
    }

    #[test]
    fn a_crash_while_creating_leaves_no_half_key() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("log.key.new"), [0; 7]).unwrap();
        assert!(read_or_create(directory.path(), LOG_KEY).is_ok());
        assert!(!directory.path().join("log.key.new").exists());
    }
}

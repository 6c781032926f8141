//! Reads key files.
//!
//! In: a path. Out: a key that is wiped when it is dropped and never printed, or why the file cannot be trusted.

use std::fmt;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A secret key of 32 bytes.
pub struct Key([u8; 32]);

/// A text that is wiped when it is dropped and never printed: a password, or the contents of a key file.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(Vec<u8>);

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It is not there, or we may not read it.
    #[error("cannot read the key file")]
    Read(#[source] io::Error),
    /// A directory, socket, pipe or device.
    #[error("the key file is not a regular file")]
    NotRegular,
    /// Others may read or write it; the group may read what is root's.
    #[error("others may read or write the key file (mode {mode:04o})")]
    Exposed {
        /// Its permission bits.
        mode: u32,
    },
    /// Its contents are something else.
    #[error("the key file does not hold one base64 key of 32 bytes")]
    NotAKey,
    /// Its contents are something else.
    #[error("the password file does not hold one line of text")]
    NotAPassword,
}

/// Reads a key file: regular, for its owner only (or root's, for a group to read), one line of base64 with 32 bytes.
///
/// # Errors
/// When the file is anything else; the text never has anything of the contents.
pub fn read_key(path: &Path) -> Result<Key, KeyFileError> {
    let mut text = [0; LONGEST];
    let key = read_private(path, &mut text)
        .and_then(|length| decode(text.get(..length).unwrap_or_default().trim_ascii()));
    wipe(&mut text);
    key
}

/// Fills the buffer from a regular file that is for its owner only; how much it holds.
fn read_private(path: &Path, text: &mut [u8]) -> Result<usize, KeyFileError> {
    // Asked before opening, because opening a pipe would wait for its other end; asked again of what was opened.
    if !std::fs::metadata(path)
        .map_err(KeyFileError::Read)?
        .is_file()
    {
        return Err(KeyFileError::NotRegular);
    }
    let file = File::open(path).map_err(KeyFileError::Read)?;
    let metadata = file.metadata().map_err(KeyFileError::Read)?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotRegular);
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if is_exposed(mode, metadata.uid()) {
        return Err(KeyFileError::Exposed { mode });
    }
    let mut length = 0;
    let mut rest = file.take(u64::try_from(text.len()).unwrap_or(u64::MAX));
    while let Some(free) = text.get_mut(length..).filter(|free| !free.is_empty()) {
        match rest.read(free).map_err(KeyFileError::Read)? {
            0 => break,
            read => length = length.saturating_add(read),
        }
    }
    Ok(length)
}

/// Reads a password file: regular, for its owner only, one line of 1 to 255 bytes without control characters.
///
/// # Errors
/// When the file is anything else; the text never has anything of the contents.
pub fn read_password(path: &Path) -> Result<Hidden, KeyFileError> {
    let mut text = [0; LONGEST + 1];
    let read = read_private(path, &mut text);
    let password = read.and_then(|length| {
        let line = text.get(..length).unwrap_or_default();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let good = (1..LONGEST).contains(&line.len())
            && std::str::from_utf8(line).is_ok_and(|line| !line.chars().any(char::is_control));
        good.then(|| Hidden::new(line))
            .ok_or(KeyFileError::NotAPassword)
    });
    wipe(&mut text);
    password
}

/// A key that root gave to the group of the gateway can be read by it, and not be changed.
fn is_exposed(mode: u32, owner: u32) -> bool {
    let allowed = if owner == 0 { 0o740 } else { 0o700 };
    mode & 0o777 & !allowed != 0
}

/// The key of a line of base64.
pub(crate) fn decode(text: &[u8]) -> Result<Key, KeyFileError> {
    // The decoder wants room for what the length may hold before it looks at the padding.
    let mut bytes = [0; 33];
    let mut key = Key([0; 32]);
    let decoded = STANDARD.decode_slice(text, &mut bytes);
    let good = match (decoded, bytes.get(..32)) {
        (Ok(32), Some(all)) => {
            key.0.copy_from_slice(all);
            key.0 != [0; 32]
        }
        _ => false,
    };
    wipe(&mut bytes);
    good.then_some(key).ok_or(KeyFileError::NotAKey)
}

impl Hidden {
    /// Hides a text.
    #[must_use]
    pub fn new(text: impl Into<Vec<u8>>) -> Self {
        Self(text.into())
    }

    /// What is hidden.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(…)")
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl Key {
    /// The key itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

// Two configurations are compared, never a key with a guess.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Overwrites; the black box keeps the compiler from leaving it out.
fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    black_box(bytes);
}

/// Longest contents that are looked at: a key with white space around it.
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const TEXT: &str = "GKVwpUlBqwtTJyFyCdHPzQbYdT0Lhf7Yl9SmI3aV+Xw=";

    fn file(contents: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn reads_a_key_and_never_prints_it() {
        for contents in [TEXT.to_owned(), format!(" {TEXT}\r\n")] {
            let (_dir, path) = file(&contents, 0o600);
            let key = read_key(&path).unwrap();
            assert_eq!(STANDARD.encode(key.as_bytes()), TEXT);
            assert_eq!(format!("{key:?}"), "Key(…)");
        }
    }

    #[test]
    fn refuses_what_others_may_read() {
        for mode in [0o644, 0o604, 0o620, 0o602, 0o601, 0o660] {
            let (_dir, path) = file(TEXT, mode);
            let error = read_key(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::Exposed { .. }), "{mode:o}");
        }
    }

    #[test]
    fn a_group_reads_what_is_roots_and_nothing_else() {
        for (mode, owner, exposed) in [
            (0o600, 0, false),
            (0o600, 770, false),
            (0o400, 770, false),
            (0o640, 0, false),
            (0o440, 0, false),
            (0o640, 770, true),
            (0o440, 770, true),
            (0o660, 0, true),
            (0o650, 0, true),
            (0o644, 0, true),
            (0o641, 0, true),
        ] {
            assert_eq!(is_exposed(mode, owner), exposed, "{mode:o} {owner}");
        }
    }

    #[test]
    fn refuses_what_is_not_one_key() {
        let short = &TEXT[..40];
        let two = format!("{TEXT}\n{TEXT}\n");
        let zeros = format!("{}=", "A".repeat(43));
        for contents in ["", "hello", short, two.as_str(), zeros.as_str()] {
            let (_dir, path) = file(contents, 0o600);
            let error = read_key(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::NotAKey), "{contents}");
        }
        let (_dir, path) = file(&"A".repeat(100_000), 0o600);
        assert!(matches!(read_key(&path), Err(KeyFileError::NotAKey)));
    }

    #[test]
    fn a_password_is_one_line() {
        for contents in ["correct horse", "correct horse\n", "correct horse\r\n"] {
            let (_dir, path) = file(contents, 0o600);
            let password = read_password(&path).unwrap();
            assert_eq!(password.as_bytes(), b"correct horse");
        }
        let long = "A".repeat(256);
        for contents in ["", "\n", "two\nlines\n", long.as_str()] {
            let (_dir, path) = file(contents, 0o600);
            let error = read_password(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::NotAPassword), "{contents}");
        }
        let (_dir, path) = file("correct horse", 0o644);
        assert!(matches!(
            read_password(&path),
            Err(KeyFileError::Exposed { .. })
        ));
    }

    #[test]
    fn refuses_what_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            read_key(dir.path()),
            Err(KeyFileError::NotRegular)
        ));
        let missing = dir.path().join("missing");
        assert!(matches!(read_key(&missing), Err(KeyFileError::Read(_))));
    }
}

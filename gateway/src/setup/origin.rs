//! Which file the configuration in force was imported from, and whether that still lies about with its secrets.
//!
//! Kept is a salted hash, as hard to guess from as that of the console's password: the file had the password in it.
//! Knows nothing of where the file is.

use std::io;
use std::path::PathBuf;

use super::places::Places;
use super::secret;
use crate::own;

/// Whether the configuration in force came from exactly this file with its secrets.
#[must_use]
pub fn came_from(places: &Places, text: &str) -> bool {
    let noted = noted(places);
    let hash = noted.lines().last().unwrap_or_default();
    secret::verify(text.as_bytes(), hash)
}

/// Whether the file that the configuration came from may still be somewhere with its secrets.
#[must_use]
pub fn leaves_secrets(places: &Places) -> bool {
    let noted = noted(places);
    !noted.is_empty() && noted.lines().next() != Some(WIPED)
}

/// Notes that the secrets were taken from where the file was, or that nobody here can take them.
///
/// # Errors
/// Those of the file system.
pub fn note_wiped(places: &Places) -> io::Result<()> {
    if !leaves_secrets(places) {
        return Ok(());
    }
    let marked = format!("{WIPED}\n{}", noted(places));
    own::replace(&place(places), marked.as_bytes())
}

fn noted(places: &Places) -> String {
    let noted = own::read(&place(places), LONGEST).unwrap_or_default();
    String::from_utf8(noted).unwrap_or_default()
}

/// Beside the hash of the password, and as hard to guess from: the file had the password in it.
pub(super) fn place(places: &Places) -> PathBuf {
    places.admin().with_file_name("imported")
}

/// What it is called in a new configuration, until it is in its place.
pub(super) const STAGED: &str = ".imported";
/// The first line, once the file has no secrets any more.
const WIPED: &str = "wiped";
/// Longest hash with what is noted of it. //= C7
pub(super) const LONGEST: u64 = 1024;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::setup::import::tests::{BASE, full, site};
    use crate::setup::import::{ImportError, Imported, import};

    fn take(places: &Places, text: &str) -> Result<Imported, ImportError> {
        import(places, Path::new("stick/lazaret.toml"), text)
    }

    #[test]
    fn what_is_kept_of_a_file_is_a_salted_hash() {
        let (_root, places) = site();
        take(&places, &full()).unwrap();
        let noted = fs::read_to_string(place(&places)).unwrap();
        assert!(
            noted.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{noted}"
        );
        let mode = fs::metadata(place(&places)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        assert!(came_from(&places, &full()) && leaves_secrets(&places));
        assert!(!came_from(
            &places,
            &full().replace("correct horse", "battery staple")
        ));
        take(&places, &full()).unwrap();
        let again = fs::read_to_string(place(&places)).unwrap();
        assert_ne!(noted, again, "each has a salt of its own");
        note_wiped(&places).unwrap();
        note_wiped(&places).unwrap();
        assert!(came_from(&places, &full()) && !leaves_secrets(&places));
        // A file without secrets leaves none, and nothing can be wiped for it.
        take(&places, BASE).unwrap();
        assert!(!came_from(&places, BASE) && !came_from(&places, &full()));
        assert!(!leaves_secrets(&places));
        for bad in [
            &[b'x'; 2000][..],
            b"\xff",
            b"wiped",
            b"$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHRzYWx0$AAAA",
        ] {
            fs::write(place(&places), bad).unwrap();
            assert!(!came_from(&places, &full()));
        }
    }
}

//! A clock on the wall that a test sets, for one program alone (libfaketime).
//!
//! In: steps. Out: what the environment of the program must say. Clocks that nobody can set go on as they are.

use std::path::{Path, PathBuf};

use crate::lab::Lab;

/// A wall clock.
pub struct WallClock {
    says: PathBuf,
    library: PathBuf,
}

impl WallClock {
    /// One that is right.
    ///
    /// # Panics
    /// When `faketime` is not installed.
    pub fn new(lab: &Lab) -> Self {
        let mut folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
        let library = folders.find_map(|folder| {
            let file = folder.path().join("faketime/libfaketimeMT.so.1");
            file.is_file().then_some(file)
        });
        let clock = Self {
            says: lab.directory().join("wall-clock"),
            library: library.expect("faketime is installed"),
        };
        clock.is_off_by("+0");
        clock
    }

    /// From now on it is off by this much, as `+1d` or `-2h`.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn is_off_by(&self, much: &str) {
        let new = self.says.with_extension("new");
        std::fs::write(&new, format!("{much}\n")).unwrap();
        std::fs::rename(new, &self.says).unwrap();
    }

    /// For a program that looks at it.
    pub(crate) fn environment(&self) -> [(&'static str, &Path); 6] {
        [
            ("LD_PRELOAD", &self.library),
            ("FAKETIME_TIMESTAMP_FILE", &self.says),
            ("FAKETIME_NO_CACHE", Path::new("1")),
            ("FAKETIME_DONT_FAKE_MONOTONIC", Path::new("1")),
            ("FAKETIME_DISABLE_SHM", Path::new("1")),
            ("NO_FAKE_STAT", Path::new("1")),
        ]
    }
}

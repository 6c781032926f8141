//! A stick with an update, for machines that reach no server: mounted for as long as it is read.

use std::io;
use std::path::{Path, PathBuf};

use crate::systemd;

/// A mounted stick; unmounted when dropped.
#[derive(Debug)]
pub struct Stick {
    folder: PathBuf,
}

/// Why there is no stick to read.
#[derive(Debug, thiserror::Error)]
pub enum StickError {
    /// None has the label.
    #[error("there is no stick labelled {LABEL}")]
    None,
    /// It is not FAT, or broken.
    #[error("the stick cannot be read")]
    Mount(#[source] io::Error),
}

impl Stick {
    /// Mounts the stick with the label, to be read only.
    ///
    /// # Errors
    /// When there is none, or it holds no FAT file system.
    pub fn mount() -> Result<Self, StickError> {
        let device = Path::new("/dev/disk/by-label").join(LABEL);
        if !device.exists() {
            return Err(StickError::None);
        }
        systemd::ask("start", UNIT).map_err(StickError::Mount)?;
        let folder = PathBuf::from(FOLDER);
        Ok(Self { folder })
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Stick {
    fn drop(&mut self) {
        let _gone = systemd::ask("stop", UNIT);
    }
}

/// FAT has room for eleven characters.
const LABEL: &str = "LAZARET-UPD";
const UNIT: &str = "run-stick-update.mount";
const FOLDER: &str = "/run/stick/update";

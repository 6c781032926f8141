//! A stick with an update, for machines that reach no server: mounted for as long as it is read.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags};

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
        let folder = PathBuf::from(FOLDER);
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&folder).map_err(StickError::Mount)?;
        let flags =
            MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        rustix::mount::mount(&device, &folder, "vfat", flags, None)
            .map_err(|errno| StickError::Mount(errno.into()))?;
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
        // It is only read: whoever pulls it out loses nothing.
        let _gone = rustix::mount::unmount(&self.folder, UnmountFlags::DETACH);
    }
}

const LABEL: &str = "LAZARET-UPDATE";
const FOLDER: &str = "/run/lazaret-update";

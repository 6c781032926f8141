//! What belongs to whoever runs us and to nobody else: the folder of root on the appliance, and the files in it.
//!
//! In: paths. Out: bytes of regular files of ours that nobody else may touch, or an error; links are never followed.
//! Knows nothing of what is kept there. The gateway's own user has `/var/lib/lazaret`, and nothing of it is believed by root.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Where root keeps what it acts upon: the console's password, the state of updates, the last start.
pub const FOLDER: &str = "/var/lib/lazaret-appliance";
/// What is above the configuration on the appliance: root's, too, but the gateway may look into it.
pub const CONFIGURATION: &str = "/var/lib/lazaret-config";

/// Makes sure of a folder: it is made if it is not there, as are those above it, and is ours alone.
///
/// # Errors
/// `PermissionDenied` when it is a link, belongs to somebody else or can be used by others; those of the file system.
pub fn folder(path: &Path) -> io::Result<()> {
    // What is there, whatever it is, is looked at below.
    if fs::symlink_metadata(path).is_err() {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    }
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Err(denied("it is not a directory"));
    }
    ours(&metadata, OTHERS)
}

/// Reads the first `most` bytes of a regular file that is ours alone.
///
/// # Errors
/// As [`open`].
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads the first `most` bytes of a regular file that is ours, and that others may read but not change.
///
/// # Errors
/// As [`open`], but others may read it.
pub fn read_shown(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_for(path, CHANGES)?
        .take(most)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes sure that a folder is ours and that nobody else may exchange what is in it; others may look.
///
/// # Errors
/// `PermissionDenied` when it is a link, no folder, of somebody else or for others to change; those of the file system.
pub fn is_kept(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Err(denied("it is not a directory"));
    }
    ours(&metadata, CHANGES)
}

/// Opens a regular file that is ours alone, to be read.
///
/// # Errors
/// `NotFound`; `PermissionDenied` when it is a link, no file, of somebody else or for others to use; those of the file system.
pub fn open(path: &Path) -> io::Result<File> {
    open_for(path, OTHERS)
}

fn open_for(path: &Path, denied_to_others: u32) -> io::Result<File> {
    // Opening a pipe would wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::LOOP) => return Err(denied("it is a link")),
        Err(errno) => return Err(errno.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(denied("it is not a regular file"));
    }
    ours(&metadata, denied_to_others)?;
    Ok(file)
}

/// Opens a file to be written, and makes it if it is not there; what was in it stays.
///
/// # Errors
/// As [`open`].
pub fn open_to_write(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(denied("it is not a regular file"));
    }
    ours(&metadata, OTHERS)?;
    Ok(file)
}

/// Writes a file so that the old one or the new one is there whenever the power goes.
///
/// # Errors
/// When the folder is not ours alone, and those of the file system.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    folder(parent)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let new = parent.join(format!("{}.new", name.to_string_lossy()));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(parent)?.sync_all()
}

fn ours(metadata: &Metadata, denied_to_others: u32) -> io::Result<()> {
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(denied("it belongs to somebody else"));
    }
    if metadata.mode() & denied_to_others != 0 {
        return Err(denied("others may use it"));
    }
    Ok(())
}

fn denied(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

/// All rights of the group and of everybody.
const OTHERS: u32 = 0o077;
/// What changes a file, or what is in a folder.
const CHANGES: u32 = 0o022;

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn only_what_is_ours_alone_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("own");
        let file = own.join("state");
        replace(&file, b"state").unwrap();
        assert_eq!(read(&file, 100).unwrap(), b"state");
        assert_eq!(read(&file, 3).unwrap(), b"sta");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&own), mode(&file)), (0o700, 0o600));
        let missing = read(&own.join("none"), 1).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        symlink(&file, own.join("link")).unwrap();
        for name in ["link", "."] {
            let error = read(&own.join(name), 1).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{name}");
        }
        assert!(open_to_write(&own.join("link")).is_err());
        assert!(open_to_write(&file).is_ok());
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        assert!(read(&file, 1).is_err() && open_to_write(&file).is_err());
    }

    #[test]
    fn what_others_may_read_is_believed_and_what_they_may_change_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("own");
        let file = own.join("hostname");
        replace(&file, b"nord").unwrap();
        for (mode, believed) in [
            (0o600, true),
            (0o644, true),
            (0o640, true),
            (0o660, false),
            (0o646, false),
        ] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_shown(&file, 9).is_ok(), believed, "{mode:o}");
        }
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read_shown(&file, 2).unwrap(), b"no");
        assert!(read(&file, 9).is_err());
        for (mode, kept) in [(0o755, true), (0o750, true), (0o770, false), (0o707, false)] {
            fs::set_permissions(&own, Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_kept(&own).is_ok(), kept, "{mode:o}");
        }
        // A pipe that nobody writes to is not waited for, and a link is not followed.
        let mode = Mode::from_raw_mode(0o644);
        let pipe = own.join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        symlink(&file, own.join("link")).unwrap();
        for name in ["pipe", "link"] {
            assert!(read_shown(&own.join(name), 9).is_err(), "{name}");
        }
        fs::set_permissions(&own, Permissions::from_mode(0o755)).unwrap();
        symlink(&own, dir.path().join("link")).unwrap();
        assert!(is_kept(&dir.path().join("link")).is_err() && is_kept(&file).is_err());
        // Of somebody else: only root can give things away.
        if rustix::process::geteuid().is_root() {
            chown(&file, Some(770), None).unwrap();
            assert!(read_shown(&file, 9).is_err());
            chown(&own, Some(770), None).unwrap();
            assert!(is_kept(&own).is_err());
        }
    }

    #[test]
    fn a_folder_of_somebody_else_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("own");
        folder(&own).unwrap();
        folder(&own).unwrap();
        for mode in [0o750, 0o701, 0o1777] {
            fs::set_permissions(&own, Permissions::from_mode(mode)).unwrap();
            assert!(folder(&own).is_err(), "{mode:o}");
            assert!(replace(&own.join("x"), b"x").is_err(), "{mode:o}");
        }
        fs::set_permissions(&own, Permissions::from_mode(0o700)).unwrap();
        replace(&own.join("x"), b"x").unwrap();
        let link = dir.path().join("link");
        symlink(&own, &link).unwrap();
        assert!(folder(&link).is_err());
        // Of somebody else: only root can give things away.
        if rustix::process::geteuid().is_root() {
            chown(own.join("x"), Some(770), None).unwrap();
            assert!(read(&own.join("x"), 1).is_err());
            chown(&own, Some(770), None).unwrap();
            assert!(folder(&own).is_err());
        }
    }
}

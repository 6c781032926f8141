//! Makes the files that the supervisor hands to relays as spools.
//!
//! In: a directory. Out: an open file without a name, so that it is gone with its last descriptor.
//! Knows nothing of what is written to it; the relay seals it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

/// An unlinked file in `directory`, for its owner alone.
///
/// # Errors
/// When the directory cannot be written to.
pub fn create(directory: &Path) -> io::Result<OwnedFd> {
    let nameless = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, directory, nameless, PRIVATE) {
        // Some file systems (overlayfs, NFS, FAT) cannot.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => create_and_unlink(directory),
        result => Ok(result?),
    }
}

fn create_and_unlink(directory: &Path) -> io::Result<OwnedFd> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| io::Error::other("no random name"))?;
    let name = format!(".spool-{:032x}", u128::from_le_bytes(random));
    let path = directory.join(name);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, &path, flags, PRIVATE)?;
    rustix::fs::unlinkat(CWD, &path, AtFlags::empty())?;
    Ok(file)
}

const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_no_name_and_is_private() {
        let directory = tempfile::tempdir().unwrap();
        for create in [create, create_and_unlink] {
            let file = create(directory.path()).unwrap();
            assert_eq!(rustix::io::pwrite(&file, b"abc", 5).unwrap(), 3);
            let stat = rustix::fs::fstat(&file).unwrap();
            assert_eq!((stat.st_nlink, stat.st_mode & 0o777), (0, 0o600));
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(create(&directory.path().join("missing")).is_err());
    }
}

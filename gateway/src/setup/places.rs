//! Where everything is, below one root, and how files get there: whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The directories of a system.
#[derive(Clone, Debug)]
pub struct Places {
    root: PathBuf,
    config: PathBuf,
}

impl Places {
    /// The system below `root`, with its configuration in `config` (a path inside of it, unless `root` is `/`).
    #[must_use]
    pub fn new(root: &Path, config: &Path) -> Self {
        let mut places = Self {
            root: root.to_owned(),
            config: PathBuf::new(),
        };
        places.config = places.at(config);
        places
    }

    /// Whether this is the running system, whose kernel may be told things.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.root == Path::new("/")
    }

    /// A path of that system.
    #[must_use]
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The configuration directory, also while nothing is there: the link of the image is followed.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        match fs::read_link(&self.config) {
            Ok(link) if link.is_absolute() => self.at(link),
            Ok(link) => self.config.parent().unwrap_or(&self.root).join(link),
            Err(_) => self.config.clone(),
        }
    }

    /// Whether there is a configuration.
    #[must_use]
    pub fn provisioned(&self) -> bool {
        self.config().join(MAIN).exists()
    }

    /// The hash of the console's password.
    #[must_use]
    pub fn admin(&self) -> PathBuf {
        self.at(ADMIN)
    }
}

/// Writes a file so that at any moment there is the old one or the whole new one; directories are made.
///
/// # Errors
/// Those of the file system.
pub fn replace(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = parent.join(format!(".{name}.new"));
    write_new(&new, contents, mode)?;
    fs::rename(&new, path)?;
    sync_directory(parent)
}

/// Writes and syncs a file that replaces whatever has its name.
///
/// # Errors
/// Those of the file system.
pub fn write_new(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(contents)?;
    // Whatever the umask says.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Makes renames in a directory last.
///
/// # Errors
/// Those of the file system.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Reads a regular file of at most so many bytes; links are not followed.
///
/// # Errors
/// `FileTooLarge` when it is longer, `InvalidInput` when it is something else, and those of the file system.
pub fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let kind = fs::symlink_metadata(path)?.file_type();
    // Opening a pipe would wait for its other end.
    if !kind.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > most {
        let why = format!("it is longer than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

/// The file that every configuration has.
pub const MAIN: &str = "lazaret.toml";
/// Where the hash of the console's password is.
const ADMIN: &str = "/var/lib/lazaret-appliance/admin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::new(root.path(), Path::new("/etc/lazaret"));
        assert_eq!(places.config(), root.path().join("etc/lazaret"));
        assert_eq!(
            places.admin(),
            root.path().join("var/lib/lazaret-appliance/admin")
        );
        assert!(!places.is_running() && !places.provisioned());
        fs::create_dir(root.path().join("etc")).unwrap();
        std::os::unix::fs::symlink(
            "/var/lib/lazaret-config/etc",
            root.path().join("etc/lazaret"),
        )
        .unwrap();
        assert_eq!(
            places.config(),
            root.path().join("var/lib/lazaret-config/etc")
        );
        replace(&places.config().join(MAIN), b"x", 0o600).unwrap();
        assert!(places.provisioned());
        assert!(Places::new(Path::new("/"), Path::new("/etc/lazaret")).is_running());
    }

    #[test]
    fn reads_files_within_bounds_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        replace(&path, &[7; 100], 0o640).unwrap();
        assert_eq!(read_bounded(&path, 100).unwrap(), [7; 100]);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(
            read_bounded(&path, 99).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(read_bounded(&link, 100).is_err() && read_bounded(dir.path(), 100).is_err());
        replace(&path, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}

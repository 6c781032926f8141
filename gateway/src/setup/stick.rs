//! Sticks: finding, mounting, reading and overwriting.
//!
//! Mounting needs systemd; reading works on any directory.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::label::{self, LABEL};
use super::places::{MAIN, Places, read_bounded, sync_directory};
use crate::systemd;

/// Why a stick is not read.
#[derive(Debug, thiserror::Error)]
pub enum StickError {
    /// Nobody can say which is meant.
    #[error("there are two or more sticks labelled {LABEL}: {0}; pull all but one out")]
    Several(String),
    /// There is none.
    #[error("there is no stick labelled {LABEL}")]
    None,
    /// The kernel does not take it.
    #[error("cannot mount {device}")]
    Mount {
        /// Which.
        device: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// There is more than one file that could be meant.
    #[error("the stick holds several configurations: {0}; leave lazaret.toml alone on it")]
    Ambiguous(String),
    /// There is no file.
    #[error("the stick holds no lazaret.toml")]
    Empty,
    /// The file is not as it should be.
    #[error("cannot read {file} of the stick")]
    Read {
        /// Which.
        file: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write to the stick")]
    Write(#[source] io::Error),
}

/// The block device of the one stick that is there, if any.
///
/// # Errors
/// When there are several.
pub fn find(places: &Places) -> Result<Option<PathBuf>, StickError> {
    let mut found = Vec::new();
    // udev's link, which names one of several; its database names all of them.
    if let Ok(device) = fs::canonicalize(places.at("/dev/disk/by-label").join(LABEL)) {
        found.push(device);
    }
    for entry in fs::read_dir(places.at("/sys/class/block"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let Ok(numbers) = read_bounded(&entry.path().join("dev"), 64) else {
            continue;
        };
        let numbers = String::from_utf8_lossy(&numbers).trim().to_owned();
        let database = places.at("/run/udev/data").join(format!("b{numbers}"));
        let Ok(written) = read_bounded(&database, LONGEST_ENTRY) else {
            continue;
        };
        if label::is_stick(&String::from_utf8_lossy(&written)) {
            found.push(places.at("/dev").join(entry.file_name()));
        }
    }
    found.sort();
    found.dedup();
    label::only(&found).map_err(StickError::Several)
}

/// A stick while it is mounted; it is unmounted when this is dropped.
///
/// systemd mounts it, by units that say how: who asks here needs no right to mount whatever it likes.
#[derive(Debug)]
pub struct Mounted {
    device: PathBuf,
    access: Access,
}

/// What a stick is mounted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

impl Access {
    fn unit(self) -> &'static str {
        match self {
            Self::Read => "run-stick-read.mount",
            Self::Write => "run-stick-write.mount",
        }
    }

    fn directory(self) -> &'static Path {
        Path::new(match self {
            Self::Read => "/run/stick/read",
            Self::Write => "/run/stick/write",
        })
    }
}

impl Mounted {
    /// Mounts the stick that was found, for reading.
    ///
    /// # Errors
    /// When it cannot be mounted, or another was put in its place.
    pub fn new(places: &Places, device: &Path) -> Result<Self, StickError> {
        if !places.is_running() {
            return Err(StickError::Mount {
                device: device.display().to_string(),
                cause: io::Error::new(io::ErrorKind::Unsupported, "this system does not run"),
            });
        }
        Self::mount(device, Access::Read)
    }

    fn mount(device: &Path, access: Access) -> Result<Self, StickError> {
        let failed = |cause: io::Error| StickError::Mount {
            device: device.display().to_string(),
            cause,
        };
        systemd::ask("start", access.unit()).map_err(failed)?;
        let mounted = Self {
            device: device.to_owned(),
            access,
        };
        // The link of udev names one of several.
        if mounted.numbers().map_err(failed)? != numbers(device).map_err(failed)? {
            return Err(failed(io::Error::other("another one was put in its place")));
        }
        Ok(mounted)
    }

    /// What is on it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.access.directory()
    }

    /// Mounts it for writing.
    ///
    /// # Errors
    /// When the kernel does not, such as for a switch on the stick.
    pub fn writable(self) -> Result<Self, StickError> {
        let device = self.device.clone();
        drop(self);
        Self::mount(&device, Access::Write)
    }

    /// Mounts it for reading again.
    ///
    /// # Errors
    /// When it cannot be mounted any more.
    pub fn readable(self) -> Result<Self, StickError> {
        let device = self.device.clone();
        drop(self);
        Self::mount(&device, Access::Read)
    }

    /// `major:minor` of what is mounted.
    fn numbers(&self) -> io::Result<String> {
        let device = fs::metadata(self.directory())?.dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        Ok(format!("{major}:{minor}"))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = systemd::ask("stop", self.access.unit());
    }
}

/// `major:minor` of a block device, as the kernel says them.
fn numbers(device: &Path) -> io::Result<String> {
    let name = device.file_name().unwrap_or_default();
    let file = Path::new("/sys/class/block").join(name).join("dev");
    let text = read_bounded(&file, 64)?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// The one configuration in the directory of a stick.
///
/// # Errors
/// When there is none or more than one, or it is too long, no file or not UTF-8.
pub fn read(directory: &Path) -> Result<(PathBuf, String), StickError> {
    let unreadable = |file: &str| {
        let file = file.to_owned();
        move |cause| StickError::Read { file, cause }
    };
    let entries = fs::read_dir(directory).map_err(unreadable("the directory"))?;
    let mut names: Vec<String> = entries
        .flatten()
        .take(MOST_ENTRIES)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.to_lowercase().ends_with(".toml") && !name.starts_with('.'))
        .collect();
    names.sort();
    let name = match names.as_slice() {
        [] => return Err(StickError::Empty),
        [one] if one.eq_ignore_ascii_case(MAIN) => one,
        [other] => return Err(StickError::Ambiguous(other.clone())),
        more => return Err(StickError::Ambiguous(more.join(", "))),
    };
    let path = directory.join(name);
    let bytes = read_bounded(&path, LONGEST_FILE).map_err(unreadable(name))?;
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "the file is not UTF-8");
    let text = String::from_utf8(bytes)
        .map_err(not_text)
        .map_err(unreadable(name))?;
    Ok((path, text))
}

/// Takes what is in a file from where it is, and leaves a text under its name.
///
/// The file gets another name first, by which [`finish_wiping`] knows it: whenever the power goes, the next start goes on.
/// A stick may still keep old blocks where only its maker can read them.
///
/// # Errors
/// Those of the file system.
pub fn wipe(path: &Path, text: &str) -> Result<(), StickError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    finish_wiping(directory, Some(text))?;
    let wiping = directory.join(WIPING);
    fs::rename(path, &wiping)
        .and_then(|()| sync_directory(directory))
        .map_err(StickError::Write)?;
    overwrite(&wiping, text).map_err(StickError::Write)?;
    fs::rename(&wiping, path)
        .and_then(|()| sync_directory(directory))
        .map_err(StickError::Write)
}

/// Whether a stick has a file whose secrets were being taken when the power went.
#[must_use]
pub fn is_half_wiped(directory: &Path) -> bool {
    directory.join(WIPING).symlink_metadata().is_ok()
}

/// Ends what [`wipe`] began: the file that it left gets the text, or goes if there is none or another has its name by now.
///
/// # Errors
/// Those of the file system.
pub fn finish_wiping(directory: &Path, text: Option<&str>) -> Result<(), StickError> {
    let wiping = directory.join(WIPING);
    // Longer than what is imported: it is not ours.
    match read_bounded(&wiping, LONGEST_FILE) {
        Ok(old) => drop(Zeroizing::new(old)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => {
            let file = WIPING.to_owned();
            return Err(StickError::Read { file, cause });
        }
    }
    let main = directory.join(MAIN);
    let text = text.filter(|_| !main.exists());
    overwrite(&wiping, text.unwrap_or_default())
        .and_then(|()| match text {
            Some(_) => fs::rename(&wiping, &main),
            None => fs::remove_file(&wiping),
        })
        .and_then(|()| sync_directory(directory))
        .map_err(StickError::Write)
}

/// Writes a file over itself where it lies: first spaces, then the new text.
fn overwrite(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or_default();
    file.write_all(&vec![b' '; length])?;
    file.sync_all()?;
    file.rewind()?;
    file.write_all(text.as_bytes())?;
    file.set_len(u64::try_from(text.len()).unwrap_or(u64::MAX))?;
    file.sync_all()
}

/// What a file is called while its secrets are taken from it.
const WIPING: &str = "lazaret.wipe";
/// Longest configuration in bytes. //= C7
pub const LONGEST_FILE: u64 = 1 << 20;
/// Longest entry of udev's database in bytes. //= C7
const LONGEST_ENTRY: u64 = 64 << 10;
/// Most files of a stick that are looked at. //= C7
const MOST_ENTRIES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(directory: &Path) -> String {
        let error = read(directory).unwrap_err();
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        format!("{error}{}", cause.unwrap_or_default())
    }

    #[test]
    fn reads_exactly_one_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &[u8]| fs::write(dir.path().join(name), text).unwrap();
        assert_eq!(told(dir.path()), "the stick holds no lazaret.toml");
        put("readme.txt", b"x");
        put("._lazaret.toml", b"left by another system");
        put("lazaret.toml", b"schema = 1\n");
        let (path, text) = read(dir.path()).unwrap();
        assert_eq!(
            (path, text.as_str()),
            (dir.path().join("lazaret.toml"), "schema = 1\n")
        );
        put("Other.TOML", b"");
        assert_eq!(
            told(dir.path()),
            "the stick holds several configurations: Other.TOML, lazaret.toml; leave lazaret.toml alone on it"
        );
        fs::remove_file(dir.path().join("lazaret.toml")).unwrap();
        assert!(told(dir.path()).contains("Other.TOML"));
        fs::rename(
            dir.path().join("Other.TOML"),
            dir.path().join("LAZARET.TOML"),
        )
        .unwrap();
        assert!(read(dir.path()).is_ok());
    }

    #[test]
    fn refuses_files_that_are_too_long_or_no_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lazaret.toml");
        let most = vec![b'#'; usize::try_from(LONGEST_FILE).unwrap()];
        fs::write(&path, &most).unwrap();
        assert!(read(dir.path()).is_ok());
        fs::write(&path, [&most[..], b"#"].concat()).unwrap();
        assert_eq!(
            told(dir.path()),
            "cannot read lazaret.toml of the stick: it is longer than 1048576 bytes"
        );
        fs::write(&path, b"a = \xff").unwrap();
        assert!(told(dir.path()).ends_with("the file is not UTF-8"));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(told(dir.path()).ends_with("it is not a regular file"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(told(dir.path()).ends_with("it is not a regular file"));
    }

    #[test]
    fn wipes_in_place_and_leaves_the_text_under_the_name() {
        for name in ["lazaret.toml", "LAZARET.TOML"] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(name);
            let blocks = dir.path().join("the same blocks");
            fs::write(&path, "secret ".repeat(10_000)).unwrap();
            fs::hard_link(&path, &blocks).unwrap();
            wipe(&path, "schema = 1\n").unwrap();
            assert_eq!(fs::read_to_string(&blocks).unwrap(), "schema = 1\n");
            assert_eq!(fs::read_to_string(&path).unwrap(), "schema = 1\n");
            assert!(!is_half_wiped(dir.path()));
        }
    }

    /// What lies on the stick whenever the power may go, and that it ends without secrets in the old blocks.
    #[test]
    fn what_was_half_wiped_is_wiped_by_the_next_start() {
        let secret = "secret ".repeat(10_000);
        let half = format!("{}{}", " ".repeat(30_000), &secret[30_000..]);
        let spaces = " ".repeat(70_000);
        let written = format!("schema = 1\n{}", &spaces[11..]);
        for left in [secret.as_str(), &half, &spaces, &written, "schema = 1\n"] {
            for (text, other) in [
                (Some("schema = 1\n"), None),
                (None, None),
                (None, Some("x")),
            ] {
                let dir = tempfile::tempdir().unwrap();
                let (main, wiping) = (dir.path().join(MAIN), dir.path().join(WIPING));
                let blocks = dir.path().join("the same blocks");
                fs::write(&wiping, left).unwrap();
                fs::hard_link(&wiping, &blocks).unwrap();
                if let Some(other) = other {
                    fs::write(&main, other).unwrap();
                }
                assert!(is_half_wiped(dir.path()));
                finish_wiping(dir.path(), text).unwrap();
                assert!(!is_half_wiped(dir.path()));
                let left = fs::read_to_string(&blocks).unwrap();
                assert_eq!(left, text.unwrap_or_default());
                assert_eq!(fs::read_to_string(&main).ok().as_deref(), text.or(other));
                finish_wiping(dir.path(), text).unwrap();
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_not_wiped() {
        let dir = tempfile::tempdir().unwrap();
        let wiping = dir.path().join(WIPING);
        let long = vec![b'x'; usize::try_from(LONGEST_FILE).unwrap() + 1];
        fs::write(&wiping, &long).unwrap();
        assert!(finish_wiping(dir.path(), None).is_err());
        assert_eq!(fs::read(&wiping).unwrap(), long);
        fs::remove_file(&wiping).unwrap();
        let target = dir.path().join("target");
        fs::write(&target, "kept").unwrap();
        std::os::unix::fs::symlink(&target, &wiping).unwrap();
        assert!(finish_wiping(dir.path(), None).is_err());
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
    }

    #[test]
    fn finds_sticks_in_what_udev_wrote() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::new(root.path(), Path::new("/etc/lazaret"));
        assert!(find(&places).unwrap().is_none());
        let device = |name: &str, numbers: &str, label: &str| {
            let block = root.path().join("sys/class/block").join(name);
            fs::create_dir_all(&block).unwrap();
            fs::write(block.join("dev"), format!("{numbers}\n")).unwrap();
            let data = root.path().join("run/udev/data");
            fs::create_dir_all(&data).unwrap();
            fs::create_dir_all(root.path().join("dev/disk/by-label")).unwrap();
            fs::write(root.path().join("dev").join(name), "").unwrap();
            let text = format!("E:ID_FS_LABEL={label}\nE:ID_FS_TYPE=vfat\n");
            fs::write(data.join(format!("b{numbers}")), text).unwrap();
        };
        device("vda1", "254:1", "ESP");
        assert!(find(&places).unwrap().is_none());
        device("sda1", "8:1", "LAZARET");
        assert_eq!(find(&places).unwrap(), Some(root.path().join("dev/sda1")));
        let link = root.path().join("dev/disk/by-label/LAZARET");
        std::os::unix::fs::symlink("../../sda1", &link).unwrap();
        assert_eq!(
            find(&places).unwrap(),
            Some(root.path().canonicalize().unwrap().join("dev/sda1"))
        );
        device("sdb1", "8:17", "LAZARET");
        let error = find(&places).unwrap_err().to_string();
        assert!(
            error.contains("dev/sda1") && error.contains("dev/sdb1"),
            "{error}"
        );
    }
}

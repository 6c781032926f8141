//! This machine, as far as updates are concerned: what is installed on it, and the program that installs.
//!
//! In: paths, all in one place. Out: what can be seen, and changes of the ESP and of the record.
//! Decides nothing about versions.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::FlockOperation;

use super::disk::{Disk, Knowledge};
use super::identity::Identity;
use super::keys::Keys;
use super::manifest::{Manifest, Role};
use super::record::Record;
use super::refusal::Refusal;
use super::slots::{Seen, Slots, exhausted_name, replaced_name};
use super::store::{begins_with, is_whole};
use super::version::Version;
use super::{SIGNATURE_BYTES, Signed};
use crate::own;

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Places {
    /// Which image runs.
    pub os_release: PathBuf,
    /// Whose signature counts.
    pub keys: PathBuf,
    /// Record, lock and downloads.
    pub state: PathBuf,
    /// The boot entries on the ESP.
    pub entries: PathBuf,
    /// The disk that all of it is on.
    pub known: Knowledge,
    /// What writes the download into the free slot and then to the ESP, with its arguments.
    pub installer: Vec<OsString>,
    /// Root certificates of the platform.
    pub roots: PathBuf,
}

impl Places {
    /// Those of the image.
    #[must_use]
    pub fn of_image() -> Self {
        Self::under(Path::new("/"))
    }

    /// The same, below another root.
    #[must_use]
    pub fn under(root: &Path) -> Self {
        let at = |path: &str| root.join(path.trim_start_matches('/'));
        Self {
            os_release: root.join("etc/os-release"),
            keys: root.join("usr/share/lazaret/update.pub"),
            state: at(own::FOLDER).join("update"),
            entries: root.join("efi/EFI/Linux"),
            known: Knowledge::under(root),
            // `systemd-sysupdate`, in a sandbox that sees the disk and no network.
            installer: vec![
                root.join("usr/bin/systemctl").into(),
                "start".into(),
                "lazaret-install.service".into(),
            ],
            roots: root.join("etc/ssl/certs/ca-certificates.crt"),
        }
    }

    /// Where payloads are put, and where the installer takes them from.
    #[must_use]
    pub fn downloads(&self) -> PathBuf {
        self.state.join("download")
    }
}

/// Why this machine cannot do what it is asked to.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// It was installed by a package, or is something else.
    #[error("this is not a signed image of the gateway: update the package instead")]
    NoImage,
    /// Something is not where it should be.
    #[error("cannot {step} {path}")]
    Io {
        /// What was to be done.
        step: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The program that installs says no.
    #[error("the update could not be installed ({status}): {said}")]
    Installer {
        /// How it ended.
        status: String,
        /// Its last words.
        said: String,
    },
    /// It said yes, but what is there is something else; the new version will not be started.
    #[error("what was installed for {0} is not what was signed; it is not started")]
    Written(Role),
}

/// Held by one update at a time.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Places {
    /// Which image runs.
    ///
    /// # Errors
    /// [`MachineError::NoImage`] where none of ours does.
    pub fn identity(&self) -> Result<Identity, MachineError> {
        let text = read(&self.os_release, MOST_TEXT)?;
        Identity::read(&String::from_utf8_lossy(&text)).ok_or(MachineError::NoImage)
    }

    /// Whose signature counts; `None` if the image has no file with keys.
    ///
    /// # Errors
    /// When it is there but cannot be read.
    pub fn key_text(&self) -> Result<Option<String>, MachineError> {
        match read(&self.keys, MOST_TEXT) {
            Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
            Err(MachineError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The keys themselves.
    ///
    /// # Errors
    /// As [`Self::key_text`]; [`Refusal::Keys`] inside when there is none.
    pub fn keys(&self) -> Result<Result<Keys, Refusal>, MachineError> {
        let text = self.key_text()?;
        Ok(text.map_or(Err(Refusal::Keys), |text| Keys::from_pem(&text)))
    }

    /// What is installed, as far as it can be seen.
    ///
    /// # Errors
    /// When the disk of the system cannot be told, or the ESP that is mounted is one of another disk.
    pub fn seen(&self, identity: &Identity) -> Result<Seen, MachineError> {
        let disk = self.disk()?;
        disk.holds(ESP, &self.known)
            .map_err(failed("use", Path::new(ESP)))?;
        Ok(Seen {
            running: identity.version.clone(),
            entries: names(&self.entries)?,
            labels: disk.names(),
        })
    }

    fn disk(&self) -> Result<Disk, MachineError> {
        self.known.disk().map_err(failed("read", &self.known.sys))
    }

    /// Takes the lock of updates.
    ///
    /// # Errors
    /// [`Refusal::UnderWay`] inside when somebody has it.
    pub fn lock(&self) -> Result<Result<Lock, Refusal>, MachineError> {
        self.own_folders()?;
        let path = self.state.join("lock");
        let file = own::open_to_write(&path).map_err(failed("open", &path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Ok(Lock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(Err(Refusal::UnderWay)),
            Err(errno) => Err(failed("lock", &path)(errno.into())),
        }
    }

    /// Makes sure of the folders of the state: nobody else may put anything into them.
    fn own_folders(&self) -> Result<(), MachineError> {
        let own = [self.state.parent(), Some(self.state.as_path())];
        for folder in own.into_iter().flatten() {
            own::folder(folder).map_err(failed("use", folder))?;
        }
        Ok(())
    }

    /// What is remembered.
    ///
    /// # Errors
    /// When it is there but cannot be read, or somebody else could have written it.
    pub fn record(&self) -> Result<Record, MachineError> {
        let path = self.state.join(RECORD);
        match own::read(&path, MOST_RECORD) {
            Ok(bytes) => Ok(Record::read(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Record::default()),
            Err(error) => Err(failed("believe", &path)(error)),
        }
    }

    /// Remembers it: the old record or the new one is there whenever the power goes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_record(&self, record: &Record) -> Result<(), MachineError> {
        self.own_folders()?;
        let path = self.state.join(RECORD);
        own::replace(&path, &record.to_bytes()).map_err(failed("write", &path))
    }

    /// What was signed of the last version that was installed; `None` if nothing is kept.
    ///
    /// # Errors
    /// When it is there but cannot be read, or somebody else could have written it.
    pub fn signed(&self) -> Result<Option<Signed>, MachineError> {
        let path = self.state.join(INSTALLED);
        let kept = match own::read(&path, MOST_SIGNED) {
            Ok(kept) => kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("believe", &path)(error)),
        };
        let parts = kept.split_at_checked(SIGNATURE_BYTES);
        Ok(parts.map(|(signature, bytes)| Signed {
            bytes: bytes.to_vec(),
            signature: signature.to_vec(),
        }))
    }

    /// Keeps what was signed, to verify again what was installed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_signed(&self, signed: &Signed) -> Result<(), MachineError> {
        // One file: neither is ever beside another's.
        let path = self.state.join(INSTALLED);
        let both = [signed.signature.as_slice(), &signed.bytes].concat();
        own::replace(&path, &both).map_err(failed("write", &path))
    }

    /// Refuses what cannot fit: `download` bytes beside what is here, and a new entry on the ESP.
    ///
    /// # Errors
    /// [`Refusal::Space`] inside.
    pub fn space(
        &self,
        download: u64,
        manifest: &Manifest,
        removable: &[String],
    ) -> Result<Result<(), Refusal>, MachineError> {
        let entry = manifest.file(Role::Uki).map_or(0, |file| file.size);
        let length = |name: &String| {
            fs::metadata(self.entries.join(name)).map_or(0, |metadata| metadata.len())
        };
        let freed: u64 = removable.iter().map(length).sum();
        for (place, path, needed, freed) in [
            ("the data partition", &self.state, download, 0),
            ("the boot partition", &self.entries, entry, freed),
        ] {
            let free = free(path)?.saturating_add(freed);
            let needed = needed.saturating_add(MARGIN);
            if needed > free {
                return Ok(Err(Refusal::Space {
                    place,
                    needed,
                    free,
                }));
            }
        }
        Ok(Ok(()))
    }

    /// Has the downloaded version written to the free slot and to the ESP.
    ///
    /// # Errors
    /// When the installer fails or takes too long.
    pub fn install(&self, version: &Version) -> Result<(), MachineError> {
        let (log, which) = (self.state.join("install.log"), self.state.join(WHICH));
        // By itself the installer takes the newest that it knows, and that may be one that is bad.
        let asked = format!("VERSION={version}\n");
        own::replace(&which, asked.as_bytes()).map_err(failed("write", &which))?;
        let run = || -> io::Result<std::process::ExitStatus> {
            let out = own::open_to_write(&log)?;
            out.set_len(0)?;
            let (program, arguments) = self
                .installer
                .split_first()
                .ok_or(io::ErrorKind::NotFound)?;
            let mut child = Command::new(program)
                .args(arguments)
                .env_clear()
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .env("SYSTEMD_COLORS", "0")
                .stdin(Stdio::null())
                .stdout(out.try_clone()?)
                .stderr(out)
                .spawn()?;
            for _ in 0..INSTALL_TURNS {
                if let Some(status) = child.try_wait()? {
                    return Ok(status);
                }
                std::thread::sleep(TURN);
            }
            child.kill()?;
            child.wait()
        };
        let program = self.installer.first().map_or(OsStr::new(""), OsStr::new);
        let status = run().map_err(failed("run", Path::new(program)))?;
        if status.success() {
            return Ok(());
        }
        let said = read(&log, MOST_RECORD).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let last: Vec<&str> = said.lines().rev().take(3).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Err(MachineError::Installer {
            status: status.to_string(),
            said: last.join("; "),
        })
    }

    /// Makes sure that what was installed is what was signed, and on the disk. If it is not, it cannot be started.
    ///
    /// # Errors
    /// [`MachineError::Written`] when something else is there.
    pub fn verify_installed(&self, manifest: &Manifest, entry: &str) -> Result<(), MachineError> {
        let version = &manifest.version;
        for payload in &manifest.files {
            let (path, same) = match payload.role {
                Role::Uki => {
                    let path = self.entries.join(entry);
                    let same = is_whole(&path, payload);
                    (path, same)
                }
                Role::Root => self.partition(&format!("lazaret_{version}"), payload),
                Role::RootVerity => self.partition(&format!("lazaret_{version}_verity"), payload),
            };
            if !same.map_err(failed("read", &path))? {
                return Err(MachineError::Written(payload.role));
            }
        }
        self.sync_entries()
    }

    fn partition(
        &self,
        label: &str,
        payload: &super::manifest::Payload,
    ) -> (PathBuf, io::Result<bool>) {
        let found = self.known.disk();
        let found = found.and_then(|disk| disk.find(label).map(Path::to_owned));
        match found {
            Ok(path) => {
                let same = begins_with(&path, payload);
                (path, same)
            }
            Err(error) => (PathBuf::from(label), Err(error)),
        }
    }

    /// Waits a little until the labels of a new version are seen.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn wait_for_labels(&self, version: &Version) -> Result<(), MachineError> {
        let wanted = [
            format!("lazaret_{version}"),
            format!("lazaret_{version}_verity"),
        ];
        for _ in 0..LABEL_TURNS {
            let there = self.disk()?.names();
            if wanted.iter().all(|label| there.contains(label)) {
                break;
            }
            std::thread::sleep(TURN);
        }
        Ok(())
    }

    /// Takes an entry away, so that the loader cannot start it.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove_entry(&self, entry: &str) -> Result<(), MachineError> {
        let path = self.entries.join(entry);
        fs::remove_file(&path).map_err(failed("remove", &path))?;
        self.sync_entries()
    }

    /// Has the loader pass over a version from now on.
    ///
    /// # Errors
    /// When its entry cannot be renamed.
    pub fn exhaust(&self, version: &Version, entry: &str, done: u32) -> Result<(), MachineError> {
        let path = self.entries.join(entry);
        let new = self.entries.join(exhausted_name(version, done));
        fs::rename(&path, new).map_err(failed("rename", &path))?;
        self.sync_entries()
    }

    /// Has the loader pass over whatever it could start besides what runs, because its slot is written now.
    ///
    /// # Errors
    /// When an entry cannot be renamed.
    pub fn leave_others(&self, seen: &Seen) -> Result<(), MachineError> {
        for (version, entry) in Slots::others(seen) {
            let path = self.entries.join(entry);
            let new = self.entries.join(replaced_name(&version));
            fs::rename(&path, new).map_err(failed("rename", &path))?;
        }
        self.sync_entries()
    }

    fn sync_entries(&self) -> Result<(), MachineError> {
        let synced = || -> io::Result<()> {
            let folder = File::open(&self.entries)?;
            rustix::fs::fsync(&folder)?;
            Ok(rustix::fs::syncfs(&folder)?)
        };
        synced().map_err(failed("write", &self.entries))
    }
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MachineError {
    let path = path.to_owned();
    move |cause| MachineError::Io { step, path, cause }
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, MachineError> {
    let mut bytes = Vec::new();
    let opened = File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
    opened.map_err(failed("read", path))?;
    Ok(bytes)
}

/// The names in a folder, at most [`MOST_NAMES`].
fn names(folder: &Path) -> Result<Vec<String>, MachineError> {
    let entries = fs::read_dir(folder).map_err(failed("list", folder))?;
    let mut names: Vec<String> = entries
        .take(MOST_NAMES)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

fn free(path: &Path) -> Result<u64, MachineError> {
    let stat = rustix::fs::statvfs(path);
    let stat = stat.map_err(|errno| failed("measure", path)(errno.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Where the ESP is mounted.
const ESP: &str = "/efi";
/// What the installer is to install, as its unit reads it.
const WHICH: &str = "install.env";
/// The signature, then what it signs.
const INSTALLED: &str = "installed.signed";
const RECORD: &str = "state.json";
//= C7
const MOST_TEXT: u64 = 64 << 10;
//= C7
const MOST_SIGNED: u64 = MOST_TEXT + 64;
//= C7
const MOST_RECORD: u64 = 256 << 10;
//= C7
const MOST_NAMES: usize = 4096;
/// Bytes that must stay free.
const MARGIN: u64 = 1 << 20;
const TURN: Duration = Duration::from_millis(100);
/// One hour.
const INSTALL_TURNS: u32 = 36_000;
/// One minute: a slow machine is not a broken one.
const LABEL_TURNS: u32 = 600;

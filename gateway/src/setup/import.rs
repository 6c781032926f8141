//! Puts a file in the place of the whole configuration: its secrets into files, everything checked, then one exchange of directories.
//!
//! In: a text. Out: a configuration in force, or why not; whenever the power goes, the old one or the new one is there.
//! Knows nothing of where the text came from.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use lazaret_config::{Config, ConfigErrors, ImportFile, read_key};
use rustix::fs::{CWD, RenameFlags};
use zeroize::Zeroizing;

use super::places::{MAIN, Places, read_bounded, sync_directory, write_new};
use super::{origin, secret};
use crate::daemon::{self, ReloadError};
use crate::own;

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The gateway's public key, in base64, if it can be told.
    pub public_key: Option<String>,
    /// Whether the private key was made here.
    pub key_made: bool,
    /// The file as it may lie about: without secrets; `None` if it had none.
    pub without_secrets: Option<String>,
}

/// Why a file is not put into force. Nothing of it is.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Not TOML, or something is wrong with `[secrets]`.
    #[error(transparent)]
    Secrets(#[from] ConfigErrors),
    /// It is no right configuration, or does not do what its own tests say.
    #[error("{0}")]
    Refused(String, #[source] ReloadError),
    /// No randomness for keys, or no hash.
    #[error("cannot make a {0}")]
    Random(&'static str),
    /// A file that is to be kept is there, and cannot be: most of all no new key takes the place of one that devices know.
    #[error("cannot keep {} of the configuration in force", .name.display())]
    Kept {
        /// Which.
        name: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Another import is under way.
    #[error("another import is under way")]
    Busy,
    /// The file system does not do as it is told.
    #[error("cannot {what}")]
    Files {
        /// What was to be done.
        what: &'static str,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

/// Where an import may be cut off; for tests, which cut it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The files are in a directory of their own.
    Staged,
    /// They were checked.
    Checked,
    /// The directories were exchanged: from here on the new configuration is in force.
    Exchanged,
    /// The password is in force, too.
    Password,
}

/// Imports a text; `path` is for messages.
///
/// # Errors
/// When it is not put into force.
pub fn import(places: &Places, path: &Path, text: &str) -> Result<Imported, ImportError> {
    import_in_steps(places, path, text, &mut |_| Ok(()))
}

/// As [`import`]; what `reached` refuses ends it there, as a loss of power would.
///
/// # Errors
/// When it is not put into force, or cut off.
pub fn import_in_steps(
    places: &Places,
    path: &Path,
    text: &str,
    reached: &mut dyn FnMut(Step) -> io::Result<()>,
) -> Result<Imported, ImportError> {
    let mut reached = |step| reached(step).map_err(failed("go on"));
    let file = ImportFile::read(path, text)?;
    let target = places.config();
    let parent = target.parent().unwrap_or(Path::new("/")).to_owned();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&parent)
        .map_err(failed("make the directory of the configuration"))?;
    // Whoever may rename in it could exchange what was checked.
    own::is_kept(&parent).map_err(failed("trust the folder of the configuration"))?;
    let lock =
        fs::File::open(&parent).map_err(failed("open the directory of the configuration"))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| ImportError::Busy)?;
    finish_locked(places).map_err(failed("finish the last import"))?;
    let stage = Stage::new(&target)?;
    let filled = stage.fill(&target, &file, text);
    if filled.is_err() {
        stage.remove();
    }
    let (public_key, key_made) = filled?;
    reached(Step::Staged)?;
    stage.check(&target, &file)?;
    reached(Step::Checked)?;
    stage.exchange(&target)?;
    reached(Step::Exchanged)?;
    take_notes(places).map_err(failed("keep the password"))?;
    reached(Step::Password)?;
    finish_locked(places).map_err(failed("remove what was replaced"))?;
    Ok(Imported {
        public_key,
        key_made,
        without_secrets: file.has_secrets().then_some(file.text),
    })
}

/// Ends an import that was cut off: what was in force by then stays, the rest goes.
///
/// # Errors
/// Those of the file system.
pub fn finish(places: &Places) -> io::Result<()> {
    let target = places.config();
    let Some(parent) = target.parent().filter(|parent| parent.exists()) else {
        return Ok(());
    };
    own::is_kept(parent)?;
    let lock = fs::File::open(parent)?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
    finish_locked(places)
}

fn finish_locked(places: &Places) -> io::Result<()> {
    take_notes(places)?;
    let stage = stage_of(&places.config());
    match fs::remove_dir_all(&stage) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The new password and the note of the origin lie in the new configuration until they are in their place,
/// so that all come into force by one exchange.
fn take_notes(places: &Places) -> io::Result<()> {
    let notes = [
        (PASSWORD, places.admin()),
        (origin::STAGED, origin::place(places)),
    ];
    for (name, place) in notes {
        let new = places.config().join(name);
        // The gateway's group may have been let in to read by then.
        let note = match own::read_shown(&new, origin::LONGEST) {
            Ok(note) => note,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        own::replace(&place, &note)?;
        fs::remove_file(&new)?;
        sync_directory(&places.config())?;
    }
    Ok(())
}

/// The directory in which the new configuration is made.
struct Stage(PathBuf);

impl Stage {
    fn new(target: &Path) -> Result<Self, ImportError> {
        let stage = stage_of(target);
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&stage)
            .map_err(failed("make a directory for the new configuration"))?;
        Ok(Self(stage))
    }

    /// Writes everything; says which public key is in it, and whether it was made here.
    fn fill(
        &self,
        old: &Path,
        file: &ImportFile,
        whole: &str,
    ) -> Result<(Option<String>, bool), ImportError> {
        let write = |name: &Path, contents: &[u8]| {
            let path = self.0.join(name);
            let parent = path.parent().unwrap_or(&self.0);
            fs::create_dir_all(parent)
                .and_then(|()| write_new(&path, contents, 0o600))
                .map_err(failed("write the new configuration"))
        };
        let key = file.secrets.wireguard_private_key.as_ref();
        let brings = |name: &Path| {
            let in_files = (file.secrets.files.keys()).any(|brought| Path::new(brought) == name);
            in_files || (key.is_some() && file.private_key_file.as_deref() == Some(name))
        };
        let mut there = BTreeSet::new();
        for name in file.files.iter().filter(|name| !brings(name)) {
            match read_bounded(&old.join(name), LONGEST_KEPT) {
                Ok(contents) => {
                    write(name, &Zeroizing::new(contents))?;
                    there.insert(name);
                }
                // What is not there is said by the check.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => {
                    let name = name.clone();
                    return Err(ImportError::Kept { name, cause });
                }
            }
        }
        for (name, contents) in &file.secrets.files {
            write(Path::new(name), contents.as_bytes())?;
        }
        let mut made = false;
        if let Some(name) = &file.private_key_file {
            if let Some(key) = key {
                write(name, secret::key_line(key.as_bytes()).as_bytes())?;
            } else if !there.contains(name) && !brings(name) {
                let key = secret::private_key(random("key")?);
                write(name, secret::key_line(&key).as_bytes())?;
                made = true;
            }
        }
        if let Some(password) = &file.secrets.admin_password {
            let hash = hashed(password.as_bytes())?;
            write(Path::new(PASSWORD), format!("{hash}\n").as_bytes())?;
        }
        write(Path::new(MAIN), file.text.as_bytes())?;
        let origin = match file.has_secrets() {
            true => hashed(whole.as_bytes())?,
            false => String::new(),
        };
        write(Path::new(origin::STAGED), origin.as_bytes())?;
        sync_directory(&self.0).map_err(failed("write the new configuration"))?;
        let key = file
            .private_key_file
            .as_ref()
            .and_then(|name| read_key(&self.0.join(name)).ok());
        Ok((key.map(|key| secret::public_key(key.as_bytes())), made))
    }

    /// What `lazaret check` says; places in the files are those of what was imported.
    fn check(&self, target: &Path, file: &ImportFile) -> Result<(), ImportError> {
        match daemon::check_sources(&self.0, vec![file.source.clone()]) {
            Ok(_) => Ok(()),
            Err(error) => {
                self.remove();
                let shown = error.to_string();
                let stage = self.0.display().to_string();
                let shown = shown.replace(&stage, &target.display().to_string());
                Err(ImportError::Refused(shown, error))
            }
        }
    }

    fn remove(&self) {
        let _ = fs::remove_dir_all(&self.0);
    }

    fn exchange(&self, target: &Path) -> Result<(), ImportError> {
        let failed = failed("put the new configuration in its place");
        let renamed = match fs::symlink_metadata(target) {
            Ok(_) => rustix::fs::renameat_with(CWD, &self.0, CWD, target, RenameFlags::EXCHANGE)
                .map_err(io::Error::from),
            Err(_) => fs::rename(&self.0, target),
        };
        renamed
            .and_then(|()| sync_directory(target.parent().unwrap_or(Path::new("/"))))
            .map_err(failed)
    }
}

/// The hash of a password, or of a file that has one.
///
/// # Errors
/// When there is no randomness.
pub fn hashed(password: &[u8]) -> Result<String, ImportError> {
    let salt: Zeroizing<[u8; 16]> = random("salt")?;
    secret::hash(password, &salt).ok_or(ImportError::Random("hash"))
}

/// The public key of a configuration in force, in base64.
#[must_use]
pub fn public_key(config: &Config) -> Option<String> {
    let key = read_key(&config.wireguard.private_key_file).ok()?;
    Some(secret::public_key(key.as_bytes()))
}

fn random<const N: usize>(what: &'static str) -> Result<Zeroizing<[u8; N]>, ImportError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| ImportError::Random(what))?;
    Ok(bytes)
}

fn stage_of(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.new"))
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> ImportError {
    move |cause| ImportError::Files { what, cause }
}

/// The hash of a new password until it is in its place.
const PASSWORD: &str = ".admin";
/// Longest file that is taken over. //= C7
const LONGEST_KEPT: u64 = 64 << 10;

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    pub(crate) const BASE: &str = "schema = 1\n[gateway]\nname = \"nord-1\"\n\
        [tunnel.wireguard]\nlisten = \"[::]:51820\"\ninterface = \"lz-wg\"\nprivate_key_file = \"wireguard.key\"\nnetworks = [\"10.64.0.0/24\"]\n\
        [hospital]\ninterface = \"lan0\"\n";
    const KEY: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
    const PUBLIC: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
    const ROOT: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";

    pub(crate) fn full() -> String {
        format!(
            "{BASE}[appliance]\nhospital_root = \"root.pem\"\n[secrets]\nwireguard_private_key = \"{KEY}\"\nadmin_password = \"correct horse\"\n[secrets.files]\n\"root.pem\" = \"\"\"\n{ROOT}\"\"\"\n"
        )
    }

    pub(crate) fn site() -> (tempfile::TempDir, Places) {
        let root = tempfile::tempdir().unwrap();
        let places = Places::new(root.path(), Path::new("/etc/lazaret"));
        fs::create_dir(root.path().join("etc")).unwrap();
        std::os::unix::fs::symlink(
            "/var/lib/lazaret-config/etc",
            root.path().join("etc/lazaret"),
        )
        .unwrap();
        (root, places)
    }

    fn take(places: &Places, text: &str) -> Result<Imported, ImportError> {
        import(places, Path::new("stick/lazaret.toml"), text)
    }

    /// Everything of a directory, by names.
    fn files(places: &Places) -> Vec<(String, String)> {
        let Ok(entries) = fs::read_dir(places.config()) else {
            return Vec::new();
        };
        let mut all: Vec<_> = entries
            .map(|entry| {
                let path = entry.unwrap().path();
                let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
                assert_eq!(mode, 0o600, "{}", path.display());
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, fs::read_to_string(&path).unwrap())
            })
            .collect();
        all.sort();
        all
    }

    fn nothing_else(places: &Places) {
        let parent = places.config().parent().unwrap().to_owned();
        let left: Vec<_> = fs::read_dir(parent)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert!(left.iter().all(|name| name == "etc"), "{left:?}");
    }

    #[test]
    fn secrets_become_files_and_are_nowhere_else() {
        let (_root, places) = site();
        let imported = take(&places, &full()).unwrap();
        assert_eq!(imported.public_key.as_deref(), Some(PUBLIC));
        assert!(!imported.key_made && places.provisioned());
        let text = imported.without_secrets.unwrap();
        assert!(!text.contains("horse") && !text.contains(KEY) && !text.contains("secrets"));
        let files = files(&places);
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["lazaret.toml", "root.pem", "wireguard.key"]);
        assert_eq!(files[0].1, text);
        assert_eq!(files[1].1, ROOT);
        assert_eq!(files[2].1, format!("{KEY}\n"));
        let hash = fs::read_to_string(places.admin()).unwrap();
        assert!(secret::verify(b"correct horse", &hash));
        assert!(origin::came_from(&places, &full()) && !origin::came_from(&places, BASE));
        nothing_else(&places);
    }

    #[test]
    fn what_is_named_is_kept_and_the_rest_goes() {
        let (_root, places) = site();
        let imported = take(&places, BASE).unwrap();
        assert!(imported.key_made && imported.without_secrets.is_none());
        let key = fs::read(places.config().join("wireguard.key")).unwrap();
        assert!(!places.admin().exists());
        take(
            &places,
            &full().replace(&format!("wireguard_private_key = \"{KEY}\"\n"), ""),
        )
        .unwrap();
        assert_eq!(
            fs::read(places.config().join("wireguard.key")).unwrap(),
            key
        );
        fs::create_dir(places.config().join("conf.d")).unwrap();
        fs::write(places.config().join("conf.d/x.toml"), "[role.x]\n").unwrap();
        take(&places, &BASE.replace("nord-1", "sud-1")).unwrap();
        let names: Vec<String> = files(&places).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["lazaret.toml", "wireguard.key"]);
        assert!(
            places.admin().exists(),
            "the password outlives a configuration without one"
        );
    }

    #[test]
    fn what_is_refused_changes_nothing_and_says_where() {
        let (_root, places) = site();
        take(&places, &full()).unwrap();
        let before = files(&places);
        let test = "[device.a]\nwireguard = \"qjCmmDty/K1+TluQYPMUOhqkItlQX1y5KriHbPLkJ4Q=\"\naddresses = [\"10.64.0.1\"]\n[service.h]\naddress = \"10.20.0.1:2575\"\nprotocol = \"hl7\"\n[[test]]\nfrom = \"device:a\"\nallow = [\"h#ORU^R01\"]\n";
        let bad = full().replace("[hospital]", "[hospitals]");
        for (text, told) in [
            (bad, "stick/lazaret.toml:9:2: unknown key `hospitals`"),
            (
                full().replace("correct horse", "short"),
                "stick/lazaret.toml:15:18: not a password",
            ),
            (
                format!("{BASE}{test}"),
                "stick/lazaret.toml:17: device:a should reach h#ORU^R01",
            ),
            (
                BASE.replace("wireguard.key", "/none/wireguard.key"),
                "stick/lazaret.toml:7:20: cannot read the key file /none",
            ),
            (
                format!("{}[appliance]\nhospital_root = \"other.pem\"\n", BASE),
                "stick/lazaret.toml:12:17: cannot read the certificate file",
            ),
            ("[".repeat(100_000), "stick/lazaret.toml:1:"),
        ] {
            let error = take(&places, &text).unwrap_err().to_string();
            assert!(error.contains(told), "{told}\n{error}");
            assert!(!error.contains(".new"), "{error}");
            assert_eq!(files(&places), before);
            nothing_else(&places);
        }
    }

    #[test]
    fn only_a_key_that_is_not_there_is_made_anew() {
        let (_root, places) = site();
        assert!(take(&places, BASE).unwrap().key_made);
        let key = places.config().join("wireguard.key");
        let kept = take(&places, BASE).unwrap();
        assert!(!kept.key_made && kept.public_key.is_some());
        let good = fs::read(&key).unwrap();
        let odd: [&dyn Fn(); 3] = [
            &|| fs::create_dir(&key).unwrap(),
            &|| std::os::unix::fs::symlink("elsewhere", &key).unwrap(),
            &|| fs::write(&key, [b'A'; 70_000]).unwrap(),
        ];
        for (number, make) in odd.into_iter().enumerate() {
            if key.symlink_metadata().unwrap().is_dir() {
                fs::remove_dir(&key).unwrap();
            } else {
                fs::remove_file(&key).unwrap();
            }
            make();
            let before = fs::symlink_metadata(&key).unwrap();
            let error = take(&places, BASE).unwrap_err();
            assert!(
                matches!(error, ImportError::Kept { .. }),
                "{number} {error}"
            );
            assert_eq!(
                error.to_string(),
                "cannot keep wireguard.key of the configuration in force"
            );
            let after = fs::symlink_metadata(&key).unwrap();
            assert_eq!(
                (before.len(), before.file_type()),
                (after.len(), after.file_type())
            );
            nothing_else(&places);
        }
        // Who brings a key needs no old one, and an old one that is no key is an error of the check.
        assert!(!take(&places, &full()).unwrap().key_made);
        fs::write(&key, "no key\n").unwrap();
        let refused = take(&places, BASE).unwrap_err();
        assert!(matches!(refused, ImportError::Refused(..)), "{refused}");
        fs::write(&key, good).unwrap();
        assert!(!take(&places, BASE).unwrap().key_made);
    }

    #[test]
    fn wherever_it_is_cut_off_the_old_or_the_new_is_there() {
        for first in [None, Some(BASE)] {
            for cut in [Step::Staged, Step::Checked, Step::Exchanged, Step::Password] {
                let (_root, places) = site();
                if let Some(first) = first {
                    take(&places, first).unwrap();
                }
                let old = files(&places);
                let mut stop = |step| match step == cut {
                    true => Err(io::Error::other("power")),
                    false => Ok(()),
                };
                let error = import_in_steps(&places, Path::new("x"), &full(), &mut stop);
                assert!(matches!(error, Err(ImportError::Files { .. })), "{cut:?}");
                // The power comes back.
                finish(&places).unwrap();
                nothing_else(&places);
                let now = files(&places);
                let is_new = matches!(cut, Step::Exchanged | Step::Password);
                assert_eq!(origin::came_from(&places, &full()), is_new, "{cut:?}");
                assert_eq!(now == old, !is_new, "{cut:?}");
                assert_eq!(places.admin().exists(), is_new, "{cut:?}");
                let again = take(&places, &full()).unwrap();
                assert_eq!(again.public_key.as_deref(), Some(PUBLIC));
                nothing_else(&places);
            }
        }
    }

    #[test]
    fn nothing_is_imported_where_others_can_exchange_it() {
        let (_root, places) = site();
        take(&places, BASE).unwrap();
        let parent = places.config().parent().unwrap().to_owned();
        let set = |mode| fs::set_permissions(&parent, fs::Permissions::from_mode(mode)).unwrap();
        set(0o770);
        let refused = take(&places, &full()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "cannot trust the folder of the configuration"
        );
        assert!(finish(&places).is_err());
        set(0o750);
        finish(&places).unwrap();
        // A note that others could have written, or a link to one, becomes no password.
        let note = places.config().join(PASSWORD);
        let odd: [&dyn Fn(); 2] = [&|| write_new(&note, b"x", 0o622).unwrap(), &|| {
            std::os::unix::fs::symlink(places.config().join(MAIN), &note).unwrap()
        }];
        for make in odd {
            make();
            assert!(finish(&places).is_err() && !places.admin().exists());
            fs::remove_file(&note).unwrap();
        }
        // One that the gateway's group was let in to read does.
        write_new(&note, b"x", 0o640).unwrap();
        finish(&places).unwrap();
        assert!(places.admin().exists() && !note.exists());
    }

    #[test]
    fn two_imports_do_not_meet() {
        let (root, places) = site();
        let parent = root.path().join("var/lib/lazaret-config");
        fs::create_dir_all(&parent).unwrap();
        let lock = fs::File::open(parent).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        assert!(matches!(take(&places, BASE), Err(ImportError::Busy)));
        drop(lock);
        take(&places, BASE).unwrap();
    }
}

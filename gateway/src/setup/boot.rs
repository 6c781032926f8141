//! What happens at every start of the machine, before its network and the gateway: the clock; a first configuration, and what the system reads of it.
//!
//! In: the places of a system. Out: files below `/run`, and a report that the console shows. Whatever is wrong, the rest is done all the same.

use std::ffi::OsStr;
use std::fs;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use lazaret_config::{Config, ImportFile};
use serde::{Deserialize, Serialize};

use super::import::{self, ImportError, Imported};
use super::places::{MAIN, Places, read_bounded, replace};
use super::stick::{self, Mounted, StickError};
use super::{clock, origin, render};
use crate::flow::Clock;

/// How the machine was set up at its last start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether there is a configuration.
    pub provisioned: bool,
    /// Where the configuration was imported from by this start.
    pub imported_from: Option<String>,
    /// The gateway's public key in base64.
    pub public_key: Option<String>,
    /// Whether the private key was made by this start.
    pub key_made: bool,
    /// What went wrong, as it is shown.
    pub problems: Vec<String>,
}

/// Why an import from a source failed.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The stick cannot be read.
    #[error(transparent)]
    Stick(#[from] StickError),
    /// What was read is not put into force.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The credential cannot be read.
    #[error("cannot read the credential {CREDENTIAL}")]
    Credential(#[source] io::Error),
}

/// Where a configuration came from, what its import did, and why its secrets are still there, if they are.
pub type FromSource = (String, Imported, Option<String>);

/// Sets the machine up; `credentials` is the directory of them, if there is one.
pub fn boot(places: &Places, credentials: Option<&OsStr>) -> Report {
    let mut report = Report::default();
    note(
        &mut report,
        "finish the last import",
        import::finish(places),
    );
    if places.provisioned() {
        if let Err(error) = forget_secrets(places) {
            report.problems.push(chain(&error));
        }
    } else {
        match first(places, credentials) {
            Ok(Some((from, imported, problem))) => {
                report.imported_from = Some(from);
                report.key_made = imported.key_made;
                // The next start tries again to take the secrets from the stick.
                let kept = problem.map(|why| format!("the secrets are still on the stick: {why}"));
                report.problems.extend(kept);
            }
            Ok(None) => {}
            Err(error) => report.problems.push(chain(&error)),
        }
    }
    report.provisioned = places.provisioned();
    let config = if report.provisioned {
        match Config::load(&places.config()) {
            Ok(config) => Some(config),
            Err(errors) => {
                report.problems.push(errors.to_string());
                None
            }
        }
    } else {
        None
    };
    report.public_key = config.as_ref().and_then(import::public_key);
    let appliance = config.as_ref().and_then(|config| config.appliance.as_ref());
    let resolved = places.at(RESOLVED).exists();
    let machine = render::render(appliance, resolved);
    note(
        &mut report,
        "write what the system reads",
        write(places, &machine),
    );
    if places.is_running() {
        note(&mut report, "set the name of the host", tell(&machine));
        note(&mut report, "keep the time", touch(places));
    }
    let written = serde_json::to_vec(&report).unwrap_or_default();
    let kept = replace(&places.at(REPORT), &written, 0o600);
    note(&mut report, "write the report", kept);
    report
}

/// What the last start reported.
#[must_use]
pub fn report(places: &Places) -> Option<Report> {
    let written = read_bounded(&places.at(REPORT), LONGEST_REPORT).ok()?;
    serde_json::from_slice(&written).ok()
}

/// Reads the one stick, imports it and takes the secrets from it.
///
/// # Errors
/// When there is no stick, or it is not put into force. That the stick cannot be written to is a problem but no error.
pub fn import_from_stick(places: &Places) -> Result<FromSource, BootError> {
    let device = stick::find(places)?.ok_or(StickError::None)?;
    let mounted = Mounted::new(places, &device)?;
    let mounted = finish_wiping(places, mounted)?;
    let (path, text) = stick::read(mounted.directory())?;
    let shown = PathBuf::from(format!("{}:/{}", device.display(), name(&path)));
    let imported = import::import(places, &shown, &text)?;
    let problem = match &imported.without_secrets {
        Some(text) => forget(places, mounted, &path, text)
            .err()
            .map(|error| chain(&error)),
        None => None,
    };
    Ok((shown.display().to_string(), imported, problem))
}

/// The text of an error with all its causes.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// The first configuration: a credential, else a stick.
fn first(places: &Places, credentials: Option<&OsStr>) -> Result<Option<FromSource>, BootError> {
    if let Some(directory) = credentials {
        let path = Path::new(directory).join(CREDENTIAL);
        if path.exists() {
            // The directory of credentials is made of links on some versions of systemd.
            let path = fs::canonicalize(&path).map_err(BootError::Credential)?;
            let bytes = read_bounded(&path, stick::LONGEST_FILE).map_err(BootError::Credential)?;
            let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
            let text = String::from_utf8(bytes)
                .map_err(not_text)
                .map_err(BootError::Credential)?;
            let imported = import::import(places, Path::new(CREDENTIAL), &text)?;
            // It is the host's, and stays with it.
            origin::note_wiped(places).map_err(BootError::Credential)?;
            return Ok(Some((CREDENTIAL.to_owned(), imported, None)));
        }
    }
    if !wait_for_stick(places)? {
        return Ok(None);
    }
    import_from_stick(places).map(Some)
}

/// Sticks take a while to be known.
fn wait_for_stick(places: &Places) -> Result<bool, StickError> {
    for _ in 0..STICK_TRIES {
        if stick::find(places)?.is_some() {
            return Ok(true);
        }
        if !places.is_running() {
            break;
        }
        std::thread::sleep(STICK_PAUSE);
    }
    Ok(false)
}

/// A stick from which the configuration came keeps no secrets, also when the power went before they were taken, or while.
fn forget_secrets(places: &Places) -> Result<(), BootError> {
    // Known to be somewhere: then it is waited for, as by the first start.
    if origin::leaves_secrets(places) && !wait_for_stick(places).unwrap_or(false) {
        return Ok(());
    }
    let Ok(Some(device)) = stick::find(places) else {
        return Ok(());
    };
    let mounted = Mounted::new(places, &device)?;
    let mounted = finish_wiping(places, mounted)?;
    match wiped_text(places, mounted.directory()) {
        Some((path, text)) => Ok(forget(places, mounted, &path, &text)?),
        None => Ok(()),
    }
}

/// The file of a stick that is in force here with its secrets, and what is to be left of it.
fn wiped_text(places: &Places, directory: &Path) -> Option<(PathBuf, String)> {
    let (path, text) = stick::read(directory).ok()?;
    let file = ImportFile::read(&path, &text).ok()?;
    let ours = file.has_secrets() && origin::came_from(places, &text);
    ours.then_some((path, file.text))
}

/// Goes on where the power went.
fn finish_wiping(places: &Places, mounted: Mounted) -> Result<Mounted, StickError> {
    if !stick::is_half_wiped(mounted.directory()) {
        return Ok(mounted);
    }
    let mounted = mounted.writable()?;
    let text = in_force(places);
    stick::finish_wiping(mounted.directory(), text.as_deref())?;
    origin::note_wiped(places).map_err(StickError::Write)?;
    mounted.readable()
}

/// The configuration as an import leaves it: one file, without secrets.
fn in_force(places: &Places) -> Option<String> {
    let text = read_bounded(&places.config().join(MAIN), stick::LONGEST_FILE).ok()?;
    String::from_utf8(text).ok()
}

fn forget(places: &Places, mounted: Mounted, path: &Path, text: &str) -> Result<(), StickError> {
    let mounted = mounted.writable()?;
    stick::wipe(&mounted.directory().join(name(path)), text)?;
    origin::note_wiped(places).map_err(StickError::Write)
}

fn write(places: &Places, machine: &render::Machine) -> io::Result<()> {
    // What an earlier start, or a configuration before this one, has left.
    for entry in fs::read_dir(places.at(NETWORK))
        .into_iter()
        .flatten()
        .flatten()
    {
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with("70-lazaret-")
        {
            fs::remove_file(entry.path())?;
        }
    }
    for (path, text) in &machine.files {
        let path = places.at(path);
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            fs::create_dir_all(folder)?;
            // Who reads it is a user of its own, whom the umask of our service would keep out.
            fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        }
        replace(&path, text.as_bytes(), 0o644)?;
    }
    let link = places.at(LOCALTIME);
    let new = link.with_extension("new");
    let _ = fs::remove_file(&new);
    std::os::unix::fs::symlink(Path::new(ZONES).join(&machine.timezone), &new)?;
    fs::rename(&new, &link)
}

/// What the kernel and udev must know.
fn tell(machine: &render::Machine) -> io::Result<()> {
    rustix::system::sethostname(machine.hostname.as_bytes())?;
    if machine.renames {
        // Interfaces were there before their names were known.
        run("udevadm", &["control", "--reload"])?;
        run(
            "udevadm",
            &[
                "trigger",
                "--subsystem-match=net",
                "--action=add",
                "--settle",
            ],
        )?;
    }
    Ok(())
}

fn run(program: &str, arguments: &[&str]) -> io::Result<()> {
    let status = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .status()?;
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("{program}: {status}"))),
    }
}

/// Sets the clock of this machine, when it is certainly wrong.
///
/// By moments that have passed: what is signed was built, the time was synchronised; and, believed no further than these
/// support, a start was made, the journal was written to.
///
/// # Errors
/// When the kernel does not let it.
pub fn set_clock(places: &Places, now: &dyn Clock) -> io::Result<()> {
    let changed = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let journal = fs::read_dir(places.at(JOURNAL))
        .into_iter()
        .flatten()
        .flatten();
    let noted = journal
        .map(|entry| entry.path())
        .chain([places.at(STARTED)])
        .filter_map(|path| changed(&path));
    let built = BUILT
        .and_then(|seconds| seconds.parse().ok())
        .map(Duration::from_secs);
    let built = built.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    // Files of the signed root cannot be changed, nor can their dates.
    let signed = ["/proc/self/exe", EPOCH].map(|path| places.at(path));
    let passed = clock::Passed {
        proven: (signed.iter())
            .filter_map(|path| changed(path))
            .chain(built)
            .collect(),
        synchronised: changed(&places.at(SYNCHRONISED)),
        noted: noted.collect(),
    };
    let now = SystemTime::from(now.wall());
    let Some(right) = clock::correction(now, &passed) else {
        return Ok(());
    };
    let since = right
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let time = rustix::time::Timespec {
        tv_sec: i64::try_from(since.as_secs()).unwrap_or_default(),
        tv_nsec: i64::from(since.subsec_nanos()),
    };
    Ok(rustix::time::clock_settime(
        rustix::time::ClockId::Realtime,
        time,
    )?)
}

/// The next start is after this one.
fn touch(places: &Places) -> io::Result<()> {
    crate::own::replace(&places.at(STARTED), b"")
}

fn note(report: &mut Report, what: &str, done: io::Result<()>) {
    if let Err(error) = done {
        report.problems.push(format!("cannot {what}: {error}"));
    }
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The systemd credential with a first configuration.
pub const CREDENTIAL: &str = "lazaret.config";
const REPORT: &str = "/run/lazaret-setup/report.json";
const NETWORK: &str = "/run/systemd/network";
const LOCALTIME: &str = "/run/lazaret-appliance/localtime";
const ZONES: &str = "/usr/share/zoneinfo";
const RESOLVED: &str = "/usr/lib/systemd/systemd-resolved";
const JOURNAL: &str = "/var/lib/lazaret/audit";
/// When the binary was built, in seconds of Unix, if whoever built it said so.
const BUILT: Option<&str> = option_env!("SOURCE_DATE_EPOCH");
/// Kept by systemd-timesyncd.
const SYNCHRONISED: &str = "/var/lib/systemd/timesync/clock";
/// Kept by every start.
const STARTED: &str = "/var/lib/lazaret-appliance/clock";
/// What systemd itself takes as the least, where a distribution has it.
const EPOCH: &str = "/usr/lib/clock-epoch";
/// Longest report in bytes. //= C7
const LONGEST_REPORT: u64 = 1 << 20;
/// How often a first start looks for a stick, which may take ten seconds to be known.
const STICK_TRIES: u32 = 20;
const STICK_PAUSE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::import::tests::{BASE, full};

    fn site() -> (tempfile::TempDir, Places) {
        let root = tempfile::tempdir().unwrap();
        let places = Places::new(root.path(), Path::new("/etc/lazaret"));
        (root, places)
    }

    fn start(places: &Places, credential: Option<&str>) -> Report {
        let directory = tempfile::tempdir().unwrap();
        if let Some(text) = credential {
            fs::write(directory.path().join(CREDENTIAL), text).unwrap();
        }
        boot(places, Some(directory.path().as_os_str()))
    }

    const MACHINE: &str = "[appliance]\nhostname = \"lazaret-nord\"\ntimezone = \"Europe/Paris\"\n[appliance.interface.lan0]\ndhcp = true\n";

    #[test]
    fn a_credential_is_imported_once_and_rendered_always() {
        let (root, places) = site();
        let report = start(&places, Some(&format!("{BASE}{MACHINE}")));
        assert_eq!(report.problems, [""; 0]);
        assert!(report.provisioned && report.key_made);
        assert_eq!(report.imported_from.as_deref(), Some(CREDENTIAL));
        assert_eq!(report.public_key.as_ref().map(String::len), Some(44));
        let read = |path: &str| fs::read_to_string(root.path().join(path)).unwrap();
        assert_eq!(read("run/lazaret-appliance/hostname"), "lazaret-nord\n");
        assert!(read("run/systemd/network/70-lazaret-lan0.network").contains("DHCP=yes"));
        let zone = fs::read_link(root.path().join("run/lazaret-appliance/localtime")).unwrap();
        assert_eq!(zone, Path::new("/usr/share/zoneinfo/Europe/Paris"));
        assert_eq!(super::report(&places).as_ref(), Some(&report));
        // The next start has another credential, which is not looked at, and removes what is no longer said.
        fs::write(
            root.path().join("run/systemd/network/70-lazaret-old0.link"),
            "",
        )
        .unwrap();
        let again = start(&places, Some(&full()));
        assert!(again.imported_from.is_none() && again.public_key == report.public_key);
        assert!(
            !root
                .path()
                .join("run/systemd/network/70-lazaret-old0.link")
                .exists()
        );
    }

    #[test]
    fn only_the_file_that_is_in_force_loses_its_secrets() {
        let (_root, places) = site();
        let stick = tempfile::tempdir().unwrap();
        let path = stick.path().join("lazaret.toml");
        let wiped = |text: &str| {
            fs::write(&path, text).unwrap();
            wiped_text(&places, stick.path())
        };
        assert_eq!(wiped(&full()), None, "nothing is in force");
        import::import(&places, &path, &full()).unwrap();
        assert!(origin::leaves_secrets(&places));
        let (_, left) = wiped(&full()).unwrap();
        assert!(!left.contains("horse") && left.contains("nord-1"));
        assert_eq!(in_force(&places), Some(left));
        // Not yet imported: whoever wrote it may want it again.
        let next = full().replace("correct horse", "battery staple");
        assert_eq!(wiped(&next), None);
        assert_eq!(wiped(BASE), None, "it has none");
    }

    #[test]
    fn nobody_waits_for_the_stick_of_a_credential() {
        let (_root, places) = site();
        start(&places, Some(&full()));
        assert!(places.provisioned() && !origin::leaves_secrets(&places));
    }

    #[test]
    fn a_bad_credential_leaves_the_machine_closed_and_says_why() {
        let (root, places) = site();
        let report = start(&places, Some(&full().replace("[hospital]", "[hospitals]")));
        assert!(!report.provisioned && report.public_key.is_none());
        assert!(
            report.problems[0].contains("lazaret.config:9:2: unknown key `hospitals`"),
            "{report:?}"
        );
        assert!(!root.path().join("run/systemd/network").exists());
        let huge = "#".repeat(usize::try_from(stick::LONGEST_FILE).unwrap() + 1);
        let report = start(&places, Some(&huge));
        assert!(
            report.problems[0].contains("longer than 1048576 bytes"),
            "{report:?}"
        );
        let report = start(&places, None);
        assert_eq!(report, Report::default());
        assert_eq!(
            fs::read_to_string(root.path().join("run/lazaret-appliance/hostname")).unwrap(),
            "lazaret\n"
        );
    }

    #[test]
    fn a_configuration_that_is_no_longer_right_is_said_to_be_so() {
        let (_root, places) = site();
        start(&places, Some(BASE));
        fs::write(places.config().join("lazaret.toml"), "schema = 2\n").unwrap();
        let report = start(&places, None);
        assert!(
            report.provisioned && report.problems[0].contains("schema = 1"),
            "{report:?}"
        );
    }
}

//! What was read of the host, and how its texts are taken apart.
//!
//! A fact is there, is known to be absent, or could not be read; the three are never mixed up.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::control::message::Status;

/// How Lazaret is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// The whole system is ours.
    Appliance,
    /// A package on somebody's Debian or Ubuntu.
    Server,
}

/// Something that may or may not have been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen<T> {
    /// It is this.
    Known(T),
    /// It does not exist.
    Absent,
    /// It may exist; why it could not be read.
    Unreadable(String),
}

impl<T> Seen<T> {
    /// As another value, where it is known.
    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> Seen<U> {
        match self {
            Self::Known(value) => Seen::Known(with(value)),
            Self::Absent => Seen::Absent,
            Self::Unreadable(why) => Seen::Unreadable(why),
        }
    }

    /// Borrowed.
    pub fn as_ref(&self) -> Seen<&T> {
        match self {
            Self::Known(value) => Seen::Known(value),
            Self::Absent => Seen::Absent,
            Self::Unreadable(why) => Seen::Unreadable(why.clone()),
        }
    }
}

/// A file that holds a secret or decides something, or a directory of such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Where.
    pub path: String,
    /// What it is to us.
    pub role: Role,
    /// Its permission bits.
    pub mode: u32,
    /// Who owns it.
    pub user: u32,
    /// Whose group it belongs to.
    pub group: u32,
}

/// What a file is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A private key, a password's hash, the journal: root's or the gateway's, and for nobody else to read.
    Secret,
    /// Decides what the gateway does: root's, so that the gateway itself cannot write it.
    Deciding,
}

/// A process of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// `supervisor`, or the name of the worker.
    pub name: String,
    /// `/proc/PID/status`.
    pub status: Seen<String>,
    /// `/proc/PID/limits`.
    pub limits: Seen<String>,
}

/// What a judgement needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// How Lazaret is installed.
    pub form: Form,
    /// Files by their path on the host, as bytes.
    pub files: BTreeMap<String, Seen<Vec<u8>>>,
    /// Keys, configuration and state; unreadable if a folder could not be listed.
    pub owned: Seen<Vec<Owned>>,
    /// Where the configuration is said to be, for the texts.
    pub config_dir: String,
    /// What the gateway says of itself.
    pub gateway: Seen<Box<Status>>,
    /// Its processes.
    pub processes: Vec<Process>,
    /// `systemctl show` of our units.
    pub units: Seen<String>,
    /// Whether the clock follows another, as the system's own tool says.
    pub clock: Seen<bool>,
}

impl Facts {
    /// The bytes of a file.
    #[must_use]
    pub fn bytes(&self, path: &str) -> Seen<&[u8]> {
        let unread = || Seen::Unreadable("it was not read".to_owned());
        self.files
            .get(path)
            .map_or_else(unread, |seen| seen.as_ref().map(Vec::as_slice))
    }

    /// A file as text without the blanks around it.
    #[must_use]
    pub fn text(&self, path: &str) -> Seen<&str> {
        match self.bytes(path) {
            Seen::Known(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Seen::Known(text.trim()),
                Err(_) => Seen::Unreadable("it is not text".to_owned()),
            },
            Seen::Absent => Seen::Absent,
            Seen::Unreadable(why) => Seen::Unreadable(why),
        }
    }

    /// The line of the mount table for a mount point: the last one counts, it lies on top.
    #[must_use]
    pub fn mount(&self, point: &str) -> Seen<Mount> {
        match self.text(MOUNTS) {
            Seen::Known(text) => text
                .lines()
                .filter_map(Mount::read)
                .rfind(|mount| mount.point == point)
                .map_or(Seen::Absent, Seen::Known),
            Seen::Absent => Seen::Unreadable("there is no mount table".to_owned()),
            Seen::Unreadable(why) => Seen::Unreadable(why),
        }
    }
}

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub point: String,
    /// `major:minor` of the device.
    pub device: String,
    /// `erofs`, `ext4`, ….
    pub kind: String,
    /// Of the mount and of the file system.
    pub options: Vec<String>,
}

impl Mount {
    /// A line of `/proc/self/mountinfo`, proc(5).
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        let (first, second) = line.split_once(" - ")?;
        let mut first = first.split(' ').skip(2);
        let device = first.next()?;
        let mut first = first.skip(1);
        let point = first.next()?;
        let own = first.next()?;
        let mut second = second.split(' ');
        let kind = second.next()?;
        let of_system = second.nth(1).unwrap_or_default();
        let options = own.split(',').chain(of_system.split(','));
        Some(Self {
            point: point.to_owned(),
            device: device.to_owned(),
            kind: kind.to_owned(),
            options: options.map(str::to_owned).collect(),
        })
    }

    /// Whether an option is set.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|one| one == option)
    }

    /// Where the kernel says what the device mapper made of the device.
    #[must_use]
    pub fn uuid_path(&self) -> String {
        format!("/sys/dev/block/{}/dm/uuid", self.device)
    }
}

/// The value of a `Key:` line, as in `/proc/PID/status`.
#[must_use]
pub fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(key)?.strip_prefix(':');
    text.lines().find_map(value).map(str::trim)
}

/// The value of a `KEY=value` line, without quotes, as in `/etc/os-release`.
#[must_use]
pub fn setting<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(key)?.strip_prefix('=');
    let found = text.lines().find_map(value)?.trim();
    Some(found.trim_matches('"'))
}

/// What is mounted where.
pub const MOUNTS: &str = "/proc/self/mountinfo";
/// Says that the system is the appliance.
pub const MARKER: &str = "/usr/share/lazaret/appliance";
/// The name of the system and its version.
pub const OS_RELEASE: &str = "/etc/os-release";
/// The marker by which systemd's own clock service says that it has the time.
pub const TIMESYNC: &str = "/run/systemd/timesync/synchronized";
/// Present where a TPM 2.0 is.
pub const TPM: &str = "/sys/class/tpm/tpm0/tpm_version_major";

/// Every file that a judgement looks at, but for those that depend on what is mounted and on the configuration.
#[must_use]
pub fn wanted() -> Vec<String> {
    let mut all: Vec<String> = [MOUNTS, OS_RELEASE, TIMESYNC, TPM]
        .map(str::to_owned)
        .into();
    all.extend(super::boot::WANTED.map(str::to_owned));
    all.extend(super::data::WANTED.map(str::to_owned));
    all.extend(super::files::WANTED.map(str::to_owned));
    all.extend(super::software::WANTED.map(str::to_owned));
    all.extend(super::kernel::wanted());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read() {
        let line =
            "29 1 253:0 / / ro,relatime shared:1 master:2 - erofs /dev/mapper/root ro,user_xattr";
        let mount = Mount::read(line).unwrap();
        assert_eq!(
            (
                mount.point.as_str(),
                mount.kind.as_str(),
                mount.device.as_str()
            ),
            ("/", "erofs", "253:0")
        );
        assert!(mount.has("ro") && mount.has("user_xattr") && !mount.has("rw"));
        for broken in ["", " - ", "1 2 3 4 5 6", "1 2 3 - ext4"] {
            assert_eq!(Mount::read(broken), None, "{broken}");
        }
    }

    #[test]
    fn lines_with_keys_are_read() {
        assert_eq!(field("NoNewPrivs:\t1\nSeccomp:\t2\n", "Seccomp"), Some("2"));
        assert_eq!(field("Seccomp_filters:\t3\n", "Seccomp"), None);
        assert_eq!(
            setting("IMAGE_ID=\"lazaret\"\n", "IMAGE_ID"),
            Some("lazaret")
        );
        assert_eq!(setting("IMAGE_ID2=x\n", "IMAGE_ID"), None);
    }
}

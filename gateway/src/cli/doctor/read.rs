//! Reads what the doctor judges, from this host or from a copy of its files.
//!
//! Every file is bounded and must be a regular one; what cannot be read is told as such. Writes nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::context::Context;
use crate::control::client;
use crate::control::client::ClientError;
use crate::control::message::{Request, Response, Status};
use crate::doctor::facts::{self, MARKER, MOUNTS, Mount, Owned, Process, Role, field};
use crate::doctor::{DATA, Facts, Form, LUKS, SUPERVISOR, Seen, units};
use crate::own;

/// Where facts come from.
pub(super) struct Host {
    root: PathBuf,
    /// Whether it is this host: then its processes and tools are asked as well.
    live: bool,
    config_dir: PathBuf,
}

impl Host {
    /// This host, or the tree below a folder.
    pub(super) fn new(root: Option<&Path>, context: &Context<'_>) -> Self {
        Self {
            root: root.unwrap_or(Path::new("/")).to_owned(),
            live: root.is_none(),
            config_dir: context.config_dir.clone(),
        }
    }

    /// Everything.
    pub(super) fn read(&self) -> Facts {
        let mut files: BTreeMap<String, Seen<Vec<u8>>> = facts::wanted()
            .into_iter()
            .map(|path| {
                let seen = self.file(&path);
                (path, seen)
            })
            .collect();
        for point in ["/", DATA] {
            if let Some(mount) = mount(&files, point) {
                let path = mount.uuid_path();
                let uuid = self.file(&path);
                files.insert(path, uuid);
                if point == DATA {
                    files.insert(LUKS.to_owned(), self.luks(&mount));
                }
            }
        }
        let form = match self.file(MARKER) {
            Seen::Known(_) | Seen::Unreadable(_) => Form::Appliance,
            Seen::Absent => Form::Server,
        };
        let gateway = self.gateway();
        let processes = match &gateway {
            Seen::Known(status) => self.processes(status),
            Seen::Absent | Seen::Unreadable(_) => Vec::new(),
        };
        Facts {
            form,
            files,
            owned: self.owned(),
            config_dir: self.config_dir.display().to_string(),
            gateway: gateway.map(Box::new),
            processes,
            units: self.units(),
            clock: self.clock(),
        }
    }

    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn file(&self, path: &str) -> Seen<Vec<u8>> {
        seen(bounded(&self.path(path)))
    }

    fn text(&self, path: &str) -> Seen<String> {
        match self.file(path) {
            Seen::Known(bytes) => String::from_utf8(bytes).map_or_else(
                |_| Seen::Unreadable("it is not text".to_owned()),
                Seen::Known,
            ),
            Seen::Absent => Seen::Absent,
            Seen::Unreadable(why) => Seen::Unreadable(why),
        }
    }

    /// The JSON area of the partition below a mapped device, LUKS2 on-disk format 1.1.4 section 2.
    fn luks(&self, mount: &Mount) -> Seen<Vec<u8>> {
        let folder = self.path(format!("/sys/dev/block/{}/slaves", mount.device));
        let name = match fs::read_dir(folder) {
            Ok(mut names) => names
                .next()
                .and_then(Result::ok)
                .map(|entry| entry.file_name()),
            Err(error) => return unread(&error),
        };
        let Some(name) = name else {
            return Seen::Absent;
        };
        seen(luks_header(&self.path(Path::new("/dev").join(name))))
    }

    /// Keys, configuration and state, one level deep: nothing of ours lies deeper but the journal's parts.
    fn owned(&self) -> Seen<Vec<Owned>> {
        let mut found = Vec::new();
        let folders = [
            (self.config_dir.clone(), Role::Deciding, true),
            (self.config_dir.join("conf.d"), Role::Deciding, true),
            (PathBuf::from(own::CONFIGURATION), Role::Deciding, false),
            (PathBuf::from(STATE), Role::Secret, true),
            (Path::new(STATE).join("audit"), Role::Secret, false),
            (PathBuf::from(own::FOLDER), Role::Secret, true),
            (Path::new(STATE).join("pki"), Role::Secret, true),
        ];
        for (folder, role, inside) in folders {
            match self.folder(&folder, role, inside, &mut found) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Seen::Unreadable(format!("{}: {error}", folder.display())),
            }
        }
        if found.is_empty() {
            return Seen::Absent;
        }
        Seen::Known(found)
    }

    fn folder(
        &self,
        folder: &Path,
        role: Role,
        inside: bool,
        found: &mut Vec<Owned>,
    ) -> io::Result<()> {
        let real = self.path(folder);
        let own = fs::metadata(&real)?;
        found.push(owned(folder, role, &own));
        if !inside {
            return Ok(());
        }
        for entry in fs::read_dir(&real)?.take(MAX_ENTRIES) {
            let entry = entry?;
            // Links are followed: what counts is who can read what they lead to.
            let Ok(metadata) = fs::metadata(entry.path()) else {
                continue;
            };
            if !metadata.is_file() {
                continue;
            }
            let path = folder.join(entry.file_name());
            let secret = role == Role::Secret || holds_key(&entry.path());
            let role = if secret { Role::Secret } else { role };
            found.push(owned(&path, role, &metadata));
        }
        Ok(())
    }

    fn gateway(&self) -> Seen<Status> {
        if !self.live {
            return Seen::Unreadable(NOT_LIVE.to_owned());
        }
        match client::ask(
            &lazaret_config::runtime_dir(&self.config_dir),
            &Request::Status,
        ) {
            Ok(Response::Status(status)) => Seen::Known(*status),
            Ok(_) => Seen::Unreadable("the gateway gave another answer".to_owned()),
            Err(ClientError::Unreachable { cause, .. }) if gone(&cause) => Seen::Absent,
            Err(ClientError::Unreachable { cause, .. }) => unread(&cause),
            Err(error @ (ClientError::NoAnswer(_) | ClientError::Answer(_))) => {
                Seen::Unreadable(error.to_string())
            }
        }
    }

    fn processes(&self, status: &Status) -> Vec<Process> {
        let process = |name: &str, pid: &str| Process {
            name: name.to_owned(),
            status: self.text(&format!("/proc/{pid}/status")),
            limits: self.text(&format!("/proc/{pid}/limits")),
        };
        let named = status
            .workers
            .iter()
            .filter_map(|worker| Some((worker, worker.pid?)));
        let mut all: Vec<Process> = named
            .map(|(worker, pid)| process(&worker.name, &pid.to_string()))
            .collect();
        // The supervisor is whoever started them.
        let parent = all.iter().find_map(|process| match &process.status {
            Seen::Known(text) => field(text, "PPid").map(str::to_owned),
            Seen::Absent | Seen::Unreadable(_) => None,
        });
        if let Some(pid) = parent {
            all.insert(0, process(SUPERVISOR, &pid));
        }
        all
    }

    fn units(&self) -> Seen<String> {
        let mut arguments = vec![
            "show",
            "--property=Id,LoadState,ActiveState",
            "--no-pager",
            "--",
        ];
        arguments.extend(units());
        self.tool("/usr/bin/systemctl", &arguments)
    }

    fn clock(&self) -> Seen<bool> {
        let said = self.tool(
            "/usr/bin/timedatectl",
            &["show", "--property=NTPSynchronized", "--value"],
        );
        match said {
            Seen::Known(text) if text.trim() == "yes" => Seen::Known(true),
            Seen::Known(text) if text.trim() == "no" => Seen::Known(false),
            Seen::Known(_) | Seen::Absent => Seen::Absent,
            Seen::Unreadable(why) => Seen::Unreadable(why),
        }
    }

    /// What a tool of the system prints.
    fn tool(&self, path: &str, arguments: &[&str]) -> Seen<String> {
        if !self.live {
            return Seen::Unreadable(NOT_LIVE.to_owned());
        }
        let ran = Command::new(path)
            .args(arguments)
            .env_clear()
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        match ran {
            Ok(output) if output.status.success() => {
                Seen::Known(String::from_utf8_lossy(&output.stdout).into_owned())
            }
            Ok(_) => Seen::Unreadable(format!("{path} failed")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Seen::Absent,
            Err(error) => unread(&error),
        }
    }
}

fn mount(files: &BTreeMap<String, Seen<Vec<u8>>>, point: &str) -> Option<Mount> {
    let Seen::Known(bytes) = files.get(MOUNTS)? else {
        return None;
    };
    let text = std::str::from_utf8(bytes).ok()?;
    text.lines()
        .filter_map(Mount::read)
        .rfind(|mount| mount.point == point)
}

fn owned(path: &Path, role: Role, metadata: &fs::Metadata) -> Owned {
    Owned {
        path: path.display().to_string(),
        role,
        mode: metadata.mode() & 0o7777,
        user: metadata.uid(),
        group: metadata.gid(),
    }
}

/// By its name, or because it says so; what cannot be read is taken for one.
fn holds_key(path: &Path) -> bool {
    if path
        .extension()
        .is_some_and(|extension| extension == "key" || extension == "psk")
    {
        return true;
    }
    match bounded(path) {
        Ok(bytes) => {
            let mark = b"PRIVATE KEY-----";
            bytes.windows(mark.len()).any(|window| window == mark)
        }
        Err(_) => true,
    }
}

/// A regular file of at most [`MAX_FILE`] bytes.
fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    // Asked before opening, because opening a pipe would wait for its other end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    let read = File::open(path)?
        .take(MAX_FILE.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > MAX_FILE {
        return Err(io::Error::other("it is too long"));
    }
    Ok(bytes)
}

fn luks_header(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut head = [0; 16];
    file.read_exact(&mut head)?;
    let [b'L', b'U', b'K', b'S', 0xba, 0xbe, 0, 2, size @ ..] = head else {
        return Err(io::Error::other("there is no LUKS2 header"));
    };
    let size = u64::from_be_bytes(size);
    if !(LUKS_BINARY..=MAX_LUKS).contains(&size) {
        return Err(io::Error::other("the LUKS2 header has no sensible size"));
    }
    file.seek(SeekFrom::Start(LUKS_BINARY))?;
    let mut json = Vec::new();
    file.take(size.saturating_sub(LUKS_BINARY))
        .read_to_end(&mut json)?;
    Ok(json)
}

fn seen(read: io::Result<Vec<u8>>) -> Seen<Vec<u8>> {
    match read {
        Ok(bytes) => Seen::Known(bytes),
        Err(error) => unread(&error),
    }
}

fn unread<T>(error: &io::Error) -> Seen<T> {
    // A path through a file is as absent as one that is not there.
    let absent = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
    if absent.contains(&error.kind()) {
        Seen::Absent
    } else {
        Seen::Unreadable(error.to_string())
    }
}

/// Whether nobody listens, as against not being let in.
fn gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

const STATE: &str = "/var/lib/lazaret";
const NOT_LIVE: &str = "only the running system can say";
/// Longest file that is read.
//= C7
const MAX_FILE: u64 = 4 << 20;
/// Most files of a folder that are looked at.
const MAX_ENTRIES: usize = 10_000;
/// The binary header before the JSON area.
const LUKS_BINARY: u64 = 4096;
/// Largest size of a header that the format knows.
const MAX_LUKS: u64 = 4 << 20;

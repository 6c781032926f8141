//! The gateway under test: the real program, started as a service manager would, and asked as an operator would.
//!
//! In: a [`Site`]. Out: what the command says, the journal, the state of its processes.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::lab::{Lab, Place};
use crate::process::{Output, Process, kill};
use crate::site::Site;
use crate::wait;
use crate::wall::WallClock;

/// A running gateway; killed when dropped.
pub struct Gateway<'a> {
    lab: &'a Lab,
    site: Site,
    process: Process,
    notify: Arc<Mutex<String>>,
}

/// What the command said.
pub type Said = Output;

impl<'a> Gateway<'a> {
    /// Starts `lazaret run` and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start(lab: &'a Lab, site: &Site) -> Self {
        let mut gateway = Self::start_unready(lab, site);
        gateway.wait_until_ready();
        gateway
    }

    /// Starts `lazaret run` only.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_unready(lab: &'a Lab, site: &Site) -> Self {
        Self::begin(lab, site, None)
    }

    /// Starts `lazaret run` by a clock on the wall that the test sets, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start_by(lab: &'a Lab, site: &Site, clock: &WallClock) -> Self {
        let mut gateway = Self::begin(lab, site, Some(clock));
        gateway.wait_until_ready();
        gateway
    }

    fn begin(lab: &'a Lab, site: &Site, clock: Option<&WallClock>) -> Self {
        let path = lab.directory().join("notify");
        let _ = std::fs::remove_file(&path);
        let notify = listen(&UnixDatagram::bind(&path).unwrap());
        let mut command = lab.command(Place::Gateway, program());
        command
            .arg("--config")
            .arg(site.directory())
            .arg("run")
            .env("NOTIFY_SOCKET", &path)
            .env("RUST_BACKTRACE", "1")
            .envs(clock.into_iter().flat_map(WallClock::environment));
        let process = Process::start("gateway", lab.directory(), command);
        Self {
            lab,
            site: site.clone(),
            process,
            notify,
        }
    }

    /// Waits for `READY=1`.
    ///
    /// # Panics
    /// When it does not come, or the gateway ends.
    pub fn wait_until_ready(&mut self) {
        wait::for_true("READY=1 of the gateway", wait::SOON, || {
            let ended = self.process.ended();
            assert!(
                ended.is_none(),
                "the gateway ended: {ended:?}\n{}",
                self.log()
            );
            let said = self.notify.lock().unwrap();
            said.lines().any(|line| line == "READY=1")
        });
    }

    /// Runs the command as an operator at the gateway would.
    pub fn lazaret(&self, arguments: &[&str]) -> Said {
        lazaret(self.lab, &self.site, arguments)
    }

    /// Runs the command with `--json`; its answer, whatever the exit code.
    ///
    /// # Panics
    /// When the answer is not JSON.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        let said = self.lazaret(&all);
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}", said.all()))
    }

    /// Makes the certification authority, whose process may still be starting, and gives its certificate.
    ///
    /// # Panics
    /// When there is none in time.
    pub fn authority(&self) -> String {
        wait::until("an authority", wait::SOON, || {
            // Who asks again after no answer may hear that there is one already.
            let _ = self.lazaret(&["ca", "init"]);
            let said = self.lazaret(&["ca", "export"]);
            said.out.contains("BEGIN CERTIFICATE").then_some(said.out)
        })
    }

    /// `lazaret status --json`.
    pub fn status(&self) -> Value {
        self.json(&["status"])
    }

    /// Names and processes of the workers that run now.
    pub fn workers(&self) -> BTreeMap<String, u32> {
        let status = self.status();
        let workers = status.get("workers").and_then(Value::as_array);
        workers
            .into_iter()
            .flatten()
            .filter_map(|worker| {
                let pid = u32::try_from(worker.get("pid")?.as_u64()?).ok()?;
                Some((worker.get("name")?.as_str()?.to_owned(), pid))
            })
            .collect()
    }

    /// The process of the supervisor.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// `kill -9` of the supervisor or of one of its workers.
    pub fn kill9(&self, pid: u32) {
        kill(pid, Signal::KILL);
    }

    /// Waits until it ended by itself.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        self.process.wait_for_end()
    }

    /// Stops it as a service manager would.
    pub fn stop(self) -> ExitStatus {
        self.process.stop()
    }

    /// What it printed.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// All records of the journal, in order; the event's fields are at the top.
    pub fn journal(&self) -> Vec<Value> {
        journal(&self.site.state().join("audit"))
    }

    /// Waits for a record with this event for which `good` holds.
    ///
    /// # Panics
    /// When none comes.
    pub fn wait_for_record(&self, event: &str, good: impl Fn(&Value) -> bool) -> Value {
        wait::until(&format!("a record of {event}"), wait::SOON, || {
            let mut records = self.journal().into_iter();
            records.find(|record| text(record, "event") == event && good(record))
        })
    }

    /// The decisions on messages of a device, in order.
    pub fn decisions(&self, device: &str) -> Vec<Value> {
        let records = self.journal().into_iter();
        records
            .filter(|record| {
                text(record, "event") == "decision"
                    && text(record, "device") == device
                    && text(record, "from") == "device"
            })
            .collect()
    }

    /// Waits for so many decisions on messages of a device; all of them. Records follow the answers.
    ///
    /// # Panics
    /// When they do not come.
    pub fn wait_for_decisions(&self, device: &str, count: usize) -> Vec<Value> {
        wait::until(&format!("{count} decisions"), wait::SOON, || {
            Some(self.decisions(device)).filter(|all| all.len() >= count)
        })
    }

    /// The process of a worker; waits while it is being restarted.
    pub fn worker(&self, name: &str) -> u32 {
        wait::until(name, wait::SOON, || self.workers().get(name).copied())
    }

    /// Every file below the site that the gateway wrote, and its output.
    pub fn written(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        for folder in [self.site.state(), self.site.runtime()] {
            collect(&folder, &mut files);
        }
        files.push((PathBuf::from("output"), self.log().into_bytes()));
        files
    }
}

/// The command, with or without a running gateway.
pub fn lazaret(lab: &Lab, site: &Site, arguments: &[&str]) -> Said {
    Output::of(command(lab, site, arguments), Duration::from_secs(60))
}

/// The command on another machine, which has no configuration of a gateway.
pub fn machine(lab: &Lab, place: Place, arguments: &[&str]) -> Said {
    let mut command = lab.command(place, program());
    command.args(arguments).env("NO_COLOR", "1");
    Output::of(command, Duration::from_secs(60))
}

/// The hashes of patients, as an operator makes them.
///
/// # Panics
/// When there is none for each.
pub fn patient_hashes(lab: &Lab, site: &Site, authority: &str, patients: &[&str]) -> Vec<String> {
    let file = site.root().join("patients");
    std::fs::write(&file, patients.join("\n")).unwrap();
    let input = std::fs::File::open(&file).unwrap();
    // What is in no history is in no file either.
    std::fs::remove_file(file).unwrap();
    let line = ["patient", "hash", "--authority", authority];
    let said = Output::fed(
        command(lab, site, &line),
        input.into(),
        Duration::from_secs(60),
    );
    let hashes: Vec<String> = said.ok().out.lines().map(str::to_owned).collect();
    assert_eq!(hashes.len(), patients.len());
    hashes
}

fn command(lab: &Lab, site: &Site, arguments: &[&str]) -> Command {
    let mut command = lab.command(Place::Gateway, program());
    command
        .arg("--config")
        .arg(site.directory())
        .args(arguments)
        .env("NO_COLOR", "1");
    command
}

/// Reads what is told to the service manager, for as long as there is somebody to tell it.
fn listen(socket: &UnixDatagram) -> Arc<Mutex<String>> {
    let said: Arc<Mutex<String>> = Arc::default();
    let (socket, all) = (socket.try_clone().unwrap(), said.clone());
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
            let mut all = all.lock().unwrap();
            all.push_str(&text);
            all.push('\n');
        }
    });
    said
}

/// A field of a record as text; empty if there is none.
pub fn text<'v>(record: &'v Value, field: &str) -> &'v str {
    record
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Resident memory of a process, now and at most, in KiB.
///
/// # Panics
/// When there is no such process.
pub fn memory(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a live process");
    let value = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let word = line.and_then(|line| line.split_whitespace().nth(1));
        word.and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    (value("VmRSS:"), value("VmHWM:"))
}

/// The program of the same build: beside the test (in `deps`) or beside the demo.
pub(crate) fn program() -> PathBuf {
    let this = std::env::current_exe().expect("the path of this program");
    let beside = this.parent().expect("a folder");
    let profile = if beside.ends_with("deps") {
        beside.parent().expect("target/PROFILE")
    } else {
        beside
    };
    let program = profile.join("lazaret");
    if !program.exists() {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        command.args(["build", "--locked", "-p", "lazaret"]);
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let _ = Output::of(command, Duration::from_secs(1800)).ok();
    }
    program
}

fn journal(folder: &Path) -> Vec<Value> {
    let mut files = Vec::new();
    collect(folder, &mut files);
    files.retain(|(path, _)| path.extension().is_some_and(|end| end == "jsonl"));
    files.sort();
    let lines = files
        .iter()
        .flat_map(|(_, bytes)| bytes.split(|b| *b == b'\n'));
    lines
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter(|record| record.get("event").is_some_and(Value::is_string))
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.is_file() {
            files.push((path.clone(), std::fs::read(&path).unwrap_or_default()));
        }
    }
}

//! A clinician's machine: `lazaret connect` at a place, asked by its events.
//!
//! In: the certificate of a device. Out: events, and sockets beside the client. The client has no privilege unless it is to
//! have an interface.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::gateway::{program, text};
use crate::lab::{Lab, Place};
use crate::process::{Output, Process};
use crate::wait;

/// A running client; killed when dropped.
pub struct Clinician<'a> {
    lab: &'a Lab,
    place: Place,
    process: Process,
}

/// The file of a client: where the gateway is, and whose certificate it shows.
pub struct ClinicFile {
    path: PathBuf,
}

impl ClinicFile {
    /// Writes a file beside `ca.pem`, `DEVICE.pem` and `DEVICE.key` in a folder; `more`: further lines.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(folder: &Path, device: &str, gateway: SocketAddr, more: &str) -> Self {
        let key = folder.join(format!("{device}.key"));
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let identity = format!("certificate = \"{device}.pem\"\nkey = \"{device}.key\"");
        Self::with(folder, &identity, gateway, more)
    }

    /// Writes a file into the folder of a machine that enrolled itself.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn of_machine(folder: &Path, gateway: SocketAddr, more: &str) -> Self {
        Self::with(folder, "certificate = \"device.pem\"", gateway, more)
    }

    fn with(folder: &Path, identity: &str, gateway: SocketAddr, more: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("clinic-{number}.toml"));
        let text = format!(
            "schema = 1\ngateway = \"{gateway}\"\nname = \"gateway.example.org\"\nca = \"ca.pem\"\n\
             {identity}\n{more}\n"
        );
        std::fs::write(&path, text).unwrap();
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs the client until it gives up (`--once`), with a program before it, such as `faketime`.
    pub fn once(&self, lab: &Lab, place: Place, before: &[&str]) -> Output {
        let mut command = command(lab, place, before);
        command.args(["connect", "--once"]).arg(&self.path);
        Output::of(command, Duration::from_secs(60))
    }
}

impl<'a> Clinician<'a> {
    /// Starts a client that tells its events as JSON. Only with an interface it has privileges.
    pub fn start(lab: &'a Lab, place: Place, file: &ClinicFile, more: &[&str]) -> Self {
        let has_interface = std::fs::read_to_string(&file.path)
            .unwrap()
            .contains("\ninterface");
        let before = if has_interface {
            &[][..]
        } else {
            &UNPRIVILEGED
        };
        let mut command = command(lab, place, before);
        command.args(["--json", "connect"]).arg(&file.path);
        command.args(more);
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("desk-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        Self {
            lab,
            place,
            process: Process::start(&name, lab.directory(), command),
        }
    }

    /// All events so far.
    ///
    /// # Panics
    /// When one is no JSON.
    pub fn events(&self) -> Vec<Value> {
        let said = self.process.output();
        // The last line may not be whole yet.
        let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let event = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        whole.lines().map(event).collect()
    }

    /// How many events of a kind there were.
    pub fn count(&self, event: &str) -> usize {
        let events = self.events();
        events
            .iter()
            .filter(|one| text(one, "event") == event)
            .count()
    }

    /// Waits for an event.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait(&self, event: &str) -> Value {
        self.wait_for(event, |_| true)
    }

    /// Waits for an event for which `good` holds.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait_for(&self, event: &str, good: impl Fn(&Value) -> bool) -> Value {
        let what = format!("the event {event} of\n{}", self.process.output());
        wait::until(&what, wait::SOON, || {
            let mut events = self.events().into_iter();
            events.find(|one| text(one, "event") == event && good(one))
        })
    }

    /// A connection to a port of its own machine, or through its interface.
    ///
    /// # Errors
    /// Refused, reset or timed out after twenty seconds.
    pub fn tcp(&self, to: SocketAddr) -> io::Result<TcpStream> {
        self.lab.inside(self.place, || {
            let stream = TcpStream::connect_timeout(&to, wait::SOON)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(wait::SOON))?;
            stream.set_write_timeout(Some(wait::SOON))?;
            Ok(stream)
        })
    }

    /// Runs a program beside it.
    pub fn run(&self, line: &[&str]) -> Output {
        self.lab.output(self.place, line)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// `kill -9`.
    pub fn kill9(mut self) {
        self.process.signal(Signal::KILL);
        let _ = self.process.wait_for_end();
    }

    /// Ends it orderly.
    pub fn stop(self) -> ExitStatus {
        self.process.stop()
    }
}

/// Root of the laboratory without any of its capabilities.
const UNPRIVILEGED: [&str; 3] = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];

fn command(lab: &Lab, place: Place, before: &[&str]) -> Command {
    let mut line = before
        .iter()
        .map(std::ffi::OsString::from)
        .chain([program().into_os_string()]);
    let mut command = lab.command(place, line.next().unwrap_or_default());
    command.args(line).env("NO_COLOR", "1");
    command
}

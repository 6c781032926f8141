//! Programs that the laboratory started: their output goes to a file, and they end with their handle.

use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// A program that runs beside the test; killed when dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
    name: String,
}

impl Process {
    /// Starts a program with its output in `directory/name.log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, directory: &Path, mut command: Command) -> Self {
        let log = directory.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle of the log"))
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self {
            child,
            log,
            name: name.to_owned(),
        }
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until it printed something.
    ///
    /// # Panics
    /// When it does not, or ends before.
    pub fn wait_for_output(&mut self, text: &str) {
        wait::for_true(&format!("{} says {text:?}", self.name), wait::SOON, || {
            if self.output().contains(text) {
                return true;
            }
            let ended = self.ended();
            assert!(
                ended.is_none(),
                "{} ended: {ended:?}\n{}",
                self.name,
                self.output()
            );
            false
        });
    }

    /// Waits until it listens on a TCP port, without connecting to it.
    ///
    /// # Panics
    /// When it does not, or ends before.
    pub fn wait_for_listener(&mut self, port: u16) {
        wait::for_true(
            &format!("{} listens on {port}", self.name),
            wait::SOON,
            || {
                let ended = self.ended();
                assert!(
                    ended.is_none(),
                    "{} ended: {ended:?}\n{}",
                    self.name,
                    self.output()
                );
                listens(self.pid(), port)
            },
        );
    }

    /// Its exit status, if it ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal);
    }

    /// Ends it orderly (SIGTERM), then by force; the exit status.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_for_end()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait::until(&what, wait::SOON, || self.ended())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process that this laboratory started.
pub(crate) fn kill(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Output {
    /// Exit code; 128 and the signal for a killed program.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Output {
    /// Runs a program to its end, at most `limit`.
    ///
    /// # Panics
    /// When it cannot be started or does not end in time.
    pub fn of(command: Command, limit: Duration) -> Self {
        Self::fed(command, Stdio::null(), limit)
    }

    /// The same, with a standard input.
    ///
    /// # Panics
    /// When it cannot be started or does not end in time.
    pub fn fed(mut command: Command, input: Stdio, limit: Duration) -> Self {
        let what = format!("{command:?}");
        let child = command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let pid = child.id();
        let (sender, done) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(child.wait_with_output()));
        let Ok(ended) = done.recv_timeout(limit) else {
            kill(pid, Signal::KILL);
            panic!("did not end in {limit:?}: {what}");
        };
        Self::from(ended.expect("the output of a program"))
    }

    /// Standard output and error together.
    pub fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    /// Itself, if the program succeeded.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    #[must_use]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.all());
        self
    }
}

impl From<std::process::Output> for Output {
    fn from(output: std::process::Output) -> Self {
        let signal = output.status.signal().unwrap_or(0);
        Self {
            code: output.status.code().unwrap_or(128 + signal),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Whether a socket listens on the port in the network namespace of the process.
fn listens(pid: u32, port: u16) -> bool {
    let listening = |table: io::Result<String>| {
        table.unwrap_or_default().lines().skip(1).any(|line| {
            let mut columns = line.split_whitespace().skip(1);
            let local = columns.next().unwrap_or_default();
            let state = columns.nth(1).unwrap_or_default();
            state == "0A" && local.ends_with(&format!(":{port:04X}"))
        })
    };
    listening(std::fs::read_to_string(format!("/proc/{pid}/net/tcp")))
        || listening(std::fs::read_to_string(format!("/proc/{pid}/net/tcp6")))
}

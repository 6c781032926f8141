//! A PostgreSQL server of one's own: in a folder, on a Unix socket, gone with the test.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// A running PostgreSQL server; stopped and removed when dropped.
pub struct Postgres {
    directory: tempfile::TempDir,
    server: Option<Child>,
    programs: PathBuf,
}

impl Postgres {
    /// Makes a server and waits until it answers.
    ///
    /// # Panics
    /// When there is none, or it does not come up.
    pub fn start() -> Self {
        let programs = programs();
        // The name of a socket has at most 107 bytes.
        let directory = tempfile::Builder::new()
            .prefix("pg")
            .tempdir_in("/tmp")
            .unwrap();
        let data = directory.path().join("data");
        let made = unprivileged(&programs.join("initdb"))
            .args([
                "--auth=trust",
                "--username=lazaret",
                "--no-sync",
                "--locale=C",
                "--encoding=UTF8",
            ])
            .arg("--pgdata")
            .arg(&data)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut server = Self {
            directory,
            server: None,
            programs,
        };
        server.run();
        server
    }

    /// Starts the server, for the first time or again.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn run(&mut self) {
        let log = std::fs::File::create(self.directory.path().join("log")).unwrap();
        let mut command = unprivileged(&self.programs.join("postgres"));
        command
            .arg("-D")
            .arg(self.directory.path().join("data"))
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"])
            .arg(self.directory.path())
            .stderr(log)
            .process_group(0);
        self.server = Some(command.spawn().unwrap());
        self.wait();
    }

    /// Stops the server; what was written stays.
    pub fn stop(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        // `unshare` waits for its child and hands the signal on to nobody: the whole group gets it.
        let group = i32::try_from(server.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            let _gone = kill_process_group(group, Signal::INT);
        }
        let _ended = server.wait();
    }

    fn wait(&mut self) {
        for _ in 0..600 {
            let ready = Command::new(self.programs.join("pg_isready"))
                .arg("-q")
                .arg("-h")
                .arg(self.directory.path())
                .status()
                .unwrap();
            if ready.success() {
                return;
            }
            let server = self.server.as_mut().unwrap();
            let ended = server.try_wait().unwrap();
            assert!(ended.is_none(), "postgres ended: {}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("postgres does not answer: {}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Makes an empty database of the user `lazaret`, who needs no password.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn create(&self, database: &str) {
        let made = Command::new(self.programs.join("createdb"))
            .arg("-h")
            .arg(self.directory.path())
            .args(["-U", "lazaret", database])
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "createdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
    }

    /// The directory of its Unix socket.
    pub fn socket(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where Debian has the newest server. Without one the test fails: nothing else proves that the queries are the same.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .unwrap_or_else(|error| panic!("no PostgreSQL server: run tests/setup ({error})"));
    let newest = versions
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|programs| programs.join("initdb").exists())
        .max();
    newest.unwrap_or_else(|| panic!("no PostgreSQL server: run tests/setup"))
}

/// The server refuses to be root, so whoever runs it is somebody else in a namespace of its own.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args([
            "--user",
            "--map-user=1000",
            "--map-group=1000",
            "--kill-child=INT",
            "--fork",
            "--",
        ])
        .arg(program)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .env("LC_ALL", "C");
    command
}

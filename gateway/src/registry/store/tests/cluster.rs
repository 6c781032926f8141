//! A PostgreSQL server of one's own: in a folder, on a Unix socket, gone with the test.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lazaret_config::{DatabaseHost, Server};

use super::Place;

/// A running server; stopped and removed when dropped.
pub(super) struct Cluster {
    directory: tempfile::TempDir,
    server: Child,
    programs: PathBuf,
}

impl Cluster {
    /// Makes a server and waits until it answers.
    pub(super) fn start() -> Self {
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
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let mut command = unprivileged(&programs.join("postgres"));
        command
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"])
            .arg(directory.path())
            .stderr(log);
        // It ends with us, also when we are killed.
        command.process_group(0);
        let server = command.spawn().unwrap();
        let mut cluster = Self {
            directory,
            server,
            programs,
        };
        cluster.wait();
        cluster
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
            assert!(
                self.server.try_wait().unwrap().is_none(),
                "postgres ended: {}",
                self.log()
            );
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("postgres does not answer: {}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// An empty database.
    pub(super) fn database(&self, name: &str) -> Place {
        let made = Command::new(self.programs.join("createdb"))
            .arg("-h")
            .arg(self.directory.path())
            .args(["-U", "lazaret", name])
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "createdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        Place::Server(Server {
            host: DatabaseHost::Socket(self.directory.path().to_owned()),
            port: 5432,
            user: "lazaret".to_owned(),
            database: name.to_owned(),
            password_file: None,
            ca_file: None,
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // `unshare` waits for its child and hands the signal on to nobody: the whole group gets it.
        if let Some(group) = i32::try_from(self.server.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        {
            let _gone = rustix::process::kill_process_group(group, rustix::process::Signal::INT);
        }
        let _ended = self.server.wait();
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

//! The real gateway in namespaces of its own: a test runs itself again inside `unshare`, so that it leaves nothing behind.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::disallowed_methods, reason = "tests measure time")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail with them"
)]

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) const LAZARET: &str = env!("CARGO_BIN_EXE_lazaret");
pub(crate) const INSIDE: &str = "LAZARET_DAEMON_TEST";
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const WORLD: &str = "
mount -t tmpfs tmpfs /run
mkdir -p /run/wireguard /run/conf /run/state
chmod 755 /run
ip link set lo up
ip link add lan0 type veth peer name lan1
ip link set lan1 up
ip addr add 10.20.0.1/16 dev lan0
ip link set lan0 up
";

pub(crate) const CONFIG: &str = r#"schema = 1
[gateway]
name = "test"
state_dir = "/run/state"
runtime_dir = "/run/lazaret"
[tunnel.wireguard]
listen = "[::]:51820"
interface = "lz-wg"
private_key_file = "wireguard.key"
networks = ["10.64.0.0/16"]
[hospital]
interface = "lan0"
mode = "snat"
[limits]
relay_workers = 2
[audit]
directory = "/run/state/audit"
[service.his]
address = "10.20.2.10:2575"
protocol = "hl7"
[service.console]
address = "10.20.0.5"
ports = ["tcp/3389"]
[device.ecg]
wireguard = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
addresses = ["10.64.0.1"]
roles = ["ecg-home"]
hl7_sender = "ECG^CARDIO"
[rule.results]
from = ["role:ecg-home"]
to = ["his"]
hl7 = { send = ["ORU^R01"] }
"#;

pub(crate) const RULE: &str = r#"
[rule.consoles]
from = ["role:ecg-home"]
to = ["console"]
"#;

/// Runs a test of this file in namespaces of its own.
pub(crate) fn again(test: &str) {
    within(&["-Urnmp"], test);
}

fn within(namespaces: &[&str], test: &str) {
    let status = Command::new("unshare")
        .args(namespaces)
        .args(["--mount-proc", "--kill-child", "--fork"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .env_remove("NOTIFY_SOCKET")
        .status()
        .expect("unshare must be installed");
    assert!(status.success(), "inside the namespaces: {status}");
}

/// As [`again`], with more than one user: as root all of this machine, else those of `/etc/subuid`.
pub(crate) fn again_with_users(test: &str) {
    let users: &[&str] = if rustix::process::geteuid().is_root() {
        &["-nmp"]
    } else {
        &["-Urnmp", "--map-auto"]
    };
    within(users, test);
}

pub(crate) fn prepare() {
    let output = run(Command::new("sh").args(["-ec", WORLD]));
    assert!(output.status.success(), "{}", said(&output));
    let key = "/run/conf/wireguard.key";
    std::fs::write(key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEA=\n").unwrap();
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(key, owner_only).unwrap();
    write(CONFIG);
}

pub(crate) fn write(config: &str) {
    std::fs::write("/run/conf/lazaret.toml", config).unwrap();
}

/// The supervisor, and a service manager that hears that it is ready, and then listens no more.
pub(crate) struct Gateway(Child, UnixDatagram);

impl Gateway {
    /// Starts the supervisor and waits until it says that it is ready.
    pub(crate) fn start() -> Self {
        let path = Path::new("/run/notify");
        if path.exists() {
            std::fs::remove_file(path).unwrap();
        }
        let manager = UnixDatagram::bind(path).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = Command::new(LAZARET)
            .args(["run", "--config", "/run/conf"])
            .env("NOTIFY_SOCKET", path)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let gateway = Self(child, manager);
        let mut block = [0; 256];
        loop {
            let length = gateway.1.recv(&mut block).expect("ready in time");
            let states = String::from_utf8_lossy(&block[..length]).into_owned();
            if states.lines().any(|state| state == "READY=1") {
                return gateway;
            }
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    pub(crate) fn end(&mut self, signal: rustix::process::Signal) -> std::process::ExitStatus {
        kill(self.pid(), signal);
        let mut ended = None;
        until("the supervisor ends", || {
            ended = self.0.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped_already = self.0.wait();
    }
}

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn run(command: &mut Command) -> Output {
    command
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

pub(crate) fn lazaret(arguments: &[&str]) -> Output {
    run(Command::new(LAZARET)
        .args(["--config", "/run/conf"])
        .args(arguments))
}

pub(crate) fn said(output: &Output) -> String {
    let text = [&*output.stdout, &*output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

pub(crate) fn json(arguments: &[&str]) -> Value {
    let output = lazaret(&[&["--json"], arguments].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)))
}

pub(crate) fn status() -> Value {
    json(&["status"])
}

/// How many things differ between the files and what is in force.
pub(crate) fn diff() -> usize {
    json(&["diff"])["changes"].as_array().unwrap().len()
}

pub(crate) fn worker(name: &str) -> Value {
    let status = status();
    let workers = status["workers"].as_array().unwrap();
    workers.iter().find(|w| w["name"] == name).unwrap().clone()
}

pub(crate) fn pid_of(name: &str) -> Option<i32> {
    i32::try_from(worker(name)["pid"].as_i64()?).ok()
}

pub(crate) fn restarts_of(name: &str) -> u64 {
    worker(name)["restarts"].as_u64().unwrap()
}

/// The table without counters, which move.
pub(crate) fn table() -> String {
    let output = run(Command::new("nft").args(["-s", "list", "table", "inet", "lazaret"]));
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

pub(crate) fn quarantine() -> String {
    let table = table();
    let sets = table
        .split("set ")
        .filter(|set| set.starts_with("quarantine"));
    sets.map(|set| set.split('}').next().unwrap()).collect()
}

pub(crate) fn journal() -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir("/run/state/audit").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "jsonl") {
            all.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    all
}

pub(crate) fn kill(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

pub(crate) fn children(pid: i32) -> Vec<i32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap();
    text.split_whitespace()
        .map(|c| c.parse().unwrap())
        .collect()
}

/// Gone, or a zombie that nobody waits for.
pub(crate) fn is_gone(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| {
        stat.rsplit(')').next().unwrap().trim().starts_with('Z')
    })
}

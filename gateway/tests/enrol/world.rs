//! The world of the gateway: namespaces, its process, its commands.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(super) const LAZARET: &str = env!("CARGO_BIN_EXE_lazaret");
pub(super) const INSIDE: &str = "LAZARET_ENROL_TEST";
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Where devices are, as their gateway sees it.
pub(super) const HOME: &str = "/run/netns/home";
pub(super) const URL: &str = "https://192.0.2.1:8443";

pub(super) const WORLD: &str = "
mount -t tmpfs tmpfs /run
mkdir -p /run/wireguard /run/conf /run/state
chmod 755 /run
ip link set lo up
ip link add lan0 type veth peer name lan1
ip link set lan1 up
ip addr add 10.20.0.1/16 dev lan0
ip link set lan0 up
ip netns add home
ip link add wan0 type veth peer name wan1 netns home
ip addr add 192.0.2.1/24 dev wan0
ip link set wan0 up
nsenter --net=/run/netns/home ip addr add 192.0.2.7/24 dev wan1
nsenter --net=/run/netns/home ip addr add 192.0.2.8/24 dev wan1
nsenter --net=/run/netns/home ip link set wan1 up
";

pub(super) const CONFIG: &str = r#"schema = 1
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
relay_workers = 1
[audit]
directory = "/run/state/audit"
[pki]
server_names = ["gw.example.org", "192.0.2.1"]
[enrol]
addresses = ["10.64.64.0/24"]
listen = "192.0.2.1:8443"
[service.his]
address = "10.20.2.10:2575"
protocol = "hl7"
[role.ecg-home]
[rule.results]
from = ["role:ecg-home"]
to = ["his"]
hl7 = { send = ["ORU^R01"], bind_sender = false }
"#;

pub(super) fn again(test: &str) {
    let status = Command::new("unshare")
        .args(["-Urnmp", "--mount-proc", "--kill-child", "--fork"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .env_remove("NOTIFY_SOCKET")
        .status()
        .expect("unshare must be installed");
    assert!(status.success(), "inside the namespaces: {status}");
}

pub(super) fn prepare() {
    let output = run(Command::new("sh").args(["-ec", WORLD]));
    assert!(output.status.success(), "{}", said(&output));
    let key = "/run/conf/wireguard.key";
    std::fs::write(key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEA=\n").unwrap();
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(key, owner_only).unwrap();
    write(CONFIG);
}

pub(super) fn write(config: &str) {
    std::fs::write("/run/conf/lazaret.toml", config).unwrap();
}

/// The supervisor, and a service manager that hears that it is ready, and then listens no more.
pub(super) struct Gateway(Child, UnixDatagram);

impl Gateway {
    /// Starts the supervisor and waits until it says that it is ready.
    pub(super) fn start() -> Self {
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
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped_already = self.0.wait();
    }
}

pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(super) fn run(command: &mut Command) -> Output {
    command
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

pub(super) fn lazaret(arguments: &[&str]) -> Output {
    run(Command::new(LAZARET)
        .args(["--config", "/run/conf"])
        .args(arguments))
}

pub(super) fn said(output: &Output) -> String {
    let text = [&*output.stdout, &*output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

pub(super) fn json(arguments: &[&str]) -> Value {
    let output = lazaret(&[&["--json"], arguments].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)))
}

pub(super) fn status() -> Value {
    json(&["status"])
}

pub(super) fn worker(name: &str) -> Value {
    let status = status();
    let workers = status["workers"].as_array().unwrap();
    workers.iter().find(|w| w["name"] == name).unwrap().clone()
}

pub(super) fn pid_of(name: &str) -> Option<i32> {
    i32::try_from(worker(name)["pid"].as_i64()?).ok()
}

pub(super) fn journal() -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir("/run/state/audit").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "jsonl") {
            all.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    all
}

pub(super) fn kill(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

//! The world: six places in network namespaces, and how a test comes into it.
//!
//! ```text
//! home1 ──┐
//! home2 ──┼── internet ── wan0 [gateway] lan0 ── hospital (HIS, PACS, consoles)
//! clinician ┘
//! ```

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

use crate::process::{Output, Process};

/// A fresh world. Its files are in [`Lab::directory`]; its namespaces end with the process.
pub struct Lab {
    directory: TempDir,
}

/// A network namespace of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A patient's home.
    Home1,
    /// Another home.
    Home2,
    /// A clinician's desk.
    Clinician,
    /// The router between all.
    Internet,
    /// Where the gateway runs: `wan0` and `lan0`.
    Gateway,
    /// The servers of the hospital.
    Hospital,
}

impl Lab {
    /// Runs a scenario in a fresh world.
    ///
    /// The test executes itself again inside new namespaces; what the inner one prints is passed on.
    ///
    /// # Panics
    /// When the scenario does.
    pub fn run(scenario: impl FnOnce(&Self)) {
        if std::env::var_os(INSIDE).is_some() {
            let lab = Self::create();
            scenario(&lab);
            return;
        }
        let name = test_name();
        // Whoever asked for an ignored one has said so outside: inside it must not pass unseen.
        let arguments = [
            "--exact",
            &name,
            "--nocapture",
            "--test-threads=1",
            "--include-ignored",
        ];
        let status = Self::enter(&arguments, |_| ());
        assert!(
            status.success(),
            "{name} failed inside its namespaces: {status}"
        );
    }

    /// Executes this program again inside new namespaces, which end when this process does.
    /// `beside` gets the process number of their keeper, whose only child is the first process inside.
    ///
    /// # Panics
    /// When the namespaces cannot be made.
    pub fn enter(arguments: &[&str], beside: impl FnOnce(u32)) -> std::process::ExitStatus {
        let program = std::env::current_exe().expect("the path of this program");
        let mut child = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "--mount", "--pid"])
            .args(["--fork", "--kill-child", "--mount-proc", "--"])
            .arg(program)
            .args(arguments)
            .env(INSIDE, "1")
            .stdin(Stdio::piped())
            .spawn()
            .expect("unshare, which tests/setup installs");
        // Held open until the end: when this process is killed, the inner one reads the end of its input.
        let _held = child.stdin.take();
        beside(child.id());
        child.wait().expect("the end of the scenario")
    }

    /// Whether this process already is inside.
    pub fn is_inside() -> bool {
        std::env::var_os(INSIDE).is_some()
    }

    /// Makes the namespaces and links. Only inside.
    ///
    /// # Panics
    /// When the kernel does not allow it.
    pub fn create() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("lazaret-lab-")
            .tempdir()
            .expect("a directory for the laboratory");
        end_with_parent(directory.path().to_owned());
        let lab = Self { directory };
        lab.build();
        lab
    }

    /// A directory for everything that this world writes.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A new directory inside of it.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.directory().join(name);
        std::fs::create_dir_all(&folder).expect("a folder of the laboratory");
        folder
    }

    /// A command that will run at a place.
    pub fn command(&self, place: Place, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", place.name()]).arg(program);
        // Nagle's algorithm costs DCMTK 48 ms a message.
        command.env("TCP_NODELAY", "1");
        command
    }

    /// Runs a program at a place, to its end.
    pub fn output(&self, place: Place, line: &[&str]) -> Output {
        let (program, arguments) = line.split_first().expect("a program");
        let mut command = self.command(place, program);
        command.args(arguments);
        Output::of(command, Duration::from_secs(60))
    }

    /// Starts a program at a place.
    pub fn start(&self, place: Place, name: &str, line: &[&str]) -> Process {
        let (program, arguments) = line.split_first().expect("a program");
        let mut command = self.command(place, program);
        command.args(arguments);
        Process::start(name, self.directory(), command)
    }

    /// Runs code at a place; sockets that it opens stay there.
    ///
    /// # Panics
    /// When the code does.
    pub fn inside<T: Send>(&self, place: Place, code: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let namespace =
                    File::open(Path::new("/run/netns").join(place.name())).expect("a namespace");
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), network)
                    .expect("to enter a namespace of our own");
                code()
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn build(&self) {
        // /run of our own: the names of the namespaces and the sockets of the tunnels are there.
        let mut script =
            String::from("mount -t tmpfs lab /run\nmkdir -p /run/wireguard /run/netns\n");
        for place in Place::ALL {
            let name = place.name();
            script += &format!("ip netns add {name}\nip -n {name} link set lo up\n");
            script += &format!(
                "ip netns exec {name} sh -c 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad; \
                 echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad; echo \"0 0\" >/proc/sys/net/ipv4/ping_group_range'\n"
            );
        }
        for (place, outside) in [
            (Place::Home1, "h1"),
            (Place::Home2, "h2"),
            (Place::Clinician, "cl"),
            (Place::Gateway, "gw"),
        ] {
            let interface = if place == Place::Gateway {
                "wan0"
            } else {
                "eth0"
            };
            script += &link(place, interface, Place::Internet, outside);
            let (v4, v6) = place.outside();
            let (router4, router6) = place.router();
            let name = place.name();
            script += &format!(
                "ip -n internet addr add {router4}/26 dev {outside}\n\
                 ip -n internet addr add {router6}/64 dev {outside} nodad\n\
                 ip -n {name} addr add {v4}/26 dev {interface}\n\
                 ip -n {name} addr add {v6}/64 dev {interface} nodad\n\
                 ip -n {name} route add default via {router4}\n\
                 ip -n {name} route add default via {router6}\n"
            );
        }
        script += "ip netns exec internet sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'\n";
        script += &link(Place::Gateway, "lan0", Place::Hospital, "eth0");
        script += "ip -n gateway addr add 10.20.0.1/16 dev lan0\n\
                   ip -n gateway addr add fd20::1/64 dev lan0 nodad\n";
        for address in HOSPITAL {
            script += &format!("ip -n hospital addr add {address} dev eth0\n");
        }
        script += "ip -n hospital route add 10.64.0.0/16 via 10.20.0.1\n\
                   ip -n hospital route add fd64::/64 via fd20::1\n";
        let mut command = Command::new("sh");
        command.args(["-euc", &script]);
        let _ = Output::of(command, Duration::from_secs(30)).ok();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show_logs(self.directory());
        }
        if std::env::var_os("LAZARET_KEEP").is_some() {
            eprintln!("kept: {}", self.directory().display());
            self.directory.disable_cleanup(true);
        }
    }
}

impl Place {
    const ALL: [Self; 6] = [
        Self::Home1,
        Self::Home2,
        Self::Clinician,
        Self::Internet,
        Self::Gateway,
        Self::Hospital,
    ];

    /// The name of the namespace.
    pub fn name(self) -> &'static str {
        match self {
            Self::Home1 => "home1",
            Self::Home2 => "home2",
            Self::Clinician => "clinician",
            Self::Internet => "internet",
            Self::Gateway => "gateway",
            Self::Hospital => "hospital",
        }
    }

    /// Its addresses outside of any tunnel.
    ///
    /// # Panics
    /// For the internet itself, which has one a link.
    pub fn outside(self) -> (Ipv4Addr, Ipv6Addr) {
        let (network4, network6) = self.network();
        let v4 = u32::from(network4) + 10;
        (v4.into(), (u128::from(network6) + 0x10).into())
    }

    fn router(self) -> (Ipv4Addr, Ipv6Addr) {
        let (network4, network6) = self.network();
        let v4 = u32::from(network4) + 1;
        (v4.into(), (u128::from(network6) + 1).into())
    }

    fn network(self) -> (Ipv4Addr, Ipv6Addr) {
        let (last, net) = match self {
            Self::Home1 => (0, 1),
            Self::Home2 => (64, 2),
            Self::Clinician => (128, 3),
            Self::Gateway => (192, 4),
            Self::Internet | Self::Hospital => panic!("{self:?} has no address outside"),
        };
        (
            Ipv4Addr::new(198, 51, 100, last),
            Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, 0),
        )
    }
}

/// The HIS: an HL7 receiver.
pub const HIS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 20, 2, 10));
/// The PACS: a DICOM archive.
pub const PACS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 20, 1, 10));
/// A console: remote desktop and shell.
pub const CONSOLE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 20, 0, 5));

const HOSPITAL: [&str; 6] = [
    "10.20.2.10/16",
    "10.20.1.10/16",
    "10.20.0.5/16",
    "fd20::210/64 nodad",
    "fd20::110/64 nodad",
    "fd20::5/64 nodad",
];

const INSIDE: &str = "LAZARET_LAB";

fn link(a: Place, a_interface: &str, b: Place, b_interface: &str) -> String {
    let (a, b) = (a.name(), b.name());
    format!(
        "ip link add {a_interface} netns {a} type veth peer name {b_interface} netns {b}\n\
         ip -n {a} link set {a_interface} up\nip -n {b} link set {b_interface} up\n"
    )
}

/// libtest names the thread after the test; with one thread only the arguments know it.
fn test_name() -> String {
    let thread = std::thread::current().name().unwrap_or("main").to_owned();
    if thread != "main" {
        return thread;
    }
    let mut arguments = std::env::args().skip_while(|argument| argument != "--exact");
    arguments
        .find(|argument| !argument.starts_with("--"))
        .expect("run scenarios with nextest, with threads, or with --exact NAME")
}

fn end_with_parent(directory: PathBuf) {
    std::thread::spawn(move || {
        let mut nothing = [0; 64];
        while matches!(std::io::stdin().read(&mut nothing), Ok(1..)) {}
        let _ = std::fs::remove_dir_all(directory);
        std::process::exit(130);
    });
}

fn show_logs(directory: &Path) {
    let mut logs: Vec<_> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .collect();
    logs.sort();
    for log in logs {
        let text = String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines
            .get(lines.len().saturating_sub(40)..)
            .unwrap_or_default();
        eprintln!("--- end of {}\n{}", log.display(), tail.join("\n"));
    }
}

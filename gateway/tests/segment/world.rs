//! Three network namespaces: a device behind `lz0`, the gateway, a hospital behind `lan0`.
//!
//! Each test runs itself again inside `unshare -Urnm`, so that it needs no root and leaves nothing behind.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use lazaret::segment::{host, nft, plan, readback};
use lazaret_config::{Config, HospitalMode};
use rustix::thread::LinkNameSpaceType;

use crate::fixture::{at, ip};

/// Runs `body` in namespaces of its own. `test` is the name of the calling test.
pub(crate) fn world(test: &str, body: impl FnOnce()) {
    world_with(test, None, body);
}

/// As [`world`], with a variable that says which of several worlds of one test it is.
pub(crate) fn world_with(test: &str, which: Option<&str>, body: impl FnOnce()) {
    if std::env::var_os("LAZARET_WORLD").is_some() {
        shell(SETUP);
        return body();
    }
    let status = Command::new("unshare")
        .arg("-Urnm")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("LAZARET_WORLD", "1")
        .envs(which.map(|name| (name, "1")))
        .status()
        .expect("unshare must be installed");
    assert!(status.success(), "inside the namespaces: {status}");
}

/// Runs a script and fails with it.
pub(crate) fn shell(script: &str) -> String {
    let output = Command::new("sh")
        .args(["-ec", script])
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .output()
        .expect("sh must be installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Prepares the host for a configuration.
pub(crate) fn prepare(config: &Config) {
    runtime().block_on(host::prepare(config)).unwrap();
    runtime().block_on(host::prepare_interface(config)).unwrap();
}

/// Applies a plan and reads it back.
pub(crate) fn apply(plan: &plan::Plan) {
    nft::apply(plan).unwrap();
    readback::verify(plan).unwrap();
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

pub(crate) fn facts() -> plan::Facts {
    plan::Facts {
        now: "2026-11-24T11:00:00Z".parse().unwrap(),
        standing: std::collections::BTreeMap::new(),
        listeners: plan::Listeners {
            v4: Some(at("10.64.255.254:7000")),
            v6: Some(at("[fd64::ffff]:7000")),
        },
        udp_port: 51820,
        held: std::collections::BTreeSet::new(),
    }
}

/// The plan of a small gateway in force, with servers in the hospital and the supervisor's listeners.
pub(crate) fn small(mode: HospitalMode) -> (Config, plan::Plan) {
    let config = crate::fixture::small(mode);
    prepare(&config);
    let plan = plan::Plan::new(&config, &facts());
    apply(&plan);
    for port in [2575, 3389, 22] {
        serve("hospital", SocketAddr::new(ip("::"), port));
    }
    for listener in ["10.64.255.254:7000", "[fd64::ffff]:7000"] {
        serve("", at(listener));
    }
    (config, plan)
}

/// Runs `f` in a namespace; an empty name is the gateway's own.
pub(crate) fn inside<T: Send>(namespace: &str, f: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let run = || {
            enter(namespace);
            f()
        };
        scope.spawn(run).join().unwrap()
    })
}

fn enter(namespace: &str) {
    if namespace.is_empty() {
        return;
    }
    let file = std::fs::File::open(format!("/run/netns/{namespace}")).unwrap();
    let kind = Some(LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), kind).unwrap();
}

/// Serves until the test ends: says who called and what was called, then echoes.
pub(crate) fn serve(namespace: &str, at: SocketAddr) {
    let listener = inside(namespace, || TcpListener::bind(at).unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(stream.unwrap()));
        }
    });
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let peer = stream.peer_addr()?.ip().to_canonical();
    let local = stream.local_addr()?;
    let called = match local {
        SocketAddr::V4(_) => rustix::net::sockopt::ip_original_dst(&stream)?.into(),
        SocketAddr::V6(_) if local.port() == 7000 => {
            rustix::net::sockopt::ipv6_original_dst(&stream)?.into()
        }
        SocketAddr::V6(_) => SocketAddr::new(local.ip().to_canonical(), local.port()),
    };
    writeln!(stream, "{peer} called {called}")?;
    let mut bytes = [0; 4096];
    loop {
        let length = stream.read(&mut bytes)?;
        if length == 0 {
            return Ok(());
        }
        RECEIVED.fetch_add(length, Ordering::SeqCst);
        stream.write_all(&bytes[..length])?;
    }
}

/// Bytes that servers have received so far.
pub(crate) fn received() -> usize {
    RECEIVED.load(Ordering::SeqCst)
}

static RECEIVED: AtomicUsize = AtomicUsize::new(0);

/// A connection and what its server said first.
pub(crate) struct Flow {
    stream: TcpStream,
    pub(crate) greeting: String,
}

impl Flow {
    /// Dials from a namespace and address.
    pub(crate) fn dial(namespace: &str, from: &str, to: &str) -> io::Result<Self> {
        let stream = inside(namespace, || {
            let to = at(to);
            let domain = socket2::Domain::for_address(to);
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
            socket.bind(&SocketAddr::new(ip(from), 0).into())?;
            socket.connect_timeout(&to.into(), PATIENCE)?;
            Ok::<TcpStream, io::Error>(socket.into())
        })?;
        Self::greeted(stream)
    }

    /// Waits for the first line.
    pub(crate) fn greeted(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(Duration::from_secs(3)))?;
        let mut flow = Self {
            stream,
            greeting: String::new(),
        };
        loop {
            let mut byte = [0];
            flow.stream.read_exact(&mut byte)?;
            match byte {
                [b'\n'] => return Ok(flow),
                [byte] => flow.greeting.push(char::from(byte)),
            }
        }
    }

    /// Whether a word comes back within `patience`.
    pub(crate) fn lives(&mut self, patience: Duration) -> bool {
        let word = *b"telemedicine";
        let mut back = [0; 12];
        self.stream.set_read_timeout(Some(patience)).unwrap();
        let sent = self.stream.write_all(&word);
        sent.and_then(|()| self.stream.read_exact(&mut back))
            .is_ok()
            && back == word
    }

    pub(crate) fn local(&self) -> IpAddr {
        self.stream.local_addr().unwrap().ip()
    }
}

/// The greeting of an allowed call.
pub(crate) fn allowed(namespace: &str, from: &str, to: &str) -> String {
    match Flow::dial(namespace, from, to) {
        Ok(flow) => flow.greeting,
        Err(e) => panic!("{from} cannot reach {to}: {e}"),
    }
}

/// Fails if a call gets through.
pub(crate) fn denied(namespace: &str, from: &str, to: &str) {
    if let Ok(flow) = Flow::dial(namespace, from, to) {
        panic!("{} reached {to}: {}", flow.local(), flow.greeting);
    }
}

/// One echo request; whether it was answered.
pub(crate) fn echo(from: IpAddr, to: IpAddr) -> bool {
    use socket2::{Domain, Protocol, SockAddr, Socket, Type};
    use std::time::Instant;
    let to = SocketAddr::new(to, 0);
    let (protocol, kind, answer, header) = match to {
        SocketAddr::V4(_) => (Protocol::ICMPV4, 8, 0, 20),
        SocketAddr::V6(_) => (Protocol::ICMPV6, 128, 129, 0),
    };
    let socket = Socket::new(Domain::for_address(to), Type::RAW, Some(protocol)).unwrap();
    socket
        .bind(&SockAddr::from(SocketAddr::new(from, 0)))
        .unwrap();
    socket.connect(&to.into()).unwrap();
    let mut request = [kind, 0, 0, 0, 0x12, 0x34, 0, 1];
    if kind == 8 {
        let sum: u32 = (request.chunks(2))
            .map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])))
            .sum();
        request[2..4].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    }
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(&request).unwrap();
    let begin = Instant::now();
    let mut bytes = [0; 128];
    while begin.elapsed() < PATIENCE {
        if let Ok(length) = (&socket).read(&mut bytes)
            && length > header
            && bytes[header] == answer
        {
            return true;
        }
    }
    false
}

/// Runs `f` again and again beside the test until the returned guard is dropped; fails with it.
pub(crate) fn meanwhile(mut f: impl FnMut() + Send + 'static) -> Meanwhile {
    let (stop, stopped) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let mut rounds = 0u64;
        while let Err(mpsc::TryRecvError::Empty) = stopped.try_recv() {
            f();
            rounds += 1;
        }
        rounds
    });
    Meanwhile { stop, thread }
}

pub(crate) struct Meanwhile {
    stop: mpsc::Sender<()>,
    thread: thread::JoinHandle<u64>,
}

impl Meanwhile {
    /// Stops and says how many rounds there were.
    pub(crate) fn finish(self) -> u64 {
        drop(self.stop);
        self.thread.join().expect("what ran beside the test failed")
    }
}

/// How long a denied call is tried.
const PATIENCE: Duration = Duration::from_millis(400);

const SETUP: &str = "
mount -t tmpfs tmpfs /run; mkdir /run/netns
ip link set lo up
ip netns add device; ip netns add hospital
# Without it the first second of IPv6 is spent on looking for duplicates.
nodad='echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad'
sh -c \"$nodad\"; for n in device hospital; do ip netns exec $n sh -c \"$nodad\"; done
ip link add lz0 address 02:00:00:00:00:01 type veth peer name eth0 address 02:00:00:00:00:02 netns device
ip link add lan0 type veth peer name eth0 netns hospital
ip addr add 10.64.255.254/16 dev lz0; ip addr add fd64::ffff/64 dev lz0 nodad; ip link set lz0 up
ip addr add 10.20.0.1/16 dev lan0; ip addr add fd20::1/64 dev lan0 nodad; ip link set lan0 up
for n in device hospital; do ip -n $n link set lo up; ip -n $n link set eth0 up; done
# As in a tunnel: no device sees another, and there is no neighbour discovery.
for i in 1 2 3 77; do
  ip -n device addr add 10.64.0.$i/32 dev eth0
  ip -n device addr add fd64::$i/128 dev eth0 nodad
  ip neigh add fd64::$i lladdr 02:00:00:00:00:02 dev lz0 nud permanent
done
ip -n device route add 10.64.255.254 dev eth0; ip -n device route add default via 10.64.255.254
ip -n device neigh add fd64::ffff lladdr 02:00:00:00:00:01 dev eth0 nud permanent
ip -n device route add fd64::ffff dev eth0; ip -n device -6 route add default via fd64::ffff
ip -n hospital addr add 10.20.1.10/16 dev eth0; ip -n hospital addr add fd20::10/64 dev eth0 nodad
ip -n hospital route add default via 10.20.0.1; ip -n hospital -6 route add default via fd20::1
";

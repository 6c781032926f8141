//! Messages a second through the relay, beside haproxy in TCP mode: `cargo bench -p lazaret --bench relay`.
//!
//! 100 devices with one connection each, every one waiting for the answer to a message before it sends the next.
//! Clients, destination and messages are the same for all, rounds alternate, and only the ratio means anything.
//! Relay processes as the gateway starts them, once one and once as many as the machine has processors; haproxy once
//! with one thread and once with as many. Clients (one thread), destination (one thread) and what stands in for the
//! supervisor (one thread) share the processors with them. The tunnel, nftables and the journal's disk are not part of it.
//!
//! Words behind `--bench` choose: `--only N` messages with N observations, `--rounds N`, `--quiet-only` (no hints),
//! `--alone` (one relay process and one thread of haproxy).
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a measurement for people"
)]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lazaret::channel::{self, Channel};
use lazaret::flow::ConnectionId;
use lazaret::forward::message::{FromRelay, MOST_UNRECORDED, ToRelay};
use lazaret::inspect::{ConnectionPolicy, ProtocolPolicy, Timing};
use protocol_inspect::hl7::{Policy, Profile, Rule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

fn main() {
    // As a test this is only built, and run with `--bench` alone.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    // A thread that fails ends the measurement, and not only its own part of it.
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        std::process::exit(1);
    }));
    let destination = destination();
    let asked = Asked::read();
    let most = thread::available_parallelism().map_or(1, |count| count.get().min(8));
    let counts = if asked.alone || most == 1 {
        vec![1]
    } else {
        vec![1, most]
    };
    let relays: Vec<Relay> = counts
        .iter()
        .map(|count| Relay::start(destination, *count))
        .collect();
    let haproxies: Vec<Haproxy> = counts
        .iter()
        .map(|count| Haproxy::start(destination, *count))
        .collect();
    let mut ways: Vec<Way> = Vec::new();
    for (relay, count) in relays.iter().zip(&counts) {
        ways.push(Way::new(
            format!("relay x{count}"),
            relay.address,
            relay.pids(),
        ));
    }
    for (haproxy, count) in haproxies.iter().zip(&counts) {
        ways.push(Way::new(
            format!("haproxy x{count}"),
            haproxy.address,
            vec![haproxy.child.id()],
        ));
    }
    ways.push(Way::new("direct".to_owned(), destination, Vec::new()));
    println!(
        "{DEVICES} devices, {} rounds of {} s each, median",
        asked.rounds,
        ROUND.as_secs()
    );
    println!("bytes  hints         way    msg/s  of haproxy x1  user us/msg  system us/msg");
    for (observations, hints) in MESSAGES {
        if asked.only.is_some_and(|only| only != observations) || (asked.quiet_only && hints) {
            continue;
        }
        measure(&mut ways, &asked, &message(observations, hints), hints);
    }
}

/// All ways in turn, so that what else the machine does is the same for all.
fn measure(ways: &mut [Way], asked: &Asked, message: &[u8], hints: bool) {
    for way in &mut *ways {
        way.rates.clear();
        way.time = [0.0; 2];
        way.answered = 0.0;
    }
    for _ in 0..asked.rounds {
        for way in &mut *ways {
            let before = way.ticks();
            let (answered, seconds, all) = round(way.address, message);
            let after = way.ticks();
            for (sum, (after, before)) in way.time.iter_mut().zip(after.iter().zip(before)) {
                *sum += after - before;
            }
            way.answered += all;
            way.rates.push(answered / seconds);
        }
    }
    let one = ways.iter().find(|way| way.name == "haproxy x1");
    let one = one.map_or(f64::NAN, |way| median(way.rates.clone()));
    for way in ways {
        let rate = median(way.rates.clone());
        let [user, system] = way.time.map(|time| time / way.answered * 1e6);
        let said = if hints { "yes" } else { "no" };
        println!(
            "{:5}  {said:5}  {:>10}  {rate:7.0}  {:13.2}  {user:11.1}  {system:13.1}",
            message.len(),
            way.name,
            rate / one
        );
    }
}

/// Through what the messages go.
struct Way {
    name: String,
    address: SocketAddr,
    pids: Vec<u32>,
    rates: Vec<f64>,
    /// Seconds as a user and in the system, of all rounds.
    time: [f64; 2],
    answered: f64,
}

impl Way {
    fn new(name: String, address: SocketAddr, pids: Vec<u32>) -> Self {
        Self {
            name,
            address,
            pids,
            rates: Vec::new(),
            time: [0.0; 2],
            answered: 0.0,
        }
    }

    fn ticks(&self) -> [f64; 2] {
        self.pids
            .iter()
            .map(|pid| ticks(*pid))
            .fold([0.0; 2], |[user, system], [u, s]| [user + u, system + s])
    }
}

/// What is to be measured.
struct Asked {
    only: Option<usize>,
    rounds: usize,
    quiet_only: bool,
    alone: bool,
}

impl Asked {
    fn read() -> Self {
        let words: Vec<String> = std::env::args().collect();
        let number = |name: &str| {
            let at = words.iter().position(|word| word == name)?;
            words.get(at + 1)?.parse().ok()
        };
        let has = |name: &str| words.iter().any(|word| word == name);
        Self {
            only: number("--only"),
            rounds: number("--rounds").unwrap_or(ROUNDS),
            quiet_only: has("--quiet-only"),
            alone: has("--alone"),
        }
    }
}

/// An ORU^R01 in its frame; the sender puts a new number in the place of [`NUMBER`].
///
/// With `hints` nothing tells one observation from the next, and MSH-7 is long ago: the strict profile has something to
/// say of each, up to 16 of them on record.
fn message(observations: usize, hints: bool) -> Vec<u8> {
    let sent = if hints {
        "20260101120000".to_owned()
    } else {
        jiff::Timestamp::now().strftime("%Y%m%d%H%M%S").to_string()
    };
    let observations: String = (1..=observations)
        .map(|n| {
            let part = if hints { String::new() } else { n.to_string() };
            format!(
                "OBX|{n}|NM|8867-4^Heart rate^LN|{part}|72|/min|60-100|N|||F|||20260101120000\r"
            )
        })
        .collect();
    let head = format!("MSH|^~\\&|ECG|CARDIO|HIS|MAIN|{sent}||ORU^R01^ORU_R01|");
    let patient = "PID|1||4711^^^HOSP^MR||DOE^JANE\rOBR|1||F1|8867-4^Heart rate^LN|||20260101\r";
    format!("\x0b{head}{NUMBER}|P|2.5\r{patient}{observations}\x1c\r").into_bytes()
}

/// Messages answered in one round, how long it took, and how many were answered with those before and after it.
fn round(address: SocketAddr, message: &[u8]) -> (f64, f64, f64) {
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let runtime = runtime();
    let devices: Vec<_> = (0..DEVICES)
        .map(|_| {
            let device = device(
                address,
                message.to_vec(),
                Arc::clone(&stop),
                Arc::clone(&answered),
            );
            runtime.spawn(device)
        })
        .collect();
    runtime.block_on(async {
        // Connections are made and first messages answered before the clock starts.
        while answered.load(Ordering::Relaxed) < DEVICES * 10 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (first, begin) = (answered.load(Ordering::Relaxed), Instant::now());
        tokio::time::sleep(ROUND).await;
        let seconds = begin.elapsed().as_secs_f64();
        let count = answered.load(Ordering::Relaxed) - first;
        stop.store(true, Ordering::Relaxed);
        for device in devices {
            device.await.unwrap();
        }
        (
            count as f64,
            seconds,
            answered.load(Ordering::Relaxed) as f64,
        )
    })
}

async fn device(
    address: SocketAddr,
    mut message: Vec<u8>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let at = message
        .windows(NUMBER.len())
        .position(|window| window == NUMBER.as_bytes())
        .unwrap();
    let mut answer = vec![0; 4_096];
    while !stop.load(Ordering::Relaxed) {
        let number = format!("{:012}", NEXT.fetch_add(1, Ordering::Relaxed));
        message[at..at + NUMBER.len()].copy_from_slice(number.as_bytes());
        stream.write_all(&message).await.unwrap();
        let mut length = 0;
        while !answer[..length].ends_with(END) {
            let read = match stream.read(&mut answer[length..]).await {
                Ok(read) => read,
                Err(error) => {
                    panic!("{error} at {address} after {length} bytes of the answer to {number}")
                }
            };
            assert!(read > 0, "the connection was closed");
            length += read;
        }
        let told = String::from_utf8_lossy(&answer[..length]);
        assert!(told.contains(&format!("MSA|AA|{number}")), "{told:?}");
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// A HIS that takes everything.
fn destination() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        runtime().block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream));
            }
        })
    });
    address
}

async fn serve(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let mut held = vec![0; 64 << 10];
    let mut length = 0;
    while let Ok(read @ 1..) = stream.read(&mut held[length..]).await {
        length += read;
        if !held[..length].ends_with(END) {
            continue;
        }
        let number = held[..length].split(|b| *b == b'|').nth(9).unwrap();
        let number = String::from_utf8_lossy(number);
        let answer = format!(
            "\x0bMSH|^~\\&|HIS|MAIN|ECG|CARDIO|20260101120000||ACK^R01^ACK|A{number}|P|2.5\rMSA|AA|{number}\r\x1c\r"
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        length = 0;
    }
}

/// The relay processes, and a thread in the place of the supervisor.
struct Relay {
    address: SocketAddr,
    children: Vec<Child>,
}

impl Relay {
    fn start(destination: SocketAddr, count: usize) -> Self {
        let mut channels = Vec::new();
        let mut children = Vec::new();
        for _ in 0..count {
            let (ours, theirs) = channel::pair().unwrap();
            let child = Command::new(env!("CARGO_BIN_EXE_lazaret"))
                .args(["worker", "relay-hl7"])
                .stdin(Stdio::from(theirs))
                .spawn()
                .unwrap();
            channels.push(ours);
            children.push(child);
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        thread::spawn(move || runtime().block_on(supervise(channels, listener, destination)));
        Self { address, children }
    }

    fn pids(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ended = child.kill();
            let _ended = child.wait();
        }
    }
}

/// Deals the connections out in turn: each is of another device.
async fn supervise(channels: Vec<OwnedFd>, listener: TcpListener, destination: SocketAddr) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut relays = Vec::new();
    for channel in channels {
        let channel = Arc::new(Channel::<ToRelay, FromRelay>::new(channel).unwrap());
        let (connections, memory) = (1_000, 256 << 20);
        let start = ToRelay::Start {
            connections,
            memory,
            relays: 1,
        };
        channel.send(&start, &[]).await.unwrap();
        tokio::spawn(listen(Arc::clone(&channel), destination));
        relays.push(channel);
    }
    for number in 1.. {
        let socket = listener.accept().await.unwrap().0.into_std().unwrap();
        let id = ConnectionId(number);
        let policy = Box::new(policy());
        let open = ToRelay::Open {
            id,
            subject: number,
            exchange: number,
            policy,
        };
        let relay = &relays[usize::try_from(number).unwrap() % relays.len()];
        relay.send(&open, &[socket.as_fd()]).await.unwrap();
    }
}

/// What one relay process wants and decides.
async fn listen(channel: Arc<Channel<ToRelay, FromRelay>>, destination: SocketAddr) {
    let (mut decided, mut told) = (0, 0);
    loop {
        // The measurement is over when a relay is.
        let Ok((said, _)) = channel.receive().await else {
            return;
        };
        match said {
            FromRelay::Connect { id } => {
                let socket = TcpStream::connect(destination).await.unwrap();
                let socket = socket.into_std().unwrap();
                let upstream = ToRelay::Upstream { id };
                channel.send(&upstream, &[socket.as_fd()]).await.unwrap();
            }
            FromRelay::Decided(some) => {
                decided += some.len() as u64;
                if decided - told >= MOST_UNRECORDED / 4 {
                    told = decided;
                    let recorded = ToRelay::Recorded { decisions: decided };
                    channel.send(&recorded, &[]).await.unwrap();
                }
            }
            FromRelay::Ready
            | FromRelay::Spool { .. }
            | FromRelay::Keep { .. }
            | FromRelay::Closed { .. } => {}
        }
    }
}

fn policy() -> ConnectionPolicy {
    let rule = Rule {
        name: "results".to_owned(),
        send: vec!["ORU^R01".to_owned()],
        bind_sender: true,
        profiles: vec![Profile::strict()],
        ..Rule::default()
    };
    ConnectionPolicy {
        opener: lazaret::flow::Side::Device,
        protocol: ProtocolPolicy::Hl7(Policy {
            default_charset: "ASCII".to_owned(),
            senders: vec![("ECG".to_owned(), "CARDIO".to_owned())],
            rules: vec![rule],
            ..Policy::default()
        }),
        timing: Timing {
            receive_ms: 30_000,
            connect_ms: 10_000,
            answer_ms: 30_000,
            idle_ms: 3_600_000,
            send_ms: 30_000,
            transaction_ms: 3_600_000,
        },
        rate: None,
        delay_only: false,
        without_journal: false,
        language: lazaret::words::Language::English,
    }
}

struct Haproxy {
    address: SocketAddr,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Haproxy {
    fn start(destination: SocketAddr, threads: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("haproxy.cfg");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let text = format!(
            "global\n  nbthread {threads}\n  maxconn 1000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  \
             timeout server 1h\nlisten hl7\n  bind {address}\n  server his {destination}\n"
        );
        fs::write(&file, text).unwrap();
        let child = Command::new("haproxy")
            .arg("-db")
            .arg("-f")
            .arg(&file)
            .env("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
            .spawn()
            .expect("haproxy is a Debian package");
        while std::net::TcpStream::connect(address).is_err() {
            thread::sleep(Duration::from_millis(10));
        }
        Self {
            address,
            child,
            _folder: folder,
        }
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Processor time of a process in seconds, as a user and in the system.
fn ticks(pid: u32) -> [f64; 2] {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    // Fields 14 and 15 of proc(5), in hundredths.
    [11, 12].map(|index: usize| fields[index].parse::<f64>().unwrap() / 100.0)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Observations in a message, and whether there is something to say about each.
const MESSAGES: [(usize, bool); 6] = [
    (1, false),
    (8, false),
    (40, false),
    (1, true),
    (8, true),
    (40, true),
];
const DEVICES: u64 = 100;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const NUMBER: &str = "000000000000";
const END: &[u8] = b"\x1c\r";

static NEXT: AtomicU64 = AtomicU64::new(1);

//! Messages a second through the relay, beside haproxy in TCP mode: `cargo bench -p lazaret --bench relay`.
//!
//! One relay process as the gateway starts it, 100 devices with one connection each, every one waiting for the
//! answer to a message before it sends the next. Clients, destination and messages are the same for both, rounds
//! alternate, and only the ratio means anything. The tunnel, nftables and the journal's disk are not part of it.
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
    let relay = Relay::start(destination);
    let haproxy = Haproxy::start(destination);
    println!(
        "{DEVICES} devices, {ROUNDS} rounds of {} s each, median",
        ROUND.as_secs()
    );
    println!(
        "bytes  hints  relay msg/s  haproxy msg/s  ratio  direct msg/s  relay CPU us/msg  haproxy CPU us/msg"
    );
    for (observations, hints) in [
        (1, false),
        (8, false),
        (40, false),
        (1, true),
        (8, true),
        (40, true),
    ] {
        let message = message(observations, hints);
        let mut rates: [Vec<f64>; 3] = Default::default();
        let mut cpu = [0.0; 2];
        for _ in 0..ROUNDS {
            for (index, (address, pid)) in [
                (relay.address, relay.child.id()),
                (haproxy.address, haproxy.child.id()),
            ]
            .into_iter()
            .enumerate()
            {
                let before = ticks(pid);
                let (answered, seconds) = round(address, &message);
                cpu[index] += (ticks(pid) - before) / answered * 1e6 / ROUNDS as f64;
                rates[index].push(answered / seconds);
            }
            let (answered, seconds) = round(destination, &message);
            rates[2].push(answered / seconds);
        }
        let [relay, haproxy, direct] = rates.map(median);
        println!(
            "{:5}  {:5}  {relay:11.0}  {haproxy:13.0}  {:5.2}  {direct:12.0}  {:16.1}  {:18.1}",
            message.len(),
            if hints { "yes" } else { "no" },
            relay / haproxy,
            cpu[0],
            cpu[1],
        );
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

/// Messages answered in one round, and how long it took.
fn round(address: SocketAddr, message: &[u8]) -> (f64, f64) {
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
        (count as f64, seconds)
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

/// The relay process, and a thread in the place of the supervisor.
struct Relay {
    address: SocketAddr,
    child: Child,
}

impl Relay {
    fn start(destination: SocketAddr) -> Self {
        let (ours, theirs) = channel::pair().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_lazaret"))
            .args(["worker", "relay-hl7"])
            .stdin(Stdio::from(theirs))
            .spawn()
            .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        thread::spawn(move || runtime().block_on(supervise(ours, listener, destination)));
        Self { address, child }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

async fn supervise(channel: OwnedFd, listener: TcpListener, destination: SocketAddr) {
    let channel = Channel::<ToRelay, FromRelay>::new(channel).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let (connections, memory) = (1_000, 256 << 20);
    let start = ToRelay::Start {
        connections,
        memory,
    };
    channel.send(&start, &[]).await.unwrap();
    let mut number = 0;
    let (mut decided, mut told) = (0, 0);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                number += 1;
                let id = ConnectionId(number);
                let policy = Box::new(policy());
                let socket = accepted.unwrap().0.into_std().unwrap();
                let open = ToRelay::Open { id, subject: number, exchange: number, policy };
                channel.send(&open, &[socket.as_fd()]).await.unwrap();
            }
            said = channel.receive() => match said.unwrap().0 {
                FromRelay::Connect { id } => {
                    let socket = TcpStream::connect(destination).await.unwrap();
                    let socket = socket.into_std().unwrap();
                    channel.send(&ToRelay::Upstream { id }, &[socket.as_fd()]).await.unwrap();
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
            },
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
    }
}

struct Haproxy {
    address: SocketAddr,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Haproxy {
    fn start(destination: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("haproxy.cfg");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let text = format!(
            "global\n  nbthread 1\n  maxconn 1000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  \
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

/// Processor time of a process in seconds.
fn ticks(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let number = |index: usize| fields[index].parse::<f64>().unwrap();
    // Fields 14 and 15 of proc(5), in hundredths.
    (number(11) + number(12)) / 100.0
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

const DEVICES: u64 = 100;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const NUMBER: &str = "000000000000";
const END: &[u8] = b"\x1c\r";

static NEXT: AtomicU64 = AtomicU64::new(1);

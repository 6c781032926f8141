//! Megabytes a second of DICOM through the relay, beside socat and a direct connection:
//! `cargo bench -p lazaret --bench dicom_relay`.
//!
//! DCMTK's `storescu` sends, DCMTK's `storescp --ignore` receives, with `TCP_NODELAY=1` and PDUs of 128 KiB.
//! The paths take turns within each round, and only the ratios mean anything. One relay process a release, as the gateway
//! starts it; the tunnel, nftables and the journal's disk are not part of it. Instances are made here: 200 CT slices of
//! 530 KB, and 3 multi-frame objects of 210 MB. `LAZARET_ROUNDS` and `LAZARET_PATHS` (`streaming,socat`) choose less.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a measurement for people"
)]

use std::fs;
use std::io::{BufWriter, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lazaret::channel::{self, Channel};
use lazaret::flow::{ConnectionId, Side};
use lazaret::forward::message::{FromRelay, ToRelay};
use lazaret::forward::spool_file;
use lazaret::inspect::{ConnectionPolicy, ProtocolPolicy, Timing};
use protocol_inspect::Limits;
use protocol_inspect::dicom::{Policy, Profile, Rule};
use tokio::runtime::Runtime;

fn main() {
    // As a test this is only built, and run with `--bench` alone.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        std::process::exit(1);
    }));
    let rounds = std::env::var("LAZARET_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    let chosen = std::env::var("LAZARET_PATHS").unwrap_or_default();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let studies = [
        study(folder.path(), "slices of 530 KB", 200, 1),
        study(folder.path(), "objects of 210 MB", 3, 400),
    ];
    let archive = Archive::start(folder.path());
    let to = archive.address;
    let relay = |streaming| Through::Relay(Relay::start(to, streaming, folder.path()));
    let paths: Vec<(&str, Through)> = ["direct", "socat", "streaming", "verified"]
        .into_iter()
        .filter(|name| chosen.is_empty() || chosen.split(',').any(|one| one == *name))
        .map(|name| match name {
            "direct" => (name, Through::Direct(to)),
            "socat" => (name, Through::Socat(Socat::start(to))),
            _ => (name, relay(name == "streaming")),
        })
        .collect();
    for study in &studies {
        measure(study, &paths, rounds);
    }
}

/// Sends one study over all paths in turn, as often as told.
fn measure(study: &Study, paths: &[(&str, Through)], rounds: usize) {
    let mut rates = vec![Vec::new(); paths.len()];
    let mut cpu = vec![0.0; paths.len()];
    let mut memory = vec![0; paths.len()];
    for _ in 0..rounds {
        for (index, (_, path)) in paths.iter().enumerate() {
            let pid = path.pid();
            let before = pid.map(|pid| (ticks(pid), fresh_peak(pid)));
            let begin = Instant::now();
            send(study, path.address());
            rates[index].push(study.bytes / 1e6 / begin.elapsed().as_secs_f64());
            if let (Some(pid), Some((ticks_before, resident))) = (pid, before) {
                cpu[index] += (ticks(pid) - ticks_before) / rounds as f64;
                let grown = kibibytes(pid, "VmHWM").saturating_sub(resident);
                memory[index] = grown.max(memory[index]);
            }
        }
    }
    let medians: Vec<f64> = rates.iter().cloned().map(median).collect();
    let of = |name: &str| {
        let index = paths.iter().position(|(path, _)| *path == name)?;
        medians.get(index).copied()
    };
    println!(
        "\n{} {}, {:.0} MB, {rounds} rounds, median",
        study.count,
        study.name,
        study.bytes / 1e6
    );
    println!("path        MB/s   of socat  of direct  CPU s   peak KiB over idle  rounds");
    for (index, (name, _)) in paths.iter().enumerate() {
        let ratio = |other| of(other).map_or(f64::NAN, |other| medians[index] / other);
        let all: Vec<String> = rates[index]
            .iter()
            .map(|rate| format!("{rate:.0}"))
            .collect();
        println!(
            "{name:10}  {:5.0}  {:8.2}  {:9.2}  {:5.2}  {:18}  {}",
            medians[index],
            ratio("socat"),
            ratio("direct"),
            cpu[index],
            memory[index],
            all.join(" ")
        );
    }
}

fn send(study: &Study, address: SocketAddr) {
    let ended = dcmtk("storescu")
        .args(["-aet", "BENCH", "-aec", "ARCHIVE", "-pdu", PDU, "-R", "+sd"])
        .arg(address.ip().to_string())
        .arg(address.port().to_string())
        .arg(&study.folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && said.is_empty(), "{said}");
}

fn dcmtk(program: &str) -> Command {
    let mut command = Command::new(format!("/usr/bin/{program}"));
    command.env("TCP_NODELAY", "1");
    command
}

/// Instances in a folder.
struct Study {
    name: &'static str,
    count: usize,
    folder: PathBuf,
    bytes: f64,
}

fn study(folder: &Path, name: &'static str, count: usize, frames: usize) -> Study {
    let folder = folder.join(format!("{frames}"));
    fs::create_dir(&folder).unwrap();
    let mut bytes = 0;
    for number in 1..=count {
        let path = folder.join(format!("{number:04}.dcm"));
        let mut file = BufWriter::new(fs::File::create(&path).unwrap());
        instance(&mut file, number, frames);
        file.flush().unwrap();
        drop(file);
        bytes += fs::metadata(&path).unwrap().len();
    }
    Study {
        name,
        count,
        folder,
        bytes: bytes as f64,
    }
}

/// A Part 10 file, Explicit VR Little Endian: CT, or Multi-frame Grayscale Word Secondary Capture.
fn instance(out: &mut impl Write, number: usize, frames: usize) {
    let class = match frames {
        1 => "1.2.840.10008.5.1.4.1.1.2",
        _ => "1.2.840.10008.5.1.4.1.1.7.3",
    };
    let uid = format!("2.25.{frames}{number:06}");
    let mut meta = Vec::new();
    element(&mut meta, 0x0002, 0x0001, b"OB", &[0, 1]);
    text(&mut meta, 0x0002, 0x0002, b"UI", class);
    text(&mut meta, 0x0002, 0x0003, b"UI", &uid);
    text(&mut meta, 0x0002, 0x0010, b"UI", "1.2.840.10008.1.2.1");
    text(&mut meta, 0x0002, 0x0012, b"UI", "2.25.1");
    let mut head = vec![0; 128];
    head.extend_from_slice(b"DICM");
    let length = u32::try_from(meta.len()).unwrap();
    element(&mut head, 0x0002, 0x0000, b"UL", &length.to_le_bytes());
    head.extend(meta);
    let frame = vec![(number % 251) as u8; SIDE * SIDE * 2];
    let instance = number.to_string();
    let mut many = [0; 4];
    many[..2].copy_from_slice(&u16::try_from(SIDE).unwrap().to_le_bytes());
    let side = &many[..2];
    type Line<'a> = (u16, u16, &'a [u8; 2], &'a str);
    let lines: [Line<'_>; 21] = [
        (0x0008, 0x0008, b"CS", "ORIGINAL\\PRIMARY\\AXIAL"),
        (0x0008, 0x0016, b"UI", class),
        (0x0008, 0x0018, b"UI", &uid),
        (0x0008, 0x0020, b"DA", "20260101"),
        (0x0008, 0x0030, b"TM", "120000"),
        (0x0008, 0x0050, b"SH", "A1"),
        (0x0008, 0x0060, b"CS", if frames == 1 { "CT" } else { "OT" }),
        (0x0008, 0x0064, b"CS", "WSD"),
        (0x0008, 0x0070, b"LO", "LAZARET"),
        (0x0008, 0x0090, b"PN", "DOE^JOHN"),
        (0x0010, 0x0010, b"PN", "BENCH^MARK"),
        (0x0010, 0x0020, b"LO", "4711"),
        (0x0010, 0x0030, b"DA", "19700101"),
        (0x0010, 0x0040, b"CS", "O"),
        (0x0018, 0x0060, b"DS", "120"),
        (0x0020, 0x000d, b"UI", "2.25.7"),
        (0x0020, 0x000e, b"UI", "2.25.8"),
        (0x0020, 0x0010, b"SH", "1"),
        (0x0020, 0x0011, b"IS", "1"),
        (0x0020, 0x0013, b"IS", &instance),
        (0x0020, 0x0052, b"UI", "2.25.9"),
    ];
    for (group, tag, vr, value) in lines {
        text(&mut head, group, tag, vr, value);
    }
    element(&mut head, 0x0028, 0x0002, b"US", &[1, 0]);
    text(&mut head, 0x0028, 0x0004, b"CS", "MONOCHROME2");
    if frames > 1 {
        text(&mut head, 0x0028, 0x0008, b"IS", &frames.to_string());
    }
    for (tag, value) in [
        (0x0010, side),
        (0x0011, side),
        (0x0100, &[16, 0][..]),
        (0x0101, &[16, 0]),
        (0x0102, &[15, 0]),
        (0x0103, &[0, 0]),
    ] {
        element(&mut head, 0x0028, tag, b"US", value);
    }
    text(&mut head, 0x0028, 0x1052, b"DS", "0");
    text(&mut head, 0x0028, 0x1053, b"DS", "1");
    head.extend([0xe0, 0x7f, 0x10, 0x00, b'O', b'W', 0, 0]);
    let length = u32::try_from(frame.len() * frames).unwrap();
    head.extend(length.to_le_bytes());
    out.write_all(&head).unwrap();
    for _ in 0..frames {
        out.write_all(&frame).unwrap();
    }
}

fn text(out: &mut Vec<u8>, group: u16, tag: u16, vr: &[u8; 2], value: &str) {
    let mut value = value.as_bytes().to_vec();
    if !value.len().is_multiple_of(2) {
        value.push(if vr == b"UI" { 0 } else { b' ' });
    }
    element(out, group, tag, vr, &value);
}

fn element(out: &mut Vec<u8>, group: u16, tag: u16, vr: &[u8; 2], value: &[u8]) {
    out.extend(group.to_le_bytes());
    out.extend(tag.to_le_bytes());
    out.extend(vr);
    if vr == b"OB" {
        out.extend([0, 0]);
        out.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
    } else {
        out.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
    }
    out.extend_from_slice(value);
}

/// How a study travels.
enum Through {
    Direct(SocketAddr),
    Socat(Socat),
    Relay(Relay),
}

impl Through {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Direct(address) => *address,
            Self::Socat(socat) => socat.address,
            Self::Relay(relay) => relay.address,
        }
    }

    /// Of a process that serves all rounds.
    fn pid(&self) -> Option<u32> {
        match self {
            Self::Direct(_) => None,
            Self::Socat(socat) => Some(socat.child.id()),
            Self::Relay(relay) => Some(relay.child.id()),
        }
    }
}

/// A PACS that forgets everything.
struct Archive {
    address: SocketAddr,
    child: Child,
}

impl Archive {
    fn start(folder: &Path) -> Self {
        let address = free();
        let child = dcmtk("storescp")
            .args(["--ignore", "-pdu", PDU, "-aet", "ARCHIVE"])
            .arg(address.port().to_string())
            .current_dir(folder)
            .spawn()
            .expect("dcmtk is a Debian package");
        listening(address);
        Self { address, child }
    }
}

struct Socat {
    address: SocketAddr,
    child: Child,
}

impl Socat {
    fn start(to: SocketAddr) -> Self {
        let address = free();
        let listen = format!(
            "TCP-LISTEN:{},fork,reuseaddr,bind=127.0.0.1,nodelay",
            address.port()
        );
        let child = Command::new("socat")
            .args(["-b", "262144", &listen, &format!("TCP:{to},nodelay")])
            .spawn()
            .expect("socat is a Debian package");
        listening(address);
        Self { address, child }
    }
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

fn listening(address: SocketAddr) {
    while TcpStream::connect(address).is_err() {
        thread::sleep(Duration::from_millis(10));
    }
}

/// The relay process, and a thread in the place of the supervisor.
struct Relay {
    address: SocketAddr,
    child: Child,
}

impl Relay {
    fn start(destination: SocketAddr, streaming: bool, spool: &Path) -> Self {
        let (ours, theirs) = channel::pair().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_lazaret"))
            .args(["worker", "relay-dicom"])
            .stdin(Stdio::from(theirs))
            .spawn()
            .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let spool = spool.to_owned();
        thread::spawn(move || {
            let supervised = supervise(ours, listener, destination, streaming, &spool);
            runtime().block_on(supervised);
        });
        Self { address, child }
    }
}

async fn supervise(
    channel: OwnedFd,
    listener: TcpListener,
    destination: SocketAddr,
    streaming: bool,
    spool: &Path,
) {
    let channel = Channel::<ToRelay, FromRelay>::new(channel).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let (connections, memory) = (1_000, 256 << 20);
    let start = ToRelay::Start {
        connections,
        memory,
        relays: 1,
    };
    channel.send(&start, &[]).await.unwrap();
    let (mut number, mut decided) = (0, 0);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                number += 1;
                let id = ConnectionId(number);
                let policy = Box::new(policy(streaming));
                let socket = accepted.unwrap().0.into_std().unwrap();
                let open = ToRelay::Open { id, subject: number, exchange: number, policy };
                channel.send(&open, &[socket.as_fd()]).await.unwrap();
            }
            said = channel.receive() => match said {
                Err(_) => return,
                Ok((said, _)) => match said {
                FromRelay::Connect { id } => {
                    let socket = tokio::net::TcpStream::connect(destination).await.unwrap();
                    let socket = socket.into_std().unwrap();
                    channel.send(&ToRelay::Upstream { id }, &[socket.as_fd()]).await.unwrap();
                }
                FromRelay::Spool { id } => {
                    let file = spool_file::create(spool).unwrap();
                    channel.send(&ToRelay::Spool { id }, &[file.as_fd()]).await.unwrap();
                }
                FromRelay::Decided(some) => {
                    decided += some.len() as u64;
                    let recorded = ToRelay::Recorded { decisions: decided };
                    channel.send(&recorded, &[]).await.unwrap();
                }
                FromRelay::Ready | FromRelay::Keep { .. } | FromRelay::Closed { .. } => {}
            }},
        }
    }
}

fn policy(streaming: bool) -> ConnectionPolicy {
    let rule = Rule {
        name: "images".to_owned(),
        allow: vec!["C-STORE".to_owned()],
        bind_sender: true,
        profiles: vec![Profile::standard()],
        streaming,
        ..Rule::default()
    };
    ConnectionPolicy {
        opener: Side::Device,
        protocol: ProtocolPolicy::Dicom(Policy {
            limits: Limits::default(),
            calling_ae: Some("BENCH".to_owned()),
            called_ae: Some("ARCHIVE".to_owned()),
            rules: vec![rule],
            ..Policy::default()
        }),
        timing: Timing {
            receive_ms: 30_000,
            connect_ms: 10_000,
            answer_ms: 60_000,
            idle_ms: 600_000,
            send_ms: 30_000,
            transaction_ms: 600_000,
        },
        rate: None,
        delay_only: false,
        without_journal: false,
        language: lazaret::words::Language::English,
    }
}

macro_rules! ends_by_drop {
    ($($process:ty),*) => {$(
        impl Drop for $process {
            fn drop(&mut self) {
                let _ended = self.child.kill();
                let _ended = self.child.wait();
            }
        }
    )*};
}
ends_by_drop!(Archive, Socat, Relay);

/// Processor time of a process and of those of its own that ended, in seconds.
fn ticks(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let behind = stat.rsplit(')').next().unwrap();
    let fields: Vec<&str> = behind.split_whitespace().collect();
    // Fields 14 to 17 of proc(5), in hundredths.
    let number = |index: usize| fields[index].parse::<f64>().unwrap();
    (11..15).map(number).sum::<f64>() / 100.0
}

/// Forgets the highest resident size so far, and says what is resident now.
fn fresh_peak(pid: u32) -> u64 {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    kibibytes(pid, "VmRSS")
}

fn kibibytes(pid: u32, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
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

const PDU: &str = "131072";
const SIDE: usize = 512;

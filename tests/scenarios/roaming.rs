//! A clinician who walks from one network to another: the session, a shell and a download go along.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use e2e::{Behaviour, CONSOLE, Clinic, Clinician, Lab, Place, Sink, text, wait};

use super::connect::{clinic_file, echo, open, wait_for_route};
use super::quic::tunnels;

/// A desk with an interface, and what it uses in the hospital.
struct Ward<'a> {
    lab: &'a Lab,
    clinic: Clinic<'a>,
    desk: Clinician<'a>,
    probe: Probe,
    _shell: Sink,
}

impl<'a> Ward<'a> {
    fn open(lab: &'a Lab) -> Self {
        let clinic = open(lab, "");
        let shell = Sink::listen(lab, Place::Hospital, (CONSOLE, 22).into(), Behaviour::Echo);
        let desk = Clinician::start(
            lab,
            Place::Home2,
            &clinic_file(lab, "interface = \"clinic0\""),
            &[],
        );
        wait_for_route(lab, "10.20.0.5");
        let probe = Probe::start(lab);
        probe.wait_for_answers(20);
        Self {
            lab,
            clinic,
            desk,
            probe,
            _shell: shell,
        }
    }

    /// Runs `ip` at the desk, all lines at once.
    fn ip(&self, lines: &str) {
        let file = self.lab.directory().join("ip-batch");
        std::fs::write(&file, lines).unwrap();
        let said = self
            .lab
            .output(Place::Home2, &["ip", "-batch", &file.display().to_string()]);
        assert_eq!(said.code, 0, "{}", said.all());
    }

    /// Another address, as another network gives one; the old one is gone first. When that began.
    fn move_to(&self, from: u8, to: u8) -> Instant {
        let began = Instant::now();
        self.ip(&format!(
            "addr del 198.51.100.{from}/26 dev eth0\naddr add 198.51.100.{to}/26 dev eth0\n\
             route replace default via 198.51.100.65\n"
        ));
        began
    }

    fn assert_one_session(&self) {
        let journal = self.clinic.gateway.journal();
        let began = journal
            .iter()
            .filter(|record| text(record, "event") == "session-began");
        assert_eq!(began.count(), 1);
        assert_eq!(self.desk.count("lost") + self.desk.count("refused"), 0);
        assert_eq!(tunnels(&self.clinic).len(), 1);
    }
}

/// A packet every five milliseconds, and which came back when.
struct Probe {
    answers: Arc<Mutex<Vec<(Instant, Instant)>>>,
    stop: Arc<AtomicBool>,
}

impl Probe {
    fn start(lab: &Lab) -> Self {
        let server = lab.inside(Place::Hospital, || UdpSocket::bind((CONSOLE, 5004)));
        let server = server.unwrap();
        std::thread::spawn(move || {
            let mut space = [0; 64];
            while let Ok((length, from)) = server.recv_from(&mut space) {
                let _ = server.send_to(&space[..length], from);
            }
        });
        let socket = lab.inside(Place::Home2, || {
            let socket = UdpSocket::bind("10.65.0.7:0")?;
            socket.connect((CONSOLE, 5004))?;
            Ok::<_, std::io::Error>(socket)
        });
        let socket = socket.unwrap();
        let probe = Self {
            answers: Arc::default(),
            stop: Arc::default(),
        };
        let (sender, stop) = (socket.try_clone().unwrap(), Arc::clone(&probe.stop));
        let begun = Instant::now();
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let now = u64::try_from(begun.elapsed().as_nanos()).unwrap();
                // Without a way there is none; the next one may have one.
                let _ = sender.send(&now.to_be_bytes());
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let answers = Arc::clone(&probe.answers);
        std::thread::spawn(move || {
            let mut space = [0; 8];
            loop {
                if let Ok(8) = socket.recv(&mut space) {
                    let sent = begun + Duration::from_nanos(u64::from_be_bytes(space));
                    answers.lock().unwrap().push((sent, Instant::now()));
                }
            }
        });
        probe
    }

    /// When the first packet that was sent after a moment came back.
    fn first_after(&self, moment: Instant) -> Instant {
        wait::until("an answer after the move", Duration::from_secs(60), || {
            let answers = self.answers.lock().unwrap();
            let mut after = answers.iter().filter(|(sent, _)| *sent >= moment);
            after.next().map(|(_, came)| *came)
        })
    }

    fn wait_for_answers(&self, count: usize) {
        let from = self.answers.lock().unwrap().len();
        wait::for_true("answers", wait::SOON, || {
            self.answers.lock().unwrap().len() >= from + count
        });
    }

    /// The usual time to the hospital and back.
    fn round_trip(&self) -> Duration {
        let answers = self.answers.lock().unwrap();
        median(
            answers
                .iter()
                .map(|(sent, came)| came.duration_since(*sent))
                .collect(),
        )
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

/// Bytes that come from the hospital, while they are read.
struct Download {
    reader: std::thread::JoinHandle<bool>,
}

impl Download {
    fn start(ward: &Ward<'_>, length: usize) -> Self {
        let listener = ward
            .lab
            .inside(Place::Hospital, || TcpListener::bind((CONSOLE, 8080)));
        let listener = listener.unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for at in 0..length / PIECE {
                // Whoever does not read all of it says so.
                let _ = stream.write_all(&piece(at));
            }
        });
        let mut stream = ward.desk.tcp((CONSOLE, 8080).into()).unwrap();
        let reader = std::thread::spawn(move || {
            let mut space = vec![0; PIECE];
            (0..length / PIECE)
                .all(|at| stream.read_exact(&mut space).is_ok() && space == piece(at))
        });
        Self { reader }
    }

    fn is_over(&self) -> bool {
        self.reader.is_finished()
    }

    fn finish(self) {
        wait::for_true("the end of the download", Duration::from_secs(300), || {
            self.is_over()
        });
        assert!(self.reader.join().unwrap(), "other bytes, or an end");
    }
}

const PIECE: usize = 64 << 10;

fn piece(at: usize) -> Vec<u8> {
    (0..PIECE).map(|byte| ((byte ^ at) % 251) as u8).collect()
}

/// Eight bytes every tenth of a second, as somebody types; the longest that any took.
struct Typing {
    longest: Arc<Mutex<Duration>>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Typing {
    fn start(mut stream: TcpStream) -> Self {
        let (longest, stop): (Arc<Mutex<Duration>>, Arc<AtomicBool>) = Default::default();
        let (worst, over) = (Arc::clone(&longest), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let ((), took) = wait::timed(|| echo(&mut stream, b"keystrok"));
                let mut worst = worst.lock().unwrap();
                *worst = took.max(*worst);
                drop(worst);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Self {
            longest,
            stop,
            thread,
        }
    }

    fn longest(&self) -> Duration {
        std::mem::take(&mut self.longest.lock().unwrap())
    }

    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

struct Figures {
    gaps: Vec<Duration>,
    typed: Vec<Duration>,
    quiet: Duration,
}

/// Moves again and again while somebody types and a file comes.
fn walk(ward: &Ward<'_>, moves: usize, download: usize) -> Figures {
    let typing = Typing::start(ward.desk.tcp((CONSOLE, 22).into()).unwrap());
    let quiet = ward.probe.round_trip();
    let mut file = Download::start(ward, download);
    let mut files = 1;
    let (mut gaps, mut typed) = (Vec::new(), Vec::new());
    let mut at = (74, 84);
    for number in 1..=moves {
        let _ = typing.longest();
        let moved = ward.move_to(at.0, at.1);
        at = (at.1, at.0);
        gaps.push(ward.probe.first_after(moved).duration_since(moved));
        ward.probe.wait_for_answers(100);
        typed.push(typing.longest());
        assert_eq!(ward.desk.count("moved"), number);
        // One is always under way.
        if number < moves && file.is_over() {
            file.finish();
            file = Download::start(ward, download);
            files += 1;
        }
    }
    file.finish();
    eprintln!(
        "{files} downloads of {} MiB came whole during {moves} moves",
        download >> 20
    );
    typing.finish();
    ward.assert_one_session();
    Figures { gaps, typed, quiet }
}

//= C5
#[test]
fn a_session_goes_along_to_another_network() {
    Lab::run(|lab| {
        let ward = Ward::open(lab);
        let figures = walk(&ward, 3, 8 << 20);
        let gap = median(figures.gaps);
        assert!(gap < Duration::from_secs(2), "{gap:?}");

        // No network at all for a while, then the same one.
        let _ = lab
            .output(Place::Home2, &["ip", "link", "set", "eth0", "down"])
            .ok();
        let before = ward.desk.count("moved");
        let answers = ward.probe.answers.lock().unwrap().len();
        wait::for_true("the interface is down", wait::SOON, || {
            let said = lab.output(Place::Home2, &["ip", "route", "get", "198.51.100.202"]);
            said.code != 0
        });
        ward.ip("link set eth0 up\nroute replace default via 198.51.100.65\n");
        wait::for_true("answers again", wait::SOON, || {
            ward.probe.answers.lock().unwrap().len() > answers + 20
        });
        assert!(ward.desk.count("moved") >= before);

        // A network that carries less, in both directions.
        let mut shell = ward.desk.tcp((CONSOLE, 22).into()).unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
        echo(&mut shell, &bytes);
        ward.ip("link set eth0 mtu 1300\n");
        echo(&mut shell, &bytes);
        ward.assert_one_session();
    });
}

/// A router that forgets who is behind which port.
#[test]
fn a_router_may_forget_its_mapping() {
    Lab::run(|lab| {
        let ward = Ward::open(lab);
        let peer = || -> SocketAddr { text(&tunnels(&ward.clinic)[0], "peer").parse().unwrap() };
        let own = peer().port();
        let mut shell = ward.desk.tcp((CONSOLE, 22).into()).unwrap();
        for outside in [40_001, 40_002] {
            let file = lab.directory().join("nat");
            let rules = format!(
                "table ip nat7\ndelete table ip nat7\ntable ip nat7 {{\n\
                 chain pre {{ type filter hook prerouting priority raw; ip daddr 198.51.100.74 udp dport {outside} udp dport set {own}; }}\n\
                 chain post {{ type filter hook postrouting priority raw; ip saddr 198.51.100.74 udp sport {own} udp sport set {outside}; }}\n}}\n"
            );
            std::fs::write(&file, rules).unwrap();
            let _ = lab
                .output(Place::Internet, &["nft", "-f", &file.display().to_string()])
                .ok();
            echo(&mut shell, &[7; 20_000]);
            wait::for_true("the gateway sees another port", wait::SOON, || {
                peer().port() == outside
            });
        }
        assert_eq!(ward.desk.count("moved"), 0);
        ward.assert_one_session();
    });
}

/// `cargo nextest run -p e2e --run-ignored all roaming::fifty` prints the figures.
#[test]
#[ignore = "a measurement of some minutes"]
fn fifty_moves_with_a_shell_and_a_download() {
    Lab::run(|lab| {
        let ward = Ward::open(lab);
        let figures = walk(&ward, 50, 100 << 20);
        let longest = figures.gaps.iter().max().unwrap();
        let (gap, typed) = (median(figures.gaps.clone()), median(figures.typed));
        let limit = figures.quiet + Duration::from_millis(200);
        eprintln!(
            "round trip {:?}; gap median {gap:?}, longest {longest:?}; a keystroke median {typed:?}",
            figures.quiet
        );
        assert!(gap <= limit, "{gap:?} > {limit:?}");
    });
}

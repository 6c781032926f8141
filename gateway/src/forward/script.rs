//! A session for tests, and the supervisor's end of a relay.
//!
//! The protocol is lines. The device's line goes to the hospital when its end is seen, and lines come back as they are.
//! `bad` is refused, `quit` closes, `abort` resets, `fault` panics, `wake` makes the other connections say so, `tag` answers with the policy's idle time,
//! and a line that begins with `S` passes through the spool.

use std::cell::Cell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use protocol_inspect::{Permit, Spoken};
use tokio::net::{TcpListener, TcpStream};

use super::message::{FromRelay, ToRelay};
use super::worker::{RelayError, SessionFactory, run};
use crate::channel::{Channel, pair};
use crate::flow::{Clock, ConnectionId, Side};
use crate::inspect::{
    ConnectionPolicy, Decision, EndReason, Outcome, ProtocolPolicy, Session, Step, Subject, Timing,
};

#[derive(Default)]
struct Lines {
    idle_ms: u64,
    steps: VecDeque<Step>,
    line: Vec<u8>,
    /// Whole lines that wait for a token, then for the hospital.
    whole: VecDeque<Bytes>,
    tokens: usize,
    connecting: bool,
    connected: bool,
    unanswered: usize,
    spooled: usize,
    spooling: bool,
    device_done: bool,
    closed: bool,
    held_back: bool,
}

impl Lines {
    fn speak(&mut self, text: &str) {
        let spoken = Spoken::for_test(Bytes::copy_from_slice(text.as_bytes()));
        self.steps.push_back(Step::Speak {
            to: Side::Device,
            spoken,
        });
    }

    fn close(&mut self, reset: bool) {
        self.closed = true;
        for side in [Side::Device, Side::Hospital] {
            self.steps.push_back(Step::Close { side, reset });
        }
    }

    fn forward(&mut self, to: Side, bytes: Bytes) {
        let permit = Permit::for_test(bytes);
        self.steps.push_back(Step::Forward { to, permit });
    }

    fn record(&mut self, outcome: Outcome, length: usize) {
        self.steps.push_back(Step::Record(Box::new(Decision {
            from: Side::Device,
            what: Subject::Message,
            kind: "x".repeat(100_000),
            rule: None,
            outcome,
            reason: None,
            location: None,
            detail: None,
            answer: None,
            length: length as u64,
            digest: None,
            identifier: Some(vec![7; 100_000]),
            micros: 0,
            warnings: vec!["w".repeat(1_000); 100],
            would_refuse: None,
            observed: Vec::new(),
        })));
    }

    fn close_if_done(&mut self) {
        if self.device_done && self.whole.is_empty() && self.unanswered == 0 {
            self.close(false);
        }
    }

    fn line(&mut self, line: Bytes) {
        match line.as_ref() {
            b"bad\n" => {
                self.record(Outcome::Refused, line.len());
                self.speak("NAK\n");
            }
            b"quit\n" => {
                self.speak("BYE\n");
                self.close(false);
            }
            b"abort\n" => self.close(true),
            b"fault\n" => panic!("a fault of the session"),
            b"wake\n" => self.steps.push_back(Step::Wake),
            b"tag\n" => self.speak(&format!("{}\n", self.idle_ms)),
            _ => self.whole.push_back(line),
        }
    }

    fn go_on(&mut self) {
        if self.tokens == 0 {
            return;
        }
        if !self.connected {
            if !std::mem::replace(&mut self.connecting, true) {
                self.steps.push_back(Step::Connect);
            }
            return;
        }
        self.tokens = 0;
        if let Some(line) = self.whole.pop_front() {
            self.record(Outcome::Forwarded, line.len());
            self.forward(Side::Hospital, line);
            self.unanswered += 1;
        }
    }
}

impl Session for Lines {
    fn wants(&self, from: Side) -> bool {
        let takes = self.whole.len() < 4 && !self.held_back;
        !self.closed && (from == Side::Hospital || takes)
    }

    fn receive(&mut self, from: Side, bytes: &[u8], _: Instant, _: Timestamp) {
        if from == Side::Hospital {
            self.forward(Side::Device, Bytes::copy_from_slice(bytes));
            self.unanswered = self.unanswered.saturating_sub(1);
            return self.close_if_done();
        }
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let whole = piece.ends_with(b"\n");
            if self.spooling || (self.line.is_empty() && piece.starts_with(b"S")) {
                self.spooling = !whole;
                self.spooled += piece.len();
                let bytes = Bytes::copy_from_slice(piece);
                self.steps.push_back(Step::Spool(bytes));
                if whole {
                    self.steps.push_back(Step::Connect);
                }
                continue;
            }
            self.line.extend_from_slice(piece);
            if whole {
                let line = std::mem::take(&mut self.line);
                self.line(line.into());
            }
        }
    }

    fn ended(&mut self, side: Side, reset: bool, _: Instant, _: Timestamp) {
        if reset {
            self.speak("LOST\n");
            self.closed = true;
            self.steps.push_back(Step::Close { side, reset });
            self.steps.push_back(Step::Close {
                side: side.other(),
                reset: side == Side::Device,
            });
        } else if side == Side::Hospital {
            self.close(false);
        } else {
            // The answer to what was sent may still come.
            self.device_done = true;
            self.close_if_done();
        }
    }

    fn connected(&mut self, _: Instant, _: Timestamp) {
        self.connected = true;
        if self.spooled > 0 {
            self.steps.push_back(Step::Unspool);
        }
        self.go_on();
    }

    fn woken(&mut self, _: Instant, _: Timestamp) {
        self.speak("WOKEN\n");
    }

    fn connect_failed(&mut self, _: Instant, _: Timestamp) {
        self.speak("UNREACHABLE\n");
        self.close(false);
    }

    fn unspooled(&mut self, bytes: Bytes, _: Instant, _: Timestamp) {
        self.spooled -= bytes.len();
        self.forward(Side::Hospital, bytes);
        if self.spooled == 0 {
            self.steps.push_back(Step::DropSpool);
        }
    }

    fn token(&mut self, granted: bool, _: Instant, _: Timestamp) {
        if granted {
            self.tokens = 1;
            return self.go_on();
        }
        self.whole.pop_front();
        self.speak("SLOW DOWN\n");
    }

    fn wants_token(&self) -> bool {
        !self.whole.is_empty() && self.tokens == 0
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn handle_deadline(&mut self, _: Instant, _: Timestamp) {}

    fn update(&mut self, policy: &ConnectionPolicy) {
        self.idle_ms = policy.timing.idle_ms;
    }

    fn hold(&mut self, held: bool, _: Instant, _: Timestamp) {
        self.held_back = held;
    }

    fn end(&mut self, why: EndReason, _: Instant, _: Timestamp) {
        self.speak(&format!("{why:?}\n"));
        self.close(false);
    }

    fn poll(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    fn held(&self) -> usize {
        self.line.len() + self.whole.iter().map(Bytes::len).sum::<usize>()
    }

    fn idle(&self) -> bool {
        self.line.is_empty() && self.whole.is_empty()
    }
}

/// The supervisor's end.
pub(super) struct Supervisor {
    pub(super) channel: Channel<ToRelay, FromRelay>,
    next: u64,
    /// Decisions heard beside other things, which are as good as recorded.
    decided: Cell<u64>,
}

pub(super) struct RealClock;

impl Clock for RealClock {
    #[allow(clippy::disallowed_methods, reason = "a test runs in real time")]
    fn now(&self) -> Instant {
        Instant::now()
    }
    fn wall(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

/// A relay of [`Lines`].
pub(super) async fn lines(socket: OwnedFd) -> Result<(), RelayError> {
    let factory: SessionFactory = Box::new(|policy, _, _, _| {
        let mut lines = Lines::default();
        lines.update(policy);
        Box::new(lines)
    });
    run(Channel::new(socket).unwrap(), Arc::new(RealClock), factory).await
}

/// Runs a relay beside a test that plays the supervisor.
pub(super) async fn with_relay(
    connections: usize,
    memory: usize,
    test: impl AsyncFnOnce(&mut Supervisor),
) -> Result<(), RelayError> {
    let (ours, theirs) = pair().unwrap();
    let test = async {
        let mut supervisor = Supervisor::start(ours, connections, memory).await;
        test(&mut supervisor).await;
    };
    tokio::join!(lines(theirs), test).0
}

impl Supervisor {
    pub(super) async fn start(socket: OwnedFd, connections: usize, memory: usize) -> Self {
        let supervisor = Self {
            channel: Channel::new(socket).unwrap(),
            next: 0,
            decided: Cell::new(0),
        };
        let start = ToRelay::Start {
            connections,
            memory,
            relays: 1,
        };
        supervisor.tell(start, &[]).await;
        assert!(matches!(supervisor.hear().await, FromRelay::Ready));
        supervisor
    }

    pub(super) async fn tell(&self, message: ToRelay, descriptors: &[BorrowedFd<'_>]) {
        self.channel.send(&message, descriptors).await.unwrap();
    }

    /// The next message.
    pub(super) async fn hear(&self) -> FromRelay {
        let message = tokio::time::timeout(Duration::from_secs(10), self.channel.receive());
        message.await.expect("the relay says nothing").unwrap().0
    }

    /// The next message that is not a decision.
    pub(super) async fn hear_beside_decisions(&self) -> FromRelay {
        loop {
            let message = self.hear().await;
            let FromRelay::Decided(some) = message else {
                return message;
            };
            let decisions = self.decided.get() + some.len() as u64;
            self.decided.set(decisions);
            self.tell(ToRelay::Recorded { decisions }, &[]).await;
        }
    }

    /// A new connection; the device's end of it.
    pub(super) async fn open(&mut self, policy: ConnectionPolicy) -> (ConnectionId, TcpStream) {
        self.open_in(1, policy).await
    }

    /// A new connection of an exchange.
    pub(super) async fn open_in(
        &mut self,
        exchange: u64,
        policy: ConnectionPolicy,
    ) -> (ConnectionId, TcpStream) {
        self.next += 1;
        let id = ConnectionId(self.next);
        let (device, socket) = tcp().await;
        let open = ToRelay::Open {
            id,
            subject: 1,
            exchange,
            policy: Box::new(policy),
        };
        self.tell(open, &[socket.as_fd()]).await;
        (id, device)
    }

    /// Answers a request for the destination; the hospital's end.
    pub(super) async fn connect(&self, id: ConnectionId) -> TcpStream {
        let asked = self.hear_beside_decisions().await;
        assert!(matches!(asked, FromRelay::Connect { id: of } if of == id));
        let (hospital, socket) = tcp().await;
        self.tell(ToRelay::Upstream { id }, &[socket.as_fd()]).await;
        hospital
    }

    /// Waits for the end of a connection: forwarded, refused, received, sent.
    pub(super) async fn closed(&self, id: ConnectionId) -> (u64, u64, u64, u64) {
        let message = self.hear_beside_decisions().await;
        let FromRelay::Closed {
            id: of,
            forwarded,
            refused,
            received,
            sent,
        } = message
        else {
            panic!("{message:?} instead of the end of {id}");
        };
        assert_eq!(of, id);
        (forwarded, refused, received, sent)
    }
}

async fn tcp() -> (TcpStream, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (far, near) = tokio::join!(TcpStream::connect(address), listener.accept());
    let near = near.unwrap().0.into_std().unwrap();
    (far.unwrap(), near.into())
}

pub(super) fn policy() -> ConnectionPolicy {
    ConnectionPolicy {
        opener: Side::Device,
        protocol: ProtocolPolicy::Hl7(protocol_inspect::hl7::Policy {
            default_charset: "ASCII".to_owned(),
            ..protocol_inspect::hl7::Policy::default()
        }),
        timing: Timing {
            receive_ms: 1_000,
            connect_ms: 1_000,
            answer_ms: 1_000,
            idle_ms: 60_000,
            send_ms: 1_000,
            transaction_ms: 3_600_000,
        },
        rate: None,
        delay_only: false,
        without_journal: false,
        language: crate::words::Language::English,
    }
}

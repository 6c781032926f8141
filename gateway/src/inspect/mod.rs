//! One inspected connection, both directions, as a pure machine.
//!
//! In: bytes of either side and the time. Out: [`Step`]s that the pump carries out in order.
//! Knows nothing of sockets, files, devices or addresses.

mod digest;
pub mod dicom;
pub mod hl7;

use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;
use protocol_inspect::{Permit, Spoken, Warning};
use serde::{Deserialize, Serialize};

use self::dicom::outstanding::Entry;

use crate::flow::Side;
use crate::words::Language;

pub use self::told::of_reason;

pub mod policy;
mod profile;
mod told;

/// What holds for one connection; compiled by the supervisor, carried out by the relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionPolicy {
    /// Who opened the connection. The other end is the destination.
    pub opener: Side,
    /// What may be said.
    pub protocol: ProtocolPolicy,
    /// How long each step may take.
    pub timing: Timing,
    /// Message rate over all connections of the same subject; `None` is unlimited.
    pub rate: Option<Rate>,
    /// Whether reaching the rate delays (`critical` rules) instead of refusing.
    pub delay_only: bool,
    /// Whether the flow goes on while the journal cannot be written (`critical` rules).
    pub without_journal: bool,
    /// In which the user of the device is told why a message was refused.
    pub language: Language,
}

impl ConnectionPolicy {
    /// What may be said in HL7. When a policy of another protocol arrives there: no rule, so nothing passes.
    fn hl7(&self) -> protocol_inspect::hl7::Policy {
        match &self.protocol {
            ProtocolPolicy::Hl7(hl7) => hl7.clone(),
            ProtocolPolicy::Dicom(_) => protocol_inspect::hl7::Policy {
                default_charset: "ASCII".to_owned(),
                ..protocol_inspect::hl7::Policy::default()
            },
        }
    }
}

/// The inspector's part of a [`ConnectionPolicy`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProtocolPolicy {
    /// HL7 v2 over MLLP.
    Hl7(protocol_inspect::hl7::Policy),
    /// DICOM.
    Dicom(protocol_inspect::dicom::Policy),
}

/// Deadlines, in milliseconds so that they travel well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// From the first byte of a frame or PDU to its last, and for the first byte of a new connection (ARTIM).
    pub receive_ms: u64,
    /// For the destination to accept the connection.
    pub connect_ms: u64,
    /// For the destination's answer to one message.
    pub answer_ms: u64,
    /// Without any byte in either direction.
    pub idle_ms: u64,
    /// For a peer to take bytes that we write.
    pub send_ms: u64,
    /// From the beginning of a transaction that outlives its association to its end.
    pub transaction_ms: u64,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Messages in `per_ms`.
    pub messages: u32,
    /// The period, in milliseconds.
    pub per_ms: u64,
    /// Messages that may come at once.
    pub burst: u32,
}

/// What the pump must do next. Steps are carried out in the order in which they are polled.
pub enum Step {
    /// Ask the supervisor for the connection to the destination; answered by
    /// [`Session::connected`] or [`Session::connect_failed`].
    Connect,
    /// Write approved bytes to a side.
    Forward {
        /// The receiver.
        to: Side,
        /// The proof, with the bytes.
        permit: Permit,
    },
    /// Write the gateway's own words to a side.
    Speak {
        /// The receiver.
        to: Side,
        /// The words.
        spoken: Spoken,
    },
    /// Append held bytes of the current message to the spool.
    Spool(Bytes),
    /// Read the spool from its start, handing every chunk to [`Session::unspooled`] in order.
    Unspool,
    /// Forget what the spool holds.
    DropSpool,
    /// Put a decision on record.
    Record(Box<Decision>),
    /// Have the supervisor remember it beyond the life of this process.
    Keep(Box<Entry>),
    /// Tell the other connections of the same exchange that something was left for them ([`Session::woken`]).
    Wake,
    /// Close one side after everything written to it before was sent.
    Close {
        /// Which.
        side: Side,
        /// With a reset (RST) instead of FIN, so that the peer cannot take it for an orderly end.
        reset: bool,
    },
}

// What a message says is in no log: only how long it is.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("Connect"),
            Self::Forward { to, permit } => write!(f, "Forward({to:?}, {permit:?})"),
            Self::Speak { to, spoken } => write!(f, "Speak({to:?}, {spoken:?})"),
            Self::Spool(bytes) => write!(f, "Spool({} bytes)", bytes.len()),
            Self::Unspool => f.write_str("Unspool"),
            Self::DropSpool => f.write_str("DropSpool"),
            Self::Record(decision) => write!(f, "Record({decision:?})"),
            Self::Keep(entry) => write!(f, "Keep({entry:?})"),
            Self::Wake => f.write_str("Wake"),
            Self::Close { side, reset } => write!(f, "Close({side:?}, reset: {reset})"),
        }
    }
}

/// One connection, both directions. Contract of all protocols.
///
/// The pump calls a method, then polls until `None`.
/// A session never waits for anything that has no deadline.
pub trait Session: Send {
    /// Whether the pump should read from this side now (back-pressure).
    fn wants(&self, from: Side) -> bool;
    /// Bytes came. `wall` is for record and acknowledgement times.
    fn receive(&mut self, from: Side, bytes: &[u8], now: Instant, wall: Timestamp);
    /// Whether [`Self::receive_bytes`] is better than [`Self::receive`] for much at once.
    fn takes_bulk(&self) -> bool {
        false
    }
    /// As [`Self::receive`], with bytes that may be kept without copying them.
    fn receive_bytes(&mut self, from: Side, bytes: Bytes, now: Instant, wall: Timestamp) {
        self.receive(from, &bytes, now, wall);
    }
    /// What was received and goes on was written: time for work that no peer waits for, once in each turn.
    fn catch_up(&mut self) {}
    /// Until now this side was not read, because the other did not take what it was sent: it is not late for that.
    fn held_back(&mut self, _from: Side, _now: Instant) {}
    /// A side sent FIN (`reset == false`) or died.
    fn ended(&mut self, side: Side, reset: bool, now: Instant, wall: Timestamp);
    /// The destination accepted the connection.
    fn connected(&mut self, now: Instant, wall: Timestamp);
    /// The destination could not be reached.
    fn connect_failed(&mut self, now: Instant, wall: Timestamp);
    /// Another connection of the same exchange may have left something for this one ([`Step::Wake`]).
    fn woken(&mut self, _now: Instant, _wall: Timestamp) {}
    /// The spool does not take what was given to it since it was last empty.
    /// False: the session cannot go on, and will be told to end.
    fn spool_failed(&mut self, _now: Instant, _wall: Timestamp) -> bool {
        false
    }
    /// The process holds much in memory, and this connection more than its share.
    /// True when it gives some of that to the spool; otherwise it will be told to end.
    fn relieve(&mut self, _now: Instant) -> bool {
        false
    }
    /// A chunk of the spool came back.
    fn unspooled(&mut self, bytes: Bytes, now: Instant, wall: Timestamp);
    /// The rate limiter lets one more message pass, or not; asked once per message through [`Session::wants_token`].
    fn token(&mut self, granted: bool, now: Instant, wall: Timestamp);
    /// Whether the session waits for [`Session::token`]: the pump asks the subject's bucket.
    fn wants_token(&self) -> bool;
    /// When [`Session::handle_deadline`] must be called; `None` while closed.
    fn deadline(&self) -> Option<Instant>;
    /// A deadline passed.
    fn handle_deadline(&mut self, now: Instant, wall: Timestamp);
    /// The policy changed; it holds from the next message on.
    fn update(&mut self, policy: &ConnectionPolicy);
    /// From now on nothing new may begin (`held`), or may again: what is under way is finished, and whoever is held
    /// back is not late.
    fn hold(&mut self, held: bool, now: Instant, wall: Timestamp);
    /// The connection must end now (revoked, killed, shutdown): say so in the protocol's words and close both sides.
    fn end(&mut self, why: EndReason, now: Instant, wall: Timestamp);
    /// The next step.
    fn poll(&mut self) -> Option<Step>;
    /// Bytes held in memory for messages that are under way; they count against the bound of the process.
    fn held(&self) -> usize {
        0
    }
    /// Whether nothing is under way, so that a shutdown need not wait for this connection.
    fn idle(&self) -> bool {
        false
    }
}

/// Why the gateway ends a connection by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// The device was revoked or quarantined, or lost the rule.
    NotAllowed,
    /// An operator ended it.
    Killed,
    /// The gateway stops.
    Shutdown,
    /// The journal cannot be written and the rule is not critical.
    NoJournal,
    /// Memory, spool or table is full.
    Resources,
}

/// A decision, as the audit room will record it. No value of the message but the keyed ones.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Who sent what was judged.
    pub from: Side,
    /// `message`, `answer`, `association`, ….
    pub what: Subject,
    /// The type in the protocol's words: `ORU^R01`, `C-STORE`, `A-ASSOCIATE-RQ`; empty if unreadable.
    pub kind: String,
    /// The rule that accepted it, or that came closest.
    pub rule: Option<String>,
    /// What was decided or what became of it.
    pub outcome: Outcome,
    /// Reason code of a refusal (`protocol_inspect::Reason::code`).
    pub reason: Option<String>,
    /// Where, for a refusal.
    pub location: Option<String>,
    /// What, for a refusal; without values.
    pub detail: Option<String>,
    /// What the sender was told: `AA`, `AR`, `A700`, `A-ABORT 2/6`, ….
    pub answer: Option<String>,
    /// Length in bytes.
    pub length: u64,
    /// BLAKE3-256 of the bytes; the audit process keys it before it is written.
    pub digest: Option<[u8; 32]>,
    /// MSH-10 or SOP instance UID; the audit process keys it before it is written.
    pub identifier: Option<Vec<u8>>,
    /// Time from the last byte of the message to the answer, in microseconds.
    pub micros: u64,
    /// Codes and places of warnings, at most 16.
    pub warnings: Vec<String>,
    /// Why it would have been refused, were its rule not in shadow: `field PID-7: is not a date`.
    pub would_refuse: Option<String>,
    /// What the device says of itself beside; at most two. Not put on record.
    pub observed: Vec<Observed>,
}

/// The first of these that only shadow tolerates, in words.
fn would_refuse(warnings: &[Warning]) -> Option<String> {
    let first = warnings.iter().find(|warning| warning.shadow)?;
    let (code, detail) = (first.reason.code(), &first.detail);
    Some(format!("{code} {}: {detail}", first.location))
}

/// What is worth knowing of a device and is not in the type of its messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Observed {
    /// The SOP class of a DIMSE request.
    SopClass(String),
    /// What made the message: MSH-3 and SFT-1 to 3, or implementation class UID and version name (PS3.7 D.3.3.2).
    Software(String),
}

impl Observed {
    /// Software by its parts; `None` unless all of it can be shown: 1 to 128 printable ASCII characters.
    #[must_use]
    pub fn software<'t>(parts: impl Iterator<Item = &'t [u8]>) -> Option<Self> {
        let mut text = String::new();
        for part in parts.filter(|part| !part.is_empty()) {
            let part = str::from_utf8(part).ok()?;
            let shown = part.chars().all(|c| c.is_ascii_graphic() || c == ' ');
            if !shown || text.len().saturating_add(part.len()) >= LONGEST_SOFTWARE {
                return None;
            }
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(part);
        }
        (!text.is_empty()).then_some(Self::Software(text))
    }
}

//= C7
const LONGEST_SOFTWARE: usize = 128;

// The identifier and the digest are keyed before they are written, so they are not shown here either.
impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decision")
            .field("from", &self.from)
            .field("what", &self.what)
            .field("kind", &self.kind)
            .field("rule", &self.rule)
            .field("outcome", &self.outcome)
            .field("reason", &self.reason)
            .field("location", &self.location)
            .field("detail", &self.detail)
            .field("answer", &self.answer)
            .field("length", &self.length)
            .field("warnings", &self.warnings)
            .field("would_refuse", &self.would_refuse)
            .finish_non_exhaustive()
    }
}

/// What a [`Decision`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// An HL7 message or DIMSE request.
    Message,
    /// The answer to one.
    Answer,
    /// An association.
    Association,
    /// The stream itself (framing, timeouts).
    Stream,
}

impl Subject {
    /// As in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Answer => "answer",
            Self::Association => "association",
            Self::Stream => "stream",
        }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Approved and sent to the other side.
    Forwarded,
    /// Refused; nothing of it was sent on.
    Refused,
    /// Approved and sent, but the other side's answer is unknown.
    Unanswered,
    /// Answered from memory: the same message was already acknowledged.
    Repeated,
    /// Approved, but the destination could not be reached.
    Undelivered,
    /// The sender gave up before a verdict.
    Abandoned,
}

impl Outcome {
    /// As in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
            Self::Repeated => "repeated",
            Self::Undelivered => "undelivered",
            Self::Abandoned => "abandoned",
        }
    }
}

//! One HL7 connection: frames of the device up, answers of the destination down, one message at a time.
//!
//! In: bytes of either side and the time. Out: steps.
//! Decided here: the order of things (judge, look for duplicates, rate, connect, forward, wait, relay) and what a
//! silence means. What a message says is judged by `protocol_inspect::hl7`.
//!
//! - Order of answers is order of messages: one message is under way, the others wait in a bounded queue.
//! - No answer in time, or the destination gone before it answered: nothing is said and both legs are reset,
//!   because an invented error could make the device discard what was taken.
//! - Rate reached: AE (CE in enhanced mode) with 207, for a later try may succeed; a `critical` rule only waits.
//! - Messages that come to nothing, refused or repeated, are dealt with at a bounded pace.
//! - A stream that breaks MLLP, or a message whose delimiters cannot be read, ends the connection.

mod answers;
mod commit;
mod deferred;
mod duplicates;
mod exchange;
mod inbound;
mod messages;
mod pace;
mod record;
mod software;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use protocol_inspect::hl7::ack::Stamp;
use protocol_inspect::hl7::{Batch, Fault, Frame, Framer, Header, Policy, Refused, header_of};
use protocol_inspect::{Permit, Reason, Refusal};

use self::commit::Gate;
use self::duplicates::Half;
use self::exchange::{Hears, Number};
use self::inbound::{Arrival, Inbound};
use self::pace::Pace;
use self::record::{Trace, Why};
use super::{ConnectionPolicy, EndReason, Outcome, Session, Step, Subject, Timing, told};
use crate::flow::Side;
use crate::words::Language;

pub use self::exchange::Exchange;

/// The session of one device connection with one HL7 service.
pub struct Hl7Session {
    policy: Policy,
    language: Language,
    timing: Timing,
    has_rate: bool,
    /// Shared with the other connections of the device to the service.
    exchange: Arc<Mutex<Exchange>>,
    number: Number,
    /// What the other connections know of this one.
    shown: (Hears, bool),
    device: Inbound,
    hospital: Framer,
    upstream: Upstream,
    phase: Phase,
    /// How many more frames that belong to nothing the destination may send on the present connection.
    strays_left: usize,
    pace: Pace,
    /// Nothing new may begin.
    held_back: bool,
    spoken: u16,
    last_activity: Instant,
    last_forward: Instant,
    /// When the session was last told something.
    told: Instant,
    steps: VecDeque<Step>,
    /// Commits, which wait for nothing.
    urgent: VecDeque<Step>,
    /// Whether release 2 of MLLP is spoken, and what is not committed yet.
    gate: Option<Gate>,
    software: Option<super::Observed>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Upstream {
    Absent,
    Asked,
    Open,
}

/// What the message under way waits for.
enum Phase {
    /// There is none.
    Idle,
    /// For the rate limiter.
    Token(Box<Approved>),
    /// For the destination to accept the connection.
    Connecting(Box<Approved>, Instant),
    /// For the destination's answer.
    Answer(Box<Sent>, Instant),
    /// The connection is over.
    Closed,
}

/// A message that may go up.
struct Approved {
    permit: Permit,
    header: Header,
    batch: Option<Batch>,
    trace: Trace,
    /// Under which it is remembered once it was taken.
    key: Half,
}

/// A message that went up.
struct Sent {
    header: Header,
    batch: Option<Batch>,
    trace: Trace,
    /// Under which the exchange expects its answers.
    serial: Option<u64>,
    /// Whether it waits for an answer, and not for the commit alone.
    waits: bool,
    /// Under which it is remembered once it was taken.
    key: Half,
}

impl Hl7Session {
    /// A new connection of a device.
    #[must_use]
    pub fn new(
        policy: &ConnectionPolicy,
        exchange: Arc<Mutex<Exchange>>,
        now: Instant,
        _wall: Timestamp,
    ) -> Self {
        let hl7 = policy.hl7();
        let max = hl7.limits.hl7_message;
        let gate = hl7.release_2.then(Gate::default);
        let number = exchange
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .join();
        Self {
            policy: hl7,
            language: policy.language,
            timing: policy.timing,
            has_rate: policy.rate.is_some(),
            exchange,
            number,
            shown: (Hears::Yes, false),
            device: Inbound::new(max, gate.is_some()),
            hospital: Framer::new(max),
            upstream: Upstream::Absent,
            phase: Phase::Idle,
            strays_left: answers::MOST_STRAYS,
            pace: Pace::new(now),
            held_back: false,
            spoken: 0,
            last_activity: now,
            last_forward: now,
            told: now,
            steps: VecDeque::new(),
            urgent: VecDeque::new(),
            gate,
            software: None,
        }
    }

    /// Deals with what is queued until something must be waited for.
    fn advance(&mut self, now: Instant, wall: Timestamp) {
        self.told = now;
        loop {
            self.device.fill(&self.policy.limits, now);
            while let Some(taken) = self.device.commits.pop_front() {
                self.device_commits(taken, now);
            }
            let waits = self.held_back || self.pace.ready_at() > now;
            if !matches!(self.phase, Phase::Idle) || waits {
                break;
            }
            let Some(arrival) = self.device.next(&self.policy.limits, now) else {
                break;
            };
            match arrival {
                Arrival::Frame(frame, received) => self.message(frame, received, now, wall),
                Arrival::Broken(refusal) => {
                    self.broken(&refusal, now);
                    self.close(false, now);
                }
            }
        }
        self.finish(now);
    }

    fn broken(&mut self, refusal: &Refusal, now: Instant) {
        let trace = Trace::stream(Side::Device, Subject::Stream);
        self.record(trace, Outcome::Refused, Some(refusal.into()), None, now);
    }

    /// Closes once the device has nothing more to say and everything is answered.
    fn finish(&mut self, now: Instant) {
        let idle = matches!(self.phase, Phase::Idle);
        if idle && self.device.finished && self.device.queue.is_empty() {
            self.show();
            let held_back = self.gate.is_some() && self.owes_the_hospital();
            if held_back || self.may_be_answered() {
                return;
            }
            if self.device.mid_frame() {
                let trace = Trace::stream(Side::Device, Subject::Stream);
                let why = Why::new(Reason::Framing, "the last frame has no end");
                self.record(trace, Outcome::Abandoned, Some(why), None, now);
                self.device.drop_rest();
            }
            self.close(false, now);
        }
    }

    /// Ends both legs, also one that was never there; what was still waiting is recorded as abandoned.
    fn close(&mut self, reset: bool, now: Instant) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.phase = Phase::Closed;
        self.open_gate(reset);
        self.leave(now);
        while let Some(arrival) = self.device.next(&self.policy.limits, now) {
            match arrival {
                Arrival::Frame(frame, received) => self.abandon(&frame, received, now),
                Arrival::Broken(refusal) => self.broken(&refusal, now),
            }
        }
        self.drop_rest(now);
        for side in [Side::Device, Side::Hospital] {
            if side == Side::Hospital || !self.device.gone {
                self.steps.push_back(Step::Close { side, reset });
            }
        }
    }

    /// What is behind the queue is not looked at any more, or one write of a device could be thousands of records.
    //= C7
    fn drop_rest(&mut self, now: Instant) {
        if self.device.drop_rest() {
            let trace = Trace::stream(Side::Device, Subject::Stream);
            let why = Why::new(Reason::Framing, "the rest was not looked at");
            self.record(trace, Outcome::Abandoned, Some(why), None, now);
        }
    }

    fn abandon(&mut self, frame: &Frame, received: Instant, now: Instant) {
        let mut trace = Trace::of(Side::Device, Subject::Message, frame, received);
        trace.read(header_of(frame.content()).as_ref());
        self.record(trace, Outcome::Abandoned, None, None, now);
    }

    /// Says that a message was not taken, if its sender wants to hear it.
    fn refuse(
        &mut self,
        header: Option<&Header>,
        refused: &Refused,
        wall: Timestamp,
    ) -> Option<&'static str> {
        self.say_commit(Side::Device, false);
        let stamp = self.stamp(wall);
        let (code, spoken) = told::refuse(header?, refused, &stamp, self.language)?;
        if self.device.gone {
            return None;
        }
        let to = Side::Device;
        self.steps.push_back(Step::Speak { to, spoken });
        Some(code.code())
    }

    fn stamp(&mut self, wall: Timestamp) -> Stamp {
        self.spoken = self.spoken.wrapping_add(1);
        Stamp {
            time: wall.strftime("%Y%m%d%H%M%S+0000").to_string(),
            control_id: format!("LZ{:X}{:X}", wall.as_microsecond(), self.spoken),
        }
    }

    fn record(
        &mut self,
        trace: Trace,
        outcome: Outcome,
        why: Option<Why>,
        answer: Option<&str>,
        now: Instant,
    ) {
        let decision = Box::new(trace.decide(outcome, why, answer, now));
        let nothing = matches!(outcome, Outcome::Refused | Outcome::Repeated);
        if nothing && decision.from == Side::Device && decision.what == Subject::Message {
            self.pace.charge(now);
        }
        self.steps.push_back(Step::Record(decision));
    }

    /// The outcome of the message under way is unknown: nothing is said.
    fn unanswered(&mut self, detail: &str, now: Instant) {
        let why = Some(Why::new(Reason::Destination, detail));
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Answer(sent, _) => {
                self.record(sent.trace, Outcome::Unanswered, why, None, now);
            }
            // It did not go up, and nobody will ask again.
            Phase::Token(approved) | Phase::Connecting(approved, _) => {
                self.record(approved.trace, Outcome::Abandoned, why, None, now);
            }
            Phase::Idle => {}
            Phase::Closed => {
                self.phase = Phase::Closed;
                return;
            }
        }
        self.close(true, now);
    }

    fn take_connecting(&mut self) -> Option<Approved> {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Connecting(approved, _) => Some(*approved),
            other @ (Phase::Idle | Phase::Token(_) | Phase::Answer(..) | Phase::Closed) => {
                self.phase = other;
                None
            }
        }
    }

    fn frame_deadline(&self) -> Option<Instant> {
        if !self.wants(Side::Device) {
            return None;
        }
        self.device
            .began
            .map(|began| after(began, self.timing.receive_ms))
    }

    fn commit_deadline(&self) -> Option<Instant> {
        let since = self.gate.as_ref()?.since()?;
        Some(after(since, self.timing.answer_ms))
    }

    fn phase_deadline(&self) -> Option<Instant> {
        let idle = after(self.last_activity, self.timing.idle_ms);
        match &self.phase {
            // Only the pace keeps a message waiting where nothing is under way.
            Phase::Idle if !self.device.queue.is_empty() && !self.held_back => {
                Some(self.pace.ready_at())
            }
            Phase::Idle if self.device.finished => {
                Some(idle.min(after(self.last_forward, self.timing.answer_ms)))
            }
            Phase::Idle => Some(idle),
            Phase::Token(_) => Some(idle),
            Phase::Connecting(_, since) => {
                Some(after(*since, self.timing.connect_ms.saturating_add(GRACE)))
            }
            Phase::Answer(_, since) => Some(after(*since, self.timing.answer_ms)),
            Phase::Closed => None,
        }
    }
}

impl Session for Hl7Session {
    fn wants(&self, from: Side) -> bool {
        if matches!(self.phase, Phase::Closed) {
            return false;
        }
        match from {
            Side::Device => {
                let has_room = self.device.has_room(&self.policy.limits);
                !self.device.finished && !self.held_back && has_room
            }
            Side::Hospital => self.upstream == Upstream::Open,
        }
    }

    fn receive(&mut self, from: Side, bytes: &[u8], now: Instant, wall: Timestamp) {
        if matches!(self.phase, Phase::Closed) || bytes.is_empty() {
            return;
        }
        self.last_activity = now;
        match from {
            Side::Device => {
                self.device.receive(bytes, now);
                self.advance(now, wall);
            }
            Side::Hospital => self.answers(bytes, now, wall),
        }
    }

    fn ended(&mut self, side: Side, reset: bool, now: Instant, wall: Timestamp) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        match side {
            Side::Device => self.device_ended(reset, now, wall),
            Side::Hospital => self.hospital_ended(now, wall),
        }
    }

    fn connected(&mut self, now: Instant, wall: Timestamp) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.upstream = Upstream::Open;
        self.hospital = Framer::new(self.policy.limits.hl7_message);
        self.strays_left = answers::MOST_STRAYS;
        if let Some(approved) = self.take_connecting() {
            self.forward(approved, now);
        }
        self.advance(now, wall);
    }

    fn woken(&mut self, now: Instant, wall: Timestamp) {
        self.collect(now);
        self.advance(now, wall);
    }

    fn connect_failed(&mut self, now: Instant, wall: Timestamp) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.upstream = Upstream::Absent;
        if let Some(approved) = self.take_connecting() {
            self.undelivered(approved, now, wall);
        }
        self.advance(now, wall);
    }

    fn unspooled(&mut self, _bytes: Bytes, _now: Instant, _wall: Timestamp) {}

    fn token(&mut self, granted: bool, now: Instant, wall: Timestamp) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Token(approved) if granted => self.send(approved, now),
            Phase::Token(approved) => self.over_rate(*approved, now, wall),
            other @ (Phase::Idle | Phase::Connecting(..) | Phase::Answer(..) | Phase::Closed) => {
                self.phase = other;
            }
        }
        self.advance(now, wall);
    }

    fn wants_token(&self) -> bool {
        matches!(self.phase, Phase::Token(_))
    }

    fn deadline(&self) -> Option<Instant> {
        let phase = self.phase_deadline()?;
        let phase = self.commit_deadline().map_or(phase, |at| at.min(phase));
        Some(
            self.frame_deadline()
                .map_or(phase, |frame| frame.min(phase)),
        )
    }

    fn handle_deadline(&mut self, now: Instant, wall: Timestamp) {
        if self.frame_deadline().is_some_and(|at| at <= now) {
            self.device.stop(Refusal {
                reason: Reason::Framing,
                location: "MLLP frame".to_owned(),
                detail: "did not end in time".to_owned(),
            });
            self.advance(now, wall);
        }
        if self.commit_deadline().is_some_and(|at| at <= now) {
            self.no_commit(now);
            return;
        }
        if self.phase_deadline().is_none_or(|at| at > now) {
            return;
        }
        match &self.phase {
            Phase::Idle if !self.device.queue.is_empty() && !self.held_back => {
                self.advance(now, wall);
            }
            Phase::Idle | Phase::Closed => self.close(false, now),
            Phase::Token(_) => self.end(EndReason::Resources, now, wall),
            // The request stays with the supervisor: its answer serves the next message.
            Phase::Connecting(..) => {
                if let Some(approved) = self.take_connecting() {
                    self.undelivered(approved, now, wall);
                }
                self.advance(now, wall);
            }
            Phase::Answer(..) => self.unanswered("no answer in time", now),
        }
    }

    fn update(&mut self, policy: &ConnectionPolicy) {
        self.policy = policy.hl7();
        self.language = policy.language;
        self.timing = policy.timing;
        self.has_rate = policy.rate.is_some();
        self.device.limit(self.policy.limits.hl7_message);
        self.hospital.limit(self.policy.limits.hl7_message);
    }

    fn hold(&mut self, held: bool, now: Instant, wall: Timestamp) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.held_back = held;
        if !held {
            self.device.began = self.device.began.map(|_| now);
            self.advance(now, wall);
        }
    }

    fn end(&mut self, why: EndReason, now: Instant, wall: Timestamp) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        let (reason, detail) = match why {
            EndReason::NotAllowed => (Reason::Forbidden, "no longer allowed"),
            EndReason::Killed => (Reason::Forbidden, "ended by an operator"),
            EndReason::Shutdown => (Reason::Destination, "the gateway stops"),
            EndReason::NoJournal => (Reason::Destination, "the journal cannot be written"),
            EndReason::Resources => (Reason::Limit, "the gateway has no room"),
        };
        let refused = Refused::without_place(reason, "connection", detail, Fault::Rule);
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            // Answers keep the order of messages: behind a silence there is only silence.
            Phase::Answer(sent, since) => {
                self.phase = Phase::Answer(sent, since);
                self.unanswered(detail, now);
                return;
            }
            Phase::Token(approved) | Phase::Connecting(approved, _) => {
                self.turn_away(&approved.header, approved.trace, &refused, now, wall);
            }
            Phase::Idle | Phase::Closed => {}
        }
        while let Some(arrival) = self.device.next(&self.policy.limits, now) {
            match arrival {
                Arrival::Frame(frame, received) => {
                    let mut trace = Trace::of(Side::Device, Subject::Message, &frame, received);
                    let header = header_of(frame.content());
                    trace.read(header.as_ref());
                    match header {
                        Some(header) => self.turn_away(&header, trace, &refused, now, wall),
                        None => self.record(trace, Outcome::Abandoned, None, None, now),
                    }
                }
                Arrival::Broken(refusal) => self.broken(&refusal, now),
            }
        }
        self.close(false, now);
    }

    fn poll(&mut self) -> Option<Step> {
        self.show();
        self.gated()
    }

    //= C7
    fn held(&self) -> usize {
        let approved = match &self.phase {
            Phase::Token(approved) | Phase::Connecting(approved, _) => {
                approved.permit.bytes().len()
            }
            Phase::Idle | Phase::Answer(..) | Phase::Closed => 0,
        };
        let steps = self.steps.iter().map(|step| {
            let Step::Forward { permit, .. } = step else {
                return size_of::<Step>();
            };
            permit.bytes().len()
        });
        let streams = self.device.held() + self.hospital.buffered();
        approved + steps.sum::<usize>() + streams
    }

    fn idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
            && self.device.held() == 0
            && self.hospital.buffered() == 0
            && self.gate.as_ref().is_none_or(Gate::is_clear)
            && !self.exchange().concerns(self.number)
    }
}

fn after(since: Instant, ms: u64) -> Instant {
    since + Duration::from_millis(ms.min(LONGEST))
}

/// The supervisor answers a request for a connection itself; this much later it has forgotten it. In milliseconds.
const GRACE: u64 = 2_000;
/// Longest deadline: a year, in milliseconds.
const LONGEST: u64 = 365 * 24 * 60 * 60 * 1_000;

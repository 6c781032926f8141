//! One association: what its opener says goes on message by message, what the destination says comes back.
//! The opener is the device, or the hospital where a service dials a device.
//!
//! In: bytes of either side and the time. Out: steps.
//! Decided here: the order of things (filter, connect, associate, hold, rate, forward, wait) and what a silence means.
//! What a PDU or a message says is judged by `protocol_inspect::dicom`.
//!
//! - The destination is asked for an association when the opener's request was filtered, and not before.
//! - A refused request is answered with a failure status and the association lives on; all other faults abort both legs.
//! - A request is put on record when its last response passed. No response in time, or the destination gone before it:
//!   A-ABORT to the sender and no invented status.
//! - Bytes of one end are taken in order: while its message waits (for the rate limiter, for the spool), so do they.

mod association;
mod deadline;
mod end;
mod message;
mod record;
mod sent;
pub mod outstanding;
mod pledge;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use protocol_inspect::dicom::{
    AbortReason, Dialogue, Filtered, Pdu, PduType, Policy, Violation, abort,
};
use protocol_inspect::{Permit, Reason, Refusal, Spoken};

use self::end::{End, Message, Socket, Turn};
use self::outstanding::Outstanding;
use self::record::{Trace, abort_words, why};
use super::{ConnectionPolicy, EndReason, Outcome, ProtocolPolicy, Session, Step, Subject, Timing};
use crate::flow::Side;

/// The session of one connection between a device and a DICOM service, whoever opened it.
pub struct DicomSession {
    policy: Arc<Policy>,
    /// The end that opened the connection and asks for the association.
    opener: Side,
    timing: Timing,
    has_rate: bool,
    device: End,
    hospital: End,
    phase: Phase,
    /// From A-ASSOCIATE-AC on.
    dialogue: Option<Dialogue>,
    /// What the device and the service owe each other.
    memory: Arc<Mutex<Outstanding>>,
    /// The C-MOVE of this association that is outstanding there.
    retrieves: Option<u64>,
    /// How much of it the dialogue knows.
    seen: u64,
    /// The wall clock at the last word.
    wall: Timestamp,
    /// Whose message is in the spool.
    spool: Option<Side>,
    last_activity: Instant,
    /// The opener's request for an association, or its next messages, must wait.
    held_back: bool,
    steps: VecDeque<Step>,
}

/// How far the association is.
enum Phase {
    /// The opener has not asked yet.
    Request(Instant),
    /// The destination is being connected.
    Connecting(Box<Asked>, Instant),
    /// The destination has the request.
    Accepting(Box<Asked>, Instant),
    /// The gateway itself refused all contexts: there is nothing to do but to release.
    Empty(Instant),
    /// Messages pass.
    Established,
    /// One end wants to release.
    Releasing(Instant),
    /// The last words were said.
    Over,
}

/// A request for an association on its way.
struct Asked {
    filtered: Filtered,
    trace: Trace,
}

impl DicomSession {
    /// A new connection.
    #[must_use]
    pub fn new(
        policy: &ConnectionPolicy,
        memory: Arc<Mutex<Outstanding>>,
        now: Instant,
        wall: Timestamp,
    ) -> Self {
        let dicom = dicom_policy(policy);
        Self {
            device: End::new(Side::Device, policy.opener, &dicom),
            hospital: End::new(Side::Hospital, policy.opener, &dicom),
            policy: dicom,
            opener: policy.opener,
            timing: policy.timing,
            has_rate: policy.rate.is_some(),
            phase: Phase::Request(now),
            dialogue: None,
            memory,
            retrieves: None,
            seen: 0,
            wall,
            spool: None,
            last_activity: now,
            held_back: false,
            steps: VecDeque::new(),
        }
    }

    /// Takes what came until nothing is whole or something must be waited for.
    fn advance(&mut self, now: Instant) {
        while self.take(Side::Device, now) || self.take(Side::Hospital, now) {}
    }

    /// Whether there was something to take.
    fn take(&mut self, side: Side, now: Instant) -> bool {
        if !self.takes(side) {
            return false;
        }
        let taken = self.take_one(side, now);
        taken.unwrap_or_else(|violation| {
            self.violated(side, violation, now);
            false
        })
    }

    fn take_one(&mut self, side: Side, now: Instant) -> Result<bool, Violation> {
        let end = self.end_mut(side);
        if let Some(value) = end.values.pop_front() {
            self.value(side, value, now)?;
            return Ok(true);
        }
        let Some(pdu) = end.reader.poll() else {
            return Ok(false);
        };
        end.look(now);
        self.pdu(side, pdu?, now)?;
        Ok(true)
    }

    fn takes(&self, side: Side) -> bool {
        let end = self.end_at(side);
        let busy = match self.phase {
            Phase::Connecting(..) | Phase::Over => true,
            Phase::Request(_)
            | Phase::Accepting(..)
            | Phase::Empty(_)
            | Phase::Established
            | Phase::Releasing(_) => false,
        };
        end.is_open() && end.is_reading() && !busy && !self.holds(side) && !self.is_unspooling()
    }

    /// Whether this end must wait with something new: an association or a message.
    /// What it began, what the destination says and the end of an association need no place that is not taken already.
    fn holds(&self, side: Side) -> bool {
        let begins = match self.phase {
            Phase::Request(_) => true,
            Phase::Established => self.end_at(side).message.since.is_none(),
            Phase::Connecting(..)
            | Phase::Accepting(..)
            | Phase::Empty(_)
            | Phase::Releasing(_)
            | Phase::Over => false,
        };
        self.held_back && side == self.opener && begins
    }

    fn pdu(&mut self, side: Side, pdu: Pdu, now: Instant) -> Result<(), Violation> {
        let end = self.end_mut(side);
        end.leg = end.leg.received(pdu.kind())?;
        match pdu {
            Pdu::AssociateRq(rq) => self.requested(&rq, now),
            Pdu::AssociateAc(ac) => self.accepted(&ac, now)?,
            Pdu::AssociateRj(rj) => self.rejected(rj, now),
            Pdu::PData(values) => self.end_mut(side).values = values.into(),
            Pdu::ReleaseRq => self.release_asked(side, now)?,
            Pdu::ReleaseRp => self.release_answered(side, now)?,
            Pdu::Abort(words) => self.aborted(side, words, now),
        }
        Ok(())
    }

    /// This end broke the upper layer or DIMSE.
    fn violated(&mut self, side: Side, violation: Violation, now: Instant) {
        let message = &mut self.end_mut(side).message;
        let kind = (message.head.as_ref()).map_or("", |head| head.command.service().name());
        // What the other end has of it is recorded besides.
        if !message.went_on() {
            *message = Message::new();
        }
        let trace = Trace::new(side, Subject::Stream, kind, now);
        let answer = Some(abort_words(violation.reason));
        let other = record::broken_by(side, self.opener);
        self.record(
            trace,
            Outcome::Refused,
            Some(violation.refusal),
            answer,
            now,
        );
        self.abort(Some((side, violation.reason)), &other, now);
    }

    /// Aborts both legs; what was under way is recorded with this reason.
    fn abort(&mut self, blame: Option<(Side, AbortReason)>, reason: &Refusal, now: Instant) {
        for side in SIDES {
            let says = match blame {
                Some((blamed, says)) if blamed == side => says,
                Some(_) | None => AbortReason::NotSpecified,
            };
            if self.say(side, PduType::Abort, abort(says)) {
                self.end_mut(side).told = Some(abort_words(says));
            }
        }
        self.leave(reason, now);
        self.close_both();
    }

    /// Records what nobody will answer any more.
    fn leave(&mut self, reason: &Refusal, now: Instant) {
        self.dialogue = None;
        self.end_retrieval();
        self.keep_begun();
        let not_sent = match reason.reason {
            Reason::Destination => Outcome::Undelivered,
            Reason::Framing
            | Reason::Encoding
            | Reason::Structure
            | Reason::Field
            | Reason::Embedded
            | Reason::Sequence
            | Reason::Unsupported
            | Reason::Forbidden
            | Reason::Identity
            | Reason::Limit
            | Reason::Rate => Outcome::Abandoned,
        };
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        let (mut left, mut refused) = (Vec::new(), None);
        match phase {
            Phase::Connecting(asked, _) | Phase::Accepting(asked, _) => {
                let told = self.end_at(self.opener).told.clone();
                left.push((asked.trace, not_sent, told));
            }
            Phase::Request(_)
            | Phase::Empty(_)
            | Phase::Established
            | Phase::Releasing(_)
            | Phase::Over => {}
        }
        for end in [&mut self.device, &mut self.hospital] {
            let told = end.told.clone();
            if let Some(request) = end.request.take() {
                left.push((request.trace, Outcome::Unanswered, told.clone()));
            }
            match std::mem::replace(&mut end.turn, Turn::Reading) {
                Turn::Unspooling(ready) => {
                    left.push((ready.trace, Outcome::Unanswered, told.clone()));
                }
                Turn::Token(ready) => left.push((ready.trace, not_sent, told.clone())),
                Turn::Reading | Turn::Admission | Turn::Spool => {}
            }
            let message = std::mem::replace(&mut end.message, Message::new());
            if let Some(since) = message.since {
                let trace = match &message.head {
                    Some(head) => Trace::message(end.side, head, since),
                    None => Trace::new(end.side, Subject::Message, "", since),
                };
                let outcome = match &message.broken {
                    Some(_) => Outcome::Refused,
                    None if message.is_streamed() => not_sent,
                    None => Outcome::Abandoned,
                };
                refused = refused.or(message.broken.clone().map(|why| (end.side, why)));
                left.push((message.incomplete(trace), outcome, told));
            }
            end.values.clear();
        }
        for (trace, outcome, told) in left {
            let why = match &refused {
                Some((side, why)) if *side == trace.from && outcome == Outcome::Refused => why,
                Some(_) | None => reason,
            };
            self.record(trace, outcome, Some(why.clone()), told, now);
        }
    }

    fn close_both(&mut self) {
        self.phase = Phase::Over;
        for side in SIDES {
            self.close(side);
        }
    }

    /// Closes one side, also one that was never there.
    fn close(&mut self, side: Side) {
        let end = self.end_mut(side);
        if end.socket == Socket::Closed {
            return;
        }
        end.socket = Socket::Closed;
        end.leg = end.leg.closed();
        let reset = false;
        self.steps.push_back(Step::Close { side, reset });
    }

    /// Our last word to this side was said: the peer closes.
    //= DICOM PS3.8 9.1.5
    fn linger(&mut self, side: Side, now: Instant) {
        let until = after(now, self.timing.receive_ms);
        let end = self.end_mut(side);
        if end.is_open() {
            end.socket = Socket::Closing(until);
        }
    }

    /// Whether it could be said: the leg is open, and in a state in which this may be sent.
    fn say(&mut self, to: Side, kind: PduType, spoken: Spoken) -> bool {
        let may = self.may_send(to, kind);
        if may {
            self.steps.push_back(Step::Speak { to, spoken });
        }
        may
    }

    /// As [`Self::say`], for what an inspector approved.
    fn pass(&mut self, to: Side, kind: PduType, permit: Permit) -> bool {
        let may = self.may_send(to, kind);
        if may {
            self.steps.push_back(Step::Forward { to, permit });
        }
        may
    }

    fn may_send(&mut self, to: Side, kind: PduType) -> bool {
        let end = self.end_mut(to);
        match end.leg.sent(kind) {
            Some(leg) if end.is_open() => {
                end.leg = leg;
                true
            }
            Some(_) | None => false,
        }
    }

    fn record(
        &mut self,
        trace: Trace,
        outcome: Outcome,
        reason: Option<Refusal>,
        answer: Option<String>,
        now: Instant,
    ) {
        let decision = trace.decide(outcome, reason, answer, now);
        self.steps.push_back(Step::Record(Box::new(decision)));
    }

    fn end_at(&self, side: Side) -> &End {
        match side {
            Side::Device => &self.device,
            Side::Hospital => &self.hospital,
        }
    }

    fn end_mut(&mut self, side: Side) -> &mut End {
        match side {
            Side::Device => &mut self.device,
            Side::Hospital => &mut self.hospital,
        }
    }

    /// This end was held back: neither it is late, nor its response to the other.
    fn resume(&mut self, side: Side, now: Instant) {
        self.end_mut(side).resume(now);
        if let Some(request) = &mut self.end_mut(side.other()).request {
            request.since = now;
        }
    }

    fn is_unspooling(&self) -> bool {
        SIDES
            .into_iter()
            .any(|side| matches!(self.end_at(side).turn, Turn::Unspooling(_)))
    }
}

impl Drop for DicomSession {
    fn drop(&mut self) {
        self.end_retrieval();
    }
}

impl Session for DicomSession {
    fn wants(&self, from: Side) -> bool {
        match self.end_at(from).socket {
            Socket::Open => self.takes(from),
            // What still comes is thrown away, so that the end is seen.
            Socket::Closing(_) => true,
            Socket::Absent | Socket::Closed => false,
        }
    }

    fn receive(&mut self, from: Side, bytes: &[u8], now: Instant, wall: Timestamp) {
        self.receive_bytes(from, Bytes::copy_from_slice(bytes), now, wall);
    }

    fn takes_bulk(&self) -> bool {
        true
    }

    fn receive_bytes(&mut self, from: Side, bytes: Bytes, now: Instant, wall: Timestamp) {
        self.wall = wall;
        let end = self.end_mut(from);
        if !end.is_open() || bytes.is_empty() {
            return;
        }
        end.receive(bytes, now);
        self.last_activity = now;
        self.advance(now);
    }

    fn ended(&mut self, side: Side, _reset: bool, now: Instant, _wall: Timestamp) {
        match self.end_at(side).socket {
            Socket::Absent | Socket::Closed => {}
            Socket::Closing(_) => self.close(side),
            Socket::Open => {
                self.close(side);
                self.lost(side, now);
            }
        }
    }

    fn connected(&mut self, now: Instant, wall: Timestamp) {
        self.wall = wall;
        self.last_activity = now;
        self.ask(now);
        self.advance(now);
    }

    fn connect_failed(&mut self, now: Instant, _wall: Timestamp) {
        self.undelivered("cannot be reached", now);
    }

    fn catch_up(&mut self) {
        for end in [&mut self.device, &mut self.hospital] {
            end.catch_up();
        }
    }

    fn held_back(&mut self, from: Side, now: Instant) {
        self.resume(from, now);
    }

    fn spool_failed(&mut self, now: Instant, _wall: Timestamp) -> bool {
        self.unheld(now);
        self.advance(now);
        true
    }

    fn relieve(&mut self, now: Instant) -> bool {
        let mut sides = SIDES.into_iter();
        let much = sides.find(|side| self.end_at(*side).message.held.length > 0);
        let free = self.spool.is_none() || self.spool == much;
        match much {
            Some(side) if free => {
                self.spool(side, now);
                true
            }
            Some(_) | None => false,
        }
    }

    fn unspooled(&mut self, bytes: Bytes, now: Instant, wall: Timestamp) {
        self.wall = wall;
        self.last_activity = now;
        self.forward_spooled(bytes, now);
        self.advance(now);
    }

    fn token(&mut self, granted: bool, now: Instant, wall: Timestamp) {
        self.wall = wall;
        self.last_activity = now;
        self.rated(granted, now);
        self.advance(now);
    }

    fn wants_token(&self) -> bool {
        matches!(
            self.end_at(self.opener).turn,
            Turn::Token(_) | Turn::Admission
        )
    }

    fn deadline(&self) -> Option<Instant> {
        self.next_deadline().map(|(at, _)| at)
    }

    fn handle_deadline(&mut self, now: Instant, _wall: Timestamp) {
        if let Some((at, late)) = self.next_deadline()
            && at <= now
        {
            self.late(late, now);
        }
    }

    fn update(&mut self, policy: &ConnectionPolicy) {
        self.policy = dicom_policy(policy);
        self.timing = policy.timing;
        self.has_rate = policy.rate.is_some();
        let in_effect = self.in_effect(false);
        if let Some(dialogue) = &mut self.dialogue {
            dialogue.update(&in_effect);
        }
    }

    fn hold(&mut self, held: bool, now: Instant, _wall: Timestamp) {
        self.held_back = held;
        if !held {
            self.resume(self.opener, now);
            if let Phase::Request(since) = &mut self.phase {
                *since = now;
            }
            self.advance(now);
        }
    }

    fn end(&mut self, reason: EndReason, now: Instant, _wall: Timestamp) {
        let (reason, detail) = match reason {
            EndReason::NotAllowed => (Reason::Forbidden, "no longer allowed"),
            EndReason::Killed => (Reason::Forbidden, "ended by an operator"),
            EndReason::Shutdown => (Reason::Destination, "the gateway stops"),
            EndReason::NoJournal => (Reason::Destination, "the journal cannot be written"),
            EndReason::Resources => (Reason::Limit, "the gateway has no room"),
        };
        self.abort(None, &why(reason, "connection", detail), now);
    }

    fn poll(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    fn held(&self) -> usize {
        let dialogue = self.dialogue.as_ref().map_or(0, Dialogue::held);
        self.device.held() + self.hospital.held() + dialogue
    }

    fn idle(&self) -> bool {
        let quiet = |end: &End| {
            let nothing = end.message.since.is_none() && end.began.is_none();
            nothing && end.request.is_none() && end.is_reading()
        };
        match self.phase {
            Phase::Request(_) | Phase::Empty(_) | Phase::Established => {
                quiet(&self.device) && quiet(&self.hospital)
            }
            Phase::Connecting(..) | Phase::Accepting(..) | Phase::Releasing(_) => false,
            Phase::Over => true,
        }
    }
}

fn dicom_policy(policy: &ConnectionPolicy) -> Arc<Policy> {
    Arc::new(match &policy.protocol {
        ProtocolPolicy::Dicom(dicom) => dicom.clone(),
        // A policy of another protocol: no rule, so nothing passes.
        ProtocolPolicy::Hl7(_) => Policy::default(),
    })
}

fn after(since: Instant, ms: u64) -> Instant {
    since + Duration::from_millis(ms.min(LONGEST))
}

const SIDES: [Side; 2] = [Side::Device, Side::Hospital];
/// Longest deadline: a year, in milliseconds.
const LONGEST: u64 = 365 * 24 * 60 * 60 * 1_000;

//! From the destination to the device: answers that belong to a message, and nothing else.

use std::time::Instant;

use jiff::Timestamp;
use protocol_inspect::hl7::ack::AckCode;
use protocol_inspect::hl7::{Answer, Frame, Header, header_of};
use protocol_inspect::{Permit, Reason};

use super::messages::JUDGE;
use super::record::{Trace, Why};
use super::{Hl7Session, Phase, Sent, Upstream};
use crate::flow::Side;
use crate::inspect::{Outcome, Step, Subject};

impl Hl7Session {
    /// Bytes of the destination.
    pub(super) fn answers(&mut self, bytes: &[u8], now: Instant, wall: Timestamp) {
        self.told = now;
        if self.upstream != Upstream::Open {
            return;
        }
        self.hospital.receive(bytes);
        while let Some(next) = self.hospital.poll() {
            match next {
                Ok(frame) => match frame.commit().filter(|_| self.gate.is_some()) {
                    Some(taken) => self.hospital_commits(taken, now, wall),
                    None => self.answer(frame, now),
                },
                Err(refusal) => {
                    let trace = Trace::stream(Side::Hospital, Subject::Stream);
                    let why = Why::from(&refusal);
                    self.record(trace, Outcome::Refused, Some(why), None, now);
                    self.unanswered("the destination broke the framing", now);
                }
            }
            if matches!(self.phase, Phase::Closed) {
                return;
            }
            self.advance(now, wall);
            if matches!(self.phase, Phase::Closed) {
                return;
            }
        }
    }

    /// The destination hung up: orderly if nothing is under way.
    pub(super) fn hospital_ended(&mut self, now: Instant, wall: Timestamp) {
        if self.upstream != Upstream::Open {
            return;
        }
        self.upstream = Upstream::Absent;
        self.hospital_commits_no_more();
        if matches!(self.phase, Phase::Answer(..)) {
            self.unanswered("the destination hung up before it answered", now);
            return;
        }
        self.steps.push_back(Step::Close {
            side: Side::Hospital,
            reset: false,
        });
        self.advance(now, wall);
    }

    fn answer(&mut self, frame: Frame, now: Instant) {
        let came = frame.clone();
        let read = JUDGE.with_borrow_mut(|judge| judge.answer(frame, &self.policy));
        let answer = match read {
            Ok(answer) => answer,
            Err(refusal) => {
                self.stray(trace_of(&came, now), Why::from(&refusal), now);
                return;
            }
        };
        // Destinations answer in order: where two messages have one MSH-10, the older is meant.
        let under_way = match &self.phase {
            Phase::Answer(sent, _) => sent.serial,
            Phase::Idle | Phase::Token(_) | Phase::Connecting(..) | Phase::Closed => None,
        };
        let earlier = self.exchange().find(&answer, self.number, under_way);
        let older = !answer.code.is_accept()
            && earlier
                .as_ref()
                .is_some_and(|earlier| earlier.connection == self.number);
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Answer(sent, _)
                if !older
                    && sent.waits
                    && !self.is_uncommitted()
                    && answer.answers(&sent.header, sent.batch.as_ref()) =>
            {
                // Another connection waits for the same MSH-10 with other bytes: nobody can say which is meant.
                let digest = sent.trace.digest();
                let other = earlier.filter(|earlier| earlier.digest != digest);
                if other.is_some() && !answer.code.is_accept() {
                    self.phase = Phase::Answer(sent, now);
                    self.stray(
                        trace_of(&came, now),
                        Why::at(Reason::Sequence, "MSA-2", "two messages have this MSH-10"),
                        now,
                    );
                    self.unanswered("two messages have this MSH-10", now);
                } else {
                    self.answered(*sent, answer, &came, now);
                }
                return;
            }
            other @ (Phase::Idle
            | Phase::Token(_)
            | Phase::Connecting(..)
            | Phase::Answer(..)
            | Phase::Closed) => self.phase = other,
        }
        if let Some(settled) = earlier {
            self.deferred(answer, &settled, trace_of(&came, now), now);
        } else {
            let why = Why::at(
                Reason::Sequence,
                "MSA-2",
                "answers no message of this device",
            );
            self.stray(trace_of(&came, now), why, now);
        }
    }

    /// The message under way has its answer.
    //= C6
    fn answered(&mut self, sent: Sent, answer: Answer, came: &Frame, now: Instant) {
        let code = answer.code;
        let wants = answer.header.wants_accept() || answer.header.wants_accept_error();
        let own = wants.then(|| answer.header.clone());
        let says_all = answer.is_complete(sent.batch.as_ref());
        let (permit, warnings) = match answer.approve(&self.policy, sent.trace.rule_name()) {
            Ok(approved) => approved,
            Err(refusal) => {
                // The destination did answer, so anything that we said of it would be an invention.
                let why = Why::from(&refusal);
                self.record(trace_of(came, now), Outcome::Refused, Some(why), None, now);
                self.phase = Phase::Answer(Box::new(sent), now);
                self.unanswered("the destination's answer was refused", now);
                return;
            }
        };
        let Sent {
            header,
            mut trace,
            serial,
            key,
            ..
        } = sent;
        if !code.is_accept() && header.is_enhanced() && !header.wants_application() {
            trace.warn(Reason::Sequence, "MSA-1");
        }
        trace.warn_all(&warnings);
        let mut exchange = self.exchange();
        if code.is_success() && says_all {
            let digest = trace.digest();
            exchange.duplicates.insert(key, digest, code, now);
        }
        if let Some(serial) = serial
            && code != AckCode::Ca
        {
            exchange.drop_expected(serial);
        }
        drop(exchange);
        self.relay(own.as_ref(), permit, now);
        let code = Some(code.code());
        self.record(trace, Outcome::Forwarded, None, code, now);
    }

    /// `answer` is its header, at least if the device may acknowledge it in its turn.
    pub(super) fn relay(&mut self, answer: Option<&Header>, permit: Permit, now: Instant) {
        if self.device.gone {
            self.say_commit(Side::Hospital, false);
            return;
        }
        if self.device.finished {
            // It may read the answer, but never says whether it took it.
            self.say_commit(Side::Hospital, false);
        }
        if let Some(answer) = answer {
            let number = self.number;
            self.exchange().relayed(answer, number, number, now);
        }
        let to = Side::Device;
        self.steps.push_back(Step::Forward { to, permit });
    }

    /// Drops a frame of the destination that belongs to nothing, and gives up on a destination that has too many.
    pub(super) fn stray(&mut self, trace: Trace, why: Why, now: Instant) {
        self.say_commit(Side::Hospital, false);
        self.record(trace, Outcome::Refused, Some(why), None, now);
        self.strays_left = self.strays_left.saturating_sub(1);
        if self.strays_left == 0 {
            self.unanswered("the destination sent too much that answers nothing", now);
        }
    }
}

/// An answer is put on record by itself only where it does not belong to the record of its message.
fn trace_of(came: &Frame, now: Instant) -> Trace {
    let mut trace = Trace::of(Side::Hospital, Subject::Answer, came, now);
    trace.read(header_of(came.content()).as_ref());
    trace
}

/// Most frames of one upstream connection that belong to nothing, beside one for each message that asked for no answer.
pub(super) const MOST_STRAYS: usize = 16;

//! From the device to the destination: one message, from its last byte to the forwarding.

use std::cell::RefCell;
use std::time::Instant;

use jiff::Timestamp;
use protocol_inspect::Reason;
use protocol_inspect::hl7::ack;
use protocol_inspect::hl7::{Fault, Frame, Header, Judge, Refused, Verdict};

use super::duplicates::{self, Seen};
use super::record::{Trace, Why};
use super::software;
use super::{Approved, Arrival, Hl7Session, Phase, Sent, Upstream};
use crate::flow::Side;
use crate::inspect::{Outcome, Step, Subject};

thread_local! {
    /// One for all sessions of a worker: what it keeps is room for one message, and no session waits while it judges.
    //= C7
    pub(super) static JUDGE: RefCell<Judge> = RefCell::default();
}

impl Hl7Session {
    /// Judges a message and sends it on its way.
    //= C1
    pub(super) fn message(
        &mut self,
        frame: Frame,
        received: Instant,
        now: Instant,
        wall: Timestamp,
    ) {
        if let Some(origin) = self.acknowledges_an_answer(&frame, now) {
            self.acknowledgement(frame, origin, received, now);
            return;
        }
        let mut trace = Trace::of(Side::Device, Subject::Message, &frame, received);
        let software = software::of(frame.content());
        let judgement =
            JUDGE.with_borrow_mut(|judge| judge.judge(frame, &self.policy, Some(wall.as_second())));
        trace.read(judgement.header.as_ref());
        match (judgement.verdict, judgement.header) {
            (Verdict::Accept(accepted), Some(header)) => {
                let rule = self.policy.rules.get(accepted.rule);
                trace.rule(rule.map(|rule| rule.name.as_str()));
                trace.warn_all(&accepted.warnings);
                // Said once, and when it changes.
                if software != self.software {
                    trace.observe(software.clone());
                    self.software = software;
                }
                let unique_ids = rule.is_some_and(|rule| rule.unique_ids);
                let key = duplicates::key(&header);
                let approved = Approved {
                    permit: accepted.permit,
                    header,
                    batch: accepted.batch,
                    trace,
                    key,
                };
                self.approved(approved, unique_ids, now, wall);
            }
            (Verdict::Refuse(refused), Some(header)) => {
                trace.rule(refused.rule.as_deref());
                trace.warn_all(&refused.warnings);
                self.turn_away(&header, trace, &refused, now, wall);
            }
            (Verdict::Refuse(refused), None) => {
                let why = Why::from(&refused.refusal);
                self.record(trace, Outcome::Refused, Some(why), None, now);
                self.close(false, now);
            }
            // The library never accepts what has no header; if it did, nobody could be answered.
            (Verdict::Accept(_), None) => self.close(false, now),
        }
    }

    /// Refuses a message that has a header.
    pub(super) fn turn_away(
        &mut self,
        header: &Header,
        trace: Trace,
        refused: &Refused,
        now: Instant,
        wall: Timestamp,
    ) {
        let answer = self.refuse(Some(header), refused, wall);
        let why = Why::from(&refused.refusal);
        self.record(trace, Outcome::Refused, Some(why), answer, now);
    }

    fn approved(
        &mut self,
        mut approved: Approved,
        unique_ids: bool,
        now: Instant,
        wall: Timestamp,
    ) {
        let digest = approved.trace.digest();
        let seen = self.exchange().duplicates.seen(approved.key, &digest, now);
        match seen {
            Seen::Taken(code) => {
                self.say_commit(Side::Device, true);
                let stamp = self.stamp(wall);
                let spoken = ack::repeat(&approved.header, code, &stamp);
                if !self.device.gone {
                    let to = Side::Device;
                    self.steps.push_back(Step::Speak { to, spoken });
                }
                let answer = Some(code.code());
                self.record(approved.trace, Outcome::Repeated, None, answer, now);
                return;
            }
            Seen::Changed if unique_ids => {
                let refused = Refused::reused_id();
                self.turn_away(&approved.header, approved.trace, &refused, now, wall);
                return;
            }
            Seen::Changed => approved.trace.warn(Reason::Sequence, "MSH-10"),
            Seen::New => {}
        }
        if self.has_rate {
            self.phase = Phase::Token(Box::new(approved));
        } else {
            self.send(Box::new(approved), now);
        }
    }

    pub(super) fn over_rate(&mut self, approved: Approved, now: Instant, wall: Timestamp) {
        let refused = Refused::without_place(
            Reason::Rate,
            "message",
            "rate limit: more messages than the rule allows",
            Fault::Content,
        );
        self.turn_away(&approved.header, approved.trace, &refused, now, wall);
    }

    /// Forwards, or asks for the connection first.
    pub(super) fn send(&mut self, approved: Box<Approved>, now: Instant) {
        match self.upstream {
            Upstream::Open => self.forward(*approved, now),
            Upstream::Absent => {
                self.upstream = Upstream::Asked;
                self.steps.push_back(Step::Connect);
                self.phase = Phase::Connecting(approved, now);
            }
            // An earlier request that was given up here is still under way.
            Upstream::Asked => self.phase = Phase::Connecting(approved, now),
        }
    }

    //= C2
    pub(super) fn forward(&mut self, approved: Approved, now: Instant) {
        self.last_activity = now;
        self.last_forward = now;
        self.steps.push_back(Step::Forward {
            to: Side::Hospital,
            permit: approved.permit,
        });
        let (header, batch, trace) = (approved.header, approved.batch, approved.trace);
        let key = approved.key;
        let waits =
            !header.is_acknowledgement() && (!header.is_enhanced() || header.wants_accept());
        let may_be_answered_later = header.is_enhanced()
            && (header.wants_application() || (!waits && header.wants_accept_error()));
        let serial = may_be_answered_later.then(|| {
            let (digest, rule) = (trace.digest(), trace.rule_name());
            self.exchange()
                .expect(&header, batch.is_some(), digest, rule, self.number, now)
        });
        if !waits {
            // A destination that answers all the same is not to be given up for it.
            self.strays_left = self.strays_left.saturating_add(1);
        }
        if let Some(gate) = &mut self.gate {
            gate.uncommitted = true;
        }
        if waits || self.gate.is_some() {
            let sent = Sent {
                header,
                batch,
                trace,
                serial,
                waits,
                key,
            };
            self.phase = Phase::Answer(Box::new(sent), now);
        } else {
            self.record(trace, Outcome::Forwarded, None, None, now);
        }
    }

    pub(super) fn undelivered(&mut self, approved: Approved, now: Instant, wall: Timestamp) {
        let refused = Refused::without_place(
            Reason::Destination,
            "destination",
            "cannot be reached",
            Fault::Rule,
        );
        let answer = self.refuse(Some(&approved.header), &refused, wall);
        let why = Why::from(&refused.refusal);
        self.record(approved.trace, Outcome::Undelivered, Some(why), answer, now);
    }

    /// The device hung up. After a FIN it may still read answers, after a reset it may not.
    pub(super) fn device_ended(&mut self, reset: bool, now: Instant, wall: Timestamp) {
        self.device.finished = true;
        self.device.began = None;
        self.device_commits_no_more();
        if reset {
            self.device.gone = true;
            let (side, reset) = (Side::Device, true);
            self.steps.push_back(Step::Close { side, reset });
            self.abandon_queue(now);
        }
        self.advance(now, wall);
    }

    /// What did not go up does not go up any more. What did is waited for:
    /// its answer decides whether a repetition is forwarded.
    fn abandon_queue(&mut self, now: Instant) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Token(approved) | Phase::Connecting(approved, _) => {
                self.record(approved.trace, Outcome::Abandoned, None, None, now);
            }
            other @ (Phase::Idle | Phase::Answer(..) | Phase::Closed) => self.phase = other,
        }
        while let Some(arrival) = self.device.next(&self.policy.limits, now) {
            match arrival {
                Arrival::Frame(frame, received) => self.abandon(&frame, received, now),
                Arrival::Broken(refusal) => self.broken(&refusal, now),
            }
        }
        self.drop_rest(now);
    }
}

//! Answers that come later than the message they belong to, perhaps on another connection of the same device.
//!
//! In: an answer that is not that of the message under way, or what another connection left for this one.
//! Out: the answer for the device, here or there; the device's own acknowledgement of it for the destination.

use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use protocol_inspect::Reason;
use protocol_inspect::hl7::answer::acknowledges;
use protocol_inspect::hl7::{Answer, Frame};

use super::exchange::{Exchange, Hears, Number, Parcel, Says, Settled};
use super::record::{Trace, Why};
use super::{Hl7Session, Phase, Upstream};
use crate::flow::Side;
use crate::inspect::{Outcome, Step, Subject};

impl Hl7Session {
    /// What all connections of the exchange know; never held while anything else is done.
    pub(super) fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the other connections what they may leave here.
    pub(super) fn show(&mut self) {
        let hears = match (self.device.gone, self.device.finished) {
            _ if matches!(self.phase, Phase::Closed) => Hears::No,
            (true, _) => Hears::No,
            (false, true) => Hears::Perhaps,
            (false, false) => Hears::Yes,
        };
        let shown = (hears, self.upstream == Upstream::Open);
        if self.shown != shown {
            self.shown = shown;
            self.exchange().show(self.number, shown.0, shown.1);
        }
    }

    /// Whether something may still be said between the destination and the device, here or on another connection.
    pub(super) fn may_be_answered(&self) -> bool {
        let exchange = self.exchange();
        self.upstream == Upstream::Open
            && exchange.concerns(self.number)
            && exchange.receiver(self.number, self.number).is_some()
    }

    /// Relays an answer to an earlier message.
    //= C6
    pub(super) fn deferred(
        &mut self,
        answer: Answer,
        settled: &Settled,
        mut trace: Trace,
        now: Instant,
    ) {
        trace.rule(Some(&settled.rule));
        let (code, own, says) = (answer.code, answer.header.clone(), Says::of(&answer));
        let (permit, warnings) = match answer.approve(&self.policy, &settled.rule) {
            Ok(approved) => approved,
            Err(refusal) => {
                self.stray(trace, Why::from(&refusal), now);
                return;
            }
        };
        trace.warn_all(&warnings);
        self.show();
        let receiver = self.exchange().receiver(settled.connection, self.number);
        // In release 2 the commit of the device belongs to the connection on which the answer came.
        let own_only = self.gate.is_some().then_some(self.number);
        let receiver = receiver.map(|receiver| own_only.unwrap_or(receiver));
        let receiver = receiver.filter(|_| own_only.is_none() || !self.device.gone);
        let Some(receiver) = receiver else {
            // The destination may say it again; what it did not take may go up again at once.
            if !code.is_success() {
                self.exchange().settle(settled, code, says, now);
            }
            self.say_commit(Side::Hospital, false);
            let why = Why::new(Reason::Destination, "the device has no connection");
            self.record(trace, Outcome::Undelivered, Some(why), None, now);
            return;
        };
        self.exchange().settle(settled, code, says, now);
        if receiver == self.number {
            self.relay(Some(&own), permit, now);
            self.record(trace, Outcome::Forwarded, None, Some(code.code()), now);
            return;
        }
        let relayed = (self.exchange()).relayed(&own, self.number, receiver, now);
        self.leave_for(
            receiver,
            Parcel {
                permit,
                code,
                trace,
                relayed,
            },
            now,
        );
    }

    /// Whether this is the device's own word about an answer that was relayed to it, and where the answer came from.
    pub(super) fn acknowledges_an_answer(&self, frame: &Frame, now: Instant) -> Option<Number> {
        let (code, id) = acknowledges(frame, &self.policy)?;
        if !code.is_accept() {
            return None;
        }
        self.exchange().acknowledge(&id, self.number, now)
    }

    /// Sends it back to where the answer came from.
    pub(super) fn acknowledgement(
        &mut self,
        frame: Frame,
        origin: Number,
        received: Instant,
        now: Instant,
    ) {
        let mut trace = Trace::of(Side::Device, Subject::Answer, &frame, received);
        let answer = match Answer::of_sender(frame, &self.policy) {
            Ok(answer) => answer,
            Err(refusal) => {
                self.say_commit(Side::Device, false);
                let why = Why::from(&refusal);
                self.record(trace, Outcome::Refused, Some(why), None, now);
                return;
            }
        };
        trace.read(Some(&answer.header));
        trace.warn_all(&answer.warnings);
        let code = answer.code;
        // It is a plain acknowledgement, of which no rule speaks.
        let permit = match answer.approve(&self.policy, "") {
            Ok((permit, _)) => permit,
            Err(refusal) => {
                self.say_commit(Side::Device, false);
                let why = Why::from(&refusal);
                self.record(trace, Outcome::Refused, Some(why), None, now);
                return;
            }
        };
        let parcel = Parcel {
            permit,
            code,
            trace,
            relayed: None,
        };
        if origin == self.number {
            self.unpack(parcel, now);
        } else if self.gate.is_none() && self.exchange().has_upstream(origin) {
            self.leave_for(origin, parcel, now);
        } else {
            self.undelivered_parcel(parcel, now);
        }
    }

    /// Takes what other connections left here.
    pub(super) fn collect(&mut self, now: Instant) {
        loop {
            let parcel = self.exchange().collect(self.number);
            match parcel {
                Some(parcel) => self.unpack(parcel, now),
                None => return,
            }
        }
    }

    /// Leaves the exchange; what was left here reaches nobody.
    pub(super) fn leave(&mut self, now: Instant) {
        let parcels = self.exchange().leave(self.number);
        for parcel in parcels {
            self.undelivered_parcel(parcel, now);
        }
    }

    fn leave_for(&mut self, number: Number, parcel: Parcel, now: Instant) {
        // The device may acknowledge it, which is said to the destination here.
        self.last_forward = now;
        let left = self.exchange().send(number, parcel);
        match left {
            Ok(()) => self.steps.push_back(Step::Wake),
            Err(parcel) => self.undelivered_parcel(*parcel, now),
        }
    }

    fn unpack(&mut self, parcel: Parcel, now: Instant) {
        let to = parcel.trace.from().other();
        let reaches = match to {
            Side::Device => !self.device.gone,
            Side::Hospital => self.upstream == Upstream::Open,
        };
        if !reaches {
            self.undelivered_parcel(parcel, now);
            return;
        }
        let Parcel {
            permit,
            code,
            trace,
            relayed,
        } = parcel;
        if let Some(serial) = relayed {
            self.exchange().heard(serial, true);
        }
        self.last_activity = now;
        if let Some(gate) = self.gate.as_mut().filter(|_| to == Side::Hospital) {
            gate.acknowledgements = gate.acknowledgements.saturating_add(1);
        }
        self.steps.push_back(Step::Forward { to, permit });
        self.record(trace, Outcome::Forwarded, None, Some(code.code()), now);
    }

    fn undelivered_parcel(&mut self, parcel: Parcel, now: Instant) {
        self.say_commit(parcel.trace.from(), false);
        if let Some(serial) = parcel.relayed {
            self.exchange().heard(serial, false);
        }
        let why = Why::new(Reason::Destination, "the connection is gone");
        self.record(parcel.trace, Outcome::Undelivered, Some(why), None, now);
    }
}

impl Drop for Hl7Session {
    fn drop(&mut self) {
        self.exchange().leave(self.number);
    }
}

//! DIMSE messages, from their first fragment to their last response.
//!
//! In: PDVs in order, chunks of the spool, tokens. Out: what goes on, what is answered, and the decisions.

use std::time::Instant;

use bytes::Bytes;
use protocol_inspect::dicom::{
    AbortReason, Approved, Command, Dialogue, Direction, Event, Head, PduType, Pdv, Peer,
    RefusedMessage, Service, Violation, abort,
};
use protocol_inspect::{Permit, Reason, Refusal, Spoken};

use super::end::{Held, Message, Ready, Request, Turn};
use super::pledge::Unfit;
use super::record::{Trace, abort_words, broken_by, status_words, why};
use super::{DicomSession, SIDES};
use crate::flow::Side;
use crate::inspect::{Outcome, Step};

impl DicomSession {
    pub(super) fn value(&mut self, side: Side, value: Pdv, now: Instant) -> Result<(), Violation> {
        self.end_mut(side).message.count(&value.data, now);
        let from = self.peer(side);
        self.refresh();
        let Some(dialogue) = &mut self.dialogue else {
            let refusal = why(
                Reason::Structure,
                "presentation context id",
                "was not accepted",
            );
            let reason = AbortReason::InvalidParameter;
            return Err(Violation { refusal, reason });
        };
        dialogue.receive(from, value)?;
        self.events(now);
        Ok(())
    }

    fn events(&mut self, now: Instant) {
        while let Some((from, event)) = self.dialogue.as_mut().and_then(Dialogue::poll) {
            self.event(self.side_of(from), event, now);
        }
    }

    fn event(&mut self, side: Side, event: Event, now: Instant) {
        match event {
            Event::Command(head) => {
                let end = self.end_mut(side);
                if head.streamed {
                    end.message.head = Some(head.clone());
                    self.admit(side, &head);
                } else {
                    end.message.head = Some(head);
                }
            }
            Event::Held(bytes) => self.hold(side, bytes, now),
            Event::Released(permit, length) => self.stream(side, permit, length, now),
            Event::Condemned(why) => {
                let message = &mut self.end_mut(side).message;
                let (held, went_on) = (std::mem::take(&mut message.held), why.is_some());
                message.condemn(why);
                self.forget(held, now);
                if went_on {
                    self.break_off(side);
                }
            }
            Event::Complete(approved) => self.approved(side, approved, now),
            Event::Refused(refused) => {
                let end = self.end_mut(side);
                end.turn = Turn::Reading;
                let broken = end.message.broken.is_some();
                let (trace, held) = end.take_message(refused.head(), now);
                self.forget(held, now);
                self.turn_away(side, &refused, trace, now);
                if broken {
                    self.abort(None, refused.refusal(), now);
                }
            }
            Event::Surplus(cancel) => self.leave_out(side, cancel, now),
            Event::Cut(refused) => self.cut(side, &refused, now),
        }
    }

    /// A result too many: its sender is asked once to stop, and has its usual time for that.
    //= DICOM PS3.4 C.4.1.3.2
    fn leave_out(&mut self, side: Side, cancel: Option<Spoken>, now: Instant) {
        self.drop_response(side, now);
        if let Some(cancel) = cancel {
            self.say(side, PduType::PData, cancel);
            if let Some(request) = &mut self.end_mut(side.other()).request {
                request.since = now;
            }
        }
    }

    /// The last response to a request of which results were left out: who asked is told so.
    fn cut(&mut self, side: Side, refused: &RefusedMessage, now: Instant) {
        self.drop_response(side, now);
        let asker = side.other();
        let Some(answer) = refused.answer() else {
            return;
        };
        self.say(asker, PduType::PData, answer);
        if let Some(request) = self.end_mut(asker).request.take() {
            let words = Some(status_words(refused.status()));
            let refusal = Some(refused.refusal().clone());
            self.record(request.trace, Outcome::Forwarded, refusal, words, now);
        }
    }

    fn drop_response(&mut self, side: Side, now: Instant) {
        let end = self.end_mut(side);
        end.turn = Turn::Reading;
        let message = std::mem::replace(&mut end.message, Message::new());
        self.forget(message.held, now);
    }

    /// A streamed message is counted before the first of it goes on.
    fn admit(&mut self, side: Side, head: &Head) {
        if self.is_rated(side, head) {
            self.end_mut(side).turn = Turn::Admission;
        }
    }

    fn is_rated(&self, side: Side, head: &Head) -> bool {
        self.has_rate && side == self.opener && is_rated(head)
    }

    /// Verified bytes of a message whose last fragment is still held.
    //= C1
    fn stream(&mut self, side: Side, permit: Permit, length: usize, now: Instant) {
        if self.pass(side.other(), PduType::PData, permit) {
            self.end_mut(side).message.released(length);
        } else {
            let refusal = why(Reason::Sequence, "association", "is being released");
            self.abort(None, &refusal, now);
        }
    }

    /// A message is refused of which some went on: its receiver must not take that for an instance.
    /// The sender still has to say the rest before it listens.
    fn break_off(&mut self, side: Side) {
        let other = side.other();
        let reason = AbortReason::NotSpecified;
        if self.say(other, PduType::Abort, abort(reason)) {
            self.end_mut(other).told = Some(abort_words(reason));
        }
        self.close(other);
    }

    /// Keeps bytes until the verdict.
    //= C1
    //= C7
    fn hold(&mut self, side: Side, bytes: Bytes, now: Instant) {
        let most = self.policy.limits.dicom_memory;
        let held = &mut self.end_mut(side).message.held;
        held.push(bytes);
        if held.spooled || held.length > most {
            self.spool(side, now);
        }
    }

    /// Moves what is held to the spool, when it is free.
    pub(super) fn spool(&mut self, side: Side, now: Instant) {
        if self.spool.is_some_and(|owner| owner != side) {
            self.end_mut(side).turn = Turn::Spool;
            return;
        }
        self.spool = Some(side);
        let end = self.end_mut(side);
        end.turn = Turn::Reading;
        end.message.held.spooled = true;
        for bytes in end.message.held.take() {
            self.steps.push_back(Step::Spool(bytes));
        }
        self.resume(side, now);
    }

    /// The spool lost the message that is in it, of which nothing was sent on yet.
    pub(super) fn unheld(&mut self, now: Instant) {
        let Some(side) = self.spool else { return };
        let refusal = why(Reason::Limit, "spool", "has no room");
        match std::mem::replace(&mut self.end_mut(side).turn, Turn::Reading) {
            Turn::Unspooling(ready) | Turn::Token(ready) => {
                let from = self.peer(side);
                if let Some(dialogue) = &mut self.dialogue {
                    let Ready {
                        approved,
                        trace,
                        held,
                        pledge: _,
                    } = *ready;
                    let refused = dialogue.refuse(from, approved, refusal);
                    self.forget(held, now);
                    self.turn_away(side, &refused, trace, now);
                }
            }
            other @ (Turn::Reading | Turn::Admission | Turn::Spool) => {
                self.end_mut(side).turn = other;
                let from = self.peer(side);
                if let Some(dialogue) = &mut self.dialogue {
                    dialogue.condemn(from, refusal);
                    self.events(now);
                }
            }
        }
    }

    fn forget(&mut self, held: Held, now: Instant) {
        if held.spooled {
            self.free_spool(now);
        }
    }

    fn free_spool(&mut self, now: Instant) {
        self.steps.push_back(Step::DropSpool);
        self.spool = None;
        for side in SIDES {
            if matches!(self.end_at(side).turn, Turn::Spool) {
                self.spool(side, now);
            }
        }
    }

    fn approved(&mut self, side: Side, approved: Approved, now: Instant) {
        let pledge = match self.pledge(side, &approved) {
            Ok(pledge) => pledge,
            Err(unfit) => return self.unfit(side, approved, unfit, now),
        };
        let nameless = self.is_nameless(approved.head());
        let asks = !approved.head().streamed && self.is_rated(side, approved.head());
        let end = self.end_mut(side);
        let (mut trace, held) = end.take_message(approved.head(), now);
        trace.warn_all(approved.warnings());
        if nameless {
            trace.warn("field (0000,1030)".to_owned());
        }
        let ready = Box::new(Ready {
            approved,
            trace,
            held,
            pledge,
        });
        if asks {
            end.turn = Turn::Token(ready);
        } else {
            end.turn = Turn::Reading;
            self.send(side, ready, now);
        }
    }

    /// A message that is right in itself, but does not fit what was said before.
    fn unfit(&mut self, side: Side, approved: Approved, (status, refusal): Unfit, now: Instant) {
        let peer = self.peer(side);
        let end = self.end_mut(side);
        end.turn = Turn::Reading;
        let (mut trace, held) = end.take_message(approved.head(), now);
        trace.warn_all(approved.warnings());
        let Some(dialogue) = &mut self.dialogue else {
            return;
        };
        let refused = dialogue.refuse_with(peer, approved, status, refusal);
        self.forget(held, now);
        self.turn_away(side, &refused, trace, now);
    }

    /// The rate limiter has decided about the message that waits for it.
    pub(super) fn rated(&mut self, granted: bool, now: Instant) {
        let opener = self.opener;
        match std::mem::replace(&mut self.end_mut(opener).turn, Turn::Reading) {
            Turn::Token(ready) => {
                self.resume(opener, now);
                if granted {
                    self.send(opener, ready, now);
                } else {
                    self.over_rate(*ready, now);
                }
            }
            Turn::Admission => {
                self.resume(opener, now);
                if !granted && let Some(dialogue) = &mut self.dialogue {
                    dialogue.condemn(Peer::Requestor, over_rate());
                    self.events(now);
                }
            }
            other @ (Turn::Reading | Turn::Spool | Turn::Unspooling(_)) => {
                self.end_mut(opener).turn = other;
            }
        }
    }

    fn over_rate(&mut self, ready: Ready, now: Instant) {
        let Some(dialogue) = &mut self.dialogue else {
            return;
        };
        let refused = dialogue.refuse(Peer::Requestor, ready.approved, over_rate());
        self.forget(ready.held, now);
        self.turn_away(self.opener, &refused, ready.trace, now);
    }

    /// Answers a refused request; what cannot be answered ends the association.
    fn turn_away(&mut self, side: Side, refused: &RefusedMessage, trace: Trace, now: Instant) {
        let refusal = Some(refused.refusal().clone());
        let answered = refused
            .answer()
            .is_some_and(|answer| self.say(side, PduType::PData, answer));
        if answered {
            let words = Some(status_words(refused.status()));
            self.record(trace, Outcome::Refused, refusal, words, now);
            return;
        }
        let reason = AbortReason::InvalidParameter;
        let words = Some(abort_words(reason));
        self.record(trace, Outcome::Refused, refusal, words, now);
        let other = broken_by(side, self.opener);
        self.abort(Some((side, reason)), &other, now);
    }

    /// Sends an approved message on, or asks the spool for it.
    //= C2
    fn send(&mut self, side: Side, mut ready: Box<Ready>, now: Instant) {
        let to = side.other();
        if !self.may_send(to, PduType::PData) {
            self.undeliverable(ready.trace, "is being released", now);
            return;
        }
        if ready.held.spooled {
            self.steps.push_back(Step::Unspool);
            self.end_mut(side).turn = Turn::Unspooling(ready);
            return;
        }
        for bytes in ready.held.take() {
            match ready.approved.data_permit(bytes) {
                Ok(permit) => self.forward(to, permit),
                Err(_) => break,
            }
        }
        let last = ready.approved.last_permit();
        self.forward(to, last);
        if ready.approved.is_released() {
            self.sent(side, *ready, now);
        } else {
            self.undeliverable(ready.trace, "lost bytes of a message", now);
        }
    }

    fn forward(&mut self, to: Side, permit: Option<Permit>) {
        if let Some(permit) = permit {
            self.steps.push_back(Step::Forward { to, permit });
        }
    }

    /// A chunk of the spool came back.
    pub(super) fn forward_spooled(&mut self, bytes: Bytes, now: Instant) {
        let unspooling = |side: &Side| matches!(self.end_at(*side).turn, Turn::Unspooling(_));
        let Some(side) = SIDES.into_iter().find(unspooling) else {
            return;
        };
        let turn = std::mem::replace(&mut self.end_mut(side).turn, Turn::Reading);
        let Turn::Unspooling(mut ready) = turn else {
            return;
        };
        let to = side.other();
        match ready.approved.data_permit(bytes) {
            Ok(permit) => self.forward(to, permit),
            Err(_) => return self.undeliverable(ready.trace, "gave back other bytes", now),
        }
        let last = ready.approved.last_permit();
        self.forward(to, last);
        if ready.approved.is_released() {
            for side in SIDES {
                self.resume(side, now);
            }
            self.free_spool(now);
            self.sent(side, *ready, now);
        } else {
            self.end_mut(side).turn = Turn::Unspooling(ready);
        }
    }

    /// A message went on as a whole.
    fn sent(&mut self, side: Side, ready: Ready, now: Instant) {
        let head = ready.approved.head();
        let command = &head.command;
        match (command.direction(), command.service()) {
            (Direction::Request, Service::CCancel) => {
                self.record(ready.trace, Outcome::Forwarded, None, None, now);
            }
            (Direction::Request, _) => {
                let pledge = self.pledged(ready.pledge, command);
                let (trace, since) = (ready.trace, now);
                self.end_mut(side).request = Some(Request {
                    trace,
                    pledge,
                    since,
                });
            }
            (Direction::Response, _) => self.answered(side.other(), command, &ready, now),
        }
    }

    /// A response passed to the end that asked; the last one ends the exchange.
    //= C6
    fn answered(&mut self, asker: Side, command: &Command, ready: &Ready, now: Instant) {
        let Some(mut request) = self.end_mut(asker).request.take() else {
            return;
        };
        request.trace.warn_all(ready.approved.warnings());
        if command.is_pending() {
            request.since = now;
            self.end_mut(asker).request = Some(request);
            return;
        }
        self.answered_pledge(request.pledge, command);
        let words = command.status().map(status_words);
        self.record(request.trace, Outcome::Forwarded, None, words, now);
    }

    /// Which end of the association a side is.
    pub(super) fn peer(&self, side: Side) -> Peer {
        if side == self.opener {
            Peer::Requestor
        } else {
            Peer::Acceptor
        }
    }

    fn side_of(&self, peer: Peer) -> Side {
        match peer {
            Peer::Requestor => self.opener,
            Peer::Acceptor => self.opener.other(),
        }
    }

    /// The gateway cannot finish what it began.
    fn undeliverable(&mut self, trace: Trace, detail: &str, now: Instant) {
        let refusal = why(Reason::Sequence, "association", detail);
        let words = Some(abort_words(AbortReason::NotSpecified));
        self.record(
            trace,
            Outcome::Unanswered,
            Some(refusal.clone()),
            words,
            now,
        );
        self.abort(None, &refusal, now);
    }
}

fn over_rate() -> Refusal {
    why(Reason::Rate, "message", "more than the rule allows")
}

/// A cancel belongs to a request that was counted, and cannot be answered.
fn is_rated(head: &Head) -> bool {
    head.command.direction() == Direction::Request && head.command.service() != Service::CCancel
}

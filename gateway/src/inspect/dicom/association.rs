//! How an association begins and ends on both legs.
//!
//! In: the verified PDUs of association, release and abort. Out: ours to the other leg, and the decision.

use std::time::Instant;

use protocol_inspect::Reason;
use protocol_inspect::dicom::{
    Abort, AbortReason, AssociateAc, AssociateRj, AssociateRq, Dialogue, Filtered, Leg, PduReader,
    PduType, Peer, RejectReason, Rejection, State, Violation, abort, answer, filter, reject,
    release_rp, release_rq,
};

use super::end::Socket;
use super::record::{Digest, Trace, name, reject_words, why};
use super::{Asked, DicomSession, Phase};
use crate::flow::Side;
use crate::inspect::{Observed, Outcome, Step, Subject};

impl DicomSession {
    /// The opener asks for an association.
    pub(super) fn requested(&mut self, rq: &AssociateRq, now: Instant) {
        let name = PduType::AssociateRq.name();
        let mut trace = Trace::new(self.opener, Subject::Association, name, now);
        trace.warn_all(rq.warnings());
        let (class, version) = rq.user().implementation();
        let parts = [class.as_str(), version.unwrap_or_default()];
        trace.observe(Observed::software(parts.iter().map(|part| part.as_bytes())));
        let policy = self.in_effect(true);
        if policy.rules.is_empty() && !self.policy.rules.is_empty() {
            return self.unasked(trace, now);
        }
        match filter(rq, &policy) {
            Err(rejection) => self.reject(trace, rejection, now),
            Ok(filtered) if filtered.is_empty() => self.accept_nothing(trace, &filtered, now),
            Ok(filtered) => {
                let (proposed, kept) = filtered.counts();
                //= C2
                if kept < proposed {
                    trace.warn("presentation contexts filtered".to_owned());
                } else if filtered.is_changed() {
                    trace.warn("association request rewritten".to_owned());
                }
                self.steps.push_back(Step::Connect);
                self.phase = Phase::Connecting(Box::new(Asked { filtered, trace }), now);
            }
        }
    }

    /// Nothing that it could bring was asked for: the device is not even dialled.
    //= C3
    fn unasked(&mut self, trace: Trace, now: Instant) {
        let reason = RejectReason::NoReason;
        let refusal = why(
            Reason::Forbidden,
            "association",
            "brings nothing that was asked for",
        );
        self.reject(trace, Rejection { reason, refusal }, now);
    }

    fn reject(&mut self, trace: Trace, rejection: Rejection, now: Instant) {
        self.say(self.opener, PduType::AssociateRj, rejection.reject());
        let words = reject_words(rejection.reason.codes());
        let refusal = Some(rejection.refusal);
        self.record(trace, Outcome::Refused, refusal, Some(words), now);
        self.phase = Phase::Over;
        self.linger(self.opener, now);
    }

    /// The destination need not be asked for an association without contexts.
    fn accept_nothing(&mut self, trace: Trace, filtered: &Filtered, now: Instant) {
        let name = PduType::AssociateAc;
        self.say(self.opener, name, filtered.refuse_all());
        let refusal = why(
            Reason::Forbidden,
            "presentation contexts",
            "none can be carried",
        );
        let words = Some(name.name().to_owned());
        self.record(trace, Outcome::Refused, Some(refusal), words, now);
        self.phase = Phase::Empty(now);
    }

    /// The destination is connected: it gets the request.
    pub(super) fn ask(&mut self, now: Instant) {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Connecting(mut asked, _) => {
                let reader = PduReader::new(&self.policy.limits, self.policy.base());
                let destination = self.end_mut(self.opener.other());
                destination.socket = Socket::Open;
                destination.leg = Leg::opening();
                destination.reader = reader;
                let request = asked.filtered.request();
                let length = u64::try_from(request.length()).unwrap_or(u64::MAX);
                let digest = Digest::of(&request.bytes());
                asked.trace = asked.trace.digested(digest, length);
                self.pass(self.opener.other(), PduType::AssociateRq, request);
                self.phase = Phase::Accepting(asked, now);
                self.resume(self.opener, now);
            }
            other @ (Phase::Request(_)
            | Phase::Accepting(..)
            | Phase::Empty(_)
            | Phase::Established
            | Phase::Releasing(_)
            | Phase::Over) => self.phase = other,
        }
    }

    /// The destination accepts: every context that the opener proposed is answered.
    pub(super) fn accepted(&mut self, ac: &AssociateAc, now: Instant) -> Result<(), Violation> {
        let Phase::Accepting(asked, _) = &self.phase else {
            return Ok(());
        };
        let (permit, established) = answer(&asked.filtered, ac)?;
        if let Some(mut asked) = self.take_asked() {
            asked.trace.warn_all(ac.warnings());
            let kind = PduType::AssociateAc;
            self.pass(self.opener, kind, permit);
            let words = Some(kind.name().to_owned());
            self.record(asked.trace, Outcome::Forwarded, None, words, now);
        }
        let seen = self.outstanding().version();
        self.seen = seen;
        let policy = self.in_effect(false);
        self.dialogue = Some(Dialogue::new(established, &policy));
        self.phase = Phase::Established;
        Ok(())
    }

    /// The destination rejects: so do we, with its words.
    pub(super) fn rejected(&mut self, rj: AssociateRj, now: Instant) {
        if let Some(asked) = self.take_asked() {
            self.pass(self.opener, PduType::AssociateRj, rj.permit());
            let words = Some(reject_words(rj.codes()));
            self.record(asked.trace, Outcome::Forwarded, None, words, now);
        }
        self.close(self.opener.other());
        self.linger(self.opener, now);
    }

    /// The destination did not take the request for an association.
    pub(super) fn undelivered(&mut self, detail: &str, now: Instant) {
        let Some(asked) = self.take_asked() else {
            return;
        };
        let reason = RejectReason::Congestion;
        self.say(self.opener, PduType::AssociateRj, reject(reason));
        let refusal = why(Reason::Destination, "destination", detail);
        let words = Some(reject_words(reason.codes()));
        self.record(asked.trace, Outcome::Undelivered, Some(refusal), words, now);
        let words = abort(AbortReason::NotSpecified);
        self.say(self.opener.other(), PduType::Abort, words);
        self.close(self.opener.other());
        self.linger(self.opener, now);
    }

    /// The request on its way, which ends here.
    fn take_asked(&mut self) -> Option<Asked> {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Connecting(asked, _) | Phase::Accepting(asked, _) => Some(*asked),
            other @ (Phase::Request(_)
            | Phase::Empty(_)
            | Phase::Established
            | Phase::Releasing(_)
            | Phase::Over) => {
                self.phase = other;
                None
            }
        }
    }

    //= DICOM PS3.8 9.2.3
    pub(super) fn release_asked(&mut self, side: Side, now: Instant) -> Result<(), Violation> {
        let dialogue = self.dialogue.as_ref();
        if dialogue.is_some_and(|dialogue| dialogue.is_partial(self.peer(side))) {
            return Err(in_the_middle(PduType::ReleaseRq));
        }
        let other = side.other();
        match self.end_at(side).leg.state() {
            State::AwaitingReleaseAnswer if self.end_at(other).is_open() => {
                self.phase = Phase::Releasing(now);
                let said = self.say(other, PduType::ReleaseRq, release_rq());
                self.unless_lost(said, now);
            }
            // Nobody else was ever asked.
            State::AwaitingReleaseAnswer => {
                self.phase = Phase::Over;
                self.answer_release(side, now);
            }
            State::CollisionRequestorAnswers => {
                let said = self.say(side, PduType::ReleaseRp, release_rp());
                self.unless_lost(said, now);
            }
            // The peer answers first.
            State::CollisionAcceptorWaits
            | State::Idle
            | State::AwaitingRequest
            | State::AwaitingAnswer
            | State::AwaitingTransport
            | State::AwaitingAccept
            | State::Established
            | State::AwaitingReleaseRp
            | State::CollisionRequestorWaits
            | State::CollisionAcceptorAnswers
            | State::AwaitingClose => {}
        }
        Ok(())
    }

    pub(super) fn release_answered(&mut self, side: Side, now: Instant) -> Result<(), Violation> {
        let dialogue = self.dialogue.as_ref();
        if dialogue.is_some_and(|dialogue| dialogue.is_partial(self.peer(side))) {
            return Err(in_the_middle(PduType::ReleaseRp));
        }
        let reason = why(Reason::Sequence, "association", "was released unanswered");
        let collided = self.end_at(side).leg.state() == State::CollisionAcceptorAnswers;
        if collided {
            self.answer_release(side, now);
        } else {
            self.close(side);
        }
        self.answer_release(side.other(), now);
        self.leave(&reason, now);
        Ok(())
    }

    fn answer_release(&mut self, side: Side, now: Instant) {
        let said = self.say(side, PduType::ReleaseRp, release_rp());
        self.unless_lost(said, now);
        self.linger(side, now);
    }

    /// Every word above is allowed by the state that was looked at; were it not, nothing orderly is left to say.
    fn unless_lost(&mut self, said: bool, now: Instant) {
        if !said {
            let reason = why(Reason::Sequence, "association", "cannot be released");
            self.abort(None, &reason, now);
        }
    }

    /// One end aborts: so do we, with its words.
    pub(super) fn aborted(&mut self, side: Side, words: Abort, now: Instant) {
        let (source, reason) = words.codes();
        let kind = format!("A-ABORT {source}/{reason}");
        let trace = Trace::new(side, Subject::Association, &kind, now);
        self.record(trace, Outcome::Abandoned, None, None, now);
        let other = side.other();
        if self.pass(other, PduType::Abort, words.permit()) {
            self.end_mut(other).told = Some(kind);
        }
        let refusal = match self.peer(side) {
            Peer::Requestor => {
                let detail = format!("aborted by the {}", name(side));
                why(Reason::Sequence, "association", &detail)
            }
            Peer::Acceptor => why(Reason::Destination, "destination", "aborted"),
        };
        self.leave(&refusal, now);
        self.close_both();
    }

    /// The transport connection of this end is gone.
    pub(super) fn lost(&mut self, side: Side, now: Instant) {
        let part = self.peer(side);
        let refusal = match part {
            Peer::Requestor => why(Reason::Sequence, "connection", "ended without a release"),
            Peer::Acceptor => why(Reason::Destination, "destination", "closed the connection"),
        };
        match (&self.phase, part) {
            (Phase::Connecting(..) | Phase::Accepting(..), Peer::Acceptor) => {
                self.undelivered("closed the connection", now);
                return;
            }
            (Phase::Request(_), _) if !self.end_at(self.opener).reader.is_partial() => {}
            (Phase::Established | Phase::Releasing(_) | Phase::Request(_), _) => {
                let trace = Trace::new(side, Subject::Stream, "", now);
                self.record(trace, Outcome::Abandoned, Some(refusal.clone()), None, now);
            }
            (Phase::Connecting(..) | Phase::Accepting(..) | Phase::Empty(_), _) => {}
            // The other end still has its time to close.
            (Phase::Over, _) => return,
        }
        self.abort(None, &refusal, now);
    }
}

fn in_the_middle(pdu: PduType) -> Violation {
    Violation {
        refusal: why(
            Reason::Sequence,
            pdu.name(),
            "comes in the middle of a message",
        ),
        reason: AbortReason::UnexpectedPdu,
    }
}

//! MLLP release 2: every block is committed by its receiver before the next one is sent to it.
//!
//! Off in release 1. Decided here: when a block may go out, and what a commit acknowledgement of one side means for
//! the other. A commit that we give is the commit that we were given: a block of the device is committed to it when
//! the destination has committed it, and an answer is committed to the destination when the device has.
//! What we refuse, drop or cannot deliver gets the negative commit, and the HL7 answer that says why.
//= C6
//= HL7 MLLP R2 2.4

use std::time::Instant;

use jiff::Timestamp;
use protocol_inspect::Reason;
use protocol_inspect::hl7::commit;

use super::record::{Trace, Why};
use super::{Hl7Session, Phase, Sent};
use crate::flow::Side;
use crate::inspect::{Outcome, Step, Subject};

/// What is not committed yet.
#[derive(Default)]
pub(super) struct Gate {
    device: Option<Awaited>,
    hospital: Option<Awaited>,
    /// Answers of a destination that is gone, in front of those that are held back for the device.
    orphans: usize,
    /// Acknowledgements of the device on their way to the destination, in front of the message under way.
    pub(super) acknowledgements: usize,
    /// The message under way is not committed by the destination.
    pub(super) uncommitted: bool,
}

/// A block that went out.
#[derive(Clone, Copy)]
struct Awaited {
    since: Instant,
    /// Whether it is the other side's block, which waits for the same commit.
    relayed: bool,
}

impl Gate {
    fn of(&mut self, side: Side) -> &mut Option<Awaited> {
        match side {
            Side::Device => &mut self.device,
            Side::Hospital => &mut self.hospital,
        }
    }

    /// Whether nothing is awaited.
    pub(super) fn is_clear(&self) -> bool {
        self.device.is_none() && self.hospital.is_none()
    }

    /// Since when the older of the awaited commits is awaited.
    pub(super) fn since(&self) -> Option<Instant> {
        let all = [self.device, self.hospital];
        all.into_iter().flatten().map(|awaited| awaited.since).min()
    }
}

impl Hl7Session {
    /// The next step that may be carried out now.
    pub(super) fn gated(&mut self) -> Option<Step> {
        if let Some(step) = self.urgent.pop_front() {
            return Some(step);
        }
        let may_read = !self.device.finished;
        let now = self.told;
        let Some(gate) = &mut self.gate else {
            return self.steps.pop_front();
        };
        let (to, relayed) = match self.steps.front() {
            Some(Step::Forward { to, .. }) => (*to, *to == Side::Hospital || gate.orphans == 0),
            Some(Step::Speak { to, .. }) => (*to, false),
            Some(_) | None => return self.steps.pop_front(),
        };
        if gate.of(to).is_some() {
            return None;
        }
        if !relayed && matches!(self.steps.front(), Some(Step::Forward { .. })) {
            gate.orphans = gate.orphans.saturating_sub(1);
        }
        if to == Side::Hospital || may_read {
            let since = now;
            *gate.of(to) = Some(Awaited { since, relayed });
        }
        self.steps.pop_front()
    }

    /// Tells a side whether its block was taken; nothing in release 1.
    pub(super) fn say_commit(&mut self, to: Side, taken: bool) {
        let gone = to == Side::Device && self.device.gone;
        if self.gate.is_some() && !gone {
            let spoken = commit(taken);
            self.urgent.push_back(Step::Speak { to, spoken });
        }
    }

    /// Whether the destination has still to commit the message under way; it cannot have answered it then.
    pub(super) fn is_uncommitted(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.uncommitted)
    }

    /// A commit acknowledgement of the device.
    pub(super) fn device_commits(&mut self, taken: bool, now: Instant) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        let awaited = self.gate.as_mut().and_then(|gate| gate.device.take());
        match awaited {
            Some(awaited) if awaited.relayed => self.say_commit(Side::Hospital, taken),
            Some(_) => {}
            None => self.breach(Side::Device, "a commit that nobody waits for", now),
        }
    }

    /// A commit acknowledgement of the destination.
    pub(super) fn hospital_commits(&mut self, taken: bool, now: Instant, wall: Timestamp) {
        let Some(gate) = &mut self.gate else {
            return;
        };
        if gate.hospital.take().is_none() {
            self.breach(Side::Hospital, "a commit that nobody waits for", now);
            return;
        }
        let is_message = gate.acknowledgements == 0;
        gate.acknowledgements = gate.acknowledgements.saturating_sub(1);
        if is_message {
            gate.uncommitted = false;
        }
        self.say_commit(Side::Device, taken);
        if !is_message {
            return;
        }
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Answer(sent, _) if taken && sent.waits => {
                self.phase = Phase::Answer(sent, now);
            }
            Phase::Answer(sent, _) if taken => {
                self.record(sent.trace, Outcome::Forwarded, None, None, now);
            }
            Phase::Answer(sent, _) => self.not_committed(*sent, now),
            other @ (Phase::Idle | Phase::Token(_) | Phase::Connecting(..) | Phase::Closed) => {
                self.phase = other;
            }
        }
        self.advance(now, wall);
    }

    fn not_committed(&mut self, sent: Sent, now: Instant) {
        if let Some(serial) = sent.serial {
            self.exchange().drop_expected(serial);
        }
        let why = Why::new(Reason::Destination, "the destination did not commit it");
        self.record(sent.trace, Outcome::Undelivered, Some(why), None, now);
    }

    /// The device ended its side: it commits nothing any more.
    pub(super) fn device_commits_no_more(&mut self) {
        let awaited = self.gate.as_mut().and_then(|gate| gate.device.take());
        let to_device =
            |step: &&Step| matches!(step, Step::Forward { to, .. } if *to == Side::Device);
        let orphans = (self.gate.as_mut()).map_or(0, |gate| std::mem::take(&mut gate.orphans));
        let held_back = self.steps.iter().filter(to_device).count();
        let held_back = held_back.saturating_sub(orphans);
        let sent = awaited.is_some_and(|awaited| awaited.relayed);
        for _ in 0..held_back.saturating_add(usize::from(sent)) {
            self.say_commit(Side::Hospital, false);
        }
    }

    /// The destination hung up: it commits nothing any more, and hears no commit. One that the device still gives is
    /// not for the connection that may come after it.
    pub(super) fn hospital_commits_no_more(&mut self) {
        let Some(gate) = &mut self.gate else {
            return;
        };
        let acknowledgements = std::mem::take(&mut gate.acknowledgements);
        gate.uncommitted = false;
        gate.hospital = None;
        if let Some(awaited) = &mut gate.device {
            awaited.relayed = false;
        }
        let to_device =
            |step: &&Step| matches!(step, Step::Forward { to, .. } if *to == Side::Device);
        gate.orphans = self.steps.iter().filter(to_device).count();
        let to_hospital =
            |step: &Step| matches!(step, Step::Speak { to, .. } if *to == Side::Hospital);
        self.urgent.retain(|step| !to_hospital(step));
        for _ in 0..acknowledgements {
            self.say_commit(Side::Device, false);
        }
        self.steps
            .retain(|step| !matches!(step, Step::Forward { to, .. } if *to == Side::Hospital));
    }

    /// Whether the destination has still to be told, or to commit, something.
    pub(super) fn owes_the_hospital(&self) -> bool {
        let waits = self.gate.as_ref().is_some_and(|g| g.hospital.is_some());
        waits
            || self
                .steps
                .iter()
                .any(|step| matches!(step, Step::Forward { to, .. } if *to == Side::Hospital))
    }

    /// No commit came in time.
    pub(super) fn no_commit(&mut self, now: Instant) {
        let of_device = self.gate.as_ref().is_some_and(|g| g.hospital.is_none());
        if of_device {
            self.breach(Side::Device, "did not commit in time", now);
        } else {
            self.unanswered("no commit in time", now);
        }
    }

    /// A side does not speak release 2; what is under way stays unknown.
    fn breach(&mut self, from: Side, detail: &str, now: Instant) {
        let trace = Trace::stream(from, Subject::Stream);
        let why = Why::new(Reason::Sequence, detail);
        self.record(trace, Outcome::Refused, Some(why), None, now);
        self.unanswered(detail, now);
    }

    /// The connection is closed: what was still held back by the gate is not sent, but for our own last words.
    pub(super) fn open_gate(&mut self, reset: bool) {
        let Some(mut gate) = self.gate.take() else {
            return;
        };
        let (device, hospital) = (gate.of(Side::Device).is_some(), gate.hospital.is_some());
        self.steps.retain(|step| match step {
            Step::Forward { to, .. } => match to {
                Side::Hospital => !hospital,
                Side::Device => !device,
            },
            Step::Speak { .. } => !(device && reset),
            Step::Connect
            | Step::Spool(_)
            | Step::Unspool
            | Step::DropSpool
            | Step::Record(_)
            | Step::Keep(_)
            | Step::Wake
            | Step::Close { .. } => true,
        });
    }
}

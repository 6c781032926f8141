//! Whose turn it is: waits until a socket, the supervisor, the spool or the clock has something, then reads.
//!
//! Reads only while the session wants bytes and the other side takes them, so that memory stays bounded.

use std::rc::Rc;
use std::time::Duration;

use super::super::leg::{Condition, Input, Leg};
use super::super::spool::Spool;
use super::{DRAIN_QUIET, Note, Pump};
use crate::flow::Side;
use crate::inspect::EndReason;

/// Why a pump woke up.
pub(super) enum Event {
    Note(Note),
    /// The worker forgot this connection.
    Orphaned,
    /// A socket is ready, the spool can be read on, or it is time.
    Turn,
}

impl Pump {
    pub(super) async fn wait(&mut self) -> Event {
        let read_device = self.may_read(Side::Device);
        let read_hospital = self.may_read(Side::Hospital);
        let unspool = self.may_unspool();
        let sleep = self.sleep();
        tokio::select! {
            biased;
            note = self.notes.recv() => note.map_or(Event::Orphaned, Event::Note),
            () = ready(self.device.as_ref(), read_device) => Event::Turn,
            () = ready(self.hospital.as_ref(), read_hospital) => Event::Turn,
            () = std::future::ready(()), if unspool => Event::Turn,
            () = tokio::time::sleep(sleep) => Event::Turn,
        }
    }

    fn may_read(&self, side: Side) -> bool {
        let leg = |side| match side {
            Side::Device => self.device.as_ref(),
            Side::Hospital => self.hospital.as_ref(),
        };
        let queued = |side| leg(side).map_or(0, Leg::queued);
        leg(side).is_some_and(Leg::is_readable)
            && !self.is_stalled()
            && queued(side.other()) < FORWARD_MARK
            && queued(side) < ANSWER_MARK
            && self.session.wants(side)
    }

    fn may_unspool(&self) -> bool {
        // The spool may be read for either side.
        let room = |leg: &Option<Leg>| leg.as_ref().map_or(0, Leg::queued) < FORWARD_MARK;
        let reading = self.spool.as_ref().is_some_and(Spool::is_reading);
        reading && room(&self.device) && room(&self.hospital)
    }

    /// How long until the next deadline of anybody.
    fn sleep(&self) -> Duration {
        let now = self.now();
        let quiet = self.moved_at.checked_add(DRAIN_QUIET);
        let deadlines = [
            self.session.deadline(),
            self.device.as_ref().and_then(Leg::deadline),
            self.hospital.as_ref().and_then(Leg::deadline),
            self.token_at,
            self.cut_at,
            quiet.filter(|_| self.drain && !self.ending),
        ];
        let next = deadlines.into_iter().flatten().min();
        let left = next.map_or(LONGEST_SLEEP, |at| at.saturating_duration_since(now));
        left.clamp(SHORTEST_SLEEP, LONGEST_SLEEP)
    }

    pub(super) fn take(&mut self, event: Event) {
        match event {
            Event::Note(note) => self.take_note(note),
            Event::Orphaned => self.end(EndReason::Shutdown),
            Event::Turn => {
                // Whoever woke us: the sides take turns, so that none can starve the other.
                let first = self.first;
                self.first = first.other();
                if !self.read(first) && !self.read(first.other()) && self.may_unspool() {
                    self.unspool();
                }
            }
        }
    }

    /// True when the session was told something.
    fn read(&mut self, side: Side) -> bool {
        if !self.may_read(side) {
            return false;
        }
        let shared = Rc::clone(&self.shared);
        let mut scratch = shared.scratch.borrow_mut();
        let Some(leg) = self.leg_mut(side) else {
            return false;
        };
        let input = leg.read(&mut scratch);
        let (now, wall) = self.times();
        match input {
            Ok(Input::Bytes(length)) => {
                self.moved_at = now;
                if side == Side::Device {
                    self.totals.received = self.totals.received.saturating_add(length as u64);
                }
                let bytes = scratch.get(..length).unwrap_or_default();
                self.session.receive(side, bytes, now, wall);
                true
            }
            Ok(Input::End) => {
                self.session.ended(side, false, now, wall);
                true
            }
            Ok(Input::Nothing) => false,
            Err(_) => self.lose(side, Condition::Dead),
        }
    }

    fn unspool(&mut self) {
        let (now, wall) = self.times();
        match self.spool.as_mut().map(Spool::read).transpose() {
            Ok(chunk) => {
                if let Some(bytes) = chunk.flatten() {
                    self.session.unspooled(bytes, now, wall);
                }
            }
            Err(error) => self.spool_result(Err(error)),
        }
    }
}

async fn ready(leg: Option<&Leg>, read: bool) {
    match leg {
        Some(leg) => leg.ready(read).await,
        None => std::future::pending().await,
    }
}

/// Bytes that may wait for one side before its counterpart is not read any more.
const FORWARD_MARK: usize = 256 << 10;
/// Bytes of answers that may wait for a side before that side itself is not read any more.
const ANSWER_MARK: usize = 1 << 20;
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);
const LONGEST_SLEEP: Duration = Duration::from_secs(3_600);

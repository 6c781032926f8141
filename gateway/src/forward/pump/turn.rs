//! Whose turn it is: waits until a socket, the supervisor, the spool or the clock has something, then reads;
//! and when it writes.
//!
//! Reads only while the session wants bytes and the other side takes them, so that memory stays bounded.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use jiff::Timestamp;

use super::super::bulk::kept;
use super::super::leg::{Condition, Input, Leg};
use super::super::spool::Spool;
use super::{DRAIN_QUIET, Note, Pump};
use crate::flow::Side;
use crate::inspect::{EndReason, Session};

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
        self.set_timer();
        poll_fn(|cx| {
            if let Poll::Ready(note) = self.notes.poll_recv(cx) {
                return Poll::Ready(note.map_or(Event::Orphaned, Event::Note));
            }
            let ready = |leg: &Option<Leg>, read, cx: &mut Context<'_>| {
                leg.as_ref()
                    .is_some_and(|leg| leg.poll_ready(cx, read).is_ready())
            };
            if ready(&self.device, read_device, cx)
                || ready(&self.hospital, read_hospital, cx)
                || unspool
                || self.timer.poll(cx).is_ready()
            {
                return Poll::Ready(Event::Turn);
            }
            Poll::Pending
        })
        .await
    }

    /// Lets the others have their turn before this connection writes: what many connections read and judged goes out
    /// together, and who waits for it is woken once and not each time.
    pub(super) async fn let_others_read(&self) {
        let queued = |leg: &Option<Leg>| leg.as_ref().is_some_and(|leg| leg.queued() > 0);
        if !queued(&self.device) && !queued(&self.hospital) {
            return;
        }
        let mut waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    fn may_read(&self, side: Side) -> bool {
        self.is_wanted(side) && self.has_room(side)
    }

    fn is_wanted(&self, side: Side) -> bool {
        let leg = self.leg(side);
        leg.is_some_and(Leg::is_readable) && !self.is_stalled() && self.session.wants(side)
    }

    /// Whether what is read from this side can be written.
    //= C7
    fn has_room(&self, side: Side) -> bool {
        let queued = |side| self.leg(side).map_or(0, Leg::queued);
        queued(side.other()) < FORWARD_MARK && queued(side) < ANSWER_MARK
    }

    fn leg(&self, side: Side) -> Option<&Leg> {
        match side {
            Side::Device => self.device.as_ref(),
            Side::Hospital => self.hospital.as_ref(),
        }
    }

    /// A side that waits for the other is not late, neither now nor right afterwards.
    pub(super) fn tell_blocked(&mut self) {
        let now = self.now;
        for (index, side) in [Side::Device, Side::Hospital].into_iter().enumerate() {
            let blocked = !self.has_room(side) && self.is_wanted(side);
            let before = self.blocked.get_mut(index);
            let was = before.is_some_and(|before| std::mem::replace(before, blocked));
            if blocked || was {
                self.session.held_back(side, now);
            }
        }
    }

    fn may_unspool(&self) -> bool {
        // The spool may be read for either side.
        let room = |leg: &Option<Leg>| leg.as_ref().map_or(0, Leg::queued) < FORWARD_MARK;
        let reading = self.spool.as_ref().is_some_and(Spool::is_reading);
        reading && room(&self.device) && room(&self.hospital)
    }

    /// Wakes this connection at the next deadline of anybody, or earlier.
    fn set_timer(&mut self) {
        let quiet = self.moved_at.checked_add(DRAIN_QUIET);
        let deadlines = [
            self.session.deadline(),
            self.device.as_ref().and_then(Leg::deadline),
            self.hospital.as_ref().and_then(Leg::deadline),
            self.token_at,
            self.cut_at,
            self.spool_until,
            quiet.filter(|_| self.drain && !self.ending),
        ];
        let next = deadlines.into_iter().flatten().min();
        self.timer.set(next, self.now);
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
        if self.session.takes_bulk() {
            return self.read_bulk(side);
        }
        let shared = Rc::clone(&self.shared);
        let mut scratch = shared.scratch.borrow_mut();
        let Some(leg) = self.leg_mut(side) else {
            return false;
        };
        let input = leg.read(&mut scratch);
        self.was_read(side, input, |session, length, (now, wall)| {
            let bytes = scratch.get(..length).unwrap_or_default();
            session.receive(side, bytes, now, wall);
        })
    }

    /// As [`Self::read`], without copying much at once.
    fn read_bulk(&mut self, side: Side) -> bool {
        let shared = Rc::clone(&self.shared);
        let mut bulk = shared.bulk.borrow_mut();
        let space = bulk.space();
        let Some(leg) = self.leg_mut(side) else {
            return false;
        };
        let input = leg.read_into(space);
        self.was_read(side, input, |session, _, (now, wall)| match kept(space) {
            Some(bytes) => session.receive_bytes(side, bytes, now, wall),
            None => session.receive(side, space, now, wall),
        })
    }

    fn was_read(
        &mut self,
        side: Side,
        input: io::Result<Input>,
        tell: impl FnOnce(&mut dyn Session, usize, (Instant, Timestamp)),
    ) -> bool {
        let (now, wall) = self.times();
        match input {
            Ok(Input::Bytes(length)) => {
                self.moved_at = now;
                if side == self.opener {
                    self.totals.received = self.totals.received.saturating_add(length as u64);
                }
                tell(self.session.as_mut(), length, (now, wall));
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
}

/// Bytes that may wait for one side before its counterpart is not read any more.
const FORWARD_MARK: usize = 256 << 10;
/// Bytes of answers that may wait for a side before that side itself is not read any more.
const ANSWER_MARK: usize = 1 << 20;

//! One inspected connection: moves bytes between two sockets and a [`Session`], and does what the session says.
//!
//! In: sockets, the session, notes from the worker. Out: approved bytes, records, requests to the supervisor.
//! Decides nothing about content. `turn` says when it does something, `record` what is told of it.

mod record;
mod spooling;
mod timer;
mod turn;

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;

use super::decided::Added;
use super::leg::{Condition, Leg, Outgoing};
use super::mailbox;
use super::message::FromRelay;
use super::spool::{Spool, SpoolError};
use super::worker::Shared;
use crate::channel::ChannelError;
use crate::flow::{ConnectionId, Side};
use crate::inspect::{ConnectionPolicy, Decision, EndReason, Session, Step};
use timer::Timer;

pub(super) use record::Totals;

/// One connection.
pub(super) struct Pump {
    shared: Rc<Shared>,
    id: ConnectionId,
    subject: u64,
    exchange: u64,
    /// Who opened the connection; the other side is asked for.
    opener: Side,
    policy: Box<ConnectionPolicy>,
    session: Box<dyn Session>,
    notes: mailbox::Receiver<Note>,
    device: Option<Leg>,
    hospital: Option<Leg>,
    /// The session waits for the destination.
    asked: bool,
    /// Answers of the supervisor that nobody waits for any more.
    unwanted: usize,
    /// The session asked for a new destination while the last one is still being closed.
    reconnect: bool,
    /// The session knows that this side is gone.
    knows_gone: [bool; 2],
    spool: Option<Spool>,
    /// What is given to the spool until it is emptied is lost.
    spool_lost: bool,
    /// When the blocks of an empty spool are given back.
    spool_until: Option<Instant>,
    /// Bytes that wait for a spool file. The session is not polled meanwhile.
    unspooled: Option<Bytes>,
    /// When the rate limiter is asked again.
    token_at: Option<Instant>,
    /// Who is read first in the next turn.
    first: Side,
    /// This side is not read because the other does not take what it was sent.
    blocked: [bool; 2],
    /// The session was told to end.
    ending: bool,
    /// When both sides are reset, whatever the session still wants.
    cut_at: Option<Instant>,
    /// When a byte last came or went.
    moved_at: Instant,
    /// The time of this turn: the clocks are read once in each.
    now: Instant,
    wall: Timestamp,
    timer: Timer,
    drain: bool,
    /// End once nothing is under way, however long that takes.
    finish: bool,
    /// The session begins nothing new until the journal caught up.
    held_back: bool,
    /// Bytes that this connection holds of [`Shared::held`].
    held: usize,
    totals: Totals,
}

/// What the worker tells a connection.
pub(super) enum Note {
    /// The destination, or none.
    Upstream(Option<OwnedFd>),
    /// A spool file, or none.
    Spool(Option<OwnedFd>),
    /// What holds from the next message on.
    Update(Box<ConnectionPolicy>),
    /// End now.
    End(EndReason),
    /// Another connection of the exchange may have left something for this one.
    Woken,
    /// The journal changed between writable and not; see [`Shared::journal`].
    Journal,
    /// The journal caught up; see [`Decisions::is_ahead`](super::decided::Decisions::is_ahead).
    Caught,
    /// End when nothing is under way.
    Drain,
    /// The same for this connection alone, and without haste.
    Finish,
}

/// What a pump begins with.
pub(super) struct Opening {
    pub(super) id: ConnectionId,
    pub(super) subject: u64,
    pub(super) exchange: u64,
    pub(super) policy: Box<ConnectionPolicy>,
    pub(super) session: Box<dyn Session>,
    /// Who opened it.
    pub(super) accepted: Leg,
    pub(super) notes: mailbox::Receiver<Note>,
}

impl Pump {
    pub(super) fn new(shared: Rc<Shared>, opening: Opening) -> Self {
        let (now, wall) = (shared.clock.now(), shared.clock.wall());
        let (device, hospital) = match opening.policy.opener {
            Side::Device => (Some(opening.accepted), None),
            Side::Hospital => (None, Some(opening.accepted)),
        };
        Self {
            shared,
            id: opening.id,
            subject: opening.subject,
            exchange: opening.exchange,
            opener: opening.policy.opener,
            policy: opening.policy,
            session: opening.session,
            notes: opening.notes,
            device,
            hospital,
            asked: false,
            unwanted: 0,
            reconnect: false,
            knows_gone: [false; 2],
            spool: None,
            spool_lost: false,
            spool_until: None,
            unspooled: None,
            token_at: None,
            first: Side::Device,
            blocked: [false; 2],
            ending: false,
            cut_at: None,
            moved_at: now,
            now,
            wall,
            timer: Timer::new(),
            drain: false,
            finish: false,
            held_back: false,
            held: 0,
            totals: Totals::default(),
        }
    }

    /// Runs until both sides are closed.
    ///
    /// # Errors
    /// When the supervisor is gone; both sides are reset then.
    pub(super) async fn run(mut self) -> Result<Totals, ChannelError> {
        loop {
            self.settle().await?;
            if self.is_over() {
                return Ok(self.totals);
            }
            self.session.catch_up();
            let event = self.wait().await;
            self.read_clocks();
            self.heed_pace();
            self.steps().await?;
            self.take(event);
            self.steps().await?;
            self.let_others_read().await;
            // A connection that always has something to do leaves time for the others.
            tokio::task::consume_budget().await;
        }
    }

    /// Does everything that can be done without waiting for a peer.
    ///
    /// Whenever the session was told something it is polled before it is told more.
    async fn settle(&mut self) -> Result<(), ChannelError> {
        loop {
            self.steps().await?;
            if self.reconnect && self.destination().is_none() {
                self.reconnect = false;
                self.connect().await?;
            }
            let mut told = self.advance(Side::Device) || self.advance(Side::Hospital);
            self.tell_blocked();
            told = told || self.ask_for_token() || self.end_if_due() || self.account();
            if !told {
                return Ok(());
            }
        }
    }

    async fn steps(&mut self) -> Result<(), ChannelError> {
        while !self.is_stalled() {
            let Some(step) = self.session.poll() else {
                break;
            };
            match step {
                Step::Connect => self.connect().await?,
                Step::Forward { to, permit } => self.send(to, Outgoing::Approved(permit)),
                Step::Speak { to, spoken } => self.send(to, Outgoing::Own(spoken)),
                Step::Spool(bytes) => self.append(bytes).await?,
                Step::Unspool => {
                    if let Some(spool) = &mut self.spool {
                        spool.rewind();
                    }
                }
                Step::DropSpool => self.empty_spool(),
                Step::Record(decision) => self.record(decision).await?,
                Step::Keep(entry) => {
                    let (id, entry) = (self.id, *entry);
                    self.shared.tell(&FromRelay::Keep { id, entry }).await?;
                }
                Step::Wake => self.shared.wake(self.exchange, self.id),
                Step::Close { side, reset } => self.close(side, reset),
            }
        }
        Ok(())
    }

    /// Whether the next step must wait: steps are never carried out of order.
    fn is_stalled(&self) -> bool {
        self.unspooled.is_some() || self.reconnect
    }

    async fn connect(&mut self) -> Result<(), ChannelError> {
        if self.asked || self.ending {
            return Ok(());
        }
        if self.destination().is_some() {
            self.reconnect = true;
            return Ok(());
        }
        self.asked = true;
        self.tell(&FromRelay::Connect { id: self.id }).await
    }

    async fn tell(&mut self, message: &FromRelay) -> Result<(), ChannelError> {
        let told = self.shared.tell(message).await;
        self.read_clocks();
        told
    }

    fn send(&mut self, to: Side, outgoing: Outgoing) {
        let now = self.now;
        match self.leg_mut(to) {
            Some(leg) => {
                if !leg.send(outgoing, now) {
                    tracing::debug!(connection = %self.id, "a write after the close is dropped");
                }
            }
            None => self.tell_gone(to),
        }
    }

    async fn record(&mut self, mut decision: Box<Decision>) -> Result<(), ChannelError> {
        self.totals.count(&decision, self.opener);
        record::bound(&mut decision);
        let decisions = &self.shared.decisions;
        let added = decisions.add(&self.shared.channel, self.id, &decision);
        if added.await? == Added::Waited {
            self.read_clocks();
        }
        Ok(())
    }

    fn close(&mut self, side: Side, reset: bool) {
        *self.knows_gone_mut(side) = true;
        if let Some(leg) = self.leg_mut(side) {
            leg.close(reset);
        }
        if side != self.opener && std::mem::take(&mut self.asked) {
            self.unwanted += 1;
        }
    }

    /// Gives a leg its turn. True when the session was told something.
    fn advance(&mut self, side: Side) -> bool {
        let now = self.now;
        let shared = Rc::clone(&self.shared);
        let Some(leg) = self.leg_mut(side) else {
            return false;
        };
        let before = leg.written();
        let condition = leg.advance(&mut shared.scratch.borrow_mut(), now);
        let written = leg.written().saturating_sub(before);
        if written > 0 {
            self.moved_at = now;
            if side != self.opener {
                self.totals.sent = self.totals.sent.saturating_add(written);
            }
        }
        match condition {
            Condition::Open => false,
            Condition::Done | Condition::Dead => self.lose(side, condition),
        }
    }

    fn lose(&mut self, side: Side, condition: Condition) -> bool {
        match side {
            Side::Device => self.device = None,
            Side::Hospital => self.hospital = None,
        }
        if side == self.opener && self.cut_at.is_none() {
            // Nobody is left to serve; what is under way gets the time of one answer.
            let timing = self.policy.timing;
            let grace = timing.answer_ms.saturating_add(timing.send_ms);
            self.cut_at = self.now.checked_add(Duration::from_millis(grace));
        }
        if condition == Condition::Dead {
            self.tell_gone(side);
        }
        true
    }

    fn tell_gone(&mut self, side: Side) {
        if !std::mem::replace(self.knows_gone_mut(side), true) {
            let (now, wall) = self.times();
            self.session.ended(side, true, now, wall);
        }
    }

    fn ask_for_token(&mut self) -> bool {
        if !self.session.wants_token() {
            self.token_at = None;
            return false;
        }
        let (now, wall) = self.times();
        if self.token_at.is_some_and(|at| at > now) {
            return false;
        }
        let granted = match self.policy.rate {
            None => true,
            Some(rate) => match self.shared.take_token(self.subject, rate, now) {
                Ok(()) => true,
                Err(again) if self.policy.delay_only => {
                    self.token_at = Some(again);
                    return false;
                }
                Err(_) => false,
            },
        };
        self.token_at = None;
        self.session.token(granted, now, wall);
        true
    }

    /// Ends the connection for reasons of the process. True when the session was told something.
    fn end_if_due(&mut self) -> bool {
        self.give_up_spool();
        let (now, wall) = self.times();
        if self.cut_at.is_some_and(|at| at <= now) {
            return self.cut();
        }
        if self.session.deadline().is_some_and(|at| at <= now) {
            self.session.handle_deadline(now, wall);
            return true;
        }
        let quiet = now.saturating_duration_since(self.moved_at) >= DRAIN_QUIET;
        let may = (self.drain || self.finish) && self.session.idle() || self.drain && quiet;
        if may && !self.ending {
            self.end(EndReason::Shutdown);
            return true;
        }
        false
    }

    /// Resets what is left. True when there was something.
    fn cut(&mut self) -> bool {
        self.stop_waiting();
        if std::mem::take(&mut self.asked) {
            self.unwanted += 1;
        }
        let mut left = false;
        for side in [Side::Device, Side::Hospital] {
            if self.leg_mut(side).is_some() {
                left |= self.lose(side, Condition::Dead);
            }
        }
        left
    }

    /// From now on nothing of a spool or another destination is needed.
    fn stop_waiting(&mut self) {
        self.ending = true;
        self.unspooled = None;
        self.reconnect = false;
    }

    fn end(&mut self, why: EndReason) {
        if self.ending {
            return;
        }
        let (now, wall) = self.times();
        self.stop_waiting();
        self.session.end(why, now, wall);
        let cut_at = now + END_GRACE;
        self.cut_at = Some(self.cut_at.map_or(cut_at, |before| before.min(cut_at)));
    }

    /// Keeps the sum of the process right and ends the connection when it holds too much of it.
    /// True when the session was told something.
    //= C7
    fn account(&mut self) -> bool {
        let queued = [&self.device, &self.hospital];
        let queued = queued.into_iter().flatten().map(Leg::queued).sum::<usize>();
        let waiting = self.unspooled.as_ref().map_or(0, Bytes::len);
        let held = self.session.held() + queued + waiting;
        let too_much = self.shared.account(&mut self.held, held);
        // What waits for a spool file is on its way out of memory.
        if !too_much || self.ending || waiting > 0 {
            return false;
        }
        let now = self.now;
        if self.session.relieve(now) {
            return true;
        }
        tracing::debug!(connection = %self.id, "ended to keep memory bounded");
        self.end(EndReason::Resources);
        true
    }

    fn is_over(&self) -> bool {
        self.device.is_none() && self.hospital.is_none() && !self.asked && !self.is_stalled()
    }

    fn take_note(&mut self, note: Note) {
        let (now, wall) = self.times();
        match note {
            Note::Upstream(_) if self.unwanted > 0 => self.unwanted -= 1,
            Note::Upstream(_) if !self.asked => {}
            Note::Upstream(socket) => {
                self.asked = false;
                let patience = Duration::from_millis(self.policy.timing.send_ms);
                let leg = socket.and_then(|socket| Leg::new(socket, patience).ok());
                let reached = leg.is_some();
                let destination = self.opener.other();
                match destination {
                    Side::Device => self.device = leg,
                    Side::Hospital => self.hospital = leg,
                }
                *self.knows_gone_mut(destination) = !reached;
                if reached {
                    self.session.connected(now, wall);
                } else {
                    self.session.connect_failed(now, wall);
                }
            }
            Note::Spool(file) => {
                self.take_spool(file.ok_or(SpoolError::None).and_then(Spool::new));
            }
            Note::Update(policy) => {
                self.session.update(&policy);
                self.policy = policy;
                self.token_at = None;
                self.heed_journal();
            }
            Note::End(why) => self.end(why),
            Note::Woken => self.session.woken(now, wall),
            Note::Journal => self.heed_journal(),
            // Heeded with every turn.
            Note::Caught => {}
            Note::Drain => self.drain = true,
            Note::Finish => self.finish = true,
        }
    }

    /// Lets the session begin nothing new while too much is not on record yet.
    //= C8
    fn heed_pace(&mut self) {
        let ahead = self.shared.decisions.is_ahead();
        if ahead != self.held_back {
            self.held_back = ahead;
            let (now, wall) = self.times();
            self.session.hold(ahead, now, wall);
        }
    }

    //= C8
    fn heed_journal(&mut self) {
        if !self.policy.without_journal && !self.shared.journal.get() {
            self.end(EndReason::NoJournal);
        }
    }

    fn leg_mut(&mut self, side: Side) -> Option<&mut Leg> {
        match side {
            Side::Device => self.device.as_mut(),
            Side::Hospital => self.hospital.as_mut(),
        }
    }

    fn destination(&self) -> Option<&Leg> {
        match self.opener {
            Side::Device => self.hospital.as_ref(),
            Side::Hospital => self.device.as_ref(),
        }
    }

    fn knows_gone_mut(&mut self, side: Side) -> &mut bool {
        let [device, hospital] = &mut self.knows_gone;
        match side {
            Side::Device => device,
            Side::Hospital => hospital,
        }
    }

    fn times(&self) -> (Instant, Timestamp) {
        (self.now, self.wall)
    }

    fn read_clocks(&mut self) {
        self.now = self.shared.clock.now();
        self.wall = self.shared.clock.wall();
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.shared.account(&mut self.held, 0);
    }
}

/// From the end of a connection to the reset of what is left of it; revocation has two seconds.
//= C9
const END_GRACE: Duration = Duration::from_millis(1_500);
/// Silence after which nothing is under way.
const DRAIN_QUIET: Duration = Duration::from_secs(2);

//! The relay process: connections from the supervisor, one task each.
//!
//! In: [`ToRelay`] with descriptors. Out: [`FromRelay`]. Knows connections by number only.
//! Opens nothing and starts no threads: it runs under a system call filter.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::task::{JoinError, JoinSet, LocalSet};

use super::bulk::Bulk;
use super::decided::Decisions;
use super::leg::{Leg, refuse};
use super::mailbox::{self, mailbox};
use super::message::{FromRelay, ToRelay};
use super::pump::{Note, Opening, Pump, Totals};
use super::rate::Rates;
use crate::channel::{Channel, ChannelError};
use crate::flow::{Clock, ConnectionId};
use crate::inspect::dicom::outstanding::Recall;
use crate::inspect::{ConnectionPolicy, EndReason, Rate, Session};

/// Makes the session of a connection, from its policy, its exchange and the time.
pub type SessionFactory =
    Box<dyn Fn(&ConnectionPolicy, u64, Instant, Timestamp) -> Box<dyn Session>>;

/// How a relay makes sessions, and what it is told to remember for them.
pub struct Sessions {
    /// Makes them.
    pub factory: SessionFactory,
    /// Takes what the supervisor remembers of an exchange.
    pub recall: Box<dyn Fn(u64, Recall)>,
    /// Takes whether there is little room for that.
    pub tighten: Box<dyn Fn(bool)>,
}

impl From<SessionFactory> for Sessions {
    /// Sessions that remember nothing.
    fn from(factory: SessionFactory) -> Self {
        Self {
            factory,
            recall: Box::new(|_, _| {}),
            tighten: Box::new(|_| {}),
        }
    }
}

/// Why a relay stops before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The supervisor is gone or does not speak as it should.
    #[error("the supervisor is lost")]
    Channel(#[from] ChannelError),
    /// The first message was not [`ToRelay::Start`].
    #[error("the supervisor did not begin with start")]
    NotStarted,
    /// A session has a fault: the process cannot be trusted any more.
    #[error("a session failed")]
    Session(#[source] JoinError),
}

/// Runs a relay until it is drained or the supervisor is gone. On an error all connections are reset.
///
/// # Errors
/// As [`RelayError`] says.
pub async fn run(
    channel: Channel<FromRelay, ToRelay>,
    clock: Arc<dyn Clock>,
    sessions: impl Into<Sessions>,
) -> Result<(), RelayError> {
    let (
        ToRelay::Start {
            connections,
            memory,
            relays,
        },
        _,
    ) = channel.receive().await?
    else {
        return Err(RelayError::NotStarted);
    };
    channel.send(&FromRelay::Ready, &[]).await?;
    let worker = Worker {
        shared: Rc::new(Shared::new(channel, clock, connections, memory, relays)),
        sessions: sessions.into(),
        connections,
        tasks: JoinSet::new(),
        leaving: None,
    };
    let tasks = LocalSet::new();
    let shared = Rc::clone(&worker.shared);
    tasks.spawn_local(async move { shared.decisions.run(&shared.channel).await });
    let last = Rc::clone(&worker.shared);
    heed_faults(&last);
    let ended = tasks.run_until(worker.run()).await;
    // Whoever was sending will not go on: what it did not send is here again.
    drop(tasks);
    // What was decided before a fault is on record like everything else.
    let flush = last.decisions.flush(&last.channel);
    let _told = tokio::time::timeout(LAST_RECORDS, flush).await;
    ended
}

thread_local! {
    /// The relay of this thread, for [`last_words`].
    static RELAY: RefCell<Weak<Shared>> = const { RefCell::new(Weak::new()) };
}

/// A fault ends the process at once, with what waits in it: from now on the supervisor hears the decisions first.
//= C8
fn heed_faults(shared: &Rc<Shared>) {
    static ONCE: Once = Once::new();
    RELAY.set(Rc::downgrade(shared));
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |fault| {
            last_words();
            before(fault);
        }));
    });
}

/// What can be sent without waiting: nobody is left to wait.
fn last_words() {
    let relay = RELAY.try_with(|relay| relay.try_borrow().ok()?.upgrade());
    if let Some(shared) = relay.ok().flatten() {
        let flush = shared.decisions.flush(&shared.channel);
        let _told = tokio::task::unconstrained(flush).now_or_never();
    }
}

/// What all connections of the process share.
pub(super) struct Shared {
    pub(super) channel: Channel<FromRelay, ToRelay>,
    pub(super) decisions: Decisions,
    pub(super) clock: Arc<dyn Clock>,
    /// Whether decisions can be recorded.
    pub(super) journal: Cell<bool>,
    /// Where bytes are read to; one for all, since reading and inspecting never wait in between.
    pub(super) scratch: RefCell<Box<[u8]>>,
    /// The same for sessions that keep what they get.
    pub(super) bulk: RefCell<Bulk>,
    /// The connections.
    live: RefCell<HashMap<ConnectionId, Live>>,
    rates: RefCell<Rates>,
    /// Bytes held by all connections.
    held: Cell<usize>,
    /// From here on, whoever holds more than its share is ended.
    tight: usize,
    /// What every connection may hold even then; all shares together fit beside `tight`.
    share: usize,
}

impl Shared {
    fn new(
        channel: Channel<FromRelay, ToRelay>,
        clock: Arc<dyn Clock>,
        connections: usize,
        memory: usize,
        relays: usize,
    ) -> Self {
        let half = memory / 2;
        Self {
            channel,
            decisions: Decisions::default(),
            clock,
            journal: Cell::new(true),
            scratch: RefCell::new(vec![0; READ].into()),
            bulk: RefCell::default(),
            live: RefCell::default(),
            rates: RefCell::new(Rates::new(SUBJECTS)),
            held: Cell::new(0),
            tight: half / relays.max(1),
            // Connections are counted over all relays: however they are dealt out, all shares are one half.
            share: half / connections.max(1),
        }
    }

    /// Tells the supervisor, after all that was decided before.
    pub(super) async fn tell(&self, message: &FromRelay) -> Result<(), ChannelError> {
        self.decisions.flush(&self.channel).await?;
        self.channel.send(message, &[]).await
    }

    /// Replaces what one connection holds by a new figure. True when it must go to keep the bound.
    pub(super) fn account(&self, held: &mut usize, now: usize) -> bool {
        let others = self.held.get().saturating_sub(*held);
        let all = others.saturating_add(now);
        self.held.set(all);
        *held = now;
        all > self.tight && now > self.share
    }

    /// Wakes the other connections of an exchange.
    pub(super) fn wake(&self, exchange: u64, but: ConnectionId) {
        let live = self.live.borrow();
        let others = live.iter().filter(|(id, _)| **id != but);
        for (_, connection) in others.filter(|(_, live)| live.exchange == exchange) {
            connection.sender.send(Note::Woken);
        }
    }

    pub(super) fn take_token(&self, subject: u64, rate: Rate, now: Instant) -> Result<(), Instant> {
        self.rates.borrow_mut().take(subject, rate, now)
    }
}

/// A connection, as the others know it.
struct Live {
    exchange: u64,
    /// An unbounded queue: the supervisor fills it with one answer for each question of the connection,
    /// the others with one word for each answer that they leave for it, which the exchange bounds.
    sender: mailbox::Sender<Note>,
}

struct Worker {
    shared: Rc<Shared>,
    sessions: Sessions,
    connections: usize,
    tasks: JoinSet<Result<Option<ConnectionId>, ChannelError>>,
    /// How far the end of the process is.
    leaving: Option<Leaving>,
}

/// The two steps of leaving: wait for what is under way, then for the last words.
#[derive(Clone, Copy)]
enum Leaving {
    Waiting { until: tokio::time::Instant },
    Ending { until: tokio::time::Instant },
}

impl Worker {
    async fn run(mut self) -> Result<(), RelayError> {
        loop {
            if self.is_done() {
                return Ok(());
            }
            let until = self.leaving.map(|leaving| match leaving {
                Leaving::Waiting { until } | Leaving::Ending { until } => until,
            });
            tokio::select! {
                biased;
                message = self.shared.channel.receive() => {
                    // Whoever ended has said so: the supervisor may already count on it.
                    while let Some(ended) = self.tasks.try_join_next() {
                        self.ended(ended)?;
                    }
                    match message {
                        Err(ChannelError::Closed) if self.is_done() => return Ok(()),
                        message => {
                            let (message, descriptors) = message?;
                            self.take(message, descriptors);
                        }
                    }
                }
                Some(ended) = self.tasks.join_next() => {
                    self.ended(ended)?;
                }
                () = sleep_until(until) => {
                    if !self.leave() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Whether the process is to leave and nothing holds it.
    fn is_done(&self) -> bool {
        self.leaving.is_some() && self.tasks.is_empty()
    }

    fn ended(
        &mut self,
        ended: Result<Result<Option<ConnectionId>, ChannelError>, JoinError>,
    ) -> Result<(), RelayError> {
        if let Some(id) = ended.map_err(RelayError::Session)?? {
            self.shared.live.borrow_mut().remove(&id);
        }
        Ok(())
    }

    fn take(&mut self, message: ToRelay, mut descriptors: Vec<OwnedFd>) {
        let descriptor = descriptors.pop();
        match message {
            ToRelay::Start { .. } => tracing::warn!("a second start is ignored"),
            ToRelay::Open {
                id,
                subject,
                exchange,
                policy,
            } => match descriptor {
                Some(socket) => self.open(id, (subject, exchange), policy, socket),
                None => self.not_opened(id),
            },
            ToRelay::Recall { exchange, recall } => (self.sessions.recall)(exchange, recall),
            ToRelay::Tight { tight } => (self.sessions.tighten)(tight),
            ToRelay::Upstream { id } => self.note(id, Note::Upstream(descriptor)),
            ToRelay::UpstreamFailed { id } => self.note(id, Note::Upstream(None)),
            ToRelay::Spool { id } => self.note(id, Note::Spool(descriptor)),
            ToRelay::Update { id, policy } => self.note(id, Note::Update(policy)),
            ToRelay::Close { id, why } => self.note(id, Note::End(why)),
            ToRelay::Finish { id } => self.note(id, Note::Finish),
            ToRelay::Journal { writable } => {
                self.shared.journal.set(writable);
                self.note_all(|| Note::Journal);
            }
            ToRelay::Recorded { decisions } => {
                let was_ahead = self.shared.decisions.is_ahead();
                self.shared.decisions.recorded(decisions);
                if was_ahead && !self.shared.decisions.is_ahead() {
                    self.note_all(|| Note::Caught);
                }
            }
            ToRelay::Drain => {
                let until = tokio::time::Instant::now() + DRAIN;
                self.leaving.get_or_insert(Leaving::Waiting { until });
                self.note_all(|| Note::Drain);
            }
        }
    }

    fn open(
        &mut self,
        id: ConnectionId,
        (subject, exchange): (u64, u64),
        policy: Box<ConnectionPolicy>,
        socket: OwnedFd,
    ) {
        let journal = policy.without_journal || self.shared.journal.get();
        let room = {
            let live = self.shared.live.borrow();
            live.len() < self.connections && !live.contains_key(&id)
        };
        if !journal || !room || self.leaving.is_some() {
            refuse(socket);
            return self.not_opened(id);
        }
        let Ok(accepted) = Leg::new(socket, Duration::from_millis(policy.timing.send_ms)) else {
            return self.not_opened(id);
        };
        let (now, wall) = (self.shared.clock.now(), self.shared.clock.wall());
        let session = (self.sessions.factory)(&policy, exchange, now, wall);
        let (sender, notes) = mailbox();
        let live = Live { exchange, sender };
        self.shared.live.borrow_mut().insert(id, live);
        let shared = Rc::clone(&self.shared);
        let opening = Opening {
            id,
            subject,
            exchange,
            policy,
            session,
            accepted,
            notes,
        };
        self.tasks.spawn_local(async move {
            let totals = Pump::new(Rc::clone(&shared), opening).run().await?;
            shared.tell(&closed(id, totals)).await?;
            Ok(Some(id))
        });
    }

    /// In a task of its own: receiving must never wait for sending, or both processes could wait for each other.
    fn not_opened(&mut self, id: ConnectionId) {
        let shared = Rc::clone(&self.shared);
        self.tasks.spawn_local(async move {
            let closed = closed(id, Totals::default());
            shared.channel.send(&closed, &[]).await?;
            Ok(None)
        });
    }

    /// A connection that is not there any more needs no note; a descriptor beside it is closed.
    fn note(&self, id: ConnectionId, note: Note) {
        if let Some(connection) = self.shared.live.borrow().get(&id) {
            connection.sender.send(note);
        }
    }

    fn note_all(&self, note: impl Fn() -> Note) {
        for connection in self.shared.live.borrow().values() {
            connection.sender.send(note());
        }
    }

    /// The next step of leaving. False: time to go.
    fn leave(&mut self) -> bool {
        match self.leaving {
            Some(Leaving::Waiting { until }) => {
                self.note_all(|| Note::End(EndReason::Shutdown));
                let until = until + LAST_WORDS;
                self.leaving = Some(Leaving::Ending { until });
                true
            }
            Some(Leaving::Ending { .. }) => false,
            None => true,
        }
    }
}

fn closed(id: ConnectionId, totals: Totals) -> FromRelay {
    FromRelay::Closed {
        id,
        forwarded: totals.forwarded,
        refused: totals.refused,
        received: totals.received,
        sent: totals.sent,
    }
}

async fn sleep_until(until: Option<tokio::time::Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Bytes read at once.
const READ: usize = 64 << 10;
/// Subjects whose rates are remembered.
const SUBJECTS: usize = 65_536;
/// How long messages under way have when the gateway stops.
const DRAIN: Duration = Duration::from_secs(5);
/// How long the last decisions have to reach the supervisor, which may be slow just then.
const LAST_RECORDS: Duration = Duration::from_secs(1);
/// How long the protocols have to say so.
const LAST_WORDS: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::super::decided::tests::decision;
    use super::super::script::RealClock;
    use super::*;
    use crate::channel::pair;

    /// Nothing else of the process is left to send it.
    //= C8
    #[tokio::test]
    async fn a_fault_says_first_what_was_decided() {
        let (ours, theirs) = pair().unwrap();
        let supervisor = Channel::<ToRelay, FromRelay>::new(ours).unwrap();
        let relay = Channel::new(theirs).unwrap();
        let shared = Rc::new(Shared::new(relay, Arc::new(RealClock), 1, 1 << 20, 1));
        heed_faults(&shared);
        for id in [1, 2].map(ConnectionId) {
            shared
                .decisions
                .add(&shared.channel, id, &decision())
                .await
                .unwrap();
        }
        let fault = std::panic::catch_unwind(|| panic!("a fault"));
        assert!(fault.is_err());
        let (FromRelay::Decided(heard), _) = supervisor.receive().await.unwrap() else {
            panic!("not decisions");
        };
        assert_eq!(heard.len(), 2);
    }
}

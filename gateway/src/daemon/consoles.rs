//! Sessions on consoles: who has connections open to which service that is forwarded, since when, with how many bytes.
//!
//! In: what connection tracking says now and then, and what becomes of each session by the rules. Out: sessions for
//! operators, beginnings and ends for the journal, connections that must end.
//! Pure: times are arguments. A session is all that one device has open to one service, so that a flood of connections
//! is one session; what may be recorded at once is bounded, and what waits is merged by device and service.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::audit::event::Event;
use crate::control::message::ConsoleSession;
use crate::flow::{DeviceName, ServiceName};
use crate::segment::flows::{Flow, FlowKey, FlowState, Passed};

/// A device, and the service that it uses.
pub(super) type Who = (DeviceName, ServiceName);

/// The moment of a look, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Instant,
    pub(super) wall: Timestamp,
}

/// All that is known of them.
#[derive(Default)]
pub(super) struct Consoles {
    sessions: BTreeMap<Who, Session>,
    /// To which session a connection belongs.
    owners: BTreeMap<FlowKey, Who>,
    /// Connections of sessions that are over, as long as the kernel remembers them.
    done: BTreeSet<FlowKey>,
    /// What is not on record yet.
    ended: BTreeMap<Who, Ended>,
    /// Connections that began, until somebody asks.
    fresh: BTreeMap<Who, u64>,
    /// Whether it was looked once.
    begun: bool,
}

/// One session.
pub(super) struct Session {
    since: Timestamp,
    /// How old it was when.
    aged: (Instant, Duration),
    flows: BTreeMap<FlowKey, Seen>,
    /// What passed on connections that are gone.
    past: Passed,
    /// Whether the kernel counted all of them.
    counted: bool,
    /// Connections so far.
    number: u64,
    /// When something passed for the last time.
    moved: Instant,
    /// When a connection was open for the last time.
    open: Instant,
    /// The gateway found it when it began.
    continued: bool,
    recorded: bool,
    basis: Basis,
}

/// What lets a session go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// Rules of the files, or what is left in quarantine.
    Rules,
    /// Break-glass access, and nothing else.
    BreakGlass,
}

struct Seen {
    state: FlowState,
    passed: Passed,
    /// In how many looks it was missing.
    missing: u8,
}

/// A session that is over, or several of one device and service.
struct Ended {
    times: u64,
    seconds: u64,
    flows: u64,
    passed: Option<Passed>,
    why: &'static str,
}

impl Consoles {
    /// Takes what the kernel says; `whole` if that is everything. Gives connections that nobody may have.
    /// `whose` says to whom a connection that is new belongs, if it is allowed.
    pub(super) fn look(
        &mut self,
        flows: &[Flow],
        whole: bool,
        at: Moment,
        whose: impl Fn(&FlowKey) -> Option<Who>,
    ) -> Vec<FlowKey> {
        let mut strangers = Vec::new();
        let mut seen = BTreeSet::new();
        for flow in flows {
            seen.insert(flow.key);
            if self.done.contains(&flow.key) {
                // Its session ended and it could not be cut.
                if flow.state == FlowState::Open {
                    strangers.push(flow.key);
                }
                continue;
            }
            if let Some(who) = self.owners.get(&flow.key) {
                if let Some(session) = self.sessions.get_mut(who) {
                    session.update(flow, at.now);
                }
                continue;
            }
            match (flow.state, whose(&flow.key)) {
                (FlowState::Tried | FlowState::Open, None) => strangers.push(flow.key),
                (FlowState::Tried, Some(_)) | (FlowState::Closed, None) => {}
                // It was over before we began.
                (FlowState::Closed, Some(_)) if !self.begun => drop(self.done.insert(flow.key)),
                (FlowState::Open | FlowState::Closed, Some(who)) => self.begin(flow, who, at),
            }
        }
        if whole {
            self.done.retain(|key| seen.contains(key));
            for session in self.sessions.values_mut() {
                for gone in session.miss(&seen) {
                    self.owners.remove(&gone);
                }
            }
        }
        for session in self.sessions.values_mut() {
            if session.is_open() {
                session.open = at.now;
            }
        }
        self.begun = true;
        strangers
    }

    fn begin(&mut self, flow: &Flow, who: Who, at: Moment) {
        //= C7: what is over the bound passes by its rule, but is not listed.
        if !self.sessions.contains_key(&who) && self.sessions.len() >= MAX_SESSIONS {
            return;
        }
        let began = flow.began.map(i128::from);
        let began = began.and_then(|nanos| Timestamp::from_nanosecond(nanos).ok());
        let since = began.map_or(at.wall, |began| began.min(at.wall));
        let age = Duration::try_from(at.wall.duration_since(since)).unwrap_or_default();
        let continued = !self.begun;
        let session = self
            .sessions
            .entry(who.clone())
            .or_insert_with(|| Session::new(since, age, continued, at.now));
        // Of those that are found together the oldest counts.
        if session.aged.0 == at.now && since < session.since {
            (session.since, session.aged) = (since, (at.now, age));
        }
        session.number = session.number.saturating_add(1);
        let fresh = self.fresh.entry(who.clone()).or_default();
        *fresh = fresh.saturating_add(1);
        let seen = Seen {
            state: flow.state,
            passed: Passed::default(),
            missing: 0,
        };
        session.flows.insert(flow.key, seen);
        session.moved = at.now;
        session.update(flow, at.now);
        self.owners.insert(flow.key, who);
    }

    /// Ends the sessions that are over, and those that `verdict` ends, by its word. Gives the connections of the latter.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        verdict: impl Fn(&Who, &Session) -> Result<Basis, &'static str>,
    ) -> Vec<FlowKey> {
        let mut over = Vec::new();
        for (who, session) in &mut self.sessions {
            match verdict(who, session) {
                Err(why) => over.push((who.clone(), why, true)),
                Ok(_) if now.saturating_duration_since(session.open) >= HOLD => {
                    over.push((who.clone(), CLOSED, false));
                }
                Ok(basis) => session.basis = basis,
            }
        }
        let mut cut = Vec::new();
        for (who, why, is_cut) in over {
            let keys = self.end(&who, why, now);
            if is_cut {
                cut.extend(keys);
            }
        }
        cut
    }

    /// Ends a session; gives its connections.
    pub(super) fn end(&mut self, who: &Who, why: &'static str, now: Instant) -> Vec<FlowKey> {
        let Some(session) = self.sessions.remove(who) else {
            return Vec::new();
        };
        let ended = self.ended.entry(who.clone()).or_insert(Ended {
            times: 0,
            seconds: 0,
            flows: 0,
            passed: Some(Passed::default()),
            why,
        });
        ended.times = ended.times.saturating_add(1);
        ended.seconds = ended.seconds.saturating_add(session.age(now).as_secs());
        ended.flows = ended.flows.saturating_add(session.number);
        ended.passed = ended.passed.zip(session.passed()).map(|(a, b)| sum(a, b));
        ended.why = why;
        let keys: Vec<FlowKey> = session.flows.into_keys().collect();
        for key in &keys {
            self.owners.remove(key);
            self.done.insert(*key);
        }
        keys
    }

    /// What is to be put on record now, at most [`RECORDS`] of it; `all` at the end of the gateway.
    pub(super) fn records(&mut self, all: bool) -> Vec<Event> {
        let most = if all { usize::MAX } else { RECORDS };
        let mut events = Vec::new();
        // An end comes after its beginning: nothing new of a pair whose end waits.
        while events.len() < most
            && let Some(((device, service), ended)) = self.ended.pop_first()
        {
            events.push(Event::ConsoleEnded {
                device,
                service,
                sessions: ended.times,
                seconds: ended.seconds,
                flows: ended.flows,
                received: ended.passed.map(|passed| passed.received),
                sent: ended.passed.map(|passed| passed.sent),
                why: ended.why.to_owned(),
            });
        }
        for ((device, service), session) in &mut self.sessions {
            if events.len() >= most {
                break;
            }
            if !session.recorded {
                session.recorded = true;
                events.push(Event::ConsoleBegan {
                    device: device.clone(),
                    service: service.clone(),
                    since: seconds(session.since).to_string(),
                    continued: session.continued,
                });
            }
        }
        events
    }

    /// Connections that began since somebody asked last.
    pub(super) fn take_fresh(&mut self) -> BTreeMap<Who, u64> {
        std::mem::take(&mut self.fresh)
    }

    /// Those of which something is known.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Who, &Session)> {
        self.sessions.iter()
    }

    /// Sessions now.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether it is known what was there at the beginning, and nothing is left to follow.
    pub(super) fn rests(&self) -> bool {
        self.begun && self.sessions.is_empty() && self.ended.is_empty()
    }

    /// For operators; `left` says for how long a session may go on.
    pub(super) fn list(
        &self,
        now: Instant,
        left: impl Fn(&Who, &Session) -> Option<Duration>,
    ) -> Vec<ConsoleSession> {
        let sessions = self.sessions.iter();
        sessions
            .map(|(who, session)| ConsoleSession {
                device: who.0.clone(),
                service: who.1.clone(),
                since: seconds(session.since),
                seconds: session.age(now).as_secs(),
                connections: session.flows.values().filter(|flow| flow.is_open()).count(),
                connections_so_far: session.number,
                received: session.passed().map(|passed| passed.received),
                sent: session.passed().map(|passed| passed.sent),
                idle_seconds: session.silence(now).as_secs(),
                seconds_left: left(who, session).map(|left| left.as_secs()),
            })
            .collect()
    }
}

impl Session {
    fn new(since: Timestamp, age: Duration, continued: bool, now: Instant) -> Self {
        Self {
            since,
            aged: (now, age),
            flows: BTreeMap::new(),
            past: Passed::default(),
            counted: true,
            number: 0,
            moved: now,
            open: now,
            continued,
            recorded: false,
            basis: Basis::Rules,
        }
    }

    /// How long it has been there.
    pub(super) fn age(&self, now: Instant) -> Duration {
        let (at, age) = self.aged;
        age.saturating_add(now.saturating_duration_since(at))
    }

    /// For how long nothing passed, as far as is known.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        if self.counted {
            now.saturating_duration_since(self.moved)
        } else {
            Duration::ZERO
        }
    }

    /// What let it go on when it was judged last.
    pub(super) fn basis(&self) -> Basis {
        self.basis
    }

    /// Its connections.
    pub(super) fn flows(&self) -> impl Iterator<Item = &FlowKey> {
        self.flows.keys()
    }

    fn is_open(&self) -> bool {
        self.flows.values().any(Seen::is_open)
    }

    fn passed(&self) -> Option<Passed> {
        let all = self.flows.values().map(|flow| flow.passed);
        self.counted.then(|| all.fold(self.past, sum))
    }

    fn update(&mut self, flow: &Flow, now: Instant) {
        let Some(seen) = self.flows.get_mut(&flow.key) else {
            return;
        };
        (seen.state, seen.missing) = (flow.state, 0);
        match flow.passed {
            None => self.counted = false,
            Some(passed) if passed != seen.passed => {
                seen.passed = passed;
                self.moved = now;
            }
            Some(_) => {}
        }
    }

    /// Forgets those that were missing twice: a kernel that changes its table meanwhile may leave one out.
    fn miss(&mut self, seen: &BTreeSet<FlowKey>) -> Vec<FlowKey> {
        let mut gone = Vec::new();
        for (key, flow) in &mut self.flows {
            if !seen.contains(key) {
                flow.missing = flow.missing.saturating_add(1);
                if flow.missing >= MISSING {
                    self.past = sum(self.past, flow.passed);
                    gone.push(*key);
                }
            }
        }
        for key in &gone {
            self.flows.remove(key);
        }
        gone
    }
}

impl Seen {
    fn is_open(&self) -> bool {
        self.state == FlowState::Open && self.missing == 0
    }
}

fn sum(a: Passed, b: Passed) -> Passed {
    Passed {
        received: a.received.saturating_add(b.received),
        sent: a.sent.saturating_add(b.sent),
    }
}

/// Whole seconds, for people.
fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Why a session ended by itself.
const CLOSED: &str = "closed";
/// A session without an open connection is over after this, so that one that opens many after each other is one.
const HOLD: Duration = Duration::from_secs(3);
/// Looks in which a connection is missing before it is taken for gone.
const MISSING: u8 = 2;
/// Sessions at once.
//= C7
const MAX_SESSIONS: usize = 16_384;
/// Records of one look, about a second's.
//= C7
const RECORDS: usize = 100;

#[cfg(test)]
#[path = "consoles_tests.rs"]
mod tests;

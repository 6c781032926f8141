//! Draining: before a restart nothing new is taken in, and what is under way may be finished.
//!
//! In: an operator's [`Request::Drain`](crate::control::message::Request) and time. Out: connections that end between
//! two exchanges, or at the deadline whatever they do. Consoles, which are forwarded and not relayed, go on.
//! A restart of the gateway, the operator, or time undoes it: who asked for it may be gone, and a gateway that takes
//! nothing for ever is one that is out of service.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::supervisor::Supervisor;
use crate::audit::event::Event;
use crate::control::message::{Draining, Failure, Response};
use crate::flow::{Clock, ConnectionId};
use crate::forward::message::ToRelay;
use crate::inspect::EndReason;

/// Since when the gateway takes nothing new, and how long what is under way may go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    until: Instant,
    /// What was left at the deadline was ended.
    cut: bool,
    /// User id of who asked.
    by: u32,
}

/// What time brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Wait,
    /// End what is left.
    Cut,
    /// Take connections again.
    Over,
}

impl Drain {
    fn turn(&mut self, now: Instant) -> Turn {
        if now >= self.over() {
            return Turn::Over;
        }
        if self.cut || now < self.until {
            return Turn::Wait;
        }
        self.cut = true;
        Turn::Cut
    }

    /// When the restart should long have come.
    fn over(&self) -> Instant {
        self.until + RESTART_WITHIN
    }
}

impl Supervisor {
    /// From now on nothing new; `None` takes it back.
    pub(super) fn drain_for(&mut self, timeout: Option<Duration>, by: u32) -> Response {
        let Some(timeout) = timeout else {
            let was = self.draining.take().is_some();
            self.tell_quic_leaving();
            let what = if was {
                "connections are taken again"
            } else {
                "the gateway was not draining"
            };
            return Response::Done { what: what.into() };
        };
        if timeout > LONGEST {
            return Response::Failed {
                kind: Failure::Usage,
                why: format!("at most {} s", LONGEST.as_secs()),
            };
        }
        let until = self.clock.now() + timeout;
        self.draining = Some(Drain {
            until,
            cut: false,
            by,
        });
        self.tell_quic_leaving();
        let live: Vec<ConnectionId> = self.connections.iter_mut().map(|(id, _)| id).collect();
        info!(sessions = live.len(), "draining");
        for id in &live {
            let connection = self.connections.get(*id);
            let relay = connection.and_then(|one| self.workers.relay(one.relay));
            if let Some(relay) = relay {
                relay.send(ToRelay::Finish { id: *id }, Vec::new());
            }
        }
        Response::Done {
            what: format!(
                "draining: {} sessions may finish within {} s",
                live.len(),
                timeout.as_secs()
            ),
        }
    }

    /// Ends what is left at the deadline, and the drain itself when no restart came.
    pub(super) fn cut_undrained(&mut self, now: Instant) {
        let Some(drain) = &mut self.draining else {
            return;
        };
        let by = drain.by;
        match drain.turn(now) {
            Turn::Wait => return,
            Turn::Cut => {}
            Turn::Over => {
                self.draining = None;
                self.tell_quic_leaving();
                warn!("nobody restarted the drained gateway: connections are taken again");
                return self.record(Event::Command {
                    by,
                    command: "drain".to_owned(),
                    about: "no longer".to_owned(),
                    result: "over by itself: the gateway was not restarted".to_owned(),
                });
            }
        }
        let left: Vec<ConnectionId> = self.connections.iter_mut().map(|(id, _)| id).collect();
        for id in left {
            self.close(id, EndReason::Shutdown);
        }
    }

    /// For the operator.
    pub(super) fn draining(&self) -> Option<Draining> {
        let now = self.clock.now();
        self.draining.map(|drain| Draining {
            seconds: drain.until.saturating_duration_since(now).as_secs(),
            over_seconds: drain.over().saturating_duration_since(now).as_secs(),
        })
    }
}

/// Longest time for what is under way.
//= C7
pub(super) const LONGEST: Duration = Duration::from_hours(1);
/// How long after its deadline a drain waits for the restart that it was for.
//= C7
const RESTART_WITHIN: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::SystemClock;

    #[test]
    fn a_drain_cuts_once_and_ends_by_itself() {
        let begun = SystemClock.now();
        let mut drain = Drain {
            until: begun + Duration::from_secs(30),
            cut: false,
            by: 0,
        };
        let after = [0, 29, 30, 31, 89, 90, 1000];
        let turns = after.map(|seconds| drain.turn(begun + Duration::from_secs(seconds)));
        use Turn::{Cut, Over, Wait};
        assert_eq!(turns, [Wait, Wait, Cut, Wait, Wait, Over, Over]);
    }
}

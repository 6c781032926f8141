//! Draining: before a restart nothing new is taken in, and what is under way may be finished.
//!
//! In: an operator's [`Request::Drain`](crate::control::message::Request) and time. Out: connections that end between
//! two exchanges, or at the deadline whatever they do. Consoles, which are forwarded and not relayed, go on.
//! A restart of the gateway, or the operator, undoes it.

use std::time::{Duration, Instant};

use tracing::info;

use super::supervisor::Supervisor;
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
}

impl Supervisor {
    /// From now on nothing new; `None` takes it back.
    pub(super) fn drain_for(&mut self, timeout: Option<Duration>) -> Response {
        let Some(timeout) = timeout else {
            let was = self.draining.take().is_some();
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
        self.draining = Some(Drain { until, cut: false });
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

    /// Ends what is left at the deadline.
    pub(super) fn cut_undrained(&mut self, now: Instant) {
        let Some(drain) = &mut self.draining else {
            return;
        };
        if drain.cut || now < drain.until {
            return;
        }
        drain.cut = true;
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
        })
    }
}

/// Longest time for what is under way.
//= C7
pub(super) const LONGEST: Duration = Duration::from_hours(1);

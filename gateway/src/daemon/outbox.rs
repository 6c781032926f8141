//! Events on their way to the audit process, which may be busy, broken or dead.
//!
//! Decides what is kept and what is lost when nobody takes records, and whether flows may go on.

use std::collections::VecDeque;

use crate::audit::event::Event;
use crate::audit::message::ToAudit;

use super::worker::Worker;

/// Events that could not be handed over yet, oldest first.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Event>,
    lost: u64,
    failure: Option<String>,
}

impl Outbox {
    /// Hands an event to the audit process, or keeps it for the next one.
    pub(super) fn record(&mut self, audit: Option<&Worker<ToAudit>>, event: Event) {
        self.waiting.push_back(event);
        if self.waiting.len() > MAX_WAITING {
            self.waiting.pop_front();
            self.lost = self.lost.saturating_add(1);
        }
        self.deliver(audit);
    }

    /// Tries to hand over what waits.
    pub(super) fn deliver(&mut self, audit: Option<&Worker<ToAudit>>) {
        let Some(audit) = audit else { return };
        if self.lost > 0
            && audit.send(
                ToAudit::Append(Box::new(Event::RecordsLost { records: self.lost })),
                Vec::new(),
            )
        {
            self.lost = 0;
        }
        while let Some(event) = self.waiting.front() {
            if !audit.send(ToAudit::Append(Box::new(event.clone())), Vec::new()) {
                return;
            }
            self.waiting.pop_front();
        }
    }

    /// Notes that the journal cannot be written; says whether that is news.
    pub(super) fn failed(&mut self, why: String) -> bool {
        self.failure.replace(why).is_none()
    }

    /// Notes that the journal can be written; says whether that is news.
    pub(super) fn recovered(&mut self) -> bool {
        self.failure.take().is_some()
    }

    /// Why the journal cannot be written, if it cannot.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

/// Events in memory while the audit process is away.
//= C7
const MAX_WAITING: usize = 10_000;

//! Events on their way to the audit process, which may be busy, broken or dead.
//!
//! Decides what is kept and what is lost when nobody takes records, and whether flows may go on.
//! An event is kept until the audit process says that it is on the disk. What was under way when that process died
//! is handed over again, so that it may be on record twice, on either side of the journal's new opening, but never not.

use std::collections::VecDeque;

use crate::audit::event::Event;
use crate::audit::message::ToAudit;

/// Events that are not known to be on the disk, oldest first.
pub(super) struct Outbox {
    waiting: VecDeque<Event>,
    /// Handed over, but perhaps not yet synced.
    unsynced: VecDeque<Event>,
    /// The number of the flush that is under way, and how many of `unsynced` it covers.
    flush: Option<(u64, usize)>,
    flushes: u64,
    /// Deaths of the audit process since it last synced anything.
    deaths: u32,
    lost: u64,
    failure: Option<String>,
}

impl Default for Outbox {
    /// Nothing can be recorded until the journal is open.
    //= C8
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            unsynced: VecDeque::new(),
            flush: None,
            flushes: 0,
            deaths: 0,
            lost: 0,
            failure: Some("the journal is not open yet".to_owned()),
        }
    }
}

impl Outbox {
    /// Hands an event to the audit process, or keeps it for the next one. `send` says whether it was taken.
    pub(super) fn record(&mut self, send: impl FnMut(ToAudit) -> bool, event: Event) {
        self.waiting.push_back(event);
        while self.waiting.len() > MAX_WAITING
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.lost = self.lost.saturating_add(weight(&oldest));
        }
        self.deliver(send);
    }

    /// Tries to hand over what waits.
    pub(super) fn deliver(&mut self, mut send: impl FnMut(ToAudit) -> bool) {
        if self.lost > 0 && self.unsynced.len() < WINDOW {
            self.waiting
                .push_front(Event::RecordsLost { records: self.lost });
            self.lost = 0;
        }
        while self.unsynced.len() < WINDOW
            && let Some(event) = self.waiting.pop_front()
        {
            if !send(ToAudit::Append(Box::new(event.clone()))) {
                self.waiting.push_front(event);
                return;
            }
            self.unsynced.push_back(event);
        }
        if self.unsynced.len() >= WINDOW / 2 {
            self.settle(send);
        }
    }

    /// Whether the audit process has everything, synced or not.
    pub(super) fn handed_over(&self) -> bool {
        self.waiting.is_empty() && self.lost == 0
    }

    /// Asks the audit process to say when everything so far is on the disk.
    pub(super) fn settle(&mut self, mut send: impl FnMut(ToAudit) -> bool) {
        if self.flush.is_some() || self.unsynced.is_empty() {
            return;
        }
        self.flushes = self.flushes.saturating_add(1);
        if send(ToAudit::Flush {
            request: self.flushes,
        }) {
            self.flush = Some((self.flushes, self.unsynced.len()));
        }
    }

    /// The audit process synced everything that it had when it was asked.
    pub(super) fn flushed(&mut self, request: u64) {
        if let Some((_, covered)) = self.flush.take_if(|(asked, _)| *asked == request) {
            self.unsynced.drain(..covered.min(self.unsynced.len()));
            self.deaths = 0;
        }
    }

    /// The audit process died. If the same events were there each time, one of them may be the reason.
    pub(super) fn died(&mut self) {
        self.flush = None;
        self.deaths = self.deaths.saturating_add(1);
        if self.deaths >= MAX_DEATHS {
            for event in self.unsynced.drain(..) {
                self.lost = self.lost.saturating_add(weight(&event));
            }
            self.deaths = 0;
        }
        while let Some(event) = self.unsynced.pop_back() {
            self.waiting.push_front(event);
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

/// How many records are lost with this one.
fn weight(event: &Event) -> u64 {
    if let Event::RecordsLost { records } = event {
        *records
    } else {
        1
    }
}

/// Events in memory while the audit process is away.
//= C7
const MAX_WAITING: usize = 20_000;
/// Events in the hands of the audit process.
const WINDOW: usize = 8192;
/// Deaths after which the events under way are given up.
const MAX_DEATHS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    /// What an audit process would put on record.
    fn taken(sent: &[ToAudit]) -> Vec<String> {
        let events = sent.iter().filter_map(|message| {
            let ToAudit::Append(event) = message else {
                return None;
            };
            Some(if let Event::RecordsLost { records } = &**event {
                format!("lost {records}")
            } else if let Event::WorkerStarted { pid, .. } = &**event {
                pid.to_string()
            } else {
                panic!("{event:?}")
            })
        });
        events.collect()
    }

    fn event(pid: u32) -> Event {
        Event::WorkerStarted {
            worker: String::new(),
            pid,
        }
    }

    fn flushes(sent: &[ToAudit]) -> Vec<u64> {
        let numbers = sent.iter().filter_map(|message| match message {
            ToAudit::Flush { request } => Some(*request),
            ToAudit::Append(_) | ToAudit::Start { .. } | ToAudit::Stop => None,
        });
        numbers.collect()
    }

    #[test]
    fn what_was_not_synced_is_handed_to_the_next_process_in_order() {
        let (mut outbox, mut sent) = (Outbox::default(), Vec::new());
        let mut send = |message| {
            sent.push(message);
            true
        };
        outbox.record(&mut send, event(1));
        outbox.settle(&mut send);
        outbox.record(&mut send, event(2));
        outbox.flushed(1);
        outbox.died();
        outbox.record(|_| false, event(3));
        outbox.deliver(&mut send);
        assert_eq!(
            taken(&sent),
            ["1", "2", "2", "3"],
            "1 was synced, 2 perhaps"
        );
        assert_eq!(flushes(&sent), [1]);
    }

    #[test]
    fn an_answer_to_a_dead_process_counts_for_nothing() {
        let (mut outbox, mut sent) = (Outbox::default(), Vec::new());
        outbox.record(|_| true, event(1));
        outbox.settle(|_| true);
        outbox.died();
        outbox.flushed(1);
        outbox.deliver(|message| {
            sent.push(message);
            true
        });
        assert_eq!(taken(&sent), ["1"]);
    }

    #[test]
    fn beyond_the_bound_the_oldest_are_lost_and_counted() {
        let (mut outbox, mut sent) = (Outbox::default(), Vec::new());
        let bound = u32::try_from(MAX_WAITING).unwrap();
        for pid in 1..=bound {
            outbox.record(|_| false, event(pid));
        }
        outbox.record(|_| false, event(bound + 1));
        outbox.record(|_| false, event(bound + 2));
        let mut request = 0;
        // The window closes until the process has synced.
        for _ in 0..4 {
            outbox.deliver(|message| {
                sent.push(message);
                true
            });
            request += 1;
            outbox.flushed(request);
        }
        let taken = taken(&sent);
        assert_eq!(taken.first().unwrap(), "lost 2");
        assert_eq!(taken.get(1).unwrap(), "3");
        assert_eq!(taken.last().unwrap(), &(bound + 2).to_string());
        assert_eq!(taken.len(), MAX_WAITING + 1, "nothing twice");
    }

    #[test]
    fn an_event_that_kills_is_given_up_at_last_and_counted() {
        let (mut outbox, mut sent) = (Outbox::default(), Vec::new());
        outbox.record(|_| true, event(1));
        for _ in 0..MAX_DEATHS {
            sent.clear();
            outbox.died();
            outbox.deliver(|message| {
                sent.push(message);
                true
            });
        }
        assert_eq!(taken(&sent), ["lost 1"]);
    }

    #[test]
    fn nothing_can_be_recorded_before_the_journal_is_open() {
        let mut outbox = Outbox::default();
        assert!(outbox.failure().is_some());
        assert!(outbox.recovered() && !outbox.recovered());
        assert!(outbox.failed("full".to_owned()) && !outbox.failed("still full".to_owned()));
    }
}

//! Events on their way to the audit process, which may be busy, broken or dead.
//!
//! Decides what is kept and what is lost when nobody takes records, and whether flows may go on.
//! An event is kept until the audit process says that it is on the disk. What was under way when that process died
//! is handed over again, so that it may be on record twice, on either side of the journal's new opening, but never not.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

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
    /// The last flush that was answered.
    done: u64,
    /// Deaths of the audit process since it last synced anything.
    deaths: u32,
    lost: u64,
    /// How often something was synced.
    synced: u64,
    /// Since when it is long, and what was synced then.
    stuck: Option<(u64, Instant)>,
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
            done: 0,
            deaths: 0,
            lost: 0,
            synced: 0,
            stuck: None,
            failure: Some("the journal is not open yet".to_owned()),
        }
    }
}

impl Outbox {
    /// Takes an event, which [`Self::deliver`] hands over.
    pub(super) fn put(&mut self, event: Event) {
        self.waiting.push_back(event);
        while self.waiting.len() > MAX_WAITING
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.lost = self.lost.saturating_add(weight(&oldest));
        }
    }

    /// Tries to hand over what waits, many events at once. `send` says whether they were taken.
    pub(super) fn deliver(&mut self, mut send: impl FnMut(ToAudit) -> bool) {
        if self.lost > 0 && self.unsynced.len() < WINDOW {
            self.waiting
                .push_front(Event::RecordsLost { records: self.lost });
            self.lost = 0;
        }
        while self.unsynced.len() < WINDOW && !self.waiting.is_empty() {
            let room = WINDOW.saturating_sub(self.unsynced.len()).min(BATCH);
            let batch: Vec<Event> = self.waiting.iter().take(room).cloned().collect();
            let count = batch.len();
            if !send(ToAudit::Append(batch)) {
                return;
            }
            self.unsynced.extend(self.waiting.drain(..count));
        }
        if self.unsynced.len() >= WINDOW / 2 {
            self.settle(send);
        }
    }

    /// Whether the audit process has everything, synced or not.
    pub(super) fn handed_over(&self) -> bool {
        self.waiting.is_empty() && self.lost == 0
    }

    /// Whether so much waits that nothing new should begin.
    pub(super) fn is_long(&self) -> bool {
        self.waiting.len() >= LONG
    }

    /// Whether it is long, and was so for a long time in which nothing was synced.
    pub(super) fn is_stuck(&mut self, now: Instant) -> bool {
        if !self.is_long() || self.failure.is_some() {
            self.stuck = None;
            return false;
        }
        match self.stuck {
            Some((synced, since)) if synced == self.synced => {
                now.saturating_duration_since(since) >= PATIENCE
            }
            Some(_) | None => {
                self.stuck = Some((self.synced, now));
                false
            }
        }
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
            self.done = request;
            self.deaths = 0;
            self.synced = self.synced.saturating_add(1);
        }
    }

    /// The number of the first flush that can cover what is put from now on.
    pub(super) fn next_flush(&self) -> u64 {
        self.flushes.saturating_add(1)
    }

    /// Whether the flush of this number, or a later one, is on the disk, and everything before it.
    pub(super) fn has_flushed(&self, number: u64) -> bool {
        self.done >= number
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

/// Events in memory while the audit process is away. While it is there, relays begin nothing new from [`LONG`] on,
/// and what they are ahead by then ([`MOST_UNRECORDED`](crate::forward::message::MOST_UNRECORDED) decisions each, and
/// one or two for each connection) has room here.
//= C7
const MAX_WAITING: usize = 20_000;
/// Events that wait from which on the devices must wait too.
const LONG: usize = 2_048;
/// Most events in one message.
const BATCH: usize = 64;
/// How long the audit process may sync nothing while the devices wait for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Events in the hands of the audit process.
const WINDOW: usize = 8192;
/// Deaths after which the events under way are given up.
const MAX_DEATHS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    /// What an audit process would put on record.
    fn taken(sent: &[ToAudit]) -> Vec<String> {
        let batches = sent.iter().filter_map(|message| match message {
            ToAudit::Append(events) => Some(events),
            ToAudit::Flush { .. } | ToAudit::Start { .. } | ToAudit::Stop => None,
        });
        let events = batches.flatten().map(|event| {
            if let Event::RecordsLost { records } = event {
                format!("lost {records}")
            } else if let Event::WorkerStarted { pid, .. } = event {
                pid.to_string()
            } else {
                panic!("{event:?}")
            }
        });
        events.collect()
    }

    fn record(outbox: &mut Outbox, send: impl FnMut(ToAudit) -> bool, event: Event) {
        outbox.put(event);
        outbox.deliver(send);
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
        record(&mut outbox, &mut send, event(1));
        outbox.settle(&mut send);
        record(&mut outbox, &mut send, event(2));
        outbox.flushed(1);
        outbox.died();
        record(&mut outbox, |_| false, event(3));
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
        record(&mut outbox, |_| true, event(1));
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
            record(&mut outbox, |_| false, event(pid));
        }
        record(&mut outbox, |_| false, event(bound + 1));
        record(&mut outbox, |_| false, event(bound + 2));
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
        record(&mut outbox, |_| true, event(1));
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
    #[allow(clippy::disallowed_methods, reason = "tests make up their time")]
    fn it_is_long_until_enough_is_synced_and_stuck_when_nothing_is() {
        let (mut outbox, start) = (Outbox::default(), Instant::now());
        outbox.recovered();
        let window = u32::try_from(WINDOW).unwrap();
        let long = u32::try_from(LONG).unwrap();
        for pid in 1..window + long {
            record(&mut outbox, |_| true, event(pid));
        }
        assert!(!outbox.is_long() && !outbox.is_stuck(start + PATIENCE));
        record(&mut outbox, |_| true, event(0));
        assert!(outbox.is_long() && !outbox.is_stuck(start));
        assert!(!outbox.is_stuck(start + PATIENCE / 2));
        assert!(outbox.is_stuck(start + PATIENCE));
        // The first flush was asked for when half the window was out.
        outbox.flushed(1);
        assert!(!outbox.is_stuck(start + PATIENCE));
        outbox.deliver(|_| true);
        assert!(!outbox.is_long());
        // What cannot be written at all is told to the relays, and is no reason to wait.
        for pid in 0..window {
            record(&mut outbox, |_| true, event(pid));
        }
        assert!(outbox.is_long() && outbox.failed("full".to_owned()));
        assert!(!outbox.is_stuck(start + PATIENCE) && !outbox.is_stuck(start + 3 * PATIENCE));
    }

    #[test]
    fn nothing_can_be_recorded_before_the_journal_is_open() {
        let mut outbox = Outbox::default();
        assert!(outbox.failure().is_some());
        assert!(outbox.recovered() && !outbox.recovered());
        assert!(outbox.failed("full".to_owned()) && !outbox.failed("still full".to_owned()));
    }
}

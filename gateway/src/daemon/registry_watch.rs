//! Whether the registry's thread lives: it says something every second.
//!
//! In: when it was started, when it was heard, whether it ended, time. Out: what is to be done about it. Pure.
//! A thread that hangs is only told: the system would not end it, and a second one would not fare better with the same
//! disk.

use std::time::{Duration, Instant};

/// What was seen of the thread.
#[derive(Debug, Default)]
pub(super) struct Watch {
    started: Option<Instant>,
    heard: Option<Instant>,
    /// It was told that nothing is heard.
    pub(super) silent: bool,
    /// How often it ended soon after its start, one after the other.
    deaths: u32,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing.
    Well,
    /// It ended, and is to be started now.
    Ended,
    /// It says nothing since a while; said once.
    Silent,
}

impl Watch {
    /// It begins.
    pub(super) fn started(&mut self, now: Instant) {
        (self.started, self.heard, self.silent) = (Some(now), Some(now), false);
    }

    /// It said something. True if it had been missed.
    pub(super) fn heard(&mut self, now: Instant) -> bool {
        self.heard = Some(now);
        std::mem::take(&mut self.silent)
    }

    /// What is to be done, if it ended or did not. A thread that ends again and again is started ever more rarely.
    pub(super) fn look(&mut self, now: Instant, ended: bool) -> Fate {
        let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        if !ended {
            let silent = since(self.heard).is_some_and(|heard| heard >= SILENCE);
            if silent && !self.silent {
                self.silent = true;
                return Fate::Silent;
            }
            return Fate::Well;
        }
        let lived = match (self.heard, self.started) {
            (Some(heard), Some(started)) => heard.saturating_duration_since(started),
            _ => Duration::ZERO,
        };
        if lived >= LONGEST {
            self.deaths = 0;
        }
        let pause = FIRST.saturating_mul(1 << self.deaths.min(MOST_DOUBLINGS));
        if since(self.started).is_some_and(|started| started < pause.min(LONGEST)) {
            return Fate::Well;
        }
        self.deaths = self.deaths.saturating_add(1);
        Fate::Ended
    }
}

/// Between two starts, the first time.
const FIRST: Duration = Duration::from_secs(2);
/// And at most. A thread that lived so long may be started at once.
const LONGEST: Duration = Duration::from_mins(1);
const MOST_DOUBLINGS: u32 = 5;
/// Without a word: the database may take half a minute for each of a few steps (`registry/task.rs`).
const SILENCE: Duration = Duration::from_mins(2);

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make up their time")]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_ends_again_and_again_is_started_ever_more_rarely() {
        let begun = Instant::now();
        let mut watch = Watch::default();
        watch.started(begun);
        let mut starts = Vec::new();
        for second in 0..200 {
            let now = begun + Duration::from_secs(second);
            if watch.look(now, true) == Fate::Ended {
                starts.push(second);
                watch.started(now);
            }
        }
        assert_eq!(starts, [2, 6, 14, 30, 62, 122, 182]);
        // One that lived is started at once, and the next again after a short while.
        let now = begun + Duration::from_secs(300);
        watch.heard(now);
        let later = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(watch.look(later(1), true), Fate::Ended);
        watch.started(later(1));
        assert_eq!(watch.look(later(4), true), Fate::Well);
        assert_eq!(watch.look(later(5), true), Fate::Ended);
    }

    #[test]
    fn a_thread_that_hangs_is_told_once() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut watch = Watch::default();
        watch.started(begun);
        assert!(!watch.heard(at(10)));
        assert_eq!(watch.look(at(129), false), Fate::Well);
        assert_eq!(watch.look(at(130), false), Fate::Silent);
        assert!(watch.silent);
        assert_eq!(watch.look(at(131), false), Fate::Well);
        assert!(watch.heard(at(140)) && !watch.silent);
        assert_eq!(watch.look(at(259), false), Fate::Well);
        assert_eq!(watch.look(at(260), false), Fate::Silent);
    }
}

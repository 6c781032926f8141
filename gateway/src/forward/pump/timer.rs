//! When a connection is woken though nothing happened.
//!
//! In: its next deadline, before each wait. Out: a wake-up then, or earlier: deadlines mostly move on with each message,
//! and a timer that is early now and then costs less than one that is set anew each time.
//! Knows nothing of what the deadline is for.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// The timer of one connection.
pub(super) struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// When it wakes; `None` once it did.
    at: Option<Instant>,
    /// Whom it wakes, once it was asked since it was set.
    wakes: Option<Waker>,
}

impl Timer {
    /// One that wakes at some time.
    pub(super) fn new() -> Self {
        Self {
            sleep: Box::pin(tokio::time::sleep(LONGEST)),
            at: None,
            wakes: None,
        }
    }

    /// Wakes at `next` at the latest.
    pub(super) fn set(&mut self, next: Option<Instant>, now: Instant) {
        let left = next.map_or(LONGEST, |at| at.saturating_duration_since(now));
        let left = left.clamp(SHORTEST, LONGEST);
        let at = now + left;
        if self.at.is_none_or(|before| at < before) {
            self.sleep
                .as_mut()
                .reset(tokio::time::Instant::now() + left);
            self.at = Some(at);
            self.wakes = None;
        }
    }

    /// Whether it is time. If not, the task is woken then; who that is need not be said again with each turn.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let knows = self.wakes.as_ref();
        if knows.is_some_and(|waker| waker.will_wake(cx.waker())) && !self.sleep.is_elapsed() {
            return Poll::Pending;
        }
        let polled = self.sleep.as_mut().poll(cx);
        if polled.is_ready() {
            self.at = None;
            self.wakes = None;
        } else {
            self.wakes = Some(cx.waker().clone());
        }
        polled
    }
}

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "timers run in tokio's time")]
    use std::future::poll_fn;

    use futures_util::FutureExt;

    use super::*;

    /// It is asked before its time, as with every turn, and once more after it fired unseen.
    #[tokio::test]
    async fn it_wakes_who_asked_and_what_fired_is_not_forgotten() {
        let begun = Instant::now();
        let soon = |ms| Some(begun + Duration::from_millis(ms));
        let (mut timer, mut later) = (Timer::new(), Timer::new());
        timer.set(soon(20), begun);
        for _ in 0..3 {
            assert!(poll_fn(|cx| timer.poll(cx)).now_or_never().is_none());
        }
        poll_fn(|cx| timer.poll(cx)).await;
        assert!(begun.elapsed() >= Duration::from_millis(20));
        timer.set(soon(60_000), begun);
        assert!(poll_fn(|cx| timer.poll(cx)).now_or_never().is_none());
        // Earlier than before: it says so again to whom it knew.
        timer.set(soon(40), begun);
        assert!(poll_fn(|cx| timer.poll(cx)).now_or_never().is_none());
        later.set(soon(60), begun);
        poll_fn(|cx| later.poll(cx)).await;
        assert!(poll_fn(|cx| timer.poll(cx)).now_or_never().is_some());
    }
}

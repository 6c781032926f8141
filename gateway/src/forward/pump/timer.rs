//! When a connection is woken though nothing happened.
//!
//! In: its next deadline, before each wait. Out: a wake-up then, or earlier: deadlines mostly move on with each message,
//! and a timer that is early now and then costs less than one that is set anew each time.
//! Knows nothing of what the deadline is for.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// The timer of one connection.
pub(super) struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// When it wakes; `None` once it did.
    at: Option<Instant>,
}

impl Timer {
    /// One that wakes at some time.
    pub(super) fn new() -> Self {
        Self {
            sleep: Box::pin(tokio::time::sleep(LONGEST)),
            at: None,
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
        }
    }

    /// Whether it is time.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.sleep.as_mut().poll(cx);
        if polled.is_ready() {
            self.at = None;
        }
        polled
    }
}

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(3_600);

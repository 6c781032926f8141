//! The audit process: takes events from the supervisor and keeps the journal.
//!
//! Records reach the disk together: what came while the disk was busy is the next batch.
//! While the journal cannot be written, events are held up to [`MAX_HELD`], the rest is counted and lost;
//! the supervisor hears of the failure and of its end.
//! Knows nothing of what the supervisor does about that.
//= C8

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::time::Instant;

use super::event::Event;
use super::journal::{Journal, JournalError, Options};
use super::message::{FromAudit, ToAudit};
use crate::channel::{Channel, ChannelError};
use crate::flow::Clock;

/// Why the audit process ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The supervisor cannot be spoken with.
    #[error("cannot speak with the supervisor")]
    Channel(#[from] ChannelError),
    /// The first message was not `Start`.
    #[error("the supervisor did not say how to start")]
    NotStarted,
    /// The supervisor is gone or stops, and the last records could not be written.
    #[error("{records} records are lost")]
    Lost {
        /// How many.
        records: u64,
        /// Why.
        #[source]
        cause: Box<JournalError>,
    },
}

/// The whole life of the audit process. Ends when told to, or when the supervisor is gone.
///
/// # Errors
/// When records are lost with the process, or the channel breaks.
pub async fn run(
    channel: Channel<FromAudit, ToAudit>,
    clock: Arc<dyn Clock>,
) -> Result<(), AuditError> {
    let (first, _) = match channel.receive().await {
        Err(ChannelError::Closed) => return Ok(()),
        first => first?,
    };
    let ToAudit::Start {
        gateway,
        directory,
        rotate_size,
        keep,
        sync_ms,
    } = first
    else {
        return Err(AuditError::NotStarted);
    };
    let options = Options {
        gateway,
        directory,
        rotate_size,
        keep,
    };
    let mut keeper = Keeper::new(options, Duration::from_millis(sync_ms));
    keeper.work(&*clock);
    loop {
        for message in keeper.said.drain(..) {
            match channel.send(&message, &[]).await {
                Ok(()) | Err(ChannelError::Closed) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if keeper.stopping {
            return keeper.finish();
        }
        let due = keeper.due;
        tokio::select! {
            message = channel.receive() => keeper.take(message, &*clock)?,
            () = sleep_until(due) => {}
        }
        // Group commit: whatever else has come by now shares the sync.
        while keeper.has_room()
            && let Some(message) = channel.receive().now_or_never()
        {
            keeper.take(message, &*clock)?;
        }
        keeper.work(&*clock);
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// The journal, what waits for it, and what must be said.
struct Keeper {
    options: Options,
    interval: Duration,
    journal: Option<Journal>,
    /// Everything that is not yet synced, oldest first.
    held: VecDeque<(Timestamp, Event)>,
    /// How many of `held`, from the front, were written and wait for the sync.
    written: usize,
    lost: u64,
    flushes: Vec<u64>,
    failed: Option<JournalError>,
    ready: bool,
    /// When something must be done without a message.
    due: Option<Instant>,
    taken: usize,
    stopping: bool,
    said: Vec<FromAudit>,
}

impl Keeper {
    fn new(options: Options, interval: Duration) -> Self {
        Self {
            options,
            interval,
            journal: None,
            held: VecDeque::new(),
            written: 0,
            lost: 0,
            flushes: Vec::new(),
            failed: None,
            ready: false,
            due: None,
            taken: 0,
            stopping: false,
            said: Vec::new(),
        }
    }

    fn has_room(&self) -> bool {
        !self.stopping && self.taken < MAX_BATCH
    }

    fn take(
        &mut self,
        message: Result<(ToAudit, Vec<std::os::fd::OwnedFd>), ChannelError>,
        clock: &dyn Clock,
    ) -> Result<(), AuditError> {
        self.taken += 1;
        match message {
            Ok((ToAudit::Append(events), _)) => {
                let now = clock.wall();
                // A message counts as one, and each of its events.
                self.taken += events.len();
                for event in events {
                    if self.held.len() < MAX_HELD {
                        self.held.push_back((now, event));
                    } else {
                        self.lost += 1;
                    }
                }
            }
            Ok((ToAudit::Flush { request }, _)) => self.flushes.push(request),
            Ok((ToAudit::Stop, _)) | Err(ChannelError::Closed) => self.stopping = true,
            Ok((ToAudit::Start { .. }, _)) => return Err(AuditError::NotStarted),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Writes and syncs what is due, and says how that went.
    fn work(&mut self, clock: &dyn Clock) {
        self.taken = 0;
        if self.failed.is_some()
            && !self.stopping
            && self.due.is_some_and(|due| Instant::now() < due)
        {
            return;
        }
        match self.commit(clock) {
            Ok(()) => {
                if self.failed.take().is_some() {
                    self.said.push(FromAudit::Recovered);
                }
                // A commit with a flush waiting always syncs.
                let answers = self.flushes.drain(..);
                self.said
                    .extend(answers.map(|request| FromAudit::Flushed { request }));
            }
            Err(error) => {
                self.written = 0;
                self.due = Some(Instant::now() + RETRY);
                if self.failed.is_none() {
                    self.said.push(FromAudit::Failed { why: chain(&error) });
                }
                self.failed = Some(error);
            }
        }
    }

    fn commit(&mut self, clock: &dyn Clock) -> Result<(), JournalError> {
        let now = clock.wall();
        let mut journal = match self.journal.take() {
            Some(journal) => journal,
            None => {
                let journal = Journal::open(self.options.clone(), now)?;
                if !self.ready {
                    self.ready = true;
                    self.said.push(FromAudit::Ready {
                        next: journal.next(),
                    });
                }
                journal
            }
        };
        let done = self.commit_to(&mut journal, now);
        // A removed file is missed when the journal is opened again, and that goes on record.
        if !matches!(done, Err(JournalError::Removed(_))) {
            self.journal = Some(journal);
        }
        done
    }

    fn commit_to(&mut self, journal: &mut Journal, now: Timestamp) -> Result<(), JournalError> {
        let held = self.held.make_contiguous();
        let new = held.get(self.written..).unwrap_or_default();
        if !new.is_empty() {
            journal.write(new, now)?;
            self.written = self.held.len();
        }
        let waiting = self.held.is_empty() && self.lost == 0;
        let must = !self.flushes.is_empty()
            || self.stopping
            || self.failed.is_some()
            || self.interval.is_zero()
            || self.held.len() >= MAX_HELD / 2
            || self.due.is_some_and(|due| Instant::now() >= due);
        if !waiting && !must {
            self.due
                .get_or_insert_with(|| Instant::now() + self.interval);
            return Ok(());
        }
        self.due = None;
        journal.sync()?;
        self.held.clear();
        self.written = 0;
        if self.lost > 0 {
            let lost = Event::RecordsLost { records: self.lost };
            journal.write(&[(now, lost)], now)?;
            journal.sync()?;
            self.lost = 0;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), AuditError> {
        let records = self.lost + u64::try_from(self.held.len()).unwrap_or(u64::MAX);
        match self.failed {
            Some(cause) => Err(AuditError::Lost {
                records,
                cause: Box::new(cause),
            }),
            None => Ok(()),
        }
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Most records that are held while the journal cannot be written.
pub const MAX_HELD: usize = 10_000;
/// Most messages that are taken before a write.
const MAX_BATCH: usize = 1024;
/// Between attempts to write again.
const RETRY: Duration = Duration::from_millis(500);

//! Writes snapshots: a decision at once, what the database said in the background.
//!
//! In: snapshots in the order in which they hold. Out: the file, which never goes back to an earlier one.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tracing::error;

use super::snapshot::{self, RegistryError, Snapshot};

/// The file and who writes it.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    /// Number of the last snapshot.
    last: u64,
    /// Wakes the thread; it is started when there is something to do.
    thread: Option<(SyncSender<()>, JoinHandle<()>)>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    /// Waits to be written.
    next: Mutex<Option<(u64, Arc<Snapshot>)>>,
    /// What is on the disk.
    written: Mutex<u64>,
}

impl Writer {
    pub(super) fn new(directory: &Path) -> Self {
        let shared = Shared {
            directory: directory.to_owned(),
            next: Mutex::new(None),
            written: Mutex::new(0),
        };
        Self {
            shared: Arc::new(shared),
            last: 0,
            thread: None,
        }
    }

    /// It is on the disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&mut self, snapshot: &Snapshot) -> Result<(), RegistryError> {
        self.last = self.last.saturating_add(1);
        self.shared.write(self.last, snapshot)
    }

    /// It is on the disk soon, unless a later one is before.
    pub(super) fn write_soon(&mut self, snapshot: &Arc<Snapshot>) {
        self.last = self.last.saturating_add(1);
        *lock(&self.shared.next) = Some((self.last, Arc::clone(snapshot)));
        let thread = match self.thread.take() {
            Some(thread) => Some(thread),
            None => self.start(),
        };
        let Some((wake, thread)) = thread else {
            return self.shared.write_next();
        };
        match wake.try_send(()) {
            // It will look again in any case.
            Ok(()) | Err(TrySendError::Full(())) => self.thread = Some((wake, thread)),
            Err(TrySendError::Disconnected(())) => self.shared.write_next(),
        }
    }

    fn start(&self) -> Option<(SyncSender<()>, JoinHandle<()>)> {
        let shared = Arc::clone(&self.shared);
        let (wake, woken): (_, Receiver<()>) = sync_channel(1);
        let work = move || {
            while woken.recv().is_ok() {
                shared.write_next();
            }
        };
        let thread = std::thread::Builder::new().name("snapshot".to_owned());
        Some((wake, thread.spawn(work).ok()?))
    }
}

impl Shared {
    fn write_next(&self) {
        let next = lock(&self.next).take();
        if let Some((number, snapshot)) = next
            && let Err(error) = self.write(number, &snapshot)
        {
            error!(%error, "the registry cannot be kept for a restart without its database");
        }
    }

    fn write(&self, number: u64, snapshot: &Snapshot) -> Result<(), RegistryError> {
        let mut written = lock(&self.written);
        if *written < number {
            snapshot::write(&self.directory, snapshot)?;
            *written = number;
        }
        Ok(())
    }
}

/// What waits is written before the end.
impl Drop for Writer {
    fn drop(&mut self) {
        if let Some((wake, thread)) = self.thread.take() {
            drop(wake);
            let _it_said_what_went_wrong = thread.join();
        }
        self.shared.write_next();
    }
}

/// A snapshot is whole whoever held the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

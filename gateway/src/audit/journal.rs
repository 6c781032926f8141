//! The journal on the disk: appends, syncs, rotates, and goes on after a crash.
//!
//! In: events with their times. Out: lines in `journal-NNNNNN.jsonl` and a sync point after each sync.
//! What is written counts only after [`Journal::sync`]; when that fails the journal goes back
//! to the last sync point, and the caller writes the same events again.
//! Nothing that is damaged is ever overwritten: a broken chain goes on in a new file whose first record says so.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::FlockOperation;

use super::event::Event;
use super::files;
use super::head::{self, Point};
use super::key::{self, Key, KeyError};
use super::opening::{self, Opening};
use super::record::{Content, Encoder, Opened};

/// Where and how to keep a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The gateway's name, in every record.
    pub gateway: String,
    /// Where; created with mode 0700 if it is not there.
    pub directory: PathBuf,
    /// A file is closed when it has this many bytes.
    pub rotate_size: u64,
    /// Closed files to keep; 0 keeps all.
    pub keep: u32,
}

/// An open journal. There is one for each directory.
pub struct Journal {
    options: Options,
    /// Holds the lock.
    directory: File,
    encoder: Encoder,
    log_key: Key,
    file: File,
    /// What the disk has for sure.
    synced: Point,
    /// What was written.
    written: Point,
    /// The oldest file that is kept.
    oldest: u64,
    /// Whether there may be bytes behind `written`.
    torn: bool,
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The system says no.
    #[error("cannot {what} {path}")]
    Io {
        /// `open`, `write`, `sync`, ….
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What it says.
        #[source]
        cause: io::Error,
    },
    /// Somebody removed the file that is being written.
    #[error("{0} was removed")]
    Removed(PathBuf),
    /// Another process writes it.
    #[error("another process writes the journal in {0}")]
    Locked(PathBuf),
    /// A key is missing or unsafe.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Journal {
    /// Opens the journal, or begins one, and puts that on record.
    ///
    /// # Errors
    /// When the directory, a key or a file cannot be used. Damage is no error: it is put on record.
    pub fn open(options: Options, now: Timestamp) -> Result<Self, JournalError> {
        let path = options.directory.clone();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(failed("create", &path))?;
        let directory = File::open(&path).map_err(failed("open", &path))?;
        rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| JournalError::Locked(path.clone()))?;
        let log_key = key::read_or_create(&path, key::LOG_KEY)?;
        let digest_key = key::read_or_create(&path, key::DIGEST_KEY)?;
        let head =
            head::load(&path, Some(&log_key)).map_err(failed("read", &path.join(head::HEAD)))?;
        let opening = opening::find(&path, &head).map_err(failed("read", &path))?;

        let (number, is_new) = match &opening {
            Opening::Same { point, .. } => (point.file, false),
            Opening::New { file, .. } => (*file, true),
        };
        let file = open_file(&path, number, is_new)?;
        let (point, oldest) = match &opening {
            Opening::Same { point, oldest, .. } => (*point, *oldest),
            Opening::New {
                file,
                seq,
                prev,
                oldest,
                ..
            } => (
                Point {
                    file: *file,
                    length: 0,
                    seq: *seq,
                    hash: *prev,
                },
                *oldest,
            ),
        };
        let mut journal = Self {
            encoder: Encoder::new(&options.gateway, digest_key),
            options,
            directory,
            log_key,
            file,
            synced: point,
            written: point,
            oldest,
            torn: true,
        };
        let (cut, broken) = match opening {
            Opening::Same { cut, .. } => ((cut > 0).then_some(cut), None),
            Opening::New { broken, .. } => (None, broken),
        };
        let before = (point.length == 0 && number > 1).then(|| number - 1);
        let begun = journal
            .place(&[], now, Some(&journal.opened(before, cut, broken)))
            .and_then(|()| journal.sync());
        if begun.is_err() && is_new {
            // Ours, and without a record; the next attempt needs the name.
            let _ = std::fs::remove_file(journal.path(number));
        }
        begun.map(|()| journal)
    }

    /// The number that the next record will have.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.written.seq + 1
    }

    /// Writes events, in a new file if the old one is full. They count after [`Self::sync`].
    ///
    /// # Errors
    /// When they cannot be written; then nothing since the last sync counts.
    pub fn write(
        &mut self,
        events: &[(Timestamp, Event)],
        now: Timestamp,
    ) -> Result<(), JournalError> {
        if self.written == self.synced && self.synced.length >= self.options.rotate_size {
            self.rotate(now)?;
        }
        self.place(events, now, None)
    }

    /// Brings what was written to the disk and moves the sync point.
    ///
    /// # Errors
    /// When it does not reach the disk; then nothing since the last sync counts.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        if self.written == self.synced {
            return Ok(());
        }
        let path = self.path(self.written.file);
        let synced = self
            .file
            .sync_data()
            .map_err(failed("sync", &path))
            .and_then(|()| self.mark());
        if synced.is_err() {
            // The kernel may have dropped the pages: only what was synced before is certain.
            self.torn = true;
            self.written = self.synced;
        }
        synced
    }

    fn mark(&mut self) -> Result<(), JournalError> {
        head::save(&self.options.directory, &self.written, &self.log_key)
            .map_err(failed("write", &self.options.directory.join(head::HEAD)))?;
        self.synced = self.written;
        Ok(())
    }

    fn place(
        &mut self,
        events: &[(Timestamp, Event)],
        now: Timestamp,
        opened: Option<&Opened>,
    ) -> Result<(), JournalError> {
        let mut at = self.written;
        let mut bytes = Vec::new();
        let own = opened.map(|opened| (now, Content::Opened(opened)));
        let events = events
            .iter()
            .map(|(time, event)| (*time, Content::Event(event)));
        for (time, content) in own.into_iter().chain(events) {
            at.seq += 1;
            at.hash = self
                .encoder
                .encode(at.seq, time, &content, &at.hash, &mut bytes);
        }
        at.length += u64::try_from(bytes.len()).unwrap_or(u64::MAX);

        let path = self.path(at.file);
        if self.file.metadata().is_ok_and(|file| file.nlink() == 0) {
            return Err(JournalError::Removed(path));
        }
        let put = self.put(&bytes).map_err(failed("write", &path));
        if put.is_err() {
            self.torn = true;
            self.written = self.synced;
        } else {
            self.written = at;
        }
        put
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.written.length)?;
            self.torn = false;
        }
        self.file.write_all_at(bytes, self.written.length)
    }

    fn rotate(&mut self, now: Timestamp) -> Result<(), JournalError> {
        let number = self.synced.file + 1;
        let file = open_file(&self.options.directory, number, true)?;
        let before = (
            self.synced,
            self.oldest,
            std::mem::replace(&mut self.file, file),
        );
        if self.options.keep > 0 {
            let kept = number.saturating_sub(u64::from(self.options.keep));
            self.oldest = self.oldest.max(kept);
        }
        let start = Point {
            file: number,
            length: 0,
            ..self.synced
        };
        (self.synced, self.written) = (start, start);
        let begun = self
            .place(&[], now, Some(&self.opened(Some(number - 1), None, None)))
            .and_then(|()| self.sync());
        if begun.is_err() {
            // Ours, and without a record: not evidence of anything.
            let _ = std::fs::remove_file(self.path(number));
            (self.synced, self.oldest, self.file) = before;
            self.written = self.synced;
            return begun;
        }
        self.prune()
    }

    /// Removes the files that the new file's first record no longer names.
    fn prune(&self) -> Result<(), JournalError> {
        let directory = &self.options.directory;
        if self.options.keep == 0 {
            return Ok(());
        }
        let files = files::list(directory).map_err(failed("read", directory))?;
        for old in files.range(..self.oldest) {
            let path = self.path(*old);
            std::fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
        self.directory.sync_all().map_err(failed("sync", directory))
    }

    fn opened(&self, previous: Option<u64>, cut: Option<u64>, broken: Option<String>) -> Opened {
        Opened {
            file: files::name(self.written.file),
            oldest: files::name(self.oldest),
            previous: previous.map(files::name),
            cut,
            broken,
        }
    }

    fn path(&self, file: u64) -> PathBuf {
        self.options.directory.join(files::name(file))
    }
}

fn open_file(directory: &Path, number: u64, is_new: bool) -> Result<File, JournalError> {
    let path = directory.join(files::name(number));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(is_new)
        .mode(0o600)
        .open(&path)
        .map_err(failed("open", &path))?;
    if is_new && let Err(cause) = File::open(directory).and_then(|d| d.sync_all()) {
        let _ = std::fs::remove_file(&path);
        return Err(failed("sync", directory)(cause));
    }
    Ok(file)
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |cause| JournalError::Io { what, path, cause }
}

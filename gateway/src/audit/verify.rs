//! Whether a journal is whole: nothing changed, removed, inserted, reordered or cut off.
//!
//! In: the directory. Out: a [`Report`] that names file, line and record of each fault.
//! The chain needs no key; the seal of the sync point is checked if the log key can be read.
//! What came after the last sync point may be cut off unnoticed: the sync point follows each sync.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::files::{self, Line, Lines};
use super::head::{self, Head, Point};
use super::key;
use super::record::{BEGINNING, Hash, JOURNAL_OPENED, Link, Record};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Files that were read.
    pub files: u64,
    /// Records in them.
    pub records: u64,
    /// The first record.
    pub first: Option<Mark>,
    /// The last record.
    pub last: Option<Mark>,
    /// How far the journal is known to reach.
    pub sync_point: SyncPoint,
    /// What is wrong; nothing, if the journal is whole. At most [`MAX_FAULTS`].
    pub faults: Vec<Fault>,
    /// What is worth to know but not wrong.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty()
    }
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// Its number.
    pub seq: u64,
    /// Its time.
    pub time: String,
}

/// How far the journal is known to reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncPoint {
    /// It is unknown.
    #[default]
    Unknown,
    /// To this record; the seal was not checked, because the key cannot be read.
    Unchecked(u64),
    /// To this record; the seal is right.
    Sealed(u64),
}

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// In which file.
    pub file: String,
    /// In which line, from 1; 0 is the file as a whole.
    pub line: u64,
    /// Which record, if it can be read.
    pub seq: Option<u64>,
    /// What.
    pub what: String,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The system does not let it be read.
    #[error("cannot read the journal in {directory}")]
    Io {
        /// The directory.
        directory: std::path::PathBuf,
        /// What it says.
        #[source]
        cause: io::Error,
    },
    /// There is none.
    #[error("there is no journal in {0}")]
    Nothing(std::path::PathBuf),
}

/// Checks a journal, also while it is being written.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn verify(directory: &Path) -> Result<Report, VerifyError> {
    let failed = |cause| VerifyError::Io {
        directory: directory.to_owned(),
        cause,
    };
    let mut attempts = 3;
    loop {
        match read(directory) {
            Ok(Some(report)) => return Ok(report),
            Ok(None) => return Err(VerifyError::Nothing(directory.to_owned())),
            // A file was removed by rotation between listing and reading.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && attempts > 1 => attempts -= 1,
            Err(cause) => return Err(failed(cause)),
        }
    }
}

fn read(directory: &Path) -> io::Result<Option<Report>> {
    // The sync point first: what it names was there before the files are read.
    let log_key = key::read(&directory.join(key::LOG_KEY)).ok();
    let head = head::load(directory, log_key.as_deref())?;
    let files = files::list(directory)?;
    let (Some(&first), Some(&newest)) = (files.first(), files.last()) else {
        return Ok(match head {
            Head::Missing => None,
            Head::At(..) | Head::Forged | Head::Unreadable => {
                let mut walk = Walk::new(&head);
                walk.fault(head::HEAD, 0, None, "there is a sync point, but no file");
                Some(walk.report)
            }
        });
    };
    let mut walk = Walk::new(&head);
    for &file in &files {
        walk.file(directory, file, file == newest)?;
    }
    walk.end(&files, first, newest);
    Ok(Some(walk.report))
}

struct Walk {
    report: Report,
    head: Option<Point>,
    at_head: bool,
    /// The record before, if its hash is a good expectation.
    before: Option<(u64, Hash)>,
    oldest: Option<u64>,
}

impl Walk {
    fn new(head: &Head) -> Self {
        let mut walk = Self {
            report: Report::default(),
            head: None,
            at_head: false,
            before: None,
            oldest: None,
        };
        match head {
            Head::At(point, checked) => {
                walk.head = Some(*point);
                walk.report.sync_point = if *checked {
                    SyncPoint::Sealed(point.seq)
                } else {
                    SyncPoint::Unchecked(point.seq)
                };
                if !checked {
                    walk.note(
                        "the seal of the sync point was not checked: the log key cannot be read",
                    );
                }
            }
            Head::Missing => walk.fault(head::HEAD, 0, None, "the sync point is missing"),
            Head::Unreadable => walk.fault(head::HEAD, 0, None, "the sync point cannot be read"),
            Head::Forged => walk.fault(head::HEAD, 0, None, "the sync point is not genuine"),
        }
        walk
    }

    fn file(&mut self, directory: &Path, number: u64, is_newest: bool) -> io::Result<()> {
        let name = files::name(number);
        let mut lines = Lines::open(&directory.join(&name))?;
        self.report.files += 1;
        let mut count = 0;
        while let Some(line) = lines.read()? {
            count += 1;
            if !line.complete {
                self.unfinished(&name, count, &line, is_newest);
                break;
            }
            self.record(number, &name, count, &line);
        }
        if count == 0 && !is_newest {
            self.fault(&name, 0, None, "the file is empty");
        }
        Ok(())
    }

    /// A newest file may end in the middle of a record: after a crash, or while it is written.
    fn unfinished(&mut self, name: &str, count: u64, line: &Line, is_newest: bool) {
        let begin = line.end - u64::try_from(line.bytes.len()).unwrap_or(0);
        let synced = self
            .head
            .is_some_and(|head| files::name(head.file) == name && begin < head.length);
        if is_newest && !synced && line.bytes.len() < super::record::MAX_LINE {
            let length = line.bytes.len();
            self.note(&format!(
                "{name}:{count}: {length} bytes of an unfinished record after the sync point"
            ));
        } else {
            self.fault(name, count, None, "the record is unfinished");
        }
    }

    fn record(&mut self, number: u64, name: &str, count: u64, line: &Line) {
        let Some(link) = Link::read(&line.bytes) else {
            // The record behind it is judged by this one's absence.
            self.fault(name, count, None, "this is not a record");
            return;
        };
        self.report.records += 1;
        let seq = Some(link.seq);
        if !link.genuine {
            self.fault(name, count, seq, "the record was changed");
        }
        if let Some(record) = Record::read(&line.bytes) {
            self.header(name, count, &record);
        } else {
            self.fault(name, count, seq, "this is not a record");
        }
        match self.before.take() {
            Some((before, _)) if link.seq != before + 1 => self.fault(
                name,
                count,
                seq,
                &format!(
                    "record {} is expected here: records are missing, inserted or out of order",
                    before + 1
                ),
            ),
            Some((_, hash)) if link.prev != hash => {
                self.fault(
                    name,
                    count,
                    seq,
                    "the record before it is not the one that was written",
                );
            }
            None if self.report.first.is_none()
                && number == 1
                && (link.seq, link.prev) != (1, BEGINNING) =>
            {
                self.fault(name, count, seq, "records before it are missing");
            }
            Some(_) | None => {}
        }
        if let Some(head) = self.head
            && (head.file, head.length) == (number, line.end)
        {
            self.at_head = (head.seq, head.hash) == (link.seq, link.hash);
        }
        self.before = Some((link.seq, link.hash));
        let mark = Mark {
            seq: link.seq,
            time: link.time,
        };
        if self.report.first.is_none() {
            self.report.first = Some(mark.clone());
        }
        self.report.last = Some(mark);
    }

    /// The journal's own records: at the head of each file, and after each start.
    fn header(&mut self, name: &str, count: u64, record: &Record) {
        let own = record.event == JOURNAL_OPENED;
        if count == 1 && !(own && record.text("file") == name) {
            self.fault(
                name,
                count,
                Some(record.seq),
                "the file does not begin with its own header",
            );
        }
        if !own {
            return;
        }
        self.oldest = files::number(record.text("oldest"));
        if let Some(cut) = record.number("cut") {
            self.note(&format!(
                "{name}:{count}: {cut} bytes of an unfinished record were cut off after a crash"
            ));
        }
        let broken = record.text("broken");
        if !broken.is_empty() {
            self.fault(
                name,
                count,
                Some(record.seq),
                &format!("the chain was begun anew: {broken}"),
            );
            self.before = None;
        }
    }

    fn end(&mut self, files: &BTreeSet<u64>, first: u64, newest: u64) {
        let expected = self.oldest.unwrap_or(first);
        for missing in (expected..newest)
            .filter(|n| !files.contains(n))
            .take(MAX_FAULTS)
        {
            self.fault(&files::name(missing), 0, None, "the file is missing");
        }
        if first > 1 && first <= expected {
            self.note(&format!(
                "files before {} were rotated away",
                files::name(first)
            ));
        }
        if let Some(head) = self.head
            && !self.at_head
        {
            let what = format!(
                "the journal does not hold record {} where the sync point says: it was cut off or changed",
                head.seq
            );
            self.fault(&files::name(head.file), 0, Some(head.seq), &what);
        }
    }

    fn fault(&mut self, file: &str, line: u64, seq: Option<u64>, what: &str) {
        if self.report.faults.len() < MAX_FAULTS {
            self.report.faults.push(Fault {
                file: file.to_owned(),
                line,
                seq,
                what: what.to_owned(),
            });
        }
    }

    fn note(&mut self, what: &str) {
        if self.report.notes.len() < MAX_FAULTS {
            self.report.notes.push(what.to_owned());
        }
    }
}

/// Most faults that a report lists.
pub const MAX_FAULTS: usize = 100;

//! Where a journal goes on: decided from what its directory holds.
//!
//! In: the directory and the sync point. Out: a place to append at, or why the chain is broken.
//! Changes nothing. The files before the one of the sync point are left to `audit verify`.

use std::io;
use std::path::Path;

use super::files::{self, Lines};
use super::head::{Head, Point};
use super::record::{BEGINNING, Hash, JOURNAL_OPENED, Link, MAX_LINE, Record};

/// Where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// In this file, after this record.
    Same {
        /// The end of the last good record.
        point: Point,
        /// Bytes of an unfinished record behind it.
        cut: u64,
        /// The oldest file that must be there.
        oldest: u64,
    },
    /// In a new file.
    New {
        /// Its number.
        file: u64,
        /// The number of the last record.
        seq: u64,
        /// The hash of the last record that is known to be good.
        prev: Hash,
        /// The oldest file that must be there.
        oldest: u64,
        /// What happened to the chain; `None` for a new journal.
        broken: Option<String>,
    },
}

/// Decides.
///
/// # Errors
/// When the files cannot be read.
pub(super) fn find(directory: &Path, head: &Head) -> io::Result<Opening> {
    let files = files::list(directory)?;
    let newest = files.last().copied().unwrap_or(0);
    let oldest = files.first().copied();
    let broken = |why: &str, file: u64, seq: u64, prev: Hash| Opening::New {
        file: file + 1,
        seq,
        prev,
        oldest: oldest.unwrap_or(file + 1),
        broken: Some(why.to_owned()),
    };
    let unsealed = |why: &str| -> io::Result<Opening> {
        let last = match oldest {
            Some(_) => walk(directory, newest, None, None)?.last,
            None => None,
        };
        Ok(broken(
            why,
            newest,
            last.map_or(0, |(seq, _)| seq),
            BEGINNING,
        ))
    };
    let head = match head {
        Head::At(head, _) => head,
        Head::Missing if files.is_empty() => {
            return Ok(Opening::New {
                file: 1,
                seq: 0,
                prev: BEGINNING,
                oldest: 1,
                broken: None,
            });
        }
        Head::Missing if newest == 1 => {
            // The first run ended before its first sync point.
            let first = walk(directory, 1, None, None)?;
            if first.records <= 1 && !first.bad {
                return Ok(first.same(1, (0, BEGINNING), 1));
            }
            return unsealed("the sync point is missing");
        }
        Head::Missing => return unsealed("the sync point is missing"),
        Head::Unreadable => return unsealed("the sync point cannot be read"),
        Head::Forged => return unsealed("the sync point is not genuine"),
    };
    if !files.contains(&head.file) {
        return Ok(broken(
            "the file of the sync point is missing",
            newest.max(head.file),
            head.seq,
            head.hash,
        ));
    }
    let current = walk(directory, head.file, None, Some(head))?;
    let (seq, _) = current.last.unwrap_or((head.seq, head.hash));
    let broken = |why: &str| broken(why, newest, seq.max(head.seq), head.hash);
    if !current.at_head {
        return Ok(broken("the journal differs from its sync point"));
    }
    if current.bad {
        return Ok(broken("a record after the sync point was changed"));
    }
    let first = current.oldest.unwrap_or(head.file);
    let after = current.last.unwrap_or((head.seq, head.hash));
    if newest == head.file {
        return Ok(current.same(head.file, after, first));
    }
    // A crash between the beginning of a file and its first sync point.
    if newest == head.file + 1 && current.end == current.size {
        let next = walk(directory, newest, Some(after), None)?;
        if !next.bad {
            return Ok(next.same(newest, after, next.oldest.unwrap_or(first)));
        }
    }
    Ok(broken(
        "files after the sync point do not belong to the journal",
    ))
}

/// How far one file is good.
struct Walk {
    /// The end of its last good record.
    end: u64,
    size: u64,
    records: u64,
    last: Option<(u64, Hash)>,
    /// What the file's first record calls the oldest.
    oldest: Option<u64>,
    /// Whether the record of the sync point stands where it should.
    at_head: bool,
    /// Whether behind the last good record stands a finished line that is not the next record.
    bad: bool,
}

impl Walk {
    fn same(&self, file: u64, before: (u64, Hash), oldest: u64) -> Opening {
        let (seq, hash) = self.last.unwrap_or(before);
        Opening::Same {
            point: Point {
                file,
                length: self.end,
                seq,
                hash,
            },
            cut: self.size - self.end,
            oldest,
        }
    }
}

fn walk(
    directory: &Path,
    file: u64,
    before: Option<(u64, Hash)>,
    head: Option<&Point>,
) -> io::Result<Walk> {
    let name = files::name(file);
    let path = directory.join(&name);
    let mut lines = Lines::open(&path)?;
    let mut walk = Walk {
        end: 0,
        size: path.metadata()?.len(),
        records: 0,
        last: before,
        oldest: None,
        at_head: false,
        bad: false,
    };
    while let Some(line) = lines.read()? {
        if !line.complete {
            walk.bad = line.bytes.len() >= MAX_LINE;
            break;
        }
        let Some(link) = Link::read(&line.bytes).filter(|link| link.genuine) else {
            walk.bad = true;
            break;
        };
        if walk
            .last
            .is_some_and(|(seq, hash)| link.seq != seq + 1 || link.prev != hash)
        {
            walk.bad = true;
            break;
        }
        if walk.end == 0 {
            let header = Record::read(&line.bytes)
                .filter(|r| r.event == JOURNAL_OPENED && r.text("file") == name);
            let Some(header) = header else {
                walk.bad = true;
                break;
            };
            walk.oldest = files::number(header.text("oldest"));
        }
        walk.end = line.end;
        walk.records += 1;
        walk.last = Some((link.seq, link.hash));
        walk.at_head |= head.is_some_and(|head| {
            (head.length, head.seq, head.hash) == (line.end, link.seq, link.hash)
        });
    }
    walk.size = walk.size.max(walk.end);
    Ok(walk)
}

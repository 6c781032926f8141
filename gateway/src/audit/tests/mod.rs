//! The journal as a whole: written, damaged, verified, and opened again.

mod damage;
mod process;
mod reopen;

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::event::Event;
use super::files;
use super::journal::{Journal, Options};
use super::record::tests::decision;
use super::verify::{Report, verify};

pub(super) fn options(directory: &Path) -> Options {
    Options {
        gateway: "clinic-1".to_owned(),
        directory: directory.to_owned(),
        rotate_size: 1 << 30,
        keep: 0,
    }
}

pub(super) fn now() -> Timestamp {
    "2026-11-21T22:56:17.123456Z".parse().unwrap()
}

pub(super) fn open(options: &Options) -> Journal {
    Journal::open(options.clone(), now()).unwrap()
}

/// Writes events in batches of 10, each synced.
pub(super) fn fill(journal: &mut Journal, count: u64) {
    let events: Vec<(Timestamp, Event)> = (0..count).map(|n| (now(), decision(n))).collect();
    for batch in events.chunks(10) {
        journal.write(batch, now()).unwrap();
        journal.sync().unwrap();
    }
}

pub(super) fn path(directory: &Path, file: u64) -> PathBuf {
    directory.join(files::name(file))
}

pub(super) fn whole(directory: &Path) -> Report {
    let report = verify(directory).unwrap();
    assert_eq!(report.faults, [], "{report:#?}");
    report
}

pub(super) fn faults(directory: &Path) -> String {
    let faults = verify(directory).unwrap().faults;
    let line = |f: &super::verify::Fault| format!("{}:{} {:?} {}", f.file, f.line, f.seq, f.what);
    faults.iter().map(line).collect::<Vec<_>>().join("\n")
}

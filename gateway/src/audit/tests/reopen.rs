//! A journal goes on after every kind of end, and damage stays where it is.

use std::os::unix::fs::MetadataExt;

use super::*;
use crate::audit::head::HEAD;
use crate::audit::journal::JournalError;
use crate::audit::record::Record;

fn last_opened(directory: &Path) -> Record {
    let newest = *files::list(directory).unwrap().last().unwrap();
    let text = std::fs::read_to_string(path(directory, newest)).unwrap();
    let mut records = text
        .lines()
        .filter_map(|line| Record::read(line.as_bytes()));
    records
        .rfind(|record| record.event == "journal-opened")
        .unwrap()
}

#[test]
fn files_and_keys_are_the_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("audit");
    let _journal = open(&options(&directory));
    assert_eq!(directory.metadata().unwrap().mode() & 0o777, 0o700);
    for file in std::fs::read_dir(&directory).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn one_process_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(&options(directory.path()));
    let second = Journal::open(options(directory.path()), now());
    assert!(matches!(second.err(), Some(JournalError::Locked(_))));
    drop(first);
    open(&options(directory.path()));
}

#[test]
fn goes_on_in_the_same_file() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        fill(&mut open(&options(directory.path())), 5);
    }
    let report = whole(directory.path());
    assert_eq!((report.files, report.records), (1, 18));
}

#[test]
fn rotates_and_keeps_what_it_should() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        rotate_size: 4000,
        keep: 2,
        ..options(directory.path())
    };
    let mut journal = open(&options);
    fill(&mut journal, 200);
    let next = journal.next();
    drop(journal);
    let report = whole(directory.path());
    assert_eq!(report.files, 3);
    assert!(report.notes[0].contains("were rotated away"), "{report:?}");
    assert_eq!(report.last.unwrap().seq + 1, next);
    // Opening again changes nothing of that.
    open(&options);
    whole(directory.path());
    let files = files::list(directory.path()).unwrap();
    let (oldest, newest) = (*files.first().unwrap(), *files.last().unwrap());
    for (file, why) in [
        (oldest, "the file is missing"),
        (oldest + 1, "the file is missing"),
        (newest, "sync point"),
    ] {
        let bytes = std::fs::read(path(directory.path(), file)).unwrap();
        std::fs::remove_file(path(directory.path(), file)).unwrap();
        assert!(faults(directory.path()).contains(why), "{file}");
        std::fs::write(path(directory.path(), file), bytes).unwrap();
        whole(directory.path());
    }
}

#[test]
fn an_unfinished_record_is_cut_off_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    fill(&mut open(&options(directory.path())), 5);
    let file = path(directory.path(), 1);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.extend_from_slice(b"{\"v\":1,\"seq\":7");
    std::fs::write(&file, &bytes).unwrap();
    fill(&mut open(&options(directory.path())), 5);
    assert_eq!(last_opened(directory.path()).number("cut"), Some(14));
    assert_eq!(whole(directory.path()).records, 12);
}

#[test]
fn finished_records_after_the_sync_point_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open(&options(directory.path()));
    fill(&mut journal, 5);
    let head = std::fs::read(directory.path().join(HEAD)).unwrap();
    fill(&mut journal, 5);
    drop(journal);
    std::fs::write(directory.path().join(HEAD), head).unwrap();
    open(&options(directory.path()));
    assert_eq!(whole(directory.path()).records, 12);
}

#[test]
fn a_crash_in_a_rotation_or_first_start_loses_nothing() {
    for begun in [&b""[..], b"{\"v\":1,\"se"] {
        // In the first start.
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(path(directory.path(), 1), begun).unwrap();
        open(&options(directory.path()));
        assert_eq!(whole(directory.path()).records, 1);
        // In a rotation.
        std::fs::write(path(directory.path(), 2), begun).unwrap();
        fill(&mut open(&options(directory.path())), 5);
        let report = whole(directory.path());
        assert_eq!((report.files, report.records), (2, 7));
    }
    // Between the first record of a new file and its sync point.
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        rotate_size: 2000,
        ..options(directory.path())
    };
    let mut journal = open(&options);
    fill(&mut journal, 10);
    let head = std::fs::read(directory.path().join(HEAD)).unwrap();
    fill(&mut journal, 1);
    drop(journal);
    std::fs::write(directory.path().join(HEAD), head).unwrap();
    open(&options);
    assert_eq!(whole(directory.path()).files, 2);
}

/// Damages a journal of two files, opens it again and returns the new file's header.
fn damaged(damage: impl Fn(&Path)) -> Record {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let options = Options {
        rotate_size: 5000,
        ..options(directory)
    };
    fill(&mut open(&options), 15);
    damage(directory);
    let before: Vec<_> = [1, 2]
        .map(|n| std::fs::read(path(directory, n)).ok())
        .into();
    let mut journal = open(&options);
    fill(&mut journal, 3);
    drop(journal);
    let after: Vec<_> = [1, 2]
        .map(|n| std::fs::read(path(directory, n)).ok())
        .into();
    assert_eq!(before, after, "evidence was touched");
    assert!(faults(directory).contains("the chain was begun anew"));
    // The new file is good in itself, and goes on.
    let opened = last_opened(directory);
    fill(&mut open(&options), 3);
    assert_eq!(files::list(directory).unwrap().last(), Some(&3));
    opened
}

#[test]
fn damage_before_the_sync_point_is_kept_and_told() {
    let cut = |directory: &Path, file| {
        let path = path(directory, file);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 10]).unwrap();
    };
    let opened = damaged(|directory| cut(directory, 2));
    assert_eq!(
        opened.text("broken"),
        "the journal differs from its sync point"
    );
    assert_eq!(opened.text("previous"), "journal-000002.jsonl");
    assert_eq!(opened.seq, 18);
    let broken = |damage: &dyn Fn(&Path)| damaged(damage).text("broken").to_owned();
    assert_eq!(
        broken(&|directory| std::fs::remove_file(path(directory, 2)).unwrap()),
        "the file of the sync point is missing"
    );
    assert_eq!(
        broken(&|directory| std::fs::remove_file(directory.join(HEAD)).unwrap()),
        "the sync point is missing"
    );
    assert_eq!(
        broken(&|directory| std::fs::write(directory.join(HEAD), "{}").unwrap()),
        "the sync point cannot be read"
    );
    assert_eq!(
        broken(&|directory| std::fs::write(directory.join("log.key"), [7; 32]).unwrap()),
        "the sync point is not genuine"
    );
    let change = |directory: &Path| {
        let text = std::fs::read_to_string(path(directory, 2)).unwrap();
        std::fs::write(path(directory, 2), text.replacen("refused", "allowed", 1)).unwrap();
    };
    assert_eq!(broken(&change), "the journal differs from its sync point");
}

//! Any damage to what was synced is noticed, and the place is named.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::audit::head::HEAD;
use crate::audit::key::LOG_KEY;

/// A journal of 100 records, its keys and its sync point, as bytes.
struct Original {
    journal: Vec<u8>,
    head: Vec<u8>,
    key: Vec<u8>,
}

static ORIGINAL: LazyLock<Original> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    fill(&mut open(&options(directory)), 99);
    assert_eq!(whole(directory).records, 100);
    Original {
        journal: std::fs::read(path(directory, 1)).unwrap(),
        head: std::fs::read(directory.join(HEAD)).unwrap(),
        key: std::fs::read(directory.join(LOG_KEY)).unwrap(),
    }
});

/// The original with this in the place of its journal.
fn with(journal: &[u8]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(path(directory.path(), 1), journal).unwrap();
    std::fs::write(directory.path().join(HEAD), &ORIGINAL.head).unwrap();
    let key = directory.path().join(LOG_KEY);
    std::fs::write(&key, &ORIGINAL.key).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(key, mode).unwrap();
    directory
}

fn lines() -> Vec<&'static [u8]> {
    ORIGINAL.journal.split_inclusive(|b| *b == b'\n').collect()
}

fn is_noticed(journal: &[u8]) -> bool {
    !verify(with(journal).path()).unwrap().is_whole()
}

#[test]
fn the_original_is_whole() {
    assert!(!is_noticed(&ORIGINAL.journal));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_changed_byte_is_noticed(at: prop::sample::Index, to: u8) {
        let mut journal = ORIGINAL.journal.clone();
        let at = at.index(journal.len());
        prop_assume!(journal[at] != to);
        journal[at] = to;
        prop_assert!(is_noticed(&journal));
    }

    #[test]
    fn a_removed_record_is_noticed(at in 0..100usize) {
        let mut lines = lines();
        lines.remove(at);
        prop_assert!(is_noticed(&lines.concat()));
    }

    #[test]
    fn swapped_records_are_noticed(a in 0..100usize, b in 0..100usize) {
        prop_assume!(a != b);
        let mut lines = lines();
        lines.swap(a, b);
        prop_assert!(is_noticed(&lines.concat()));
    }

    #[test]
    fn a_repeated_record_is_noticed(at in 0..100usize, to in 0..=100usize) {
        let mut lines = lines();
        lines.insert(to, lines[at]);
        // Behind the sync point stands what was not synced: a copy there is no next record.
        prop_assert!(is_noticed(&lines.concat()));
    }

    #[test]
    fn a_cut_is_noticed(at: prop::sample::Index) {
        let at = at.index(ORIGINAL.journal.len());
        prop_assert!(is_noticed(&ORIGINAL.journal[..at]));
    }
}

#[test]
fn a_change_with_a_new_chain_behind_it_is_noticed() {
    use crate::audit::record::{Content, Encoder, tests::key};
    let mut lines: Vec<Vec<u8>> = lines().into_iter().map(<[u8]>::to_vec).collect();
    let encoder = Encoder::new("clinic-1", key(9));
    let mut prev = crate::audit::record::Link::read(lines[49].trim_ascii_end())
        .unwrap()
        .hash;
    for (line, seq) in lines[50..].iter_mut().zip(51..) {
        line.clear();
        prev = encoder.encode(seq, now(), &Content::Event(&decision(9)), &prev, line);
    }
    assert!(is_noticed(&lines.concat()));
}

#[test]
fn the_place_is_named() {
    let replaced = |from: &str, to: &str| {
        let text = String::from_utf8(ORIGINAL.journal.clone()).unwrap();
        faults(with(text.replacen(from, to, 1).as_bytes()).path())
    };
    let mut without = lines();
    without.remove(41);
    let mut swapped = lines();
    swapped.swap(10, 11);
    let shown = [
        (
            "changed",
            replaced("\"connection\":17,", "\"connection\":18,"),
        ),
        ("removed", faults(with(&without.concat()).path())),
        ("swapped", faults(with(&swapped.concat()).path())),
        ("cut", faults(with(&lines()[..90].concat()).path())),
        (
            "foreign",
            replaced("{\"v\":1,\"seq\":7,", "x{\"v\":1,\"seq\":7,"),
        ),
    ];
    let shown: Vec<String> = shown
        .iter()
        .map(|(name, text)| format!("{name}\n{text}\n"))
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn without_the_key_the_chain_is_still_checked() {
    let directory = with(&ORIGINAL.journal);
    std::fs::remove_file(directory.path().join(LOG_KEY)).unwrap();
    assert_eq!(whole(directory.path()).notes.len(), 1);
    let cut = with(&lines()[..99].concat());
    std::fs::remove_file(cut.path().join(LOG_KEY)).unwrap();
    assert_ne!(faults(cut.path()), "");
}

#[test]
fn a_removed_or_forged_sync_point_is_noticed() {
    let directory = with(&ORIGINAL.journal);
    let head = directory.path().join(HEAD);
    let text = std::fs::read_to_string(&head).unwrap();
    std::fs::write(&head, text.replace("\"seq\":100", "\"seq\":99")).unwrap();
    assert!(faults(directory.path()).contains("not genuine"));
    std::fs::remove_file(&head).unwrap();
    assert!(faults(directory.path()).contains("the sync point is missing"));
}

#[test]
fn what_came_after_the_sync_point_is_told_but_no_fault() {
    let mut journal = ORIGINAL.journal.clone();
    journal.extend_from_slice(b"{\"v\":1,\"seq\":101,\"ti");
    let directory = with(&journal);
    assert!(whole(directory.path()).notes[0].contains("20 bytes of an unfinished record"));
}

//! Every clock can lie; an access is never longer for it.

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

fn wall(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap()
}

/// So many minutes after the start of this machine, and by its wall clock.
fn at(boot: &str, up: u64, minutes: i64) -> Moment {
    Moment {
        up: Duration::from_mins(up),
        boot: boot.to_owned(),
        time: wall(minutes),
    }
}

fn wanted(device: &str, minutes: u64) -> Wanted {
    Wanted {
        device: device.parse().unwrap(),
        service: "his".parse().unwrap(),
        in_quarantine: false,
        period: Duration::from_mins(minutes),
        why: "the surgeon waits".to_owned(),
        by: By {
            uid: 1001,
            name: "ana".to_owned(),
        },
    }
}

fn opened(directory: &Path, now: &Moment, minutes: u64) -> Accesses {
    let mut accesses = Accesses::read(directory, now);
    accesses.open(wanted("ecg-1", minutes), now).unwrap();
    assert_eq!(accesses.trouble(), None);
    accesses
}

fn left(accesses: &Accesses, now: &Moment) -> Duration {
    accesses.all().next().unwrap().left(now)
}

const DAY: i64 = 24 * 60;

#[test]
fn steps_of_the_wall_clock_never_lengthen_it() {
    let directory = tempfile::tempdir().unwrap();
    let begin = at("one", 100, 0);
    let accesses = opened(directory.path(), &begin, 30);
    assert_eq!(left(&accesses, &begin), 30 * MINUTE);
    assert!(accesses.over(&at("one", 129, 29)).is_empty());
    assert_eq!(accesses.over(&at("one", 130, 30)), [1]);
    // A day back: the machine's own clock ends it.
    assert_eq!(left(&accesses, &at("one", 101, 1 - DAY)), 29 * MINUTE);
    assert_eq!(accesses.over(&at("one", 130, 30 - DAY)), [1]);
    // A day ahead ends it early.
    assert_eq!(accesses.over(&at("one", 101, 1 + DAY)), [1]);
}

#[test]
fn the_daemon_restarts_in_the_middle_and_nothing_is_longer() {
    let directory = tempfile::tempdir().unwrap();
    drop(opened(directory.path(), &at("one", 100, 0), 30));
    let later = at("one", 110, 10 - DAY);
    let again = Accesses::read(directory.path(), &later);
    assert_eq!(left(&again, &later), 20 * MINUTE);
    assert_eq!(again.exceptions(&later).len(), 1);
    let too_late = at("one", 130, 10 - DAY);
    let again = Accesses::read(directory.path(), &too_late);
    assert_eq!(again.over(&too_late), [1]);
    assert!(again.exceptions(&too_late).is_empty());
}

#[test]
fn the_machine_restarts_in_the_middle_and_nothing_is_longer_than_was_left() {
    let directory = tempfile::tempdir().unwrap();
    let mut accesses = opened(directory.path(), &at("one", 100, 0), 30);
    accesses.follow(&at("one", 112, 12));
    drop(accesses);
    let read = |now: &Moment| {
        let again = Accesses::read(directory.path(), now);
        left(&again, now)
    };
    assert_eq!(read(&at("two", 1, 14)), 16 * MINUTE);
    assert_eq!(read(&at("two", 1, 13 - DAY)), 18 * MINUTE, "a day back");
    assert_eq!(read(&at("two", 1, 13 + DAY)), Duration::ZERO, "a day ahead");
    // The same start of the machine cannot have an earlier clock: it is taken for another.
    assert_eq!(read(&at("one", 1, 13 - DAY)), 18 * MINUTE);
}

#[test]
fn there_is_a_bound_and_numbers_are_not_given_twice() {
    let directory = tempfile::tempdir().unwrap();
    let now = at("one", 1, 0);
    let mut accesses = Accesses::read(directory.path(), &now);
    let opened = |accesses: &mut Accesses| {
        let all = (0..1000).map(|n| accesses.open(wanted(&format!("ecg-{n}"), 1), &now));
        all.filter(Result::is_ok).count()
    };
    assert_eq!(opened(&mut accesses), MOST);
    assert_eq!(accesses.end(7, &now).map(|access| access.number), Some(7));
    assert_eq!(accesses.end(7, &now), None);
    assert_eq!(opened(&mut accesses), 1);
    let numbers: Vec<u64> = accesses.all().map(|access| access.number).collect();
    assert_eq!((numbers.len(), numbers.last()), (MOST, Some(&65)));
    let mut again = Accesses::read(directory.path(), &now);
    assert_eq!(again.all().count(), MOST);
    for number in numbers {
        again.end(number, &now).unwrap();
    }
    let next = Accesses::read(directory.path(), &now).open(wanted("ecg-1", 1), &now);
    assert_eq!(next.map(|access| access.number), Ok(66));
}

#[test]
fn a_file_that_is_damaged_opens_nothing_and_that_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let now = at("one", 1, 0);
    for bad in [
        "",
        "{",
        "[]",
        r#"{"version":2}"#,
        r#"{"version":1,"open":[]}"#,
    ] {
        std::fs::write(directory.path().join(FILE), bad).unwrap();
        let accesses = Accesses::read(directory.path(), &now);
        assert!(
            accesses
                .trouble()
                .is_some_and(|why| why.contains("not open")),
            "{bad}"
        );
        assert_eq!(accesses.all().count(), 0);
    }
    drop(opened(directory.path(), &now, 30));
    assert_eq!(Accesses::read(directory.path(), &now).trouble(), None);
}

#[test]
fn what_cannot_be_written_ends_all_the_same_and_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let now = at("one", 1, 0);
    let mut accesses = opened(directory.path(), &now, 30);
    // A directory in the place of the new file: nothing can be written, and the old file can be removed.
    let stop = directory.path().join("break_glass.json.new");
    std::fs::create_dir(&stop).unwrap();
    assert!(accesses.end(1, &now).is_some());
    assert!(
        accesses
            .trouble()
            .is_some_and(|why| why.starts_with("a restart ends"))
    );
    assert_eq!(Accesses::read(directory.path(), &now).all().count(), 0);
    let access = accesses.open(wanted("ecg-2", 30), &now).unwrap();
    assert!(accesses.trouble().is_some() && accesses.all().count() == 1);
    assert_eq!(Accesses::read(directory.path(), &now).all().count(), 0);
    std::fs::remove_dir(&stop).unwrap();
    let later = at("one", 2, 1);
    accesses.follow(&later);
    assert_eq!(accesses.trouble(), None);
    let again = Accesses::read(directory.path(), &later);
    assert_eq!(again.all().next(), Some(&access));
}

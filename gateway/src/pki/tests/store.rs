//! What the office keeps on the disk: damage, exposure, cut lines, a second process.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::office::World;
use super::world::{at, new_request};
use crate::pki::keystore::Keystore;
use crate::pki::message::{Question, Refusal, Which};
use crate::pki::office::{Office, OfficeError};

#[test]
fn damage_and_exposure_are_errors_and_nothing_begins_anew() {
    let mut world = World::new();
    world.issue("ecg", new_request()).unwrap();
    world.office = None;
    let directory = world.settings.directory.clone();
    let opens = || Office::open(world.settings.clone(), Keystore::default()).map(drop);
    assert!(opens().is_ok());
    let paths = std::fs::read_dir(&directory).unwrap();
    let paths: Vec<_> = paths.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(paths.len(), 4);
    for path in paths.iter().chain([&directory]) {
        let mode =
            |mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        let good = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(good & 0o077, 0, "{}", path.display());
        mode(good | 0o040);
        assert!(
            matches!(opens(), Err(OfficeError::Store(_))),
            "{}",
            path.display()
        );
        mode(good);
    }
    for path in &paths {
        let away = directory.join("away");
        std::fs::rename(path, &away).unwrap();
        let error = opens().unwrap_err().to_string();
        assert!(error.contains("is missing"), "{}: {error}", path.display());
        // An empty ledger that was made by the attempt would hide that one is missing.
        std::fs::rename(&away, path).unwrap();
        let good = std::fs::read(path).unwrap();
        std::fs::write(path, b"garbage\n").unwrap();
        assert!(opens().is_err(), "{}", path.display());
        std::fs::write(path, good).unwrap();
        assert!(opens().is_ok(), "{}", path.display());
    }
}

#[test]
fn a_line_that_was_cut_off_was_never_answered() {
    let mut world = World::new();
    let kept = world.issue("ecg", new_request()).unwrap();
    world.issue("us", new_request()).unwrap();
    world.office = None;
    let path = world.settings.directory.join("ledger.jsonl");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    world.again();
    assert_eq!(world.status().certificates, 1);
    assert!(world.issue("us", new_request()).is_ok());
    assert_eq!(world.revoke(Which::Serial(kept.serial)).unwrap().len(), 1);
    world.again();
    assert_eq!(
        (world.status().certificates, world.status().revoked),
        (2, 1)
    );
}

#[test]
fn one_process_at_a_time() {
    let mut world = World::new();
    let second = Office::open(world.settings.clone(), Keystore::default()).map(drop);
    assert!(second.unwrap_err().to_string().contains("another process"));
    world.again();
}

#[test]
fn the_ledger_is_written_anew_when_it_is_of_little_use() {
    let mut world = World::new();
    let kept = world.issue("ecg", new_request()).unwrap();
    for _ in 0..1100 {
        world.ask(Question::Lists).unwrap();
        world.now += Duration::from_hours(100);
    }
    let known = |world: &mut World| world.renew(&kept, new_request()).map(drop);
    assert_eq!(known(&mut world), Err(Refusal::NotNow));
    world.tidy();
    let lines = || {
        let path = world.settings.directory.join("ledger.jsonl");
        std::fs::read_to_string(path).unwrap().lines().count()
    };
    assert!(lines() < 200, "{}", lines());
    assert_eq!(
        world.renew(&kept, new_request()).map(drop),
        Err(Refusal::Unknown),
        "forgotten"
    );
    world.now = at("2026-03-02T00:00:00Z");
    world.again();
    assert!(world.issue("ecg", new_request()).is_ok());
}

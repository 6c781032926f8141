//! What is remembered, and what time does to it.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use lazaret_config::Credential;

use super::*;
use crate::registry::known::DeviceKey;

fn name(text: &str) -> DeviceName {
    text.parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn open(directory: &Path) -> Registry {
    Registry::open(directory, at(0), false).unwrap()
}

pub(in crate::registry) fn files() -> Config {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("wireguard.key");
    std::fs::write(&key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEA=\n").unwrap();
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, owner_only).unwrap();
    let source = lazaret_config::Source {
        path: "lazaret.toml".into(),
        text: include_str!("../../tests/clinic/lazaret.toml").to_owned(),
    };
    Config::from_sources(directory.path(), &[source]).unwrap()
}

fn change(device: &str, after: Standing, mark: i64) -> Change {
    Change {
        mark,
        device: name(device),
        before: Standing::Active,
        after,
        why: "lost".to_owned(),
        by: By {
            uid: 0,
            name: "root".to_owned(),
        },
        at: at(mark),
    }
}

fn enrolled() -> Known {
    let key = |byte| DeviceKey {
        wireguard: PublicKey([byte; 32]),
        until: None,
    };
    let older = DeviceKey {
        until: Some(at(50)),
        ..key(2)
    };
    Known {
        origin: Origin::Enrolled,
        standing: Standing::Active,
        approved: true,
        removed: false,
        why: String::new(),
        since: at(0),
        roles: BTreeSet::new(),
        keys: vec![key(1), older],
        certificates: Vec::new(),
        addresses: vec!["10.64.1.1".parse().unwrap()],
        serial: None,
        patients: Vec::new(),
        hl7_sender: Some("ECG^HOME".to_owned()),
        ae_title: None,
        created: at(0),
        created_by: "root".to_owned(),
        expires: Some(at(100)),
    }
}

fn loaded(revision: i64, devices: &[(&str, Known)]) -> Loaded {
    let devices = devices.iter();
    Loaded {
        version: Version {
            identity: 7,
            revision,
        },
        devices: devices.map(|(n, known)| (name(n), known.clone())).collect(),
    }
}

#[test]
fn standings_outlive_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let mut registry = open(&state);
    assert_eq!(registry.standing(&name("ecg-1")), Standing::Active);
    registry.set(change("ecg-1", Standing::Revoked, 1)).unwrap();
    let again = open(&state);
    assert_eq!(again.standing(&name("ecg-1")), Standing::Revoked);
    assert_eq!(again.standing(&name("ecg-2")), Standing::Active);
    assert_eq!(again.all(), registry.all());
    assert_eq!(again.unsaved(), registry.unsaved());
    let path = state.join(snapshot::FILE);
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    insta::assert_snapshot!(std::fs::read_to_string(&path).unwrap());
}

/// As it was written by version 0.1.
const OLD: &str = "{\n  \"version\": 1,\n  \"devices\": {\n    \"ecg-1\": {\n      \"standing\": \"revoked\",\n      \"why\": \"lost\",\n      \"since\": \"2026-11-21T22:56:17Z\"\n    }\n  }\n}\n";

#[test]
fn the_standings_of_version_0_1_are_imported_once() {
    let directory = tempfile::tempdir().unwrap();
    let old = directory.path().join("registry.json");
    std::fs::write(&old, OLD).unwrap();
    let registry = open(directory.path());
    assert_eq!(registry.standing(&name("ecg-1")), Standing::Revoked);
    assert_eq!(registry.unsaved().len(), 1);
    assert!(!old.exists() && directory.path().join("registry.json.imported").exists());
    // A crash between the two steps: what is known already is not imported over.
    let mut registry = open(directory.path());
    registry.set(change("ecg-1", Standing::Active, 5)).unwrap();
    std::fs::write(&old, OLD).unwrap();
    let registry = open(directory.path());
    assert_eq!(registry.standing(&name("ecg-1")), Standing::Active);
    assert!(!old.exists());
}

#[test]
fn damage_releases_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let mut registry = open(directory.path());
    registry.set(change("a", Standing::Revoked, 1)).unwrap();
    let path = directory.path().join(snapshot::FILE);
    let good = std::fs::read_to_string(&path).unwrap();
    for (bad, why) in [
        (String::new(), "damaged"),
        (good[..good.len() / 2].to_owned(), "damaged"),
        (good.replace("revoked", "forgiven"), "damaged"),
        (good.replace("\"why\"", "\"because\""), "damaged"),
        (good.replace("\"version\":1", "\"version\":2"), "version 2"),
    ] {
        std::fs::write(&path, &bad).unwrap();
        let error = Registry::open(directory.path(), at(0), false).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    std::fs::remove_file(&path).unwrap();
    for bad in [&OLD[..40], &OLD.replace("revoked", "forgiven")] {
        std::fs::write(directory.path().join("registry.json"), bad).unwrap();
        assert!(Registry::open(directory.path(), at(0), false).is_err());
    }
}

#[test]
fn a_crash_before_the_rename_leaves_the_old_state() {
    let directory = tempfile::tempdir().unwrap();
    let mut registry = open(directory.path());
    registry.set(change("a", Standing::Revoked, 1)).unwrap();
    let half = directory.path().join("registry.snapshot.json.new");
    std::fs::write(half, "{\"vers").unwrap();
    let mut again = open(directory.path());
    assert_eq!(again.standing(&name("a")), Standing::Revoked);
    again.set(change("a", Standing::Active, 2)).unwrap();
}

#[test]
fn what_is_not_written_does_not_hold_unless_it_must() {
    let directory = tempfile::tempdir().unwrap();
    let mut registry = open(directory.path());
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    registry.writer = Writer::new(&file);
    registry.set(change("a", Standing::Revoked, 1)).unwrap_err();
    assert_eq!(registry.standing(&name("a")), Standing::Active);
    registry.hold(change("a", Standing::Quarantined, 2));
    assert_eq!(registry.standing(&name("a")), Standing::Quarantined);
    assert_eq!(
        open(directory.path()).standing(&name("a")),
        Standing::Active
    );
    registry.writer = Writer::new(directory.path());
    registry.set(change("b", Standing::Revoked, 3)).unwrap();
    let again = open(directory.path());
    assert_eq!(again.standing(&name("a")), Standing::Quarantined);
}

#[test]
fn a_revocation_is_not_forgotten_by_a_database_that_does_not_know_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut registry = open(directory.path());
    assert!(registry.take_over(loaded(1, &[("ecg-1", enrolled())])));
    assert!(!registry.take_over(loaded(1, &[("ecg-1", enrolled())])));
    registry
        .set(change("ecg-1", Standing::Revoked, 10))
        .unwrap();
    let mut registry = open(directory.path());
    let mut quarantined = enrolled();
    (quarantined.standing, quarantined.since) = (Standing::Quarantined, at(20));
    registry.take_over(loaded(2, &[("ecg-1", quarantined)]));
    assert_eq!(registry.standing(&name("ecg-1")), Standing::Revoked);
    assert_eq!(registry.let_in().count(), 0);
    // Once the database has it, the database says how it is.
    registry.saved(10);
    registry.take_over(loaded(3, &[("ecg-1", enrolled())]));
    assert_eq!(registry.standing(&name("ecg-1")), Standing::Active);
    assert_eq!(registry.let_in().count(), 1);
}

#[test]
fn a_release_does_not_undo_a_revocation_that_nobody_here_knew() {
    let directory = tempfile::tempdir().unwrap();
    let mut registry = open(directory.path());
    registry.take_over(loaded(1, &[("ecg-1", enrolled())]));
    let quarantine = change("ecg-1", Standing::Quarantined, 1);
    registry.set(quarantine).unwrap();
    let mut release = change("ecg-1", Standing::Active, 30);
    release.before = Standing::Quarantined;
    registry.set(release).unwrap();
    assert_eq!(registry.standing(&name("ecg-1")), Standing::Active);
    let mut revoked = enrolled();
    (revoked.standing, revoked.since) = (Standing::Revoked, at(20));
    registry.take_over(loaded(2, &[("ecg-1", revoked.clone())]));
    assert_eq!(registry.standing(&name("ecg-1")), Standing::Revoked);
    assert_eq!(*registry.owed(), [name("ecg-1")].into());
    // The twin: who knows of the revocation can undo it.
    let mut release = change("ecg-1", Standing::Active, 40);
    release.before = Standing::Revoked;
    registry.set(release).unwrap();
    registry.take_over(loaded(3, &[("ecg-1", revoked)]));
    assert_eq!(registry.standing(&name("ecg-1")), Standing::Active);
}

//= C9
#[test]
fn certificates_to_be_revoked_are_remembered_until_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let mut registry = open(directory.path());
    let mut revoked = enrolled();
    revoked.standing = Standing::Revoked;
    // One decided here and given back before the signer came, one elsewhere.
    registry.set(change("a", Standing::Revoked, 1)).unwrap();
    let mut release = change("a", Standing::Active, 2);
    release.before = Standing::Revoked;
    registry.set(release).unwrap();
    registry.take_over(loaded(1, &[("b", revoked.clone()), ("c", enrolled())]));
    drop(registry);
    let mut registry = open(directory.path());
    let both = [name("a"), name("b")].into();
    assert_eq!(*registry.owed(), both);
    registry.paid(&both);
    // What the database does not have yet is no reason to revoke anew.
    registry.take_over(loaded(2, &[("b", revoked)]));
    drop(registry);
    assert!(open(directory.path()).owed().is_empty());
    // Written by a program that did not say: once more.
    let path = directory.path().join(snapshot::FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(",\"owed\":[]"), "{text}");
    std::fs::write(&path, text.replace(",\"owed\":[]", "")).unwrap();
    assert_eq!(*open(directory.path()).owed(), [name("b")].into());
}

#[test]
fn without_a_snapshot_nobody_is_let_in_before_the_database_was_asked() {
    let directory = tempfile::tempdir().unwrap();
    let fresh = || Registry::open(directory.path(), at(0), true).unwrap();
    let mut registry = fresh();
    assert!(registry.is_awaited());
    assert_eq!(registry.standing(&name("of-the-files")), Standing::Pending);
    let mut revoked = enrolled();
    (revoked.origin, revoked.standing) = (Origin::File, Standing::Revoked);
    assert!(registry.take_over(loaded(1, &[("lost", revoked)])));
    assert_eq!(registry.standing(&name("of-the-files")), Standing::Active);
    assert_eq!(registry.standing(&name("lost")), Standing::Revoked);
    drop(registry);
    // From now on it is known without the database.
    let registry = fresh();
    assert!(!registry.is_awaited());
    assert_eq!(registry.standing(&name("of-the-files")), Standing::Active);
    assert_eq!(registry.standing(&name("lost")), Standing::Revoked);
}

//= C5
#[test]
fn a_device_of_the_files_has_no_key_that_was_taken_from_another() {
    let directory = tempfile::tempdir().unwrap();
    let mut registry = open(directory.path());
    registry.take_over(loaded(1, &[("ecg-1", enrolled())]));
    let mut files = files();
    let any = files.devices.pop_first().unwrap().1;
    files.devices.insert(name("copy"), any);
    let give = |files: &mut Config, byte| {
        let device = files.devices.get_mut(&name("copy")).unwrap();
        let Identity::WireGuard { public_key, .. } = &mut device.identity else {
            panic!("it has a key");
        };
        *public_key = [byte; 32];
    };
    for (byte, barred) in [(1, false), (2, false), (9, false)] {
        give(&mut files, byte);
        registry.follow_files(&files);
        assert_eq!(registry.barred(&name("copy")).is_some(), barred, "{byte}");
    }
    registry.look(at(60));
    registry.follow_files(&files);
    assert_eq!(registry.standing(&name("copy")), Standing::Active);
    for (byte, standing) in [(1, Standing::Active), (2, Standing::Revoked)] {
        give(&mut files, byte);
        registry.follow_files(&files);
        assert_eq!(registry.standing(&name("copy")), standing, "{byte}");
    }
    registry.set(change("ecg-1", Standing::Revoked, 1)).unwrap();
    give(&mut files, 1);
    registry.follow_files(&files);
    assert_eq!(registry.standing(&name("copy")), Standing::Revoked);
    assert_eq!(registry.barred(&name("copy")), Some(&name("ecg-1")));
    // Its certificates are not revoked for that.
    assert!(!registry.owed().contains(&name("copy")));
}

#[test]
fn time_ends_devices_and_keys_and_a_clock_that_steps_back_gives_nothing_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut registry = open(directory.path());
    let begin = Instant::now();
    let follow = |registry: &mut Registry, minutes: u64, seconds: i64| {
        registry.follow_time(at(seconds), begin + Duration::from_mins(minutes))
    };
    let mut device = enrolled();
    device.keys[1].until = Some(at(4000));
    device.expires = Some(at(5000));
    registry.take_over(loaded(1, &[("ecg-1", device.clone())]));
    let ecg = name("ecg-1");
    let fared = |registry: &Registry| {
        let keys = registry.let_in().map(|(_, one)| match one.credential {
            Credential::WireGuard { older_keys, .. } => older_keys.len(),
            Credential::Certificate => usize::MAX,
        });
        (keys.collect::<Vec<_>>(), registry.standing(&ecg))
    };
    assert_eq!(fared(&registry), (vec![1], Standing::Active));
    assert!(registry.is_key_of(&ecg, PublicKey([2; 32])));
    assert!(!follow(&mut registry, 0, 0));
    assert!(!follow(&mut registry, 66, 3960));
    assert!(follow(&mut registry, 67, 4020));
    assert_eq!(fared(&registry), (vec![0], Standing::Active));
    assert!(!registry.is_key_of(&ecg, PublicKey([2; 32])));
    assert!(follow(&mut registry, 84, 5040));
    assert_eq!(fared(&registry), (vec![], Standing::Expired));
    // A day back, and after a restart.
    assert!(!follow(&mut registry, 85, -86_400));
    assert_eq!(fared(&registry), (vec![], Standing::Expired));
    drop(registry);
    let mut registry = open(directory.path());
    assert_eq!(fared(&registry), (vec![], Standing::Expired));
    device.expires = Some(at(9000));
    registry.take_over(loaded(2, &[("ecg-1", device)]));
    assert_eq!(fared(&registry), (vec![0], Standing::Active));
    // The twin: a clock that steps ahead for a moment takes nothing for good.
    let follow = |registry: &mut Registry, minutes: u64, seconds: i64| {
        registry.follow_time(at(seconds), begin + Duration::from_mins(100 + minutes))
    };
    assert!(follow(&mut registry, 0, 86_400));
    assert_eq!(fared(&registry).1, Standing::Expired);
    assert!(follow(&mut registry, 1, 5100));
    assert_eq!(fared(&registry).1, Standing::Active);
    // Nobody comes back from revocation by the end of time.
    registry
        .set(change("ecg-1", Standing::Revoked, 20))
        .unwrap();
    assert!(follow(&mut registry, 300, 20_000));
    assert_eq!(registry.standing(&ecg), Standing::Revoked);
}

/// The journal says what became of whom.
//= C8
#[test]
fn the_end_of_time_changes_who_is_not_revoked() {
    let directory = tempfile::tempdir().unwrap();
    let mut registry = open(directory.path());
    let all = [
        ("a", Standing::Active),
        ("b", Standing::Quarantined),
        ("c", Standing::Pending),
        ("d", Standing::Revoked),
    ];
    let known = |standing| Known {
        standing,
        expires: Some(at(60)),
        ..enrolled()
    };
    let devices = all.map(|(name, standing)| (name, known(standing)));
    registry.take_over(loaded(1, &devices));
    let before = registry.expired().clone();
    assert_eq!(registry.ended_since(&before), []);
    assert!(registry.follow_time(at(60), Instant::now()));
    let ended = registry.ended_since(&before);
    assert_eq!(
        ended,
        [all[0], all[1], all[2]].map(|(one, standing)| (name(one), standing))
    );
    assert_eq!(registry.ended_since(&registry.expired().clone()), []);
}

/// A certificate counts as long as its device is let in; without key and certificate nobody is.
//= C5
#[test]
fn who_has_a_certificate_and_no_key_is_let_in_by_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut registry = open(directory.path());
    let certified = Known {
        keys: Vec::new(),
        certificates: vec!["ab".repeat(32)],
        addresses: vec!["10.65.1.1".parse().unwrap()],
        ..enrolled()
    };
    let nobody = Known {
        certificates: Vec::new(),
        ..certified.clone()
    };
    let lost = Known {
        keys: vec![DeviceKey {
            wireguard: PublicKey([3; 32]),
            until: Some(at(0)),
        }],
        ..certified.clone()
    };
    let pending = Known {
        standing: Standing::Pending,
        ..certified.clone()
    };
    let all = [
        ("desk-1", certified),
        ("desk-2", nobody),
        ("desk-3", pending),
        ("desk-4", lost),
    ];
    registry.take_over(loaded(1, &all));
    let let_in = |registry: &Registry| -> Vec<(String, Credential)> {
        let all = registry.let_in();
        all.map(|(name, one)| (name.to_string(), one.credential))
            .collect()
    };
    let one = |name: &str| (name.to_owned(), Credential::Certificate);
    assert_eq!(let_in(&registry), [one("desk-1")]);
    registry.set(change("desk-3", Standing::Active, 1)).unwrap();
    assert_eq!(let_in(&registry), [one("desk-1"), one("desk-3")]);
    registry
        .set(change("desk-1", Standing::Revoked, 2))
        .unwrap();
    assert_eq!(let_in(&registry), [one("desk-3")]);
    // As after a restart without the database.
    assert_eq!(let_in(&open(directory.path())), [one("desk-3")]);
}

#[test]
fn a_change_of_one_device_leaves_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let mut registry = open(directory.path());
    let all = [("ecg-1", enrolled()), ("ecg-2", enrolled())];
    registry.take_over(loaded(1, &all));
    registry.set(change("ecg-2", Standing::Revoked, 1)).unwrap();
    let other = Known {
        why: "moved".to_owned(),
        ..enrolled()
    };
    assert!(registry.take_in(loaded(2, &[("ecg-1", other.clone())])));
    assert_eq!(registry.entry(&name("ecg-1")), Some(&other));
    // What the database does not have yet holds over what it says of the device.
    assert_eq!(registry.standing(&name("ecg-2")), Standing::Revoked);
    registry.take_in(loaded(3, &[("ecg-2", enrolled())]));
    assert_eq!(registry.standing(&name("ecg-2")), Standing::Revoked);
    assert_eq!(registry.unsaved().len(), 1);
    assert_eq!(registry.database().unwrap().revision, 3);
    assert!(!registry.take_in(loaded(4, &[("ecg-1", other)])));
}

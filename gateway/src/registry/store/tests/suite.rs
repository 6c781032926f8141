//! What every database must do.

use super::cluster::Cluster;
use super::*;

#[tokio::test]
async fn on_sqlite() {
    for case in CASES {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::File(directory.path().join("registry.db"));
        run(case, &place).await;
    }
}

#[tokio::test]
async fn on_postgresql() {
    let cluster = Cluster::start();
    for (number, case) in CASES.iter().enumerate() {
        let place = cluster.database(&format!("case_{number}"));
        run(case, &place).await;
    }
}

const CASES: [&str; 19] = [
    "round trip",
    "all or none",
    "one key one device",
    "standings",
    "marks",
    "rotation",
    "identity",
    "adoption",
    "adoption of an older copy",
    "adoption with a serial number that went on",
    "sightings",
    "extension",
    "removal",
    "token used once",
    "token refused",
    "token for certificates",
    "tokens of an older copy",
    "token races",
    "addresses go on",
];

async fn run(case: &str, place: &Place) {
    let store = Store::open(place, None, 42).await.unwrap();
    match case {
        "round trip" => round_trip(&store).await,
        "all or none" => all_or_none(&store).await,
        "one key one device" => one_key_one_device(&store).await,
        "standings" => standings(&store).await,
        "marks" => marks(&store).await,
        "rotation" => rotation(&store).await,
        "identity" => identity(&store, place).await,
        "adoption" => adoption(&store, place).await,
        "adoption of an older copy" => adoption_of_an_older_copy(&store, place).await,
        "adoption with a serial number that went on" => serial_that_went_on(&store, place).await,
        "sightings" => sightings(&store).await,
        "removal" => removal(&store).await,
        "extension" => extension(&store).await,
        "token used once" => token::used_once(&store).await,
        "token refused" => token::late_revoked_and_foreign(&store).await,
        "token for certificates" => token::one_certificate_key_one_device(&store).await,
        "tokens of an older copy" => token::of_an_older_copy(&store, place).await,
        "token races" => token::races(&store, place).await,
        "addresses go on" => settle::addresses_go_on(&store, place).await,
        other => panic!("no case {other}"),
    }
    store.close().await;
}

pub(super) async fn add(store: &Store, newcomers: &[Newcomer]) -> Result<(), StoreError> {
    store.add(newcomers, pool()).await
}

pub(super) async fn device(store: &Store, device: &str) -> Known {
    let loaded = store.load().await.unwrap();
    let known = loaded.devices.get(&name(device)).unwrap().clone();
    // Alone it is the same.
    let one = store.load_one(&name(device)).await.unwrap();
    assert_eq!(one.version, loaded.version);
    assert_eq!(one.devices, [(name(device), known.clone())].into());
    known
}

async fn round_trip(store: &Store) {
    let mut with_address = newcomer("ecg-2", 2);
    with_address.known.addresses = vec!["10.64.1.2".parse().unwrap(), "fd64::2".parse().unwrap()];
    with_address.known.standing = Standing::Pending;
    with_address.known.approved = false;
    with_address.known.origin = Origin::Imported;
    (with_address.known.serial, with_address.known.expires) = (None, None);
    add(store, &[newcomer("ecg-1", 1), with_address.clone()])
        .await
        .unwrap();
    let loaded = store.load().await.unwrap();
    assert_eq!((loaded.version.revision, loaded.devices.len()), (2, 2));
    // 10.64.1.1 is taken by the files and 10.64.1.2 by the other newcomer.
    let mut wanted = newcomer("ecg-1", 1).known;
    wanted.addresses = vec!["10.64.1.3".parse().unwrap()];
    assert_eq!(loaded.devices.get(&name("ecg-1")), Some(&wanted));
    assert_eq!(
        loaded.devices.get(&name("ecg-2")),
        Some(&with_address.known)
    );
    let story = store.story(&name("ecg-2")).await.unwrap();
    assert_eq!(
        (story.len(), story[0].what.as_str(), story[0].revision),
        (1, "imported", 2)
    );
    assert_eq!((&story[0].by, story[0].at), (&by(), at(0)));
    assert_eq!(store.story(&name("ecg-3")).await.unwrap(), []);
    assert_eq!(device(store, "ecg-1").await, wanted);
    let nobody = store.load_one(&name("ecg-3")).await.unwrap();
    assert!(nobody.devices.is_empty() && nobody.version == loaded.version);
}

async fn refused(store: &Store, newcomers: &[Newcomer]) -> Vec<(usize, Taken)> {
    let before = store.load().await.unwrap();
    let error = add(store, newcomers).await.unwrap_err();
    assert_eq!(store.load().await.unwrap(), before);
    let StoreError::Refused(refused) = error else {
        panic!("{error}");
    };
    refused
}

async fn all_or_none(store: &Store) {
    add(store, &[newcomer("ecg-1", 1)]).await.unwrap();
    let mut same_serial = newcomer("ecg-5", 5);
    same_serial.known.serial = Some("SN-1".to_owned());
    let mut same_address = newcomer("ecg-6", 6);
    same_address.known.addresses = vec!["10.64.1.2".parse().unwrap()];
    let list = [
        newcomer("ecg-1", 2),
        newcomer("ecg-3", 1),
        newcomer("ecg-4", 4),
        newcomer("ecg-4", 40),
        same_serial,
        same_address,
        newcomer("ecg-7", 4),
    ];
    let owner = |text: &str| text.to_owned();
    assert_eq!(
        refused(store, &list).await,
        [
            (0, Taken::Name(name("ecg-1"))),
            (1, Taken::Key(owner("ecg-1"))),
            (1, Taken::Serial(owner("ecg-1"))),
            (3, Taken::Name(name("ecg-4"))),
            (4, Taken::Serial(owner("ecg-1"))),
            (5, Taken::Address(owner("ecg-1"))),
            (6, Taken::Key(owner("ecg-4"))),
            (6, Taken::Serial(owner("ecg-4"))),
        ]
    );
    // The twin: without those that cannot be.
    add(store, &list[2..3]).await.unwrap();
    let many: Vec<Newcomer> = (100..400).map(|n| newcomer(&format!("d-{n}"), n)).collect();
    let refused = refused(store, &many).await;
    let exhausted = Taken::Exhausted(crate::registry::addresses::Exhausted::All);
    assert_eq!(refused.last(), Some(&(299, exhausted)));
    // 254 hosts, of which three are taken.
    assert_eq!(refused.len(), 300 - 251);
}

/// A key that was once somebody's is never another's.
async fn one_key_one_device(store: &Store) {
    add(store, &[newcomer("ecg-1", 1)]).await.unwrap();
    let revoked = change("ecg-1", Standing::Active, Standing::Revoked, 1);
    store.save(&revoked).await.unwrap();
    assert_eq!(
        refused(store, &[newcomer("ecg-2", 1)]).await,
        [(0, Taken::Key("ecg-1".to_owned()))]
    );
    // Its serial number may go on with another key.
    let mut successor = newcomer("ecg-2", 2);
    successor.known.serial = Some("SN-1".to_owned());
    add(store, &[successor]).await.unwrap();
}

async fn standings(store: &Store) {
    let quarantined = change("of-the-files", Standing::Active, Standing::Quarantined, 10);
    store.save(&quarantined).await.unwrap();
    let known = device(store, "of-the-files").await;
    assert_eq!(
        (known.origin, known.standing),
        (Origin::File, Standing::Quarantined)
    );
    assert_eq!((known.why.as_str(), known.since), ("because 10", at(10)));
    // Somebody else decided something milder before, which comes late: it is history, not the present.
    let milder = change("of-the-files", Standing::Active, Standing::Active, 9);
    store.save(&milder).await.unwrap();
    assert_eq!(
        device(store, "of-the-files").await.standing,
        Standing::Quarantined
    );
    let stricter = change("of-the-files", Standing::Active, Standing::Revoked, 8);
    store.save(&stricter).await.unwrap();
    assert_eq!(
        device(store, "of-the-files").await.standing,
        Standing::Revoked
    );
    // A release by somebody who did not know of the revocation is history, however late it is.
    let unknowing = change("of-the-files", Standing::Quarantined, Standing::Active, 10);
    let mut unknowing = unknowing;
    unknowing.mark = 77;
    store.save(&unknowing).await.unwrap();
    assert_eq!(
        device(store, "of-the-files").await.standing,
        Standing::Revoked
    );
    let released = change("of-the-files", Standing::Revoked, Standing::Active, 11);
    store.save(&released).await.unwrap();
    assert_eq!(
        device(store, "of-the-files").await.standing,
        Standing::Active
    );
    let story = store.story(&name("of-the-files")).await.unwrap();
    let words: Vec<&str> = story.iter().map(|line| line.what.as_str()).collect();
    let wanted = ["quarantined", "released", "revoked", "released", "released"];
    assert_eq!(words, wanted);
    // Who was never approved is remembered, until somebody does.
    let mut pending = newcomer("new", 1);
    (pending.known.standing, pending.known.approved) = (Standing::Pending, false);
    add(store, &[pending]).await.unwrap();
    let revoked = change("new", Standing::Pending, Standing::Revoked, 20);
    store.save(&revoked).await.unwrap();
    assert!(!device(store, "new").await.approved);
    let approved = change("new", Standing::Revoked, Standing::Active, 21);
    store.save(&approved).await.unwrap();
    assert!(device(store, "new").await.approved);
}

async fn marks(store: &Store) {
    let one = change("a", Standing::Active, Standing::Quarantined, 1);
    for _ in 0..3 {
        store.save(&one).await.unwrap();
    }
    assert_eq!(store.story(&name("a")).await.unwrap().len(), 1);
    assert_eq!(store.version().await.unwrap().revision, 1);
}

async fn rotation(store: &Store) {
    add(store, &[newcomer("ecg-1", 1), newcomer("ecg-2", 2)])
        .await
        .unwrap();
    let rotation = |device: &str, number, overlap, seconds| Rotation {
        device: name(device),
        key: key(number),
        overlap_until: overlap,
        why: "yearly".to_owned(),
        mark: 5000 + seconds,
        by: by(),
        at: at(seconds),
    };
    let until = Some(at(86_400));
    store
        .rotate(&rotation("ecg-1", 3, until, 10))
        .await
        .unwrap();
    let keys = |known: Known| -> Vec<(PublicKey, Option<Timestamp>)> {
        let keys = known.keys.into_iter();
        keys.map(|key| (key.wireguard, key.until)).collect()
    };
    assert_eq!(
        keys(device(store, "ecg-1").await),
        [(key(3), None), (key(1), until)]
    );
    store.rotate(&rotation("ecg-1", 4, None, 20)).await.unwrap();
    assert_eq!(
        keys(device(store, "ecg-1").await),
        [
            (key(4), None),
            (key(3), Some(Timestamp::UNIX_EPOCH)),
            (key(1), Some(Timestamp::UNIX_EPOCH))
        ]
    );
    // By a clock that went back since: the newest is the one without an end, whatever the times say.
    store.rotate(&rotation("ecg-1", 5, None, 5)).await.unwrap();
    assert_eq!(keys(device(store, "ecg-1").await)[0], (key(5), None));
    for (device, number) in [("ecg-1", 1), ("ecg-1", 2), ("ecg-2", 1)] {
        let error = store.rotate(&rotation(device, number, None, 30)).await;
        assert!(
            matches!(error, Err(StoreError::Refused(_))),
            "{device} {number}"
        );
    }
    let unknown = store.rotate(&rotation("ecg-9", 9, None, 30)).await;
    assert!(matches!(unknown, Err(StoreError::Unknown(_))));
}

async fn extension(store: &Store) {
    add(store, &[newcomer("ecg-1", 1), newcomer("ecg-2", 2)])
        .await
        .unwrap();
    let extension = |device: &str, expires, seconds| Extension {
        device: name(device),
        expires,
        why: "one more year".to_owned(),
        mark: 7000 + seconds,
        by: by(),
        at: at(seconds),
    };
    for (expires, seconds) in [(Some(at(2_000_000)), 1), (None, 2)] {
        store
            .extend(&extension("ecg-1", expires, seconds))
            .await
            .unwrap();
        assert_eq!(device(store, "ecg-1").await.expires, expires);
    }
    assert_eq!(device(store, "ecg-2").await.expires, Some(at(1_000_000)));
    let revoked = change("ecg-2", Standing::Active, Standing::Revoked, 3);
    store.save(&revoked).await.unwrap();
    for unknown in ["ecg-2", "ecg-9"] {
        let error = store.extend(&extension(unknown, None, 4)).await;
        assert!(matches!(error, Err(StoreError::Unknown(_))), "{unknown}");
    }
    // The serial number of a revoked device may go on; then the old one cannot come back beside it.
    let mut successor = newcomer("ecg-3", 3);
    successor.known.serial = Some("SN-2".to_owned());
    add(store, &[successor]).await.unwrap();
    let back = change("ecg-2", Standing::Revoked, Standing::Active, 5);
    assert!(matches!(store.save(&back).await, Err(StoreError::Race(_))));
    assert_eq!(device(store, "ecg-2").await.standing, Standing::Revoked);
}

async fn sightings(store: &Store) {
    let one = |device: &str, what, value: &str, seconds| Sighting {
        device: name(device),
        what,
        value: value.to_owned(),
        seen: Seen::at(at(seconds), 2),
    };
    let strange = |source: &str, seconds| Strange {
        what: "key".to_owned(),
        source: source.to_owned(),
        value: "K".to_owned(),
        seen: Seen::at(at(seconds), 1),
    };
    for (device, seconds) in [("a", 10), ("b", 20), ("a", 30), ("a", 20)] {
        let seen = [one(device, What::Handshake, "", seconds)];
        store
            .note(&seen, &[strange("192.0.2.1", seconds)])
            .await
            .unwrap();
    }
    let (mut seen, strangers) = store.seen().await.unwrap();
    seen.sort_by(|a, b| a.device.cmp(&b.device));
    let times = |seen: &Seen| (seen.amount, seen.first, seen.last);
    let wanted = [(6, at(10), at(30)), (2, at(20), at(20))];
    assert_eq!(
        seen.iter().map(|one| times(&one.seen)).collect::<Vec<_>>(),
        wanted
    );
    assert_eq!(times(&strangers[0].seen), (4, at(10), at(30)));
    // Who is there is no change of what is known.
    assert_eq!(store.version().await.unwrap().revision, 0);
    // Of each kind the latest are kept.
    let many = (0..50).map(|n| one("a", What::Address, &format!("192.0.2.{n}"), n));
    store.note(&many.collect::<Vec<_>>(), &[]).await.unwrap();
    let (seen, _) = store.seen().await.unwrap();
    let addresses: Vec<&Sighting> = seen
        .iter()
        .filter(|one| one.what == What::Address)
        .collect();
    assert_eq!(addresses.len(), 32);
    assert!(addresses.iter().all(|one| one.seen.last >= at(18)));
    let many = (0..5000).map(|n| strange(&format!("10.0.{}.{}", n / 250, n % 250), n));
    store.note(&[], &many.collect::<Vec<_>>()).await.unwrap();
    let (_, strangers) = store.seen().await.unwrap();
    assert_eq!(strangers.len(), 4096);
    assert_eq!(strangers[0].source, "10.0.19.249");
}

async fn identity(store: &Store, place: &Place) {
    add(store, &[newcomer("ecg-1", 1)]).await.unwrap();
    let version = store.version().await.unwrap();
    assert_eq!((version.identity, version.revision), (42, 1));
    let again = Store::open(place, Some(version), 43).await.unwrap();
    assert_eq!(again.version().await.unwrap(), version);
    again.close().await;
    let other = Version {
        identity: 41,
        ..version
    };
    let opened = Store::open(place, Some(other), 43).await;
    assert!(matches!(opened, Err(StoreError::Other)));
    let later = Version {
        revision: 2,
        ..version
    };
    let opened = Store::open(place, Some(later), 43).await;
    assert!(matches!(opened, Err(StoreError::Older { .. })));
}

/// The gateway's own knowledge goes over what is there, but never lets anybody do more.
async fn adoption(store: &Store, place: &Place) {
    add(store, &[newcomer("ecg-1", 1), newcomer("ecg-2", 2)])
        .await
        .unwrap();
    let revoked = change("ecg-2", Standing::Active, Standing::Revoked, 1);
    store.save(&revoked).await.unwrap();
    let mut quarantined = device(store, "ecg-1").await;
    quarantined.standing = Standing::Quarantined;
    let mut released = device(store, "ecg-2").await;
    released.standing = Standing::Active;
    let mut lost = newcomer("ecg-3", 3).known;
    lost.addresses = vec!["10.64.1.77".parse().unwrap()];
    lost.certificates = vec!["cd".repeat(32)];
    lost.keys.push(DeviceKey {
        wireguard: key(33),
        until: Some(at(5)),
    });
    let known = [
        (name("ecg-1"), quarantined),
        (name("ecg-2"), released),
        (name("ecg-3"), lost.clone()),
    ];
    let adopted = Store::adopt(place, 43, &known).await.unwrap();
    let loaded = adopted.load().await.unwrap();
    let standing = |device: &str| loaded.devices.get(&name(device)).unwrap().standing;
    assert_eq!(standing("ecg-1"), Standing::Quarantined);
    assert_eq!(standing("ecg-2"), Standing::Revoked);
    assert_eq!(loaded.devices.get(&name("ecg-3")), Some(&lost));
    adopted.close().await;
}

/// What was withdrawn since the copy was made stays withdrawn: keys, and the time of a device.
//= C5
async fn adoption_of_an_older_copy(store: &Store, place: &Place) {
    add(store, &[newcomer("ecg-1", 1), newcomer("ecg-2", 2)])
        .await
        .unwrap();
    let mut rotated = device(store, "ecg-1").await;
    rotated.keys[0].until = Some(at(50));
    rotated.keys.insert(
        0,
        DeviceKey {
            wireguard: key(11),
            until: None,
        },
    );
    rotated.expires = Some(at(500));
    // The twin: what the copy withdrew and the gateway did not is not given back either.
    let mut milder = device(store, "ecg-2").await;
    milder.expires = None;
    let known = [(name("ecg-1"), rotated.clone()), (name("ecg-2"), milder)];
    for _ in 0..2 {
        let adopted = Store::adopt(place, 43, &known).await.unwrap();
        let loaded = adopted.load().await.unwrap();
        assert_eq!(loaded.devices.get(&name("ecg-1")), Some(&rotated));
        let other = loaded.devices.get(&name("ecg-2")).unwrap();
        assert_eq!(other.expires, Some(at(1_000_000)));
        adopted.close().await;
    }
    // Both gave it another key: only the gateway's is taken.
    let mut other = rotated.clone();
    other.keys[0].wireguard = key(12);
    let adopted = Store::adopt(place, 43, &[(name("ecg-1"), other)]).await;
    let adopted = adopted.unwrap();
    let known = device(&adopted, "ecg-1").await;
    let endless = known.keys.iter().filter(|key| key.until.is_none());
    assert_eq!(endless.count(), 1);
    assert_eq!(known.keys[0].wireguard, key(12));
    adopted.close().await;
}

/// In the copy a device has the number that its successor has by now.
async fn serial_that_went_on(store: &Store, place: &Place) {
    add(store, &[newcomer("z-old", 1)]).await.unwrap();
    let mut old = device(store, "z-old").await;
    old.standing = Standing::Revoked;
    let mut next = newcomer("a-next", 2).known;
    next.serial.clone_from(&old.serial);
    next.addresses = vec!["10.64.1.50".parse().unwrap()];
    // Somebody whose key and address the database gave to another.
    let mut clash = newcomer("clash", 1).known;
    clash.addresses.clone_from(&old.addresses);
    let known = [
        (name("a-next"), next.clone()),
        (name("clash"), clash),
        (name("z-old"), old),
    ];
    let adopted = Store::adopt(place, 43, &known).await.unwrap();
    let loaded = adopted.load().await.unwrap();
    assert_eq!(loaded.devices.get(&name("a-next")), Some(&next));
    let standing = |device: &str| loaded.devices.get(&name(device)).unwrap().standing;
    assert_eq!(standing("z-old"), Standing::Revoked);
    let clash = loaded.devices.get(&name("clash")).unwrap();
    assert!(clash.keys.is_empty() && clash.addresses.is_empty() && clash.serial.is_none());
    adopted.close().await;
}

//= C5
async fn removal(store: &Store) {
    add(store, &[newcomer("ecg-1", 1)]).await.unwrap();
    let removal = Removal {
        device: name("ecg-1"),
        why: "scrapped".to_owned(),
        mark: 9000,
        by: by(),
        at: at(2),
    };
    let too_early = store.remove(&removal).await;
    assert!(matches!(too_early, Err(StoreError::Unknown(_))));
    let revoked = change("ecg-1", Standing::Active, Standing::Revoked, 1);
    store.save(&revoked).await.unwrap();
    let addresses = device(store, "ecg-1").await.addresses;
    store.remove(&removal).await.unwrap();
    let removed = device(store, "ecg-1").await;
    assert!(removed.removed && removed.addresses.is_empty() && !removed.is_here());
    let twice = store.remove(&removal).await;
    assert!(matches!(twice, Err(StoreError::Unknown(_))));
    // Its address may be another's, its key and name may not.
    let mut next = newcomer("ecg-2", 2);
    next.known.addresses = addresses;
    add(store, &[next]).await.unwrap();
    let again = [newcomer("ecg-1", 1)];
    let taken = [
        (0, Taken::Name(name("ecg-1"))),
        (0, Taken::Key("ecg-1".to_owned())),
    ];
    assert_eq!(refused(store, &again).await, taken);
    let story = store.story(&name("ecg-1")).await.unwrap();
    assert_eq!(story.last().unwrap().what, "removed");
}

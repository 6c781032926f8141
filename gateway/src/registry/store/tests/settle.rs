//! One newcomer beside many: what it may have is looked for by indexes, and addresses are found again.

use std::time::Instant;

use sqlx::{AssertSqlSafe, Row};

use super::cluster::Cluster;
use super::suite::{add, device};
use super::*;
use crate::registry::store::settle::{ADDRESS, KEY, NAME};

fn alone(number: u16) -> Newcomer {
    newcomer(&format!("ecg-{number}"), number)
}

async fn address(store: &Store, number: u16) -> String {
    let known = device(store, &format!("ecg-{number}")).await;
    known.addresses.iter().map(ToString::to_string).collect()
}

/// What is not given is not lost, and what is let go is given again: here, or by another gateway.
pub(super) async fn addresses_go_on(store: &Store, place: &Place) {
    for number in 1..=3 {
        add(store, &[alone(number)]).await.unwrap();
    }
    assert_eq!(address(store, 3).await, "10.64.1.4");
    // `device` reads everything, so that the search began anew; from here on it goes on.
    add(store, &[alone(4)]).await.unwrap();
    for number in [1, 2] {
        let mut same_key = alone(5);
        same_key.known.keys[0].wireguard = key(number);
        let error = add(store, &[same_key]).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error}");
    }
    let mut brings = alone(5);
    brings.known.addresses = vec!["10.64.1.6".parse().unwrap()];
    brings.known.keys[0].wireguard = key(1);
    add(store, &[brings.clone()]).await.unwrap_err();
    add(store, &[alone(6)]).await.unwrap();
    brings.known.keys[0].wireguard = key(5);
    brings.known.addresses = vec!["10.64.1.7".parse().unwrap()];
    add(store, &[brings]).await.unwrap();
    // Another gateway, which knows nothing of this one's search.
    let other = Store::open(place, Some(store.version().await.unwrap()), 43)
        .await
        .unwrap();
    add(&other, &[alone(7), alone(8)]).await.unwrap();
    for number in 9..=10 {
        add(store, &[alone(number)]).await.unwrap();
    }
    add(&other, &[alone(11)]).await.unwrap();
    let loaded = store.load().await.unwrap();
    let given = |number: u16| {
        let known = loaded.devices.get(&name(&format!("ecg-{number}")));
        known.unwrap().addresses[0].to_string()
    };
    let all: Vec<String> = [4, 6, 5, 7, 8, 9, 10, 11].map(given).into();
    let wanted: Vec<String> = (5..=12).map(|last| format!("10.64.1.{last}")).collect();
    assert_eq!(all, wanted);
    // What a removed device had is given again: at once by who removed it, by others when they read everything.
    for number in [2, 3, 4_u16] {
        let device = format!("ecg-{number}");
        let revoked = change(&device, Standing::Active, Standing::Revoked, number.into());
        store.save(&revoked).await.unwrap();
    }
    let gone = |number: u16| Removal {
        device: name(&format!("ecg-{number}")),
        why: "thrown away".to_owned(),
        mark: 8000 + i64::from(number),
        by: by(),
        at: at(70),
    };
    add(store, &[alone(12)]).await.unwrap();
    other.remove(&gone(3)).await.unwrap();
    add(store, &[alone(13)]).await.unwrap();
    store.remove(&gone(2)).await.unwrap();
    for number in 14..=15 {
        add(store, &[alone(number)]).await.unwrap();
    }
    other.remove(&gone(4)).await.unwrap();
    add(store, &[alone(16)]).await.unwrap();
    store.load().await.unwrap();
    add(store, &[alone(17)]).await.unwrap();
    for (number, last) in [(12, 13), (13, 14), (14, 3), (15, 4), (16, 15), (17, 5)] {
        let wanted = format!("10.64.1.{last}");
        assert_eq!(address(store, number).await, wanted, "ecg-{number}");
    }
    other.close().await;
}

/// No search of one newcomer reads a table.
#[tokio::test]
async fn one_newcomer_is_looked_for_by_indexes() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::File(directory.path().join("registry.db"));
    let store = Store::open(&place, None, 42).await.unwrap();
    let Pool::Sqlite(pool) = &store.pool else {
        panic!("a file");
    };
    let plan = async |query: &str| {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"));
        let rows = sqlx::query(explain).fetch_all(pool).await.unwrap();
        let lines = rows.iter().map(|row| row.get::<String, _>("detail"));
        lines.collect::<Vec<_>>().join("; ")
    };
    for query in [NAME, KEY, ADDRESS] {
        let plan = plan(query).await;
        assert!(
            plan.contains("SEARCH") && !plan.contains("SCAN device"),
            "{query}: {plan}"
        );
    }
    // The twin: such a plan tells who reads everything.
    let all = plan("SELECT name, serial, standing FROM device").await;
    assert!(all.contains("SCAN device"), "{all}");
    store.close().await;
}

/// Prints how long one newcomer takes beside ten thousand: alone, and as one of two, for whom everything is read.
#[tokio::test]
#[ignore = "a measurement of a minute"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
async fn measure_one_beside_ten_thousand() {
    const THERE: u16 = 10_000;
    const EACH: u16 = 50;
    let directory = tempfile::tempdir().unwrap();
    let file = Place::File(directory.path().join("registry.db"));
    let cluster = Cluster::start();
    for place in [file, cluster.database("measured")] {
        let store = Store::open(&place, None, 42).await.unwrap();
        let networks = [(Way::Key, "10.64.0.0/17".parse().unwrap())];
        let pool = || Addresses::new(&networks, [].into(), Vec::new());
        let many: Vec<Newcomer> = (0..THERE).map(alone).collect();
        let begun = Instant::now();
        store.add(&many, pool()).await.unwrap();
        println!("{THERE} at once: {:?}", begun.elapsed());
        let begun = Instant::now();
        for number in 0..EACH {
            let two = [alone(THERE + 2 * number), alone(THERE + 2 * number + 1)];
            store.add(&two, pool()).await.unwrap();
        }
        println!(
            "two, reading everything: {:?}",
            begun.elapsed() / u32::from(EACH)
        );
        let first = THERE + 2 * EACH;
        store.add(&[alone(first)], pool()).await.unwrap();
        let begun = Instant::now();
        for number in 1..=EACH {
            store.add(&[alone(first + number)], pool()).await.unwrap();
        }
        println!("one, by indexes: {:?}", begun.elapsed() / u32::from(EACH));
        store.close().await;
    }
}

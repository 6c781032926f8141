//! What can befall a file.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::*;

struct World {
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("registry.db")
    }

    async fn open(&self, known: Option<Version>) -> Result<Store, StoreError> {
        Store::open(&Place::File(self.path()), known, 42).await
    }

    /// With one device, closed.
    async fn made(&self) -> Version {
        let store = self.open(None).await.unwrap();
        store.add(&[newcomer("ecg-1", 1)], pool()).await.unwrap();
        let version = store.version().await.unwrap();
        store.close().await;
        version
    }
}

#[tokio::test]
async fn nothing_is_made_in_place_of_what_is_gone() {
    let world = World::new();
    let version = world.made().await;
    std::fs::remove_file(world.path()).unwrap();
    let opened = world.open(Some(version)).await;
    assert!(matches!(opened, Err(StoreError::Gone(_))));
    assert!(!world.path().exists());
    std::fs::write(world.path(), "").unwrap();
    let opened = world.open(Some(version)).await;
    assert!(matches!(opened, Err(StoreError::Empty)));
    // The twin: whoever knew no database gets one.
    world.open(None).await.unwrap().close().await;
}

#[tokio::test]
async fn a_file_that_vanishes_under_us_is_missed() {
    let world = World::new();
    let version = world.made().await;
    let store = world.open(Some(version)).await.unwrap();
    assert_eq!(store.version().await.unwrap(), version);
    let kept = world.directory.path().join("kept");
    std::fs::rename(world.path(), &kept).unwrap();
    assert!(matches!(store.version().await, Err(StoreError::Gone(_))));
    std::fs::copy(&kept, world.path()).unwrap();
    assert!(matches!(store.load().await, Err(StoreError::Gone(_))));
    store.close().await;
}

#[tokio::test]
async fn damage_is_seen_at_opening() {
    let world = World::new();
    let version = world.made().await;
    let good = std::fs::read(world.path()).unwrap();
    let mut pages = good.clone();
    for byte in &mut pages[5000..20_000] {
        *byte ^= 0x55;
    }
    for bad in [
        b"not a database at all, but long enough to be looked at".repeat(200),
        pages,
    ] {
        std::fs::write(world.path(), &bad).unwrap();
        let opened = world.open(Some(version)).await;
        assert!(matches!(opened, Err(StoreError::Damaged(_))), "{opened:?}");
        assert_eq!(std::fs::read(world.path()).unwrap(), bad);
    }
    std::fs::write(world.path(), &good).unwrap();
    world.open(Some(version)).await.unwrap().close().await;
}

#[tokio::test]
async fn a_damaged_file_is_put_aside_when_it_is_adopted_anew() {
    let world = World::new();
    world.made().await;
    let bad = b"not a database at all, but long enough to be looked at".repeat(200);
    std::fs::write(world.path(), &bad).unwrap();
    let known = [(name("ecg-1"), newcomer("ecg-1", 1).known)];
    let place = Place::File(world.path());
    let store = Store::adopt(&place, 43, &known).await.unwrap();
    assert_eq!(store.load().await.unwrap().devices.len(), 1);
    assert_eq!(store.version().await.unwrap().identity, 43);
    store.close().await;
    let aside = world.directory.path().join("registry.db.damaged");
    assert_eq!(std::fs::read(aside).unwrap(), bad);
}

#[tokio::test]
async fn a_copy_is_whole_private_and_never_over_something() {
    let world = World::new();
    let version = world.made().await;
    let store = world.open(Some(version)).await.unwrap();
    let copy = world.directory.path().join("copy.db");
    store.backup(&copy).await.unwrap();
    assert_eq!(copy.metadata().unwrap().mode() & 0o777, 0o600);
    let again = Store::open(&Place::File(copy.clone()), Some(version), 1)
        .await
        .unwrap();
    assert_eq!(again.load().await.unwrap(), store.load().await.unwrap());
    again.close().await;
    let before = std::fs::read(&copy).unwrap();
    assert!(matches!(
        store.backup(&copy).await,
        Err(StoreError::Backup { .. })
    ));
    assert_eq!(std::fs::read(&copy).unwrap(), before);
    let nowhere = world.directory.path().join("none/copy.db");
    assert!(matches!(
        store.backup(&nowhere).await,
        Err(StoreError::Backup { .. })
    ));
    store.close().await;
}

#[tokio::test]
async fn a_full_disk_changes_nothing() {
    let world = World::new();
    let version = world.made().await;
    let store = world.open(Some(version)).await.unwrap();
    let Pool::Sqlite(pool) = &store.pool else {
        panic!("this is a file");
    };
    let (pages,): (i64,) = sqlx::query_as("PRAGMA page_count")
        .fetch_one(pool)
        .await
        .unwrap();
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
    sqlx::query(limit).execute(pool).await.unwrap();
    let many: Vec<Newcomer> = (100..300).map(|n| newcomer(&format!("d-{n}"), n)).collect();
    let full = store.add(&many, super::pool()).await;
    assert!(matches!(full, Err(StoreError::Full(_))), "{full:?}");
    store.close().await;
    // SQLite ends the transaction by itself, which the driver does not see: it is opened anew.
    let again = world.open(Some(version)).await.unwrap();
    assert_eq!(again.load().await.unwrap().devices.len(), 1);
    again.close().await;
}

#[tokio::test]
async fn two_processes_follow_each_other() {
    let world = World::new();
    let version = world.made().await;
    let (one, other) = (
        world.open(Some(version)).await.unwrap(),
        world.open(Some(version)).await.unwrap(),
    );
    for number in 0..20 {
        let store = if number % 2 == 0 { &one } else { &other };
        let change = change("ecg-1", Standing::Active, Standing::Quarantined, number);
        store.save(&change).await.unwrap();
    }
    assert_eq!(one.version().await.unwrap().revision, version.revision + 20);
    one.close().await;
    other.close().await;
}

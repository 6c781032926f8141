//! The thread with databases that come and go.

use std::path::Path;

use jiff::Timestamp;

use super::*;
use crate::flow::Standing;
use crate::registry::known::By;
use crate::registry::store::tests::cluster::Cluster;

struct World {
    handle: Handle,
    said: mpsc::Receiver<FromTask>,
}

impl World {
    fn start(place: Place, known: Option<Version>) -> Self {
        let (out, said) = mpsc::channel(64);
        let handle = Handle::start(place, known, 42, out).unwrap();
        Self { handle, said }
    }

    async fn next(&mut self) -> FromTask {
        let next = timeout(Duration::from_secs(30), self.said.recv()).await;
        next.expect("the thread says something").expect("it lives")
    }

    /// What it says until this is among it.
    async fn until(&mut self, wanted: impl Fn(&FromTask) -> bool) -> FromTask {
        loop {
            let said = self.next().await;
            if wanted(&said) {
                return said;
            }
        }
    }

    async fn loaded(&mut self) -> Loaded {
        let known = |said: &FromTask| matches!(said, FromTask::Loaded(_) | FromTask::Changed(_));
        let said = self.until(known).await;
        let (FromTask::Loaded(loaded) | FromTask::Changed(loaded)) = said else {
            panic!("{said:?}");
        };
        *loaded
    }

    async fn trouble(&mut self) -> String {
        let trouble = |said: &FromTask| matches!(said, FromTask::Trouble(Some(_)));
        let FromTask::Trouble(Some(why)) = self.until(trouble).await else {
            panic!("no trouble");
        };
        why
    }

    async fn done(&mut self, ticket: u64, work: Work) -> Result<Outcome, StoreError> {
        self.handle.ask(ToTask::Do(ticket, work)).unwrap();
        let said = self
            .until(|said| matches!(said, FromTask::Done { .. }))
            .await;
        let FromTask::Done { ticket: of, result } = said else {
            panic!("{said:?}");
        };
        assert_eq!(of, ticket);
        result
    }
}

fn change(mark: i64) -> Change {
    Change {
        mark,
        device: "ecg-1".parse().unwrap(),
        before: Standing::Active,
        after: Standing::Quarantined,
        why: "lost".to_owned(),
        by: By {
            uid: 0,
            name: "root".to_owned(),
        },
        at: Timestamp::UNIX_EPOCH,
    }
}

fn file(directory: &Path) -> Place {
    Place::File(directory.join("registry.db"))
}

#[tokio::test]
async fn a_file_that_goes_away_is_told_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::start(file(directory.path()), None);
    assert_eq!(world.loaded().await.version.revision, 0);
    world.handle.ask(ToTask::Save(change(1))).unwrap();
    let saved = world
        .until(|said| matches!(said, FromTask::Saved { .. }))
        .await;
    assert!(matches!(saved, FromTask::Saved { mark: 1 }));
    assert_eq!(world.loaded().await.devices.len(), 1);

    let (database, kept) = (
        directory.path().join("registry.db"),
        directory.path().join("kept"),
    );
    std::fs::rename(&database, &kept).unwrap();
    assert!(world.trouble().await.contains("is gone"));
    let story = Work::Story("ecg-1".parse().unwrap());
    let error = world.done(7, story).await.unwrap_err();
    assert!(error.to_string().contains("cannot be used now"), "{error}");
    assert!(!database.exists());
    std::fs::rename(&kept, &database).unwrap();
    let loaded = world.loaded().await;
    assert_eq!(loaded.devices.len(), 1);
    let story = Work::Story("ecg-1".parse().unwrap());
    let Ok(Outcome::Story(story)) = world.done(8, story).await else {
        panic!("no story");
    };
    assert_eq!(story.len(), 1);
}

#[tokio::test]
async fn what_was_lost_is_adopted_only_when_it_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::start(file(directory.path()), None);
    let version = world.loaded().await.version;
    drop(world);
    std::fs::remove_file(directory.path().join("registry.db")).unwrap();
    let mut world = World::start(file(directory.path()), Some(version));
    assert!(world.trouble().await.contains("is gone"));
    assert!(!directory.path().join("registry.db").exists());
    assert_eq!(
        world.done(1, Work::Adopt(Vec::new())).await.unwrap(),
        Outcome::Done
    );
    assert!(directory.path().join("registry.db").exists());
    let story = Work::Story("ecg-1".parse().unwrap());
    assert_eq!(
        world.done(2, story).await.unwrap(),
        Outcome::Story(Vec::new())
    );
}

#[tokio::test]
async fn a_server_that_stops_is_told_and_comes_back() {
    let mut cluster = Cluster::start();
    let place = cluster.database("fleet");
    let mut world = World::start(place.clone(), None);
    let first = world.loaded().await;
    // Another gateway of the fleet changes something.
    let mut other = World::start(place, Some(first.version));
    other.loaded().await;
    other.handle.ask(ToTask::Save(change(1))).unwrap();
    assert_eq!(world.loaded().await.devices.len(), 1);
    cluster.stop();
    world.trouble().await;
    cluster.run();
    assert_eq!(world.loaded().await.devices.len(), 1);
    world.handle.ask(ToTask::Save(change(2))).unwrap();
    world
        .until(|said| matches!(said, FromTask::Saved { mark: 2 }))
        .await;
}

//= C9
#[tokio::test]
async fn what_another_gateway_decides_is_known_here() {
    let cluster = Cluster::start();
    let place = cluster.database("fleet");
    let mut here = World::start(place.clone(), None);
    let first = here.loaded().await;
    let mut other = World::start(place, Some(first.version));
    other.loaded().await;
    let revoked = Change {
        after: Standing::Revoked,
        ..change(1)
    };
    let released = Change {
        mark: 2,
        before: Standing::Revoked,
        after: Standing::Active,
        ..change(2)
    };
    for change in [revoked, released] {
        let (device, after) = (change.device.clone(), change.after);
        other.handle.ask(ToTask::Save(change)).unwrap();
        let known = timeout(Duration::from_secs(30), async {
            loop {
                let known = here.loaded().await.devices.remove(&device);
                if known.is_some_and(|known| known.standing == after) {
                    return;
                }
            }
        });
        known.await.expect("it is known in time");
    }
}

/// It ends when nobody listens any more, or by a mistake of ours.
#[tokio::test]
async fn a_thread_that_ended_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let World { handle, said } = World::start(file(directory.path()), None);
    assert!(!handle.is_over());
    drop(said);
    let ended = timeout(Duration::from_secs(30), handle.queue.closed()).await;
    assert!(ended.is_ok() && handle.is_over());
}

/// What changes one device says what that came to, unless somebody else changed something too.
#[tokio::test]
async fn a_change_of_one_device_tells_that_one_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::start(file(directory.path()), None);
    let version = world.loaded().await.version;
    world
        .until(|said| matches!(said, FromTask::Remembered(..)))
        .await;
    let mut changed = async |mark, name: &str| {
        let device = name.parse().unwrap();
        let change = Change {
            device,
            ..change(mark)
        };
        world.handle.ask(ToTask::Save(change)).unwrap();
        let known = |said: &FromTask| matches!(said, FromTask::Loaded(_) | FromTask::Changed(_));
        world.until(known).await
    };
    for (mark, name) in [(1, "ecg-1"), (2, "ecg-2")] {
        let FromTask::Changed(one) = changed(mark, name).await else {
            panic!("not one");
        };
        assert_eq!(one.version.revision, version.revision + mark);
        let names: Vec<_> = one.devices.keys().map(ToString::to_string).collect();
        assert_eq!(names, [name]);
    }
    let place = file(directory.path());
    let other = Store::open(&place, None, 43).await.unwrap();
    let theirs = Change {
        device: "ecg-3".parse().unwrap(),
        ..change(3)
    };
    other.save(&theirs).await.unwrap();
    let FromTask::Loaded(all) = changed(4, "ecg-4").await else {
        panic!("not all");
    };
    assert!(all.devices.contains_key(&"ecg-3".parse().unwrap()));
    other.close().await;
}

/// As long as it works it says so, whether it has a database or not; who hears nothing knows that it hangs.
#[tokio::test]
async fn a_thread_that_works_is_heard() {
    let directory = tempfile::tempdir().unwrap();
    for known in [
        None,
        Some(Version {
            identity: 1,
            revision: 1,
        }),
    ] {
        let name = format!("known-{}.db", known.is_some());
        let place = Place::File(directory.path().join(name));
        let mut world = World::start(place, known);
        for _ in 0..2 {
            let alive = |said: &FromTask| matches!(said, FromTask::Alive);
            world.until(alive).await;
        }
    }
}

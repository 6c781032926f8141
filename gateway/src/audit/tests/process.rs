//! The audit process: group commit, answers, a full disk, and a violent end.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::audit::message::{FromAudit, ToAudit};
use crate::audit::worker;
use crate::channel::{self, Channel};
use crate::flow::Clock;

struct Still;

impl Clock for Still {
    #[expect(clippy::disallowed_methods, reason = "a test has no other clock")]
    fn now(&self) -> Instant {
        Instant::now()
    }
    fn wall(&self) -> Timestamp {
        now()
    }
}

type Supervisor = Channel<ToAudit, FromAudit>;

/// A worker in this runtime, started, and the supervisor's end.
async fn start(directory: &Path, sync_ms: u64) -> (Supervisor, tokio::task::JoinHandle<bool>) {
    let (ours, theirs) = channel::pair().unwrap();
    let theirs = Channel::new(theirs).unwrap();
    let ours = Supervisor::new(ours).unwrap();
    let task = tokio::spawn(async move { worker::run(theirs, Arc::new(Still)).await.is_ok() });
    let start = ToAudit::Start {
        gateway: "clinic-1".to_owned(),
        directory: directory.to_owned(),
        rotate_size: 1 << 30,
        keep: 0,
        sync_ms,
    };
    ours.send(&start, &[]).await.unwrap();
    (ours, task)
}

async fn append(supervisor: &Supervisor, number: u64) {
    let append = ToAudit::Append(vec![decision(number)]);
    supervisor.send(&append, &[]).await.unwrap();
}

async fn heard(supervisor: &Supervisor) -> String {
    let (message, _) = supervisor.receive().await.unwrap();
    match message {
        FromAudit::Ready { next } => format!("ready {next}"),
        FromAudit::Flushed { request } => format!("flushed {request}"),
        FromAudit::Failed { why } => format!("failed: {why}"),
        FromAudit::Recovered => "recovered".to_owned(),
    }
}

#[tokio::test]
async fn what_is_flushed_is_on_the_disk() {
    for sync_ms in [0, 3_600_000] {
        let directory = tempfile::tempdir().unwrap();
        let (supervisor, task) = start(directory.path(), sync_ms).await;
        assert_eq!(heard(&supervisor).await, "ready 2");
        for number in 0..500 {
            append(&supervisor, number).await;
        }
        supervisor
            .send(&ToAudit::Flush { request: 9 }, &[])
            .await
            .unwrap();
        assert_eq!(heard(&supervisor).await, "flushed 9");
        let report = whole(directory.path());
        assert_eq!(report.records, 501);
        assert_eq!(
            report.sync_point,
            crate::audit::verify::SyncPoint::Sealed(501)
        );
        append(&supervisor, 500).await;
        supervisor.send(&ToAudit::Stop, &[]).await.unwrap();
        assert!(task.await.unwrap());
        assert_eq!(whole(directory.path()).records, 502);
    }
}

#[tokio::test]
async fn the_end_of_the_supervisor_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (supervisor, task) = start(directory.path(), 3_600_000).await;
    assert_eq!(heard(&supervisor).await, "ready 2");
    append(&supervisor, 1).await;
    drop(supervisor);
    assert!(task.await.unwrap());
    assert_eq!(whole(directory.path()).records, 2);
}

#[tokio::test]
async fn a_removed_file_is_put_on_record() {
    let directory = tempfile::tempdir().unwrap();
    let (supervisor, task) = start(directory.path(), 0).await;
    assert_eq!(heard(&supervisor).await, "ready 2");
    std::fs::remove_file(path(directory.path(), 1)).unwrap();
    append(&supervisor, 1).await;
    assert!(heard(&supervisor).await.starts_with("failed: "));
    assert_eq!(heard(&supervisor).await, "recovered");
    supervisor.send(&ToAudit::Stop, &[]).await.unwrap();
    assert!(task.await.unwrap());
    assert!(faults(directory.path()).contains("the file of the sync point is missing"));
    let text = std::fs::read_to_string(path(directory.path(), 2)).unwrap();
    assert_eq!(text.lines().count(), 2);
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("audit");
    std::fs::write(&place, "not a directory").unwrap();
    let (supervisor, task) = start(&place, 0).await;
    assert!(
        heard(&supervisor)
            .await
            .starts_with("failed: cannot create ")
    );
    append(&supervisor, 1).await;
    std::fs::remove_file(&place).unwrap();
    assert_eq!(heard(&supervisor).await, "ready 2");
    assert_eq!(heard(&supervisor).await, "recovered");
    supervisor.send(&ToAudit::Stop, &[]).await.unwrap();
    assert!(task.await.unwrap());
    assert_eq!(whole(&place).records, 2);
}

/// This test again, in another process that does what `JOURNAL_TEST` says.
fn again(test: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        &format!("audit::tests::process::{test}"),
        "--nocapture",
    ]);
    command
        .env("JOURNAL_TEST", directory)
        .stdout(Stdio::piped());
    command
}

fn told() -> Option<PathBuf> {
    std::env::var_os("JOURNAL_TEST").map(PathBuf::from)
}

#[test]
fn a_kill_in_the_middle_leaves_a_whole_journal() {
    if let Some(directory) = told() {
        let mut journal = open(&options(&directory));
        for number in 0.. {
            journal.write(&[(now(), decision(number))], now()).unwrap();
            journal.sync().unwrap();
            println!("\nsynced {}", journal.next() - 1);
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let mut synced = 0;
    for round in 1..=5u64 {
        let mut child = again(
            "a_kill_in_the_middle_leaves_a_whole_journal",
            directory.path(),
        )
        .spawn()
        .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let mut lines = lines.filter_map(|line| line.strip_prefix("synced ")?.parse::<u64>().ok());
        synced = lines.nth(usize::try_from(round * 7).unwrap()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        synced = lines.last().unwrap_or(synced);
        let report = whole(directory.path());
        assert!(report.last.unwrap().seq >= synced);
    }
    fill(&mut open(&options(directory.path())), 5);
    assert!(whole(directory.path()).records > synced);
}

/// In a file system of 256 KiB, which is filled and emptied again.
#[test]
fn a_full_disk_is_told_and_survived() {
    if let Some(directory) = told() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(full_disk(&directory));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut inner = again("a_full_disk_is_told_and_survived", directory.path());
    let script = format!(
        "mount -t tmpfs -o size=64m none '{0}' && exec \"$@\"",
        directory.path().display()
    );
    let mut outer = Command::new("unshare");
    outer.args(["-Urm", "sh", "-c", &script, "sh"]);
    outer.arg(inner.get_program()).args(inner.get_args());
    let outer = outer.env("JOURNAL_TEST", directory.path());
    let output = outer.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("1 passed"), "{text}");
    let _ = inner.stdout(Stdio::null());
}

async fn full_disk(directory: &Path) {
    let (supervisor, task) = start(directory, 0).await;
    assert_eq!(heard(&supervisor).await, "ready 2");
    let filler = directory.join("filler");
    let mut block = 1 << 20;
    let mut filled = std::fs::File::create(&filler).unwrap();
    while block > 0 {
        // Down to the last free byte.
        if std::io::Write::write_all(&mut filled, &vec![1; block]).is_err() {
            block /= 2;
        }
    }
    for number in 0..20 {
        append(&supervisor, number).await;
    }
    let why = heard(&supervisor).await;
    assert!(
        why.starts_with("failed: ") && why.contains("No space"),
        "{why}"
    );
    let held = u64::try_from(worker::MAX_HELD).unwrap();
    for number in 20..held + 5 {
        append(&supervisor, number).await;
    }
    // A flush waits for the disk, like everything before it.
    supervisor
        .send(&ToAudit::Flush { request: 1 }, &[])
        .await
        .unwrap();
    let early = tokio::time::timeout(Duration::from_millis(700), heard(&supervisor)).await;
    assert!(early.is_err(), "{early:?}");
    std::fs::remove_file(&filler).unwrap();
    drop(filled);
    assert_eq!(heard(&supervisor).await, "recovered");
    assert_eq!(heard(&supervisor).await, "flushed 1");
    supervisor.send(&ToAudit::Stop, &[]).await.unwrap();
    assert!(task.await.unwrap());
    let report = whole(directory);
    assert_eq!(report.records, 1 + held + 1);
    let text = std::fs::read_to_string(path(directory, 1)).unwrap();
    assert!(
        text.lines()
            .last()
            .unwrap()
            .contains("\"event\":\"records-lost\",\"records\":5")
    );
}

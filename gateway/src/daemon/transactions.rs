//! Transactions that outlive connections, on the disk: storage commitment that was asked for, procedure steps in progress.
//!
//! In: entries of relays, in keyed digests. Out: the same, for the next relay. Knows no UID.
//! A relay gets a key for each device and service, never the one that they come from.
//! `transactions.json` is replaced as a whole, at most once a tick. A file that cannot be understood is set aside:
//! without it results are refused, so that damage lets nothing in.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use futures_util::FutureExt;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use lazaret_config::Config;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tokio::task::JoinHandle;

use super::sessions::EXCHANGES;
use super::worker::Kind;
use crate::flow::{DeviceName, ServiceName};
use crate::inspect::dicom::outstanding::{
    Digest, Entry, MOST_ENTRIES, Recall, SHARE, State, most_entries, oldest_over,
};

/// What is remembered.
pub(super) struct Transactions {
    directory: PathBuf,
    /// Never leaves this process.
    key: [u8; 32],
    of: BTreeMap<(DeviceName, ServiceName), BTreeMap<Digest, Entry>>,
    count: usize,
    /// There is little room: see [`Self::tightness`]. And what the relays that live were told of it.
    tight: bool,
    told: bool,
    unwritten: bool,
    /// The exchanges of which a relay was told, and which.
    reminded: BTreeMap<u64, Kind>,
    /// The write under way, or one of which nobody has asked yet how it went.
    writing: Option<JoinHandle<io::Result<()>>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u64,
    transactions: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    device: DeviceName,
    service: ServiceName,
    #[serde(flatten)]
    entry: Entry,
}

impl Transactions {
    /// Reads what the last process remembered. The key is made when there is none.
    ///
    /// # Errors
    /// When there is no key and none can be made.
    pub(super) fn open(state_dir: &Path) -> io::Result<Self> {
        let mut all = Self {
            directory: state_dir.to_owned(),
            key: key(state_dir)?,
            of: BTreeMap::new(),
            count: 0,
            tight: false,
            told: false,
            unwritten: false,
            reminded: BTreeMap::new(),
            writing: None,
        };
        let path = state_dir.join(FILE);
        match read(&path) {
            Ok(lines) => {
                for line in lines {
                    all.insert(line.device, line.service, line.entry);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::error!(%error, "outstanding transactions cannot be read: their results will be refused");
                // Somebody may want to look at it.
                if let Err(error) = std::fs::rename(&path, state_dir.join(DAMAGED)) {
                    tracing::warn!(%error, "the damaged file cannot be set aside");
                }
            }
        }
        all.unwritten = false;
        Ok(all)
    }

    /// Remembers an entry, or that there is none after all.
    //= C7
    pub(super) fn keep(&mut self, device: &DeviceName, service: &ServiceName, entry: Entry) {
        self.insert(device.clone(), service.clone(), entry);
        self.unwritten = true;
    }

    /// A relay begins that knows nothing. True when it must be told that there is little room, as the others were.
    pub(super) fn forget_reminders(&mut self, relay: Kind) -> bool {
        self.reminded.retain(|_, told| *told != relay);
        self.told
    }

    /// Whether there is little room now, when the relay does not know that yet: it refuses those who hold much,
    /// so that nobody's transactions are forgotten because others have many.
    //= C7
    pub(super) fn tightness(&mut self) -> Option<bool> {
        let changed = self.told != self.tight;
        self.told = self.tight;
        changed.then_some(self.tight)
    }

    /// For the relay that begins a connection between the two, if it may not know: what it was told once it keeps,
    /// and knows more than we do. Only where there are too many exchanges it may have forgotten any of them.
    pub(super) fn remind(
        &mut self,
        exchange: u64,
        relay: Kind,
        device: &DeviceName,
        service: &ServiceName,
    ) -> Option<Recall> {
        let is_known = self.reminded.get(&exchange) == Some(&relay);
        let may_forget = self.reminded.len() >= EXCHANGES;
        if !is_known && !may_forget {
            self.reminded.insert(exchange, relay);
        }
        (!is_known || may_forget).then(|| self.recall(device, service))
    }

    fn recall(&self, device: &DeviceName, service: &ServiceName) -> Recall {
        let key = (device.clone(), service.clone());
        Recall {
            key: derived(&self.key, device, service),
            entries: (self.of.get(&key))
                .map(|entries| entries.values().copied().collect())
                .unwrap_or_default(),
            tight: self.tight,
        }
    }

    /// Writes what changed, without what expired or is of nobody any more. The disk is waited for by another thread,
    /// one write at a time: whoever calls this has others to serve.
    pub(super) fn write(&mut self, config: &Config, now: Timestamp) {
        if let Some(task) = &mut self.writing {
            let Some(result) = task.now_or_never() else {
                return;
            };
            self.writing = None;
            self.wrote(result.unwrap_or_else(|error| Err(io::Error::other(error))));
        }
        if let Some(stored) = self.changed(config, now) {
            let directory = self.directory.clone();
            let save = move || replace(&directory, FILE, &serde_json::to_vec(&stored)?);
            self.writing = Some(tokio::task::spawn_blocking(save));
        }
    }

    /// As [`Self::write`], and waits until it is on the disk: nothing comes after it.
    pub(super) async fn write_at_last(&mut self, config: &Config, now: Timestamp) {
        for _ in 0..2 {
            if let Some(task) = self.writing.take() {
                let result = task.await;
                self.wrote(result.unwrap_or_else(|error| Err(io::Error::other(error))));
            }
            self.write(config, now);
        }
    }

    fn wrote(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            // The next tick tries again.
            self.unwritten = true;
            tracing::error!(%error, "outstanding transactions cannot be remembered beyond a restart");
        }
    }

    /// What is to be written, if anything changed.
    fn changed(&mut self, config: &Config, now: Timestamp) -> Option<Stored> {
        if !std::mem::take(&mut self.unwritten) {
            return None;
        }
        let lifetime = config.limits.transaction_timeout.as_secs();
        let lifetime = i64::try_from(lifetime).unwrap_or(i64::MAX);
        self.of.retain(|(device, service), entries| {
            entries.retain(|_, entry| entry.lives(now, lifetime));
            let known =
                config.devices.contains_key(device) && config.services.contains_key(service);
            known && !entries.is_empty()
        });
        self.count = self.of.values().map(BTreeMap::len).sum();
        self.judge_room();
        let lines = self.of.iter().flat_map(|((device, service), entries)| {
            entries.values().map(|entry| Line {
                device: device.clone(),
                service: service.clone(),
                entry: *entry,
            })
        });
        Some(Stored {
            version: VERSION,
            transactions: lines.collect(),
        })
    }

    /// What is over makes room as it does in the relay, which refuses what has none: nothing outstanding is forgotten.
    fn insert(&mut self, device: DeviceName, service: ServiceName, entry: Entry) {
        let most = most_entries(self.tight);
        let entries = self.of.entry((device, service)).or_default();
        let before = entries.len();
        entries.remove(&entry.id);
        let others = self.count.saturating_sub(before);
        if entry.state != State::Withdrawn {
            if entries.len() >= most
                && let Some(oldest) = oldest_over(entries.values())
            {
                entries.remove(&oldest);
            }
            // What went up before the relay heard that room is little. More is of no relay that works.
            let late = entries.len() < MOST_ENTRIES && others + entries.len() < MOST + SLACK;
            if entries.len() < SHARE || late {
                entries.insert(entry.id, entry);
            } else {
                tracing::warn!("a transaction is not remembered: there is no room");
            }
        }
        self.count = others + entries.len();
        self.judge_room();
    }

    fn judge_room(&mut self) {
        self.tight = self.count >= if self.tight { ENOUGH } else { MOST };
    }
}

fn read(path: &Path) -> io::Result<Vec<Line>> {
    let mut json = Vec::new();
    File::open(path)?.take(MAX_SIZE).read_to_end(&mut json)?;
    let stored: Stored = serde_json::from_slice(&json)?;
    if stored.version != VERSION {
        return Err(io::Error::other("the file is of another version"));
    }
    Ok(stored.transactions)
}

/// The key of what is between a device and a service. Whoever has it cannot tell another, nor where it comes from.
//= C10
fn derived(key: &[u8; 32], device: &DeviceName, service: &ServiceName) -> [u8; 32] {
    // A key of any length is taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return [0; 32];
    };
    // Names have no NUL: no two pairs are the same text.
    mac.update(device.as_str().as_bytes());
    mac.update(b"\0");
    mac.update(service.as_str().as_bytes());
    mac.finalize().into_bytes().into()
}

/// The key from which those of the digests come, made once. A damaged one is set aside: what was remembered under it is of no use.
fn key(directory: &Path) -> io::Result<[u8; 32]> {
    let path = directory.join(KEY);
    match std::fs::read(&path) {
        Ok(bytes) => {
            if let Ok(key) = bytes.try_into() {
                return Ok(key);
            }
            tracing::error!(
                "the key of outstanding transactions is damaged: their results will be refused"
            );
            std::fs::rename(&path, directory.join(DAMAGED_KEY))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    std::fs::create_dir_all(directory)?;
    replace(directory, KEY, &key)?;
    Ok(key)
}

/// Writes a file of ours as a whole: after a crash there is the old one or the new one.
fn replace(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = directory.join(format!("{name}.new"));
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = private(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, directory.join(name))?;
    File::open(directory)?.sync_all()
}

fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

const FILE: &str = "transactions.json";
const DAMAGED: &str = "transactions.json.damaged";
const KEY: &str = "transactions.key";
const DAMAGED_KEY: &str = "transactions.key.damaged";
/// Digests of the first version were under one key for all.
const VERSION: u64 = 2;
/// Transactions of all devices together at which room is little: then each device has [`SHARE`] with each service.
/// A line takes about 300 bytes.
//= C7
const MOST: usize = 65_536;
/// And at which it is enough again.
const ENOUGH: usize = MOST / 8 * 7;
/// For what is on its way while the relay does not know yet.
const SLACK: usize = MOST_ENTRIES;
const MAX_SIZE: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::daemon::connections::tests::config;

    fn digest(n: usize) -> Digest {
        format!("{n:064x}").try_into().unwrap()
    }

    fn entry(n: usize, since: i64) -> Entry {
        Entry {
            id: digest(n),
            state: State::Asked(digest(0)),
            since,
        }
    }

    #[tokio::test]
    async fn what_is_kept_outlives_the_process_and_what_expired_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let config = config();
        let names = ("ecg-1".parse().unwrap(), "his".parse().unwrap());
        let stranger = "nobody".parse().unwrap();
        let mut all = Transactions::open(directory.path()).unwrap();
        all.keep(&names.0, &names.1, entry(1, 1_000_000));
        all.keep(&names.0, &names.1, entry(2, 1_000_000));
        all.keep(&names.0, &names.1, entry(3, 0));
        all.keep(&stranger, &names.1, entry(4, 1_000_000));
        let mut gone = entry(2, 1_000_000);
        gone.state = State::Withdrawn;
        all.keep(&names.0, &names.1, gone);
        let now = Timestamp::from_second(1_000_001).unwrap();
        all.write(&config, now);
        all.keep(&names.0, &names.1, entry(5, 0));
        all.write_at_last(&config, now).await;
        let again = Transactions::open(directory.path()).unwrap();
        assert_eq!(again.key, all.key);
        assert_eq!(
            again.recall(&names.0, &names.1).entries,
            [entry(1, 1_000_000)]
        );
        assert!(again.recall(&stranger, &names.1).entries.is_empty());
        let mode = std::fs::metadata(directory.path().join(FILE)).unwrap();
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777,
            0o600
        );
    }

    #[test]
    fn a_relay_is_told_once_of_what_it_does_not_forget() {
        let directory = tempfile::tempdir().unwrap();
        let (device, service) = ("ecg-1".parse().unwrap(), "his".parse().unwrap());
        let mut all = Transactions::open(directory.path()).unwrap();
        let (one, two) = (Kind::RelayDicom(0), Kind::RelayDicom(1));
        let tells =
            |all: &mut Transactions, n, relay| all.remind(n, relay, &device, &service).is_some();
        let told = |all: &mut Transactions, n| tells(all, n, one);
        assert_eq!(
            [1, 1, 2, 1].map(|n| told(&mut all, n)),
            [true, false, true, false]
        );
        assert!(tells(&mut all, 3, two));
        all.forget_reminders(one);
        assert!(told(&mut all, 1) && !told(&mut all, 1), "it began again");
        assert!(!tells(&mut all, 3, two), "the other did not");
        assert!(tells(&mut all, 1, two), "this one knows nothing of it");
        all.forget_reminders(two);
        let most = u64::try_from(EXCHANGES).unwrap();
        for n in 1..=most {
            assert!(told(&mut all, n));
        }
        assert!(told(&mut all, 1), "it may have made room for another");
    }

    //= C10
    #[test]
    fn every_device_and_service_has_a_key_of_its_own_and_keeps_it() {
        let directory = tempfile::tempdir().unwrap();
        let all = Transactions::open(directory.path()).unwrap();
        let key = |all: &Transactions, (device, service): (&str, &str)| {
            let (device, service) = (device.parse().unwrap(), service.parse().unwrap());
            all.recall(&device, &service).key
        };
        let pairs = [
            ("us-1", "pacs"),
            ("us-2", "pacs"),
            ("us-1", "ris"),
            ("us", "1-pacs"),
        ];
        let keys: BTreeSet<_> = pairs.iter().map(|pair| key(&all, *pair)).collect();
        assert_eq!(keys.len(), pairs.len(), "no two are the same");
        assert!(!keys.contains(&all.key) && !keys.contains(&[0; 32]));
        let again = Transactions::open(directory.path()).unwrap();
        for pair in pairs {
            assert_eq!(
                key(&again, pair),
                key(&all, pair),
                "digests on the disk stay good"
            );
        }
        let elsewhere = tempfile::tempdir().unwrap();
        let other = Transactions::open(elsewhere.path()).unwrap();
        assert_ne!(key(&other, pairs[0]), key(&all, pairs[0]));
    }

    #[test]
    fn damage_lets_nothing_in() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), "{").unwrap();
        let all = Transactions::open(directory.path()).unwrap();
        assert!(all.of.is_empty() && directory.path().join(DAMAGED).exists());
        let first = r#"{"version":1,"transactions":[]}"#;
        std::fs::write(directory.path().join(FILE), first).unwrap();
        Transactions::open(directory.path()).unwrap();
        assert!(!directory.path().join(FILE).exists(), "of another key");
        std::fs::write(directory.path().join(KEY), "short").unwrap();
        let next = Transactions::open(directory.path()).unwrap();
        assert!(next.key != all.key && directory.path().join(DAMAGED_KEY).exists());
        let again = Transactions::open(directory.path()).unwrap();
        assert_eq!(again.key, next.key, "a whole one stays");
    }

    fn over(n: usize) -> Entry {
        Entry {
            state: State::Ended,
            ..entry(n, 0)
        }
    }

    #[test]
    fn one_device_does_not_fill_the_file_and_forgets_nothing_outstanding() {
        let directory = tempfile::tempdir().unwrap();
        let (device, service) = ("ecg-1".parse().unwrap(), "his".parse().unwrap());
        let mut all = Transactions::open(directory.path()).unwrap();
        for n in 0..MOST_ENTRIES + 10 {
            all.keep(&device, &service, entry(n, 0));
        }
        let kept = all.recall(&device, &service).entries;
        assert_eq!((kept.len(), all.count), (MOST_ENTRIES, MOST_ENTRIES));
        assert_eq!(kept.first().unwrap().id, digest(0));
        all.keep(&device, &service, over(7));
        all.keep(&device, &service, entry(MOST_ENTRIES, 0));
        let kept = all.recall(&device, &service).entries;
        assert_eq!(
            (kept.len(), kept.last().unwrap().id),
            (MOST_ENTRIES, digest(MOST_ENTRIES))
        );
        assert!(kept.iter().all(|kept| kept.id != digest(7)), "it was over");
    }

    //= C7
    #[test]
    fn devices_that_hold_much_take_no_room_of_one_that_holds_little() {
        let directory = tempfile::tempdir().unwrap();
        let service = "his".parse().unwrap();
        let mut all = Transactions::open(directory.path()).unwrap();
        let greedy: Vec<DeviceName> = (0..MOST / MOST_ENTRIES)
            .map(|n| format!("us-{n}").parse().unwrap())
            .collect();
        for device in &greedy {
            for n in 0..MOST_ENTRIES {
                assert_eq!(all.tightness(), None);
                all.keep(device, &service, entry(n, 0));
            }
        }
        assert_eq!((all.tightness(), all.tightness()), (Some(true), None));
        let late = "ecg-1".parse().unwrap();
        for n in 0..SHARE {
            all.keep(&late, &service, entry(n, 0));
        }
        let kept = all.recall(&late, &service);
        assert_eq!((kept.entries.len(), kept.tight), (SHARE, true));
        for device in &greedy {
            assert_eq!(all.recall(device, &service).entries.len(), MOST_ENTRIES);
        }
        assert!(
            all.forget_reminders(Kind::RelayDicom(0)),
            "who begins is told"
        );
        let mut gone = entry(0, 0);
        gone.state = State::Withdrawn;
        for n in 0..MOST / 8 + SHARE {
            gone.id = digest(n % MOST_ENTRIES);
            assert_eq!(all.tightness(), None);
            all.keep(&greedy[n / MOST_ENTRIES], &service, gone);
        }
        all.keep(
            &greedy[9],
            &service,
            Entry {
                id: digest(1),
                ..gone
            },
        );
        assert_eq!(all.tightness(), Some(false));
    }
}

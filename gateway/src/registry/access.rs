//! Break-glass access: opened by hand for a time, beside the rules.
//!
//! In: what an operator opens or ends, and the time by three clocks. Out: what is open, and what is over.
//! It is kept in `break_glass.json`, replaced as a whole, beside the snapshot of the registry and not in its database:
//! an emergency must neither wait for a database nor outlive one gateway by another's clock.
//! Knows nothing of tables and sessions.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lazaret_config::Exception;
use serde::{Deserialize, Serialize};

use super::known::By;
use super::snapshot::{RegistryError, parse, read_file, replace_file};
use crate::flow::{DeviceName, ServiceName};

/// The time, as far as an end depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Since the machine was started, and of no clock that can be set.
    pub up: Duration,
    /// Which start of the machine that was.
    pub boot: String,
    /// By the wall clock; never before the registry's floor.
    pub time: Timestamp,
}

/// What was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Its rule is named after it.
    pub number: u64,
    /// Who.
    pub device: DeviceName,
    /// What it reaches.
    pub service: ServiceName,
    /// Whether it holds for a device in quarantine.
    pub in_quarantine: bool,
    /// In the operator's words.
    pub why: String,
    /// Who opened it.
    pub by: By,
    /// When.
    pub began: Timestamp,
    /// When it is over at the latest, by the wall clock.
    pub ends: Timestamp,
    /// When it is over at the latest, in milliseconds since the machine was started.
    up_ms: u64,
}

/// Everything that is open.
#[derive(Debug)]
pub struct Accesses {
    directory: PathBuf,
    open: BTreeMap<u64, Access>,
    last: u64,
    /// Why the file does not say what is open, if it does not.
    trouble: Option<String>,
    /// When it was written last, by [`Moment::up`].
    kept: Duration,
}

/// What an operator wants to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Who.
    pub device: DeviceName,
    /// What it reaches.
    pub service: ServiceName,
    /// Whether it holds for a device in quarantine.
    pub in_quarantine: bool,
    /// How long.
    pub period: Duration,
    /// In the operator's words.
    pub why: String,
    /// Who opens it.
    pub by: By,
}

/// Too much is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MOST} are open already: end one of them first")]
pub struct TooMany;

impl Accesses {
    /// What was open before. A file that cannot be understood opens nothing.
    #[must_use]
    pub fn read(directory: &Path, now: &Moment) -> Self {
        let mut accesses = Self {
            directory: directory.to_owned(),
            open: BTreeMap::new(),
            last: 0,
            trouble: None,
            kept: now.up,
        };
        match stored(directory) {
            Ok(None) => {}
            Ok(Some(stored)) => accesses.go_on(stored, now),
            Err(error) => {
                accesses.trouble = Some(format!(
                    "what was open before is not known, and is not open: {}",
                    told(&error)
                ));
            }
        }
        accesses
    }

    /// On the same start of the machine its clock goes on. On another one, what was left when it was written last is
    /// left, or less: the wall clock may have been put back meanwhile, or ahead.
    fn go_on(&mut self, stored: Stored, now: &Moment) {
        self.last = stored.last;
        let written = Duration::from_millis(stored.up_ms);
        let same = stored.boot == now.boot && now.up >= written;
        for mut access in stored.open.into_iter().take(MOST) {
            if !same {
                let left = Duration::from_millis(access.up_ms.saturating_sub(stored.up_ms));
                let by_wall = access.ends.duration_since(now.time);
                let by_wall = Duration::try_from(by_wall).unwrap_or_default();
                access.up_ms = millis(now.up.saturating_add(left.min(by_wall)));
            }
            self.last = self.last.max(access.number);
            self.open.insert(access.number, access);
        }
    }

    /// Opens something, from now on. It is open whether or not it could be written, see [`Self::trouble`].
    ///
    /// # Errors
    /// When too much is open.
    //= C7
    pub fn open(&mut self, wanted: Wanted, now: &Moment) -> Result<Access, TooMany> {
        if self.open.len() >= MOST {
            return Err(TooMany);
        }
        self.last = self.last.saturating_add(1);
        let period = SignedDuration::try_from(wanted.period).unwrap_or_default();
        let access = Access {
            number: self.last,
            device: wanted.device,
            service: wanted.service,
            in_quarantine: wanted.in_quarantine,
            why: wanted.why,
            by: wanted.by,
            began: now.time,
            ends: now.time.checked_add(period).unwrap_or(now.time),
            up_ms: millis(now.up.saturating_add(wanted.period)),
        };
        self.open.insert(access.number, access.clone());
        self.keep(now);
        Ok(access)
    }

    /// Ends something, whether or not that can be written.
    pub fn end(&mut self, number: u64, now: &Moment) -> Option<Access> {
        self.end_all(&[number], now).pop()
    }

    /// As [`Self::end`], of all that are open among these.
    pub fn end_all(&mut self, numbers: &[u64], now: &Moment) -> Vec<Access> {
        let ended = numbers.iter().filter_map(|number| self.open.remove(number));
        let ended: Vec<Access> = ended.collect();
        if !ended.is_empty() {
            self.keep(now);
        }
        ended
    }

    /// What is over by now: whichever clock says so first.
    #[must_use]
    pub fn over(&self, now: &Moment) -> Vec<u64> {
        let is_over = |access: &&Access| access.left(now).is_zero();
        let over = self.open.values().filter(is_over);
        over.map(|access| access.number).collect()
    }

    /// Writes again what time has changed, or what could not be written.
    pub fn follow(&mut self, now: &Moment) {
        let wait = if self.trouble.is_some() { AGAIN } else { KEEP };
        let due = now.up.saturating_sub(self.kept) >= wait;
        if due && (self.trouble.is_some() || !self.open.is_empty()) {
            self.keep(now);
        }
    }

    /// What is open, the oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Access> {
        self.open.values()
    }

    /// As the configuration wants to know it, without what is over.
    #[must_use]
    pub fn exceptions(&self, now: &Moment) -> Vec<Exception> {
        let open = self.all().filter(|access| !access.left(now).is_zero());
        open.map(Access::exception).collect()
    }

    /// Why a restart would not find what is open now, if it would not.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    fn keep(&mut self, now: &Moment) {
        self.kept = now.up;
        let result = self.write(now);
        let forget = |error: &RegistryError| {
            // Without the file nothing is open after a restart, which is less, and not more.
            match std::fs::remove_file(self.directory.join(FILE)) {
                Ok(()) => format!("a restart ends all of it: {}", told(error)),
                Err(gone) if gone.kind() == io::ErrorKind::NotFound => {
                    format!("a restart ends all of it: {}", told(error))
                }
                Err(_) => format!(
                    "a restart opens again, until its time is over, what was open before: {}",
                    told(error)
                ),
            }
        };
        self.trouble = result.err().as_ref().map(forget);
    }

    fn write(&self, now: &Moment) -> Result<(), RegistryError> {
        let stored = StoredRef {
            version: VERSION,
            boot: &now.boot,
            up_ms: millis(now.up),
            last: self.last,
            open: self.open.values().collect(),
        };
        replace_file(&self.directory, FILE, &stored)
    }
}

impl Access {
    /// How long it is open from now on, if nobody ends it.
    #[must_use]
    pub fn left(&self, now: &Moment) -> Duration {
        let by_up = Duration::from_millis(self.up_ms).saturating_sub(now.up);
        let by_wall = self.ends.duration_since(now.time);
        by_up.min(Duration::try_from(by_wall).unwrap_or_default())
    }

    /// As the configuration wants to know it.
    #[must_use]
    pub fn exception(&self) -> Exception {
        Exception {
            number: self.number,
            device: self.device.clone(),
            service: self.service.clone(),
            in_quarantine: self.in_quarantine,
        }
    }
}

fn stored(directory: &Path) -> Result<Option<Stored>, RegistryError> {
    let path = directory.join(FILE);
    let json = read_file(&path)?;
    json.map(|json| parse(&path, &json)).transpose()
}

fn told(error: &RegistryError) -> String {
    let cause = std::error::Error::source(error);
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[expect(dead_code, reason = "read before, as `OnlyVersion`")]
    version: u64,
    boot: String,
    up_ms: u64,
    last: u64,
    open: Vec<Access>,
}

#[derive(Serialize)]
struct StoredRef<'a> {
    version: u64,
    boot: &'a str,
    up_ms: u64,
    last: u64,
    open: Vec<&'a Access>,
}

const FILE: &str = "break_glass.json";
const VERSION: u64 = 1;
/// Open at a time, of all devices.
//= C7
pub const MOST: usize = 64;
/// What is left of an access is written so often, for after a restart of the machine.
const KEEP: Duration = Duration::from_mins(1);
/// Between attempts to write.
const AGAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;

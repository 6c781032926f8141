//! Keeps what was learnt over restarts: in many small files, of which one at a time is written.
//!
//! In: what was learnt. Out: files in `STATE/behaviour`, each whole or as it was before.
//! A file that cannot be read is put aside and said; the devices in it are learnt anew.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::alert::Alerts;
use super::profile::Profile;
use super::{Behaviour, SHARDS};
use crate::flow::DeviceName;

/// Where it is kept.
#[derive(Clone, Debug)]
pub struct Shelf {
    directory: PathBuf,
}

/// A part that is to be written.
#[derive(Debug)]
pub struct Part {
    name: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Profiles(BTreeMap<DeviceName, Profile>),
    Alerts(Alerts),
}

#[derive(Serialize, Deserialize)]
struct File<T> {
    version: u32,
    content: T,
}

impl Shelf {
    /// In the state directory.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self {
            directory: state.join(FOLDER),
        }
    }

    /// What was kept, and what is wrong with it.
    #[must_use]
    pub fn read(&self, now: Instant) -> (Behaviour, Vec<String>) {
        let mut behaviour = Behaviour::default();
        let mut wrong = Vec::new();
        for (number, shard) in behaviour.shards.iter_mut().enumerate() {
            match self.load::<BTreeMap<DeviceName, Profile>>(&shard_name(number)) {
                Ok(kept) => *shard = kept.unwrap_or_default(),
                Err(error) => wrong.push(error),
            }
            for profile in shard.values_mut() {
                profile.resume(now);
            }
        }
        match self.load::<Alerts>(ALERTS) {
            Ok(kept) => behaviour.alerts = kept.unwrap_or_default(),
            Err(error) => wrong.push(error),
        }
        (behaviour, wrong)
    }

    fn load<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, String> {
        let path = self.directory.join(name);
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(told(&error)),
        };
        let why = match serde_json::from_slice::<File<T>>(&bytes) {
            Ok(file) if file.version == VERSION => return Ok(Some(file.content)),
            Ok(file) => format!("version {} is not known", file.version),
            Err(_) => "it is damaged".to_owned(),
        };
        let aside = path.with_extension("damaged");
        if let Err(error) = fs::rename(&path, &aside) {
            return Err(told(&format!("{why}, and cannot be put aside: {error}")));
        }
        Err(told(&format!("{why}; it is kept as {}", aside.display())))
    }

    /// Writes a part.
    ///
    /// # Errors
    /// When it cannot be written; what was there stays.
    pub fn write(&self, part: &Part) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        let bytes = match &part.content {
            Content::Profiles(content) => serde_json::to_vec(&File {
                version: VERSION,
                content,
            }),
            Content::Alerts(content) => serde_json::to_vec(&File {
                version: VERSION,
                content,
            }),
        }?;
        let path = self.directory.join(&part.name);
        let new = path.with_extension("new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&new, &path)
    }
}

impl Behaviour {
    /// The next part that has changed; it counts as written. Devices that are no more are left out.
    pub fn next_part(
        &mut self,
        now: Instant,
        is_known: impl Fn(&DeviceName) -> bool,
    ) -> Option<Part> {
        if std::mem::take(&mut self.alerts_are_dirty) {
            return Some(Part {
                name: ALERTS.to_owned(),
                content: Content::Alerts(self.alerts.clone()),
            });
        }
        let number = (1..=SHARDS)
            .map(|step| (self.cursor + step) % SHARDS)
            .find(|number| self.dirty.get(*number).copied().unwrap_or(false))?;
        self.cursor = number;
        if let Some(dirty) = self.dirty.get_mut(number) {
            *dirty = false;
        }
        let shard = self.shards.get_mut(number)?;
        shard.retain(|device, _| is_known(device));
        let kept = shard
            .iter()
            .map(|(device, profile)| (device.clone(), profile.kept(now)));
        Some(Part {
            name: shard_name(number),
            content: Content::Profiles(kept.collect()),
        })
    }

    /// It was not written after all.
    pub fn not_written(&mut self) {
        self.alerts_are_dirty = true;
        self.dirty.fill(true);
    }
}

fn shard_name(number: usize) -> String {
    format!("devices-{number:02}.json")
}

const FOLDER: &str = "behaviour";
const ALERTS: &str = "alerts.json";
const VERSION: u32 = 1;

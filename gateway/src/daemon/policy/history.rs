//! The policies that were in force: `STATE/history/NUMBER/` with their files as they were and `record.json`.
//!
//! A version is written beside the others and gets its name when it is whole; it is never changed.
//! What is damaged is told and skipped.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lazaret_config::Source;

use super::store::{self, StoreError, damaged, failed};
use crate::control::message::VersionRecord;
use crate::daemon::reload::digest;

/// The versions in a state directory.
#[derive(Clone, Debug)]
pub struct History {
    directory: PathBuf,
}

/// The records that can be read, the oldest first, and what is wrong with the others.
#[derive(Debug, Default)]
pub struct Listed {
    /// Of versions.
    pub records: Vec<VersionRecord>,
    /// One line each.
    pub damaged: Vec<String>,
}

impl History {
    /// Of a gateway with this state directory; nothing is touched.
    #[must_use]
    pub fn of(state: &Path) -> Self {
        Self {
            directory: state.join(DIRECTORY),
        }
    }

    /// All records; damage is no error.
    #[must_use]
    pub fn list(&self) -> Listed {
        let mut listed = Listed::default();
        let numbers = match self.numbers() {
            Ok(numbers) => numbers,
            Err(error) => {
                listed.damaged.push(shown(&error));
                return listed;
            }
        };
        for number in numbers {
            match self.record(number) {
                Ok(record) => listed.records.push(record),
                Err(error) => listed.damaged.push(shown(&error)),
            }
        }
        listed
    }

    /// A version with its files, as if they stood in a directory.
    ///
    /// # Errors
    /// When there is no such version, or it is not what was written.
    pub fn load(
        &self,
        number: u64,
        into: &Path,
    ) -> Result<(VersionRecord, Vec<Source>), StoreError> {
        let record = self.record(number)?;
        let path = self.version(number);
        let files = path.join(FILES);
        let mut sources = lazaret_config::sources(&files).map_err(|error| damaged(&path, error))?;
        for source in &mut sources {
            let inside = source.path.strip_prefix(&files);
            source.path = into.join(inside.map_err(|error| damaged(&path, error))?);
        }
        if digest(&sources) != record.digest {
            return Err(damaged(&path, "its files are not those that were in force"));
        }
        Ok((record, sources))
    }

    /// Whether there is anything under this number.
    #[must_use]
    pub fn holds(&self, number: u64) -> bool {
        self.version(number).exists()
    }

    /// The number for the next version.
    pub(super) fn next(&self) -> Result<u64, StoreError> {
        let last = self.numbers()?.last().copied().unwrap_or(0);
        last.checked_add(1)
            .ok_or_else(|| damaged(&self.directory, "there is no higher number"))
    }

    /// Adds a version, and forgets the oldest that are too many; never those that are named.
    pub(super) fn add(
        &self,
        record: &VersionRecord,
        from: &Path,
        sources: &[Source],
        keep: &[u64],
    ) -> Result<(), StoreError> {
        let path = self.version(record.number);
        self.write(&path, record, from, sources)
            .map_err(failed("write", &path))?;
        self.forget(keep, record.number, MOST_BYTES)
    }

    fn write(
        &self,
        path: &Path,
        record: &VersionRecord,
        from: &Path,
        sources: &[Source],
    ) -> io::Result<()> {
        let fresh = self.directory.join(UNFINISHED);
        if fresh.exists() {
            fs::remove_dir_all(&fresh)?;
        }
        let files = fresh.join(FILES);
        store::private(Some(&files))?;
        let mut directories = BTreeSet::from([fresh.clone(), files.clone()]);
        for source in sources {
            let inside = source.path.strip_prefix(from);
            let target = files.join(inside.map_err(io::Error::other)?);
            if let Some(parent) = target.parent() {
                store::private(Some(parent))?;
                directories.insert(parent.to_owned());
            }
            store::write(&target, source.text.as_bytes())?;
        }
        store::write(&fresh.join(RECORD), &store::json(record)?)?;
        for directory in &directories {
            store::sync(directory)?;
        }
        fs::rename(&fresh, path)?;
        store::sync(&self.directory)
    }

    //= C7
    fn forget(&self, keep: &[u64], newest: u64, mut room: u64) -> Result<(), StoreError> {
        for (place, number) in self.numbers()?.into_iter().rev().enumerate() {
            let path = self.version(number);
            room = room.saturating_sub(size(&path));
            let spared = number == newest || keep.contains(&number);
            if (place >= MOST_VERSIONS || room == 0) && !spared {
                fs::remove_dir_all(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }

    fn record(&self, number: u64) -> Result<VersionRecord, StoreError> {
        let path = self.version(number);
        let record: VersionRecord =
            store::read(&path.join(RECORD))?.ok_or_else(|| damaged(&path, "it has no record"))?;
        if record.number != number {
            return Err(damaged(&path, format!("it is version {}", record.number)));
        }
        Ok(record)
    }

    fn version(&self, number: u64) -> PathBuf {
        self.directory.join(number.to_string())
    }

    /// In their order; other names are nobody's.
    fn numbers(&self) -> Result<BTreeSet<u64>, StoreError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(cause) => return Err(failed("read", &self.directory)(cause)),
        };
        let mut numbers = BTreeSet::new();
        for entry in entries {
            let entry = entry.map_err(failed("read", &self.directory))?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.parse::<u64>().ok());
            numbers.extend(number.filter(|number| number.to_string().as_str() == name));
        }
        Ok(numbers)
    }
}

/// Bytes of the files of a version.
fn size(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.file_type() {
        // The program makes no deeper ones: NUMBER/files/conf.d.
        Ok(kind) if kind.is_dir() => size(&entry.path()),
        _ => entry.metadata().map_or(0, |meta| meta.len()),
    });
    sizes.fold(0, u64::saturating_add)
}

fn shown(error: &StoreError) -> String {
    crate::daemon::events::chain(error)
}

const DIRECTORY: &str = "history";
const FILES: &str = "files";
const RECORD: &str = "record.json";
/// Not a number.
const UNFINISHED: &str = "unfinished";
/// Versions that are kept.
//= C7
const MOST_VERSIONS: usize = 100;
/// Bytes of all versions that are kept.
//= C7
const MOST_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::policy::empty;

    const FROM: &str = "/nowhere";

    fn sources(text: &str) -> Vec<Source> {
        let source = |name: &str| Source {
            path: Path::new(FROM).join(name),
            text: format!("{text}{name}"),
        };
        vec![source("lazaret.toml"), source("conf.d/a.toml")]
    }

    fn add(history: &History, text: &str, keep: &[u64]) -> u64 {
        let sources = sources(text);
        let record = VersionRecord {
            number: history.next().unwrap(),
            ..empty(digest(&sources))
        };
        let from = Path::new(FROM);
        history.add(&record, from, &sources, keep).unwrap();
        record.number
    }

    fn numbers(history: &History) -> Vec<u64> {
        let listed = history.list();
        listed.records.iter().map(|record| record.number).collect()
    }

    #[test]
    fn the_newest_are_kept_and_those_that_are_named() {
        let state = tempfile::tempdir().unwrap();
        let history = History::of(state.path());
        assert!(numbers(&history).is_empty());
        for _ in 0..MOST_VERSIONS {
            add(&history, "x", &[2]);
        }
        assert_eq!(numbers(&history).len(), MOST_VERSIONS);
        assert_eq!(numbers(&history)[0], 1);
        assert_eq!(add(&history, "x", &[2]), 101);
        add(&history, "x", &[2]);
        add(&history, "x", &[2]);
        assert_eq!(numbers(&history)[..3], [2, 4, 5]);
        // Nor more bytes than there is room for.
        let each = size(&history.version(103));
        history.forget(&[2], 103, each * 2 + 1).unwrap();
        assert_eq!(numbers(&history), [2, 102, 103]);
        history.forget(&[], 103, 1).unwrap();
        assert_eq!(numbers(&history), [103]);
    }

    #[test]
    fn a_version_comes_back_as_it_was_or_not_at_all() {
        let state = tempfile::tempdir().unwrap();
        let history = History::of(state.path());
        let number = add(&history, "one ", &[]);
        let into = Path::new(FROM);
        let (record, loaded) = history.load(number, into).unwrap();
        assert_eq!((record.number, &loaded), (number, &sources("one ")));
        let other = add(&history, "two ", &[]);
        for (path, text) in [
            ("files/lazaret.toml", "other"),
            ("files/conf.d/b.toml", ""),
            ("record.json", "{}"),
        ] {
            let path = history.version(number).join(path);
            let before = fs::read(&path).ok();
            fs::write(&path, text).unwrap();
            let shown = history.load(number, into).unwrap_err().to_string();
            assert!(shown.contains("damaged"), "{shown}");
            match before {
                Some(before) => fs::write(&path, before).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            history.load(number, into).unwrap();
        }
        // Another version under its name, something unfinished, and what is nobody's.
        let directory = state.path().join(DIRECTORY);
        fs::remove_dir_all(history.version(number)).unwrap();
        fs::rename(history.version(other), history.version(number)).unwrap();
        for name in ["unfinished", "007", "notes", "-1"] {
            fs::create_dir_all(directory.join(name)).unwrap();
        }
        let listed = history.list();
        assert!(listed.records.is_empty());
        assert!(listed.damaged[0].contains("it is version 2"), "{listed:?}");
        assert_eq!(listed.damaged.len(), 1);
        assert_eq!(add(&history, "three ", &[]), 2);
        assert!(!directory.join("unfinished").exists());
    }
}

//! What is installed, derived from what is there: names on the ESP, labels of partitions, and what runs.
//!
//! The record of updates ([`super::record`]) only adds what cannot be seen: why a version is bad, and what was asked.
//! Where it contradicts what is there, it is wrong: power may go at any moment. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::manifest::{Manifest, PRODUCT};
use super::record::Record;
use super::refusal::Refusal;
use super::version::Version;

/// What can be seen of this machine.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What runs.
    pub running: Version,
    /// Names in the ESP's folder of boot entries.
    pub entries: Vec<String>,
    /// Labels of partitions.
    pub labels: Vec<String>,
}

/// One version that is installed, at least in part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Slot {
    /// Which.
    pub version: Version,
    /// It runs now.
    pub running: bool,
    /// Its entry on the ESP; none if it cannot be started.
    pub entry: Option<String>,
    /// How often it may still be tried, and was; none once it came up healthy.
    pub trial: Option<Trial>,
    /// Whether root and hash tree are there.
    pub partitions: bool,
}

/// How the loader counts a new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Trial {
    /// Starts that are left.
    pub left: u32,
    /// Starts that did not become healthy.
    pub done: u32,
}

impl Slot {
    /// Whether the loader would start it.
    #[must_use]
    pub fn is_bootable(&self) -> bool {
        self.partitions && self.entry.is_some() && self.trial.is_none_or(|trial| trial.left > 0)
    }

    /// Whether it was tried as often as it may be, and never came up healthy.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        !self.running && (self.trial).is_some_and(|trial| trial.left == 0 && trial.done > 0)
    }
}

/// All that is installed, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots(Vec<Slot>);

impl Slots {
    /// Derives them. Names that are not ours are overlooked.
    #[must_use]
    pub fn of(seen: &Seen) -> Self {
        let mut slots: BTreeMap<Version, Slot> = BTreeMap::new();
        let empty = |version: &Version| Slot {
            running: *version == seen.running,
            version: version.clone(),
            entry: None,
            trial: None,
            partitions: false,
        };
        let running = slots.entry(seen.running.clone());
        // It runs, whatever labels say.
        running.or_insert_with(|| empty(&seen.running)).partitions = true;
        for name in &seen.entries {
            if let Some((version, trial)) = entry(name) {
                let slot = slots.entry(version.clone());
                let slot = slot.or_insert_with(|| empty(&version));
                // Of two names, the one without a counter is that of a healthy version.
                if slot.entry.is_none() || trial.is_none() {
                    (slot.entry, slot.trial) = (Some(name.clone()), trial);
                }
            }
        }
        let has = |label: String| seen.labels.contains(&label);
        for label in &seen.labels {
            if let Some(version) = version_of(label) {
                let whole = has(format!("{PRODUCT}_{version}_verity"));
                let slot = slots.entry(version.clone());
                let slot = slot.or_insert_with(|| empty(&version));
                slot.partitions |= whole;
            }
        }
        Self(slots.into_values().collect())
    }

    /// In the order of their versions.
    #[must_use]
    pub fn all(&self) -> &[Slot] {
        &self.0
    }

    /// What the loader could start besides what runs, whatever the names: what an installation is about to replace.
    #[must_use]
    pub fn others(seen: &Seen) -> Vec<(Version, &str)> {
        let other = |name: &String| {
            let (version, trial) = entry(name)?;
            let startable = trial.is_none_or(|trial| trial.left > 0);
            (version != seen.running && startable).then_some(version)
        };
        let named = |name| Some((other(name)?, name.as_str()));
        seen.entries.iter().filter_map(named).collect()
    }

    /// What runs.
    #[must_use]
    pub fn running(&self) -> Option<&Slot> {
        self.0.iter().find(|slot| slot.running)
    }

    /// One version.
    #[must_use]
    pub fn find(&self, version: &Version) -> Option<&Slot> {
        self.0.iter().find(|slot| slot.version == *version)
    }

    /// What can be started in the place of what runs: the newest below it that was good before.
    /// One on trial is none: should it fail too, nothing would be left that is started without counting.
    #[must_use]
    pub fn before(&self, record: &Record) -> Option<&Slot> {
        let running = self.running()?;
        let older = self.0.iter().filter(|slot| slot.version < running.version);
        older.rev().find(|slot| {
            slot.is_bootable() && slot.trial.is_none() && record.bad(&slot.version).is_none()
        })
    }

    /// Writes into the record what can be seen: which versions were tried in vain, and whether the last one that was
    /// installed still waits for its start. True when the record changed.
    pub fn settle(&self, record: &mut Record, wall: &str) -> bool {
        let mut changed = false;
        for slot in self.0.iter().filter(|slot| slot.is_exhausted()) {
            if record.bad(&slot.version).is_none() {
                let done = slot.trial.map_or(0, |trial| trial.done);
                let why = format!("it did not become healthy in {done} starts");
                record.mark_bad(&slot.version, &why, wall);
                changed = true;
            }
        }
        let waits = |version: &Version| {
            let slot = self.find(version);
            slot.is_some_and(|slot| !slot.running && slot.is_bootable())
        };
        if record.pending().is_some_and(|version| !waits(&version)) {
            record.clear_pending();
            changed = true;
        }
        changed
    }

    /// Whether an update may be installed: whatever is newer than what runs and not bad, unless something newer than
    /// that waits for its start already.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, manifest: &Manifest, record: &Record) -> Result<Admitted, Refusal> {
        let offered = &manifest.version;
        let Some(running) = self.running() else {
            return Ok(Admitted::New);
        };
        if *offered == running.version {
            return Err(Refusal::NotNewer(offered.clone()));
        }
        if *offered < running.version {
            return Err(Refusal::Older {
                offered: offered.clone(),
                installed: running.version.clone(),
            });
        }
        if running.trial.is_some() || record.bad(&running.version).is_some() {
            return Err(Refusal::OnTrial(running.version.clone()));
        }
        if let Some(why) = record.bad(offered) {
            return Err(Refusal::Bad {
                version: offered.clone(),
                why,
            });
        }
        // What is bad, or was cut off, is not installed: a mended version may have a lower number.
        let stays = |slot: &&Slot| {
            slot.version > *offered && slot.is_bootable() && record.bad(&slot.version).is_none()
        };
        if let Some(newer) = self.0.iter().find(stays) {
            return Err(Refusal::Older {
                offered: offered.clone(),
                installed: newer.version.clone(),
            });
        }
        match self.find(offered) {
            Some(slot) if slot.is_exhausted() => Err(Refusal::Bad {
                version: offered.clone(),
                why: "it did not become healthy".to_owned(),
            }),
            Some(slot) if slot.is_bootable() => Ok(Admitted::Installed),
            // What a power cut left of it is written again.
            Some(_) | None => Ok(Admitted::New),
        }
    }
}

/// What is to be done about an update that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Install it.
    New,
    /// It is installed and waits for a restart.
    Installed,
}

/// `lazaret_VERSION.efi`, `lazaret_VERSION+LEFT.efi`, `lazaret_VERSION+LEFT-DONE.efi`.
fn entry(name: &str) -> Option<(Version, Option<Trial>)> {
    let stem = name
        .strip_prefix(PRODUCT)?
        .strip_prefix('_')?
        .strip_suffix(".efi")?;
    let Some((version, counters)) = stem.split_once('+') else {
        return Some((stem.parse().ok()?, None));
    };
    let (left, done) = counters.split_once('-').unwrap_or((counters, "0"));
    let number = |text: &str| -> Option<u32> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    let trial = Trial {
        left: number(left)?,
        done: number(done)?,
    };
    Some((version.parse().ok()?, Some(trial)))
}

/// The version in the label of a root partition.
fn version_of(label: &str) -> Option<Version> {
    label.strip_prefix(PRODUCT)?.strip_prefix('_')?.parse().ok()
}

/// The name by which the loader passes over a version.
#[must_use]
pub fn exhausted_name(version: &Version, done: u32) -> String {
    format!("{PRODUCT}_{version}+0-{}.efi", done.max(1))
}

/// The name by which the loader passes over a version that did nothing wrong: its slot is written for another.
#[must_use]
pub fn replaced_name(version: &Version) -> String {
    format!("{PRODUCT}_{version}+0-0.efi")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::update::manifest::Payload;

    pub(in crate::update) fn seen(running: &str, entries: &[&str], labels: &[&str]) -> Seen {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Seen {
            running: running.parse().unwrap(),
            entries: list(entries),
            labels: list(labels),
        }
    }

    fn offer(version: &str) -> Manifest {
        Manifest {
            version: version.parse().unwrap(),
            flavour: "vm".to_owned(),
            created: String::new(),
            files: Vec::<Payload>::new(),
        }
    }

    const FIRST: [&str; 4] = ["lazaret_1", "lazaret_1_verity", "_empty", "lazaret-data"];
    const BOTH: [&str; 4] = [
        "lazaret_1",
        "lazaret_1_verity",
        "lazaret_3",
        "lazaret_3_verity",
    ];

    fn shown(seen: &Seen) -> Vec<String> {
        let slots = Slots::of(seen);
        let shown = slots.all().iter().map(|slot| {
            let trial = slot
                .trial
                .map_or(String::new(), |t| format!(" {}/{}", t.left, t.done));
            let words = [
                slot.running.then_some("runs"),
                slot.is_bootable().then_some("bootable"),
            ];
            let words: Vec<&str> = words.into_iter().flatten().collect();
            format!("{}{trial} {}", slot.version, words.join(" "))
        });
        shown.collect()
    }

    #[test]
    fn what_is_there_says_what_is_installed() {
        for (entries, labels, expected) in [
            (&["lazaret_1.efi"][..], FIRST, &["1 runs bootable"][..]),
            (
                &[
                    "lazaret_1.efi",
                    "lazaret_3+3-0.efi",
                    "other.efi",
                    "lazaret_x.efi",
                ],
                BOTH,
                &["1 runs bootable", "3 3/0 bootable"],
            ),
            (
                &["lazaret_1.efi", "lazaret_3+0-3.efi"],
                BOTH,
                &["1 runs bootable", "3 0/3 "],
            ),
            // Power went before the entry was written, and before the second label.
            (&["lazaret_1.efi"], BOTH, &["1 runs bootable", "3 "]),
            (
                &["lazaret_1.efi", "lazaret_3+3-0.efi"],
                ["lazaret_1", "lazaret_1_verity", "lazaret_3", "_empty"],
                &["1 runs bootable", "3 3/0 "],
            ),
            // And while it was being renamed.
            (
                &["lazaret_1.efi", "lazaret_3+2-1.efi", "lazaret_3.efi"],
                BOTH,
                &["1 runs bootable", "3 bootable"],
            ),
        ] {
            assert_eq!(shown(&seen("1", entries, &labels)), expected);
        }
    }

    fn admit(
        entries: &[&str],
        labels: &[&str],
        bad: &[&str],
        offered: &str,
    ) -> Result<Admitted, &'static str> {
        let mut record = Record::default();
        for version in bad {
            record.mark_bad(&version.parse().unwrap(), "it failed", "now");
        }
        let slots = Slots::of(&seen("1", entries, labels));
        let admitted = slots.admit(&offer(offered), &record);
        admitted.map_err(|refusal| refusal.code())
    }

    #[test]
    fn only_what_is_newer_and_not_bad_is_admitted() {
        let alone = ["lazaret_1.efi"];
        assert_eq!(admit(&alone, &FIRST, &[], "2"), Ok(Admitted::New));
        assert_eq!(admit(&alone, &FIRST, &[], "1"), Err("not-newer"));
        assert_eq!(admit(&alone, &FIRST, &[], "0.9"), Err("older"));
        assert_eq!(admit(&alone, &FIRST, &["2"], "2"), Err("marked-bad"));
        assert_eq!(admit(&alone, &FIRST, &["2"], "2.1"), Ok(Admitted::New));
        let waiting = ["lazaret_1.efi", "lazaret_3+3-0.efi"];
        assert_eq!(admit(&waiting, &BOTH, &[], "3"), Ok(Admitted::Installed));
        assert_eq!(admit(&waiting, &BOTH, &[], "2"), Err("older"));
        assert_eq!(admit(&waiting, &BOTH, &[], "4"), Ok(Admitted::New));
        // Lower than one that failed, than one that is only remembered as bad, and than a remnant.
        let failed = ["lazaret_1.efi", "lazaret_3+0-3.efi"];
        assert_eq!(admit(&failed, &BOTH, &[], "2"), Ok(Admitted::New));
        assert_eq!(admit(&waiting, &BOTH, &["3"], "2"), Ok(Admitted::New));
        assert_eq!(admit(&waiting, &BOTH, &["3"], "3"), Err("marked-bad"));
        assert_eq!(admit(&failed, &BOTH, &["2"], "2"), Err("marked-bad"));
        assert_eq!(admit(&failed, &BOTH, &[], "0.9"), Err("older"));
        assert_eq!(admit(&alone, &BOTH, &[], "2"), Ok(Admitted::New));
        // One that was to be replaced, when power went before it was.
        let replaced = ["lazaret_1.efi", "lazaret_3+0-0.efi"];
        assert_eq!(admit(&replaced, &BOTH, &[], "3"), Ok(Admitted::New));
        assert_eq!(admit(&replaced, &BOTH, &[], "2"), Ok(Admitted::New));
        // A remnant of a power cut, and one that failed.
        assert_eq!(admit(&alone, &BOTH, &[], "3"), Ok(Admitted::New));
        assert_eq!(admit(&failed, &BOTH, &[], "3"), Err("marked-bad"));
        assert_eq!(admit(&failed, &BOTH, &["3"], "4"), Ok(Admitted::New));
    }

    #[test]
    fn what_failed_is_marked_once_and_what_waits_is_remembered() {
        let three: Version = "3".parse().unwrap();
        let mut record = Record::default();
        record.set_pending(&three, &"1".parse().unwrap(), "monday");
        let waiting = Slots::of(&seen("1", &["lazaret_1.efi", "lazaret_3+2-1.efi"], &BOTH));
        assert!(!waiting.settle(&mut record, "tuesday"));
        assert_eq!(record.pending(), Some(three.clone()));
        let failed = Slots::of(&seen("1", &["lazaret_1.efi", "lazaret_3+0-3.efi"], &BOTH));
        assert!(failed.settle(&mut record, "tuesday"));
        assert!(record.bad(&three).unwrap().contains("3 starts"));
        assert_eq!(record.pending(), None);
        assert!(!failed.settle(&mut record, "wednesday"));
        assert_eq!(failed.before(&record), None);
        assert_eq!(waiting.before(&Record::default()), None);
    }

    #[test]
    fn what_runs_its_last_trial_is_not_bad_yet() {
        let mut record = Record::default();
        let slots = Slots::of(&seen("3", &["lazaret_1.efi", "lazaret_3+0-3.efi"], &BOTH));
        assert!(!slots.settle(&mut record, "now"));
        assert_eq!(slots.before(&record).unwrap().version.to_string(), "1");
    }
}

//! What a start puts into force: the files, or a version from the history.
//!
//! In: the files, what stands in the history, and what is pinned or admitted.
//! A trial that a crash ended is undone, a rollback stays, and what needs more than one word does not come by a restart.

use std::path::Path;

use lazaret_config::Source;

use super::history::{History, Listed};
use super::store::{self, Admitted, Pin};
use super::{ADMITTED, PINNED, Word, alarm};
use crate::control::message::{How, VersionRecord};
use crate::daemon::life::OURSELVES;
use crate::daemon::reload::{Checked, ReloadError, check_sources, digest};

/// What is in force from the start on.
pub struct Chosen {
    /// It, checked.
    pub(in crate::daemon) checked: Checked,
    pub(in crate::daemon) origin: Origin,
}

/// How it came to be that.
pub(in crate::daemon) struct Origin {
    /// Where it stands in the history already.
    pub(super) known: Option<VersionRecord>,
    pub(super) how: How,
    pub(super) pin: Option<Pin>,
    pub(super) alarm: Option<String>,
    pub(super) word: Word,
}

/// Which of them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    Files,
    /// The files, as they were admitted.
    Admitted(Word),
    /// A version in place of the files.
    Version {
        number: u64,
        why: Why,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Pinned,
    TrialEnded,
    /// The files have not the word or the signature that they need.
    Held,
}

/// Reads the files and decides what is in force.
///
/// # Errors
/// When that is wrong, cannot be read, or nothing may be in force.
pub fn choose(directory: &Path) -> Result<Chosen, ReloadError> {
    let sources = lazaret_config::sources(directory)?;
    let state = lazaret_config::state_dir(directory);
    let history = History::of(&state);
    let listed = history.list();
    let pin: Option<Pin> = store::read(&state.join(PINNED))?;
    let admitted: Option<Admitted> = store::read(&state.join(ADMITTED))?;
    let files = digest(&sources);
    match choice(&files, pin.as_ref(), admitted, &listed.records) {
        Choice::Version { number, why } => {
            version(directory, &history, &listed, number, (why, files))
        }
        Choice::Admitted(word) => of_files(directory, sources, &history, &listed, Some(word)),
        Choice::Files => of_files(directory, sources, &history, &listed, None),
    }
}

fn choice(
    files: &str,
    pin: Option<&Pin>,
    admitted: Option<Admitted>,
    records: &[VersionRecord],
) -> Choice {
    if let Some(pin) = pin.filter(|pin| pin.instead_of == files) {
        let why = if pin.trial {
            Why::TrialEnded
        } else {
            Why::Pinned
        };
        let number = pin.version;
        return Choice::Version { number, why };
    }
    if let Some(admitted) = admitted.filter(|admitted| admitted.digest == files) {
        return Choice::Admitted(admitted.word);
    }
    let pinned = pin.and_then(|pin| records.iter().find(|record| record.number == pin.version));
    match pinned.or(records.last()) {
        Some(last) if last.guarded && last.digest != files => Choice::Version {
            number: last.number,
            why: Why::Held,
        },
        Some(_) | None => Choice::Files,
    }
}

fn of_files(
    directory: &Path,
    sources: Vec<Source>,
    history: &History,
    listed: &Listed,
    word: Option<Word>,
) -> Result<Chosen, ReloadError> {
    let files = digest(&sources);
    let checked = check_sources(directory, sources)?;
    let known = newest(listed, &files);
    let signed = known.as_ref().is_some_and(|record| record.signer.is_some())
        || word.as_ref().is_some_and(|word| word.signer.is_some());
    if checked.config.policy.signature_required && !signed {
        let last = listed
            .records
            .iter()
            .rfind(|record| record.signer.is_some());
        let number = last.ok_or(ReloadError::Unsigned)?.number;
        return version(directory, history, listed, number, (Why::Held, files));
    }
    let how = match &word {
        Some(_) => How::Apply,
        None => How::Start,
    };
    let origin = Origin {
        known,
        how,
        pin: None,
        alarm: None,
        word: word.unwrap_or_default(),
    };
    Ok(Chosen { checked, origin })
}

fn version(
    directory: &Path,
    history: &History,
    listed: &Listed,
    number: u64,
    (why, files): (Why, String),
) -> Result<Chosen, ReloadError> {
    let instead = |error: ReloadError| ReloadError::Instead {
        number,
        why: crate::daemon::events::chain(&error),
    };
    let loaded = history.load(number, directory);
    let (record, sources) = loaded.map_err(|error| instead(error.into()))?;
    let pin = Pin {
        version: number,
        instead_of: files,
        trial: false,
    };
    let how = match why {
        Why::Pinned | Why::Held => How::Start,
        Why::TrialEnded => How::Undone,
    };
    let alarm = match why {
        Why::Pinned | Why::TrialEnded => alarm(&pin),
        Why::Held => format!(
            "the files have not the approval or the signature that they need: version {number} stays in force"
        ),
    };
    let word = Word {
        by: OURSELVES,
        signer: record.signer.clone(),
        signature: record.signature.clone(),
        ..Word::default()
    };
    let origin = Origin {
        known: newest(listed, &record.digest),
        how,
        // Files that are held are judged anew at each start.
        pin: (why != Why::Held).then_some(pin),
        alarm: Some(alarm),
        word,
    };
    let checked = check_sources(directory, sources).map_err(instead)?;
    Ok(Chosen { checked, origin })
}

/// The newest version, if it is this one.
fn newest(listed: &Listed, digest: &str) -> Option<VersionRecord> {
    let newest = listed.records.last();
    newest.filter(|newest| newest.digest == digest).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64, digest: &str, guarded: bool) -> VersionRecord {
        VersionRecord {
            number,
            guarded,
            ..super::super::empty(digest.to_owned())
        }
    }

    fn pin(version: u64, instead_of: &str, trial: bool) -> Pin {
        Pin {
            version,
            instead_of: instead_of.to_owned(),
            trial,
        }
    }

    fn is_version(number: u64, why: Why) -> Choice {
        Choice::Version { number, why }
    }

    #[test]
    fn a_rollback_stays_until_the_files_change() {
        let records = [record(1, "a", false), record(2, "b", false)];
        let chosen = |files, pin: &Pin| choice(files, Some(pin), None, &records);
        let rollback = pin(1, "b", false);
        assert_eq!(chosen("b", &rollback), is_version(1, Why::Pinned));
        assert_eq!(chosen("c", &rollback), Choice::Files);
        let trial = pin(1, "b", true);
        assert_eq!(chosen("b", &trial), is_version(1, Why::TrialEnded));
        assert_eq!(choice("b", None, None, &records), Choice::Files);
        assert_eq!(choice("b", None, None, &[]), Choice::Files);
    }

    #[test]
    fn what_needs_another_word_does_not_come_by_a_restart() {
        let records = [record(1, "a", false), record(2, "b", true)];
        let held = is_version(2, Why::Held);
        assert_eq!(choice("b", None, None, &records), Choice::Files);
        assert_eq!(choice("c", None, None, &records), held);
        // Neither what is older, nor files that changed again during a trial of them.
        assert_eq!(choice("a", None, None, &records), held);
        let during = [record(2, "b", true), record(3, "c", false)];
        let trial = pin(2, "c", true);
        assert_eq!(choice("d", Some(&trial), None, &during), held);
        let admitted = |digest: &str| Admitted {
            digest: digest.to_owned(),
            word: Word::default(),
        };
        let let_in = Choice::Admitted(Word::default());
        assert_eq!(choice("c", None, Some(admitted("c")), &records), let_in);
        assert_eq!(choice("c", None, Some(admitted("d")), &records), held);
    }
}

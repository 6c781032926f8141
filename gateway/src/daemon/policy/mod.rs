//! Which policy is in force, how it came to be, and by whose word.
//!
//! `store` and `history` keep it on the disk, `start` decides what a start puts into force, `proposal` what a second
//! person may approve, `signature` whose signature counts; `force` puts all of them to work.
//! What a policy means is not known here.

mod force;
mod history;
mod proposal;
mod signature;
mod signers;
mod start;
mod store;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lazaret_config::{Config, Source};
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::events::chain;
use crate::control::message::{How, Person, PolicyFile, PolicyStatus, VersionRecord};

pub(super) use force::{Unconfirmed, Wanted, Wish};
pub use history::{History, Listed};
pub use proposal::ProposalError;
pub use signature::{NAMESPACE, SignatureError, statement};
pub(super) use signers::check as check_signers;
pub use start::{Chosen, choose};
pub use store::StoreError;
use store::{Admitted, Pin};

/// By whose word a policy comes into force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Word {
    /// User id of who puts it into force.
    pub(super) by: u32,
    /// In their words; may be empty.
    #[serde(default)]
    pub(super) why: String,
    /// User id of who proposed it, where another one approved.
    #[serde(default)]
    pub(super) proposed_by: Option<u32>,
    /// The principal whose signature it carries.
    #[serde(default)]
    pub(super) signer: Option<String>,
    /// That signature.
    #[serde(default)]
    pub(super) signature: Option<String>,
}

/// What is known of what is in force, beside its content.
pub(super) struct Policies {
    history: History,
    state: PathBuf,
    /// What is in force, as it stands in the history, or should.
    record: VersionRecord,
    /// Whether it stands there.
    kept: bool,
    pin: Option<Pin>,
    alarm: Option<String>,
    trouble: Option<String>,
    proposal: Option<proposal::Proposal>,
}

/// A policy that came into force just now.
struct New<'a> {
    how: How,
    of: Option<u64>,
    trial: bool,
    changes: &'a [String],
    word: Word,
}

impl Policies {
    /// The policy with which the gateway starts.
    pub(super) fn begin(
        chosen: start::Origin,
        (directory, sources): (&Path, &[Source]),
        config: &Config,
        at: Timestamp,
    ) -> Self {
        let start::Origin {
            known,
            how,
            pin,
            alarm,
            word,
        } = chosen;
        let digest = super::reload::digest(sources);
        let state = config.gateway.state_dir.clone();
        let mut policies = Self {
            history: History::of(&state),
            state,
            kept: known.is_some(),
            record: known.unwrap_or_else(|| empty(digest)),
            pin,
            alarm,
            trouble: None,
            proposal: None,
        };
        if !policies.kept {
            let of = policies.pin.as_ref().map(|pin| pin.version);
            let new = New {
                how,
                of,
                trial: false,
                changes: &[],
                word,
            };
            policies.keep((directory, sources), config, at, new);
        }
        for (name, now) in [(PINNED, policies.pin.as_ref()), (ADMITTED, None)] {
            if let Err(error) = store::replace(&policies.state.join(name), now) {
                warn!(error = chain(&error), "what is over is still written");
            }
        }
        if let Some(alarm) = &policies.alarm {
            warn!("{alarm}");
        }
        policies
    }

    /// Writes what came into force into the history.
    fn keep(
        &mut self,
        (directory, sources): (&Path, &[Source]),
        config: &Config,
        at: Timestamp,
        new: New<'_>,
    ) {
        let New {
            how,
            of,
            trial,
            changes,
            word,
        } = new;
        let mut shown: Vec<String> = changes.iter().take(MOST_CHANGES).cloned().collect();
        if changes.len() > shown.len() {
            shown.push(format!("and {} more", changes.len() - shown.len()));
        }
        self.record = VersionRecord {
            number: 0,
            digest: super::reload::digest(sources),
            at: at.to_string(),
            by: person(word.by),
            how,
            of,
            guarded: config.policy.is_guarded(),
            trial,
            why: word.why,
            changes: shown,
            proposed_by: word.proposed_by.map(person),
            signer: word.signer,
            signature: word.signature,
        };
        self.kept = false;
        if let Err(error) = self.write(directory, sources) {
            error!(
                error = chain(&error),
                "what is in force is not in the history"
            );
        }
    }

    /// The number in the history of what is in force, which stands there now.
    fn number(&mut self, directory: &Path, sources: &[Source]) -> Result<u64, StoreError> {
        if !self.kept || !self.history.holds(self.record.number) {
            self.write(directory, sources)?;
        }
        Ok(self.record.number)
    }

    fn write(&mut self, directory: &Path, sources: &[Source]) -> Result<(), StoreError> {
        // What is gone back to on trial is pinned only once it is confirmed.
        let pinned = self.pin.iter().map(|pin| pin.version);
        let pinned: Vec<u64> = pinned.chain(self.record.of).collect();
        let history = &self.history;
        let record = &mut self.record;
        let written = history.next().and_then(|number| {
            record.number = number;
            history.add(record, directory, sources, &pinned)
        });
        self.kept = written.is_ok();
        self.trouble = written.as_ref().err().map(|error| chain(error));
        written
    }

    /// Says what a restart puts into force; on the disk when this returns.
    fn set_pin(&mut self, pin: Option<Pin>) -> Result<(), StoreError> {
        store::replace(&self.state.join(PINNED), pin.as_ref())?;
        self.alarm = pin.as_ref().filter(|pin| !pin.trial).map(alarm);
        self.pin = pin;
        Ok(())
    }

    /// What was agreed to for the next start is void: something else comes into force.
    fn retract(&self) -> Result<(), StoreError> {
        store::replace::<Admitted>(&self.state.join(ADMITTED), None)
    }

    fn admit(&self, admitted: &Admitted) -> Result<(), StoreError> {
        store::replace(&self.state.join(ADMITTED), Some(admitted))
    }

    /// The signature of what is in force.
    fn signature(&self) -> Word {
        Word {
            by: super::life::OURSELVES,
            signer: self.record.signer.clone(),
            signature: self.record.signature.clone(),
            ..Word::default()
        }
    }

    /// For the operator.
    pub(super) fn status(&self, now: std::time::Instant) -> PolicyStatus {
        PolicyStatus {
            version: self.kept.then_some(self.record.number),
            alarm: self.alarm.clone(),
            trouble: self.trouble.clone(),
            proposal: (self.proposal.as_ref())
                .filter(|proposal| proposal.lives(now))
                .map(|proposal| proposal.status(now)),
        }
    }

    /// The versions that were in force.
    pub(super) fn history(&self) -> &History {
        &self.history
    }
}

/// Files with their names inside of a directory.
fn files(directory: &Path, sources: &[Source]) -> Vec<PolicyFile> {
    let file = |source: &Source| {
        let inside = source.path.strip_prefix(directory);
        PolicyFile {
            path: inside.unwrap_or(&source.path).display().to_string(),
            text: source.text.clone(),
        }
    };
    sources.iter().map(file).collect()
}

fn alarm(pin: &Pin) -> String {
    let Pin { version, .. } = pin;
    format!("the files are not what is in force: version {version} is, see `lazaret diff`")
}

fn person(uid: u32) -> Person {
    let by = super::registry::who(uid);
    Person {
        uid: by.uid,
        name: by.name,
    }
}

fn empty(digest: String) -> VersionRecord {
    VersionRecord {
        number: 0,
        digest,
        at: String::new(),
        by: Person {
            uid: 0,
            name: String::new(),
        },
        how: How::Start,
        of: None,
        guarded: false,
        trial: false,
        why: String::new(),
        changes: Vec::new(),
        proposed_by: None,
        signer: None,
        signature: None,
    }
}

const PINNED: &str = "pinned.json";
const ADMITTED: &str = "admitted.json";
/// Lines of a record.
//= C7
const MOST_CHANGES: usize = 1000;

//! Puts policies into force: apply, rollback, approval, confirmation, and the undoing of a trial.
//!
//! Whatever asks, a policy passes the same: its checks and its own tests, the signature and the second person that the
//! policy in force asks for, and then the table.
//! What a restart would put into force is on the disk before anything changes.

use std::time::{Duration, Instant};

use lazaret_config::{Config, Source};
use tracing::{error, info, warn};

use super::proposal::{LIFE, Proposal, ProposalError, person_of};
use super::store::{Admitted, Pin};
use super::{New, Word, signature};
use crate::audit::event::Event;
use crate::control::message::{Failure, How, Response, Version};
use crate::control::server;
use crate::daemon::events::chain;
use crate::daemon::life::OURSELVES;
use crate::daemon::registry::who;
use crate::daemon::reload::{
    Checked, ReloadError, check, check_sources, deadline, digest, needs_restart,
};
use crate::daemon::supervisor::Supervisor;
use crate::flow::Clock;

/// A change on trial.
pub(in crate::daemon) struct Unconfirmed {
    pub(in crate::daemon) deadline: Instant,
    /// What was in force, not the files: they may be gone or different.
    before: Before,
    /// What a restart puts into force once it is confirmed.
    then: Option<Pin>,
}

#[derive(Clone)]
struct Before {
    sources: Vec<Source>,
    config: Config,
    number: u64,
    /// The signature that it carries.
    word: Word,
}

/// What is to be in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::daemon) enum Wanted {
    /// What is in the files.
    Files,
    /// A version of the history.
    Version(u64),
}

/// What somebody asks for.
pub(in crate::daemon) struct Wish {
    pub(in crate::daemon) wanted: Wanted,
    /// Undo it after this time unless it is confirmed.
    pub(in crate::daemon) trial: Option<Duration>,
    pub(in crate::daemon) why: String,
    /// An armoured signature of OpenSSH.
    pub(in crate::daemon) signature: Option<String>,
}

impl Wish {
    fn of_files() -> Self {
        Self {
            wanted: Wanted::Files,
            trial: None,
            why: String::new(),
            signature: None,
        }
    }
}

impl Supervisor {
    /// Puts what somebody wants into force, or lets it wait for a second person.
    pub(in crate::daemon) fn wish(&mut self, wish: Wish, by: u32) -> Response {
        let done = self.try_wish(wish, by);
        self.answered(done, by)
    }

    fn try_wish(&mut self, wish: Wish, by: u32) -> Result<Response, ReloadError> {
        self.may_begin(wish.trial)?;
        let Wish {
            wanted,
            trial,
            why,
            signature,
        } = wish;
        let word = Word {
            by,
            why,
            signature,
            ..Word::default()
        };
        let (checked, word) = self.wanted(wanted, word)?;
        let policy = &self.files.policy;
        if policy.approvals < 2 {
            return self.carry_out(checked, (wanted, trial), word);
        }
        person_of(policy, by)?;
        let config = checked.digest();
        self.record(Event::PolicyProposed {
            by,
            who: who(by).name,
            config: config.clone(),
            version: wanted.version(),
            why: word.why.clone(),
        });
        let now = self.clock.now();
        let proposal = Proposal::new(config.clone(), (wanted, trial), word, now);
        self.policies.proposal = Some(proposal);
        Ok(Response::Proposed {
            digest: config,
            seconds: LIFE.as_secs(),
        })
    }

    /// Puts into force what somebody else proposed: exactly that.
    pub(in crate::daemon) fn approve(&mut self, named: &str, by: u32) -> Response {
        let done = self.try_approve(named, by);
        self.answered(done, by)
    }

    fn try_approve(&mut self, named: &str, by: u32) -> Result<Response, ReloadError> {
        let now = self.clock.now();
        let proposal = self.policies.proposal.clone();
        let proposal = proposal.ok_or(ProposalError::Nothing)?;
        proposal.approve(&self.files.policy, by, named, now)?;
        self.may_begin(proposal.trial)?;
        let word = Word {
            by,
            proposed_by: Some(proposal.word.by),
            ..proposal.word
        };
        let (checked, word) = self.wanted(proposal.wanted, word)?;
        if checked.digest() != proposal.digest {
            return Err(ProposalError::Changed(proposal.digest).into());
        }
        let done = self.carry_out(checked, (proposal.wanted, proposal.trial), word)?;
        self.policies.proposal = None;
        Ok(done)
    }

    fn answered(&mut self, done: Result<Response, ReloadError>, by: u32) -> Response {
        done.unwrap_or_else(|error| {
            let why = chain(&error);
            self.refused(&error, by);
            Response::Failed {
                kind: error.failure(),
                why,
            }
        })
    }

    fn may_begin(&self, trial: Option<Duration>) -> Result<(), ReloadError> {
        if self.unconfirmed.is_some() {
            return Err(ReloadError::OnTrial);
        }
        deadline(trial, self.clock.now()).map(drop)
    }

    /// Reads what is wanted, with all checks and its own tests, and whose signature it carries.
    fn wanted(&self, wanted: Wanted, mut word: Word) -> Result<(Checked, Word), ReloadError> {
        let checked = match wanted {
            Wanted::Files => check(&self.directory)?,
            Wanted::Version(number) => {
                let history = self.policies.history();
                if !history.holds(number) {
                    return Err(ReloadError::NoVersion(number));
                }
                let (record, sources) = history.load(number, &self.directory)?;
                word.signature = word.signature.or(record.signature);
                check_sources(&self.directory, sources)?
            }
        };
        let (now, new) = (&self.files.policy, &checked.config.policy);
        // Whoever may sign is said by what is in force; the first ones by themselves.
        let signers = if now.signers.is_empty() { new } else { now };
        let wall = self.clock.wall();
        word.signer = match &word.signature {
            Some(armoured) => {
                let text = signature::statement(&checked);
                let signed = signature::verify(&text, armoured, &signers.signers, wall);
                Some(signed.map_err(ReloadError::Signature)?)
            }
            None if now.signature_required || new.signature_required => {
                return Err(ReloadError::Unsigned);
            }
            None => None,
        };
        Ok((checked, word))
    }

    fn carry_out(
        &mut self,
        checked: Checked,
        (wanted, trial): (Wanted, Option<Duration>),
        word: Word,
    ) -> Result<Response, ReloadError> {
        let checked = self.no_withdrawn_key(checked)?;
        if let Some(what) = needs_restart(&self.files, &checked.config) {
            return self.admit(&checked, (wanted, trial), word, what);
        }
        let ends = deadline(trial, self.clock.now())?;
        let files = match wanted {
            Wanted::Files => checked.digest(),
            Wanted::Version(_) => digest(&lazaret_config::sources(&self.directory)?),
        };
        let number = self.policies.number(&self.directory, &self.sources);
        let then = match wanted {
            Wanted::Version(version) if checked.digest() != files => Some(Pin {
                version,
                instead_of: files.clone(),
                trial: false,
            }),
            Wanted::Version(_) | Wanted::Files => None,
        };
        let pin = match ends {
            Some(_) if self.digest != files => Some(Pin {
                version: *number.as_ref().map_err(ReloadError::unkept)?,
                instead_of: files,
                trial: true,
            }),
            Some(_) => None,
            None => then.clone(),
        };
        let before = Before {
            sources: self.sources.clone(),
            config: self.files.clone(),
            number: number.unwrap_or(0),
            word: self.policies.signature(),
        };
        let changes = self.pinned(pin, checked)?;
        let how = match wanted {
            Wanted::Files => How::Apply,
            Wanted::Version(_) => How::Rollback,
        };
        self.came_into_force(New {
            how,
            of: wanted.version(),
            trial: ends.is_some(),
            changes: &changes,
            word,
        });
        self.unconfirmed = ends.map(|deadline| Unconfirmed {
            deadline,
            before,
            then,
        });
        Ok(Response::Applied {
            changes,
            confirm_seconds: trial.map(|trial| trial.as_secs()),
        })
    }

    /// What a restart brings is written first: a crash must not keep what nobody confirmed.
    fn pinned(&mut self, pin: Option<Pin>, checked: Checked) -> Result<Vec<String>, ReloadError> {
        let before = self.policies.pin.clone();
        self.policies.retract()?;
        self.policies.set_pin(pin)?;
        self.put_into_force(checked).inspect_err(|_| {
            if let Err(error) = self.policies.set_pin(before) {
                error!(
                    error = chain(&error),
                    "the next start may put another policy into force"
                );
            }
        })
    }

    /// What needs a restart and was agreed to waits for it; without such agreement the restart alone is enough.
    fn admit(
        &mut self,
        checked: &Checked,
        (wanted, trial): (Wanted, Option<Duration>),
        word: Word,
        what: &'static str,
    ) -> Result<Response, ReloadError> {
        let guarded = self.files.policy.is_guarded() || checked.config.policy.signature_required;
        if wanted != Wanted::Files {
            return Err(ReloadError::Apart(what));
        }
        if !guarded || trial.is_some() {
            return Err(ReloadError::Restart(what));
        }
        let config = checked.digest();
        self.policies.admit(&Admitted {
            digest: config.clone(),
            word: word.clone(),
        })?;
        let changes = vec![format!(
            "{what} changes, with everything else in the files, when the gateway is restarted"
        )];
        self.record(Event::PolicyAdmitted {
            by: word.by,
            who: who(word.by).name,
            config,
            proposed_by: word.proposed_by,
            signer: word.signer,
            why: word.why,
        });
        Ok(Response::Applied {
            changes,
            confirm_seconds: None,
        })
    }

    /// Into the history and on record.
    fn came_into_force(&mut self, new: New<'_>) {
        let event = event(&new, &self.digest);
        info!(changes = new.changes.len(), "policy applied");
        let wall = self.clock.wall();
        let from = (self.directory.as_path(), self.sources.as_slice());
        self.policies.keep(from, &self.files, wall, new);
        self.record(event);
    }

    /// Keeps the change that is on trial.
    pub(in crate::daemon) fn confirm(&mut self, by: u32) -> Result<(), ReloadError> {
        let policy = &self.files.policy;
        if policy.approvals > 1 {
            person_of(policy, by)?;
        }
        let trial = self.unconfirmed.take().ok_or(ReloadError::NothingOnTrial)?;
        if let Err(error) = self.policies.set_pin(trial.then.clone()) {
            self.unconfirmed = Some(trial);
            return Err(error.into());
        }
        self.record(Event::PolicyConfirmed {
            by,
            who: who(by).name,
            config: self.digest.clone(),
        });
        Ok(())
    }

    /// Undoes a change that nobody confirmed.
    pub(in crate::daemon) fn undo_unconfirmed(&mut self, now: Instant) {
        let Some(trial) = self.unconfirmed.take_if(|trial| trial.deadline <= now) else {
            return;
        };
        let before = trial.before.clone();
        let checked = Checked {
            directory: self.directory.clone(),
            sources: before.sources,
            config: before.config,
        };
        match self.put_into_force(checked) {
            Ok(changes) => {
                warn!("the last change was not confirmed and is undone");
                let over = self.policies.pin.clone().map(|pin| Pin {
                    trial: false,
                    ..pin
                });
                if let Err(error) = self.policies.set_pin(over) {
                    error!(error = chain(&error), "a restart undoes it once more");
                }
                self.came_into_force(New {
                    how: How::Undone,
                    of: Some(before.number),
                    trial: false,
                    changes: &changes,
                    word: before.word,
                });
            }
            Err(error) => {
                error!(
                    error = chain(&error),
                    "the last change was not confirmed and cannot be undone yet"
                );
                self.unconfirmed = now
                    .checked_add(UNDO_AGAIN)
                    .map(|deadline| Unconfirmed { deadline, ..trial });
            }
        }
    }

    /// SIGHUP is `lazaret apply`, where one word is enough.
    pub(in crate::daemon) fn reload_by_signal(&mut self) {
        let done = if self.files.policy.approvals > 1 {
            let error = ReloadError::Proposal(ProposalError::Signal);
            self.refused(&error, OURSELVES);
            Err(error)
        } else {
            let wish = Wish::of_files();
            self.try_wish(wish, OURSELVES)
                .inspect_err(|error| self.refused(error, OURSELVES))
        };
        if let Err(error) = done {
            error!(
                error = chain(&error),
                "the configuration is not applied; the old one stays"
            );
        }
    }

    /// Lets the operators of what is in force use the socket.
    pub(in crate::daemon) fn follow_operators(&mut self) {
        let operators = self.operators_of_files();
        let directory = &self.files.gateway.runtime_dir;
        if let Err(error) = server::open_to(directory, !operators.is_empty()) {
            warn!(%error, "operators may find the control socket closed");
        }
        self.operators.send_replace(operators);
    }

    /// Puts on record how what is in force came to be, if the files do not say it.
    pub(in crate::daemon) fn tell_origin(&mut self) {
        if let Some(why) = self.policies.alarm.clone() {
            self.record(Event::PolicyHeld { why });
        }
    }

    fn refused(&mut self, error: &ReloadError, by: u32) {
        let why = chain(error);
        self.record(Event::PolicyRefused { by, why });
    }

    /// A version with its files; without a number, what is in force.
    pub(in crate::daemon) fn version(&self, number: Option<u64>) -> Response {
        let (record, sources) = match number {
            None => (self.policies.record.clone(), self.sources.clone()),
            Some(number) if !self.policies.history().holds(number) => {
                let error = ReloadError::NoVersion(number);
                return failed(&error);
            }
            Some(number) => match self.policies.history().load(number, &self.directory) {
                Ok(version) => version,
                Err(error) => return failed(&error.into()),
            },
        };
        let files = super::files(&self.directory, &sources);
        Response::Version(Box::new(Version { record, files }))
    }
}

fn failed(error: &ReloadError) -> Response {
    let kind: Failure = error.failure();
    Response::Failed {
        kind,
        why: chain(error),
    }
}

impl Wanted {
    fn version(self) -> Option<u64> {
        match self {
            Self::Files => None,
            Self::Version(number) => Some(number),
        }
    }
}

fn event(new: &New<'_>, config: &str) -> Event {
    let Word {
        by,
        why,
        proposed_by,
        signer,
        signature: _,
    } = new.word.clone();
    let (config, changes) = (config.to_owned(), new.changes.to_vec());
    let name = || who(by).name;
    match new.how {
        How::Start | How::Apply => Event::PolicyApplied {
            by,
            config,
            changes,
            why,
            proposed_by,
            signer,
        },
        How::Rollback => Event::PolicyRolledBack {
            by,
            who: name(),
            version: new.of.unwrap_or_default(),
            config,
            changes,
            why,
            proposed_by,
            signer,
        },
        How::Undone => Event::PolicyUndone {
            config,
            version: new.of.unwrap_or_default(),
            changes,
        },
    }
}

const UNDO_AGAIN: Duration = Duration::from_secs(5);

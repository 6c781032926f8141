//! Reload: check, then swap. On any error the old configuration stays.
//!
//! A change can be put on trial: unless it is confirmed in time, it is undone.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lazaret_config::{Config, ConfigErrors, Source};
use sha2::{Digest, Sha256};
use tracing::{error, info, warn};

use super::enforce::EnforceError;
use super::events::chain;
use super::ground::private_directory;
use super::life::OURSELVES;
use super::supervisor::Supervisor;
use crate::audit::event::Event;
use crate::control::message::Failure;
use crate::flow::Clock;
use crate::inspect::policy;

/// A change on trial.
pub(super) struct Unconfirmed {
    pub(super) deadline: Instant,
    before: Vec<Source>,
}

/// Why a configuration is not put into force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It is wrong.
    #[error(transparent)]
    Configuration(#[from] ConfigErrors),
    /// It does not do what its own tests say.
    #[error("{}\n{} failed", .0.join("\n"), tests(.0.len()))]
    PolicyTest(Vec<String>),
    /// It asks for what this version does not do.
    #[error("{}", .0.join("\n"))]
    Unsupported(Vec<String>),
    /// It changes what cannot change in a running gateway.
    #[error("{0} cannot change while the gateway runs: restart it")]
    Restart(&'static str),
    /// A change is on trial.
    #[error("the last change is not confirmed yet: `lazaret confirm`, or wait until it is undone")]
    OnTrial,
    /// There is nothing to confirm.
    #[error("there is no change that waits to be confirmed")]
    NothingOnTrial,
    /// The kernel does not take it.
    #[error(transparent)]
    Enforce(#[from] EnforceError),
}

impl ReloadError {
    /// For the exit code of the command.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Configuration(_) | Self::Unsupported(_) => Failure::Configuration,
            Self::PolicyTest(_) => Failure::PolicyTest,
            Self::Restart(_) | Self::OnTrial => Failure::Usage,
            Self::NothingOnTrial => Failure::Unknown,
            Self::Enforce(_) => Failure::Internal,
        }
    }
}

/// A configuration with everything known about it that can be known without touching anything.
pub struct Checked {
    /// Where the files are.
    pub directory: PathBuf,
    /// The files as they were read.
    pub sources: Vec<Source>,
    /// What they say.
    pub config: Config,
}

/// Reads and checks the files of a directory: syntax, meaning, what this version can do, its own tests.
///
/// # Errors
/// What is wrong, or which tests fail.
pub fn check(directory: &Path) -> Result<Checked, ReloadError> {
    Checked::of(directory, lazaret_config::sources(directory)?)
}

impl Checked {
    fn of(directory: &Path, sources: Vec<Source>) -> Result<Self, ReloadError> {
        let config = Config::from_sources(directory, &sources)?;
        let unsupported = policy::unsupported(&config);
        if !unsupported.is_empty() {
            return Err(ReloadError::Unsupported(unsupported));
        }
        let failures: Vec<String> = config.run_tests().iter().map(ToString::to_string).collect();
        if !failures.is_empty() {
            return Err(ReloadError::PolicyTest(failures));
        }
        Ok(Self {
            directory: directory.to_owned(),
            sources,
            config,
        })
    }
}

fn tests(count: usize) -> String {
    if count == 1 {
        "1 policy test".to_owned()
    } else {
        format!("{count} policy tests")
    }
}

/// SHA-256 over all files with their names, in hex.
pub(super) fn digest(sources: &[Source]) -> String {
    let mut hash = Sha256::new();
    for source in sources {
        for part in [
            source.path.as_os_str().as_encoded_bytes(),
            source.text.as_bytes(),
        ] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl Supervisor {
    /// Reads the files again and puts them into force.
    pub(super) fn apply(
        &mut self,
        trial: Option<Duration>,
        by: u32,
    ) -> Result<Vec<String>, ReloadError> {
        if self.unconfirmed.is_some() {
            return Err(ReloadError::OnTrial);
        }
        let before = self.sources.clone();
        let result = check(&self.directory).and_then(|checked| self.put_into_force(checked, by));
        match &result {
            Ok(_) => {
                let deadline = trial.and_then(|trial| self.clock.now().checked_add(trial));
                self.unconfirmed = deadline.map(|deadline| Unconfirmed { deadline, before });
            }
            Err(error) => self.record(Event::PolicyRefused {
                by,
                why: chain(error),
            }),
        }
        result
    }

    fn put_into_force(&mut self, checked: Checked, by: u32) -> Result<Vec<String>, ReloadError> {
        let Checked {
            sources, config, ..
        } = checked;
        if let Some(what) = needs_restart(&self.config, &config) {
            return Err(ReloadError::Restart(what));
        }
        let changes = self.enforce(config)?;
        self.digest = digest(&sources);
        self.sources = sources;
        self.keep_applied();
        self.record(Event::PolicyApplied {
            by,
            config: self.digest.clone(),
            changes: changes.clone(),
        });
        info!(changes = changes.len(), "policy applied");
        Ok(changes)
    }

    /// Keeps the change that is on trial.
    pub(super) fn confirm(&mut self) -> Result<(), ReloadError> {
        self.unconfirmed
            .take()
            .map(drop)
            .ok_or(ReloadError::NothingOnTrial)
    }

    /// Undoes a change that nobody confirmed.
    pub(super) fn undo_unconfirmed(&mut self, now: Instant) {
        let Some(trial) = self.unconfirmed.take_if(|trial| trial.deadline <= now) else {
            return;
        };
        let before = Checked::of(&self.directory, trial.before);
        match before.and_then(|before| self.put_into_force(before, OURSELVES)) {
            Ok(_) => warn!("the last change was not confirmed and is undone"),
            Err(error) => error!(
                error = chain(&error),
                "the last change was not confirmed and cannot be undone"
            ),
        }
    }

    /// SIGHUP is `lazaret apply`.
    pub(super) fn reload_by_signal(&mut self) {
        if let Err(error) = self.apply(None, OURSELVES) {
            error!(
                error = chain(&error),
                "the configuration is not applied; the old one stays"
            );
        }
    }

    /// Keeps a copy of the files in force, for `lazaret diff`.
    pub(super) fn keep_applied(&self) {
        let kept = self.config.gateway.state_dir.join("applied");
        if let Err(error) = copy(&self.directory, &self.sources, &kept) {
            warn!(%error, directory = %kept.display(), "the files in force cannot be kept for `lazaret diff`");
        }
    }
}

/// What differs and is fixed when the gateway starts.
fn needs_restart(old: &Config, new: &Config) -> Option<&'static str> {
    let fixed = [
        (old.wireguard == new.wireguard, "[tunnel.wireguard]"),
        (old.gateway == new.gateway, "[gateway]"),
        (old.hospital == new.hospital, "[hospital]"),
        (old.audit == new.audit, "[audit]"),
    ];
    fixed
        .into_iter()
        .find(|(same, _)| !same)
        .map(|(_, what)| what)
}

fn copy(directory: &Path, sources: &[Source], kept: &Path) -> io::Result<()> {
    let fresh = kept.with_extension("new");
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    for source in sources {
        let inside: PathBuf = source
            .path
            .strip_prefix(directory)
            .unwrap_or(&source.path)
            .components()
            .collect();
        let target = fresh.join(inside);
        if let Some(parent) = target.parent() {
            private_directory(parent)?;
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(target)?;
        file.write_all(source.text.as_bytes())?;
    }
    if kept.exists() {
        fs::remove_dir_all(kept)?;
    }
    fs::rename(fresh, kept)
}

//! Reload: check, then swap. On any error the old configuration stays.
//!
//! Who may ask for it, and what becomes of it later, is `policy`.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lazaret_config::{Config, ConfigErrors, Source};
use sha2::{Digest, Sha256};
use tracing::warn;

use super::enforce::EnforceError;
use super::events::chain;
use super::policy::{self, ProposalError, SignatureError, StoreError};
use super::supervisor::Supervisor;
use crate::control::message::Failure;
use crate::flow::{Clock, DeviceName};

/// Why a configuration is not put into force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It is wrong.
    #[error(transparent)]
    Configuration(#[from] ConfigErrors),
    /// It does not do what its own tests say.
    #[error("{}\n{} failed", .0.join("\n"), tests(.0.len()))]
    PolicyTest(Vec<String>),
    /// It changes what cannot change in a running gateway.
    #[error("{0} cannot change while the gateway runs: restart it")]
    Restart(&'static str),
    /// A device of the files has a key that was taken from somebody.
    #[error("device {device} has a key that was taken from device {other}: make a new one")]
    WithdrawnKey {
        /// Who has it in the files.
        device: DeviceName,
        /// Whose it was.
        other: DeviceName,
    },
    /// As [`Self::Restart`], of a version that is not in the files.
    #[error(
        "{0} of that version cannot come back while the gateway runs: write it into the files and restart"
    )]
    Apart(&'static str),
    /// A change is on trial.
    #[error("the last change is not confirmed yet: `lazaret confirm`, or wait until it is undone")]
    OnTrial,
    /// The trial would never end.
    #[error("nobody waits that long for a confirmation")]
    TooLong,
    /// There is nothing to confirm.
    #[error("there is no change that waits to be confirmed")]
    NothingOnTrial,
    /// There is no such version.
    #[error("there is no version {0} in the history: `lazaret history`")]
    NoVersion(u64),
    /// A second person must agree, and has not.
    #[error(transparent)]
    Proposal(#[from] ProposalError),
    /// The signature does not count.
    #[error("the signature does not count")]
    Signature(#[source] SignatureError),
    /// It has no signature and needs one.
    #[error(
        "it must be signed: `lazaret check --statement` prints what to sign, `lazaret apply --signature FILE` takes the signature"
    )]
    Unsigned,
    /// A signer cannot be read.
    #[error("signer {number} of [policy] cannot be used: {why}")]
    Signers {
        /// From 1.
        number: usize,
        /// What is wrong.
        why: SignatureError,
    },
    /// What was in force cannot be kept, so that a trial of something else could not be undone.
    #[error(
        "what is in force cannot be kept for after a restart, so that nothing can be tried: {0}"
    )]
    Unkept(String),
    /// What a restart needs to know cannot be written or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A version that has to be in force in place of the files cannot be.
    #[error(
        "version {number} of the history must be in force in place of the files, and cannot be: {why}"
    )]
    Instead {
        /// Of the version.
        number: u64,
        /// Why not.
        why: String,
    },
    /// The kernel does not take it.
    #[error(transparent)]
    Enforce(#[from] EnforceError),
}

impl ReloadError {
    /// For the exit code of the command.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Configuration(_) | Self::WithdrawnKey { .. } => Failure::Configuration,
            Self::PolicyTest(_) => Failure::PolicyTest,
            Self::Restart(_) | Self::Apart(_) | Self::OnTrial | Self::TooLong => Failure::Usage,
            Self::NothingOnTrial | Self::NoVersion(_) => Failure::Unknown,
            Self::Proposal(_) | Self::Signature(_) | Self::Unsigned => Failure::Denied,
            Self::Signers { .. } => Failure::Configuration,
            Self::Enforce(_) | Self::Unkept(_) | Self::Store(_) | Self::Instead { .. } => {
                Failure::Internal
            }
        }
    }

    pub(super) fn unkept(error: &StoreError) -> Self {
        Self::Unkept(chain(error))
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

/// Reads and checks the files of a directory: syntax, meaning, its own tests.
///
/// # Errors
/// What is wrong, or which tests fail.
pub fn check(directory: &Path) -> Result<Checked, ReloadError> {
    Checked::of(directory, lazaret_config::sources(directory)?)
}

/// As [`check`], of texts that may come from elsewhere; relative paths of key files belong to the directory.
///
/// # Errors
/// What is wrong, or which tests fail.
pub fn check_sources(directory: &Path, sources: Vec<Source>) -> Result<Checked, ReloadError> {
    Checked::of(directory, sources)
}

impl Checked {
    /// SHA-256 over the files, as [`Status`](crate::control::message::Status) names what is in force.
    #[must_use]
    pub fn digest(&self) -> String {
        digest(&self.sources)
    }

    fn of(directory: &Path, sources: Vec<Source>) -> Result<Self, ReloadError> {
        let config = Config::from_sources(directory, &sources)?;
        policy::check_signers(&config.policy)?;
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
    //= C5
    pub(super) fn no_withdrawn_key(&self, checked: Checked) -> Result<Checked, ReloadError> {
        match self.registry.withdrawn(&checked.config).pop_first() {
            Some((device, other)) => Err(ReloadError::WithdrawnKey { device, other }),
            None => Ok(checked),
        }
    }

    /// Swaps what is in force, and says what changed.
    pub(super) fn put_into_force(&mut self, checked: Checked) -> Result<Vec<String>, ReloadError> {
        let Checked {
            sources, config, ..
        } = checked;
        if let Some(what) = needs_restart(&self.files, &config) {
            return Err(ReloadError::Restart(what));
        }
        let machine = self.config.appliance != config.appliance;
        let pki = self.config.pki != config.pki;
        let enrol = pki || self.files.enrol != config.enrol;
        let merged = self.records.merge(&config, &mut self.registry);
        let mut changes = self.enforce(merged).inspect_err(|_| {
            // The old files hold, and with them those who are let in beside them.
            self.records.is_behind(self.clock.now());
        })?;
        self.files = config;
        if pki {
            self.follow_pki();
            self.follow_keystore();
            changes.push("the certification authority follows [pki]".to_owned());
        }
        if !pki {
            // The PIN may have been written anew.
            self.follow_keystore();
        }
        if enrol && (self.wants_enrolment() || self.workers.enrol.is_some()) {
            self.follow_enrol();
            changes.push("the enrolment service follows [enrol]".to_owned());
        }
        if machine {
            changes.push("the machine follows [appliance] at its next start".to_owned());
        }
        self.digest = digest(&sources);
        self.sources = sources;
        self.keep_applied();
        self.follow_operators();
        Ok(changes)
    }

    /// Keeps a copy of the files in force, for `lazaret diff`.
    pub(super) fn keep_applied(&self) {
        let kept = self.config.gateway.state_dir.join("applied");
        if let Err(error) = copy(&self.directory, &self.sources, &kept) {
            warn!(%error, directory = %kept.display(), "the files in force cannot be kept for `lazaret diff`");
            // None is better than a wrong one.
            if let Err(error) = fs::remove_dir_all(&kept)
                && error.kind() != io::ErrorKind::NotFound
            {
                warn!(%error, directory = %kept.display(), "an old copy stays, which is not in force");
            }
        }
    }
}

/// What differs and is fixed when the gateway starts.
pub(super) fn needs_restart(old: &Config, new: &Config) -> Option<&'static str> {
    let fixed = [
        (old.wireguard == new.wireguard, "[tunnel.wireguard]"),
        (old.quic == new.quic, "[tunnel.quic]"),
        (old.gateway == new.gateway, "[gateway]"),
        (old.hospital == new.hospital, "[hospital]"),
        (old.audit == new.audit, "[audit]"),
        (old.registry == new.registry, "[registry]"),
        // The relays share out their memory by it.
        (
            old.limits.connections == new.limits.connections,
            "limits.connections",
        ),
        (
            old.limits.relay_workers == new.limits.relay_workers,
            "limits.relay_workers",
        ),
    ];
    fixed
        .into_iter()
        .find(|(same, _)| !same)
        .map(|(_, what)| what)
}

/// When a trial ends.
pub(super) fn deadline(
    trial: Option<Duration>,
    now: Instant,
) -> Result<Option<Instant>, ReloadError> {
    let Some(trial) = trial else { return Ok(None) };
    let deadline = now.checked_add(trial).filter(|_| trial <= LONGEST_TRIAL);
    deadline.map(Some).ok_or(ReloadError::TooLong)
}

fn copy(directory: &Path, sources: &[Source], kept: &Path) -> io::Result<()> {
    let fresh = kept.with_extension("new");
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    let mut private = fs::DirBuilder::new();
    private.recursive(true).mode(0o700).create(&fresh)?;
    for source in sources {
        let inside = source.path.strip_prefix(directory);
        let target = fresh.join(inside.map_err(io::Error::other)?);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(target, &source.text)?;
    }
    if kept.exists() {
        fs::remove_dir_all(kept)?;
    }
    fs::rename(fresh, kept)
}

const LONGEST_TRIAL: Duration = Duration::from_hours(24);

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make up their time")]
mod tests {
    use super::*;

    const DIRECTORY: &str = "/nowhere";

    fn source(name: &str, text: &str) -> Source {
        Source {
            path: Path::new(DIRECTORY).join(name),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_digest_tells_files_names_and_borders_apart() {
        let one = digest(&[source("a", "xy"), source("b", "")]);
        assert_eq!(one, digest(&[source("a", "xy"), source("b", "")]));
        for other in [
            vec![source("a", "xy")],
            vec![source("a", "x"), source("b", "y")],
            vec![source("b", "xy"), source("a", "")],
            vec![source("a", "xyb"), source("", "")],
        ] {
            assert_ne!(one, digest(&other));
        }
        assert_eq!(one.len(), 64);
    }

    #[test]
    fn a_copy_replaces_the_one_before_and_stays_inside() {
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("applied");
        let from = Path::new(DIRECTORY);
        let (main, part) = (source("lazaret.toml", "1"), source("conf.d/a.toml", "2"));
        copy(from, &[main.clone(), part], &kept).unwrap();
        assert_eq!(fs::read_to_string(kept.join("conf.d/a.toml")).unwrap(), "2");
        copy(from, &[main], &kept).unwrap();
        assert_eq!(fs::read_to_string(kept.join("lazaret.toml")).unwrap(), "1");
        assert!(!kept.join("conf.d").exists());

        let mut foreign = source("x", "3");
        foreign.path = directory.path().join("elsewhere");
        assert!(copy(from, &[foreign], &kept).is_err());
        assert!(!directory.path().join("elsewhere").exists());
    }

    #[test]
    fn a_trial_ends_or_does_not_begin() {
        let now = Instant::now();
        let minute = Duration::from_mins(1);
        assert_eq!(deadline(None, now).unwrap(), None);
        assert_eq!(deadline(Some(minute), now).unwrap(), Some(now + minute));
        for trial in [Duration::MAX, LONGEST_TRIAL + minute] {
            assert!(matches!(
                deadline(Some(trial), now),
                Err(ReloadError::TooLong)
            ));
        }
    }

    #[test]
    fn what_is_fixed_at_the_start_needs_a_restart_and_the_rest_does_not() {
        let old = crate::daemon::connections::tests::config();
        assert_eq!(needs_restart(&old, &old), None);
        let mut new = old.clone();
        new.rules.clear();
        new.devices.clear();
        new.limits.connections_per_device += 1;
        assert_eq!(needs_restart(&old, &new), None);
        new.wireguard.mtu -= 1;
        assert_eq!(needs_restart(&old, &new), Some("[tunnel.wireguard]"));
        let mut new = old.clone();
        new.enrol.addresses.clear();
        new.registry = lazaret_config::Database::Server(lazaret_config::Server {
            host: lazaret_config::DatabaseHost::Name("localhost".to_owned()),
            port: 5432,
            user: "lazaret".to_owned(),
            database: "lazaret".to_owned(),
            password_file: None,
            ca_file: None,
        });
        assert_eq!(needs_restart(&old, &new), Some("[registry]"));
        let mut new = old.clone();
        new.limits.connections += 1;
        assert_eq!(needs_restart(&old, &new), Some("limits.connections"));
        let mut new = old.clone();
        new.limits.relay_workers = Some(1);
        assert_eq!(needs_restart(&old, &new), Some("limits.relay_workers"));
    }
}

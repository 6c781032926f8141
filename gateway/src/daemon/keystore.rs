//! The supervisor's side of the key store: when it begins, that it does not hang, and when its PIN may be tried.
//!
//! In: what the key store says of its token, that the signer waits in vain, changes of the settings. Out: a way between
//! both, and the end of a process that hangs. A PIN that was refused is remembered with the file that it stood in, also
//! over restarts, so that no token is locked by a gateway that begins again and again.

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lazaret_config::Pkcs11;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::supervisor::{Input, Supervisor};
use super::worker::{Kind, Worker};
use crate::channel;
use crate::flow::Clock;
use crate::keystore::message::{FromKeystore, KeystoreRefusal, Settings, ToKeystore};
use crate::pki::message::{Question, ToSigner};

/// What is known of the key store.
#[derive(Default)]
pub(super) struct Keystore {
    /// With what it was started.
    settings: Option<Pkcs11>,
    /// The PIN file that it read.
    tried: Option<PinTry>,
    /// When it was started and has not said anything yet.
    since: Option<Instant>,
    /// How its token is.
    told: Option<Result<(), KeystoreRefusal>>,
}

/// A PIN that was tried, without anything of it: the file as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PinTry {
    module: PathBuf,
    token: String,
    file: PathBuf,
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl PinTry {
    fn of(settings: &Pkcs11) -> std::io::Result<Self> {
        let metadata = fs::metadata(&settings.pin_file)?;
        Ok(Self {
            module: settings.module.clone(),
            token: settings.token.clone(),
            file: settings.pin_file.clone(),
            device: metadata.dev(),
            inode: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    fn keep(&self, path: &Path) -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()
    }
}

impl Supervisor {
    pub(super) fn start_keystore(&mut self, generation: u64) -> std::io::Result<u32> {
        let pki = self.config.pki.as_ref();
        let pkcs11 = pki.and_then(|pki| pki.pkcs11.clone());
        let pkcs11 = pkcs11.ok_or(std::io::ErrorKind::NotFound)?;
        // One that cannot be read is for the key store to say.
        let tried = PinTry::of(&pkcs11).ok();
        let refused = PinTry::read(&self.refused_pin());
        let may_log_in = tried.is_none() || tried != refused;
        let wrap = |message, _| Input::Keystore(message);
        let worker = Worker::start_in(
            Kind::Keystore,
            generation,
            &self.inputs,
            &pkcs11.environment,
            wrap,
        )?;
        self.keystore = Keystore {
            settings: Some(pkcs11.clone()),
            tried,
            since: Some(self.clock.now()),
            told: None,
        };
        let settings = Settings { pkcs11, may_log_in };
        worker.send(ToKeystore::Start(settings), Vec::new());
        let pid = worker.pid;
        self.workers.keystore = Some(worker);
        Ok(pid)
    }

    /// After the files came into force: the key store follows, begins or ends, and a PIN that was written anew is tried.
    pub(super) fn follow_keystore(&mut self) {
        let pki = self.config.pki.as_ref();
        let wanted = pki.and_then(|pki| pki.pkcs11.as_ref());
        let changed = wanted != self.keystore.settings.as_ref();
        let written = wanted.and_then(|pkcs11| PinTry::of(pkcs11).ok()) != self.keystore.tried;
        let stopped = match &self.keystore.told {
            Some(Err(KeystoreRefusal::PinFile(_))) => true,
            Some(Err(refusal)) => refusal.is_of_pin(),
            Some(Ok(())) | None => false,
        };
        match (wanted, &self.workers.keystore) {
            (None, _) => {
                self.workers.dismiss(Kind::Keystore);
                self.keystore = Keystore::default();
            }
            (Some(_), None) => self.start_worker(Kind::Keystore),
            (Some(_), Some(worker)) if changed || (stopped && written) => {
                info!("the key store begins anew");
                worker.kill();
            }
            (Some(_), Some(_)) => {}
        }
    }

    pub(super) fn keystore_said(&mut self, message: FromKeystore) {
        let FromKeystore::Token(told) = message;
        match &told {
            Ok(()) => info!("the token of the certification authority is open"),
            Err(refusal) => warn!(%refusal, "the token of the certification authority is not open"),
        }
        if told == Err(KeystoreRefusal::Pin)
            && let Some(tried) = &self.keystore.tried
            && let Err(error) = tried.keep(&self.refused_pin())
        {
            warn!(%error, "after a restart the PIN is tried once more");
        }
        self.keystore.told = Some(told);
        self.keystore.since = None;
        if !self.workers.is_ready(Kind::Keystore) {
            self.workers.set_ready(Kind::Keystore);
            self.connect_keystore();
            if self.workers.is_ready(Kind::Signer) {
                self.ask_for_status();
                self.identity_changed();
            }
        }
    }

    /// The signer and the key store get a way to each other, when both are there.
    pub(super) fn connect_keystore(&mut self) {
        let (Some(keystore), Some(signer)) = (&self.workers.keystore, &self.workers.signer) else {
            return;
        };
        if !self.workers.is_ready(Kind::Keystore) {
            return;
        }
        let (ours, theirs): (OwnedFd, OwnedFd) = match channel::pair() {
            Ok(pair) => pair,
            Err(error) => {
                warn!(%error, "the signer cannot reach the key store");
                return;
            }
        };
        keystore.send(ToKeystore::Door, vec![ours]);
        signer.send(ToSigner::Keystore, vec![theirs]);
    }

    /// The signer waited in vain.
    pub(super) fn keystore_is_silent(&mut self) {
        if let Some(keystore) = &self.workers.keystore {
            warn!("the key store does not answer and is killed");
            keystore.kill();
        }
    }

    /// A library that does not even begin.
    pub(super) fn end_late_keystore(&mut self, now: Instant) {
        let late = |since: Instant| now.saturating_duration_since(since) >= BEGINNING;
        if self.keystore.since.is_some_and(late) {
            self.keystore.since = None;
            self.keystore_is_silent();
        }
    }

    /// It is started again after a pause.
    pub(super) fn keystore_died(&mut self) {
        self.keystore.since = None;
        self.keystore.told = Some(Err(KeystoreRefusal::Unavailable));
    }

    /// Why nothing can be signed in a token, as far as is known.
    pub(super) fn token_refusal(&self) -> Option<&KeystoreRefusal> {
        self.keystore.told.as_ref()?.as_ref().err()
    }

    pub(super) fn ask_for_status(&mut self) {
        self.ask_signer(Question::Status, super::signing::Asker::Look);
    }

    fn refused_pin(&self) -> PathBuf {
        self.config.gateway.state_dir.join(REFUSED_PIN)
    }
}

/// Below the state directory.
const REFUSED_PIN: &str = "keystore-pin-refused.json";
/// For a library to be loaded and a token to be opened.
const BEGINNING: Duration = Duration::from_secs(30);

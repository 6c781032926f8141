//! The signer's way to the key store: asks for keys and signatures, and waits no longer than it may.
//!
//! In: messages that the signer decided to sign. Out: signatures in the form of certificates, each checked with the
//! public key that it must be of. What was wrong last is kept for whoever asked, since the library of certificates
//! knows no reasons; a key store that is silent is given up until the supervisor brings another way.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lazaret_config::KeyAlgorithm;
use sha2::{Digest, Sha256, Sha384};

use super::ecdsa;
use crate::channel;
use crate::flow::Clock;
use crate::keystore::message::{
    Answered, Bytes, Given, KeyLabel, KeystoreRefusal as Refusal, MAX_PART, MAX_SIGNED, Wanted,
};

/// The end of the signer. Shared by all keys in the token, of which one is used at a time.
#[derive(Clone, Default)]
pub struct Keystore(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    socket: Option<OwnedFd>,
    clock: Option<Arc<dyn Clock>>,
    /// Until when the question that is answered now may wait.
    deadline: Option<Instant>,
    refused: Option<Refusal>,
    silent: bool,
}

impl Keystore {
    /// Without a way, until there is one.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let clock = Some(clock);
        Self(Arc::new(Mutex::new(State {
            clock,
            ..State::default()
        })))
    }

    /// A way, through one end of [`channel::pair`].
    pub fn replace(&self, socket: OwnedFd) {
        self.state().socket = Some(socket);
    }

    /// A question begins: all that it needs of the key store must be there within [`PATIENCE`].
    pub fn begin(&self) {
        let mut state = self.state();
        let now = state.clock.as_ref().map(|clock| clock.now());
        state.deadline = now.and_then(|now| now.checked_add(PATIENCE));
        state.refused = None;
    }

    /// Why the last key or signature was not given, once.
    #[must_use]
    pub fn take_refusal(&self) -> Option<Refusal> {
        self.state().refused.take()
    }

    /// Whether the key store did not answer in time, once.
    #[must_use]
    pub fn take_silence(&self) -> bool {
        std::mem::take(&mut self.state().silent)
    }

    /// A new pair of keys; its public key.
    ///
    /// # Errors
    /// When there is none.
    pub fn generate(&self, label: KeyLabel, algorithm: KeyAlgorithm) -> Result<Vec<u8>, Refusal> {
        self.key(&Wanted::Generate { label, algorithm })
    }

    /// The public key of a pair that was made.
    ///
    /// # Errors
    /// When it is not there.
    pub fn public(&self, label: KeyLabel, algorithm: KeyAlgorithm) -> Result<Vec<u8>, Refusal> {
        self.key(&Wanted::Public { label, algorithm })
    }

    fn key(&self, wanted: &Wanted) -> Result<Vec<u8>, Refusal> {
        let mut state = self.state();
        let key = match state.ask(wanted) {
            Ok(Given::Public(point)) => Ok(point.0),
            Ok(Given::Taken | Given::Signature(_)) => Err(nonsense("another answer")),
            Err(refusal) => Err(refusal),
        };
        state.noted(key)
    }

    /// Signs a message by a key in the token, as certificates have it.
    ///
    /// # Errors
    /// When there is no signature, or one that is none of this key.
    pub fn sign(
        &self,
        label: KeyLabel,
        algorithm: KeyAlgorithm,
        public: &[u8],
        message: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let mut state = self.state();
        let signed = state.sign(label, algorithm, message);
        let signed = signed.and_then(|signature| {
            let good = super::signature::is_by(algorithm, public, message, &signature);
            good.then_some(signature)
                .ok_or_else(|| nonsense("a signature is not by its key"))
        });
        state.noted(signed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn sign(
        &mut self,
        label: KeyLabel,
        algorithm: KeyAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let (signed, length) = match algorithm {
            KeyAlgorithm::EcdsaP256 => (Sha256::digest(message).to_vec(), Some(32)),
            KeyAlgorithm::EcdsaP384 => (Sha384::digest(message).to_vec(), Some(48)),
            KeyAlgorithm::Ed25519 => (message.to_vec(), None),
        };
        if signed.len() > MAX_SIGNED {
            return Err(Refusal::TooLarge);
        }
        let mut rest = signed.as_slice();
        while let Some((part, after)) = rest.split_at_checked(MAX_PART) {
            match self.ask(&Wanted::More(Bytes(part.to_vec())))? {
                Given::Taken => rest = after,
                Given::Public(_) | Given::Signature(_) => return Err(nonsense("another answer")),
            }
        }
        let wanted = Wanted::Sign {
            label,
            algorithm,
            message: Bytes(rest.to_vec()),
        };
        let Given::Signature(raw) = self.ask(&wanted)? else {
            return Err(nonsense("another answer"));
        };
        match length {
            Some(length) => ecdsa::in_der(&raw.0, length).ok_or_else(|| nonsense("a signature")),
            None => Ok(raw.0),
        }
    }

    fn ask(&mut self, wanted: &Wanted) -> Answered {
        let socket = self.socket.as_ref().ok_or(Refusal::Unavailable)?;
        let now = self.clock.as_ref().map(|clock| clock.now());
        let left = match (self.deadline, now) {
            (Some(deadline), Some(now)) => deadline.saturating_duration_since(now),
            (None, _) | (_, None) => PATIENCE,
        };
        match channel::ask::<Wanted, Answered>(socket, wanted, left) {
            Ok(answered) => answered,
            Err(error) => {
                // A late answer would be taken for that of the next question.
                self.socket = None;
                self.silent = !matches!(error, channel::ChannelError::Closed);
                Err(Refusal::Unavailable)
            }
        }
    }

    fn noted<T>(&mut self, result: Result<T, Refusal>) -> Result<T, Refusal> {
        if let Err(refusal) = &result {
            self.refused = Some(refusal.clone());
        }
        result
    }
}

fn nonsense(what: &str) -> Refusal {
    Refusal::Nonsense(what.to_owned())
}

/// For all that one question needs of the key store; the supervisor waits longer for the signer.
pub const PATIENCE: Duration = Duration::from_secs(5);

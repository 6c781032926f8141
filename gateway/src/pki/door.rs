//! The key of a listener whose process does not have it: handshakes are signed through a door to the signer.
//!
//! In: what rustls wants signed. Out: the signature that the signer made, or an error that ends this one handshake.
//! A door signs nothing but the end of handshakes of its own listener.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lazaret_config::KeyAlgorithm;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use tracing::warn;

use super::key::Fingerprint;
use super::message::{Der, Refusal, ServerIdentity, TlsSign};
use crate::channel::{self, ChannelError};

/// The end of a listener. Shared by all its handshakes, one after the other.
#[derive(Clone, Debug)]
pub struct Door(Arc<Mutex<Option<OwnedFd>>>);

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The door was given up after an error; the supervisor brings a new one.
    #[error("there is no way to the signer now")]
    Shut,
    /// The signer is gone or silent.
    #[error("cannot speak with the signer")]
    Channel(#[from] ChannelError),
    /// It refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Door {
    /// Through one end of [`channel::pair`]; the other went to the signer with its listener's name.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self(Arc::new(Mutex::new(Some(socket))))
    }

    /// Another way, because the signer was started again.
    pub fn replace(&self, socket: OwnedFd) {
        let mut place = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *place = Some(socket);
    }

    /// Has a message signed; waits for two seconds at most.
    ///
    /// # Errors
    /// When there is no signature; after a failure of the channel, until there is another way.
    pub fn sign(&self, wanted: &TlsSign) -> Result<Vec<u8>, DoorError> {
        let mut place = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let socket = place.as_ref().ok_or(DoorError::Shut)?;
        match channel::ask::<TlsSign, Result<Der, Refusal>>(socket, wanted, PATIENCE) {
            Ok(answer) => Ok(answer?.0),
            Err(error) => {
                // A late answer would be taken for that of the next question.
                *place = None;
                Err(error.into())
            }
        }
    }

    /// A certificate with its key behind this door, for the configuration of a listener. TLS 1.3 only.
    #[must_use]
    pub fn certified(&self, identity: &ServerIdentity) -> CertifiedKey {
        let key = RemoteKey {
            door: self.clone(),
            key: identity.key,
            algorithm: identity.algorithm,
        };
        let chain = identity.chain.iter();
        let chain = chain.map(|der| CertificateDer::from(der.0.clone()));
        CertifiedKey::new(chain.collect(), Arc::new(key))
    }
}

#[derive(Clone, Debug)]
struct RemoteKey {
    door: Door,
    key: Fingerprint,
    algorithm: KeyAlgorithm,
}

impl SigningKey for RemoteKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let own = self.scheme();
        offered
            .contains(&own)
            .then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.algorithm {
            KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 => SignatureAlgorithm::ECDSA,
            KeyAlgorithm::Ed25519 => SignatureAlgorithm::ED25519,
        }
    }
}

impl Signer for RemoteKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let wanted = TlsSign {
            key: self.key,
            message: Der(message.to_vec()),
        };
        self.door.sign(&wanted).map_err(|error| {
            warn!(%error, "a handshake could not be signed");
            rustls::Error::General("the signer did not sign".to_owned())
        })
    }

    fn scheme(&self) -> SignatureScheme {
        match self.algorithm {
            KeyAlgorithm::EcdsaP256 => SignatureScheme::ECDSA_NISTP256_SHA256,
            KeyAlgorithm::EcdsaP384 => SignatureScheme::ECDSA_NISTP384_SHA384,
            KeyAlgorithm::Ed25519 => SignatureScheme::ED25519,
        }
    }
}

/// For the signer to sign; it may be writing its ledger.
const PATIENCE: Duration = Duration::from_secs(2);

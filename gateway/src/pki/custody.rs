//! Where the private key of an authority is: in a file of the signer, or in a token behind the key store.
//!
//! In: messages to be signed. Out: signatures. Whoever signs with a key need not know where it is.

use lazaret_config::KeyAlgorithm;
use rcgen::PublicKeyData;
use serde::{Deserialize, Serialize};

use super::authority::{AuthorityError, SecretKey};
use super::certificate::Facts;
use super::key::{Fingerprint, signatures};
use super::keystore::Keystore;
use crate::keystore::message::KeyLabel;

/// The private key of an authority.
pub enum AuthorityKey {
    /// In a file.
    File(SecretKey),
    /// In a token.
    Token(TokenKey),
}

/// A key that never leaves its token.
pub struct TokenKey {
    place: Place,
    algorithm: KeyAlgorithm,
    public: Vec<u8>,
    /// `None` where another token is configured, or none.
    keystore: Option<Keystore>,
}

/// Where in which token a key is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The label of the token.
    pub token: String,
    /// The label of the key.
    pub key: KeyLabel,
}

impl AuthorityKey {
    /// What identifies its public key.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.subject_public_key_info())
    }

    /// Where it is in a token.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::File(_) => None,
            Self::Token(key) => Some(&key.place),
        }
    }
}

impl TokenKey {
    /// The key at a place, of which the public key is known.
    #[must_use]
    pub fn new(
        place: Place,
        algorithm: KeyAlgorithm,
        public: Vec<u8>,
        keystore: Option<Keystore>,
    ) -> Self {
        Self {
            place,
            algorithm,
            public,
            keystore,
        }
    }

    /// The key at a place, of which there is a certificate: the token need not be there.
    ///
    /// # Errors
    /// When it is not a certificate.
    pub fn certified(
        place: Place,
        algorithm: KeyAlgorithm,
        certificate: &[u8],
        keystore: Option<Keystore>,
    ) -> Result<Self, AuthorityError> {
        let public = Facts::of(certificate)?.public;
        Ok(Self::new(place, algorithm, public, keystore))
    }
}

impl From<SecretKey> for AuthorityKey {
    fn from(key: SecretKey) -> Self {
        Self::File(key)
    }
}

impl From<TokenKey> for AuthorityKey {
    fn from(key: TokenKey) -> Self {
        Self::Token(key)
    }
}

impl PublicKeyData for AuthorityKey {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::File(key) => key.der_bytes(),
            Self::Token(key) => &key.public,
        }
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self {
            Self::File(key) => PublicKeyData::algorithm(key),
            Self::Token(key) => signatures(key.algorithm),
        }
    }
}

impl rcgen::SigningKey for AuthorityKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match self {
            Self::File(key) => rcgen::SigningKey::sign(key, message),
            Self::Token(key) => {
                let keystore = key.keystore.as_ref();
                let keystore = keystore.ok_or(rcgen::Error::RemoteKeyError)?;
                keystore
                    .sign(key.place.key, key.algorithm, &key.public, message)
                    // The reason waits at the key store.
                    .map_err(|_| rcgen::Error::RemoteKeyError)
            }
        }
    }
}

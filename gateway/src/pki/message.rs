//! What the supervisor and the process `signer` say to each other. Closed, and small.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lazaret_config::{DeviceName, KeyAlgorithm, Pki};
use serde::{Deserialize, Serialize};

pub use crate::keystore::message::KeystoreRefusal;

pub use super::authority::{AuthorityId, Reason};
pub use super::custody::Place;
pub use super::key::{Fingerprint, Serial};
pub use super::ledger::{Holder, Listener, Revocation};
pub use super::trust::Trust;
pub use super::validity::Validity;

/// Supervisor to signer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(
    clippy::large_enum_variant,
    reason = "a few messages in the life of a process"
)]
pub enum ToSigner {
    /// First message, and whenever the settings change.
    Start(Settings),
    /// A question; it is answered with the same number.
    Ask {
        /// Comes back with the answer.
        request: u64,
        /// What is asked.
        question: Question,
    },
    /// The descriptor beside it is the end of a channel, on which a listener asks for signatures of its own key alone.
    Door {
        /// Which listener.
        listener: Listener,
    },
    /// The descriptor beside it is the end of a channel, on which the key store answers.
    Keystore,
}

/// Signer to supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromSigner {
    /// It answers questions.
    Ready,
    /// The answer to a question.
    Answer {
        /// Of the question.
        request: u64,
        /// Boxed, since a refusal is small.
        answer: Box<Result<Answer, Refusal>>,
    },
    /// The key store does not answer in time; the signer does not ask it until there is another way.
    KeystoreSilent,
}

/// What the signer works with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The name of the gateway, in the subjects of certificates.
    pub gateway: String,
    /// Where keys, certificates and the ledger are.
    pub directory: PathBuf,
    /// `[pki]`.
    pub pki: Pki,
}

/// What the signer is asked. One is answered after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// Make the first authority, or the next one; the one before is trusted for `overlap`.
    NewAuthority {
        /// `false` where there must be none yet.
        rotate: bool,
        /// How.
        way: Way,
        /// For so long; `None` is what the settings say.
        overlap: Option<Duration>,
    },
    /// Which authorities there are.
    Status,
    /// What listeners believe.
    Trust,
    /// The certificate of a device that the registry approved.
    Issue {
        /// In DER or PEM.
        request: Der,
        /// Whose names are the only ones in the certificate.
        device: DeviceName,
        /// Not longer than the settings say.
        lifetime: Option<Duration>,
    },
    /// The next certificate of a device that showed one of ours in a handshake, with a new key.
    Renew {
        /// The one that it showed.
        certificate: Der,
        /// In DER or PEM.
        request: Der,
        /// Not longer than the settings say, nor than the device is let in.
        lifetime: Option<Duration>,
    },
    /// The certificate of a listener: the one that it has, or a new one with a new key if that is due.
    Server {
        /// Which.
        listener: Listener,
        /// A new one in any case.
        renew: bool,
    },
    /// Revoke certificates; those that are revoked already stay so.
    Revoke {
        /// Which.
        which: Which,
        /// Why.
        reason: Reason,
    },
    /// The lists of revoked certificates, one of each trusted authority.
    Lists,
    /// Certificates that were issued and are remembered; of very many, those that end last.
    Certificates,
    /// A signature for TLS 1.3 by the key of a listener.
    TlsSign(TlsSign),
}

/// How an authority is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// It certifies itself.
    Root,
    /// Only its key and the request for the hospital's root.
    Request,
    /// The answer to the request: its certificate and those above it, in PEM.
    Certificate(String),
}

/// Which certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// The one with this number.
    Serial(Serial),
    /// All of these devices.
    Devices(Vec<DeviceName>),
}

/// A message to be signed by the key of a listener; nothing but the end of a handshake is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSign {
    /// Of the key.
    pub key: Fingerprint,
    /// As TLS 1.3 lays it out (RFC 8446 4.4.3).
    pub message: Der,
}

/// What the signer answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Question::NewAuthority`] and [`Question::Status`].
    Status(AuthorityStatus),
    /// To [`Question::NewAuthority`] with [`Way::Request`]: in PEM.
    Request(String),
    /// To [`Question::Trust`].
    Trust(Trust),
    /// To [`Question::Issue`] and [`Question::Renew`].
    Issued(IssuedCertificate),
    /// To [`Question::Server`].
    Server(ServerIdentity),
    /// To [`Question::Revoke`]: what was not revoked before.
    Revoked(Vec<Serial>),
    /// To [`Question::Lists`].
    Lists(Vec<Der>),
    /// To [`Question::Certificates`], in the order of their numbers.
    Certificates(Vec<CertificateStatus>),
    /// To [`Question::TlsSign`].
    Signed(Der),
}

/// The authorities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityStatus {
    /// Newest first.
    pub authorities: Vec<OneAuthority>,
    /// The authority whose request waits for its certificate.
    pub waiting: Option<AuthorityId>,
    /// Certificates that hold.
    pub certificates: usize,
    /// Of those, revoked ones.
    pub revoked: usize,
}

/// One authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneAuthority {
    /// Which.
    pub id: AuthorityId,
    /// Of its key.
    pub algorithm: KeyAlgorithm,
    /// Whether it certified itself.
    pub root: bool,
    /// Where its key is in a token; `None` if it is in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// From when to when its certificate holds.
    #[serde(flatten)]
    pub validity: Validity,
    /// Until when it is trusted; `None` for the one that issues.
    pub trusted_until: Option<Timestamp>,
    /// Its certificate and those above it, in PEM.
    pub certificate: String,
}

/// A certificate that was just issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedCertificate {
    /// To whom.
    pub device: DeviceName,
    /// In DER.
    pub certificate: Der,
    /// Of the authority and those above it, in DER.
    pub chain: Vec<Der>,
    /// Its number.
    pub serial: Serial,
    /// Of its key.
    pub key: Fingerprint,
    /// From when to when.
    #[serde(flatten)]
    pub validity: Validity,
    /// When the device is expected to renew it.
    pub renew_at: Timestamp,
}

/// The certificate of a listener, whose key stays with the signer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerIdentity {
    /// Of its key, for [`TlsSign`].
    pub key: Fingerprint,
    /// How it signs.
    pub algorithm: KeyAlgorithm,
    /// Its certificate and those above it, in DER.
    pub chain: Vec<Der>,
    /// Its number.
    pub serial: Serial,
    /// From when to when.
    #[serde(flatten)]
    pub validity: Validity,
    /// When the listener has to ask again.
    pub renew_at: Timestamp,
}

/// A certificate in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// Its number.
    pub serial: Serial,
    /// To whom.
    pub holder: Holder,
    /// By whom.
    pub authority: AuthorityId,
    /// Of its key.
    pub key: Fingerprint,
    /// From when to when.
    #[serde(flatten)]
    pub validity: Validity,
    /// When it is expected to be renewed.
    pub renew_at: Timestamp,
    /// Since when and why it is revoked.
    pub revoked: Option<Revocation>,
}

/// Why the signer does not do what it is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// It does not run, was restarted meanwhile, or does not answer in time.
    #[error("the signer is not available now")]
    Unavailable,
    /// `lazaret ca init` comes first.
    #[error("there is no certification authority yet: `lazaret ca init`")]
    NoAuthority,
    /// There is one.
    #[error("there is a certification authority already: `lazaret ca rotate` makes the next one")]
    AuthorityExists,
    /// No request waits for a certificate.
    #[error(
        "no request waits for a certificate: `lazaret ca init --csr` or `lazaret ca rotate --csr` makes one"
    )]
    NothingWaits,
    /// As many as there may be.
    #[error("{0} authorities are trusted already: wait until the overlap of the oldest ends")]
    TooManyAuthorities(usize),
    /// The certificate of an authority does not fit.
    #[error("the certificate of the authority is refused: {0}")]
    Authority(String),
    /// The authority ends before a certificate would be of use.
    #[error("the certification authority ends soon: `lazaret ca rotate`")]
    AuthorityEnds,
    /// The request of the device.
    #[error("{0}")]
    Request(String),
    /// Another device, or the gateway itself, has this key.
    //= C5
    #[error("the key of the request belongs to somebody else")]
    KeyTaken,
    /// A certificate of this key was revoked.
    #[error("a certificate of the key of the request was revoked: make a new key")]
    KeyRevoked,
    /// A renewal with the same key.
    #[error("the request has the key of the certificate that is renewed: make a new key")]
    SameKey,
    /// Not one of ours, or forgotten.
    #[error("there is no such certificate")]
    Unknown,
    /// The certificate is revoked.
    #[error("the certificate is revoked")]
    Revoked,
    /// Its grace is over, or it does not hold yet.
    #[error("the certificate cannot be renewed now: the device must be enrolled anew")]
    NotNow,
    /// No names are configured, or the authority was made for others.
    #[error("{0}")]
    ServerNames(String),
    /// Not the end of a handshake of TLS 1.3, or not the key of this listener.
    #[error("only the end of a handshake is signed, by the key of its listener")]
    NotAHandshake,
    /// As many as a device may have.
    #[error(
        "the device has {0} certificates that hold: it gets the next one when one of them ends or is revoked"
    )]
    TooManyCertificates(usize),
    /// The ledger is full.
    #[error("the ledger of certificates is full")]
    Full,
    /// Keys or ledger cannot be used.
    #[error("the store of the certification authority cannot be used: {0}")]
    Storage(String),
    /// The key of the authority is in a token, and cannot be used.
    #[error("the key of the certification authority cannot be used: {0}")]
    Keystore(KeystoreRefusal),
    /// The key of the authority is in a token that the settings do not name.
    #[error(
        "the key of the certification authority is in the token {0}, which [pki.pkcs11] does not name"
    )]
    OtherToken(String),
    /// Anything else.
    #[error("{0}")]
    Internal(String),
}

/// Bytes that travel as base64.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Der(pub Vec<u8>);

impl std::fmt::Debug for Der {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

impl Serialize for Der {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Der {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text);
        bytes.map(Self).map_err(serde::de::Error::custom)
    }
}

impl From<Vec<u8>> for Der {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

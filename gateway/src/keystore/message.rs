//! What is said to and by the process `keystore`: by the supervisor, and by the signer through its door. Closed, and small.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lazaret_config::{KeyAlgorithm, Pkcs11};
use serde::{Deserialize, Serialize};

/// Supervisor to key store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToKeystore {
    /// First message.
    Start(Settings),
    /// The descriptor beside it is the end of a channel, on which the signer asks; it takes the place of the one before.
    Door,
}

/// Key store to supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromKeystore {
    /// How the token is, once that is known and whenever it changes.
    Token(Result<(), KeystoreRefusal>),
}

/// What the key store works with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// `[pki.pkcs11]`.
    pub pkcs11: Pkcs11,
    /// Whether the PIN may be tried; not after the token refused it.
    pub may_log_in: bool,
}

/// What the signer asks. One is answered after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// A new pair of keys, sensitive and never extractable.
    Generate {
        /// Under this label, which no key has yet.
        label: KeyLabel,
        /// Of the key.
        algorithm: KeyAlgorithm,
    },
    /// The public key of a pair.
    Public {
        /// Which.
        label: KeyLabel,
        /// Of the key.
        algorithm: KeyAlgorithm,
    },
    /// More of the message that is signed next; at most [`MAX_SIGNED`] bytes altogether.
    More(Bytes),
    /// A signature over what came before and this: for ECDSA a digest, for Ed25519 the message itself.
    Sign {
        /// By which key.
        label: KeyLabel,
        /// Of the key.
        algorithm: KeyAlgorithm,
        /// The rest.
        message: Bytes,
    },
}

/// What the key store answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Given {
    /// To [`Wanted::Generate`] and [`Wanted::Public`]: a point, uncompressed, or the 32 bytes of Ed25519.
    Public(Bytes),
    /// To [`Wanted::More`].
    Taken,
    /// To [`Wanted::Sign`]: `r || s`, or the 64 bytes of Ed25519.
    Signature(Bytes),
}

/// An answer, or why there is none.
pub type Answered = Result<Given, KeystoreRefusal>;

/// Why the key store does not do what it is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum KeystoreRefusal {
    /// It does not run, was started again meanwhile, or does not answer in time.
    #[error("the key store is not available now")]
    Unavailable,
    /// The maker's library cannot be shut in, and is not loaded then.
    #[error("the maker's library cannot be confined: {0}")]
    Confine(String),
    /// The maker's library.
    #[error("the maker's library of the key store cannot be used: {0}")]
    Module(String),
    /// The file of the PIN.
    #[error("the PIN cannot be read: {0}")]
    PinFile(String),
    /// It is not tried again.
    #[error(
        "the token refuses the PIN of `pin_file`: it is not tried again until that file was written anew and `lazaret apply` or a restart followed"
    )]
    Pin,
    /// The token lets nobody in.
    #[error("the PIN of the token is locked: who administers the token unlocks it")]
    PinLocked,
    /// One wrong PIN more would lock it.
    #[error(
        "the token has one try of the PIN left, which the gateway does not use: log in with another program first"
    )]
    LastTry,
    /// The user has no PIN, or must change it.
    #[error("the token asks for a new PIN of its user: set one with the maker's program")]
    NewPin,
    /// None has the label.
    #[error("there is no token {0}")]
    NoToken(String),
    /// More than one has the label.
    #[error("several tokens are called {0}")]
    SeveralTokens(String),
    /// The token is gone, or broken.
    #[error("the token cannot be used: {0}")]
    Lost(String),
    /// The key is not there.
    #[error("the token has no key {0}")]
    NoKey(KeyLabel),
    /// More than one has the label.
    #[error("the token has several keys {0}")]
    SeveralKeys(KeyLabel),
    /// What the token does not serve.
    #[error("the token does not serve keys of {}", .0.as_str())]
    Algorithm(KeyAlgorithm),
    /// The token would give the private key away.
    #[error("the token would let the private key {0} out: it is not used")]
    Exposed(KeyLabel),
    /// Something that cannot be.
    #[error("the token answered something that makes no sense: {0}")]
    Nonsense(String),
    /// More than [`MAX_SIGNED`] bytes.
    #[error("what is to be signed is longer than {MAX_SIGNED} bytes")]
    TooLarge,
}

impl KeystoreRefusal {
    /// Whether trying the PIN again could lock the token.
    #[must_use]
    pub fn is_of_pin(&self) -> bool {
        match self {
            Self::Pin | Self::PinLocked | Self::LastTry | Self::NewPin => true,
            Self::Unavailable
            | Self::Confine(_)
            | Self::Module(_)
            | Self::PinFile(_)
            | Self::NoToken(_)
            | Self::SeveralTokens(_)
            | Self::Lost(_)
            | Self::NoKey(_)
            | Self::SeveralKeys(_)
            | Self::Algorithm(_)
            | Self::Exposed(_)
            | Self::Nonsense(_)
            | Self::TooLarge => false,
        }
    }
}

/// The label of a pair of keys (`CKA_LABEL`), from which its `CKA_ID` follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyLabel([u8; 8]);

impl KeyLabel {
    /// From chance.
    #[must_use]
    pub fn new(random: [u8; 8]) -> Self {
        Self(random)
    }

    /// `CKA_ID`.
    #[must_use]
    pub fn id(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Not the label of a key of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the label of a key of the gateway")]
pub struct NotALabel;

impl TryFrom<String> for KeyLabel {
    type Error = NotALabel;

    fn try_from(text: String) -> Result<Self, NotALabel> {
        let hex = text.strip_prefix(PREFIX).ok_or(NotALabel)?;
        let number = u64::from_str_radix(hex, 16).map_err(|_| NotALabel)?;
        let label = Self(number.to_be_bytes());
        // One text for each label: no sign, no capitals, no fewer digits.
        (label.to_string() == text)
            .then_some(label)
            .ok_or(NotALabel)
    }
}

impl From<KeyLabel> for String {
    fn from(label: KeyLabel) -> Self {
        label.to_string()
    }
}

/// Bytes that travel as base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

impl TryFrom<String> for Bytes {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        STANDARD.decode(text).map(Self)
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        STANDARD.encode(bytes.0)
    }
}

const PREFIX: &str = "lazaret-ca-";
/// Of a list of revoked certificates, which Ed25519 signs as a whole.
//= C7
pub const MAX_SIGNED: usize = 16 << 20;
/// Of a message in one [`Wanted`], which travels in a packet.
//= C7
pub const MAX_PART: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_label_has_one_text(random in any::<[u8; 8]>(), other in ".{0,40}") {
            let label = KeyLabel::new(random);
            prop_assert_eq!(KeyLabel::try_from(label.to_string()), Ok(label));
            if let Ok(label) = KeyLabel::try_from(other.clone()) {
                prop_assert_eq!(label.to_string(), other);
            }
        }

        #[test]
        fn no_text_of_the_channel_is_more_than_an_error(text in ".{0,200}", bytes in any::<Vec<u8>>()) {
            let _either = serde_json::from_str::<Wanted>(&text);
            let _either = serde_json::from_slice::<Answered>(&bytes);
            let wanted = Wanted::More(Bytes(bytes));
            let json = serde_json::to_string(&wanted).unwrap();
            prop_assert_eq!(serde_json::from_str::<Wanted>(&json).unwrap(), wanted);
        }
    }

    #[test]
    fn labels_of_others_are_none() {
        let good = "lazaret-ca-00000000000000a1";
        assert!(KeyLabel::try_from(good.to_owned()).is_ok());
        for wrong in [
            "lazaret-ca-a1",
            "lazaret-ca-00000000000000A1",
            "lazaret-ca-+0000000000000a1",
            "lazaret-00000000000000a1",
            "",
        ] {
            assert_eq!(
                KeyLabel::try_from(wrong.to_owned()),
                Err(NotALabel),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_part_fits_a_packet() {
        let wanted = Wanted::Sign {
            label: KeyLabel::new([0xff; 8]),
            algorithm: KeyAlgorithm::EcdsaP256,
            message: Bytes(vec![0; MAX_PART]),
        };
        let json = serde_json::to_vec(&wanted).unwrap();
        assert!(json.len() < crate::channel::MAX_PACKET);
    }
}

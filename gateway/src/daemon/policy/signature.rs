//! Signatures under policies, as `ssh-keygen -Y sign` makes them (PROTOCOL.sshsig of OpenSSH).
//!
//! In: a statement of what is signed, an armoured signature, who may sign, the time. Out: the principal who did.
//! Keys are Ed25519 and ECDSA P-256, in a file or in a security key (PROTOCOL.u2f), where somebody must have touched it.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ring::digest;
use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};

use super::files;
use super::signers::{self, Signer};
use crate::daemon::reload::Checked;

/// What signatures must have been made for: `-n lazaret-policy`.
pub const NAMESPACE: &str = "lazaret-policy";

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A signer is written in a way that is not carried.
    #[error("{0}")]
    Signer(&'static str),
    /// Nobody may sign.
    #[error("[policy] has no signers")]
    NoSigners,
    /// Not a signature, or none that is carried.
    #[error("it cannot be read: {0}")]
    Format(&'static str),
    /// For something else.
    #[error("it was not made with `-n {NAMESPACE}`")]
    Namespace,
    /// Nobody who may sign has this key.
    #[error("its key is of none of the signers")]
    Unknown,
    /// The signer may not sign now.
    #[error("{0} may not sign at this time")]
    Time(String),
    /// Of something else, or damaged.
    #[error("it is not of this policy: `lazaret check --statement` prints what must be signed")]
    Wrong,
}

/// What is signed: each file with its hash, whatever the directory.
#[must_use]
pub fn statement(checked: &Checked) -> String {
    let mut text = "lazaret policy 1\n".to_owned();
    for file in files(&checked.directory, &checked.sources) {
        let hash = digest::digest(&digest::SHA256, file.text.as_bytes());
        for byte in hash.as_ref() {
            let _always_works = write!(text, "{byte:02x}");
        }
        let _always_works = writeln!(text, "  {}", file.path.escape_default());
    }
    text
}

/// Who signed a statement.
pub(super) fn verify(
    statement: &str,
    armoured: &str,
    lines: &[String],
    now: Timestamp,
) -> Result<String, SignatureError> {
    if lines.is_empty() {
        return Err(SignatureError::NoSigners);
    }
    let blob = dearmour(armoured)?;
    let signature = Signature::read(&blob)?;
    let signers = lines.iter().filter_map(|line| signers::parse(line).ok());
    let known: Vec<Signer> = signers.filter(|one| one.key == signature.key).collect();
    let signer = known.iter().find(|one| one.counts(now)).or(known.first());
    let signer = signer.ok_or(SignatureError::Unknown)?;
    if !signer.counts(now) {
        return Err(SignatureError::Time(signer.principal.clone()));
    }
    signature.verify(statement.as_bytes())?;
    Ok(signer.principal.clone())
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Of a file.
    Ed25519([u8; 32]),
    /// Of a file: the point, not compressed.
    P256(Vec<u8>),
    /// Of a security key, with the application that it is for.
    SkEd25519([u8; 32], String),
    /// Of a security key.
    SkP256(Vec<u8>, String),
}

impl Key {
    pub(super) const TYPES: [&str; 4] = [
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ];

    /// A key in the form that stands in files.
    pub(super) fn read(kind: &str, blob: &[u8]) -> Result<Self, SignatureError> {
        let wrong = SignatureError::Signer;
        if !Self::TYPES.contains(&kind) {
            return Err(if kind.starts_with("ssh-") {
                wrong("keys are Ed25519 or ECDSA P-256, in files or security keys")
            } else {
                wrong("it has neither a known option nor a known type of key")
            });
        }
        let key = Self::parse(blob).filter(|key| Self::TYPES.get(key.place()) == Some(&kind));
        key.ok_or(wrong("it is not a key of its type"))
    }

    fn place(&self) -> usize {
        match self {
            Self::Ed25519(_) => 0,
            Self::P256(_) => 1,
            Self::SkEd25519(..) => 2,
            Self::SkP256(..) => 3,
        }
    }

    fn parse(blob: &[u8]) -> Option<Self> {
        let mut reader = Reader(blob);
        let kind = reader.text()?;
        let key = match Self::TYPES.iter().position(|one| *one == kind)? {
            0 => Self::Ed25519(reader.string()?.try_into().ok()?),
            1 => Self::P256(reader.point()?),
            2 => Self::SkEd25519(reader.string()?.try_into().ok()?, reader.text()?.to_owned()),
            _ => Self::SkP256(reader.point()?, reader.text()?.to_owned()),
        };
        reader.end().then_some(key)
    }
}

/// What is in an armoured signature.
struct Signature<'a> {
    key: Key,
    reserved: &'a [u8],
    hash: &'a str,
    bytes: [u8; 64],
    /// Of a security key: flags and counter.
    touched: Option<[u8; 5]>,
}

impl<'a> Signature<'a> {
    fn read(blob: &'a [u8]) -> Result<Self, SignatureError> {
        let format = SignatureError::Format;
        let rest = blob.strip_prefix(MAGIC);
        let mut reader = Reader(rest.ok_or(format("it is not a signature of SSH"))?);
        if reader.number() != Some(1) {
            return Err(format("it is of another version"));
        }
        let parts = [(); 5].map(|()| reader.string());
        let (
            [
                Some(key),
                Some(namespace),
                Some(reserved),
                Some(hash),
                Some(signature),
            ],
            true,
        ) = (parts, reader.end())
        else {
            return Err(format("it is damaged"));
        };
        if namespace != NAMESPACE.as_bytes() {
            return Err(SignatureError::Namespace);
        }
        let key = Key::parse(key).ok_or(format(
            "its key is damaged, or neither Ed25519 nor ECDSA P-256",
        ))?;
        let hash = match hash {
            b"sha256" => "sha256",
            b"sha512" => "sha512",
            _ => return Err(format("its hash is neither SHA-256 nor SHA-512")),
        };
        let (bytes, touched) = inner(&key, signature).ok_or(format("it is damaged"))?;
        Ok(Self {
            key,
            reserved,
            hash,
            bytes,
            touched,
        })
    }

    fn verify(&self, message: &[u8]) -> Result<(), SignatureError> {
        let algorithm = match self.hash {
            "sha256" => &digest::SHA256,
            _ => &digest::SHA512,
        };
        let mut signed = MAGIC.to_vec();
        for part in [
            NAMESPACE.as_bytes(),
            self.reserved,
            self.hash.as_bytes(),
            digest::digest(algorithm, message).as_ref(),
        ] {
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            signed.extend_from_slice(&length.to_be_bytes());
            signed.extend_from_slice(part);
        }
        let verified = match (&self.key, self.touched) {
            (Key::Ed25519(key), None) => ed25519(key, &signed, &self.bytes),
            (Key::P256(key), None) => p256(key, &signed, &self.bytes),
            (Key::SkEd25519(key, application), Some(touched)) => {
                ed25519(key, &touch(application, touched, &signed)?, &self.bytes)
            }
            (Key::SkP256(key, application), Some(touched)) => {
                p256(key, &touch(application, touched, &signed)?, &self.bytes)
            }
            (Key::Ed25519(_) | Key::P256(_), Some(_))
            | (Key::SkEd25519(..) | Key::SkP256(..), None) => false,
        };
        verified.then_some(()).ok_or(SignatureError::Wrong)
    }
}

fn ed25519(key: &[u8], signed: &[u8], bytes: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key)
        .verify(signed, bytes)
        .is_ok()
}

fn p256(key: &[u8], signed: &[u8], bytes: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
        .verify(signed, bytes)
        .is_ok()
}

/// What a security key signs instead.
fn touch(application: &str, touched: [u8; 5], signed: &[u8]) -> Result<Vec<u8>, SignatureError> {
    if touched[0] & PRESENT == 0 {
        return Err(SignatureError::Format("nobody touched the security key"));
    }
    let hash = |bytes| digest::digest(&digest::SHA256, bytes);
    let (application, signed) = (hash(application.as_bytes()), hash(signed));
    Ok([application.as_ref(), &touched, signed.as_ref()].concat())
}

/// The signature itself; of a security key with flags and counter.
fn inner(key: &Key, blob: &[u8]) -> Option<([u8; 64], Option<[u8; 5]>)> {
    let mut reader = Reader(blob);
    if Key::TYPES.get(key.place()) != Some(&reader.text()?) {
        return None;
    }
    let signature = reader.string()?;
    let bytes = match key {
        Key::Ed25519(_) | Key::SkEd25519(..) => signature.try_into().ok()?,
        Key::P256(_) | Key::SkP256(..) => {
            let mut numbers = Reader(signature);
            let (r, s) = (numbers.integer()?, numbers.integer()?);
            let both: [u8; 64] = [r, s].concat().try_into().ok()?;
            numbers.end().then_some(both)?
        }
    };
    let touched = match key {
        Key::Ed25519(_) | Key::P256(_) => None,
        Key::SkEd25519(..) | Key::SkP256(..) => Some(reader.take(5)?.try_into().ok()?),
    };
    reader.end().then_some((bytes, touched))
}

//= C7
fn dearmour(armoured: &str) -> Result<Vec<u8>, SignatureError> {
    let format = SignatureError::Format;
    if armoured.len() > LONGEST {
        return Err(format("it is too long"));
    }
    let inside = armoured.trim().strip_prefix(BEGIN);
    let inside = inside.and_then(|rest| rest.strip_suffix(END));
    let inside = inside.ok_or(format("it is no armoured signature of SSH"))?;
    let base64: String = inside.split_ascii_whitespace().collect();
    let decoded = STANDARD.decode(base64);
    decoded.map_err(|_| format("it is no armoured signature of SSH"))
}

/// RFC 4251 section 5.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(usize::try_from(length).ok()?)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.string()?).ok()
    }

    /// An unsigned number of at most 32 bytes, with zeros before it.
    fn integer(&mut self) -> Option<[u8; 32]> {
        let bytes = self.string()?;
        let bytes = bytes.strip_prefix(&[0]).unwrap_or(bytes);
        let mut whole = [0; 32];
        let start = whole.len().checked_sub(bytes.len())?;
        whole.get_mut(start..)?.copy_from_slice(bytes);
        Some(whole)
    }

    /// The name of the curve, and a point that is not compressed.
    fn point(&mut self) -> Option<Vec<u8>> {
        let curve = self.text()?;
        let point = self.string()?;
        let good = curve == "nistp256" && point.len() == 65 && point.first() == Some(&4);
        good.then(|| point.to_vec())
    }

    fn end(&self) -> bool {
        self.0.is_empty()
    }
}

const MAGIC: &[u8] = b"SSHSIG";
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// Bytes of an armoured signature.
const LONGEST: usize = 16 << 10;
/// Bit of the flags of a security key.
const PRESENT: u8 = 1;

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;

//! Public keys of devices: which kinds are certified, and how they are told apart.
//!
//! In: a SubjectPublicKeyInfo. Out: a key that may be certified, or why not.
//! Each key has one encoding here, so that no two devices share one in disguise.

use std::fmt;
use std::str::FromStr;

use lazaret_config::KeyAlgorithm;
use rcgen::{PublicKeyData, SignatureAlgorithm};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

/// A public key that may be certified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    kind: KeyKind,
    raw: Vec<u8>,
    fingerprint: Fingerprint,
}

/// The kinds of keys that are certified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// Ed25519.
    Ed25519,
    /// RSA with so many bits.
    Rsa(u32),
}

/// SHA-256 of a SubjectPublicKeyInfo in DER: what identifies a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// The number of a certificate: 128 random bits, of which the first is 0 and one more is 1.
//= RFC 5280 4.1.2.2
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial([u8; 16]);

/// Why a key is not certified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// Neither of the kinds.
    #[error("keys of this kind are not certified; use P-256, P-384, Ed25519 or RSA")]
    Kind,
    /// An elliptic curve other than P-256 and P-384.
    #[error("keys on this elliptic curve are not certified; use P-256 or P-384")]
    Curve,
    /// Not the one encoding that such a key has here.
    #[error("the public key is not well encoded")]
    Encoding,
    /// Fewer bits than [`LEAST_RSA_BITS`].
    #[error("an RSA key of {0} bits is too weak; use {LEAST_RSA_BITS} or more")]
    Weak(u32),
    /// More bits than [`MOST_RSA_BITS`].
    #[error("an RSA key of {0} bits is too large; use at most {MOST_RSA_BITS}")]
    Large(u32),
    /// A public exponent other than 65537.
    #[error("the public exponent of an RSA key must be 65537")]
    Exponent,
}

impl PublicKey {
    /// Judges a key.
    ///
    /// # Errors
    /// When it is not certified.
    pub fn of(info: &SubjectPublicKeyInfoOwned) -> Result<Self, KeyRefusal> {
        let raw = info
            .subject_public_key
            .as_bytes()
            .ok_or(KeyRefusal::Encoding)?;
        let parameters = info
            .algorithm
            .parameters
            .as_ref()
            .map(|any| any.to_der().map_err(|_| KeyRefusal::Encoding))
            .transpose()?;
        let kind = match (info.algorithm.oid, parameters.as_deref()) {
            (EC_PUBLIC_KEY, Some(curve)) => on_curve(curve, raw)?,
            (ED25519, None) if raw.len() == 32 => KeyKind::Ed25519,
            (RSA, Some([5, 0])) => KeyKind::Rsa(rsa(raw)?),
            (EC_PUBLIC_KEY | ED25519 | RSA, _) => return Err(KeyRefusal::Encoding),
            _ => return Err(KeyRefusal::Kind),
        };
        let der = info.to_der().map_err(|_| KeyRefusal::Encoding)?;
        Ok(Self {
            kind,
            raw: raw.to_vec(),
            fingerprint: Fingerprint::of(&der),
        })
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// What identifies it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

//= RFC 5480 2.2
fn on_curve(curve: &[u8], point: &[u8]) -> Result<KeyKind, KeyRefusal> {
    let curve = ObjectIdentifier::from_der(curve).map_err(|_| KeyRefusal::Curve)?;
    let (kind, length) = match curve {
        P256 => (KeyKind::EcdsaP256, 65),
        P384 => (KeyKind::EcdsaP384, 97),
        _ => return Err(KeyRefusal::Curve),
    };
    // The compressed form of a point would be a second encoding of the same key.
    if point.len() == length && point.first() == Some(&4) {
        Ok(kind)
    } else {
        Err(KeyRefusal::Encoding)
    }
}

//= RFC 8017 A.1.1
fn rsa(raw: &[u8]) -> Result<u32, KeyRefusal> {
    let encoding = |_| KeyRefusal::Encoding;
    let mut reader = SliceReader::new(raw).map_err(encoding)?;
    let (modulus, exponent) = reader
        .sequence(|reader| {
            let modulus = UintRef::decode(reader)?;
            let exponent = UintRef::decode(reader)?;
            Ok::<_, x509_cert::der::Error>((modulus.as_bytes(), exponent.as_bytes()))
        })
        .map_err(encoding)?;
    reader.finish().map_err(encoding)?;
    let zeros = modulus.first().map_or(8, |byte| byte.leading_zeros());
    let bits = u32::try_from(modulus.len())
        .unwrap_or(u32::MAX)
        .saturating_mul(8)
        .saturating_sub(zeros);
    if bits < LEAST_RSA_BITS {
        return Err(KeyRefusal::Weak(bits));
    }
    if bits > MOST_RSA_BITS {
        return Err(KeyRefusal::Large(bits));
    }
    if exponent != [1, 0, 1] {
        return Err(KeyRefusal::Exponent);
    }
    Ok(bits)
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.raw
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.kind {
            KeyKind::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyKind::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
            KeyKind::Rsa(_) => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

/// How keys of an algorithm sign.
#[must_use]
pub fn signatures(algorithm: KeyAlgorithm) -> &'static SignatureAlgorithm {
    match algorithm {
        KeyAlgorithm::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyAlgorithm::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        KeyAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
    }
}

impl Fingerprint {
    /// Of a SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn of(info: &[u8]) -> Self {
        Self(Sha256::digest(info).into())
    }
}

impl Serial {
    /// From random bytes. Always 16 bytes long in a certificate, whatever they are.
    #[must_use]
    pub fn new(mut random: [u8; 16]) -> Self {
        let [first, ..] = &mut random;
        *first = *first & 0x7f | 0x40;
        Self(random)
    }

    /// The number, most significant byte first.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Chance that everybody knows who sees the certificate: the signer and the device renew at the same time by it.
    #[must_use]
    pub fn chance(&self) -> u32 {
        let last = self.0.last_chunk().copied().unwrap_or_default();
        u32::from_be_bytes(last)
    }

    /// From the INTEGER of a certificate that one of our authorities issued.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 16] = bytes.try_into().ok()?;
        (Self::new(bytes).0 == bytes).then_some(Self(bytes))
    }
}

pub(super) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let small = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    if text.len() != N.checked_mul(2)? || !text.bytes().all(small) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Not so many hexadecimal digits in small letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {0} hexadecimal digits in small letters")]
pub struct InvalidHex(pub(super) usize);

macro_rules! hex {
    ($type:ident, $digits:literal, $bytes:ident => $from:expr) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl FromStr for $type {
            type Err = InvalidHex;
            fn from_str(text: &str) -> Result<Self, InvalidHex> {
                from_hex(text)
                    .and_then(|$bytes: [u8; $digits / 2]| $from)
                    .ok_or(InvalidHex($digits))
            }
        }
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
hex!(Fingerprint, 64, bytes => Some(Self(bytes)));
hex!(Serial, 32, bytes => Self::from_bytes(&bytes));

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EcdsaP256 => f.write_str("P-256"),
            Self::EcdsaP384 => f.write_str("P-384"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
        }
    }
}

/// As NIST SP 800-57 asks of keys beyond 2030.
pub const LEAST_RSA_BITS: u32 = 3072;
/// Verification takes time.
//= C7
pub const MOST_RSA_BITS: u32 = 8192;
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_have_one_length_and_one_text() {
        for random in [[0; 16], [0xff; 16], [0x80; 16]] {
            let serial = Serial::new(random);
            assert!((0x40..0x80).contains(&serial.0[0]));
            assert_eq!(serial.to_string().parse(), Ok(serial));
            assert_eq!(Serial::from_bytes(serial.as_bytes()), Some(serial));
        }
        let good = Serial::new([7; 16]).to_string();
        let wrong = [
            good.to_uppercase() + "A",
            good[1..].to_owned(),
            format!("00{}", &good[2..]),
            good.replace('7', "é"),
        ];
        for text in wrong {
            assert!(text.parse::<Serial>().is_err(), "{text}");
        }
    }
}

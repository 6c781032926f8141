//! The key of a machine that enrols itself, and its certificate beside it.
//!
//! In: names, certificates of the gateway, texts that were kept. Out: requests, texts to keep, when to renew.
//! Has no file and no socket.

use jiff::Timestamp;
use rcgen::{CertificateParams, DnType, DnValue, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use zeroize::{Zeroize, Zeroizing};

use super::certificate::{Facts, NotACertificate};
use super::key::Fingerprint;
use super::pem::{self, PemError};
use super::validity::Validity;

/// A key on P-256 that was made here.
pub struct OwnKey(KeyPair);

/// A key and its certificates, as they are kept in one file.
pub struct Kept {
    /// In PKCS#8.
    pub key: Zeroizing<Vec<u8>>,
    /// The certificate of the machine, and those above it, in DER.
    pub chain: Vec<Vec<u8>>,
}

/// When a certificate holds and when it is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// From when to when.
    pub validity: Validity,
    /// After two thirds of it, give or take.
    pub renew_at: Timestamp,
}

/// Why there is no key, request or certificate.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// The library refuses.
    #[error("no key can be made")]
    Library(#[from] rcgen::Error),
    /// Not what it was when it was kept.
    #[error("the file does not hold a key and its certificate")]
    Kept(#[from] PemError),
    /// Not a certificate.
    #[error(transparent)]
    Certificate(#[from] NotACertificate),
    /// Of another key.
    #[error("the gateway sent the certificate of another key")]
    OtherKey,
    /// Of none of our authorities.
    #[error("the gateway sent a certificate that is not a device's")]
    NoDevice,
}

impl OwnKey {
    /// A new key.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn generate() -> Result<Self, OwnError> {
        Ok(Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    /// A key that waits for its certificate, as [`Self::text`] wrote it.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn read(text: &str) -> Result<Self, OwnError> {
        let der = Zeroizing::new(pem::one(text, pem::PRIVATE_KEY)?);
        let der = rustls::pki_types::PrivatePkcs8KeyDer::from(der.as_slice());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)?;
        Ok(Self(key))
    }

    /// The key in PEM, to be kept until there is a certificate.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let key = Zeroizing::new(self.0.serialize_der());
        Zeroizing::new(pem::encode(pem::PRIVATE_KEY, &key))
    }

    /// A request in DER, with the name and the serial number that are said.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn request(&self, name: Option<&str>, serial: Option<&str>) -> Result<Vec<u8>, OwnError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        if let Some(serial) = serial {
            let kind = DnType::CustomDnType(vec![2, 5, 4, 5]);
            let value = DnValue::PrintableString(serial.try_into()?);
            params.distinguished_name.push(kind, value);
        }
        Ok(params.serialize_request(&self.0)?.der().to_vec())
    }

    /// The text to be kept, with a certificate of this key and those above it.
    ///
    /// # Errors
    /// When it is a certificate of another key, or of no device.
    pub fn keep(
        &self,
        certificate: &[u8],
        above: &[Vec<u8>],
    ) -> Result<(Zeroizing<String>, Life), OwnError> {
        let facts = Facts::of(certificate)?;
        if facts.fingerprint != Fingerprint::of(&self.0.subject_public_key_info()) {
            return Err(OwnError::OtherKey);
        }
        let life = life(certificate)?;
        let mut chain = pem::encode(pem::CERTIFICATE, certificate);
        for der in above {
            // Whoever reads the file gets all that stands between this and the root.
            if Facts::of(der).is_ok_and(|one| one.subject != one.issuer) {
                chain.push_str(&pem::encode(pem::CERTIFICATE, der));
            }
        }
        // At once in full length: a text that grows would leave parts of the key behind.
        let key = self.text();
        let length = key.len().saturating_add(chain.len());
        let mut text = Zeroizing::new(String::with_capacity(length));
        text.push_str(&key);
        text.push_str(&chain);
        Ok((text, life))
    }
}

impl Drop for OwnKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Kept {
    /// Reads what [`OwnKey::keep`] wrote.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn read(text: &str) -> Result<Self, OwnError> {
        let begin = format!("-----BEGIN {}-----", pem::CERTIFICATE);
        let border = text
            .find(&begin)
            .ok_or(PemError::Missing(pem::CERTIFICATE))?;
        let (key, chain) = text.split_at_checked(border).ok_or(PemError::Else)?;
        Ok(Self {
            key: Zeroizing::new(pem::one(key, pem::PRIVATE_KEY)?),
            chain: pem::all(chain, pem::CERTIFICATE)?,
        })
    }

    /// The certificate of the machine.
    ///
    /// # Errors
    /// When there is none, which [`Self::read`] does not let through.
    pub fn certificate(&self) -> Result<&[u8], OwnError> {
        let first = self.chain.first();
        Ok(first.ok_or(PemError::Missing(pem::CERTIFICATE))?)
    }
}

/// When a certificate holds, and when its device renews it.
///
/// # Errors
/// When it is not one of a device.
pub fn life(certificate: &[u8]) -> Result<Life, OwnError> {
    let facts = Facts::of(certificate)?;
    let serial = facts.serial().ok_or(OwnError::NoDevice)?;
    Ok(Life {
        validity: facts.validity,
        renew_at: facts.validity.renewal(serial.chance()),
    })
}

/// The name in the certificate of a device.
#[must_use]
pub fn device(certificate: &[u8]) -> Option<String> {
    let device = Facts::of(certificate).ok()?.device()?;
    Some(device.to_string())
}

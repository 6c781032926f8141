//! What a certificate says, as far as the gateway asks.
//!
//! In: a certificate in DER. Out: its facts. Whether it is to be believed is not decided here.

use jiff::Timestamp;
use lazaret_config::DeviceName;
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::time::Time;

use super::key::{Fingerprint, Serial};
use super::request::DEVICE_URI;
use super::signature::{self, SignatureError};
use super::validity::Validity;

/// The facts of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The number, as its authority wrote it.
    pub serial: Vec<u8>,
    /// Of whom, in DER.
    pub subject: Vec<u8>,
    /// By whom, in DER.
    pub issuer: Vec<u8>,
    /// From when to when.
    pub validity: Validity,
    /// Of its SubjectPublicKeyInfo.
    pub fingerprint: Fingerprint,
    /// The bits of its public key.
    pub public: Vec<u8>,
    /// The identifier of its key, if it has one.
    pub key_identifier: Option<Vec<u8>>,
    /// Whether it is of an authority.
    pub authority: bool,
    /// Whether its key may sign certificates and lists of revoked ones; a certificate without key usage may.
    pub signs: bool,
    /// The uses that it is limited to; `None` if it is not.
    pub uses: Option<Vec<ObjectIdentifier>>,
    /// Its alternative names that are URIs.
    pub uris: Vec<String>,
}

/// Not a certificate in DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a certificate in DER")]
pub struct NotACertificate;

impl Facts {
    /// Reads a certificate.
    ///
    /// # Errors
    /// When it is none.
    pub fn of(der: &[u8]) -> Result<Self, NotACertificate> {
        let read = || -> Result<Self, x509_cert::der::Error> {
            let certificate = Certificate::from_der(der)?;
            let inside = certificate.tbs_certificate();
            let (basic, usage) = (
                inside.get_extension::<BasicConstraints>(),
                inside.get_extension::<KeyUsage>(),
            );
            let failed = |_| x509_cert::der::ErrorKind::Failed;
            let uses = inside
                .get_extension::<ExtendedKeyUsage>()
                .map_err(failed)?
                .map(|(_, uses)| uses.0);
            let names = inside.get_extension::<SubjectAltName>().map_err(failed)?;
            let uris = names.iter().flat_map(|(_, names)| &names.0);
            let identifier = inside
                .get_extension::<SubjectKeyIdentifier>()
                .map_err(failed)?;
            Ok(Self {
                serial: inside.serial_number().as_bytes().to_vec(),
                subject: inside.subject().to_der()?,
                issuer: inside.issuer().to_der()?,
                validity: Validity {
                    not_before: time(&inside.validity().not_before),
                    not_after: time(&inside.validity().not_after),
                },
                fingerprint: Fingerprint::of(&inside.subject_public_key_info().to_der()?),
                public: inside
                    .subject_public_key_info()
                    .subject_public_key
                    .raw_bytes()
                    .to_vec(),
                key_identifier: identifier.map(|(_, id)| id.0.as_bytes().to_vec()),
                authority: basic.map_err(failed)?.is_some_and(|(_, basic)| basic.ca),
                signs: usage
                    .map_err(failed)?
                    .is_none_or(|(_, usage)| usage.key_cert_sign() && usage.crl_sign()),
                uses,
                uris: uris
                    .filter_map(|name| {
                        let GeneralName::UniformResourceIdentifier(uri) = name else {
                            return None;
                        };
                        Some(uri.to_string())
                    })
                    .collect(),
            })
        };
        read().map_err(|_| NotACertificate)
    }

    /// The device whose certificate this is, if it says so once.
    #[must_use]
    pub fn device(&self) -> Option<DeviceName> {
        let mut devices = self
            .uris
            .iter()
            .filter_map(|uri| uri.strip_prefix(DEVICE_URI));
        match (devices.next(), devices.next()) {
            (Some(device), None) => device.parse().ok(),
            _ => None,
        }
    }

    /// Its number, if one of our authorities may have issued it.
    #[must_use]
    pub fn serial(&self) -> Option<Serial> {
        Serial::from_bytes(&self.serial)
    }

    /// Whether it is limited to other uses than this.
    #[must_use]
    pub fn forbids(&self, usage: ObjectIdentifier) -> bool {
        let uses = self.uses.as_ref();
        uses.is_some_and(|uses| !uses.contains(&usage) && !uses.contains(&ANY_USE))
    }
}

/// Checks that one certificate is signed by the key of another.
///
/// # Errors
/// When it is not, or when they are no certificates.
pub fn signed_by(certificate: &[u8], authority: &[u8]) -> Result<(), SignatureError> {
    let read = |der| Certificate::from_der(der).map_err(|_| SignatureError::Malformed);
    let (below, above) = (read(certificate)?, read(authority)?);
    let key = above.tbs_certificate().subject_public_key_info();
    let signed = signature::signed_part(certificate)?;
    signature::verify(key, below.signature_algorithm(), signed, below.signature())
}

fn time(time: &Time) -> Timestamp {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

const ANY_USE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");
/// `id-kp-clientAuth`.
pub const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
/// `id-kp-serverAuth`.
pub const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");

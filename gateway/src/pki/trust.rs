//! Whom the gateway's listeners believe: certificates of devices, and what each is good for.
//!
//! In: the authorities that are trusted, their lists, the certificate of a handshake. Out: yes or no, and which device.
//! During the grace a certificate that ended is believed for renewal alone; the listener asks [`judge`] what it may serve.
//! The standing of a device in the registry comes on top and is not known here.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lazaret_config::DeviceName;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
};
use serde::{Deserialize, Serialize};

use super::certificate::{Facts, NotACertificate};
use super::key::{Fingerprint, Serial};
use super::message::Der;
use super::validity::Verdict;

/// What a listener believes; a new one is made when an authority or a list changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// Certificates of our own authorities in DER; those above them are not trusted for devices.
    pub authorities: Vec<Der>,
    /// Their lists of revoked certificates in DER.
    pub lists: Vec<Der>,
    /// Revoked certificates that the lists may not name: who signs them cannot be reached.
    pub revoked: Vec<Serial>,
    /// How long after its end a certificate is believed for renewal.
    pub grace: Duration,
}

/// A device, as its certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Who.
    pub device: DeviceName,
    /// The number of the certificate.
    pub serial: Serial,
    /// Of its key.
    pub key: Fingerprint,
    /// What it is good for at the moment.
    pub verdict: Verdict,
}

/// Why nobody can be believed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// There is no authority.
    #[error("there is no certification authority yet")]
    NoAuthority,
    /// An authority is not what it should be.
    #[error("a certification authority cannot be trusted")]
    Authority(#[from] rustls::Error),
    /// A list is not what it should be.
    #[error("a list of revoked certificates cannot be used")]
    List(#[from] rustls::server::VerifierBuilderError),
    /// Not a certificate in DER.
    #[error(transparent)]
    Certificate(#[from] NotACertificate),
    /// Not the certificate of a device.
    #[error("the certificate is not one of a device")]
    NoDevice,
}

impl Trust {
    /// For the handshakes of a listener: who has no believed certificate does not get in.
    ///
    /// # Errors
    /// When there is nobody to trust.
    pub fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TrustError> {
        self.asking(true)
    }

    /// For a listener that also speaks with those who have no certificate yet. One that is shown must be believed.
    ///
    /// # Errors
    /// When there is nobody to trust.
    pub fn lenient_verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TrustError> {
        self.asking(false)
    }

    fn asking(&self, mandatory: bool) -> Result<Arc<dyn ClientCertVerifier>, TrustError> {
        if self.authorities.is_empty() {
            return Err(TrustError::NoAuthority);
        }
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            roots.add(CertificateDer::from(authority.0.clone()))?;
        }
        let lists = self.lists.iter().map(|list| list.0.clone());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let inner = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
            .with_crls(lists.map(CertificateRevocationListDer::from))
            .build()?;
        Ok(Arc::new(DeviceVerifier {
            inner,
            revoked: self.revoked.iter().copied().collect(),
            grace: self.grace,
            mandatory,
        }))
    }
}

/// Reads the certificate of a handshake that was believed.
///
/// # Errors
/// When it is not the certificate of a device.
pub fn judge(certificate: &[u8], now: Timestamp, grace: Duration) -> Result<Presented, TrustError> {
    let facts = Facts::of(certificate)?;
    Ok(Presented {
        device: facts.device().ok_or(TrustError::NoDevice)?,
        serial: facts.serial().ok_or(TrustError::NoDevice)?,
        key: facts.fingerprint,
        verdict: facts.validity.verdict(now, grace),
    })
}

/// As the library's, but a certificate in its grace is judged as at its last moment.
#[derive(Debug)]
struct DeviceVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    revoked: BTreeSet<Serial>,
    grace: Duration,
    mandatory: bool,
}

impl ClientCertVerifier for DeviceVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let wrong =
            || rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let seconds = i64::try_from(now.as_secs()).map_err(|_| wrong())?;
        let wall = Timestamp::from_second(seconds).map_err(|_| wrong())?;
        let facts = Facts::of(certificate)
            .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        facts.device().ok_or_else(wrong)?;
        let serial = facts.serial();
        if serial.is_some_and(|serial| self.revoked.contains(&serial)) {
            return Err(rustls::Error::InvalidCertificate(CertificateError::Revoked));
        }
        let at = match facts.validity.verdict(wall, self.grace) {
            Verdict::RenewOnly { .. } => {
                let end = facts.validity.not_after.as_second();
                let end = u64::try_from(end).map_err(|_| wrong())?;
                UnixTime::since_unix_epoch(Duration::from_secs(end))
            }
            Verdict::TooEarly { .. } | Verdict::Valid { .. } | Verdict::TooLate { .. } => now,
        };
        self.inner
            .verify_client_cert(certificate, intermediates, at)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

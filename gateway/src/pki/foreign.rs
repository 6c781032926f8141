//! Which certificate was not believed in a handshake: rustls says why, and not which.
//!
//! In: the verifier of a listener. Out: the same, which notes the key of a certificate that is nobody's here.
//! The note is of the thread that reads the handshake: whoever drives it clears the note before and takes it after.
//! A certificate of ours that ended or was revoked is no stranger's, and is not noted.

use std::cell::Cell;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::certificate::Facts;
use super::key::Fingerprint;

thread_local! {
    static NOTED: Cell<Option<Fingerprint>> = const { Cell::new(None) };
}

/// The same verifier, which notes whom it does not know.
#[must_use]
pub fn noting(inner: Arc<dyn ClientCertVerifier>) -> Arc<dyn ClientCertVerifier> {
    Arc::new(Noting(inner))
}

/// Reads some of a handshake; beside the result the key of a certificate that was refused meanwhile as a stranger's.
pub fn while_reading<T>(read: impl FnOnce() -> T) -> (T, Option<Fingerprint>) {
    NOTED.set(None);
    let result = read();
    (result, NOTED.take())
}

#[derive(Debug)]
struct Noting(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Noting {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.0.verify_client_cert(certificate, intermediates, now);
        if let Err(Error::InvalidCertificate(why)) = &verified
            && is_a_strangers(why)
            && let Ok(facts) = Facts::of(certificate)
        {
            NOTED.set(Some(facts.fingerprint));
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Of another authority, of one with the name of ours, or of no device.
fn is_a_strangers(why: &CertificateError) -> bool {
    matches!(
        why,
        CertificateError::UnknownIssuer
            | CertificateError::BadSignature
            | CertificateError::InvalidPurpose
            | CertificateError::InvalidPurposeContext { .. }
            | CertificateError::ApplicationVerificationFailure
    )
}

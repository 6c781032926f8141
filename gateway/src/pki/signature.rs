//! Signatures in requests and certificates: which part is signed, and whether a key signed it.
//!
//! In: DER from outside. Out: yes or no. Which keys are certified is not decided here.

use lazaret_config::KeyAlgorithm;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::alg_id;
use x509_cert::der::asn1::BitString;
use x509_cert::der::{Encode, Error, Reader, SliceReader};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

/// Why a signature is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not in DER, or bits that are not bytes.
    #[error("not well encoded")]
    Malformed,
    /// An algorithm that is not accepted, or not one of the key.
    #[error("signed with an algorithm that is not accepted")]
    Algorithm,
    /// Another key signed, or something else.
    #[error("not signed by this key")]
    Wrong,
}

/// The first part of a signed structure, as it came: what its signature is over.
///
/// # Errors
/// When it is not a sequence in DER.
pub fn signed_part(der: &[u8]) -> Result<&[u8], SignatureError> {
    let first = || {
        let mut reader = SliceReader::new(der)?;
        reader.sequence(|reader| {
            let signed = reader.tlv_bytes()?;
            skip(reader)?;
            Ok::<_, Error>(signed)
        })
    };
    first().map_err(|_| SignatureError::Malformed)
}

/// Whether a key signed.
///
/// # Errors
/// When it did not, or in a way that is not accepted.
pub fn verify(
    key: &SubjectPublicKeyInfoOwned,
    algorithm: &AlgorithmIdentifierOwned,
    signed: &[u8],
    signature: &BitString,
) -> Result<(), SignatureError> {
    let (of_key, of_signature) = (contents(&key.algorithm)?, contents(algorithm)?);
    let point = key.subject_public_key.as_bytes();
    let (Some(point), Some(signature)) = (point, signature.as_bytes()) else {
        return Err(SignatureError::Malformed);
    };
    let known = aws_lc_rs::default_provider().signature_verification_algorithms;
    let mut fitting = known.all.iter().filter(|one| {
        one.public_key_alg_id().as_ref() == of_key.as_slice()
            && one.signature_alg_id().as_ref() == of_signature.as_slice()
    });
    let algorithm = fitting.next().ok_or(SignatureError::Algorithm)?;
    algorithm
        .verify_signature(point, signed, signature)
        .map_err(|_| SignatureError::Wrong)
}

/// Whether a key of our own algorithms signed; the point is that of the key, as in a SubjectPublicKeyInfo.
#[must_use]
pub fn is_by(algorithm: KeyAlgorithm, point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let (key, by) = match algorithm {
        KeyAlgorithm::EcdsaP256 => (alg_id::ECDSA_P256, alg_id::ECDSA_SHA256),
        KeyAlgorithm::EcdsaP384 => (alg_id::ECDSA_P384, alg_id::ECDSA_SHA384),
        KeyAlgorithm::Ed25519 => (alg_id::ED25519, alg_id::ED25519),
    };
    let known = aws_lc_rs::default_provider().signature_verification_algorithms;
    known
        .all
        .iter()
        .filter(|one| one.public_key_alg_id() == key && one.signature_alg_id() == by)
        .any(|one| one.verify_signature(point, message, signature).is_ok())
}

/// Without the outer SEQUENCE, as the library lists algorithms.
fn contents(identifier: &AlgorithmIdentifierOwned) -> Result<Vec<u8>, SignatureError> {
    let inside = || {
        let whole = identifier.to_der()?;
        let mut reader = SliceReader::new(&whole)?;
        reader.sequence(|reader| skip(reader).map(<[u8]>::to_vec))
    };
    inside().map_err(|_: Error| SignatureError::Malformed)
}

fn skip<'a>(reader: &mut SliceReader<'a>) -> Result<&'a [u8], Error> {
    let length = reader.remaining_len();
    reader.read_slice(length)
}

//! Requests as devices write them, and openssl, which judges independently.

use std::path::Path;
use std::process::{Command, Output};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SignatureAlgorithm};
use x509_cert::der::{Decode, Encode};
use x509_cert::request::CertReq;

use crate::flow::DeviceName;

pub(super) fn device() -> DeviceName {
    "ecg-0042".parse().unwrap()
}

pub(super) fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

/// Names of nobody, to which tests add what they want.
pub(super) fn asked() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
}

pub(super) fn named(common_name: &str) -> CertificateParams {
    let mut params = asked();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

pub(super) fn request(params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
    params.serialize_request(key).unwrap().der().to_vec()
}

/// The request of a new device with a new key.
pub(super) fn new_request() -> Vec<u8> {
    request(&asked(), &key(&rcgen::PKCS_ECDSA_P256_SHA256))
}

/// Changes a request without signing it anew.
pub(super) fn changed(der: &[u8], change: impl FnOnce(&mut CertReq)) -> Vec<u8> {
    let mut request = CertReq::from_der(der).unwrap();
    change(&mut request);
    request.to_der().unwrap()
}

/// Runs openssl, which must be installed, with these words.
pub(super) fn openssl(directory: &Path, words: &[&str]) -> Output {
    Command::new("openssl")
        .args(words)
        .current_dir(directory)
        .output()
        .expect("openssl must be installed")
}

/// What openssl prints, if it is satisfied.
pub(super) fn satisfied(directory: &Path, words: &[&str]) -> String {
    let output = openssl(directory, words);
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "openssl {words:?}: {text}");
    text
}

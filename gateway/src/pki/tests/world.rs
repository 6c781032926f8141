//! Requests as devices write them, and openssl, which judges independently.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use jiff::Timestamp;
use lazaret_config::{KeyAlgorithm, ServerName};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SignatureAlgorithm};
use x509_cert::der::{Decode, Encode};
use x509_cert::request::CertReq;

use crate::flow::DeviceName;
use crate::pki::authority::{Authority, Leaf, SecretKey};
use crate::pki::key::Serial;
use crate::pki::pem;
use crate::pki::request::Request;
use crate::pki::validity::Validity;

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

pub(super) const GATEWAY: &str = "chu-nord-1";

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

pub(super) fn servers() -> Vec<ServerName> {
    vec![
        ServerName::Dns("gw.example.org".to_owned()),
        ServerName::Address("10.20.0.1".parse().unwrap()),
    ]
}

/// A serial number that tests choose.
pub(super) fn serial(number: u8) -> Serial {
    Serial::new([number; 16])
}

/// An authority of its own, valid for ten years from 2026.
pub(super) fn authority(algorithm: KeyAlgorithm) -> Authority {
    let validity = Validity::of_authority(at("2026-01-01T00:00:00Z"), days(3650));
    let key = SecretKey::generate(algorithm).unwrap();
    Authority::root(GATEWAY, key, &servers(), validity, serial(0)).unwrap()
}

pub(super) fn leaf(number: u8, now: Timestamp, authority: &Authority) -> Leaf<'static> {
    Leaf {
        serial: serial(number),
        validity: Validity::issued(now, days(30), authority.validity()).unwrap(),
        crl_url: Some("http://gw.example.org/crl"),
    }
}

/// A certificate of the device with a new key, and the key in PKCS#8.
pub(super) fn device_certificate(
    authority: &Authority,
    number: u8,
    now: Timestamp,
) -> (Vec<u8>, Vec<u8>) {
    let pair = key(&rcgen::PKCS_ECDSA_P256_SHA256);
    let public = Request::read(&request(&asked(), &pair)).unwrap();
    let leaf = leaf(number, now, authority);
    let certificate = authority.device(GATEWAY, &device(), public.key(), &leaf);
    (certificate.unwrap(), pair.serialize_der())
}

pub(super) fn write_pem(directory: &Path, name: &str, label: &str, all: &[&[u8]]) {
    let text: String = all.iter().map(|der| pem::encode(label, der)).collect();
    std::fs::write(directory.join(name), text).unwrap();
}

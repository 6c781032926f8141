//! Handshakes by rustls with the certificates of devices: each that fails beside one that succeeds.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lazaret_config::KeyAlgorithm;
use proptest::prelude::*;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::world::{
    GATEWAY, at, authority, days, device, device_certificate, leaf, serial, servers,
};
use crate::pki::authority::{Authority, Reason, RevokedEntry, SecretKey};
use crate::pki::certificate::{Facts, signed_by};
use crate::pki::message::Der;
use crate::pki::trust::{Trust, judge};
use crate::pki::validity::Verdict;

#[derive(Clone, Copy, Debug)]
struct At(Timestamp);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.as_second()).unwrap();
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A handshake of a device with a listener of the gateway; what the listener says of the certificate.
pub(super) fn handshake(
    trust: &Trust,
    server: (&Authority, Arc<dyn rustls::sign::SigningKey>, Vec<u8>),
    device: (Vec<u8>, Vec<u8>),
    now: Timestamp,
) -> Result<Vec<u8>, rustls::Error> {
    let (ca, key, certificate) = server;
    let identity = rustls::sign::CertifiedKey::new(vec![certificate.into()], key);
    let mut listener = ServerConfig::builder_with_details(provider(), Arc::new(At(now)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(trust.verifier().unwrap())
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(identity)));
    listener.max_early_data_size = 0;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.chain()[0].clone()))?;
    let client = ClientConfig::builder_with_details(provider(), Arc::new(At(now)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from(device.0)],
            PrivateKeyDer::Pkcs8(device.1.into()),
        )?;
    let name = ServerName::try_from("gw.example.org").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(Arc::new(listener))?;
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    let presented = server.peer_certificates().unwrap();
    Ok(presented[0].to_vec())
}

/// The key and the certificate of a listener, valid around `now`.
fn listener(ca: &Authority, now: Timestamp) -> (Arc<dyn rustls::sign::SigningKey>, Vec<u8>) {
    let key = SecretKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let certificate = ca
        .server(GATEWAY, &servers(), &key, &leaf(200, now, ca))
        .unwrap();
    let der = PrivateKeyDer::Pkcs8(key.pkcs8().to_vec().into());
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der).unwrap();
    (key, certificate)
}

fn trusting(authorities: &[&Authority], revoked: &[u8], now: Timestamp) -> Trust {
    let entries: Vec<RevokedEntry> = revoked
        .iter()
        .map(|number| RevokedEntry {
            serial: serial(*number),
            at: now,
            reason: Reason::PrivilegeWithdrawn,
        })
        .collect();
    let list = |ca: &&Authority| Der(ca.crl(1, &entries, now, days(7)).unwrap());
    Trust {
        authorities: authorities
            .iter()
            .map(|ca| Der(ca.chain()[0].clone()))
            .collect(),
        lists: authorities.iter().map(list).collect(),
        revoked: Vec::new(),
        grace: days(14),
    }
}

fn enters(trust: &Trust, ca: &Authority, device: (Vec<u8>, Vec<u8>), now: &str) -> bool {
    let now = at(now);
    let (key, certificate) = listener(ca, now);
    let presented = handshake(trust, (ca, key, certificate), device.clone(), now);
    if let Ok(presented) = &presented {
        assert_eq!(*presented, device.0);
        assert!(!matches!(
            judge(presented, now, trust.grace).unwrap().verdict,
            Verdict::TooEarly { .. } | Verdict::TooLate { .. }
        ));
    }
    presented.is_ok()
}

#[test]
fn a_device_enters_with_its_certificate_and_in_its_grace() {
    let ca = authority(KeyAlgorithm::EcdsaP256);
    let made = at("2026-03-01T12:00:00Z");
    let trust = trusting(&[&ca], &[], made);
    let certificate = device_certificate(&ca, 1, made);
    let enters = |now| enters(&trust, &ca, certificate.clone(), now);
    assert!(!enters("2026-03-01T11:54:59Z"), "too early");
    assert!(
        enters("2026-03-01T11:55:00Z"),
        "the clock of the device is behind"
    );
    assert!(enters("2026-03-31T12:00:00Z"));
    assert!(enters("2026-04-14T12:00:00Z"), "in its grace");
    assert!(!enters("2026-04-14T12:00:01Z"), "after its grace");
    let in_grace = judge(&certificate.0, at("2026-04-01T00:00:00Z"), trust.grace).unwrap();
    let until = at("2026-04-14T12:00:00Z");
    assert_eq!(in_grace.verdict, Verdict::RenewOnly { until });
    assert_eq!((in_grace.device, in_grace.serial), (device(), serial(1)));
}

#[test]
fn revoked_foreign_and_misused_certificates_do_not_enter() {
    let (ca, stranger) = (
        authority(KeyAlgorithm::EcdsaP256),
        authority(KeyAlgorithm::EcdsaP256),
    );
    let now = "2026-03-02T12:00:00Z";
    let made = at("2026-03-01T12:00:00Z");
    let trust = trusting(&[&ca], &[2], made);
    assert!(enters(&trust, &ca, device_certificate(&ca, 1, made), now));
    let revoked = device_certificate(&ca, 2, made);
    assert!(!enters(&trust, &ca, revoked.clone(), now));
    assert!(
        !enters(&trust, &ca, revoked, "2026-04-03T12:00:00Z"),
        "nor in its grace"
    );
    let unlisted = Trust {
        revoked: vec![serial(2)],
        ..trusting(&[&ca], &[], made)
    };
    assert!(enters(
        &unlisted,
        &ca,
        device_certificate(&ca, 1, made),
        now
    ));
    let revoked = device_certificate(&ca, 2, made);
    assert!(!enters(&unlisted, &ca, revoked, now), "nor without a list");
    let foreign = device_certificate(&stranger, 1, made);
    assert!(!enters(&trust, &ca, foreign, now));
    let key = SecretKey::generate(KeyAlgorithm::Ed25519).unwrap();
    let server = ca.server(GATEWAY, &servers(), &key, &leaf(5, made, &ca));
    let misused = (server.unwrap(), key.pkcs8().to_vec());
    assert!(!enters(&trust, &ca, misused, now), "a server is no device");
}

#[test]
fn all_kinds_of_authorities_are_believed() {
    let made = at("2026-03-01T12:00:00Z");
    for algorithm in [KeyAlgorithm::EcdsaP384, KeyAlgorithm::Ed25519] {
        let ca = authority(algorithm);
        let trust = trusting(&[&ca], &[], made);
        let certificate = device_certificate(&ca, 1, made);
        assert!(enters(&trust, &ca, certificate, "2026-03-02T12:00:00Z"));
    }
}

#[test]
fn during_a_rollover_both_authorities_are_believed_and_then_one() {
    let (old, new) = (
        authority(KeyAlgorithm::EcdsaP256),
        authority(KeyAlgorithm::Ed25519),
    );
    let made = at("2026-03-01T12:00:00Z");
    let now = "2026-03-02T12:00:00Z";
    let of_old = device_certificate(&old, 1, made);
    let of_new = device_certificate(&new, 1, made);
    let both = trusting(&[&old, &new], &[], made);
    assert!(enters(&both, &old, of_old.clone(), now));
    assert!(enters(&both, &old, of_new.clone(), now));
    let after = trusting(&[&new], &[], made);
    assert!(!enters(&after, &new, of_old, now));
    assert!(enters(&after, &new, of_new, now));
}

#[test]
fn nobody_is_believed_without_an_authority() {
    assert!(Trust::default().verifier().is_err());
    assert!(judge(&[0x30, 0], at("2026-03-01T12:00:00Z"), days(1)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Neither what is no certificate nor one that was changed is taken for one of a device.
    #[test]
    fn changed_certificates_are_only_errors(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        place in any::<prop::sample::Index>(),
        byte in 1..=255_u8,
    ) {
        prop_assert!(Facts::of(&bytes).is_err());
        thread_local! {
            static GOOD: (Vec<u8>, Vec<u8>) = {
                let ca = authority(KeyAlgorithm::Ed25519);
                let made = at("2026-03-01T12:00:00Z");
                (device_certificate(&ca, 1, made).0, ca.chain()[0].clone())
            };
        }
        let (good, ca) = GOOD.with(Clone::clone);
        prop_assert!(signed_by(&good, &ca).is_ok());
        let mut changed = good;
        let place = place.index(changed.len());
        changed[place] ^= byte;
        prop_assert!(signed_by(&changed, &ca).is_err());
    }
}

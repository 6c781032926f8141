//! Authorities: openssl verifies what they sign, and what does not fit is refused.

use lazaret_config::{KeyAlgorithm, ServerName};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::world::{
    GATEWAY, at, authority, days, device, device_certificate, leaf, satisfied, serial, write_pem,
};
use crate::pki::authority::{
    Authority, AuthorityError, Reason, RevokedEntry, SecretKey, authority_request,
};
use crate::pki::certificate::Facts;
use crate::pki::pem;
use crate::pki::request::Request;

const ALGORITHMS: [KeyAlgorithm; 3] = [
    KeyAlgorithm::EcdsaP256,
    KeyAlgorithm::EcdsaP384,
    KeyAlgorithm::Ed25519,
];

#[test]
fn openssl_verifies_devices_servers_and_lists() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let now = at("2026-03-01T12:00:00Z");
    for algorithm in ALGORITHMS {
        let ca = authority(algorithm);
        let (certificate, _) = device_certificate(&ca, 1, now);
        let server_key = SecretKey::generate(algorithm).unwrap();
        let names = super::world::servers();
        let server = ca
            .server(GATEWAY, &names, &server_key, &leaf(2, now, &ca))
            .unwrap();
        write_pem(directory, "ca.pem", pem::CERTIFICATE, &[&ca.chain()[0]]);
        write_pem(directory, "device.pem", pem::CERTIFICATE, &[&certificate]);
        write_pem(directory, "server.pem", pem::CERTIFICATE, &[&server]);
        let verify = |purpose: &str, file: &str| {
            let words =
                "verify -x509_strict -check_ss_sig -attime 1772366400 -CAfile ca.pem -purpose";
            let mut words: Vec<&str> = words.split(' ').collect();
            words.extend([purpose, file]);
            super::world::openssl(directory, &words)
        };
        for (purpose, file) in [("sslclient", "device.pem"), ("sslserver", "server.pem")] {
            let said = verify(purpose, file);
            let text = String::from_utf8_lossy(&said.stderr).into_owned();
            assert!(said.status.success(), "{algorithm:?} {file}: {text}");
        }
        // Each for its own use alone.
        for (purpose, file) in [("sslserver", "device.pem"), ("sslclient", "server.pem")] {
            assert!(!verify(purpose, file).status.success(), "{file}");
        }
        let revoked = [RevokedEntry {
            serial: serial(1),
            at: now,
            reason: Reason::KeyCompromise,
        }];
        let list = ca.crl(7, &revoked, now, days(7)).unwrap();
        write_pem(directory, "crl.pem", pem::CRL, &[&list]);
        let words = "crl -in crl.pem -CAfile ca.pem -noout -text -crlnumber";
        let text = satisfied(directory, &words.split(' ').collect::<Vec<_>>());
        assert!(text.contains("verify OK"), "{text}");
        assert!(
            text.contains("crlNumber=0x07") || text.contains("crlNumber=07"),
            "{text}"
        );
        assert!(text.contains("Key Compromise"), "{text}");
        let words = "verify -attime 1772366400 -crl_check -CAfile ca.pem -CRLfile crl.pem";
        let mut words: Vec<&str> = words.split(' ').collect();
        words.push("server.pem");
        satisfied(directory, &words);
        *words.last_mut().unwrap() = "device.pem";
        let said = super::world::openssl(directory, &words);
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(text.contains("certificate revoked"), "{text}");
    }
}

#[test]
fn a_certificate_says_what_the_registry_says() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let now = at("2026-03-01T12:00:00Z");
    let ca = authority(KeyAlgorithm::EcdsaP256);
    let (certificate, _) = device_certificate(&ca, 1, now);
    std::fs::write(directory.join("c.der"), &certificate).unwrap();
    satisfied(directory, &["asn1parse", "-inform", "DER", "-in", "c.der"]);
    let words = ["x509", "-inform", "DER", "-in", "c.der", "-noout", "-text"];
    let text = satisfied(directory, &words);
    for word in [
        "Version: 3",
        "URI:urn:lazaret:device:ecg-0042",
        "URI:http://gw.example.org/crl",
        "TLS Web Client Authentication",
        "Not Before: Mar  1 11:55:00 2026 GMT",
        "Not After : Mar 31 12:00:00 2026 GMT",
        "CA:FALSE",
        "UID = ecg-0042",
    ] {
        assert!(text.contains(word), "{word} is missing in {text}");
    }
    let facts = Facts::of(&certificate).unwrap();
    assert_eq!(facts.device(), Some(device()));
    assert_eq!(facts.serial(), Some(serial(1)));
    assert!(!facts.authority);
    std::fs::write(directory.join("ca.der"), &ca.chain()[0]).unwrap();
    let words = ["x509", "-inform", "DER", "-in", "ca.der", "-noout", "-text"];
    let text = satisfied(directory, &words);
    for word in [
        "CA:TRUE, pathlen:0",
        "Certificate Sign, CRL Sign",
        "DNS:gw.example.org",
        "IP:10.20.0.1/255.255.255.255",
    ] {
        assert!(text.contains(word), "{word} is missing in {text}");
    }
}

#[test]
fn an_authority_can_certify_its_own_servers_only() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let now = at("2026-03-01T12:00:00Z");
    let ca = authority(KeyAlgorithm::EcdsaP256);
    write_pem(directory, "ca.pem", pem::CERTIFICATE, &[&ca.chain()[0]]);
    let key = SecretKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let verified = |names: &[ServerName]| {
        let server = ca.server(GATEWAY, names, &key, &leaf(3, now, &ca)).unwrap();
        write_pem(directory, "s.pem", pem::CERTIFICATE, &[&server]);
        let words = "verify -attime 1772366400 -CAfile ca.pem s.pem";
        let words: Vec<&str> = words.split(' ').collect();
        super::world::openssl(directory, &words).status.success()
    };
    let dns = |name: &str| ServerName::Dns(name.to_owned());
    let address = |text: &str| ServerName::Address(text.parse().unwrap());
    assert!(verified(&[dns("gw.example.org"), address("10.20.0.1")]));
    assert!(!verified(&[dns("www.example.com")]));
    assert!(!verified(&[address("10.20.0.2")]));
    assert!(!verified(&[address("fd00::1")]));
}

/// The hospital's root, and what it signs.
struct Hospital {
    params: CertificateParams,
    key: KeyPair,
}

impl Hospital {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        Self { params, key }
    }

    fn root(&self) -> Vec<u8> {
        self.params.self_signed(&self.key).unwrap().der().to_vec()
    }

    /// A certificate for a key, with what a test changes.
    fn sign(&self, key: &SecretKey, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, GATEWAY);
        let id = crate::pki::authority::AuthorityId::of(key.fingerprint());
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Lazaret CA {id}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        change(&mut params);
        let issuer = Issuer::from_params(&self.params, &self.key);
        params.signed_by(key, &issuer).unwrap().der().to_vec()
    }
}

#[test]
fn an_authority_under_the_root_of_a_hospital_signs() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let hospital = Hospital::new();
    let key = SecretKey::generate(KeyAlgorithm::EcdsaP384).unwrap();
    let same = SecretKey::read(&key.pkcs8(), KeyAlgorithm::EcdsaP384).unwrap();
    let asked = authority_request(GATEWAY, &same.into()).unwrap();
    std::fs::write(directory.join("r.der"), asked).unwrap();
    let words = [
        "req", "-inform", "DER", "-in", "r.der", "-verify", "-noout", "-text",
    ];
    let text = satisfied(directory, &words);
    assert!(text.contains("CA:TRUE, pathlen:0"), "{text}");
    // It is an authority's request, which no device may send.
    let asked = Request::read(&std::fs::read(directory.join("r.der")).unwrap());
    assert!(asked.is_err());

    let pkcs8 = key.pkcs8();
    let own = hospital.sign(&key, |_| {});
    let ca = Authority::with(GATEWAY, key, vec![own.clone(), hospital.root()]).unwrap();
    assert!(!ca.is_root());
    let now = at("2026-03-01T12:00:00Z");
    let (certificate, _) = device_certificate(&ca, 1, now);
    write_pem(directory, "root.pem", pem::CERTIFICATE, &[&hospital.root()]);
    write_pem(directory, "own.pem", pem::CERTIFICATE, &[&own]);
    write_pem(directory, "c.pem", pem::CERTIFICATE, &[&certificate]);
    let words = "verify -attime 1772366400 -CAfile root.pem -untrusted own.pem c.pem";
    satisfied(directory, &words.split(' ').collect::<Vec<_>>());
    let again = SecretKey::read(&pkcs8, KeyAlgorithm::EcdsaP384).unwrap();
    assert_eq!(
        Authority::with(GATEWAY, again, vec![own]).unwrap().id(),
        ca.id()
    );
    assert!(SecretKey::read(&pkcs8, KeyAlgorithm::EcdsaP256).is_err());
}

#[test]
fn certificates_that_do_not_fit_the_request_are_refused() {
    let hospital = Hospital::new();
    let made = |change: fn(&mut CertificateParams)| {
        let key = SecretKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let own = hospital.sign(&key, change);
        Authority::with(GATEWAY, key, vec![own, hospital.root()]).map(|_| ())
    };
    assert!(made(|_| {}).is_ok());
    assert!(made(|p| p.key_usages.push(KeyUsagePurpose::DigitalSignature)).is_ok());
    let other_name = made(|p| p.distinguished_name.push(DnType::CountryName, "FR"));
    assert!(matches!(other_name, Err(AuthorityError::OtherSubject)));
    let leaf = made(|p| p.is_ca = IsCa::ExplicitNoCa);
    assert!(matches!(leaf, Err(AuthorityError::NoAuthority)));
    let usage = made(|p| p.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
    assert!(matches!(usage, Err(AuthorityError::NoAuthority)));
    let uses = made(|p| p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth]);
    assert!(matches!(uses, Err(AuthorityError::Uses)));

    let (key, other) = [0; 2]
        .map(|_| SecretKey::generate(KeyAlgorithm::EcdsaP256).unwrap())
        .into();
    let own = hospital.sign(&key, |_| {});
    let wrong = Authority::with(GATEWAY, other, vec![own.clone()]);
    assert!(matches!(wrong, Err(AuthorityError::OtherKey)));
    let stranger = Hospital::new().root();
    let wrong = Authority::with(GATEWAY, key, vec![own, stranger]);
    assert!(matches!(wrong, Err(AuthorityError::Chain(1))));
}

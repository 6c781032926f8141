//! Requests: each that is refused beside its nearest accepted twin.

use proptest::prelude::*;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, RsaKeySize, SanType,
};
use x509_cert::der::asn1::BitString;

use super::world::{asked, changed, device, key, named, new_request, openssl, request, satisfied};
use crate::pki::key::{KeyKind, KeyRefusal};
use crate::pki::pem;
use crate::pki::request::{LONGEST, MOST_PARTS, Request, RequestRefusal};

fn judged(bytes: &[u8]) -> Result<KeyKind, RequestRefusal> {
    let key = Request::read(bytes)?.of(&device())?;
    Ok(key.kind())
}

/// A request of P-256 with what a test adds.
fn with(change: impl FnOnce(&mut CertificateParams)) -> Result<KeyKind, RequestRefusal> {
    let mut params = asked();
    change(&mut params);
    judged(&request(&params, &key(&rcgen::PKCS_ECDSA_P256_SHA256)))
}

fn uri(text: &str) -> SanType {
    SanType::URI(Ia5String::try_from(text).unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(Ia5String::try_from(text).unwrap())
}

#[test]
fn strong_keys_are_certified_and_others_not() {
    for (algorithm, kind) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, KeyKind::EcdsaP256),
        (&rcgen::PKCS_ECDSA_P384_SHA384, KeyKind::EcdsaP384),
        (&rcgen::PKCS_ED25519, KeyKind::Ed25519),
    ] {
        assert_eq!(judged(&request(&asked(), &key(algorithm))), Ok(kind));
    }
    let rsa = |size| {
        let pair = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
        judged(&request(&asked(), &pair))
    };
    assert_eq!(rsa(RsaKeySize::_3072), Ok(KeyKind::Rsa(3072)));
    assert_eq!(rsa(RsaKeySize::_2048), Err(KeyRefusal::Weak(2048).into()));
    let odd = request(&asked(), &key(&rcgen::PKCS_ECDSA_P521_SHA512));
    assert_eq!(judged(&odd), Err(KeyRefusal::Curve.into()));
}

#[test]
fn requests_of_openssl_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let made = |key: &[&str], more: &[&str]| {
        let first = ["req", "-new", "-nodes", "-keyout", "k.pem", "-out", "r.pem"];
        satisfied(directory, &[&first[..], key, more].concat());
        std::fs::read(directory.join("r.pem")).unwrap()
    };
    let subject = ["-subj", "/O=ACME/OU=ECG/CN=ecg-0042/serialNumber=SN 77"];
    let p256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    assert_eq!(judged(&made(&p256, &subject)), Ok(KeyKind::EcdsaP256));
    let names = ["-addext", "subjectAltName=URI:urn:lazaret:device:ecg-0042"];
    assert_eq!(
        judged(&made(&p256, &[&subject[..], &names].concat())),
        Ok(KeyKind::EcdsaP256)
    );
    let rsa = |bits: &'static str| ["-newkey", "rsa", "-pkeyopt", bits];
    assert_eq!(
        judged(&made(&rsa("rsa_keygen_bits:3072"), &subject)),
        Ok(KeyKind::Rsa(3072))
    );
    assert_eq!(
        judged(&made(&rsa("rsa_keygen_bits:1024"), &subject)),
        Err(KeyRefusal::Weak(1024).into())
    );
    let exponent = ["-pkeyopt", "rsa_keygen_pubexp:3"];
    assert_eq!(
        judged(&made(
            &rsa("rsa_keygen_bits:3072"),
            &[&subject[..], &exponent].concat()
        )),
        Err(KeyRefusal::Exponent.into())
    );
    let odd = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"];
    assert_eq!(judged(&made(&odd, &subject)), Err(KeyRefusal::Curve.into()));
    let foreign = ["-subj", "/CN=ecg-0043"];
    assert!(matches!(
        judged(&made(&p256, &foreign)),
        Err(RequestRefusal::ForeignName(_))
    ));
    let old_hash = [&subject[..], &["-sha1"]].concat();
    assert_eq!(
        judged(&made(&p256, &old_hash)),
        Err(RequestRefusal::Algorithm)
    );
    // The same point in its other encoding would be a second identity.
    satisfied(
        directory,
        &[
            "ec",
            "-in",
            "k.pem",
            "-conv_form",
            "compressed",
            "-out",
            "c.pem",
        ],
    );
    let again = ["req", "-new", "-key", "c.pem", "-subj", "/CN=ecg-0042"];
    let text = openssl(directory, &again).stdout;
    assert_eq!(judged(&text), Err(KeyRefusal::Encoding.into()));
}

#[test]
fn who_has_no_private_key_gets_no_certificate() {
    let good = new_request();
    assert_eq!(judged(&good), Ok(KeyKind::EcdsaP256));
    let others = new_request();
    let stolen = changed(&good, |request| {
        let other = changed(&others, |_| {});
        let other: x509_cert::request::CertReq = other.as_slice().try_into().unwrap();
        request.info.public_key = other.info.public_key;
    });
    assert_eq!(judged(&stolen), Err(RequestRefusal::Signature));
    let damaged = changed(&good, |request| {
        let mut bytes = request.signature.as_bytes().unwrap().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        request.signature = BitString::from_bytes(&bytes).unwrap();
    });
    assert_eq!(judged(&damaged), Err(RequestRefusal::Signature));
    let ed25519: Vec<u8> = request(&asked(), &key(&rcgen::PKCS_ED25519));
    let mixed = changed(&good, |request| {
        let other: x509_cert::request::CertReq = ed25519.as_slice().try_into().unwrap();
        request.algorithm = other.algorithm;
    });
    assert_eq!(judged(&mixed), Err(RequestRefusal::Algorithm));
}

#[test]
fn a_device_may_ask_for_its_own_names_only() {
    let ok = Ok(KeyKind::EcdsaP256);
    let foreign = Err(RequestRefusal::ForeignName("subject or alternative name"));
    assert_eq!(with(|p| *p = named("ecg-0042")), ok);
    assert_eq!(with(|p| *p = named("ecg-004")), foreign);
    assert_eq!(with(|p| *p = named("")), foreign);
    let names = |names: &[SanType]| {
        let names = names.to_vec();
        with(|params| params.subject_alt_names = names)
    };
    assert_eq!(names(&[uri("urn:lazaret:device:ecg-0042")]), ok);
    assert_eq!(names(&[uri("urn:lazaret:device:ecg-0043")]), foreign);
    assert_eq!(names(&[dns("ECG-0042")]), ok);
    assert_eq!(
        names(&[dns("ecg-0042"), dns("gateway.example.org")]),
        foreign
    );
    let address = SanType::IpAddress("10.20.0.1".parse().unwrap());
    assert_eq!(
        names(&[address]),
        Err(RequestRefusal::ForeignName("alternative name"))
    );
    let many = |count| names(&vec![dns("ecg-0042"); count]);
    assert_eq!(many(MOST_PARTS), ok);
    assert_eq!(many(MOST_PARTS + 1), Err(RequestRefusal::TooMany("names")));
}

#[test]
fn a_device_may_ask_to_be_a_client_only() {
    let ok = Ok(KeyKind::EcdsaP256);
    let uses = |one: ExtendedKeyUsagePurpose| with(|p| p.extended_key_usages = vec![one]);
    assert_eq!(uses(ExtendedKeyUsagePurpose::ClientAuth), ok);
    assert_eq!(
        uses(ExtendedKeyUsagePurpose::ServerAuth),
        Err(RequestRefusal::Usage)
    );
    let usage = |one: KeyUsagePurpose| with(|p| p.key_usages = vec![one]);
    assert_eq!(usage(KeyUsagePurpose::DigitalSignature), ok);
    assert_eq!(
        usage(KeyUsagePurpose::KeyCertSign),
        Err(RequestRefusal::Authority)
    );
    assert_eq!(with(|p| p.is_ca = IsCa::ExplicitNoCa), ok);
    let ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert_eq!(with(|p| p.is_ca = ca), Err(RequestRefusal::Authority));
    let ca = IsCa::Ca(BasicConstraints::Constrained(0));
    assert_eq!(with(|p| p.is_ca = ca), Err(RequestRefusal::Authority));
}

#[test]
fn extensions_that_nobody_gets_are_refused() {
    // The identifier of its own key does no harm.
    let known = CustomExtension::from_oid_content(&[2, 5, 29, 14], vec![4, 1, 7]);
    assert_eq!(
        with(|p| p.custom_extensions = vec![known.clone()]),
        Ok(KeyKind::EcdsaP256)
    );
    assert_eq!(
        with(|p| p.custom_extensions = vec![known.clone(), known]),
        Err(RequestRefusal::Twice)
    );
    let unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999], vec![5, 0]);
    assert_eq!(
        with(|p| p.custom_extensions = vec![unknown]),
        Err(RequestRefusal::Extension("1.3.6.1.4.1.99999".to_owned()))
    );
    let huge = CustomExtension::from_oid_content(&[2, 5, 29, 14], vec![4; 1 << 20]);
    assert_eq!(
        with(|p| p.custom_extensions = vec![huge]),
        Err(RequestRefusal::TooLong)
    );
    let empty = CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![5, 0]);
    assert_eq!(
        with(|p| p.custom_extensions = vec![empty]),
        Err(RequestRefusal::Unreadable("alternative names"))
    );
}

#[test]
fn a_request_is_one_request_and_nothing_else() {
    let der = new_request();
    let text = pem::encode(pem::REQUEST, &der);
    let old = text.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST");
    for good in [
        text.as_bytes(),
        old.as_bytes(),
        format!(" \n{text}\n").as_bytes(),
    ] {
        assert_eq!(judged(good), Ok(KeyKind::EcdsaP256));
    }
    let trailing = [der.as_slice(), &[0]].concat();
    assert_eq!(judged(&trailing), Err(RequestRefusal::Malformed));
    let inside = pem::encode(pem::REQUEST, &trailing);
    assert_eq!(judged(inside.as_bytes()), Err(RequestRefusal::Malformed));
    assert_eq!(
        judged(format!("{text}{text}").as_bytes()),
        Err(RequestRefusal::Pem(pem::PemError::Else))
    );
    let other = text.replace("REQUEST", "QUEST");
    assert!(matches!(
        judged(other.as_bytes()),
        Err(RequestRefusal::Pem(pem::PemError::Missing(_)))
    ));
    assert_eq!(
        judged(&[]),
        Err(RequestRefusal::Pem(pem::PemError::Missing(pem::REQUEST)))
    );
    assert_eq!(judged(&[0xff; 100]), Err(RequestRefusal::Malformed));
    assert_eq!(
        judged(&vec![b' '; LONGEST + 1]),
        Err(RequestRefusal::TooLong)
    );
    assert!(matches!(
        judged(&vec![b' '; LONGEST]),
        Err(RequestRefusal::Pem(_))
    ));
}

proptest! {
    #[test]
    fn garbage_is_only_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(judged(&bytes).is_err());
        let sequence = [&[0x30, 0x82, 2, 0], bytes.as_slice()].concat();
        prop_assert!(judged(&sequence).is_err());
    }

    /// One byte of a request cannot be changed by anybody without the key.
    #[test]
    fn a_changed_byte_is_an_error(place in any::<prop::sample::Index>(), byte in 1..=255_u8) {
        thread_local! {
            static GOOD: Vec<u8> = request(&named("ecg-0042"), &key(&rcgen::PKCS_ED25519));
        }
        let mut changed = GOOD.with(Clone::clone);
        let place = place.index(changed.len());
        changed[place] ^= byte;
        prop_assert!(judged(&changed).is_err());
    }

    #[test]
    fn a_part_of_a_request_is_an_error(length in any::<prop::sample::Index>()) {
        thread_local! {
            static GOOD: Vec<u8> = request(&named("ecg-0042"), &key(&rcgen::PKCS_ED25519));
        }
        let good = GOOD.with(Clone::clone);
        prop_assert!(judged(&good[..length.index(good.len())]).is_err());
    }
}

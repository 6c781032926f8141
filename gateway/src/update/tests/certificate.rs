//! A certificate for `localhost` that signs itself, and the server that has it.

use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The certificate in PEM, and a server with its key.
pub(super) fn server(seed: u8) -> (String, ServerConfig) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let certificate = certificate(&pair);
    let pkcs8 = [&PKCS8[..], &[seed; 32]].concat();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(certificate.clone())],
            PrivateKeyDer::Pkcs8(pkcs8.into()),
        )
        .unwrap();
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, certificate);
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    (pem, config)
}

//= RFC 5280 4.1
fn certificate(pair: &Ed25519KeyPair) -> Vec<u8> {
    let ed25519 = sequence(&[der(0x06, &[0x2b, 0x65, 0x70])]);
    let common_name = sequence(&[der(0x06, &[0x55, 4, 3]), der(0x0c, b"localhost")]);
    let name = sequence(&[der(0x31, &common_name)]);
    let time = |text: &str| der(0x18, text.as_bytes());
    let validity = sequence(&[time("20200101000000Z"), time("20990101000000Z")]);
    let bits = |bytes: &[u8]| der(0x03, &[&[0], bytes].concat());
    let key = sequence(&[ed25519.clone(), bits(pair.public_key().as_ref())]);
    let names = sequence(&[der(0x82, b"localhost")]);
    let extension = sequence(&[der(0x06, &[0x55, 0x1d, 17]), der(0x04, &names)]);
    let signed = sequence(&[
        der(0xa0, &der(0x02, &[2])),
        der(0x02, &[7]),
        ed25519.clone(),
        name.clone(),
        validity,
        name,
        key,
        der(0xa3, &sequence(&[extension])),
    ]);
    let signature = bits(pair.sign(&signed).as_ref());
    sequence(&[signed, ed25519, signature])
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    der(0x30, &parts.concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match u8::try_from(length) {
        Ok(short) if short < 0x80 => vec![tag, short],
        Ok(long) => vec![tag, 0x81, long],
        Err(_) => [
            &[tag, 0x82][..],
            &u16::try_from(length).unwrap().to_be_bytes(),
        ]
        .concat(),
    };
    [&head, content].concat()
}

/// Up to the key: version, algorithm, and the octets that hold it.
//= RFC 8410 7
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

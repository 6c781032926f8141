//! Certificates of a test: an authority, a gateway and a client, whole or with a fault.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use lazaret::pki::pem::encode as pem;
use lazaret_config::{Client, ClientGateway, ServerName};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// What is wrong with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Its certificate ended.
    Expired,
    /// Its certificate is of an authority that the gateway does not know.
    OtherAuthority,
    /// It trusts another authority than the gateway's.
    ServerOfAnother,
    /// It expects another name.
    OtherName,
}

/// An authority and the folder with its files.
pub(crate) struct Authority {
    pub(crate) folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
    other: CertifiedIssuer<'static, KeyPair>,
}

fn issuer(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            issuer: issuer("authority"),
            other: issuer("another authority"),
        }
    }

    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// The identity of the gateway.
    pub(crate) fn gateway(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new(vec!["gateway.test".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), key.into())
    }

    /// What a client's file would say.
    pub(crate) fn client(&self, address: SocketAddr, fault: Fault) -> Client {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if fault == Fault::Expired {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let by = if fault == Fault::OtherAuthority {
            &self.other
        } else {
            &self.issuer
        };
        let certificate = params.signed_by(&key, by).unwrap();
        let trusted = if fault == Fault::ServerOfAnother {
            &self.other
        } else {
            &self.issuer
        };
        let write = |name: &str, text: &str| {
            let path = self.folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        let name = if fault == Fault::OtherName {
            "other.test"
        } else {
            "gateway.test"
        };
        Client {
            language: None,
            gateway: ClientGateway {
                host: ServerName::Address(address.ip()),
                port: address.port(),
            },
            name: ServerName::Dns(name.to_owned()),
            ca: write("ca.pem", &pem("CERTIFICATE", trusted.der())),
            certificate: write("client.pem", &pem("CERTIFICATE", certificate.der())),
            key: write("client.key", &pem("PRIVATE KEY", &key.serialize_der())),
            post_quantum_required: false,
            interface: None,
            networks: None,
            forwards: Vec::new(),
        }
    }
}

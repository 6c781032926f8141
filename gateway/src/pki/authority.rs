//! One certification authority: its key, its certificate, and what it signs.
//!
//! In: keys that were judged, names that the registry gave, periods. Out: certificates and lists in DER.
//! Whether somebody may have a certificate was decided before; nothing of a request but its key arrives here.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use lazaret_config::{DeviceName, KeyAlgorithm, ServerName};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CidrSubnet,
    CrlDistributionPoint, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData,
    RevocationReason, RevokedCertParams, SanType, SerialNumber,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use zeroize::{Zeroize, Zeroizing};

use super::certificate::{self, CLIENT_AUTH, Facts, NotACertificate, SERVER_AUTH};
use super::custody::AuthorityKey;
use super::key::{Fingerprint, PublicKey, Serial, signatures};
use super::request::device_uri;
use super::validity::Validity;

/// Which authority: the first bytes of its key's fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorityId(pub [u8; 6]);

/// An authority with its key.
pub struct Authority {
    id: AuthorityId,
    facts: Facts,
    /// Its own certificate, then those above it.
    chain: Vec<Vec<u8>>,
    issuer: Issuer<'static, AuthorityKey>,
}

/// A private key, wiped when it is dropped as far as its library lets us.
pub struct SecretKey(KeyPair);

/// Why an authority cannot be made or cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The library refuses.
    #[error("cannot sign")]
    Sign(#[from] rcgen::Error),
    /// The key cannot be used.
    #[error("the private key cannot be used")]
    Key,
    /// There is no certificate.
    #[error("there is no certificate")]
    Empty,
    /// Longer than [`MOST_ABOVE`].
    #[error("more than {MOST_ABOVE} certificates above that of the authority")]
    TooMany,
    /// Something in the chain is none.
    #[error(transparent)]
    Certificate(#[from] NotACertificate),
    /// The certificate is of another key.
    #[error("the certificate is not for the key of the request")]
    OtherKey,
    /// Whoever signed it changed the name.
    #[error(
        "the certificate has another subject than the request: sign it with the subject as it is"
    )]
    OtherSubject,
    /// It cannot sign certificates.
    #[error(
        "the certificate is not one of an authority (basicConstraints CA, keyCertSign, cRLSign)"
    )]
    NoAuthority,
    /// It is limited to uses that do not fit.
    #[error("the certificate is limited to other uses than those of clients and servers")]
    Uses,
    /// A certificate of the chain is not signed by the next.
    #[error("certificate {0} of the chain is not signed by the next one")]
    Chain(usize),
}

impl SecretKey {
    /// A new key.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, AuthorityError> {
        Ok(Self(KeyPair::generate_for(signatures(algorithm))?))
    }

    /// A key that was kept.
    ///
    /// # Errors
    /// When it is not one of this algorithm in PKCS#8.
    pub fn read(pkcs8: &[u8], algorithm: KeyAlgorithm) -> Result<Self, AuthorityError> {
        let der = rustls::pki_types::PrivatePkcs8KeyDer::from(pkcs8);
        KeyPair::from_pkcs8_der_and_sign_algo(&der, signatures(algorithm))
            .map(Self)
            .map_err(|_| AuthorityError::Key)
    }

    /// To be kept, in PKCS#8.
    #[must_use]
    pub fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.serialize_der())
    }

    /// What identifies its public key.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0.subject_public_key_info())
    }

    /// Signs.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, AuthorityError> {
        Ok(rcgen::SigningKey::sign(&self.0, message)?)
    }
}

/// The request for the certificate of an authority, in DER.
///
/// # Errors
/// When the library refuses.
pub fn authority_request(gateway: &str, key: &AuthorityKey) -> Result<Vec<u8>, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = authority_name(gateway, AuthorityId::of(key.fingerprint()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = AUTHORITY.to_vec();
    Ok(params.serialize_request(key)?.der().to_vec())
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for SecretKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        PublicKeyData::algorithm(&self.0)
    }
}

impl rcgen::SigningKey for SecretKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        rcgen::SigningKey::sign(&self.0, message)
    }
}

/// What is the same in all certificates of devices and servers.
pub struct Leaf<'a> {
    /// Its number.
    pub serial: Serial,
    /// From when to when.
    pub validity: Validity,
    /// Where the list of revoked certificates is.
    pub crl_url: Option<&'a str>,
}

/// An entry of the list of revoked certificates.
pub struct RevokedEntry {
    /// Of the certificate.
    pub serial: Serial,
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// Why a certificate is revoked.
//= RFC 5280 5.3.1
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nothing is said.
    #[default]
    Unspecified,
    /// Somebody else may have the key.
    KeyCompromise,
    /// There is a newer one.
    Superseded,
    /// The device is not used any more.
    CessationOfOperation,
    /// The device may not do any more what it did.
    PrivilegeWithdrawn,
}

impl Authority {
    /// A new authority that certifies itself, for these servers and any device.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn root(
        gateway: &str,
        key: impl Into<AuthorityKey>,
        servers: &[ServerName],
        validity: Validity,
        serial: Serial,
    ) -> Result<Self, AuthorityError> {
        let key = key.into();
        let mut params = CertificateParams::default();
        params.not_before = time(validity.not_before);
        params.not_after = time(validity.not_after);
        params.serial_number = Some(number(serial));
        params.distinguished_name = authority_name(gateway, AuthorityId::of(key.fingerprint()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = AUTHORITY.to_vec();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        params.name_constraints = Some(constraints(servers));
        params.use_authority_key_identifier_extension = true;
        let certificate = params.self_signed(&key)?.der().to_vec();
        Self::with(gateway, key, vec![certificate])
    }

    /// An authority that was kept, or whose request was answered: its certificate, then those above it.
    ///
    /// # Errors
    /// When they do not fit together.
    pub fn with(
        gateway: &str,
        key: impl Into<AuthorityKey>,
        chain: Vec<Vec<u8>>,
    ) -> Result<Self, AuthorityError> {
        let key = key.into();
        if chain.len() > MOST_ABOVE.saturating_add(1) {
            return Err(AuthorityError::TooMany);
        }
        let own = chain.first().ok_or(AuthorityError::Empty)?;
        let facts = Facts::of(own)?;
        if facts.fingerprint != key.fingerprint() {
            return Err(AuthorityError::OtherKey);
        }
        let id = AuthorityId::of(facts.fingerprint);
        let name = authority_name(gateway, id);
        // The request has the subject in the form in which the certificate must have it, byte for byte.
        let subject = subject_of(&key, &name)?;
        if facts.subject != subject {
            return Err(AuthorityError::OtherSubject);
        }
        if !facts.authority || !facts.signs {
            return Err(AuthorityError::NoAuthority);
        }
        if facts.forbids(CLIENT_AUTH) || facts.forbids(SERVER_AUTH) {
            return Err(AuthorityError::Uses);
        }
        let above = chain.iter().skip(1);
        for (position, (below, above)) in chain.iter().zip(above).enumerate() {
            if certificate::signed_by(below, above).is_err() {
                return Err(AuthorityError::Chain(position.saturating_add(1)));
            }
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        params.key_usages = AUTHORITY.to_vec();
        params.key_identifier_method = identified(&facts);
        Ok(Self {
            id,
            facts,
            chain,
            issuer: Issuer::new(params, key),
        })
    }

    /// Which it is.
    #[must_use]
    pub fn id(&self) -> AuthorityId {
        self.id
    }

    /// From when to when it holds.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.facts.validity
    }

    /// Whether it certified itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.facts.subject == self.facts.issuer
    }

    /// Its certificate, then those above it, in DER.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// Its private key.
    #[must_use]
    pub fn key(&self) -> &AuthorityKey {
        self.issuer.key()
    }

    /// The certificate of a device.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn device(
        &self,
        gateway: &str,
        device: &DeviceName,
        key: &PublicKey,
        leaf: &Leaf<'_>,
    ) -> Result<Vec<u8>, AuthorityError> {
        let mut params = leaf.params()?;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, gateway);
        // Not a common name, which some programs take for the name of a host.
        let user = DnType::CustomDnType(USER_ID.to_vec());
        params.distinguished_name.push(user, device.as_str());
        let uri = Ia5String::try_from(device_uri(device))?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(params.signed_by(key, &self.issuer)?.der().to_vec())
    }

    /// The certificate of one of the gateway's own listeners.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn server(
        &self,
        gateway: &str,
        names: &[ServerName],
        key: &SecretKey,
        leaf: &Leaf<'_>,
    ) -> Result<Vec<u8>, AuthorityError> {
        let mut params = leaf.params()?;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, gateway);
        params.subject_alt_names = names
            .iter()
            .map(|name| match name {
                ServerName::Dns(name) => Ia5String::try_from(name.as_str()).map(SanType::DnsName),
                ServerName::Address(address) => Ok(SanType::IpAddress(*address)),
            })
            .collect::<Result<_, _>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Ok(params.signed_by(key, &self.issuer)?.der().to_vec())
    }

    /// The list of revoked certificates, in DER.
    ///
    /// # Errors
    /// When the library refuses.
    //= RFC 5280 5
    pub fn crl(
        &self,
        number: u64,
        revoked: &[RevokedEntry],
        now: Timestamp,
        next: Duration,
    ) -> Result<Vec<u8>, AuthorityError> {
        let entries = revoked.iter().map(|one| RevokedCertParams {
            serial_number: self::number(one.serial),
            revocation_time: time(one.at),
            reason_code: one.reason.code(),
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: time(now),
            next_update: time(super::validity::later(now, next)),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: entries.collect(),
            key_identifier_method: identified(&self.facts),
        };
        Ok(params.signed_by(&self.issuer)?.der().to_vec())
    }
}

impl Leaf<'_> {
    fn params(&self) -> Result<CertificateParams, AuthorityError> {
        let uris = self.crl_url.map(|url| vec![url.to_owned()]);
        let mut params = CertificateParams::default();
        params.not_before = time(self.validity.not_before);
        params.not_after = time(self.validity.not_after);
        params.serial_number = Some(number(self.serial));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.crl_distribution_points = uris
            .map(|uris| CrlDistributionPoint { uris })
            .into_iter()
            .collect();
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

impl Reason {
    fn code(self) -> Option<RevocationReason> {
        match self {
            // RFC 5280 wants it left out.
            Self::Unspecified => None,
            Self::KeyCompromise => Some(RevocationReason::KeyCompromise),
            Self::Superseded => Some(RevocationReason::Superseded),
            Self::CessationOfOperation => Some(RevocationReason::CessationOfOperation),
            Self::PrivilegeWithdrawn => Some(RevocationReason::PrivilegeWithdrawn),
        }
    }
}

impl AuthorityId {
    /// Of the authority with this key.
    #[must_use]
    pub fn of(fingerprint: Fingerprint) -> Self {
        Self(fingerprint.0.first_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Display for AuthorityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for AuthorityId {
    type Err = super::key::InvalidHex;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        super::key::from_hex(text)
            .map(Self)
            .ok_or(super::key::InvalidHex(12))
    }
}

impl Serialize for AuthorityId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AuthorityId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Each authority has a name of its own, so that programs do not confuse an old one with a new one.
fn authority_name(gateway: &str, id: AuthorityId) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, gateway);
    name.push(DnType::CommonName, format!("Lazaret CA {id}"));
    name
}

fn subject_of(key: &AuthorityKey, name: &DistinguishedName) -> Result<Vec<u8>, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name.clone();
    // Nobody reads its signature, for which a token would have to be there.
    let request = params.serialize_request(&Unsigned(key))?;
    let request = <x509_cert::request::CertReq as x509_cert::der::Decode>::from_der(request.der());
    let subject = request.and_then(|one| x509_cert::der::Encode::to_der(&one.info.subject));
    subject.map_err(|_| AuthorityError::Key)
}

struct Unsigned<'k>(&'k AuthorityKey);

impl PublicKeyData for Unsigned<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        PublicKeyData::algorithm(self.0)
    }
}

impl rcgen::SigningKey for Unsigned<'_> {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Vec::new())
    }
}

fn identified(facts: &Facts) -> KeyIdMethod {
    let known = facts.key_identifier.clone();
    known.map_or(KeyIdMethod::Sha256, KeyIdMethod::PreSpecified)
}

/// Only these servers, and no others; devices are named by URIs, which are not constrained.
//= RFC 5280 4.2.1.10
fn constraints(servers: &[ServerName]) -> NameConstraints {
    let permitted: Vec<GeneralSubtree> = servers
        .iter()
        .map(|server| match server {
            ServerName::Dns(name) => GeneralSubtree::DnsName(name.clone()),
            ServerName::Address(address) => {
                GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, length(*address)))
            }
        })
        .collect();
    let any = |wanted: fn(&ServerName) -> bool| servers.iter().any(wanted);
    let mut excluded = Vec::new();
    if !any(|server| matches!(server, ServerName::Dns(_))) {
        excluded.push(GeneralSubtree::DnsName(String::new()));
    }
    // Where one family has an address, all others of it are forbidden by that.
    if !any(|server| matches!(server, ServerName::Address(IpAddr::V4(_)))) {
        excluded.push(GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])));
    }
    if !any(|server| matches!(server, ServerName::Address(IpAddr::V6(_)))) {
        excluded.push(GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])));
    }
    NameConstraints {
        permitted_subtrees: permitted,
        excluded_subtrees: excluded,
    }
}

fn length(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn number(serial: Serial) -> SerialNumber {
    SerialNumber::from_slice(serial.as_bytes())
}

/// In the library's form; times of certificates lie between 1970 and 9999.
fn time(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.as_second().min(LAST_SECOND))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

const AUTHORITY: [KeyUsagePurpose; 2] = [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
/// `uid` of RFC 4519.
const USER_ID: [u64; 7] = [0, 9, 2342, 19_200_300, 100, 1, 1];
/// Certificates above that of the authority.
//= C7
pub const MOST_ABOVE: usize = 4;
/// 9999-12-31T23:59:59Z.
const LAST_SECOND: i64 = 253_402_300_799;

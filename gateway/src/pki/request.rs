//! Requests for certificates (PKCS#10): what is asked for is judged, and then only its key is used.
//!
//! In: bytes from a device, in DER or PEM. Out: a key whose owner asked for it, and the names that were asked for,
//! which must be the device's own. What a certificate says comes from the registry, never from here.
//! Everything is bounded by the length of the request and read once.
//= RFC 2986 4
//= C7

use lazaret_config::DeviceName;
use rustls::crypto::aws_lc_rs;
use x509_cert::attr::Attribute;
use x509_cert::der::asn1::{Ia5StringRef, ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use x509_cert::der::{Decode, Encode, Reader, SliceReader, Tag, Tagged};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::{GeneralName, GeneralNames};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use x509_cert::name::Name;
use x509_cert::request::{CertReq, ExtensionReq};

use super::key::{Fingerprint, KeyRefusal, PublicKey};
use super::pem::{self, PemError};

/// A request whose sender has the private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    key: PublicKey,
    names: Vec<String>,
}

/// Why a request is refused. Says where, never what the request said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefusal {
    /// Longer than [`LONGEST`].
    #[error("the request is longer than {LONGEST} bytes")]
    TooLong,
    /// Neither PEM nor DER.
    #[error("the request is not PEM")]
    Pem(#[from] PemError),
    /// Not a CertificationRequest, or with something after it.
    #[error("the request is not a certification request (PKCS#10) in DER")]
    Malformed,
    /// The key is not certified.
    #[error(transparent)]
    Key(#[from] KeyRefusal),
    /// An algorithm that is not accepted, or not one of its key.
    #[error("the request is signed with an algorithm that is not accepted")]
    Algorithm,
    /// Not signed by the key that it is for.
    #[error("the request is not signed by its own key")]
    Signature,
    /// More attributes, extensions or names than [`MOST_PARTS`].
    #[error("the request has more than {MOST_PARTS} {0}")]
    TooMany(&'static str),
    /// One extension, or the list of them, twice.
    #[error("the request has the same extension twice")]
    Twice,
    /// An extension that no certificate of a device has.
    #[error("the request asks for the extension {0}, which is not issued")]
    Extension(String),
    /// An extension that cannot be understood.
    #[error("the {0} of the request cannot be understood")]
    Unreadable(&'static str),
    /// The request is for an authority.
    #[error("the request is for a certification authority")]
    Authority,
    /// A use that devices do not have.
    #[error("the request asks for another use than that of a client")]
    Usage,
    /// Another name than that of the device.
    #[error("the request asks for a name that is not the device's ({0})")]
    ForeignName(&'static str),
}

impl Request {
    /// Reads a request and checks that its sender has the private key.
    ///
    /// # Errors
    /// When it is not a request, or not one that is answered.
    pub fn read(bytes: &[u8]) -> Result<Self, RequestRefusal> {
        if bytes.len() > LONGEST {
            return Err(RequestRefusal::TooLong);
        }
        if bytes.first() == Some(&SEQUENCE) {
            return Self::from_der(bytes);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| RequestRefusal::Malformed)?;
        // The label of old programs.
        let old = text.contains("-----BEGIN NEW CERTIFICATE REQUEST-----");
        let label = if old { OLD_LABEL } else { pem::REQUEST };
        Self::from_der(&pem::one(text, label)?)
    }

    fn from_der(der: &[u8]) -> Result<Self, RequestRefusal> {
        let malformed = |_| RequestRefusal::Malformed;
        let request = CertReq::from_der(der).map_err(malformed)?;
        let key = PublicKey::of(&request.info.public_key)?;
        let mut reader = SliceReader::new(der).map_err(malformed)?;
        let signed = reader
            .sequence(|reader| {
                let signed = reader.tlv_bytes()?;
                let rest = reader.remaining_len();
                reader.read_slice(rest)?;
                Ok::<_, x509_cert::der::Error>(signed)
            })
            .map_err(malformed)?;
        verify(&request, signed)?;
        let mut names = subject(&request.info.subject)?;
        let attributes = &request.info.attributes;
        if attributes.len() > MOST_PARTS {
            return Err(RequestRefusal::TooMany("attributes"));
        }
        let mut extended = false;
        for attribute in attributes.iter() {
            if attribute.oid != EXTENSION_REQUEST {
                continue;
            }
            if std::mem::replace(&mut extended, true) {
                return Err(RequestRefusal::Twice);
            }
            names.extend(extensions(attribute)?);
        }
        if names.len() > MOST_PARTS {
            return Err(RequestRefusal::TooMany("names"));
        }
        Ok(Self { key, names })
    }

    /// The request as one of this device, whose names are the only ones that it may ask for.
    ///
    /// # Errors
    /// When it asks for another name.
    pub fn of(self, device: &DeviceName) -> Result<PublicKey, RequestRefusal> {
        let uri = device_uri(device);
        let own = |name: &String| {
            name.eq_ignore_ascii_case(device.as_str()) || name.eq_ignore_ascii_case(&uri)
        };
        if self.names.iter().all(own) {
            Ok(self.key)
        } else {
            Err(RequestRefusal::ForeignName("subject or alternative name"))
        }
    }

    /// The key that it is for.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// What identifies the key.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.key.fingerprint()
    }
}

/// How a device is named in its certificate.
#[must_use]
pub fn device_uri(device: &DeviceName) -> String {
    format!("urn:lazaret:device:{device}")
}

fn verify(request: &CertReq, signed: &[u8]) -> Result<(), RequestRefusal> {
    // Algorithm identifiers of that table are without their outer SEQUENCE.
    let inside =
        |whole: Result<Vec<u8>, x509_cert::der::Error>| -> Result<Vec<u8>, RequestRefusal> {
            let whole = whole.map_err(|_| RequestRefusal::Malformed)?;
            let mut reader = SliceReader::new(&whole).map_err(|_| RequestRefusal::Malformed)?;
            let bytes = reader.sequence(|reader| {
                let length = reader.remaining_len();
                reader.read_slice(length).map(<[u8]>::to_vec)
            });
            bytes.map_err(|_: x509_cert::der::Error| RequestRefusal::Malformed)
        };
    let key = inside(request.info.public_key.algorithm.to_der())?;
    let signature = inside(request.algorithm.to_der())?;
    let bytes = |bits: &x509_cert::der::asn1::BitString| bits.as_bytes().map(<[u8]>::to_vec);
    let point = bytes(&request.info.public_key.subject_public_key);
    let seal = bytes(&request.signature);
    let (Some(point), Some(seal)) = (point, seal) else {
        return Err(RequestRefusal::Malformed);
    };
    let known = aws_lc_rs::default_provider().signature_verification_algorithms;
    let mut fitting = known.all.iter().filter(|one| {
        one.public_key_alg_id().as_ref() == key.as_slice()
            && one.signature_alg_id().as_ref() == signature.as_slice()
    });
    let algorithm = fitting.next().ok_or(RequestRefusal::Algorithm)?;
    algorithm
        .verify_signature(&point, signed, &seal)
        .map_err(|_| RequestRefusal::Signature)
}

/// The names in a subject: common names and user ids. What else it says is replaced.
fn subject(subject: &Name) -> Result<Vec<String>, RequestRefusal> {
    let mut names = Vec::new();
    for (count, part) in subject.iter().enumerate() {
        if count >= MOST_PARTS {
            return Err(RequestRefusal::TooMany("parts of the subject"));
        }
        if ![COMMON_NAME, USER_ID].contains(&part.oid) {
            continue;
        }
        let tag = part.value.tag();
        let text = match tag {
            Tag::Utf8String => part
                .value
                .decode_as::<Utf8StringRef<'_>>()
                .map(|s| s.as_str().to_owned()),
            Tag::PrintableString => part
                .value
                .decode_as::<PrintableStringRef<'_>>()
                .map(|s| s.as_str().to_owned()),
            Tag::Ia5String => part
                .value
                .decode_as::<Ia5StringRef<'_>>()
                .map(|s| s.as_str().to_owned()),
            _ => return Err(RequestRefusal::ForeignName("subject")),
        };
        names.push(text.map_err(|_| RequestRefusal::Unreadable("subject"))?);
    }
    Ok(names)
}

/// The names in requested extensions; refuses what a device cannot have.
fn extensions(attribute: &Attribute) -> Result<Vec<String>, RequestRefusal> {
    let unreadable = || RequestRefusal::Unreadable("list of extensions");
    let mut values = attribute.values.iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(RequestRefusal::Twice);
    };
    let list = value.to_der().map_err(|_| unreadable())?;
    let ExtensionReq(list) = ExtensionReq::from_der(&list).map_err(|_| unreadable())?;
    if list.len() > MOST_PARTS {
        return Err(RequestRefusal::TooMany("extensions"));
    }
    let mut names = Vec::new();
    for (position, extension) in list.iter().enumerate() {
        let before = list.iter().take(position);
        if before
            .into_iter()
            .any(|one| one.extn_id == extension.extn_id)
        {
            return Err(RequestRefusal::Twice);
        }
        names.extend(wanted(extension)?);
    }
    Ok(names)
}

fn wanted(extension: &Extension) -> Result<Vec<String>, RequestRefusal> {
    let value = extension.extn_value.as_bytes();
    match extension.extn_id {
        BASIC_CONSTRAINTS => {
            let constraints = BasicConstraints::from_der(value)
                .map_err(|_| RequestRefusal::Unreadable("basic constraints"))?;
            if constraints.ca || constraints.path_len_constraint.is_some() {
                return Err(RequestRefusal::Authority);
            }
            Ok(Vec::new())
        }
        KEY_USAGE => {
            let usage =
                KeyUsage::from_der(value).map_err(|_| RequestRefusal::Unreadable("key usage"))?;
            if usage.key_cert_sign() || usage.crl_sign() {
                return Err(RequestRefusal::Authority);
            }
            Ok(Vec::new())
        }
        EXTENDED_KEY_USAGE => {
            let ExtendedKeyUsage(uses) = ExtendedKeyUsage::from_der(value)
                .map_err(|_| RequestRefusal::Unreadable("extended key usage"))?;
            if uses.iter().all(|one| *one == CLIENT_AUTH) {
                Ok(Vec::new())
            } else {
                Err(RequestRefusal::Usage)
            }
        }
        SUBJECT_ALT_NAME => alternative_names(value),
        // The one that is issued is computed anew.
        SUBJECT_KEY_IDENTIFIER => Ok(Vec::new()),
        other => Err(RequestRefusal::Extension(other.to_string())),
    }
}

fn alternative_names(value: &[u8]) -> Result<Vec<String>, RequestRefusal> {
    let names = GeneralNames::from_der(value)
        .map_err(|_| RequestRefusal::Unreadable("alternative names"))?;
    let texts = names.iter().map(|name| match name {
        GeneralName::DnsName(name) => Ok(name.as_str().to_owned()),
        GeneralName::UniformResourceIdentifier(uri) => Ok(uri.as_str().to_owned()),
        GeneralName::OtherName(_)
        | GeneralName::Rfc822Name(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::IpAddress(_)
        | GeneralName::RegisteredId(_) => Err(RequestRefusal::ForeignName("alternative name")),
    });
    texts.collect()
}

/// Longest request in bytes, also in PEM: a key of RSA with 8192 bits needs some 3 KiB.
pub const LONGEST: usize = 16 << 10;
/// Attributes, extensions, names, parts of the subject.
pub const MOST_PARTS: usize = 16;
const OLD_LABEL: &str = "NEW CERTIFICATE REQUEST";
/// The first byte of a request in DER; no PEM begins with it, since it is the digit 0.
const SEQUENCE: u8 = 0x30;
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const USER_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1");
const EXTENSION_REQUEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const SUBJECT_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

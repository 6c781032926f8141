//! Requests for certificates (PKCS#10): what is asked for is judged, and then only its key is used.
//!
//! In: bytes from a device, in DER or PEM. Out: a key whose owner asked for it, and the names that were asked for,
//! which must be the device's own. What a certificate says comes from the registry, never from here.
//! Everything is bounded by the length of the request and read once.
//= RFC 2986 4
//= C7

use lazaret_config::DeviceName;
use x509_cert::attr::Attribute;
use x509_cert::der::asn1::{Ia5StringRef, ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use x509_cert::der::{Decode, Encode, Tag, Tagged};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::{GeneralName, GeneralNames};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use x509_cert::name::Name;
use x509_cert::request::{CertReq, ExtensionReq};

use super::certificate::CLIENT_AUTH;
use super::key::{Fingerprint, KeyRefusal, PublicKey};
use super::pem::{self, PemError};
use super::signature::{self, SignatureError};

/// A request whose sender has the private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    key: PublicKey,
    names: Vec<String>,
    serial: Option<String>,
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
        let (info, algorithm) = (&request.info.public_key, &request.algorithm);
        signature::verify(
            info,
            algorithm,
            signature::signed_part(der)?,
            &request.signature,
        )?;
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
        let serial = serial_number(&request.info.subject)?;
        Ok(Self { key, names, serial })
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

    /// The device that it asks for, if all of its names are one name of a device.
    ///
    /// # Errors
    /// When it has several names, or one that no device can have.
    pub fn device(&self) -> Result<Option<DeviceName>, RequestRefusal> {
        let Some(first) = self.names.first() else {
            return Ok(None);
        };
        let foreign = |_| RequestRefusal::ForeignName("subject or alternative name");
        let own = first.strip_prefix(DEVICE_URI).unwrap_or(first);
        let device: DeviceName = own.to_ascii_lowercase().parse().map_err(foreign)?;
        self.clone().of(&device)?;
        Ok(Some(device))
    }

    /// The serial number of the device, if the subject says one.
    //= RFC 4519 2.31
    #[must_use]
    pub fn serial(&self) -> Option<&str> {
        self.serial.as_deref()
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

impl From<SignatureError> for RequestRefusal {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::Malformed => Self::Malformed,
            SignatureError::Algorithm => Self::Algorithm,
            SignatureError::Wrong => Self::Signature,
        }
    }
}

/// How a device is named in its certificate.
#[must_use]
pub fn device_uri(device: &DeviceName) -> String {
    format!("{DEVICE_URI}{device}")
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
        let (value, tag) = (&part.value, part.value.tag());
        let text = if tag == Tag::Utf8String {
            value
                .decode_as()
                .map(|text: Utf8StringRef<'_>| text.to_string())
        } else if tag == Tag::PrintableString {
            value
                .decode_as()
                .map(|text: PrintableStringRef<'_>| text.to_string())
        } else if tag == Tag::Ia5String {
            value
                .decode_as()
                .map(|text: Ia5StringRef<'_>| text.to_string())
        } else {
            // No name of a device needs another kind of string.
            return Err(RequestRefusal::ForeignName("subject"));
        };
        names.push(text.map_err(|_| RequestRefusal::Unreadable("subject"))?);
    }
    Ok(names)
}

/// The serial number in a subject.
fn serial_number(subject: &Name) -> Result<Option<String>, RequestRefusal> {
    let part = subject.iter().find(|part| part.oid == SERIAL_NUMBER);
    let text = part.map(|part| part.value.decode_as::<PrintableStringRef<'_>>());
    let text = text
        .transpose()
        .map_err(|_| RequestRefusal::Unreadable("serial number"))?;
    Ok(text.map(|text| text.to_string()))
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
/// Before the name of a device.
pub const DEVICE_URI: &str = "urn:lazaret:device:";
const OLD_LABEL: &str = "NEW CERTIFICATE REQUEST";
/// The first byte of a request in DER; no PEM begins with it, since it is the digit 0.
const SEQUENCE: u8 = 0x30;
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");
const USER_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1");
const EXTENSION_REQUEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const SUBJECT_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");

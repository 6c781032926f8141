//! What is known of a device, and what changes it.
//!
//! Data only: who decides, writes and reads is elsewhere.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lazaret_config::{Credential, Enrolled, InvalidValue, RoleName};
use serde::{Deserialize, Serialize};

use crate::flow::{DeviceName, Standing};

/// What the registry knows of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// How it came to be known.
    pub origin: Origin,
    /// How it stands.
    pub standing: Standing,
    /// Whether it was ever approved, or did not need to be.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub approved: bool,
    /// Whether it is in no list any more; its name and its keys stay taken.
    #[serde(default, skip_serializing_if = "is_false")]
    pub removed: bool,
    /// Why it stands so, in the operator's words.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
    /// Its roles. A device of the files has them there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<RoleName>,
    /// Its keys, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<DeviceKey>,
    /// Fingerprints (SHA-256 of the SubjectPublicKeyInfo, in hex) of the keys with which it enrolled for a certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
    /// Its tunnel addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// The serial number on its label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Its patients; `hmac:` values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patients: Vec<String>,
    /// MSH-3 and MSH-4 that are its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hl7_sender: Option<String>,
    /// The AE title that is its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ae_title: Option<String>,
    /// When it was first written down.
    pub created: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it stops being let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_true(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl Known {
    /// Whether it is enrolled, and not removed.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.origin != Origin::File && !self.removed
    }

    /// By what it is known at a time; `None` if by nothing, so that nobody is let in for it.
    ///
    /// A certificate counts by the device's name and the gateway's authority, which knows its keys: they change.
    //= C5
    #[must_use]
    pub fn credential(&self, at: Timestamp) -> Option<Credential> {
        if let Some(newest) = self.newest_key() {
            let older = self.keys_at(at).filter(|key| *key != newest);
            return Some(Credential::WireGuard {
                public_key: newest.0,
                older_keys: older.map(|key| key.0).collect(),
            });
        }
        let certified = self.keys.is_empty() && !self.certificates.is_empty();
        certified.then_some(Credential::Certificate)
    }

    /// As the configuration wants to know it at a time; `None` without a key and a certificate.
    #[must_use]
    pub fn enrolled(&self, at: Timestamp) -> Option<Enrolled> {
        let sender = self.hl7_sender.as_deref();
        Some(Enrolled {
            origin: self.origin.as_str(),
            credential: self.credential(at)?,
            addresses: self.addresses.clone(),
            roles: self.roles.clone(),
            hl7_sender: sender.and_then(|sender| Enrolled::hl7_sender_of(sender).ok()),
            ae_title: self.ae_title.clone(),
            patients: self.patients.clone(),
        })
    }

    /// The key that has no end.
    #[must_use]
    pub fn newest_key(&self) -> Option<PublicKey> {
        let newest = self.keys.iter().find(|key| key.until.is_none());
        newest.map(|key| key.wireguard)
    }

    /// All keys that are taken at a time.
    pub fn keys_at(&self, at: Timestamp) -> impl Iterator<Item = PublicKey> {
        let keys = self.keys.iter();
        keys.filter(move |key| key.until.is_none_or(|until| until > at))
            .map(|key| key.wireguard)
    }
}

/// How a device came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// It stands in the files.
    File,
    /// It was added, one by one.
    Enrolled,
    /// It was in a list.
    Imported,
}

impl Origin {
    /// As in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Enrolled => "enrolled",
            Self::Imported => "imported",
        }
    }
}

/// A key of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceKey {
    /// The key.
    pub wireguard: PublicKey,
    /// Until when it is taken beside the newest; `None` is as long as the device is let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A WireGuard public key, in base64 wherever it is a text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(pub [u8; 32]);

impl FromStr for PublicKey {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        Enrolled::public_key_of(text).map(Self)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = InvalidValue;
    fn try_from(text: String) -> Result<Self, InvalidValue> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        STANDARD.encode(key.0)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct By {
    /// User id, as the kernel says.
    pub uid: u32,
    /// The user's name, or the number if it has none.
    pub name: String,
}

/// Another standing of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Drawn once, so that it is written once however often it is sent.
    pub mark: i64,
    /// Which device.
    pub device: DeviceName,
    /// How it stood.
    pub before: Standing,
    /// How it stands now.
    pub after: Standing,
    /// In the operator's words.
    pub why: String,
    /// Who decided.
    pub by: By,
    /// When.
    pub at: Timestamp,
}

impl Change {
    /// Whether it holds over what somebody else decided meanwhile.
    ///
    /// The stricter decision holds, and so does a milder one of whoever knew what it undoes.
    #[must_use]
    pub fn holds_over(&self, standing: Standing, since: Timestamp) -> bool {
        if self.after < standing {
            self.before == standing && since <= self.at
        } else {
            self.after > standing || since <= self.at
        }
    }

    /// In one word.
    #[must_use]
    pub fn what(&self) -> &'static str {
        match (self.before, self.after) {
            (Standing::Pending, Standing::Active) => "approved",
            (_, Standing::Active) => "released",
            (_, Standing::Quarantined) => "quarantined",
            (_, Standing::Revoked) => "revoked",
            (_, Standing::Expired) => "expired",
            (_, Standing::Pending) => "pending",
        }
    }
}

/// A device that shall be known from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Its name.
    pub name: DeviceName,
    /// What is known of it. Without addresses it gets some.
    pub known: Known,
    /// Drawn for the record of it.
    pub mark: i64,
    /// Who adds it.
    pub by: By,
}

/// One line of the story of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chapter {
    /// Number of the change, of all changes in the registry.
    pub revision: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: By,
    /// `added`, `imported`, `approved`, `quarantined`, `released`, `revoked`, `expired`, `rotated`, `extended`.
    pub what: String,
    /// In their words.
    pub why: String,
}

/// How often and when something was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// How often, or how much.
    pub amount: u64,
    /// For the first time.
    pub first: Timestamp,
    /// For the last time.
    pub last: Timestamp,
}

impl Seen {
    /// Once, now.
    #[must_use]
    pub fn at(at: Timestamp, amount: u64) -> Self {
        let (first, last) = (at, at);
        Self {
            amount,
            first,
            last,
        }
    }

    /// And again.
    pub fn add(&mut self, other: Self) {
        self.amount = self.amount.saturating_add(other.amount);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// What may be seen of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A handshake.
    Handshake,
    /// Where it spoke from.
    Address,
    /// Bytes through its tunnel: `received` and `sent`.
    Bytes,
    /// A service that it used.
    Service,
    /// The type of a message that was forwarded.
    Message,
    /// The SOP class of a request that was forwarded.
    SopClass,
    /// What made its messages.
    Software,
    /// Why something of it was refused.
    Refused,
}

impl What {
    /// As in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Address => "address",
            Self::Bytes => "bytes",
            Self::Service => "service",
            Self::Message => "message",
            Self::SopClass => "sop-class",
            Self::Software => "software",
            Self::Refused => "refused",
        }
    }

    /// From [`Self::as_str`].
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [
            Self::Handshake,
            Self::Address,
            Self::Bytes,
            Self::Service,
            Self::Message,
            Self::SopClass,
            Self::Software,
            Self::Refused,
        ];
        all.into_iter().find(|what| what.as_str() == word)
    }
}

/// Something that was seen of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Of which device.
    pub device: DeviceName,
    /// What.
    pub what: What,
    /// Which one.
    pub value: String,
    /// How often and when.
    pub seen: Seen,
}

/// Something that came from nobody who is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strange {
    /// `key`, `certificate`, `source`.
    pub what: String,
    /// Where it came from.
    pub source: String,
    /// Which key or certificate; where it wanted to go.
    pub value: String,
    /// How often and when.
    pub seen: Seen,
}

/// A time as a database keeps it: without what is below milliseconds.
#[must_use]
pub fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

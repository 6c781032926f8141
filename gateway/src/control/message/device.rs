//! Devices that stand in no file, and what became of each device.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::flow::{DeviceName, Standing};

/// A device to be added, in the words of who adds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewDevice {
    /// Where it stands in a list, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Its name.
    pub name: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// Its public key in base64; empty if it is known by a certificate.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub wireguard: String,
    /// Instead: the fingerprint of its certificate's key, SHA-256 of the SubjectPublicKeyInfo in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Its tunnel addresses; empty to be given some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// The serial number on its label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Its patients; `hmac:` values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patients: Vec<String>,
    /// MSH-3 and MSH-4 that are its own, `ECG^CARDIO`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hl7_sender: Option<String>,
    /// The AE title that is its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ae_title: Option<String>,
    /// Its last day (`2027-03-31`, UTC) or the moment after which it is not let in (`2027-03-31T12:00:00Z`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Whether it waits to be approved.
    #[serde(default)]
    pub pending: bool,
}

/// A device that was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// Its name.
    pub device: DeviceName,
    /// Its tunnel addresses.
    pub addresses: Vec<IpAddr>,
    /// `active` or `pending`.
    pub standing: Standing,
}

/// What became of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoryLine {
    /// When.
    pub at: Timestamp,
    /// User id of who did it.
    pub uid: u32,
    /// Their name.
    pub who: String,
    /// `added`, `imported`, `approved`, `quarantined`, `released`, `revoked`, `expired`, `rotated`, `extended`.
    pub what: String,
    /// In their words.
    pub why: String,
}

/// What the registry knows of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownStatus {
    /// `file`, `enrolled`, `imported`.
    pub origin: String,
    /// The serial number on its label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// How many patients are its own.
    pub patients: usize,
    /// MSH-3 and MSH-4 that are its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hl7_sender: Option<String>,
    /// The AE title that is its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ae_title: Option<String>,
    /// Its public keys, the newest first.
    pub keys: Vec<KeyStatus>,
    /// SHA-256 of the SubjectPublicKeyInfo, in hex, of the keys with which it enrolled for a certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
    /// When it was written down.
    pub created: Timestamp,
    /// By whom.
    pub created_by: String,
    /// Since when it stands as it does.
    pub since: Timestamp,
    /// When it stops being let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Seconds until then; 0 if it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_seconds: Option<u64>,
    /// Why it is not let in although it should be: the files contradict it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contradiction: Option<String>,
}

/// A key of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStatus {
    /// In base64.
    pub wireguard: String,
    /// Until when it is taken beside the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Whether the registry's database can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryStatus {
    /// Why not; none if it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Changes that wait for it.
    pub unsaved: usize,
    /// Enrolled devices that the files contradict.
    pub contradicted: usize,
}

/// What was seen of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryStatus {
    /// Where it spoke from last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What made its last messages, in its own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
    /// When the last of its certificates ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_ends: Option<Timestamp>,
    /// Seconds until then; 0 if it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_seconds: Option<u64>,
    /// Everything; only of a device that was asked for alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<SeenStatus>,
}

/// Something that was seen of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenStatus {
    /// `handshake`, `address`, `bytes`, `service`, `message`, `sop-class`, `software`, `refused`.
    pub what: String,
    /// Which one.
    pub value: String,
    /// How often; of `bytes`, how many.
    pub amount: u64,
    /// For the first time.
    pub first: Timestamp,
    /// For the last time.
    pub last: Timestamp,
}

/// Something that came from nobody who is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrangerStatus {
    /// `key` (a handshake), `certificate`, `source` (packets).
    pub what: String,
    /// Where it came from, as its packets say.
    pub source: String,
    /// The key, the fingerprint of the certificate, or why its packets were dropped.
    pub value: String,
    /// How often.
    pub amount: u64,
    /// For the first time.
    pub first: Timestamp,
    /// For the last time.
    pub last: Timestamp,
}

//! What one device may say to one service in HL7 v2. Compiled by the gateway from its configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::embedded::Kind;
use super::profile::Constraints;
pub use crate::patients::Patients;
pub use crate::severity::{Base, Severity};

use crate::Limits;
use crate::severity::Weight;

/// What holds for one connection between one device and one HL7 service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The bounds of this connection.
    pub limits: Limits,
    /// Whether release 2 of MLLP is spoken, with commit acknowledgements, and not release 1.
    pub release_2: bool,
    /// Character set of a message that declares none in MSH-18 (HL7 table 0211 name, `ASCII` if unset).
    pub default_charset: String,
    /// `MSH-3^MSH-4` pairs that belong to this device; each compared as a whole, MSH-4 may be empty.
    pub senders: Vec<(String, String)>,
    /// Identifiers of the device itself (EUI-64, serial number), which OBX-18 and PRT-10 are compared with.
    pub device_ids: Vec<String>,
    /// The patients that this device measures, for rules that bind them.
    pub patients: Patients,
    /// The rules of which one must accept the whole message. Never empty.
    pub rules: Vec<Rule>,
}

impl Policy {
    /// Whether MSH-3 and MSH-4 are a pair of the device.
    pub(crate) fn is_own(&self, (application, facility): (&[u8], &[u8])) -> bool {
        self.senders
            .iter()
            .any(|(a, f)| a.as_bytes() == application && f.as_bytes() == facility)
    }
}

/// One rule, as far as HL7 is concerned. The default allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The name of the rule in the configuration.
    pub name: String,
    /// Allowed message types, `ORU^R01` (MSH-9.1^MSH-9.2); `*` in the place of the trigger allows all of the type.
    pub send: Vec<String>,
    /// Message types that the destination may answer with, other than acknowledgements.
    pub receive: Vec<String>,
    /// Allowed values of MSH-12.1; empty allows all that the library knows (2.1 to 2.8.2).
    pub versions: Vec<String>,
    /// Whether MSH-3 and MSH-4 must be the device's own.
    pub bind_sender: bool,
    /// Whether every patient of the message must be one of the device's.
    pub bind_patient: bool,
    /// How far MSH-7 may be from the present, in seconds; `None` warns of what is far and refuses nothing.
    pub clock_window: Option<u32>,
    /// Whether another message under an MSH-10 that was used lately is refused, and not only warned of.
    pub unique_ids: bool,
    /// Whether batches (FHS, BHS) are carried.
    pub batches: bool,
    /// Character sets of table 0211 that are carried although a delimiter can be part of a character in them.
    pub charsets: Vec<String>,
    /// The local (Z) segments that are carried; `None` if the rule lists none.
    pub local_segments: Option<Vec<LocalSegment>>,
    /// What may be embedded in OBX-5.
    pub embedded: Embedded,
    /// How strict the content is judged. All of them must be satisfied; with none it is [`Base::Standard`].
    pub profiles: Vec<Profile>,
    /// Content verdicts only warn; framing and identity are still enforced.
    pub shadow: bool,
}

/// A local segment that is carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalSegment {
    /// Its name, `ZPD`.
    pub name: String,
    /// Its longest, in bytes, name included.
    pub max_bytes: usize,
}

/// What may be embedded in a message: documents (ED, and text that is one) and pointers to such (RP).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embedded {
    /// Kinds of documents that are carried; empty carries the harmless ones.
    pub kinds: Vec<Kind>,
    /// Hosts to which a reference pointer may point, `pacs.example.org`, `*.example.org` or `pacs.example.org:8443`;
    /// empty carries no pointer.
    pub hosts: Vec<String>,
}

/// How strict the content is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// `standard`, `strict` or the name in the configuration.
    pub name: String,
    /// What holds where the profile says nothing else.
    pub base: Base,
    /// What a finding of a level leads to, instead of what the base says.
    pub levels: BTreeMap<Level, Severity>,
    /// What it asks for beyond the standard.
    pub constraints: Constraints,
}

/// What is judged, from the outside in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Delimiters, escape sequences, character set.
    Encoding,
    /// Segments: which, in what order, how many.
    Structure,
    /// Fields: required, repeated, withdrawn, too many.
    Fields,
    /// Values by their data types.
    DataTypes,
    /// Lengths.
    Lengths,
    /// Codes by their tables.
    Tables,
    /// Documents inside of fields.
    Embedded,
    /// What a profile of this site asks for beyond the standard.
    Site,
}

impl Rule {
    /// What a finding leads to under the strictest of the rule's profiles.
    pub(crate) fn severity(&self, level: Level, weight: Weight) -> Severity {
        let of = |profile: &Profile| profile.severity(level, weight);
        let standard = || Profile::default().severity(level, weight);
        self.profiles.iter().map(of).max().unwrap_or_else(standard)
    }
}

impl Profile {
    /// Refuses what is wrong beyond doubt.
    #[must_use]
    pub fn standard() -> Self {
        Self {
            name: "standard".to_owned(),
            ..Self::default()
        }
    }

    /// Refuses all that the standard refuses.
    #[must_use]
    pub fn strict() -> Self {
        Self {
            name: "strict".to_owned(),
            base: Base::Strict,
            ..Self::default()
        }
    }

    fn severity(&self, level: Level, weight: Weight) -> Severity {
        weight.severity(self.base, self.levels.get(&level).copied())
    }
}

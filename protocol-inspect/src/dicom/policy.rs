//! What one device may do with one DICOM service. Compiled by the gateway from its configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bounds::{IdentityUse, Query};
use crate::embedded::Kind;
use crate::patients::Patients;
use crate::severity::Weight;
use crate::{Base, Limits, Severity};

/// What holds for one association between one device and one DICOM service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The bounds of this connection.
    pub limits: Limits,
    /// The calling AE title that belongs to this device; `None` if it has none and the rule does not bind it.
    pub calling_ae: Option<String>,
    /// The called AE title of the service; `None` accepts any.
    pub called_ae: Option<String>,
    /// The patients of this device, for rules that bind them.
    pub patients: Patients,
    /// The rules of which one must accept each whole message. Never empty.
    pub rules: Vec<Rule>,
}

/// One rule, as far as DICOM is concerned. The default allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The name of the rule in the configuration.
    pub name: String,
    /// Allowed DIMSE services of the device: `C-ECHO`, `C-STORE`, `C-FIND`, `C-GET`, `C-MOVE`, `N-CREATE`, ….
    pub allow: Vec<String>,
    /// Allowed SOP classes as UIDs; empty allows all that the service may use. C-ECHO needs none.
    pub sop_classes: Vec<String>,
    /// Allowed C-MOVE destinations; empty allows none, `*` any.
    pub move_destinations: Vec<String>,
    /// Whether the calling AE title must be the device's own.
    pub bind_sender: bool,
    /// Allowed transfer syntaxes as UIDs, `*` any; empty allows all that are carried, but big endian only without a
    /// strict profile.
    pub transfer_syntaxes: Vec<String>,
    /// What Modality (0008,0060) of an instance must be; empty allows any, and none.
    pub modalities: Vec<String>,
    /// Whether every patient that a data set names must be one of the device's, and the content must name one.
    pub bind_patient: bool,
    /// What queries must be like.
    pub query: Query,
    /// Whether the requestor may be provider (SCP) of the SOP classes; of storage classes C-GET allows it by itself.
    pub reverse_roles: bool,
    /// What becomes of the user that the requestor identifies.
    pub user_identity: IdentityUse,
    /// Largest data set, in bytes; `None` leaves it to [`Limits::dicom_dataset`].
    pub max_object: Option<u64>,
    /// Private creators whose elements are carried; `None` carries all.
    pub private_creators: Option<Vec<String>>,
    /// The kinds of documents that a data set may hold; empty for those that do nothing but show something.
    pub documents: Vec<Kind>,
    /// How strict the content is judged. All of them must be satisfied; with none it is [`Base::Standard`].
    pub profiles: Vec<Profile>,
    /// Content verdicts only warn; framing, identity and DIMSE are still enforced.
    pub shadow: bool,
    /// The data set of a C-STORE request is released as it is verified, but for its last fragment.
    pub streaming: bool,
    /// Set if the rule holds only while something is outstanding that it returns.
    pub follows: Option<Follows>,
}

/// What a rule returns to who asked for it on another association.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Follows {
    /// Images: these C-MOVE of the called title to itself are outstanding.
    //= DICOM PS3.4 C.4.2
    Retrieval(Vec<Retrieval>),
    /// The results of storage commitment.
    //= DICOM PS3.4 J.3.3
    Commitment,
}

/// A C-MOVE whose sub-operations go to its own sender.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Retrieval {
    /// Its sender, (0000,1030) of what it brings.
    pub originator: String,
    /// Its message ID, (0000,1031) of what it brings.
    pub message_id: u16,
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
}

/// What of a data set is judged, from the outside in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Elements: headers, order, nesting, value representation against the dictionary (PS3.5 7, PS3.6).
    Elements,
    /// Values: repertoire, length and multiplicity by value representation (PS3.5 6.2, 6.4).
    Values,
    /// Specific Character Set, and text against it (PS3.5 6.1).
    CharacterSets,
    /// Private elements and their creators (PS3.5 7.8).
    Private,
    /// Pixel data against its description, offset tables and fragments (PS3.5 8, A.4; PS3.3 C.7.6.3).
    Pixels,
    /// Documents inside of a data set.
    Documents,
    /// Modules and attributes of the information object (PS3.3).
    Object,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Elements,
        Self::Values,
        Self::CharacterSets,
        Self::Private,
        Self::Pixels,
        Self::Documents,
        Self::Object,
    ];

    pub(super) fn index(self) -> usize {
        match self {
            Self::Elements => 0,
            Self::Values => 1,
            Self::CharacterSets => 2,
            Self::Private => 3,
            Self::Pixels => 4,
            Self::Documents => 5,
            Self::Object => 6,
        }
    }
}

/// What findings lead to under all profiles of a rule, ready to be asked for every element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strictness {
    severities: [[Severity; 5]; Level::ALL.len()],
}

const WEIGHTS: [Weight; 5] = [
    Weight::Hint,
    Weight::Notice,
    Weight::Strict,
    Weight::Content,
    Weight::Firm,
];

impl Strictness {
    /// Of a rule with these profiles.
    #[must_use]
    pub fn of(profiles: &[Profile]) -> Self {
        let standard = [Profile::standard()];
        let profiles = if profiles.is_empty() {
            &standard
        } else {
            profiles
        };
        let severity = |level, weight: Weight| {
            let of = |p: &Profile| weight.severity(p.base, p.levels.get(&level).copied());
            profiles.iter().map(of).max().unwrap_or(Severity::Refuse)
        };
        let row = |level| WEIGHTS.map(|weight| severity(level, weight));
        Self {
            severities: Level::ALL.map(row),
        }
    }

    /// Of a profile that needs no configuration.
    #[must_use]
    pub fn of_base(base: Base) -> Self {
        Self::of(&[Profile::of(base)])
    }

    pub(super) fn severity(&self, level: Level, weight: Weight) -> Severity {
        let weight = match weight {
            Weight::Hint => 0,
            Weight::Notice => 1,
            Weight::Strict => 2,
            Weight::Content => 3,
            Weight::Firm => 4,
        };
        let row = self.severities.get(level.index());
        let severity = row.and_then(|row| row.get(weight));
        severity.copied().unwrap_or(Severity::Refuse)
    }
}

impl From<Base> for Profile {
    fn from(base: Base) -> Self {
        Self::of(base)
    }
}

impl Profile {
    /// Refuses what is wrong beyond doubt.
    #[must_use]
    pub fn standard() -> Self {
        Self::of(Base::Standard)
    }

    /// Refuses all that the standard refuses.
    #[must_use]
    pub fn strict() -> Self {
        Self::of(Base::Strict)
    }

    /// One that needs no configuration.
    #[must_use]
    pub fn of(base: Base) -> Self {
        let name = match base {
            Base::Standard => "standard",
            Base::Strict => "strict",
        };
        Self {
            name: name.to_owned(),
            base,
            levels: BTreeMap::new(),
        }
    }
}

impl Policy {
    /// What holds for PDUs, commands and answers: the most lenient of all rules, since one rule that accepts is enough.
    #[must_use]
    pub fn base(&self) -> Base {
        let bases = self.rules.iter().map(Rule::base);
        bases.min().unwrap_or(Base::Strict)
    }

    /// The rules that hold for this calling AE title, the most lenient first.
    pub(super) fn rules_for(&self, calling: &str) -> impl Iterator<Item = (usize, &Rule)> {
        let own = self.calling_ae.as_deref() == Some(calling);
        let mut rules: Vec<(usize, &Rule)> = self
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| own || !rule.bind_sender)
            .collect();
        rules.sort_by_key(|(_, rule)| (!rule.shadow, rule.base()));
        rules.into_iter()
    }
}

impl Rule {
    /// The stricter of its profiles' bases.
    pub(super) fn base(&self) -> Base {
        let bases = self.profiles.iter().map(|profile| profile.base);
        bases.max().unwrap_or_default()
    }

    pub(super) fn allows(&self, service: &str) -> bool {
        self.allow.iter().any(|allowed| allowed == service)
    }

    pub(super) fn covers(&self, sop_class: &str) -> bool {
        self.sop_classes.is_empty() || self.sop_classes.iter().any(|allowed| allowed == sop_class)
    }

    pub(super) fn may_move_to(&self, destination: &str) -> bool {
        let named = |allowed: &String| allowed == "*" || allowed == destination;
        self.move_destinations.iter().any(named)
    }
}

//! What rules and profiles say of DICOM beyond services and SOP classes.
//!
//! In: tables that were read and checked. Out: the types that the gateway compiles. Knows nothing of messages.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Profile;
use crate::profile::Severity;

/// `query = { … }` of `dicom` of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DicomQuery {
    /// Keys that must have a value other than a wildcard, as group and element; of each list one.
    pub require: Vec<BTreeSet<(u16, u16)>>,
    /// Allowed values of Query/Retrieve Level; empty: any.
    pub levels: BTreeSet<String>,
    /// Whether a query may ask for everything. Default false.
    pub wildcards: bool,
    /// Most results of one query; `None` is unlimited.
    pub max_results: Option<u32>,
}

/// What becomes of the user that a device identifies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserIdentity {
    /// It goes on if there is one.
    #[default]
    Allow,
    /// It does not go on.
    Strip,
    /// There must be one.
    Require,
}

/// `[profile.NAME.dicom]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DicomProfile {
    /// What holds where it says nothing else.
    pub base: Profile,
    /// What findings of a level lead to, where it is not what the base says.
    pub severities: BTreeMap<DicomLevel, Severity>,
}

/// What of a data set is judged, as far as its severity can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DicomLevel {
    /// Headers, order, nesting, value representations; never ignored.
    Elements,
    /// Values by their value representations.
    Values,
    /// Specific Character Set; never ignored.
    CharacterSets,
    /// Private elements and their creators.
    Private,
    /// Pixel data.
    Pixels,
    /// Documents inside of data sets.
    Documents,
    /// Modules and attributes of the information object.
    Object,
}

/// What a rule that moves to it means by this word: the device's own AE title.
pub const OWN_TITLE: &str = "device";

//! What one device may do with one DICOM service. Compiled by the gateway from its configuration.

use serde::{Deserialize, Serialize};

use crate::Limits;

/// What holds for one association between one device and one DICOM service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The bounds of this connection.
    pub limits: Limits,
    /// The calling AE title that belongs to this device; `None` if it has none and the rule does not bind it.
    pub calling_ae: Option<String>,
    /// The called AE title of the service; `None` accepts any.
    pub called_ae: Option<String>,
    /// The rules of which one must accept each whole message. Never empty.
    pub rules: Vec<Rule>,
}

/// One rule, as far as DICOM is concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The name of the rule in the configuration.
    pub name: String,
    /// Allowed DIMSE services of the device: `C-ECHO`, `C-STORE`, `C-FIND`, `C-GET`, `C-MOVE`, `N-CREATE`, ….
    pub allow: Vec<String>,
    /// Allowed SOP classes as UIDs; empty allows all that the service may use.
    pub sop_classes: Vec<String>,
    /// Allowed C-MOVE destinations; empty allows none.
    pub move_destinations: Vec<String>,
    /// Whether the calling AE title must be the device's own.
    pub bind_sender: bool,
    /// How strict the content is judged.
    pub profile: Profile,
    /// Content verdicts only warn; framing, identity and DIMSE are still enforced.
    pub shadow: bool,
}

/// How strict the content is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Refuses what is wrong beyond doubt.
    #[default]
    Standard,
    /// Refuses all that the standard refuses.
    Strict,
}

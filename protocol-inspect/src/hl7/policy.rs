//! What one device may say to one service in HL7 v2. Compiled by the gateway from its configuration.

use serde::{Deserialize, Serialize};

use crate::Limits;

/// What holds for one connection between one device and one HL7 service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The bounds of this connection.
    pub limits: Limits,
    /// Character set of a message that declares none in MSH-18 (HL7 table 0211 name, `ASCII` if unset).
    pub default_charset: String,
    /// `MSH-3^MSH-4` pairs that belong to this device; each compared as a whole, MSH-4 may be empty.
    pub senders: Vec<(String, String)>,
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

/// One rule, as far as HL7 is concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The name of the rule in the configuration.
    pub name: String,
    /// Allowed message types, `ORU^R01` (MSH-9.1^MSH-9.2); `*` in the place of the trigger allows all of the type.
    pub send: Vec<String>,
    /// Allowed values of MSH-12.1; empty allows all that the library knows (2.1 to 2.8.2).
    pub versions: Vec<String>,
    /// Whether MSH-3 and MSH-4 must be the device's own.
    pub bind_sender: bool,
    /// How strict the content is judged.
    pub profile: Profile,
    /// Content verdicts only warn; framing and identity are still enforced.
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

//! What one device may do with one DICOM service. Compiled by the gateway from its configuration.

use serde::{Deserialize, Serialize};

use super::sop::Kind;
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
    /// Allowed SOP classes as UIDs; empty allows all that the service may use. C-ECHO needs none.
    pub sop_classes: Vec<String>,
    /// Allowed C-MOVE destinations; empty allows none, `*` any.
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

impl Policy {
    /// The profile for what comes before a rule is known: the most lenient of all, since one rule that accepts is enough.
    #[must_use]
    pub fn profile(&self) -> Profile {
        let profiles = self.rules.iter().map(|rule| rule.profile);
        profiles.min().unwrap_or(Profile::Strict)
    }

    /// The rules that hold for this calling AE title, the most lenient first.
    pub(super) fn rules_for(&self, calling: &str) -> impl Iterator<Item = &Rule> {
        let own = self.calling_ae.as_deref() == Some(calling);
        let mut rules: Vec<&Rule> = self
            .rules
            .iter()
            .filter(|rule| own || !rule.bind_sender)
            .collect();
        rules.sort_by_key(|rule| (!rule.shadow, rule.profile));
        rules.into_iter()
    }

    /// Whether some rule has a use for this abstract syntax.
    pub(super) fn carries(&self, calling: &str, abstract_syntax: &str) -> bool {
        let kind = Kind::of(abstract_syntax);
        self.rules_for(calling).any(|rule| {
            let wanted = rule.allow.iter().any(|service| kind.uses(service));
            wanted && (kind == Kind::Verification || rule.covers(abstract_syntax))
        })
    }
}

impl Rule {
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

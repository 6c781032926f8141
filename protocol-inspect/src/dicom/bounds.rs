//! What a rule asks for beyond services and SOP classes: of queries, of users, of transfer syntaxes and private data.
//!
//! In: a rule and a fact. Out: whether the rule has something against it. Knows nothing of bytes and of other rules.

use dicom_core::Tag;
use serde::{Deserialize, Serialize};

use super::policy::{Policy, Rule};
use super::sop::{Kind, serves};
use super::transfer::TransferSyntax;
use crate::Base;

/// What the identifier of C-FIND, C-GET and C-MOVE must be like (PS3.4 C.2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// Keys that must have a value without wildcards and open ranges: of each group one. A key is a tag, its group in the high half.
    pub require: Vec<Vec<u32>>,
    /// Allowed values of Query/Retrieve Level; empty allows all.
    pub levels: Vec<String>,
    /// Whether some key must have a value other than a wildcard, so that nobody asks for everything.
    pub selective: bool,
    /// Most results of one C-FIND, and most instances that one C-GET brings; `None` is unlimited.
    pub max_results: Option<u32>,
}

/// What becomes of the user that a requestor identifies (PS3.7 D.3.3.7). In the order of strictness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityUse {
    /// It goes on if there is one.
    #[default]
    Allow,
    /// It does not go on.
    Strip,
    /// There must be one, and it goes on.
    Require,
}

impl Policy {
    /// Whether some rule has a use for this abstract syntax.
    pub(super) fn carries(&self, calling: &str, abstract_syntax: &str) -> bool {
        let mut rules = self.rules_for(calling);
        rules.any(|(_, rule)| rule.carries(abstract_syntax))
    }

    /// Whether some rule has a use for this abstract syntax in this transfer syntax.
    pub(super) fn carries_in(&self, calling: &str, abstract_syntax: &str, transfer: &str) -> bool {
        let mut rules = self.rules_for(calling);
        rules.any(|(_, rule)| rule.carries(abstract_syntax) && rule.transfers(transfer))
    }

    /// Whether some rule lets the requestor be provider of this SOP class (PS3.7 D.3.3.4).
    pub(super) fn reverses(&self, calling: &str, abstract_syntax: &str) -> bool {
        let mut rules = self.rules_for(calling);
        rules.any(|(_, rule)| rule.carries(abstract_syntax) && rule.reverses(abstract_syntax))
    }

    /// What becomes of a user's identity: one association has one, so the strictest rule holds.
    pub(super) fn identity_use(&self, calling: &str) -> IdentityUse {
        let uses = self.rules_for(calling).map(|(_, rule)| rule.user_identity);
        uses.max().unwrap_or_default()
    }
}

impl Rule {
    /// Whether it has a use for this abstract syntax.
    pub(super) fn carries(&self, abstract_syntax: &str) -> bool {
        let kind = Kind::of(abstract_syntax);
        let serves = |service: &String| serves(abstract_syntax, service);
        let wanted = self.allow.iter().any(serves);
        wanted && (kind == Kind::Verification || self.covers(abstract_syntax))
    }

    /// Whether it carries this transfer syntax. Big endian is retired since 2006: a strict rule names it or goes without.
    pub(super) fn transfers(&self, uid: &str) -> bool {
        if self.transfer_syntaxes.is_empty() {
            let retired = TransferSyntax::from_uid(uid) == Some(TransferSyntax::ExplicitBig);
            return !retired || self.base() == Base::Standard;
        }
        let named = |allowed: &String| allowed == "*" || allowed == uid;
        self.transfer_syntaxes.iter().any(named)
    }

    /// Whether the requestor may be provider of this SOP class: what C-GET brings needs it, and who reports an event.
    fn reverses(&self, abstract_syntax: &str) -> bool {
        let brings = self.allows("C-GET") && Kind::of(abstract_syntax) == Kind::Storage;
        let reports = "N-EVENT-REPORT";
        let reports = self.allows(reports) && serves(abstract_syntax, reports);
        self.reverse_roles || brings || reports
    }

    /// Whether instances of this modality are its business; `None` is an instance without one.
    pub(super) fn has_modality(&self, modality: Option<&[u8]>) -> bool {
        let named = |allowed: &String| Some(allowed.as_bytes()) == modality;
        self.modalities.is_empty() || self.modalities.iter().any(named)
    }

    /// Whether it carries the private elements of this creator.
    pub(super) fn has_creator(&self, creator: &[u8]) -> bool {
        let Some(listed) = &self.private_creators else {
            return true;
        };
        listed.iter().any(|allowed| allowed.as_bytes() == creator)
    }

    /// Whether an object of so many bytes is not too large for it.
    pub(super) fn has_room(&self, length: u64) -> bool {
        self.max_object.is_none_or(|most| length <= most)
    }

    /// Whether there is something that only a whole walk can tell, of a query or of other content: then no fault of the
    /// content is tolerated in its place.
    pub(super) fn needs_walk(&self, is_query: bool) -> bool {
        let Query {
            require,
            levels,
            selective,
            ..
        } = &self.query;
        let asks = *selective || !require.is_empty() || !levels.is_empty();
        self.bind_patient || !self.modalities.is_empty() || (is_query && asks)
    }
}

impl Query {
    /// Whether some group asks for this key.
    pub(super) fn asks_for(&self, tag: Tag) -> bool {
        let mut keys = self.require.iter().flatten();
        keys.any(|key| *key == number(tag))
    }

    /// The first group of which no key is among these.
    pub(super) fn lacks(&self, keys: &[Tag]) -> Option<Tag> {
        let given = |key: &u32| keys.iter().any(|tag| number(*tag) == *key);
        let mut groups = self.require.iter();
        let group = groups.find(|group| !group.iter().any(given))?;
        group.first().map(|key| tag(*key))
    }

    /// Whether this level may be asked at.
    pub(super) fn has_level(&self, level: Option<&[u8]>) -> bool {
        let named = |allowed: &String| Some(allowed.as_bytes()) == level;
        self.levels.is_empty() || self.levels.iter().any(named)
    }
}

fn number(tag: Tag) -> u32 {
    let [g, group] = tag.group().to_be_bytes();
    let [e, element] = tag.element().to_be_bytes();
    u32::from_be_bytes([g, group, e, element])
}

fn tag(number: u32) -> Tag {
    let [g, group, e, element] = number.to_be_bytes();
    Tag(
        u16::from_be_bytes([g, group]),
        u16::from_be_bytes([e, element]),
    )
}

//! Queries: do they ask for something, at a level and by keys that the rule lets them?
//!
//! In: the keys of an identifier, in items of sequences too. Out: candidates that go.
//! A key counts if it has a value that leaves something out; which keys the destination supports nobody knows here,
//! so a rule that must narrow a query says by `require` which keys it needs.

use dicom_core::Tag;
use dicom_core::header::VR;

use super::super::super::policy::Rule;
use super::super::judges::{Element, Tell};
use super::trimmed;
use crate::{Reason, Refusal};

/// The keys of an identifier, as far as rules ask for them.
#[derive(Debug, Default)]
pub(super) struct Keys {
    level: Option<Vec<u8>>,
    /// Whether some key leaves something out.
    selective: bool,
    /// The keys of rules that do; at most as many as rules name.
    given: Vec<Tag>,
}

impl Keys {
    pub(super) fn element(&mut self, element: &Element<'_>, tell: &Tell<'_>) {
        let tag = element.tag;
        if tag == LEVEL && element.depth == 0 {
            self.level = Some(trimmed(element.value).to_vec());
            return;
        }
        // A destination passes over private keys that it does not know.
        if NO_KEYS.contains(&tag) || !tag.group().is_multiple_of(2) || !is_selective(element) {
            return;
        }
        self.selective = true;
        let asked = |rule: &Rule| rule.query.asks_for(tag);
        if !self.given.contains(&tag) && tell.candidates.rules().any(asked) {
            self.given.push(tag);
        }
    }

    pub(super) fn finish(&self, has_level: bool, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        if has_level {
            let detail = "is not one at which the rule lets ask";
            let keep = |rule: &Rule| rule.query.has_level(self.level.as_deref());
            tell.narrow(LEVEL, keep, Reason::Forbidden, detail)?;
        }
        let lacking = |rule: &Rule| rule.query.lacks(&self.given);
        let first = tell.candidates.rules().find_map(lacking);
        if let Some(tag) = first {
            let keep = |rule: &Rule| lacking(rule).is_none();
            let detail = "has no value to match, and the rule requires one";
            tell.narrow(tag, keep, Reason::Forbidden, detail)?;
        }
        if !self.selective {
            let keep = |rule: &Rule| !rule.query.selective;
            let detail =
                "has no key with a value to match, and the rule does not let ask for everything";
            tell.narrow_at("identifier", keep, Reason::Forbidden, detail)?;
        }
        Ok(())
    }
}

/// Whether a value leaves something out: more than wildcards, and signs that mean nothing alone (PS3.4 C.2.2.2).
fn is_selective(element: &Element<'_>) -> bool {
    let text = !matches!(
        element.vr,
        VR::AT | VR::FD | VR::FL | VR::SL | VR::SS | VR::SV | VR::UL | VR::US | VR::UV
    );
    let mut value = element.value.iter();
    if !text {
        return value.len() > 0;
    }
    value.any(|byte| !matches!(byte, 0..=b' ' | b'*' | b'?' | b'\\' | b'^' | b'=' | b'-'))
}

const LEVEL: Tag = Tag(0x0008, 0x0052);
/// What says how to ask and not what for: character set, view, retrieve AE title, availability, time zone.
const NO_KEYS: [Tag; 6] = [
    Tag(0x0008, 0x0005),
    LEVEL,
    Tag(0x0008, 0x0053),
    Tag(0x0008, 0x0054),
    Tag(0x0008, 0x0056),
    Tag(0x0008, 0x0201),
];

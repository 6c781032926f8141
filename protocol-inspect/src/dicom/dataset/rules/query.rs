//! Queries: do they ask for something, at a level and by keys that the rule lets them?
//!
//! In: the keys of an identifier, of worklists in items too. Out: candidates that go.
//! A key leaves something out if it has more than wildcards, and is what `require` asks for if it is exact; which keys the destination supports nobody knows here,
//! so a rule that must narrow a query says by `require` which keys it needs.

use dicom_core::Tag;
use dicom_core::header::VR;

use super::super::super::policy::Rule;
use super::super::judges::{Element, MAX_KEPT, Tell};
use super::trimmed;
use crate::{Reason, Refusal};

/// The keys of an identifier, as far as rules ask for them.
#[derive(Default)]
pub(super) struct Keys {
    /// Whether it asks at a Query/Retrieve Level.
    has_level: bool,
    level: Option<Vec<u8>>,
    /// Whether some key leaves something out.
    selective: bool,
    /// The keys of rules that have an exact value where destinations match by them; at most as many as rules name.
    given: Vec<Tag>,
}

impl Keys {
    pub(super) fn new(has_level: bool) -> Self {
        Self {
            has_level,
            ..Self::default()
        }
    }

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
        // Query/retrieve has no keys in items (PS3.4 C.6), worklists have some.
        if element.depth > 0 && self.has_level {
            return;
        }
        self.selective = true;
        let is_step = tell.nesting.iter().any(|level| level.tag == STEP);
        let is_matched = element.depth == 0 || (element.depth == 1 && is_step);
        let asked = |rule: &Rule| rule.query.asks_for(tag);
        if is_matched
            && is_exact(element)
            && !self.given.contains(&tag)
            && tell.candidates.rules().any(asked)
        {
            self.given.push(tag);
        }
    }

    pub(super) fn finish(&self, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        if self.has_level {
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
    let mut value = element.value.iter();
    if is_binary(element.vr) {
        return value.len() > 0;
    }
    value.any(|byte| !matches!(byte, 0..=b' ' | b'*' | b'?' | b'\\' | b'^' | b'=' | b'-'))
}

/// Whether a selective value names what it asks for: no wildcard, no range without an end, and a list of UIDs only
/// (PS3.4 C.2.2.2).
fn is_exact(element: &Element<'_>) -> bool {
    let value = trimmed(element.value);
    if is_binary(element.vr) {
        return true;
    }
    let is_wild = value.iter().any(|byte| matches!(byte, b'*' | b'?'));
    if element.vr == VR::UI {
        return !is_wild;
    }
    let is_moment = matches!(element.vr, VR::DA | VR::DT | VR::TM);
    let is_open = is_moment && (value.starts_with(b"-") || value.ends_with(b"-"));
    let is_whole = usize::try_from(element.length).is_ok_and(|length| length <= MAX_KEPT);
    is_whole && !is_wild && !is_open && !value.contains(&b'\\')
}

fn is_binary(vr: VR) -> bool {
    matches!(
        vr,
        VR::AT | VR::FD | VR::FL | VR::SL | VR::SS | VR::SV | VR::UL | VR::US | VR::UV
    )
}

/// Scheduled Procedure Step Sequence.
const STEP: Tag = Tag(0x0040, 0x0100);
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

//! Patients of a data set: is each one that it names one of the device's?
//!
//! In: the elements that name patients, wherever they stand. Out: candidates that bind patients go, or the refusal.
//! An identifier is Patient ID (0010,0020) with its authority: Issuer of Patient ID (0010,0021) and, of the items of
//! (0010,0024), Universal Entity ID and its type. It is complete when its item is left, and then compared by keyed hash.
//! Spaces around a value mean nothing (PS3.5 6.2); beyond that nothing is folded.

use dicom_core::Tag;

use super::super::super::policy::Rule;
use super::super::judges::{Element, MAX_KEPT, Tell};
use super::super::nesting::{self, Kind, Nesting};
use super::trimmed;
use crate::{Reason, Refusal};

/// The patients of a data set, so far.
pub(super) struct People {
    /// An identifier of a query, of which wildcards and lists name many.
    is_query: bool,
    /// Whether every Specific Character Set so far is that of UTF-8, the first being that of the whole data set.
    is_unicode: Option<bool>,
    /// Whether the data set itself names a patient.
    named: bool,
    /// Identifiers of which the item is open, the outermost first; never more than sequences are open, and one.
    open: Vec<Name>,
}

/// An identifier whose authority may still come.
#[derive(Default)]
struct Name {
    /// Its item: the open sequences with the numbers of their items.
    item: Vec<(Tag, u64)>,
    place: String,
    identifier: Vec<u8>,
    authority: [Vec<u8>; 3],
    /// Whether its authority has parts of which receivers could make different things.
    doubtful: bool,
}

impl People {
    pub(super) fn new(is_query: bool) -> Self {
        Self {
            is_query,
            is_unicode: None,
            named: false,
            open: Vec::new(),
        }
    }

    pub(super) fn element(
        &mut self,
        element: &Element<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<(), Refusal> {
        self.leave(element.tag, tell)?;
        let value = trimmed(element.value);
        match element.tag {
            CHARACTER_SET => {
                let before = self.is_unicode.unwrap_or(element.depth == 0);
                self.is_unicode = Some(before && value == UTF_8);
            }
            ID if !value.is_empty() => {
                self.readable(element, tell)?;
                let place = nesting::path(tell.nesting, ID);
                let item: Vec<_> = item(tell.nesting).collect();
                self.named |= item.is_empty();
                self.open.push(Name {
                    item,
                    place,
                    identifier: value.to_vec(),
                    ..Name::default()
                });
            }
            // Retired, and without authority of its own.
            OTHER_IDS => {
                self.readable(element, tell)?;
                self.others(element, tell)?;
            }
            ISSUER | UNIVERSAL | UNIVERSAL_TYPE if !value.is_empty() => {
                self.readable(element, tell)?;
                self.authority(element.tag, value, tell);
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, must_name: bool, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        while let Some(name) = self.open.pop() {
            name.judge(self.is_query, tell)?;
        }
        if must_name && !self.named {
            let detail = "has no value, and the rule binds patients";
            refuse(&nesting::name(ID), detail, tell)?;
        }
        Ok(())
    }

    /// Each is one of the device's, without authority or with that of the identifier beside it.
    fn others(&self, element: &Element<'_>, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        let beside = self.open.last();
        let beside = beside.filter(|name| item(tell.nesting).eq(name.item.iter().copied()));
        let own: [&[u8]; 3] = match beside {
            Some(name) => name.authority.each_ref().map(Vec::as_slice),
            None => [&[]; 3],
        };
        let patients = &tell.candidates.policy().patients;
        let mut ids = element.value.split(|byte| *byte == b'\\').map(trimmed);
        let known =
            ids.all(|id| id.is_empty() || patients.knows(own, id) || patients.knows([&[]; 3], id));
        if known {
            return Ok(());
        }
        refuse(&nesting::path(tell.nesting, OTHER_IDS), STRANGER, tell)
    }

    /// Identifiers whose items are over are complete.
    fn leave(&mut self, tag: Tag, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        while let Some(name) = self.open.last() {
            let mut here = item(tell.nesting);
            let inside = name.item.iter().all(|level| here.next() == Some(*level));
            let behind = here.next().map_or(tag, |(sequence, _)| sequence) > OTHER_IDS;
            if inside && !behind {
                return Ok(());
            }
            if let Some(name) = self.open.pop() {
                name.judge(self.is_query, tell)?;
            }
        }
        Ok(())
    }

    /// A part of the authority of the innermost open identifier, if it is about that.
    fn authority(&mut self, tag: Tag, value: &[u8], tell: &Tell<'_>) {
        let Some(name) = self.open.last_mut() else {
            return;
        };
        let mut here = item(tell.nesting).skip(name.item.len());
        let part = match (here.next(), here.next(), tag) {
            (None, _, ISSUER) => 0,
            (Some((QUALIFIERS, 1)), None, UNIVERSAL) => 1,
            (Some((QUALIFIERS, 1)), None, UNIVERSAL_TYPE) => 2,
            // What is deeper qualifies something else.
            (Some((QUALIFIERS, _)), None, _) => {
                name.doubtful = true;
                return;
            }
            _ => return,
        };
        if let Some(slot) = name.authority.get_mut(part) {
            *slot = value.to_vec();
        }
    }

    /// Text of which it is certain what it says.
    fn readable(&self, element: &Element<'_>, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        let whole = usize::try_from(element.length).is_ok_and(|length| length <= MAX_KEPT);
        if whole && (self.is_unicode == Some(true) || element.value.is_ascii()) {
            return Ok(());
        }
        let detail = "names a patient in other text than ASCII or UTF-8, or too long";
        refuse(&nesting::path(tell.nesting, element.tag), detail, tell)
    }
}

impl Name {
    fn judge(&self, is_query: bool, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        let many = |byte: &u8| matches!(byte, b'*' | b'?' | b'\\');
        if is_query && self.identifier.iter().any(many) {
            return refuse(&self.place, "names more than one patient", tell);
        }
        let [namespace, universal, scheme] = &self.authority;
        let authority: [&[u8]; 3] = [namespace, universal, scheme];
        let patients = &tell.candidates.policy().patients;
        if self.doubtful || !patients.knows(authority, &self.identifier) {
            return refuse(&self.place, STRANGER, tell);
        }
        Ok(())
    }
}

/// Rules that bind patients do not accept this.
//= C5
fn refuse(place: &str, detail: &'static str, tell: &mut Tell<'_>) -> Result<(), Refusal> {
    let keep = |rule: &Rule| !rule.bind_patient;
    tell.narrow_at(place, keep, Reason::Identity, detail)
}

/// Where the walk stands: the open sequences with the numbers of their items.
fn item(levels: &[Nesting]) -> impl Iterator<Item = (Tag, u64)> {
    let sequences = levels.iter().filter(|level| level.kind == Kind::Sequence);
    sequences.map(|level| (level.tag, level.items))
}

const STRANGER: &str = "is none of the device's patients";
const UTF_8: &[u8] = b"ISO_IR 192";
const CHARACTER_SET: Tag = Tag(0x0008, 0x0005);
const ID: Tag = Tag(0x0010, 0x0020);
const ISSUER: Tag = Tag(0x0010, 0x0021);
const QUALIFIERS: Tag = Tag(0x0010, 0x0024);
const OTHER_IDS: Tag = Tag(0x0010, 0x1000);
const UNIVERSAL: Tag = Tag(0x0040, 0x0032);
const UNIVERSAL_TYPE: Tag = Tag(0x0040, 0x0033);

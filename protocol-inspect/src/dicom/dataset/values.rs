//! The judge of values: which character set holds where, and what is told of a value.
//!
//! In: items as they open, elements, chunks of those that are too long to be kept. Out: findings.
//! What a value must be, `values/` decides.

use dicom_core::Tag;
use dicom_core::header::VR;

use super::super::dictionary::Entry;
use super::super::values::{self, Case, Flaw, Flaws, Judged, Repertoire};
use super::brief::{Brief, Content};
use super::judges::{Element, Long, MAX_KEPT, Tell};
use super::vr;
use crate::severity::Weight;
use crate::{Reason, Refusal};

/// What is remembered from element to element.
pub(super) struct Values {
    query: bool,
    root: Repertoire,
    /// Declared by items, by how many sequences they are in. No more than the nesting is deep.
    //= C7
    items: Vec<(usize, Repertoire)>,
    /// The value under way, if it is too long to be kept.
    long: Option<values::Long>,
}

impl Values {
    pub(super) fn new(brief: &Brief) -> Self {
        let query = match brief.content {
            Content::Query => true,
            Content::Instance(_) | Content::QueryResult | Content::Normalized(_) => false,
        };
        Self {
            query,
            root: Repertoire::Default,
            items: Vec::new(),
            long: None,
        }
    }

    /// An item in so many sequences begins; what its predecessor declared is over.
    pub(super) fn open_item(&mut self, depth: usize) {
        while self.items.last().is_some_and(|(at, _)| *at >= depth) {
            self.items.pop();
        }
    }

    /// A value begins that is too long to be kept.
    pub(super) fn long(&mut self, long: &Long) {
        let case = self.case(long.depth);
        let vr = known(long.vr, || Entry::of(long.tag));
        self.long = values::Long::new(vr, &case);
    }

    /// The next of its bytes. Those of fragments come, too, and say nothing here.
    pub(super) fn chunk(&mut self, bytes: &[u8]) {
        if let Some(long) = &mut self.long {
            long.push(bytes);
        }
    }

    pub(super) fn element(
        &mut self,
        element: &Element<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<(), Refusal> {
        let vr = known(element.vr, || element.entry);
        let case = self.case(element.depth);
        let Judged { count, mut flaws } = match self.long.take() {
            Some(long) => long.end(),
            None if is_long(element.length) => {
                values::long_binary(vr, vr::width(vr), element.length)
            }
            None => values::whole(vr, vr::width(vr), element.value, &case),
        };
        if element.tag == CHARACTER_SET {
            let declared = self.declare(element);
            if !declared.is_empty() {
                tell_all(element.tag, declared, tell)?;
            }
        }
        // Of keys only those of UIDs may be lists, as long as nothing else is negotiated.
        //= DICOM PS3.4 C.2.2.2.2
        let is_list = self.query && vr == VR::UI;
        if count > 0
            && !is_list
            && let Some(entry) = element.entry
            && !entry.allows(count)
        {
            flaws.add(Flaw::Multiplicity);
        }
        if flaws.is_empty() {
            return Ok(());
        }
        tell_all(element.tag, flaws, tell)
    }

    fn declare(&mut self, element: &Element<'_>) -> Flaws {
        let (repertoire, flaws) = if is_long(element.length) {
            (Repertoire::Unknown, Flaws::default())
        } else {
            Repertoire::declared(element.value)
        };
        // Empty in an item says nothing: what is around it holds.
        if element.depth == 0 {
            self.root = repertoire;
        } else if !element.value.is_empty() {
            self.open_item(element.depth);
            self.items.push((element.depth, repertoire));
        }
        flaws
    }

    /// What is declared here, or nearest around it.
    fn case(&mut self, depth: usize) -> Case {
        while self.items.last().is_some_and(|(at, _)| *at > depth) {
            self.items.pop();
        }
        let repertoire = self.items.last().map_or(self.root, |(_, own)| *own);
        Case {
            repertoire,
            query: self.query,
        }
    }
}

fn tell_all(tag: Tag, flaws: Flaws, tell: &mut Tell<'_>) -> Result<(), Refusal> {
    for flaw in flaws.iter() {
        let (level, weight) = flaw.weight();
        // What nobody but its maker reads cannot be wrong beyond doubt.
        let private = !tag.group().is_multiple_of(2) && weight == Weight::Content;
        let weight = if private { Weight::Strict } else { weight };
        tell.finding(tag, (level, weight), Reason::Encoding, flaw.detail())?;
    }
    Ok(())
}

/// Receivers that have a dictionary read UN as what it says (PS3.5 6.2.2).
fn known(vr: VR, entry: impl Fn() -> Option<&'static Entry>) -> VR {
    if vr == VR::UN {
        vr::implied(entry())
    } else {
        vr
    }
}

fn is_long(length: u32) -> bool {
    usize::try_from(length).map_or(true, |length| length > MAX_KEPT)
}

const CHARACTER_SET: Tag = Tag(0x0008, 0x0005);

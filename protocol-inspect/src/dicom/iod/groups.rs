//! Functional groups of images with many frames (PS3.3 C.7.6.16): has every frame what the information object asks
//! for, either shared or of its own, and are there as many frames as are told?
//!
//! In: the sequences and items of the two functional group sequences, and two attributes of the data set. Out: findings.
//! Of the groups that are shared a list is kept, of those of a frame some bits, however many frames there are.
//! What is in a group is judged where all items are.

use super::tables::{Group, Type};
use super::value::Value;
use super::{Tell, number, tag};
use crate::Refusal;
use crate::severity::Weight;

/// The judge of the functional groups of one instance.
#[derive(Debug)]
pub(super) struct Groups {
    /// What every frame must have; at most [`MOST_MANDATORY`].
    mandatory: Vec<Group>,
    /// In how many sequences the walk is.
    depth: usize,
    /// The outermost of these, and the next one.
    sequences: [u32; 2],
    /// Of the mandatory ones, those that are shared, and those of the frame under way.
    shared: u32,
    frame: u32,
    /// All that are shared. At most [`MOST_SHARED`].
    all_shared: Vec<u32>,
    shared_items: u64,
    frames: u64,
    /// Number of Frames, if it is a number.
    told: Option<u64>,
    /// Whether frames lie where their numbers say, and need no items and no content of their own.
    is_tiled: bool,
}

impl Groups {
    /// Of an IOD with these mandatory functional groups; `None` if it has none.
    pub(super) fn new(mandatory: impl Iterator<Item = Group>) -> Option<Self> {
        let mandatory: Vec<Group> = mandatory.take(MOST_MANDATORY).collect();
        (!mandatory.is_empty()).then(|| Self {
            mandatory,
            depth: 0,
            sequences: [0; 2],
            shared: 0,
            frame: 0,
            all_shared: Vec::new(),
            shared_items: 0,
            frames: 0,
            told: None,
            is_tiled: false,
        })
    }

    pub(super) fn element(&mut self, value: &Value<'_>) {
        if self.depth > 0 {
            return;
        }
        let text = str::from_utf8(value.bytes).unwrap_or_default();
        let text = text.trim_matches([' ', '\0']);
        match number(value.tag) {
            NUMBER_OF_FRAMES => self.told = text.parse().ok(),
            DIMENSION_ORGANIZATION => self.is_tiled = text == "TILED_FULL",
            _ => {}
        }
    }

    /// A sequence begins.
    ///
    /// # Errors
    /// The refusal, if the profile refuses a group that is both shared and of a frame.
    pub(super) fn open_sequence(
        &mut self,
        sequence: u32,
        tell: &mut impl Tell,
    ) -> Result<(), Refusal> {
        if let Some(place) = self.sequences.get_mut(self.depth) {
            *place = sequence;
        }
        self.depth = self.depth.saturating_add(1);
        match (self.depth, self.sequences) {
            (2, [SHARED, group]) => {
                if self.all_shared.len() < MOST_SHARED {
                    self.all_shared.push(group);
                }
                self.mark(Type::Present);
                Ok(())
            }
            (2, [PER_FRAME, group]) => {
                self.mark(Type::Present);
                if self.all_shared.contains(&group) {
                    return tell.finding(tag(group), Weight::Strict, BOTH);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// An item begins.
    pub(super) fn open_item(&mut self) {
        match (self.depth, self.sequences) {
            (1, [SHARED, _]) => self.shared_items = self.shared_items.saturating_add(1),
            (1, [PER_FRAME, _]) => {
                self.frames = self.frames.saturating_add(1);
                self.frame = 0;
            }
            (2, _) => self.mark(Type::Required),
            _ => {}
        }
    }

    /// An item is over.
    ///
    /// # Errors
    /// The refusal, if the profile refuses what the frame lacks.
    pub(super) fn close_item(&self, tell: &mut impl Tell) -> Result<(), Refusal> {
        if self.depth == 1 && self.sequences.first() == Some(&PER_FRAME) {
            return self.complete(self.shared | self.frame, tell);
        }
        Ok(())
    }

    /// A sequence is over.
    pub(super) fn close_sequence(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// The data set is complete.
    ///
    /// # Errors
    /// The refusal, if the profile refuses what it lacks.
    pub(super) fn finish(&self, tell: &mut impl Tell) -> Result<(), Refusal> {
        if self.shared_items > 1 {
            tell.finding(tag(SHARED), Weight::Strict, MORE_SHARED)?;
        }
        if self.frames == 0 {
            self.complete(self.shared, tell)?;
        }
        // That there are none at all is told by the attribute's own type.
        if self.frames > 0 && self.told.is_some_and(|told| told != self.frames) {
            return tell.finding(tag(PER_FRAME), Weight::Content, OTHER_NUMBER);
        }
        Ok(())
    }

    /// Whether these are all that are mandatory.
    fn complete(&self, given: u32, tell: &mut impl Tell) -> Result<(), Refusal> {
        for (place, group) in self.mandatory.iter().enumerate() {
            let implied = self.is_tiled && self.frames == 0 && group.tag == FRAME_CONTENT;
            if given & bit(place) == 0 && !implied {
                tell.finding(tag(group.tag), Weight::Strict, NEITHER)?;
            }
        }
        Ok(())
    }

    /// The group under way is there, if that is enough for one of this type.
    fn mark(&mut self, enough_for: Type) {
        let [outer, group] = self.sequences;
        let found = self.mandatory.iter().position(|own| own.tag == group);
        let Some((place, own)) = found.and_then(|at| Some((at, self.mandatory.get(at)?))) else {
            return;
        };
        if own.kind != enough_for {
            return;
        }
        match outer {
            SHARED => self.shared |= bit(place),
            PER_FRAME => self.frame |= bit(place),
            _ => {}
        }
    }
}

fn bit(place: usize) -> u32 {
    let place = u32::try_from(place).unwrap_or(u32::MAX);
    1_u32.checked_shl(place).unwrap_or_default()
}

/// Shared and per-frame functional groups.
pub(super) const SHARED: u32 = 0x5200_9229;
pub(super) const PER_FRAME: u32 = 0x5200_9230;
const NUMBER_OF_FRAMES: u32 = 0x0028_0008;
const DIMENSION_ORGANIZATION: u32 = 0x0020_9311;
const FRAME_CONTENT: u32 = 0x0020_9111;
/// As many as there are bits; no IOD has half of that.
//= C7
const MOST_MANDATORY: usize = 32;
/// The standard has about as many macros; of more, those beyond may be of frames, too.
//= C7
const MOST_SHARED: usize = 64;

pub(super) const NEITHER: &str =
    "is a mandatory functional group that is neither shared nor the frame's own";
pub(super) const BOTH: &str = "is a functional group that is shared, too";
pub(super) const MORE_SHARED: &str = "has more than one item";
pub(super) const OTHER_NUMBER: &str = "has not as many items as there are frames";
pub(super) const DETAILS: [&str; 4] = [NEITHER, BOTH, MORE_SHARED, OTHER_NUMBER];

//! What was found in items that look like this one.
//!
//! In: the attributes of an item, as far as they are judged. Out: the faults of an equal one.
//! Reports repeat the same few items thousands of times. Knows nothing of what is outside of an item.

use dicom_core::Tag;

use super::tables::LevelId;
use super::value::State;
use crate::severity::Weight;

/// Something that an item lacks or has too much.
pub(super) type Fault = (Tag, Weight, &'static str);

/// The last items that differ, at most [`PLACES`].
//= C7
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// How many items were judged.
    judged: usize,
    places: Vec<Item>,
}

#[derive(Debug, Default)]
struct Item {
    level: LevelId,
    weight: Option<Weight>,
    states: Vec<State>,
    faults: Vec<Fault>,
}

impl Memory {
    /// Whether there are enough items to remember some.
    pub(super) fn is_open(&mut self) -> bool {
        self.judged = self.judged.saturating_add(1);
        self.judged > FEW
    }

    /// The faults of an item of the same level, weight and states.
    pub(super) fn recall(
        &self,
        level: LevelId,
        weight: Weight,
        states: &[State],
    ) -> Option<&[Fault]> {
        let item = self.places.get(place(level, states))?;
        let same = item.level == level && item.weight == Some(weight) && item.states == states;
        same.then_some(&item.faults)
    }

    /// Keeps the faults of an item, and forgets another one that had its place.
    pub(super) fn keep(
        &mut self,
        level: LevelId,
        weight: Weight,
        states: &[State],
        faults: Vec<Fault>,
    ) {
        if self.places.is_empty() {
            self.places.resize_with(PLACES, Item::default);
        }
        let Some(item) = self.places.get_mut(place(level, states)) else {
            return;
        };
        (item.level, item.weight, item.faults) = (level, Some(weight), faults);
        item.states.clear();
        item.states.extend_from_slice(states);
    }
}

/// Where such an item is kept: what items differ in is spread over all places.
fn place(level: LevelId, states: &[State]) -> usize {
    let (sum, _) = states.iter().fold((0_u64, 1_u64), |(sum, odd), state| {
        (
            sum.wrapping_add(state.wrapping_mul(odd)),
            odd.wrapping_add(SPREAD),
        )
    });
    let sum = sum.wrapping_add(u64::from(level.0)).wrapping_mul(ODD);
    let [high, ..] = sum.to_be_bytes();
    usize::from(high & LAST_PLACE)
}

/// Data sets with fewer items are judged sooner without.
const FEW: usize = 32;
const PLACES: usize = 32;
const LAST_PLACE: u8 = 31;
/// Even, so that each state has an odd factor.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c14;
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equal_items_are_recalled() {
        let mut memory = Memory::default();
        let (level, weight) = (LevelId(7), Weight::Strict);
        let fault = (Tag(8, 0x0100), weight, "is missing");
        assert_eq!(memory.recall(level, weight, &[1, 0, 3]), None);
        memory.keep(level, weight, &[1, 0, 3], vec![fault]);
        assert_eq!(memory.recall(level, weight, &[1, 0, 3]), Some(&[fault][..]));
        for (other, weight, states) in [
            (LevelId(8), Weight::Strict, [1, 0, 3]),
            (level, Weight::Notice, [1, 0, 3]),
            (level, Weight::Strict, [1, 0, 7]),
            (level, Weight::Strict, [0, 1, 3]),
        ] {
            assert_eq!(memory.recall(other, weight, &states), None);
        }
        // Whatever else is kept takes one place at most, and is right where it is found.
        for state in 0..1_000 {
            memory.keep(level, weight, &[state], Vec::new());
            assert_eq!(memory.recall(level, weight, &[state]), Some(&[][..]));
        }
        assert_eq!(memory.places.len(), PLACES);
    }

    #[test]
    fn few_items_are_not_kept() {
        let mut memory = Memory::default();
        let opened = (0..FEW + 2).filter(|_| memory.is_open()).count();
        assert_eq!(opened, 2);
    }
}

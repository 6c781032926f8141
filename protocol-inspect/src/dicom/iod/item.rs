//! One open level: the data set, or an item of a sequence.
//!
//! In: its elements in ascending order, and its end. Out: findings. Knows its own level only.

use std::cell::Cell;

use super::memory::Memory;
use super::root::Root;
use super::tables::{self, AttributeRule, LevelId, Otherwise, Row, Type};
use super::value::{FILLED, PRESENT, State, Value};
use super::{Tell, condition, groups, number, tag};
use crate::Refusal;
use crate::severity::Weight;

#[derive(Debug)]
pub(super) struct Open {
    level: LevelId,
    /// Its attributes; those of the data set are in [`Root::entries`].
    pub(super) rows: &'static [Row],
    /// The first attribute that is not passed yet.
    pub(super) cursor: usize,
    /// Where its states begin.
    pub(super) base: usize,
    /// What a fault weighs here.
    weight: Weight,
    /// The one that was opened last in it.
    pub(super) sequence: Sequence,
}

/// A sequence in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sequence {
    pub(super) tag: u32,
    items: LevelId,
    weight: Weight,
}

impl Open {
    pub(super) fn data_set() -> Self {
        Self::level(LevelId::default(), 0, Weight::Strict)
    }

    /// An item of this sequence.
    pub(super) fn item(sequence: Sequence, base: usize) -> Self {
        Self::level(sequence.items, base, sequence.weight)
    }

    fn level(level: LevelId, base: usize, weight: Weight) -> Self {
        Self {
            level,
            rows: level.rows(),
            cursor: 0,
            base,
            weight,
            sequence: Sequence {
                tag: 0,
                items: LevelId::default(),
                weight,
            },
        }
    }

    /// An element of the data set.
    pub(super) fn root_element(
        &mut self,
        root: &Root,
        states: &mut [State],
        value: &Value<'_>,
        tell: &mut impl Tell,
    ) -> Result<(), Refusal> {
        self.cursor = root.seek(self.cursor, number(value.tag));
        let same = root.entries.iter().zip(states).skip(self.cursor);
        for (entry, state) in same.take_while(|(entry, _)| entry.tag == number(value.tag)) {
            let Some(rule) = entry.rule.get() else {
                continue;
            };
            *state = value.state(&rule);
            let mandatory = root.is_mandatory(entry);
            if (mandatory || entry.exclusive) && value.is_outside(&rule) {
                let weight = if mandatory {
                    Weight::Strict
                } else {
                    Weight::Notice
                };
                tell.finding(value.tag, weight, OUTSIDE)?;
            }
        }
        Ok(())
    }

    /// An element of the item.
    pub(super) fn element(
        &mut self,
        states: &mut [State],
        value: &Value<'_>,
        tell: &mut impl Tell,
    ) -> Result<(), Refusal> {
        let Some(rule) = self
            .seek(number(value.tag))
            .and_then(|row| tables::rule(row).get())
        else {
            return Ok(());
        };
        if let Some(state) = states.get_mut(self.base.saturating_add(self.cursor)) {
            *state = value.state(&rule);
        }
        if value.is_outside(&rule) {
            tell.finding(value.tag, self.weight, OUTSIDE)?;
        }
        Ok(())
    }

    /// A sequence of the data set begins; whether the tables have its items.
    pub(super) fn open_root_sequence(&mut self, root: &Root, tag: u32) -> bool {
        self.cursor = root.seek(self.cursor, tag);
        let entries = root.entries.iter().skip(self.cursor);
        let mut items = LevelId::default();
        let mut weight = Weight::Notice;
        for entry in entries.take_while(|entry| entry.tag == tag) {
            let mandatory = root.is_mandatory(entry);
            if items == LevelId::default() || (mandatory && entry.items != LevelId::default()) {
                items = entry.items;
            }
            if mandatory && !GROUPS.contains(&tag) {
                weight = Weight::Strict;
            }
        }
        self.begin(tag, items, weight)
    }

    /// A sequence of the item begins; whether the tables have its items.
    pub(super) fn open_sequence(&mut self, tag: u32) -> bool {
        let items = self.seek(tag).map(tables::items).unwrap_or_default();
        self.begin(tag, items, self.weight)
    }

    /// The item is over. `outer` tells of an attribute further out.
    pub(super) fn judge(
        &self,
        states: &[State],
        outer: impl Fn(u32) -> Option<State>,
        memory: &mut Memory,
        tell: &mut impl Tell,
    ) -> Result<(), Refusal> {
        let own = states.get(self.base..).unwrap_or_default();
        let remembers = memory.is_open();
        if remembers && let Some(faults) = memory.recall(self.level, self.weight, own) {
            return faults
                .iter()
                .try_for_each(|(tag, weight, detail)| tell.finding(*tag, *weight, detail));
        }
        let depends = Cell::new(false);
        // Conditions of one level mostly ask for the same attribute.
        let last = Cell::new((0, None));
        let state = |tag| {
            if last.get().0 != tag {
                let place = self.rows.binary_search_by_key(&tag, tables::tag);
                let found = match place {
                    Ok(place) => own.get(place).copied(),
                    Err(_) => {
                        depends.set(true);
                        outer(tag)
                    }
                };
                last.set((tag, found));
            }
            last.get().1
        };
        let mut faults = Vec::new();
        for (row, own) in self.rows.iter().zip(own) {
            if *own == 0 && tables::rule(row).lets_be_absent() {
                continue;
            }
            let Some(rule) = tables::rule(row).get() else {
                continue;
            };
            if let Some((weight, detail)) = fault(&rule, *own, self.weight, state) {
                let tag = tag(tables::tag(row));
                tell.finding(tag, weight, detail)?;
                if remembers {
                    faults.push((tag, weight, detail));
                }
            }
        }
        if remembers && !depends.get() {
            memory.keep(self.level, self.weight, own, faults);
        }
        Ok(())
    }

    fn begin(&mut self, tag: u32, items: LevelId, weight: Weight) -> bool {
        self.sequence = Sequence { tag, items, weight };
        items != LevelId::default()
    }

    /// Passes what comes before this attribute.
    fn seek(&mut self, tag: u32) -> Option<&'static Row> {
        let rest = self.rows.get(self.cursor..).unwrap_or_default().iter();
        let before = rest.take_while(|row| tables::tag(row) < tag).count();
        self.cursor = self.cursor.saturating_add(before);
        let row = self.rows.get(self.cursor)?;
        (tables::tag(row) == tag).then_some(row)
    }
}

/// What is wrong with the presence, the absence or the emptiness of an attribute (PS3.5 7.4), and what it weighs.
pub(super) fn fault(
    rule: &AttributeRule,
    own: State,
    weight: Weight,
    state: impl Fn(u32) -> Option<State>,
) -> Option<(Weight, &'static str)> {
    let present = own & PRESENT != 0;
    let empty = own & FILLED == 0;
    match rule.kind {
        Type::Optional => None,
        Type::Required if !present => Some((weight, MISSING)),
        Type::Required => empty.then_some((weight, EMPTY)),
        Type::Present => (!present).then_some((weight, MISSING)),
        Type::RequiredIf | Type::PresentIf => {
            let needed = rule
                .condition
                .and_then(|asked| condition::holds(asked, state));
            let must_be_filled = rule.kind == Type::RequiredIf;
            match needed {
                Some(true) if !present => Some((weight, MISSING_HERE)),
                Some(true) if must_be_filled && empty => Some((weight, EMPTY_HERE)),
                Some(false) if present => match rule.otherwise {
                    Otherwise::Forbidden => Some((weight, FORBIDDEN)),
                    Otherwise::Unsaid => Some((Weight::Hint, FORBIDDEN)),
                    Otherwise::MayBePresent => None,
                },
                Some(_) => None,
                None if present && must_be_filled && empty => Some((Weight::Notice, EMPTY_HERE)),
                None => None,
            }
        }
    }
}

/// What the items of these have to hold depends on other items.
const GROUPS: [u32; 2] = [groups::SHARED, groups::PER_FRAME];
pub(super) const MISSING: &str = "is required by the information object and missing";
pub(super) const EMPTY: &str = "is required by the information object and empty";
pub(super) const MISSING_HERE: &str = "is required here by the information object and missing";
pub(super) const EMPTY_HERE: &str = "is required here by the information object and empty";
pub(super) const FORBIDDEN: &str = "must not be here, says the information object";
pub(super) const OUTSIDE: &str = "is not one of the enumerated values";
pub(super) const DETAILS: [&str; 6] =
    [MISSING, EMPTY, MISSING_HERE, EMPTY_HERE, FORBIDDEN, OUTSIDE];

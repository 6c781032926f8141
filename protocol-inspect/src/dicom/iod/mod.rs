//! Information objects (PS3.3): whether an instance has the attributes of its modules, at every level.
//!
//! In: the SOP class, and the elements, sequences and items of a data set as they stream by. Out: findings.
//! Of values only a few bits are kept, of levels only those that are open. Knows nothing of bytes and of the walk.

mod blob;
mod condition;
mod groups;
mod item;
mod memory;
mod root;
mod tables;
#[cfg(test)]
mod tests;
mod value;

use dicom_core::Tag;

use crate::Refusal;
use crate::severity::Weight;
use groups::Groups;
use item::Open;
use memory::Memory;
use root::Root;
use value::{FILLED, PRESENT, State};

pub(super) use value::Value;

/// Where findings go.
pub(super) trait Tell {
    /// Something is wrong with this element, or with its absence from where the walk stands.
    ///
    /// # Errors
    /// The refusal, if the profile refuses it.
    fn finding(&mut self, tag: Tag, weight: Weight, detail: &'static str) -> Result<(), Refusal>;
}

/// The judge of one instance.
#[derive(Debug)]
pub(super) struct Judge {
    root: &'static Root,
    /// Of the attributes of all open levels, one level after the other.
    states: Vec<State>,
    /// The data set and the items that are open.
    open: Vec<Open>,
    /// How many sequences are open of which no table has the items.
    ignored: usize,
    memory: Memory,
    groups: Option<Box<Groups>>,
}

impl Judge {
    /// Of an instance of this SOP class, if there is a table.
    pub(super) fn new(sop_class: &str) -> Option<Self> {
        let root = Root::of(sop_class)?;
        let states = vec![0; root.entries.len()];
        Some(Self {
            root,
            states,
            open: vec![Open::data_set()],
            ignored: 0,
            memory: Memory::default(),
            groups: Groups::new(tables::groups(sop_class)).map(Box::new),
        })
    }

    /// An element whose value is complete.
    ///
    /// # Errors
    /// The refusal, if the profile refuses a value that is not one of the enumerated ones.
    pub(super) fn element(
        &mut self,
        value: &Value<'_>,
        tell: &mut impl Tell,
    ) -> Result<(), Refusal> {
        if let Some(groups) = &mut self.groups {
            groups.element(value);
        }
        if self.ignored > 0 {
            return Ok(());
        }
        match self.open.as_mut_slice() {
            [data_set] => data_set.root_element(self.root, &mut self.states, value, tell),
            [.., item] => item.element(&mut self.states, value, tell),
            [] => Ok(()),
        }
    }

    /// Pixel data of undefined length, which comes as fragments.
    pub(super) fn open_fragments(&mut self, tag: Tag) {
        self.open_level(tag);
        self.mark(FILLED);
        self.ignored = self.ignored.saturating_sub(1);
    }

    /// A sequence begins.
    ///
    /// # Errors
    /// The refusal, if the profile refuses it here.
    pub(super) fn open_sequence(&mut self, tag: Tag, tell: &mut impl Tell) -> Result<(), Refusal> {
        if let Some(groups) = &mut self.groups {
            groups.open_sequence(number(tag), tell)?;
        }
        self.open_level(tag);
        Ok(())
    }

    fn open_level(&mut self, tag: Tag) {
        if self.ignored > 0 {
            self.ignored = self.ignored.saturating_add(1);
            return;
        }
        let is_root = self.open.len() == 1;
        let Some(open) = self.open.last_mut() else {
            return;
        };
        let known = if is_root {
            open.open_root_sequence(self.root, number(tag))
        } else {
            open.open_sequence(number(tag))
        };
        if !known {
            self.ignored = 1;
        }
        self.mark(PRESENT);
    }

    /// An item of the sequence begins.
    pub(super) fn open_item(&mut self) {
        if let Some(groups) = &mut self.groups {
            groups.open_item();
        }
        if self.ignored <= 1 {
            self.mark(FILLED);
        }
        if self.ignored > 0 {
            return;
        }
        let Some(open) = self.open.last() else {
            return;
        };
        let item = Open::item(open.sequence, self.states.len());
        let end = self.states.len().saturating_add(item.rows.len());
        self.states.resize(end, 0);
        self.open.push(item);
    }

    /// The item is over.
    ///
    /// # Errors
    /// The refusal, if the profile refuses what it lacks.
    pub(super) fn close_item(&mut self, tell: &mut impl Tell) -> Result<(), Refusal> {
        if let Some(groups) = &self.groups {
            groups.close_item(tell)?;
        }
        if self.ignored > 0 || self.open.len() <= 1 {
            return Ok(());
        }
        let mut memory = std::mem::take(&mut self.memory);
        let Some(item) = self.open.last() else {
            return Ok(());
        };
        let outer = |tag| self.outer_state(tag);
        let found = item.judge(&self.states, outer, &mut memory, tell);
        self.memory = memory;
        self.states.truncate(item.base);
        self.open.pop();
        found
    }

    /// The sequence is over.
    pub(super) fn close_sequence(&mut self) {
        if let Some(groups) = &mut self.groups {
            groups.close_sequence();
        }
        self.ignored = self.ignored.saturating_sub(1);
    }

    /// The data set is complete.
    ///
    /// # Errors
    /// The refusal, if the profile refuses what it lacks.
    pub(super) fn finish(&mut self, tell: &mut impl Tell) -> Result<(), Refusal> {
        self.open.truncate(1);
        if let Some(groups) = &self.groups {
            groups.finish(tell)?;
        }
        self.root.judge(&self.states, tell)
    }

    /// Sets bits of the sequence that is open in the innermost level.
    fn mark(&mut self, bits: State) {
        let Some(open) = self.open.last() else {
            return;
        };
        let tag = open.sequence.tag;
        let first = open.base.saturating_add(open.cursor);
        let states = self.states.iter_mut().skip(first);
        if self.open.len() > 1 {
            let rows = open.rows.iter().skip(open.cursor).map(tables::tag);
            let own = rows.zip(states).take_while(|(row, _)| *row == tag);
            own.for_each(|(_, state)| *state |= bits);
        } else {
            let rows = self.root.entries.iter().skip(open.cursor);
            let own = rows.zip(states).take_while(|(row, _)| row.tag == tag);
            own.for_each(|(_, state)| *state |= bits);
        }
    }

    /// What is known of an attribute at the innermost level around the item that has it; `None` if none has, or if it
    /// may still come.
    fn outer_state(&self, tag: u32) -> Option<State> {
        let (data_set, items) = self.open.split_first()?;
        for item in items.iter().rev().take(MAX_SCOPE).skip(1) {
            let Ok(place) = item.rows.binary_search_by_key(&tag, tables::tag) else {
                continue;
            };
            let state = *self.states.get(item.base.saturating_add(place))?;
            let passed = place < item.cursor || state != 0;
            return passed.then_some(state);
        }
        let place = self.root.place(tag)?;
        let state = *self.states.get(place)?;
        (place < data_set.cursor || state != 0).then_some(state)
    }
}

/// Whether this is what a finding of this module says: the instance is not what its SOP class promises.
pub(super) fn is_finding(detail: &str) -> bool {
    item::DETAILS.contains(&detail) || groups::DETAILS.contains(&detail) || root::FOREIGN == detail
}

fn number(tag: Tag) -> u32 {
    u32::from(tag.group()) << 16 | u32::from(tag.element())
}

fn tag(number: u32) -> Tag {
    let [a, b, c, d] = number.to_be_bytes();
    Tag(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

/// Conditions look at the item itself, so many levels above it, and the data set.
//= C7
const MAX_SCOPE: usize = 4;

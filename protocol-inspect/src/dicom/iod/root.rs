//! The attributes of all modules of an IOD in one list, for the data set itself.
//!
//! Built once for each IOD, when it is first needed, from the tables alone; judged at the end of a data set. Knows nothing of values.

use std::sync::{LazyLock, OnceLock};

use super::item::{self, EMPTY, MISSING};
use super::tables::{self, Iod, LevelId, Module, Otherwise, RuleId, Type, Usage};
use super::value::State;
use super::{Tell, condition, tag};
use crate::Refusal;
use crate::severity::Weight;

/// An attribute of a module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) tag: u32,
    pub(super) rule: RuleId,
    /// Of its items, if it is a sequence.
    pub(super) items: LevelId,
    /// Its place in [`Root::modules`].
    pub(super) module: usize,
    /// Whether no other module has it.
    pub(super) exclusive: bool,
}

/// The list.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) modules: Vec<Module>,
    /// By tag; an attribute that several modules have is there several times.
    pub(super) entries: Vec<Entry>,
}

impl Root {
    /// Of the IOD of a SOP class, if there is one. There are as many as IODs, whatever is asked for.
    pub(super) fn of(sop_class: &str) -> Option<&'static Self> {
        //= C7
        static ALL: LazyLock<Vec<OnceLock<Root>>> = LazyLock::new(|| {
            let mut all = Vec::new();
            all.resize_with(Iod::count(), OnceLock::new);
            all
        });
        let number = Iod::number(sop_class)?;
        let iod = Iod::get(number)?;
        Some(ALL.get(number)?.get_or_init(|| Self::new(iod)))
    }

    fn new(iod: Iod) -> Self {
        let modules: Vec<Module> = iod.modules().collect();
        let rows = modules.iter().map(|module| module.level().rows().len());
        let mut entries = Vec::with_capacity(rows.sum());
        for (place, module) in modules.iter().enumerate() {
            entries.extend(module.level().rows().iter().map(|row| Entry {
                tag: tables::tag(row),
                rule: tables::rule(row),
                items: tables::items(row),
                module: place,
                exclusive: true,
            }));
        }
        entries.sort_by_key(|entry| entry.tag);
        for same in entries.chunk_by_mut(|one, two| one.tag == two.tag) {
            let [first, _, ..] = same else {
                continue;
            };
            let items = iod.items_of(first.tag);
            for entry in same {
                entry.exclusive = false;
                entry.items = items.unwrap_or(entry.items);
            }
        }
        Self { modules, entries }
    }

    pub(super) fn is_mandatory(&self, entry: &Entry) -> bool {
        let module = self.modules.get(entry.module);
        module.is_some_and(|module| module.usage() == Usage::Mandatory)
    }

    /// From `cursor` on, the first attribute that does not come before this one.
    pub(super) fn seek(&self, cursor: usize, tag: u32) -> usize {
        let rest = self.entries.get(cursor..).unwrap_or_default().iter();
        let before = rest.take_while(|entry| entry.tag < tag).count();
        cursor.saturating_add(before)
    }

    /// Where an attribute is.
    pub(super) fn place(&self, tag: u32) -> Option<usize> {
        let place = self.entries.partition_point(|entry| entry.tag < tag);
        let entry = self.entries.get(place)?;
        (entry.tag == tag).then_some(place)
    }

    /// The data set is complete.
    ///
    /// # Errors
    /// The refusal, if the profile refuses what it lacks.
    pub(super) fn judge(&self, states: &[State], tell: &mut impl Tell) -> Result<(), Refusal> {
        let state = |tag| states.get(self.place(tag)?).copied();
        let used = self.used(states);
        let mut weights = Vec::with_capacity(self.modules.len());
        for (module, used) in self.modules.iter().zip(used) {
            let needed = match module.usage() {
                Usage::Mandatory => Some(true),
                Usage::Conditional => module
                    .condition()
                    .and_then(|asked| condition::holds(asked, state)),
                Usage::User => None,
            };
            if let (Some(false), Some(used)) = (needed, used) {
                let weight = match module.otherwise() {
                    Otherwise::Forbidden => Some(Weight::Strict),
                    Otherwise::Unsaid => Some(Weight::Hint),
                    Otherwise::MayBePresent => None,
                };
                if let Some(weight) = weight {
                    tell.finding(tag(used), weight, FOREIGN)?;
                }
            }
            weights.push(match needed {
                Some(true) => Some(Weight::Strict),
                Some(false) | None => used.map(|_| Weight::Notice),
            });
        }
        for (entry, own) in self.entries.iter().zip(states) {
            if *own == 0 && entry.rule.lets_be_absent() {
                continue;
            }
            let weight = weights.get(entry.module).copied().flatten();
            let Some((weight, rule)) = weight.zip(entry.rule.get()) else {
                continue;
            };
            if let Some((weight, detail)) = item::fault(&rule, *own, weight, state) {
                let identity = IDENTITY.contains(&entry.tag) && [MISSING, EMPTY].contains(&detail);
                let weight = if identity { Weight::Content } else { weight };
                tell.finding(tag(entry.tag), weight, detail)?;
            }
        }
        Ok(())
    }

    /// Of each module, a mandatory attribute that is there and that no other module has.
    fn used(&self, states: &[State]) -> Vec<Option<u32>> {
        let mut used = vec![None; self.modules.len()];
        for (entry, state) in self.entries.iter().zip(states) {
            if *state == 0 || !entry.exclusive {
                continue;
            }
            let kind = entry.rule.get().map(|rule| rule.kind);
            let mandatory = matches!(kind, Some(Type::Required | Type::Present));
            if let Some(place) = used.get_mut(entry.module).filter(|_| mandatory) {
                place.get_or_insert(entry.tag);
            }
        }
        used
    }
}

/// SOP Class, SOP Instance, Study Instance and Series Instance UID: nothing can be filed without them.
const IDENTITY: [u32; 4] = [0x0008_0016, 0x0008_0018, 0x0020_000d, 0x0020_000e];
pub(super) const FOREIGN: &str = "belongs to a module that must not be here";

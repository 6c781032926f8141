//! Makes findings of the walk, and finds their places: only of findings that are kept.

use super::super::finding::{ErrorCode, Fault, Finding, Weight};
use super::super::place::Place;
use super::super::policy::Level;
use super::compiled::Form;
use super::datatype::bit;
use super::walk::{At, Walk};
use crate::Reason;

impl Walk<'_, '_, '_> {
    #[cold]
    pub(super) fn add(&mut self, weight: Weight, at: At, detail: &'static str, level: Level) {
        let code = if level == Level::Tables {
            ErrorCode::TableValue
        } else {
            ErrorCode::DataType
        };
        self.add_coded(weight, at, detail, level, code);
    }

    pub(super) fn add_coded(
        &mut self,
        weight: Weight,
        at: At,
        detail: &'static str,
        level: Level,
        code: ErrorCode,
    ) {
        if !self.findings.wants(weight, level) {
            return;
        }
        let place = self.place(at);
        let finding = Finding::new(weight, Reason::Field, place, detail, code, Fault::Content);
        self.findings.add(finding.at_level(level));
    }

    /// Says it of the first component that is too many, not of each.
    pub(super) fn once_extra_component(&mut self, first: usize) {
        let from = bit(first).wrapping_sub(1);
        if (self.components & !from).count_ones() <= 1 && self.subcomponents.count_ones() <= 1 {
            let at = At {
                subcomponent: 0,
                ..self.at
            };
            let detail = "stands behind the last component of its data type";
            self.add(Weight::Strict, at, detail, Level::DataTypes);
        }
    }

    pub(super) fn once_extra_subcomponent(&mut self, first: usize) {
        let from = bit(first).wrapping_sub(1);
        if (self.subcomponents & !from).count_ones() <= 1 {
            let detail = "stands behind the last subcomponent of its data type";
            self.add(Weight::Strict, self.at, detail, Level::DataTypes);
        }
    }

    fn place(&mut self, at: At) -> Place {
        let composite = self.kind.form == Form::Composite;
        let nested = at.subcomponent > 1 || self.part_kind.form == Form::Composite;
        Place {
            segment: self.segment.name().into(),
            occurrence: self.segment.occurrence(),
            repeated: self.segment.occurrence() > 1,
            field: at.field,
            repetition: if at.repetition > 1 || self.repeats_at(at) {
                at.repetition
            } else {
                0
            },
            component: if composite || at.component > 1 || at.subcomponent > 1 {
                at.component
            } else {
                0
            },
            subcomponent: if nested { at.subcomponent } else { 0 },
            offset: Some(at.byte),
        }
    }

    /// Whether the field goes on with another repetition behind its first.
    fn repeats_at(&mut self, at: At) -> bool {
        if at.repetition != 1 {
            return false;
        }
        if let Some(repeats) = self.repeats {
            return repeats;
        }
        let from = at.byte.saturating_sub(self.segment.offset());
        let rest = self.segment.bytes().get(from..).unwrap_or_default();
        let delimiters = self.ground.delimiters;
        let next = memchr::memchr2(delimiters.field, delimiters.repetition, rest);
        self.findings.count(next.unwrap_or(rest.len()));
        let repeats = next.and_then(|next| rest.get(next)) == Some(&delimiters.repetition);
        self.repeats = Some(repeats);
        repeats
    }
}

//! What is plainly right is passed at once: most values are alone and right.
//!
//! In: a field, and what is enough for it. Out: whether nothing can be said of it; if that cannot be told so quickly,
//! the walk looks at it again, with all its findings. Makes no finding itself.

use super::compiled::{Element, Enough, Form, What};
use super::primitive;
use super::walk::Walk;

impl<'g> Walk<'_, 'g, '_> {
    /// What the standard says of the field at hand, if it does not depend on anything else.
    #[inline]
    fn plain_element(&self) -> Option<&'g Element> {
        let depends = self.is_observation && matches!(self.at.field, 2 | 5);
        if depends || self.judged_elsewhere(self.at.field) {
            return None;
        }
        self.fields.get(self.at.field.wrapping_sub(1))
    }

    /// Whether nothing can be said of a field that is one value. If it cannot be told so quickly, it is not.
    #[inline]
    pub(super) fn is_clean(&mut self, start: usize, end: usize) -> bool {
        match self.plain_element() {
            Some(element) => self.is_enough(element.alone, start, end),
            None => self.is_observation && self.is_clean_observation(start, end),
        }
    }

    /// The same of OBX-2 and OBX-5, of which one tells the type of the other.
    fn is_clean_observation(&mut self, start: usize, end: usize) -> bool {
        let Some(element) = self.fields.get(self.at.field.wrapping_sub(1)) else {
            return false;
        };
        if self.at.field == 2 {
            self.value_type = self.ground.bytes.get(start..end).unwrap_or_default();
            return self.is_enough(element.alone, start, end);
        }
        let kind = self.kind_of_value();
        match kind.form {
            Form::Primitive(primitive) if !self.value_type.is_empty() && !element.is_odd() => {
                let enough = Enough::of(primitive, element.table, element.most);
                self.is_enough(enough, start, end)
            }
            Form::Primitive(_) | Form::Opaque | Form::Composite => false,
        }
    }

    #[inline]
    fn is_enough(&self, enough: Enough, start: usize, end: usize) -> bool {
        let value = self.ground.bytes.get(start..end).unwrap_or_default();
        let fits = u32::try_from(value.len()).is_ok_and(|length| length <= enough.most);
        fits && match enough.what {
            What::Look => false,
            What::Any => true,
            What::Value(primitive) => primitive::is_right(primitive, value),
            What::Code(table) => !self.ground.compiled.is_unlisted(table, value),
        }
    }

    /// A field with delimiters in it; tells the stop that ends it.
    #[inline]
    pub(super) fn divided_field(&mut self, start: usize, first: usize, end: usize) -> usize {
        let before = self.ground.stops;
        if let Some(element) = self.plain_element()
            && let Some(last) = self.clean_field(element, start, first, end)
        {
            return last;
        }
        self.ground.stops = before;
        self.begin_field(start);
        self.field(first, end)
    }

    /// The end of a field with components of which nothing can be said. If it cannot be told so quickly, there is none.
    fn clean_field(
        &mut self,
        element: &Element,
        field_start: usize,
        first: usize,
        end: usize,
    ) -> Option<usize> {
        let kind = self.ground.compiled.kind(element.kind);
        if kind.form != Form::Composite || element.is_odd() {
            return None;
        }
        let parts = self.ground.compiled.parts(kind);
        let delimiters = self.ground.delimiters;
        let (mut start, mut stop) = (field_start, first);
        let mut repetitions = 1_u8;
        let mut repetition_start = field_start;
        let (mut rest, mut valued, mut mask) = (parts.iter(), 0_u64, 1_u64);
        loop {
            let part = rest.next();
            if stop > start {
                if !self.is_enough(part?.inside, start, stop) {
                    return None;
                }
                valued |= mask;
            }
            let delimiter = self.ground.bytes.get(stop).copied();
            start = stop.wrapping_add(1);
            if stop < end && delimiter == Some(delimiters.component) {
                // No data type has so many components that a bit is lost: `part` is none before.
                mask = mask.wrapping_shl(1);
            } else if stop < end && delimiter == Some(delimiters.subcomponent) {
                return None;
            } else {
                let length = stop.wrapping_sub(repetition_start);
                let long = u32::try_from(length).map_or(true, |length| length > element.most);
                if valued == 0 || long || kind.required & !valued != 0 {
                    return None;
                }
                if let Some(rule) = kind.rule.filter(|rule| !rule.allows(valued)) {
                    let value = self.ground.bytes.get(repetition_start..stop)?;
                    if rule.judge(value, delimiters.component).is_some() {
                        return None;
                    }
                }
                if stop >= end || delimiter == Some(delimiters.field) {
                    return Some(stop);
                }
                repetitions = repetitions.checked_add(1)?;
                if element.repeats > 0 && repetitions > element.repeats {
                    return None;
                }
                repetition_start = start;
                (rest, valued, mask) = (parts.iter(), 0, 1);
            }
            stop = self.ground.stops.next();
        }
    }
}

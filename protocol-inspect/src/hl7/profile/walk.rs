//! Fields, repetitions and components of one segment with their places, found from left to right.
//!
//! In: a segment. Out: slices and where they begin. Knows nothing of constraints.

use memchr::memchr;

use super::super::place::Place;
use super::super::segment::Segment;

/// Some bytes of a segment.
#[derive(Clone, Copy)]
pub(super) struct Slice<'a> {
    pub(super) bytes: &'a [u8],
    /// Where they begin in the segment.
    pub(super) start: usize,
}

/// Finds fields in ascending order, each byte once.
pub(super) struct Walk<'a> {
    rest: Slice<'a>,
    /// The number of the field at the beginning of the rest; `None` behind the last.
    number: Option<usize>,
    separator: u8,
}

impl<'a> Walk<'a> {
    pub(super) fn new(segment: &Segment<'a>) -> Self {
        // MSH-1 is the separator behind the name, so MSH-2 is what stands behind the first one.
        let number = usize::from(segment.name() == "MSH");
        Self {
            rest: Slice {
                bytes: segment.bytes(),
                start: 0,
            },
            number: Some(number),
            separator: segment.delimiters().field,
        }
    }

    /// A field that is not before the last one asked for; what is absent is empty and stands at the end.
    pub(super) fn field(&mut self, number: usize) -> Slice<'a> {
        while self.number.is_some_and(|at| at < number) {
            let next = after(self.rest, self.separator);
            self.number = next.and(self.number).map(|at| at.saturating_add(1));
            self.rest = next.unwrap_or_else(|| end(self.rest));
        }
        match self.number {
            Some(_) => before(self.rest, self.separator),
            None => self.rest,
        }
    }
}

impl<'a> Slice<'a> {
    /// The pieces between delimiters, at least one.
    pub(super) fn split(self, delimiter: u8) -> impl Iterator<Item = Self> {
        let mut left = Some(self);
        std::iter::from_fn(move || {
            let rest = left?;
            left = after(rest, delimiter);
            Some(before(rest, delimiter))
        })
    }

    /// A piece by its number from 1; the whole for 0, and nothing at the end if there is none.
    pub(super) fn piece(self, number: usize, delimiter: u8) -> Self {
        match number.checked_sub(1) {
            None => self,
            Some(index) => self
                .split(delimiter)
                .nth(index)
                .unwrap_or_else(|| end(self)),
        }
    }

    /// A component or subcomponent of a repetition; 0 is the whole.
    pub(super) fn part(self, component: usize, subcomponent: usize, segment: &Segment<'_>) -> Self {
        let delimiters = segment.delimiters();
        self.piece(component, delimiters.component)
            .piece(subcomponent, delimiters.subcomponent)
    }

    /// Whether there is anything but delimiters.
    pub(super) fn has_content(self, segment: &Segment<'_>) -> bool {
        let delimiters = segment.delimiters();
        let between = [
            delimiters.component,
            delimiters.subcomponent,
            delimiters.repetition,
        ];
        self.bytes.iter().any(|b| !between.contains(b))
    }

    /// Whether there is a value: anything but delimiters and the null.
    pub(super) fn is_valued(self, segment: &Segment<'_>) -> bool {
        self.bytes != b"\"\"" && self.has_content(segment)
    }
}

fn before(slice: Slice<'_>, delimiter: u8) -> Slice<'_> {
    let length = memchr(delimiter, slice.bytes).unwrap_or(slice.bytes.len());
    Slice {
        bytes: slice.bytes.get(..length).unwrap_or_default(),
        ..slice
    }
}

fn after(slice: Slice<'_>, delimiter: u8) -> Option<Slice<'_>> {
    let next = memchr(delimiter, slice.bytes)?.saturating_add(1);
    Some(Slice {
        bytes: slice.bytes.get(next..)?,
        start: slice.start.saturating_add(next),
    })
}

fn end(slice: Slice<'_>) -> Slice<'_> {
    Slice {
        bytes: &[],
        start: slice.start.saturating_add(slice.bytes.len()),
    }
}

/// The place of something in a segment; a repetition is told if there are several.
pub(super) fn place(
    segment: &Segment<'_>,
    field: usize,
    repetition: usize,
    (component, subcomponent): (usize, usize),
    start: usize,
) -> Place {
    Place {
        segment: segment.name().into(),
        occurrence: segment.occurrence(),
        repeated: segment.occurrence() > 1,
        field,
        repetition,
        component,
        subcomponent,
        offset: Some(segment.offset().saturating_add(start)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Message;
    use super::*;
    use crate::Limits;

    #[test]
    fn finds_what_views_find() {
        let text = b"MSH|^~\\&|APP|FAC^1.2^ISO\rPID|1||a^b&c~d|\"\"|^^\rZ00\r";
        let message = Message::parse(text, &Limits::default()).unwrap();
        for segment in message.segments() {
            let first = if segment.name() == "MSH" { 2 } else { 1 };
            let mut walk = Walk::new(segment);
            for number in first..9 {
                let found = walk.field(number);
                let field = segment.field(number);
                assert_eq!(found.bytes, field.bytes(), "{} {number}", segment.name());
                // MSH-2 is what the others are not: delimiters as a value.
                if (segment.name(), number) != ("MSH", 2) {
                    assert_eq!(found.is_valued(segment), field.is_valued());
                }
                let at = segment.offset() + found.start;
                assert!(text[at..].starts_with(found.bytes));
                for repetition in found.split(b'~') {
                    let at = segment.offset() + repetition.start;
                    assert!(text[at..].starts_with(repetition.bytes));
                }
                for component in 1..4 {
                    let part = found.piece(1, b'~').part(component, 0, segment);
                    assert_eq!(part.bytes, field.component(component));
                }
            }
        }
        let pid = message.segments().nth(1).unwrap();
        let part = Walk::new(pid).field(3).piece(1, b'~').part(2, 2, pid);
        assert_eq!(
            (part.bytes, text[pid.offset() + part.start]),
            (&b"c"[..], b'c')
        );
    }
}

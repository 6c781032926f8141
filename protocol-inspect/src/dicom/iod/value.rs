//! What is kept of an attribute: a few bits.
//!
//! In: a value. Out: whether it is there, whether it is empty, what conditions ask of it; and whether it is one of the
//! enumerated values. Knows nothing of modules.

use dicom_core::Tag;
use dicom_core::header::VR;

use super::tables::{Atom, AttributeRule};

/// The value of an attribute, or the first bytes of a longer one.
#[derive(Clone, Copy)]
pub(in super::super) struct Value<'v> {
    pub(in super::super) tag: Tag,
    pub(in super::super) vr: VR,
    /// Of the whole value, in bytes.
    pub(in super::super) length: u32,
    pub(in super::super) bytes: &'v [u8],
    pub(in super::super) big_endian: bool,
}

/// What is known of an attribute: bit 0 present, bit 1 with a value, from bit 2 on what conditions ask of it.
pub(super) type State = u64;

pub(super) const PRESENT: State = 1;
pub(super) const FILLED: State = 2;
const FIRST_ATOM: u32 = 2;

impl<'v> Value<'v> {
    /// Its bits by this rule.
    pub(super) fn state(&self, rule: &AttributeRule) -> State {
        if self.is_empty() {
            return PRESENT;
        }
        let mut state = PRESENT | FILLED;
        if rule.is_watched() {
            for part in self.parts() {
                for (bit, atom) in (FIRST_ATOM..State::BITS).zip(rule.watched()) {
                    if part.fulfils(&atom) {
                        state |= 1_u64.checked_shl(bit).unwrap_or_default();
                    }
                }
            }
        }
        state
    }

    /// Whether it is none of the values that the rule has. Empty components are not judged here.
    pub(super) fn is_outside(&self, rule: &AttributeRule) -> bool {
        if !rule.has_values() || self.is_empty() || !self.is_whole() {
            return false;
        }
        self.parts().any(|part| {
            let mut lists = rule.values().filter(|(place, _)| part.is_at(*place));
            let unknown = lists.any(|(_, mut terms)| !terms.any(|term| part.is(term)));
            unknown && part.is_filled()
        })
    }

    /// Nothing but padding is no value either.
    fn is_empty(&self) -> bool {
        let padding = |byte: &u8| matches!(byte, b' ' | 0);
        let first = self.bytes.first();
        self.length == 0
            || (first.is_none_or(padding)
                && self.is_whole()
                && is_text(self.vr)
                && width(self.vr).is_none()
                && self.bytes.iter().all(padding))
    }

    fn is_whole(&self) -> bool {
        usize::try_from(self.length) == Ok(self.bytes.len())
    }

    /// Its components, up to a number beyond which nothing is asked.
    fn parts(&self) -> impl Iterator<Item = Part<'v>> {
        let (value, width) = (*self, width(self.vr));
        let texts = width
            .is_none()
            .then(|| value.bytes.split(|byte| *byte == b'\\'));
        let digits = value.vr == VR::IS || value.vr == VR::DS;
        let texts = texts.into_iter().flatten().map(move |text| match digits {
            true => Content::Digits(trimmed(text)),
            false => Content::Text(trimmed(text)),
        });
        let numbers = width.map(|width| value.bytes.chunks_exact(width));
        let numbers = numbers.into_iter().flatten();
        let numbers = numbers.map(move |bytes| Content::Number(value.number(bytes)));
        let places = 1..=MAX_COMPONENTS;
        let parts = places.zip(texts.chain(numbers));
        parts.map(|(place, content)| Part { place, content })
    }

    fn number(&self, bytes: &[u8]) -> i64 {
        let mut little = [0; 4];
        if self.big_endian {
            let bytes = bytes.iter().rev();
            little
                .iter_mut()
                .zip(bytes)
                .for_each(|(to, from)| *to = *from);
        } else {
            little
                .iter_mut()
                .zip(bytes)
                .for_each(|(to, from)| *to = *from);
        }
        let [a, b, ..] = little;
        if self.vr == VR::SS {
            i64::from(i16::from_le_bytes([a, b]))
        } else if self.vr == VR::SL {
            i64::from(i32::from_le_bytes(little))
        } else {
            i64::from(u32::from_le_bytes(little))
        }
    }
}

/// A component of a value.
#[derive(Clone, Copy)]
struct Part<'v> {
    /// From 1 on.
    place: u8,
    content: Content<'v>,
}

#[derive(Clone, Copy)]
enum Content<'v> {
    /// Without padding.
    Text(&'v [u8]),
    /// A number in text, without padding.
    Digits(&'v [u8]),
    Number(i64),
}

impl Part<'_> {
    /// Whether something is about it that is about this component, or about each (0).
    fn is_at(&self, component: u8) -> bool {
        component == 0 || component == self.place
    }

    fn fulfils(&self, atom: &Atom) -> bool {
        if !self.is_at(atom.component) {
            return false;
        }
        if !atom.greater {
            return self.is(atom.text);
        }
        self.number()
            .zip(number(atom.text))
            .is_some_and(|(number, limit)| number > limit)
    }

    fn is(&self, term: &[u8]) -> bool {
        match self.content {
            Content::Text(text) => text == term,
            Content::Digits(_) | Content::Number(_) => {
                self.number().is_some() && self.number() == number(term)
            }
        }
    }

    fn is_filled(&self) -> bool {
        match self.content {
            Content::Text(text) | Content::Digits(text) => !text.is_empty(),
            Content::Number(_) => true,
        }
    }

    fn number(&self) -> Option<i64> {
        match self.content {
            Content::Number(number) => Some(number),
            Content::Text(text) | Content::Digits(text) => number(text),
        }
    }
}

/// Whole numbers, as IS and DS may have them.
fn number(text: &[u8]) -> Option<i64> {
    let text = text.strip_suffix(b".").unwrap_or(text);
    str::from_utf8(text).ok()?.parse().ok()
}

fn trimmed(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !matches!(byte, b' ' | 0));
    let end = end.map_or(0, |end| end.saturating_add(1));
    text.get(..end).unwrap_or_default().trim_ascii_start()
}

/// Bytes of one number, for binary integers.
fn width(vr: VR) -> Option<usize> {
    if vr == VR::US || vr == VR::SS {
        return Some(2);
    }
    (vr == VR::UL || vr == VR::SL).then_some(4)
}

fn is_text(vr: VR) -> bool {
    !matches!(
        vr,
        VR::AT
            | VR::FL
            | VR::FD
            | VR::OB
            | VR::OD
            | VR::OF
            | VR::OL
            | VR::OV
            | VR::OW
            | VR::SV
            | VR::UN
            | VR::UV
            | VR::SQ
    )
}

/// Conditions and enumerated values are about the first few components; of more, only so many are looked at.
//= C7
const MAX_COMPONENTS: u8 = 16;

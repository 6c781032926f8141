//! Where in a message something stands, in the words of the standard: `PID-7 (byte 212)`, `OBX[2]-5(1).1`.

use std::fmt::{self, Write as _};
use std::ops::Deref;
use std::str::FromStr;

use super::segment::Segment;

/// A place in a message. Numbers count from 1 as in the standard; 0 is "the whole".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The segment's name; empty for the message as a whole.
    pub segment: Label,
    /// Which of the segments of this name.
    pub occurrence: usize,
    /// Whether the segment's number is worth telling.
    pub repeated: bool,
    /// The field.
    pub field: usize,
    /// The repetition.
    pub repetition: usize,
    /// The component.
    pub component: usize,
    /// The subcomponent.
    pub subcomponent: usize,
    /// The byte of the message, counted from 0.
    pub offset: Option<usize>,
}

impl Place {
    /// A field of the MSH segment.
    pub(crate) fn msh(field: usize) -> Self {
        Self::field("MSH", field)
    }

    /// A field of a segment that occurs once.
    pub(crate) fn field(segment: &str, field: usize) -> Self {
        Self {
            segment: segment.into(),
            occurrence: 1,
            field,
            ..Self::default()
        }
    }

    /// The same, with a component.
    pub(crate) fn component(mut self, component: usize) -> Self {
        self.component = component;
        self
    }

    /// The same, with a byte of the message.
    pub(crate) fn byte(mut self, offset: usize) -> Self {
        self.offset = Some(offset);
        self
    }

    /// In words, with room for all of them at once.
    pub(crate) fn text(&self) -> String {
        let mut text = String::with_capacity(ROOM);
        // Writing to a string does not fail.
        let _written = write!(text, "{self}");
        text
    }

    /// The place in a segment at which byte `offset` of the message stands.
    pub(crate) fn of(segment: &Segment<'_>, offset: usize) -> Self {
        let mut place = Self {
            segment: segment.name().into(),
            occurrence: segment.occurrence(),
            repeated: segment.occurrence() > 1,
            offset: Some(offset),
            ..Self::default()
        };
        let delimiters = segment.delimiters();
        let before = offset.saturating_sub(segment.offset());
        // MSH-1 is the field separator itself, and MSH-2 the other delimiters as plain text.
        let is_msh = segment.name() == "MSH";
        let (mut components, mut subcomponents, mut repetitions) = (0_usize, 0_usize, 0_usize);
        if is_msh && before > 2 {
            place.field = 1;
        }
        for &byte in segment.bytes().iter().take(before) {
            if byte == delimiters.field {
                place.field = place.field.saturating_add(1);
                (components, subcomponents, repetitions) = (0, 0, 0);
            } else if is_msh && place.field <= 2 {
            } else if byte == delimiters.repetition {
                repetitions = repetitions.saturating_add(1);
                (components, subcomponents) = (0, 0);
            } else if byte == delimiters.component {
                components = components.saturating_add(1);
                subcomponents = 0;
            } else if byte == delimiters.subcomponent {
                subcomponents = subcomponents.saturating_add(1);
            }
        }
        if repetitions > 0 {
            place.repetition = repetitions.saturating_add(1);
        }
        if components > 0 || subcomponents > 0 {
            place.component = components.saturating_add(1);
        }
        if subcomponents > 0 {
            place.subcomponent = subcomponents.saturating_add(1);
        }
        place
    }
}

/// The name of a segment, or a few words that stand for one. Kept in place, so that a place costs no memory.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Label {
    bytes: [u8; LONGEST],
    length: usize,
}

impl From<&str> for Label {
    /// What is longer than any name of ours is cut.
    fn from(text: &str) -> Self {
        let mut label = Self::default();
        for (slot, byte) in label.bytes.iter_mut().zip(text.bytes()) {
            *slot = byte;
            label.length = label.length.saturating_add(1);
        }
        label
    }
}

impl Deref for Label {
    type Target = str;

    fn deref(&self) -> &str {
        let bytes = self.bytes.get(..self.length).unwrap_or_default();
        str::from_utf8(bytes).unwrap_or_default()
    }
}

impl PartialEq<str> for Label {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for Label {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// Longest label: `hl7_repetitions` has 15 bytes, `segment 10001` has 13, numbers beyond are no limit of ours.
const LONGEST: usize = 32;

/// Most places are no longer.
const ROOM: usize = 40;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.segment.is_empty() {
            f.write_str("message")?;
        } else {
            f.write_str(&self.segment)?;
        }
        if self.repeated {
            write!(f, "[{}]", self.occurrence)?;
        }
        if self.field > 0 {
            write!(f, "-{}", self.field)?;
        }
        if self.repetition > 0 {
            write!(f, "({})", self.repetition)?;
        }
        if self.component > 0 {
            write!(f, ".{}", self.component)?;
        }
        if self.subcomponent > 0 {
            write!(f, ".{}", self.subcomponent)?;
        }
        match self.offset {
            Some(offset) => write!(f, " (byte {offset})"),
            None => Ok(()),
        }
    }
}

/// Reads what was written of a place, as in records and reports.
impl FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        let (path, offset) = match text.split_once(" (byte ") {
            Some((path, rest)) => {
                let digits = rest.strip_suffix(')').ok_or(NotAPlace)?;
                (path, Some(digits.parse().map_err(|_| NotAPlace)?))
            }
            None => (text, None),
        };
        let end = path.find(['[', '-']).unwrap_or(path.len());
        let (segment, mut rest) = path.split_at_checked(end).ok_or(NotAPlace)?;
        if segment.is_empty() {
            return Err(NotAPlace);
        }
        let mut place = Self {
            segment: if segment == "message" { "" } else { segment }.into(),
            occurrence: 1,
            offset,
            ..Self::default()
        };
        let mut number = |mark: &str, end: &str| -> Result<usize, NotAPlace> {
            let Some(after) = rest.strip_prefix(mark) else {
                return Ok(0);
            };
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            let (digits, after) = after.split_at_checked(digits).ok_or(NotAPlace)?;
            rest = after.strip_prefix(end).ok_or(NotAPlace)?;
            digits.parse().map_err(|_| NotAPlace)
        };
        let occurrence = number("[", "]")?;
        if occurrence > 0 {
            (place.occurrence, place.repeated) = (occurrence, true);
        }
        place.field = number("-", "")?;
        place.repetition = number("(", ")")?;
        place.component = number(".", "")?;
        place.subcomponent = number(".", "")?;
        if rest.is_empty() {
            Ok(place)
        } else {
            Err(NotAPlace)
        }
    }
}

/// The text names no place in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no place in a message")]
pub struct NotAPlace;

#[cfg(test)]
mod tests {
    use super::super::Message;
    use super::*;
    use crate::Limits;

    #[test]
    fn names_places_as_the_standard_does() {
        let text = b"MSH|^~\\&|A^B|C\rOBX|1\rOBX|2|x~y^p&q|z\r";
        let message = Message::parse(text, &Limits::default()).unwrap();
        let at = |needle: u8| {
            let offset = text.iter().position(|b| *b == needle).unwrap();
            let segment = message.segment_at(offset).unwrap();
            Place::of(segment, offset).to_string()
        };
        assert_eq!(at(b'A'), "MSH-3 (byte 9)");
        assert_eq!(at(b'~'), "MSH-2 (byte 5)");
        assert_eq!(at(b'C'), "MSH-4 (byte 13)");
        assert_eq!(at(b'1'), "OBX-1 (byte 19)");
        assert_eq!(at(b'q'), "OBX[2]-2(2).2.2 (byte 33)");
        assert_eq!(at(b'z'), "OBX[2]-3 (byte 35)");
    }

    #[test]
    fn what_was_written_can_be_read() {
        for text in [
            "PID-7 (byte 212)",
            "OBX[2]-5(1).1",
            "OBX[2]-5(3).1.2 (byte 0)",
            "PID",
            "ZPD[12]",
            "message",
            "message (byte 7)",
            "segment 3 (byte 9)",
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!(place.to_string(), text);
        }
        let place: Place = "OBX[2]-5(3).1".parse().unwrap();
        assert_eq!((place.occurrence, place.field), (2, 5));
        assert_eq!((place.repetition, place.component), (3, 1));
        for text in [
            "",
            "-5",
            "PID-",
            "PID-x",
            "PID[2",
            "PID-5)",
            "PID-5.1.2.3",
            "PID (byte 5",
            "PID (byte x)",
        ] {
            assert_eq!(text.parse::<Place>(), Err(NotAPlace), "{text}");
        }
    }
}

//! What the message header says, read with good will: enough to answer a message that is otherwise wrong.
//!
//! In: the content of a frame. Out: a [`Header`], if at least the delimiters can be read.
//! Makes no judgement; `check.rs` does.

use std::fmt;

use super::delimiters::Delimiters;
use super::kept::Kept;
use super::segment::Field;

/// The MSH fields that matter for an answer and for the rules, as they stand in the message.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    pub(crate) delimiters: Delimiters,
    /// MSH-3.
    pub(crate) sending_application: Kept<62>,
    /// MSH-4.
    pub(crate) sending_facility: Kept<62>,
    /// MSH-5.
    pub(crate) receiving_application: Kept<62>,
    /// MSH-6.
    pub(crate) receiving_facility: Kept<62>,
    /// MSH-9.1.
    pub(crate) code: Kept<14>,
    /// MSH-9.2.
    pub(crate) trigger: Kept<14>,
    /// MSH-10.
    pub(crate) control_id: Kept<62>,
    /// MSH-11.1.
    pub(crate) processing_id: Kept<14>,
    /// MSH-12.1, if it is known.
    pub(crate) version: Option<Version>,
    /// MSH-15.
    pub(crate) accept: Option<Condition>,
    /// MSH-16.
    pub(crate) application: Option<Condition>,
    /// The first of MSH-18, if it has the accents of Western Europe.
    pub(crate) accents: Option<Accents>,
}

/// Character sets of HL7 table 0211 in which French can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accents {
    /// `8859/1`.
    Latin1,
    /// `8859/15`.
    Latin9,
    /// `UNICODE UTF-8`.
    Utf8,
}

impl Accents {
    fn named(name: &[u8]) -> Option<Self> {
        let mut all = [Self::Latin1, Self::Latin9, Self::Utf8].into_iter();
        all.find(|one| one.code().as_bytes() == name)
    }

    /// As in MSH-18.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Latin1 => "8859/1",
            Self::Latin9 => "8859/15",
            Self::Utf8 => "UNICODE UTF-8",
        }
    }

    /// The bytes of a letter. What ISO 8859 has in another form has that form.
    pub(crate) fn write(self, c: char, out: &mut Vec<u8>) {
        match self {
            Self::Utf8 => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Self::Latin1 | Self::Latin9 => match c {
                // All letters of French are where Unicode has them, and the same in both parts, but for these.
                '\u{2019}' => out.push(b'\''),
                '\u{202f}' => out.push(0xa0),
                '\u{153}' => out.extend_from_slice(b"oe"),
                '\u{152}' => out.extend_from_slice(b"OE"),
                ' '..='~' | '\u{a0}' | '\u{c0}'..='\u{ff}' => {
                    out.push(u8::try_from(u32::from(c)).unwrap_or(b'?'));
                }
                _ => out.push(b'?'),
            },
        }
    }
}

/// The fields of an MSH segment, found once for all who ask.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    fields: [&'a [u8]; FIELDS],
    delimiters: Delimiters,
}

impl<'a> Head<'a> {
    /// Cuts the bytes of the segment; what is behind MSH-18 nobody asks for.
    pub(crate) fn new(msh: &'a [u8], delimiters: Delimiters) -> Self {
        let mut head = Self {
            fields: [&[]; FIELDS],
            delimiters,
        };
        let cut = msh.split(|b| *b == delimiters.field);
        for (slot, bytes) in head.fields.iter_mut().skip(1).zip(cut) {
            *slot = bytes;
        }
        head
    }

    /// A field by its number in the standard, 2 to 18; absent fields are empty.
    pub(crate) fn field(&self, number: usize) -> Field<'a> {
        let bytes = self.fields.get(number).copied().unwrap_or_default();
        Field::new(bytes, self.delimiters)
    }

    pub(crate) fn delimiters(&self) -> &Delimiters {
        &self.delimiters
    }
}

/// When an acknowledgement is wanted (HL7 table 0155).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// AL.
    Always,
    /// NE.
    Never,
    /// ER.
    Error,
    /// SU.
    Success,
}

/// A version of the standard, 2.1 to 2.8.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Version {
    V2_1,
    V2_2,
    V2_3,
    V2_3_1,
    V2_4,
    V2_5,
    V2_5_1,
    V2_6,
    V2_7,
    V2_7_1,
    V2_8,
    V2_8_1,
    V2_8_2,
}

impl Header {
    /// Reads the header of a message without judging it; `None` if its delimiters cannot be read.
    #[must_use]
    pub fn of(message: &[u8]) -> Option<Self> {
        Self::read(message, usize::MAX)
    }

    /// Reads the first segment.
    pub(crate) fn read(content: &[u8], longest: usize) -> Option<Self> {
        if !content.starts_with(b"MSH") {
            return None;
        }
        let delimiters = Delimiters::parse(content).ok()?;
        let head = content.get(..longest).unwrap_or(content);
        let end = memchr::memchr2(b'\r', b'\n', head).unwrap_or(head.len());
        let bytes = head.get(..end).unwrap_or_default();
        Some(Self::of_head(&Head::new(bytes, delimiters)))
    }

    /// The same of fields that are found already.
    pub(crate) fn of_head(head: &Head<'_>) -> Self {
        let field = |number| head.field(number).bytes();
        let component = |number, part| head.field(number).component(part);
        Self {
            delimiters: head.delimiters,
            sending_application: Kept::new(field(3)),
            sending_facility: Kept::new(field(4)),
            receiving_application: Kept::new(field(5)),
            receiving_facility: Kept::new(field(6)),
            code: Kept::new(component(9, 1)),
            trigger: Kept::new(component(9, 2)),
            control_id: Kept::new(field(10)),
            processing_id: Kept::new(component(11, 1)),
            version: Version::named(component(12, 1)),
            accept: Condition::named(field(15)),
            application: Condition::named(field(16)),
            accents: Accents::named(component(18, 1)),
        }
    }

    /// The message type as `ORU^R01`, or `ACK`; empty if it is not of that form.
    #[must_use]
    pub fn kind(&self) -> String {
        let (Some(code), trigger) = (token(&self.code), token(&self.trigger)) else {
            return String::new();
        };
        match trigger {
            Some(trigger) => [code, "^", trigger].concat(),
            None => code.to_owned(),
        }
    }

    /// Whether the message is of a type as rules name it: `ORU^R01`, `ORU^*`, or `ACK` without a trigger.
    pub(crate) fn is_of(&self, allowed: &str) -> bool {
        let (code, trigger) = allowed.split_once('^').unwrap_or((allowed, ""));
        self.code == code.as_bytes() && (trigger == "*" || self.trigger == trigger.as_bytes())
    }

    /// MSH-10 as it stands in the message.
    #[must_use]
    pub fn control_id(&self) -> &[u8] {
        &self.control_id
    }

    /// MSH-3 and MSH-4 as they stand in the message.
    #[must_use]
    pub fn sender(&self) -> (&[u8], &[u8]) {
        (&self.sending_application, &self.sending_facility)
    }

    /// Whether MSH-15 or MSH-16 is valued, which is what makes the enhanced mode.
    //= HL7 v2.5.1 2.9.2
    #[must_use]
    pub fn is_enhanced(&self) -> bool {
        self.accept.is_some() || self.application.is_some()
    }

    /// Whether an accept acknowledgement of a message that was taken is wanted.
    #[must_use]
    pub fn wants_accept(&self) -> bool {
        matches!(self.accept, Some(Condition::Always | Condition::Success))
    }

    /// Whether an accept acknowledgement of a message that was not taken is wanted.
    #[must_use]
    pub fn wants_accept_error(&self) -> bool {
        matches!(self.accept, Some(Condition::Always | Condition::Error))
    }

    /// Whether some application acknowledgement may be wanted.
    #[must_use]
    pub fn wants_application(&self) -> bool {
        matches!(
            self.application,
            Some(Condition::Always | Condition::Error | Condition::Success)
        )
    }

    /// Whether an application acknowledgement of an error is wanted.
    #[must_use]
    pub fn wants_application_error(&self) -> bool {
        matches!(self.application, Some(Condition::Always | Condition::Error))
    }

    /// Whether the message is itself an acknowledgement (`ACK` or the older `MCF`).
    #[must_use]
    pub fn is_acknowledgement(&self) -> bool {
        matches!(self.code.as_slice(), b"ACK" | b"MCF")
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({})", self.kind())
    }
}

impl Condition {
    /// Reads a code of table 0155; anything else is no condition.
    pub(crate) fn named(code: &[u8]) -> Option<Self> {
        match code {
            b"AL" => Some(Self::Always),
            b"NE" => Some(Self::Never),
            b"ER" => Some(Self::Error),
            b"SU" => Some(Self::Success),
            _ => None,
        }
    }
}

impl Version {
    /// Reads a code of table 0104.
    pub(crate) fn named(code: &[u8]) -> Option<Self> {
        ALL.iter()
            .find(|(text, _)| text.as_bytes() == code)
            .map(|(_, version)| *version)
    }

    /// The code as it stands in MSH-12.
    #[must_use]
    pub fn code(self) -> &'static str {
        ALL.iter()
            .find(|(_, version)| *version == self)
            .map_or("", |(text, _)| text)
    }
}

/// Three characters of a message type or trigger event.
pub(crate) fn token(bytes: &[u8]) -> Option<&str> {
    let well_formed = bytes.len() == 3
        && bytes.first().is_some_and(u8::is_ascii_uppercase)
        && bytes
            .iter()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if !well_formed {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}

/// MSH-18 is the last that is asked for.
const FIELDS: usize = 19;

const ALL: [(&str, Version); 13] = [
    ("2.1", Version::V2_1),
    ("2.2", Version::V2_2),
    ("2.3", Version::V2_3),
    ("2.3.1", Version::V2_3_1),
    ("2.4", Version::V2_4),
    ("2.5", Version::V2_5),
    ("2.5.1", Version::V2_5_1),
    ("2.6", Version::V2_6),
    ("2.7", Version::V2_7),
    ("2.7.1", Version::V2_7_1),
    ("2.8", Version::V2_8),
    ("2.8.1", Version::V2_8_1),
    ("2.8.2", Version::V2_8_2),
];

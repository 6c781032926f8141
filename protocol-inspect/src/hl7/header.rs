//! What the message header says, read with good will: enough to answer a message that is otherwise wrong.
//!
//! In: the content of a frame. Out: a [`Header`], if at least the delimiters can be read.
//! Makes no judgement; `check.rs` does.

use std::fmt;

use super::delimiters::Delimiters;
use super::segment::Segment;

/// The MSH fields that matter for an answer and for the rules, as they stand in the message.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    pub(crate) delimiters: Delimiters,
    /// MSH-3.
    pub(crate) sending_application: Vec<u8>,
    /// MSH-4.
    pub(crate) sending_facility: Vec<u8>,
    /// MSH-5.
    pub(crate) receiving_application: Vec<u8>,
    /// MSH-6.
    pub(crate) receiving_facility: Vec<u8>,
    /// MSH-9.1.
    pub(crate) code: Vec<u8>,
    /// MSH-9.2.
    pub(crate) trigger: Vec<u8>,
    /// MSH-10.
    pub(crate) control_id: Vec<u8>,
    /// MSH-11.1.
    pub(crate) processing_id: Vec<u8>,
    /// MSH-12.1, if it is known.
    pub(crate) version: Option<Version>,
    /// MSH-15.
    pub(crate) accept: Option<Condition>,
    /// MSH-16.
    pub(crate) application: Option<Condition>,
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
        let bytes = head
            .split(|b| *b == b'\r' || *b == b'\n')
            .next()
            .unwrap_or_default();
        let msh = Segment::new(bytes, "MSH", 0, 1, delimiters);
        let field = |number| copy(msh.field(number).bytes());
        let component = |number, part| copy(msh.field(number).component(part));
        Some(Self {
            delimiters,
            sending_application: field(3),
            sending_facility: field(4),
            receiving_application: field(5),
            receiving_facility: field(6),
            code: component(9, 1),
            trigger: component(9, 2),
            control_id: field(10),
            processing_id: component(11, 1),
            version: Version::named(msh.field(12).component(1)),
            accept: Condition::named(msh.field(15).bytes()),
            application: Condition::named(msh.field(16).bytes()),
        })
    }

    /// The message type as `ORU^R01`, or `ACK`; empty if it is not of that form.
    #[must_use]
    pub fn kind(&self) -> String {
        let (Some(code), trigger) = (token(&self.code), token(&self.trigger)) else {
            return String::new();
        };
        match trigger {
            Some(trigger) => format!("{code}^{trigger}"),
            None => code.to_owned(),
        }
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

/// What is longer is cut, and so is no sender, type or version that anybody configured.
fn copy(value: &[u8]) -> Vec<u8> {
    value.get(..LONGEST).unwrap_or(value).to_vec()
}

/// Longest value that is kept of a header.
//= C7
const LONGEST: usize = 1_024;

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

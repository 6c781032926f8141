//! The delimiters that a message declares for itself in MSH-1 and MSH-2.
//!
//! In: the first bytes of a message. Out: four or five delimiters that cannot be confused with each other or with text.

use super::finding::{ErrorCode, Fault, Finding};
use super::place::Place;
use crate::Reason;

/// The delimiters of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiters {
    /// Between fields, MSH-1.
    pub field: u8,
    /// Between components.
    pub component: u8,
    /// Between repetitions of a field.
    pub repetition: u8,
    /// Around escape sequences.
    pub escape: u8,
    /// Between subcomponents.
    pub subcomponent: u8,
    /// At the end of truncated values, from version 2.7.
    pub truncation: Option<u8>,
}

impl Delimiters {
    /// Reads the delimiters of a message that begins with `MSH`.
    //= HL7 v2.5.1 2.5.4
    pub(crate) fn parse(message: &[u8]) -> Result<Self, Box<Finding>> {
        let Some((&field, rest)) = message.get(3..).and_then(<[u8]>::split_first) else {
            return Err(wrong(1, 3, "is missing"));
        };
        if !is_delimiter(field) {
            return Err(wrong(
                1,
                3,
                "is not a printable ASCII punctuation character",
            ));
        }
        let msh2 = rest
            .split(|byte| *byte == field || *byte == b'\r')
            .next()
            .unwrap_or_default();
        let (delimiters, all) = match *msh2 {
            [component, repetition, escape, subcomponent] => (
                Self {
                    field,
                    component,
                    repetition,
                    escape,
                    subcomponent,
                    truncation: None,
                },
                msh2,
            ),
            [component, repetition, escape, subcomponent, truncation] => (
                Self {
                    field,
                    component,
                    repetition,
                    escape,
                    subcomponent,
                    truncation: Some(truncation),
                },
                msh2,
            ),
            _ => return Err(wrong(2, 4, "does not have four or five characters")),
        };
        if !all.iter().copied().all(is_delimiter) {
            return Err(wrong(
                2,
                4,
                "has a character that is not printable ASCII punctuation",
            ));
        }
        let mut rest = all;
        while let Some((first, others)) = rest.split_first() {
            if others.contains(first) || *first == field {
                return Err(wrong(2, 4, "uses the same character twice"));
            }
            rest = others;
        }
        Ok(delimiters)
    }

    /// Whether the byte is one of the delimiters that structure a message.
    #[must_use]
    pub fn contains(&self, byte: u8) -> bool {
        [
            self.field,
            self.component,
            self.repetition,
            self.escape,
            self.subcomponent,
        ]
        .contains(&byte)
    }

    /// MSH-1 and MSH-2 as they stand in a message.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[
            self.field,
            self.component,
            self.repetition,
            self.escape,
            self.subcomponent,
        ]);
        out.extend(self.truncation);
    }
}

fn is_delimiter(byte: u8) -> bool {
    byte.is_ascii_punctuation()
}

fn wrong(field: usize, offset: usize, detail: &'static str) -> Box<Finding> {
    Box::new(Finding::firm(
        Reason::Encoding,
        Place::msh(field).byte(offset),
        detail,
        ErrorCode::DataType,
        Fault::Content,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_four_or_five_distinct_punctuation_characters() {
        for good in [
            "MSH|^~\\&|",
            "MSH|^~\\&#|",
            "MSH$%*!@$",
            "MSH|^~\\&",
            "MSH|^~\\&\rPID",
        ] {
            assert!(Delimiters::parse(good.as_bytes()).is_ok(), "{good}");
        }
    }

    #[test]
    fn refuses_what_can_be_confused() {
        for (bad, detail) in [
            ("MSH", "MSH-1 (byte 3): is missing"),
            (
                "MSHA^~\\&A",
                "MSH-1 (byte 3): is not a printable ASCII punctuation character",
            ),
            (
                "MSH ^~\\& ",
                "MSH-1 (byte 3): is not a printable ASCII punctuation character",
            ),
            (
                "MSH|^~\\|",
                "MSH-2 (byte 4): does not have four or five characters",
            ),
            (
                "MSH|^~\\&#+|",
                "MSH-2 (byte 4): does not have four or five characters",
            ),
            (
                "MSH||",
                "MSH-2 (byte 4): does not have four or five characters",
            ),
            (
                "MSH|^~\\\\&|",
                "MSH-2 (byte 4): uses the same character twice",
            ),
            ("MSH|^^^^|", "MSH-2 (byte 4): uses the same character twice"),
            (
                "MSH|^~\\A|",
                "MSH-2 (byte 4): has a character that is not printable ASCII punctuation",
            ),
            (
                "MSH|^~\x07&|",
                "MSH-2 (byte 4): has a character that is not printable ASCII punctuation",
            ),
        ] {
            assert_eq!(
                Delimiters::parse(bad.as_bytes())
                    .unwrap_err()
                    .refusal()
                    .to_string(),
                detail
            );
        }
    }
}

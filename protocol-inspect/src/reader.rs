//! The one place where bytes are cut by length.
//!
//! In: a slice and the standard's own name of each field. Out: the value, or a [`ReadError`] that names the field.
//! Knows nothing of protocols; text formats that are cut by delimiters use slice iterators instead.

use crate::{Reason, Refusal};

/// Reads a slice from its start; never past its end, never panics.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "the DICOM parsers read by length, HL7 does not")]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
}

/// A field did not fit, or something was left over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(dead_code, reason = "the DICOM parsers read by length, HL7 does not")]
pub(crate) enum ReadError {
    /// Fewer bytes than the field needs.
    #[error("{field} is cut short (byte {offset})")]
    Short {
        /// The field, in the standard's words.
        field: &'static str,
        /// Where the field begins.
        offset: usize,
    },
    /// More bytes than the structure has.
    #[error("{field} is followed by {left} more bytes (byte {offset})")]
    Trailing {
        /// The structure, in the standard's words.
        field: &'static str,
        /// Where it should have ended.
        offset: usize,
        /// How many bytes are left.
        left: usize,
    },
}

#[allow(dead_code, reason = "the DICOM parsers read by length, HL7 does not")]
impl<'a> Reader<'a> {
    /// Reads `bytes`; offsets count from 0.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self::at(bytes, 0)
    }

    /// Reads `bytes` that stand at `offset` of something larger.
    pub(crate) fn at(bytes: &'a [u8], offset: usize) -> Self {
        Self {
            rest: bytes,
            offset,
        }
    }

    /// Where the next read begins.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// How many bytes are left.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// One byte.
    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, ReadError> {
        self.array(field).map(u8::from_be_bytes)
    }

    /// Two bytes, most significant first.
    pub(crate) fn u16_be(&mut self, field: &'static str) -> Result<u16, ReadError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Two bytes, least significant first.
    pub(crate) fn u16_le(&mut self, field: &'static str) -> Result<u16, ReadError> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// Four bytes, most significant first.
    pub(crate) fn u32_be(&mut self, field: &'static str) -> Result<u32, ReadError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// Four bytes, least significant first.
    pub(crate) fn u32_le(&mut self, field: &'static str) -> Result<u32, ReadError> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], ReadError> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(ReadError::Short {
                field,
                offset: self.offset,
            });
        };
        self.advance(rest, len);
        Ok(taken)
    }

    /// The next `len` bytes as a reader of their own, which counts offsets on.
    pub(crate) fn sub(&mut self, len: usize, field: &'static str) -> Result<Self, ReadError> {
        let offset = self.offset;
        self.take(len, field).map(|bytes| Self::at(bytes, offset))
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.advance(&[], rest.len());
        rest
    }

    /// Says that `field` ends here: refuses leftovers.
    pub(crate) fn finish(&self, field: &'static str) -> Result<(), ReadError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(ReadError::Trailing {
            field,
            offset: self.offset,
            left: self.rest.len(),
        })
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], ReadError> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(ReadError::Short {
                field,
                offset: self.offset,
            });
        };
        self.advance(rest, N);
        Ok(*taken)
    }

    fn advance(&mut self, rest: &'a [u8], by: usize) {
        self.rest = rest;
        self.offset = self.offset.saturating_add(by);
    }
}

impl ReadError {
    /// As a refusal of the given class.
    #[allow(dead_code, reason = "the DICOM parsers read by length, HL7 does not")]
    pub(crate) fn refusal(self, reason: Reason) -> Refusal {
        let (location, detail) = match self {
            Self::Short { field, offset } => {
                (format!("{field} (byte {offset})"), "is cut short".into())
            }
            Self::Trailing {
                field,
                offset,
                left,
            } => (
                format!("{field} (byte {offset})"),
                format!("is followed by {left} more bytes"),
            ),
        };
        Refusal {
            reason,
            location,
            detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_in_both_orders_and_counts() {
        let mut reader = Reader::new(&[1, 0, 2, 2, 0, 0, 0, 0, 3, 3, 0, 0, 0, 9, 8]);
        assert_eq!(reader.u8("a"), Ok(1));
        assert_eq!(reader.u16_be("b"), Ok(2));
        assert_eq!(reader.u16_le("c"), Ok(2));
        assert_eq!(reader.u32_be("d"), Ok(3));
        assert_eq!(reader.u32_le("e"), Ok(3));
        assert_eq!((reader.offset(), reader.remaining()), (13, 2));
        assert_eq!(reader.rest(), [9, 8]);
        assert_eq!(reader.finish("f"), Ok(()));
    }

    #[test]
    fn names_the_field_that_is_short_and_stays_where_it_was() {
        let mut reader = Reader::at(&[1], 10);
        let short = ReadError::Short {
            field: "PDU length",
            offset: 10,
        };
        assert_eq!(reader.u32_be("PDU length"), Err(short));
        assert_eq!(reader.take(usize::MAX, "PDU length"), Err(short));
        assert_eq!(short.to_string(), "PDU length is cut short (byte 10)");
        assert_eq!(reader.u8("next"), Ok(1));
        assert!(reader.is_empty());
    }

    #[test]
    fn refuses_leftovers() {
        let mut reader = Reader::new(&[1, 2, 3]);
        let mut inner = reader.sub(2, "item").unwrap();
        assert_eq!(inner.u8("item type"), Ok(1));
        assert_eq!(
            inner.finish("item").unwrap_err().to_string(),
            "item is followed by 1 more bytes (byte 1)"
        );
        assert_eq!(reader.offset(), 2);
    }
}

//! The one place of the DICOM inspector where bytes are cut.
//!
//! In: a slice that is complete. Out: named fields, or a refusal that names the field that did not fit.
//! Knows nothing of what the fields mean.

use super::fault::refusal;
use crate::{Reason, Refusal};

/// Reads fields one after the other. Upper layer fields are big endian, command sets little endian.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], Refusal> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(short(field));
        };
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, Refusal> {
        self.array(field).map(|[byte]| byte)
    }

    pub(super) fn u16_be(&mut self, field: &'static str) -> Result<u16, Refusal> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(super) fn u32_be(&mut self, field: &'static str) -> Result<u32, Refusal> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(super) fn u16_le(&mut self, field: &'static str) -> Result<u16, Refusal> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(super) fn u32_le(&mut self, field: &'static str) -> Result<u32, Refusal> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// A field of two-byte length and so many bytes.
    pub(super) fn counted(&mut self, field: &'static str) -> Result<&'a [u8], Refusal> {
        let len = self.u16_be(field)?;
        self.take(usize::from(len), field)
    }

    /// An item or sub-item of PS3.8 9.3: type, reserved byte, length, content.
    pub(super) fn item(&mut self, field: &'static str) -> Result<(u8, Self), Refusal> {
        let kind = self.u8(field)?;
        self.u8(field)?;
        Ok((kind, Self::new(self.counted(field)?)))
    }

    /// Refuses leftovers.
    pub(super) fn finish(self, field: &'static str) -> Result<(), Refusal> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(refusal(
            Reason::Framing,
            field,
            "is longer than its contents",
        ))
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], Refusal> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(short(field));
        };
        self.rest = rest;
        Ok(*head)
    }
}

fn short(field: &'static str) -> Refusal {
    refusal(Reason::Framing, field, "is cut short")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_byte_orders_and_refuses_what_does_not_fit() {
        let mut reader = Reader::new(&[1, 2, 1, 2, 0, 0, 0, 3, 3, 0, 0, 0, 9]);
        assert_eq!(reader.u16_be("a").unwrap(), 0x0102);
        assert_eq!(reader.u16_le("b").unwrap(), 0x0201);
        assert_eq!(reader.u32_be("c").unwrap(), 3);
        assert_eq!(reader.u32_le("d").unwrap(), 3);
        assert!(reader.finish("whole").is_err());
        assert_eq!(reader.u16_be("e").unwrap_err().location, "e");
        assert_eq!(reader.u8("f").unwrap(), 9);
        assert!(reader.finish("whole").is_ok());
    }

    #[test]
    fn items_keep_to_their_length() {
        let mut reader = Reader::new(&[0x30, 0, 0, 2, 7, 8]);
        let (kind, mut content) = reader.item("item").unwrap();
        assert_eq!(
            (kind, content.rest(), reader.is_empty()),
            (0x30, &[7, 8][..], true)
        );
        assert!(Reader::new(&[0x30, 0, 0, 3, 7, 8]).item("item").is_err());
    }
}

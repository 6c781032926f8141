//! Unique identifiers (PS3.5 9.1) and AE titles (PS3.5 6.2).
//!
//! In: bytes of a field. Out: a checked value. Knows nothing of where the field stands.

use std::fmt;

use super::fault::{Warnings, refusal};
use crate::Base;
use crate::{Reason, Refusal};

/// A unique identifier in correct syntax.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(String);

impl Uid {
    /// The identifier.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A UID field of a PDU: no padding there (PS3.8 annex F), though some send a NUL.
    pub(super) fn in_pdu(
        bytes: &[u8],
        field: &'static str,
        base: Base,
        warnings: &mut Warnings,
    ) -> Result<Self, Refusal> {
        let bare = bytes.strip_suffix(&[0]).unwrap_or(bytes);
        if bare.len() < bytes.len() {
            let fault = refusal(Reason::Encoding, field, "is padded with NUL");
            warnings.doubt(base, fault)?;
        }
        Self::bare(bare, Leading::Refused).map_err(|fault| refusal(Reason::Encoding, field, fault))
    }

    /// A UI value of a command set or data set: even length, one NUL of padding.
    pub(super) fn in_element(
        value: &[u8],
        location: impl Fn() -> String,
        base: Base,
        warnings: &mut Warnings,
    ) -> Result<Self, Refusal> {
        let (uid, doubts) =
            Self::read(value).map_err(|fault| refusal(Reason::Encoding, location(), fault))?;
        for doubt in doubts.into_iter().flatten() {
            let fault = refusal(Reason::Encoding, location(), doubt);
            warnings.doubt(base, fault)?;
        }
        Ok(uid)
    }

    /// A UI value, and what is doubtful about it; or what is wrong.
    pub(super) fn read(value: &[u8]) -> Result<(Self, [Option<&'static str>; 2]), &'static str> {
        let bare = value.strip_suffix(&[0]).unwrap_or(value);
        let trimmed = bare.trim_ascii_end();
        let padding = (trimmed.len() < bare.len()).then_some("is padded with spaces");
        if let Ok(uid) = Self::bare(trimmed, Leading::Refused) {
            return Ok((uid, [padding, None]));
        }
        let uid = Self::bare(trimmed, Leading::Tolerated)?;
        Ok((uid, [padding, Some(LEADING_ZERO)]))
    }

    /// A UID of our own tables.
    pub(super) fn known(uid: &'static str) -> Self {
        Self(uid.to_owned())
    }

    fn bare(bytes: &[u8], leading: Leading) -> Result<Self, &'static str> {
        let mut scan = UidScan::default();
        for byte in bytes {
            scan.push(*byte)?;
        }
        scan.end()?;
        if scan.leading_zero && leading == Leading::Refused {
            return Err(LEADING_ZERO);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| CHARACTER)?;
        Ok(Self(text.to_owned()))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leading {
    Refused,
    Tolerated,
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// UIDs of the standard are shown, all others could name a patient's study.
impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.starts_with(DICOM_ROOT) {
            f.write_str(&self.0)
        } else {
            f.write_str("(uid)")
        }
    }
}

/// Checks one UID byte by byte, so that a list of any length needs no memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UidScan {
    length: u8,
    component: u8,
    starts_with_zero: bool,
    /// A component has a leading zero.
    pub(super) leading_zero: bool,
}

impl UidScan {
    pub(super) fn push(&mut self, byte: u8) -> Result<(), &'static str> {
        self.length = self.length.saturating_add(1);
        if self.length > MAX_UID {
            return Err(TOO_LONG);
        }
        match byte {
            b'.' if self.component == 0 => return Err(EMPTY_COMPONENT),
            b'.' => self.component = 0,
            b'0'..=b'9' => {
                self.leading_zero |= self.component == 1 && self.starts_with_zero;
                self.starts_with_zero = self.component == 0 && byte == b'0';
                self.component = self.component.saturating_add(1);
            }
            _ => return Err(CHARACTER),
        }
        Ok(())
    }

    pub(super) fn end(&self) -> Result<(), &'static str> {
        match (self.length, self.component) {
            (0, _) => Err("is empty"),
            (_, 0) => Err(EMPTY_COMPONENT),
            _ => Ok(()),
        }
    }
}

/// An application entity title, without the spaces around it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AeTitle(String);

impl AeTitle {
    /// The title.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn parse(bytes: &[u8], location: &str) -> Result<Self, Refusal> {
        let fault = |detail| refusal(Reason::Encoding, location, detail);
        if bytes.len() > MAX_AE_TITLE {
            return Err(fault("is longer than 16"));
        }
        let allowed = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\';
        if !bytes.iter().all(allowed) {
            return Err(fault("has a character that an AE title cannot have"));
        }
        let title = String::from_utf8_lossy(bytes.trim_ascii()).into_owned();
        if title.is_empty() {
            return Err(fault("is blank"));
        }
        Ok(Self(title))
    }

    /// As in a PDU: 16 bytes, filled up with spaces.
    pub(super) fn padded(&self) -> [u8; MAX_AE_TITLE] {
        let mut bytes = [b' '; MAX_AE_TITLE];
        for (place, byte) in bytes.iter_mut().zip(self.0.bytes()) {
            *place = byte;
        }
        bytes
    }
}

const DICOM_ROOT: &str = "1.2.840.10008.";
pub(super) const MAX_UID: u8 = 64;
const MAX_AE_TITLE: usize = 16;
pub(super) const CHARACTER: &str = "has a character that a UID cannot have";
pub(super) const TOO_LONG: &str = "is longer than 64";
pub(super) const EMPTY_COMPONENT: &str = "has an empty component";
pub(super) const LEADING_ZERO: &str = "has a component with a leading zero";

#[cfg(test)]
mod tests {
    use super::*;

    fn in_pdu(text: &str, base: Base) -> Result<Uid, Refusal> {
        Uid::in_pdu(text.as_bytes(), "field", base, &mut Warnings::default())
    }

    #[test]
    fn uid_syntax() {
        let long = "1".repeat(64);
        for good in ["1.2.840.10008.1.1", "0.0", "1", "2.25.0", &long] {
            assert!(in_pdu(good, Base::Strict).is_ok(), "{good}");
        }
        let longer = "1".repeat(65);
        for bad in [
            "", ".", "1.", ".1", "1..2", "1.02", "1.00", "01", "1.a", "1 ", "../1", "1\0\0",
            &longer,
        ] {
            assert!(in_pdu(bad, Base::Standard).is_err(), "{bad}");
        }
        assert!(in_pdu("1.2\0", Base::Standard).is_ok());
        assert!(in_pdu("1.2\0", Base::Strict).is_err());
    }

    #[test]
    fn ui_values_may_be_padded_and_old_ones_have_leading_zeros() {
        let check = |text: &[u8], base| {
            Uid::in_element(text, || "x".to_owned(), base, &mut Warnings::default()).is_ok()
        };
        for (value, standard, strict) in [
            (&b"1.2\0"[..], true, true),
            (b"1.23", true, true),
            (b"1.2 ", true, false),
            (b"1.02", true, false),
            (b"1.2/", false, false),
            (b"\0\0", false, false),
        ] {
            assert_eq!(check(value, Base::Standard), standard, "{value:?}");
            assert_eq!(check(value, Base::Strict), strict, "{value:?}");
        }
    }

    #[test]
    fn ae_titles() {
        assert_eq!(
            AeTitle::parse(b"  US07          ", "a").unwrap().as_str(),
            "US07"
        );
        for bad in [
            &b"                "[..],
            b"A\\B",
            b"A\0",
            b"\x1b[2J",
            b"12345678901234567",
            b"\xe9",
        ] {
            assert!(AeTitle::parse(bad, "a").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn debug_shows_only_uids_of_the_standard() {
        assert_eq!(
            format!("{:?}", in_pdu("1.2.840.10008.1.1", Base::Strict).unwrap()),
            "1.2.840.10008.1.1"
        );
        assert_eq!(
            format!("{:?}", in_pdu("1.2.3.4", Base::Strict).unwrap()),
            "(uid)"
        );
    }
}

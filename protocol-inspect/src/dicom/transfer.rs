//! Which transfer syntaxes this gateway carries, and how their data sets are encoded.

use dicom_dictionary_std::uids;

/// How a data set is encoded, as far as the walk needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferSyntax {
    /// Implicit VR, little endian.
    ImplicitLittle,
    /// Explicit VR, little endian.
    ExplicitLittle,
    /// Explicit VR, big endian (retired, but modalities still speak it).
    ExplicitBig,
    /// Explicit VR, little endian, pixel data in fragments.
    Encapsulated,
}

impl TransferSyntax {
    /// The encoding of a transfer syntax, or `None` if it is not carried:
    /// the deflated ones, those that refer to pixel data elsewhere (JPIP), and those that are not for DIMSE.
    #[must_use]
    pub fn from_uid(uid: &str) -> Option<Self> {
        match uid {
            uids::IMPLICIT_VR_LITTLE_ENDIAN => Some(Self::ImplicitLittle),
            uids::EXPLICIT_VR_LITTLE_ENDIAN => Some(Self::ExplicitLittle),
            EXPLICIT_VR_BIG_ENDIAN => Some(Self::ExplicitBig),
            uids::ENCAPSULATED_UNCOMPRESSED_EXPLICIT_VR_LITTLE_ENDIAN
            | uids::RLE_LOSSLESS
            | DEFLATED_IMAGE_FRAME => Some(Self::Encapsulated),
            _ => {
                let number = uid.strip_prefix(COMPRESSED)?;
                (ENCAPSULATED.contains(&number)).then_some(Self::Encapsulated)
            }
        }
    }

    /// Whether two sets of bytes in these syntaxes are walked alike.
    pub(super) fn is_implicit(self) -> bool {
        match self {
            Self::ImplicitLittle => true,
            Self::ExplicitLittle | Self::ExplicitBig | Self::Encapsulated => false,
        }
    }

    pub(super) fn is_big_endian(self) -> bool {
        match self {
            Self::ExplicitBig => true,
            Self::ImplicitLittle | Self::ExplicitLittle | Self::Encapsulated => false,
        }
    }
}

// The dictionary marks it as deprecated.
const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
const DEFLATED_IMAGE_FRAME: &str = "1.2.840.10008.1.2.8.1";
const COMPRESSED: &str = "1.2.840.10008.1.2.4.";
/// JPEG, JPEG-LS, JPEG 2000, MPEG, HEVC, JPEG XL and HTJ2K (PS3.6 A); not 94, 95, 204, 205: JPIP.
const ENCAPSULATED: [&str; 46] = [
    "50", "51", "52", "53", "54", "55", "56", "57", "58", "59", "60", "61", "62", "63", "64", "65",
    "66", "70", "80", "81", "90", "91", "92", "93", "100", "100.1", "101", "101.1", "102", "102.1",
    "103", "103.1", "104", "104.1", "105", "105.1", "106", "106.1", "107", "108", "110", "111",
    "112", "201", "202", "203",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_what_it_can_walk() {
        for (uid, syntax) in [
            ("1.2.840.10008.1.2", Some(TransferSyntax::ImplicitLittle)),
            ("1.2.840.10008.1.2.1", Some(TransferSyntax::ExplicitLittle)),
            ("1.2.840.10008.1.2.2", Some(TransferSyntax::ExplicitBig)),
            ("1.2.840.10008.1.2.4.70", Some(TransferSyntax::Encapsulated)),
            (
                "1.2.840.10008.1.2.4.203",
                Some(TransferSyntax::Encapsulated),
            ),
            ("1.2.840.10008.1.2.5", Some(TransferSyntax::Encapsulated)),
            ("1.2.840.10008.1.2.1.99", None),
            ("1.2.840.10008.1.2.4.94", None),
            ("1.2.840.10008.1.2.4.", None),
            ("1.2.840.10008.1.20", None),
            ("1.2.3", None),
        ] {
            assert_eq!(TransferSyntax::from_uid(uid), syntax, "{uid}");
        }
    }
}

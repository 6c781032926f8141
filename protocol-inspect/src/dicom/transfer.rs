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
    /// Explicit VR, little endian, the whole data set deflated (PS3.5 A.5).
    Deflated,
    /// Explicit VR, little endian, pixel data in fragments (PS3.5 A.4).
    Encapsulated(Compression),
}

/// What the fragments of encapsulated pixel data hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Frames as they would be native (PS3.5 A.4.11).
    Uncompressed,
    /// JPEG, with loss (PS3.5 A.4.1).
    Jpeg,
    /// JPEG, lossless (PS3.5 A.4.1).
    JpegLossless,
    /// Run lengths (PS3.5 A.4.2, G).
    Rle,
    /// JPEG-LS (PS3.5 A.4.3).
    JpegLs,
    /// JPEG 2000 part 1, and high throughput (PS3.5 A.4.4).
    Jpeg2000,
    /// JPEG 2000 part 2: one code stream may hold many frames (PS3.5 A.4.4).
    Jpeg2000Part2,
    /// MPEG-2: one stream holds all frames (PS3.5 A.4.5).
    Mpeg2,
    /// MPEG-4 AVC and HEVC: one stream holds all frames (PS3.5 A.4.6 to A.4.10).
    Mpeg4,
    /// JPEG XL.
    JpegXl,
    /// Each frame deflated.
    Deflated,
}

impl TransferSyntax {
    /// The encoding of a transfer syntax, or `None` if it is not carried:
    /// those that refer to pixel data elsewhere (JPIP), and those that are not for DIMSE.
    #[must_use]
    pub fn from_uid(uid: &str) -> Option<Self> {
        match uid {
            uids::IMPLICIT_VR_LITTLE_ENDIAN => Some(Self::ImplicitLittle),
            uids::EXPLICIT_VR_LITTLE_ENDIAN => Some(Self::ExplicitLittle),
            EXPLICIT_VR_BIG_ENDIAN => Some(Self::ExplicitBig),
            uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN => Some(Self::Deflated),
            uids::ENCAPSULATED_UNCOMPRESSED_EXPLICIT_VR_LITTLE_ENDIAN => {
                Some(Self::Encapsulated(Compression::Uncompressed))
            }
            uids::RLE_LOSSLESS => Some(Self::Encapsulated(Compression::Rle)),
            DEFLATED_IMAGE_FRAME => Some(Self::Encapsulated(Compression::Deflated)),
            _ => {
                let number = uid.strip_prefix(COMPRESSED)?;
                Compression::of_number(number).map(Self::Encapsulated)
            }
        }
    }

    /// Whether headers are implicit.
    pub(super) fn is_implicit(self) -> bool {
        match self {
            Self::ImplicitLittle => true,
            Self::ExplicitLittle | Self::ExplicitBig | Self::Deflated | Self::Encapsulated(_) => {
                false
            }
        }
    }

    pub(super) fn is_big_endian(self) -> bool {
        match self {
            Self::ExplicitBig => true,
            Self::ImplicitLittle
            | Self::ExplicitLittle
            | Self::Deflated
            | Self::Encapsulated(_) => false,
        }
    }

    /// What is in the fragments; `None` if pixel data are native.
    pub(super) fn compression(self) -> Option<Compression> {
        match self {
            Self::Encapsulated(compression) => Some(compression),
            Self::ImplicitLittle | Self::ExplicitLittle | Self::ExplicitBig | Self::Deflated => {
                None
            }
        }
    }
}

impl Compression {
    /// The last numbers of the UIDs of PS3.6 A; not 94, 95, 204, 205: JPIP.
    fn of_number(number: &str) -> Option<Self> {
        match number {
            "50" | "51" | "52" | "53" | "54" | "55" | "56" | "59" | "60" | "61" | "62" | "63"
            | "64" => Some(Self::Jpeg),
            "57" | "58" | "65" | "66" | "70" => Some(Self::JpegLossless),
            "80" | "81" => Some(Self::JpegLs),
            "90" | "91" | "201" | "202" | "203" => Some(Self::Jpeg2000),
            "92" | "93" => Some(Self::Jpeg2000Part2),
            "100" | "100.1" | "101" | "101.1" => Some(Self::Mpeg2),
            "102" | "102.1" | "103" | "103.1" | "104" | "104.1" | "105" | "105.1" | "106"
            | "106.1" | "107" | "108" => Some(Self::Mpeg4),
            "110" | "111" | "112" => Some(Self::JpegXl),
            _ => None,
        }
    }
}

// The dictionary marks it as deprecated.
const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
const DEFLATED_IMAGE_FRAME: &str = "1.2.840.10008.1.2.8.1";
const COMPRESSED: &str = "1.2.840.10008.1.2.4.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_what_it_can_walk() {
        for (uid, syntax) in [
            ("1.2.840.10008.1.2", Some(TransferSyntax::ImplicitLittle)),
            ("1.2.840.10008.1.2.1", Some(TransferSyntax::ExplicitLittle)),
            ("1.2.840.10008.1.2.2", Some(TransferSyntax::ExplicitBig)),
            (
                "1.2.840.10008.1.2.4.70",
                Some(TransferSyntax::Encapsulated(Compression::JpegLossless)),
            ),
            (
                "1.2.840.10008.1.2.4.203",
                Some(TransferSyntax::Encapsulated(Compression::Jpeg2000)),
            ),
            (
                "1.2.840.10008.1.2.5",
                Some(TransferSyntax::Encapsulated(Compression::Rle)),
            ),
            (
                "1.2.840.10008.1.2.8.1",
                Some(TransferSyntax::Encapsulated(Compression::Deflated)),
            ),
            ("1.2.840.10008.1.2.1.99", Some(TransferSyntax::Deflated)),
            ("1.2.840.10008.1.2.4.94", None),
            ("1.2.840.10008.1.2.4.", None),
            ("1.2.840.10008.1.20", None),
            ("1.2.3", None),
        ] {
            assert_eq!(TransferSyntax::from_uid(uid), syntax, "{uid}");
        }
    }
}

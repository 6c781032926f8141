//! Value representations (PS3.5 6.2) against the data dictionary (PS3.6).

use dicom_core::header::VR;

use super::super::dictionary::Entry;

/// How an explicit VR fits the dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Right,
    /// Another of the same nature: old objects, revised dictionary entries.
    Similar,
    Wrong,
}

pub(super) fn fit(entry: Option<&Entry>, vr: VR) -> Fit {
    let Some(entry) = entry else {
        return Fit::Right;
    };
    if vr == VR::UN || entry.vrs.contains(&vr) {
        return Fit::Right;
    }
    if entry.vrs.iter().any(|one| nature(*one) == nature(vr)) {
        return Fit::Similar;
    }
    Fit::Wrong
}

/// The VR in implicit encoding; unknown elements are UN.
pub(super) fn implied(entry: Option<&Entry>) -> VR {
    entry.map_or(VR::UN, Entry::implied)
}

/// Whether the length field is of 32 bits, behind two reserved bytes (PS3.5 table 7.1-1).
/// Letters that are no VR get the short form and are refused then.
pub(super) fn is_long(letters: [u8; 2]) -> bool {
    matches!(
        &letters,
        b"OB"
            | b"OD"
            | b"OF"
            | b"OL"
            | b"OV"
            | b"OW"
            | b"SQ"
            | b"SV"
            | b"UC"
            | b"UN"
            | b"UR"
            | b"UT"
            | b"UV"
    )
}

/// Bytes of one value, 1 for those of any length.
pub(super) fn width(vr: VR) -> u32 {
    match vr {
        VR::SS | VR::US | VR::OW => 2,
        VR::AT | VR::FL | VR::OF | VR::OL | VR::SL | VR::UL => 4,
        VR::FD | VR::OD | VR::OV | VR::SV | VR::UV => 8,
        VR::AE
        | VR::AS
        | VR::CS
        | VR::DA
        | VR::DS
        | VR::DT
        | VR::IS
        | VR::LO
        | VR::LT
        | VR::OB
        | VR::PN
        | VR::SH
        | VR::SQ
        | VR::ST
        | VR::TM
        | VR::UC
        | VR::UI
        | VR::UN
        | VR::UR
        | VR::UT => 1,
    }
}

/// Whether a value is text without line breaks.
pub(super) fn is_line(vr: VR) -> bool {
    matches!(
        vr,
        VR::AE
            | VR::AS
            | VR::CS
            | VR::DA
            | VR::DS
            | VR::DT
            | VR::IS
            | VR::LO
            | VR::PN
            | VR::SH
            | VR::TM
            | VR::UC
            | VR::UR
    )
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Nature {
    Text,
    Uid,
    Sequence,
    Bulk,
    Short,
    Long,
    Tag,
    VeryLong,
    Float,
    Double,
    Unknown,
}

fn nature(vr: VR) -> Nature {
    match vr {
        VR::UI => Nature::Uid,
        VR::SQ => Nature::Sequence,
        VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW => Nature::Bulk,
        VR::SS | VR::US => Nature::Short,
        VR::SL | VR::UL => Nature::Long,
        VR::AT => Nature::Tag,
        VR::SV | VR::UV => Nature::VeryLong,
        VR::FL => Nature::Float,
        VR::FD => Nature::Double,
        VR::UN => Nature::Unknown,
        VR::AE
        | VR::AS
        | VR::CS
        | VR::DA
        | VR::DS
        | VR::DT
        | VR::IS
        | VR::LO
        | VR::LT
        | VR::PN
        | VR::SH
        | VR::ST
        | VR::TM
        | VR::UC
        | VR::UR
        | VR::UT => Nature::Text,
    }
}

#[cfg(test)]
mod tests {
    use dicom_core::Tag;

    use super::*;

    #[test]
    fn explicit_against_dictionary() {
        for (tag, vr, expected) in [
            (Tag(0x0028, 0x0010), VR::US, Fit::Right),
            (Tag(0x0028, 0x0010), VR::UL, Fit::Wrong),
            (Tag(0x0028, 0x0010), VR::UN, Fit::Right),
            (Tag(0x0028, 0x0106), VR::SS, Fit::Right),
            (Tag(0x0010, 0x0010), VR::LO, Fit::Similar),
            (Tag(0x0010, 0x0010), VR::SQ, Fit::Wrong),
            (Tag(0x0008, 0x1140), VR::OB, Fit::Wrong),
            (Tag(0x7fe0, 0x0010), VR::OB, Fit::Right),
            (Tag(0x6002, 0x3000), VR::OW, Fit::Right),
            (Tag(0x0029, 0x1010), VR::FD, Fit::Right),
            (Tag(0x0029, 0x0010), VR::LO, Fit::Right),
        ] {
            assert_eq!(fit(Entry::of(tag), vr), expected, "{tag} {vr:?}");
        }
    }

    #[test]
    fn long_and_short_length_fields() {
        let long = [
            "OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV",
        ];
        for letters in long {
            assert!(is_long(letters.as_bytes().try_into().unwrap()));
        }
        assert!(!is_long(*b"US") && !is_long(*b"??"));
    }
}

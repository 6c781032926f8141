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

/// The value representation of two letters.
#[inline]
pub(super) fn of(letters: [u8; 2]) -> Option<VR> {
    Some(match &letters {
        b"AE" => VR::AE,
        b"AS" => VR::AS,
        b"AT" => VR::AT,
        b"CS" => VR::CS,
        b"DA" => VR::DA,
        b"DS" => VR::DS,
        b"DT" => VR::DT,
        b"FD" => VR::FD,
        b"FL" => VR::FL,
        b"IS" => VR::IS,
        b"LO" => VR::LO,
        b"LT" => VR::LT,
        b"OB" => VR::OB,
        b"OD" => VR::OD,
        b"OF" => VR::OF,
        b"OL" => VR::OL,
        b"OV" => VR::OV,
        b"OW" => VR::OW,
        b"PN" => VR::PN,
        b"SH" => VR::SH,
        b"SL" => VR::SL,
        b"SQ" => VR::SQ,
        b"SS" => VR::SS,
        b"ST" => VR::ST,
        b"SV" => VR::SV,
        b"TM" => VR::TM,
        b"UC" => VR::UC,
        b"UI" => VR::UI,
        b"UL" => VR::UL,
        b"UN" => VR::UN,
        b"UR" => VR::UR,
        b"US" => VR::US,
        b"UT" => VR::UT,
        b"UV" => VR::UV,
        _ => return None,
    })
}

/// Whether the length field is of 32 bits, behind two reserved bytes (PS3.5 table 7.1-1).
/// Letters that are no VR get the short form and are refused then.
pub(super) fn is_long(vr: VR) -> bool {
    matches!(
        vr,
        VR::OB
            | VR::OD
            | VR::OF
            | VR::OL
            | VR::OV
            | VR::OW
            | VR::SQ
            | VR::SV
            | VR::UC
            | VR::UN
            | VR::UR
            | VR::UT
            | VR::UV
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
    fn letters_and_their_length_fields() {
        let long = [
            "OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV",
        ];
        for first in b'A'..=b'Z' {
            for second in b'A'..=b'Z' {
                let letters = [first, second];
                let text = str::from_utf8(&letters).unwrap();
                assert_eq!(of(letters), VR::from_binary(letters), "{text}");
                let is_long = of(letters).is_some_and(is_long);
                assert_eq!(is_long, long.contains(&text), "{text}");
            }
        }
        assert_eq!(of(*b"us"), None);
    }
}

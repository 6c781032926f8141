//! Words of DICOM rules: groups of SOP classes, transfer syntaxes, modalities, keys and levels of queries, creators.

use std::collections::BTreeSet;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, TagRange, UidDictionary};
use dicom_dictionary_std::StandardDataDictionary;
use toml::de::DeValue;

use super::dicom::{KEYWORDS, SopClass, squeeze};
use crate::dicom::UserIdentity;
use crate::problem::Fault;
use crate::section::{Field, Text, word, wrong_type};
use crate::suggest::{closest, one_of};

/// SOP classes as UIDs: one by name or UID, or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SopClasses(pub(crate) BTreeSet<String>);

/// The UID of a transfer syntax; the file may name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TransferSyntax(pub(crate) String);

/// A value of Modality (0008,0060).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Modality(pub(crate) String);

/// A private creator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Creator(pub(crate) String);

/// A value of Query/Retrieve Level (0008,0052).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueryLevel(pub(crate) String);

/// Keys of which one is enough; a single one may stand without a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnyKey(pub(crate) BTreeSet<(u16, u16)>);

/// Whether a query may ask for everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wildcards(pub(crate) bool);

impl Text for SopClasses {
    const WHAT: &'static str = "a SOP class like \"Ultrasound Image Storage\", its UID or a group like \"all image storage\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let Some((_, belongs)) = GROUPS.iter().find(|(name, _)| *name == text) else {
            let help = || {
                format!(
                    "groups are {}",
                    one_of(GROUPS.iter().map(|(name, _)| *name))
                )
            };
            return SopClass::parse(text)
                .map(|class| Self(BTreeSet::from([class.0])))
                .map_err(|fault| match text.starts_with("all ") {
                    true => Fault::new("unknown group of SOP classes").help(help()),
                    false => fault,
                });
        };
        let dictionary = dicom_dictionary_std::sop_class::registry();
        let members = KEYWORDS.lines().filter(|keyword| belongs(keyword));
        let uids = members.filter_map(|keyword| dictionary.by_keyword(keyword));
        Ok(Self(uids.map(|entry| entry.uid.to_string()).collect()))
    }
}

impl Text for TransferSyntax {
    const WHAT: &'static str =
        "the name or UID of a transfer syntax like \"Explicit VR Little Endian\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let all = || SYNTAXES.lines().filter_map(|line| line.split_once(' '));
        let squeezed = squeeze(text);
        let found = all().find(|(uid, keyword)| *uid == text || squeeze(keyword) == squeezed);
        if let Some((uid, _)) = found {
            return Ok(Self(uid.to_owned()));
        }
        let keywords: Vec<(String, &str)> = all()
            .map(|(_, keyword)| (squeeze(keyword), keyword))
            .collect();
        let near = closest(&squeezed, keywords.iter().map(|(name, _)| name.as_str()));
        let near = near.and_then(|near| keywords.iter().find(|(name, _)| name == near));
        Err(Fault::new("not a transfer syntax that is carried")
            .help("the keyword of PS3.6 table A-1, with spaces or without, or a UID")
            .maybe(near.map(|(_, keyword)| format!("did you mean `{keyword}`?"))))
    }
}

impl Text for Modality {
    const WHAT: &'static str = "a modality like \"US\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        //= DICOM PS3.5 6.2
        let sign = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if (1..=16).contains(&text.len()) && text.chars().all(sign) {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::new("not a modality like \"US\"")
            .help("1 to 16 capital letters, digits and `_`, as in (0008,0060)"))
    }
}

impl Text for Creator {
    const WHAT: &'static str = "a private creator like \"ACME 1.0\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        //= DICOM PS3.5 6.2
        let sign = |b: u8| matches!(b, b' '..=b'~') && b != b'\\';
        let bare = text.trim_matches(' ');
        if (1..=64).contains(&bare.len()) && text.bytes().all(sign) {
            return Ok(Self(bare.to_owned()));
        }
        Err(Fault::new("not a private creator like \"ACME 1.0\"")
            .help("1 to 64 printable ASCII characters without backslash"))
    }
}

impl Text for QueryLevel {
    const WHAT: &'static str = "a level like \"STUDY\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        //= DICOM PS3.4 C.3
        let words = ["PATIENT", "STUDY", "SERIES", "IMAGE", "FRAME"].map(|level| (level, level));
        word(text, &words).map(|level| Self(level.to_owned()))
    }
}

impl Field for AnyKey {
    const WHAT: &'static str =
        "a keyword like \"PatientID\", a tag like \"(0010,0020)\", or a list of them";
    fn read(value: &DeValue<'_>) -> Result<Self, Fault> {
        let one = |value: &DeValue<'_>| match value.as_str() {
            Some(text) => key(text),
            None => Err(wrong_type::<Self>(value)),
        };
        let keys = match value.as_array() {
            Some(array) if array.is_empty() => {
                return Err(Fault::new("no key is in the list").help("one of its keys is required"));
            }
            Some(array) => array.iter().map(|value| one(value.get_ref())).collect(),
            None => one(value).map(|key| BTreeSet::from([key])),
        };
        keys.map(Self)
    }
}

fn key(text: &str) -> Result<(u16, u16), Fault> {
    let what = "a keyword of PS3.6 like \"PatientID\", or a tag like \"(0010,0020)\"";
    let written = text.starts_with('(') || text.bytes().all(|b| b.is_ascii_alphanumeric());
    let entry = StandardDataDictionary.by_expr(text).filter(|_| written);
    let Some(TagRange::Single(tag)) = entry.map(|entry| entry.tag_range()) else {
        return Err(Fault::new("not an attribute").help(what));
    };
    let help = match (tag.0, tag.1) {
        (0x0008, 0x0052) => "levels are listed by `levels`",
        (0x0008, 0x0005 | 0x0053 | 0x0054 | 0x0056 | 0x0201) => "it says how to ask, not what for",
        (0x0000 | 0x0002, _) => "it does not stand in an identifier",
        pair => return Ok(pair),
    };
    Err(Fault::new("not a key of queries").help(help))
}

impl Text for Wildcards {
    const WHAT: &'static str = "`forbid` or `allow`";
    fn parse(text: &str) -> Result<Self, Fault> {
        word(text, &[("forbid", false), ("allow", true)]).map(Self)
    }
}

impl Text for UserIdentity {
    const WHAT: &'static str = "`require`, `allow` or `strip`";
    fn parse(text: &str) -> Result<Self, Fault> {
        let words = [
            ("require", Self::Require),
            ("allow", Self::Allow),
            ("strip", Self::Strip),
        ];
        word(text, &words)
    }
}

type Group = (&'static str, fn(&str) -> bool);

/// Groups of SOP classes, by the keywords of those that PS3.6 does not retire.
const GROUPS: &[Group] = &[
    ("all storage", is_storage),
    ("all image storage", |keyword| {
        is_storage(keyword) && (keyword.contains("Image") || VOLUMES.contains(&keyword))
    }),
    ("all waveform storage", |keyword| {
        is_storage(keyword)
            && keyword.contains("Waveform")
            && !keyword.contains("State")
            && !keyword.contains("Annotation")
    }),
    ("all structured report storage", |keyword| {
        keyword.ends_with("SRStorage")
    }),
    ("query/retrieve", |keyword| {
        keyword.starts_with("PatientRootQuery") || keyword.starts_with("StudyRootQuery")
    }),
    ("worklist", |keyword| {
        keyword == "ModalityWorklistInformationModelFind"
    }),
    ("procedure steps", |keyword| {
        keyword.starts_with("ModalityPerformedProcedureStep")
    }),
    ("storage commitment", |keyword| {
        keyword == "StorageCommitmentPushModel"
    }),
    ("unified procedure steps", |keyword| {
        keyword.starts_with("UnifiedProcedureStep")
    }),
];

fn is_storage(keyword: &str) -> bool {
    keyword.ends_with("Storage") && keyword != "MediaStorageDirectoryStorage"
}

/// Images that are not called so.
const VOLUMES: [&str; 1] = ["EnhancedUSVolumeStorage"];

/// UIDs and keywords of the transfer syntaxes of PS3.6 table A-1 that a data set can travel in by itself.
const SYNTAXES: &str = include_str!("../data/transfer_syntaxes.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_their_members() {
        let of = |name: &str| SopClasses::parse(name).unwrap().0;
        let (all, images) = (of("all storage"), of("all image storage"));
        assert!(images.is_subset(&all) && images.len() > 50 && all.len() > 150);
        assert!(images.contains("1.2.840.10008.5.1.4.1.1.6.1"));
        assert!(!images.contains("1.2.840.10008.5.1.4.1.1.104.1"));
        assert!(all.contains("1.2.840.10008.5.1.4.1.1.104.1"));
        assert!(!all.contains("1.2.840.10008.1.3.10"));
        assert!(of("all waveform storage").contains("1.2.840.10008.5.1.4.1.1.9.1.1"));
        assert_eq!(of("query/retrieve").len(), 6);
        for (name, _) in GROUPS {
            assert!(!of(name).is_empty(), "{name}");
        }
        let one = of("Ultrasound Image Storage");
        assert_eq!(one.len(), 1);
        assert!(SopClasses::parse("all images").is_err());
    }

    #[test]
    fn keys_are_keywords_and_tags() {
        assert_eq!(key("PatientID"), Ok((0x0010, 0x0020)));
        assert_eq!(key("(0008,0050)"), Ok((0x0008, 0x0050)));
        for bad in [
            "PatientId",
            "0010,0020",
            "",
            "QueryRetrieveLevel",
            "(0009,0010)",
        ] {
            assert!(key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn transfer_syntaxes_by_name_and_uid() {
        for name in [
            "JPEG-LS Lossless",
            "JPEGLSLossless",
            "1.2.840.10008.1.2.4.80",
        ] {
            let uid = TransferSyntax::parse(name).unwrap().0;
            assert_eq!(uid, "1.2.840.10008.1.2.4.80", "{name}");
        }
        for bad in ["JPEG", "1.2.840.10008.1.2.4.94", "1.2.3", ""] {
            assert!(TransferSyntax::parse(bad).is_err(), "{bad}");
        }
    }
}

//! Words of DICOM: application entity titles, SOP classes, DIMSE services.

use std::collections::HashMap;
use std::sync::OnceLock;

use dicom_core::dictionary::{UidDictionary, UidDictionaryEntry};

use crate::problem::Fault;
use crate::section::Text;
use crate::suggest::{closest, did_you_mean, one_of};

/// An application entity title, without the spaces around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AeTitle(pub(crate) String);

/// The UID of a SOP class; the file may name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SopClass(pub(crate) String);

/// A DIMSE service, `C-STORE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dimse(pub(crate) String);

impl Text for AeTitle {
    const WHAT: &'static str = "an AE title like \"PACS1\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        //= DICOM PS3.5 6.2
        let fault = match text {
            text if text.trim_matches(' ').is_empty() => "an AE title is not only spaces",
            text if text.len() > 16 => "an AE title has at most 16 characters",
            text if text.contains('\\') => "an AE title has no backslash",
            text if !text.bytes().all(|b| matches!(b, 0x20..=0x7e)) => {
                "an AE title has printable ASCII characters only"
            }
            // Spaces around a title mean nothing.
            text => return Ok(Self(text.trim_matches(' ').to_owned())),
        };
        Err(Fault::new(fault))
    }
}

impl Text for Dimse {
    const WHAT: &'static str = "a DIMSE service like \"C-STORE\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        if SERVICES.contains(&text) {
            return Ok(Self(text.to_owned()));
        }
        let help = match text {
            "C-CANCEL" => Some("C-CANCEL goes with C-FIND, C-GET and C-MOVE".to_owned()),
            text => did_you_mean(text, SERVICES.iter().copied()),
        };
        Err(Fault::new("unknown DIMSE service")
            .help(one_of(SERVICES.iter().copied()))
            .maybe(help))
    }
}

impl Text for SopClass {
    const WHAT: &'static str = "the name or UID of a SOP class like \"Ultrasound Image Storage\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        if text.starts_with(|c: char| c.is_ascii_digit()) && text.contains('.') {
            return uid(text).map(|()| Self(text.to_owned()));
        }
        let dictionary = dicom_dictionary_std::sop_class::registry();
        let found = keyword(text)
            .and_then(|keyword| dictionary.by_keyword(keyword))
            .or_else(|| dictionary.by_keyword(text));
        match found {
            Some(entry) => Ok(Self(entry.uid().to_owned())),
            None => {
                let squeezed = squeeze(text);
                let near = closest(&squeezed, index().keys().map(String::as_str))
                    .and_then(keyword)
                    .and_then(|keyword| dictionary.by_keyword(keyword))
                    .map(|entry| entry.name.trim_end_matches(" SOP Class"));
                Err(Fault::new("unknown SOP class")
                    .help("the name of PS3.6 annex A, or a UID")
                    .maybe(near.map(|near| format!("did you mean `{near}`?"))))
            }
        }
    }
}

/// Checks the form of a UID, and that it is not one of a transfer syntax.
fn uid(text: &str) -> Result<(), Fault> {
    //= DICOM PS3.5 9.1
    let component = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    if text.len() > 64 || !text.split('.').all(component) {
        return Err(Fault::new("not a UID")
            .help("numbers without leading zeros, joined by points, at most 64 characters"));
    }
    let syntax = text
        .strip_prefix("1.2.840.10008.1.2")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    if syntax {
        return Err(Fault::new(
            "this is the UID of a transfer syntax, not of a SOP class",
        ));
    }
    Ok(())
}

/// The keyword of PS3.6 for a name that may have spaces, hyphens and "SOP Class" at its end.
fn keyword(name: &str) -> Option<&'static str> {
    let name = name.trim_end_matches(" SOP Class");
    index().get(&squeeze(name)).copied()
}

fn index() -> &'static HashMap<String, &'static str> {
    static INDEX: OnceLock<HashMap<String, &'static str>> = OnceLock::new();
    INDEX.get_or_init(|| {
        KEYWORDS
            .lines()
            .map(|keyword| (squeeze(keyword), keyword))
            .chain([
                // The names whose keywords are not just their letters.
                (
                    "12leadecgwaveformstorage".to_owned(),
                    "TwelveLeadECGWaveformStorage",
                ),
                (
                    "dicosquadrupoleresonanceqrstorage".to_owned(),
                    "DICOSQuadrupoleResonanceStorage",
                ),
            ])
            .collect()
    })
}

pub(super) fn squeeze(text: &str) -> String {
    text.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// Keywords of all SOP classes of PS3.6 that are not retired.
pub(super) const KEYWORDS: &str = include_str!("../data/sop_classes.txt");

const SERVICES: &[&str] = &[
    "C-ECHO",
    "C-STORE",
    "C-FIND",
    "C-GET",
    "C-MOVE",
    "N-EVENT-REPORT",
    "N-GET",
    "N-SET",
    "N-ACTION",
    "N-CREATE",
    "N-DELETE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_sop_classes_by_name_and_uid() {
        for name in [
            "Ultrasound Image Storage",
            "ultrasound image storage",
            "UltrasoundImageStorage",
            "1.2.840.10008.5.1.4.1.1.6.1",
        ] {
            let uid = SopClass::parse(name).unwrap().0;
            assert_eq!(uid, "1.2.840.10008.5.1.4.1.1.6.1", "{name}");
        }
        for name in [
            "Verification SOP Class",
            "Verification",
            "12-lead ECG Waveform Storage",
            "Digital X-Ray Image Storage - For Presentation",
            "1.3.6.1.4.1.99999.7",
        ] {
            assert!(SopClass::parse(name).is_ok(), "{name}");
        }
        let fault = SopClass::parse("Ultrasound Image Store").unwrap_err();
        let help = fault.help.unwrap_or_default();
        assert_eq!(help, "did you mean `Ultrasound Image Storage`?");
        for bad in ["1.2.840.10008.1.2.1", "1.02.3", "1..2", "1.2.", "X-Ray", ""] {
            assert!(SopClass::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn knows_every_keyword() {
        let dictionary = dicom_dictionary_std::sop_class::registry();
        for keyword in KEYWORDS.lines() {
            assert!(dictionary.by_keyword(keyword).is_some(), "{keyword}");
        }
    }

    #[test]
    fn checks_ae_titles() {
        let title = |text: &str| AeTitle::parse(text).map(|title| title.0);
        assert_eq!(title(" PACS 1 "), Ok("PACS 1".to_owned()));
        assert_eq!(title("ABCDEFGHIJKLMNOP").map(|t| t.len()), Ok(16));
        for bad in ["", "   ", "ABCDEFGHIJKLMNOPQ", "A\\B", "A\tB", "É"] {
            assert!(title(bad).is_err(), "{bad}");
        }
    }
}

//! What `[profile.NAME]` says: how a site narrows HL7 v2 and DICOM for the devices that it has.
//!
//! In: tables that were read and checked. Out: the types that the gateway compiles, also for a file that holds profiles alone.
//! Knows nothing of messages; how a value is judged is for the inspector.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::dicom::DicomProfile;
use crate::document;
use crate::error::ConfigErrors;
use crate::excerpt::Lines;
use crate::model::{Origin, Profile};
use crate::name::ProfileName;
use crate::problem::Problems;
use crate::source::read;

/// What a service or rule names as its profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProfileChoice {
    /// One that needs no table.
    Base(Profile),
    /// `[profile.NAME]`.
    Named(ProfileName),
}

/// `[profile.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteProfile {
    /// How it is called.
    pub name: ProfileName,
    /// Where it is written.
    pub origin: Origin,
    /// What holds where it says nothing else.
    pub base: Profile,
    /// What findings of a level lead to, where it is not what the base says.
    pub severities: BTreeMap<ContentLevel, Severity>,
    /// Allowed values of MSH-12; empty: any known.
    pub versions: BTreeSet<String>,
    /// Allowed values of MSH-18; empty: any known.
    pub charsets: BTreeSet<String>,
    /// `[[profile.NAME.message]]`: all that are about a message hold for it.
    pub messages: Vec<MessageProfile>,
    /// `[[profile.NAME.observation]]`: each OBX must be one of them; empty: any.
    pub observations: Vec<Observation>,
    /// `[profile.NAME.dicom]`: what holds for data sets; without it the profile is for HL7 alone.
    pub dicom: Option<DicomProfile>,
}

/// What is judged, as far as its severity can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContentLevel {
    /// Delimiters, escape sequences, character set; never ignored.
    Encoding,
    /// Segments: which, in what order, how many.
    Structure,
    /// Fields: required, repeated, withdrawn, too many.
    Fields,
    /// Values by their data types.
    DataTypes,
    /// Lengths.
    Lengths,
    /// Codes by their tables.
    Tables,
    /// Documents inside of fields.
    Embedded,
    /// What the profile itself asks for.
    Site,
}

/// What a finding leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nobody is told.
    Ignore,
    /// The message passes with a warning.
    Warn,
    /// The message does not pass.
    Refuse,
}

/// `[[profile.NAME.message]]`: what messages of some types must look like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageProfile {
    /// `ORU^R01`, `ORU^*`; empty: all messages.
    pub types: BTreeSet<String>,
    /// Segments that may occur; empty: any.
    pub segments: BTreeSet<String>,
    /// Segments of which there must be one, and fields that must be valued in every segment that has them.
    pub require: BTreeSet<FieldPath>,
    /// Segments that must not occur, and fields that must be empty.
    pub forbid: BTreeSet<FieldPath>,
    /// What values may be.
    pub values: BTreeMap<FieldPath, BTreeSet<String>>,
    /// Regular expressions that whole values must match.
    pub patterns: BTreeMap<FieldPath, String>,
    /// Most repetitions of fields.
    pub max_repetitions: BTreeMap<FieldPath, u32>,
    /// Most bytes of values.
    pub max_length: BTreeMap<FieldPath, u32>,
}

/// `PID`, `PID-3`, `PID-3.4` or `PID-3.4.1`; 0 is "the whole".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FieldPath {
    /// The segment.
    pub segment: String,
    /// The field.
    pub field: u16,
    /// The component.
    pub component: u16,
    /// The subcomponent.
    pub subcomponent: u16,
}

/// `[[profile.NAME.observation]]`: one that may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// OBX-3.1.
    pub code: String,
    /// OBX-3.3; may be empty.
    pub system: String,
    /// OBX-2; empty: any.
    pub types: BTreeSet<String>,
    /// OBX-6.1; empty: any.
    pub units: BTreeSet<String>,
    /// The least that OBX-5 may be.
    pub min: Option<Decimal>,
    /// The most that OBX-5 may be.
    pub max: Option<Decimal>,
}

/// A decimal number, exactly as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    text: String,
    /// In units of the last digit that one may have.
    scaled: i128,
}

/// Reads one profile of a file: the one of this name, or the only one.
/// The file holds `[profile.NAME]` tables; what else a configuration has may stand there and is not looked at.
///
/// # Errors
/// Everything that is wrong with the profiles of the file, or that there is not the one that was asked for.
pub fn profile_from_file(path: &Path, name: Option<&str>) -> Result<SiteProfile, ConfigErrors> {
    let source = read(path).map_err(ConfigErrors::all)?;
    let sources = std::slice::from_ref(&source);
    let problems = Problems::default();
    let mut found = document::read_profiles(&source, &problems);
    if let Some(errors) = problems.into_errors(sources) {
        return Err(errors);
    }
    let names: Vec<ProfileName> = found.keys().cloned().collect();
    let chosen = match (name, names.as_slice()) {
        (Some(name), names) => names.iter().find(|own| own.as_str() == name),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let Some((name, raw)) = chosen.and_then(|name| found.remove_entry(name)) else {
        let message = not_found(path, name, &names);
        return Err(ConfigErrors::without_place(message));
    };
    let origin = Origin {
        file: source.path.clone(),
        line: Lines::new(&source.text).line_of(raw.header.start),
    };
    Ok(raw.into_model(name, origin))
}

fn not_found(path: &Path, name: Option<&str>, names: &[ProfileName]) -> String {
    let one_of = || crate::suggest::one_of(names.iter().map(ProfileName::as_str));
    let file = path.display();
    match (name, names) {
        (_, []) => format!("there is no table [profile.NAME] in {file}"),
        (Some(name), _) => format!("there is no profile `{name}` in {file}, but {}", one_of()),
        (None, [first, ..]) => format!(
            "{file} holds {} profiles: name {}, such as {file}#{first}",
            names.len(),
            one_of()
        ),
    }
}

impl Default for ProfileChoice {
    fn default() -> Self {
        Self::Base(Profile::Standard)
    }
}

impl ProfileChoice {
    /// What it is where named profiles have no meaning, which is checked.
    #[must_use]
    pub fn base(&self) -> Profile {
        match self {
            Self::Base(base) => *base,
            Self::Named(_) => Profile::Strict,
        }
    }
}

impl FieldPath {
    /// Whether the other is the same or a part of it.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let same = |mine: u16, theirs: u16| mine == 0 || mine == theirs;
        self.segment == other.segment
            && same(self.field, other.field)
            && same(self.component, other.component)
            && same(self.subcomponent, other.subcomponent)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segment)?;
        for (mark, number) in [
            ('-', self.field),
            ('.', self.component),
            ('.', self.subcomponent),
        ] {
            if number > 0 {
                write!(f, "{mark}{number}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for ProfileChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base(Profile::Standard) => f.write_str("standard"),
            Self::Base(Profile::Strict) => f.write_str("strict"),
            Self::Named(name) => f.write_str(name.as_str()),
        }
    }
}

impl Decimal {
    /// A sign, digits and a dot; `None` if it is something else, or has more than [`PLACES`] digits on a side of the dot.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let short = whole.len() <= PLACES && fraction.len() <= PLACES;
        let digits = format!("{whole}{fraction:0<PLACES$}");
        if !short || unsigned.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let scaled = digits.parse::<i128>().ok()?;
        Some(Self {
            text: text.to_owned(),
            scaled: if text.starts_with('-') {
                scaled.checked_neg()?
            } else {
                scaled
            },
        })
    }

    /// As it is written, without an exponent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is more than the other.
    pub(crate) fn exceeds(&self, other: &Self) -> bool {
        self.scaled > other.scaled
    }
}

/// Most digits before and behind the dot of a bound.
pub(crate) const PLACES: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        let of = |text| Decimal::parse(text);
        for (less, more) in [
            ("1", "2"),
            ("-2", "-1"),
            ("0.1", "0.10000000000001"),
            ("9", "10"),
            ("-.5", "+.5"),
        ] {
            let (less, more) = (of(less).unwrap(), of(more).unwrap());
            assert!(more.exceeds(&less) && !less.exceeds(&more));
        }
        assert!(!of("1.50").unwrap().exceeds(&of("01.5").unwrap()));
        for bad in ["", "-", "1e3", "nan", "0x1", "1.2.3", "1234567890123456"] {
            assert!(of(bad).is_none(), "{bad}");
        }
    }
}

//! `[profile.NAME]`: what messages of this site must look like beyond the standard.

use std::collections::{BTreeMap, BTreeSet};

use crate::dicom::DicomProfile;
use crate::field::hl7::{Charset, MessageTypes, Version};
use crate::field::path::{
    Identifier, Pattern, SegmentName, Told, Value, ValuePath, ValueType, WholeField,
};
use crate::model::{Origin, Profile};
use crate::name::ProfileName;
use crate::problem::{At, Fault, Place};
use crate::profile::{
    ContentLevel, Decimal, FieldPath, MessageProfile, Observation, Severity, SiteProfile,
};
use crate::section::{Field, Keys, Section, Text};
use crate::table::dicom;

pub(crate) const KEYS: Keys = Keys {
    table: "[profile.NAME]",
    known: &[
        "base",
        "encoding",
        "structure",
        "fields",
        "data_types",
        "lengths",
        "tables",
        "embedded",
        "site",
        "versions",
        "charsets",
        "message",
        "observation",
        "dicom",
    ],
    later: &[],
};

pub(crate) const MESSAGE: Keys = Keys {
    table: "[[profile.NAME.message]]",
    known: &[
        "type",
        "segments",
        "require",
        "forbid",
        "values",
        "match",
        "max_repetitions",
        "max_length",
    ],
    later: &[],
};

pub(crate) const OBSERVATION: Keys = Keys {
    table: "[[profile.NAME.observation]]",
    known: &["code", "type", "units", "min", "max"],
    later: &[],
};

/// The table as it is written.
pub(crate) struct RawProfile {
    pub(crate) header: Place,
    base: Profile,
    severities: BTreeMap<ContentLevel, Severity>,
    versions: BTreeSet<String>,
    charsets: BTreeSet<String>,
    messages: Vec<MessageProfile>,
    observations: Vec<Observation>,
    pub(crate) dicom: Option<DicomProfile>,
}

pub(crate) fn read(section: &Section<'_>) -> RawProfile {
    let versions = section.list::<Version>("versions", "leave the key out to allow all versions");
    let charsets = section.list::<Charset>("charsets", "leave the key out to allow all");
    let observations = section.tables("observation", &OBSERVATION, observation);
    distinct(section, &observations);
    let base = section.or("base", Profile::Standard);
    RawProfile {
        header: section.header,
        base,
        severities: severities(section),
        versions: versions.into_iter().map(|at| at.value.0).collect(),
        charsets: charsets.into_iter().map(|at| at.value.0).collect(),
        messages: section.tables("message", &MESSAGE, message),
        observations: observations.into_iter().filter_map(|at| at.value).collect(),
        dicom: section
            .section("dicom", &dicom::PROFILE)
            .map(|inner| dicom::profile(&inner, base)),
    }
}

fn severities(section: &Section<'_>) -> BTreeMap<ContentLevel, Severity> {
    let others = [
        ("structure", ContentLevel::Structure),
        ("fields", ContentLevel::Fields),
        ("data_types", ContentLevel::DataTypes),
        ("lengths", ContentLevel::Lengths),
        ("tables", ContentLevel::Tables),
        ("embedded", ContentLevel::Embedded),
        ("site", ContentLevel::Site),
    ];
    let encoding = section.optional::<Told>("encoding");
    let encoding = encoding.map(|at| (ContentLevel::Encoding, at.value.0));
    others
        .into_iter()
        .filter_map(|(key, level)| Some((level, section.optional::<Severity>(key)?.value)))
        .chain(encoding)
        .collect()
}

/// The right entries of a table that may be missing.
fn entries<K: Text, V: Field>(section: &Section<'_>, key: &str) -> Vec<(At<K>, V)> {
    let all = section.map::<K, V>(key).unwrap_or_default();
    all.into_iter().map(|(name, at)| (name, at.value)).collect()
}

fn message(section: &Section<'_>) -> MessageProfile {
    let any = "leave the key out if the profile has nothing to say";
    let types = section.one_or_more::<MessageTypes>("type", "leave the key out for all messages");
    let segments = section.list::<SegmentName>("segments", "leave the key out to allow all");
    let require = section.list::<FieldPath>("require", any);
    let forbid = section.list::<FieldPath>("forbid", any);
    let values = entries::<ValuePath, Vec<Value>>(section, "values");
    let patterns = entries::<ValuePath, Pattern>(section, "match");
    let repetitions = entries::<WholeField, u32>(section, "max_repetitions");
    let lengths = entries::<ValuePath, u32>(section, "max_length");
    for (path, list) in &values {
        if list.is_empty() {
            let fault = Fault::new(format!("there is no value for {}", path.value.0));
            let help = "list what it may be, or name it in `forbid` if it must be empty";
            section.problems().report(fault.help(help).at(path.place));
        }
    }
    let zero = |path: &At<FieldPath>, count: u32| {
        if count == 0 {
            let fault = Fault::new("must be at least 1");
            let fault = fault.help("name the field in `forbid` if it must be empty");
            section.problems().report(fault.at(path.place));
        }
    };
    let whole = |at: &At<WholeField>| path(at.place, &at.value.0);
    let valued = |at: &At<ValuePath>| path(at.place, &at.value.0);
    repetitions.iter().for_each(|(at, n)| zero(&whole(at), *n));
    lengths.iter().for_each(|(at, n)| zero(&valued(at), *n));
    let judged: Vec<At<FieldPath>> = (values.iter().map(|(at, _)| valued(at)))
        .chain(patterns.iter().map(|(at, _)| valued(at)))
        .chain(repetitions.iter().map(|(at, _)| whole(at)))
        .chain(lengths.iter().map(|(at, _)| valued(at)))
        .chain(require.iter().cloned())
        .collect();
    contradictions(section, &judged, &forbid);
    // A segment that was not understood may be the one.
    if segments.len() == section.length_of("segments") {
        listed(section, judged.iter().chain(&forbid), &segments);
    }
    MessageProfile {
        types: types.into_iter().map(|at| at.value.0).collect(),
        segments: segments.into_iter().map(|at| at.value.0).collect(),
        require: require.into_iter().map(|at| at.value).collect(),
        forbid: forbid.into_iter().map(|at| at.value).collect(),
        values: values
            .into_iter()
            .map(|(at, values)| (at.value.0, values.into_iter().map(|v| v.0).collect()))
            .collect(),
        patterns: (patterns.into_iter())
            .map(|(at, pattern)| (at.value.0, pattern.0))
            .collect(),
        max_repetitions: (repetitions.into_iter())
            .map(|(at, most)| (at.value.0, most))
            .collect(),
        max_length: (lengths.into_iter())
            .map(|(at, most)| (at.value.0, most))
            .collect(),
    }
}

fn path(place: Place, path: &FieldPath) -> At<FieldPath> {
    At {
        place,
        value: path.clone(),
    }
}

/// What is judged and must be empty.
fn contradictions(section: &Section<'_>, judged: &[At<FieldPath>], forbid: &[At<FieldPath>]) {
    for at in judged {
        if let Some(by) = forbid.iter().find(|by| by.value.covers(&at.value)) {
            let message = format!("{} is forbidden, and more is said of it", at.value);
            let problem = Fault::new(message).at(at.place);
            let remark = format!("`forbid` names {}", by.value);
            section.problems().report(problem.also(by.place, remark));
        }
    }
}

/// What stands in a segment that must not be there.
fn listed<'p>(
    section: &Section<'_>,
    paths: impl Iterator<Item = &'p At<FieldPath>>,
    segments: &[At<SegmentName>],
) {
    for at in paths {
        let segment = at.value.segment.as_str();
        let listed = segment == "MSH" || segments.iter().any(|by| by.value.0 == segment);
        if let Some(first) = segments.first()
            && !listed
        {
            let message = format!("segment {segment} is not among `segments`");
            let fault = Fault::new(message).help("what is not listed there is refused");
            let problem = fault.at(at.place);
            let problem = problem.also(first.place, "the segments that may occur");
            section.problems().report(problem);
        }
    }
}

/// `None` only if a problem was reported.
fn observation(section: &Section<'_>) -> At<Option<Observation>> {
    let code = section.required::<Identifier>("code");
    let any = "leave the key out to allow any";
    let types = section.one_or_more::<ValueType>("type", any);
    let units = section.one_or_more::<Value>("units", any);
    let types: BTreeSet<String> = types.into_iter().map(|at| at.value.0).collect();
    let bound = |key: &str| {
        let bound = section.optional::<Decimal>(key);
        if bound.is_some() && types.iter().any(|name| name != "NM") {
            let fault = Fault::new(format!("`{key}` is for numbers"));
            section.report(
                key,
                fault.help("such an observation has `type = \"NM\"` alone"),
            );
        } else if bound.is_some() && !section.has("type") {
            let fault = Fault::new(format!("`{key}` needs `type = \"NM\"`"));
            section.report(key, fault.help("only numbers can be compared"));
        }
        bound
    };
    let (min, max) = (bound("min"), bound("max"));
    if let (Some(min), Some(max)) = (&min, &max)
        && min.value.exceeds(&max.value)
    {
        let problem = Fault::new("`min` is more than `max`").at(min.place);
        section.problems().report(problem.also(max.place, "`max`"));
    }
    At {
        place: section.place_of("code").unwrap_or(section.header),
        value: code.map(|at| Observation {
            code: at.value.0,
            system: at.value.1,
            types,
            units: units.into_iter().map(|at| at.value.0).collect(),
            min: min.map(|at| at.value),
            max: max.map(|at| at.value),
        }),
    }
}

/// Two of one code must differ in type or units, or nobody knows which range holds.
fn distinct(section: &Section<'_>, observations: &[At<Option<Observation>>]) {
    let meet = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
        one.is_empty() || other.is_empty() || !one.is_disjoint(other)
    };
    let mut seen: BTreeMap<(&str, &str), Vec<(Place, &Observation)>> = BTreeMap::new();
    for at in observations {
        let Some(observation) = &at.value else {
            continue;
        };
        let same = seen
            .entry((&observation.code, &observation.system))
            .or_default();
        let first = same.iter().find(|(_, other)| {
            meet(&observation.types, &other.types) && meet(&observation.units, &other.units)
        });
        if let Some((place, _)) = first {
            let message = "this observation is defined twice";
            let fault = Fault::new(message)
                .help("one code can stand for several only if their types or units differ");
            let problem = fault.at(at.place).also(*place, "first defined here");
            section.problems().report(problem);
        }
        same.push((at.place, observation));
    }
}

impl RawProfile {
    pub(crate) fn into_model(self, name: ProfileName, origin: Origin) -> SiteProfile {
        SiteProfile {
            name,
            origin,
            base: self.base,
            severities: self.severities,
            versions: self.versions,
            charsets: self.charsets,
            messages: self.messages,
            observations: self.observations,
            dicom: self.dicom,
        }
    }
}

/// One value or a list of them, in a table of which the keys are places.
impl<T: Field> Field for Vec<T> {
    const WHAT: &'static str = T::WHAT;
    fn read(value: &toml::de::DeValue<'_>) -> Result<Self, Fault> {
        match value.as_array() {
            Some(array) => array.iter().map(|value| T::read(value.get_ref())).collect(),
            None => T::read(value).map(|one| vec![one]),
        }
    }
}

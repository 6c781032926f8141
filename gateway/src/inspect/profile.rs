//! A profile of the configuration as the inspector knows it.
//!
//! Knows nothing of rules; which profiles hold for one is for `policy.rs`.

use lazaret_config::{
    Config, ContentLevel, DicomLevel, DicomProfile, FieldPath, MessageProfile, Observation,
    Profile, ProfileChoice, ProfileName, Severity, SiteProfile,
};
use protocol_inspect::hl7::profile::{
    Constraint, Constraints, Decimal, MessageConstraints, Part, Pattern,
};
use protocol_inspect::{Base, dicom, hl7};

/// The profiles that hold where the service asks for one and the rule for another; the stricter counts.
pub(super) fn both(
    config: &Config,
    service: Option<&ProfileChoice>,
    rule: Option<&ProfileChoice>,
) -> Vec<hl7::Profile> {
    let compiled = chosen(service, rule)
        .into_iter()
        .map(|choice| match choice {
            ProfileChoice::Base(profile) => base(profile),
            ProfileChoice::Named(name) => match config.profiles.get(&name) {
                Some(profile) => hl7_profile(profile),
                // A configuration that exists has it.
                None => hl7::Profile::strict(),
            },
        });
    compiled.collect()
}

/// As [`both`], for what is spoken with DICOM services.
pub(super) fn both_of_dicom(
    config: &Config,
    service: Option<&ProfileChoice>,
    rule: Option<&ProfileChoice>,
) -> Vec<dicom::Profile> {
    let compiled = chosen(service, rule)
        .into_iter()
        .map(|choice| match choice {
            ProfileChoice::Base(base) => dicom::Profile::of(dicom_base(base)),
            ProfileChoice::Named(name) => {
                let profile = config.profiles.get(&name);
                let dicom = profile.and_then(|profile| profile.dicom.as_ref());
                // A configuration that exists has it.
                dicom.map_or_else(dicom::Profile::strict, |own| dicom_profile(&name, own))
            }
        });
    compiled.collect()
}

/// Each once; of those without a table the stricter alone.
fn chosen(service: Option<&ProfileChoice>, rule: Option<&ProfileChoice>) -> Vec<ProfileChoice> {
    let mut chosen: Vec<ProfileChoice> = service.into_iter().chain(rule).cloned().collect();
    chosen.sort();
    chosen.dedup();
    let is_base = |choice: &ProfileChoice| matches!(choice, ProfileChoice::Base(_));
    if chosen.iter().all(is_base) {
        return vec![chosen.pop().unwrap_or_default()];
    }
    chosen
}

/// A `[profile.NAME.dicom]` as the inspector knows it.
#[must_use]
pub fn dicom_profile(name: &ProfileName, profile: &DicomProfile) -> dicom::Profile {
    let level = |level: &DicomLevel| match level {
        DicomLevel::Elements => dicom::Level::Elements,
        DicomLevel::Values => dicom::Level::Values,
        DicomLevel::CharacterSets => dicom::Level::CharacterSets,
        DicomLevel::Private => dicom::Level::Private,
        DicomLevel::Pixels => dicom::Level::Pixels,
        DicomLevel::Documents => dicom::Level::Documents,
        DicomLevel::Object => dicom::Level::Object,
    };
    let levels = profile.severities.iter();
    dicom::Profile {
        name: name.to_string(),
        base: dicom_base(profile.base),
        levels: levels.map(|(l, s)| (level(l), severity(*s))).collect(),
    }
}

fn dicom_base(profile: Profile) -> Base {
    match profile {
        Profile::Standard => Base::Standard,
        Profile::Strict => Base::Strict,
    }
}

fn base(profile: Profile) -> hl7::Profile {
    match profile {
        Profile::Standard => hl7::Profile::standard(),
        Profile::Strict => hl7::Profile::strict(),
    }
}

/// A `[profile.NAME]` as the inspector knows it.
#[must_use]
pub fn hl7_profile(profile: &SiteProfile) -> hl7::Profile {
    let levels = profile.severities.iter();
    let observations: Vec<_> = profile.observations.iter().map(observation).collect();
    hl7::Profile {
        name: profile.name.to_string(),
        base: base(profile.base).base,
        levels: levels.map(|(l, s)| (level(*l), severity(*s))).collect(),
        constraints: Constraints {
            versions: profile.versions.iter().cloned().collect(),
            charsets: profile.charsets.iter().cloned().collect(),
            messages: profile.messages.iter().map(message).collect(),
            observations: observations.into(),
        },
    }
}

fn level(level: ContentLevel) -> hl7::Level {
    match level {
        ContentLevel::Encoding => hl7::Level::Encoding,
        ContentLevel::Structure => hl7::Level::Structure,
        ContentLevel::Fields => hl7::Level::Fields,
        ContentLevel::DataTypes => hl7::Level::DataTypes,
        ContentLevel::Lengths => hl7::Level::Lengths,
        ContentLevel::Tables => hl7::Level::Tables,
        ContentLevel::Embedded => hl7::Level::Embedded,
        ContentLevel::Site => hl7::Level::Site,
    }
}

fn severity(severity: Severity) -> hl7::Severity {
    match severity {
        Severity::Ignore => hl7::Severity::Ignore,
        Severity::Warn => hl7::Severity::Warn,
        Severity::Refuse => hl7::Severity::Refuse,
    }
}

fn message(message: &MessageProfile) -> MessageConstraints {
    let mut compiled = MessageConstraints::of_types(message.types.iter().cloned().collect());
    for segment in &message.segments {
        compiled.allow_segment(segment);
    }
    for path in &message.require {
        match path.field {
            0 => compiled.require_segment(&path.segment),
            _ => compiled.constrain(&path.segment, part(path), Constraint::Required),
        }
    }
    for path in &message.forbid {
        match path.field {
            0 => compiled.forbid_segment(&path.segment),
            _ => compiled.constrain(&path.segment, part(path), Constraint::Empty),
        }
    }
    let values = message.values.iter();
    let patterns = message.patterns.iter();
    let repetitions = message.max_repetitions.iter();
    let lengths = message.max_length.iter();
    let each = (values.map(|(path, values)| (path, Constraint::OneOf(values.clone()))))
        .chain(patterns.map(|(path, text)| (path, Constraint::Matches(Pattern::new(text)))))
        .chain(repetitions.map(|(path, most)| (path, Constraint::Repetitions(size(*most)))))
        .chain(lengths.map(|(path, most)| (path, Constraint::Length(size(*most)))));
    for (path, constraint) in each {
        compiled.constrain(&path.segment, part(path), constraint);
    }
    compiled
}

fn part(path: &FieldPath) -> Part {
    Part {
        field: path.field.into(),
        component: path.component.into(),
        subcomponent: path.subcomponent.into(),
    }
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn observation(observation: &Observation) -> hl7::profile::Observation {
    let bound = |bound: &Option<lazaret_config::Decimal>| {
        let text = bound.as_ref()?.as_str().to_owned();
        Decimal::try_from(text).ok()
    };
    hl7::profile::Observation {
        code: observation.code.clone(),
        system: observation.system.clone(),
        types: observation.types.iter().cloned().collect(),
        units: observation.units.iter().cloned().collect(),
        min: bound(&observation.min),
        max: bound(&observation.max),
    }
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;

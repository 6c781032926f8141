//! `dicom = { … }` of a rule, and `[profile.NAME.dicom]`.

use std::collections::{BTreeMap, BTreeSet};

use crate::dicom::{DicomLevel, DicomProfile, DicomQuery};
use crate::field::dicom::{AeTitle, Dimse};
use crate::field::dicom_rule::{
    AnyKey, Creator, Modality, QueryLevel, SopClasses, TransferSyntax, Wildcards,
};
use crate::field::document::DocumentKind;
use crate::field::path::Told;
use crate::field::quantity::Bytes;
use crate::model::{DicomRule, Profile};
use crate::problem::{At, Fault};
use crate::profile::Severity;
use crate::section::{Keys, Section};

pub(crate) const RULE: Keys = Keys {
    table: "`dicom` of [rule.NAME]",
    known: &[
        "allow",
        "sop_classes",
        "transfer_syntaxes",
        "modalities",
        "move_destinations",
        "bind_sender",
        "bind_patient",
        "query",
        "reverse_roles",
        "user_identity",
        "max_object",
        "private_creators",
        "documents",
    ],
    later: &[],
};

pub(crate) const QUERY: Keys = Keys {
    table: "`query` of `dicom` of [rule.NAME]",
    known: &["require", "levels", "wildcards", "max_results"],
    later: &[],
};

pub(crate) const PROFILE: Keys = Keys {
    table: "[profile.NAME.dicom]",
    known: &[
        "base",
        "elements",
        "values",
        "character_sets",
        "private",
        "pixels",
        "documents",
        "object",
    ],
    later: &[],
};

pub(crate) fn rule(section: &Section<'_>) -> At<DicomRule> {
    let allow = section.required_list::<Dimse>("allow");
    let classes = section.list::<SopClasses>("sop_classes", "leave the key out to allow all");
    let destinations = section.list::<AeTitle>("move_destinations", "it needs at least one");
    let syntaxes =
        section.list::<TransferSyntax>("transfer_syntaxes", "leave the key out to allow all");
    let modalities = section.list::<Modality>("modalities", "leave the key out to allow all");
    let documents =
        section.list::<DocumentKind>("documents", "leave the key out to carry the harmless ones");
    let creators = section.list_or_empty::<Creator>("private_creators");
    let allows = |service: &str| allow.iter().any(|at| at.value.0 == service);
    if allows("C-MOVE") && !section.has("move_destinations") {
        let fault = Fault::new("C-MOVE needs `move_destinations`")
            .help("the AE titles to which images may be moved, such as [\"WORKSTATION1\"], or [\"device\"] for its own");
        section.report("allow", fault);
    }
    if !allow.is_empty() {
        fits(section, &allows);
    }
    At {
        place: section.header,
        value: DicomRule {
            sop_classes: classes.into_iter().flat_map(|at| at.value.0).collect(),
            transfer_syntaxes: syntaxes.into_iter().map(|at| at.value.0).collect(),
            modalities: modalities.into_iter().map(|at| at.value.0).collect(),
            move_destinations: destinations.into_iter().map(|at| at.value.0).collect(),
            bind_sender: section.or("bind_sender", true),
            bind_patient: section.or("bind_patient", false),
            query: section
                .section("query", &QUERY)
                .map(|inner| query(&inner, &allows))
                .unwrap_or_default(),
            reverse_roles: section.or("reverse_roles", false),
            user_identity: section.or("user_identity", Default::default()),
            max_object: section
                .within("max_object", Bytes(64)..=Bytes(1 << 40))
                .map(|bytes| bytes.0),
            private_creators: section
                .has("private_creators")
                .then(|| creators.into_iter().map(|at| at.value.0).collect()),
            documents: documents
                .into_iter()
                .map(|at| at.value.0.to_owned())
                .collect(),
            allow: allow.into_iter().map(|at| at.value.0).collect(),
        },
    }
}

/// Keys that say something of services which the rule does not allow.
fn fits(section: &Section<'_>, allows: &dyn Fn(&str) -> bool) {
    let brings: &[&str] = &["C-STORE", "C-GET"];
    for (key, services, said) in [
        ("move_destinations", &["C-MOVE"][..], "C-MOVE"),
        ("query", QUERIES, "C-FIND, C-GET or C-MOVE"),
        ("modalities", brings, "C-STORE or C-GET"),
        ("max_object", brings, "C-STORE or C-GET"),
        ("documents", brings, "C-STORE or C-GET"),
    ] {
        if section.has(key) && !services.iter().any(|service| allows(service)) {
            let fault = Fault::new(format!("`{key}` is for rules that allow {said}"));
            section.report(key, fault);
        }
    }
}

fn query(section: &Section<'_>, allows: &dyn Fn(&str) -> bool) -> DicomQuery {
    let require = section.list::<AnyKey>("require", "leave the key out to require none");
    let levels = section.list::<QueryLevel>("levels", "leave the key out to allow all");
    let wildcards = section.or("wildcards", Wildcards(false)).0;
    if wildcards && !require.is_empty() {
        let fault = Fault::new("a query with required keys cannot ask for everything")
            .help("leave out `wildcards`: a required key has a value that is no wildcard");
        section.report("wildcards", fault);
    }
    if section.has("max_results") && !allows("C-FIND") && !allows("C-GET") {
        let fault = Fault::new("`max_results` is for rules that allow C-FIND or C-GET")
            .help("what C-MOVE brings does not come on the association of the device");
        section.report("max_results", fault);
    }
    let levels: BTreeSet<String> = levels.into_iter().map(|at| at.value.0).collect();
    DicomQuery {
        require: require.into_iter().map(|at| at.value.0).collect(),
        levels,
        wildcards,
        max_results: section.within("max_results", 1..=1_000_000),
    }
}

/// Where it says no `base`, that of the profile holds.
pub(crate) fn profile(section: &Section<'_>, base: Profile) -> DicomProfile {
    let told = [
        ("elements", DicomLevel::Elements),
        ("character_sets", DicomLevel::CharacterSets),
    ];
    let told = told
        .into_iter()
        .filter_map(|(key, level)| Some((level, section.optional::<Told>(key)?.value.0)));
    let others = [
        ("values", DicomLevel::Values),
        ("private", DicomLevel::Private),
        ("pixels", DicomLevel::Pixels),
        ("documents", DicomLevel::Documents),
        ("object", DicomLevel::Object),
    ];
    let others = others
        .into_iter()
        .filter_map(|(key, level)| Some((level, section.optional::<Severity>(key)?.value)));
    let severities: BTreeMap<DicomLevel, Severity> = told.chain(others).collect();
    DicomProfile {
        base: section.or("base", base),
        severities,
    }
}

const QUERIES: &[&str] = &["C-FIND", "C-GET", "C-MOVE"];

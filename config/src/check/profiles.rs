//! Profiles: those that services and rules name exist, and say something of DICOM where that is spoken.

use std::collections::BTreeMap;

use crate::document::Document;
use crate::name::ProfileName;
use crate::problem::{At, Fault, Place, Problems};
use crate::profile::ProfileChoice;
use crate::table::profile::RawProfile;
use crate::table::service::Protocol;

pub(super) fn check(document: &Document, problems: &Problems) {
    names(&document.profiles, problems);
    for (name, service) in &document.services {
        let Some(choice) = &service.profile else {
            continue;
        };
        let is_dicom = service.inspected() == Some(Protocol::Dicom);
        let dicom = is_dicom.then_some((name.as_str(), service.header));
        exists(document, choice, dicom, problems);
    }
    for rule in document.rules.values() {
        let Some(choice) = &rule.profile else {
            continue;
        };
        let services = rule.services();
        let dicom = services.iter().find(|at| {
            let service = document.services.get(&at.value);
            service.is_some_and(|service| service.inspected() == Some(Protocol::Dicom))
        });
        let dicom = dicom.map(|at| (at.value.as_str(), at.place));
        exists(document, choice, dicom, problems);
    }
}

/// Reports names that are taken.
pub(crate) fn names(profiles: &BTreeMap<ProfileName, RawProfile>, problems: &Problems) {
    for (name, raw) in profiles {
        if BASES.contains(&name.as_str()) {
            let fault = Fault::new(format!("`{name}` is a profile that needs no table"));
            let help = "give this one another name, and say `base` in it";
            problems.report(fault.help(help).at(raw.header));
        }
    }
}

/// Reports a choice of what is not there, or says nothing of what the DICOM service speaks.
fn exists(
    document: &Document,
    choice: &At<ProfileChoice>,
    dicom: Option<(&str, Place)>,
    problems: &Problems,
) {
    let ProfileChoice::Named(name) = &choice.value else {
        return;
    };
    let Some(profile) = document.profiles.get(name) else {
        let own = document.profiles.keys().map(ProfileName::as_str);
        let near = problems.did_you_mean(name.as_str(), own.chain(BASES));
        let fault = Fault::new(format!("unknown profile `{name}`")).help(format!(
            "`standard`, `strict`, or the name of a [profile.{name}]"
        ));
        problems.report(fault.maybe(near).at(choice.place));
        return;
    };
    if let Some((service, place)) = dicom
        && profile.dicom.is_none()
    {
        let message =
            format!("profile `{name}` is about HL7, and service `{service}` speaks DICOM");
        let help = format!("say in [profile.{name}.dicom] what holds for it");
        let problem = Fault::new(message).help(help).at(choice.place);
        problems.report(problem.also(place, format!("service `{service}`")));
    }
}

/// The profiles that need no table.
const BASES: [&str; 2] = ["standard", "strict"];

//! Rules: they name what exists, and their parts fit the services and devices they are about.

use super::Members;
use crate::dicom::OWN_TITLE;
use crate::document::Document;
use crate::field::party::{Receiver, Source};
use crate::model::{Direction, Party, Release};
use crate::name::{DeviceName, RoleName, ServiceName};
use crate::problem::{At, Fault, Place, Problems};
use crate::table::device::RawDevice;
use crate::table::rule::RawRule;
use crate::table::service::Protocol;

pub(super) fn check(document: &Document, members: &Members<'_>, problems: &Problems) {
    for rule in document.rules.values() {
        match rule.direction() {
            Direction::FromDevices => outward(document, rule, members, problems),
            Direction::ToDevices => inward(document, rule, members, problems),
        }
        let protocols = services(document, rule, problems);
        fits(rule, &protocols, problems);
        bindings(rule, members, &protocols, problems);
        patient_key(document, rule, problems);
        release(document, rule, problems);
    }
}

/// Streaming is a choice of the service; a rule can only be stricter.
fn release(document: &Document, rule: &RawRule, problems: &Problems) {
    let Some(at) = &rule.release else { return };
    if at.value == Release::Verified {
        return;
    }
    for to in &rule.to {
        let name = match &to.value {
            Receiver::Service(name) => name,
            Receiver::Party(_) => {
                let message = "what goes to devices is held until its verdict";
                let help = "leave out `release`";
                problems.report(Fault::new(message).help(help).at(at.place));
                return;
            }
        };
        let Some(service) = document.services.get(name) else {
            continue;
        };
        if !service.unclear && service.inspected().is_some() && service.release != at.value {
            let message = format!("service `{name}` does not release by streaming");
            let help = match service.inspected() {
                Some(Protocol::Dicom) => {
                    "write `release = \"streaming\"` in the service; its rules may say `verified`"
                }
                Some(Protocol::Hl7) | None => "HL7 messages are held until their verdict",
            };
            let problem = Fault::new(message).help(help).at(at.place);
            problems.report(problem.also(to.place, "the service"));
        }
    }
}

/// Whom a rule from devices names.
fn outward(document: &Document, rule: &RawRule, members: &Members<'_>, problems: &Problems) {
    for from in &rule.from {
        let fault = match &from.value {
            Source::Party(party) => members.unknown(party, problems),
            Source::Bare(word) => Some(bare(word, document, members)),
        };
        if let Some(fault) = fault {
            problems.report(fault.at(from.place));
        }
    }
}

/// Whom a rule to devices names.
fn inward(document: &Document, rule: &RawRule, members: &Members<'_>, problems: &Problems) {
    for at in &rule.to {
        let fault = match &at.value {
            Receiver::Party(party) => members.unknown(party, problems),
            Receiver::Service(name) => Some(
                Fault::new(format!("`{name}` beside roles and devices"))
                    .help("a rule goes to services, or from services to roles and devices"),
            ),
        };
        if let Some(fault) = fault {
            problems.report(fault.at(at.place));
        }
    }
    for from in &rule.from {
        let fault = match &from.value {
            Source::Party(party) => Fault::new(format!("`{party}` cannot reach devices"))
                .help("devices never reach each other; a rule to devices goes from services"),
            Source::Bare(word) => match crate::field::basic::name::<ServiceName>(word) {
                Ok(name) if document.services.contains_key(&name) => continue,
                Ok(name) => {
                    let names = document.services.keys().map(ServiceName::as_str);
                    Fault::new(format!("unknown service `{name}`"))
                        .maybe(problems.did_you_mean(name.as_str(), names))
                }
                Err(fault) => fault,
            },
        };
        problems.report(fault.at(from.place));
    }
}

/// What a word in `from` may have meant.
fn bare(word: &str, document: &Document, members: &Members<'_>) -> Fault {
    let fault = Fault::new("not a party").help("write `role:NAME` or `device:NAME`");
    let service = |name: &ServiceName| document.services.contains_key(name);
    if word.parse().is_ok_and(|name| service(&name)) {
        return Fault::new(format!("service `{word}` reaches devices only"))
            .help("a rule from services has `role:NAME` or `device:NAME` in `to`");
    }
    let role = |name: RoleName| members.roles.contains_key(&name);
    if word.parse().is_ok_and(role) {
        return fault.help(format!("did you mean `role:{word}`?"));
    }
    let device = |name: DeviceName| document.devices.contains_key(&name);
    if word.parse().is_ok_and(device) {
        return fault.help(format!("did you mean `device:{word}`?"));
    }
    fault
}

/// The protocols of the services that a rule is about; `None` inside is a plain one.
struct Protocols(Vec<(ServiceName, Option<Protocol>, Place)>);

impl Protocols {
    fn any(&self, protocol: Option<Protocol>) -> bool {
        self.0.iter().any(|(_, has, _)| *has == protocol)
    }
}

fn services(document: &Document, rule: &RawRule, problems: &Problems) -> Protocols {
    let mut protocols = Vec::new();
    for at in &rule.services() {
        match document.services.get(&at.value) {
            Some(service) if service.unclear => {}
            Some(service) => {
                protocols.push((at.value.clone(), service.inspected(), at.place));
            }
            // Said where the ends are looked at.
            None if rule.direction() == Direction::ToDevices => {}
            None => {
                let names = document.services.keys().map(ServiceName::as_str);
                let fault = Fault::new(format!("unknown service `{}`", at.value))
                    .maybe(problems.did_you_mean(at.value.as_str(), names));
                problems.report(fault.at(at.place));
            }
        }
    }
    Protocols(protocols)
}

/// Whether `hl7` and `dicom` are there exactly for services that speak it.
fn fits(rule: &RawRule, protocols: &Protocols, problems: &Problems) {
    let services = match rule.direction() {
        Direction::FromDevices => rule.to.len(),
        Direction::ToDevices => rule.from.len(),
    };
    let known = rule.to_is_clear && protocols.0.len() == services;
    let needs = |has: bool, protocol, name: &ServiceName, place: Place| {
        let (speaks, key, help) = match protocol {
            Protocol::Hl7 => ("HL7", "hl7", "such as `hl7 = { send = [\"ORU^R01\"] }`"),
            Protocol::Dicom => (
                "DICOM",
                "dicom",
                "such as `dicom = { allow = [\"C-ECHO\", \"C-STORE\"] }`",
            ),
        };
        if !has {
            let message = format!("service `{name}` speaks {speaks}, but the rule has no `{key}`");
            problems.report(Fault::new(message).help(help).at(place));
        }
    };
    let inspects = rule.hl7.is_some() || rule.dicom.is_some();
    for (name, protocol, place) in &protocols.0 {
        match protocol {
            Some(Protocol::Hl7) => needs(rule.hl7.is_some(), Protocol::Hl7, name, *place),
            Some(Protocol::Dicom) => needs(rule.dicom.is_some(), Protocol::Dicom, name, *place),
            None if inspects || !rule.inspected_only.is_empty() => {
                let message = format!("service `{name}` is forwarded without inspection");
                let key = match (&rule.hl7, &rule.dicom, rule.inspected_only.first()) {
                    (Some(at), _, _) => ("hl7", at.place),
                    (None, Some(at), _) => ("dicom", at.place),
                    (None, None, Some(key)) => *key,
                    (None, None, None) => ("", *place),
                };
                let help = format!("`{}` cannot hold for it; give it a rule of its own", key.0);
                let problem = Fault::new(message).help(help).at(*place);
                problems.report(problem.also(key.1, "for inspected services only"));
            }
            None => {}
        }
        if let (Some(_), Some((key, at))) = (protocol, rule.forwarded_only.first()) {
            let message = format!("`{key}` is for services that are forwarded without inspection");
            let help = "`idle_timeout` of [limits] holds for inspected ones";
            let problem = Fault::new(message).help(help).at(*at);
            problems.report(problem.also(*place, format!("service `{name}` is inspected")));
        }
    }
    let unused = |place: Option<Place>, protocol, key: &str, speaks: &str| {
        if let Some(place) = place
            && known
            && !protocols.any(Some(protocol))
            && !protocols.any(None)
        {
            let end = match rule.direction() {
                Direction::FromDevices => "to",
                Direction::ToDevices => "from",
            };
            let message = format!("`{key}` is given, but no service in `{end}` speaks {speaks}");
            problems.report(Fault::new(message).at(place));
        }
    };
    let hl7 = rule.hl7.as_ref().map(|at| at.place);
    let dicom = rule.dicom.as_ref().map(|at| at.place);
    unused(hl7, Protocol::Hl7, "hl7", "HL7");
    unused(dicom, Protocol::Dicom, "dicom", "DICOM");
}

/// Whether the devices have the identities that a rule binds.
fn bindings(rule: &RawRule, members: &Members<'_>, protocols: &Protocols, problems: &Problems) {
    let hl7 = rule
        .hl7
        .as_ref()
        .filter(|_| protocols.any(Some(Protocol::Hl7)));
    let dicom = rule
        .dicom
        .as_ref()
        .filter(|_| protocols.any(Some(Protocol::Dicom)));
    if rule.direction() == Direction::ToDevices {
        // Whose title binds there is the service's own: see `inward.rs`.
        return;
    }
    for At { value, place } in &rule.parties() {
        let lacks = |has: fn(&RawDevice) -> bool, key: &str, help: &str| {
            lacking(members, value, has, key, help, *place, problems);
        };
        if hl7.is_some_and(|at| at.value.bind_sender) {
            lacks(|device| device.has_sender, "hl7_sender", SENDER);
        }
        if hl7.is_some_and(|at| at.value.bind_patient) {
            lacks(|device| device.has_patients, "patients", PATIENT);
        }
        if dicom.is_some_and(|at| at.value.bind_sender) {
            lacks(|device| device.has_title, "ae_title", SENDER);
        } else if dicom.is_some_and(|at| at.value.move_destinations.contains(OWN_TITLE)) {
            lacks(|device| device.has_title, "ae_title", OWN);
        }
        if dicom.is_some_and(|at| at.value.bind_patient) {
            lacks(|device| device.has_patients, "patients", PATIENT);
        }
    }
}

/// Patients are known by hashes, which nobody can make without their key.
fn patient_key(document: &Document, rule: &RawRule, problems: &Problems) {
    let hl7 = rule.hl7.as_ref().filter(|at| at.value.bind_patient);
    let dicom = rule.dicom.as_ref().filter(|at| at.value.bind_patient);
    let places = hl7.map(|at| at.place).into_iter();
    if let Some(place) = places.chain(dicom.map(|at| at.place)).next()
        && !document.has_patient_key
    {
        let fault = Fault::new("`bind_patient` needs `patient_key_file` of [gateway]").help(
            "it names the key with which `lazaret patient hash` makes the hashes; `wg genkey` makes one",
        );
        problems.report(fault.at(place));
    }
}

pub(super) fn lacking(
    members: &Members<'_>,
    party: &Party,
    has: fn(&RawDevice) -> bool,
    key: &str,
    help: &str,
    place: Place,
    problems: &Problems,
) {
    let without: Vec<_> = members
        .of(party)
        .into_iter()
        .filter(|(_, device)| !has(device))
        .collect();
    let Some((first, device)) = without.first() else {
        return;
    };
    let message = match without.len().saturating_sub(1) {
        0 => format!("device `{first}` has no `{key}`, which the rule binds"),
        more => format!("device `{first}` and {more} more have no `{key}`, which the rule binds"),
    };
    let problem = Fault::new(message).help(help).at(place);
    problems.report(problem.also(device.header, format!("device `{first}`")));
}

const SENDER: &str = "give it one, or say `bind_sender = false`: then any sender may be claimed";
const OWN: &str = "give it one, or name destinations instead of `device`";
const PATIENT: &str = "list its patients, or leave out `bind_patient`";

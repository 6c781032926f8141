//! Rules that could both accept one message must agree on priority, limits and release, because only one of them can count and carry it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::dicom::OWN_TITLE;
use crate::document::Document;
use crate::model::{DicomRule, Hl7Rule, Party, Release};
use crate::name::{RuleName, ServiceName};
use crate::problem::{Fault, Problems};
use crate::table::rule::RawRule;
use crate::table::service::Protocol;

pub(super) fn check(document: &Document, problems: &Problems) {
    let rules: Vec<Candidate<'_>> = document
        .rules
        .iter()
        .map(|(name, rule)| Candidate {
            name,
            rule,
            services: rule.services().into_iter().map(|at| at.value).collect(),
        })
        .collect();
    let mut by_party: BTreeMap<Party, Vec<usize>> = BTreeMap::new();
    for (number, candidate) in rules.iter().enumerate() {
        for party in candidate.rule.parties() {
            by_party.entry(party.value).or_default().push(number);
        }
    }
    // Devices with the same roles have the same rules, so most devices add nothing.
    let mut seen = HashSet::new();
    let mut compared = HashSet::new();
    for (name, device) in &document.devices {
        let roles = device.roles.iter().map(|at| Party::Role(at.value.clone()));
        let numbers: BTreeSet<usize> = roles
            .chain([Party::Device(name.clone())])
            .filter_map(|party| by_party.get(&party))
            .flatten()
            .copied()
            .collect();
        if numbers.len() < 2 || !seen.insert(numbers.clone()) {
            continue;
        }
        for &one in &numbers {
            for &other in numbers.range(one.saturating_add(1)..) {
                if let (Some(a), Some(b)) = (rules.get(one), rules.get(other))
                    && compared.insert((one, other))
                    && let Some(message) = conflict(document, a, b)
                {
                    let message = format!("{message}, for example from device `{name}`");
                    let problem = Fault::new(message)
                        .help("rules are not combined: give them the same values, or make them disjoint")
                        .at(b.rule.header);
                    problems.report(problem.also(a.rule.header, format!("rule `{}`", a.name)));
                }
            }
        }
    }
}

struct Candidate<'d> {
    name: &'d RuleName,
    rule: &'d RawRule,
    services: BTreeSet<ServiceName>,
}

fn conflict(document: &Document, a: &Candidate<'_>, b: &Candidate<'_>) -> Option<String> {
    if !a.rule.is_clear || !b.rule.is_clear || a.rule.direction() != b.rule.direction() {
        return None;
    }
    let differ = match (
        a.rule.priority == b.rule.priority,
        a.rule.limit == b.rule.limit,
    ) {
        (true, true) => return release_conflict(document, a, b),
        (false, true) => "have different priorities",
        (true, false) => "have different limits",
        (false, false) => "have different priorities and limits",
    };
    if never_together(a, b) {
        return None;
    }
    let service = a.services.intersection(&b.services).find(|name| {
        let service = document.services.get(*name);
        match service.map(|service| service.inspected()) {
            Some(Some(Protocol::Hl7)) => {
                both(&a.rule.hl7, &b.rule.hl7).is_some_and(|(one, other)| hl7(one, other))
            }
            Some(Some(Protocol::Dicom)) => {
                both(&a.rule.dicom, &b.rule.dicom).is_some_and(|(one, other)| dicom(one, other))
            }
            // Its limits end sessions, and a session goes on while any rule lets it.
            Some(None) => a.rule.priority != b.rule.priority,
            None => false,
        }
    })?;
    Some(format!(
        "rules `{}` and `{}` accept the same for service `{service}`, but {differ}",
        a.name, b.name
    ))
}

/// Whether both can accept one operation and would release it in different ways.
fn release_conflict(document: &Document, a: &Candidate<'_>, b: &Candidate<'_>) -> Option<String> {
    if never_together(a, b) {
        return None;
    }
    let (one, other) = both(&a.rule.dicom, &b.rule.dicom)?;
    if !stores(one) || !stores(other) || !meet(&one.sop_classes, &other.sop_classes) {
        return None;
    }
    let holds =
        |rule: &RawRule| rule.release.as_ref().map(|at| at.value) == Some(Release::Verified);
    if holds(a.rule) == holds(b.rule) {
        return None;
    }
    let service = a.services.intersection(&b.services).find(|name| {
        let service = document.services.get(*name);
        service.is_some_and(|service| service.release == Release::Streaming)
    })?;
    Some(format!(
        "rules `{}` and `{}` accept the same for service `{service}`, but have different releases",
        a.name, b.name
    ))
}

/// Whether a rule carries C-STORE requests, in either direction.
fn stores(rule: &DicomRule) -> bool {
    ["C-STORE", "C-GET"]
        .iter()
        .any(|service| rule.allow.contains(*service))
}

fn never_together(a: &Candidate<'_>, b: &Candidate<'_>) -> bool {
    match (&a.rule.hours, &b.rule.hours) {
        (Some(mine), Some(theirs)) => !mine.may_overlap(theirs),
        (Some(_) | None, Some(_) | None) => false,
    }
}

fn both<'r, T>(
    one: &'r Option<crate::problem::At<T>>,
    other: &'r Option<crate::problem::At<T>>,
) -> Option<(&'r T, &'r T)> {
    Some((&one.as_ref()?.value, &other.as_ref()?.value))
}

/// Whether both can accept one message.
fn hl7(one: &Hl7Rule, other: &Hl7Rule) -> bool {
    let types = one.send.iter().any(|mine| {
        other.send.iter().any(|theirs| {
            crate::decide::covers(mine, theirs) || crate::decide::covers(theirs, mine)
        })
    });
    types && meet(&one.versions, &other.versions)
}

/// Whether both can accept one operation.
fn dicom(one: &DicomRule, other: &DicomRule) -> bool {
    let classes = meet(&one.sop_classes, &other.sop_classes)
        && meet(&one.transfer_syntaxes, &other.transfer_syntaxes);
    one.allow.intersection(&other.allow).any(|service| {
        match service.as_str() {
            // Verification has a SOP class of its own, which comes with it.
            "C-ECHO" => true,
            "C-MOVE" => destinations(one, other) && classes,
            "C-STORE" => classes && meet(&one.modalities, &other.modalities),
            _ => classes,
        }
    })
}

/// Whether both can accept a C-MOVE to one title. That of a device may be any.
fn destinations(one: &DicomRule, other: &DicomRule) -> bool {
    let (mine, theirs) = (&one.move_destinations, &other.move_destinations);
    let open = |titles: &BTreeSet<String>| titles.contains(OWN_TITLE) || titles.contains("*");
    let none = mine.is_empty() || theirs.is_empty();
    !none && (open(mine) || open(theirs) || !mine.is_disjoint(theirs))
}

/// Whether two sets, of which an empty one means everything, have something in common.
fn meet(one: &BTreeSet<String>, other: &BTreeSet<String>) -> bool {
    one.is_empty() || other.is_empty() || !one.is_disjoint(other)
}

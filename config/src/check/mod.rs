//! Checks across tables: what each table says alone is right, but together it may not be.

mod appliance;
mod behaviour;
mod containment;
mod devices;
mod inward;
mod networks;
mod overlap;
mod profiles;
mod rules;
pub(crate) mod secrets;
mod services;
mod tests;

pub(crate) use networks::is_reserved;
pub(crate) use profiles::names as names_of_profiles;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::document::Document;
use crate::model::Party;
use crate::name::{DeviceName, RoleName};
use crate::problem::{Fault, Problems};
use crate::table::device::RawDevice;

/// Reports everything that does not fit together.
pub(crate) fn check(document: &Document, dir: &Path, problems: &Problems) {
    let members = Members::new(document);
    networks::check(document, problems);
    let routers = devices::check(document, problems);
    services::check(document, &routers, problems);
    profiles::check(document, problems);
    containment::check(document, problems);
    rules::check(document, &members, problems);
    inward::check(document, &members, problems);
    overlap::check(document, problems);
    tests::check(document, &members, problems);
    secrets::check(document, dir, problems);
    appliance::check(document, dir, problems);
    behaviour::check(document, &members, problems);
}

/// Who has which role.
struct Members<'d> {
    devices: &'d BTreeMap<DeviceName, RawDevice>,
    roles: BTreeMap<&'d RoleName, Vec<(&'d DeviceName, &'d RawDevice)>>,
}

impl<'d> Members<'d> {
    fn new(document: &'d Document) -> Self {
        let mut roles: BTreeMap<_, Vec<_>> = document
            .roles
            .keys()
            .map(|role| (role, Vec::new()))
            .collect();
        for (name, device) in &document.devices {
            let own: BTreeSet<_> = device.roles.iter().map(|at| &at.value).collect();
            for role in own {
                roles.entry(role).or_default().push((name, device));
            }
        }
        Self {
            devices: &document.devices,
            roles,
        }
    }

    fn of(&self, party: &Party) -> Vec<(&'d DeviceName, &'d RawDevice)> {
        match party {
            Party::Role(role) => self.roles.get(role).cloned().unwrap_or_default(),
            Party::Device(name) => self.devices.get_key_value(name).into_iter().collect(),
        }
    }

    /// What is wrong with naming this party; `None` if it exists.
    fn unknown(&self, party: &Party, problems: &Problems) -> Option<Fault> {
        match party {
            Party::Role(role) if self.roles.contains_key(role) => None,
            Party::Role(role) => {
                let near = self.roles.keys().map(|name| name.as_str());
                let declare =
                    format!("no device has it; declare it by `[role.{role}]` if that is meant");
                let fault = Fault::new(format!("unknown role `{role}`")).help(declare);
                Some(fault.maybe(problems.did_you_mean(role.as_str(), near)))
            }
            Party::Device(device) if self.devices.contains_key(device) => None,
            Party::Device(device) => {
                let near = self.devices.keys().map(DeviceName::as_str);
                let fault = Fault::new(format!("unknown device `{device}`"));
                Some(fault.maybe(problems.did_you_mean(device.as_str(), near)))
            }
        }
    }
}

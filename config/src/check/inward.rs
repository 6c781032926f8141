//! Where services dial devices: the gateway's address and ports for it, and who can be told apart.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::rules::lacking;
use super::{Members, networks};
use crate::document::Document;
use crate::inward::{commits, moves_to};
use crate::model::{Direction, HospitalMode};
use crate::name::{DeviceName, ServiceName};
use crate::problem::{At, Fault, Place, Problems};
use crate::table::device::RawDevice;
use crate::table::hospital::RawHospital;
use crate::table::rule::RawRule;
use crate::table::service::Protocol;

pub(super) fn check(document: &Document, members: &Members<'_>, problems: &Problems) {
    if let Some(hospital) = &document.hospital {
        addresses(document, hospital, problems);
        ports(document, hospital, problems);
    }
    for rule in document.rules.values() {
        if rule.direction() == Direction::ToDevices {
            callers(document, rule, problems);
            called(document, rule, members, problems);
        }
    }
    told_apart(document, members, problems);
}

/// The gateway's own addresses in the hospital.
fn addresses(document: &Document, hospital: &RawHospital, problems: &Problems) {
    for (number, at) in hospital.addresses.iter().enumerate() {
        let mut before = hospital.addresses.iter().take(number);
        let fault = if before.any(|other| other.value.is_ipv4() == at.value.is_ipv4()) {
            Fault::new("the gateway is dialled at one address of each family")
        } else if hospital.mode == HospitalMode::Routed {
            Fault::new("`address` is for `mode = \"snat\"`")
                .help("with `routed` devices are dialled at their own addresses")
        } else if at.value.is_loopback() || at.value.is_unspecified() || at.value.is_multicast() {
            Fault::new("the gateway cannot be dialled at this address")
        } else if networks::inside(document, at.value) {
            Fault::new("the address is in a network of the tunnel")
                .help("it is the gateway's own address on the interface to the hospital")
        } else {
            continue;
        };
        problems.report(fault.at(at.place));
    }
}

/// Each port means one device.
fn ports(document: &Document, hospital: &RawHospital, problems: &Problems) {
    let mut taken: HashMap<u16, (&DeviceName, Place)> = HashMap::new();
    for (name, device) in &document.devices {
        let Some(port) = &device.hospital_port else {
            continue;
        };
        if hospital.mode == HospitalMode::Routed {
            let fault = Fault::new("`hospital_port` is for `mode = \"snat\"`")
                .help("with `routed` the device is dialled at its own address and `dicom_port`");
            problems.report(fault.at(port.place));
        } else if hospital.addresses.is_empty() {
            let fault = Fault::new("`hospital_port` needs `address` of [hospital]")
                .help("the gateway's own address there, at which services dial the device");
            problems.report(fault.at(port.place));
        }
        if let Some((other, place)) = taken.insert(port.value, (name, port.place)) {
            let fault = Fault::new(format!("device `{other}` has the same port"))
                .help("a device is told by the port that is dialled");
            problems.report(
                fault
                    .at(port.place)
                    .also(place, format!("device `{other}`")),
            );
        }
    }
}

/// Services that dial devices speak DICOM and have a title of their own.
fn callers(document: &Document, rule: &RawRule, problems: &Problems) {
    let binds = rule.dicom.as_ref().is_some_and(|at| at.value.bind_sender);
    for At { place, value: name } in rule.services() {
        let Some(service) = document.services.get(&name) else {
            continue;
        };
        let fault = match service.inspected() {
            _ if service.unclear => continue,
            Some(Protocol::Dicom) if binds && !service.has_title => Fault::new(format!(
                "service `{name}` has no `called_ae`, which the rule binds"
            ))
            .help("it is the title with which the service calls; or say `bind_sender = false`"),
            Some(Protocol::Dicom) => continue,
            Some(Protocol::Hl7) => Fault::new(format!(
                "rules from HL7 services (`{name}`) are not carried by this version"
            ))
            .help("answers come back on the connections of the devices"),
            None => Fault::new(format!(
                "rules from plain services (`{name}`) are not carried"
            ))
            .help("what reaches a device is inspected"),
        };
        problems.report(fault.at(place));
    }
}

/// Devices that are dialled have a port and a title.
fn called(document: &Document, rule: &RawRule, members: &Members<'_>, problems: &Problems) {
    // Another fault is told already.
    if rule.dicom.is_none() {
        return;
    }
    let mode = document.hospital.as_ref().map(|hospital| hospital.mode);
    for At { place, value } in &rule.parties() {
        let lacks = |has: fn(&RawDevice) -> bool, key: &str, help: &str| {
            lacking(members, value, has, key, help, *place, problems);
        };
        lacks(|device| device.has_title, "ae_title", TITLE);
        lacks(|device| device.dicom_port.is_some(), "dicom_port", ACCEPTS);
        if mode == Some(HospitalMode::Snat) {
            lacks(|d| d.hospital_port.is_some(), "hospital_port", DIALLED);
        }
    }
}

/// A service that dials is known by its address alone, so for each device there is one at an address.
fn told_apart(document: &Document, members: &Members<'_>, problems: &Problems) {
    let mut callers: BTreeMap<(&DeviceName, IpAddr), (ServiceName, Place)> = BTreeMap::new();
    for rule in document.rules.values() {
        for At { place, value: name } in rule.services() {
            let service = document.services.get(&name);
            let Some(service) = service.filter(|s| s.inspected() == Some(Protocol::Dicom)) else {
                continue;
            };
            let Some(address) = service.address.as_ref().map(|at| at.value.ip()) else {
                continue;
            };
            for party in &rule.parties() {
                for (device, raw) in members.of(&party.value) {
                    if !dials(rule, raw, service.has_title) {
                        continue;
                    }
                    let first = callers.entry((device, address));
                    let (other, first) = first.or_insert_with(|| (name.clone(), place));
                    if *other == name {
                        continue;
                    }
                    let message = format!(
                        "services `{other}` and `{name}` at {address} cannot be told apart when they dial device `{device}`"
                    );
                    let problem = Fault::new(message)
                        .help("let only one of them have a rule by which it dials the device")
                        .at(place);
                    problems.report(problem.also(*first, format!("service `{other}`")));
                    return;
                }
            }
        }
    }
}

/// Whether a rule lets its services dial the device.
fn dials(rule: &RawRule, device: &RawDevice, service_has_title: bool) -> bool {
    if device.dicom_port.is_none() {
        return false;
    }
    match (rule.direction(), &rule.dicom, &device.ae_title) {
        (Direction::ToDevices, Some(_), _) => true,
        (Direction::FromDevices, Some(dicom), Some(own)) => {
            service_has_title && (moves_to(&dicom.value, own) || commits(&dicom.value))
        }
        (Direction::FromDevices | Direction::ToDevices, _, _) => false,
    }
}

const TITLE: &str = "it is the AE title by which the device is called";
const ACCEPTS: &str = "it is the port at which the device accepts associations";
const DIALLED: &str = "it is the port of `address` of [hospital] at which services dial the device";

//! The machine: its interfaces against each other, the hospital and the tunnel.

use std::collections::BTreeMap;
use std::path::Path;

use crate::appliance::TimeServer;
use crate::certificate::read_certificates;
use crate::document::Document;
use crate::problem::{Fault, Place, Problems};
use crate::table::appliance::{RawAppliance, RawInterface};

use super::networks::{overlap, tunnels};

pub(super) fn check(document: &Document, dir: &Path, problems: &Problems) {
    let Some(appliance) = &document.appliance else {
        return;
    };
    for interface in appliance.interfaces.values() {
        gateways(interface, problems);
    }
    same_hardware(appliance, problems);
    networks(appliance, document, problems);
    names(appliance, document, problems);
    time_servers(appliance, problems);
    if let Some(at) = &appliance.hospital_root
        && let Err(error) = read_certificates(&dir.join(&at.value.0))
    {
        let help = "a text file with `-----BEGIN CERTIFICATE-----`, beside the configuration";
        problems.report(Fault::new(error.to_string()).help(help).at(at.place));
    }
}

fn gateways(interface: &RawInterface, problems: &Problems) {
    for (number, at) in interface.gateways.iter().enumerate() {
        let mut own = interface.addresses.iter().map(|address| address.value.0);
        if interface.dhcp || interface.addresses.is_empty() {
            return;
        }
        if let Some(address) = own.clone().find(|own| own.addr() == at.value) {
            let fault = Fault::new(format!("{} is the interface's own address", address.addr()));
            problems.report(fault.at(at.place));
        } else if !own.any(|own| own.contains(&at.value)) && !is_link_local(at.value) {
            let fault = Fault::new("the gateway is in no network of the interface");
            let first = interface.addresses.first().map(|first| first.place);
            let problem = fault.at(at.place);
            problems.report(match first {
                Some(first) => problem.also(first, "its addresses"),
                None => problem,
            });
        }
        let mut earlier = interface.gateways.iter().take(number);
        if let Some(first) = earlier.rfind(|other| other.value.is_ipv4() == at.value.is_ipv4()) {
            let problem = Fault::new("two gateways of one family").at(at.place);
            problems.report(problem.also(first.place, "the first"));
        }
    }
}

fn same_hardware(appliance: &RawAppliance, problems: &Problems) {
    let mut seen: BTreeMap<String, Place> = BTreeMap::new();
    for interface in appliance.interfaces.values() {
        let mac = interface
            .mac
            .as_ref()
            .map(|at| (at.place, format!("{:?}", at.value.0)));
        let path = interface
            .path
            .as_ref()
            .map(|at| (at.place, at.value.0.clone()));
        for (place, what) in mac.into_iter().chain(path) {
            if let Some(first) = seen.insert(what, place) {
                let problem = Fault::new("two names for one interface").at(place);
                problems.report(problem.also(first, "the first"));
            }
        }
    }
}

/// No network twice, and none of the tunnel's.
fn networks(appliance: &RawAppliance, document: &Document, problems: &Problems) {
    let tunnels = tunnels(document);
    let tunnel = tunnels.iter().flat_map(|tunnel| tunnel.networks);
    let mut seen: Vec<(Place, ipnet::IpNet, &str)> = Vec::new();
    for (name, interface) in &appliance.interfaces {
        for (place, network) in interface.networks() {
            for inside in tunnel.clone().filter(|at| overlap(&at.value, &network)) {
                let problem = Fault::new("the network of the interface overlaps the tunnel's");
                problems.report(problem.at(place).also(inside.place, "this network"));
            }
            let other = seen
                .iter()
                .find(|(_, earlier, of)| of != name && overlap(earlier, &network));
            if let Some((first, ..)) = other {
                let problem = Fault::new("two interfaces are in one network").at(place);
                problems.report(problem.also(*first, "the first"));
            }
            seen.push((place, network, name));
        }
    }
}

/// The hospital is at an interface of the machine, and the tunnel makes its own.
fn names(appliance: &RawAppliance, document: &Document, problems: &Problems) {
    let made = tunnels(document);
    for tunnel in made.iter().filter_map(|tunnel| tunnel.interface) {
        if let Some(interface) = appliance.interfaces.get(&tunnel.value.0) {
            let problem = Fault::new("the tunnel makes this interface").at(interface.header);
            problems.report(problem.also(tunnel.place, "for itself"));
        }
    }
    let hospital = document
        .hospital
        .as_ref()
        .and_then(|hospital| hospital.interface.as_ref());
    if let Some(hospital) = hospital
        && !appliance.interfaces.is_empty()
        && !appliance.interfaces.contains_key(&hospital.value.0)
    {
        let name = &hospital.value.0;
        let known = appliance.interfaces.keys().map(String::as_str);
        let fault = Fault::new(format!("the machine has no interface `{name}`"))
            .help(format!("describe it by `[appliance.interface.{name}]`"))
            .maybe(problems.did_you_mean(name, known));
        problems.report(fault.at(hospital.place));
    }
}

fn time_servers(appliance: &RawAppliance, problems: &Problems) {
    let dhcp = appliance
        .interfaces
        .values()
        .any(|interface| interface.dhcp);
    if dhcp || !appliance.dns.is_empty() || appliance.interfaces.is_empty() {
        return;
    }
    for at in &appliance.ntp {
        match &at.value {
            TimeServer::Name(_) => {
                let fault = Fault::new("nobody can look this name up");
                problems.report(fault.help("write `dns`, or an address here").at(at.place));
            }
            TimeServer::Address(_) => {}
        }
    }
}

/// Routers of IPv6 are mostly known by such an address.
fn is_link_local(address: std::net::IpAddr) -> bool {
    match address {
        std::net::IpAddr::V4(_) => false,
        std::net::IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

//! The tunnel's own networks and addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::document::Document;
use crate::problem::{Fault, Problems};
use crate::table::wireguard::RawWireGuard;

/// Whether an address is in a network of the tunnel.
pub(super) fn inside(document: &Document, address: IpAddr) -> bool {
    let tunnel = document.wireguard.as_ref();
    tunnel.is_some_and(|wg| wg.networks.iter().any(|at| at.value.contains(&address)))
}

pub(super) fn check(document: &Document, problems: &Problems) {
    let Some(wireguard) = &document.wireguard else {
        return;
    };
    networks(wireguard, problems);
    own_addresses(wireguard, problems);
    enrolled(document, wireguard, problems);
    enrolment(document, wireguard, problems);
    if let Some(listen) = &wireguard.listen
        && wireguard
            .networks
            .iter()
            .any(|at| at.value.contains(&listen.value.ip()))
    {
        let fault = Fault::new("the tunnel cannot listen inside of its own networks");
        problems.report(fault.at(listen.place));
    }
    let hospital = document
        .hospital
        .as_ref()
        .and_then(|hospital| hospital.interface.as_ref());
    if let (Some(tunnel), Some(hospital)) = (&wireguard.interface, hospital)
        && tunnel.value == hospital.value
    {
        let fault = Fault::new("the tunnel and the hospital have the same interface");
        problems.report(
            fault
                .at(hospital.place)
                .also(tunnel.place, "the tunnel makes it"),
        );
    }
}

/// Whether the address means the whole network or all of its hosts.
pub(crate) fn is_reserved(network: &IpNet, address: IpAddr) -> bool {
    match network {
        IpNet::V4(v4) if v4.prefix_len() <= 30 => {
            address == network.network() || address == network.broadcast()
        }
        IpNet::V6(v6) if v6.prefix_len() <= 126 => address == network.network(),
        IpNet::V4(_) | IpNet::V6(_) => false,
    }
}

fn networks(wireguard: &RawWireGuard, problems: &Problems) {
    if let Some(extra) = wireguard.networks.get(MAX_NETWORKS) {
        let fault = Fault::new(format!("at most {MAX_NETWORKS} tunnel networks"));
        problems.report(fault.at(extra.place));
    }
    for (number, at) in wireguard.networks.iter().enumerate() {
        let longest = if at.value.addr().is_ipv4() { 30 } else { 126 };
        if at.value.prefix_len() > longest {
            let fault = Fault::new("the network has no room for a device and the gateway");
            problems.report(fault.help(format!("at most /{longest}")).at(at.place));
        }
        let earlier = wireguard.networks.iter().take(number);
        for other in earlier.filter(|other| overlap(&other.value, &at.value)) {
            let problem = Fault::new("the tunnel networks overlap").at(at.place);
            problems.report(problem.also(other.place, "with this one"));
        }
    }
}

pub(super) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// Addresses are given from the tunnel's own networks.
fn enrolled(document: &Document, wireguard: &RawWireGuard, problems: &Problems) {
    let parts = &document.enrol.addresses;
    if let Some(extra) = parts.get(MAX_NETWORKS) {
        let fault = Fault::new(format!("at most {MAX_NETWORKS} networks to give from"));
        problems.report(fault.at(extra.place));
    }
    for (number, part) in parts.iter().enumerate() {
        let inside = |network: &IpNet| network.contains(&part.value);
        if !wireguard.networks.iter().any(|at| inside(&at.value)) {
            let networks: Vec<String> = wireguard
                .networks
                .iter()
                .map(|at| at.value.to_string())
                .collect();
            let fault = Fault::new("the network is not inside of one of the tunnel networks")
                .help(format!("they are {}", networks.join(", ")));
            problems.report(fault.at(part.place));
        }
        let earlier = parts.iter().take(number);
        for other in earlier.filter(|other| overlap(&other.value, &part.value)) {
            let problem = Fault::new("the networks overlap").at(part.place);
            problems.report(problem.also(other.place, "with this one"));
        }
    }
}

/// The enrolment service has a certificate of the gateway's own authority, and is not inside of the tunnel.
fn enrolment(document: &Document, wireguard: &RawWireGuard, problems: &Problems) {
    let Some(listen) = &document.enrol.listen else {
        return;
    };
    let named = (document.pki.as_ref()).is_some_and(|pki| !pki.server_names.is_empty());
    if !named {
        let help = "add a table [pki] with `server_names`: what devices call the gateway";
        let fault = Fault::new("the enrolment service needs a certificate").help(help);
        problems.report(fault.at(listen.place));
    }
    let inside = |network: &IpNet| network.contains(&listen.value.ip());
    if wireguard.networks.iter().any(|at| inside(&at.value)) {
        let fault = Fault::new("the enrolment service cannot listen inside of the tunnel networks");
        problems.report(fault.at(listen.place));
    }
}

fn own_addresses(wireguard: &RawWireGuard, problems: &Problems) {
    let (addresses, networks) = (&wireguard.addresses, &wireguard.networks);
    let Some(first) = addresses.first() else {
        return;
    };
    if addresses.len() != networks.len() {
        let message = format!(
            "{} addresses for {} networks",
            addresses.len(),
            networks.len()
        );
        let help = "the gateway has one address in each network, in the same order";
        problems.report(Fault::new(message).help(help).at(first.place));
        return;
    }
    for (address, network) in addresses.iter().zip(networks) {
        if !network.value.contains(&address.value) {
            let fault = Fault::new(format!("the address is not in {}", network.value))
                .help("one address for each network, in the same order");
            problems.report(fault.at(address.place).also(network.place, "this network"));
        } else if is_reserved(&network.value, address.value) {
            let fault = Fault::new("the address means the network, or all of its hosts");
            problems.report(fault.at(address.place));
        }
    }
}

/// Each device address is compared with each of them.
const MAX_NETWORKS: usize = 16;

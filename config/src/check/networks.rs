//! The tunnels' own networks and addresses.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::document::Document;
use crate::field::net::Interface;
use crate::problem::{At, Fault, Problems};
use crate::table::wireguard::own_addresses;

/// What both kinds of tunnels have.
pub(super) struct Tunnel<'d> {
    pub(super) listen: Option<&'d At<SocketAddr>>,
    pub(super) interface: Option<&'d At<Interface>>,
    pub(super) networks: &'d [At<IpNet>],
    addresses: &'d [At<IpAddr>],
}

impl Tunnel<'_> {
    /// The gateway's own address in each network.
    pub(super) fn own_addresses(&self) -> Vec<IpAddr> {
        own_addresses(self.networks, self.addresses)
    }
}

/// That of WireGuard first.
pub(super) fn tunnels(document: &Document) -> Vec<Tunnel<'_>> {
    let wireguard = document.wireguard.as_ref().map(|wireguard| Tunnel {
        listen: wireguard.listen.as_ref(),
        interface: wireguard.interface.as_ref(),
        networks: &wireguard.networks,
        addresses: &wireguard.addresses,
    });
    let quic = document.quic.as_ref().map(|quic| Tunnel {
        listen: quic.listen.as_ref(),
        interface: quic.interface.as_ref(),
        networks: &quic.networks,
        addresses: &quic.addresses,
    });
    wireguard.into_iter().chain(quic).collect()
}

/// Whether an address is in a network of a tunnel.
pub(super) fn inside(document: &Document, address: IpAddr) -> bool {
    let tunnels = tunnels(document);
    let mut networks = tunnels.iter().flat_map(|tunnel| tunnel.networks);
    networks.any(|at| at.value.contains(&address))
}

pub(super) fn check(document: &Document, problems: &Problems) {
    let tunnels = tunnels(document);
    networks(&tunnels, problems);
    for tunnel in &tunnels {
        own(tunnel, problems);
        if let Some(listen) = tunnel.listen
            && inside(document, listen.value.ip())
        {
            let fault = Fault::new("the tunnel cannot listen inside of its own networks");
            problems.report(fault.at(listen.place));
        }
    }
    enrolled(document, &tunnels, problems);
    enrolment(document, problems);
    interfaces(document, &tunnels, problems);
    if let [wireguard, quic] = tunnels.as_slice()
        && let (Some(first), Some(second)) = (wireguard.listen, quic.listen)
        && first.value.port() == second.value.port()
    {
        let fault = Fault::new("the tunnels have the same port");
        problems.report(fault.at(second.place).also(first.place, "WireGuard"));
    }
    certified(document, problems);
}

/// The gateway proves who it is by a certificate of its own authority.
fn certified(document: &Document, problems: &Problems) {
    let Some(quic) = &document.quic else {
        for device in document.devices.values() {
            // Who has a key besides hears of that first.
            if device.wireguard.is_none()
                && let Some(place) = device.certificate
            {
                let fault = Fault::new("a device with a certificate needs `[tunnel.quic]`");
                problems.report(fault.at(place));
            }
        }
        return;
    };
    let fault = match &document.pki {
        None => Fault::new("`[tunnel.quic]` needs `[pki]`")
            .help("its devices and the gateway are known by certificates of that authority"),
        Some(raw) if raw.pki.server_names.is_empty() => {
            Fault::new("`[tunnel.quic]` needs `server_names` in [pki]")
                .help("the names and addresses at which devices look for the gateway")
        }
        Some(_) => return,
    };
    problems.report(fault.at(quic.header));
}

fn interfaces(document: &Document, tunnels: &[Tunnel<'_>], problems: &Problems) {
    let names: Vec<_> = tunnels.iter().filter_map(|one| one.interface).collect();
    if let [first, second] = names.as_slice()
        && first.value == second.value
    {
        let fault = Fault::new("the tunnels have the same interface");
        problems.report(fault.at(second.place).also(first.place, "WireGuard"));
    }
    let hospital = document
        .hospital
        .as_ref()
        .and_then(|hospital| hospital.interface.as_ref());
    for tunnel in names {
        if let Some(hospital) = hospital
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

fn networks(tunnels: &[Tunnel<'_>], problems: &Problems) {
    for tunnel in tunnels {
        if let Some(extra) = tunnel.networks.get(MAX_NETWORKS) {
            let fault = Fault::new(format!("at most {MAX_NETWORKS} tunnel networks"));
            problems.report(fault.at(extra.place));
        }
    }
    let networks = || tunnels.iter().flat_map(|tunnel| tunnel.networks);
    for (number, at) in networks().enumerate() {
        let longest = if at.value.addr().is_ipv4() { 30 } else { 126 };
        if at.value.prefix_len() > longest {
            let fault = Fault::new("the network has no room for a device and the gateway");
            problems.report(fault.help(format!("at most /{longest}")).at(at.place));
        }
        let earlier = networks().take(number);
        for other in earlier.filter(|other| overlap(&other.value, &at.value)) {
            let problem = Fault::new("the tunnel networks overlap").at(at.place);
            problems.report(problem.also(other.place, "with this one"));
        }
    }
}

pub(super) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// Addresses are given from the tunnels' own networks.
fn enrolled(document: &Document, tunnels: &[Tunnel<'_>], problems: &Problems) {
    let networks = || tunnels.iter().flat_map(|tunnel| tunnel.networks);
    let parts = &document.enrol.addresses;
    if let Some(extra) = parts.get(MAX_NETWORKS) {
        let fault = Fault::new(format!("at most {MAX_NETWORKS} networks to give from"));
        problems.report(fault.at(extra.place));
    }
    for (number, part) in parts.iter().enumerate() {
        let inside = |network: &IpNet| network.contains(&part.value);
        if networks().next().is_some() && !networks().any(|at| inside(&at.value)) {
            let networks: Vec<String> = networks().map(|at| at.value.to_string()).collect();
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
fn enrolment(document: &Document, problems: &Problems) {
    let Some(listen) = &document.enrol.listen else {
        return;
    };
    let named = (document.pki.as_ref()).is_some_and(|raw| !raw.pki.server_names.is_empty());
    if !named {
        let help = "add a table [pki] with `server_names`: what devices call the gateway";
        let fault = Fault::new("the enrolment service needs a certificate").help(help);
        problems.report(fault.at(listen.place));
    }
    if inside(document, listen.value.ip()) {
        let fault = Fault::new("the enrolment service cannot listen inside of the tunnel networks");
        problems.report(fault.at(listen.place));
    }
}

fn own(tunnel: &Tunnel<'_>, problems: &Problems) {
    let (addresses, networks) = (tunnel.addresses, tunnel.networks);
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

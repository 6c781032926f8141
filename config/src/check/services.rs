//! Services: in the hospital, each address and port once.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use super::devices::Routers;
use super::networks::{Tunnel, tunnels};
use crate::document::Document;
use crate::name::ServiceName;
use crate::problem::{Fault, Problems};
use crate::table::service::RawService;

pub(super) fn check(document: &Document, routers: &Routers<'_>, problems: &Problems) {
    let mut taken = HashMap::new();
    for (name, service) in &document.services {
        let Some(address) = &service.address else {
            continue;
        };
        let ip = address.value.ip();
        if let Some(fault) = wrong_place(document, routers, ip) {
            problems.report(fault.at(address.place));
        }
        for at in service.endpoints() {
            let first: Option<(&ServiceName, &RawService, _)> =
                taken.insert((ip, at.value), (name, service, at.place));
            let Some((other, before, place)) = first else {
                continue;
            };
            if other == name {
                problems.report(Fault::new(format!("{} is listed twice", at.value)).at(at.place));
                continue;
            }
            let inspected = before.inspected().or(service.inspected()).is_some();
            let plain = before.inspected().is_none() || service.inspected().is_none();
            let fault = Fault::new(format!(
                "service `{other}` has {} of {ip} already",
                at.value
            ));
            let fault = if inspected && plain {
                fault.help("what is inspected cannot also be forwarded without a look inside")
            } else {
                fault
            };
            problems.report(fault.at(at.place).also(place, format!("service `{other}`")));
        }
    }
}

/// Why no service can be at this address.
fn wrong_place(document: &Document, routers: &Routers<'_>, ip: IpAddr) -> Option<Fault> {
    if ip.is_loopback() {
        return Some(Fault::new(
            "a service is not on the gateway itself (loopback)",
        ));
    }
    if ip.is_unspecified() || ip.is_multicast() || ip == Ipv4Addr::BROADCAST {
        return Some(Fault::new("no service can have this address"));
    }
    if let Some((network, _, router)) = routers.around(ip) {
        let message = format!("the address is in {network} behind device `{router}`");
        return Some(Fault::new(message).help("a service is in the hospital"));
    }
    let tunnels = tunnels(document);
    let listens = |tunnel: &Tunnel<'_>| tunnel.listen.is_some_and(|at| at.value.ip() == ip);
    let own = |tunnel: &Tunnel<'_>| listens(tunnel) || tunnel.own_addresses().contains(&ip);
    if tunnels.iter().any(own) {
        return Some(
            Fault::new("this is the gateway's own address").help("a service is in the hospital"),
        );
    }
    let dialled = (document.hospital.as_ref()).map(|hospital| &hospital.addresses);
    if dialled.is_some_and(|own| own.iter().any(|at| at.value == ip)) {
        return Some(
            Fault::new("this is the gateway's own address").help("a service is in the hospital"),
        );
    }
    let mut networks = tunnels.iter().flat_map(|tunnel| tunnel.networks);
    let inside = networks.find(|at| at.value.contains(&ip));
    inside.map(|network| {
        Fault::new(format!(
            "the address is in the tunnel network {}",
            network.value
        ))
        .help("a service is in the hospital")
    })
}

//! Devices: keys and addresses that are theirs alone, and the routers in front of some of them.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use super::networks::{Tunnel, is_reserved, overlap, tunnels};
use crate::document::Document;
use crate::name::DeviceName;
use crate::problem::{At, Fault, Place, Problems};
use crate::table::device::RawDevice;

/// The networks behind routers; no two of them overlap.
pub(super) struct Routers<'d>(BTreeMap<IpAddr, (IpNet, Place, &'d DeviceName)>);

impl<'d> Routers<'d> {
    /// The network behind a router that has this address.
    pub(super) fn around(&self, address: IpAddr) -> Option<(IpNet, Place, &'d DeviceName)> {
        let (_, found) = self.0.range(..=address).next_back()?;
        found.0.contains(&address).then_some(*found)
    }
}

pub(super) fn check<'d>(document: &'d Document, problems: &Problems) -> Routers<'d> {
    let tunnels = tunnels(document);
    let of = |tunnel: Option<&Tunnel<'_>>| {
        let networks = tunnel.into_iter().flat_map(|tunnel| tunnel.networks);
        networks.map(|at| at.value).collect::<Vec<_>>()
    };
    let (by_key, by_certificate) = (of(tunnels.first()), of(tunnels.get(1)));
    let own: Vec<IpAddr> = tunnels.iter().flat_map(Tunnel::own_addresses).collect();
    let routers = routers(document, &own, problems);
    let mut keys = HashMap::new();
    let mut taken = HashMap::new();
    for (name, device) in &document.devices {
        if let Some(key) = &device.wireguard
            && let Some(first) = keys.insert(key.value, (name, key.place))
        {
            let (other, place) = first;
            let fault = Fault::new(format!("device `{other}` has the same key"))
                .help("a device is its key: each has its own");
            problems.report(fault.at(key.place).also(place, format!("device `{other}`")));
        }
        via(document, name, device, problems);
        for at in &device.addresses {
            if let Some((other, place)) = taken.insert(at.value, (name, at.place)) {
                let fault = Fault::new(format!("device `{other}` has the same address"));
                problems.report(fault.at(at.place).also(place, format!("device `{other}`")));
            }
            if own.contains(&at.value) {
                problems.report(Fault::new("this is the gateway's own address").at(at.place));
            }
            if device.via.is_none() {
                let networks = match (&device.wireguard, device.certificate) {
                    (Some(_), None) => &by_key,
                    (None, Some(_)) => &by_certificate,
                    (Some(_), Some(_)) | (None, None) => continue,
                };
                in_tunnel(at, networks, problems);
                not_behind(at, name, &routers, problems);
            }
        }
    }
    routers
}

/// The address of a device with its own key.
fn in_tunnel(at: &At<IpAddr>, tunnel: &[IpNet], problems: &Problems) {
    match tunnel.iter().find(|network| network.contains(&at.value)) {
        None if tunnel.is_empty() => {}
        None => {
            let networks: Vec<String> = tunnel.iter().map(ToString::to_string).collect();
            let fault = Fault::new("the address is in none of the tunnel networks")
                .help(format!("they are {}", networks.join(", ")));
            problems.report(fault.at(at.place));
        }
        Some(network) if is_reserved(network, at.value) => {
            let fault = Fault::new("the address means the network, or all of its hosts");
            problems.report(fault.at(at.place));
        }
        Some(_) => {}
    }
}

/// A device with its own key is not behind a router.
fn not_behind(at: &At<IpAddr>, name: &DeviceName, routers: &Routers<'_>, problems: &Problems) {
    if let Some((network, place, router)) = routers.around(at.value)
        && router != name
    {
        let fault = Fault::new(format!("the address is in {network} behind `{router}`")).help(
            format!("a device behind it has `via = \"{router}\"` and no key"),
        );
        problems.report(fault.at(at.place).also(place, format!("device `{router}`")));
    }
}

/// A device behind a router.
fn via(document: &Document, name: &DeviceName, device: &RawDevice, problems: &Problems) {
    let Some(via) = &device.via else {
        return;
    };
    let router = document.devices.get(&via.value);
    let fault = match router {
        _ if &via.value == name => Fault::new("a device is not behind itself"),
        None => {
            let names = document.devices.keys().map(DeviceName::as_str);
            Fault::new(format!("unknown device `{}`", via.value))
                .maybe(problems.did_you_mean(via.value.as_str(), names))
        }
        Some(router) if router.via.is_some() => {
            Fault::new(format!("`{}` is itself behind a router", via.value))
        }
        Some(router) if router.networks.is_empty() => {
            Fault::new(format!("`{}` has no `networks` behind it", via.value))
        }
        Some(router) => {
            behind(device, router, &via.value, problems);
            return;
        }
    };
    let problem = fault.at(via.place);
    problems.report(match router {
        Some(router) if &via.value != name => {
            problem.also(router.header, format!("device `{}`", via.value))
        }
        Some(_) | None => problem,
    });
}

/// The addresses of a device behind a router are in the networks of that router.
fn behind(device: &RawDevice, router: &RawDevice, name: &DeviceName, problems: &Problems) {
    for at in &device.addresses {
        let network = router
            .networks
            .iter()
            .find(|network| network.value.contains(&at.value));
        let fault = match network {
            None => Fault::new(format!(
                "the address is in none of the networks of `{name}`"
            )),
            Some(network) if is_reserved(&network.value, at.value) => {
                Fault::new("the address means the network, or all of its hosts")
            }
            Some(_) => continue,
        };
        let place = network
            .or(router.networks.first())
            .map_or(router.header, |network| network.place);
        problems.report(fault.at(at.place).also(place, format!("device `{name}`")));
    }
}

/// Collects the networks behind routers and reports what they must not hold.
fn routers<'d>(document: &'d Document, own: &[IpAddr], problems: &Problems) -> Routers<'d> {
    let mut all: Vec<(IpNet, Place, &DeviceName)> = Vec::new();
    for (name, device) in &document.devices {
        all.extend(device.networks.iter().map(|at| (at.value, at.place, name)));
    }
    // Sorted by their first addresses, a network can only overlap the widest one before it.
    all.sort_by_key(|(network, place, _)| (network.network(), network.prefix_len(), *place));
    let mut routers = Routers(BTreeMap::new());
    let mut last: Option<(IpNet, Place, &DeviceName)> = None;
    for (network, place, name) in all {
        if own.iter().any(|address| network.contains(address)) {
            let fault = Fault::new("the network holds the gateway's own address");
            problems.report(fault.at(place));
        }
        match last {
            Some((wider, first, other)) if overlap(&wider, &network) => {
                let fault = Fault::new(format!("the network overlaps {wider} behind `{other}`"));
                problems.report(fault.at(place).also(first, format!("device `{other}`")));
            }
            Some(_) | None => {
                routers.0.insert(network.network(), (network, place, name));
                last = Some((network, place, name));
            }
        }
    }
    routers
}

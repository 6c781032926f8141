//! What this machine takes of what a gateway grants: a gateway that is not what it seems gets no other traffic of it.
//!
//! In: the grant, the networks that the file allows, the networks of this machine. Out: addresses and routes to set, and what
//! is left out with the reason. Reads nothing of the system.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use super::link::Granted;
use crate::masque::packet::stays_on_link;

/// Addresses and routes for an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// Each alone: the length that a gateway gives an address is no route.
    pub(super) addresses: BTreeSet<IpAddr>,
    /// Where packets may go.
    pub(super) routes: BTreeSet<IpNet>,
    /// What is not taken, and why.
    pub(super) left: BTreeSet<(IpNet, &'static str)>,
}

/// Most routes that are set.
//= C7
const MAX_PREFIXES: usize = 1024;
/// Most addresses of IPv6; of IPv4 it is one.
//= C7
const MAX_SIX: usize = 4;
/// The widest route into public networks, of each version, that a file need not name.
const WIDEST: (u8, u8) = (24, 64);
/// Networks of organisations (RFC 1918, RFC 6598, RFC 4193): routes into them may be as wide as they are.
const PRIVATE: [&str; 5] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "fc00::/7",
];
/// What is never on the other side of a tunnel: this machine, its link, and nobody.
const NEVER: [&str; 9] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/127",
    "fe80::/10",
    "ff00::/8",
    "::ffff:0:0/96",
];

const NO_SIX: &str = "IPv6 is turned off on this machine";

/// Decides. `own`: the networks that this machine is in without the tunnel; `has_six`: it may have an address of IPv6.
pub(super) fn judge(
    granted: &Granted,
    allowed: Option<&[IpNet]>,
    own: &[IpNet],
    has_six: bool,
) -> Reach {
    let mut reach = Reach::default();
    for address in granted.addresses.iter().map(IpNet::addr) {
        let six = reach.addresses.iter().filter(|one| one.is_ipv6()).count();
        let four = reach.addresses.len().saturating_sub(six);
        let why = if stays_on_link(address) {
            Some("it is for one link only")
        } else if address.is_ipv6() && !has_six {
            Some(NO_SIX)
        } else if granted.gateway == Some(address) {
            Some("the gateway itself has it")
        } else if own.iter().any(|net| net.contains(&address)) {
            Some("this machine is in that network already")
        } else if address.is_ipv4() && four > 0 || address.is_ipv6() && six >= MAX_SIX {
            Some("there are enough addresses")
        } else {
            None
        };
        match why {
            Some(why) => drop(reach.left.insert((address.into(), why))),
            None => drop(reach.addresses.insert(address)),
        }
    }
    for net in prefixes(granted) {
        let why = if net.addr().is_ipv6() && !has_six {
            Some(NO_SIX)
        } else {
            fault(&net, granted.gateway, allowed, own)
        };
        match why {
            Some(why) => drop(reach.left.insert((net, why))),
            None => drop(reach.routes.insert(net)),
        }
    }
    reach
}

/// Why a route is not taken.
fn fault(
    net: &IpNet,
    gateway: Option<IpAddr>,
    allowed: Option<&[IpNet]>,
    own: &[IpNet],
) -> Option<&'static str> {
    let overlaps = |other: &IpNet| other.contains(net) || net.contains(other);
    let parsed = |text: &&str| text.parse::<IpNet>().ok();
    let mut never = NEVER.iter().filter_map(parsed);
    if never.any(|never| overlaps(&never)) {
        return Some("this network is on no other side");
    }
    if gateway.is_some_and(|gateway| net.contains(&gateway)) {
        return Some("the gateway itself is there");
    }
    if let Some(allowed) = allowed {
        let holds = allowed.iter().any(|one| one.contains(net));
        return (!holds).then_some("`networks` of the file does not hold it");
    }
    if own.iter().any(overlaps) {
        return Some("this machine is in that network already");
    }
    let mut private = PRIVATE.iter().filter_map(parsed);
    let widest = if net.addr().is_ipv4() {
        WIDEST.0
    } else {
        WIDEST.1
    };
    let narrow = net.prefix_len() >= widest;
    (!narrow && !private.any(|private| private.contains(net)))
        .then_some("it is too wide for a public network: name it in `networks`")
}

fn prefixes(granted: &Granted) -> BTreeSet<IpNet> {
    let routes = granted.routes.iter();
    let all = routes.flat_map(|route| -> Box<dyn Iterator<Item = IpNet>> {
        match (route.start, route.end) {
            (IpAddr::V4(start), IpAddr::V4(end)) => {
                Box::new(Ipv4Subnets::new(start, end, 0).map(IpNet::V4))
            }
            (IpAddr::V6(start), IpAddr::V6(end)) => {
                Box::new(Ipv6Subnets::new(start, end, 0).map(IpNet::V6))
            }
            _ => Box::new(std::iter::empty()),
        }
    });
    all.take(MAX_PREFIXES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masque::capsule::Route;

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|net| net.parse().unwrap()).collect()
    }

    fn routes(list: &[(&str, &str)]) -> Granted {
        let route = |(start, end): &(&str, &str)| Route {
            start: start.parse().unwrap(),
            end: end.parse().unwrap(),
            protocol: 0,
        };
        Granted {
            gateway: Some("203.0.113.1".parse().unwrap()),
            routes: list.iter().map(route).collect(),
            ..Granted::default()
        }
    }

    fn taken(granted: &Granted, allowed: Option<&[IpNet]>, own: &[IpNet]) -> Vec<String> {
        let reach = judge(granted, allowed, own, true);
        reach.routes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ranges_become_prefixes() {
        let granted = routes(&[
            ("10.20.0.4", "10.20.0.6"),
            ("10.20.0.4", "10.20.0.5"),
            ("fd20::", "fd20::ffff:ffff:ffff:ffff"),
        ]);
        assert_eq!(
            taken(&granted, None, &[]),
            ["10.20.0.4/31", "10.20.0.6/32", "fd20::/64"]
        );
    }

    /// Each that is left out beside its nearest neighbour that is taken.
    #[test]
    fn a_gateway_gets_no_other_traffic() {
        let own = nets(&["192.168.1.0/24", "2001:db8:1::/64"]);
        for (bad, word, good) in [
            (("0.0.0.0", "255.255.255.255"), "no other side", "10.0.0.0"),
            (("128.0.0.0", "191.255.255.255"), "no other", "128.0.0.0"),
            (("8.0.0.0", "8.255.255.255"), "too wide", "8.8.8.0"),
            (("203.0.113.0", "203.0.113.255"), "gateway", "203.0.113.2"),
            (("203.0.113.1", "203.0.113.1"), "gateway", "203.0.113.2"),
            (("192.168.0.0", "192.168.255.255"), "already", "192.168.2.0"),
            (("192.168.1.7", "192.168.1.7"), "already", "192.168.2.7"),
            (("127.0.0.1", "127.0.0.1"), "no other side", "126.0.0.1"),
            (("224.0.0.1", "224.0.0.1"), "no other side", "223.0.0.1"),
            (
                ("2000::", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
                "already",
                "2001:db8:2::1",
            ),
            (
                ("2400::", "24ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
                "too wide",
                "2400::1",
            ),
            (("fe80::1", "fe80::1"), "no other side", "fd00::1"),
        ] {
            let reach = judge(&routes(&[bad]), None, &own, true);
            assert!(reach.routes.is_empty(), "{bad:?}: {reach:?}");
            let why: Vec<_> = reach.left.iter().map(|(_, why)| *why).collect();
            assert!(why.iter().any(|why| why.contains(word)), "{bad:?}: {why:?}");
            let reach = judge(&routes(&[(good, good)]), None, &own, true);
            assert!(reach.left.is_empty(), "{good}: {reach:?}");
        }
        // What a hospital's own network holds is as wide as it wants.
        let all = routes(&[("10.0.0.0", "10.255.255.255")]);
        assert_eq!(taken(&all, None, &own), ["10.0.0.0/8"]);
        assert!(taken(&all, None, &nets(&["10.1.2.0/24"])).is_empty());
    }

    #[test]
    fn a_file_says_what_is_right() {
        let granted = routes(&[
            ("10.20.1.10", "10.20.1.10"),
            ("10.21.1.10", "10.21.1.10"),
            ("8.0.0.0", "8.255.255.255"),
        ]);
        let allowed = nets(&["10.20.0.0/16", "8.0.0.0/8"]);
        // Also inside of a network of this machine: somebody thought of it.
        let own = nets(&["10.0.0.0/8"]);
        assert_eq!(
            taken(&granted, Some(&allowed), &own),
            ["8.0.0.0/8", "10.20.1.10/32"]
        );
        assert!(taken(&granted, Some(&[]), &own).is_empty());
    }

    #[test]
    fn addresses_are_alone_and_nobody_elses() {
        let granted = Granted {
            gateway: Some("203.0.113.1".parse().unwrap()),
            addresses: nets(&[
                "10.65.0.7/8",
                "10.65.0.8/32",
                "192.168.1.1/32",
                "203.0.113.1/32",
                "127.0.0.2/32",
                "fd65::7/16",
            ]),
            ..Granted::default()
        };
        let reach = judge(&granted, None, &nets(&["192.168.1.0/24"]), true);
        let addresses: Vec<String> = reach.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.65.0.7", "fd65::7"]);
        assert_eq!(reach.left.len(), 4, "{reach:?}");
    }

    /// The kernel would refuse an interface with such an address as a whole.
    #[test]
    fn a_machine_without_ipv6_takes_what_is_left() {
        let granted = Granted {
            addresses: nets(&["10.65.0.7/32", "fd65::7/128"]),
            ..routes(&[("10.20.0.4", "10.20.0.4"), ("fd20::4", "fd20::4")])
        };
        for (has_six, count) in [(true, 2), (false, 1)] {
            let reach = judge(&granted, None, &[], has_six);
            assert_eq!((reach.addresses.len(), reach.routes.len()), (count, count));
            assert_eq!(reach.left.len(), 4 - 2 * count, "{reach:?}");
        }
    }
}

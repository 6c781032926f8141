//! Gives addresses to devices that bring none.
//!
//! In: networks of both tunnels to give from, and what is taken. Out: the lowest free address of each family. Pure.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::{IpAddrRange, IpNet};

/// Through which tunnel a device comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// With its key, through WireGuard.
    Key,
    /// With its certificate, through QUIC.
    Certificate,
}

/// Where addresses come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// What is left of each network; what was passed is taken.
    rest: Vec<(Way, IpNet, IpAddrRange)>,
    taken: HashSet<IpAddr>,
    closed: Vec<IpNet>,
}

/// No address is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// There was never one.
    #[error("it needs an address: there is no `addresses` in [enrol] to give one from")]
    None,
    /// All are taken.
    #[error("all addresses of [enrol] are taken")]
    All,
}

impl Addresses {
    /// Gives from these networks, but nothing that is taken or inside of what is closed.
    #[must_use]
    pub fn new(networks: &[(Way, IpNet)], taken: HashSet<IpAddr>, closed: Vec<IpNet>) -> Self {
        let rest = networks.iter();
        Self {
            rest: rest
                .map(|(way, network)| (*way, *network, network.hosts()))
                .collect(),
            taken,
            closed,
        }
    }

    /// This address is somebody's. `false` if it was already.
    pub fn take(&mut self, address: IpAddr) -> bool {
        self.taken.insert(address)
    }

    /// One address of each family that there is in a tunnel. A tunnel for certificates need not be there.
    ///
    /// # Errors
    /// When one family has none left.
    pub fn give(&mut self, way: Way) -> Result<Vec<IpAddr>, Exhausted> {
        let mut given = Vec::new();
        for v4 in [true, false] {
            let mut rest = self.rest.iter();
            if rest.any(|(of, net, _)| *of == way && net.addr().is_ipv4() == v4) {
                given.push(self.next(way, v4).ok_or(Exhausted::All)?);
            }
        }
        match way {
            Way::Key if given.is_empty() => Err(Exhausted::None),
            Way::Key | Way::Certificate => Ok(given),
        }
    }

    fn next(&mut self, way: Way, v4: bool) -> Option<IpAddr> {
        let rest = self.rest.iter_mut();
        let of_family = rest.filter(|(of, net, _)| *of == way && net.addr().is_ipv4() == v4);
        for (_, network, rest) in of_family {
            for address in rest {
                let closed = self.closed.iter().any(|net| net.contains(&address));
                // For IPv6 the first address means all routers of the network.
                let first = network.network() == address;
                if !closed && !first && self.taken.insert(address) {
                    return Some(address);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(networks: &[&str], taken: &[&str], closed: &[&str]) -> Addresses {
        let nets = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<_>>();
        let taken = taken.iter().map(|text| text.parse().unwrap()).collect();
        let networks = nets(networks).into_iter().map(|net| (Way::Key, net));
        Addresses::new(&networks.collect::<Vec<_>>(), taken, nets(closed))
    }

    fn given(addresses: &mut Addresses) -> Result<String, Exhausted> {
        let given = addresses.give(Way::Key)?;
        Ok(given.iter().map(|a| format!("{a} ")).collect())
    }

    #[test]
    fn the_lowest_free_one_of_each_family_is_given() {
        let mut addresses = addresses(
            &["10.64.1.0/29", "fd64::/64", "10.64.2.0/30"],
            &["10.64.1.2", "fd64::1"],
            &["10.64.1.4/30"],
        );
        assert_eq!(given(&mut addresses).unwrap(), "10.64.1.1 fd64::2 ");
        assert!(addresses.take("10.64.1.3".parse().unwrap()));
        assert!(!addresses.take("10.64.1.1".parse().unwrap()));
        assert_eq!(given(&mut addresses).unwrap(), "10.64.2.1 fd64::3 ");
        assert_eq!(given(&mut addresses).unwrap(), "10.64.2.2 fd64::4 ");
        assert_eq!(given(&mut addresses), Err(Exhausted::All));
    }

    #[test]
    fn without_networks_nothing_is_given() {
        assert_eq!(given(&mut addresses(&[], &[], &[])), Err(Exhausted::None));
    }

    #[test]
    fn each_tunnel_gives_its_own() {
        let networks = [
            (Way::Key, "10.64.1.0/30".parse().unwrap()),
            (Way::Certificate, "10.65.0.0/29".parse().unwrap()),
            (Way::Certificate, "fd65::/64".parse().unwrap()),
        ];
        let own = ["10.65.0.1".parse().unwrap()].into();
        let mut addresses = Addresses::new(&networks, own, Vec::new());
        let mut given = |way| {
            let given = addresses.give(way)?;
            Ok(given.iter().map(|a| format!("{a} ")).collect::<String>())
        };
        assert_eq!(given(Way::Certificate).unwrap(), "10.65.0.2 fd65::1 ");
        assert_eq!(given(Way::Key).unwrap(), "10.64.1.1 ");
        assert_eq!(given(Way::Certificate).unwrap(), "10.65.0.3 fd65::2 ");
        assert_eq!(given(Way::Key).unwrap(), "10.64.1.2 ");
        assert_eq!(given(Way::Key), Err(Exhausted::All));
        let mut none = Addresses::new(&[], HashSet::new(), Vec::new());
        assert_eq!(none.give(Way::Certificate), Ok(Vec::new()));
    }

    #[test]
    fn ten_thousand_are_given_in_one_walk() {
        let mut addresses = addresses(&["10.64.0.0/18"], &[], &[]);
        let all: HashSet<_> = (0..10_000)
            .flat_map(|_| addresses.give(Way::Key).unwrap())
            .collect();
        assert_eq!(all.len(), 10_000);
    }
}

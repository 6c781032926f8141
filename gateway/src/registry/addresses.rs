//! Gives addresses to devices that bring none.
//!
//! In: networks to give from, and what is taken. Out: the lowest free address of each family. Pure.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::{IpAddrRange, IpNet};

/// Where addresses come from.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// What is left of each network; what was passed is taken.
    rest: Vec<(bool, IpNet, IpAddrRange)>,
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
    pub fn new(networks: &[IpNet], taken: HashSet<IpAddr>, closed: Vec<IpNet>) -> Self {
        let rest = networks.iter();
        Self {
            rest: rest
                .map(|network| (network.addr().is_ipv4(), *network, network.hosts()))
                .collect(),
            taken,
            closed,
        }
    }

    /// This address is somebody's. `false` if it was already.
    pub fn take(&mut self, address: IpAddr) -> bool {
        self.taken.insert(address)
    }

    /// One address of each family that there is.
    ///
    /// # Errors
    /// When one family has none left.
    pub fn give(&mut self) -> Result<Vec<IpAddr>, Exhausted> {
        let mut given = Vec::new();
        for v4 in [true, false] {
            if self.rest.iter().any(|(family, ..)| *family == v4) {
                given.push(self.next(v4).ok_or(Exhausted::All)?);
            }
        }
        if given.is_empty() {
            return Err(Exhausted::None);
        }
        Ok(given)
    }

    fn next(&mut self, v4: bool) -> Option<IpAddr> {
        let of_family = self.rest.iter_mut().filter(|(family, ..)| *family == v4);
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
        Addresses::new(&nets(networks), taken, nets(closed))
    }

    fn given(addresses: &mut Addresses) -> Result<String, Exhausted> {
        let given = addresses.give()?;
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
    fn ten_thousand_are_given_in_one_walk() {
        let mut addresses = addresses(&["10.64.0.0/18"], &[], &[]);
        let all: HashSet<_> = (0..10_000)
            .flat_map(|_| addresses.give().unwrap())
            .collect();
        assert_eq!(all.len(), 10_000);
    }
}

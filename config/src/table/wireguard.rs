//! `[tunnel.wireguard]`: where the tunnel listens and which addresses are inside.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use ipnet::IpNet;

use crate::field::basic::FilePath;
use crate::field::net::Interface;
use crate::model::WireGuard;
use crate::problem::At;
use crate::section::{Keys, Section};

pub(crate) const KEYS: Keys = Keys {
    table: "[tunnel.wireguard]",
    known: &[
        "listen",
        "interface",
        "private_key_file",
        "networks",
        "addresses",
        "mtu",
        "offload",
    ],
    later: &[],
};

/// The table as it is written.
pub(crate) struct RawWireGuard {
    pub(crate) listen: Option<At<SocketAddr>>,
    pub(crate) interface: Option<At<Interface>>,
    pub(crate) private_key_file: Option<At<FilePath>>,
    pub(crate) networks: Vec<At<IpNet>>,
    /// Empty: the default.
    pub(crate) addresses: Vec<At<IpAddr>>,
    mtu: u16,
    offload: bool,
}

pub(crate) fn read(section: &Section<'_>) -> RawWireGuard {
    RawWireGuard {
        listen: section.required("listen"),
        interface: section.required("interface"),
        private_key_file: section.required("private_key_file"),
        networks: section.required_list("networks"),
        addresses: section.list("addresses", "leave the key out to have the default"),
        mtu: section.within("mtu", 1280..=65_455).unwrap_or(1420),
        offload: section.or("offload", true),
    }
}

impl RawWireGuard {
    /// `None` only if a problem was reported.
    pub(crate) fn into_model(self, dir: &Path) -> Option<WireGuard> {
        Some(WireGuard {
            addresses: own_addresses(&self.networks, &self.addresses),
            listen: self.listen?.value,
            interface: self.interface?.value.0,
            private_key_file: dir.join(self.private_key_file?.value.0),
            networks: self.networks.into_iter().map(|at| at.value).collect(),
            mtu: self.mtu,
            offload: self.offload,
        })
    }
}

/// What is written, or the default.
pub(crate) fn own_addresses(networks: &[At<IpNet>], written: &[At<IpAddr>]) -> Vec<IpAddr> {
    if written.is_empty() {
        let networks = networks.iter();
        networks.map(|at| default_address(&at.value)).collect()
    } else {
        written.iter().map(|at| at.value).collect()
    }
}

/// The last usable address for IPv4; `…::ffff` for IPv6, or the last if the network is smaller.
fn default_address(network: &IpNet) -> IpAddr {
    match network {
        IpNet::V4(network) => {
            let last = u32::from(network.broadcast());
            let last = if network.prefix_len() <= 30 {
                last.saturating_sub(1)
            } else {
                last
            };
            IpAddr::V4(last.into())
        }
        IpNet::V6(network) => {
            let first = u128::from(network.network());
            let last = u128::from(network.broadcast());
            IpAddr::V6(first.saturating_add(0xffff).min(last).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_its_own_address() {
        for (network, address) in [
            ("10.64.0.0/16", "10.64.255.254"),
            ("10.64.0.0/30", "10.64.0.2"),
            ("fd64::/64", "fd64::ffff"),
            ("fd64::/120", "fd64::ff"),
        ] {
            let chosen = default_address(&network.parse().unwrap());
            assert_eq!(chosen.to_string(), address, "{network}");
        }
    }
}

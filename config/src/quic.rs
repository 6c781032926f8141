//! `[tunnel.quic]`: the tunnel for those who come with a certificate; and what both tunnels are together.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::Config;

/// `[tunnel.quic]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quic {
    /// UDP address; `[::]` also receives IPv4.
    pub listen: SocketAddr,
    /// Name of the TUN interface.
    pub interface: String,
    /// The networks inside; devices with a certificate have addresses in them.
    pub networks: Vec<IpNet>,
    /// The gateway's own address in each network (same order), by default as in `[tunnel.wireguard]`.
    pub addresses: Vec<IpAddr>,
    /// MTU of the TUN, 1280 to 1500. Default 1280, which every path carries.
    pub mtu: u16,
    /// Which key exchange is offered. Default [`PostQuantum::Preferred`].
    pub post_quantum: PostQuantum,
    /// Whether UDP segmentation offloads may be used. Default true.
    pub segmentation_offload: bool,
    /// The UDP payload that every path is believed to carry before it was tried, 1200 to 1452. Default 1200.
    pub initial_mtu: u16,
}

/// Which key exchange a tunnel offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PostQuantum {
    /// X25519MLKEM768 first, then X25519, secp256r1 and secp384r1.
    #[default]
    Preferred,
    /// X25519MLKEM768 and nothing else.
    Required,
}

impl Config {
    /// The networks of both tunnels.
    pub fn tunnel_networks(&self) -> impl Iterator<Item = &IpNet> {
        let quic = self.quic.iter().flat_map(|quic| &quic.networks);
        self.wireguard.networks.iter().chain(quic)
    }

    /// The gateway's own addresses in both tunnels, those of WireGuard first.
    pub fn tunnel_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let quic = self.quic.iter().flat_map(|quic| &quic.addresses);
        self.wireguard.addresses.iter().chain(quic).copied()
    }

    /// The interfaces of both tunnels, that of WireGuard first.
    pub fn tunnel_interfaces(&self) -> impl Iterator<Item = &str> {
        let quic = self.quic.iter().map(|quic| quic.interface.as_str());
        std::iter::once(self.wireguard.interface.as_str()).chain(quic)
    }
}

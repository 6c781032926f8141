//! `[tunnel.quic]`: where the tunnel for certificates listens and which addresses are inside.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::wireguard::own_addresses;
use crate::field::net::Interface;
use crate::problem::{At, Fault, Place};
use crate::quic::{PostQuantum, Quic};
use crate::section::{Keys, Section, Text, word};

pub(crate) const KEYS: Keys = Keys {
    table: "[tunnel.quic]",
    known: &[
        "listen",
        "interface",
        "networks",
        "addresses",
        "mtu",
        "post_quantum",
        "segmentation_offload",
        "initial_mtu",
    ],
    later: &[],
};

/// The table as it is written.
pub(crate) struct RawQuic {
    pub(crate) header: Place,
    pub(crate) listen: Option<At<SocketAddr>>,
    pub(crate) interface: Option<At<Interface>>,
    pub(crate) networks: Vec<At<IpNet>>,
    /// Empty: the default.
    pub(crate) addresses: Vec<At<IpAddr>>,
    mtu: u16,
    post_quantum: PostQuantum,
    segmentation_offload: bool,
    initial_mtu: u16,
}

pub(crate) fn read(section: &Section<'_>) -> RawQuic {
    RawQuic {
        header: section.header,
        listen: section.required("listen"),
        interface: section.required("interface"),
        networks: section.required_list("networks"),
        addresses: section.list("addresses", "leave the key out to have the default"),
        mtu: section.within("mtu", 1280..=1500).unwrap_or(1280),
        post_quantum: section.or("post_quantum", PostQuantum::default()),
        segmentation_offload: section.or("segmentation_offload", true),
        initial_mtu: section.within("initial_mtu", 1200..=1452).unwrap_or(1200),
    }
}

impl RawQuic {
    /// `None` only if a problem was reported.
    pub(crate) fn into_model(self) -> Option<Quic> {
        Some(Quic {
            addresses: own_addresses(&self.networks, &self.addresses),
            listen: self.listen?.value,
            interface: self.interface?.value.0,
            networks: self.networks.into_iter().map(|at| at.value).collect(),
            mtu: self.mtu,
            post_quantum: self.post_quantum,
            segmentation_offload: self.segmentation_offload,
            initial_mtu: self.initial_mtu,
        })
    }
}

impl Text for PostQuantum {
    const WHAT: &'static str = "`preferred` or `required`";
    fn parse(text: &str) -> Result<Self, Fault> {
        word(
            text,
            &[("preferred", Self::Preferred), ("required", Self::Required)],
        )
    }
}

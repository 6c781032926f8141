//! `[enrol]`: what devices get that stand in no file, and where they come to be enrolled.

use std::net::SocketAddr;

use ipnet::IpNet;

use crate::field::enrol::HostPort;
use crate::model::Enrol;
use crate::problem::At;
use crate::section::{Keys, Section};

pub(crate) const KEYS: Keys = Keys {
    table: "[enrol]",
    known: &["addresses", "listen", "endpoint", "connections"],
    later: &[],
};

/// The table as it is written.
#[derive(Default)]
pub(crate) struct RawEnrol {
    pub(crate) addresses: Vec<At<IpNet>>,
    pub(crate) listen: Option<At<SocketAddr>>,
    endpoint: Option<HostPort>,
    connections: Option<u16>,
}

pub(crate) fn read(section: &Section<'_>) -> RawEnrol {
    RawEnrol {
        addresses: section.required_list("addresses"),
        listen: section.optional("listen"),
        endpoint: section.optional::<HostPort>("endpoint").map(|at| at.value),
        connections: section.within("connections", 1..=4096),
    }
}

impl RawEnrol {
    pub(crate) fn into_model(self) -> Enrol {
        Enrol {
            addresses: self.addresses.into_iter().map(|at| at.value).collect(),
            listen: self.listen.map(|at| at.value),
            endpoint: self.endpoint.map(|endpoint| endpoint.0),
            connections: self.connections.unwrap_or(CONNECTIONS),
        }
    }
}

/// Connections to the listener at a time, by default.
//= C7
const CONNECTIONS: u16 = 256;

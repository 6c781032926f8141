//! What surrounds the devices in the table.

use std::net::{IpAddr, SocketAddr};

use lazaret_config::HospitalMode;

use super::errands::Errand;
use super::table::Term;
use super::tunnels::Tunnel;

/// What surrounds the devices.
pub(super) struct Frame {
    pub tunnels: Vec<Tunnel>,
    /// The gateway's own addresses inside.
    pub gateway: Vec<IpAddr>,
    pub hospital: String,
    pub mode: HospitalMode,
    pub errands: Vec<Errand>,
    /// Connections that one device may have at once to what is forwarded.
    pub flows_per_device: u32,
    /// Where the enrolment service listens.
    pub enrol: Option<SocketAddr>,
}

impl Frame {
    /// One term for each tunnel.
    pub(super) fn from(&self) -> impl Iterator<Item = Term> + use<> {
        self.interfaces().into_iter().map(Term::From)
    }

    /// One term for each tunnel.
    pub(super) fn towards(&self) -> impl Iterator<Item = Term> + use<> {
        self.interfaces().into_iter().map(Term::Towards)
    }

    /// All of them together.
    pub(super) fn not_from(&self) -> Vec<Term> {
        self.interfaces().into_iter().map(Term::NotFrom).collect()
    }

    /// All of them together.
    pub(super) fn not_towards(&self) -> Vec<Term> {
        let interfaces = self.interfaces().into_iter();
        interfaces.map(Term::NotTowards).collect()
    }

    fn interfaces(&self) -> Vec<String> {
        let tunnels = self.tunnels.iter();
        tunnels.map(|tunnel| tunnel.interface.clone()).collect()
    }
}

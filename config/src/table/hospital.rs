//! `[hospital]`: the interface to the hospital and how devices appear there.

use std::net::IpAddr;

use crate::field::net::Interface;
use crate::model::{Hospital, HospitalMode};
use crate::problem::At;
use crate::section::{Keys, Section};

pub(crate) const KEYS: Keys = Keys {
    table: "[hospital]",
    known: &["interface", "mode", "address"],
    later: &[],
};

/// The table as it is written.
pub(crate) struct RawHospital {
    pub(crate) interface: Option<At<Interface>>,
    pub(crate) mode: HospitalMode,
    pub(crate) addresses: Vec<At<IpAddr>>,
}

pub(crate) fn read(section: &Section<'_>) -> RawHospital {
    RawHospital {
        interface: section.required("interface"),
        mode: section.or("mode", HospitalMode::Snat),
        addresses: section.one_or_more("address", "leave the key out if no service dials a device"),
    }
}

impl RawHospital {
    /// `None` only if a problem was reported.
    pub(crate) fn into_model(self) -> Option<Hospital> {
        Some(Hospital {
            interface: self.interface?.value.0,
            mode: self.mode,
            addresses: self.addresses.into_iter().map(|at| at.value).collect(),
        })
    }
}

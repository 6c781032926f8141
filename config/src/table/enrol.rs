//! `[enrol]`: what devices get that stand in no file.

use ipnet::IpNet;

use crate::model::Enrol;
use crate::problem::At;
use crate::section::{Keys, Section};

pub(crate) const KEYS: Keys = Keys {
    table: "[enrol]",
    known: &["addresses"],
    later: &[],
};

/// The table as it is written.
#[derive(Default)]
pub(crate) struct RawEnrol {
    pub(crate) addresses: Vec<At<IpNet>>,
}

pub(crate) fn read(section: &Section<'_>) -> RawEnrol {
    RawEnrol {
        addresses: section.required_list("addresses"),
    }
}

impl RawEnrol {
    pub(crate) fn into_model(self) -> Enrol {
        Enrol {
            addresses: self.addresses.into_iter().map(|at| at.value).collect(),
        }
    }
}

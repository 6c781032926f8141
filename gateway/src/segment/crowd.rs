//! What is forwarded without inspection: its mark, by which connection tracking is asked about it, and how much of it
//! one device may have at once.
//!
//! In: how many. Out: a set and a chain for each family, where rules of roles and devices lead to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use lazaret_config::Transport;

use super::chains::{chain, refuse};
use super::plan::{Endpoint, Plan, Treatment};
use super::table::{Chain, Family, Rule, Set, State, Term, Why};
use crate::flow::{DeviceName, ServiceName};

/// The mark of what is forwarded; chains of roles set it.
pub const FORWARDED_MARK: u32 = 0x4e00_0001;

impl Plan {
    /// Whether anything is forwarded without inspection.
    #[must_use]
    pub fn forwards(&self) -> bool {
        let mut grants = self.grants.values().flat_map(BTreeMap::values);
        grants.any(|grant| grant.treatment == Treatment::Forwarded)
    }

    /// The service that a device reaches here without inspection, also what is left to it in quarantine.
    #[must_use]
    pub fn forwarded(
        &self,
        device: &DeviceName,
        transport: Transport,
        address: SocketAddr,
    ) -> Option<&ServiceName> {
        let member = self.devices.get(device)?;
        if !member.lives() {
            return None;
        }
        let endpoint = Endpoint { transport, address };
        let parties = member.parties.iter();
        let mut grants = parties.filter_map(|party| self.grants.get(party)?.get(&endpoint));
        // What one party has inspected is inspected.
        let first = grants.next()?;
        let all = grants.all(|grant| grant.treatment == Treatment::Forwarded);
        (all && first.treatment == Treatment::Forwarded).then_some(&first.service)
    }
}

/// The set in which the kernel counts the connections of each device.
//= C7
pub(super) fn counts(family: Family) -> Set {
    Set {
        name: set_name(family),
        family,
        elements: BTreeSet::new(),
        counts: true,
    }
}

/// Lets a connection pass that a rule allows, unless its device has too many.
pub(super) fn gate(family: Family, most: u32) -> Chain {
    let set = set_name(family);
    let over = vec![
        Term::State(State::New),
        Term::MoreThan { family, set, most },
    ];
    let rules = vec![refuse(over, Some(Why::Crowded)), Rule(vec![Term::Accept])];
    chain(gate_name(family), rules)
}

/// Where the rules of roles and devices lead to.
pub(super) fn gate_name(family: Family) -> String {
    format!("forwarded/{}", family.suffix())
}

fn set_name(family: Family) -> String {
    format!("flows/{}", family.suffix())
}

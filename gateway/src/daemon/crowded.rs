//! Which connections are too many for their device, beside the kernel's own count.
//!
//! In: what is forwarded, look by look, and how many one device may have. Out: connections to end, the newest first.
//! The kernel refuses what is over, but counts anew with each replacement of the table, so that a device could get
//! more by changes of the policy. Pure. Knows nothing of rules.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::segment::flows::{Flow, FlowKey, FlowState};

/// What was too many in the last look.
#[derive(Default)]
pub(super) struct Crowded {
    over: BTreeSet<FlowKey>,
}

impl Crowded {
    /// Connections that are over `most` of their address, as they were in the look before: connection tracking is not
    /// read at one moment, so that one may be seen beside another that took its place.
    //= C7
    pub(super) fn look(&mut self, flows: &[Flow], most: u64) -> Vec<FlowKey> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut open: BTreeMap<IpAddr, Vec<(Option<u64>, FlowKey)>> = BTreeMap::new();
        for flow in flows.iter().filter(|flow| flow.state == FlowState::Open) {
            let of_device = open.entry(flow.key.from.ip()).or_default();
            of_device.push((flow.began, flow.key));
        }
        let mut over = BTreeSet::new();
        for mut all in open.into_values().filter(|all| all.len() > most) {
            all.sort_unstable();
            over.extend(all.into_iter().skip(most).map(|(_, key)| key));
        }
        let again = over.intersection(&self.over).copied().collect();
        self.over = over;
        again
    }
}

#[cfg(test)]
mod tests {
    use lazaret_config::Transport;

    use super::*;

    fn flow(device: u8, id: u32, state: FlowState) -> Flow {
        Flow {
            key: FlowKey {
                // Numbers of the kernel say nothing about age.
                id: u32::MAX - id,
                from: ([10, 64, 0, device], 40_000).into(),
                to: ([10, 20, 0, 5], 22).into(),
                transport: Transport::Tcp,
            },
            state,
            passed: None,
            seen: None,
            began: Some(u64::from(id)),
        }
    }

    fn numbers(keys: &[FlowKey]) -> Vec<u32> {
        let mut all: Vec<u32> = keys.iter().map(|key| u32::MAX - key.id).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn the_newest_of_too_many_end_once_they_are_seen_twice() {
        let mut crowded = Crowded::default();
        let mut flows: Vec<Flow> = (0..5).map(|id| flow(1, id, FlowState::Open)).collect();
        flows.extend((10..13).map(|id| flow(2, id, FlowState::Open)));
        flows.extend((20..40).map(|id| flow(2, id, FlowState::Closed)));
        flows.reverse();
        assert!(crowded.look(&flows, 3).is_empty());
        assert_eq!(numbers(&crowded.look(&flows, 3)), [3, 4]);
        assert!(crowded.look(&flows, 5).is_empty());
    }

    #[test]
    fn one_that_takes_the_place_of_another_is_not_too_many() {
        let mut crowded = Crowded::default();
        for id in 0..10 {
            // Each look sees the last one that closed still open.
            let flows: Vec<Flow> = (id..id + 4)
                .map(|id| flow(1, id, FlowState::Open))
                .collect();
            assert!(crowded.look(&flows, 3).is_empty(), "{id}");
        }
    }
}

//! Which relay serves which device.
//!
//! In: devices whose connections begin, and the relays that live. Out: one relay for all connections of a device with
//! one protocol, since what they know together (messages that were taken, answers that are awaited, rates) is in it;
//! for another device the one with the fewest connections.
//! A device stays where it is as long as its relay lives, also between its connections. Knows nothing of what they say.

use std::collections::BTreeMap;

use super::worker::Kind;
use crate::flow::{DeviceName, Inspected};

/// The relay of each device that ever had one.
#[derive(Default)]
pub(super) struct Deal {
    homes: BTreeMap<(DeviceName, Inspected), Kind>,
}

impl Deal {
    /// The relay of a device, of those that `live`; `busy` says how many connections one has. Without any that lives
    /// it is the first, which takes nothing.
    pub(super) fn relay(
        &mut self,
        device: &DeviceName,
        protocol: Inspected,
        live: &[Kind],
        busy: impl Fn(Kind) -> usize,
    ) -> Kind {
        let key = (device.clone(), protocol);
        if let Some(home) = self.homes.get(&key) {
            return *home;
        }
        let candidates = live.iter().filter(|kind| kind.protocol() == Some(protocol));
        let homes = |kind: Kind| self.homes.values().filter(|home| **home == kind).count();
        let Some(relay) = candidates
            .copied()
            .min_by_key(|kind| (busy(*kind), homes(*kind)))
        else {
            return Kind::relay(protocol, 0);
        };
        self.homes.insert(key, relay);
        relay
    }

    /// A relay is gone, with what it knew.
    pub(super) fn forget(&mut self, relay: Kind) {
        self.homes.retain(|_, home| *home != relay);
    }

    /// Forgets devices that are no longer configured.
    //= C7
    pub(super) fn keep(&mut self, is_device: impl Fn(&DeviceName) -> bool) {
        self.homes.retain(|(device, _), _| is_device(device));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: [Kind; 4] = [
        Kind::RelayHl7(0),
        Kind::RelayHl7(1),
        Kind::RelayDicom(0),
        Kind::RelayDicom(1),
    ];

    fn device(name: &str) -> DeviceName {
        name.parse().unwrap()
    }

    #[test]
    fn a_device_stays_with_its_relay_and_another_goes_where_there_is_least() {
        let mut deal = Deal::default();
        let mut busy = BTreeMap::new();
        let mut begin = |name: &str| {
            let count = |kind| busy.get(&kind).copied().unwrap_or(0);
            let relay = deal.relay(&device(name), Inspected::Hl7, &LIVE, count);
            *busy.entry(relay).or_default() += 1;
            relay
        };
        let [one, two] = [Kind::RelayHl7(0), Kind::RelayHl7(1)];
        let dealt = ["a", "a", "a", "b", "c", "d", "e", "a"].map(&mut begin);
        assert_eq!(dealt, [one, one, one, two, two, two, one, one]);
    }

    #[test]
    fn devices_without_connections_are_dealt_out_too() {
        let mut deal = Deal::default();
        let mut begin = |name| deal.relay(&device(name), Inspected::Dicom, &LIVE, |_| 0);
        let [one, two] = [Kind::RelayDicom(0), Kind::RelayDicom(1)];
        let dealt = ["a", "b", "c", "b", "d"].map(&mut begin);
        assert_eq!(dealt, [one, two, one, two, two]);
    }

    #[test]
    fn who_lost_a_relay_goes_to_one_that_lives_and_others_stay() {
        let mut deal = Deal::default();
        let [one, two] = [Kind::RelayHl7(0), Kind::RelayHl7(1)];
        let begin = |deal: &mut Deal, name, live: &[Kind]| {
            deal.relay(&device(name), Inspected::Hl7, live, |_| 0)
        };
        assert_eq!(begin(&mut deal, "a", &LIVE), one);
        assert_eq!(begin(&mut deal, "b", &LIVE), two);
        deal.forget(one);
        assert_eq!(begin(&mut deal, "a", &LIVE[1..]), two);
        assert_eq!(begin(&mut deal, "b", &LIVE[1..]), two);
        assert_eq!(begin(&mut deal, "c", &LIVE), one);
        // It is not remembered where there was none.
        deal.forget(one);
        deal.forget(two);
        assert_eq!(begin(&mut deal, "a", &LIVE[2..]), one);
        assert_eq!(begin(&mut deal, "b", &LIVE), one);
        assert_eq!(begin(&mut deal, "a", &LIVE), two);
        deal.keep(|name| *name == device("b"));
        assert_eq!(deal.homes.len(), 1);
    }
}

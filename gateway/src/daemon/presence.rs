//! What the tunnel says of its peers every minute: handshakes, addresses, bytes.
//!
//! In: counts that begin anew with each process of the tunnel. Out: what happened since, for the inventory.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::inventory::Inventory;
use super::supervisor::Supervisor;
use super::told::by_device;
use crate::flow::DeviceName;
use crate::registry::known::{Seen, What};
use crate::tunnel::message::{PeerStatus, ToTunnel};

/// What the tunnel said last.
#[derive(Default)]
pub(super) struct Presence {
    counts: BTreeMap<DeviceName, Counts>,
    /// The question that the tunnel was asked for it, and when.
    asked: Option<(u64, Instant)>,
}

#[derive(Default)]
struct Counts {
    received: u64,
    sent: u64,
    noted: Option<Timestamp>,
}

impl Presence {
    /// Takes over what the tunnel says.
    fn observe(&mut self, peers: &[PeerStatus], now: Timestamp, inventory: &mut Inventory) {
        for (device, peer) in by_device(peers) {
            let at = peer.handshake_seconds.and_then(|seconds| {
                let seconds = i64::try_from(seconds).ok()?;
                now.checked_sub(SignedDuration::from_secs(seconds)).ok()
            });
            let Some(at) = at else {
                continue;
            };
            let known = inventory.handshake(device);
            if known.is_none_or(|known| at.duration_since(known) >= GRAIN) {
                inventory.note(device, What::Handshake, "", Seen::at(at, 1));
                if let Some(endpoint) = peer.endpoint {
                    let address = endpoint.ip().to_canonical().to_string();
                    inventory.note(device, What::Address, &address, Seen::at(at, 1));
                }
            }
            let counts = self.counts.entry(device.clone()).or_default();
            // A tunnel that began anew counts from nothing.
            if peer.received < counts.received || peer.sent < counts.sent {
                (counts.received, counts.sent) = (0, 0);
            }
            let (received, sent) = (peer.received - counts.received, peer.sent - counts.sent);
            let often = |noted: Timestamp| now.duration_since(noted).abs() < GRAIN;
            if (received == 0 && sent == 0) || counts.noted.is_some_and(often) {
                continue;
            }
            inventory.note(device, What::Bytes, "received", Seen::at(now, received));
            inventory.note(device, What::Bytes, "sent", Seen::at(now, sent));
            *counts = Counts {
                received: peer.received,
                sent: peer.sent,
                noted: Some(now),
            };
        }
        let mut there: Vec<&DeviceName> = peers.iter().map(|peer| &peer.device).collect();
        there.sort_unstable();
        self.counts
            .retain(|device, _| there.binary_search(&device).is_ok());
    }
}

impl Supervisor {
    /// Asks the tunnel every minute.
    pub(super) fn follow_presence(&mut self, now: Instant) {
        self.follow_inventory();
        let asked = self.presence.asked.map(|(_, at)| at);
        if asked.is_some_and(|at| now.saturating_duration_since(at) < EVERY) {
            return;
        }
        let number = self.questions.number();
        if let Some(tunnel) = &self.workers.tunnel {
            tunnel.send(ToTunnel::Status { request: number }, Vec::new());
            self.presence.asked = Some((number, now));
        }
    }

    /// True if the answer was to our own question.
    pub(super) fn presence_answered(&mut self, request: u64, peers: &[PeerStatus]) -> bool {
        if self.presence.asked.map(|(number, _)| number) != Some(request) {
            return false;
        }
        let now = self.now();
        self.presence.observe(peers, now, &mut self.inventory);
        true
    }
}

const EVERY: Duration = Duration::from_mins(1);
/// A tunnel in use shakes hands every two minutes; nobody needs to know it so exactly for months.
const GRAIN: SignedDuration = SignedDuration::from_mins(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn peer(device: &str, handshake_seconds: Option<u64>, received: u64) -> PeerStatus {
        PeerStatus {
            device: device.parse().unwrap(),
            endpoint: Some("[::ffff:192.0.2.7]:4000".parse().unwrap()),
            handshake_seconds,
            received,
            sent: 1,
            spoofed: 0,
        }
    }

    #[test]
    fn what_the_tunnel_says_is_added_up_now_and_then() {
        let (mut presence, mut inventory) = (Presence::default(), Inventory::default());
        let here: DeviceName = "here".parse().unwrap();
        let both = |seconds, received| {
            [
                peer("here", Some(seconds), received),
                peer("never", None, 0),
            ]
        };
        let mut see = |inventory: &mut Inventory, peers: &[PeerStatus], seconds| {
            presence.observe(peers, at(seconds), inventory);
            let sheet = inventory.sheet(&here).into_iter();
            sheet
                .map(|one| format!("{} {} {}", one.what, one.value, one.amount))
                .collect::<Vec<_>>()
        };
        let first = see(&mut inventory, &both(60, 100), 0);
        let wanted = [
            "handshake  1",
            "address 192.0.2.7 1",
            "bytes received 100",
            "bytes sent 1",
        ];
        assert_eq!(first, wanted);
        assert_eq!(inventory.handshake(&here), Some(at(-60)));
        let never: DeviceName = "never".parse().unwrap();
        assert_eq!(inventory.handshake(&never), None);
        assert_eq!(see(&mut inventory, &both(0, 150), 500), wanted, "too soon");
        let later = see(&mut inventory, &both(0, 160), 600);
        assert_eq!(
            (later[0].as_str(), later[2].as_str()),
            ("handshake  2", "bytes received 160")
        );
        // The tunnel began anew, with two keys of one device.
        let two = [peer("here", Some(0), 20), peer("here", Some(9), 10)];
        let again = see(&mut inventory, &two, 1300);
        assert_eq!(again[2], "bytes received 190");
    }
}

//! When devices were there last, beyond the life of the tunnel's process.
//!
//! In: what the tunnel says every minute. Out: the last handshake of each device, for operators and the database.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::supervisor::Supervisor;
use crate::flow::{Clock, DeviceName};
use crate::registry::task::ToTask;
use crate::tunnel::message::{PeerStatus, ToTunnel};

/// The last handshakes that are known.
#[derive(Default)]
pub(super) struct Presence {
    last: BTreeMap<DeviceName, Timestamp>,
    /// The question that the tunnel was asked for it, and when.
    asked: Option<(u64, Instant)>,
}

impl Presence {
    /// What the database knows, if it is later than what we know.
    pub(super) fn learn(&mut self, handshakes: BTreeMap<DeviceName, Timestamp>) {
        for (device, at) in handshakes {
            let known = self.last.entry(device).or_insert(at);
            *known = (*known).max(at);
        }
    }

    /// Seconds since the last handshake of a device, if there ever was one.
    pub(super) fn seconds_since(&self, device: &DeviceName, now: Timestamp) -> Option<u64> {
        let seconds = now.duration_since(*self.last.get(device)?).as_secs();
        Some(u64::try_from(seconds).unwrap_or(0))
    }

    /// Takes over what the tunnel says; what is worth writing down.
    fn observe(&mut self, peers: &[PeerStatus], now: Timestamp) -> BTreeMap<DeviceName, Timestamp> {
        let mut fresh = BTreeMap::new();
        for peer in peers {
            let Some(seconds) = peer.handshake_seconds else {
                continue;
            };
            let ago = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            let Ok(at) = now.checked_sub(ago) else {
                continue;
            };
            let known = self.last.get(&peer.device);
            let old = known.is_none_or(|known| at.duration_since(*known) >= GRAIN);
            if old {
                self.last.insert(peer.device.clone(), at);
                fresh.insert(peer.device.clone(), at);
            }
        }
        fresh
    }
}

impl Supervisor {
    /// Asks the tunnel every minute.
    pub(super) fn follow_presence(&mut self, now: Instant) {
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
        let now = self.clock.wall();
        let fresh = self.presence.observe(peers, now);
        if !fresh.is_empty() {
            // What does not get there comes again with a later handshake.
            self.records.note(ToTask::Seen(fresh));
        }
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

    fn peer(device: &str, handshake_seconds: Option<u64>) -> PeerStatus {
        PeerStatus {
            device: device.parse().unwrap(),
            endpoint: None,
            handshake_seconds,
            received: 0,
            sent: 0,
            spoofed: 0,
        }
    }

    #[test]
    fn handshakes_are_remembered_and_written_now_and_then() {
        let mut presence = Presence::default();
        let (here, never) = ("here".parse().unwrap(), "never".parse().unwrap());
        let fresh = presence.observe(&[peer("here", Some(60)), peer("never", None)], at(0));
        assert_eq!(fresh, [(DeviceName::clone(&here), at(-60))].into());
        assert_eq!(presence.seconds_since(&here, at(0)), Some(60));
        assert_eq!(presence.seconds_since(&never, at(0)), None);
        assert!(
            presence
                .observe(&[peer("here", Some(0))], at(500))
                .is_empty()
        );
        assert_eq!(presence.observe(&[peer("here", Some(0))], at(540)).len(), 1);
        // The database knows an older one, and one of somebody who was never here since.
        presence.learn(
            [
                (here.clone(), at(-900)),
                (DeviceName::clone(&never), at(-100)),
            ]
            .into(),
        );
        assert_eq!(presence.seconds_since(&here, at(540)), Some(0));
        assert_eq!(presence.seconds_since(&never, at(0)), Some(100));
        // A clock that was set back.
        assert_eq!(presence.seconds_since(&here, at(0)), Some(0));
    }
}

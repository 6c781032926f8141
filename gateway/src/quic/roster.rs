//! Who is in: one seat for each device, its addresses, and what went through.
//!
//! In: devices that may come, connections that did. Out: where a packet for an address goes.
//! One device has one session: a newer one takes the place of the older, which may be dead without knowing.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use quinn::Connection;
use tokio::sync::{mpsc, watch};

use super::entrance::{canonical, close};
use super::message::{Member, SessionFigures};
use super::tls::Chain;
use crate::flow::{DeviceName, Standing};
use crate::masque::Code;

/// A device that is in.
pub(super) struct Seat {
    /// Tells this session from an older one of the same device.
    pub(super) number: u64,
    pub(super) connection: Connection,
    pub(super) chain: Chain,
    /// To the end of its certificate.
    pub(super) until: Timestamp,
    pub(super) since: Instant,
    pub(super) key_exchange: &'static str,
    pub(super) member: watch::Sender<Member>,
    pub(super) inbox: mpsc::Sender<Vec<u8>>,
    pub(super) counted: Arc<Counted>,
    /// Of those, what the supervisor knows.
    pub(super) told_spoofed: u64,
    /// Whether its begin was told.
    pub(super) begun: bool,
}

/// What a session counts.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) spoofed: AtomicU64,
    pub(super) crowded: AtomicU64,
    pub(super) malformed: AtomicU64,
}

impl Counted {
    pub(super) fn add(counter: &AtomicU64, value: usize) {
        counter.fetch_add(u64::try_from(value).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn of(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// All who are in, and all who may.
#[derive(Default)]
pub(super) struct Roster {
    pub(super) members: BTreeMap<DeviceName, Member>,
    pub(super) seats: BTreeMap<DeviceName, Seat>,
    /// Why others may not.
    pub(super) barred: BTreeMap<DeviceName, Standing>,
    /// For how long each device, coming every [`EACH`], could still have come more often.
    comings: BTreeMap<DeviceName, (Duration, Instant)>,
    inboxes: HashMap<IpAddr, (mpsc::Sender<Vec<u8>>, Arc<Counted>)>,
}

impl Roster {
    /// Hands a packet of the kernel to the session whose address it is for; if it does not keep up, the packet is lost.
    //= C7
    pub(super) fn deliver(&self, destination: IpAddr, packet: &[u8]) {
        if let Some((inbox, counted)) = self.inboxes.get(&destination)
            && inbox.try_send(packet.to_vec()).is_err()
        {
            Counted::add(&counted.crowded, 1);
        }
    }

    /// Whether a device comes as often as it may; each coming is a record and work for everybody.
    //= C7
    //= C8
    pub(super) fn comes(&mut self, device: &DeviceName, now: Instant) -> bool {
        let full = EACH.saturating_mul(AT_ONCE);
        let known = self.comings.get(device).copied();
        let (credit, at) = known.unwrap_or((full, now));
        let gained = now.saturating_duration_since(at);
        let credit = credit.saturating_add(gained).min(full);
        let left = credit.checked_sub(EACH);
        self.comings
            .insert(device.clone(), (left.unwrap_or(credit), now));
        left.is_some()
    }

    /// Gives a seat to a device; the session that had it, if there was one.
    pub(super) fn seat(&mut self, device: DeviceName, seat: Seat) -> Option<Seat> {
        let before = self.seats.insert(device, seat);
        self.route();
        before
    }

    /// Takes the seat of a session, unless a newer one has it.
    pub(super) fn unseat(&mut self, device: &DeviceName, number: u64) -> Option<Seat> {
        if self.seats.get(device)?.number != number {
            return None;
        }
        let seat = self.seats.remove(device);
        self.route();
        seat
    }

    /// Takes over who may be in; whoever may not is out, and the others hear what changed for them.
    //= C9
    pub(super) fn admit(&mut self, members: Vec<Member>) {
        self.members = members
            .into_iter()
            .map(|member| (member.device.clone(), member))
            .collect();
        self.comings
            .retain(|device, _| self.members.contains_key(device));
        for (device, seat) in &self.seats {
            match self.members.get(device) {
                Some(member) if member.addresses == seat.member.borrow().addresses => {
                    (seat.member).send_if_modified(|known| {
                        let differs = known != member;
                        known.clone_from(member);
                        differs
                    });
                }
                Some(_) => close(
                    &seat.connection,
                    Code::None,
                    "the device has other addresses",
                ),
                None => close(&seat.connection, Code::RequestRejected, self.why(device)),
            }
        }
    }

    /// Why a device that is no member may not come in, for its user.
    pub(super) fn why(&self, device: &DeviceName) -> &'static str {
        match self.barred.get(device) {
            Some(Standing::Pending) => "the device is not approved yet",
            Some(Standing::Expired) => "the time of the device is over",
            Some(Standing::Revoked) => "the device is revoked",
            Some(Standing::Active | Standing::Quarantined) | None => "the device may not come in",
        }
    }

    fn route(&mut self) {
        self.inboxes.clear();
        for seat in self.seats.values() {
            for address in &seat.member.borrow().addresses {
                let inbox = (seat.inbox.clone(), Arc::clone(&seat.counted));
                self.inboxes.insert(*address, inbox);
            }
        }
    }

    /// How all fare who have their addresses.
    pub(super) fn figures(&self, now: Instant) -> Vec<SessionFigures> {
        let begun = self.seats.iter().filter(|(_, seat)| seat.begun);
        let figures = begun.map(|(device, seat)| SessionFigures {
            device: device.clone(),
            peer: seat.peer(),
            seconds: seat.seconds(now),
            key_exchange: seat.key_exchange.to_owned(),
            received: Counted::of(&seat.counted.received),
            sent: Counted::of(&seat.counted.sent),
            spoofed: Counted::of(&seat.counted.spoofed),
            crowded: Counted::of(&seat.counted.crowded),
            malformed: Counted::of(&seat.counted.malformed),
            rtt_micros: u64::try_from(seat.connection.rtt().as_micros()).unwrap_or(u64::MAX),
        });
        figures.collect()
    }
}

impl Seat {
    /// Where the device is now.
    pub(super) fn peer(&self) -> SocketAddr {
        canonical(self.connection.remote_address())
    }

    /// How long it is there.
    pub(super) fn seconds(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_secs()
    }
}

/// Connections of one device, again and again.
const EACH: Duration = Duration::from_secs(1);
/// Connections of one device, one after the other.
const AT_ONCE: u32 = 30;

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs a first instant")]
    use super::*;

    //= C7
    #[test]
    fn a_device_comes_30_times_and_then_once_a_second() {
        let (mut roster, start) = (Roster::default(), Instant::now());
        let (one, other) = ("desk-7".parse().unwrap(), "desk-8".parse().unwrap());
        let coming =
            |roster: &mut Roster, at: Instant| (0..100).filter(|_| roster.comes(&one, at)).count();
        assert_eq!(coming(&mut roster, start), 30);
        assert!(roster.comes(&other, start));
        assert_eq!(coming(&mut roster, start + EACH), 1);
        assert_eq!(coming(&mut roster, start + EACH * 1000), 30);
        roster.admit(Vec::new());
        assert!(roster.comings.is_empty(), "who is no member is forgotten");
    }
}

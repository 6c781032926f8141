//! The WireGuard endpoint of all peers: who sent this datagram, may it enter, and to whom goes that packet?
//!
//! In: datagrams with their path, inner packets, the time, the list of peers.
//! Out: datagrams and inner packets in batches, events, and a status.
//! Knows no sockets, no clock and no cipher: `noise` speaks the protocol, this file decides around it.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::chance::Chance;
use super::datagram::{Message, word};
use super::inner;
use super::limits::Gate;
use super::message::{Peer, PeerStatus, TunnelEvent};
use super::noise::{Noise, NoisePeer, Opened, SPACE, Verified};
use super::peer::{Change, Live, Path, View};
use super::prefix::PrefixTable;
use super::strangers::Strangers;

/// All peers behind one private key.
pub struct Endpoint<N: Noise> {
    noise: N,
    mtu: usize,
    chance: Chance,
    peers: Vec<Option<Box<Live<N::Peer>>>>,
    free: Vec<usize>,
    by_key: HashMap<[u8; 32], usize>,
    by_index: HashMap<u32, usize>,
    prefixes: PrefixTable<usize>,
    gate: Gate,
    drops: Drops,
    pub(super) strangers: Strangers,
    refused_unsaid: u64,
    refused_said_at: Option<Instant>,
    events: VecDeque<TunnelEvent>,
    next: usize,
    ticked_at: Instant,
    padded: Vec<u8>,
}

/// What an endpoint wants sent.
#[derive(Default)]
pub struct Output {
    /// To the network.
    pub datagrams: Batch<Path>,
    /// To the TUN.
    pub packets: Batch<()>,
}

/// What was dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Not a WireGuard message, or too long.
    pub malformed: u64,
    /// Handshakes without a right MAC.
    pub mac: u64,
    /// Handshakes over a limit, answered with a cookie or not at all.
    pub limited: u64,
    /// Handshakes of unknown keys.
    pub unknown_key: u64,
    /// Messages for a session that nobody has.
    pub unknown_session: u64,
    /// Not authentic, replayed, or of an expired session.
    pub refused: u64,
    /// Authentic, but without a whole IP packet inside.
    pub not_ip: u64,
    /// Inner packets of a source that is not the peer's own.
    pub spoofed: u64,
    /// Packets from the TUN for nobody, or for a peer whose place is not known.
    pub unroutable: u64,
}

impl Drops {
    /// Datagrams dropped before they reached a peer.
    #[must_use]
    pub fn before_a_peer(&self) -> u64 {
        [
            self.mac,
            self.limited,
            self.unknown_key,
            self.unknown_session,
        ]
        .iter()
        .fold(self.malformed, |sum, count| sum.saturating_add(*count))
    }
}

impl<N: Noise> Endpoint<N> {
    /// An endpoint for these peers. `seed` is entropy; `mtu` is the TUN's.
    pub fn new(noise: N, peers: Vec<Peer>, mtu: u16, seed: [u8; 32], now: Instant) -> Self {
        let mut endpoint = Self {
            noise,
            mtu: mtu.into(),
            chance: Chance::new(seed),
            peers: Vec::with_capacity(peers.len()),
            free: Vec::new(),
            by_key: HashMap::new(),
            by_index: HashMap::new(),
            prefixes: PrefixTable::new(),
            gate: Gate::new(now),
            drops: Drops::default(),
            strangers: Strangers::default(),
            refused_unsaid: 0,
            refused_said_at: None,
            events: VecDeque::new(),
            next: 0,
            ticked_at: now,
            padded: Vec::new(),
        };
        endpoint.replace_peers(peers, now);
        endpoint
    }

    /// A datagram from the network.
    pub fn receive(&mut self, datagram: &[u8], path: Path, now: Instant, out: &mut Output) {
        let message = (datagram.len() <= MAX_DATAGRAM)
            .then(|| Message::parse(datagram))
            .flatten();
        match message {
            None => self.drops.malformed = self.drops.malformed.saturating_add(1),
            Some(Message::Initiation) => self.receive_initiation(datagram, path, now, out),
            Some(Message::Response { receiver }) => {
                self.receive_response(datagram, receiver, path, now, out);
            }
            Some(Message::CookieReply { receiver }) => {
                // No roaming: a cookie proves that its sender saw our handshake, not that it is the peer.
                if let Some(peer) = by_session(&self.by_index, &mut self.peers, receiver) {
                    let opened = peer.noise.open(datagram, out.datagrams.space(SPACE));
                    if opened != Opened::Nothing {
                        self.drops.refused = self.drops.refused.saturating_add(1);
                    }
                } else {
                    self.drops.unknown_session = self.drops.unknown_session.saturating_add(1);
                }
            }
            Some(Message::Data { receiver, counter }) => {
                if counter >= REJECT_AFTER_MESSAGES {
                    // The library would count past the end of its counter.
                    self.drops.refused = self.drops.refused.saturating_add(1);
                } else {
                    self.receive_data(datagram, receiver, path, now, out);
                }
            }
        }
    }

    /// A packet from the TUN.
    pub fn send(&mut self, packet: &[u8], now: Instant, out: &mut Output) {
        let owner = inner::parse(packet)
            .filter(|inner| inner.length == packet.len())
            .and_then(|inner| self.prefixes.owner(inner.destination));
        let peer = owner.and_then(|slot| self.peers.get_mut(slot)?.as_deref_mut());
        let Some(peer) = peer else {
            self.drops.unroutable = self.drops.unroutable.saturating_add(1);
            return;
        };
        // Lengths would tell what is inside. The receiver cuts by the inner length.
        let length = packet
            .len()
            .next_multiple_of(16)
            .min(self.mtu.max(packet.len()));
        self.padded.clear();
        self.padded.extend_from_slice(packet);
        self.padded.resize(length, 0);
        if peer.seal(&self.padded, now, &mut out.datagrams) {
            peer.sent = peer.sent.saturating_add(size(packet));
        } else {
            self.drops.unroutable = self.drops.unroutable.saturating_add(1);
        }
    }

    /// Lets time pass for a share of the peers, so that all have had their turn every [`ROUND`]. Call it every 50 ms.
    pub fn tick(&mut self, now: Instant, out: &mut Output) {
        let elapsed = now.saturating_duration_since(self.ticked_at);
        self.ticked_at = now;
        let all = self.peers.len();
        let elapsed = usize::try_from(elapsed.as_micros()).unwrap_or(usize::MAX);
        let round = usize::try_from(ROUND.as_micros()).unwrap_or(usize::MAX);
        let share = all
            .saturating_mul(elapsed)
            .div_ceil(round.max(1))
            .clamp(all.min(1), all);
        for _ in 0..share {
            self.next = (self.next + 1).checked_rem(all).unwrap_or(0);
            self.tick_peer(self.next, now, out);
        }
        if self.refused_unsaid > 0 && is_due(self.refused_said_at, now) {
            let handshakes = std::mem::take(&mut self.refused_unsaid);
            self.refused_said_at = Some(now);
            self.say(TunnelEvent::Refused { handshakes });
        }
    }

    /// The next thing to record.
    pub fn poll_event(&mut self) -> Option<TunnelEvent> {
        self.events.pop_front()
    }

    /// The whole new list. Peers that are as they were keep their sessions; absent ones are cut at once.
    pub fn replace_peers(&mut self, peers: Vec<Peer>, now: Instant) {
        //= C9
        let mut wanted = vec![false; self.peers.len()];
        let mut prefixes = PrefixTable::new();
        for peer in peers {
            let known = self.by_key.get(&peer.public_key).copied();
            let known = known.filter(|slot| {
                // The same key for another device is another peer: nothing of the old one may count for it.
                let same = self
                    .peer(*slot)
                    .is_some_and(|live| live.policy.device == peer.device);
                if !same {
                    self.remove(*slot);
                }
                same
            });
            let allowed = peer.allowed.clone();
            let slot = match known {
                Some(slot) => {
                    self.update(slot, peer, now);
                    slot
                }
                None => self.insert(peer, now),
            };
            for prefix in allowed {
                let owner = prefixes.owner(prefix.addr());
                if !owner.is_some_and(|owner| self.speaks_for(owner, slot)) {
                    prefixes.insert(prefix, slot);
                }
            }
            if wanted.len() <= slot {
                wanted.resize(slot + 1, false);
            }
            if let Some(wanted) = wanted.get_mut(slot) {
                *wanted = true;
            }
        }
        for (slot, wanted) in wanted.into_iter().enumerate() {
            if !wanted {
                self.remove(slot);
            }
        }
        self.prefixes = prefixes;
    }

    /// Changes a known peer; says what is different now, in the words of the UAPI.
    pub fn change(&mut self, key: &[u8; 32], change: Change, now: Instant) -> Vec<&'static str> {
        let Some(slot) = self.by_key.get(key).copied() else {
            return Vec::new();
        };
        let mut what = Vec::new();
        if let Some(live) = self.peers.get_mut(slot).and_then(Option::as_deref_mut) {
            let here = live.path.map(|path| path.remote);
            if let Some(remote) = change.endpoint.filter(|remote| here != Some(*remote)) {
                live.path = Some(Path::from(remote));
                what.push("endpoint");
            }
            if let Some(keepalive) = change.keepalive.filter(|k| *k != live.keepalive) {
                live.set_keepalive(keepalive, now);
                what.push("persistent_keepalive_interval");
            }
            if let Some(key) = change
                .preshared_key
                .filter(|key| *key != live.preshared_key)
            {
                live.preshared_key = key;
                what.push("preshared_key");
            }
        }
        if what.contains(&"preshared_key") {
            self.restart(slot);
        }
        what
    }

    /// A local address is gone: peers that spoke to it are answered from whichever address fits.
    pub fn forget_local(&mut self, address: IpAddr) {
        for peer in self.peers.iter_mut().flatten() {
            if let Some(path) = &mut peer.path {
                path.local = path.local.filter(|local| *local != address);
            }
        }
    }

    /// All peers.
    pub fn views(&self) -> impl Iterator<Item = View<'_>> {
        self.peers.iter().flatten().map(|peer| peer.view())
    }

    /// One entry a peer.
    #[must_use]
    pub fn status(&self, now: Instant) -> Vec<PeerStatus> {
        let peers = self.peers.iter().flatten().map(|peer| peer.status(now));
        peers.collect()
    }

    /// What was dropped.
    #[must_use]
    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// Our own key.
    pub fn noise(&self) -> &N {
        &self.noise
    }

    fn receive_initiation(&mut self, datagram: &[u8], path: Path, now: Instant, out: &mut Output) {
        if !self.admit(datagram, path, now, out) {
            return;
        }
        let Some(key) = self.noise.initiator(datagram) else {
            self.drops.refused = self.drops.refused.saturating_add(1);
            return;
        };
        let slot = self.by_key.get(&key);
        let peer = slot.and_then(|slot| self.peers.get_mut(*slot)?.as_deref_mut());
        let Some(peer) = peer else {
            self.drops.unknown_key = self.drops.unknown_key.saturating_add(1);
            self.strangers.note(path.remote.ip(), key);
            self.refused_unsaid = self.refused_unsaid.saturating_add(1);
            return;
        };
        let space = out.datagrams.space(SPACE);
        let Opened::Reply(length) = peer.noise.open(datagram, space) else {
            self.drops.refused = self.drops.refused.saturating_add(1);
            return;
        };
        peer.answered(word(space, 4).unwrap_or_default());
        out.datagrams.commit(length, path);
        // A replayed initiation must not move a peer, so it moves with the first use of the session.
        peer.path = peer.path.or(Some(path));
    }

    fn receive_response(
        &mut self,
        datagram: &[u8],
        receiver: u32,
        path: Path,
        now: Instant,
        out: &mut Output,
    ) {
        let Some(slot) = self.by_index.get(&(receiver >> 8)).copied() else {
            self.drops.unknown_session = self.drops.unknown_session.saturating_add(1);
            return;
        };
        if !self.admit(datagram, path, now, out) {
            return;
        }
        let Some(peer) = by_session(&self.by_index, &mut self.peers, receiver) else {
            return;
        };
        let Opened::Reply(length) = peer.noise.open(datagram, out.datagrams.space(SPACE)) else {
            self.drops.refused = self.drops.refused.saturating_add(1);
            return;
        };
        out.datagrams.commit(length, path);
        peer.path = Some(path);
        peer.spoke(now);
        let is_first = peer.confirm(now);
        peer.flush(now, &mut out.datagrams);
        let device = peer.policy.device.clone();
        self.prefixes.give(&peer.policy.allowed, slot);
        if is_first {
            self.say(TunnelEvent::Up { device });
        }
    }

    fn receive_data(
        &mut self,
        datagram: &[u8],
        receiver: u32,
        path: Path,
        now: Instant,
        out: &mut Output,
    ) {
        let slot = self.by_index.get(&(receiver >> 8)).copied();
        let peer = slot.and_then(|slot| Some((slot, self.peers.get_mut(slot)?.as_deref_mut()?)));
        let Some((slot, peer)) = peer else {
            self.drops.unknown_session = self.drops.unknown_session.saturating_add(1);
            return;
        };
        let space = out.packets.space(datagram.len().max(SPACE));
        let opened = peer.noise.open(datagram, space);
        let length = match opened {
            Opened::Packet(length) => Some(length),
            Opened::Nothing | Opened::NotIp => None,
            Opened::Reply(_) | Opened::Refused => {
                self.drops.refused = self.drops.refused.saturating_add(1);
                return;
            }
        };
        peer.path = Some(path);
        peer.spoke(now);
        let mut is_first = false;
        if peer.first_use(receiver) {
            is_first = peer.confirm(now);
            peer.flush(now, &mut out.datagrams);
            self.prefixes.give(&peer.policy.allowed, slot);
        }
        let inner = length.and_then(|length| inner::parse(space.get(..length)?));
        match inner {
            //= C5
            Some(inner) if self.prefixes.owner(inner.source) == Some(slot) => {
                peer.received = peer
                    .received
                    .saturating_add(u64::try_from(inner.length).unwrap_or(0));
                out.packets.commit(inner.length, ());
            }
            Some(_) => {
                peer.spoofed = peer.spoofed.saturating_add(1);
                peer.spoofed_unsaid = peer.spoofed_unsaid.saturating_add(1);
                self.drops.spoofed = self.drops.spoofed.saturating_add(1);
            }
            None if opened == Opened::Nothing => {}
            None => self.drops.not_ip = self.drops.not_ip.saturating_add(1),
        }
        if is_first {
            let device = peer.policy.device.clone();
            self.say(TunnelEvent::Up { device });
        }
    }

    /// Whether a handshake message may cost us an exchange of keys. Answers with a cookie where a proof is needed.
    fn admit(&mut self, datagram: &[u8], path: Path, now: Instant, out: &mut Output) -> bool {
        let source = path.remote.ip();
        let space = out.datagrams.space(SPACE);
        if self.noise.verify(datagram, source, false, space) != Verified::Right {
            self.drops.mac = self.drops.mac.saturating_add(1);
            return false;
        }
        if self.gate.admit(source, now) {
            return true;
        }
        match self.noise.verify(datagram, source, true, space) {
            Verified::Right if self.gate.admit_proven(source, now) => return true,
            Verified::Challenge(length) => out.datagrams.commit(length, path),
            Verified::Right | Verified::Wrong => {}
        }
        self.drops.limited = self.drops.limited.saturating_add(1);
        self.refused_unsaid = self.refused_unsaid.saturating_add(1);
        false
    }

    fn tick_peer(&mut self, slot: usize, now: Instant, out: &mut Output) {
        let Some(peer) = self.peers.get_mut(slot).and_then(Option::as_deref_mut) else {
            return;
        };
        peer.tick(now, &mut self.chance, &mut out.datagrams);
        let device = &peer.policy.device;
        let mut events = [None, None];
        if peer.spoofed_unsaid > 0 && is_due(peer.spoofed_said_at, now) {
            peer.spoofed_said_at = Some(now);
            let packets = std::mem::take(&mut peer.spoofed_unsaid);
            events[0] = Some(TunnelEvent::Spoofed {
                device: device.clone(),
                packets,
            });
        }
        if peer.up && !peer.noise.established() {
            peer.up = false;
            events[1] = Some(TunnelEvent::Down {
                device: device.clone(),
            });
        }
        for event in events.into_iter().flatten() {
            self.say(event);
        }
    }

    fn peer(&self, slot: usize) -> Option<&Live<N::Peer>> {
        self.peers.get(slot)?.as_deref()
    }

    /// Whether it is the same device under another key, which shook hands later.
    fn speaks_for(&self, owner: usize, slot: usize) -> bool {
        let (Some(owner), Some(other)) = (self.peer(owner), self.peer(slot)) else {
            return false;
        };
        owner.policy.device == other.policy.device && owner.last_handshake > other.last_handshake
    }

    fn insert(&mut self, peer: Peer, now: Instant) -> usize {
        let index = self.draw_index();
        let key = peer.public_key;
        let noise = self.noise.peer(&key, peer.preshared_key.as_ref(), index);
        let live = Box::new(Live::new(peer, noise, index, &mut self.chance, now));
        let slot = self.free.pop().unwrap_or_else(|| {
            self.peers.push(None);
            self.peers.len() - 1
        });
        if let Some(place) = self.peers.get_mut(slot) {
            *place = Some(live);
        }
        self.by_key.insert(key, slot);
        self.by_index.insert(index, slot);
        slot
    }

    /// Takes over what changed in the policy and leaves all else, also what was changed live.
    fn update(&mut self, slot: usize, peer: Peer, now: Instant) {
        let Some(live) = self.peers.get_mut(slot).and_then(Option::as_deref_mut) else {
            return;
        };
        if let Some(endpoint) = peer
            .endpoint
            .filter(|_| peer.endpoint != live.policy.endpoint)
        {
            live.path = Some(Path::from(endpoint));
        }
        if peer.keepalive != live.policy.keepalive {
            live.set_keepalive(peer.keepalive, now);
        }
        let is_rekeyed = peer.preshared_key != live.policy.preshared_key
            && peer.preshared_key != live.preshared_key;
        if is_rekeyed {
            live.preshared_key = peer.preshared_key;
        }
        live.policy = peer;
        if is_rekeyed {
            self.restart(slot);
        }
    }

    /// The noise library cannot change a preshared key, so the peer begins anew.
    fn restart(&mut self, slot: usize) {
        let index = self.draw_index();
        let Some(live) = self.peers.get_mut(slot).and_then(Option::as_deref_mut) else {
            return;
        };
        let key = live.preshared_key.as_ref();
        let noise = self.noise.peer(&live.policy.public_key, key, index);
        self.by_index.remove(&live.index);
        self.by_index.insert(index, slot);
        if live.restart(noise, index) {
            let device = live.policy.device.clone();
            self.say(TunnelEvent::Down { device });
        }
    }

    fn remove(&mut self, slot: usize) {
        let Some(live) = self.peers.get_mut(slot).and_then(Option::take) else {
            return;
        };
        self.free.push(slot);
        self.by_key.remove(&live.policy.public_key);
        self.by_index.remove(&live.index);
        if live.up {
            self.say(TunnelEvent::Down {
                device: live.policy.device,
            });
        }
    }

    /// 24 bits that nobody can guess and nobody else has.
    fn draw_index(&mut self) -> u32 {
        loop {
            let [low, mid, high, ..] = self.chance.draw().to_le_bytes();
            let index = u32::from_le_bytes([low, mid, high, 0]);
            if !self.by_index.contains_key(&index) {
                return index;
            }
        }
    }

    fn say(&mut self, event: TunnelEvent) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        }
    }
}

fn by_session<'a, P>(
    by_index: &HashMap<u32, usize>,
    peers: &'a mut [Option<Box<Live<P>>>],
    receiver: u32,
) -> Option<&'a mut Live<P>> {
    let slot = by_index.get(&(receiver >> 8))?;
    peers.get_mut(*slot)?.as_deref_mut()
}

fn is_due(said_at: Option<Instant>, now: Instant) -> bool {
    said_at.is_none_or(|at| now.saturating_duration_since(at) >= Duration::from_secs(1))
}

fn size(packet: &[u8]) -> u64 {
    u64::try_from(packet.len()).unwrap_or(u64::MAX)
}

/// All peers have had their turn of [`Endpoint::tick`] within this time and one call; the protocol wants 250 ms.
pub const ROUND: Duration = Duration::from_millis(200);
/// The longest datagram that is opened: a jumbo frame.
pub const MAX_DATAGRAM: usize = 9216;
/// Data messages from this counter on are refused.
const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);
/// Most events that wait to be fetched.
const MAX_EVENTS: usize = 4096;

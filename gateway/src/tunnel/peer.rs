//! One peer: its sessions, its place in the network and when to speak to it.
//!
//! In: time and what happened. Out: datagrams to send.
//! Knows nothing of other peers. Keepalive and reconnection are here and not in the noise library,
//! whose own keepalive ends for ever after 90 seconds without an answer.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::chance::Chance;
use super::message::{Peer, PeerStatus};
use super::noise::{NoisePeer, SPACE, Sealed, Ticked};

/// A peer's address and the one of ours that it speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Theirs.
    pub remote: SocketAddr,
    /// Ours, if known: the answer leaves from the address that was asked.
    pub local: Option<IpAddr>,
}

impl From<SocketAddr> for Path {
    fn from(remote: SocketAddr) -> Self {
        Self {
            remote,
            local: None,
        }
    }
}

/// A change to one peer that is not a change of policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Where the peer is now.
    pub endpoint: Option<SocketAddr>,
    /// Seconds between keepalives; 0 is off.
    pub keepalive: Option<u16>,
    /// Another preshared key, or none from now on.
    pub preshared_key: Option<Option<[u8; 32]>>,
}

/// A peer as it is now.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// What the policy says. Preshared key, endpoint and keepalive are only where it began.
    pub policy: &'a Peer,
    /// The preshared key in use.
    pub preshared_key: Option<&'a [u8; 32]>,
    /// Where it is.
    pub endpoint: Option<SocketAddr>,
    /// Seconds between keepalives; 0 is off.
    pub keepalive: u16,
    /// When the last handshake was completed.
    pub last_handshake: Option<Instant>,
    /// Bytes received, decrypted.
    pub received: u64,
    /// Bytes sent, before encryption.
    pub sent: u64,
}

/// A peer as it is, beside what the policy says.
pub struct Live<P> {
    /// What the supervisor said last.
    pub(super) policy: Peer,
    pub(super) noise: P,
    /// Upper 24 bits of our session indices.
    pub(super) index: u32,
    pub(super) path: Option<Path>,
    pub(super) preshared_key: Option<[u8; 32]>,
    pub(super) keepalive: u16,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) spoofed: u64,
    pub(super) spoofed_unsaid: u64,
    pub(super) spoofed_said_at: Option<Instant>,
    pub(super) last_handshake: Option<Instant>,
    pub(super) up: bool,
    /// Sessions that we answered for and that the peer has not used yet, by their lowest three bits.
    unconfirmed: [Option<u32>; 8],
    /// When the next keepalive is due, if there is any.
    keepalive_at: Instant,
    retry: Retry,
}

/// Reconnection after the noise library gave up.
#[derive(Default)]
struct Retry {
    attempt: u32,
    at: Option<Instant>,
}

impl<P: NoisePeer> Live<P> {
    pub(super) fn new(
        policy: Peer,
        noise: P,
        index: u32,
        chance: &mut Chance,
        now: Instant,
    ) -> Self {
        // Ten thousand peers that are told to keep alive must not all speak at once.
        let first = Duration::from_secs(policy.keepalive.into()).min(FIRST_WITHIN);
        Self {
            noise,
            index,
            path: policy.endpoint.map(Path::from),
            preshared_key: policy.preshared_key,
            keepalive: policy.keepalive,
            received: 0,
            sent: 0,
            spoofed: 0,
            spoofed_unsaid: 0,
            spoofed_said_at: None,
            last_handshake: None,
            up: false,
            unconfirmed: [None; 8],
            keepalive_at: now + chance.below(first),
            retry: Retry::default(),
            policy,
        }
    }

    pub(super) fn view(&self) -> View<'_> {
        View {
            policy: &self.policy,
            preshared_key: self.preshared_key.as_ref(),
            endpoint: self.path.map(|path| path.remote),
            keepalive: self.keepalive,
            last_handshake: self.last_handshake,
            received: self.received,
            sent: self.sent,
        }
    }

    pub(super) fn status(&self, now: Instant) -> PeerStatus {
        let since = self
            .last_handshake
            .map(|at| now.saturating_duration_since(at));
        PeerStatus {
            device: self.policy.device.clone(),
            endpoint: self.path.map(|path| path.remote),
            handshake_seconds: since.map(|since| since.as_secs()),
            received: self.received,
            sent: self.sent,
            spoofed: self.spoofed,
        }
    }

    /// Another keepalive from now on; the first is due at once.
    pub(super) fn set_keepalive(&mut self, seconds: u16, now: Instant) {
        self.keepalive = seconds;
        self.keepalive_at = now;
    }

    /// Something authentic went one way or the other.
    pub(super) fn spoke(&mut self, now: Instant) {
        self.keepalive_at = now + Duration::from_secs(self.keepalive.into());
    }

    /// We answered a handshake: the session counts when the peer uses it.
    pub(super) fn answered(&mut self, session: u32) {
        if let Some(slot) = self.unconfirmed.get_mut(slot(session)) {
            *slot = Some(session);
        }
    }

    /// Whether this use of a session is the first, after our answer.
    pub(super) fn first_use(&mut self, session: u32) -> bool {
        let slot = self.unconfirmed.get_mut(slot(session));
        slot.and_then(|slot| slot.take_if(|answered| *answered == session))
            .is_some()
    }

    /// Without any session, as at the beginning. True when there was one.
    pub(super) fn restart(&mut self, noise: P, index: u32) -> bool {
        (self.noise, self.index) = (noise, index);
        self.unconfirmed = [None; 8];
        self.retry = Retry::default();
        std::mem::replace(&mut self.up, false)
    }

    /// A session is confirmed by both ends. True when there was none before.
    pub(super) fn confirm(&mut self, now: Instant) -> bool {
        self.last_handshake = Some(now);
        self.retry = Retry::default();
        !std::mem::replace(&mut self.up, true)
    }

    /// Seals into the batch, or nothing: without a path there is nobody to queue for.
    pub(super) fn seal(&mut self, packet: &[u8], now: Instant, out: &mut Batch<Path>) -> bool {
        let Some(path) = self.path else { return false };
        let space = out.space(
            packet
                .len()
                .saturating_add(super::noise::OVERHEAD)
                .max(SPACE),
        );
        if let Sealed::Datagram(length) = self.noise.seal(packet, space) {
            out.commit(length, path);
            self.spoke(now);
        }
        true
    }

    /// Seals what waited for a session.
    pub(super) fn flush(&mut self, now: Instant, out: &mut Batch<Path>) {
        for _ in 0..MAX_QUEUED {
            let Some(path) = self.path else { return };
            let space = out.space(super::wireguard::MAX_DATAGRAM);
            let Sealed::Datagram(length) = self.noise.seal_queued(space) else {
                return;
            };
            out.commit(length, path);
            self.spoke(now);
        }
    }

    /// What the time asks for. To be called every 250 ms.
    pub(super) fn tick(&mut self, now: Instant, chance: &mut Chance, out: &mut Batch<Path>) {
        let expired = match self.noise.tick(out.space(SPACE)) {
            Ticked::Datagram(length) => {
                self.send(length, now, out);
                false
            }
            Ticked::Nothing => false,
            Ticked::Expired => true,
        };
        if self.keepalive == 0 || self.path.is_none() {
            return;
        }
        if expired {
            self.reconnect(now, chance, out);
        } else if now >= self.keepalive_at {
            self.spoke(now);
            let space = out.space(SPACE);
            let sealed = if self.noise.established() {
                self.noise.seal(&[], space)
            } else {
                self.noise.initiate(false, space)
            };
            if let Sealed::Datagram(length) = sealed {
                self.send(length, now, out);
            }
        }
    }

    /// For ever, at growing distances, never in step with others.
    fn reconnect(&mut self, now: Instant, chance: &mut Chance, out: &mut Batch<Path>) {
        let Some(at) = self.retry.at else {
            let most = FIRST_RETRY
                .saturating_mul(1 << self.retry.attempt.min(8))
                .min(LAST_RETRY);
            self.retry.at = Some(now + most / 4 + chance.below(most - most / 4));
            return;
        };
        if now >= at {
            self.retry.attempt = self.retry.attempt.saturating_add(1);
            self.retry.at = None;
            if let Sealed::Datagram(length) = self.noise.initiate(true, out.space(SPACE)) {
                self.send(length, now, out);
            }
        }
    }

    fn send(&mut self, length: usize, now: Instant, out: &mut Batch<Path>) {
        if let Some(path) = self.path {
            out.commit(length, path);
            self.spoke(now);
        }
    }
}

fn slot(session: u32) -> usize {
    usize::try_from(session % 8).unwrap_or_default()
}

/// The first handshake of a peer with keepalive begins within this time.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
/// The first pause after handshakes were given up.
const FIRST_RETRY: Duration = Duration::from_secs(4);
/// The longest pause.
const LAST_RETRY: Duration = Duration::from_secs(60);
/// At least what the library queues.
const MAX_QUEUED: usize = 512;

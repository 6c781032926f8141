//! The wall around the library that speaks the Noise protocol, so that another can take its place.
//!
//! In: datagrams and inner packets. Out: what to send, what came in, or a refusal.
//! Knows nothing of addresses of peers, of limits or of when to call again.
//! boringtun reads the clock itself; all else in this room is told the time.

use std::net::IpAddr;
use std::sync::Arc;

use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// Our own static key: makes peers and judges handshakes before they have a peer.
pub trait Noise {
    /// One peer's handshakes and sessions.
    type Peer: NoisePeer;

    /// A peer without a session. `index` is the upper 24 bits of its session indices.
    fn peer(
        &self,
        public_key: &[u8; 32],
        preshared_key: Option<&[u8; 32]>,
        index: u32,
    ) -> Self::Peer;

    /// Checks the MACs of a handshake message; with `proof`, also that the sender receives at `source`.
    /// `out` has [`SPACE`] bytes.
    fn verify(&self, datagram: &[u8], source: IpAddr, proof: bool, out: &mut [u8]) -> Verified;

    /// The static public key inside an initiation; its MACs have been checked.
    fn initiator(&self, initiation: &[u8]) -> Option<[u8; 32]>;

    /// Our static private key.
    fn private_key(&self) -> Zeroizing<[u8; 32]>;
}

/// One peer's handshakes and sessions. Every `out` has [`SPACE`] bytes and [`OVERHEAD`] more than the input.
pub trait NoisePeer {
    /// Opens a datagram of this peer; handshake messages have been verified.
    fn open(&mut self, datagram: &[u8], out: &mut [u8]) -> Opened;

    /// Seals an inner packet, or an empty one as keepalive. Without a session it is queued and a handshake begun.
    fn seal(&mut self, packet: &[u8], out: &mut [u8]) -> Sealed;

    /// Seals the next packet that waited for a session.
    fn seal_queued(&mut self, out: &mut [u8]) -> Sealed;

    /// Begins a handshake; with `again`, also when one is under way or was given up.
    fn initiate(&mut self, again: bool, out: &mut [u8]) -> Sealed;

    /// To be called every 250 ms: keys die in here and nowhere else.
    fn tick(&mut self, out: &mut [u8]) -> Ticked;

    /// Whether there is a session to seal with.
    fn established(&self) -> bool;
}

/// What the MACs say. Lengths are of what was written to `out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// They are right.
    Right,
    /// The first is right; this cookie reply asks for the second.
    Challenge(usize),
    /// They are wrong.
    Wrong,
}

/// What a datagram held. Lengths are of what was written to `out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A handshake message; this is the answer.
    Reply(usize),
    /// An inner packet.
    Packet(usize),
    /// A keepalive or a cookie.
    Nothing,
    /// Authentic, but not an IP packet.
    NotIp,
    /// Not authentic, a replay, or without a session.
    Refused,
}

/// What to send. Lengths are of what was written to `out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// This.
    Datagram(usize),
    /// Nothing, for now.
    Nothing,
}

/// What the passage of time asks for. Lengths are of what was written to `out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticked {
    /// Send this.
    Datagram(usize),
    /// Nothing.
    Nothing,
    /// Handshakes were given up; keys and queue are gone.
    Expired,
}

/// Longest handshake message.
pub const SPACE: usize = 148;
/// What sealing adds to a packet.
pub const OVERHEAD: usize = 32;

/// boringtun.
pub struct Boring {
    secret: StaticSecret,
    public: PublicKey,
    /// Checks the first MAC only.
    unlimited: Arc<RateLimiter>,
    /// Always asks for the second MAC. Cookies come from here and are checked here.
    limited: RateLimiter,
}

impl Boring {
    /// Takes our static private key.
    #[must_use]
    pub fn new(private_key: Zeroizing<[u8; 32]>) -> Self {
        let secret = StaticSecret::from(*private_key);
        let public = PublicKey::from(&secret);
        // The library's own count is of the whole socket and would put every peer under the cookie of one flooder,
        // and each `Tunn` would count again what was counted at the door. So the two ends of the scale are used,
        // and the choice between them is ours (`limits`). Neither ever needs `reset_count`.
        Self {
            unlimited: Arc::new(RateLimiter::new(&public, u64::MAX)),
            limited: RateLimiter::new(&public, 0),
            secret,
            public,
        }
    }

    /// Our static public key.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.public.to_bytes()
    }
}

impl Noise for Boring {
    type Peer = Tunn;

    fn peer(
        &self,
        public_key: &[u8; 32],
        preshared_key: Option<&[u8; 32]>,
        index: u32,
    ) -> Self::Peer {
        // No persistent keepalive: the library's stops for ever after 90 s of silence (see `peer`).
        Tunn::new(
            self.secret.clone(),
            PublicKey::from(*public_key),
            preshared_key.copied(),
            None,
            index,
            Some(Arc::clone(&self.unlimited)),
        )
    }

    fn verify(&self, datagram: &[u8], source: IpAddr, proof: bool, out: &mut [u8]) -> Verified {
        let limiter = if proof {
            &self.limited
        } else {
            &*self.unlimited
        };
        match limiter.verify_packet(Some(source), datagram, out) {
            Ok(_) => Verified::Right,
            Err(TunnResult::WriteToNetwork(cookie)) => Verified::Challenge(cookie.len()),
            Err(
                TunnResult::Err(_)
                | TunnResult::Done
                | TunnResult::WriteToTunnelV4(..)
                | TunnResult::WriteToTunnelV6(..),
            ) => Verified::Wrong,
        }
    }

    fn initiator(&self, initiation: &[u8]) -> Option<[u8; 32]> {
        let Ok(Packet::HandshakeInit(message)) = Tunn::parse_incoming_packet(initiation) else {
            return None;
        };
        let half = parse_handshake_anon(&self.secret, &self.public, &message).ok()?;
        Some(half.peer_static_public)
    }

    fn private_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.secret.to_bytes())
    }
}

impl NoisePeer for Tunn {
    fn open(&mut self, datagram: &[u8], out: &mut [u8]) -> Opened {
        // An empty datagram would flush the queue; too little room would panic.
        if datagram.is_empty() || out.len() < datagram.len().max(SPACE) {
            return Opened::Refused;
        }
        match self.decapsulate(None, datagram, out) {
            TunnResult::Done => Opened::Nothing,
            TunnResult::WriteToNetwork(reply) => Opened::Reply(reply.len()),
            TunnResult::WriteToTunnelV4(packet, _) => Opened::Packet(packet.len()),
            TunnResult::WriteToTunnelV6(packet, _) => Opened::Packet(packet.len()),
            TunnResult::Err(boringtun::noise::errors::WireGuardError::InvalidPacket) => {
                Opened::NotIp
            }
            TunnResult::Err(_) => Opened::Refused,
        }
    }

    fn seal(&mut self, packet: &[u8], out: &mut [u8]) -> Sealed {
        if out.len() < packet.len().saturating_add(OVERHEAD).max(SPACE) {
            return Sealed::Nothing;
        }
        sealed(&self.encapsulate(packet, out))
    }

    fn seal_queued(&mut self, out: &mut [u8]) -> Sealed {
        sealed(&self.decapsulate(None, &[], out))
    }

    fn initiate(&mut self, again: bool, out: &mut [u8]) -> Sealed {
        sealed(&self.format_handshake_initiation(out, again))
    }

    fn tick(&mut self, out: &mut [u8]) -> Ticked {
        match self.update_timers(out) {
            TunnResult::WriteToNetwork(datagram) => Ticked::Datagram(datagram.len()),
            TunnResult::Err(_) => Ticked::Expired,
            TunnResult::Done
            | TunnResult::WriteToTunnelV4(..)
            | TunnResult::WriteToTunnelV6(..) => Ticked::Nothing,
        }
    }

    fn established(&self) -> bool {
        self.time_since_last_handshake().is_some()
    }
}

fn sealed(result: &TunnResult<'_>) -> Sealed {
    match result {
        TunnResult::WriteToNetwork(datagram) => Sealed::Datagram(datagram.len()),
        TunnResult::Done
        | TunnResult::Err(_)
        | TunnResult::WriteToTunnelV4(..)
        | TunnResult::WriteToTunnelV6(..) => Sealed::Nothing,
    }
}

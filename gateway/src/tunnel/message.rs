//! What the supervisor and the WireGuard worker say to each other.

use std::fmt;
use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::flow::DeviceName;

/// Supervisor to tunnel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToTunnel {
    /// First message. Descriptors in this order: TUN, private key file, UAPI listener, then the UDP sockets.
    Start {
        /// Name of the TUN and of the UAPI socket.
        interface: String,
        /// MTU of the TUN.
        mtu: u16,
        /// Whether the TUN carries a virtio-net header before each packet.
        vnet_hdr: bool,
        /// Whether UDP segmentation offload may be used.
        gso: bool,
        /// Everybody who may speak.
        peers: Vec<Peer>,
    },
    /// The whole new list; unchanged peers keep their sessions, absent ones are cut at once.
    Peers(Vec<Peer>),
    /// Asks for [`FromTunnel::Status`].
    Status {
        /// Comes back with the answer.
        request: u64,
    },
    /// Say goodbye to nobody, zero the keys and exit.
    Stop,
}

/// One device that may speak, and its addresses.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Whose key it is.
    pub device: DeviceName,
    /// The static public key.
    pub public_key: [u8; 32],
    /// Preshared key.
    pub preshared_key: Option<[u8; 32]>,
    /// Inner source addresses that are this peer's own.
    pub allowed: Vec<IpNet>,
    /// Where the peer is, if known beforehand.
    pub endpoint: Option<SocketAddr>,
    /// Seconds between keepalives; 0 is off. One end is enough, the one behind the narrower way: two would
    /// begin handshakes against each other.
    pub keepalive: u16,
}

impl fmt::Debug for Peer {
    /// Without the preshared key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("device", &self.device)
            .field("allowed", &self.allowed)
            .field("endpoint", &self.endpoint)
            .field("keepalive", &self.keepalive)
            .finish_non_exhaustive()
    }
}

/// Tunnel to supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromTunnel {
    /// Sealed and passing packets.
    Ready,
    /// Something to record.
    Event(TunnelEvent),
    /// Answer to [`ToTunnel::Status`].
    Status {
        /// Of the question.
        request: u64,
        /// One entry a peer.
        peers: Vec<PeerStatus>,
        /// Datagrams dropped before they reached a peer: bad MAC, unknown peer, unknown index, over a limit.
        dropped: u64,
        /// Handshakes of unknown keys since the last answer.
        #[serde(default)]
        strangers: Vec<Stranger>,
    },
}

/// Handshakes of a key that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stranger {
    /// Where they came from, as their datagrams claim.
    pub source: std::net::IpAddr,
    /// The key.
    pub key: [u8; 32],
    /// How many.
    pub handshakes: u64,
}

/// What an operator or an auditor wants to know of the tunnel. Rate-limited by the worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TunnelEvent {
    /// A handshake was completed after none was valid.
    Up {
        /// Who.
        device: DeviceName,
    },
    /// The last session of the device expired.
    Down {
        /// Who.
        device: DeviceName,
    },
    /// Inner packets with a source that is not the device's own were dropped (C5).
    Spoofed {
        /// Whose key carried them.
        device: DeviceName,
        /// How many since the last event.
        packets: u64,
    },
    /// Handshakes of unknown keys, or over a source's limit, were dropped.
    Refused {
        /// How many since the last event.
        handshakes: u64,
    },
    /// A UAPI `set` changed a known peer.
    Changed {
        /// Which.
        device: DeviceName,
        /// `endpoint`, `persistent_keepalive_interval`, `preshared_key`.
        what: String,
    },
    /// A UAPI `set` contradicted the policy and was refused.
    Contradicted {
        /// The key of the request that was refused.
        what: String,
    },
}

/// How one peer fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Whose key it is.
    pub device: DeviceName,
    /// Where the peer is.
    pub endpoint: Option<SocketAddr>,
    /// Seconds since the last completed handshake.
    pub handshake_seconds: Option<u64>,
    /// Bytes received, decrypted.
    pub received: u64,
    /// Bytes sent, before encryption.
    pub sent: u64,
    /// Inner packets dropped for their source.
    pub spoofed: u64,
}

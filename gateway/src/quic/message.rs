//! What the supervisor and the process `tunnel-quic` say to each other. Closed, and small.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use lazaret_config::{PostQuantum, Transport};
use serde::{Deserialize, Serialize};

use crate::flow::{DeviceName, Priority, ServiceName, Standing};
use crate::pki::message::{Serial, ServerIdentity, Trust};
use crate::tunnel::message::Stranger;

/// Supervisor to tunnel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToQuic {
    /// First message. Descriptors in this order: TUN, then the UDP sockets.
    Start {
        /// How it works.
        settings: Settings,
        /// Everybody who may come in.
        members: Vec<Member>,
    },
    /// Who the gateway is and whom it believes; the descriptor beside it is the end of a door to the signer.
    /// Until the first one nobody gets in. Sessions whose certificate is not believed any more are ended at once.
    Identity {
        /// The gateway's own certificate.
        server: Box<ServerIdentity>,
        /// Whose certificates are believed.
        trust: Trust,
    },
    /// The whole new list; sessions of those who are not in it are ended at once.
    //= C9
    Members(Vec<Member>),
    /// Who may not come in though the certificate is believed, so that the device can be told why; the whole new list.
    /// It decides nothing: who is not a member stays out.
    Barred(Vec<(DeviceName, Standing)>),
    /// Ends the session of a device; it may come again.
    End {
        /// Whose.
        device: DeviceName,
    },
    /// The gateway is about to restart: whoever has a tunnel hears it, and whoever gets one until it is not so any more.
    Leaving(bool),
    /// Say goodbye to everybody and exit.
    Stop,
}

/// How the tunnel works; fixed while the process lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Name of the TUN.
    pub interface: String,
    /// MTU of the TUN.
    pub mtu: u16,
    /// Whether the TUN carries a virtio-net header before each packet.
    pub vnet_hdr: bool,
    /// The UDP payload that every path is believed to carry.
    pub initial_mtu: u16,
    /// Whether UDP segmentation offload may be used.
    pub segmentation_offload: bool,
    /// Which key exchange is offered.
    pub post_quantum: PostQuantum,
    /// The gateway's own addresses inside, from which errors are sent (ICMP).
    pub own: Vec<IpAddr>,
}

/// A device that may come in, and its addresses inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Whose certificate it is.
    pub device: DeviceName,
    /// At most one of each family.
    pub addresses: Vec<IpAddr>,
    /// What it may use at the moment, which is what it is told to send through the tunnel.
    pub services: Vec<Offer>,
}

/// A service that a device may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// What it is called.
    pub name: ServiceName,
    /// Where it is.
    pub address: IpAddr,
    /// Over what.
    pub transport: Transport,
    /// At which port.
    pub port: u16,
    /// When the access ends, if that is known.
    pub ends: Option<Timestamp>,
    /// The highest of the rules by which it may.
    pub priority: Priority,
}

/// Tunnel to supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromQuic {
    /// Sealed; it lets in whom it is told to once it has an identity.
    Ready,
    /// The identity that it was told last cannot be used.
    NoIdentity {
        /// Why.
        why: String,
    },
    /// Something to record.
    Event(QuicEvent),
    /// Certificates that are nobody's here, by source, since the last time; `key` is the fingerprint of theirs.
    Strangers(Vec<Stranger>),
    /// The sessions and what went through them, now and then, and always when one began or ended.
    Sessions(Vec<SessionFigures>),
}

/// What an auditor wants to know of the tunnel. Refusals are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QuicEvent {
    /// A device has its addresses.
    Began {
        /// Who.
        device: DeviceName,
        /// The number of its certificate.
        certificate: Serial,
        /// From where.
        peer: SocketAddr,
        /// `X25519MLKEM768`, `X25519`, ….
        key_exchange: String,
    },
    /// It is gone.
    Ended {
        /// Who.
        device: DeviceName,
        /// How long it was there.
        seconds: u64,
        /// Bytes of packets from it.
        received: u64,
        /// Bytes of packets to it.
        sent: u64,
        /// Why.
        why: String,
    },
    /// Inner packets with a source that is not the device's own were dropped (C5).
    Spoofed {
        /// Whose certificate brought them.
        device: DeviceName,
        /// How many since the last event.
        packets: u64,
    },
    /// Somebody was not let in.
    Refused {
        /// Why.
        why: String,
        /// Who it said to be, if its certificate was one of ours.
        device: Option<DeviceName>,
        /// From where, the first time.
        peer: SocketAddr,
        /// How often since the last such event.
        times: u64,
    },
}

/// How one session fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionFigures {
    /// Whose.
    pub device: DeviceName,
    /// Where it is now.
    pub peer: SocketAddr,
    /// How long it is there.
    pub seconds: u64,
    /// The key exchange of its handshake.
    pub key_exchange: String,
    /// Bytes of packets from it.
    pub received: u64,
    /// Bytes of packets to it.
    pub sent: u64,
    /// Packets dropped for their source.
    pub spoofed: u64,
    /// Packets to it that were dropped because its path is slower than what was sent.
    pub crowded: u64,
    /// Packets from it that are no whole IP packet, or whose destination is for one link only.
    pub malformed: u64,
    /// Round trip in microseconds.
    pub rtt_micros: u64,
}

//! The door of the tunnel: whose datagrams become a handshake, and whose handshake a connection.
//!
//! In: what quinn hears on a socket. Out: connections whose certificate is believed, and refusals with their reason.
//! Everybody proves the own address first (Retry), so that a flood of spoofed packets costs an answer each and no memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::{ConnectionError, Endpoint, Incoming, TransportErrorCode, VarInt};
use tokio::sync::{Semaphore, mpsc};
use tracing::debug;

use super::refusals::Why;
use super::worker::News;
use crate::flow::Clock;
use crate::key_exchange::shake;
use crate::tunnel::limits::{self, Gate};

/// What the listeners of all sockets share.
pub(super) struct Entrance {
    pub(super) gate: Mutex<Gate>,
    pub(super) handshakes: Arc<Semaphore>,
    /// Of those, how many each source has.
    places: Mutex<HashMap<u64, usize>>,
    pub(super) news: mpsc::Sender<News>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Entrance {
    pub(super) fn new(news: mpsc::Sender<News>, clock: Arc<dyn Clock>) -> Self {
        Self {
            gate: Mutex::new(Gate::new(clock.now())),
            handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES)),
            places: Mutex::new(HashMap::new()),
            news,
            clock,
        }
    }

    /// Listens at one socket until the process ends.
    pub(super) async fn stand(self: Arc<Self>, endpoint: Endpoint) {
        while let Some(incoming) = endpoint.accept().await {
            let peer = incoming.remote_address();
            if let Err(why) = self.meet(&endpoint, incoming) {
                // A worker that does not keep up loses counts, and not its connections.
                let _ = self.news.try_send(News::Refused {
                    why,
                    peer,
                    foreign: None,
                });
            }
        }
    }

    //= C7
    fn meet(self: &Arc<Self>, endpoint: &Endpoint, incoming: Incoming) -> Result<(), Why> {
        if !incoming.remote_address_validated() {
            if let Err(error) = incoming.retry() {
                error.into_incoming().refuse();
            }
            return Ok(());
        }
        let peer = incoming.remote_address();
        let admitted = {
            let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
            gate.admit_proven(peer.ip(), self.clock.now())
        };
        if !admitted {
            incoming.refuse();
            return Err(Why::from("too many handshakes"));
        }
        if endpoint.open_connections() >= MAX_CONNECTIONS {
            incoming.refuse();
            return Err(Why::from("too many connections"));
        }
        let Ok(permit) = Arc::clone(&self.handshakes).try_acquire_owned() else {
            incoming.refuse();
            return Err(Why::from("too many handshakes at once"));
        };
        let Some(place) = Place::take(self, peer.ip()) else {
            incoming.refuse();
            return Err(Why::from("too many handshakes at once"));
        };
        let within = if self.handshakes.available_permits() < MAX_HANDSHAKES / 2 {
            HURRIED
        } else {
            HANDSHAKE_WITHIN
        };
        let connecting = match incoming.accept() {
            Ok(connecting) => connecting,
            Err(error) => return Err(reason(&error)),
        };
        let entrance = Arc::clone(self);
        tokio::spawn(async move {
            let shaken = tokio::time::timeout(within, shake(connecting)).await;
            let news = match shaken {
                Ok(Ok(connection)) => News::Arrived { connection },
                Ok(Err((error, foreign))) => {
                    debug!(%error, "a handshake failed");
                    let why = reason(&error);
                    News::Refused { why, peer, foreign }
                }
                Err(_) => News::Refused {
                    why: Why::from("the handshake took too long"),
                    peer,
                    foreign: None,
                },
            };
            drop((permit, place));
            // The worker may be gone.
            drop(entrance.news.send(news).await);
        });
        Ok(())
    }
}

/// One of the handshakes that a source may have at once, until it is dropped.
pub(super) struct Place {
    entrance: Arc<Entrance>,
    source: u64,
}

impl Place {
    /// Whoever begins handshakes and goes silent takes no more than its own places.
    //= C7
    pub(super) fn take(entrance: &Arc<Entrance>, source: IpAddr) -> Option<Self> {
        let source = limits::key(source);
        let mut places = (entrance.places.lock()).unwrap_or_else(PoisonError::into_inner);
        let taken = places.entry(source).or_default();
        if *taken >= HANDSHAKES_OF_ONE {
            return None;
        }
        *taken = taken.saturating_add(1);
        let entrance = Arc::clone(entrance);
        Some(Self { entrance, source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let places = self.entrance.places.lock();
        let mut places = places.unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut taken) = places.entry(self.source) {
            *taken.get_mut() = taken.get().saturating_sub(1);
            if *taken.get() == 0 {
                taken.remove();
            }
        }
    }
}

/// For the journal: what TLS said, in words of ours, never in those of the peer.
fn reason(error: &ConnectionError) -> Why {
    let text = match error {
        ConnectionError::TransportError(error) => return alert(error.code),
        ConnectionError::ConnectionClosed(_) => "the device did not want to go on",
        ConnectionError::ApplicationClosed(_) => "the device went away",
        ConnectionError::VersionMismatch => "another version of QUIC",
        ConnectionError::Reset => "the connection was reset",
        ConnectionError::TimedOut => "the device fell silent",
        ConnectionError::LocallyClosed => "the gateway closed the connection",
        ConnectionError::CidsExhausted => "there are no more connection identifiers",
    };
    text.into()
}

/// The alerts of TLS (RFC 8446 6.2) are errors of QUIC from 0x100 on (RFC 9001 4.8).
fn alert(code: TransportErrorCode) -> Why {
    let text = match u64::from(code).checked_sub(0x100) {
        Some(40) => "no key exchange that both ends offer",
        Some(42) => "the certificate is malformed",
        Some(43) => "the certificate is for another use",
        Some(44) => "the certificate is revoked",
        Some(45) => "the certificate is expired or not valid yet",
        Some(48) => "the certificate is not of the gateway's authority",
        Some(49) => "the certificate is not one of a device",
        Some(51) => "a signature of the certificate or the handshake is wrong",
        Some(70) => "another version of TLS",
        Some(80) => "the handshake could not be signed",
        Some(116) => "there was no certificate",
        Some(120) => "another protocol than HTTP/3",
        Some(0..=0xff) => "the handshake failed",
        Some(_) | None => return broken(code),
    };
    text.into()
}

/// A rule of QUIC was broken: which (RFC 9000 20.1).
pub(super) fn broken(code: TransportErrorCode) -> Why {
    let name = match u64::from(code) {
        // Among others: more gaps in a stream than are kept.
        0x01 => "INTERNAL_ERROR",
        0x03 => "FLOW_CONTROL_ERROR",
        0x04 => "STREAM_LIMIT_ERROR",
        0x05 => "STREAM_STATE_ERROR",
        0x06 => "FINAL_SIZE_ERROR",
        0x07 => "FRAME_ENCODING_ERROR",
        0x08 => "TRANSPORT_PARAMETER_ERROR",
        0x09 => "CONNECTION_ID_LIMIT_ERROR",
        0x0a => "PROTOCOL_VIOLATION",
        0x0b => "INVALID_TOKEN",
        0x0d => "CRYPTO_BUFFER_EXCEEDED",
        0x0e => "KEY_UPDATE_ERROR",
        0x0f => "AEAD_LIMIT_REACHED",
        _ => return Why::from("QUIC was broken"),
    };
    Why {
        code: Some(name),
        text: "QUIC was broken",
    }
}

/// Closes a connection that may not stay; the text is for the user of the client.
pub(super) fn close(connection: &quinn::Connection, code: crate::masque::Code, why: &str) {
    let code = VarInt::from_u64(code.value()).unwrap_or(VarInt::MAX);
    connection.close(code, why.as_bytes());
}

/// Where a peer is, without the form of IPv4 inside of IPv6.
pub(super) fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// Handshakes at once.
//= C7
const MAX_HANDSHAKES: usize = 256;
/// Of those, of one IPv4 address or one IPv6 /64: many desks behind one router begin together after a restart.
//= C7
const HANDSHAKES_OF_ONE: usize = 16;
/// Connections of one socket.
//= C7
const MAX_CONNECTIONS: usize = 8192;
/// From the first packet after the proof of the address to the end.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// The same while half of all places are taken.
const HURRIED: Duration = Duration::from_secs(3);

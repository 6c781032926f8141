//! How quinn carries the tunnel: bounds, timers, MTU.
//!
//! In: the settings. Out: configurations for quinn. Every bound here is one that a peer can reach.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto;
use quinn::{
    ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, ServerConfig,
    TransportConfig, VarInt,
};

use super::message::Settings;
use crate::pace;
use crate::tunnel::chance::Chance;

/// For the listener.
pub(super) fn server(crypto: Arc<dyn crypto::ServerConfig>, settings: &Settings) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(crypto);
    config
        .transport_config(Arc::new(transport(settings)))
        .migration(true)
        .retry_token_lifetime(RETRY_LIFETIME)
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(INCOMING_BUFFER)
        .incoming_buffer_size_total(INCOMING_BUFFERS);
    // No tokens for later connections: an address is proved each time.
    config.validation_token.sent(0);
    config
}

/// For one socket; `seed` is nobody else's.
pub(super) fn endpoint(seed: [u8; 32]) -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.cid_generator(move || Box::new(ConnectionIds(Chance::new(seed))));
    config
}

/// Names of connections, of 64 bits of chance.
///
/// Those of quinn hold 24. It does not ask whether the name in a Retry is in use: with thousands of connections, each
/// of several names, one handshake in a thousand would go to somebody else's connection and wait in vain.
struct ConnectionIds(Chance);

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.0.draw().to_le_bytes())
    }

    fn cid_len(&self) -> usize {
        size_of::<u64>()
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn transport(settings: &Settings) -> TransportConfig {
    let mut transport = TransportConfig::default();
    pace::configure(&mut transport);
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS))
        .max_concurrent_bidi_streams(VarInt::from_u32(BIDI_STREAMS))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        .send_window(u64::from(WINDOW))
        .crypto_buffer_size(CRYPTO_BUFFER)
        .datagram_receive_buffer_size(Some(DATAGRAMS_IN))
        .initial_mtu(settings.initial_mtu)
        // What every path carries is not doubted because of losses.
        .min_mtu(settings.initial_mtu)
        .enable_segmentation_offload(settings.segmentation_offload)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MS))));
    transport
}

/// Datagrams that wait to be read on a connection, in bytes.
//= C7
const DATAGRAMS_IN: usize = 1 << 20;
/// Control stream, both of QPACK, and some of kinds that we skip (RFC 9114 6.2).
//= C7
const UNI_STREAMS: u32 = 8;
/// The tunnel is one request; another is refused by name and not by silence.
//= C7
const BIDI_STREAMS: u32 = 4;
/// Bytes that may wait on one stream.
//= C7
const STREAM_WINDOW: u32 = 64 << 10;
/// Bytes that may wait on all streams of a connection.
//= C7
const WINDOW: u32 = 256 << 10;
/// A chain of certificates; longer ones are no handshake.
//= C7
const CRYPTO_BUFFER: usize = 16 << 10;
/// Handshakes that wait to be looked at.
//= C7
const MAX_INCOMING: usize = 256;
/// Bytes that may come before a handshake is looked at.
//= C7
const INCOMING_BUFFER: u64 = 16 << 10;
/// Of all together.
//= C7
const INCOMING_BUFFERS: u64 = 1 << 20;
/// How long a proof of an address counts.
const RETRY_LIFETIME: Duration = Duration::from_secs(15);
/// Mappings in routers of homes last 30 s.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A device that changes its network has this long.
const IDLE_MS: u32 = 60_000;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// As many as 16,000 connections have at a time: of 24 bits, some hundred would be there twice.
    #[test]
    fn no_two_connections_have_one_name() {
        let mut names = ConnectionIds(Chance::new([7; 32]));
        let all: HashSet<ConnectionId> = (0..80_000).map(|_| names.generate_cid()).collect();
        assert_eq!(all.len(), 80_000);
        assert!(all.iter().all(|name| name.len() == names.cid_len()));
    }
}

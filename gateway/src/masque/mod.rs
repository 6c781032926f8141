//! CONNECT-IP over HTTP/3, as bytes: what a tunnel of QUIC says besides QUIC (RFC 9114, 9204, 9297, 9484).
//!
//! In: the bytes of streams and datagrams, in order. Out: events, bytes to send, or an [`Error`] with the code of the RFC.
//! Knows no sockets, clocks, certificates or devices: the worker and the client carry the bytes and decide who may come in.
//!
//! The files from the bottom up: `varint`, `huffman`, `qpack`, `frame`, `settings`, `capsule` and `datagram` are formats;
//! `streams` and `exchange` are what both ends do alike, `server` and `client` are the two ends, `packet` and `icmp` the rules for what is inside.

pub mod error;
pub mod varint;
mod huffman;
mod table;
pub mod qpack;
pub mod frame;
pub mod settings;
pub mod fields;
pub mod capsule;
pub mod service;
pub mod datagram;
mod exchange;
mod streams;
pub mod server;
pub mod client;
pub mod packet;
pub mod icmp;
#[cfg(test)]
mod tests;

pub use error::{Code, Error, Scope};
pub use streams::{MAX_QUEUED, MAX_STREAMS, Transmit};

/// The name of the protocol in the handshake of TLS (RFC 9114 3.1).
pub const ALPN: &[u8] = b"h3";
/// The path of a tunnel for all of IP: target and protocol are not limited (RFC 9484 3, and its erratum 8444 for the encoding).
pub const PATH: &str = "/.well-known/masque/ip/%2A/%2A/";
/// What is asked for in `:protocol` (RFC 9484 4.3).
pub const PROTOCOL: &str = "connect-ip";
/// The smallest packet that a tunnel must carry whole (RFC 9484 7.1, RFC 8200 5).
pub const MIN_MTU: usize = 1280;
/// The longest packet in either direction; longer ones are dropped.
//= C7
pub const MAX_PACKET: usize = 9216;
/// Most bytes that a peer may have us read past on a connection: unknown frames, capsules and streams.
//= C7
pub const MAX_SKIPPED: u64 = 1 << 20;

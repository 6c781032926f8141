//! The tunnel says who is speaking.
//!
//! The files in the order in which a datagram meets them; `wireguard`, `peer`, `prefix`, `datagram`, `inner`, `limits`, `noise` and `batch` are pure.

pub mod message;
pub mod worker;
pub mod uapi;
pub mod udp;
pub mod batch;
pub mod wireguard;
pub mod datagram;
pub mod limits;
pub mod noise;
pub mod peer;
pub mod inner;
pub mod prefix;
pub mod strangers;
pub mod device;
pub mod chance;

/// For the log's filter: the noise library calls an idle peer an error.
pub const QUIET: &str = "boringtun=off";
mod offload;

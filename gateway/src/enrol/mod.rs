//! Where devices come to be enrolled: HTTPS without keys, a subset of EST (RFC 7030), and keys of tunnels.
//!
//! In: requests from anybody. Out: typed questions to the supervisor, which decides, and its answers as HTTP.
//! The process has no key, no file and no way to make a socket; its handshakes are signed through a door.

pub mod client;
pub mod message;
mod pace;
mod response;
mod service;
pub mod token;
pub mod wireguard;
pub mod worker;

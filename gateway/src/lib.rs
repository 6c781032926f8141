//! Lazaret, the telemedicine gateway. The rooms stand in the order in which a packet meets them.
//!
//! See ARCHITECTURE.md for the promises (C1 to C10) and for who may import whom.

pub mod flow;
pub mod words;
pub mod own;
pub mod systemd;
pub mod channel;
pub mod tunnel;
pub mod key_exchange;
pub mod route;
pub mod masque;
pub mod pace;
pub mod quic;
pub mod segment;
pub mod inspect;
pub mod forward;
pub mod audit;
pub mod registry;
pub mod behaviour;
pub mod keystore;
pub mod pki;
pub mod enrol;
pub mod control;
pub mod connect;
pub mod update;
pub mod daemon;
pub mod setup;
pub mod doctor;
pub mod cli;

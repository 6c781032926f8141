//! The client of a tunnel of QUIC: `lazaret connect`.
//!
//! In: what a client's file says. Out: [`Event`]s, and either an interface with packets or local ports that lead to services.
//! Knows nothing of gateways but what their protocol says (`masque`); only `interface`, `networks` and `reach` are for Linux alone.
//!
//! `tls` and `transport` make the configuration of QUIC, `link` carries one connection, `stack` and `forward` are TCP without an
//! interface, `interface` is one, `reach` what it takes of a grant, `networks` what this machine is in, `refusal` says in words why there is no tunnel, `told` in the language of the user, `pause` how long to wait, and `life` is all of them together.

pub mod event;
pub mod refusal;
pub mod pause;
pub mod tls;
mod transport;
mod link;
mod stack;
mod forward;
pub mod told;
#[cfg(target_os = "linux")]
mod networks;
#[cfg(target_os = "linux")]
mod reach;
#[cfg(target_os = "linux")]
pub(crate) mod interface;
pub mod life;

pub use event::Event;
pub use life::{Ending, LifeError, run};

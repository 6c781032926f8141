//! Who is known, and how they stand.
//!
//! The files say who exists; who came later, and what operators decided about both, is kept here
//! and outlives restarts and changes of the configuration.
//! The supervisor works with a [`Registry`] in memory; the database is behind a thread of its own ([`task`]),
//! so that nothing waits for it.

pub mod access;
pub mod addresses;
pub mod csv;
mod floor;
mod kept;
pub mod known;
pub mod memory;
mod old;
pub mod request;
mod snapshot;
pub mod store;
pub mod task;
pub mod token;
mod writer;

pub use kept::kept;
pub use known::{
    By, Change, Chapter, DeviceKey, Known, Newcomer, Origin, PublicKey, Seen, Sighting, Strange,
    What,
};
pub use memory::Registry;
pub use snapshot::{MAX_SIZE, RegistryError};

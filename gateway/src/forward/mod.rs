//! The relay: pumps what the inspectors approved, and nothing else.
//!
//! `worker` is the process, `pump` one connection, `leg` one socket of it.

pub mod message;
pub mod worker;
mod pump;
mod leg;
mod mailbox;
mod bulk;
pub mod rate;
mod decided;
mod compact;
pub mod spool;
pub mod spool_file;
#[cfg(test)]
mod script;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod sealed;
#[cfg(test)]
mod ahead;

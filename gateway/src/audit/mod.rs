//! Who sent what to whom, under which rule: the journal.
//!
//! The supervisor sends [`event::Event`]s; the audit process ([`worker`]) numbers, chains and keeps them.
//! The format of the files is described in [`record`]; how they are checked in [`verify`].

pub mod event;
pub mod message;
pub mod record;
pub mod files;
pub mod key;
pub mod head;
mod opening;
pub mod journal;
pub mod worker;
pub mod verify;
pub mod tail;
pub mod show;
pub mod told;

#[cfg(test)]
mod tests;

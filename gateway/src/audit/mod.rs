//! Who sent what to whom, under which rule: the journal.

pub mod event;
pub mod message;

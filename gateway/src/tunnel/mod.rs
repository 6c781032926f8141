//! The tunnel says who is speaking.

pub mod message;

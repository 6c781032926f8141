//! The key store: private keys of authorities in a token that never gives them away (PKCS#11).
//!
//! `message` is what is asked of it, `token` speaks with the maker's library, `worker` is the process around them.
//! It signs what the signer hands it, by keys that it made itself, and judges nothing: the signer alone has an end of
//! its channel. The maker's library is in this process and in no other.

pub mod message;
pub mod point;
mod token;
pub mod worker;

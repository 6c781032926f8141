//! The certification authority: who may have which certificate, for how long, and what became of it.
//!
//! `request` judges what devices ask for, `authority` signs, `validity` says when, `ledger` remembers;
//! `office` decides over all of them and `worker` is the process that holds the keys.
//! Nothing here opens a socket; the process gets one end of a channel and answers typed questions.

pub mod key;
pub mod pem;
pub mod signature;
pub mod certificate;
pub mod bundle;
pub mod request;
pub mod validity;
pub mod ecdsa;
pub mod keystore;
pub mod custody;
pub mod authority;
pub mod ledger;
pub mod trust;
pub mod foreign;
pub mod message;
pub mod store;
pub mod steady;
pub mod office;
pub mod door;
pub mod own;
pub mod worker;

#[cfg(test)]
mod tests;

//! The certification authority against openssl, rustls and hostile requests.

mod authority;
mod away;
mod office;
mod signer;
mod store;
mod request;
mod trust;
mod world;

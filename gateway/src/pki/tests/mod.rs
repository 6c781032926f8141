//! The certification authority against openssl, rustls and hostile requests.

mod authority;
mod request;
mod trust;
mod world;

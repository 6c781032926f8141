//! The certification authority against openssl, rustls and hostile requests.

mod request;
mod world;

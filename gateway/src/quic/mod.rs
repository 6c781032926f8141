//! The tunnel for those who come with a certificate: CONNECT-IP over QUIC (RFC 9484, RFC 9000).
//!
//! In: datagrams from outside, packets from inside, who may come in. Out: packets, datagrams, events.
//! `masque` knows what is said on a connection, `pki` whose certificate is believed; here they meet sockets and time.
//! The process has no key: its handshakes are signed through a door to the signer.
//!
//! The files in the order in which a device meets them: `worker` is the process, `entrance` lets in or refuses,
//! `tls` and `transport` say how, `session` is one device that is in, `streams` carries its streams.

pub mod message;
pub mod worker;
mod entrance;
mod refusals;
mod roster;
mod session;
mod streams;
mod tls;
mod transport;
#[cfg(test)]
mod tests;

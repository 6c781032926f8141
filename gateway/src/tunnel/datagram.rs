//! The outside of a WireGuard message.
//!
//! In: a datagram. Out: its kind and whose session it names, or nothing when it is no such message.
//! Knows no keys, so nothing here is to be believed yet.

use super::noise::OVERHEAD;

/// A WireGuard message, as far as it can be read without keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A handshake begins.
    Initiation,
    /// A handshake is answered.
    Response {
        /// Our session index.
        receiver: u32,
    },
    /// A handshake is to be repeated with a proof of address.
    CookieReply {
        /// Our session index.
        receiver: u32,
    },
    /// Transport data.
    Data {
        /// Our session index.
        receiver: u32,
        /// Each once.
        counter: u64,
    },
}

impl Message {
    /// Type with its reserved zeros, and the length that belongs to it.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        match (word(datagram, 0)?, datagram.len()) {
            (1, 148) => Some(Self::Initiation),
            (2, 92) => Some(Self::Response {
                receiver: word(datagram, 8)?,
            }),
            (3, 64) => Some(Self::CookieReply {
                receiver: word(datagram, 4)?,
            }),
            (4, OVERHEAD..) => Some(Self::Data {
                receiver: word(datagram, 4)?,
                counter: u64::from_le_bytes(*datagram.get(8..)?.first_chunk()?),
            }),
            _ => None,
        }
    }
}

/// A little-endian number of 32 bits.
#[must_use]
pub fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_type_its_reserved_zeros_and_its_length() {
        for (kind, length, longer) in [
            (1, 148, false),
            (2, 92, false),
            (3, 64, false),
            (4, 32, true),
        ] {
            let mut bytes = vec![0; length + 16];
            bytes[0] = kind;
            assert!(Message::parse(&bytes[..length]).is_some(), "{kind}");
            assert!(Message::parse(&bytes[..length - 1]).is_none(), "{kind}");
            assert_eq!(Message::parse(&bytes).is_some(), longer, "{kind}");
            bytes[2] = 1;
            assert!(Message::parse(&bytes[..length]).is_none(), "{kind}");
        }
        for kind in [0, 5, 255] {
            assert!(Message::parse(&[&[kind, 0, 0, 0][..], &[0; 60]].concat()).is_none());
        }
        assert!(Message::parse(&[]).is_none());
    }
}

//! The SETTINGS frame (RFC 9114 7.2.4, RFC 9220 3, RFC 9297 2.1.1, RFC 9204 5).
//!
//! In: its payload. Out: what we need to know of the peer, or why it is wrong.

use super::error::{Code, Error};
use super::qpack::MAX_SECTION;
use super::varint;

const QPACK_MAX_TABLE_CAPACITY: u64 = 0x01;
const MAX_FIELD_SECTION_SIZE: u64 = 0x06;
const QPACK_BLOCKED_STREAMS: u64 = 0x07;
const ENABLE_CONNECT_PROTOCOL: u64 = 0x08;
const H3_DATAGRAM: u64 = 0x33;

/// Most settings in a frame.
//= C7
pub const MAX_SETTINGS: usize = 64;

/// What a peer can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// It takes `:protocol` in a CONNECT request.
    pub enable_connect_protocol: bool,
    /// It takes HTTP datagrams in datagrams of QUIC.
    pub h3_datagram: bool,
}

/// Reads the payload of a SETTINGS frame; unknown settings are passed over.
///
/// # Errors
/// For a setting that is cut short, stands twice, is one of HTTP/2 or has a value it must not have.
pub fn decode(payload: &[u8]) -> Result<Settings, Error> {
    let wrong = |why| Error::connection(Code::Settings, why);
    let (mut settings, mut seen) = (Settings::default(), Vec::new());
    let mut rest = payload;
    while !rest.is_empty() {
        let cut = || Error::connection(Code::Frame, "a setting is cut short");
        let name = varint::take(&mut rest).ok_or_else(cut)?;
        let value = varint::take(&mut rest).ok_or_else(cut)?;
        if seen.contains(&name) {
            return Err(wrong("a setting stands twice"));
        }
        if seen.len() == MAX_SETTINGS {
            return Err(Error::connection(
                Code::ExcessiveLoad,
                "there are more settings than we read",
            ));
        }
        seen.push(name);
        let flag = || match value {
            0 | 1 => Ok(value == 1),
            _ => Err(wrong("a setting that is 0 or 1 has another value")),
        };
        match name {
            //= RFC 9114 7.2.4.1
            0x00 | 0x02..=0x05 => return Err(wrong("a setting of HTTP/2")),
            ENABLE_CONNECT_PROTOCOL => settings.enable_connect_protocol = flag()?,
            H3_DATAGRAM => settings.h3_datagram = flag()?,
            _ => {}
        }
    }
    Ok(settings)
}

/// The payload of our own SETTINGS frame: no dynamic table, bounded sections, datagrams, and for a server extended CONNECT.
#[must_use]
pub fn encode(is_server: bool) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut settings = vec![
        (QPACK_MAX_TABLE_CAPACITY, 0),
        (MAX_FIELD_SECTION_SIZE, MAX_SECTION),
        (QPACK_BLOCKED_STREAMS, 0),
        (H3_DATAGRAM, 1),
    ];
    if is_server {
        settings.push((ENABLE_CONNECT_PROTOCOL, 1));
    }
    for (name, value) in settings {
        varint::write(name, &mut payload);
        varint::write(value, &mut payload);
    }
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_understood() {
        for is_server in [true, false] {
            let expected = Settings {
                enable_connect_protocol: is_server,
                h3_datagram: true,
            };
            assert_eq!(decode(&encode(is_server)), Ok(expected));
        }
    }

    #[test]
    fn each_wrong_setting_beside_its_twin() {
        let cases: [(&str, &[u8], &[u8], Code); 7] = [
            ("cut short", &[0x33, 1], &[0x33], Code::Frame),
            (
                "value cut short",
                &[0x21, 0x40, 1],
                &[0x21, 0x40],
                Code::Frame,
            ),
            ("not a flag", &[0x33, 1], &[0x33, 2], Code::Settings),
            ("not a flag", &[0x08, 0], &[0x08, 2], Code::Settings),
            (
                "twice",
                &[0x21, 1, 0x40, 0x40, 1],
                &[0x21, 1, 0x40, 0x21, 1],
                Code::Settings,
            ),
            ("of HTTP/2", &[0x06, 5], &[0x05, 5], Code::Settings),
            ("of HTTP/2", &[0x01, 0], &[0x00, 0], Code::Settings),
        ];
        for (what, good, bad, code) in cases {
            assert!(decode(good).is_ok(), "{what}: the twin");
            assert_eq!(decode(bad).map_err(|error| error.code), Err(code), "{what}");
        }
    }

    #[test]
    fn settings_are_counted() {
        let many = |count: u64| {
            let mut payload = Vec::new();
            for name in 0..count {
                varint::write(name * 31 + 0x21, &mut payload);
                varint::write(0, &mut payload);
            }
            decode(&payload).map_err(|error| error.code)
        };
        assert_eq!(many(64), Ok(Settings::default()));
        assert_eq!(many(65), Err(Code::ExcessiveLoad));
    }
}

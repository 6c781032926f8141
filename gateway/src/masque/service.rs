//! The services that a client may use: a capsule of our own.
//!
//! CONNECT-IP says which addresses can be reached, not what they are. A server of ours says so with a capsule of the type
//! [`CAPSULE`], again whenever it changes; whoever does not know it passes over it, as RFC 9297 3.2 wants.
//! It holds any number of: length of the name (varint) and the name, number of the version of IP (one byte), the address,
//! number of the protocol of IP (one byte), first and last port (two bytes each), and the seconds until the access ends
//! (varint, 0: no end is known). A service with several addresses or ports stands there several times.

use std::net::IpAddr;

use super::capsule::{take_byte, take_ip, version, write_ip};
use super::varint;

/// The type of the capsule: the letters `LZSV`, outside of what is registered and of what is reserved for greasing.
pub const CAPSULE: u64 = 0x4c5a_5356;
/// Most entries in a capsule.
//= C7
pub const MAX_SERVICES: usize = 256;
/// Longest name.
//= C7
pub const MAX_NAME: usize = 63;

/// What a client may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// As the configuration of the gateway calls it: lower-case letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Where it is, as seen from the tunnel.
    pub address: IpAddr,
    /// 6 for TCP, 17 for UDP, 0 for all.
    pub protocol: u8,
    /// The first port.
    pub first_port: u16,
    /// The last port.
    pub last_port: u16,
    /// Seconds until the access ends, from now on; 0 when no end is known.
    pub seconds_left: u64,
}

fn is_name(name: &[u8]) -> bool {
    let is_part = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
    };
    (1..=MAX_NAME).contains(&name.len()) && name.iter().all(is_part)
}

pub(super) fn decode(payload: &[u8]) -> Result<Vec<Service>, &'static str> {
    let (mut rest, mut found) = (payload, Vec::new());
    while !rest.is_empty() {
        let service = take(&mut rest).ok_or("a service is cut short or malformed")?;
        if found.len() == MAX_SERVICES {
            return Err("a capsule has more services than we read");
        }
        found.push(service);
    }
    Ok(found)
}

fn take(rest: &mut &[u8]) -> Option<Service> {
    let length = usize::try_from(varint::take(rest)?).ok()?;
    let (name, after) = rest.split_at_checked(length)?;
    *rest = after;
    let name = std::str::from_utf8(name)
        .ok()
        .filter(|name| is_name(name.as_bytes()))?;
    let ip_version = take_byte(rest)?;
    let address = take_ip(ip_version, rest)?;
    let protocol = take_byte(rest)?;
    let first_port = u16::from_be_bytes([take_byte(rest)?, take_byte(rest)?]);
    let last_port = u16::from_be_bytes([take_byte(rest)?, take_byte(rest)?]);
    let seconds_left = varint::take(rest)?;
    (first_port <= last_port).then(|| Service {
        name: name.to_owned(),
        address,
        protocol,
        first_port,
        last_port,
        seconds_left,
    })
}

/// Writes at most [`MAX_SERVICES`], and none whose name is none.
pub(super) fn encode(services: &[Service]) -> Vec<u8> {
    let mut out = Vec::new();
    let named = services
        .iter()
        .filter(|service| is_name(service.name.as_bytes()));
    for service in named.take(MAX_SERVICES) {
        let before = out.len();
        varint::write(u64::try_from(service.name.len()).unwrap_or(0), &mut out);
        out.extend(service.name.as_bytes());
        out.push(version(service.address));
        write_ip(service.address, &mut out);
        out.push(service.protocol);
        out.extend(service.first_port.to_be_bytes());
        out.extend(service.last_port.to_be_bytes());
        varint::write(service.seconds_left.min(varint::MAX), &mut out);
        if u64::try_from(out.len()).unwrap_or(u64::MAX) > super::capsule::MAX_CAPSULE {
            out.truncate(before);
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> Service {
        Service {
            name: name.to_owned(),
            address: "10.20.1.10".parse().unwrap(),
            protocol: 6,
            first_port: 104,
            last_port: 104,
            seconds_left: 3600,
        }
    }

    #[test]
    fn services_come_back() {
        let mut six = service("console.radiology_2");
        six.address = "fd00::5".parse().unwrap();
        let services = vec![service("pacs"), six];
        assert_eq!(decode(&encode(&services)), Ok(services));
        assert_eq!(decode(&[]), Ok(vec![]));
    }

    #[test]
    fn each_malformed_service_beside_its_twin() {
        let good = encode(&[service("pacs")]);
        assert!(decode(&good).is_ok(), "the twin");
        for cut in 1..good.len() {
            assert!(decode(&good[..cut]).is_err(), "{cut}");
        }
        // Name, name, version, ports the wrong way round.
        for (at, byte) in [(1, b'P'), (2, b'\n'), (5, 5), (11, 1)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(decode(&bad).is_err(), "{at}");
        }
        assert!(encode(&[service("No Name")]).is_empty());
    }

    #[test]
    fn services_are_counted() {
        let many = vec![service("pacs"); 300];
        assert_eq!(decode(&encode(&many)).unwrap().len(), MAX_SERVICES);
        let one = encode(&[service("pacs")]);
        assert!(decode(&one.repeat(MAX_SERVICES)).is_ok());
        assert!(decode(&one.repeat(MAX_SERVICES + 1)).is_err());
        let long = vec![service(&"n".repeat(63)); 256];
        assert!(encode(&long).len() <= 16_384);
    }
}

//! The head of an IP packet inside the tunnel.
//!
//! In: bytes. Out: source, destination and the true length, or nothing when the bytes are no whole IP packet.
//! Knows nothing above IP and looks at nothing but these three.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the tunnel needs to know of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Who says to have sent it.
    pub source: IpAddr,
    /// Where it wants to go.
    pub destination: IpAddr,
    /// Its length by its own header; what follows is padding.
    pub length: usize,
}

/// Reads the head. A packet whose header claims more than there is, or less than a header, is none.
#[must_use]
pub fn parse(packet: &[u8]) -> Option<Inner> {
    match packet.first()? >> 4 {
        4 => ipv4(packet),
        6 => ipv6(packet),
        _ => None,
    }
}

fn ipv4(packet: &[u8]) -> Option<Inner> {
    let head: &[u8; 20] = packet.first_chunk()?;
    let header = usize::from(head[0] & 0x0f) * 4;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if header < 20 || length < header || length > packet.len() {
        return None;
    }
    let [source, destination] = [12, 16].map(|at| {
        IpAddr::V4(Ipv4Addr::new(
            head[at],
            head[at + 1],
            head[at + 2],
            head[at + 3],
        ))
    });
    Some(Inner {
        source,
        destination,
        length,
    })
}

fn ipv6(packet: &[u8]) -> Option<Inner> {
    let head: &[u8; 40] = packet.first_chunk()?;
    let length = 40 + usize::from(u16::from_be_bytes([head[4], head[5]]));
    if length > packet.len() {
        return None;
    }
    let address = |at: usize| -> Option<IpAddr> {
        let octets: &[u8; 16] = head.get(at..)?.first_chunk()?;
        Some(IpAddr::V6(Ipv6Addr::from(*octets)))
    };
    Some(Inner {
        source: address(8)?,
        destination: address(24)?,
        length,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IP packet with a payload of the given length.
    fn packet(source: &str, destination: &str, payload: usize) -> Vec<u8> {
        match (source.parse().unwrap(), destination.parse().unwrap()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 253, 0, 0];
                packet.extend(source.octets());
                packet.extend(destination.octets());
                packet.extend((0..payload).map(|i| i as u8));
                let length = u16::try_from(packet.len()).unwrap();
                packet[2..4].copy_from_slice(&length.to_be_bytes());
                packet
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let length = u16::try_from(payload).unwrap().to_be_bytes();
                let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], 253, 64];
                packet.extend(source.octets());
                packet.extend(destination.octets());
                packet.extend((0..payload).map(|i| i as u8));
                packet
            }
            _ => panic!("mixed families"),
        }
    }

    #[test]
    fn reads_addresses_and_length() {
        for (source, destination) in [("10.0.0.1", "192.0.2.9"), ("fd00::1", "2001:db8::2")] {
            let bytes = packet(source, destination, 9);
            let expected = Inner {
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
                length: bytes.len(),
            };
            assert_eq!(parse(&bytes), Some(expected));
            let padded = [&bytes[..], &[0; 7]].concat();
            assert_eq!(parse(&padded), Some(expected));
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), None, "{cut} of {source}");
            }
        }
    }

    #[test]
    fn refuses_absurd_lengths() {
        let good = packet("10.0.0.1", "10.0.0.2", 20);
        for length in [0u16, 5, 19, 41, u16::MAX] {
            let mut bytes = good.clone();
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            assert_eq!(parse(&bytes), None, "{length}");
        }
        for (first, accepted) in [
            (0x44, false),
            (0x45, true),
            (0x4a, true),
            (0x4b, false),
            (0x50, false),
        ] {
            let mut bytes = good.clone();
            bytes[0] = first;
            assert_eq!(parse(&bytes).is_some(), accepted, "{first:x}");
        }
        assert_eq!(parse(&[]), None);
    }
}

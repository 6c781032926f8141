//! What a sender is told whose packet does not pass: ICMP errors that we make (RFC 792, RFC 1191, RFC 4443, RFC 9484 7.2).
//!
//! In: the packet, why it does not pass, and our address. Out: a packet, or nothing where nobody may be told.
//! Knows no time: who sends these sends few ([`super::packet`] says why, the caller how often).

use std::net::IpAddr;

use super::packet::{self, Head, sum, write_header_checksum};

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Packets may have so many bytes at most. IPv4: only for packets that must not be fragmented.
    TooBig(u16),
    /// The hop limit is used up.
    HopsUsedUp,
    /// It is not allowed to go there.
    Prohibited,
}

/// Most bytes of an error of ICMP, for IPv4 and IPv6 (RFC 1812 4.3.2.3, RFC 4443 2.4).
const LONGEST: [usize; 2] = [576, 1280];
/// The hop limit of our own packets.
const HOPS: u8 = 64;

/// The error for a packet, from an address of ours of the same family. Nothing for what must not be answered: errors of ICMP,
/// later fragments, and what came from or went to no single host (RFC 1122 3.2.2, RFC 4443 2.4).
#[must_use]
pub fn answer(packet: &[u8], told: Told, ours: IpAddr) -> Option<Vec<u8>> {
    let head = packet::head(packet).ok()?;
    let packet = packet.get(..head.length)?;
    if packet::stays_on_link(head.source) || packet::stays_on_link(head.destination) {
        return None;
    }
    match (head.source, ours) {
        (IpAddr::V4(_), IpAddr::V4(_)) => ipv4(packet, &head, told, ours),
        (IpAddr::V6(_), IpAddr::V6(_)) => ipv6(packet, &head, told, ours),
        _ => None,
    }
}

fn ipv4(packet: &[u8], head: &Head, told: Told, ours: IpAddr) -> Option<Vec<u8>> {
    let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]);
    let kind = *packet.get(head.header).unwrap_or(&0);
    // Echo, timestamp and information may be answered, errors not.
    let is_error = head.protocol == 1 && !matches!(kind, 0 | 8 | 13..=18);
    if fragment & 0x1fff != 0 || is_error {
        return None;
    }
    let (kind, code, field) = match told {
        Told::TooBig(_) if fragment & 0x4000 == 0 => return None,
        Told::TooBig(mtu) => (3, 4, u32::from(mtu)),
        Told::HopsUsedUp => (11, 0, 0),
        Told::Prohibited => (3, 13, 0),
    };
    let message = message(kind, code, field, packet, LONGEST[0] - 20, &[]);
    let length = u16::try_from(message.len() + 20).ok()?;
    let mut out = vec![0x45, 0, 0, 0, 0, 0, 0, 0, HOPS, 1, 0, 0];
    out.get_mut(2..4)?.copy_from_slice(&length.to_be_bytes());
    super::capsule::write_ip(ours, &mut out);
    super::capsule::write_ip(head.source, &mut out);
    write_header_checksum(&mut out, 20);
    out.extend(message);
    Some(out)
}

fn ipv6(packet: &[u8], head: &Head, told: Told, ours: IpAddr) -> Option<Vec<u8>> {
    let is_error = head.protocol == 58 && packet.get(40).is_none_or(|kind| *kind < 128);
    // A later fragment has the bits of its offset set.
    let offset = packet.get(42..44).unwrap_or_default();
    let later = head.protocol == 44 && (sum(offset) & 0xfff8 != 0 || offset.len() < 2);
    if is_error || later {
        return None;
    }
    let (kind, code, field) = match told {
        Told::TooBig(mtu) => (2, 0, u32::from(mtu)),
        Told::HopsUsedUp => (3, 0, 0),
        Told::Prohibited => (1, 1, 0),
    };
    let mut pseudo = Vec::with_capacity(40);
    super::capsule::write_ip(ours, &mut pseudo);
    super::capsule::write_ip(head.source, &mut pseudo);
    let quoted = packet.len().min(LONGEST[1] - 48);
    pseudo.extend(u32::try_from(quoted + 8).ok()?.to_be_bytes());
    pseudo.extend([0, 0, 0, 58]);
    let message = message(kind, code, field, packet, LONGEST[1] - 40, &pseudo);
    let length = u16::try_from(message.len()).ok()?.to_be_bytes();
    let mut out = vec![0x60, 0, 0, 0, length[0], length[1], 58, HOPS];
    out.extend(pseudo.get(..32)?);
    out.extend(message);
    Some(out)
}

/// Type, code, checksum, a field of four bytes, and as much of the packet as fits.
fn message(
    kind: u8,
    code: u8,
    field: u32,
    packet: &[u8],
    longest: usize,
    pseudo: &[u8],
) -> Vec<u8> {
    let mut out = vec![kind, code, 0, 0];
    out.extend(field.to_be_bytes());
    out.extend(packet.iter().take(longest.saturating_sub(8)));
    let checksum = !sum(&[pseudo, &out].concat());
    if let Some(place) = out.get_mut(2..4) {
        place.copy_from_slice(&checksum.to_be_bytes());
    }
    out
}

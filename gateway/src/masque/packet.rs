//! What may pass a tunnel: the rules of RFC 9484 7 for each packet.
//!
//! In: a packet and what was assigned and advertised. Out: its length, or why not; hop limits are counted down here.
//! Knows nothing above IP; options and extension headers are passed over unread.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::capsule::Route;

/// The head of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Who says to have sent it.
    pub source: IpAddr,
    /// Where it wants to go.
    pub destination: IpAddr,
    /// The number of the protocol in it; of IPv6 that of the first header after the fixed one.
    pub protocol: u8,
    /// Length in bytes by its own header; what follows is padding.
    pub length: usize,
    /// Length in bytes of the header.
    pub header: usize,
    /// Hops that it may still take.
    pub hops: u8,
}

/// Why a packet does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Dropped {
    /// No whole packet of IP.
    #[error("it is no whole IP packet")]
    Malformed,
    /// Its source is not an address of its sender.
    #[error("its source is not the sender's")]
    Source,
    /// Its destination is in no advertised route.
    #[error("its destination is not advertised")]
    Destination,
    /// Loopback, link-local, multicast, unspecified or broadcast: never beyond its own link.
    #[error("its addresses are for one link only")]
    Link,
    /// It took too many hops.
    #[error("its hop limit is used up")]
    Hops,
    /// It is longer than the tunnel carries.
    #[error("it is too long for the tunnel")]
    TooBig,
}

/// Reads the head.
///
/// # Errors
/// When the header is no header, or claims more than there is.
pub fn head(packet: &[u8]) -> Result<Head, Dropped> {
    let read = match packet.first().map(|byte| byte >> 4) {
        Some(4) => ipv4(packet),
        Some(6) => ipv6(packet),
        _ => None,
    };
    read.ok_or(Dropped::Malformed)
}

fn ipv4(packet: &[u8]) -> Option<Head> {
    let fixed: &[u8; 20] = packet.first_chunk()?;
    let header = usize::from(fixed[0] & 0x0f) * 4;
    let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    let plausible = header >= 20 && length >= header && length <= packet.len();
    let address = |at: usize| fixed.get(at..)?.first_chunk::<4>().copied();
    let ip = |at| Some(IpAddr::V4(Ipv4Addr::from(address(at)?)));
    // The sum of a whole header is all ones (RFC 791 3.1).
    let sum = sum(packet.get(..header)?);
    (plausible && sum == 0xffff).then_some(Head {
        source: ip(12)?,
        destination: ip(16)?,
        protocol: fixed[9],
        length,
        header,
        hops: fixed[8],
    })
}

fn ipv6(packet: &[u8]) -> Option<Head> {
    let fixed: &[u8; 40] = packet.first_chunk()?;
    let length = 40 + usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    let address = |at: usize| fixed.get(at..)?.first_chunk::<16>().copied();
    let ip = |at| Some(IpAddr::V6(Ipv6Addr::from(address(at)?)));
    // No length with a header hop by hop: a jumbogram, whose length would stand there (RFC 2675 2).
    let jumbo = length == 40 && fixed[6] == 0;
    (length <= packet.len() && !jumbo).then_some(Head {
        source: ip(8)?,
        destination: ip(24)?,
        protocol: fixed[6],
        length,
        header: 40,
        hops: fixed[7],
    })
}

/// The ones' complement sum of 16-bit words.
pub(super) fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(u16::from_be_bytes([*high, 0])),
        _ => 0,
    });
    // A packet has fewer than 2^15 words.
    let mut sum: u32 = words.fold(0, u32::wrapping_add);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

/// The two sides of a tunnel, as the one end that checks sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// The addresses of the peer.
    pub peer: Vec<IpNet>,
    /// Where the peer may send to and hear from.
    pub routes: Vec<Route>,
}

impl Gate {
    /// A packet that the peer sent: its length without padding.
    ///
    /// # Errors
    /// When it must not pass.
    //= C5
    pub fn from_peer(&self, packet: &[u8]) -> Result<Head, Dropped> {
        let head = head(packet)?;
        // Somebody else's address is the worse of two faults.
        if !self.is_peer(head.source) {
            return Err(Dropped::Source);
        }
        if stays_on_link(head.destination) {
            return Err(Dropped::Link);
        }
        let allowed = |route: &Route| route.holds(head.destination, head.protocol);
        if !self.routes.iter().any(allowed) {
            return Err(Dropped::Destination);
        }
        Ok(head)
    }

    /// A packet for the peer, at most `mtu` bytes long, that another host sent: it loses one hop (RFC 9484 7).
    ///
    /// # Errors
    /// When it must not pass; some of these are answered with [`super::icmp`].
    pub fn to_peer(&self, packet: &mut [u8], mtu: usize) -> Result<Head, Dropped> {
        let head = head(packet)?;
        if stays_on_link(head.source) || stays_on_link(head.destination) {
            return Err(Dropped::Link);
        }
        if !self.is_peer(head.destination) {
            return Err(Dropped::Destination);
        }
        if head.hops <= 1 {
            return Err(Dropped::Hops);
        }
        if head.length > mtu {
            return Err(Dropped::TooBig);
        }
        count_hop(packet, &head);
        Ok(head)
    }

    /// A packet that the other end brings to `peer`, which is we: for an address of ours, from where we may speak to.
    /// ICMP may come from anywhere on the way.
    ///
    /// # Errors
    /// When it must not pass.
    pub fn arrives(&self, packet: &[u8]) -> Result<Head, Dropped> {
        let head = head(packet)?;
        if stays_on_link(head.source) {
            return Err(Dropped::Link);
        }
        if !self.is_peer(head.destination) {
            return Err(Dropped::Destination);
        }
        let icmp = if head.source.is_ipv4() { 1 } else { 58 };
        let known = |route: &Route| route.holds(head.source, head.protocol);
        if head.protocol != icmp && !self.routes.iter().any(known) {
            return Err(Dropped::Source);
        }
        Ok(head)
    }

    /// A packet of our own system, at most `mtu` bytes long, for the other end: as [`Self::from_peer`], and one hop less.
    ///
    /// # Errors
    /// When it must not pass.
    pub fn leaves(&self, packet: &mut [u8], mtu: usize) -> Result<Head, Dropped> {
        let head = self.from_peer(packet)?;
        if head.hops <= 1 {
            return Err(Dropped::Hops);
        }
        if head.length > mtu {
            return Err(Dropped::TooBig);
        }
        count_hop(packet, &head);
        Ok(head)
    }

    fn is_peer(&self, address: IpAddr) -> bool {
        self.peer.iter().any(|prefix| prefix.contains(&address))
    }
}

/// Addresses that mean something on one link only (RFC 9484 7: they are not forwarded).
#[must_use]
pub fn stays_on_link(address: IpAddr) -> bool {
    let common = address.is_loopback() || address.is_multicast() || address.is_unspecified();
    common
        || match address {
            IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        }
}

/// One hop less, and the checksum of IPv4 with it (RFC 1624).
fn count_hop(packet: &mut [u8], head: &Head) {
    let at = if head.source.is_ipv4() { 8 } else { 7 };
    if let Some(hops) = packet.get_mut(at) {
        *hops = head.hops.saturating_sub(1);
    }
    if head.source.is_ipv4() {
        write_header_checksum(packet, head.header);
    }
}

/// Writes the checksum of the header of IPv4.
pub(super) fn write_header_checksum(packet: &mut [u8], header: usize) {
    let Some(header) = packet.get_mut(..header) else {
        return;
    };
    if let Some(field) = header.get_mut(10..12) {
        field.fill(0);
    }
    let checksum = !sum(header);
    if let Some(field) = header.get_mut(10..12) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
}

//! Capsules, read as their bytes come (RFC 9297 3.2, RFC 9484 4.7).
//!
//! In: the content of DATA frames of a tunnel's stream, in any pieces. Out: capsules, checked; unknown ones are passed over.
//! Buffers at most one capsule of [`MAX_CAPSULE`] or one packet.
//! Every error is a stream error.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::error::Code;
use super::service::{self, Service};
use super::{MAX_PACKET, varint};

const DATAGRAM: u64 = 0x00;
const ADDRESS_ASSIGN: u64 = 0x01;
const ADDRESS_REQUEST: u64 = 0x02;
const ROUTE_ADVERTISEMENT: u64 = 0x03;

/// Longest capsule that is read, but for packets.
//= C7
pub const MAX_CAPSULE: u64 = 16_384;
/// Longest DATAGRAM capsule that is read; longer ones are passed over.
//= C7
const MAX_DATAGRAM: u64 = MAX_PACKET as u64 + 8;
/// Most addresses in a capsule.
//= C7
pub const MAX_ADDRESSES: usize = 32;
/// Most routes in a capsule.
//= C7
pub const MAX_ROUTES: usize = 400;

/// A capsule that we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capsule {
    /// An HTTP datagram: a context and what belongs to it.
    Datagram(Vec<u8>),
    /// All addresses that the receiver has from now on.
    AddressAssign(Vec<Address>),
    /// What the sender would like to have.
    AddressRequest(Vec<Address>),
    /// All destinations that the sender takes packets for from now on.
    RouteAdvertisement(Vec<Route>),
    /// All services that the receiver may use from now on; only we know this one.
    Services(Vec<Service>),
}

/// An address, or a prefix, and the request that it answers or is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Zero when nobody asked for it.
    pub request: u64,
    /// All zero: none, or any.
    pub prefix: IpNet,
}

/// A range of destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The first.
    pub start: IpAddr,
    /// The last, of the same family.
    pub end: IpAddr,
    /// The number of the protocol of IP, zero for all.
    pub protocol: u8,
}

impl Route {
    /// All of a prefix, for all protocols.
    #[must_use]
    pub fn all(prefix: IpNet) -> Self {
        Self {
            start: prefix.network(),
            end: prefix.broadcast(),
            protocol: 0,
        }
    }

    /// Whether a packet of a protocol may go to an address; ICMP may go wherever anything may (RFC 9484 4.7.3).
    #[must_use]
    pub fn holds(&self, destination: IpAddr, protocol: u8) -> bool {
        let family = self.start.is_ipv4() == destination.is_ipv4();
        let icmp = if destination.is_ipv4() { 1 } else { 58 };
        let covered = self.protocol == 0 || self.protocol == protocol || protocol == icmp;
        family && covered && (self.start..=self.end).contains(&destination)
    }
}

/// What the reader found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A whole capsule.
    Capsule(Capsule),
    /// So many bytes that mean nothing to us.
    Skipped(u64),
}

/// Reads capsules from the content of a stream.
#[derive(Debug, Default)]
pub struct Reader {
    state: State,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Head,
    Whole(u64, usize),
    Skip(u64),
}

/// A capsule that cannot be read: a code for the stream, and why.
pub type Broken = (Code, &'static str);

impl Reader {
    /// Takes bytes off the front and says what they are; nothing when more are needed.
    ///
    /// # Errors
    /// When a capsule is longer than it may be, or malformed.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Piece>, Broken> {
        loop {
            match self.state {
                State::Head => {
                    let Some((byte, rest)) = bytes.split_first() else {
                        return Ok(None);
                    };
                    *bytes = rest;
                    self.buffer.push(*byte);
                    let mut head = self.buffer.as_slice();
                    let (kind, length) = (varint::take(&mut head), varint::take(&mut head));
                    if let (Some(kind), Some(length)) = (kind, length) {
                        self.buffer.clear();
                        self.state = begin(kind, length)?;
                        if matches!(self.state, State::Skip(_)) {
                            return Ok(Some(Piece::Skipped(2)));
                        }
                    }
                }
                State::Skip(0) => self.state = State::Head,
                State::Skip(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    *bytes = bytes.get(here..).unwrap_or_default();
                    let here = u64::try_from(here).unwrap_or(left);
                    self.state = State::Skip(left.saturating_sub(here));
                    return Ok((here > 0).then_some(Piece::Skipped(here)));
                }
                State::Whole(kind, length) => {
                    let missing = length.saturating_sub(self.buffer.len());
                    let (piece, rest) = bytes.split_at(missing.min(bytes.len()));
                    *bytes = rest;
                    self.buffer.extend(piece);
                    if self.buffer.len() < length {
                        return Ok(None);
                    }
                    self.state = State::Head;
                    return decode(kind, std::mem::take(&mut self.buffer))
                        .map(|capsule| Some(Piece::Capsule(capsule)))
                        .map_err(|why| (Code::Message, why));
                }
            }
        }
    }

    /// Whether the stream may end here.
    #[must_use]
    pub fn is_between_capsules(&self) -> bool {
        match self.state {
            State::Head => self.buffer.is_empty(),
            State::Skip(left) => left == 0,
            State::Whole(..) => false,
        }
    }
}

fn begin(kind: u64, length: u64) -> Result<State, Broken> {
    let most = match kind {
        DATAGRAM if length > MAX_DATAGRAM => return Ok(State::Skip(length)),
        DATAGRAM => MAX_DATAGRAM,
        ADDRESS_ASSIGN | ADDRESS_REQUEST | ROUTE_ADVERTISEMENT | service::CAPSULE => MAX_CAPSULE,
        _ => return Ok(State::Skip(length)),
    };
    match usize::try_from(length) {
        Ok(whole) if length <= most => Ok(State::Whole(kind, whole)),
        _ => Err((Code::ExcessiveLoad, "a capsule is longer than we read")),
    }
}

fn decode(kind: u64, payload: Vec<u8>) -> Result<Capsule, &'static str> {
    match kind {
        ADDRESS_ASSIGN => addresses(&payload, false).map(Capsule::AddressAssign),
        ADDRESS_REQUEST => addresses(&payload, true).map(Capsule::AddressRequest),
        ROUTE_ADVERTISEMENT => routes(&payload).map(Capsule::RouteAdvertisement),
        service::CAPSULE => service::decode(&payload).map(Capsule::Services),
        _ => Ok(Capsule::Datagram(payload)),
    }
}

/// An address after the byte that says its version.
pub(super) fn take_ip(version: u8, bytes: &mut &[u8]) -> Option<IpAddr> {
    let (ip, length) = match version {
        4 => (IpAddr::V4(Ipv4Addr::from(*bytes.first_chunk::<4>()?)), 4),
        6 => (IpAddr::V6(Ipv6Addr::from(*bytes.first_chunk::<16>()?)), 16),
        _ => return None,
    };
    *bytes = bytes.get(length..)?;
    Some(ip)
}

pub(super) fn take_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*byte)
}

fn addresses(payload: &[u8], is_request: bool) -> Result<Vec<Address>, &'static str> {
    const CUT: &str = "an address is cut short or of no version of IP";
    let (mut rest, mut found) = (payload, Vec::<Address>::new());
    while !rest.is_empty() {
        let request = varint::take(&mut rest).ok_or(CUT)?;
        let version = take_byte(&mut rest).ok_or(CUT)?;
        let ip = take_ip(version, &mut rest).ok_or(CUT)?;
        let length = take_byte(&mut rest).ok_or(CUT)?;
        let prefix = IpNet::new(ip, length).map_err(|_| "a prefix is longer than its address")?;
        if prefix.trunc() != prefix {
            return Err("an address has bits beyond its prefix");
        }
        //= RFC 9484 4.7.2
        if is_request && (request == 0 || found.iter().any(|other| other.request == request)) {
            return Err("the number of a requested address is zero or stands twice");
        }
        if found.len() == MAX_ADDRESSES {
            return Err("a capsule has more addresses than we read");
        }
        found.push(Address { request, prefix });
    }
    if is_request && found.is_empty() {
        return Err("a request for addresses asks for none");
    }
    Ok(found)
}

fn routes(payload: &[u8]) -> Result<Vec<Route>, &'static str> {
    const CUT: &str = "a route is cut short or of no version of IP";
    let (mut rest, mut found) = (payload, Vec::<Route>::new());
    while !rest.is_empty() {
        let version = take_byte(&mut rest).ok_or(CUT)?;
        let start = take_ip(version, &mut rest).ok_or(CUT)?;
        let end = take_ip(version, &mut rest).ok_or(CUT)?;
        let protocol = take_byte(&mut rest).ok_or(CUT)?;
        let route = Route {
            start,
            end,
            protocol,
        };
        if start > end {
            return Err("a route ends before it begins");
        }
        //= RFC 9484 4.7.3
        if found.last().is_some_and(|before| !follows(before, &route)) {
            return Err("routes are not in order, or overlap");
        }
        if found.len() == MAX_ROUTES {
            return Err("a capsule has more routes than we read");
        }
        found.push(route);
    }
    Ok(found)
}

/// By version, then protocol, then address, without overlap.
fn follows(before: &Route, route: &Route) -> bool {
    match (before.start.is_ipv4(), route.start.is_ipv4()) {
        (true, false) => true,
        (false, true) => false,
        _ if before.protocol != route.protocol => before.protocol < route.protocol,
        _ => before.end < route.start,
    }
}

/// Routes as the standard wants them: in order, and those that touch or overlap as one.
#[must_use]
pub fn in_order(mut routes: Vec<Route>) -> Vec<Route> {
    routes.sort_by_key(|route| {
        (
            route.start.is_ipv6(),
            route.protocol,
            route.start,
            route.end,
        )
    });
    let mut merged: Vec<Route> = Vec::new();
    for route in routes {
        match merged.last_mut() {
            Some(last)
                if last.start.is_ipv4() == route.start.is_ipv4()
                    && last.protocol == route.protocol
                    && route.start <= last.end =>
            {
                last.end = last.end.max(route.end);
            }
            _ => merged.push(route),
        }
    }
    merged
}

impl Capsule {
    /// Writes the capsule.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (kind, payload) = match self {
            Self::Datagram(payload) => return write(DATAGRAM, payload, out),
            Self::AddressAssign(list) => (ADDRESS_ASSIGN, write_addresses(list)),
            Self::AddressRequest(list) => (ADDRESS_REQUEST, write_addresses(list)),
            Self::RouteAdvertisement(list) => (ROUTE_ADVERTISEMENT, write_routes(list)),
            Self::Services(list) => (service::CAPSULE, service::encode(list)),
        };
        write(kind, &payload, out);
    }
}

fn write(kind: u64, payload: &[u8], out: &mut Vec<u8>) {
    super::frame::write(kind, payload, out);
}

pub(super) fn write_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => out.extend(ip.octets()),
        IpAddr::V6(ip) => out.extend(ip.octets()),
    }
}

pub(super) fn version(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 4 } else { 6 }
}

fn write_addresses(list: &[Address]) -> Vec<u8> {
    let mut out = Vec::new();
    for Address { request, prefix } in list {
        varint::write(*request, &mut out);
        out.push(version(prefix.addr()));
        write_ip(prefix.addr(), &mut out);
        out.push(prefix.prefix_len());
    }
    out
}

fn write_routes(list: &[Route]) -> Vec<u8> {
    let mut out = Vec::new();
    for route in list {
        out.push(version(route.start));
        write_ip(route.start, &mut out);
        write_ip(route.end, &mut out);
        out.push(route.protocol);
    }
    out
}

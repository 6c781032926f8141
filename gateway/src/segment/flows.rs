//! Asks connection tracking what is forwarded at the moment, and how many bytes passed.
//!
//! In: the mark of what is forwarded. Out: [`Flow`]s with what the kernel counted of them.
//! Changes nothing, and knows nothing of devices. Layouts are those of linux/netfilter/nfnetlink_conntrack.h.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lazaret_config::Transport;
use netlink_sys::Socket;

use super::crowd::FORWARDED_MARK;
use super::dynset::{KIND, attribute, attributes, u16_at, u32_at};
use super::plan::{MARK_BASE, MARK_BITS};
use crate::segment::SegmentError;

/// What tells a connection from all others; a later one with the same ends has another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowKey {
    /// The kernel's number.
    pub id: u32,
    /// Who opened it: a tunnel address.
    pub from: SocketAddr,
    /// What was called, before any translation.
    pub to: SocketAddr,
    /// TCP or UDP.
    pub transport: Transport,
}

/// A connection that is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Which.
    pub key: FlowKey,
    /// How far it is.
    pub state: FlowState,
    /// What passed; `None` if the kernel did not count when it began.
    pub passed: Option<Passed>,
    /// Who opened it, in the eyes of who was called.
    pub seen: Option<SocketAddr>,
    /// When it began, in nanoseconds since 1970; `None` if the kernel did not look at the clock then.
    pub began: Option<u64>,
}

/// Bytes of packets, headers and all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// From who opened it.
    pub received: u64,
    /// To who opened it.
    pub sent: u64,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowState {
    /// The other end did not answer, or refused.
    Tried,
    /// It is open.
    Open,
    /// It was open, and both ends closed it.
    Closed,
}

/// All connections that are forwarded, at most [`MAX_FLOWS`]; and whether these are all. Takes milliseconds; blocks.
///
/// # Errors
/// When the kernel does not answer, or in another way than is known.
pub fn forwarded() -> Result<(Vec<Flow>, bool), SegmentError> {
    dump(FORWARDED_MARK, u32::MAX)
}

/// As [`forwarded`], of those that are handed to the listener instead.
///
/// # Errors
/// As there.
pub fn steered() -> Result<Vec<Flow>, SegmentError> {
    Ok(dump(MARK_BASE, MARK_BITS)?.0)
}

fn dump(mark: u32, mask: u32) -> Result<(Vec<Flow>, bool), SegmentError> {
    let mut socket =
        Socket::new(netlink_sys::protocols::NETLINK_NETFILTER).map_err(SegmentError::Socket)?;
    socket.bind_auto().map_err(SegmentError::Socket)?;
    socket
        .send(&request(mark, mask), 0)
        .map_err(SegmentError::Send)?;
    let mut buffer = vec![0; MAX_DATAGRAM];
    let (mut flows, mut whole) = (Vec::new(), true);
    loop {
        let length = socket
            .recv(&mut &mut buffer[..], 0)
            .map_err(SegmentError::NoAnswer)?;
        match take(buffer.get(..length).unwrap_or_default(), &mut flows)? {
            Turn::More => {}
            Turn::Interrupted => whole = false,
            Turn::Done => return Ok((flows, whole)),
        }
        if flows.len() > MAX_FLOWS {
            flows.truncate(MAX_FLOWS);
            return Ok((flows, false));
        }
    }
}

/// Whether the kernel counts bytes and notes times of new connections; `None` where it does not say.
#[must_use]
pub fn counts() -> Option<bool> {
    let text = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_acct").ok()?;
    Some(text.trim() != "0")
}

/// A dump of all entries with the mark, of both families.
fn request(mark: u32, mask: u32) -> Vec<u8> {
    let filter = [
        attribute(MARK, &mark.to_be_bytes()),
        attribute(MARK_MASK, &mask.to_be_bytes()),
    ]
    .concat();
    let length = u32::try_from(HEADERS.saturating_add(filter.len())).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(GET.to_ne_bytes());
    bytes.extend(DUMP.to_ne_bytes());
    bytes.resize(HEADERS, 0);
    bytes.extend(filter);
    bytes
}

/// What a datagram of a dump means for the rest of it.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    More,
    /// The table changed its shape meanwhile: something may be missing.
    Interrupted,
    Done,
}

/// Takes the flows of one datagram; what is no flow of TCP or UDP is passed over.
fn take(bytes: &[u8], flows: &mut Vec<Flow>) -> Result<Turn, SegmentError> {
    let mut rest = bytes;
    let mut turn = Turn::More;
    while let (Some(length), Some(kind), Some(flags)) =
        (u32_at(rest, 0), u16_at(rest, 4), u16_at(rest, 6))
    {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let message = rest.get(..length).filter(|_| length >= NLMSG_HEADER);
        let message = message.ok_or(SegmentError::Answer)?;
        if flags & DUMP_INTERRUPTED != 0 {
            turn = Turn::Interrupted;
        }
        match kind {
            NLMSG_DONE => return Ok(Turn::Done),
            NLMSG_ERROR => {
                let code = u32_at(message, NLMSG_HEADER).map_or(0, u32::cast_signed);
                let error = io::Error::from_raw_os_error(code.saturating_neg());
                return Err(SegmentError::NoAnswer(error));
            }
            NEW => flows.extend(flow(message.get(HEADERS..).unwrap_or_default())),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(turn)
}

fn flow(body: &[u8]) -> Option<Flow> {
    let (mut ends, mut back, mut id, mut status, mut tcp) = (None, None, 0, 0, None);
    let (mut received, mut sent, mut began) = (None, None, None);
    for (kind, value) in attributes(body) {
        match kind & KIND {
            TUPLE_ORIGINAL => ends = tuple(value),
            TUPLE_REPLY => back = tuple(value),
            STATUS => status = be32(value)?,
            ID => id = be32(value)?,
            PROTOINFO => {
                let states = within(value, 1).and_then(|tcp| within(tcp, 1));
                tcp = states.and_then(|state| state.first().copied());
            }
            COUNTERS_ORIGINAL => received = within(value, 2).and_then(be64),
            COUNTERS_REPLY => sent = within(value, 2).and_then(be64),
            TIMESTAMP => began = within(value, 1).and_then(be64),
            _ => {}
        }
    }
    let (from, to, transport) = ends?;
    let was_open = match transport {
        Transport::Tcp => status & ASSURED != 0,
        Transport::Udp => status & SEEN_REPLY != 0,
    };
    let state = match tcp {
        _ if !was_open => FlowState::Tried,
        Some(TIME_WAIT | CLOSE) => FlowState::Closed,
        _ => FlowState::Open,
    };
    let key = FlowKey {
        id,
        from,
        to,
        transport,
    };
    Some(Flow {
        key,
        state,
        passed: received
            .zip(sent)
            .map(|(received, sent)| Passed { received, sent }),
        seen: back.map(|(_, seen, _)| seen),
        began: began.filter(|nanos| *nanos > 0),
    })
}

/// Source, destination and transport.
fn tuple(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr, Transport)> {
    let (addresses, ports) = (within(bytes, 1)?, within(bytes, 2)?);
    let address = |v4, v6| -> Option<IpAddr> {
        if let Some(octets) = within(addresses, v4) {
            return Some(Ipv4Addr::from(*octets.first_chunk::<4>()?).into());
        }
        let octets = within(addresses, v6)?;
        Some(Ipv6Addr::from(*octets.first_chunk::<16>()?).into())
    };
    let port = |kind| Some(u16::from_be_bytes(*within(ports, kind)?.first_chunk()?));
    let transport = match within(ports, 1)?.first()? {
        6 => Transport::Tcp,
        17 => Transport::Udp,
        _ => return None,
    };
    let from = SocketAddr::new(address(1, 3)?, port(2)?);
    let to = SocketAddr::new(address(2, 4)?, port(3)?);
    Some((from, to, transport))
}

/// The attribute of a kind inside of another.
fn within(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut all = attributes(bytes);
    all.find_map(|(kind, value)| (kind & KIND == wanted).then_some(value))
}

fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn be64(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Most connections that are looked at at once.
//= C7
pub const MAX_FLOWS: usize = 65_536;
/// The kernel's datagrams in a dump are at most 32 KiB.
const MAX_DATAGRAM: usize = 65_536;
const NLMSG_HEADER: usize = 16;
/// With `nfgenmsg`.
const HEADERS: usize = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NFNL_SUBSYS_CTNETLINK` and `IPCTNL_MSG_CT_GET`.
const GET: u16 = 1 << 8 | 1;
/// `NFNL_SUBSYS_CTNETLINK` and `IPCTNL_MSG_CT_NEW`.
const NEW: u16 = 1 << 8;
/// `NLM_F_REQUEST` and `NLM_F_DUMP`.
const DUMP: u16 = 0x301;
/// `NLM_F_DUMP_INTR`.
const DUMP_INTERRUPTED: u16 = 0x10;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
const PROTOINFO: u16 = 4;
const MARK: u16 = 8;
const COUNTERS_ORIGINAL: u16 = 9;
const COUNTERS_REPLY: u16 = 10;
const ID: u16 = 12;
const TIMESTAMP: u16 = 20;
const MARK_MASK: u16 = 21;
/// `IPS_SEEN_REPLY`.
const SEEN_REPLY: u32 = 1 << 1;
/// `IPS_ASSURED`.
const ASSURED: u32 = 1 << 2;
/// `TCP_CONNTRACK_TIME_WAIT`.
const TIME_WAIT: u8 = 7;
/// `TCP_CONNTRACK_CLOSE`.
const CLOSE: u8 = 8;

#[cfg(test)]
mod tests {
    use super::super::dynset::NESTED;
    use super::*;

    fn nest(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
        attribute(kind | NESTED, &parts.concat())
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADERS + body.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADERS, 0);
        bytes.extend(body);
        bytes
    }

    fn entry(protocol: u8, status: u32, state: u8) -> Vec<u8> {
        let ends = [
            nest(
                1,
                &[attribute(1, &[10, 64, 0, 3]), attribute(2, &[10, 20, 0, 5])],
            ),
            nest(
                2,
                &[
                    attribute(1, &[protocol]),
                    attribute(2, &40_000u16.to_be_bytes()),
                    attribute(3, &22u16.to_be_bytes()),
                ],
            ),
        ];
        let counters = |packets: u64, bytes: u64| {
            [
                attribute(1, &packets.to_be_bytes()),
                attribute(2, &bytes.to_be_bytes()),
            ]
        };
        [
            nest(TUPLE_ORIGINAL, &ends),
            attribute(STATUS, &status.to_be_bytes()),
            nest(PROTOINFO, &[nest(1, &[attribute(1, &[state])])]),
            nest(COUNTERS_ORIGINAL, &counters(3, 180)),
            nest(COUNTERS_REPLY, &counters(2, 5_000_000_000)),
            attribute(ID, &7u32.to_be_bytes()),
            nest(
                TIMESTAMP,
                &[attribute(1, &1_700_000_000_000_000_000u64.to_be_bytes())],
            ),
        ]
        .concat()
    }

    #[test]
    fn entries_are_read() {
        let mut flows = Vec::new();
        let open = ASSURED | SEEN_REPLY;
        let parts = [
            message(NEW, &entry(6, open, 3)),
            message(NEW, &entry(6, open, TIME_WAIT)),
            message(NEW, &entry(6, SEEN_REPLY, CLOSE)),
            message(NEW, &entry(17, SEEN_REPLY, 0)),
            message(NEW, &entry(1, SEEN_REPLY, 0)),
        ];
        assert_eq!(take(&parts.concat(), &mut flows).unwrap(), Turn::More);
        let states: Vec<FlowState> = flows.iter().map(|flow| flow.state).collect();
        let (open, closed, tried) = (FlowState::Open, FlowState::Closed, FlowState::Tried);
        assert_eq!(states, [open, closed, tried, open]);
        let first = flows[0];
        assert_eq!(first.key.id, 7);
        assert_eq!(first.key.from.to_string(), "10.64.0.3:40000");
        assert_eq!(first.key.to.to_string(), "10.20.0.5:22");
        let (received, sent) = (180, 5_000_000_000);
        assert_eq!(first.passed, Some(Passed { received, sent }));
        assert_eq!(first.began, Some(1_700_000_000_000_000_000));
        let done = take(&message(NLMSG_DONE, &[]), &mut flows).unwrap();
        assert_eq!(done, Turn::Done);
        let mut refused = message(NLMSG_ERROR, &[]);
        refused[16..20].copy_from_slice(&(-1i32).to_ne_bytes());
        assert!(take(&refused, &mut flows).is_err());
    }

    #[test]
    fn a_shorter_entry_is_none_or_one_that_knows_less() {
        let whole = entry(6, ASSURED, 3);
        for length in 0..whole.len() {
            if let Some(flow) = flow(&whole[..length]) {
                assert_eq!(flow.key.to.port(), 22);
            }
        }
        for length in 1..NLMSG_HEADER {
            let mut bytes = message(NEW, &whole);
            bytes[..4].copy_from_slice(&u32::try_from(length).unwrap().to_ne_bytes());
            assert!(take(&bytes, &mut Vec::new()).is_err(), "{length}");
        }
    }
}

//! Ends live flows by deleting what the kernel remembers of them.
//!
//! In: [`Cut`]s. Out: no entry of those flows is left; with `nf_conntrack_tcp_loose=0` they never come back.
//! Change the table first, or a new entry may follow the deleted one.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};

use lazaret_config::Transport;
use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol, Tuple,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_sys::Socket;

use crate::segment::SegmentError;
use crate::segment::changes::Cut;

/// Ends flows. It does not matter whether there are any.
///
/// # Errors
/// When the kernel cannot be asked; then some flows may be left.
pub fn cut(cuts: &[Cut]) -> Result<(), SegmentError> {
    let single = |cut: &&Cut| matches!(cut, Cut::Flow(_));
    let (single, several): (Vec<&Cut>, Vec<&Cut>) = cuts.iter().partition(single);
    let keys = single.into_iter().filter_map(|cut| match cut {
        Cut::Flow(key) => Some((key.from, key.to, key.transport)),
        Cut::Device { .. } | Cut::Service { .. } | Cut::Knock { .. } | Cut::Dial { .. } => None,
    });
    forget(keys)?;
    let several = several.into_iter();
    let (v4, v6): (Vec<Cut>, Vec<Cut>) = several.partition(|cut| match cut {
        Cut::Flow(key) => key.from.is_ipv4(),
        Cut::Device { address } => address.is_ipv4(),
        Cut::Service { device, .. } => device.is_ipv4(),
        Cut::Knock { from, .. } => from.is_ipv4(),
        Cut::Dial { device } => device.is_ipv4(),
    });
    // Each filtered deletion walks the kernel's table once, a dump does so for all.
    if v4.len() > MAX_FILTERED || !cut_filtered(&v4)? {
        cut_dumped(&v4, NetfilterProtoFamily::IPv4)?;
    }
    // Linux up to 6.18 compares IPv6 addresses of a filter the wrong way round and deletes all others' flows.
    if !v6.is_empty() {
        cut_dumped(&v6, NetfilterProtoFamily::IPv6)?;
    }
    Ok(())
}

/// Deletes single entries: who called, who was called. It does not matter whether there are any.
///
/// # Errors
/// When the kernel cannot be asked; then some may be left.
pub(super) fn forget(
    keys: impl Iterator<Item = (SocketAddr, SocketAddr, Transport)>,
) -> Result<(), SegmentError> {
    let mut keys = keys.peekable();
    if keys.peek().is_none() {
        return Ok(());
    }
    let socket = open().map_err(SegmentError::Socket)?;
    for (from, to, transport) in keys {
        let tuples = vec![
            Tuple::Ip(vec![
                IPTuple::SourceAddress(from.ip()),
                IPTuple::DestinationAddress(to.ip()),
            ]),
            Tuple::Proto(vec![
                ProtoTuple::Protocol(protocol(transport)),
                ProtoTuple::SourcePort(from.port()),
                ProtoTuple::DestinationPort(to.port()),
            ]),
        ];
        let attributes = vec![ConntrackAttribute::CtaTupleOrig(tuples)];
        let family = family_of(from.ip());
        let delete = message(family, ConntrackMessage::Delete(attributes), 0);
        match ask(&socket, &delete) {
            Ok(()) => {}
            Err(e) if absent(&e) => {}
            Err(e) => return Err(SegmentError::Send(e)),
        }
    }
    Ok(())
}

/// Whether the kernel knows how.
fn cut_filtered(cuts: &[Cut]) -> Result<bool, SegmentError> {
    let socket = open().map_err(SegmentError::Socket)?;
    for cut in cuts {
        for filter in filters(cut) {
            match ask(&socket, &filter) {
                Ok(()) => {}
                Err(e) if absent(&e) => {}
                Err(e) if unsupported(&e) => return Ok(false),
                Err(e) => return Err(SegmentError::Send(e)),
            }
        }
    }
    Ok(true)
}

/// One filtered deletion for each way in which a flow may match.
fn filters(cut: &Cut) -> Vec<Vec<u8>> {
    let filter = |address: IpAddr, tuples: Vec<Tuple>, bits: u32| {
        let attributes = vec![
            ConntrackAttribute::CtaTupleOrig(tuples),
            ConntrackAttribute::Other(DefaultNla::new(CTA_FILTER, flags(bits))),
        ];
        let mut bytes = message(family_of(address), ConntrackMessage::Delete(attributes), 0);
        // The library drops the flag that says that an attribute holds others; the kernel insists on it.
        let kind = bytes.len().checked_sub(FILTER_LENGTH - 2);
        if let Some(kind) = kind.and_then(|at| bytes.get_mut(at..at + 2)) {
            kind.copy_from_slice(&(CTA_FILTER | NESTED).to_ne_bytes());
        }
        bytes
    };
    match *cut {
        Cut::Device { address } => vec![
            filter(
                address,
                vec![Tuple::Ip(vec![IPTuple::SourceAddress(address)])],
                BY_SOURCE,
            ),
            filter(
                address,
                vec![Tuple::Ip(vec![IPTuple::DestinationAddress(address)])],
                BY_DESTINATION,
            ),
        ],
        Cut::Flow(_) | Cut::Service { .. } | Cut::Knock { .. } | Cut::Dial { .. } => {
            let Some((from, to, transport)) = wanted(cut) else {
                return Vec::new();
            };
            let mut ends = vec![IPTuple::DestinationAddress(to.ip())];
            ends.extend(from.map(IPTuple::SourceAddress));
            let tuples = vec![
                Tuple::Ip(ends),
                Tuple::Proto(vec![
                    ProtoTuple::Protocol(protocol(transport)),
                    ProtoTuple::DestinationPort(to.port()),
                ]),
            ];
            let by_source = if from.is_some() { BY_SOURCE } else { 0 };
            let bits = by_source | BY_DESTINATION | BY_PROTOCOL | BY_DESTINATION_PORT;
            vec![filter(to.ip(), tuples, bits)]
        }
    }
}

/// Who called, if that matters, and what was called.
type Call = (Option<IpAddr>, SocketAddr, Transport);

/// The calls of a cut; `None` if all flows of an address are meant.
fn wanted(cut: &Cut) -> Option<Call> {
    match *cut {
        Cut::Device { .. } | Cut::Flow(_) => None,
        Cut::Service {
            device,
            service,
            transport,
        } => Some((Some(device), service, transport)),
        Cut::Knock { from, dialled } => Some((Some(from), dialled, Transport::Tcp)),
        Cut::Dial { device } => Some((None, device, Transport::Tcp)),
    }
}

/// The value of CTA_FILTER: which fields of the original direction count, and none of the reply.
fn flags(bits: u32) -> Vec<u8> {
    let mut value = Vec::with_capacity(16);
    for (kind, bits) in [(1u16, bits), (2, 0)] {
        value.extend(8u16.to_ne_bytes());
        value.extend(kind.to_ne_bytes());
        value.extend(bits.to_ne_bytes());
    }
    value
}

/// Reads all entries, and deletes those that match by their own tuple.
fn cut_dumped(cuts: &[Cut], family: NetfilterProtoFamily) -> Result<(), SegmentError> {
    let wanted = Wanted::new(cuts);
    let dump = open().map_err(SegmentError::Socket)?;
    let request = message(family, ConntrackMessage::Get(vec![]), NLM_F_DUMP);
    dump.send(&request, 0).map_err(SegmentError::Send)?;
    let mut matching = Vec::new();
    loop {
        let (bytes, _) = dump.recv_from_full().map_err(SegmentError::NoAnswer)?;
        if collect(&bytes, &wanted, &mut matching)? {
            break;
        }
    }
    let socket = open().map_err(SegmentError::Socket)?;
    for (address, tuple) in matching {
        let attributes = vec![ConntrackAttribute::CtaTupleOrig(tuple)];
        let delete = message(family_of(address), ConntrackMessage::Delete(attributes), 0);
        match ask(&socket, &delete) {
            Ok(()) => {}
            Err(e) if absent(&e) => {}
            Err(e) => return Err(SegmentError::Send(e)),
        }
    }
    Ok(())
}

/// Takes what matches out of one datagram of a dump; whether it was the last.
fn collect(
    bytes: &[u8],
    wanted: &Wanted,
    matching: &mut Vec<(IpAddr, Vec<Tuple>)>,
) -> Result<bool, SegmentError> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let message = NetlinkMessage::<NetfilterMessage>::deserialize(rest)
            .map_err(|_| SegmentError::Answer)?;
        let length = message.header.length as usize;
        if let NetlinkPayload::Done(_) = &message.payload {
            return Ok(true);
        }
        if let NetlinkPayload::Error(e) = &message.payload
            && e.code.is_some()
        {
            return Err(SegmentError::NoAnswer(e.to_io()));
        }
        if let NetlinkPayload::InnerMessage(inner) = message.payload
            && let NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) = inner.inner
        {
            matching.extend(attributes.into_iter().find_map(|a| wanted.original(a)));
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// Cuts, for looking up.
struct Wanted {
    devices: BTreeSet<IpAddr>,
    calls: BTreeSet<Call>,
}

impl Wanted {
    fn new(cuts: &[Cut]) -> Self {
        let devices = cuts.iter().filter_map(|cut| match *cut {
            Cut::Device { address } => Some(address),
            Cut::Flow(_) | Cut::Service { .. } | Cut::Knock { .. } | Cut::Dial { .. } => None,
        });
        Self {
            devices: devices.collect(),
            calls: cuts.iter().filter_map(wanted).collect(),
        }
    }

    /// The tuple by which to delete the entry, if it is wanted.
    fn original(&self, attribute: ConntrackAttribute) -> Option<(IpAddr, Vec<Tuple>)> {
        let ConntrackAttribute::CtaTupleOrig(tuples) = attribute else {
            return None;
        };
        let (mut from, mut to, mut transport, mut port) = (None, None, None, None);
        for tuple in &tuples {
            if let Tuple::Ip(parts) = tuple {
                for part in parts {
                    if let IPTuple::SourceAddress(address) = part {
                        from = Some(*address);
                    } else if let IPTuple::DestinationAddress(address) = part {
                        to = Some(*address);
                    }
                }
            } else if let Tuple::Proto(parts) = tuple {
                for part in parts {
                    if let ProtoTuple::Protocol(number) = part {
                        transport = transport_of(*number);
                    } else if let ProtoTuple::DestinationPort(number) = part {
                        port = Some(*number);
                    }
                }
            }
        }
        let (from, to) = (from?, to?);
        let of_device = self.devices.contains(&from) || self.devices.contains(&to);
        let called = || {
            let (to, transport) = (SocketAddr::new(to, port?), transport?);
            let mut keys = [Some(from), None].into_iter();
            keys.any(|from| self.calls.contains(&(from, to, transport)))
                .then_some(())
        };
        (of_device || called().is_some()).then_some((from, tuples))
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(netlink_sys::protocols::NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// The family must be that of the addresses.
fn message(family: NetfilterProtoFamily, inner: ConntrackMessage, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | if flags == 0 { NLM_F_ACK } else { flags };
    header.sequence_number = 1;
    let inner = NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), inner);
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(inner));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Sends one message and waits for its acknowledgement.
fn ask(socket: &Socket, request: &[u8]) -> io::Result<()> {
    socket.send(request, 0)?;
    let (bytes, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<NetfilterMessage>::deserialize(&bytes)
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let NetlinkPayload::Error(e) = answer.payload else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    // An acknowledgement is an error without a code.
    if e.code.is_some() {
        return Err(e.to_io());
    }
    Ok(())
}

fn family_of(address: IpAddr) -> NetfilterProtoFamily {
    match address {
        IpAddr::V4(_) => NetfilterProtoFamily::IPv4,
        IpAddr::V6(_) => NetfilterProtoFamily::IPv6,
    }
}

fn absent(e: &io::Error) -> bool {
    e.raw_os_error() == Some(libc::ENOENT)
}

fn unsupported(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}

fn protocol(transport: Transport) -> Protocol {
    match transport {
        Transport::Tcp => Protocol::Tcp,
        Transport::Udp => Protocol::Udp,
    }
}

fn transport_of(number: Protocol) -> Option<Transport> {
    [Transport::Tcp, Transport::Udp]
        .into_iter()
        .find(|transport| protocol(*transport) == number)
}

/// More cuts than this are made by one dump.
const MAX_FILTERED: usize = 16;
/// Attribute of a conntrack message.
const CTA_FILTER: u16 = 25;
/// Length of that attribute with its header.
const FILTER_LENGTH: usize = 20;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
const BY_SOURCE: u32 = 1;
const BY_DESTINATION: u32 = 1 << 1;
const BY_PROTOCOL: u32 = 1 << 3;
const BY_DESTINATION_PORT: u32 = 1 << 5;

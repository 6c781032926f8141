//! Ends live flows by deleting what the kernel remembers of them.
//!
//! In: [`Cut`]s. Out: no entry of those flows is left; with `nf_conntrack_tcp_loose=0` they never come back.
//! Change the table first, or a new entry may follow the deleted one.

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
    if cuts.is_empty() {
        return Ok(());
    }
    // Each filtered deletion walks the kernel's table once, a dump does so for all.
    if cuts.len() > MAX_FILTERED || !cut_filtered(cuts)? {
        cut_dumped(cuts)?;
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
        let mut bytes = message(Some(address), ConntrackMessage::Delete(attributes), 0);
        // The library drops the flag that says that an attribute holds others; the kernel insists on it.
        let kind = bytes.len().checked_sub(FILTER_LENGTH - 3);
        if let Some(high) = kind.and_then(|at| bytes.get_mut(at)) {
            *high |= NESTED;
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
        Cut::Service {
            device,
            service,
            transport,
        } => {
            let tuples = vec![
                Tuple::Ip(vec![
                    IPTuple::SourceAddress(device),
                    IPTuple::DestinationAddress(service.ip()),
                ]),
                Tuple::Proto(vec![
                    ProtoTuple::Protocol(protocol(transport)),
                    ProtoTuple::DestinationPort(service.port()),
                ]),
            ];
            let bits = BY_SOURCE | BY_DESTINATION | BY_PROTOCOL | BY_DESTINATION_PORT;
            vec![filter(device, tuples, bits)]
        }
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
fn cut_dumped(cuts: &[Cut]) -> Result<(), SegmentError> {
    let wanted = Wanted::new(cuts);
    let dump = open().map_err(SegmentError::Socket)?;
    let request = message(None, ConntrackMessage::Get(vec![]), NLM_F_DUMP);
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
        let delete = message(Some(address), ConntrackMessage::Delete(attributes), 0);
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
        match message.payload {
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(e) if e.code.is_some() => {
                return Err(SegmentError::NoAnswer(e.to_io()));
            }
            NetlinkPayload::InnerMessage(inner) => {
                if let NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) =
                    inner.inner
                {
                    matching.extend(attributes.into_iter().find_map(|a| wanted.original(a)));
                }
            }
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// Cuts, for looking up.
struct Wanted {
    devices: std::collections::BTreeSet<IpAddr>,
    services: std::collections::BTreeSet<(IpAddr, SocketAddr, Transport)>,
}

impl Wanted {
    fn new(cuts: &[Cut]) -> Self {
        let devices = cuts.iter().filter_map(|cut| match *cut {
            Cut::Device { address } => Some(address),
            Cut::Service { .. } => None,
        });
        let services = cuts.iter().filter_map(|cut| match *cut {
            Cut::Device { .. } => None,
            Cut::Service {
                device,
                service,
                transport,
            } => Some((device, service, transport)),
        });
        Self {
            devices: devices.collect(),
            services: services.collect(),
        }
    }

    /// The tuple by which to delete the entry, if it is wanted.
    fn original(&self, attribute: ConntrackAttribute) -> Option<(IpAddr, Vec<Tuple>)> {
        let ConntrackAttribute::CtaTupleOrig(tuples) = attribute else {
            return None;
        };
        let (mut from, mut to, mut transport, mut port) = (None, None, None, None);
        for tuple in &tuples {
            match tuple {
                Tuple::Ip(parts) => {
                    for part in parts {
                        match part {
                            IPTuple::SourceAddress(address) => from = Some(*address),
                            IPTuple::DestinationAddress(address) => to = Some(*address),
                            _ => {}
                        }
                    }
                }
                Tuple::Proto(parts) => {
                    for part in parts {
                        match part {
                            ProtoTuple::Protocol(Protocol::Tcp) => transport = Some(Transport::Tcp),
                            ProtoTuple::Protocol(Protocol::Udp) => transport = Some(Transport::Udp),
                            ProtoTuple::DestinationPort(number) => port = Some(*number),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        let (from, to) = (from?, to?);
        let of_device = self.devices.contains(&from) || self.devices.contains(&to);
        let to_service = || {
            let key = (from, SocketAddr::new(to, port?), transport?);
            self.services.contains(&key).then_some(())
        };
        (of_device || to_service().is_some()).then_some((from, tuples))
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(netlink_sys::protocols::NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
    Ok(socket)
}

fn message(address: Option<IpAddr>, inner: ConntrackMessage, flags: u16) -> Vec<u8> {
    // The family must be that of the addresses; a dump takes all.
    let family = match address {
        None => NetfilterProtoFamily::Unspec,
        Some(IpAddr::V4(_)) => NetfilterProtoFamily::IPv4,
        Some(IpAddr::V6(_)) => NetfilterProtoFamily::IPv6,
    };
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
    match answer.payload {
        NetlinkPayload::Error(e) if e.code.is_some() => Err(e.to_io()),
        _ => Ok(()),
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

/// More cuts than this are made by one dump.
const MAX_FILTERED: usize = 16;
/// Attribute of a conntrack message.
const CTA_FILTER: u16 = 25;
/// Length of that attribute with its header.
const FILTER_LENGTH: usize = 20;
/// `NLA_F_NESTED`, in the high byte of a type.
#[cfg(target_endian = "little")]
const NESTED: u8 = 0x80;
const BY_SOURCE: u32 = 1;
const BY_DESTINATION: u32 = 1 << 1;
const BY_PROTOCOL: u32 = 1 << 3;
const BY_DESTINATION_PORT: u32 = 1 << 5;

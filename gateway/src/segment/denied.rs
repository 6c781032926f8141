//! Hears what the table drops.
//!
//! In: the log group of the table's drops. Out: who wanted to reach what, and why it was dropped.
//! Reads addresses and ports only; the kernel hands over no more than the first 64 bytes of a packet.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_netfilter::nflog::{
    ConfigCmd, ConfigMode, ConfigNla, PacketNla, ULogMessage, config_request,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};
use netlink_sys::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::flow::Flow;
use crate::segment::table::{LOG_GROUP, Why};

/// Listens to the log group; one at a time in a network namespace. For use inside a tokio runtime.
pub struct DeniedWatch {
    socket: AsyncFd<Socket>,
    buffer: Vec<u8>,
}

/// A packet that was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeniedPacket {
    /// From where to where; port 0 if the transport has none or it is not at hand.
    pub flow: Flow,
    /// `tcp`, `udp`, `icmp`, `icmpv6` or the number of the protocol.
    pub transport: String,
    /// Why.
    pub why: Why,
    /// Index of the interface on which it came; 0 if unknown.
    pub interface: u32,
}

impl DeniedWatch {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the kernel refuses, or somebody else listens already.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(netlink_sys::protocols::NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.set_rx_buf_sz(RECEIVE_BUFFER)?;
        let attributes: Vec<ConfigNla> = vec![
            ConfigCmd::Bind.into(),
            ConfigMode::new_packet(COPY_LENGTH).into(),
            ConfigNla::QThresh(BATCH),
            ConfigNla::Timeout(std::time::Duration::from_millis(100).into()),
        ];
        let request = config_request(NetfilterProtoFamily::Unspec, LOG_GROUP, attributes);
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        socket.send(&bytes, 0)?;
        let mut buffer = vec![0; MAX_DATAGRAM];
        let length = socket.recv(&mut &mut buffer[..], 0)?;
        let answer = buffer.get(..length).unwrap_or_default();
        let answer = NetlinkMessage::<NetfilterMessage>::deserialize(answer)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        if let NetlinkPayload::Error(e) = answer.payload
            && e.code.is_some()
        {
            return Err(e.to_io());
        }
        socket.set_non_blocking(true)?;
        #[expect(
            deprecated,
            reason = "its successor needs unsafe code; this socket is never closed or exchanged"
        )]
        let socket = AsyncFd::new(socket)?;
        Ok(Self { socket, buffer })
    }

    /// The next packets; empty when some were lost because we were too slow. Safe to cancel.
    ///
    /// # Errors
    /// When the socket is broken.
    pub async fn next(&mut self) -> io::Result<Vec<DeniedPacket>> {
        let buffer = &mut self.buffer;
        let received = (self.socket)
            .async_io(Interest::READABLE, |socket| {
                socket.recv(&mut &mut buffer[..], 0)
            })
            .await;
        match received {
            Ok(length) => Ok(packets(self.buffer.get(..length).unwrap_or_default())),
            Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }
}

/// All packets of one datagram; what cannot be read is left out.
fn packets(bytes: &[u8]) -> Vec<DeniedPacket> {
    let mut packets = Vec::new();
    let mut rest = bytes;
    while let Ok(message) = NetlinkMessage::<NetfilterMessage>::deserialize(rest) {
        let length = message.header.length as usize;
        if let NetlinkPayload::InnerMessage(inner) = message.payload
            && let NetfilterMessageInner::ULog(ULogMessage::Packet(attributes)) = inner.inner
        {
            packets.extend(packet(&attributes));
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        if length == 0 || rest.is_empty() {
            break;
        }
    }
    packets
}

fn packet(attributes: &[PacketNla]) -> Option<DeniedPacket> {
    let (mut headers, mut why, mut interface) = (None, None, 0);
    for attribute in attributes {
        if let PacketNla::Payload(bytes) = attribute {
            headers = read_headers(bytes);
        } else if let PacketNla::Prefix(prefix) = attribute {
            why = Why::of_prefix(&prefix.to_string_lossy());
        } else if let PacketNla::IfIndexInDev(index) = attribute {
            interface = *index;
        }
    }
    let (flow, transport) = headers?;
    Some(DeniedPacket {
        flow,
        transport,
        why: why?,
        interface,
    })
}

/// Source, destination and transport of a packet of which only the beginning is at hand.
fn read_headers(bytes: &[u8]) -> Option<(Flow, String)> {
    let (source, destination, protocol, transport_header): (IpAddr, IpAddr, u8, &[u8]) =
        match bytes.first()? >> 4 {
            4 => {
                let length = usize::from(bytes.first()? & 0x0f) * 4;
                let fragment = u16::from_be_bytes(*bytes.get(6..)?.first_chunk()?) & 0x1fff;
                // Only the first fragment has ports.
                let rest = if fragment == 0 {
                    bytes.get(length..)
                } else {
                    None
                };
                (
                    Ipv4Addr::from(*bytes.get(12..)?.first_chunk::<4>()?).into(),
                    Ipv4Addr::from(*bytes.get(16..)?.first_chunk::<4>()?).into(),
                    *bytes.get(9)?,
                    rest.unwrap_or_default(),
                )
            }
            6 => (
                Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?).into(),
                Ipv6Addr::from(*bytes.get(24..)?.first_chunk::<16>()?).into(),
                *bytes.get(6)?,
                bytes.get(40..).unwrap_or_default(),
            ),
            _ => return None,
        };
    let (transport, has_ports) = match protocol {
        1 => ("icmp".to_owned(), false),
        6 => ("tcp".to_owned(), true),
        17 => ("udp".to_owned(), true),
        58 => ("icmpv6".to_owned(), false),
        other => (other.to_string(), false),
    };
    let port = (transport_header
        .get(2..)
        .and_then(|rest| rest.first_chunk()))
    .filter(|_| has_ports)
    .map_or(0, |bytes| u16::from_be_bytes(*bytes));
    let flow = Flow {
        source,
        destination: SocketAddr::new(destination, port),
    };
    Some((flow, transport))
}

/// Bytes of each packet that the kernel hands over: headers, no content to speak of.
const COPY_LENGTH: u32 = 64;
/// Packets that the kernel gathers before it wakes us, at most 100 ms.
const BATCH: u32 = 32;
/// The kernel's datagrams are as long as its batches.
const MAX_DATAGRAM: usize = 65_536;
/// What may wait for us in the kernel; more is lost and counted by the table only.
const RECEIVE_BUFFER: usize = 262_144;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_any_shorter_beginning_is_no_packet_or_one_without_port() {
        let mut v4 = vec![
            0x45, 0, 0, 60, 0, 0, 0, 0, 64, 6, 0, 0, 10, 64, 0, 1, 10, 20, 1, 10,
        ];
        v4.extend([0x9c, 0x40, 0, 104]);
        let mut v6 = vec![0x60, 0, 0, 0, 0, 20, 17, 64];
        v6.extend("fd64::1".parse::<Ipv6Addr>().unwrap().octets());
        v6.extend("fd20::10".parse::<Ipv6Addr>().unwrap().octets());
        v6.extend([0x9c, 0x40, 0, 53]);
        for (bytes, header, to, transport) in [
            (&v4, 20, "10.20.1.10:104", "tcp"),
            (&v6, 40, "[fd20::10]:53", "udp"),
        ] {
            let to: SocketAddr = to.parse().unwrap();
            let (flow, said) = read_headers(bytes).unwrap();
            assert_eq!((flow.destination, said.as_str()), (to, transport));
            for length in 0..bytes.len() {
                match read_headers(&bytes[..length]) {
                    None => assert!(length < header),
                    Some((flow, _)) => assert_eq!(flow.destination.port(), 0),
                }
            }
        }
        // A later fragment has no ports.
        v4[7] = 1;
        assert_eq!(read_headers(&v4).unwrap().0.destination.port(), 0);
    }
}

//! Connects to a service for the relay, in the hospital's eyes either as the gateway or as the device.
//!
//! In: an address that the policy named. Out: a connected socket without delays.
//! Decides nothing: the table's output chain lets it reach only services that some rule names.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lazaret_config::HospitalMode;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpSocket;

use crate::segment::chains::UPSTREAM_MARK;

/// Connects within `timeout`. With a `source` (mode `routed`) the service sees that address;
/// the answers find back by their connection's mark (see `host::prepare`), and CAP_NET_ADMIN is needed.
///
/// # Errors
/// Those of `connect`; [`io::ErrorKind::TimedOut`] when nobody answers.
pub async fn connect(
    service: SocketAddr,
    source: Option<IpAddr>,
    timeout: Duration,
) -> io::Result<std::net::TcpStream> {
    let socket = Socket::new(
        Domain::for_address(service),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        borrow_address(&socket, service, source)?;
    }
    let socket = TcpSocket::from_std_stream(socket.into());
    let stream = tokio::time::timeout(timeout, socket.connect(service)).await??;
    stream.into_std()
}

/// Whose address a service sees: `device`'s own where the hospital routes it.
#[must_use]
pub fn source(mode: HospitalMode, device: IpAddr) -> Option<IpAddr> {
    match mode {
        HospitalMode::Snat => None,
        HospitalMode::Routed => Some(device),
    }
}

/// Binds to an address that is not this host's, and marks what it sends.
fn borrow_address(socket: &Socket, service: SocketAddr, source: IpAddr) -> io::Result<()> {
    match (service, source) {
        (SocketAddr::V4(_), IpAddr::V4(_)) => socket.set_ip_transparent_v4(true)?,
        (SocketAddr::V6(_), IpAddr::V6(_)) => socket.set_ip_transparent_v6(true)?,
        (SocketAddr::V4(_), IpAddr::V6(_)) | (SocketAddr::V6(_), IpAddr::V4(_)) => {
            let why = "the device has no address of the service's family";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
    }
    socket.set_mark(UPSTREAM_MARK)?;
    let mut last = io::ErrorKind::AddrInUse.into();
    for _ in 0..BIND_ATTEMPTS {
        let random = getrandom::u32().map_err(|e| io::Error::other(e.to_string()))?;
        let port = PORTS.start + u16::try_from(random % PORT_COUNT).unwrap_or_default();
        match socket.bind(&SocketAddr::new(source, port).into()) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

/// Source ports for borrowed addresses: below those that devices choose themselves. A connection with the address,
/// the port and the destination of one of the device's own would be taken for that one by connection tracking.
const PORTS: std::ops::Range<u16> = 20_000..32_768;
const PORT_COUNT: u32 = 12_768;
/// Ports that are tried.
const BIND_ATTEMPTS: usize = 16;

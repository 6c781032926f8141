//! The sockets of the tunnel.
//!
//! In: descriptors that the supervisor bound, datagrams to send. Out: datagrams with both addresses.
//! Knows nothing of what is inside. Datagrams are received coalesced (GRO) and sent as trains (GSO) where the kernel can.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::batch::{Batch, Train};
use super::peer::Path;
use crate::channel::watch;

/// Binds the sockets for an address; to be called where the privileges are.
///
/// `[::]` gives one socket for IPv6 and one for IPv4 on the same port, so that no address is an IPv4-mapped one.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(listen: SocketAddr) -> io::Result<Vec<OwnedFd>> {
    if listen.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        return Ok(vec![bind_one(listen)?.into()]);
    }
    let mut tries = if listen.port() == 0 { BIND_TRIES } else { 1 };
    loop {
        tries -= 1;
        let six = match bind_one(listen) {
            Ok(socket) => Some(socket),
            // A kernel without IPv6.
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => None,
            Err(error) => return Err(error),
        };
        let bound = six.as_ref().map(Socket::local_addr).transpose()?;
        let port = bound.and_then(|address| address.as_socket());
        let port = port.map_or(listen.port(), |address| address.port());
        match bind_one((Ipv4Addr::UNSPECIFIED, port).into()) {
            Ok(four) => {
                return Ok(six.into_iter().chain([four]).map(OwnedFd::from).collect());
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

fn bind_one(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Beyond the limits of the system where the privilege is there, else as far as it goes.
    if sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
        let _ = socket.set_recv_buffer_size(BUFFER);
    }
    if sockopt::set_socket_send_buffer_size_force(&socket, BUFFER).is_err() {
        let _ = socket.set_send_buffer_size(BUFFER);
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The bound sockets, for use inside a tokio runtime.
pub struct Sockets {
    sockets: Vec<UdpSocket>,
    /// Where the kernel puts datagrams, one after the other in trains.
    buffers: Vec<Vec<u8>>,
}

impl Sockets {
    /// Adopts bound descriptors. `gso` allows trains on the way out.
    ///
    /// # Errors
    /// When one is no UDP socket or cannot be watched.
    pub fn new(descriptors: Vec<OwnedFd>, gso: bool) -> io::Result<Self> {
        let sockets = descriptors.into_iter().map(|fd| UdpSocket::new(fd, gso));
        Ok(Self {
            sockets: sockets.collect::<io::Result<_>>()?,
            buffers: vec![vec![0; RECEIVE_SIZE]; BATCH_SIZE],
        })
    }

    /// The port on which they listen.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.sockets.first().map_or(0, |socket| socket.local.port())
    }

    /// Waits until one has something. Cancel-safe.
    ///
    /// # Errors
    /// When the runtime is going down.
    pub async fn readable(&self) -> io::Result<()> {
        let waits = self
            .sockets
            .iter()
            .map(|socket| Box::pin(socket.io.readable()));
        let waits: Vec<_> = waits.collect();
        if waits.is_empty() {
            return std::future::pending().await;
        }
        // Readiness is cleared by the read that finds nothing.
        futures_util::future::select_all(waits)
            .await
            .0?
            .retain_ready();
        Ok(())
    }

    /// Reads one batch of each socket that has something and shows each datagram.
    ///
    /// # Errors
    /// When a socket is broken.
    pub fn receive(&mut self, mut each: impl FnMut(&[u8], Path)) -> io::Result<()> {
        for socket in &self.sockets {
            let mut meta = [RecvMeta::default(); BATCH_SIZE];
            let mut slices: Vec<IoSliceMut<'_>> = self
                .buffers
                .iter_mut()
                .map(|buffer| IoSliceMut::new(buffer))
                .collect();
            let received = socket.io.try_io(Interest::READABLE, |fd| {
                socket.state.recv(fd.into(), &mut slices, &mut meta)
            });
            let received = match received {
                Ok(received) => received,
                // Also an ICMP error about something we sent: of no interest.
                Err(error) if is_passing(&error) => continue,
                Err(error) => return Err(error),
            };
            for (meta, buffer) in meta.iter().zip(&self.buffers).take(received) {
                let path = Path {
                    remote: meta.addr,
                    local: meta.dst_ip.filter(is_source),
                };
                let bytes = buffer.get(..meta.len).unwrap_or_default();
                bytes
                    .chunks(meta.stride.max(1))
                    .for_each(|datagram| each(datagram, path));
            }
        }
        Ok(())
    }

    /// Sends a batch in order. Returns local addresses from which the kernel does not send any more.
    ///
    /// What the kernel does not take within 5 ms is dropped, as on any other link.
    pub async fn send(&mut self, batch: &Batch<Path>) -> Vec<IpAddr> {
        let mut gone = Vec::new();
        let most = self.sockets.iter().map(UdpSocket::most).max().unwrap_or(1);
        for train in batch.trains(most) {
            let remote = train.about.remote;
            let socket = self
                .sockets
                .iter_mut()
                .find(|s| s.local.is_ipv4() == remote.is_ipv4());
            let Some(socket) = socket else { continue };
            if let Some(address) = socket.send(train).await
                && !gone.contains(&address)
            {
                gone.push(address);
            }
        }
        gone
    }
}

struct UdpSocket {
    io: AsyncFd<OwnedFd>,
    state: UdpSocketState,
    local: SocketAddr,
    gso: bool,
}

impl UdpSocket {
    fn new(descriptor: OwnedFd, gso: bool) -> io::Result<Self> {
        let state = state(&descriptor)?;
        let local = socket2::SockRef::from(&descriptor).local_addr()?;
        let local = local.as_socket().ok_or(io::ErrorKind::InvalidInput)?;
        let io = watch(descriptor)?;
        Ok(Self {
            io,
            state,
            local,
            gso,
        })
    }

    fn most(&self) -> usize {
        if self.gso {
            self.state.max_gso_segments()
        } else {
            1
        }
    }

    /// Sends one train; returns the local address if it is gone.
    async fn send(&mut self, train: Train<'_, Path>) -> Option<IpAddr> {
        if train.is_several() && self.most() > 1 {
            let sent = self
                .transmit(train.bytes, Some(train.size), *train.about)
                .await;
            if !sent.is_err_and(|error| is_unable(&error)) {
                return None;
            }
            // No offload here, or the source address is gone: one by one will tell.
        }
        let mut gone = None;
        for datagram in train.packets() {
            let path = Path {
                local: train.about.local.filter(|_| gone.is_none()),
                ..*train.about
            };
            let sent = self.transmit(datagram, None, path).await;
            if path.local.is_some() && sent.is_err_and(|error| is_unable(&error)) {
                // A network that is gone is another thing: then nothing helps.
                let again = self.transmit(datagram, None, path.remote.into()).await;
                gone = path.local.filter(|_| again.is_ok());
            }
        }
        if gone.is_some() {
            // The refusal was not about the offload, which the library has given up now.
            if let Ok(state) = state(self.io.get_ref()) {
                self.state = state;
            }
        }
        gone
    }

    async fn transmit(&self, bytes: &[u8], size: Option<usize>, path: Path) -> io::Result<()> {
        let transmit = Transmit {
            destination: path.remote,
            ecn: None,
            contents: bytes,
            segment_size: size,
            src_ip: path.local,
        };
        let send = |fd: &OwnedFd| self.state.try_send(fd.into(), &transmit);
        match self.io.try_io(Interest::WRITABLE, send) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let wait = self.io.async_io(Interest::WRITABLE, send);
                tokio::time::timeout(PATIENCE, wait).await.unwrap_or(Ok(()))
            }
            sent => sent,
        }
    }
}

fn state(descriptor: &OwnedFd) -> io::Result<UdpSocketState> {
    let state = UdpSocketState::new(descriptor.into())?;
    // The library forbids fragments, which is for QUIC. A tunnel on a narrow path rather has fragments than nothing.
    let _ = sockopt::set_ip_mtu_discover(descriptor.as_fd(), Ipv4PathMtuDiscovery::DONT);
    let _ = sockopt::set_ipv6_mtu_discover(descriptor.as_fd(), Ipv6PathMtuDiscovery::DONT);
    Ok(state)
}

/// Whether one can answer from this address.
fn is_source(address: &IpAddr) -> bool {
    let is_broadcast = *address == IpAddr::V4(Ipv4Addr::BROADCAST);
    !(address.is_unspecified() || address.is_multicast() || is_broadcast)
}

/// The kernel cannot send in this way.
fn is_unable(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EIO | libc::EADDRNOTAVAIL | libc::ENETUNREACH | libc::EMSGSIZE)
    )
}

/// Errors that say nothing about the socket.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EAGAIN
                | libc::EINTR
                | libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::ENETDOWN
                | libc::ENOMEM
                | libc::ENOBUFS
        )
    ) || error.kind() == io::ErrorKind::WouldBlock
}

/// Buffers asked of the kernel.
const BUFFER: usize = 4 << 20;
/// A whole train.
const RECEIVE_SIZE: usize = 1 << 16;
/// How long a full socket may hold up the tunnel.
const PATIENCE: Duration = Duration::from_millis(5);
/// A port that is free for IPv6 may be taken for IPv4.
const BIND_TRIES: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(descriptor: &OwnedFd) -> SocketAddr {
        let address = socket2::SockRef::from(descriptor).local_addr().unwrap();
        address.as_socket().unwrap()
    }

    #[test]
    fn any_address_means_two_sockets_on_one_port() {
        let sockets = bind("[::]:0".parse().unwrap()).unwrap();
        let [six, four] = [&sockets[0], &sockets[1]].map(address);
        assert!(six.is_ipv6() && four.is_ipv4() && six.port() == four.port());
        let sockets = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_eq!(sockets.len(), 1);
        let taken = bind(address(&sockets[0])).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn trains_arrive_with_both_addresses() {
        for gso in [true, false] {
            let mut sockets = Sockets::new(bind("[::]:0".parse().unwrap()).unwrap(), gso).unwrap();
            let target = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 7), sockets.port()));
            let mut batch = Batch::new();
            for (length, byte) in [(1000, 1), (1000, 2), (1000, 3), (9, 4), (70, 5)] {
                batch.push(&vec![byte; length], Path::from(target));
            }
            assert!(sockets.send(&batch).await.is_empty());
            let mut got = Vec::new();
            while got.len() < 5 {
                sockets.readable().await.unwrap();
                sockets
                    .receive(|datagram, path| got.push((datagram.to_vec(), path)))
                    .unwrap();
            }
            let sizes: Vec<_> = got.iter().map(|(d, _)| (d.len(), d[0])).collect();
            assert_eq!(sizes, [(1000, 1), (1000, 2), (1000, 3), (9, 4), (70, 5)]);
            assert!(got.iter().all(|(_, p)| p.local == Some(target.ip())));
            assert!(got.iter().all(|(_, p)| p.remote.port() == sockets.port()));
        }
    }

    #[tokio::test]
    async fn a_local_address_that_is_gone_is_told_and_does_not_lose_the_datagram() {
        let mut sockets =
            Sockets::new(bind("127.0.0.1:0".parse().unwrap()).unwrap(), true).unwrap();
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, sockets.port()));
        let stale: IpAddr = "198.51.100.77".parse().unwrap();
        let mut batch = Batch::new();
        for _ in 0..3 {
            batch.push(
                &[7; 40],
                Path {
                    remote: target,
                    local: Some(stale),
                },
            );
        }
        let before = sockets.sockets[0].most();
        assert_eq!(sockets.send(&batch).await, [stale]);
        assert_eq!(
            sockets.sockets[0].most(),
            before,
            "the offload is still believed in"
        );
        let mut got = 0;
        while got < 3 {
            sockets.readable().await.unwrap();
            sockets
                .receive(|datagram, _| got += usize::from(datagram == [7; 40]))
                .unwrap();
        }
    }
}

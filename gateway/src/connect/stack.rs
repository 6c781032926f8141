//! TCP without an interface: connections through the tunnel for whoever may not make one.
//!
//! In: streams of this machine with a destination, packets of the gateway. Out: packets for the gateway.
//! Knows nothing of services. One task; each stream has two of its own that read and write it.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp::{self, CongestionControl, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time;
use tracing::debug;

use super::link::Granted;
use crate::masque::MIN_MTU;

/// A stream of this machine that wants to go somewhere.
#[derive(Debug)]
pub(super) struct Open {
    /// Of a program on this machine.
    pub(super) stream: TcpStream,
    /// Through the tunnel.
    pub(super) target: SocketAddr,
}

/// Most streams at a time; further ones are closed.
//= C7
pub(super) const MAX_FLOWS: usize = 128;
/// Bytes of a stream on their way in each direction.
//= C7
const WINDOW: usize = 256 * 1024;
/// Pieces of a stream that wait for a program, or come from it.
//= C7
const PIECES: usize = 8;
const PIECE: usize = 16 * 1024;
/// A peer that is silent for so long, asked again and again, is gone.
const SILENCE: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(60);
const ASK: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(20);
/// Local ports of our connections (RFC 6335 6).
const FIRST_PORT: u16 = 49_152;

/// Packets as smoltcp wants them.
struct Wire {
    arrived: VecDeque<Vec<u8>>,
    leaving: mpsc::Sender<Vec<u8>>,
}

struct Arrived(Vec<u8>);
struct Leaving<'w>(&'w mpsc::Sender<Vec<u8>>);

impl phy::RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl phy::TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut packet = vec![0; length];
        let made = f(&mut packet);
        // There was space when the token was given.
        let _ = self.0.try_send(packet);
        made
    }
}

impl Device for Wire {
    type RxToken<'w> = Arrived;
    type TxToken<'w> = Leaving<'w>;

    fn receive(&mut self, _: Instant) -> Option<(Arrived, Leaving<'_>)> {
        let packet = self.arrived.pop_front()?;
        Some((Arrived(packet), Leaving(&self.leaving)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Leaving<'_>> {
        (self.leaving.capacity() > 0).then_some(Leaving(&self.leaving))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        // What every path carries; the stack cannot change it later.
        capabilities.max_transmission_unit = MIN_MTU;
        capabilities
    }
}

/// A connection through the tunnel and the stream that it belongs to.
struct Flow {
    socket: SocketHandle,
    from_program: mpsc::Receiver<Vec<u8>>,
    /// Nothing once the peer has said all.
    to_program: Option<mpsc::Sender<Vec<u8>>>,
    /// What the program said and the connection did not take yet, from a byte on.
    rest: Option<(Vec<u8>, usize)>,
    reads: AbortHandle,
}

/// The stack and its connections.
pub(super) struct Stack {
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    flows: Vec<Flow>,
    addresses: Vec<IpNet>,
    next_port: u16,
    began: time::Instant,
    wake: Arc<Notify>,
}

impl Stack {
    /// A stack without addresses. `seed`: unpredictable.
    pub(super) fn new(leaving: mpsc::Sender<Vec<u8>>, seed: u64) -> Self {
        let mut wire = Wire {
            arrived: VecDeque::new(),
            leaving,
        };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        let routes = interface.routes_mut();
        // There is one way out; who is at its other end does not matter.
        let four = routes.add_default_ipv4_route(Ipv4Addr::new(192, 0, 2, 1));
        let six = routes.add_default_ipv6_route(Ipv6Addr::LOCALHOST);
        if four.is_err() || six.is_err() {
            debug!("no place for a route");
        }
        let offset = u16::try_from(seed % 16_000).unwrap_or(0);
        Self {
            wire,
            interface,
            sockets: SocketSet::new(Vec::new()),
            flows: Vec::new(),
            addresses: Vec::new(),
            next_port: FIRST_PORT.saturating_add(offset),
            began: time::Instant::now(),
            wake: Arc::new(Notify::new()),
        }
    }

    /// Runs until nobody sends packets any more.
    pub(super) async fn run(
        mut self,
        mut arrived: mpsc::Receiver<Vec<u8>>,
        mut opens: mpsc::Receiver<Open>,
        mut granted: watch::Receiver<Granted>,
    ) {
        loop {
            let delay = self.turn();
            let is_full = self.wire.leaving.capacity() == 0;
            let (wake, leaving) = (Arc::clone(&self.wake), self.wire.leaving.clone());
            tokio::select! {
                packet = arrived.recv() => {
                    let Some(packet) = packet else { return };
                    self.wire.arrived.push_back(packet);
                    while let Ok(packet) = arrived.try_recv() {
                        self.wire.arrived.push_back(packet);
                    }
                }
                Some(open) = opens.recv() => self.open(open),
                changed = granted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let addresses = granted.borrow_and_update().addresses.clone();
                    self.address(addresses);
                }
                () = wake.notified() => {}
                permit = leaving.reserve(), if is_full => {
                    if permit.is_err() {
                        return;
                    }
                }
                () = time::sleep(delay.unwrap_or(IDLE)), if !is_full => {}
            }
        }
    }

    /// Does what can be done now; when there is more to do.
    fn turn(&mut self) -> Option<Duration> {
        let now = self.now();
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        if self.pump() {
            self.interface.poll(now, &mut self.wire, &mut self.sockets);
        }
        let delay = self.interface.poll_delay(now, &self.sockets);
        delay.map(|delay| Duration::from_micros(delay.total_micros()))
    }

    fn now(&self) -> Instant {
        let micros = self.began.elapsed().as_micros();
        Instant::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// Other addresses end the connections of the ones before.
    fn address(&mut self, addresses: Vec<IpNet>) {
        if addresses == self.addresses || addresses.is_empty() {
            return;
        }
        for flow in &self.flows {
            self.sockets.get_mut::<tcp::Socket<'_>>(flow.socket).abort();
        }
        self.interface.update_ip_addrs(|own| {
            own.clear();
            for net in &addresses {
                let cidr = IpCidr::new(IpAddress::from(net.addr()), net.prefix_len());
                if own.push(cidr).is_err() {
                    debug!("no place for another address");
                }
            }
        });
        self.addresses = addresses;
    }

    fn open(&mut self, open: Open) {
        let family = |net: &IpNet| net.addr().is_ipv4() == open.target.is_ipv4();
        if self.flows.len() >= MAX_FLOWS || !self.addresses.iter().any(family) {
            debug!("a stream is closed: too many, or no address");
            return;
        }
        let buffer = || SocketBuffer::new(vec![0; WINDOW]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_timeout(Some(SILENCE));
        socket.set_keep_alive(Some(ASK));
        socket.set_nagle_enabled(false);
        socket.set_congestion_control(CongestionControl::Cubic);
        let remote: (IpAddr, u16) = (open.target.ip(), open.target.port());
        let port = self.port();
        if let Err(error) = socket.connect(self.interface.context(), remote, port) {
            debug!(?error, "a connection cannot begin");
            return;
        }
        let socket = self.sockets.add(socket);
        self.flows
            .push(Flow::begin(open.stream, socket, &self.wake));
    }

    /// The next local port that no connection has: one may last while all others come round.
    fn port(&mut self) -> u16 {
        let local = |flow: &Flow| {
            let socket = self.sockets.get::<tcp::Socket<'_>>(flow.socket);
            socket.local_endpoint().map(|local| local.port)
        };
        let taken: BTreeSet<u16> = self.flows.iter().filter_map(local).collect();
        let mut ports = (self.next_port..=u16::MAX).chain(FIRST_PORT..=u16::MAX);
        let free = ports.find(|port| !taken.contains(port));
        let port = free.unwrap_or(self.next_port);
        self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
        port
    }

    /// Moves bytes between streams and connections; whether something is to be sent.
    fn pump(&mut self) -> bool {
        let mut moved = false;
        let sockets = &mut self.sockets;
        self.flows.retain_mut(|flow| {
            let socket = sockets.get_mut::<tcp::Socket<'_>>(flow.socket);
            moved |= flow.pump(socket);
            let is_over = matches!(socket.state(), State::Closed | State::TimeWait);
            if is_over && flow.to_program.is_none() {
                sockets.remove(flow.socket);
                return false;
            }
            true
        });
        moved
    }
}

impl Flow {
    fn begin(stream: TcpStream, socket: SocketHandle, wake: &Arc<Notify>) -> Self {
        let _ = stream.set_nodelay(true);
        let (mut reader, mut writer) = stream.into_split();
        let (said, from_program) = mpsc::channel(PIECES);
        let (to_program, mut heard) = mpsc::channel::<Vec<u8>>(PIECES);
        let woken = Arc::clone(wake);
        let reads = tokio::spawn(async move {
            loop {
                let mut piece = vec![0; PIECE];
                let length = reader.read(&mut piece).await.unwrap_or(0);
                piece.truncate(length);
                if length == 0 || said.send(piece).await.is_err() {
                    break;
                }
                woken.notify_one();
            }
            drop(said);
            woken.notify_one();
        });
        let woken = Arc::clone(wake);
        tokio::spawn(async move {
            while let Some(piece) = heard.recv().await {
                if writer.write_all(&piece).await.is_err() {
                    break;
                }
                woken.notify_one();
            }
            let _ = writer.shutdown().await;
            drop(heard);
            woken.notify_one();
        });
        Self {
            socket,
            from_program,
            to_program: Some(to_program),
            rest: None,
            reads: reads.abort_handle(),
        }
    }

    fn pump(&mut self, socket: &mut tcp::Socket<'_>) -> bool {
        let sent = self.send(socket);
        let received = self.receive(socket);
        let is_young = matches!(socket.state(), State::SynSent | State::SynReceived);
        if !is_young && !socket.may_recv() && !socket.can_recv() {
            self.to_program = None;
        }
        sent || received
    }

    fn send(&mut self, socket: &mut tcp::Socket<'_>) -> bool {
        let mut moved = false;
        while socket.can_send() {
            let (piece, from) = match self.rest.take() {
                Some(rest) => rest,
                None => match self.from_program.try_recv() {
                    Ok(piece) => (piece, 0),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        socket.close();
                        return true;
                    }
                },
            };
            let left = piece.get(from..).unwrap_or_default();
            let taken = socket.send_slice(left).unwrap_or(left.len());
            moved = true;
            if taken < left.len() {
                self.rest = Some((piece, from.saturating_add(taken)));
            }
        }
        moved
    }

    fn receive(&mut self, socket: &mut tcp::Socket<'_>) -> bool {
        let mut moved = false;
        while socket.can_recv() {
            let Some(program) = &self.to_program else {
                break;
            };
            match program.try_reserve() {
                Ok(permit) => {
                    let take = |bytes: &mut [u8]| {
                        let piece = bytes.get(..bytes.len().min(PIECE)).unwrap_or_default();
                        (piece.len(), piece.to_vec())
                    };
                    if let Ok(piece) = socket.recv(take) {
                        permit.send(piece);
                        moved = true;
                    }
                }
                Err(TrySendError::Full(())) => break,
                Err(TrySendError::Closed(())) => {
                    socket.abort();
                    return true;
                }
            }
        }
        moved
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        // The writer ends by itself when it has written everything; the reader may wait for ever.
        self.reads.abort();
    }
}

/// How long to sleep when there is nothing to do.
const IDLE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_port_of_a_connection_that_lasts_is_not_given_again() {
        let (leaving, _packets) = mpsc::channel(8);
        let mut stack = Stack::new(leaving, 7);
        stack.address(vec!["10.65.0.7/32".parse().unwrap()]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let local = listener.local_addr().unwrap();
        // The last of all ports, and after all others have been used once more the same.
        for next_port in [u16::MAX, FIRST_PORT, u16::MAX, FIRST_PORT] {
            stack.next_port = next_port;
            let stream = TcpStream::connect(local).await.unwrap();
            let target = "10.20.1.10:104".parse().unwrap();
            stack.open(Open { stream, target });
        }
        let port = |flow: &Flow| {
            let socket = stack.sockets.get::<tcp::Socket<'_>>(flow.socket);
            socket.local_endpoint().unwrap().port
        };
        let ports: Vec<u16> = stack.flows.iter().map(port).collect();
        let expected = [u16::MAX, FIRST_PORT, FIRST_PORT + 1, FIRST_PORT + 2];
        assert_eq!(ports, expected);
    }
}

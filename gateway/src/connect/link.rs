//! One connection: carries the bytes between QUIC, the session of CONNECT-IP and whoever has the packets.
//!
//! In: a connection whose handshake is over, packets. Out: packets, what was granted, events, and in the end why it ended.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use ipnet::IpNet;
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{self, Instant, MissedTickBehavior};
use tracing::debug;

use super::event::{Event, Service as Shown};
use super::refusal::{self, Refusal};
use super::transport;
use crate::key_exchange;
use crate::masque::capsule::Route;
use crate::masque::client::{self, Session};
use crate::masque::packet::Gate;
use crate::masque::service::Service;
use crate::masque::{Code, Error, MIN_MTU, Transmit};
use crate::pace;
use crate::pace::lane::Lane;
use crate::pace::queue::Class;

/// What a tunnel gave us, and whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    /// Whether packets pass now.
    pub(super) is_open: bool,
    /// Where the gateway itself is, outside of the tunnel.
    pub(super) gateway: Option<IpAddr>,
    /// Ours.
    pub(super) addresses: Vec<IpNet>,
    /// Where packets may go.
    pub(super) routes: Vec<Route>,
    /// What is there.
    pub(super) services: Vec<Service>,
    /// The longest packet that the path carries at once.
    pub(super) mtu: usize,
}

impl Default for Granted {
    fn default() -> Self {
        Self {
            is_open: false,
            gateway: None,
            addresses: Vec::new(),
            routes: Vec::new(),
            services: Vec::new(),
            mtu: MIN_MTU,
        }
    }
}

/// The two queues of packets between a tunnel and whoever uses it.
#[derive(Debug)]
pub(super) struct Packets {
    /// From the gateway.
    pub(super) arrived: mpsc::Sender<Vec<u8>>,
    /// For the gateway.
    pub(super) leaving: mpsc::Receiver<Vec<u8>>,
}

/// Packets that wait in each direction; what is more is lost, as on any network.
//= C7
pub(super) const QUEUE: usize = 1024;
/// Packets that are looked at before anything else is.
const AT_ONCE: usize = 128;
/// The longest packet that we send, in a datagram where the path carries it, else in the stream.
const LARGEST: usize = 1500;
/// Pieces of streams that wait to be read.
//= C7
const CHUNKS: usize = 16;
const CHUNK: usize = 16 * 1024;
/// How often it is asked what the path carries, and, should the system not tell, whether the way to the gateway changed.
const WAY: Duration = Duration::from_secs(2);
/// From the end of the handshake to the tunnel.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);
/// For the gateway to read what we write.
const WRITE_WITHIN: Duration = Duration::from_secs(20);
/// Changes of what is granted within [`LATENCY`]; more are a gateway that keeps us busy.
//= C7
const CHANGES: u32 = 64;
/// On a new way that gives no answer, when another socket is tried: the network may need a moment, and the back-off of QUIC
/// may have grown long while there was none.
const AGAIN: [Duration; 4] = [
    Duration::from_millis(150),
    Duration::from_millis(300),
    Duration::from_millis(600),
    Duration::from_millis(1200),
];
/// How often the latency is told.
const LATENCY: Duration = Duration::from_secs(30);

struct Chunk {
    stream: u64,
    bytes: Bytes,
    end: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Fin,
    Reset,
}

/// One connection and its session.
pub(super) struct Link<'l> {
    endpoint: &'l Endpoint,
    connection: Connection,
    session: Session,
    control: SendStream,
    request: SendStream,
    chunks: (mpsc::Sender<Chunk>, mpsc::Receiver<Chunk>),
    /// Of the gateway's own streams, of which there are few at a time.
    readers: BTreeMap<u64, AbortHandle>,
    gate: Gate,
    lane: Lane,
    packets: &'l mut Packets,
    granted: &'l watch::Sender<Granted>,
    events: &'l mpsc::Sender<Event>,
    networks: Arc<Notify>,
    way: Option<IpAddr>,
    moving: Option<Moving>,
    began: Instant,
    changes: u32,
}

/// On a new way from which nothing came back yet.
struct Moving {
    /// Datagrams that had come before.
    heard: u64,
    /// How often another socket was tried.
    tried: usize,
    next: Instant,
}

impl<'l> Link<'l> {
    /// Begins a session. `authority`: how the gateway is called.
    pub(super) async fn begin(
        endpoint: &'l Endpoint,
        connection: Connection,
        authority: &str,
        packets: &'l mut Packets,
        granted: &'l watch::Sender<Granted>,
        events: &'l mpsc::Sender<Event>,
        networks: Arc<Notify>,
    ) -> Result<Self, Refusal> {
        let ended = |error| refusal::of_connection(&error);
        let control = connection.open_uni().await.map_err(ended)?;
        let (request, answer) = connection.open_bi().await.map_err(ended)?;
        let (sender, receiver) = mpsc::channel(CHUNKS);
        read(answer, sender.clone());
        let way = transport::way(connection.remote_address()).ok();
        let datagrams = connection.max_datagram_size().is_some();
        let gateway = Some(connection.remote_address().ip());
        granted.send_modify(|granted| granted.gateway = gateway);
        Ok(Self {
            endpoint,
            session: Session::new(authority, datagrams),
            lane: Lane::new(connection.clone()),
            connection,
            control,
            request,
            chunks: (sender, receiver),
            readers: BTreeMap::new(),
            gate: Gate::default(),
            packets,
            granted,
            events,
            networks,
            way,
            moving: None,
            began: Instant::now(),
            changes: CHANGES,
        })
    }

    /// Carries bytes until there is no tunnel any more.
    pub(super) async fn run(mut self) -> Refusal {
        let ended = match self.carry().await {
            Ok(never) => match never {},
            Err(ended) => ended,
        };
        self.granted.send_modify(|granted| granted.is_open = false);
        ended
    }

    async fn carry(&mut self) -> Result<std::convert::Infallible, Refusal> {
        let mut latency = ticks(LATENCY);
        let mut way = ticks(WAY);
        let networks = Arc::clone(&self.networks);
        loop {
            let flushed = time::timeout(WRITE_WITHIN, self.flush()).await;
            flushed.map_err(|_| Refusal::passing("the gateway does not read"))??;
            let is_open = self.granted.borrow().is_open;
            let moves_on = self.moving.as_ref().map(|moving| moving.next);
            tokio::select! {
                datagram = self.connection.read_datagram() => {
                    let datagram = datagram.map_err(|error| refusal::of_connection(&error))?;
                    self.datagrams(&datagram)?;
                }
                Some(packet) = self.packets.leaving.recv() => {
                    self.leave(packet);
                    for _ in 1..AT_ONCE {
                        let Ok(packet) = self.packets.leaving.try_recv() else { break };
                        self.leave(packet);
                    }
                    self.send_waiting()?;
                }
                () = self.lane.needed(), if !self.lane.is_empty() => self.send_waiting()?,
                Some(chunk) = self.chunks.1.recv() => {
                    let read = self.receive(&chunk);
                    read.map_err(|error| broken(&self.connection, error))?;
                }
                stream = self.connection.accept_uni() => {
                    let stream = stream.map_err(|error| refusal::of_connection(&error))?;
                    let (id, reader) = read(stream, self.chunks.0.clone());
                    self.readers.insert(id, reader);
                }
                () = networks.notified() => self.look_for_another_way().await,
                () = sleep_until(moves_on) => self.move_on(),
                () = time::sleep_until(self.began + BEGIN_WITHIN), if !is_open => {
                    self.connection.close(code(Code::RequestCancelled), b"no tunnel in time");
                    return Err(Refusal::passing("the gateway opened no tunnel in time"));
                }
                _ = latency.tick() => {
                    self.changes = CHANGES;
                    self.tell_latency().await;
                }
                _ = way.tick() => {
                    self.look_for_another_way().await;
                    self.measure();
                }
            }
        }
    }

    fn receive(&mut self, chunk: &Chunk) -> Result<(), Error> {
        if chunk.end.is_some() {
            self.readers.remove(&chunk.stream);
        }
        match chunk.end {
            Some(End::Reset) => self.session.reset(chunk.stream),
            end => {
                let fin = end == Some(End::Fin);
                self.session.receive(chunk.stream, &chunk.bytes, fin)
            }
        }
    }

    /// Sends what the session wants to say, and does what it tells.
    async fn flush(&mut self) -> Result<(), Refusal> {
        while let Some(event) = self.session.poll_event() {
            self.event(event).await?;
        }
        while let Some(transmit) = self.session.poll_transmit() {
            let written = match transmit {
                Transmit::Control(bytes) => self.control.write_all(&bytes).await,
                Transmit::Request { bytes, fin, .. } => {
                    let written = self.request.write_all(&bytes).await;
                    if fin {
                        // The other end may have closed it already.
                        let _ = self.request.finish();
                    }
                    written
                }
                Transmit::Stop { stream, .. } => {
                    // Who drops a stream tells the other end that nobody reads it.
                    if let Some(reader) = self.readers.remove(&stream) {
                        reader.abort();
                    }
                    Ok(())
                }
            };
            if let Err(quinn::WriteError::ConnectionLost(error)) = written {
                return Err(refusal::of_connection(&error));
            }
        }
        Ok(())
    }

    async fn event(&mut self, event: client::Event) -> Result<(), Refusal> {
        match event {
            client::Event::Open => {
                self.granted.send_modify(|granted| granted.is_open = true);
                let key_exchange = key_exchange::of(&self.connection);
                let post_quantum = key_exchange.map(key_exchange::is_post_quantum);
                let key_exchange = key_exchange.map(str::to_owned);
                self.tell(Event::Connected {
                    post_quantum,
                    key_exchange,
                })
                .await;
            }
            client::Event::Refused(response) => {
                self.connection.close(code(Code::None), b"");
                return Err(refusal::of_response(&response));
            }
            client::Event::Addresses(addresses) => {
                self.changed()?;
                self.gate.peer.clone_from(&addresses);
                let told = addresses.clone();
                let news = self.granted.borrow().addresses != addresses;
                self.granted.send_modify(|granted| granted.addresses = told);
                if news {
                    self.tell(Event::Addresses { addresses }).await;
                }
            }
            client::Event::Routes(routes) => {
                self.changed()?;
                self.gate.routes.clone_from(&routes);
                self.granted.send_modify(|granted| granted.routes = routes);
            }
            client::Event::Services(services) => {
                self.changed()?;
                let shown = services.iter().map(Shown::from).collect();
                self.granted
                    .send_modify(|granted| granted.services = services);
                self.tell(Event::Services { services: shown }).await;
            }
            client::Event::Packet(packet) => self.arrived(&packet),
            client::Event::GoingAway => self.tell(Event::GoingAway).await,
            client::Event::Ended => {
                // Streams end with the connection too, and then that is what happened.
                if let Some(error) = self.connection.close_reason() {
                    return Err(refusal::of_connection(&error));
                }
                self.connection.close(code(Code::None), b"");
                return Err(Refusal::passing("the gateway ended the tunnel"));
            }
        }
        Ok(())
    }

    /// Counts a change of what is granted.
    fn changed(&mut self) -> Result<(), Refusal> {
        let Some(left) = self.changes.checked_sub(1) else {
            self.connection
                .close(code(Code::ExcessiveLoad), b"too many changes");
            let why = "the gateway changes what it grants all the time";
            return Err(Refusal::passing(why));
        };
        self.changes = left;
        Ok(())
    }

    fn arrived(&self, packet: &[u8]) {
        match self.gate.arrives(packet) {
            Ok(head) => {
                let whole = packet.get(..head.length).unwrap_or_default();
                // What finds no place is lost; its sender will notice.
                let _ = self.packets.arrived.try_send(whole.to_vec());
            }
            Err(why) => debug!(%why, "a packet from the gateway was dropped"),
        }
    }

    /// All that came together.
    fn datagrams(&self, first: &Bytes) -> Result<(), Refusal> {
        self.datagram(first)?;
        for _ in 1..AT_ONCE {
            match self.connection.read_datagram().now_or_never() {
                Some(Ok(datagram)) => self.datagram(&datagram)?,
                // The next look tells of the end.
                Some(Err(_)) | None => break,
            }
        }
        Ok(())
    }

    fn datagram(&self, datagram: &Bytes) -> Result<(), Refusal> {
        let packet = self.session.datagram(datagram);
        if let Some(packet) = packet.map_err(|error| broken(&self.connection, error))? {
            self.arrived(packet);
        }
        Ok(())
    }

    fn leave(&mut self, mut packet: Vec<u8>) {
        match self.gate.leaves(&mut packet, LARGEST) {
            Ok(head) => {
                packet.truncate(head.length);
                // What it is worth is known at the other end alone; here all are equal, and who sends little is first.
                self.lane.push(packet, Class::Normal);
            }
            Err(why) => debug!(%why, "a packet for the gateway was dropped"),
        }
    }

    /// Sends what waits, as far as the connection needs it.
    fn send_waiting(&mut self) -> Result<(), Refusal> {
        while let Some(packet) = self.lane.pop() {
            self.send(&packet)?;
        }
        Ok(())
    }

    fn send(&mut self, packet: &[u8]) -> Result<(), Refusal> {
        if let (Some(head), Some(most)) = (self.session.head(), self.lane.longest())
            && head.len().saturating_add(packet.len()) <= most
        {
            let datagram = Bytes::from([head, packet].concat());
            match self.connection.send_datagram(datagram) {
                Ok(()) => return Ok(()),
                Err(quinn::SendDatagramError::ConnectionLost(error)) => {
                    return Err(refusal::of_connection(&error));
                }
                // The path became narrower just now.
                Err(_) => self.lane.forget(),
            }
        }
        self.session.send_packet(packet);
        Ok(())
    }

    async fn tell(&self, event: Event) {
        // Nobody listens when the client is about to end.
        let _ = self.events.send(event).await;
    }

    async fn tell_latency(&self) {
        if self.granted.borrow().is_open {
            let milliseconds = self.connection.rtt().as_secs_f64() * 1000.0;
            self.tell(Event::Latency { milliseconds }).await;
        }
    }

    /// A new network, a new socket: QUIC takes the connection along.
    async fn look_for_another_way(&mut self) {
        let Ok(address) = transport::way(self.connection.remote_address()) else {
            // There is none now; whatever comes is new.
            self.way = None;
            return;
        };
        if self.way.replace(address) == Some(address) {
            return;
        }
        if self.rebind() {
            pace::moved(&self.connection);
            self.moving = Some(Moving {
                heard: self.connection.stats().udp_rx.datagrams,
                tried: 0,
                next: Instant::now() + AGAIN[0],
            });
            self.tell(Event::Moved { address }).await;
        } else {
            self.way = None;
        }
    }

    fn rebind(&self) -> bool {
        let towards: SocketAddr = self.connection.remote_address();
        let bound = transport::socket(towards).and_then(|socket| self.endpoint.rebind(socket));
        bound
            .inspect_err(|error| debug!(%error, "no new socket"))
            .is_ok()
    }

    /// Nothing came back in time on a new way: once more.
    fn move_on(&mut self) {
        let Some(mut moving) = self.moving.take() else {
            return;
        };
        if self.connection.stats().udp_rx.datagrams > moving.heard {
            return;
        }
        let _ = self.rebind();
        moving.tried = moving.tried.saturating_add(1);
        if let Some(wait) = AGAIN.get(moving.tried) {
            moving.next = Instant::now() + *wait;
            self.moving = Some(moving);
        }
    }

    /// What the path carries may have changed.
    fn measure(&self) {
        let head = self.session.head().map_or(0, <[u8]>::len);
        let most = self.connection.max_datagram_size().unwrap_or(0);
        let mtu = most.saturating_sub(head).clamp(MIN_MTU, LARGEST);
        self.granted.send_if_modified(|granted| {
            let changed = granted.mtu != mtu;
            granted.mtu = mtu;
            changed
        });
    }
}

/// Never, if there is no time.
async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn ticks(every: Duration) -> time::Interval {
    let mut ticks = time::interval_at(Instant::now() + every.min(FIRST), every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The first tick comes soon.
const FIRST: Duration = Duration::from_secs(2);

fn code(code: Code) -> VarInt {
    VarInt::from_u64(code.value()).unwrap_or(VarInt::MAX)
}

fn broken(connection: &Connection, error: Error) -> Refusal {
    connection.close(code(error.code), error.why.as_bytes());
    let stream = error.scope != crate::masque::Scope::Connection;
    debug!(%error, stream, "the gateway broke the rules");
    Refusal::passing(format!(
        "the gateway broke the rules of CONNECT-IP: {error}"
    ))
}

/// Reads a stream to its end in a task of its own: its number, and what ends that.
fn read(mut stream: RecvStream, chunks: mpsc::Sender<Chunk>) -> (u64, AbortHandle) {
    let id = VarInt::from(stream.id()).into_inner();
    let task = tokio::spawn(async move {
        loop {
            let (bytes, end) = match stream.read_chunk(CHUNK, true).await {
                Ok(Some(chunk)) => (chunk.bytes, None),
                Ok(None) => (Bytes::new(), Some(End::Fin)),
                // The connection tells its own end; that of the request's stream is told as one.
                Err(_) => (Bytes::new(), Some(End::Reset)),
            };
            let last = end.is_some();
            let chunk = Chunk {
                stream: id,
                bytes,
                end,
            };
            if chunks.send(chunk).await.is_err() || last {
                return;
            }
        }
    });
    (id, task.abort_handle())
}

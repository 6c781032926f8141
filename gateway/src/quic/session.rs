//! One device that is in: its streams and datagrams on the one side, the TUN on the other.
//!
//! In: what quinn and the kernel bring. Out: packets, datagrams, news for the worker. What is said on the connection
//! is `masque`'s to judge; here every packet is checked against the device's addresses before it goes anywhere (C5).
//! Packets to destinations that were not advertised go on to the table, which drops them and tells of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use ipnet::IpNet;
use lazaret_config::Transport;
use quinn::{Connection, ConnectionError, SendDatagramError};
use tokio::sync::{mpsc, watch};

use super::entrance::{broken, close};
use super::message::{Member, Offer};
use super::refusals::Why;
use super::roster::Counted;
use super::streams::{self, Heard, Readers, Written, number};
use super::worker::News;
use crate::flow::{Clock, DeviceName, Priority};
use crate::masque::capsule::Route;
use crate::masque::icmp::{self, Told};
use crate::masque::packet::{self, Dropped, Gate};
use crate::masque::server::{Event, Grant, Session};
use crate::masque::service::Service;
use crate::masque::{Code, Error, Scope, Transmit};
use crate::pace::lane::Lane;
use crate::pace::queue::Class;
use crate::tunnel::batch::Batch;
use crate::tunnel::device::Tun;

/// What a session is made of.
pub(super) struct Parts {
    pub(super) device: DeviceName,
    pub(super) number: u64,
    pub(super) connection: Connection,
    pub(super) member: watch::Receiver<Member>,
    pub(super) inbox: mpsc::Receiver<Vec<u8>>,
    pub(super) counted: Arc<Counted>,
    pub(super) tun: Arc<Tun>,
    /// The gateway's own addresses inside.
    pub(super) own: Arc<[IpAddr]>,
    pub(super) mtu: usize,
    pub(super) news: mpsc::Sender<News>,
    /// The gateway is about to restart.
    pub(super) leaving: watch::Receiver<bool>,
    pub(super) clock: Arc<dyn Clock>,
}

/// Serves a device until its connection ends; whoever wants that closes the connection.
pub(super) async fn serve(parts: Parts) {
    let (news, device, number) = (parts.news.clone(), parts.device.clone(), parts.number);
    let (heard_tx, heard) = mpsc::channel(HEARD);
    let (outbox, queue) = mpsc::channel(OUTBOX);
    let writer = tokio::spawn(streams::write(parts.connection.clone(), queue));
    let mut serving = Serving {
        session: Session::new(parts.connection.max_datagram_size().is_some()),
        gate: Gate::default(),
        readers: Readers::new(heard_tx),
        outbox,
        lane: Lane::new(parts.connection.clone()),
        classes: HashMap::new(),
        inward: Batch::new(),
        errors: ERRORS_A_SECOND,
        begun: false,
        broke: None,
        parts,
    };
    serving.regrant();
    let why = serving.run(heard).await;
    let why = serving.broke.map_or(why, Why::from);
    writer.abort();
    // The worker may be gone.
    drop(
        news.send(News::Ended {
            device,
            number,
            why,
        })
        .await,
    );
}

struct Serving {
    parts: Parts,
    session: Session,
    gate: Gate,
    readers: Readers,
    outbox: mpsc::Sender<Written>,
    /// Packets for the device.
    lane: Lane,
    /// What packets from a port of a service are worth.
    classes: HashMap<(IpAddr, u8, u16), Class>,
    /// Packets of the device that go to the kernel together.
    inward: Batch<()>,
    /// Errors of ICMP that may be sent until the next second.
    errors: u32,
    begun: bool,
    /// The rule that was broken, if one was that matters.
    broke: Option<Error>,
}

impl Serving {
    /// Why it ended.
    async fn run(&mut self, mut heard: mpsc::Receiver<Heard>) -> Why {
        let connection = self.parts.connection.clone();
        let outbox = self.outbox.clone();
        let begin_within = tokio::time::sleep(BEGIN_WITHIN);
        tokio::pin!(begin_within);
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        let mut packets = Vec::with_capacity(AT_ONCE);
        loop {
            self.flush();
            // Whoever does not listen is not read.
            let listens = self.outbox.capacity() > SPARE;
            tokio::select! {
                datagram = connection.read_datagram() => match datagram {
                    Ok(datagram) => self.datagrams(&connection, datagram).await,
                    Err(error) => return ended(&error),
                },
                count = self.parts.inbox.recv_many(&mut packets, AT_ONCE), if packets.is_empty() => {
                    if count == 0 {
                        return "nobody sends to it any more".into();
                    }
                    packets.drain(..).for_each(|packet| self.outward(packet));
                    self.send_waiting();
                }
                () = self.lane.needed(), if !self.lane.is_empty() => self.send_waiting(),
                Ok(stream) = connection.accept_uni(), if listens => self.readers.read(stream),
                Ok((sending, stream)) = connection.accept_bi(), if listens => {
                    let new = Written::New(number(sending.id()), sending);
                    if self.outbox.try_send(new).is_ok() {
                        self.readers.read(stream);
                    }
                }
                Some(heard) = heard.recv(), if listens => self.heard(heard).await,
                Ok(()) = self.parts.member.changed() => {
                    let grant = self.regrant();
                    self.session.update(grant);
                }
                Ok(()) = self.parts.leaving.changed() => self.say_leaving(),
                permit = outbox.reserve_many(SPARE + 1), if !listens => {
                    if permit.is_err() {
                        return "its streams cannot be written".into();
                    }
                }
                () = &mut begin_within, if !(self.begun && self.session.has_settings()) => {
                    let late = if self.begun { NO_SETTINGS } else { NO_REQUEST };
                    close(&connection, late.code, late.why);
                    return late.into();
                }
                _ = seconds.tick() => self.errors = ERRORS_A_SECOND,
            }
        }
    }

    async fn heard(&mut self, heard: Heard) {
        let judged = match heard {
            Heard::Bytes { stream, bytes, fin } => self.session.receive(stream, &bytes, fin),
            Heard::Reset { stream } => self.session.reset(stream),
        };
        self.judged(judged).await;
    }

    /// Closes what was broken, and does what else came of it.
    async fn judged(&mut self, judged: Result<(), Error>) {
        let broken = judged.err();
        self.settle(broken);
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Request { .. } => {
                    let grant = self.regrant();
                    self.session.accept(grant);
                    self.say_leaving();
                    self.begun = true;
                    let news = News::Began {
                        device: self.parts.device.clone(),
                        number: self.parts.number,
                    };
                    // The worker may be gone.
                    drop(self.parts.news.send(news).await);
                }
                Event::Packet(packet) => self.inward(&packet),
                // What is behind a device is not reached, and its last request is the one it has.
                Event::Routes(_) | Event::GoingAway => {}
                // The only stream that matters ends the connection, with its code (RFC 9114 8).
                Event::Ended => {
                    self.broke = self.broke.or(broken);
                    let over = (Code::None, "the tunnel is over");
                    let (code, why) = broken.map_or(over, |error| (error.code, error.why));
                    close(&self.parts.connection, code, why);
                }
            }
        }
    }

    /// A client that is not in yet hears it when it is.
    fn say_leaving(&mut self) {
        if *self.parts.leaving.borrow_and_update() && self.session.is_open() {
            self.session.go_away();
        }
    }

    /// All that came together, so that it goes on together.
    async fn datagrams(&mut self, connection: &Connection, first: Bytes) {
        self.datagram(&first).await;
        for _ in 1..AT_ONCE {
            match connection.read_datagram().now_or_never() {
                Some(Ok(datagram)) => self.datagram(&datagram).await,
                // The next look tells of the end.
                Some(Err(_)) | None => break,
            }
        }
        if let Err(error) = self.parts.tun.write(&self.inward) {
            tracing::warn!(%error, "the tunnel interface is gone");
        }
        self.inward.clear();
    }

    async fn datagram(&mut self, datagram: &Bytes) {
        let packet = self.session.datagram(datagram);
        match packet.map(|packet| packet.map(|packet| datagram.slice_ref(packet))) {
            Ok(Some(packet)) => {
                if let Some(length) = self.judge(&packet) {
                    self.inward
                        .push(packet.get(..length).unwrap_or(&packet), ());
                }
            }
            Ok(None) => {}
            Err(error) => {
                if let Scope::Stream(stream) = error.scope {
                    // A stream that is given up ends its tunnel; it is one of a request, which may end.
                    let _ = self.session.reset(stream);
                }
                self.judged(Err(error)).await;
            }
        }
    }

    /// Closes what the device broke.
    fn settle(&mut self, broken: Option<Error>) {
        let Some(error) = broken else {
            return;
        };
        if !self.begun || error.scope == Scope::Connection {
            self.broke.get_or_insert(error);
        }
        tracing::debug!(device = %self.parts.device, %error, "the device broke a rule");
        match error.scope {
            Scope::Connection => close(&self.parts.connection, error.code, error.why),
            Scope::Stream(stream) => {
                self.readers.stop(stream, error.code);
                if self
                    .outbox
                    .try_send(Written::Reset(stream, error.code))
                    .is_err()
                {
                    close(&self.parts.connection, Code::ExcessiveLoad, error.why);
                }
            }
        }
    }

    /// Says what there is to say, as far as the writer has room.
    fn flush(&mut self) {
        while let Ok(permit) = self.outbox.try_reserve() {
            match self.session.poll_transmit() {
                Some(Transmit::Stop { stream, code }) => self.readers.stop(stream, code),
                Some(transmit) => permit.send(Written::Transmit(transmit)),
                None => break,
            }
        }
    }

    /// A packet of the device, alone.
    fn inward(&self, packet: &[u8]) {
        if let Some(length) = self.judge(packet) {
            self.write(packet.get(..length).unwrap_or(packet));
        }
    }

    /// How many bytes of a packet of the device may go on, if any.
    //= C5
    fn judge(&self, packet: &[u8]) -> Option<usize> {
        let counted = &self.parts.counted;
        let length = match self.gate.from_peer(packet) {
            Ok(head) => head.length,
            // The table says no, and tells of it.
            Err(Dropped::Destination) => packet.len(),
            // The kernel of a client looks for neighbours and routers on its TUN, too.
            Err(Dropped::Source) if speaks_to_its_link(packet) => return None,
            Err(Dropped::Source) => {
                Counted::add(&counted.spoofed, 1);
                return None;
            }
            Err(Dropped::Malformed | Dropped::Link | Dropped::Hops | Dropped::TooBig) => {
                Counted::add(&counted.malformed, 1);
                return None;
            }
        };
        Counted::add(&counted.received, length);
        Some(length)
    }

    /// A packet for the device.
    fn outward(&mut self, mut packet: Vec<u8>) {
        match self.gate.to_peer(&mut packet, self.parts.mtu) {
            Ok(head) => {
                packet.truncate(head.length);
                let port = packet.get(head.header..).and_then(<[u8]>::first_chunk);
                let port = port.map_or(0, |port| u16::from_be_bytes(*port));
                let key = (head.source, head.protocol, port);
                let class = self.classes.get(&key).copied().unwrap_or_default();
                self.lane.push(packet, class);
            }
            Err(Dropped::TooBig) => {
                let mtu = u16::try_from(self.parts.mtu).unwrap_or(u16::MAX);
                self.tell(&packet, Told::TooBig(mtu));
            }
            Err(Dropped::Hops) => self.tell(&packet, Told::HopsUsedUp),
            Err(Dropped::Malformed | Dropped::Source | Dropped::Destination | Dropped::Link) => {}
        }
    }

    /// Sends what waits, as far as the connection needs it.
    fn send_waiting(&mut self) {
        while let Some(packet) = self.lane.pop() {
            self.send(&packet);
        }
        let dropped = self.lane.dropped();
        if dropped > 0 {
            let dropped = usize::try_from(dropped).unwrap_or(usize::MAX);
            Counted::add(&self.parts.counted.crowded, dropped);
        }
    }

    fn send(&mut self, packet: &[u8]) {
        let Some(head) = self.session.head() else {
            return;
        };
        let length = head.len().saturating_add(packet.len());
        let counted = Arc::clone(&self.parts.counted);
        if self.lane.longest().is_some_and(|most| length <= most) {
            let mut datagram = Vec::with_capacity(length);
            datagram.extend_from_slice(head);
            datagram.extend_from_slice(packet);
            match self.parts.connection.send_datagram(datagram.into()) {
                Ok(()) => return Counted::add(&counted.sent, packet.len()),
                // The path became narrower just now.
                Err(SendDatagramError::TooLarge) => self.lane.forget(),
                Err(_) => return,
            }
        }
        if self.session.send_packet(packet) {
            //= RFC 9484 7.1: 1,280 bytes pass on whatever path.
            Counted::add(&counted.sent, packet.len());
        } else {
            Counted::add(&counted.crowded, 1);
        }
    }

    /// Tells the sender of a packet that it did not pass.
    fn tell(&mut self, packet: &[u8], told: Told) {
        let own = self.parts.own.iter();
        let version = packet.first().map(|byte| byte >> 4);
        let ours = own
            .copied()
            .find(|address| address.is_ipv4() == (version == Some(4)));
        let Some(left) = self.errors.checked_sub(1) else {
            return;
        };
        if let Some(error) = ours.and_then(|ours| icmp::answer(packet, told, ours)) {
            self.errors = left;
            self.write(&error);
        }
    }

    fn write(&self, packet: &[u8]) {
        if let Err(error) = self.parts.tun.write_one(packet) {
            tracing::warn!(%error, "the tunnel interface is gone");
        }
    }

    /// Takes over what the device has now.
    fn regrant(&mut self) -> Grant {
        let member = self.parts.member.borrow_and_update();
        let addresses: Vec<IpNet> = member.addresses.iter().map(|a| IpNet::from(*a)).collect();
        let same_family = |address: &IpAddr| {
            let mut own = member.addresses.iter();
            own.any(|one| one.is_ipv4() == address.is_ipv4())
        };
        let services = member.services.iter().map(|offer| offer.address);
        let reached = self.parts.own.iter().copied().chain(services);
        let mut reached: Vec<IpAddr> = reached.filter(same_family).collect();
        reached.sort_unstable();
        reached.dedup();
        let routes: Vec<Route> = reached.into_iter().map(|a| Route::all(a.into())).collect();
        let wall = self.parts.clock.wall();
        let services = member.services.iter().map(|offer| Service {
            name: offer.name.to_string(),
            address: offer.address,
            protocol: match offer.transport {
                Transport::Tcp => 6,
                Transport::Udp => 17,
            },
            first_port: offer.port,
            last_port: offer.port,
            seconds_left: offer.ends.map_or(0, |ends| seconds_left(wall, ends)),
        });
        let services: Vec<Service> = services
            .take(crate::masque::service::MAX_SERVICES)
            .collect();
        self.classes = member.services.iter().map(worth).collect();
        drop(member);
        self.gate = Gate {
            peer: addresses.clone(),
            routes: routes.clone(),
        };
        Grant {
            addresses,
            routes,
            services,
        }
    }
}

/// Whole seconds, of which the last is one too; 0 would say that no end is known.
fn seconds_left(now: jiff::Timestamp, ends: jiff::Timestamp) -> u64 {
    let left = ends.duration_since(now).as_secs();
    u64::try_from(left).unwrap_or(0).max(1)
}

/// What packets from a service are worth.
fn worth(offer: &Offer) -> ((IpAddr, u8, u16), Class) {
    let protocol = match offer.transport {
        Transport::Tcp => 6,
        Transport::Udp => 17,
    };
    let class = match offer.priority {
        Priority::Critical => Class::Critical,
        Priority::Normal => Class::Normal,
        Priority::Bulk => Class::Bulk,
    };
    ((offer.address, protocol, offer.port), class)
}

/// Whether a packet was never meant to leave the link: from a link-local address of IPv6, or from none yet.
fn speaks_to_its_link(packet: &[u8]) -> bool {
    match packet::head(packet).map(|head| head.source) {
        Ok(IpAddr::V6(source)) => source.is_unicast_link_local() || source.is_unspecified(),
        Ok(IpAddr::V4(_)) | Err(_) => false,
    }
}

/// For the journal, in words of ours; what we closed ourselves says why by itself.
fn ended(error: &ConnectionError) -> Why {
    let why = match error {
        ConnectionError::LocallyClosed => "the gateway ended it",
        ConnectionError::ApplicationClosed(_) | ConnectionError::ConnectionClosed(_) => {
            "the device ended it"
        }
        ConnectionError::TimedOut => "the device fell silent",
        ConnectionError::Reset => "the connection was reset",
        ConnectionError::TransportError(error) => return broken(error.code),
        ConnectionError::VersionMismatch => "QUIC was broken",
        ConnectionError::CidsExhausted => "there are no more connection identifiers",
    };
    why.into()
}

/// Pieces of streams that wait to be read.
//= C7
const HEARD: usize = 8;
/// Pieces of streams that wait to be written.
//= C7
const OUTBOX: usize = 64;
/// Of those, kept for what must be said.
const SPARE: usize = 16;
/// Errors of ICMP for the packets of one device.
//= C7
const ERRORS_A_SECOND: u32 = 20;
/// Of a device that came and said nothing.
const NO_REQUEST: Error = Error {
    code: Code::RequestIncomplete,
    scope: Scope::Connection,
    why: "no tunnel was asked for in time",
};
/// Of a device that has a tunnel and no control stream.
const NO_SETTINGS: Error = Error {
    code: Code::MissingSettings,
    scope: Scope::Connection,
    why: "no settings came in time",
};
/// From the handshake to the request and the settings.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);
/// Packets that are looked at before anything else is.
const AT_ONCE: usize = 128;

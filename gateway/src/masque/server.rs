//! The gateway's end of a connection: it grants or refuses one tunnel.
//!
//! In: bytes of streams, datagrams and the decision of the worker. Out: [`Event`]s, and [`Transmit`]s in order.
//! Knows not who the client is: the worker has asked the certificate.
//!
//! Whoever carries the bytes opens one unidirectional stream for [`Transmit::Control`], takes every event and everything that is
//! to be sent after each call, and reads no more from the peer while that cannot be sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ipnet::IpNet;

use super::capsule::{Address, Capsule, MAX_ADDRESSES, Route, in_order};
use super::error::{Code, Error, Scope};
use super::exchange::{self, Exchange, Expects, Found, Input};
use super::fields::{self, Request, Status};
use super::service::Service;
use super::streams::{Heard, Streams, Transmit};
use super::{MAX_PACKET, datagram};

/// Most requests at a time, finished ones not counted.
//= C7
pub const MAX_REQUESTS: usize = 8;
/// Most addresses that a client may ask for while its tunnel lasts.
//= C7
pub const MAX_ASKED: usize = 64;

/// What a request costs of [`super::MAX_SKIPPED`]: whoever opens them all the time asks for no tunnel.
//= C7
const REQUEST: u64 = 64;

/// What the worker has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A tunnel is asked for: [`Session::accept`] or [`Session::refuse`] it.
    Request {
        /// The name by which the client knows the gateway.
        authority: String,
    },
    /// A packet that came in the stream, because it did not fit a datagram. To be checked like any other.
    Packet(Vec<u8>),
    /// The client advertises networks behind it.
    Routes(Vec<Route>),
    /// The client opens no more requests; its tunnel goes on. Told once, however often it says so.
    GoingAway,
    /// The tunnel, or the request for it, is over.
    Ended,
}

/// What a client is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Its addresses, at most [`MAX_ADDRESSES`].
    pub addresses: Vec<IpNet>,
    /// Where its packets may go, in any order.
    pub routes: Vec<Route>,
    /// What it finds there.
    pub services: Vec<Service>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Asked,
    Open,
}

#[derive(Debug)]
struct Tunnel {
    stream: u64,
    state: State,
    /// What the client asked for and was not answered yet.
    asked: Vec<Address>,
    /// All numbers that it ever used.
    used: Vec<u64>,
    addresses: Vec<IpNet>,
    /// What stands before each packet in a datagram.
    head: Vec<u8>,
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    streams: Streams,
    requests: BTreeMap<u64, Exchange>,
    tunnel: Option<Tunnel>,
    events: VecDeque<Event>,
    /// The client said so.
    leaves: bool,
    /// The first stream after all that a request came on.
    next: u64,
    /// Streams before it that nothing came on yet.
    unseen: BTreeSet<u64>,
    /// The first stream whose request is not taken any more.
    left: Option<u64>,
}

impl Session {
    /// A connection whose handshake is over. `datagrams`: the client's transport takes datagrams.
    #[must_use]
    pub fn new(datagrams: bool) -> Self {
        Self {
            streams: Streams::new(true, datagrams),
            requests: BTreeMap::new(),
            tunnel: None,
            events: VecDeque::new(),
            leaves: false,
            next: 0,
            unseen: BTreeSet::new(),
            left: None,
        }
    }

    /// Reads the next bytes of a stream of the client; `fin`: they are the last.
    ///
    /// # Errors
    /// What the client did wrong. After one of the connection the session is of no more use;
    /// after one of a stream that stream is forgotten, and the worker resets and stops it.
    pub fn receive(&mut self, stream: u64, bytes: &[u8], fin: bool) -> Result<(), Error> {
        let received = match stream & 3 {
            0 => self.request(stream, bytes, fin),
            2 => self.unidirectional(stream, bytes, fin),
            _ => Err(Error::connection(
                Code::StreamCreation,
                "bytes came on a stream of ours that is for us alone",
            )),
        };
        if let Err(Error {
            scope: Scope::Stream(stream),
            ..
        }) = received
        {
            self.forget(stream);
        }
        received?;
        if self.streams.has_space(0) {
            return Ok(());
        }
        Err(Error::connection(
            Code::ExcessiveLoad,
            "the client asks and does not listen",
        ))
    }

    /// The client reset a stream, or reads no more of it.
    ///
    /// # Errors
    /// When it must stay open.
    pub fn reset(&mut self, stream: u64) -> Result<(), Error> {
        if stream & 3 == 2 {
            return self.streams.closed(stream);
        }
        if stream & 3 == 0 && !self.requests.contains_key(&stream) && self.is_new(stream)? {
            return self.streams.patience.take(REQUEST);
        }
        if stream & 3 == 3 {
            return Err(Error::connection(
                Code::ClosedCriticalStream,
                "the client does not want our control stream",
            ));
        }
        // Nothing need have come on it.
        self.is_new(stream)?;
        self.forget(stream);
        Ok(())
    }

    /// The packet in a datagram of QUIC; nothing when there is no open tunnel that it belongs to.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn datagram<'b>(&self, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, Error> {
        let read = datagram::read(bytes)?;
        let Some(tunnel) = self.open().filter(|tunnel| tunnel.stream == read.stream) else {
            return Ok(None);
        };
        datagram::packet(read.content)
            .map_err(|why| Error::stream(tunnel.stream, Code::Datagram, why))
    }

    /// What to write before a packet in a datagram of QUIC; nothing while there is no tunnel or the client takes no datagrams.
    #[must_use]
    pub fn head(&self) -> Option<&[u8]> {
        let tunnel = self.open().filter(|_| self.streams.may_send_datagrams())?;
        Some(&tunnel.head)
    }

    /// Sends a packet in the stream: for one that fits no datagram. Says whether there was space for it.
    pub fn send_packet(&mut self, packet: &[u8]) -> bool {
        if packet.len() > MAX_PACKET || !self.streams.has_space(packet.len().saturating_add(32)) {
            return false;
        }
        let capsule = Capsule::Datagram(datagram::content(packet));
        self.send_capsules(&[capsule])
    }

    /// Grants the tunnel that was asked for.
    pub fn accept(&mut self, grant: Grant) {
        let Some(tunnel) = self
            .tunnel
            .as_mut()
            .filter(|tunnel| tunnel.state == State::Asked)
        else {
            return;
        };
        tunnel.state = State::Open;
        let stream = tunnel.stream;
        let bytes = exchange::headers(&fields::answer(Status(200), None));
        self.streams.send(Transmit::Request {
            stream,
            bytes,
            fin: false,
        });
        self.update(grant);
    }

    /// Refuses the tunnel that was asked for. `why` is for the user of the client: ASCII, at most 199 bytes, the rest is lost.
    pub fn refuse(&mut self, status: Status, why: &str) {
        let asked = self
            .tunnel
            .as_ref()
            .filter(|tunnel| tunnel.state == State::Asked);
        if let Some(stream) = asked.map(|tunnel| tunnel.stream) {
            self.tunnel = None;
            self.answer(stream, status, Some(why));
        }
    }

    /// Says what the client has from now on: all of it, whatever it had before.
    pub fn update(&mut self, grant: Grant) {
        let Some(tunnel) = self
            .tunnel
            .as_mut()
            .filter(|tunnel| tunnel.state == State::Open)
        else {
            return;
        };
        tunnel.addresses = grant.addresses;
        tunnel.addresses.truncate(MAX_ADDRESSES);
        let capsules = [
            Capsule::AddressAssign(tunnel.assign()),
            Capsule::RouteAdvertisement(in_order(grant.routes)),
            Capsule::Services(grant.services),
        ];
        self.send_capsules(&capsules);
    }

    /// Says that no more requests are taken; the tunnel goes on until one of both ends it.
    pub fn go_away(&mut self) {
        //= RFC 9114 5.2: the number must not grow, so that it is said once.
        if self.left.is_none() {
            self.left = Some(self.next);
            self.streams.go_away(self.next);
        }
    }

    /// Ends the tunnel in order.
    pub fn close(&mut self) {
        if let Some(tunnel) = self.tunnel.take() {
            self.finish(tunnel.stream);
            self.requests.remove(&tunnel.stream);
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What is to be sent next.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.streams.poll()
    }

    /// Whether the client said its settings.
    #[must_use]
    pub fn has_settings(&self) -> bool {
        self.streams.has_settings()
    }

    /// Whether a tunnel is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open().is_some()
    }

    fn open(&self) -> Option<&Tunnel> {
        let tunnel = self.tunnel.as_ref();
        tunnel.filter(|tunnel| tunnel.state == State::Open)
    }

    fn unidirectional(&mut self, stream: u64, bytes: &[u8], fin: bool) -> Result<(), Error> {
        let mut heard = Vec::new();
        let received = self.streams.receive(stream, bytes, fin, &mut heard);
        let leaves = heard.iter().any(|heard| matches!(heard, Heard::GoAway));
        if leaves && !std::mem::replace(&mut self.leaves, true) {
            self.events.push_back(Event::GoingAway);
        }
        received
    }

    fn request(&mut self, stream: u64, bytes: &[u8], fin: bool) -> Result<(), Error> {
        if !self.requests.contains_key(&stream) {
            if !self.is_new(stream)? {
                // It is answered or forgotten.
                return Ok(());
            }
            if self.left.is_some_and(|left| stream >= left) {
                return Err(Error::stream(
                    stream,
                    Code::RequestRejected,
                    "no more requests are taken",
                ));
            }
            self.streams.patience.take(REQUEST)?;
            if self.requests.len() == MAX_REQUESTS {
                return Err(Error::stream(
                    stream,
                    Code::RequestRejected,
                    "there are too many requests",
                ));
            }
            self.requests.insert(stream, Exchange::new(stream));
        }
        let mut input = Input::new(bytes);
        loop {
            let Some(request) = self.requests.get_mut(&stream) else {
                return Ok(());
            };
            match request.next(&mut input, &mut self.streams.patience)? {
                Some(Found::Fields(fields)) => self.asked(stream, &fields)?,
                Some(Found::Capsule(capsule)) => self.capsule(capsule)?,
                None => break,
            }
        }
        if fin {
            self.ended(stream)?;
        }
        Ok(())
    }

    /// Whether this is the first that comes on a stream; they may come in any order.
    fn is_new(&mut self, stream: u64) -> Result<bool, Error> {
        if stream < self.next {
            return Ok(self.unseen.remove(&stream));
        }
        while self.next < stream && self.unseen.len() < MAX_REQUESTS {
            self.unseen.insert(self.next);
            self.next = self.next.saturating_add(4);
        }
        if self.next < stream {
            let why = "streams were opened on which nothing comes";
            return Err(Error::connection(Code::ExcessiveLoad, why));
        }
        self.next = stream.saturating_add(4);
        Ok(true)
    }

    fn asked(&mut self, stream: u64, fields: &[super::qpack::Field]) -> Result<(), Error> {
        let request = fields::request(fields);
        match request.map_err(|why| Error::stream(stream, Code::Message, why))? {
            Request::ConnectIp { authority } if self.tunnel.is_none() => {
                if let Some(exchange) = self.requests.get_mut(&stream) {
                    exchange.expects = Expects::Capsules;
                }
                let mut head = Vec::new();
                datagram::write_head(stream, &mut head);
                self.tunnel = Some(Tunnel {
                    stream,
                    state: State::Asked,
                    asked: Vec::new(),
                    used: Vec::new(),
                    addresses: Vec::new(),
                    head,
                });
                self.events.push_back(Event::Request { authority });
            }
            Request::ConnectIp { .. } => {
                self.answer(stream, Status(409), Some("there is a tunnel already"));
            }
            Request::Other(status) => self.answer(stream, status, None),
        }
        Ok(())
    }

    fn capsule(&mut self, capsule: Capsule) -> Result<(), Error> {
        let Some(tunnel) = self.tunnel.as_mut() else {
            return Ok(());
        };
        let is_open = tunnel.state == State::Open;
        match capsule {
            Capsule::Datagram(content) => {
                let packet = datagram::packet(&content)
                    .map_err(|why| Error::stream(tunnel.stream, Code::Datagram, why))?;
                if let Some(packet) = packet.filter(|_| is_open) {
                    self.events.push_back(Event::Packet(packet.to_vec()));
                }
            }
            Capsule::AddressRequest(asked) => {
                tunnel.ask(asked)?;
                if is_open {
                    let answer = Capsule::AddressAssign(tunnel.assign());
                    self.send_capsules(&[answer]);
                }
            }
            Capsule::RouteAdvertisement(routes) => self.events.push_back(Event::Routes(routes)),
            // A client may give us addresses, which we do not take, and tell us of services, which we do not use.
            Capsule::AddressAssign(_) | Capsule::Services(_) => {}
        }
        Ok(())
    }

    fn ended(&mut self, stream: u64) -> Result<(), Error> {
        let Some(request) = self.requests.remove(&stream) else {
            return Ok(());
        };
        let is_tunnel = self
            .tunnel
            .as_ref()
            .is_some_and(|tunnel| tunnel.stream == stream);
        if is_tunnel {
            self.tunnel = None;
            self.events.push_back(Event::Ended);
        }
        request.end()?;
        if is_tunnel {
            self.finish(stream);
        }
        Ok(())
    }

    /// A stream is gone.
    fn forget(&mut self, stream: u64) {
        self.requests.remove(&stream);
        if self
            .tunnel
            .as_ref()
            .is_some_and(|tunnel| tunnel.stream == stream)
        {
            self.tunnel = None;
            self.events.push_back(Event::Ended);
        }
    }

    /// Answers a request for good, and reads no more of it.
    fn answer(&mut self, stream: u64, status: Status, why: Option<&str>) {
        self.requests.remove(&stream);
        let bytes = exchange::headers(&fields::answer(status, why));
        self.streams.send(Transmit::Request {
            stream,
            bytes,
            fin: true,
        });
        self.streams.send(Transmit::Stop {
            stream,
            code: Code::None,
        });
    }

    fn finish(&mut self, stream: u64) {
        self.streams.send(Transmit::Request {
            stream,
            bytes: Vec::new(),
            fin: true,
        });
    }

    fn send_capsules(&mut self, capsules: &[Capsule]) -> bool {
        let Some(stream) = self.open().map(|tunnel| tunnel.stream) else {
            return false;
        };
        self.streams.send(Transmit::Request {
            stream,
            bytes: exchange::content(capsules),
            fin: false,
        });
        true
    }
}

impl Tunnel {
    fn ask(&mut self, asked: Vec<Address>) -> Result<(), Error> {
        let wrong = |code, why| Err(Error::stream(self.stream, code, why));
        //= RFC 9484 4.7.2
        if asked
            .iter()
            .any(|address| self.used.contains(&address.request))
        {
            return wrong(
                Code::Message,
                "a number of a requested address stands twice",
            );
        }
        if self.used.len().saturating_add(asked.len()) > MAX_ASKED {
            return wrong(Code::ExcessiveLoad, "too many addresses are asked for");
        }
        self.used
            .extend(asked.iter().map(|address| address.request));
        self.asked.extend(asked);
        Ok(())
    }

    /// All addresses, those first that answer a request, and all zero for each request that gets none (RFC 9484 4.7.1).
    fn assign(&mut self) -> Vec<Address> {
        let mut left = self.addresses.clone();
        let mut assigned = Vec::new();
        for Address { request, prefix } in self.asked.drain(..) {
            let same_family = |given: &IpNet| given.addr().is_ipv4() == prefix.addr().is_ipv4();
            let wanted = left.iter().position(|given| given.contains(&prefix));
            let found = wanted.or_else(|| left.iter().position(same_family));
            let prefix = found.map_or_else(|| none_like(prefix), |at| left.remove(at));
            assigned.push(Address { request, prefix });
        }
        assigned.extend(
            left.into_iter()
                .map(|prefix| Address { request: 0, prefix }),
        );
        assigned
    }
}

/// The answer to a request that gets nothing: all zero, of the same family and as long as can be.
fn none_like(prefix: IpNet) -> IpNet {
    match prefix {
        IpNet::V4(_) => IpNet::V4(ipnet::Ipv4Net::from(std::net::Ipv4Addr::UNSPECIFIED)),
        IpNet::V6(_) => IpNet::V6(ipnet::Ipv6Net::from(std::net::Ipv6Addr::UNSPECIFIED)),
    }
}

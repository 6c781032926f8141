//! The client's end of a connection: it asks for one tunnel.
//!
//! In: bytes of streams and datagrams. Out: [`Event`]s, and [`Transmit`]s in order.
//! Knows not what the packets are for.
//!
//! Whoever carries the bytes opens one unidirectional stream for [`Transmit::Control`] and one for the request, its first
//! bidirectional one, takes every event and everything that is to be sent after each call, and reads no more from the server
//! while that cannot be sent.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::capsule::{Address, Capsule, Route};
use super::error::{Code, Error, Scope};
use super::exchange::{self, Exchange, Expects, Found, Input};
use super::fields::{self, Response};
use super::service::Service;
use super::streams::{Heard, Streams, Transmit};
use super::{MAX_PACKET, datagram};

/// The stream of the request: the first that a client opens.
pub const REQUEST: u64 = 0;
/// Most interim answers before the answer.
//= C7
const MAX_INTERIM: u8 = 8;

/// What the user of the session has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The tunnel is open.
    Open,
    /// The server refuses.
    Refused(Response),
    /// All addresses that we have from now on.
    Addresses(Vec<IpNet>),
    /// All destinations from now on.
    Routes(Vec<Route>),
    /// All services from now on. Only a server of ours tells.
    Services(Vec<Service>),
    /// A packet that came in the stream, because it did not fit a datagram. To be checked like any other.
    Packet(Vec<u8>),
    /// The server wants to be left; the tunnel goes on until one of both ends it.
    GoingAway,
    /// The server ended the tunnel.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The server's settings are not there.
    Waiting,
    /// The request is on its way.
    Asked,
    Open,
    Over,
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    authority: String,
    streams: Streams,
    exchange: Exchange,
    state: State,
    interim: u8,
    head: Vec<u8>,
    events: VecDeque<Event>,
}

impl Session {
    /// A connection whose handshake is over, to a server of this name (with its port if that is not 443).
    /// `datagrams`: the server's transport takes datagrams.
    #[must_use]
    pub fn new(authority: &str, datagrams: bool) -> Self {
        let mut head = Vec::new();
        datagram::write_head(REQUEST, &mut head);
        Self {
            authority: authority.to_owned(),
            streams: Streams::new(false, datagrams),
            exchange: Exchange::new(REQUEST),
            state: State::Waiting,
            interim: 0,
            head,
            events: VecDeque::new(),
        }
    }

    /// Reads the next bytes of a stream of the server; `fin`: they are the last.
    ///
    /// # Errors
    /// What the server did wrong. After one of the connection the session is of no more use; after one of the stream the
    /// tunnel is over.
    pub fn receive(&mut self, stream: u64, bytes: &[u8], fin: bool) -> Result<(), Error> {
        let received = match stream {
            REQUEST => self.answer(bytes, fin),
            _ if stream & 3 == 3 => self.unidirectional(stream, bytes, fin),
            _ => Err(Error::connection(
                Code::StreamCreation,
                "the server opened a stream that is for clients alone",
            )),
        };
        if let Err(Error {
            scope: Scope::Stream(_),
            ..
        }) = received
        {
            self.over();
        }
        received
    }

    /// The server reset a stream, or reads no more of it.
    ///
    /// # Errors
    /// When it must stay open.
    pub fn reset(&mut self, stream: u64) -> Result<(), Error> {
        match stream & 3 {
            0 if stream == REQUEST => {
                self.over();
                Ok(())
            }
            2 => Err(Error::connection(
                Code::ClosedCriticalStream,
                "the server does not want our control stream",
            )),
            _ => self.streams.closed(stream),
        }
    }

    /// The packet in a datagram of QUIC; nothing when there is no open tunnel that it belongs to.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn datagram<'b>(&self, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, Error> {
        let read = datagram::read(bytes)?;
        if self.state != State::Open || read.stream != REQUEST {
            return Ok(None);
        }
        datagram::packet(read.content).map_err(|why| Error::stream(REQUEST, Code::Datagram, why))
    }

    /// What to write before a packet in a datagram of QUIC; nothing while there is no tunnel or the server takes no datagrams.
    #[must_use]
    pub fn head(&self) -> Option<&[u8]> {
        let may = self.state == State::Open && self.streams.may_send_datagrams();
        may.then_some(&self.head)
    }

    /// Sends a packet in the stream: for one that fits no datagram. Says whether there was space for it.
    pub fn send_packet(&mut self, packet: &[u8]) -> bool {
        let space = self.streams.has_space(packet.len().saturating_add(32));
        let may = self.state == State::Open && packet.len() <= MAX_PACKET && space;
        if may {
            self.send(&[Capsule::Datagram(datagram::content(packet))], false);
        }
        may
    }

    /// Ends the tunnel in order.
    pub fn close(&mut self) {
        if matches!(self.state, State::Asked | State::Open) {
            self.streams.send(Transmit::Request {
                stream: REQUEST,
                bytes: Vec::new(),
                fin: true,
            });
        }
        self.state = State::Over;
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What is to be sent next.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.streams.poll()
    }

    fn unidirectional(&mut self, stream: u64, bytes: &[u8], fin: bool) -> Result<(), Error> {
        let mut heard = Vec::new();
        let received = self.streams.receive(stream, bytes, fin, &mut heard);
        for heard in heard {
            match heard {
                Heard::GoAway => self.events.push_back(Event::GoingAway),
                //= RFC 9220 3: only now may the request be made
                Heard::Settings(settings) if settings.enable_connect_protocol => self.ask(),
                Heard::Settings(_) => {
                    return Err(Error::connection(
                        Code::GeneralProtocol,
                        "the server takes no extended CONNECT",
                    ));
                }
            }
        }
        received
    }

    /// Asks for the tunnel, and for an address of each family, which the server may give without being asked.
    fn ask(&mut self) {
        if self.state != State::Waiting {
            return;
        }
        self.state = State::Asked;
        self.streams.send(Transmit::Request {
            stream: REQUEST,
            bytes: exchange::headers(&fields::connect_ip(&self.authority)),
            fin: false,
        });
        let any = |request, ip: IpAddr| Address {
            request,
            prefix: IpNet::from(ip),
        };
        let wanted = vec![
            any(1, Ipv4Addr::UNSPECIFIED.into()),
            any(2, Ipv6Addr::UNSPECIFIED.into()),
        ];
        self.send(&[Capsule::AddressRequest(wanted)], false);
    }

    fn answer(&mut self, bytes: &[u8], fin: bool) -> Result<(), Error> {
        let mut input = Input::new(bytes);
        while let Some(found) = self.exchange.next(&mut input, &mut self.streams.patience)? {
            match found {
                Found::Fields(fields) => self.response(&fields)?,
                Found::Capsule(capsule) => self.capsule(capsule)?,
            }
        }
        if fin {
            self.exchange.end()?;
            self.close_after_end();
        }
        Ok(())
    }

    fn response(&mut self, fields: &[super::qpack::Field]) -> Result<(), Error> {
        let wrong = |why| Error::stream(REQUEST, Code::Message, why);
        if self.state != State::Asked {
            return Err(wrong("an answer came that nobody asked for"));
        }
        let response = fields::response(fields).map_err(wrong)?;
        match response.status.0 {
            100..=199 if self.interim == MAX_INTERIM => {
                return Err(wrong("there are too many interim answers"));
            }
            100..=199 => self.interim = self.interim.saturating_add(1),
            _ if response.status.is_success() => {
                self.state = State::Open;
                self.exchange.expects = Expects::Capsules;
                self.events.push_back(Event::Open);
            }
            _ => {
                self.close();
                self.exchange.expects = Expects::Nothing;
                self.events.push_back(Event::Refused(response));
            }
        }
        Ok(())
    }

    fn capsule(&mut self, capsule: Capsule) -> Result<(), Error> {
        match capsule {
            Capsule::Datagram(content) => {
                let packet = datagram::packet(&content)
                    .map_err(|why| Error::stream(REQUEST, Code::Datagram, why))?;
                if let Some(packet) = packet {
                    self.events.push_back(Event::Packet(packet.to_vec()));
                }
            }
            Capsule::AddressAssign(assigned) => {
                let given = assigned.into_iter().map(|address| address.prefix);
                let given = given.filter(|prefix| !prefix.addr().is_unspecified());
                self.events.push_back(Event::Addresses(given.collect()));
            }
            Capsule::RouteAdvertisement(routes) => self.events.push_back(Event::Routes(routes)),
            Capsule::Services(services) => self.events.push_back(Event::Services(services)),
            // A server that wants addresses of us gets none (RFC 9484 4.7.2).
            Capsule::AddressRequest(asked) => self.deny(asked),
        }
        Ok(())
    }

    fn deny(&mut self, asked: Vec<Address>) {
        let none = |Address { request, prefix }| {
            let zero: IpAddr = if prefix.addr().is_ipv4() {
                Ipv4Addr::UNSPECIFIED.into()
            } else {
                Ipv6Addr::UNSPECIFIED.into()
            };
            Address {
                request,
                prefix: IpNet::from(zero),
            }
        };
        if self.streams.has_space(1024) {
            let denied = asked.into_iter().map(none).collect();
            self.send(&[Capsule::AddressAssign(denied)], false);
        }
    }

    fn close_after_end(&mut self) {
        if self.state == State::Open {
            self.close();
            self.events.push_back(Event::Ended);
        }
    }

    /// The tunnel is gone without a last word.
    fn over(&mut self) {
        if self.state != State::Over {
            self.state = State::Over;
            self.events.push_back(Event::Ended);
        }
    }

    fn send(&mut self, capsules: &[Capsule], fin: bool) {
        self.streams.send(Transmit::Request {
            stream: REQUEST,
            bytes: exchange::content(capsules),
            fin,
        });
    }
}

//! The process that holds the QUIC tunnel, no key and no privilege.
//!
//! In: descriptors, members and an identity from the supervisor; connections from `entrance`; packets of the kernel.
//! Out: events. Decides who of those whose certificate is believed may stay, and ends them when they may not any more.
//!
//! Handshakes wait for the signer: they run on threads of their own, beside the one that hears the supervisor.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quinn::{Connection, Endpoint, TokioRuntime};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::entrance::{Entrance, canonical, close};
use super::message::{FromQuic, QuicEvent, Settings, ToQuic};
use super::refusals::{Refusals, Why};
use super::roster::{Counted, Roster, Seat};
use super::session::{self, Parts};
use super::tls::{self, Verifier};
use super::transport;
use crate::channel::{Channel, ChannelError, Untold};
use crate::flow::{Clock, DeviceName};
use crate::key_exchange;
use crate::masque::Code;
use crate::pki::door::Door;
use crate::pki::message::{Fingerprint, Serial, ServerIdentity, Trust};
use crate::pki::trust;
use crate::pki::validity::Verdict;
use crate::tunnel::batch::Batch;
use crate::tunnel::device::Tun;
use crate::tunnel::inner;
use crate::tunnel::strangers::Strangers;

/// Why the worker ends.
#[derive(Debug, thiserror::Error)]
pub enum QuicWorkerError {
    /// The supervisor cannot be understood.
    #[error("cannot hear the supervisor")]
    Channel(#[source] ChannelError),
    /// Something else came first, or descriptors are missing.
    #[error("the first message is not a start with all its descriptors")]
    NotStarted,
    /// The TUN is gone.
    #[error("cannot use the tunnel interface")]
    Tun(#[source] io::Error),
    /// A socket is broken.
    #[error("cannot use the tunnel's sockets")]
    Udp(#[source] io::Error),
    /// No entropy.
    #[error("the system gives no random bytes")]
    Entropy,
}

/// What entrance and sessions tell the worker.
pub(super) enum News {
    /// A handshake with a believed certificate.
    Arrived { connection: Connection },
    /// Somebody was not let in.
    Refused {
        why: Why,
        peer: SocketAddr,
        /// The key of a certificate that is nobody's here.
        foreign: Option<Fingerprint>,
    },
    /// A device has its addresses.
    Began { device: DeviceName, number: u64 },
    /// A session is over.
    Ended {
        device: DeviceName,
        number: u64,
        why: Why,
    },
}

/// Runs until the supervisor says stop or is gone. Rules and device stay: they are the supervisor's.
///
/// # Errors
/// When the start is not as agreed, or TUN or sockets break.
pub async fn run(
    channel: Channel<FromQuic, ToQuic>,
    clock: Arc<dyn Clock>,
) -> Result<(), QuicWorkerError> {
    let (start, descriptors) = match channel.receive().await {
        Ok(first) => first,
        Err(ChannelError::Closed) => return Ok(()),
        Err(error) => return Err(QuicWorkerError::Channel(error)),
    };
    let (news, mut heard) = mpsc::channel(NEWS);
    let mut worker = Worker::start(start, descriptors, clock, news)?;
    worker.untold.tell(FromQuic::Ready);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let tun = Arc::clone(&worker.tun);
    while (worker.untold.deliver(&channel)).map_err(QuicWorkerError::Channel)? {
        tokio::select! {
            message = channel.receive() => match message {
                Ok((message, descriptors)) => if !worker.obey(message, descriptors) { break },
                Err(ChannelError::Closed) => break,
                Err(error) => return Err(QuicWorkerError::Channel(error)),
            },
            readable = tun.readable() => {
                readable.map_err(QuicWorkerError::Tun)?;
                worker.pump()?;
                // One busy end must not starve the others.
                tokio::task::yield_now().await;
            }
            Some(news) = heard.recv() => worker.hear(news),
            _ = ticks.tick() => worker.tick(),
        }
    }
    worker.part().await;
    Ok(())
}

struct Worker {
    settings: Settings,
    own: Arc<[IpAddr]>,
    tun: Arc<Tun>,
    endpoints: Vec<Endpoint>,
    door: Option<Door>,
    verifier: Option<(Verifier, Duration)>,
    roster: Roster,
    refusals: Refusals,
    strangers: Strangers,
    clock: Arc<dyn Clock>,
    news: mpsc::Sender<News>,
    leaving: watch::Sender<bool>,
    outgoing: Batch<()>,
    untold: Untold<FromQuic>,
    sessions: u64,
    ticks: u32,
}

impl Worker {
    fn start(
        start: ToQuic,
        descriptors: Vec<OwnedFd>,
        clock: Arc<dyn Clock>,
        news: mpsc::Sender<News>,
    ) -> Result<Self, QuicWorkerError> {
        let ToQuic::Start { settings, members } = start else {
            return Err(QuicWorkerError::NotStarted);
        };
        let mut descriptors = descriptors.into_iter();
        let tun = descriptors.next().ok_or(QuicWorkerError::NotStarted)?;
        let tun = Tun::over(tun, settings.vnet_hdr).map_err(QuicWorkerError::Tun)?;
        let entrance = Arc::new(Entrance::new(news.clone(), Arc::clone(&clock)));
        let mut endpoints = Vec::new();
        for socket in descriptors {
            let socket = UdpSocket::from(socket);
            let runtime = Arc::new(TokioRuntime);
            // Without a configuration nobody gets an answer.
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(|_| QuicWorkerError::Entropy)?;
            let endpoint = Endpoint::new(transport::endpoint(seed), None, socket, runtime)
                .map_err(QuicWorkerError::Udp)?;
            tokio::spawn(Arc::clone(&entrance).stand(endpoint.clone()));
            endpoints.push(endpoint);
        }
        if endpoints.is_empty() {
            return Err(QuicWorkerError::NotStarted);
        }
        tracing::info!(
            interface = settings.interface,
            devices = members.len(),
            "tunnel starts"
        );
        let mut roster = Roster::default();
        roster.admit(members);
        Ok(Self {
            own: settings.own.clone().into(),
            settings,
            tun: Arc::new(tun),
            endpoints,
            door: None,
            verifier: None,
            roster,
            refusals: Refusals::default(),
            strangers: Strangers::default(),
            clock,
            news,
            leaving: watch::Sender::default(),
            outgoing: Batch::new(),
            untold: Untold::default(),
            sessions: 0,
            ticks: 0,
        })
    }

    /// False when it is time to go.
    fn obey(&mut self, message: ToQuic, descriptors: Vec<OwnedFd>) -> bool {
        match message {
            ToQuic::Identity { server, trust } => self.identify(&server, &trust, descriptors),
            ToQuic::Members(members) => self.roster.admit(members),
            ToQuic::Barred(barred) => self.roster.barred = barred.into_iter().collect(),
            ToQuic::End { device } => {
                if let Some(seat) = self.roster.seats.get(&device) {
                    close(&seat.connection, Code::None, "the session was ended");
                }
            }
            ToQuic::Leaving(leaving) => drop(self.leaving.send_replace(leaving)),
            ToQuic::Start { .. } => tracing::warn!("started twice: ignored"),
            ToQuic::Stop => return false,
        }
        true
    }

    /// Whom we are and whom we believe from now on; who is in and not believed any more is out.
    //= C9
    fn identify(&mut self, server: &ServerIdentity, trust: &Trust, descriptors: Vec<OwnedFd>) {
        if let Some(socket) = descriptors.into_iter().next() {
            match &self.door {
                Some(door) => door.replace(socket),
                None => self.door = Some(Door::new(socket)),
            }
        }
        let Some(door) = &self.door else {
            return;
        };
        let shaking = match tls::shaking(server, trust, door, self.settings.post_quantum) {
            Ok(shaking) => shaking,
            Err(error) => {
                // Nobody is let in by what is not believed.
                for endpoint in &self.endpoints {
                    endpoint.set_server_config(None);
                }
                let why = error.to_string();
                return self.untold.tell(FromQuic::NoIdentity { why });
            }
        };
        let config = transport::server(shaking.config, &self.settings);
        for endpoint in &self.endpoints {
            endpoint.set_server_config(Some(config.clone()));
        }
        let now = self.clock.wall();
        for seat in self.roster.seats.values() {
            if !shaking.verifier.believes(&seat.chain, now) {
                let why = "the certificate is not believed any more";
                close(&seat.connection, Code::RequestRejected, why);
            }
        }
        self.verifier = Some((shaking.verifier, trust.grace));
    }

    fn pump(&mut self) -> Result<(), QuicWorkerError> {
        self.outgoing.clear();
        self.tun
            .read(&mut self.outgoing)
            .map_err(QuicWorkerError::Tun)?;
        for (packet, ()) in self.outgoing.iter() {
            if let Some(head) = inner::parse(packet) {
                self.roster.deliver(head.destination, packet);
            }
        }
        Ok(())
    }

    fn hear(&mut self, news: News) {
        let now = self.clock.now();
        match news {
            News::Arrived { connection } => self.arrived(connection),
            News::Refused { why, peer, foreign } => {
                let peer = canonical(peer);
                if let Some(key) = foreign {
                    self.strangers.note(peer.ip(), key.0);
                }
                let event = self.refusals.note(why, None, peer, now);
                self.record(event);
            }
            News::Began { device, number } => self.began(&device, number),
            News::Ended {
                device,
                number,
                why,
            } => {
                if let Some(seat) = self.roster.unseat(&device, number) {
                    self.ended(device, &seat, why);
                }
            }
        }
    }

    /// A connection whose certificate was believed in the handshake: may it stay?
    fn arrived(&mut self, connection: Connection) {
        let (device, until, chain) = match self.judge(&connection) {
            Ok(judged) => judged,
            Err((why, device)) => {
                close(&connection, Code::RequestRejected, why);
                let peer = canonical(connection.remote_address());
                let now = self.clock.now();
                let event = self.refusals.note(why, device.as_ref(), peer, now);
                return self.record(event);
            }
        };
        let now = self.clock.now();
        if !self.roster.comes(&device, now) {
            let why = "the device comes too often";
            close(&connection, Code::ExcessiveLoad, why);
            let peer = canonical(connection.remote_address());
            let event = self.refusals.note(why, Some(&device), peer, now);
            return self.record(event);
        }
        let Some(member) = self.roster.members.get(&device) else {
            return;
        };
        self.sessions = self.sessions.saturating_add(1);
        let number = self.sessions;
        let (member, seen) = watch::channel(member.clone());
        let (inbox, packets) = mpsc::channel(INBOX);
        let counted = Arc::new(Counted::default());
        let parts = Parts {
            device: device.clone(),
            number,
            connection: connection.clone(),
            member: seen,
            inbox: packets,
            counted: Arc::clone(&counted),
            tun: Arc::clone(&self.tun),
            own: Arc::clone(&self.own),
            mtu: usize::from(self.settings.mtu),
            news: self.news.clone(),
            leaving: self.leaving.subscribe(),
            clock: Arc::clone(&self.clock),
        };
        tokio::spawn(session::serve(parts));
        let seat = Seat {
            number,
            key_exchange: key_exchange::of(&connection).unwrap_or("unknown"),
            connection,
            chain,
            until,
            since: self.clock.now(),
            member,
            inbox,
            counted,
            told_spoofed: 0,
            begun: false,
        };
        if let Some(older) = self.roster.seat(device.clone(), seat) {
            close(&older.connection, Code::None, "the device came again");
            self.ended(device, &older, "the device came again".into());
        }
    }

    /// Who it is and until when, or why it may not stay.
    //= C5
    fn judge(
        &self,
        connection: &Connection,
    ) -> Result<(DeviceName, jiff::Timestamp, tls::Chain), (&'static str, Option<DeviceName>)> {
        let now = self.clock.wall();
        let none = || ("there was no certificate", None);
        let chain = tls::shown(connection).ok_or_else(none)?;
        let known = chain.first().zip(self.verifier.as_ref());
        let (leaf, (verifier, grace)) = known.ok_or_else(none)?;
        let presented = trust::judge(leaf, now, *grace)
            .map_err(|_| ("the certificate is not one of a device", None))?;
        let device = presented.device;
        // What is believed may have changed while the hands were shaken.
        if !verifier.believes(&chain, now) {
            return Err(("the certificate is revoked", Some(device)));
        }
        let until = match presented.verdict {
            Verdict::Valid { until } => until,
            Verdict::TooEarly { .. } => {
                return Err(("the certificate is not valid yet", Some(device)));
            }
            Verdict::RenewOnly { .. } | Verdict::TooLate { .. } => {
                return Err(("the certificate is expired: renew it", Some(device)));
            }
        };
        if !self.roster.members.contains_key(&device) {
            return Err((self.roster.why(&device), Some(device)));
        }
        Ok((device, until, chain))
    }

    fn began(&mut self, device: &DeviceName, number: u64) {
        let seat = self.roster.seats.get_mut(device);
        let Some(seat) = seat.filter(|seat| seat.number == number) else {
            return;
        };
        seat.begun = true;
        let certificate = seat.chain.first();
        let now = self.clock.wall();
        let presented = certificate.and_then(|leaf| trust::judge(leaf, now, Duration::ZERO).ok());
        let serial: Option<Serial> = presented.map(|presented| presented.serial);
        let Some(certificate) = serial else {
            return;
        };
        let event = QuicEvent::Began {
            device: device.clone(),
            certificate,
            peer: seat.peer(),
            key_exchange: seat.key_exchange.to_owned(),
        };
        self.record(Some(event));
        self.tell_figures();
    }

    /// One record of each: of those that never had a tunnel together.
    //= C8
    fn ended(&mut self, device: DeviceName, seat: &Seat, why: Why) {
        self.tell_spoofed(&device, seat);
        let event = if seat.begun {
            Some(QuicEvent::Ended {
                device,
                seconds: seat.seconds(self.clock.now()),
                received: seat.counted.received.load(Ordering::Relaxed),
                sent: seat.counted.sent.load(Ordering::Relaxed),
                why: why.to_string(),
            })
        } else {
            let now = self.clock.now();
            self.refusals.note(why, Some(&device), seat.peer(), now)
        };
        self.record(event);
        self.tell_figures();
    }

    fn tell_spoofed(&mut self, device: &DeviceName, seat: &Seat) {
        let spoofed = Counted::of(&seat.counted.spoofed);
        let packets = spoofed.saturating_sub(seat.told_spoofed);
        if packets > 0 {
            self.record(Some(QuicEvent::Spoofed {
                device: device.clone(),
                packets,
            }));
        }
    }

    /// Everything that time brings about.
    fn tick(&mut self) {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        let mut spoofed = Vec::new();
        for (device, seat) in &mut self.roster.seats {
            if seat.until < wall {
                let why = "the certificate is expired: renew it";
                close(&seat.connection, Code::RequestRejected, why);
            }
            let all = Counted::of(&seat.counted.spoofed);
            let packets = all.saturating_sub(seat.told_spoofed);
            if packets > 0 {
                seat.told_spoofed = all;
                spoofed.push(QuicEvent::Spoofed {
                    device: device.clone(),
                    packets,
                });
            }
        }
        for event in spoofed.into_iter().chain(self.refusals.tell(now)) {
            self.record(Some(event));
        }
        let strangers = self.strangers.take();
        if !strangers.is_empty() {
            self.untold.tell(FromQuic::Strangers(strangers));
        }
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(FIGURES_EVERY) && !self.roster.seats.is_empty() {
            self.tell_figures();
        }
    }

    fn record(&mut self, event: Option<QuicEvent>) {
        if let Some(event) = event {
            self.untold.tell(FromQuic::Event(event));
        }
    }

    fn tell_figures(&mut self) {
        let figures = self.roster.figures(self.clock.now());
        // The newest are enough.
        self.untold
            .forget(|message| matches!(message, FromQuic::Sessions(_)));
        self.untold.tell(FromQuic::Sessions(figures));
    }

    /// Says goodbye, so that devices need not wait for silence.
    async fn part(&self) {
        let code = quinn::VarInt::from_u64(Code::None.value()).unwrap_or(quinn::VarInt::MAX);
        for endpoint in &self.endpoints {
            endpoint.close(code, b"the gateway stops");
        }
        let gone = async {
            for endpoint in &self.endpoints {
                endpoint.wait_idle().await;
            }
        };
        // Whoever does not hear it in time finds out alone.
        let _ = tokio::time::timeout(GOODBYE, gone).await;
    }
}

const TICK: Duration = Duration::from_millis(500);
/// Ticks between reports of figures.
const FIGURES_EVERY: u32 = 10;
/// News that wait for the worker.
//= C7
const NEWS: usize = 1024;
/// Packets that wait for one session.
//= C7
const INBOX: usize = 512;
const GOODBYE: Duration = Duration::from_millis(500);

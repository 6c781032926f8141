//! The process `enrol`: takes connections, speaks TLS 1.3 by a key that it does not have, and asks the supervisor.
//!
//! In: connections of anybody, answers of the supervisor. Out: questions, HTTP.
//! Everything that a stranger can make it hold has a bound: connections at all and from one place, the time of each,
//! headers, bodies, questions under way. No session is resumed, so that each handshake judges the certificate anew.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::message::{Away, FromEnrol, Granted, Identity, Refused, Said, ToEnrol, Wanted};
use super::pace::{Pace, neighbourhood};
use super::service;
use crate::channel::{Channel, ChannelError};
use crate::flow::Clock;
use crate::pki::door::Door;
use crate::pki::foreign;
use crate::pki::pem;
use crate::pki::trust::TrustError;
use crate::words::Language;

/// Why the process ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The supervisor cannot be spoken with.
    #[error("cannot speak with the supervisor")]
    Channel(#[from] ChannelError),
    /// The first message was not `Start` with a socket.
    #[error("the supervisor did not say how to start")]
    NotStarted,
    /// The system gives no random bytes.
    #[error("the system has no random numbers")]
    NoChance,
    /// The socket cannot be used.
    #[error("cannot use the listening socket")]
    Socket(#[from] std::io::Error),
    /// The certificate or those whom it believes cannot be used.
    #[error("cannot use the certificate of the listener")]
    Identity(#[from] IdentityError),
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No way to the signer came with the first one.
    #[error("there is no way to the signer")]
    NoDoor,
    /// Nobody to believe.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The library refuses.
    #[error("the library refuses")]
    Tls(#[from] rustls::Error),
}

/// Before the process is sealed: the library of cryptography looks at files when it first draws by chance.
///
/// # Errors
/// When there is no chance to be had.
pub fn prepare() -> Result<(), EnrolError> {
    let mut drawn = [0; 32];
    let provider = aws_lc_rs::default_provider();
    provider
        .secure_random
        .fill(&mut drawn)
        .map_err(|_| EnrolError::NoChance)
}

/// The whole life of the process. Ends when the supervisor is gone.
///
/// # Errors
/// When the channel or the socket breaks.
pub async fn run(
    channel: Channel<FromEnrol, ToEnrol>,
    clock: Arc<dyn Clock>,
) -> Result<(), EnrolError> {
    let (first, descriptors) = match channel.receive().await {
        Err(ChannelError::Closed) => return Ok(()),
        first => first?,
    };
    let (
        ToEnrol::Start {
            connections,
            language,
        },
        Ok([socket]),
    ) = (first, <[OwnedFd; 1]>::try_from(descriptors))
    else {
        return Err(EnrolError::NotStarted);
    };
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let (said, mut saying) = mpsc::channel(MAX_QUESTIONS);
    let room = Arc::new(Semaphore::new(usize::from(connections)));
    let mut house = House {
        desk: Arc::new(Desk {
            clock,
            language,
            said,
            each: usize::from(connections).div_ceil(4),
            questions: Semaphore::new(MAX_QUESTIONS),
            state: Mutex::default(),
        }),
        door: None,
        current: None,
    };
    channel.send(&FromEnrol(Said::Ready), &[]).await?;
    loop {
        tokio::select! {
            received = channel.receive() => match received {
                Ok((message, descriptors)) => house.hear(message, descriptors)?,
                Err(ChannelError::Closed) => return Ok(()),
                Err(error) => return Err(error.into()),
            },
            Some(said) = saying.recv() => channel.send(&FromEnrol(said), &[]).await?,
            taken = take(&listener, &room), if house.current.is_some() => {
                match taken {
                    Ok((stream, source, permit)) => house.welcome(stream, source, permit),
                    Err(error) => {
                        warn!(%error, "cannot take a connection");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }
}

/// The next connection, once there is room for it.
//= C7
async fn take(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await;
    let permit = permit.map_err(std::io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address.ip().to_canonical(), permit))
}

struct House {
    desk: Arc<Desk>,
    door: Option<Door>,
    current: Option<Current>,
}

/// What the listener shows and believes.
#[derive(Clone)]
struct Current {
    tls: Arc<ServerConfig>,
    authorities: Arc<Vec<Vec<u8>>>,
    /// Lists of revoked certificates, as PEM.
    lists: Arc<str>,
    grace: Duration,
}

impl House {
    fn hear(&mut self, message: ToEnrol, descriptors: Vec<OwnedFd>) -> Result<(), EnrolError> {
        match message {
            ToEnrol::Start { .. } => warn!("started twice: ignored"),
            ToEnrol::Identity(identity) => {
                if let Some(socket) = descriptors.into_iter().next() {
                    match &self.door {
                        Some(door) => door.replace(socket),
                        None => self.door = Some(Door::new(socket)),
                    }
                }
                let door = self.door.as_ref().ok_or(IdentityError::NoDoor)?;
                self.current = Some(Current::new(*identity, door)?);
            }
            ToEnrol::Answer { request, answer } => {
                let waiting = self.desk.lock().waiting.remove(&request);
                if let Some(waiting) = waiting {
                    // The device may have gone.
                    let _gone = waiting.send(*answer);
                }
            }
        }
        Ok(())
    }

    fn welcome(&self, stream: TcpStream, source: IpAddr, permit: OwnedSemaphorePermit) {
        let Some(current) = self.current.clone() else {
            return;
        };
        let Some(seat) = Seat::take(&self.desk, source) else {
            debug!("a place has too many connections");
            return;
        };
        let desk = Arc::clone(&self.desk);
        tokio::spawn(async move {
            let served = timeout(VISIT, serve(stream, source, desk, current)).await;
            if served.is_err() {
                debug!("a connection took too long");
            }
            drop((seat, permit));
        });
    }
}

impl Current {
    fn new(identity: Identity, door: &Door) -> Result<Self, IdentityError> {
        let key = door.certified(&identity.server);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(foreign::noting(identity.trust.lenient_verifier()?))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.send_tls13_tickets = 0;
        let authorities = identity.authorities.into_iter().map(|der| der.0);
        let lists = identity.trust.lists.iter();
        let lists: String = lists.map(|list| pem::encode(pem::CRL, &list.0)).collect();
        Ok(Self {
            tls: Arc::new(tls),
            authorities: Arc::new(authorities.collect()),
            lists: lists.into(),
            grace: identity.trust.grace,
        })
    }
}

async fn serve(stream: TcpStream, source: IpAddr, desk: Arc<Desk>, current: Current) {
    let _slower = stream.set_nodelay(true);
    let mut accepting = TlsAcceptor::from(Arc::clone(&current.tls)).accept(stream);
    let mut stranger = None;
    let accepted = poll_fn(|context| {
        let (polled, key) = foreign::while_reading(|| Pin::new(&mut accepting).poll(context));
        stranger = key.or(stranger);
        polled
    });
    let Ok(Ok(stream)) = timeout(HANDSHAKE, accepted).await else {
        debug!("a handshake failed");
        if let Some(key) = stranger {
            // What the supervisor has no time for is one of many.
            let _lost = desk.said.try_send(Said::Foreign { source, key });
        }
        return;
    };
    let shown = stream.get_ref().1.peer_certificates();
    let peer = Peer {
        source,
        certificate: shown
            .and_then(<[_]>::first)
            .map(|certificate| certificate.to_vec()),
    };
    let asking = Asking { desk, current };
    let service = service_fn(async |request| {
        Ok::<_, Infallible>(service::answer(&asking, &peer, request).await)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_headers(MOST_HEADERS)
        .max_buf_size(LONGEST_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "a connection ended badly");
    }
}

/// Who asks.
pub(super) struct Peer {
    pub(super) source: IpAddr,
    /// The certificate of the handshake, which was believed.
    pub(super) certificate: Option<Vec<u8>>,
}

/// What all connections share.
struct Desk {
    clock: Arc<dyn Clock>,
    language: Language,
    said: mpsc::Sender<Said>,
    /// Connections from one place.
    each: usize,
    /// Those that may be under way.
    questions: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pace: Pace,
    waiting: BTreeMap<u64, oneshot::Sender<Result<Granted, Refused>>>,
    last: u64,
    seats: BTreeMap<IpAddr, usize>,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a request speaks with the rest of the process.
pub(super) struct Asking {
    desk: Arc<Desk>,
    current: Current,
}

impl Asking {
    pub(super) fn authorities(&self) -> Arc<Vec<Vec<u8>>> {
        Arc::clone(&self.current.authorities)
    }

    pub(super) fn lists(&self) -> &str {
        &self.current.lists
    }

    pub(super) fn grace(&self) -> Duration {
        self.current.grace
    }

    pub(super) fn language(&self) -> Language {
        self.desk.language
    }

    pub(super) fn wall(&self) -> Timestamp {
        self.desk.clock.wall()
    }

    pub(super) fn may_try(&self, peer: &Peer) -> bool {
        let now = self.desk.clock.now();
        self.desk.lock().pace.may_try(peer.source, now)
    }

    /// Somebody brought a wrong token; `why` if the supervisor does not know it yet.
    pub(super) fn failed(&self, peer: &Peer, why: Option<Away>) {
        let now = self.desk.clock.now();
        let last = self.desk.lock().pace.failed(peer.source, now);
        for why in why.into_iter().chain(last.then_some(Away::TooOften)) {
            let source = peer.source;
            // What the supervisor has no time for is one of many.
            let _lost = self.desk.said.try_send(Said::SentAway { source, why });
        }
    }

    /// Asks the supervisor.
    pub(super) async fn ask(&self, peer: &Peer, wanted: Wanted) -> Result<Granted, Refused> {
        let unavailable = |why: &str| Refused::Unavailable(why.to_owned());
        let turn = timeout(PATIENCE, self.desk.questions.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(unavailable("too many enroll at once: try again"));
        };
        let (sender, answer) = oneshot::channel();
        let request = {
            let mut state = self.desk.lock();
            state.last = state.last.saturating_add(1);
            let number = state.last;
            state.waiting.insert(number, sender);
            number
        };
        let _forgotten = Forget(&self.desk, request);
        let said = Said::Ask {
            request,
            source: peer.source,
            wanted,
        };
        if self.desk.said.send(said).await.is_err() {
            return Err(unavailable("the gateway stops"));
        }
        let answer = match timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(unavailable("the gateway does not answer: try again")),
        };
        if answer == Err(Refused::Token) {
            self.failed(peer, None);
        }
        answer
    }
}

/// A question that nobody waits for any more.
struct Forget<'d>(&'d Desk, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting.remove(&self.1);
    }
}

/// One of the connections that a place may have.
struct Seat(Arc<Desk>, IpAddr);

impl Seat {
    fn take(desk: &Arc<Desk>, source: IpAddr) -> Option<Self> {
        let source = neighbourhood(source);
        let mut state = desk.lock();
        let taken = state.seats.entry(source).or_default();
        if *taken >= desk.each {
            return None;
        }
        *taken = taken.saturating_add(1);
        drop(state);
        Some(Self(Arc::clone(desk), source))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if let Some(taken) = state.seats.get_mut(&self.1) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                state.seats.remove(&self.1);
            }
        }
    }
}

const PAUSE: Duration = Duration::from_millis(100);
/// For a handshake.
//= C7
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For the headers of a request.
//= C7
const HEADERS: Duration = Duration::from_secs(10);
/// For a connection as a whole.
//= C7
const VISIT: Duration = Duration::from_mins(1);
/// For the supervisor, which may wait for the database and the signer.
const PATIENCE: Duration = Duration::from_secs(30);
//= C7
const MOST_HEADERS: usize = 32;
/// Bytes of all headers of a request.
//= C7
const LONGEST_HEADERS: usize = 16 << 10;
/// Questions under way; more wait.
//= C7
const MAX_QUESTIONS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    struct Stopped;

    impl Clock for Stopped {
        #[allow(clippy::disallowed_methods, reason = "tests make up their time")]
        fn now(&self) -> Instant {
            Instant::now()
        }

        fn wall(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }
    }

    /// Otherwise whoever has a network of IPv6 has all seats.
    //= C7
    #[test]
    fn a_network_of_one_is_one_place_and_others_have_seats() {
        let desk = Arc::new(Desk {
            clock: Arc::new(Stopped),
            language: Language::English,
            said: mpsc::channel(1).0,
            each: 2,
            questions: Semaphore::new(1),
            state: Mutex::default(),
        });
        let take = |text: &str| Seat::take(&desk, text.parse().unwrap());
        for (own, other, elsewhere) in [
            ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"),
            ("192.0.2.7", "::ffff:192.0.2.7", "192.0.2.8"),
        ] {
            let (first, second) = (take(own), take(other));
            assert!(first.is_some() && second.is_some());
            assert!(take(own).is_none() && take(other).is_none(), "{own}");
            assert!(take(elsewhere).is_some());
            drop(first);
            assert!(take(other).is_some());
        }
        assert!(desk.lock().seats.is_empty());
    }
}

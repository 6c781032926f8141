//! The life of a client: connects, stays, comes back, until it is told to stop.
//!
//! In: what the file says, and when to stop. Out: events, and how it ended.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use lazaret_config::{Client, ClientGateway, Forward, ServerName};
use quinn::{ClientConfig, Endpoint, VarInt};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{self, Instant};

use super::event::Event;
use super::link::{Granted, Link, Packets, QUEUE};
use super::pause::Pause;
use super::refusal::{self, Refusal};
use super::stack::{self, Stack};
use super::tls::{self, Stamp, TlsError};
use super::{forward, transport};
use crate::masque::Code;

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was told to stop.
    Stopped,
    /// With `once`: somebody said no.
    Refused(String),
    /// With `once`: nobody answered, or the tunnel was lost.
    Lost(String),
}

/// Why it cannot even begin.
#[derive(Debug, thiserror::Error)]
pub enum LifeError {
    /// A certificate or key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The library of QUIC cannot use the configuration of TLS.
    #[error("QUIC cannot be set up: {0}")]
    Quic(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
    /// A local port.
    #[error("cannot listen on {listen}: {}", unusable(cause))]
    Listen {
        /// Which.
        listen: SocketAddr,
        /// Why.
        cause: io::Error,
    },
    /// There is no chance to be had.
    #[error("the system gives no random numbers")]
    Chance,
    /// The interface.
    #[error("{0}")]
    Interface(String),
}

/// Why a local port cannot be used, and what to do.
fn unusable(cause: &io::Error) -> String {
    let kind = cause.kind();
    if kind == io::ErrorKind::AddrInUse {
        "another program has this port, perhaps another client: end that, or choose another port"
    } else if kind == io::ErrorKind::PermissionDenied {
        "the system keeps this port for itself: choose one above 1023"
    } else {
        return cause.to_string();
    }
    .to_owned()
}

/// Events that wait to be told.
//= C7
const EVENTS: usize = 64;
/// For one address of the gateway to answer.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For the name of the gateway.
const LOOKUP: Duration = Duration::from_secs(10);
/// An address of nobody, beyond every router: the way to it is the way out. Nothing is sent there.
const SOMEWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 443);
/// For changes of the networks that belong together.
const TOGETHER: Duration = Duration::from_millis(500);
/// Between looks at our own certificate.
const LOOK: Duration = Duration::from_secs(5);
/// For the last words.
const GOODBYE: Duration = Duration::from_secs(1);

/// Whoever is told, and when it is to end.
struct Ears<'e> {
    tell: &'e mut dyn FnMut(&Event),
    events: mpsc::Receiver<Event>,
    stop: Pin<&'e mut dyn Future<Output = ()>>,
}

impl Ears<'_> {
    /// Waits for something while events are told; nothing when it is to stop.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        let done = loop {
            tokio::select! {
                biased;
                () = &mut self.stop => break None,
                Some(event) = self.events.recv() => (self.tell)(&event),
                done = &mut work => break Some(done),
            }
        };
        while let Ok(event) = self.events.try_recv() {
            (self.tell)(&event);
        }
        done
    }
}

/// What lasts over all connections.
struct Life<'c> {
    client: &'c Client,
    once: bool,
    packets: Packets,
    granted: watch::Sender<Granted>,
    events: mpsc::Sender<Event>,
    /// Tells that the networks of this machine changed.
    networks: Arc<Notify>,
    /// Where the gateway was looked for last.
    towards: SocketAddr,
    /// The certificate that was shown last.
    shown: Stamp,
}

/// Runs a client until `stop` is over, or with `once` until the first connection failed or ended.
///
/// # Errors
/// When it cannot begin.
pub async fn run(
    client: &Client,
    once: bool,
    tell: &mut dyn FnMut(&Event),
    stop: Pin<&mut dyn Future<Output = ()>>,
) -> Result<Ending, LifeError> {
    // Whatever is wrong from the beginning is told at once.
    transport::configuration(tls::configuration(client)?)?;
    let (arrived, arriving) = mpsc::channel(QUEUE);
    let (leaves, leaving) = mpsc::channel(QUEUE);
    let (granted, watched) = watch::channel(Granted::default());
    let (events, heard) = mpsc::channel(EVENTS);
    let mut ears = Ears {
        tell,
        events: heard,
        stop,
    };
    let mut life = Life {
        client,
        once,
        packets: Packets { arrived, leaving },
        granted,
        events,
        networks: networks(),
        towards: SOMEWHERE,
        shown: tls::stamp(client),
    };
    match &client.interface {
        Some(name) => start_interface(name, watched, arriving, leaves, &life)?,
        None => start_forwards(watched, arriving, leaves, &life, &mut ears).await?,
    }
    life.live(&mut ears).await
}

async fn start_forwards(
    watched: watch::Receiver<Granted>,
    arriving: mpsc::Receiver<Vec<u8>>,
    leaves: mpsc::Sender<Vec<u8>>,
    life: &Life<'_>,
    ears: &mut Ears<'_>,
) -> Result<(), LifeError> {
    let (opens, opened) = mpsc::channel(stack::MAX_FLOWS);
    for wanted in &life.client.forwards {
        let Forward { listen, .. } = wanted.clone();
        let (opens, events) = (opens.clone(), life.events.clone());
        let started = forward::start(wanted.clone(), watched.clone(), opens, events).await;
        let listen = started.map_err(|cause| LifeError::Listen { listen, cause })?;
        let service = wanted.service.to_string();
        (ears.tell)(&Event::Forwarding { listen, service });
    }
    let stack = Stack::new(leaves, chance()?);
    tokio::spawn(stack.run(arriving, opened, watched));
    Ok(())
}

#[cfg(target_os = "linux")]
fn start_interface(
    name: &str,
    watched: watch::Receiver<Granted>,
    arriving: mpsc::Receiver<Vec<u8>>,
    leaves: mpsc::Sender<Vec<u8>>,
    life: &Life<'_>,
) -> Result<(), LifeError> {
    let wanted = super::interface::Wanted {
        name: name.to_owned(),
        networks: life.client.networks.clone(),
    };
    super::interface::start(wanted, watched, arriving, leaves, life.events.clone())
        .map_err(LifeError::Interface)
}

#[cfg(target_os = "linux")]
fn networks() -> Arc<Notify> {
    super::networks::changes()
}

#[cfg(not(target_os = "linux"))]
fn networks() -> Arc<Notify> {
    Arc::default()
}

#[cfg(not(target_os = "linux"))]
fn start_interface(
    _: &str,
    _: watch::Receiver<Granted>,
    _: mpsc::Receiver<Vec<u8>>,
    _: mpsc::Sender<Vec<u8>>,
    _: &Life<'_>,
) -> Result<(), LifeError> {
    let why = "this system has no interfaces of this kind: use `forward`";
    Err(LifeError::Interface(why.to_owned()))
}

fn chance() -> Result<u64, LifeError> {
    getrandom::u64().map_err(|_| LifeError::Chance)
}

impl Life<'_> {
    async fn live(&mut self, ears: &mut Ears<'_>) -> Result<Ending, LifeError> {
        let once = self.once;
        let mut pause = Pause::default();
        loop {
            let Some((ended, lasted)) = self.attempt(ears).await else {
                break;
            };
            if ended.at_once {
                let (why, retry) = (ended.why, None);
                (ears.tell)(&Event::Lost { why, retry });
                continue;
            }
            let wait = pause.after(lasted, ended.is_final, chance()?);
            let retry = (!once).then_some(wait.as_secs().max(1));
            let why = ended.why.clone();
            (ears.tell)(&if ended.is_final {
                Event::Refused { why, retry }
            } else {
                Event::Lost { why, retry }
            });
            if once && ended.is_final {
                return Ok(Ending::Refused(ended.why));
            }
            if once {
                return Ok(Ending::Lost(ended.why));
            }
            if ears.during(self.rest(wait, ended.is_final)).await.is_none() {
                break;
            }
            // What was for a tunnel that is gone is old.
            while self.packets.leaving.try_recv().is_ok() {}
        }
        (ears.tell)(&Event::Stopped);
        Ok(Ending::Stopped)
    }

    /// Waits, but not for nothing: on another network an answer may come that there was none for, and to another certificate
    /// the answer may be another.
    async fn rest(&self, wait: Duration, is_final: bool) {
        let way = || transport::way(self.towards).ok();
        let before = way();
        let other = async {
            loop {
                self.networks.notified().await;
                // Links, addresses and routes change together.
                time::sleep(TOGETHER).await;
                let now = way();
                if now.is_some() && now != before {
                    return;
                }
            }
        };
        tokio::select! {
            () = time::sleep(wait) => {}
            () = other, if !is_final => {}
            () = renewed(self.client, self.shown) => {}
        }
    }

    /// One address after the other until one gives a tunnel that ends, and how long it lasted. Nothing: it is to stop.
    async fn attempt(&mut self, ears: &mut Ears<'_>) -> Option<(Refusal, Duration)> {
        self.shown = tls::stamp(self.client);
        let found = ears.during(look_up(&self.client.gateway)).await?;
        let addresses = match found {
            Ok(addresses) => addresses,
            Err(ended) => return Some((ended, Duration::ZERO)),
        };
        let config = match self.configuration() {
            Ok(config) => config,
            Err(error) => return Some((Refusal::passing(error.to_string()), Duration::ZERO)),
        };
        let mut last = Refusal::passing("the gateway's name has no address");
        for address in addresses {
            let gateway = authority(&self.client.gateway);
            (ears.tell)(&Event::Connecting { gateway, address });
            self.towards = address;
            let endpoint = match transport::endpoint(address) {
                Ok(endpoint) => endpoint,
                Err(error) => {
                    last = Refusal::passing(format!("no socket: {error}"));
                    continue;
                }
            };
            let began = Instant::now();
            let ended = {
                let connected = self.connect(&endpoint, &config, address);
                ears.during(connected).await
            };
            endpoint.close(code(Code::None), b"");
            if !matches!(&ended, Some(Ok(ended)) if ended.at_once) {
                // Waiting ends by itself when nothing is left to say.
                let _ = time::timeout(GOODBYE, endpoint.wait_idle()).await;
            }
            match ended? {
                Ok(ended) => return Some((ended, began.elapsed())),
                Err(ended) if ended.is_final => return Some((ended, Duration::ZERO)),
                Err(ended) => last = ended,
            }
        }
        Some((last, Duration::ZERO))
    }

    /// A connection and its end; an error: it did not even begin.
    async fn connect(
        &mut self,
        endpoint: &Endpoint,
        config: &ClientConfig,
        address: SocketAddr,
    ) -> Result<Refusal, Refusal> {
        let name = self.client.name.to_string();
        let connecting = endpoint
            .connect_with(config.clone(), address, &name)
            .map_err(|error| Refusal::no(format!("cannot connect: {error}")))?;
        let connection = match time::timeout(HANDSHAKE, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(refusal::of_connection(&error)),
            Err(_) => return Err(refusal::of_connection(&quinn::ConnectionError::TimedOut)),
        };
        let link = Link::begin(
            endpoint,
            connection,
            &authority(&self.client.gateway),
            &mut self.packets,
            &self.granted,
            &self.events,
            Arc::clone(&self.networks),
        )
        .await?;
        let renewed = tokio::select! {
            ended = link.run() => return Ok(ended),
            () = renewed(self.client, self.shown), if !self.once => {
                Refusal::anew("the certificate was renewed")
            }
        };
        self.granted.send_modify(|granted| granted.is_open = false);
        Ok(renewed)
    }

    fn configuration(&self) -> Result<ClientConfig, LifeError> {
        Ok(transport::configuration(tls::configuration(self.client)?)?)
    }
}

/// Waits until there is another certificate, with its key, than the one that was shown.
async fn renewed(client: &Client, shown: Stamp) {
    loop {
        time::sleep(LOOK).await;
        // While somebody writes them they do not fit, or change once more.
        if tls::stamp(client) != shown && tls::configuration(client).is_ok() {
            return;
        }
    }
}

async fn look_up(gateway: &ClientGateway) -> Result<Vec<SocketAddr>, Refusal> {
    let name = match &gateway.host {
        ServerName::Address(address) => return Ok(vec![(*address, gateway.port).into()]),
        ServerName::Dns(name) => name.clone(),
    };
    let failed = || Refusal::passing(format!("the name {name} cannot be looked up now"));
    let found = time::timeout(
        LOOKUP,
        tokio::net::lookup_host((name.as_str(), gateway.port)),
    )
    .await;
    let found = found.map_err(|_| failed())?.map_err(|_| failed())?;
    Ok(found.take(MOST_ADDRESSES).collect())
}

/// Most addresses of a gateway that are tried.
//= C7
const MOST_ADDRESSES: usize = 8;

/// As it stands in a request: without the port of HTTPS.
fn authority(gateway: &ClientGateway) -> String {
    let host = match &gateway.host {
        ServerName::Address(address) if address.is_ipv6() => format!("[{address}]"),
        host @ (ServerName::Dns(_) | ServerName::Address(_)) => host.to_string(),
    };
    if gateway.port == 443 {
        host
    } else {
        format!("{host}:{}", gateway.port)
    }
}

fn code(code: Code) -> VarInt {
    VarInt::from_u64(code.value()).unwrap_or(VarInt::MAX)
}

//! Workers: how the supervisor starts and feeds one, and how one begins.
//!
//! A worker is this program again, with its end of a socket pair as standard input.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, mpsc};
use tracing::{debug, error};

use super::clock::SystemClock;
use super::confine::confine_keystore;
use super::privileges::{self, SealError};
use super::supervisor::Input;
use crate::channel::{self, Channel, ChannelError, Wire};
use crate::flow::{Clock, Inspected};

/// The kinds of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Cryptography and anti-spoofing.
    TunnelWireguard,
    /// The same, for those with a certificate.
    TunnelQuic,
    /// Inspects HL7: one of several, by its number.
    RelayHl7(u8),
    /// Inspects DICOM: one of several, by its number.
    RelayDicom(u8),
    /// Keeps the journal.
    Audit,
    /// Holds the keys of the certification authority.
    Signer,
    /// Takes those who come to be enrolled.
    Enrol,
    /// Holds the token with the keys of authorities.
    Keystore,
}

impl Kind {
    /// The relay of a protocol with a number.
    #[must_use]
    pub(super) fn relay(protocol: Inspected, number: u8) -> Self {
        match protocol {
            Inspected::Hl7 => Self::RelayHl7(number),
            Inspected::Dicom => Self::RelayDicom(number),
        }
    }

    /// What a relay inspects.
    #[must_use]
    pub(super) fn protocol(self) -> Option<Inspected> {
        match self {
            Self::RelayHl7(_) => Some(Inspected::Hl7),
            Self::RelayDicom(_) => Some(Inspected::Dicom),
            Self::TunnelWireguard
            | Self::TunnelQuic
            | Self::Audit
            | Self::Signer
            | Self::Enrol
            | Self::Keystore => None,
        }
    }

    /// As in records, process lists and `lazaret worker KIND`: `relay-hl7`, `relay-hl7-2`, ….
    #[must_use]
    pub(super) fn name(self) -> String {
        let relay = |of: &str, number: u8| match number {
            0 => format!("relay-{of}"),
            _ => format!("relay-{of}-{}", u16::from(number) + 1),
        };
        match self {
            Self::TunnelWireguard => "tunnel-wireguard".to_owned(),
            Self::TunnelQuic => "tunnel-quic".to_owned(),
            Self::RelayHl7(number) => relay("hl7", number),
            Self::RelayDicom(number) => relay("dicom", number),
            Self::Audit => "audit".to_owned(),
            Self::Signer => "signer".to_owned(),
            Self::Enrol => "enrol".to_owned(),
            Self::Keystore => "keystore".to_owned(),
        }
    }

    /// The reverse of [`Self::name`].
    #[must_use]
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let relays = (0..MOST_RELAYS).flat_map(|n| [Self::RelayHl7(n), Self::RelayDicom(n)]);
        [
            Self::TunnelWireguard,
            Self::TunnelQuic,
            Self::Audit,
            Self::Signer,
            Self::Enrol,
            Self::Keystore,
        ]
        .into_iter()
        .chain(relays)
        .find(|kind| kind.name() == name)
    }
}

/// A message with its descriptors, on the way to a worker.
pub(super) struct Parcel<Tx> {
    pub(super) message: Tx,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// The supervisor's hold on a running worker.
pub(super) struct Worker<Tx> {
    pub(super) pid: u32,
    outgoing: mpsc::Sender<Parcel<Tx>>,
    /// Tells the reading task that the worker must die.
    doom: Arc<Notify>,
}

impl<Tx: Wire + Send + Sync + 'static> Worker<Tx> {
    /// Starts a worker; what it says, and its end, arrive as [`Input`].
    pub(super) fn start<Rx>(
        kind: Kind,
        generation: u64,
        inputs: &mpsc::Sender<Input>,
        wrap: impl Fn(Rx, Vec<OwnedFd>) -> Input + Send + 'static,
    ) -> io::Result<Self>
    where
        Rx: Wire + Send + 'static,
    {
        Self::start_in(kind, generation, inputs, &BTreeMap::new(), wrap)
    }

    /// The same, with variables for a library that the worker loads.
    pub(super) fn start_in<Rx>(
        kind: Kind,
        generation: u64,
        inputs: &mpsc::Sender<Input>,
        environment: &BTreeMap<String, String>,
        wrap: impl Fn(Rx, Vec<OwnedFd>) -> Input + Send + 'static,
    ) -> io::Result<Self>
    where
        Rx: Wire + Send + 'static,
    {
        let (ours, theirs) = channel::pair()?;
        let child = spawn(kind, theirs, environment)?;
        let pid = child.id().unwrap_or(0);
        let channel = Arc::new(Channel::<Tx, Rx>::new(ours)?);
        let (outgoing, queue) = mpsc::channel(QUEUE);
        let doom = Arc::new(Notify::new());
        tokio::spawn(write(Arc::clone(&channel), queue, Arc::clone(&doom)));
        let reading = Reading {
            kind,
            generation,
            inputs: inputs.clone(),
            doom: Arc::clone(&doom),
        };
        tokio::spawn(reading.run(channel, child, wrap));
        Ok(Self {
            pid,
            outgoing,
            doom,
        })
    }

    /// Queues a message: the supervisor must never wait for a worker. One that does not keep up is killed,
    /// since a worker that missed a message may let go on what must end.
    //= C9
    pub(super) fn send(&self, message: Tx, descriptors: Vec<OwnedFd>) -> bool {
        let parcel = Parcel {
            message,
            descriptors,
        };
        let sent = self.outgoing.try_send(parcel).is_ok();
        if !sent {
            self.kill();
        }
        sent
    }

    /// Ends it without asking; its end arrives as any other.
    pub(super) fn kill(&self) {
        self.doom.notify_one();
    }
}

fn spawn(
    kind: Kind,
    standard_input: OwnedFd,
    environment: &BTreeMap<String, String>,
) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg("worker")
        .arg(kind.name())
        .env_clear()
        .envs(environment)
        .env("RUST_BACKTRACE", "0")
        .current_dir("/");
    if let Some(level) = std::env::var_os(LOG_VARIABLE) {
        command.env(LOG_VARIABLE, level);
    }
    command
        .stdin(Stdio::from(standard_input))
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}

/// Ends when the supervisor lets go of the worker or a message cannot be sent; either way the worker must end.
async fn write<Tx: Wire, Rx: Wire>(
    channel: Arc<Channel<Tx, Rx>>,
    mut queue: mpsc::Receiver<Parcel<Tx>>,
    doom: Arc<Notify>,
) {
    while let Some(parcel) = queue.recv().await {
        let descriptors: Vec<_> = parcel.descriptors.iter().map(AsFd::as_fd).collect();
        if let Err(error) = channel.send(&parcel.message, &descriptors).await {
            debug!(%error, "message to a worker was lost");
            break;
        }
    }
    doom.notify_one();
}

/// What listens to one worker until its process is gone.
struct Reading {
    kind: Kind,
    generation: u64,
    inputs: mpsc::Sender<Input>,
    doom: Arc<Notify>,
}

impl Reading {
    async fn run<Tx: Wire, Rx: Wire>(
        self,
        channel: Arc<Channel<Tx, Rx>>,
        mut child: Child,
        wrap: impl Fn(Rx, Vec<OwnedFd>) -> Input,
    ) {
        loop {
            let received = tokio::select! {
                received = channel.receive() => received,
                () = self.doom.notified() => {
                    kill(&mut child);
                    // It may have said something before.
                    while let Some(Ok((message, descriptors))) = channel.receive().now_or_never() {
                        if self.inputs.send(wrap(message, descriptors)).await.is_err() {
                            return;
                        }
                    }
                    break;
                }
            };
            match received {
                Ok((message, descriptors)) => {
                    if self.inputs.send(wrap(message, descriptors)).await.is_err() {
                        return;
                    }
                }
                Err(ChannelError::Closed) => break,
                Err(error) => {
                    error!(worker = self.kind.name(), %error, "worker cannot be understood and is ended");
                    kill(&mut child);
                    break;
                }
            }
        }
        // A process that closed its end but lives on holds sockets of devices.
        let status = match tokio::time::timeout(LAST_BREATH, child.wait()).await {
            Ok(status) => status,
            Err(_) => {
                kill(&mut child);
                child.wait().await
            }
        };
        let status = match status {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        // The supervisor may be gone already; then nobody needs to know.
        let _ = self
            .inputs
            .send(Input::WorkerEnded {
                kind: self.kind,
                generation: self.generation,
                status,
            })
            .await;
    }
}

fn kill(child: &mut Child) {
    if let Err(error) = child.start_kill() {
        debug!(%error, "worker is gone already");
    }
}

/// Why a worker cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Nobody but the supervisor starts workers.
    #[error("unknown worker {0}")]
    Unknown(String),
    /// It could not give up its powers.
    #[error("cannot seal the process")]
    Seal(#[from] SealError),
    /// No runtime or no channel.
    #[error("cannot start the worker")]
    Start(#[from] io::Error),
    /// The tunnel ended.
    #[error("the tunnel worker ended")]
    Tunnel(#[from] crate::tunnel::worker::TunnelWorkerError),
    /// The tunnel for certificates ended.
    #[error("the tunnel worker ended")]
    Quic(#[from] crate::quic::worker::QuicWorkerError),
    /// The relay ended.
    #[error("the relay ended")]
    Relay(#[from] crate::forward::worker::RelayError),
    /// The signer ended.
    #[error("the signer ended")]
    Signer(#[from] crate::pki::worker::SignerError),
    /// The enrolment service ended.
    #[error("the enrolment service ended")]
    Enrol(#[from] crate::enrol::worker::EnrolError),
    /// The key store ended.
    #[error("the key store ended")]
    Keystore(#[from] crate::keystore::worker::KeystoreError),
    /// The journal ended.
    #[error("the audit worker ended")]
    Audit(#[from] crate::audit::worker::AuditError),
}

/// The life of a worker process, from its first instruction.
///
/// # Errors
/// When it cannot be sealed, or its room fails.
pub fn run(kind: &str) -> Result<(), WorkerError> {
    let kind = Kind::from_name(kind).ok_or_else(|| WorkerError::Unknown(kind.to_owned()))?;
    super::logging::start();
    privileges::seal_worker()?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let mut builder = match kind {
        Kind::TunnelQuic | Kind::Signer => tokio::runtime::Builder::new_multi_thread(),
        Kind::TunnelWireguard
        | Kind::Audit
        | Kind::Keystore
        | Kind::Enrol
        | Kind::RelayHl7(_)
        | Kind::RelayDicom(_) => tokio::runtime::Builder::new_current_thread(),
    };
    let threads = match kind {
        // Handshakes are signed while the other thread waits for the key store.
        Kind::Signer => 1,
        Kind::TunnelQuic
        | Kind::TunnelWireguard
        | Kind::Audit
        | Kind::Keystore
        | Kind::Enrol
        | Kind::RelayHl7(_)
        | Kind::RelayDicom(_) => QUIC_THREADS,
    };
    let runtime = builder
        .worker_threads(threads)
        .enable_io()
        .enable_time()
        .build()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    runtime.block_on(async {
        match kind {
            Kind::TunnelWireguard => {
                crate::tunnel::worker::run(Channel::new(socket)?, clock).await?
            }
            Kind::TunnelQuic => crate::quic::worker::run(Channel::new(socket)?, clock).await?,
            Kind::Audit => crate::audit::worker::run(Channel::new(socket)?, clock).await?,
            Kind::Signer => {
                let channel = Channel::new(socket)?;
                // What a thread does when it begins is not in the filter.
                tokio::spawn(async {}).await.map_err(io::Error::other)?;
                privileges::filter_signer()?;
                crate::pki::worker::run(channel, clock).await?;
            }
            Kind::Keystore => {
                let confine = |settings: &_| {
                    confine_keystore(settings).map_err(|error| super::events::chain(&error))
                };
                crate::keystore::worker::run(Channel::new(socket)?, clock, confine).await?;
            }
            Kind::Enrol => {
                let channel = Channel::new(socket)?;
                crate::enrol::worker::prepare()?;
                privileges::filter_enrol()?;
                crate::enrol::worker::run(channel, clock).await?;
            }
            Kind::RelayHl7(_) | Kind::RelayDicom(_) => {
                let channel = Channel::new(socket)?;
                privileges::filter_relay()?;
                crate::forward::worker::run(channel, clock, super::sessions::sessions()).await?;
            }
        }
        Ok(())
    })
}

/// Whether this program can execute itself again.
pub(super) fn executable() -> bool {
    Path::new("/proc/self/exe").exists()
}

/// How many relays of each protocol there are: as many as were asked for, or as the machine has processors.
pub(super) fn relays(asked: Option<u64>) -> u8 {
    let processors = || std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let count = asked.unwrap_or_else(processors);
    u8::try_from(count).map_or(MOST_RELAYS, |count| count.clamp(1, MOST_RELAYS))
}

/// Relays of one protocol.
//= C7
pub(super) const MOST_RELAYS: u8 = 8;
/// Beside the one that hears the supervisor: a handshake may wait for the signer, and others go on.
const QUIC_THREADS: usize = 2;
/// For a worker whose end of the channel is closed to be gone.
const LAST_BREATH: Duration = Duration::from_secs(5);
/// Messages that may wait for one worker.
const QUEUE: usize = 65_536;
/// Level of the log, in the grammar of `tracing`.
pub(super) const LOG_VARIABLE: &str = "LAZARET_LOG";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_has_a_name_of_its_own() {
        let relays = (0..MOST_RELAYS).flat_map(|n| [Kind::RelayHl7(n), Kind::RelayDicom(n)]);
        for kind in relays.chain([
            Kind::TunnelWireguard,
            Kind::TunnelQuic,
            Kind::Audit,
            Kind::Signer,
            Kind::Enrol,
            Kind::Keystore,
        ]) {
            assert_eq!(Kind::from_name(&kind.name()), Some(kind));
        }
        assert_eq!(Kind::RelayHl7(0).name(), "relay-hl7");
        assert_eq!(Kind::RelayDicom(7).name(), "relay-dicom-8");
        for strange in ["relay-hl7-1", "relay-hl7-9", "relay", ""] {
            assert_eq!(Kind::from_name(strange), None, "{strange}");
        }
    }
}

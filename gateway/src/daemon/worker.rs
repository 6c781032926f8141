//! Workers: how the supervisor starts and feeds one, and how one begins.
//!
//! A worker is this program again, with its end of a socket pair as standard input.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tracing::{debug, error};

use super::clock::SystemClock;
use super::privileges::{self, SealError};
use super::supervisor::Input;
use crate::channel::{self, Channel, ChannelError};
use crate::flow::Clock;

/// The kinds of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Cryptography and anti-spoofing.
    TunnelWireguard,
    /// Inspects HL7.
    RelayHl7,
    /// Inspects DICOM.
    RelayDicom,
    /// Keeps the journal.
    Audit,
}

impl Kind {
    /// As in records, process lists and `lazaret worker KIND`.
    #[must_use]
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TunnelWireguard => "tunnel-wireguard",
            Self::RelayHl7 => "relay-hl7",
            Self::RelayDicom => "relay-dicom",
            Self::Audit => "audit",
        }
    }

    /// The reverse of [`Self::name`].
    #[must_use]
    pub(super) fn from_name(name: &str) -> Option<Self> {
        [
            Self::TunnelWireguard,
            Self::RelayHl7,
            Self::RelayDicom,
            Self::Audit,
        ]
        .into_iter()
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
}

impl<Tx: Serialize + Send + Sync + 'static> Worker<Tx> {
    /// Starts a worker; what it says, and its end, arrive as [`Input`].
    pub(super) fn start<Rx>(
        kind: Kind,
        generation: u64,
        inputs: &mpsc::Sender<Input>,
        wrap: fn(Rx, Vec<OwnedFd>) -> Input,
    ) -> io::Result<Self>
    where
        Rx: DeserializeOwned + Send + 'static,
    {
        let (ours, theirs) = channel::pair()?;
        let child = spawn(kind, theirs)?;
        let pid = child.id().unwrap_or(0);
        let channel = Arc::new(Channel::<Tx, Rx>::new(ours)?);
        let (outgoing, queue) = mpsc::channel(QUEUE);
        tokio::spawn(write(Arc::clone(&channel), queue));
        tokio::spawn(read(kind, generation, channel, child, inputs.clone(), wrap));
        Ok(Self { pid, outgoing })
    }

    /// Queues a message. A worker that does not keep up loses its messages and is found dead soon:
    /// the supervisor must never wait for a worker.
    pub(super) fn send(&self, message: Tx, descriptors: Vec<OwnedFd>) -> bool {
        self.outgoing
            .try_send(Parcel {
                message,
                descriptors,
            })
            .is_ok()
    }
}

fn spawn(kind: Kind, standard_input: OwnedFd) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg("worker")
        .arg(kind.name())
        .env_clear()
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

async fn write<Tx: Serialize, Rx: DeserializeOwned>(
    channel: Arc<Channel<Tx, Rx>>,
    mut queue: mpsc::Receiver<Parcel<Tx>>,
) {
    while let Some(parcel) = queue.recv().await {
        let descriptors: Vec<_> = parcel.descriptors.iter().map(AsFd::as_fd).collect();
        if let Err(error) = channel.send(&parcel.message, &descriptors).await {
            debug!(%error, "message to a worker was lost");
            return;
        }
    }
}

async fn read<Tx: Serialize, Rx: DeserializeOwned>(
    kind: Kind,
    generation: u64,
    channel: Arc<Channel<Tx, Rx>>,
    mut child: Child,
    inputs: mpsc::Sender<Input>,
    wrap: fn(Rx, Vec<OwnedFd>) -> Input,
) {
    loop {
        match channel.receive().await {
            Ok((message, descriptors)) => {
                if inputs.send(wrap(message, descriptors)).await.is_err() {
                    return;
                }
            }
            Err(ChannelError::Closed) => break,
            Err(error) => {
                error!(worker = kind.name(), %error, "worker cannot be understood and is ended");
                if let Err(error) = child.start_kill() {
                    debug!(%error, "worker is gone already");
                }
                break;
            }
        }
    }
    let status = match child.wait().await {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    // The supervisor may be gone already; then nobody needs to know.
    let _ = inputs
        .send(Input::WorkerEnded {
            kind,
            generation,
            status,
        })
        .await;
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
    /// The relay ended.
    #[error("the relay ended")]
    Relay(#[from] crate::forward::worker::RelayError),
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    runtime.block_on(async {
        match kind {
            Kind::TunnelWireguard => {
                crate::tunnel::worker::run(Channel::new(socket)?, clock).await?
            }
            Kind::Audit => crate::audit::worker::run(Channel::new(socket)?, clock).await?,
            Kind::RelayHl7 | Kind::RelayDicom => {
                let channel = Channel::new(socket)?;
                privileges::filter_relay()?;
                crate::forward::worker::run(channel, clock, super::sessions::factory()).await?;
            }
        }
        Ok(())
    })
}

/// Whether this program can execute itself again.
pub(super) fn executable() -> bool {
    Path::new("/proc/self/exe").exists()
}

/// Messages that may wait for one worker.
const QUEUE: usize = 65_536;
/// Level of the log, in the grammar of `tracing`.
pub(super) const LOG_VARIABLE: &str = "LAZARET_LOG";

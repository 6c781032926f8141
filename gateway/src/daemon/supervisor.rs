//! The supervisor: one loop over everything that happens, in one thread.
//!
//! In: signals, intercepted connections, messages of workers and operators.
//! Out: messages to workers, changes of the table, records.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lazaret_config::{Config, Source};
use tokio::net::{TcpListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::clock::SystemClock;
use super::connections::Connections;
use super::denied::{Allowance, Denied};
use super::enforce::EnforceError;
use super::ground::Ground;
use super::life::Workers;
use super::notice::{Notice, Notices};
use super::operator::Questions;
use super::outbox::Outbox;
use super::privileges::{self, SealError};
use super::reload::{self, Checked, Unconfirmed};
use super::worker::{self, Kind};
use crate::audit::event::Event;
use crate::audit::message::FromAudit;
use crate::control::message::{Failure, Request, Response};
use crate::control::server;
use crate::flow::{Clock, ConnectionId, RuleName};
use crate::forward::message::FromRelay;
use crate::registry::{Registry, RegistryError};
use crate::segment::denied::{DeniedPacket, DeniedWatch};
use crate::segment::host::HostError;
use crate::segment::plan::Plan;
use crate::tunnel::device::TunError;
use crate::tunnel::message::FromTunnel;

/// Everything that can happen.
pub(super) enum Input {
    Accepted(std::net::TcpStream),
    Relay(Kind, FromRelay),
    Tunnel(FromTunnel),
    Audit(FromAudit),
    WorkerEnded {
        kind: Kind,
        generation: u64,
        status: String,
    },
    Upstream {
        id: ConnectionId,
        result: io::Result<std::net::TcpStream>,
    },
    Asked {
        stream: UnixStream,
        request: Request,
        uid: u32,
    },
    Denied(Vec<DeniedPacket>),
}

/// What the supervisor knows and holds.
pub(super) struct Supervisor {
    pub(super) directory: PathBuf,
    pub(super) sources: Vec<Source>,
    pub(super) config: Config,
    pub(super) digest: String,
    pub(super) registry: Registry,
    pub(super) clock: SystemClock,
    pub(super) started: Instant,
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) workers: Workers,
    pub(super) outbox: Outbox,
    pub(super) connections: Connections,
    pub(super) denied: Denied,
    pub(super) refusals: Allowance,
    pub(super) questions: Questions,
    pub(super) plan: Plan,
    pub(super) drift: Option<String>,
    /// The rules that hold at this hour.
    pub(super) in_hours: BTreeSet<RuleName>,
    pub(super) verified: Instant,
    pub(super) ground: Ground,
    pub(super) unconfirmed: Option<Unconfirmed>,
    pub(super) forwarded: u64,
    pub(super) refused: u64,
    pub(super) ready: bool,
    pub(super) notices: Notices,
}

/// Why the gateway cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The supervisor could not limit its powers.
    #[error("cannot limit the powers of the supervisor")]
    Seal(#[from] SealError),
    /// The registry cannot be read.
    #[error("cannot open the registry")]
    Registry(#[from] RegistryError),
    /// The TUN interface cannot be made.
    #[error("cannot make the tunnel interface")]
    Tun(#[from] TunError),
    /// The kernel cannot be prepared.
    #[error("cannot prepare the kernel")]
    Host(#[from] HostError),
    /// The table cannot be loaded.
    #[error("cannot segment the network")]
    Enforce(#[from] EnforceError),
    /// A socket cannot be bound.
    #[error("cannot listen on {what}")]
    Listen {
        /// What it is for.
        what: String,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Anything else of the operating system.
    #[error("cannot {step}")]
    System {
        /// What was to be done.
        step: &'static str,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// When it cannot start. Once started it goes on until a signal.
pub fn run(checked: Checked) -> Result<(), DaemonError> {
    super::logging::start();
    if !worker::executable() {
        let cause = io::ErrorKind::NotFound.into();
        return Err(DaemonError::System {
            step: "execute this program again (is /proc mounted?)",
            cause,
        });
    }
    privileges::limit_supervisor()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| DaemonError::System {
            step: "start the runtime",
            cause,
        })?;
    runtime.block_on(async {
        let (inputs, queue) = mpsc::channel(INPUTS);
        let (supervisor, listeners) = Supervisor::start(checked, inputs).await?;
        supervisor.serve(queue, listeners).await
    })
}

impl Supervisor {
    /// Brings everything up, in the order in which it is safe: the rules stand before the first tunnel packet.
    //= C4
    async fn start(
        checked: Checked,
        inputs: mpsc::Sender<Input>,
    ) -> Result<(Self, Vec<TcpListener>), DaemonError> {
        let Checked {
            directory,
            sources,
            config,
        } = checked;
        let clock = SystemClock;
        let registry = Registry::open(&config.gateway.state_dir)?;
        let step = "start a thread";
        let notices = Notices::start().map_err(|cause| DaemonError::System { step, cause })?;
        let now = clock.now();
        let wall = clock.wall();
        let (ground, plan, accepting) = Ground::prepare(&config, &registry, wall).await?;
        let in_hours = config
            .rules
            .iter()
            .filter(|(_, rule)| rule.holds_at(wall))
            .map(|(name, _)| name.clone())
            .collect();
        let mut supervisor = Self {
            directory,
            digest: reload::digest(&sources),
            sources,
            config,
            registry,
            clock,
            started: now,
            inputs,
            workers: Workers::default(),
            outbox: Outbox::default(),
            connections: Connections::default(),
            denied: Denied::default(),
            refusals: Allowance::default(),
            questions: Questions::default(),
            plan,
            drift: None,
            in_hours,
            verified: now,
            ground,
            unconfirmed: None,
            forwarded: 0,
            refused: 0,
            ready: false,
            notices,
        };
        supervisor.keep_applied();
        for kind in [
            Kind::Audit,
            Kind::RelayHl7,
            Kind::RelayDicom,
            Kind::TunnelWireguard,
        ] {
            supervisor.start_worker(kind);
        }
        let version = env!("CARGO_PKG_VERSION").to_owned();
        supervisor.record(Event::GatewayStarted {
            version,
            config: supervisor.digest.clone(),
        });
        supervisor.record(Event::Listening {
            address: supervisor.config.wireguard.listen,
        });
        Ok((supervisor, accepting))
    }

    async fn serve(
        mut self,
        mut queue: mpsc::Receiver<Input>,
        listeners: Vec<TcpListener>,
    ) -> Result<(), DaemonError> {
        let system = |step| move |cause| DaemonError::System { step, cause };
        for listener in listeners {
            tokio::spawn(accept(listener, self.inputs.clone()));
        }
        let control = server::bind(&self.config.gateway.runtime_dir).map_err(|cause| {
            DaemonError::Listen {
                what: self
                    .config
                    .gateway
                    .runtime_dir
                    .join("control.sock")
                    .display()
                    .to_string(),
                cause,
            }
        })?;
        tokio::spawn(listen_to_operators(control, self.inputs.clone()));
        match DeniedWatch::open() {
            Ok(watch) => drop(tokio::spawn(watch_denied(watch, self.inputs.clone()))),
            Err(error) => warn!(%error, "denied packets cannot be seen, only counted"),
        }
        let mut terminate = signal(SignalKind::terminate()).map_err(system("handle signals"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(system("handle signals"))?;
        let mut hangup = signal(SignalKind::hangup()).map_err(system("handle signals"))?;
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                Some(input) = queue.recv() => self.handle(input),
                _ = tick.tick() => self.tick(),
                _ = hangup.recv() => self.reload_by_signal(),
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        self.stop(queue).await;
        Ok(())
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Accepted(stream) => self.accepted(stream),
            Input::Relay(kind, message) => self.relay_said(kind, message),
            Input::Tunnel(message) => self.tunnel_said(message),
            Input::Audit(message) => self.audit_said(message),
            Input::WorkerEnded {
                kind,
                generation,
                status,
            } => self.worker_ended(kind, generation, &status),
            Input::Upstream { id, result } => self.upstream(id, result),
            Input::Asked {
                stream,
                request,
                uid,
            } => self.asked(stream, request, uid),
            Input::Denied(packets) => self.packets_denied(&packets),
        }
    }

    /// Everything that time brings about.
    fn tick(&mut self) {
        let now = self.clock.now();
        self.outbox.deliver(self.workers.audit.as_ref());
        self.report_denied(now);
        self.answer_late_questions(now);
        self.restart_due_workers(now);
        self.undo_unconfirmed(now);
        self.follow_hours();
        if now.saturating_duration_since(self.verified) >= VERIFY_EVERY {
            self.verify_table();
        }
        if self.ready && self.workers.all_ready() {
            self.notices.say(Notice::Alive);
        }
    }

    /// Says that the gateway is ready, once.
    pub(super) fn announce(&mut self) {
        if !self.ready && self.workers.all_ready() {
            self.ready = true;
            info!(gateway = %self.config.gateway.name, devices = self.config.devices.len(), "ready");
            self.notices.say(Notice::Ready);
        }
    }

    /// Orderly end: nothing new, messages under way are finished, records are on disk. The rules stay.
    async fn stop(mut self, mut queue: mpsc::Receiver<Input>) {
        info!("stopping");
        self.notices.say(Notice::Stopping);
        self.drain();
        let deadline = tokio::time::sleep(DRAIN);
        tokio::pin!(deadline);
        while self.workers.relays_live() {
            tokio::select! {
                Some(input) = queue.recv() => match input {
                    Input::Accepted(_) | Input::Upstream { .. } | Input::Asked { .. } | Input::Denied(_) => {}
                    Input::WorkerEnded { kind, .. } => self.workers.forget(kind),
                    message @ (Input::Relay(..) | Input::Tunnel(_) | Input::Audit(_)) => self.handle(message),
                },
                () = &mut deadline => {
                    warn!("messages under way were not finished in time");
                    break;
                }
            }
        }
        self.record(Event::GatewayStopped);
        self.workers.stop_audit();
        let deadline = tokio::time::sleep(DRAIN);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                Some(input) = queue.recv() => {
                    if let Input::WorkerEnded { kind: Kind::Audit, .. } = input { break }
                }
                () = &mut deadline => {
                    error!("the journal was not closed in time");
                    break;
                }
            }
        }
    }
}

async fn accept(listener: TcpListener, inputs: mpsc::Sender<Input>) {
    loop {
        match listener
            .accept()
            .await
            .and_then(|(stream, _)| stream.into_std())
        {
            Ok(stream) => {
                if inputs.send(Input::Accepted(stream)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn listen_to_operators(listener: tokio::net::UnixListener, inputs: mpsc::Sender<Input>) {
    let room = std::sync::Arc::new(tokio::sync::Semaphore::new(OPERATORS));
    loop {
        let Ok(permit) = std::sync::Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "cannot accept an operator");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let inputs = inputs.clone();
        tokio::spawn(async move {
            let mut stream = stream;
            match server::read_request(&mut stream).await {
                // The supervisor may be stopping; then the operator sees the connection closed.
                Ok((request, uid)) => drop(
                    inputs
                        .send(Input::Asked {
                            stream,
                            request,
                            uid,
                        })
                        .await,
                ),
                Err(error) => {
                    let response = Response::Failed {
                        kind: Failure::Usage,
                        why: error.to_string(),
                    };
                    drop(server::respond(&mut stream, &response).await);
                }
            }
            drop(permit);
        });
    }
}

async fn watch_denied(mut watch: DeniedWatch, inputs: mpsc::Sender<Input>) {
    loop {
        match watch.next().await {
            Ok(packets) => {
                if inputs.send(Input::Denied(packets)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                warn!(%error, "some denied packets were not seen");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

const INPUTS: usize = 4096;
const OPERATORS: usize = 16;
const TICK: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(100);
const DRAIN: Duration = Duration::from_secs(10);
const VERIFY_EVERY: Duration = Duration::from_secs(30);

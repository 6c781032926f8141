//! The supervisor: one loop over everything that happens, in one thread.
//!
//! In: signals, intercepted connections, messages of workers and operators.
//! Out: messages to workers, changes of the table, records.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lazaret_config::{Config, Source};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};

use super::behaviour::Watch;
use super::break_glass::{self, BreakGlass};
use super::clock::SystemClock;
use super::connections::Connections;
use super::console_watch::ConsoleWatch;
use super::credit::Credit;
use super::denied::{Allowance, Denied};
use super::drain::Drain;
use super::enforce;
use super::enrolment::Enrolment;
use super::error::DaemonError;
use super::ground::Ground;
use super::intake::{accept, bind_control, watch_denied};
use super::inventory::Inventory;
use super::keystore::Keystore;
use super::life::Workers;
use super::notify;
use super::operator::{Questions, listen_to_operators};
use super::outbox::Outbox;
use super::policy::{Chosen, Policies, Unconfirmed};
use super::presence::Presence;
use super::privileges;
use super::probe::{Part, Probes};
use super::quic::Sessions;
use super::registry::Records;
use super::reload::{self, Checked};
use super::signing::Signing;
use super::transactions::Transactions;
use super::worker::{self, Kind};
use crate::audit::event::Event;
use crate::audit::message::FromAudit;
use crate::control::message::Request;
use crate::enrol::message::FromEnrol;
use crate::flow::{Clock, ConnectionId, RuleName};
use crate::forward::message::FromRelay;
use crate::keystore::message::FromKeystore;
use crate::pki::message::FromSigner;
use crate::quic::message::FromQuic;
use crate::registry::Registry;
use crate::registry::store::Place;
use crate::registry::task::FromTask;
use crate::segment::changes::Cut;
use crate::segment::denied::{DeniedPacket, DeniedWatch};
use crate::segment::plan::Plan;
use crate::tunnel::message::FromTunnel;

/// Everything that can happen.
pub(super) enum Input {
    Accepted(std::net::TcpStream),
    Relay(Kind, FromRelay),
    Tunnel(FromTunnel),
    Quic(FromQuic),
    Audit(FromAudit),
    Signer(FromSigner),
    Enrol(FromEnrol),
    Keystore(FromKeystore),
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
    Registry(FromTask),
    Probed {
        round: u64,
        part: Part,
        result: Result<(), String>,
    },
}

/// What the supervisor knows and holds.
pub(super) struct Supervisor {
    pub(super) directory: PathBuf,
    pub(super) sources: Vec<Source>,
    /// What the files say.
    pub(super) files: Config,
    /// What the files say, with those who are enrolled.
    pub(super) config: Config,
    pub(super) digest: String,
    pub(super) registry: Registry,
    pub(super) records: Records,
    pub(super) presence: Presence,
    pub(super) inventory: Inventory,
    pub(super) watch: Watch,
    pub(super) clock: SystemClock,
    pub(super) started: Instant,
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) workers: Workers,
    /// Relays of each protocol, for as long as the gateway runs.
    pub(super) relay_workers: u8,
    pub(super) outbox: Outbox,
    pub(super) credit: Credit,
    pub(super) connections: Connections,
    pub(super) transactions: Transactions,
    pub(super) denied: Denied,
    pub(super) refusals: Allowance,
    /// Whether new connections are taken from the listeners.
    pub(super) taking: watch::Sender<bool>,
    pub(super) questions: Questions,
    pub(super) probes: Probes,
    pub(super) signing: Signing,
    pub(super) enrolment: Enrolment,
    pub(super) keystore: Keystore,
    pub(super) quic: Sessions,
    pub(super) consoles: ConsoleWatch,
    pub(super) draining: Option<Drain>,
    pub(super) plan: Plan,
    pub(super) drift: Option<String>,
    /// Flows that must end and could not be ended yet.
    pub(super) uncut: BTreeSet<Cut>,
    /// The rules that hold at this hour.
    pub(super) in_hours: BTreeSet<RuleName>,
    pub(super) verified: Instant,
    pub(super) ground: Ground,
    pub(super) unconfirmed: Option<Unconfirmed>,
    pub(super) policies: Policies,
    /// Who may use the control socket for policies.
    pub(super) operators: watch::Sender<Vec<u32>>,
    pub(super) forwarded: u64,
    pub(super) refused: u64,
    pub(super) ready: bool,
    /// The service manager knows.
    announced: bool,
}

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// When it cannot start. Once started it goes on until a signal.
pub fn run(chosen: Chosen) -> Result<(), DaemonError> {
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
        let (supervisor, listeners, control) = Supervisor::start(chosen, inputs).await?;
        supervisor.serve(queue, listeners, control).await
    })
}

impl Supervisor {
    /// Brings everything up, in the order in which it is safe: the rules stand before the first tunnel packet.
    //= C4
    async fn start(
        chosen: Chosen,
        inputs: mpsc::Sender<Input>,
    ) -> Result<(Self, Vec<TcpListener>, UnixListener), DaemonError> {
        let Checked {
            directory,
            sources,
            config,
        } = chosen.checked;
        let clock = SystemClock;
        let state = &config.gateway.state_dir;
        let database = Place::new(&config.registry, state).may_exist();
        let mut registry = Registry::open(state, clock.wall(), database)?;
        let moment = break_glass::moment(clock, &registry, clock.wall());
        let mut records = Records::new(BreakGlass::read(state, &moment));
        let files = config;
        let config = records.merge(&files, &mut registry);
        let transactions =
            Transactions::open(&config.gateway.state_dir).map_err(|cause| DaemonError::System {
                step: "remember outstanding transactions",
                cause,
            })?;
        let now = clock.now();
        let wall = clock.wall();
        let watch = Watch::open(&config, now);
        // Before anything is changed: a second gateway finds the first one here.
        let control = bind_control(&config)?;
        let (ground, plan, accepting) = Ground::prepare(&config, &registry, wall).await?;
        let in_hours = enforce::rules_in_hours(&config, wall);
        let relay_workers = worker::relays(config.limits.relay_workers);
        let from = (directory.as_path(), sources.as_slice());
        let policies = Policies::begin(chosen.origin, from, &files, wall);
        let mut supervisor = Self {
            directory,
            digest: reload::digest(&sources),
            sources,
            files,
            config,
            registry,
            records,
            presence: Presence::default(),
            inventory: Inventory::default(),
            watch,
            clock,
            started: now,
            inputs,
            workers: Workers::default(),
            relay_workers,
            outbox: Outbox::default(),
            credit: Credit::default(),
            connections: Connections::default(),
            transactions,
            denied: Denied::default(),
            refusals: Allowance::default(),
            taking: watch::Sender::new(true),
            questions: Questions::default(),
            probes: Probes::default(),
            signing: Signing::default(),
            enrolment: Enrolment::default(),
            keystore: Keystore::default(),
            quic: Sessions::default(),
            consoles: ConsoleWatch::default(),
            draining: None,
            plan,
            drift: None,
            uncut: BTreeSet::new(),
            in_hours,
            verified: now,
            ground,
            unconfirmed: None,
            policies,
            operators: watch::Sender::new(Vec::new()),
            forwarded: 0,
            refused: 0,
            ready: false,
            announced: false,
        };
        supervisor.begin()?;
        Ok((supervisor, accepting, control))
    }

    /// Says that it is there, and starts what works for it.
    fn begin(&mut self) -> Result<(), DaemonError> {
        self.keep_applied();
        self.follow_operators();
        self.start_registry()?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.record(Event::GatewayStarted {
            version,
            config: self.digest.clone(),
        });
        self.tell_origin();
        self.start_workers();
        self.start_optional_workers();
        self.record_listening();
        self.tell_shadow();
        Ok(())
    }

    async fn serve(
        mut self,
        mut queue: mpsc::Receiver<Input>,
        listeners: Vec<TcpListener>,
        control: UnixListener,
    ) -> Result<(), DaemonError> {
        let system = |step| move |cause| DaemonError::System { step, cause };
        for listener in listeners {
            tokio::spawn(accept(
                listener,
                self.inputs.clone(),
                self.taking.subscribe(),
            ));
        }
        tokio::spawn(listen_to_operators(
            control,
            self.inputs.clone(),
            self.operators.subscribe(),
        ));
        match DeniedWatch::open() {
            Ok(watch) => drop(tokio::spawn(watch_denied(watch, self.inputs.clone()))),
            Err(error) => warn!(%error, "denied packets cannot be seen, only counted"),
        }
        let mut terminate = signal(SignalKind::terminate()).map_err(system("handle signals"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(system("handle signals"))?;
        let mut hangup = signal(SignalKind::hangup()).map_err(system("handle signals"))?;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
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
            Input::Quic(message) => self.quic_said(message),
            Input::Audit(message) => self.audit_said(message),
            Input::Signer(message) => self.signer_said(message),
            Input::Enrol(message) => self.enrol_said(message),
            Input::Keystore(message) => self.keystore_said(message),
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
            Input::Registry(message) => self.registry_said(message),
            Input::Probed {
                round,
                part,
                result,
            } => self.probed(round, part, result),
        }
    }

    /// Everything that time brings about.
    fn tick(&mut self) {
        let now = self.clock.now();
        self.deliver_events();
        self.report_denied(now);
        self.answer_late_questions(now);
        self.end_late_probe(now);
        self.answer_late_signing(now);
        self.end_late_keystore(now);
        self.follow_identity(now);
        self.follow_quic_identity(now);
        self.cut_undrained(now);
        self.kill_deaf_relays(now);
        self.kill_stuck_audit(now);
        self.restart_due_workers(now);
        self.undo_unconfirmed(now);
        self.follow_hours();
        self.follow_registry();
        self.follow_break_glass(now);
        self.follow_presence(now);
        self.follow_behaviour(now);
        self.follow_consoles(now);
        self.transactions.write(&self.config, self.clock.wall());
        self.tell_tightness();
        let wait = if self.drift.is_some() {
            REPAIR_EVERY
        } else {
            VERIFY_EVERY
        };
        if now.saturating_duration_since(self.verified) >= wait {
            self.verify_table();
        }
        // Says again what went wrong, and goes on trying.
        let _tried_again_with_the_next_tick = self.cut_flows();
        // This loop lives. A worker that does not is ours to restart: the others must not die with it.
        if self.ready && !self.announced {
            self.tell_ready();
        }
        if self.ready {
            // A manager that does not listen now hears the next one.
            if let Err(error) = notify::notify(notify::WATCHDOG) {
                debug!(%error, "the service manager does not listen");
            }
        }
    }

    /// Says that the gateway is ready, once.
    pub(super) fn announce(&mut self) {
        if !self.ready && self.workers.all_ready() {
            self.ready = true;
            info!(gateway = %self.config.gateway.name, devices = self.config.devices.len(), "ready");
            self.tell_ready();
        }
    }

    fn tell_ready(&mut self) {
        let told = notify::notify(notify::READY);
        // Its queue is full while a machine boots: that one thing must be heard.
        self.announced = !matches!(&told, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        if let Err(error) = told {
            warn!(%error, "the service manager cannot be told that the gateway is ready");
        }
    }

    /// Orderly end: nothing new, messages under way are finished, records are on disk. The rules stay.
    async fn stop(mut self, mut queue: mpsc::Receiver<Input>) {
        info!("stopping");
        if let Err(error) = notify::notify(notify::STOPPING) {
            debug!(%error, "the service manager does not listen");
        }
        // Whatever becomes ready now is not announced any more.
        self.ready = true;
        self.drain();
        let deadline = tokio::time::sleep(DRAIN);
        tokio::pin!(deadline);
        while self.workers.relays_live() {
            tokio::select! {
                Some(input) = queue.recv() => match input {
                    Input::Accepted(_) | Input::Asked { .. } | Input::Denied(_) | Input::Probed { .. }
                    | Input::Registry(_) | Input::Signer(_) | Input::Enrol(_) | Input::Keystore(_) => {}
                    Input::WorkerEnded { kind, generation, .. } => if self.workers.is_current(kind, generation) {
                        self.ended_at_last(kind);
                    },
                    // Messages under way may still need their destination.
                    message @ (Input::Relay(..) | Input::Tunnel(_) | Input::Quic(_) | Input::Audit(_) | Input::Upstream { .. }) => {
                        self.handle(message);
                    }
                },
                () = &mut deadline => {
                    warn!("messages under way were not finished in time");
                    break;
                }
            }
        }
        let wall = self.clock.wall();
        self.transactions.write_at_last(&self.config, wall).await;
        self.keep_behaviour().await;
        self.sessions_ended("the gateway stopped");
        self.consoles_stop();
        self.close_journal(queue).await;
    }

    /// Everything goes on record, also what waits because the audit process died at the last moment.
    //= C8
    async fn close_journal(&mut self, mut queue: mpsc::Receiver<Input>) {
        if self.workers.audit.is_none() {
            self.start_worker(Kind::Audit);
        }
        self.record(Event::GatewayStopped);
        let mut told = false;
        let deadline = tokio::time::sleep(DRAIN);
        tokio::pin!(deadline);
        loop {
            if !told && self.outbox.handed_over() {
                told = true;
                self.workers.stop_audit();
            }
            tokio::select! {
                Some(input) = queue.recv() => match input {
                    Input::WorkerEnded { kind: Kind::Audit, generation, status } => {
                        if self.workers.is_current(Kind::Audit, generation) {
                            info!(status, "the journal is closed");
                            break;
                        }
                    }
                    Input::Audit(message) => {
                        self.audit_said(message);
                        self.deliver_events();
                    }
                    Input::WorkerEnded { .. } | Input::Accepted(_) | Input::Relay(..) | Input::Tunnel(_)
                    | Input::Upstream { .. } | Input::Asked { .. } | Input::Denied(_) | Input::Probed { .. }
                    | Input::Registry(_) | Input::Signer(_) | Input::Enrol(_) | Input::Quic(_)
                    | Input::Keystore(_) => {}
                },
                () = &mut deadline => {
                    error!("the journal was not closed in time");
                    break;
                }
            }
        }
    }
}

const INPUTS: usize = 4096;
const TICK: Duration = Duration::from_millis(500);
const DRAIN: Duration = Duration::from_secs(10);
/// Between attempts while the table is known to be wrong.
const REPAIR_EVERY: Duration = Duration::from_secs(5);
const VERIFY_EVERY: Duration = Duration::from_secs(30);

//! The life of workers: start, restart with back-off, orderly end.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::connections::Connection;
use super::enforce;
use super::supervisor::{Input, Supervisor};
use super::worker::{Kind, Worker};
use crate::audit::event::Event;
use crate::audit::message::ToAudit;
use crate::control::message::{Standing, WorkerStatus};
use crate::enrol::message::ToEnrol;
use crate::flow::{Clock, DeviceName, Inspected, Side};
use crate::forward::message::ToRelay;
use crate::keystore::message::ToKeystore;
use crate::pki::message::ToSigner;
use crate::quic::message::ToQuic;
use crate::tunnel::message::ToTunnel;

/// The workers that live, and what is known of those that lived.
#[derive(Default)]
pub(super) struct Workers {
    pub(super) tunnel: Option<Worker<ToTunnel>>,
    pub(super) quic: Option<Worker<ToQuic>>,
    relays: BTreeMap<Kind, Worker<ToRelay>>,
    pub(super) audit: Option<Worker<ToAudit>>,
    pub(super) signer: Option<Worker<ToSigner>>,
    pub(super) enrol: Option<Worker<ToEnrol>>,
    pub(super) keystore: Option<Worker<ToKeystore>>,
    lives: BTreeMap<Kind, Life>,
    crashes: BTreeMap<DeviceName, Vec<Instant>>,
    /// All have been started.
    begun: bool,
}

#[derive(Default)]
struct Life {
    generation: u64,
    restarts: u32,
    /// Deaths in a row without a long life between them.
    streak: u32,
    ready: bool,
    begun: Option<Instant>,
    due: Option<Instant>,
}

impl Workers {
    pub(super) fn relay(&self, kind: Kind) -> Option<&Worker<ToRelay>> {
        self.relays.get(&kind)
    }

    /// The relays that live, of one protocol or of all.
    pub(super) fn relays(
        &self,
        of: Option<Inspected>,
    ) -> impl Iterator<Item = (Kind, &Worker<ToRelay>)> {
        let wanted = move |kind: Kind| of.is_none() || kind.protocol() == of;
        let relays = self.relays.iter().map(|(kind, relay)| (*kind, relay));
        relays.filter(move |(kind, _)| wanted(*kind))
    }

    /// All workers were started at least once, see [`Supervisor::start_workers`], and are ready.
    /// The gateway does its work without a signer, its key store, and enrolment.
    pub(super) fn all_ready(&self) -> bool {
        let optional = [Kind::Signer, Kind::Enrol, Kind::Keystore];
        let lives = self.lives.iter();
        let mut needed = lives.filter(|(kind, _)| !optional.contains(kind));
        self.begun && needed.all(|(_, life)| life.ready)
    }

    pub(super) fn is_ready(&self, kind: Kind) -> bool {
        self.lives.get(&kind).is_some_and(|life| life.ready)
    }

    /// Ends a worker for good.
    pub(super) fn dismiss(&mut self, kind: Kind) {
        self.lives.remove(&kind);
        self.forget(kind);
    }

    pub(super) fn set_ready(&mut self, kind: Kind) {
        if let Some(life) = self.lives.get_mut(&kind) {
            life.ready = true;
        }
    }

    pub(super) fn relays_live(&self) -> bool {
        !self.relays.is_empty()
    }

    pub(super) fn forget(&mut self, kind: Kind) {
        match kind {
            Kind::TunnelWireguard => self.tunnel = None,
            Kind::TunnelQuic => self.quic = None,
            Kind::RelayHl7(_) | Kind::RelayDicom(_) => drop(self.relays.remove(&kind)),
            Kind::Audit => self.audit = None,
            Kind::Signer => self.signer = None,
            Kind::Enrol => self.enrol = None,
            Kind::Keystore => self.keystore = None,
        }
    }

    /// Whether this is the worker that lives, or was the last to live.
    pub(super) fn is_current(&self, kind: Kind, generation: u64) -> bool {
        let life = self.lives.get(&kind);
        life.is_some_and(|life| life.generation == generation)
    }

    pub(super) fn stop_audit(&self) {
        if let Some(audit) = &self.audit {
            audit.send(ToAudit::Stop, Vec::new());
        }
    }

    /// For the operator.
    pub(super) fn list(&self) -> Vec<WorkerStatus> {
        let pid = |kind| match kind {
            Kind::TunnelWireguard => self.tunnel.as_ref().map(|worker| worker.pid),
            Kind::TunnelQuic => self.quic.as_ref().map(|worker| worker.pid),
            Kind::RelayHl7(_) | Kind::RelayDicom(_) => self.relay(kind).map(|worker| worker.pid),
            Kind::Audit => self.audit.as_ref().map(|worker| worker.pid),
            Kind::Signer => self.signer.as_ref().map(|worker| worker.pid),
            Kind::Enrol => self.enrol.as_ref().map(|worker| worker.pid),
            Kind::Keystore => self.keystore.as_ref().map(|worker| worker.pid),
        };
        let status = |(kind, life): (&Kind, &Life)| WorkerStatus {
            name: kind.name(),
            pid: pid(*kind),
            restarts: life.restarts,
        };
        self.lives.iter().map(status).collect()
    }

    /// Notes whose connections a relay held when it died; names the device that did it again and again, alone.
    /// Whoever was contained meanwhile stays as it is.
    //= C9
    fn blame(
        &mut self,
        suspects: &[DeviceName],
        standing: impl Fn(&DeviceName) -> Standing,
        now: Instant,
    ) -> Option<DeviceName> {
        let recent = |time: &Instant| now.saturating_duration_since(*time) < BLAME_WINDOW;
        self.crashes.retain(|_, times| {
            times.retain(recent);
            !times.is_empty()
        });
        for suspect in suspects {
            let times = self.crashes.entry(suspect.clone()).or_default();
            times.push(now);
        }
        let mut worst = suspects
            .iter()
            .filter(|suspect| self.crashes.get(*suspect).is_some_and(|t| t.len() >= BLAME));
        let first = worst.next()?;
        if worst.next().is_some() {
            return None;
        }
        self.crashes.remove(first);
        (standing(first) < Standing::Quarantined).then(|| first.clone())
    }
}

impl Supervisor {
    /// Starts all workers for the first time.
    pub(super) fn start_workers(&mut self) {
        self.start_worker(Kind::Audit);
        for protocol in [Inspected::Hl7, Inspected::Dicom] {
            for number in 0..self.relay_workers {
                self.start_worker(Kind::relay(protocol, number));
            }
        }
        self.start_worker(Kind::TunnelWireguard);
        if self.config.quic.is_some() {
            self.start_worker(Kind::TunnelQuic);
        }
        self.workers.begun = true;
    }

    /// Starts a worker and gives it all it needs.
    pub(super) fn start_worker(&mut self, kind: Kind) {
        let now = self.clock.now();
        let life = self.workers.lives.entry(kind).or_default();
        life.generation = life.generation.saturating_add(1);
        life.ready = false;
        life.begun = Some(now);
        life.due = None;
        let generation = life.generation;
        let begun = match kind {
            Kind::TunnelWireguard => self.start_tunnel(generation),
            Kind::TunnelQuic => self.start_quic(generation),
            Kind::RelayHl7(_) | Kind::RelayDicom(_) => self.start_relay(kind, generation),
            Kind::Audit => self.start_audit(generation),
            Kind::Signer => self.start_signer(generation),
            Kind::Enrol => self.start_enrol(generation),
            Kind::Keystore => self.start_keystore(generation),
        };
        match begun {
            Ok(pid) => {
                info!(worker = kind.name(), pid, "worker started");
                self.record(Event::WorkerStarted {
                    worker: kind.name(),
                    pid,
                });
            }
            Err(error) => {
                error!(worker = kind.name(), %error, "worker cannot be started");
                self.worker_ended(kind, generation, "it could not be started");
            }
        }
    }

    fn start_tunnel(&mut self, generation: u64) -> std::io::Result<u32> {
        let tunnel = &self.config.wireguard;
        let key = std::fs::File::open(&tunnel.private_key_file)?;
        let mut descriptors: Vec<OwnedFd> = vec![
            self.ground.tun.descriptor.as_fd().try_clone_to_owned()?,
            key.into(),
            self.ground.uapi.try_clone()?,
        ];
        for socket in &self.ground.udp {
            descriptors.push(socket.try_clone()?);
        }
        // What can fail comes first: a process that is not told to start would wait for ever.
        let worker = Worker::start(
            Kind::TunnelWireguard,
            generation,
            &self.inputs,
            |message, _| Input::Tunnel(message),
        )?;
        let start = ToTunnel::Start {
            interface: tunnel.interface.clone(),
            mtu: tunnel.mtu,
            vnet_hdr: self.ground.tun.vnet_hdr,
            gso: tunnel.offload,
            peers: enforce::peers(&self.config, &self.registry),
        };
        worker.send(start, descriptors);
        let pid = worker.pid;
        self.workers.tunnel = Some(worker);
        Ok(pid)
    }

    fn start_relay(&mut self, kind: Kind, generation: u64) -> std::io::Result<u32> {
        let wrap = move |message, _| Input::Relay(kind, message);
        let worker = Worker::start(kind, generation, &self.inputs, wrap)?;
        self.credit.begin(kind);
        let is_tight = match kind {
            Kind::RelayDicom(_) => self.transactions.forget_reminders(kind),
            Kind::RelayHl7(_)
            | Kind::TunnelWireguard
            | Kind::TunnelQuic
            | Kind::Audit
            | Kind::Signer
            | Kind::Enrol
            | Kind::Keystore => false,
        };
        let connections = usize::try_from(self.config.limits.connections).unwrap_or(usize::MAX);
        worker.send(
            ToRelay::Start {
                // Room for the supervisor's own.
                connections: connections.saturating_add(super::probe::CONNECTIONS),
                memory: RELAY_MEMORY,
                relays: usize::from(self.relay_workers),
            },
            Vec::new(),
        );
        if is_tight {
            worker.send(ToRelay::Tight { tight: true }, Vec::new());
        }
        worker.send(
            ToRelay::Journal {
                writable: self.may_record(),
            },
            Vec::new(),
        );
        let pid = worker.pid;
        self.workers.relays.insert(kind, worker);
        Ok(pid)
    }

    fn start_audit(&mut self, generation: u64) -> std::io::Result<u32> {
        let worker = Worker::start(Kind::Audit, generation, &self.inputs, |message, _| {
            Input::Audit(message)
        })?;
        let audit = &self.config.audit;
        let start = ToAudit::Start {
            gateway: self.config.gateway.name.clone(),
            directory: audit.directory.clone(),
            rotate_size: audit.rotate_size,
            keep: audit.keep,
            sync_ms: match audit.sync {
                lazaret_config::Sync::Batch => 0,
                lazaret_config::Sync::Second => 1000,
            },
        };
        worker.send(start, Vec::new());
        let pid = worker.pid;
        self.workers.audit = Some(worker);
        self.deliver_events();
        Ok(pid)
    }

    /// A worker ended without being told. The rules stay; what it held is gone; it is started again.
    pub(super) fn worker_ended(&mut self, kind: Kind, generation: u64, status: &str) {
        let now = self.clock.now();
        let Some(life) = self.workers.lives.get_mut(&kind) else {
            return;
        };
        if life.generation != generation {
            return;
        }
        let lived = life
            .begun
            .map(|begun| now.saturating_duration_since(begun))
            .unwrap_or_default();
        life.streak = if lived >= LONG_LIFE {
            0
        } else {
            life.streak.saturating_add(1)
        };
        life.restarts = life.restarts.saturating_add(1);
        life.ready = false;
        life.due = now.checked_add(FIRST_PAUSE.saturating_mul(1 << life.streak.min(6)));
        warn!(
            worker = kind.name(),
            status, "worker ended and will be started again"
        );
        self.workers.forget(kind);
        self.record(Event::WorkerDied {
            worker: kind.name(),
            status: status.to_owned(),
        });
        match kind {
            Kind::RelayHl7(_) | Kind::RelayDicom(_) => self.relay_died(kind, now),
            Kind::Audit => self.audit_died(),
            Kind::Signer => self.signer_died(),
            Kind::TunnelQuic => self.quic_died(),
            Kind::Keystore => self.keystore_died(),
            // Its questions are answered to nobody.
            Kind::TunnelWireguard | Kind::Enrol => {}
        }
    }

    /// A worker ended while the gateway stops: nobody comes after it.
    pub(super) fn ended_at_last(&mut self, kind: Kind) {
        self.workers.forget(kind);
        for (id, connection) in self.connections.take_of(kind) {
            self.record_closed(id, &connection, 0, 0);
        }
        if kind == Kind::Audit {
            self.outbox.died();
        }
    }

    /// Its sockets died with it. A device that was there at every crash is put into quarantine.
    fn relay_died(&mut self, kind: Kind, now: Instant) {
        let lost = self.connections.take_of(kind);
        let suspects = suspects(lost.iter().map(|(_, connection)| connection));
        for (id, connection) in lost {
            self.record_closed(id, &connection, 0, 0);
        }
        let standing = |device: &DeviceName| self.registry.standing(device);
        if let Some(device) = self.workers.blame(&suspects, standing, now) {
            warn!(%device, "its connections were there each time a relay died");
            let why = format!(
                "{} crashed {BLAME} times while it was connected",
                kind.name()
            );
            self.change_standing(&device, Standing::Quarantined, &why, OURSELVES);
        }
    }

    /// A flow that must end does so even if its relay hangs, at the price of the relay's other flows.
    //= C9
    pub(super) fn kill_deaf_relays(&self, now: Instant) {
        for kind in self.connections.deaf(now) {
            if let Some(relay) = self.workers.relay(kind) {
                warn!(
                    worker = kind.name(),
                    "it does not end what it must and is killed"
                );
                relay.kill();
            }
        }
    }

    /// Restarts workers whose pause is over.
    pub(super) fn restart_due_workers(&mut self, now: Instant) {
        let due = |life: &Life| life.due.is_some_and(|due| due <= now);
        let kinds: Vec<Kind> = self
            .workers
            .lives
            .iter()
            .filter(|(_, life)| due(life))
            .map(|(kind, _)| *kind)
            .collect();
        for kind in kinds {
            self.start_worker(kind);
        }
    }

    /// Tells the workers to finish and end.
    pub(super) fn drain(&self) {
        for (_, relay) in self.workers.relays(None) {
            relay.send(ToRelay::Drain, Vec::new());
        }
    }
}

/// The devices that may have killed a relay: not those that a service dialled, whose bytes came from the hospital.
fn suspects<'c>(lost: impl Iterator<Item = &'c Connection>) -> Vec<DeviceName> {
    let dialled = lost.filter(|connection| connection.policy.opener == Side::Device);
    let suspects: BTreeSet<DeviceName> = dialled.map(|one| one.device.clone()).collect();
    suspects.into_iter().collect()
}

/// In the place of a user id, for what the gateway did by itself.
pub(super) const OURSELVES: u32 = crate::flow::GATEWAY;
/// Bytes that all sessions of the relays of one protocol hold.
//= C7
const RELAY_MEMORY: usize = 512 << 20;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONG_LIFE: Duration = Duration::from_mins(1);
const BLAME: usize = 3;
const BLAME_WINDOW: Duration = Duration::from_mins(10);

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make up their time")]
mod tests {
    use super::*;
    use crate::daemon::connections::tests::{HIS, World};

    fn names(text: &str) -> Vec<DeviceName> {
        text.split(' ').map(|name| name.parse().unwrap()).collect()
    }

    fn crashes(each: &[(u64, &str)]) -> Vec<Option<String>> {
        let mut workers = Workers::default();
        let start = Instant::now();
        let blamed = each.iter().map(|(seconds, suspects)| {
            let now = start + Duration::from_secs(*seconds);
            let blamed = workers.blame(&names(suspects), |_| Standing::Active, now);
            blamed.map(|device| device.to_string())
        });
        blamed.collect()
    }

    #[test]
    fn who_was_there_at_every_crash_is_blamed_and_bystanders_are_not() {
        let blamed = crashes(&[(0, "bad good-1"), (10, "bad good-2"), (20, "bad good-3")]);
        assert_eq!(blamed, [None, None, Some("bad".to_owned())]);
    }

    #[test]
    fn nobody_is_blamed_where_two_may_have_done_it() {
        let blamed = crashes(&[(0, "a b"), (1, "a b"), (2, "a b"), (3, "a c")]);
        assert_eq!(blamed, [None, None, None, Some("a".to_owned())]);
    }

    #[test]
    fn who_was_dialled_by_a_service_is_no_suspect() {
        let mut world = World::new();
        let dialling = world.admit("10.64.0.1", HIS).unwrap();
        let dialled = world.admit("10.64.0.2", HIS).unwrap();
        let connection = world.connections.get_mut(dialled).unwrap();
        connection.policy.opener = Side::Hospital;
        let all = [dialling, dialling, dialled].map(|id| world.connections.get(id).unwrap());
        assert_eq!(suspects(all.into_iter()), names("ecg-1"));
    }

    //= C9
    #[test]
    fn who_was_contained_before_the_last_crash_stays_so() {
        for (standing, blamed) in [
            (Standing::Active, true),
            (Standing::Quarantined, false),
            (Standing::Pending, false),
            (Standing::Expired, false),
            (Standing::Revoked, false),
        ] {
            let (mut workers, now) = (Workers::default(), Instant::now());
            let mut crash = || workers.blame(&names("bad"), |_| standing, now);
            assert_eq!((crash(), crash()), (None, None));
            assert_eq!(crash().is_some(), blamed, "{standing:?}");
        }
    }

    #[test]
    fn old_crashes_are_forgotten() {
        let blamed = crashes(&[(0, "a"), (300, "a"), (601, "a"), (602, "a")]);
        assert_eq!(blamed, [None, None, None, Some("a".to_owned())]);
    }

    #[test]
    fn what_is_remembered_of_crashes_does_not_grow() {
        let mut workers = Workers::default();
        let start = Instant::now();
        for number in 0..2000 {
            let now = start + Duration::from_secs(number);
            let suspects = names(&format!("device-{number}"));
            workers.blame(&suspects, |_| Standing::Active, now);
        }
        assert_eq!(workers.crashes.len(), 600);
    }
}

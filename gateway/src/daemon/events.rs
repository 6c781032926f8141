//! What workers and intercepted connections bring, and what becomes of it.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::connections::{self, Connection, Unwelcome};
use super::supervisor::{Input, Supervisor};
use super::worker::{Kind, Worker};
use crate::audit::event::{Event, Keyed};
use crate::audit::message::{FromAudit, ToAudit};
use crate::flow::{Clock, ConnectionId, Flow, Inspected, Side};
use crate::forward::message::{Decided, FromRelay, ToRelay};
use crate::forward::spool_file;
use crate::inspect::{Decision, EndReason, Outcome, Subject};
use crate::registry::known::Seen;
use crate::segment::denied::DeniedPacket;
use crate::segment::table::Why;
use crate::segment::upstream;
use crate::tunnel::message::{FromTunnel, TunnelEvent};

impl Supervisor {
    /// Puts an event on record.
    pub(super) fn record(&mut self, event: Event) {
        self.outbox.put(event);
        self.outbox.deliver(to_audit(self.workers.audit.as_ref()));
        self.pace_listeners();
    }

    /// Takes no new connections while too much waits for the journal: each would put more on record.
    /// Where the journal cannot be written at all, the policies of the connections say whether they may be.
    //= C8
    fn pace_listeners(&self) -> bool {
        let may = !self.outbox.is_long() || self.outbox.failure().is_some();
        (self.taking).send_if_modified(|taking| std::mem::replace(taking, may) != may);
        may
    }

    /// Hands over what waits for the audit process, and asks what is on the disk.
    pub(super) fn deliver_events(&mut self) {
        let audit = self.workers.audit.as_ref();
        self.outbox.deliver(to_audit(audit));
        self.outbox.settle(to_audit(audit));
        self.relieve_relays();
    }

    /// Lets the relays go on if what they decided is on its way to the journal.
    /// Where the journal cannot be written at all they are told so, and what still goes on must not wait for it.
    //= C8
    fn relieve_relays(&mut self) {
        if !self.pace_listeners() {
            return;
        }
        for (kind, decisions) in self.credit.due() {
            if let Some(relay) = self.workers.relay(kind) {
                relay.send(ToRelay::Recorded { decisions }, Vec::new());
            }
        }
    }

    /// An audit process that takes nothing any more is ended, so that another begins.
    pub(super) fn kill_stuck_audit(&mut self, now: Instant) {
        if self.outbox.is_stuck(now)
            && let Some(audit) = &self.workers.audit
        {
            warn!("the audit process takes nothing any more and is killed");
            audit.kill();
        }
    }

    /// An intercepted connection: identified here, handed to the relay or closed.
    pub(super) fn accepted(&mut self, stream: TcpStream) {
        let flow = match connections::steered(&stream) {
            Ok(flow) => flow,
            Err(why) => {
                debug!(%why, "a connection was closed");
                return reset(&stream);
            }
        };
        if self.draining.is_some() {
            return self.unwelcome(&stream, flow, &Unwelcome::Draining);
        }
        let (now, wall) = (self.clock.now(), self.clock.wall());
        let live: Vec<Kind> = self.workers.relays(None).map(|(kind, _)| kind).collect();
        let id =
            match self
                .connections
                .admit(flow, &self.config, &self.registry, &live, (now, wall))
            {
                Ok(id) => id,
                Err(why) => return self.unwelcome(&stream, flow, &why),
            };
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let (device, service, relay) = (
            connection.device.clone(),
            connection.service.clone(),
            connection.relay,
        );
        let (opener, target) = (connection.policy.opener, connection.target);
        let policy = Box::new(connection.policy.clone());
        let destination = connections::address_of(&self.config, &service).unwrap_or(target);
        let exchange = self.connections.exchange(&device, &service, destination);
        let subject = match opener {
            Side::Device => self.connections.subject(&device),
            // What services say does not count against the device; exchanges and subjects share no numbers.
            Side::Hospital => exchange,
        };
        if let Some(worker) = self.workers.relay(relay)
            && relay.protocol() == Some(Inspected::Dicom)
            && let Some(recall) = self.transactions.remind(exchange, relay, &device, &service)
        {
            worker.send(ToRelay::Recall { exchange, recall }, Vec::new());
        }
        let open = ToRelay::Open {
            id,
            subject,
            exchange,
            policy,
        };
        let handed = self
            .workers
            .relay(relay)
            .is_some_and(|worker| worker.send(open, vec![stream.into()]));
        if handed {
            self.follow_use(&device, &service, 1);
            self.record(Event::ConnectionOpened {
                connection: id,
                device,
                service,
                opener,
            });
        } else {
            debug!(%device, "no relay takes connections now");
            self.connections.remove(id);
        }
    }

    fn unwelcome(&mut self, stream: &TcpStream, flow: Flow, why: &Unwelcome) {
        reset(stream);
        let device = connections::device_of(&self.config, flow).cloned();
        let why = why.to_string();
        let now = self.clock.now();
        self.denied.note(flow, "tcp", device.clone(), &why, now);
        if self.refusals.take(now) {
            self.record(Event::ConnectionRefused { flow, device, why });
        }
    }

    /// What a relay wants or reports. It names a connection, never an address.
    pub(super) fn relay_said(&mut self, kind: Kind, message: FromRelay) {
        match message {
            FromRelay::Ready => {
                self.workers.set_ready(kind);
                self.announce();
            }
            FromRelay::Connect { id } if self.probe_connect(kind, id) => {}
            FromRelay::Connect { id } => self.connect(kind, id),
            FromRelay::Spool { id } => self.spool(kind, id),
            FromRelay::Decided(decisions) => {
                self.credit.received(kind, decisions.len());
                for Decided { id, decision } in decisions {
                    self.decided(kind, id, decision);
                }
                self.outbox.deliver(to_audit(self.workers.audit.as_ref()));
                self.relieve_relays();
            }
            FromRelay::Keep { id, entry } => {
                if let Some(connection) = self.own(kind, id) {
                    let (device, service) = (connection.device.clone(), connection.service.clone());
                    self.transactions.keep(&device, &service, entry);
                    self.tell_tightness();
                }
            }
            FromRelay::Closed {
                id,
                forwarded,
                refused,
                received,
                sent,
            } => {
                let Some(connection) = self.own(kind, id) else {
                    return;
                };
                connection.forwarded = forwarded;
                connection.refused = refused;
                if let Some(connection) = self.connections.remove(id) {
                    self.record_closed(id, &connection, received, sent);
                }
            }
        }
    }

    /// The relay refuses what would have no room.
    pub(super) fn tell_tightness(&mut self) {
        if let Some(tight) = self.transactions.tightness() {
            for (_, relay) in self.workers.relays(Some(Inspected::Dicom)) {
                relay.send(ToRelay::Tight { tight }, Vec::new());
            }
        }
    }

    /// A relay may speak of its own connections only.
    fn own(&mut self, kind: Kind, id: ConnectionId) -> Option<&mut Connection> {
        self.connections
            .get_mut(id)
            .filter(|connection| connection.relay == kind)
    }

    fn connect(&mut self, kind: Kind, id: ConnectionId) {
        let Some(connection) = self.own(kind, id) else {
            return;
        };
        if connection.ended.is_some() || connection.connecting {
            warn!(%id, "a relay asks for a connection that it may not have");
            return;
        }
        connection.connecting = true;
        let (destination, opener) = (connection.target, connection.policy.opener);
        let caller = connection.flow.source;
        let timeout = Duration::from_millis(connection.policy.timing.connect_ms);
        let source = match opener {
            Side::Device => upstream::source(self.config.hospital.mode, caller),
            Side::Hospital => None,
        };
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let result = upstream::connect(destination, source, timeout).await;
            // The supervisor may be gone; then so is the relay.
            drop(inputs.send(Input::Upstream { id, result }).await);
        });
    }

    pub(super) fn upstream(&mut self, id: ConnectionId, result: io::Result<TcpStream>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.connecting = false;
        let Some(relay) = self.workers.relay(connection.relay) else {
            return;
        };
        // It may have lost the rule while it connected.
        let result = if connection.ended.is_some() {
            Err(io::ErrorKind::PermissionDenied.into())
        } else {
            result
        };
        match result {
            Ok(stream) => drop(relay.send(ToRelay::Upstream { id }, vec![stream.into()])),
            Err(error) => {
                warn!(service = %connection.service, %error, "service cannot be reached");
                relay.send(ToRelay::UpstreamFailed { id }, Vec::new());
            }
        }
    }

    fn spool(&mut self, kind: Kind, id: ConnectionId) {
        if self.own(kind, id).is_none() {
            return;
        }
        let file = self
            .spool_file()
            .inspect_err(|error| warn!(%error, "no spool file can be made"));
        let copy = file.as_ref().ok().and_then(|file| file.try_clone().ok());
        if let Some(connection) = self.own(kind, id) {
            connection.spool = copy;
        }
        if let Some(relay) = self.workers.relay(kind) {
            relay.send(ToRelay::Spool { id }, file.into_iter().collect());
        }
    }

    //= C7
    fn spool_file(&self) -> io::Result<OwnedFd> {
        if self.connections.spooled() >= self.config.limits.spool {
            return Err(io::Error::other("limits.spool is reached"));
        }
        spool_file::create(&self.config.gateway.state_dir.join(super::ground::SPOOLS))
    }

    fn decided(&mut self, kind: Kind, id: ConnectionId, decision: Decision) {
        let Some(connection) = self.own(kind, id) else {
            return;
        };
        if decision.what == Subject::Message {
            match decision.outcome {
                Outcome::Forwarded | Outcome::Unanswered => {
                    connection.forwarded = connection.forwarded.saturating_add(1)
                }
                Outcome::Refused => connection.refused = connection.refused.saturating_add(1),
                Outcome::Repeated | Outcome::Undelivered | Outcome::Abandoned => {}
            }
        }
        let (device, service) = (connection.device.clone(), connection.service.clone());
        let at = self.now();
        self.inventory.decided(&device, &service, &decision, at);
        self.watch(&device, &service, &decision);
        if decision.what == Subject::Answer
            && decision.from == Side::Hospital
            && decision.outcome != Outcome::Forwarded
        {
            let reason = decision.reason.as_deref().unwrap_or_default();
            warn!(%service, reason, "an answer of the destination was dropped");
        }
        if decision.what == Subject::Message {
            match decision.outcome {
                Outcome::Forwarded | Outcome::Unanswered => {
                    self.forwarded = self.forwarded.saturating_add(1)
                }
                Outcome::Refused => self.refused = self.refused.saturating_add(1),
                Outcome::Repeated | Outcome::Undelivered | Outcome::Abandoned => {}
            }
        }
        self.outbox.put(Event::Decision {
            connection: id,
            device,
            service,
            from: decision.from,
            what: decision.what.as_str().to_owned(),
            kind: decision.kind,
            rule: decision.rule,
            outcome: decision.outcome.as_str().to_owned(),
            reason: decision.reason,
            location: decision.location,
            detail: decision.detail,
            answer: decision.answer,
            length: decision.length,
            digest: decision.digest.map(|digest| Keyed::Raw(digest.to_vec())),
            identifier: decision.identifier.map(Keyed::Raw),
            micros: decision.micros,
            warnings: decision.warnings,
            would_refuse: decision.would_refuse,
        });
    }

    pub(super) fn record_closed(
        &mut self,
        id: ConnectionId,
        connection: &Connection,
        received: u64,
        sent: u64,
    ) {
        self.record(Event::ConnectionClosed {
            connection: id,
            device: connection.device.clone(),
            service: connection.service.clone(),
            forwarded: connection.forwarded,
            refused: connection.refused,
            received,
            sent,
        });
    }

    pub(super) fn tunnel_said(&mut self, message: FromTunnel) {
        match message {
            FromTunnel::Ready => {
                self.workers.set_ready(Kind::TunnelWireguard);
                self.announce();
            }
            FromTunnel::Status {
                request,
                peers,
                strangers,
                dropped: _,
            } => {
                self.strangers_came(&strangers);
                self.tunnel_status(request, peers);
            }
            FromTunnel::Event(event) => self.record(match event {
                TunnelEvent::Up { device } => Event::TunnelUp { device },
                TunnelEvent::Down { device } => Event::TunnelDown { device },
                TunnelEvent::Spoofed { device, packets } => {
                    Event::SourceSpoofed { device, packets }
                }
                TunnelEvent::Refused { handshakes } => Event::HandshakesRefused { handshakes },
                TunnelEvent::Changed { device, what } => Event::PeerChanged { device, what },
                TunnelEvent::Contradicted { what } => Event::PeerChangeRefused { what },
            }),
        }
    }

    pub(super) fn audit_said(&mut self, message: FromAudit) {
        match message {
            FromAudit::Ready { .. } => {
                self.workers.set_ready(Kind::Audit);
                self.journal_recovered();
                self.announce();
            }
            FromAudit::Recovered => self.journal_recovered(),
            FromAudit::Failed { why } => self.journal_failed(why),
            FromAudit::Flushed { request } => {
                self.outbox.flushed(request);
                self.outbox.deliver(to_audit(self.workers.audit.as_ref()));
                self.relieve_relays();
                self.probe_journal();
            }
        }
    }

    pub(super) fn audit_died(&mut self) {
        self.outbox.died();
        self.journal_failed("the audit process ended".to_owned());
    }

    //= C8
    fn journal_failed(&mut self, why: String) {
        warn!(why, "the journal cannot be written");
        if self.outbox.failed(why) {
            self.tell_relays_of_journal();
        }
    }

    fn journal_recovered(&mut self) {
        if self.outbox.recovered() {
            self.tell_relays_of_journal();
        }
    }

    fn tell_relays_of_journal(&self) {
        let writable = self.may_record();
        for (_, relay) in self.workers.relays(None) {
            relay.send(ToRelay::Journal { writable }, Vec::new());
        }
    }

    /// Whether flows that need a journal may go on.
    pub(super) fn may_record(&self) -> bool {
        self.outbox.failure().is_none() || !self.config.audit.required
    }

    /// Ends an inspected connection.
    pub(super) fn close(&mut self, id: ConnectionId, why: EndReason) -> bool {
        let now = self.clock.now();
        let Some(connection) = self.connections.get_mut(id) else {
            return false;
        };
        connection.ended.get_or_insert(now);
        let relay = self.workers.relay(connection.relay);
        relay.is_some_and(|relay| relay.send(ToRelay::Close { id, why }, Vec::new()))
    }

    pub(super) fn packets_denied(&mut self, packets: &[DeniedPacket]) {
        let now = self.clock.now();
        for packet in packets {
            let device = self.config.device_at(packet.flow.source).cloned();
            let source = packet.flow.source;
            if device.is_none() && !connections::is_service(&self.config, source) {
                let seen = Seen::at(self.now(), 1);
                let (source, why) = (source.to_string(), packet.why.words());
                self.inventory.note_stranger("source", &source, why, seen);
            }
            self.denied.note(
                packet.flow,
                &packet.transport,
                device,
                packet.why.words(),
                now,
            );
        }
    }

    pub(super) fn report_denied(&mut self, now: Instant) {
        for report in self.denied.reports(now) {
            let super::denied::Report {
                device,
                flow,
                transport,
                why,
                packets,
            } = report;
            // That no rule allows it goes without saying.
            let why = Some(why).filter(|why| why == Why::Crowded.words());
            self.record(Event::FlowDenied {
                device,
                flow,
                transport,
                packets,
                why,
            });
        }
    }
}

fn to_audit(audit: Option<&Worker<ToAudit>>) -> impl Fn(ToAudit) -> bool + Copy {
    move |message| audit.is_some_and(|audit| audit.send(message, Vec::new()))
}

/// Closes with RST, so that the other end cannot take it for an orderly end.
fn reset(stream: &TcpStream) {
    if let Err(error) = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        debug!(%error, "a connection was closed without a reset");
    }
}

/// An error with all its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

//! The supervisor's side of the tunnel for certificates.
//!
//! In: the policy, what the signer answers, what the tunnel says. Out: who may come in, who the gateway is and whom it
//! believes, records. The tunnel gets no key: each identity comes with a fresh door to the signer.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lazaret_config::{Config, Identity, ServiceProtocol, Transport};
use tracing::{info, warn};

use super::supervisor::{Input, Supervisor};
use super::worker::{Kind, Worker};
use crate::audit::event::Event;
use crate::channel;
use crate::control::message::TunnelSession;
use crate::flow::{Clock, DeviceName, Priority, ServiceName, Standing};
use crate::pki::message::{Answer, Listener, Question, Refusal, ServerIdentity, ToSigner, Trust};
use crate::quic::message::{FromQuic, Member, Offer, QuicEvent, SessionFigures, Settings, ToQuic};
use crate::registry::Registry;
use crate::tunnel::message::PeerStatus;

/// What is known of the tunnel.
#[derive(Default)]
pub(super) struct Sessions {
    figures: BTreeMap<DeviceName, SessionFigures>,
    /// When they came.
    at: Option<Instant>,
    /// What it was told last, or will be told.
    server: Option<ServerIdentity>,
    trust: Option<Trust>,
    /// Whether it has that.
    told: bool,
    asked: Option<Instant>,
    /// Whether what it was told may have changed.
    stale: bool,
    /// Since when nobody is let in, if so, so that it is said once.
    trouble: Option<String>,
}

impl Sessions {
    /// What it was told may have changed.
    pub(super) fn refresh(&mut self) {
        self.stale = true;
        self.asked = None;
    }

    /// As the other tunnel tells of its peers.
    pub(super) fn peers(&self, now: Instant) -> Vec<PeerStatus> {
        let ago = self
            .at
            .map(|at| now.saturating_duration_since(at).as_secs());
        let figures = self.figures.values();
        figures
            .map(|one| PeerStatus {
                device: one.device.clone(),
                endpoint: Some(one.peer),
                handshake_seconds: ago,
                received: one.received,
                sent: one.sent,
                spoofed: one.spoofed,
            })
            .collect()
    }

    /// For operators.
    pub(super) fn tunnels(&self, now: Instant) -> Vec<TunnelSession> {
        let ago = self
            .at
            .map(|at| now.saturating_duration_since(at).as_secs());
        let figures = self.figures.values();
        figures
            .map(|one| TunnelSession {
                device: one.device.clone(),
                peer: one.peer,
                seconds: one.seconds.saturating_add(ago.unwrap_or(0)),
                key_exchange: one.key_exchange.clone(),
                received: one.received,
                sent: one.sent,
                spoofed: one.spoofed,
                crowded: one.crowded,
                malformed: one.malformed,
                rtt_micros: one.rtt_micros,
            })
            .collect()
    }
}

/// Everybody who may come in by a certificate, and what each may use at the moment.
pub(super) fn members(config: &Config, registry: &Registry, wall: Timestamp) -> Vec<Member> {
    let devices = config.devices.iter();
    let certified = devices.filter(|(name, device)| {
        device.identity == Identity::Certificate && registry.standing(name).is_let_in()
    });
    certified
        .map(|(name, device)| {
            let services = config.services_of(name);
            let holds = |rules: &Vec<&lazaret_config::RuleName>| {
                let mut rules = rules.iter().filter_map(|rule| config.rules.get(*rule));
                rules.any(|rule| rule.holds_at(wall))
            };
            let now = services.into_iter().filter(|(_, rules)| holds(rules));
            let ends =
                |service| super::console_watch::access_ends(config, registry, name, service, wall);
            let now = now.map(|(name, rules)| {
                let rules = rules.iter().filter_map(|rule| config.rules.get(*rule));
                let held = rules.filter(|rule| rule.holds_at(wall));
                (
                    name,
                    held.map(|rule| rule.priority).max().unwrap_or_default(),
                )
            });
            Member {
                device: name.clone(),
                addresses: device.addresses.clone(),
                services: now
                    .flat_map(|(service, worth)| offers(config, service, worth, ends(service)))
                    .collect(),
            }
        })
        .collect()
}

/// Who may not come in, and why.
fn barred(registry: &Registry) -> Vec<(DeviceName, Standing)> {
    let names = registry.all().keys();
    let standings = names.map(|name| (name.clone(), registry.standing(name)));
    standings
        .filter(|(_, standing)| !standing.is_let_in())
        .take(MAX_BARRED)
        .collect()
}

/// Most who are told why they may not come in; further ones only hear that.
//= C7
const MAX_BARRED: usize = 4096;

fn offers(
    config: &Config,
    name: &ServiceName,
    priority: Priority,
    ends: Option<Timestamp>,
) -> Vec<Offer> {
    let Some(service) = config.services.get(name) else {
        return Vec::new();
    };
    let ports = match &service.protocol {
        ServiceProtocol::Hl7 { port, .. } | ServiceProtocol::Dicom { port, .. } => {
            vec![(Transport::Tcp, *port)]
        }
        ServiceProtocol::Plain { ports } => ports.iter().map(|p| (p.transport, p.number)).collect(),
    };
    let offer = |(transport, port)| Offer {
        name: name.clone(),
        address: service.address,
        transport,
        port,
        ends,
        priority,
    };
    ports.into_iter().map(offer).collect()
}

impl Supervisor {
    /// Where both tunnels listen.
    pub(super) fn record_listening(&mut self) {
        let quic = self.config.quic.as_ref().map(|quic| quic.listen);
        for address in [Some(self.config.wireguard.listen), quic]
            .into_iter()
            .flatten()
        {
            self.record(Event::Listening { address });
        }
    }

    pub(super) fn start_quic(&mut self, generation: u64) -> std::io::Result<u32> {
        let (quic, ground) = (self.config.quic.as_ref().zip(self.ground.quic.as_ref()))
            .ok_or(std::io::ErrorKind::NotFound)?;
        let mut descriptors: Vec<OwnedFd> =
            vec![ground.tun.descriptor.as_fd().try_clone_to_owned()?];
        for socket in &ground.udp {
            descriptors.push(socket.try_clone()?);
        }
        let settings = Settings {
            interface: quic.interface.clone(),
            mtu: quic.mtu,
            vnet_hdr: ground.tun.vnet_hdr,
            initial_mtu: quic.initial_mtu,
            segmentation_offload: quic.segmentation_offload,
            post_quantum: quic.post_quantum,
            own: quic.addresses.clone(),
        };
        let members = members(&self.config, &self.registry, self.clock.wall());
        let worker = Worker::start(Kind::TunnelQuic, generation, &self.inputs, |message, _| {
            Input::Quic(message)
        })?;
        worker.send(ToQuic::Start { settings, members }, descriptors);
        worker.send(ToQuic::Barred(barred(&self.registry)), Vec::new());
        let pid = worker.pid;
        self.workers.quic = Some(worker);
        self.tell_quic_leaving();
        self.quic.refresh();
        Ok(pid)
    }

    /// Whoever waits to be approved, or stays out, hears why.
    pub(super) fn tell_quic_barred(&self) {
        if let Some(quic) = &self.workers.quic {
            quic.send(ToQuic::Barred(barred(&self.registry)), Vec::new());
        }
    }

    /// Whoever is in hears that the gateway is about to restart.
    pub(super) fn tell_quic_leaving(&self) {
        if let Some(quic) = &self.workers.quic {
            quic.send(ToQuic::Leaving(self.draining.is_some()), Vec::new());
        }
    }

    /// Whoever is not in the list any more is cut by the tunnel at once.
    //= C9
    pub(super) fn tell_quic_members(&self) {
        if let Some(quic) = &self.workers.quic {
            let members = members(&self.config, &self.registry, self.clock.wall());
            // First, so that whoever is cut hears why.
            self.tell_quic_barred();
            quic.send(ToQuic::Members(members), Vec::new());
        }
    }

    /// Asks the signer who the gateway is and whom it believes: when that may have changed, and now and then.
    pub(super) fn follow_quic_identity(&mut self, now: Instant) {
        if self.workers.quic.is_none() || !self.workers.is_ready(Kind::Signer) {
            return;
        }
        let due = match self.quic.asked {
            None => true,
            Some(at) => {
                let wait = if self.quic.told { ASK_EVERY } else { TRY_EVERY };
                now.saturating_duration_since(at) >= wait
            }
        };
        if due {
            self.quic.asked = Some(now);
            self.ask_for_quic(Question::Server {
                listener: Listener::Quic,
                renew: false,
            });
            self.ask_for_quic(Question::Trust);
        }
    }

    pub(super) fn identity_answered(&mut self, answered: Result<Answer, Refusal>) {
        match answered {
            Ok(Answer::Server(server)) => {
                self.quic.stale |= self.quic.server.as_ref() != Some(&server);
                self.quic.server = Some(server);
            }
            Ok(Answer::Trust(trust)) => {
                self.quic.stale |= self.quic.trust.as_ref() != Some(&trust);
                self.quic.trust = Some(trust);
                self.tell_quic_identity();
            }
            Ok(_) => warn!("the signer answered something else"),
            // It died or was replaced: it is asked again as soon as it is ready.
            Err(Refusal::Unavailable) => self.quic.told = false,
            Err(refusal) => self.nobody_comes_in(refusal.to_string()),
        }
    }

    fn tell_quic_identity(&mut self) {
        let (Some(server), Some(trust)) = (&self.quic.server, &self.quic.trust) else {
            return;
        };
        if !self.quic.stale {
            return;
        }
        let (Some(quic), Some(signer)) = (&self.workers.quic, &self.workers.signer) else {
            return;
        };
        let (ours, theirs) = match channel::pair() {
            Ok(door) => door,
            Err(error) => return warn!(%error, "no door to the signer can be made"),
        };
        let door = ToSigner::Door {
            listener: Listener::Quic,
        };
        let identity = ToQuic::Identity {
            server: Box::new(server.clone()),
            trust: trust.clone(),
        };
        self.quic.told = signer.send(door, vec![theirs]) && quic.send(identity, vec![ours]);
        self.quic.stale = !self.quic.told;
        if self.quic.told && self.quic.trouble.take().is_some() {
            info!("devices with a certificate are let in");
        }
    }

    fn nobody_comes_in(&mut self, why: String) {
        self.quic.told = false;
        if self.quic.trouble.as_ref() != Some(&why) {
            warn!(why, "no device with a certificate is let in");
            self.quic.trouble = Some(why);
        }
    }

    pub(super) fn quic_said(&mut self, message: FromQuic) {
        match message {
            FromQuic::Ready => {
                self.workers.set_ready(Kind::TunnelQuic);
                self.announce();
                self.follow_quic_identity(self.clock.now());
            }
            FromQuic::NoIdentity { why } => self.nobody_comes_in(why),
            FromQuic::Strangers(all) => self.foreign_certificates(&all),
            FromQuic::Sessions(figures) => {
                self.quic.at = Some(self.clock.now());
                let by_name = figures.into_iter().map(|one| (one.device.clone(), one));
                self.quic.figures = by_name.collect();
            }
            FromQuic::Event(event) => self.record(match event {
                QuicEvent::Began {
                    device,
                    certificate,
                    peer,
                    key_exchange,
                } => Event::SessionBegan {
                    device,
                    certificate: certificate.to_string(),
                    peer,
                    key_exchange,
                },
                QuicEvent::Ended {
                    device,
                    seconds,
                    received,
                    sent,
                    why,
                } => Event::SessionEnded {
                    device,
                    seconds,
                    received,
                    sent,
                    why,
                },
                QuicEvent::Spoofed { device, packets } => Event::SourceSpoofed { device, packets },
                QuicEvent::Refused {
                    why,
                    device,
                    peer,
                    times,
                } => Event::SessionRefused {
                    why,
                    device,
                    peer,
                    times,
                },
            }),
        }
    }

    /// Its sessions are gone with it.
    pub(super) fn quic_died(&mut self) {
        self.sessions_ended("the tunnel worker ended");
    }

    /// All that are known, when nobody can tell of them any more.
    //= C8
    pub(super) fn sessions_ended(&mut self, why: &str) {
        let figures = std::mem::take(&mut self.quic.figures);
        for (device, last) in figures {
            self.record(Event::SessionEnded {
                device,
                seconds: last.seconds,
                received: last.received,
                sent: last.sent,
                why: why.to_owned(),
            });
        }
    }
}

/// Between questions while all is well: a certificate may be due.
const ASK_EVERY: Duration = Duration::from_mins(1);
/// Between questions while nobody is let in.
const TRY_EVERY: Duration = Duration::from_secs(2);

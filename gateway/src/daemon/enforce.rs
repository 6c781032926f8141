//! Puts a policy into force on every plane: table, connection tracking, tunnel, relays.
//!
//! The order is fixed: first the table, then what lives by the old one is cut.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use lazaret_config::{Config, Device, Identity};
use tracing::{error, warn};

use super::connections::{Ends, ends, may_be, standing};
use super::supervisor::Supervisor;
use crate::audit::event::Event;
use crate::flow::Standing;
use crate::flow::{Clock, DeviceName, RuleName};
use crate::forward::message::ToRelay;
use crate::inspect::EndReason;
use crate::registry::{PublicKey, Registry};
use crate::segment::changes::Cut;
use crate::segment::plan::{Facts, Listeners, Plan};
use crate::segment::readback::Drift;
use crate::segment::{SegmentError, changes, conntrack, nft, readback, resets};
use crate::tunnel::message::{Peer, ToTunnel};

/// What the table depends on beside the configuration.
pub(super) fn facts(
    config: &Config,
    registry: &Registry,
    listeners: Listeners,
    now: Timestamp,
) -> Facts {
    let standing = config
        .devices
        .keys()
        .map(|device| (device.clone(), standing(config, registry, device)))
        .collect();
    Facts {
        now,
        standing,
        listeners,
        udp_port: config.wireguard.listen.port(),
        held: BTreeSet::new(),
    }
}

/// Why a policy is not, or not known to be, in force.
#[derive(Debug, thiserror::Error)]
pub enum EnforceError {
    /// The kernel does not take it; the old table stays.
    #[error("the table or the flows cannot be changed")]
    Segment(#[from] SegmentError),
    /// The kernel took it, but it reads back as something else.
    #[error("the table cannot be trusted")]
    Drift(#[from] Drift),
}

/// Loads a table and makes sure that it is there.
pub(super) fn load(plan: &Plan) -> Result<(), EnforceError> {
    nft::apply(plan)?;
    Ok(readback::verify(plan)?)
}

/// Everybody who may speak in the tunnel.
pub(super) fn peers(config: &Config, registry: &Registry) -> Vec<Peer> {
    let mut behind: BTreeMap<&DeviceName, Vec<ipnet::IpNet>> = BTreeMap::new();
    for device in config.devices.values() {
        if let Identity::Via(router) = &device.identity {
            behind.entry(router).or_default().extend(
                device
                    .addresses
                    .iter()
                    .map(|address| ipnet::IpNet::from(*address)),
            );
        }
    }
    let mut peers = Vec::with_capacity(config.devices.len());
    for (name, device) in &config.devices {
        let Identity::WireGuard {
            public_key,
            older_keys,
            preshared_key_file,
            keepalive,
            endpoint,
        } = &device.identity
        else {
            continue;
        };
        if !registry.standing(name).is_let_in() {
            continue;
        }
        let preshared_key = match preshared_key_file
            .as_deref()
            .map(lazaret_config::read_key)
            .transpose()
        {
            Ok(key) => key.map(|key| *key.as_bytes()),
            Err(error) => {
                error!(device = %name, %error, "its preshared key cannot be read: it stays out");
                continue;
            }
        };
        let mut allowed: Vec<ipnet::IpNet> = device
            .addresses
            .iter()
            .map(|address| ipnet::IpNet::from(*address))
            .collect();
        allowed.extend(behind.remove(name).unwrap_or_default());
        let peer = Peer {
            device: name.clone(),
            public_key: *public_key,
            preshared_key,
            allowed,
            endpoint: *endpoint,
            keepalive: *keepalive,
        };
        // A key that ended is not taken any more even while a table cannot be changed.
        let keys = older_keys.iter().chain([public_key]);
        let keys = keys.filter(|key| registry.is_key_of(name, PublicKey(**key)));
        peers.extend(keys.map(|key| Peer {
            public_key: *key,
            ..peer.clone()
        }));
    }
    peers
}

/// A device and, if it is a router, all behind it.
pub(super) fn with_those_behind<'a>(
    config: &'a Config,
    device: &DeviceName,
) -> BTreeMap<&'a DeviceName, &'a Device> {
    let behind =
        |entry: &Device| matches!(&entry.identity, Identity::Via(router) if router == device);
    let devices = config.devices.iter();
    devices
        .filter(|(name, entry)| *name == device || behind(entry))
        .collect()
}

/// The rules that hold at a time.
pub(super) fn rules_in_hours(config: &Config, wall: Timestamp) -> BTreeSet<RuleName> {
    let rules = config.rules.iter();
    rules
        .filter(|(_, rule)| rule.holds_at(wall))
        .map(|(name, _)| name.clone())
        .collect()
}

impl Supervisor {
    /// Puts `config` with today's standings into force. On any error the old policy stays.
    //= C4
    //= C9
    pub(super) fn enforce(&mut self, config: Config) -> Result<Vec<String>, EnforceError> {
        let wall = self.clock.wall();
        let mut facts = facts(&config, &self.registry, self.ground.listeners, wall);
        let mut first = Plan::new(&config, &facts);
        facts.held = changes::moved(&self.plan, &first);
        if !facts.held.is_empty() {
            first = Plan::new(&config, &facts);
        }
        if let Err(error) = load(&first) {
            self.restore(&error);
            return Err(error);
        }
        // From here on the new policy holds: what fails is tried again and told, but undoes nothing.
        self.uncut.extend(changes::cuts(&self.plan, &first));
        let mut described = changes::describe(&self.plan, &first);
        self.plan = first;
        self.config = config;
        self.in_hours = rules_in_hours(&self.config, wall);
        self.drift = None;
        self.verified = self.clock.now();
        if let Err(error) = self.cut_flows() {
            described.push(format!(
                "but some live flows could not be ended, which is tried again: {}",
                super::events::chain(&error)
            ));
        }
        self.tell_planes();
        if !facts.held.is_empty() {
            // The old owners are gone everywhere: now the addresses may have new ones.
            facts.held.clear();
            self.plan = Plan::new(&self.config, &facts);
            if let Err(error) = load(&self.plan) {
                let error = super::events::chain(&error);
                described.push(format!(
                    "but addresses with new owners are closed, which is tried again: {error}"
                ));
                self.drift = Some(error);
            }
        }
        Ok(described)
    }

    /// The new table was not taken, or reads back wrong: the kernel must hold the old one again.
    fn restore(&mut self, why: &EnforceError) {
        if matches!(
            why,
            EnforceError::Segment(SegmentError::NoAnswer(_) | SegmentError::Answer)
                | EnforceError::Drift(_)
        ) && let Err(error) = nft::apply(&self.plan)
        {
            let error = super::events::chain(&error);
            error!(error, "the old table cannot be restored yet");
            self.drift = Some(error);
        }
    }

    /// Ends the live flows that the table allows no longer. What is left is tried again with time.
    //= C9
    pub(super) fn cut_flows(&mut self) -> Result<(), SegmentError> {
        if self.uncut.is_empty() {
            return Ok(());
        }
        // What passed until now goes on record.
        let forwarded = self.look_at_consoles();
        let told = resets::of(&self.uncut, &forwarded);
        let cuts: Vec<Cut> = self.uncut.iter().copied().collect();
        let result = conntrack::cut(&cuts);
        match &result {
            Ok(()) => {
                self.uncut.clear();
                if !told.is_empty() {
                    tokio::spawn(resets::tell(told));
                }
            }
            Err(error) => error!(
                error = super::events::chain(error),
                "flows that must end cannot be ended yet"
            ),
        }
        result
    }

    /// Tells tunnel and relays what holds now, and ends connections that may no longer be.
    pub(super) fn tell_planes(&mut self) {
        if let Some(tunnel) = &self.workers.tunnel {
            tunnel.send(
                ToTunnel::Peers(peers(&self.config, &self.registry)),
                Vec::new(),
            );
        }
        self.tell_quic_members();
        self.connections.keep_subjects(&self.config);
        let (now, wall) = (self.clock.now(), self.clock.wall());
        for (id, connection) in self.connections.iter_mut() {
            let active = may_be(
                &self.config,
                &self.registry,
                &connection.device,
                connection.flow,
            );
            let same = |ends: &Ends<'_>| {
                *ends.device == connection.device
                    && *ends.service == connection.service
                    && ends.target == connection.target
            };
            let policy = ends(&self.config, connection.flow)
                .filter(|ends| active && same(ends))
                .and_then(|ends| ends.policy(&self.config, wall));
            let Some(relay) = self.workers.relay(connection.relay) else {
                continue;
            };
            match policy {
                None => {
                    connection.ended.get_or_insert(now);
                    let why = EndReason::NotAllowed;
                    relay.send(ToRelay::Close { id, why }, Vec::new());
                }
                Some(policy) if policy != connection.policy => {
                    connection.policy = policy.clone();
                    relay.send(
                        ToRelay::Update {
                            id,
                            policy: Box::new(policy),
                        },
                        Vec::new(),
                    );
                }
                Some(_) => {}
            }
        }
    }

    /// Changes how a device stands, remembers it, and ends its flows if it lost something.
    pub(super) fn change_standing(
        &mut self,
        device: &DeviceName,
        after: Standing,
        why: &str,
        by: u32,
    ) -> bool {
        if after != Standing::Active {
            self.shut_out(device);
        }
        let mut written = true;
        let before = self.registry.standing(device);
        let change = self.decision(device, before, after, why, by);
        match self.registry.set(change.clone()) {
            Ok(()) => {}
            Err(error) if after == Standing::Active => {
                error!(%device, %error, "its standing cannot be remembered");
                return false;
            }
            // It holds as long as we live, and is written with the next one.
            Err(error) => {
                error!(%device, %error, "its standing cannot be remembered beyond a restart");
                written = false;
                self.registry.hold(change);
            }
        }
        self.pay_revocations();
        self.save_changes();
        let (before, after) = (before.as_str().to_owned(), after.as_str().to_owned());
        self.record(Event::DeviceStanding {
            device: device.clone(),
            before,
            after,
            by,
            why: why.to_owned(),
        });
        let config = self.records.merge(&self.files, &mut self.registry);
        match self.enforce(config) {
            Ok(_) => written && self.uncut.is_empty(),
            Err(error) => {
                self.records.is_behind(self.clock.now());
                // The quarantine set stands before the old table; the other planes need not wait for a new one.
                self.tell_planes();
                error!(%device, error = super::events::chain(&error), "its standing is not fully in force");
                false
            }
        }
    }

    /// The short way, before the whole policy is made anew: the device and all behind it reach nothing.
    pub(super) fn shut_out(&mut self, device: &DeviceName) {
        let with = with_those_behind(&self.config, device);
        let addresses: Vec<IpAddr> = with
            .values()
            .flat_map(|entry| entry.addresses.iter().copied())
            .collect();
        if let Err(error) = nft::set_quarantine(&addresses, &[]) {
            warn!(%device, error = super::events::chain(&error), "the quarantine set cannot be changed");
        }
    }

    /// Rules with hours begin and end by themselves.
    pub(super) fn follow_hours(&mut self) {
        let wall = self.clock.wall();
        if rules_in_hours(&self.config, wall) == self.in_hours {
            return;
        }
        if let Err(error) = self.enforce(self.config.clone()) {
            error!(
                error = super::events::chain(&error),
                "the hours of a rule are not in force yet"
            );
            // A rule that ended must not go on in the relays because the kernel does not take the table.
            self.tell_planes();
        }
    }

    /// Reads the table back. A difference is an alarm, and the plan is loaded again.
    pub(super) fn verify_table(&mut self) {
        self.verified = self.clock.now();
        let Err(drift) = readback::verify(&self.plan) else {
            self.drift = None;
            return;
        };
        let what = drift.to_string();
        error!(what, "the table is not as planned and is loaded again");
        self.record(Event::Drift { what: what.clone() });
        self.drift = load(&self.plan)
            .err()
            .map(|error| format!("{what}; {}", super::events::chain(&error)));
    }
}

//! Puts a policy into force on every plane: table, connection tracking, tunnel, relays.
//!
//! The order is fixed: first the table, then what lives by the old one is cut.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use lazaret_config::{Config, Identity};
use tracing::{error, warn};

use super::connections::standing;
use super::supervisor::Supervisor;
use crate::audit::event::Event;
use crate::flow::Standing;
use crate::flow::{Clock, DeviceName};
use crate::forward::message::ToRelay;
use crate::inspect::{EndReason, policy};
use crate::registry::Registry;
use crate::segment::plan::{Facts, Listeners, Plan};
use crate::segment::readback::Drift;
use crate::segment::{SegmentError, changes, conntrack, nft, readback};
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
            preshared_key_file,
            keepalive,
            endpoint,
        } = &device.identity
        else {
            continue;
        };
        if registry.standing(name) == Standing::Revoked {
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
        peers.push(Peer {
            device: name.clone(),
            public_key: *public_key,
            preshared_key,
            allowed,
            endpoint: *endpoint,
            keepalive: *keepalive,
        });
    }
    peers
}

impl Supervisor {
    /// Puts `config` with today's standings into force. On any error the old policy stays.
    //= C4
    //= C9
    pub(super) fn enforce(&mut self, config: Config) -> Result<Vec<String>, EnforceError> {
        let mut facts = facts(
            &config,
            &self.registry,
            self.ground.listeners,
            self.clock.wall(),
        );
        facts.held = changes::moved(&self.plan, &Plan::new(&config, &facts));
        let first = Plan::new(&config, &facts);
        load(&first)?;
        conntrack::cut(&changes::cuts(&self.plan, &first))?;
        let described = changes::describe(&self.plan, &first);
        self.plan = first;
        self.config = config;
        self.tell_planes();
        if !facts.held.is_empty() {
            // The old owners are gone everywhere: now the addresses may have new ones.
            facts.held.clear();
            let second = Plan::new(&self.config, &facts);
            load(&second)?;
            self.plan = second;
        }
        self.drift = None;
        self.verified = self.clock.now();
        Ok(described)
    }

    /// Tells tunnel and relays what holds now, and ends connections that may no longer be.
    fn tell_planes(&mut self) {
        if let Some(tunnel) = &self.workers.tunnel {
            tunnel.send(
                ToTunnel::Peers(peers(&self.config, &self.registry)),
                Vec::new(),
            );
        }
        let wall = self.clock.wall();
        for (id, connection) in self.connections.iter_mut() {
            let allowed = standing(&self.config, &self.registry, &connection.device)
                == Standing::Active
                && self.config.device_at(connection.source) == Some(&connection.device)
                && self
                    .config
                    .services
                    .get(&connection.service)
                    .is_some_and(|service| service.address == connection.destination.ip());
            let policy =
                policy::compile(&self.config, &connection.device, &connection.service, wall)
                    .filter(|_| allowed);
            let Some(relay) = self.workers.relay(connection.relay) else {
                continue;
            };
            match policy {
                None => drop(relay.send(
                    ToRelay::Close {
                        id,
                        why: EndReason::NotAllowed,
                    },
                    Vec::new(),
                )),
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
        let before = match self.registry.set(device, after, why, self.clock.wall()) {
            Ok(before) => before,
            Err(error) => {
                error!(%device, %error, "its standing cannot be remembered");
                return false;
            }
        };
        let (before, after) = (before.as_str().to_owned(), after.as_str().to_owned());
        self.record(Event::DeviceStanding {
            device: device.clone(),
            before,
            after,
            by,
            why: why.to_owned(),
        });
        match self.enforce(self.config.clone()) {
            Ok(_) => true,
            Err(error) => {
                error!(%device, error = super::events::chain(&error), "its standing is not fully in force");
                false
            }
        }
    }

    /// The short way, before the whole policy is made anew: the device and all behind it reach nothing.
    fn shut_out(&mut self, device: &DeviceName) {
        let behind =
            |entry: &lazaret_config::Device| entry.identity == Identity::Via(device.clone());
        let mut addresses: Vec<IpAddr> = Vec::new();
        for (name, entry) in &self.config.devices {
            if name == device || behind(entry) {
                addresses.extend(&entry.addresses);
            }
        }
        if let Err(error) = nft::set_quarantine(&addresses, &[]) {
            warn!(%device, error = super::events::chain(&error), "the quarantine set cannot be changed");
        }
    }

    /// Rules with hours begin and end by themselves.
    pub(super) fn follow_hours(&mut self) {
        let wall = self.clock.wall();
        let now: BTreeSet<_> = self
            .config
            .rules
            .iter()
            .filter(|(_, rule)| rule.holds_at(wall))
            .map(|(name, _)| name.clone())
            .collect();
        if now != self.in_hours {
            self.in_hours = now;
            if let Err(error) = self.enforce(self.config.clone()) {
                error!(
                    error = super::events::chain(&error),
                    "the hours of a rule are not in force"
                );
            }
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

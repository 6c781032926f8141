//! Intercepted connections: who is it, what does it want, may it.
//!
//! In: an accepted socket. Out: a connection that the relay may work on, or why not.
//! The device is the source address, the service is the original destination; where a service dials a device it is the
//! other way round. Nothing else is believed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lazaret_config::{Config, ServiceProtocol};

use super::deal::Deal;
use super::worker::Kind;
use crate::control::message::{SessionStatus, Standing};
use crate::flow::{ConnectionId, DeviceName, Flow, Inspected, ServiceName, Side};
use crate::inspect::ConnectionPolicy;
use crate::inspect::policy::{compile, compile_inward, connection_limit, inward_limit};
use crate::registry::Registry;

/// A connection in the hands of a relay.
pub(super) struct Connection {
    pub(super) device: DeviceName,
    pub(super) service: ServiceName,
    /// From where it came, and what was dialled.
    pub(super) flow: Flow,
    /// Where it goes on.
    pub(super) target: SocketAddr,
    pub(super) relay: Kind,
    pub(super) policy: ConnectionPolicy,
    pub(super) opened: Instant,
    pub(super) forwarded: u64,
    pub(super) refused: u64,
    /// The spool that the relay has for it, to see how much is in use.
    pub(super) spool: Option<OwnedFd>,
    /// A connect is under way: a relay gets one at a time.
    pub(super) connecting: bool,
    /// When the relay was told to end it: it gets nothing more for it.
    pub(super) ended: Option<Instant>,
}

/// All connections in the hands of relays.
#[derive(Default)]
pub(super) struct Connections {
    live: BTreeMap<ConnectionId, Connection>,
    last: u64,
    subjects: BTreeMap<DeviceName, u64>,
    exchanges: BTreeMap<(DeviceName, ServiceName, SocketAddr), u64>,
    last_subject: u64,
    deal: Deal,
}

/// Why an intercepted connection is closed at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unwelcome {
    #[error("the gateway takes nothing new before it restarts")]
    Draining,
    #[error("the connection was not steered here")]
    NotSteered,
    #[error("the source is not the address of a device")]
    UnknownSource,
    #[error("the device is {0}")]
    Standing(&'static str),
    #[error("the destination is not an inspected service")]
    UnknownService,
    #[error("no rule allows it now")]
    NoRule,
    #[error("the device has {0} connections already")]
    TooManyOfDevice(usize),
    #[error("services have {0} connections to the device already")]
    TooManyToDevice(usize),
    #[error("services have {0} connections to devices already")]
    TooManyToDevices(usize),
    #[error("the gateway has {0} connections already")]
    TooMany(usize),
}

/// Where an intercepted connection came from and wanted to go.
///
/// # Errors
/// [`Unwelcome::NotSteered`] when there is no original destination that differs from our own listener.
pub(super) fn steered(stream: &TcpStream) -> Result<Flow, Unwelcome> {
    let local = stream.local_addr().map_err(|_| Unwelcome::NotSteered)?;
    let peer = stream.peer_addr().map_err(|_| Unwelcome::NotSteered)?;
    let original = if peer.is_ipv4() {
        rustix::net::sockopt::ip_original_dst(stream).map(SocketAddr::from)
    } else {
        rustix::net::sockopt::ipv6_original_dst(stream).map(SocketAddr::from)
    };
    match original {
        Ok(destination) if destination != local => Ok(Flow {
            source: peer.ip(),
            destination: SocketAddr::new(destination.ip(), destination.port()),
        }),
        Ok(_) | Err(_) => Err(Unwelcome::NotSteered),
    }
}

impl Connections {
    /// Takes a connection in, if it may exist, for one of the relays that `live`.
    ///
    /// # Errors
    /// Why it may not.
    pub(super) fn admit(
        &mut self,
        flow: Flow,
        config: &Config,
        registry: &Registry,
        live: &[Kind],
        (now, wall): (Instant, Timestamp),
    ) -> Result<ConnectionId, Unwelcome> {
        let device = device_of(config, flow).ok_or(Unwelcome::UnknownSource)?;
        match standing(config, registry, device) {
            Standing::Active => {}
            Standing::Quarantined if is_left(config, flow) => {}
            standing @ (Standing::Quarantined
            | Standing::Revoked
            | Standing::Pending
            | Standing::Expired) => return Err(Unwelcome::Standing(standing.as_str())),
        }
        let ends = ends(config, flow).ok_or(Unwelcome::UnknownService)?;
        let policy = ends.policy(config, wall).ok_or(Unwelcome::NoRule)?;
        if reached(self.live.len(), config.limits.connections) {
            return Err(Unwelcome::TooMany(self.live.len()));
        }
        self.room(&ends, config)?;
        self.last = self.last.saturating_add(1);
        let id = ConnectionId(self.last);
        let all = &self.live;
        let busy = |relay| all.values().filter(|one| one.relay == relay).count();
        let relay = (self.deal).relay(device, ends.protocol, live, busy);
        let connection = Connection {
            device: device.clone(),
            service: ends.service.clone(),
            flow,
            target: ends.target,
            relay,
            policy,
            opened: now,
            forwarded: 0,
            refused: 0,
            spool: None,
            connecting: false,
            ended: None,
        };
        self.live.insert(id, connection);
        Ok(id)
    }

    /// Whether the end that opens it may have one more. What one end opens uses up nothing of the other's.
    //= C7
    fn room(&self, ends: &Ends<'_>, config: &Config) -> Result<(), Unwelcome> {
        let limits = &config.limits;
        let (of_all, of_device, of_service) = self.count(ends);
        let (per_device, too_many): (u64, fn(usize) -> Unwelcome) = match ends.opener {
            Side::Device => (limits.connections_per_device, Unwelcome::TooManyOfDevice),
            Side::Hospital if reached(of_all, limits.connections_to_devices) => {
                return Err(Unwelcome::TooManyToDevices(of_all));
            }
            Side::Hospital => (limits.connections_to_device, Unwelcome::TooManyToDevice),
        };
        if reached(of_device, per_device) {
            return Err(too_many(of_device));
        }
        if of_service >= ends.limit(config) {
            return Err(too_many(of_service));
        }
        Ok(())
    }

    /// The number under which a relay knows the device: equal for equal devices, and nothing more.
    pub(super) fn subject(&mut self, device: &DeviceName) -> u64 {
        if let Some(known) = self.subjects.get(device) {
            return *known;
        }
        self.last_subject = self.last_subject.saturating_add(1);
        self.subjects.insert(device.clone(), self.last_subject);
        self.last_subject
    }

    /// The number under which a relay knows what a device and a service say to each other.
    ///
    /// What one service took says nothing about another.
    //= C6
    pub(super) fn exchange(
        &mut self,
        device: &DeviceName,
        service: &ServiceName,
        destination: SocketAddr,
    ) -> u64 {
        let pair = (device.clone(), service.clone(), destination);
        if let Some(known) = self.exchanges.get(&pair) {
            return *known;
        }
        self.last_subject = self.last_subject.saturating_add(1);
        self.exchanges.insert(pair, self.last_subject);
        self.last_subject
    }

    /// Forgets the numbers of devices and services that are no longer configured. None is given twice.
    //= C7
    pub(super) fn keep_subjects(&mut self, config: &Config) {
        // What one destination took says nothing about another in its place.
        self.exchanges.retain(|(device, service, destination), _| {
            address_of(config, service) == Some(*destination) && config.devices.contains_key(device)
        });
        self.subjects
            .retain(|device, _| config.devices.contains_key(device));
        self.deal.keep(|device| config.devices.contains_key(device));
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.live.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.live.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        self.live.remove(&id)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (ConnectionId, &mut Connection)> {
        self.live
            .iter_mut()
            .map(|(id, connection)| (*id, connection))
    }

    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    /// Connections that the same end opened: of all devices, of this one, and of those with this service.
    fn count(&self, ends: &Ends<'_>) -> (usize, usize, usize) {
        let all = self.live.values();
        let same = all.filter(|connection| connection.policy.opener == ends.opener);
        same.fold((0, 0, 0), |(all, device, service), connection| {
            let is_device = connection.device == *ends.device;
            let is_service = is_device && connection.service == *ends.service;
            (
                all + 1,
                device + usize::from(is_device),
                service + usize::from(is_service),
            )
        })
    }

    /// How many connections each device has.
    pub(super) fn by_device(&self) -> BTreeMap<&DeviceName, usize> {
        let mut counts = BTreeMap::new();
        for connection in self.live.values() {
            *counts.entry(&connection.device).or_default() += 1;
        }
        counts
    }

    /// Relays that were told long ago to end a connection and still hold it: they hang, or do not obey.
    //= C9
    pub(super) fn deaf(&self, now: Instant) -> BTreeSet<Kind> {
        let overdue = |ended: Instant| now.saturating_duration_since(ended) >= DEAF;
        let all = self.live.values();
        all.filter(|connection| connection.ended.is_some_and(overdue))
            .map(|connection| connection.relay)
            .collect()
    }

    /// Bytes in the spools of all connections.
    pub(super) fn spooled(&self) -> u64 {
        let spools = self
            .live
            .values()
            .filter_map(|connection| connection.spool.as_ref());
        let sizes = spools.filter_map(|spool| rustix::fs::fstat(spool).ok());
        sizes
            .filter_map(|stat| u64::try_from(stat.st_size).ok())
            .sum()
    }

    /// Forgets what a dead relay worked on.
    pub(super) fn take_of(&mut self, relay: Kind) -> Vec<(ConnectionId, Connection)> {
        self.deal.forget(relay);
        self.live
            .extract_if(.., |_, connection| connection.relay == relay)
            .collect()
    }

    /// For the operator.
    pub(super) fn list(&self, now: Instant) -> Vec<SessionStatus> {
        let status = |(id, connection): (&ConnectionId, &Connection)| SessionStatus {
            connection: *id,
            device: connection.device.clone(),
            service: connection.service.clone(),
            protocol: connection.relay.protocol().unwrap_or(Inspected::Hl7),
            seconds: now.saturating_duration_since(connection.opened).as_secs(),
            forwarded: connection.forwarded,
            refused: connection.refused,
        };
        self.live.iter().map(status).collect()
    }
}

/// How a device stands. A device behind a router stands no better than its router.
pub(super) fn standing(config: &Config, registry: &Registry, device: &DeviceName) -> Standing {
    let own = registry.standing(device);
    match config.devices.get(device).map(|entry| &entry.identity) {
        Some(lazaret_config::Identity::Via(router)) => own.max(registry.standing(router)),
        Some(
            lazaret_config::Identity::WireGuard { .. } | lazaret_config::Identity::Certificate,
        )
        | None => own,
    }
}

/// Whether a connection of a device in quarantine is of what is left to it: it dialled, and its rules say what.
fn is_left(config: &Config, flow: Flow) -> bool {
    let ends = ends(config, flow).filter(|ends| ends.opener == Side::Device);
    ends.is_some_and(|ends| {
        let rules = || config.rules_for(ends.device, ends.service);
        config.is_contained(ends.device) && !rules().is_empty()
    })
}

/// Whether a connection may be, as far as the standing of its device goes.
pub(super) fn may_be(
    config: &Config,
    registry: &Registry,
    device: &DeviceName,
    flow: Flow,
) -> bool {
    match standing(config, registry, device) {
        Standing::Active => true,
        Standing::Quarantined => is_left(config, flow),
        Standing::Pending | Standing::Expired | Standing::Revoked => false,
    }
}

/// Whether a service has this address.
pub(super) fn is_service(config: &Config, address: std::net::IpAddr) -> bool {
    let mut services = config.services.values();
    services.any(|service| service.address == address)
}

/// Both ends of an intercepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends<'c> {
    pub(super) device: &'c DeviceName,
    pub(super) service: &'c ServiceName,
    pub(super) protocol: Inspected,
    /// Who dialled.
    pub(super) opener: Side,
    /// Where it goes on.
    pub(super) target: SocketAddr,
}

/// The device of an intercepted connection: who dialled, or else who was dialled by a service.
///
/// No service has an address of a device, so the source says which of them it is.
//= C5
pub(super) fn device_of(config: &Config, flow: Flow) -> Option<&DeviceName> {
    let dialled = || config.dialled(flow.source, flow.destination);
    let device = config.device_at(flow.source);
    device.or_else(|| dialled().map(|(_, device, _)| device))
}

/// Both ends by the addresses alone.
pub(super) fn ends(config: &Config, flow: Flow) -> Option<Ends<'_>> {
    if let Some(device) = config.device_at(flow.source) {
        let (service, protocol) = service_at(config, flow.destination)?;
        return Some(Ends {
            device,
            service,
            protocol,
            opener: Side::Device,
            target: flow.destination,
        });
    }
    let (service, device, entrance) = config.dialled(flow.source, flow.destination)?;
    Some(Ends {
        device,
        service,
        protocol: Inspected::Dicom,
        opener: Side::Hospital,
        target: entrance.device,
    })
}

impl Ends<'_> {
    /// What holds between them now.
    pub(super) fn policy(&self, config: &Config, wall: Timestamp) -> Option<ConnectionPolicy> {
        match self.opener {
            Side::Device => compile(config, self.device, self.service, wall),
            Side::Hospital => compile_inward(config, self.device, self.service, wall),
        }
    }

    fn limit(&self, config: &Config) -> usize {
        match self.opener {
            Side::Device => connection_limit(config, self.device, self.service),
            Side::Hospital => inward_limit(config, self.device, self.service),
        }
    }
}

fn reached(count: usize, limit: u64) -> bool {
    count >= usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Where a service is.
pub(super) fn address_of(config: &Config, service: &ServiceName) -> Option<SocketAddr> {
    let service = config.services.get(service)?;
    match service.protocol {
        ServiceProtocol::Hl7 { port, .. } | ServiceProtocol::Dicom { port, .. } => {
            Some(SocketAddr::new(service.address, port))
        }
        ServiceProtocol::Plain { .. } => None,
    }
}

/// The inspected service at an address and port.
pub(super) fn service_at(
    config: &Config,
    destination: SocketAddr,
) -> Option<(&ServiceName, Inspected)> {
    config.services.iter().find_map(|(name, service)| {
        let (port, protocol) = match &service.protocol {
            ServiceProtocol::Hl7 { port, .. } => (*port, Inspected::Hl7),
            ServiceProtocol::Dicom { port, .. } => (*port, Inspected::Dicom),
            ServiceProtocol::Plain { .. } => return None,
        };
        (SocketAddr::new(service.address, port) == destination).then_some((name, protocol))
    })
}

/// A relay that works ends a connection within three seconds, whatever the two ends do.
const DEAF: Duration = Duration::from_secs(5);

#[cfg(test)]
#[path = "connections_tests.rs"]
#[allow(clippy::disallowed_methods, reason = "tests make up their time")]
pub(super) mod tests;

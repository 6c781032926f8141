//! Intercepted connections: who is it, what does it want, may it.
//!
//! In: an accepted socket. Out: a connection that the relay may work on, or why not.
//! The device is the source address, the service is the original destination; nothing else is believed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Instant;

use jiff::Timestamp;
use lazaret_config::{Config, ServiceProtocol};

use super::worker::Kind;
use crate::control::message::{SessionStatus, Standing};
use crate::flow::{ConnectionId, DeviceName, Flow, Inspected, ServiceName};
use crate::inspect::ConnectionPolicy;
use crate::inspect::policy::{compile, connection_limit};
use crate::registry::Registry;

/// A connection in the hands of a relay.
pub(super) struct Connection {
    pub(super) device: DeviceName,
    pub(super) service: ServiceName,
    pub(super) destination: SocketAddr,
    /// The device's own address, which the upstream leg carries in `routed` mode.
    pub(super) source: IpAddr,
    pub(super) relay: Kind,
    pub(super) policy: ConnectionPolicy,
    pub(super) opened: Instant,
    pub(super) forwarded: u64,
    pub(super) refused: u64,
}

/// All connections in the hands of relays.
#[derive(Default)]
pub(super) struct Connections {
    live: BTreeMap<ConnectionId, Connection>,
    last: u64,
    subjects: BTreeMap<DeviceName, u64>,
}

/// Why an intercepted connection is closed at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unwelcome {
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
    /// Takes a connection in, if it may exist.
    ///
    /// # Errors
    /// Why it may not.
    pub(super) fn admit(
        &mut self,
        flow: Flow,
        config: &Config,
        registry: &Registry,
        now: Instant,
        wall: Timestamp,
    ) -> Result<ConnectionId, Unwelcome> {
        let device = config
            .device_at(flow.source)
            .ok_or(Unwelcome::UnknownSource)?;
        match standing(config, registry, device) {
            Standing::Active => {}
            Standing::Quarantined => return Err(Unwelcome::Standing("quarantined")),
            Standing::Revoked => return Err(Unwelcome::Standing("revoked")),
        }
        let (service, protocol) =
            service_at(config, flow.destination).ok_or(Unwelcome::UnknownService)?;
        let policy = compile(config, device, service, wall).ok_or(Unwelcome::NoRule)?;
        let total = usize::try_from(config.limits.connections).unwrap_or(usize::MAX);
        if self.live.len() >= total {
            return Err(Unwelcome::TooMany(self.live.len()));
        }
        let (of_device, of_service) = self.count(device, service);
        let per_device =
            usize::try_from(config.limits.connections_per_device).unwrap_or(usize::MAX);
        if of_device >= per_device {
            return Err(Unwelcome::TooManyOfDevice(of_device));
        }
        if of_service >= connection_limit(config, device, service) {
            return Err(Unwelcome::TooManyOfDevice(of_service));
        }
        self.last = self.last.saturating_add(1);
        let id = ConnectionId(self.last);
        let relay = match protocol {
            Inspected::Hl7 => Kind::RelayHl7,
            Inspected::Dicom => Kind::RelayDicom,
        };
        let connection = Connection {
            device: device.clone(),
            service: service.clone(),
            destination: flow.destination,
            source: flow.source,
            relay,
            policy,
            opened: now,
            forwarded: 0,
            refused: 0,
        };
        self.live.insert(id, connection);
        Ok(id)
    }

    /// The number under which a relay knows the device: equal for equal devices, and nothing more.
    pub(super) fn subject(&mut self, device: &DeviceName) -> u64 {
        let next = u64::try_from(self.subjects.len()).unwrap_or(u64::MAX);
        *self.subjects.entry(device.clone()).or_insert(next)
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

    /// Connections of a device, and those of them to a service.
    fn count(&self, device: &DeviceName, service: &ServiceName) -> (usize, usize) {
        let of_device = self
            .live
            .values()
            .filter(|connection| connection.device == *device);
        of_device.fold((0, 0), |(all, same), connection| {
            (all + 1, same + usize::from(connection.service == *service))
        })
    }

    /// Connections of a device.
    pub(super) fn of_device(&self, device: &DeviceName) -> usize {
        self.live
            .values()
            .filter(|connection| connection.device == *device)
            .count()
    }

    /// Forgets what a dead relay worked on.
    pub(super) fn take_of(&mut self, relay: Kind) -> Vec<(ConnectionId, Connection)> {
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
            protocol: if connection.relay == Kind::RelayDicom {
                Inspected::Dicom
            } else {
                Inspected::Hl7
            },
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
        Some(lazaret_config::Identity::WireGuard { .. }) | None => own,
    }
}

fn service_at(config: &Config, destination: SocketAddr) -> Option<(&ServiceName, Inspected)> {
    config.services.iter().find_map(|(name, service)| {
        let (port, protocol) = match &service.protocol {
            ServiceProtocol::Hl7 { port, .. } => (*port, Inspected::Hl7),
            ServiceProtocol::Dicom { port, .. } => (*port, Inspected::Dicom),
            ServiceProtocol::Plain { .. } => return None,
        };
        (SocketAddr::new(service.address, port) == destination).then_some((name, protocol))
    })
}

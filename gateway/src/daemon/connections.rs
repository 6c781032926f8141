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
        let device = device_of(config, flow).ok_or(Unwelcome::UnknownSource)?;
        match standing(config, registry, device) {
            Standing::Active => {}
            Standing::Quarantined => return Err(Unwelcome::Standing("quarantined")),
            Standing::Revoked => return Err(Unwelcome::Standing("revoked")),
        }
        let ends = ends(config, flow).ok_or(Unwelcome::UnknownService)?;
        let policy = ends.policy(config, wall).ok_or(Unwelcome::NoRule)?;
        let total = usize::try_from(config.limits.connections).unwrap_or(usize::MAX);
        if self.live.len() >= total {
            return Err(Unwelcome::TooMany(self.live.len()));
        }
        let (of_device, of_service) = self.count(&ends);
        let per_device =
            usize::try_from(config.limits.connections_per_device).unwrap_or(usize::MAX);
        if of_device >= per_device {
            return Err(Unwelcome::TooManyOfDevice(of_device));
        }
        if of_service >= ends.limit(config) {
            return Err(Unwelcome::TooManyOfDevice(of_service));
        }
        self.last = self.last.saturating_add(1);
        let id = ConnectionId(self.last);
        let relay = match ends.protocol {
            Inspected::Hl7 => Kind::RelayHl7,
            Inspected::Dicom => Kind::RelayDicom,
        };
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

    /// Connections of a device, and those of them with a service that the same end opened.
    fn count(&self, ends: &Ends<'_>) -> (usize, usize) {
        let of_device = self
            .live
            .values()
            .filter(|connection| connection.device == *ends.device);
        of_device.fold((0, 0), |(all, same), connection| {
            let is_same =
                connection.service == *ends.service && connection.policy.opener == ends.opener;
            (all + 1, same + usize::from(is_same))
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
#[allow(clippy::disallowed_methods, reason = "tests make up their time")]
pub(super) mod tests {
    use lazaret_config::Source;

    use super::*;

    const TEXT: &str = r#"
schema = 1
[gateway]
name = "test"
[tunnel.wireguard]
listen = "[::]:51820"
interface = "lz0"
private_key_file = "wireguard.key"
networks = ["10.64.0.0/16"]
[hospital]
interface = "lan0"
mode = "snat"
[limits]
connections = 4
connections_per_device = 3
[service.his]
address = "10.20.2.10:2575"
protocol = "hl7"
[service.console]
address = "10.20.0.5"
ports = ["tcp/3389"]
[device.ecg-1]
wireguard = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
addresses = ["10.64.0.1"]
roles = ["ecg"]
hl7_sender = "ECG^CARDIO"
[device.ecg-2]
wireguard = "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
addresses = ["10.64.0.2"]
roles = ["ecg"]
hl7_sender = "ECG^CARDIO"
[device.ws-1]
wireguard = "AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
addresses = ["10.64.0.3"]
roles = ["desk"]
[rule.results]
from = ["role:ecg"]
to = ["his"]
hl7 = { send = ["ORU^R01"] }
limit = { connections = 2 }
[rule.consoles]
from = ["role:desk"]
to = ["console"]
"#;

    pub(in crate::daemon) fn config() -> Config {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("wireguard.key");
        std::fs::write(&key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEA=\n").unwrap();
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&key, owner_only).unwrap();
        let source = Source {
            path: "lazaret.toml".into(),
            text: TEXT.to_owned(),
        };
        Config::from_sources(directory.path(), &[source]).unwrap()
    }

    pub(in crate::daemon) struct World {
        config: Config,
        registry: Registry,
        pub(in crate::daemon) connections: Connections,
    }

    impl World {
        pub(in crate::daemon) fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            Self {
                config: config(),
                registry: Registry::open(directory.path()).unwrap(),
                connections: Connections::default(),
            }
        }

        pub(in crate::daemon) fn admit(
            &mut self,
            from: &str,
            to: &str,
        ) -> Result<ConnectionId, Unwelcome> {
            let flow = Flow {
                source: from.parse().unwrap(),
                destination: to.parse().unwrap(),
            };
            let wall = Timestamp::UNIX_EPOCH;
            let now = Instant::now();
            self.connections
                .admit(flow, &self.config, &self.registry, now, wall)
        }

        fn stand(&mut self, device: &str, standing: Standing) {
            let device = device.parse().unwrap();
            self.registry
                .hold(&device, standing, "", Timestamp::UNIX_EPOCH);
        }
    }

    pub(in crate::daemon) const HIS: &str = "10.20.2.10:2575";

    //= C3
    //= C5
    #[test]
    fn only_a_device_with_a_rule_for_an_inspected_service_is_let_in() {
        let mut world = World::new();
        let id = world.admit("10.64.0.1", HIS).unwrap();
        let connection = world.connections.get(id).unwrap();
        assert_eq!(connection.device.to_string(), "ecg-1");
        assert_eq!(connection.relay, Kind::RelayHl7);
        for (from, to, why) in [
            ("10.64.0.9", HIS, Unwelcome::UnknownSource),
            ("10.64.0.1", "10.20.2.10:2576", Unwelcome::UnknownService),
            ("10.64.0.3", "10.20.0.5:3389", Unwelcome::UnknownService),
            ("10.64.0.3", HIS, Unwelcome::NoRule),
        ] {
            assert_eq!(world.admit(from, to), Err(why));
        }
        assert_eq!(world.connections.len(), 1);
    }

    #[test]
    fn who_was_shut_out_is_let_in_again_when_released() {
        let mut world = World::new();
        for standing in [Standing::Quarantined, Standing::Revoked] {
            world.stand("ecg-1", standing);
            let refused = Unwelcome::Standing(standing.as_str());
            assert_eq!(world.admit("10.64.0.1", HIS), Err(refused));
            assert!(world.admit("10.64.0.2", HIS).is_ok(), "others may");
            world.stand("ecg-1", Standing::Active);
            let id = world.admit("10.64.0.1", HIS).unwrap();
            world.connections.remove(id);
            world.connections.take_of(Kind::RelayHl7);
        }
    }

    //= C7
    #[test]
    fn bounds_refuse_one_more_and_take_the_next_when_one_is_gone() {
        let mut world = World::new();
        let first = world.admit("10.64.0.1", HIS).unwrap();
        world.admit("10.64.0.1", HIS).unwrap();
        // The rule's own bound is stricter than that of a device.
        let full = Err(Unwelcome::TooManyOfDevice(2));
        assert_eq!(world.admit("10.64.0.1", HIS), full);
        world.admit("10.64.0.2", HIS).unwrap();
        world.admit("10.64.0.2", HIS).unwrap();
        world.connections.remove(first);
        let again = world.admit("10.64.0.1", HIS).unwrap();
        assert!(again > first, "numbers are not used again");
        world.config.limits.connections = 2;
        world.connections.remove(again);
        assert_eq!(
            world.admit("10.64.0.1", HIS),
            Err(Unwelcome::TooMany(3)),
            "the whole gateway's bound comes first"
        );
    }

    //= C9
    #[test]
    fn a_relay_that_does_not_end_a_connection_is_found() {
        let mut world = World::new();
        let id = world.admit("10.64.0.1", HIS).unwrap();
        world.admit("10.64.0.2", HIS).unwrap();
        let now = Instant::now();
        assert!(world.connections.deaf(now + DEAF).is_empty());
        world.connections.get_mut(id).unwrap().ended = Some(now);
        assert!(world.connections.deaf(now + DEAF / 2).is_empty());
        let deaf = world.connections.deaf(now + DEAF);
        assert_eq!(deaf.into_iter().collect::<Vec<_>>(), [Kind::RelayHl7]);
        world.connections.remove(id);
        assert!(world.connections.deaf(now + DEAF).is_empty());
    }

    #[test]
    fn subjects_are_never_confused() {
        let mut world = World::new();
        let name = |text: &str| -> DeviceName { text.parse().unwrap() };
        let one = world.connections.subject(&name("ecg-1"));
        let two = world.connections.subject(&name("ecg-2"));
        assert_ne!(one, two);
        assert_eq!(world.connections.subject(&name("ecg-1")), one);
        let service = |text: &str| -> ServiceName { text.parse().unwrap() };
        let at: SocketAddr = "10.20.1.10:104".parse().unwrap();
        let moved: SocketAddr = "10.20.1.11:104".parse().unwrap();
        let there = world
            .connections
            .exchange(&name("ecg-2"), &service("pacs"), at);
        for other in [(name("ecg-1"), "pacs"), (name("ecg-2"), "his")] {
            let elsewhere = world.connections.exchange(&other.0, &service(other.1), at);
            assert_ne!(elsewhere, there);
        }
        let elsewhere = world
            .connections
            .exchange(&name("ecg-2"), &service("pacs"), moved);
        assert_ne!(elsewhere, there, "another destination of the same name");
        assert_eq!(
            world
                .connections
                .exchange(&name("ecg-2"), &service("pacs"), at),
            there
        );
        world.config.devices.remove(&name("ecg-1"));
        world.connections.keep_subjects(&world.config);
        assert_eq!(world.connections.subject(&name("ecg-2")), two);
        let again = world.connections.subject(&name("ecg-1"));
        assert!(again != one && again != two);
    }
}

//! From the configuration to the table: who may reach what, decided once for every device.
//!
//! In: a configuration and [`Facts`]. Out: a [`Plan`], which says the table and, for each device, what it may reach.
//! Pure. Knows nothing of netlink, of live connections or of what is said inside them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use lazaret_config::{
    Config, Device, Direction, HospitalMode, Identity, Party, Rule, Service, ServiceProtocol,
    Transport,
};

use crate::flow::Standing;
use crate::flow::{DeviceName, ServiceName};
use crate::segment::frame::Frame;
use crate::segment::table::{Family, Table};
use crate::segment::{chains, errands, tunnels};

/// What the table must be, and why. Two equal plans need no apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub(super) table: Table,
    pub(super) mode: HospitalMode,
    pub(super) devices: BTreeMap<DeviceName, Member>,
    pub(super) grants: BTreeMap<Party, Grants>,
    pub(super) inward: BTreeMap<Knock, Inward>,
}

/// What the configuration does not know.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The wall clock; rules hold at hours and until days.
    pub now: Timestamp,
    /// Devices that do not stand as [`Standing::Active`].
    pub standing: BTreeMap<DeviceName, Standing>,
    /// Where the supervisor accepts intercepted connections.
    pub listeners: Listeners,
    /// The port of the WireGuard tunnel.
    pub udp_port: u16,
    /// Addresses that no device has for now, because another had them until this apply (see `changes::moved`).
    pub held: BTreeSet<IpAddr>,
}

/// The supervisor's listeners on the gateway's tunnel addresses. Without one, services of that family are not reachable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listeners {
    /// For IPv4.
    pub v4: Option<SocketAddr>,
    /// For IPv6.
    pub v6: Option<SocketAddr>,
}

/// A device, as segmentation sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Those that are not held.
    pub addresses: Vec<IpAddr>,
    /// The worse of its own and its router's.
    pub standing: Standing,
    /// Its roles, and itself if a rule names it; in quarantine, what is left to it.
    pub parties: BTreeSet<Party>,
}

/// What a party may reach.
pub(super) type Grants = BTreeMap<Endpoint, Grant>;

/// Where a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Endpoint {
    pub transport: Transport,
    pub address: SocketAddr,
}

/// How it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub service: ServiceName,
    pub treatment: Treatment,
}

/// What becomes of a connection that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// Forwarded without a look inside.
    Forwarded,
    /// Handed to the listener, under the mark of the party.
    Steered { listener: SocketAddr, mark: u32 },
}

/// How a service dials a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Knock {
    /// The service's own address.
    pub from: IpAddr,
    /// What it dials.
    pub dialled: SocketAddr,
}

/// What becomes of a connection from a service to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inward {
    pub service: ServiceName,
    pub device: DeviceName,
    /// Where it is accepted in the device's place, under the mark of the service.
    pub listener: SocketAddr,
    pub mark: u32,
    /// Where the device accepts what was accepted for it.
    pub accepts: SocketAddr,
}

impl Member {
    /// Whether anything of it passes.
    pub(super) fn lives(&self) -> bool {
        match self.standing {
            Standing::Active => true,
            Standing::Quarantined => !self.parties.is_empty(),
            Standing::Pending | Standing::Expired | Standing::Revoked => false,
        }
    }
}

impl Plan {
    /// Decides.
    #[must_use]
    pub fn new(config: &Config, facts: &Facts) -> Self {
        let grants = grants(config, facts);
        let devices: BTreeMap<_, _> = config
            .devices
            .iter()
            .map(|(name, device)| {
                let standing = standing(name, device, config, facts);
                // Rules that are not those of a quarantine are none in it.
                let reaches = standing != Standing::Quarantined || config.is_contained(name);
                let member = Member {
                    addresses: device
                        .addresses
                        .iter()
                        .copied()
                        .filter(|address| !facts.held.contains(address))
                        .collect(),
                    standing,
                    parties: config
                        .parties(name, device)
                        .into_iter()
                        .filter(|party| reaches && grants.contains_key(party))
                        .collect(),
                };
                (name.clone(), member)
            })
            .collect();
        let inward = inward(config, facts, &devices);
        let frame = Frame {
            tunnels: tunnels::of(config, facts),
            gateway: config.tunnel_addresses().collect(),
            hospital: config.hospital.interface.clone(),
            mode: config.hospital.mode,
            errands: errands::of(&config.registry, config.appliance.as_ref()),
            flows_per_device: u32::try_from(config.limits.flows_per_device).unwrap_or(u32::MAX),
            enrol: config.enrol.listen,
        };
        Self {
            table: chains::build(&frame, &devices, &grants, &inward),
            mode: config.hospital.mode,
            devices,
            grants,
            inward,
        }
    }

    /// The table, in the syntax of nft as far as it goes.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }
}

impl Listeners {
    fn of(self, family: Family) -> Option<SocketAddr> {
        match family {
            Family::V4 => self.v4.filter(SocketAddr::is_ipv4),
            Family::V6 => self.v6.filter(SocketAddr::is_ipv6),
        }
    }
}

/// What every party that a rule in force names may reach.
fn grants(config: &Config, facts: &Facts) -> BTreeMap<Party, Grants> {
    let outward = |rule: &&Rule| rule.direction == Direction::FromDevices;
    let in_force = || {
        let rules = config.rules.values().filter(outward);
        rules.filter(|rule| rule.holds_at(facts.now))
    };
    let parties: BTreeSet<&Party> = in_force().flat_map(|rule| &rule.parties).collect();
    let marks = marks(
        parties
            .into_iter()
            .cloned()
            .map(|party| (party_name(&party), party)),
        MARK_BASE,
    );
    let mut grants: BTreeMap<Party, Grants> = BTreeMap::new();
    for rule in in_force() {
        for party in &rule.parties {
            let mark = marks.get(party).copied().unwrap_or(MARK_BASE);
            let of_party = grants.entry(party.clone()).or_default();
            for name in &rule.services {
                if let Some(service) = config.services.get(name) {
                    reach(of_party, name, service, facts.listeners, mark);
                }
            }
        }
    }
    grants
}

/// Adds a service to what a party may reach.
fn reach(grants: &mut Grants, name: &ServiceName, service: &Service, to: Listeners, mark: u32) {
    let mut add = |transport, port, treatment| {
        let endpoint = Endpoint {
            transport,
            address: SocketAddr::new(service.address, port),
        };
        grants.entry(endpoint).or_insert_with(|| Grant {
            service: name.clone(),
            treatment,
        });
    };
    match &service.protocol {
        ServiceProtocol::Hl7 { port, .. } | ServiceProtocol::Dicom { port, .. } => {
            //= C1: without a listener it is not reachable at all.
            if let Some(listener) = to.of(Family::of(service.address)) {
                add(Transport::Tcp, *port, Treatment::Steered { listener, mark });
            }
        }
        ServiceProtocol::Plain { ports } => {
            for port in ports {
                add(port.transport, port.number, Treatment::Forwarded);
            }
        }
    }
}

/// What services in the hospital may dial, by the rules in force.
/// What the device asked for is not known here: whether anything of it is outstanding is the relay's to see.
//= C3
fn inward(
    config: &Config,
    facts: &Facts,
    devices: &BTreeMap<DeviceName, Member>,
) -> BTreeMap<Knock, Inward> {
    let services = config.services.keys().cloned();
    let marks = marks(services.map(|name| (name.to_string(), name)), INWARD_BASE);
    let mut all = BTreeMap::new();
    for (device, member) in devices {
        let accepts = (config.devices.get(device)).is_some_and(|d| d.dicom_port.is_some());
        if member.standing != Standing::Active || !accepts {
            continue;
        }
        for service in config.callers(device) {
            let Some(from) = config.services.get(service).map(|service| service.address) else {
                continue;
            };
            let rules = config.inward(device, service);
            if !rules.iter().any(|one| one.rule.holds_at(facts.now)) {
                continue;
            }
            let Some(listener) = facts.listeners.of(Family::of(from)) else {
                continue;
            };
            for entrance in config.entrances(device, service) {
                if !member.addresses.contains(&entrance.device.ip()) {
                    continue;
                }
                let knock = Knock {
                    from,
                    dialled: entrance.dialled,
                };
                all.entry(knock).or_insert_with(|| Inward {
                    service: service.clone(),
                    device: device.clone(),
                    listener,
                    mark: marks.get(service).copied().unwrap_or(INWARD_BASE),
                    accepts: entrance.device,
                });
            }
        }
    }
    all
}

/// A mark for each name that does not change when others come and go,
/// so that a replacement of the table harms no live connection.
fn marks<T: Ord>(all: impl Iterator<Item = (String, T)>, base: u32) -> BTreeMap<T, u32> {
    let mut taken = BTreeSet::new();
    let mut marks = BTreeMap::new();
    for (name, of) in all {
        // FNV-1a, folded to 24 bits.
        let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let mut low = (hash >> 24) ^ (hash & 0x00ff_ffff);
        // Two names with one hash: the later one takes the next free mark.
        while !taken.insert(low) {
            low = (low + 1) & 0x00ff_ffff;
        }
        marks.insert(of, base | low);
    }
    marks
}

/// `role/NAME` or `device/NAME`: `/` cannot be part of a name, so nothing that is built from it can collide.
pub(super) fn party_name(party: &Party) -> String {
    match party {
        Party::Role(name) => format!("role/{name}"),
        Party::Device(name) => format!("device/{name}"),
    }
}

/// The worst standing of a device and the routers before it: what comes through a revoked router comes from nobody.
fn standing(name: &DeviceName, device: &Device, config: &Config, facts: &Facts) -> Standing {
    let of = |name| facts.standing.get(name).copied().unwrap_or_default();
    let mut worst = of(name);
    let mut at = device;
    for _ in 0..MAX_ROUTERS {
        let Identity::Via(router) = &at.identity else {
            return worst;
        };
        let Some(next) = config.devices.get(router) else {
            return Standing::Revoked;
        };
        worst = worst.max(of(router));
        at = next;
    }
    Standing::Revoked
}

/// Marks of steered connections begin with these bits.
pub(super) const MARK_BASE: u32 = 0x4c00_0000;
/// Which bits those are.
pub(super) const MARK_BITS: u32 = 0xff00_0000;
/// Marks of connections from services begin with these.
const INWARD_BASE: u32 = 0x4d00_0000;
/// Routers before routers; the configuration allows one.
const MAX_ROUTERS: usize = 4;

#[cfg(test)]
mod tests {
    use lazaret_config::Hours;

    use super::*;
    use crate::segment::fixture::{at, device, ip, plain, rule, small};

    fn facts(now: &str) -> Facts {
        Facts {
            now: now.parse().unwrap(),
            standing: BTreeMap::new(),
            listeners: Listeners {
                v4: Some(at("10.64.255.254:7000")),
                v6: Some(at("[fd64::ffff]:7000")),
            },
            udp_port: 51820,
            held: BTreeSet::new(),
        }
    }

    /// `mon-fri`, from and to, in Paris.
    fn weekdays(from: i8, to: i8) -> Hours {
        use lazaret_config::Day::{Fri, Mon, Thu, Tue, Wed};
        Hours {
            text: String::new(),
            days: BTreeSet::from([Mon, Tue, Wed, Thu, Fri]),
            from: jiff::civil::time(from, 0, 0, 0),
            to: jiff::civil::time(to, 0, 0, 0),
            zone: jiff::tz::TimeZone::get("Europe/Paris").unwrap(),
        }
    }

    /// A Tuesday, noon in Paris.
    const NOON: &str = "2026-11-24T11:00:00Z";

    fn set<'a>(plan: &'a Plan, name: &str) -> Option<&'a BTreeSet<IpAddr>> {
        let set = plan.table.sets.iter().find(|set| set.name == name)?;
        Some(&set.elements)
    }

    #[test]
    fn the_table_of_a_small_gateway_with_snat() {
        let plan = Plan::new(&small(HospitalMode::Snat), &facts(NOON));
        insta::assert_snapshot!(plan.table());
    }

    #[test]
    fn the_table_of_a_small_gateway_that_routes() {
        let mut config = small(HospitalMode::Routed);
        let mut facts = facts(NOON);
        facts
            .standing
            .insert("ecg-2".parse().unwrap(), Standing::Quarantined);
        facts
            .standing
            .insert("ws-1".parse().unwrap(), Standing::Revoked);
        plain(&mut config, "time", "10.20.0.1", &[(Transport::Udp, 123)]);
        rule(&mut config, "own", &["device:ecg-1"], &["time"]);
        insta::assert_snapshot!(Plan::new(&config, &facts).table());
    }

    #[test]
    fn the_table_by_which_services_dial_devices() {
        use crate::segment::fixture::archive;
        let plan = Plan::new(&archive(HospitalMode::Snat), &facts(NOON));
        insta::assert_snapshot!("dialled_with_snat", plan.table());
        let plan = Plan::new(&archive(HospitalMode::Routed), &facts(NOON));
        insta::assert_snapshot!("dialled_routed", plan.table());
    }

    //= C3
    #[test]
    fn nobody_dials_without_a_rule_in_force_for_an_active_device() {
        use crate::segment::fixture::archive;
        let config = archive(HospitalMode::Snat);
        let dialled = |config: &Config, facts: &Facts| {
            let plan = Plan::new(config, facts);
            let all = plan.inward.keys().map(|knock| knock.dialled.to_string());
            all.collect::<Vec<_>>().join(" ")
        };
        let all = "10.20.0.1:11207 10.20.0.1:11208 [fd20::1]:11207";
        assert_eq!(dialled(&config, &facts(NOON)), all);
        let mut quarantined = facts(NOON);
        (quarantined.standing).insert("us-1".parse().unwrap(), Standing::Quarantined);
        assert_eq!(dialled(&config, &quarantined), "10.20.0.1:11208");
        let mut closed = config.clone();
        for name in ["retrieves", "pushes"] {
            let rule = closed.rules.get_mut(&name.parse().unwrap()).unwrap();
            rule.until = Some(jiff::civil::date(2026, 11, 23));
        }
        assert_eq!(dialled(&closed, &facts(NOON)), "");
        let mut facts = facts(NOON);
        facts.listeners.v4 = None;
        assert_eq!(dialled(&config, &facts), "[fd20::1]:11207");
    }

    #[test]
    fn a_device_is_in_the_sets_of_its_standing_only() {
        let config = small(HospitalMode::Snat);
        let of = |standing| {
            let mut facts = facts(NOON);
            facts.standing.insert("ecg-1".parse().unwrap(), standing);
            let plan = Plan::new(&config, &facts);
            ["active/v4", "quarantine/v4", "role/ecg/v4"]
                .map(|name| set(&plan, name).is_some_and(|set| set.contains(&ip("10.64.0.1"))))
        };
        assert_eq!(of(Standing::Active), [true, false, true]);
        assert_eq!(of(Standing::Quarantined), [false, true, false]);
        assert_eq!(of(Standing::Revoked), [false, false, false]);
    }

    /// The addresses in the sets of the quarantine and of those that live, and whether the console is reached.
    fn in_quarantine(config: &Config) -> [bool; 4] {
        let mut facts = facts(NOON);
        (facts.standing).insert("ecg-1".parse().unwrap(), Standing::Quarantined);
        let plan = Plan::new(config, &facts);
        let sets = [
            "active/v4",
            "quarantine/v4",
            "role/ecg/v4",
            "role/QUARANTINE/v4",
        ];
        sets.map(|name| set(&plan, name).is_some_and(|set| set.contains(&ip("10.64.0.1"))))
    }

    //= C3
    #[test]
    fn in_quarantine_a_device_is_in_the_set_of_what_is_left_to_it_or_in_none() {
        let mut config = small(HospitalMode::Snat);
        let ecg: DeviceName = "ecg-1".parse().unwrap();
        let contained = |config: &Config| config.clone().contained([ecg.clone()].into(), &[]);
        assert_eq!(
            in_quarantine(&contained(&config)),
            [false, true, false, false]
        );
        (config.quarantine.services).insert("console".parse().unwrap());
        // Who is not said to be contained reaches nothing.
        assert_eq!(in_quarantine(&config), [false, true, false, false]);
        assert_eq!(
            in_quarantine(&contained(&config)),
            [true, false, false, true]
        );
    }

    #[test]
    fn what_is_behind_a_router_stands_no_better_than_the_router() {
        let mut config = small(HospitalMode::Snat);
        device(&mut config, "modality", &["10.64.9.1"], &["ecg"]);
        let behind = config
            .devices
            .get_mut("modality".parse::<DeviceName>().as_ref().unwrap());
        behind.unwrap().identity = Identity::Via("ecg-1".parse().unwrap());
        let mut facts = facts(NOON);
        let active = |facts: &Facts| {
            let plan = Plan::new(&config, facts);
            set(&plan, "active/v4").unwrap().contains(&ip("10.64.9.1"))
        };
        assert!(active(&facts));
        facts
            .standing
            .insert("ecg-1".parse().unwrap(), Standing::Quarantined);
        assert!(!active(&facts));
    }

    #[test]
    fn held_addresses_belong_to_nobody() {
        let config = small(HospitalMode::Snat);
        let mut facts = facts(NOON);
        facts.held.insert(ip("10.64.0.1"));
        let plan = Plan::new(&config, &facts);
        assert!(!plan.table.to_string().contains("10.64.0.1\n"));
        assert!(plan.table.to_string().contains("fd64::1\n"));
    }

    #[test]
    fn without_a_listener_an_inspected_service_is_not_reachable() {
        let config = small(HospitalMode::Snat);
        let mut facts = facts(NOON);
        facts.listeners.v4 = None;
        let text = Plan::new(&config, &facts).table.to_string();
        assert!(!text.contains("dnat ip to") && text.contains("dnat ip6 to"));
        assert!(!text.contains("daddr 10.20.1.10 tcp dport 2575"));
    }

    #[test]
    fn rules_hold_at_their_hours_and_until_their_day() {
        let mut config = small(HospitalMode::Snat);
        let rule = config.rules.get_mut(&"consoles".parse().unwrap()).unwrap();
        rule.hours = Some(weekdays(7, 20));
        rule.until = Some(jiff::civil::date(2026, 11, 24));
        let rule = rule.clone();
        let holds = |text: &str| rule.holds_at(text.parse().unwrap());
        assert!(holds("2026-11-24T06:00:00Z"));
        assert!(!holds("2026-11-24T05:59:59Z"));
        assert!(holds("2026-11-24T18:59:59Z"));
        assert!(!holds("2026-11-24T19:00:00Z"));
        assert!(!holds("2026-11-22T11:00:00Z"), "a Sunday");
        assert!(!holds("2026-11-25T11:00:00Z"), "the day after");
        let reach = |now| {
            Plan::new(&config, &facts(now))
                .table
                .to_string()
                .contains("3389")
        };
        assert!(reach(NOON) && !reach("2026-11-24T22:00:00Z"));
        let night = Rule {
            hours: Some(weekdays(20, 7)),
            until: None,
            ..rule
        };
        let holds = |text: &str| night.holds_at(text.parse().unwrap());
        assert!(
            holds("2026-11-28T05:00:00Z"),
            "Saturday morning, begun on Friday"
        );
        assert!(!holds("2026-11-28T20:00:00Z"), "Saturday evening");
        assert!(
            !holds("2026-11-23T05:00:00Z"),
            "Monday morning, begun on Sunday"
        );
    }

    #[test]
    fn marks_stay_when_roles_come_and_do_not_collide() {
        let names: Vec<Party> = (0..2_000)
            .map(|i| Party::Role(format!("role-{i:04}").parse().unwrap()))
            .collect();
        let named = |party: &Party| (party_name(party), party.clone());
        let all = marks(names.iter().map(named), MARK_BASE);
        assert_eq!(all.values().collect::<BTreeSet<_>>().len(), names.len());
        let few = marks(names.iter().skip(1_000).step_by(100).map(named), MARK_BASE);
        let same = few
            .iter()
            .filter(|(party, mark)| all.get(*party) == Some(mark));
        assert_eq!(same.count(), few.len());
    }
}

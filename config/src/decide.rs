//! What a configuration decides: who may reach what by which rule.
//!
//! In: names and addresses. Out: rules. Pure; hours and `until` are asked of the rule itself with the time as argument
//! ([`Rule::holds_at`]), so the answers here are about any time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use crate::containment::Overlay;
use crate::model::{Config, Device, Direction, Party, Rule};
use crate::name::{DeviceName, RoleName, RuleName, ServiceName};

/// What would take long to search for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Index {
    addresses: HashMap<IpAddr, DeviceName>,
    members: BTreeMap<RoleName, Vec<DeviceName>>,
    rules: BTreeMap<(Direction, Party), Vec<RuleName>>,
    /// Devices by their `hospital_port`.
    ports: HashMap<u16, DeviceName>,
    /// What holds beside the rules.
    pub(crate) overlay: Overlay,
}

impl Config {
    /// The device that is dialled at this port of the gateway's address in the hospital.
    #[must_use]
    pub fn device_at_port(&self, port: u16) -> Option<&DeviceName> {
        self.index.ports.get(&port)
    }

    /// The device with a tunnel address, or with an address behind a router.
    #[must_use]
    pub fn device_at(&self, address: IpAddr) -> Option<&DeviceName> {
        self.index.addresses.get(&address)
    }

    /// The rules that let a device reach a service, at whatever time they hold, in the order of their names.
    #[must_use]
    pub fn rules_for(&self, device: &DeviceName, service: &ServiceName) -> Vec<(&RuleName, &Rule)> {
        let rules = self
            .rules_of_device(device, Direction::FromDevices)
            .into_iter();
        rules
            .filter(|(_, rule)| rule.services.contains(service))
            .collect()
    }

    /// The rules that let a service dial a device, at whatever time they hold, in the order of their names.
    /// What follows from other rules is not among them: see [`Self::inward`].
    #[must_use]
    pub fn rules_towards(
        &self,
        device: &DeviceName,
        service: &ServiceName,
    ) -> Vec<(&RuleName, &Rule)> {
        let rules = self
            .rules_of_device(device, Direction::ToDevices)
            .into_iter();
        rules
            .filter(|(_, rule)| rule.services.contains(service))
            .collect()
    }

    /// All services that a device may reach, and the rules that let it.
    #[must_use]
    pub fn services_of(&self, device: &DeviceName) -> BTreeMap<&ServiceName, Vec<&RuleName>> {
        let mut services: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (name, rule) in self.rules_of_device(device, Direction::FromDevices) {
            for service in &rule.services {
                services.entry(service).or_default().push(name);
            }
        }
        services
    }

    /// The devices that a party stands for, in the order of their names.
    #[must_use]
    pub fn members(&self, party: &Party) -> Vec<&DeviceName> {
        match party {
            Party::Role(role) => self.index.members.get(role).into_iter().flatten().collect(),
            Party::Device(name) => {
                let found = self.devices.get_key_value(name);
                found.into_iter().map(|(name, _)| name).collect()
            }
        }
    }

    /// The rules of a party: of a device by name and by its roles, of a role by its name alone.
    pub(crate) fn rules_of(&self, party: &Party, direction: Direction) -> Vec<(&RuleName, &Rule)> {
        match party {
            Party::Device(device) => self.rules_of_device(device, direction),
            Party::Role(_) => {
                let key = (direction, party.clone());
                self.named(self.index.rules.get(&key).into_iter().flatten())
            }
        }
    }

    fn rules_of_device(&self, name: &DeviceName, direction: Direction) -> Vec<(&RuleName, &Rule)> {
        let Some(device) = self.devices.get(name) else {
            return Vec::new();
        };
        let parties = self.parties(name, device).into_iter();
        let names: BTreeSet<&RuleName> = parties
            .filter_map(|party| self.index.rules.get(&(direction, party)))
            .flatten()
            .collect();
        self.named(names)
    }

    fn named<'c>(
        &'c self,
        names: impl IntoIterator<Item = &'c RuleName>,
    ) -> Vec<(&'c RuleName, &'c Rule)> {
        let rules = names.into_iter();
        rules
            .filter_map(|name| self.rules.get_key_value(name))
            .collect()
    }
}

impl Index {
    pub(crate) fn new(
        devices: &BTreeMap<DeviceName, Device>,
        rules: &BTreeMap<RuleName, Rule>,
    ) -> Self {
        let mut index = Self::default();
        for (name, device) in devices {
            for address in &device.addresses {
                index.addresses.insert(*address, name.clone());
            }
            if let Some(port) = device.hospital_port {
                index.ports.insert(port, name.clone());
            }
            for role in &device.roles {
                let members = index.members.entry(role.clone()).or_default();
                members.push(name.clone());
            }
        }
        for (name, rule) in rules {
            for party in &rule.parties {
                let key = (rule.direction, party.clone());
                let rules = index.rules.entry(key).or_default();
                rules.push(name.clone());
            }
        }
        index
    }
}

/// Whether the message type of a rule (`ORU^R01`, `ORU^*`) covers another.
pub(crate) fn covers(rule: &str, other: &str) -> bool {
    match rule.strip_suffix('*') {
        Some(code) => other.starts_with(code),
        None => rule == other,
    }
}

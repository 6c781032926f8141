//! What was seen, put together by rule and service.

use std::collections::{BTreeMap, BTreeSet};

use super::Habit;
use crate::model::{Config, Direction, Party, Rule, ServiceProtocol};
use crate::name::{DeviceName, RuleName, ServiceName};

/// What all devices said to a service by a rule.
pub(super) struct Group {
    pub(super) rule: RuleName,
    pub(super) service: ServiceName,
    pub(super) is_dicom: bool,
    /// Of the rule, those that are about devices that were seen.
    pub(super) parties: BTreeMap<Party, BTreeSet<DeviceName>>,
    pub(super) messages: BTreeMap<String, Amount>,
    pub(super) classes: BTreeMap<String, Amount>,
    /// Something came that has no type.
    pub(super) is_mixed: bool,
    pub(super) total: Amount,
    pub(super) largest: u64,
    pub(super) would_refuse: u64,
    pub(super) busiest_minute: u32,
    pub(super) weeks: bool,
    pub(super) hours: BTreeSet<u8>,
}

/// How often something was seen, and of how many devices.
#[derive(Default)]
pub(super) struct Amount {
    pub(super) times: u64,
    pub(super) devices: BTreeSet<DeviceName>,
}

impl Amount {
    fn add(&mut self, times: u64, device: &DeviceName) {
        self.times = self.times.saturating_add(times);
        if !self.devices.contains(device) {
            self.devices.insert(device.clone());
        }
    }
}

/// Of rules and services that are in the configuration.
pub(super) fn groups(config: &Config, habits: &[Habit]) -> Vec<Group> {
    let mut groups: BTreeMap<(RuleName, ServiceName), Group> = BTreeMap::new();
    for habit in habits {
        for seen in &habit.seen {
            let named: Option<RuleName> = seen.rule.parse().ok();
            let Some((name, rule)) = named.and_then(|name| config.rules.get_key_value(&name))
            else {
                continue;
            };
            let fits =
                rule.direction == Direction::FromDevices && rule.services.contains(&seen.service);
            let service = config.services.get(&seen.service).filter(|_| fits);
            let is_dicom = match service.map(|service| &service.protocol) {
                Some(ServiceProtocol::Hl7 { .. }) => false,
                Some(ServiceProtocol::Dicom { .. }) => true,
                Some(ServiceProtocol::Plain { .. }) | None => continue,
            };
            let parties = parties(rule, habit);
            if parties.is_empty() {
                continue;
            }
            let key = (name.clone(), seen.service.clone());
            let group = groups
                .entry(key.clone())
                .or_insert_with(|| Group::new(key, is_dicom));
            for party in parties {
                let devices = group.parties.entry(party).or_default();
                devices.insert(habit.device.clone());
            }
            group.add(habit, seen);
        }
    }
    let known = |group: &Group| !group.messages.is_empty() || group.is_mixed;
    let mut groups: Vec<Group> = groups.into_values().filter(known).collect();
    for group in &mut groups {
        group.cover();
    }
    groups
}

/// Those of a rule by which it lets the device pass.
fn parties(rule: &Rule, habit: &Habit) -> Vec<Party> {
    let about = |party: &&Party| match party {
        Party::Role(role) => habit.roles.contains(role),
        Party::Device(device) => *device == habit.device,
    };
    rule.parties.iter().filter(about).cloned().collect()
}

impl Group {
    fn new((rule, service): (RuleName, ServiceName), is_dicom: bool) -> Self {
        Self {
            rule,
            service,
            is_dicom,
            parties: BTreeMap::new(),
            messages: BTreeMap::new(),
            classes: BTreeMap::new(),
            is_mixed: false,
            total: Amount::default(),
            largest: 0,
            would_refuse: 0,
            busiest_minute: 0,
            weeks: true,
            hours: BTreeSet::new(),
        }
    }

    /// Leaves the parties that are needed for all devices, those of most devices first.
    fn cover(&mut self) {
        let mut parties: Vec<_> = std::mem::take(&mut self.parties).into_iter().collect();
        parties.sort_by_key(|(_, devices)| std::cmp::Reverse(devices.len()));
        let mut covered: BTreeSet<DeviceName> = BTreeSet::new();
        for (party, devices) in parties {
            if devices.iter().any(|device| !covered.contains(device)) {
                covered.extend(devices.iter().cloned());
                self.parties.insert(party, devices);
            }
        }
    }

    fn add(&mut self, habit: &Habit, seen: &super::Seen) {
        let device = &habit.device;
        self.total.add(seen.amount, device);
        if !may_be_listed(&seen.message, self.is_dicom) {
            self.is_mixed |= seen.message != "C-CANCEL";
        } else {
            let amount = self.messages.entry(seen.message.clone()).or_default();
            amount.add(seen.amount, device);
        }
        if let Some(class) = &seen.sop_class {
            let amount = self.classes.entry(class.clone()).or_default();
            amount.add(seen.amount, device);
        }
        self.largest = self.largest.max(seen.largest);
        self.would_refuse = self.would_refuse.saturating_add(seen.would_refuse);
        self.busiest_minute = self.busiest_minute.max(habit.busiest_minute);
        self.weeks &= habit.weeks;
        self.hours.extend(&habit.hours);
    }
}

/// Whether a rule can name it. A C-CANCEL goes with what it cancels.
fn may_be_listed(message: &str, is_dicom: bool) -> bool {
    if is_dicom {
        return message != "C-CANCEL" && message.contains('-');
    }
    let name = |text: &str| {
        (3..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let (code, trigger) = message.split_once('^').unwrap_or((message, "A01"));
    name(code) && name(trigger) && message != "FHS" && message != "BHS"
}

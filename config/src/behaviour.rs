//! What is usual for devices, and what follows when they do something else.
//!
//! In: who did what else. Out: what follows. Knows nothing of what is usual.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::model::{Party, Priority};
use crate::name::{DeviceName, RoleName, RuleName};

/// `[behaviour]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    /// How long a device is watched before anything is unusual, counted from its first message while the gateway runs.
    pub learn: Duration,
    /// What follows where nothing else is said.
    pub on_deviation: Reaction,
    /// What follows for some.
    pub exceptions: BTreeMap<Whom, Reaction>,
    /// Which deviations lead to quarantine where that is what follows; the others are told.
    pub quarantine_for: BTreeSet<Deviation>,
    /// How many times the busiest minute or hour is too much.
    pub rate_factor: u32,
    /// In which the hours of the week are counted.
    pub zone: TimeZone,
}

/// What follows when a device does what it never did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reaction {
    /// Nothing.
    Ignore,
    /// It is told.
    #[default]
    Alert,
    /// The device is put into quarantine, and it is told.
    Quarantine,
}

/// For whom something else follows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    /// `role:NAME` or `device:NAME`.
    Party(Party),
    /// `rule:NAME`: messages that this rule let pass.
    Rule(RuleName),
}

/// What a device never did before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deviation {
    /// It speaks with a service.
    Service,
    /// It sends a type of message, or a DIMSE command, to a service.
    Message,
    /// It names a SOP class to a service.
    SopClass,
    /// It sends much more than ever.
    Rate,
    /// It is there at an hour of the week.
    Hour,
    /// It says more different things than are remembered.
    Variety,
}

impl Deviation {
    /// All there are.
    pub const ALL: [Self; 6] = [
        Self::Service,
        Self::Message,
        Self::SopClass,
        Self::Rate,
        Self::Hour,
        Self::Variety,
    ];

    /// As in the configuration and in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Message => "message",
            Self::SopClass => "sop-class",
            Self::Rate => "rate",
            Self::Hour => "hour",
            Self::Variety => "variety",
        }
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            learn: LEARN,
            on_deviation: Reaction::Alert,
            exceptions: BTreeMap::new(),
            quarantine_for: Deviation::ALL
                .into_iter()
                .filter(|one| *one != Deviation::Hour)
                .collect(),
            rate_factor: RATE_FACTOR,
            zone: TimeZone::UTC,
        }
    }
}

impl Behaviour {
    /// What follows. What is said of the device goes before what is said of the rule, and that before its roles,
    /// of which the strictest holds.
    /// What a critical rule lets pass leads to quarantine only if device or rule are named for that.
    #[must_use]
    pub fn reaction(
        &self,
        deviation: Deviation,
        device: &DeviceName,
        roles: &BTreeSet<RoleName>,
        rule: Option<(&RuleName, Priority)>,
    ) -> Reaction {
        let said = |whom: Whom| self.exceptions.get(&whom).copied();
        let by_name = said(Whom::Party(Party::Device(device.clone())))
            .or_else(|| said(Whom::Rule(rule?.0.clone())));
        let by_role = || {
            let roles = roles.iter().map(|role| Party::Role(role.clone()));
            roles.filter_map(|role| said(Whom::Party(role))).max()
        };
        let is_critical = rule.is_some_and(|(_, priority)| priority == Priority::Critical);
        let reaction = match by_name {
            Some(reaction) => reaction,
            None => {
                let reaction = by_role().unwrap_or(self.on_deviation);
                if is_critical {
                    reaction.min(Reaction::Alert)
                } else {
                    reaction
                }
            }
        };
        if self.quarantine_for.contains(&deviation) {
            reaction
        } else {
            reaction.min(Reaction::Alert)
        }
    }
}

/// Two of each day of the week.
const LEARN: Duration = Duration::from_hours(14 * 24);
const RATE_FACTOR: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_holds() {
        let device: DeviceName = "pump-1".parse().unwrap();
        let rule: RuleName = "orders".parse().unwrap();
        let roles: BTreeSet<RoleName> = ["pump", "trial"].map(|r| r.parse().unwrap()).into();
        let role = |name: &str| Whom::Party(Party::Role(name.parse().unwrap()));
        let mut behaviour = Behaviour::default();
        let normal = Some((&rule, Priority::Normal));
        let of = |behaviour: &Behaviour, deviation, rule| {
            behaviour.reaction(deviation, &device, &roles, rule)
        };
        assert_eq!(of(&behaviour, Deviation::Message, normal), Reaction::Alert);
        behaviour.exceptions.insert(role("trial"), Reaction::Ignore);
        assert_eq!(of(&behaviour, Deviation::Message, normal), Reaction::Ignore);
        behaviour
            .exceptions
            .insert(role("pump"), Reaction::Quarantine);
        assert_eq!(
            of(&behaviour, Deviation::Message, None),
            Reaction::Quarantine
        );
        assert_eq!(of(&behaviour, Deviation::Hour, normal), Reaction::Alert);
        let critical = Some((&rule, Priority::Critical));
        assert_eq!(
            of(&behaviour, Deviation::Message, critical),
            Reaction::Alert
        );
        let named = Whom::Rule(rule.clone());
        behaviour.exceptions.insert(named, Reaction::Quarantine);
        assert_eq!(
            of(&behaviour, Deviation::Message, critical),
            Reaction::Quarantine
        );
        let own = Whom::Party(Party::Device(device.clone()));
        behaviour.exceptions.insert(own, Reaction::Ignore);
        assert_eq!(
            of(&behaviour, Deviation::Message, critical),
            Reaction::Ignore
        );
    }
}

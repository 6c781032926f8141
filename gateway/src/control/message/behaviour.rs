//! What is usual for devices, and what was not.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::flow::{DeviceName, ServiceName};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "behaviour", rename_all = "kebab-case")]
pub enum BehaviourRequest {
    /// What was told, the latest first.
    Alerts {
        /// Of this device only.
        device: Option<DeviceName>,
    },
    /// What was learnt.
    Habits {
        /// Of this device only.
        device: Option<DeviceName>,
        /// Of devices with this role only.
        role: Option<String>,
    },
    /// What was told of a device is usual from now on.
    Accept {
        /// Which.
        device: DeviceName,
        /// In the operator's words; may be empty.
        why: String,
    },
    /// Forget what was learnt of a device and learn it anew.
    Relearn {
        /// Which.
        device: DeviceName,
        /// In the operator's words; may be empty.
        why: String,
    },
}

/// What is answered, but for what is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "behaviour", rename_all = "kebab-case")]
pub enum BehaviourResponse {
    /// To [`BehaviourRequest::Alerts`].
    Alerts {
        /// The latest first.
        alerts: Vec<AlertStatus>,
    },
    /// To [`BehaviourRequest::Habits`].
    Habits {
        /// In no order that means anything.
        habits: Vec<HabitStatus>,
    },
}

/// A device did what it never did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertStatus {
    /// Never used twice.
    pub number: u64,
    /// Which device.
    pub device: DeviceName,
    /// `service`, `message`, `sop-class`, `rate`, `hour`, `variety`.
    pub what: String,
    /// In words.
    pub words: String,
    /// The first of what it did.
    pub values: Vec<String>,
    /// How often.
    pub amount: u64,
    /// For the first time.
    pub first: Timestamp,
    /// For the last time.
    pub last: Timestamp,
    /// Whether it leads to quarantine.
    pub quarantines: bool,
    /// Somebody said that it is usual.
    pub accepted: bool,
}

/// What was learnt of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HabitStatus {
    /// Which.
    pub device: DeviceName,
    /// Its roles now.
    pub roles: Vec<String>,
    /// How long it was watched.
    pub watched_seconds: u64,
    /// How long it will still be learnt; none once it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_seconds: Option<u64>,
    /// Most messages in a minute.
    pub busiest_minute: u32,
    /// Most messages in an hour.
    pub busiest_hour: u32,
    /// How often it was there at each hour of the week, from Monday at 0.
    pub hours: Vec<u16>,
    /// What it said.
    pub lines: Vec<HabitLine>,
}

/// Something that a device says to a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HabitLine {
    /// To whom.
    pub service: ServiceName,
    /// `ORU^R01`, `C-STORE`; empty if it has no type.
    pub message: String,
    /// UID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sop_class: Option<String>,
    /// By which rule it passed last.
    pub rule: String,
    /// How often.
    pub amount: u64,
    /// The longest in bytes.
    pub largest: u64,
    /// How often it would have been refused, were its rule not in shadow.
    #[serde(default)]
    pub would_refuse: u64,
    /// For the first time.
    pub first: Timestamp,
    /// For the last time.
    pub last: Timestamp,
}

/// What devices do, in short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BehaviourStatus {
    /// Devices that are still being learnt.
    pub learning: usize,
    /// Alerts that nobody accepted.
    pub alerts: usize,
    /// Why what is learnt cannot be kept, if it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Rules in shadow, in the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadow: Vec<ShadowStatus>,
}

/// What a rule in shadow let pass since the start of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowStatus {
    /// Which.
    pub rule: String,
    /// Messages.
    pub messages: u64,
    /// Those that would have been refused.
    pub would_refuse: u64,
    /// For what, most often first.
    pub findings: Vec<(String, u64)>,
}

//! Access that is opened by hand for a time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Person;
use crate::flow::{DeviceName, ServiceName};

/// What an operator wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "access", rename_all = "kebab-case")]
pub enum AccessRequest {
    /// Let a device reach a service that no rule gives it.
    Open {
        /// Who.
        device: DeviceName,
        /// What it reaches.
        service: ServiceName,
        /// How long.
        seconds: u64,
        /// In the operator's words; never empty.
        why: String,
        /// Although the device is in quarantine.
        #[serde(default)]
        in_quarantine: bool,
    },
    /// End it before its time.
    End {
        /// Of the access.
        number: u64,
        /// In the operator's words; may be empty.
        #[serde(default)]
        why: String,
    },
    /// What is open.
    List,
}

/// Access that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessStatus {
    /// By which it is ended.
    pub number: u64,
    /// The name of its rule in decisions.
    pub rule: String,
    /// Who.
    pub device: DeviceName,
    /// What it reaches.
    pub service: ServiceName,
    /// Whether it holds although the device is in quarantine.
    pub in_quarantine: bool,
    /// In the words of who opened it.
    pub why: String,
    /// Who that was.
    pub by: Person,
    /// When.
    pub began: Timestamp,
    /// When it ends, by the wall clock.
    pub ends: Timestamp,
    /// Seconds until then, by the clock that says less.
    pub seconds: u64,
    /// Inspected connections that were opened by it since the gateway began.
    pub uses: u64,
}

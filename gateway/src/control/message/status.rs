//! How the gateway fares, as `lazaret status` tells it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{AccessStatus, BehaviourStatus, ConsolesStatus, PolicyStatus, RegistryStatus};

/// How the gateway fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub gateway: String,
    /// Of the program.
    pub version: String,
    /// Seconds since the supervisor began.
    pub uptime_seconds: u64,
    /// SHA-256 of the configuration in force, in hex.
    pub config: String,
    /// Seconds until the last change is undone, if it must be confirmed.
    pub confirm_seconds: Option<u64>,
    /// Set while no new connections are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<Draining>,
    /// How what is in force came to be, and what waits.
    #[serde(default)]
    pub policy: PolicyStatus,
    /// Where the tunnel listens.
    pub listen: SocketAddr,
    /// The TUN interface.
    pub interface: String,
    /// One entry a worker.
    pub workers: Vec<WorkerStatus>,
    /// Whether the live table is as planned.
    pub table: TableStatus,
    /// Whether the journal can be written; why not, if not.
    pub journal: JournalStatus,
    /// Whether the registry's database can be used.
    #[serde(default)]
    pub registry: RegistryStatus,
    /// What is open beside the rules: an alarm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub break_glass: Vec<AccessStatus>,
    /// Why a restart would not find what is open, if it would not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass_trouble: Option<String>,
    /// Devices by standing and reach.
    pub devices: DeviceCounts,
    /// The certification authority, where the configuration wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaStatus>,
    /// Inspected connections now.
    pub sessions: usize,
    /// Sessions on services that are forwarded without inspection.
    #[serde(default)]
    pub consoles: ConsolesStatus,
    /// Messages forwarded since the start.
    pub forwarded: u64,
    /// Messages refused since the start.
    pub refused: u64,
    /// What devices do.
    #[serde(default)]
    pub behaviour: BehaviourStatus,
}

/// What a part of the gateway did when it was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// `tunnel`, `table`, `journal`, `hl7`, `hl7-refusal`, `dicom`, `dicom-refusal`.
    pub part: String,
    /// Microseconds from the beginning of the probe.
    pub micros: u64,
    /// Why it is not as it should be; none if it is.
    pub failed: Option<String>,
}

/// The gateway takes nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    /// Until what is under way is ended.
    pub seconds: u64,
    /// Until connections are taken again by themselves, because nobody restarted the gateway.
    #[serde(default)]
    pub over_seconds: u64,
}

/// How a worker fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// `tunnel-wireguard`, `relay-hl7`, `relay-hl7-2`, …, `relay-dicom`, …, `audit`.
    pub name: String,
    /// Its process; none while it is being restarted.
    pub pid: Option<u32>,
    /// How often it died.
    pub restarts: u32,
}

/// Whether the nftables table is as planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableStatus {
    /// Read back and equal.
    AsPlanned,
    /// Read back and different.
    Drifted(String),
}

/// Whether decisions can be recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JournalStatus {
    /// Yes.
    Writable,
    /// No, and why.
    Failed(String),
}

/// Devices by standing and reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCounts {
    /// Configured.
    pub configured: usize,
    /// With a handshake in the last three minutes.
    pub connected: usize,
    /// In quarantine.
    pub quarantined: usize,
    /// Revoked.
    pub revoked: usize,
    /// Waiting to be approved.
    #[serde(default)]
    pub pending: usize,
    /// Whose time is over.
    #[serde(default)]
    pub expired: usize,
}

/// The certification authority, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaStatus {
    /// It issues, for so many seconds.
    Issues {
        /// Until its certificate ends.
        seconds: u64,
    },
    /// None was made, or it has ended.
    Missing,
    /// Nothing can be signed now, and why.
    Unavailable(String),
}

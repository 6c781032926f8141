//! What operators are told of sessions on services that are forwarded without inspection.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::flow::{DeviceName, ServiceName};

/// All that a device has open to one such service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleSession {
    /// Who.
    pub device: DeviceName,
    /// On what.
    pub service: ServiceName,
    /// Since when.
    pub since: Timestamp,
    /// Since so many seconds.
    pub seconds: u64,
    /// Connections that are open.
    pub connections: usize,
    /// Connections since it began, or since the gateway found it.
    pub connections_so_far: u64,
    /// Bytes of packets from the device; `None` if the kernel did not count all of them.
    pub received: Option<u64>,
    /// Bytes of packets to the device; `None` if the kernel did not count all of them.
    pub sent: Option<u64>,
    /// Since when nothing passes, in seconds.
    pub idle_seconds: u64,
    /// Seconds until hours, an end or a limit end it; `None` if no such end is known.
    pub seconds_left: Option<u64>,
}

/// In the status of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsolesStatus {
    /// Sessions now.
    pub sessions: usize,
    /// Whether the kernel counts what passes. Without that nothing is known to be idle.
    pub counted: bool,
}

impl Default for ConsolesStatus {
    /// Of a gateway that does not say.
    fn default() -> Self {
        Self {
            sessions: 0,
            counted: true,
        }
    }
}

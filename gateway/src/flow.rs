//! The words that all rooms share. They carry no decision.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

pub use lazaret_config::{DeviceName, Priority, RoleName, RuleName, ServiceName};
use serde::{Deserialize, Serialize};

/// Stands for the gateway itself where a user id says who did something; no user has it (`(uid_t) -1`).
pub const GATEWAY: u32 = u32::MAX;

/// One intercepted connection, from accept to close. Never used twice in the life of a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The protocols that are inspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inspected {
    /// HL7 v2 over MLLP.
    Hl7,
    /// DICOM upper layer.
    Dicom,
}

/// The two ends of an inspected connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The end in the tunnel.
    Device,
    /// The end in the hospital.
    Hospital,
}

impl Side {
    /// The opposite end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Device => Self::Hospital,
            Self::Hospital => Self::Device,
        }
    }
}

/// Where a packet or connection wanted to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Flow {
    /// The inner source address: the device.
    pub source: IpAddr,
    /// The original destination.
    pub destination: SocketAddr,
}

/// How a device stands. What is greater lets a device do less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// May do what the rules say.
    #[default]
    Active,
    /// Tunnel stays up, nothing passes.
    Quarantined,
    /// Not approved yet: its key is not taken.
    Pending,
    /// Its time is over: its key is not taken any more.
    Expired,
    /// Its key is refused.
    Revoked,
}

impl Standing {
    /// As in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Quarantined => "quarantined",
            Self::Revoked => "revoked",
            Self::Pending => "pending",
            Self::Expired => "expired",
        }
    }

    /// From [`Self::as_str`].
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|standing| standing.as_str() == word)
    }

    /// All there are.
    pub const ALL: [Self; 5] = [
        Self::Active,
        Self::Quarantined,
        Self::Pending,
        Self::Expired,
        Self::Revoked,
    ];

    /// Whether its key is taken: the tunnel is up, even if nothing passes.
    #[must_use]
    pub fn is_let_in(self) -> bool {
        match self {
            Self::Active | Self::Quarantined => true,
            Self::Revoked | Self::Pending | Self::Expired => false,
        }
    }
}

/// Time is an argument everywhere; only `daemon/clock.rs` reads the real clocks.
pub trait Clock: Send + Sync {
    /// The monotonic clock.
    fn now(&self) -> Instant;
    /// The wall clock.
    fn wall(&self) -> jiff::Timestamp;
}

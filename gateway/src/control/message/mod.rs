//! What the command and the daemon say to each other. Version 1 of the JSON that `--json` prints.

mod behaviour;
mod console;
mod break_glass;
mod device;
mod enrol;
mod policy;
mod status;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::pki::{PkiRequest, PkiResponse};
pub use behaviour::{
    AlertStatus, BehaviourRequest, BehaviourResponse, BehaviourStatus, HabitLine, HabitStatus,
    ShadowStatus,
};
pub use break_glass::{AccessRequest, AccessStatus};
pub use console::{ConsoleSession, ConsolesStatus};
pub use device::{
    Added, InventoryStatus, KeyStatus, KnownStatus, NewDevice, RegistryStatus, SeenStatus,
    StoryLine, StrangerStatus,
};
pub use enrol::{EnrolRequest, EnrolResponse, NewToken, TokenStatus};
pub use policy::{How, Person, PolicyFile, PolicyStatus, ProposalStatus, Version, VersionRecord};
pub use status::{
    CaStatus, DeviceCounts, Draining, JournalStatus, Probed, Status, TableStatus, WorkerStatus,
};

pub use crate::flow::Standing;
use crate::flow::{ConnectionId, DeviceName, Flow, Inspected, ServiceName};

/// What an operator asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// How the gateway fares.
    Status,
    /// Read the configuration again and put it into force.
    Apply {
        /// Undo it after so many seconds unless [`Request::Confirm`] comes.
        confirm_seconds: Option<u64>,
        /// In the operator's words; may be empty.
        #[serde(default)]
        why: String,
        /// An armoured signature of OpenSSH.
        #[serde(default)]
        signature: Option<String>,
    },
    /// Keep what was applied.
    Confirm,
    /// Put an earlier policy into force.
    Rollback {
        /// Its number in the history.
        number: u64,
        /// Undo it after so many seconds unless [`Request::Confirm`] comes.
        confirm_seconds: Option<u64>,
        /// In the operator's words; may be empty.
        why: String,
    },
    /// Put into force what another person proposed.
    Approve {
        /// Its digest, or the beginning of it.
        digest: String,
    },
    /// The policies that were in force.
    History,
    /// A policy that was in force, with its files.
    Version {
        /// Its number in the history; none: what is in force.
        number: Option<u64>,
    },
    /// All devices, or one.
    Devices {
        /// Only this one.
        device: Option<DeviceName>,
    },
    /// Change the standing of a device.
    Standing {
        /// Which.
        device: DeviceName,
        /// To what.
        standing: Standing,
        /// In the operator's words; may be empty.
        why: String,
        /// Only of a device that waits for it.
        #[serde(default)]
        approve: bool,
    },
    /// Make devices known that stand in no file, all or none.
    AddDevices {
        /// Who.
        devices: Vec<NewDevice>,
        /// Whether they come from a list.
        imported: bool,
        /// In the operator's words; may be empty.
        why: String,
    },
    /// Give a device that stands in no file another key.
    Rotate {
        /// Which.
        device: DeviceName,
        /// Its public key from now on, in base64.
        wireguard: String,
        /// So long the keys before are taken too.
        overlap_seconds: u64,
        /// In the operator's words; may be empty.
        why: String,
    },
    /// Give a device that stands in no file another end.
    Extend {
        /// Which.
        device: DeviceName,
        /// Its last day or moment, as [`NewDevice::expires`]; none: it stays for good.
        expires: Option<String>,
        /// In the operator's words; may be empty.
        why: String,
    },
    /// Remove a revoked device that stands in no file from all lists.
    Remove {
        /// Which.
        device: DeviceName,
        /// In the operator's words; may be empty.
        why: String,
    },
    /// Who came that nobody knows.
    Strangers,
    /// What became of a device.
    Story {
        /// Which.
        device: DeviceName,
    },
    /// Copy the registry's database into a new file.
    Backup {
        /// An absolute path that the daemon can write.
        path: PathBuf,
    },
    /// Make the database that is configured the registry's, with everything that the gateway knows.
    Adopt {
        /// In the operator's words; may be empty.
        why: String,
    },
    /// The inspected connections, those of devices with certificates, and who uses which console.
    Sessions,
    /// End inspected connections.
    Kill {
        /// One connection, or all of a device.
        target: KillTarget,
    },
    /// Recently denied flows, newest first.
    Denied,
    /// Try tunnel, table, journal and relays, with exchanges that the gateway plays itself.
    Probe,
    /// Something of the certification authority.
    Pki(PkiRequest),
    /// Something of enrolment.
    Enrol(EnrolRequest),
    /// Something of what is usual for devices.
    Behaviour(BehaviourRequest),
    /// Something of access that is opened by hand.
    BreakGlass(AccessRequest),
    /// Take no new connections and let the inspected ones end between two exchanges.
    Drain {
        /// End what is left after so many seconds; `None` takes it back.
        timeout_seconds: Option<u64>,
    },
    /// Put on record what became of an update of the machine. Who did it is who asks.
    Updated {
        /// What was asked for.
        action: UpdateAction,
        /// The version that runs.
        from: String,
        /// The version that was offered or is gone back to, as far as it is known.
        to: Option<String>,
        /// `installed`, or why not.
        verdict: String,
    },
}

impl Request {
    /// Whether operators may ask it, who are neither root nor the gateway's own user.
    #[must_use]
    pub fn is_about_policies(&self) -> bool {
        match self {
            Self::Status
            | Self::Apply { .. }
            | Self::Confirm
            | Self::Rollback { .. }
            | Self::Approve { .. }
            | Self::History
            | Self::Version { .. } => true,
            Self::Devices { .. }
            | Self::Standing { .. }
            | Self::AddDevices { .. }
            | Self::Rotate { .. }
            | Self::Extend { .. }
            | Self::Story { .. }
            | Self::Backup { .. }
            | Self::Adopt { .. }
            | Self::Sessions
            | Self::Kill { .. }
            | Self::Denied
            | Self::Probe
            | Self::Pki(_)
            | Self::Remove { .. }
            | Self::Strangers
            | Self::Enrol(_)
            | Self::Behaviour(_)
            | Self::BreakGlass(_)
            | Self::Drain { .. }
            | Self::Updated { .. } => false,
        }
    }
}

/// What was asked for concerning versions of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateAction {
    /// To take a newer one.
    Apply,
    /// To go back to the one before.
    Rollback,
}

/// What to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KillTarget {
    /// One inspected connection.
    Connection(ConnectionId),
    /// All flows of a device, inspected and forwarded.
    Device(DeviceName),
    /// What a device has open to a service that is forwarded.
    Console {
        /// Who.
        device: DeviceName,
        /// On what.
        service: ServiceName,
    },
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "kebab-case")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Apply`]: what changed; empty if nothing did.
    Applied {
        /// In words.
        changes: Vec<String>,
        /// Seconds until it is undone, if it must be confirmed.
        confirm_seconds: Option<u64>,
    },
    /// To [`Request::Apply`] and [`Request::Rollback`] where two persons must agree.
    Proposed {
        /// SHA-256 of what is proposed, in hex.
        digest: String,
        /// Until it is forgotten.
        seconds: u64,
    },
    /// To [`Request::History`].
    History {
        /// The oldest first.
        versions: Vec<VersionRecord>,
        /// What is wrong with versions that cannot be read, one line each.
        damaged: Vec<String>,
    },
    /// To [`Request::Version`].
    Version(Box<Version>),
    /// To [`Request::Devices`].
    Devices {
        /// In the order of their names.
        devices: Vec<DeviceStatus>,
    },
    /// To [`Request::AddDevices`].
    Added {
        /// In the order of the request.
        devices: Vec<Added>,
    },
    /// To [`Request::Strangers`].
    Strangers {
        /// The latest first.
        strangers: Vec<StrangerStatus>,
    },
    /// To [`Request::Story`].
    Story {
        /// The latest last.
        story: Vec<StoryLine>,
    },
    /// To [`Request::Sessions`].
    Sessions {
        /// In the order in which they were opened.
        sessions: Vec<SessionStatus>,
        /// Who is in by a certificate, in the order of their names.
        #[serde(default)]
        tunnels: Vec<TunnelSession>,
        /// Who uses what is forwarded without inspection.
        #[serde(default)]
        consoles: Vec<ConsoleSession>,
    },
    /// To [`Request::Denied`].
    Denied {
        /// Newest first.
        flows: Vec<DeniedFlow>,
    },
    /// To [`Request::Probe`].
    Probed {
        /// In a fixed order.
        parts: Vec<Probed>,
    },
    /// To [`Request::Pki`].
    Pki(PkiResponse),
    /// To [`Request::Enrol`].
    Enrol(EnrolResponse),
    /// To [`Request::Behaviour`].
    Behaviour(BehaviourResponse),
    /// To [`Request::BreakGlass`]: what was opened, or what is open.
    BreakGlass {
        /// The oldest first.
        accesses: Vec<AccessStatus>,
        /// Why a restart would not find what is open, if it would not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trouble: Option<String>,
    },
    /// Done.
    Done {
        /// What was done, in words.
        what: String,
    },
    /// Not done.
    Failed {
        /// The closed kind, which decides the exit code.
        kind: Failure,
        /// Why, possibly many lines (configuration errors come as they are shown).
        why: String,
    },
}

impl Response {
    /// Why it was not done; `None` if it was.
    #[must_use]
    pub fn refused(&self) -> Option<&str> {
        match self {
            Self::Failed { why, .. } => Some(why),
            Self::Status(_)
            | Self::Applied { .. }
            | Self::Proposed { .. }
            | Self::History { .. }
            | Self::Version(_)
            | Self::Devices { .. }
            | Self::Sessions { .. }
            | Self::Denied { .. }
            | Self::Added { .. }
            | Self::Story { .. }
            | Self::Strangers { .. }
            | Self::Probed { .. }
            | Self::Pki(_)
            | Self::Enrol(_)
            | Self::Behaviour(_)
            | Self::BreakGlass { .. }
            | Self::Done { .. } => None,
        }
    }
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// The request makes no sense here.
    Usage,
    /// The configuration is wrong.
    Configuration,
    /// A `[[test]]` does not hold.
    PolicyTest,
    /// There is no such device, connection or pending change.
    Unknown,
    /// The caller may not.
    Denied,
    /// Anything else.
    Internal,
}

/// How a device fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// Its name.
    pub device: DeviceName,
    /// `active`, `quarantined`, `pending`, `expired`, `revoked`.
    pub standing: Standing,
    /// Why it stands so, in the operator's words.
    pub why: String,
    /// Its tunnel addresses.
    pub addresses: Vec<std::net::IpAddr>,
    /// Its roles.
    pub roles: Vec<String>,
    /// The router before it, if it is identified by address only.
    pub via: Option<DeviceName>,
    /// Where its packets come from.
    pub endpoint: Option<SocketAddr>,
    /// Seconds since the last handshake.
    pub handshake_seconds: Option<u64>,
    /// Bytes received through the tunnel.
    pub received: u64,
    /// Bytes sent through the tunnel.
    pub sent: u64,
    /// Inspected connections now.
    pub sessions: usize,
    /// File and line of its entry, or `enrolled` or `imported`.
    pub origin: String,
    /// What the registry knows of it, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Box<KnownStatus>>,
    /// What was seen of it.
    #[serde(default)]
    pub inventory: Box<InventoryStatus>,
}

/// One inspected connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Its number.
    pub connection: ConnectionId,
    /// Who.
    pub device: DeviceName,
    /// To whom.
    pub service: ServiceName,
    /// What is spoken.
    pub protocol: Inspected,
    /// Since so many seconds.
    pub seconds: u64,
    /// Messages forwarded so far.
    pub forwarded: u64,
    /// Messages refused so far.
    pub refused: u64,
}

/// A device that is in by its certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelSession {
    /// Who.
    pub device: DeviceName,
    /// Where it is now.
    pub peer: SocketAddr,
    /// Since so many seconds.
    pub seconds: u64,
    /// The key exchange of its handshake: `X25519MLKEM768`, `X25519`, ….
    pub key_exchange: String,
    /// Bytes of packets from it.
    pub received: u64,
    /// Bytes of packets to it.
    pub sent: u64,
    /// Packets dropped because their source was not its own.
    pub spoofed: u64,
    /// Packets to it dropped because its path was slower.
    pub crowded: u64,
    /// Packets from it dropped because they are no whole IP packet, or are for one link only.
    pub malformed: u64,
    /// Round trip in microseconds.
    pub rtt_micros: u64,
}

/// A denied flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeniedFlow {
    /// Who, if the address is known.
    pub device: Option<DeviceName>,
    /// From where to where.
    pub flow: Flow,
    /// `tcp`, `udp`, `icmp`, ….
    pub transport: String,
    /// Packets, or 1 for a refused connection.
    pub packets: u64,
    /// Seconds since the last.
    pub seconds: u64,
    /// Why.
    pub why: String,
}

//! Everything that can be put on record. Closed: a new kind of event is a change here.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::flow::{ConnectionId, DeviceName, Flow, GATEWAY, ServiceName, Side};

/// One event, before the journal gives it a number, a time and a place in the chain.
//= C8
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The supervisor began to work.
    GatewayStarted {
        /// Of the program.
        version: String,
        /// SHA-256 of the configuration in force, in hex.
        config: String,
    },
    /// Orderly end.
    GatewayStopped,
    /// A worker began to work.
    WorkerStarted {
        /// `tunnel-wireguard`, `relay-hl7`, ….
        worker: String,
        /// Its process.
        pid: u32,
    },
    /// A worker ended without being told.
    WorkerDied {
        /// Which.
        worker: String,
        /// Exit status or signal in words.
        status: String,
    },
    /// A policy came into force.
    PolicyApplied {
        /// User id of who asked.
        #[serde(default = "gateway", skip_serializing_if = "is_gateway")]
        by: u32,
        /// SHA-256 of the configuration, in hex.
        config: String,
        /// What changed, in words.
        changes: Vec<String>,
        /// In the operator's words.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        why: String,
        /// User id of who proposed it, where another person approved it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposed_by: Option<u32>,
        /// The principal who signed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signer: Option<String>,
    },
    /// An earlier policy came into force again.
    PolicyRolledBack {
        /// User id of who asked.
        #[serde(default = "gateway", skip_serializing_if = "is_gateway")]
        by: u32,
        /// Their name.
        who: String,
        /// Its number in the history.
        version: u64,
        /// SHA-256 of the configuration, in hex.
        config: String,
        /// What changed, in words.
        changes: Vec<String>,
        /// In the operator's words.
        why: String,
        /// User id of who proposed it, where another person approved it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposed_by: Option<u32>,
        /// The principal who signed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signer: Option<String>,
    },
    /// Nobody confirmed what was on trial; the policy before it is in force again.
    PolicyUndone {
        /// Its number in the history.
        version: u64,
        /// SHA-256 of the configuration, in hex.
        config: String,
        /// What changed, in words.
        changes: Vec<String>,
    },
    /// What was on trial stays.
    PolicyConfirmed {
        /// User id of who said so.
        #[serde(default = "gateway", skip_serializing_if = "is_gateway")]
        by: u32,
        /// Their name.
        who: String,
        /// SHA-256 of the configuration, in hex.
        config: String,
    },
    /// A policy waits for a second person.
    PolicyProposed {
        /// User id of who asked.
        #[serde(default = "gateway", skip_serializing_if = "is_gateway")]
        by: u32,
        /// Their name.
        who: String,
        /// SHA-256 of the configuration, in hex.
        config: String,
        /// The number in the history of the policy that is gone back to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
        /// In the operator's words.
        why: String,
    },
    /// A policy that needs a restart was agreed to.
    PolicyAdmitted {
        /// User id of who asked.
        #[serde(default = "gateway", skip_serializing_if = "is_gateway")]
        by: u32,
        /// Their name.
        who: String,
        /// SHA-256 of the configuration, in hex.
        config: String,
        /// User id of who proposed it, where another person approved it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposed_by: Option<u32>,
        /// The principal who signed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signer: Option<String>,
        /// In the operator's words.
        why: String,
    },
    /// Another policy than that of the files is in force since the start.
    PolicyHeld {
        /// Why.
        why: String,
    },
    /// A policy was refused; the old one stays.
    PolicyRefused {
        /// User id of who asked.
        #[serde(default = "gateway", skip_serializing_if = "is_gateway")]
        by: u32,
        /// Why.
        why: String,
    },
    /// The live table differs from the plan.
    Drift {
        /// How.
        what: String,
    },
    /// A device changed its standing.
    DeviceStanding {
        /// Which.
        device: DeviceName,
        /// `active`, `quarantined`, `pending`, `expired`, `revoked`.
        before: String,
        /// `active`, `quarantined`, `pending`, `expired`, `revoked`.
        after: String,
        /// User id of who asked.
        #[serde(default = "gateway", skip_serializing_if = "is_gateway")]
        by: u32,
        /// In their words.
        why: String,
    },
    /// Something else became of a device.
    Device {
        /// Which.
        device: DeviceName,
        /// `added`, `imported`, `enrolled`, `rotated`, `extended`.
        what: String,
        /// User id of who asked.
        #[serde(default = "gateway", skip_serializing_if = "is_gateway")]
        by: u32,
        /// Their name.
        who: String,
        /// In their words.
        why: String,
    },
    /// A device did what it never did.
    Deviation {
        /// Its number, as in `lazaret alerts`.
        alert: u64,
        /// Which.
        device: DeviceName,
        /// `service`, `message`, `sop-class`, `rate`, `hour`, `variety`.
        what: String,
        /// Which one.
        value: String,
        /// `alert` or `quarantine`.
        reaction: String,
    },
    /// Access was opened by hand, is still open, was used for the first time, or ended.
    BreakGlass {
        /// `began`, `used`, `open`, `ended`.
        what: String,
        /// The name of its rule in decisions.
        rule: String,
        /// Who reaches what no rule gives it.
        device: DeviceName,
        /// What that is.
        service: ServiceName,
        /// User id of who opened or ended it.
        #[serde(default = "gateway", skip_serializing_if = "is_gateway")]
        by: u32,
        /// Their name.
        who: String,
        /// In their words, or why it ended.
        why: String,
        /// When it ends at the latest.
        ends: String,
        /// Inspected connections by it since the gateway began.
        uses: u64,
    },
    /// Somebody made, used or took back a token, came with a wrong one, or renewed a certificate.
    Enrolment {
        /// `token-created`, `token-revoked`, `enrolled`, `again`, `certified`, `renewed`, `refused`.
        what: String,
        /// Which token, by the beginning of its hash.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
        /// Which device.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<DeviceName>,
        /// Where it came from, or the user id and name of who asked.
        from: String,
        /// Why, or for what.
        why: String,
    },
    /// The database of the registry cannot be used; what is in force stays in force.
    RegistryTrouble {
        /// Why.
        why: String,
    },
    /// The tunnel of a device came up.
    TunnelUp {
        /// Which.
        device: DeviceName,
    },
    /// The tunnel of a device went down.
    TunnelDown {
        /// Which.
        device: DeviceName,
    },
    /// A device came in by its certificate.
    SessionBegan {
        /// Which.
        device: DeviceName,
        /// The number of its certificate, in hex.
        certificate: String,
        /// From where.
        peer: SocketAddr,
        /// The key exchange of its handshake: `X25519MLKEM768`, `X25519`, ….
        key_exchange: String,
    },
    /// It is gone.
    SessionEnded {
        /// Which.
        device: DeviceName,
        /// How long it was there.
        seconds: u64,
        /// Bytes of packets from it.
        received: u64,
        /// Bytes of packets to it.
        sent: u64,
        /// Why.
        why: String,
    },
    /// Somebody was not let in by a certificate.
    SessionRefused {
        /// Why.
        why: String,
        /// Which, if the certificate was of the gateway's authority.
        device: Option<DeviceName>,
        /// From where, the first time.
        peer: SocketAddr,
        /// How often.
        times: u64,
    },
    /// Inner packets with a foreign source were dropped.
    SourceSpoofed {
        /// Whose key carried them.
        device: DeviceName,
        /// How many.
        packets: u64,
    },
    /// Handshakes were refused.
    HandshakesRefused {
        /// How many.
        handshakes: u64,
    },
    /// A peer was changed through the UAPI socket.
    PeerChanged {
        /// Which.
        device: DeviceName,
        /// What.
        what: String,
    },
    /// A change through the UAPI socket was refused.
    PeerChangeRefused {
        /// What.
        what: String,
    },
    /// An inspected connection was accepted.
    ConnectionOpened {
        /// From now on.
        connection: ConnectionId,
        /// Who.
        device: DeviceName,
        /// To whom.
        service: ServiceName,
        /// Which of the two opened it; left out where it was the device.
        #[serde(default = "device", skip_serializing_if = "is_device")]
        opener: Side,
    },
    /// An intercepted connection was closed at once.
    ConnectionRefused {
        /// From where to where.
        flow: Flow,
        /// Who, if the address is known.
        device: Option<DeviceName>,
        /// Why.
        why: String,
    },
    /// What was decided about a message, answer, association or stream.
    Decision {
        /// On which connection.
        connection: ConnectionId,
        /// Who.
        device: DeviceName,
        /// To whom.
        service: ServiceName,
        /// Who sent what was judged.
        from: Side,
        /// `message`, `answer`, `association`, `stream`.
        what: String,
        /// The type in the protocol's words.
        kind: String,
        /// The rule.
        rule: Option<String>,
        /// `forwarded`, `refused`, ….
        outcome: String,
        /// Reason code.
        reason: Option<String>,
        /// Where.
        location: Option<String>,
        /// What was wrong.
        detail: Option<String>,
        /// What the sender was told.
        answer: Option<String>,
        /// Bytes.
        length: u64,
        /// BLAKE3-256 of the bytes; keyed before it is written.
        digest: Option<Keyed>,
        /// MSH-10 or SOP instance UID; keyed before it is written.
        identifier: Option<Keyed>,
        /// From the last byte to the answer, in microseconds.
        micros: u64,
        /// Codes and places of warnings.
        warnings: Vec<String>,
        /// Why it would have been refused, were its rule not in shadow.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        would_refuse: Option<String>,
    },
    /// An inspected connection ended.
    ConnectionClosed {
        /// Which.
        connection: ConnectionId,
        /// Who.
        device: DeviceName,
        /// To whom.
        service: ServiceName,
        /// Messages to the hospital.
        forwarded: u64,
        /// Messages refused.
        refused: u64,
        /// Bytes from the device.
        received: u64,
        /// Bytes to the hospital.
        sent: u64,
    },
    /// Packets that no rule allows were dropped.
    FlowDenied {
        /// Who, if the address is known.
        device: Option<DeviceName>,
        /// From where to where.
        flow: Flow,
        /// `tcp`, `udp`, `icmp`, ….
        transport: String,
        /// How many since the last such event.
        packets: u64,
        /// Why, if not because no rule allows it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A device has something open to a service that is forwarded without inspection.
    ConsoleBegan {
        /// Who.
        device: DeviceName,
        /// On what.
        service: ServiceName,
        /// Since when.
        since: String,
        /// The gateway found it when it began.
        #[serde(default, skip_serializing_if = "is_no")]
        continued: bool,
    },
    /// Nothing of it is open any more.
    ConsoleEnded {
        /// Who.
        device: DeviceName,
        /// On what.
        service: ServiceName,
        /// How many sessions; more than one where they follow each other faster than they are recorded.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        sessions: u64,
        /// How long it was there.
        seconds: u64,
        /// Connections.
        flows: u64,
        /// Bytes of packets from the device, unless the kernel did not count.
        received: Option<u64>,
        /// Bytes of packets to the device, unless the kernel did not count.
        sent: Option<u64>,
        /// `closed`, `hours`, `idle`, `total`, `revoked`, `quarantined`, `expired`, `pending`, `policy`,
        /// `break-glass`, `killed`, `drained` or `stopped`.
        why: String,
    },
    /// Somebody used the control socket to change something.
    Command {
        /// User id.
        #[serde(default = "gateway", skip_serializing_if = "is_gateway")]
        by: u32,
        /// Which command.
        command: String,
        /// Which peer address or device or connection it was about.
        about: String,
        /// `done` or why not.
        result: String,
    },
    /// Somebody used or changed the certification authority.
    Authority {
        /// `ca init`, `ca rotate`, `issue`, `revoke`.
        what: String,
        /// Which device, listener or serial numbers.
        about: String,
        /// User id.
        #[serde(default = "gateway", skip_serializing_if = "is_gateway")]
        by: u32,
        /// In their words.
        why: String,
        /// `done` or why not.
        result: String,
    },
    /// Records were lost while the journal could not be written.
    RecordsLost {
        /// How many.
        records: u64,
    },
    /// Where the gateway listens.
    Listening {
        /// The UDP address of the tunnel.
        address: SocketAddr,
    },
}

fn one() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_one(number: &u64) -> bool {
    *number == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_no(value: &bool) -> bool {
    !*value
}

fn device() -> Side {
    Side::Device
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_device(side: &Side) -> bool {
    *side == Side::Device
}

/// A value that must not be written as it is: the audit process replaces it by `hmac:HEX` under its own key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keyed {
    /// As it came.
    Raw(Vec<u8>),
    /// HMAC-SHA-256 in hex, with `hmac:` before it.
    Mac(String),
}

impl std::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Raw(_) => f.write_str("(raw)"),
            Self::Mac(mac) => f.write_str(mac),
        }
    }
}

/// What the gateway did by itself says no user.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_gateway(by: &u32) -> bool {
    *by == GATEWAY
}

fn gateway() -> u32 {
    GATEWAY
}

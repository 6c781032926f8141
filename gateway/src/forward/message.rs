//! What the supervisor and a relay say to each other. Descriptors travel beside the message.

use serde::{Deserialize, Serialize};

use crate::flow::ConnectionId;
use crate::inspect::dicom::outstanding::{Entry, Recall};
use crate::inspect::{ConnectionPolicy, Decision, EndReason};

/// Supervisor to relay.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToRelay {
    /// First message: bounds of the process.
    Start {
        /// Most connections at once.
        connections: usize,
        /// Most bytes that all sessions together hold in memory, of all relays that share it.
        memory: usize,
        /// How many share it, and the connections.
        relays: usize,
    },
    /// A connection of a device; one descriptor: the accepted socket.
    Open {
        /// Its identity from now on.
        id: ConnectionId,
        /// Opaque: connections with the same subject (a device) share rates.
        subject: u64,
        /// Opaque: connections with the same exchange (a device and a service) share what was said.
        exchange: u64,
        /// What holds.
        policy: Box<ConnectionPolicy>,
    },
    /// What is remembered of an exchange; before the connections of it.
    Recall {
        /// Of which exchange.
        exchange: u64,
        /// What.
        recall: Recall,
    },
    /// Whether there is little room to remember transactions of all devices together.
    Tight {
        /// Until it is said otherwise.
        tight: bool,
    },
    /// Answer to [`FromRelay::Connect`]; one descriptor: the connected socket.
    Upstream {
        /// For which connection.
        id: ConnectionId,
    },
    /// Answer to [`FromRelay::Connect`]: not reached.
    UpstreamFailed {
        /// For which connection.
        id: ConnectionId,
    },
    /// Answer to [`FromRelay::Spool`]; one descriptor: an unlinked file, or none if there is no room.
    Spool {
        /// For which connection.
        id: ConnectionId,
    },
    /// A new policy for a live connection.
    Update {
        /// Which connection.
        id: ConnectionId,
        /// What holds from the next message on.
        policy: Box<ConnectionPolicy>,
    },
    /// End a connection now.
    Close {
        /// Which connection.
        id: ConnectionId,
        /// Why.
        why: EndReason,
    },
    /// Whether decisions can be recorded.
    Journal {
        /// False: only flows with `without_journal` go on.
        writable: bool,
    },
    /// So many of the decisions that the relay made since its start are on their way to the journal.
    /// Until then no more than [`MOST_UNRECORDED`] may be made, but for what is under way.
    Recorded {
        /// Of all that were sent.
        decisions: u64,
    },
    /// End a connection once nothing is under way on it.
    Finish {
        /// Which connection.
        id: ConnectionId,
    },
    /// Finish what is under way, take nothing new, then exit.
    Drain,
}

/// Decisions that a relay may be ahead of the journal before its connections begin nothing new.
//= C7
//= C8
pub const MOST_UNRECORDED: u64 = 2_048;

/// Relay to supervisor. What it is in bytes is in `compact.rs`.
#[derive(Clone, Debug)]
pub enum FromRelay {
    /// Sealed and ready.
    Ready,
    /// Wants the destination of this connection.
    Connect {
        /// Which connection.
        id: ConnectionId,
    },
    /// Wants a spool file.
    Spool {
        /// Which connection.
        id: ConnectionId,
    },
    /// Decisions to record, in their order.
    Decided(Vec<Decided>),
    /// What must be remembered of the device and service of this connection.
    Keep {
        /// Which connection.
        id: ConnectionId,
        /// What.
        entry: Entry,
    },
    /// The connection is over.
    Closed {
        /// Which connection.
        id: ConnectionId,
        /// Messages forwarded to the hospital.
        forwarded: u64,
        /// Messages refused.
        refused: u64,
        /// Bytes from the device.
        received: u64,
        /// Bytes to the hospital.
        sent: u64,
    },
}

/// What was decided on a connection.
#[derive(Clone, Debug)]
pub struct Decided {
    /// Which connection.
    pub id: ConnectionId,
    /// What was decided.
    pub decision: Decision,
}

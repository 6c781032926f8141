//! What the supervisor and the audit process say to each other.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::event::Event;

/// Supervisor to audit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToAudit {
    /// First message.
    Start {
        /// The gateway's name, in every record.
        gateway: String,
        /// Where the journal is.
        directory: PathBuf,
        /// Rotate at this size.
        rotate_size: u64,
        /// Rotated files to keep; 0 keeps all.
        keep: u32,
        /// Milliseconds between syncs; 0 syncs after each batch.
        sync_ms: u64,
    },
    /// Put on record, in this order.
    Append(Vec<Event>),
    /// Write everything, sync, and answer.
    Flush {
        /// Comes back with the answer.
        request: u64,
    },
    /// Write everything, sync and exit.
    Stop,
}

/// Audit to supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromAudit {
    /// The journal is open; its chain was checked from the last sync point on.
    Ready {
        /// Number of the next record.
        next: u64,
    },
    /// Answer to [`ToAudit::Flush`].
    Flushed {
        /// Of the question.
        request: u64,
    },
    /// The journal cannot be written; records are kept in memory up to a bound.
    Failed {
        /// Why.
        why: String,
    },
    /// It can be written again.
    Recovered,
}

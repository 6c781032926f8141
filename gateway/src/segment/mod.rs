//! Segmentation says whom a device may reach.
//!
//! [`plan`] decides (pure), [`nft`] writes the table in one transaction, [`readback`] reads it again with another tool.
//! [`changes`] says which live flows a new plan ends, [`conntrack`] ends them, and [`resets`] tells both their ends.
//! [`host`] prepares the kernel around the table, [`upstream`] connects to services, [`denied`] hears what was dropped.
//!
//! In: the configuration and a few facts. Out: one `inet lazaret` table.
//! Knows nothing of keys, sessions or what is said inside a connection.

pub mod table;
pub mod plan;
mod chains;
pub mod crowd;
mod dynset;
mod doors;
mod enrolment;
mod errands;
mod frame;
pub mod tunnels;
pub mod changes;
pub mod nft;
pub mod readback;
pub mod conntrack;
pub mod flows;
pub mod resets;
mod netlink;
pub mod host;
pub mod upstream;
pub mod denied;
#[cfg(test)]
mod fixture;

use std::io;

/// Why the table or the flows could not be changed. Nothing was changed then, unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The plan cannot be said in netlink: a fault of this program or a name that is too long.
    #[error("cannot express {what}")]
    Build {
        /// Which object.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No netlink socket.
    #[error("cannot open a netlink socket")]
    Socket(#[source] io::Error),
    /// The whole table must fit one message.
    #[error(
        "the table takes {batch} bytes and the socket sends {buffer} at once \
         (raise net.core.wmem_max to {batch} or give CAP_NET_ADMIN)"
    )]
    TooLarge {
        /// Bytes of the transaction.
        batch: usize,
        /// Bytes that the socket takes.
        buffer: usize,
    },
    /// The kernel was not reached.
    #[error("cannot send to the kernel")]
    Send(#[source] io::Error),
    /// The kernel refused the transaction as a whole.
    #[error("the kernel refuses {what}")]
    Refused {
        /// The object that it stumbled over.
        what: String,
        /// Its reason.
        #[source]
        source: io::Error,
    },
    /// The kernel did not answer, so that only reading back tells whether it was done.
    #[error("the kernel did not answer; read the table back")]
    NoAnswer(#[source] io::Error),
    /// Something other than an answer came.
    #[error("the kernel's answer cannot be understood")]
    Answer,
}

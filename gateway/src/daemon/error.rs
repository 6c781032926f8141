//! Why the gateway cannot start or go on.

use std::io;

use super::enforce::EnforceError;
use super::privileges::SealError;
use crate::registry::RegistryError;
use crate::segment::host::HostError;
use crate::tunnel::device::TunError;

/// Why the gateway cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The supervisor could not limit its powers.
    #[error("cannot limit the powers of the supervisor")]
    Seal(#[from] SealError),
    /// The registry cannot be read.
    #[error("cannot open the registry")]
    Registry(#[from] RegistryError),
    /// The TUN interface cannot be made.
    #[error("cannot make the tunnel interface")]
    Tun(#[from] TunError),
    /// The kernel cannot be prepared.
    #[error("cannot prepare the kernel")]
    Host(#[from] HostError),
    /// The table cannot be loaded.
    #[error("cannot segment the network")]
    Enforce(#[from] EnforceError),
    /// A socket cannot be bound.
    #[error("cannot listen on {what}")]
    Listen {
        /// What it is for.
        what: String,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Anything else of the operating system.
    #[error("cannot {step}")]
    System {
        /// What was to be done.
        step: &'static str,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

//! The log: what an operator cares about, on standard error. Never payload; the audit journal is something else.

use tracing_subscriber::EnvFilter;

/// Starts the log of this process. `LAZARET_LOG` holds the level, `info` by default.
pub(super) fn start() {
    let wanted = EnvFilter::try_from_env(super::worker::LOG_VARIABLE);
    let filter =
        wanted.unwrap_or_else(|_| EnvFilter::new(format!("info,{}", crate::tunnel::QUIET)));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if log.with_ansi(false).with_target(false).try_init().is_err() {
        tracing::debug!("the log was started already");
    }
}

//! The log: what an operator cares about, on standard error. Never payload; the audit journal is something else.

use tracing_subscriber::EnvFilter;

/// Starts the log of this process. `LAZARET_LOG` holds the level, `info` by default.
pub(super) fn start(_process: &str) {
    let filter = EnvFilter::try_from_env(super::worker::LOG_VARIABLE)
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .try_init();
    if started.is_err() {
        tracing::debug!("the log was started already");
    }
}

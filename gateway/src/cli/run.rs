//! `lazaret run` and the hidden `lazaret worker KIND`: the daemon and its processes.

use clap::Args;
use tracing_subscriber::EnvFilter;

use super::context::Context;
use super::{CliError, Exit};
use crate::daemon;

/// Arguments of `worker`.
#[derive(Debug, Args)]
pub(super) struct Worker {
    /// Which process
    kind: String,
}

pub(super) fn run(context: &Context<'_>) -> Result<Exit, CliError> {
    log();
    daemon::run(&context.config_dir)?;
    Ok(Exit::Ok)
}

impl Worker {
    pub(super) fn run(&self) -> Result<Exit, CliError> {
        log();
        daemon::worker(&self.kind)?;
        Ok(Exit::Ok)
    }
}

/// The log goes to the standard error; `LAZARET_LOG` says how much of it.
fn log() {
    let filter = EnvFilter::try_from_env("LAZARET_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A second call, in tests, changes nothing.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}

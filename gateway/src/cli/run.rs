//! `lazaret run` and the hidden `lazaret worker KIND`: the daemon and its processes.

use clap::Args;

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
    daemon::run(daemon::choose(&context.config_dir)?)?;
    Ok(Exit::Ok)
}

impl Worker {
    pub(super) fn run(&self) -> Result<Exit, CliError> {
        daemon::worker(&self.kind)?;
        Ok(Exit::Ok)
    }
}

//! `lazaret completion SHELL`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::context::Context;
use super::{Cli, CliError, Exit};

/// Arguments of `completion`.
#[derive(Debug, Args)]
pub(super) struct Completion {
    /// For which shell
    shell: Shell,
}

impl Completion {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "lazaret", &mut script);
        context.out.write_all(&script)?;
        Ok(Exit::Ok)
    }
}

//! What every subcommand needs: where the configuration is, where and how to print, and the daemon.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use lazaret_config::Config;
use serde::Serialize;

use super::{CliError, Exit};
use crate::control::client;
use crate::control::message::{Request, Response};

/// What every subcommand needs.
pub(super) struct Context<'a> {
    /// `--config`.
    pub(super) config_dir: PathBuf,
    /// `--json`.
    pub(super) json: bool,
    /// Whether words may be coloured.
    pub(super) colour: bool,
    /// Where the result goes.
    pub(super) out: &'a mut dyn Write,
}

impl Context<'_> {
    /// Prints text as it is.
    pub(super) fn print(&mut self, text: &str) -> Result<(), CliError> {
        Ok(self.out.write_all(text.as_bytes())?)
    }

    /// Prints one JSON object with its version in one line.
    pub(super) fn print_json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let line = serde_json::to_string(&Versioned { v: 1, value })?;
        Ok(writeln!(self.out, "{line}")?)
    }

    /// The configuration in the files.
    pub(super) fn config(&self) -> Result<Config, CliError> {
        Ok(Config::load(&self.config_dir)?)
    }

    /// Asks the daemon; what it refuses is an error.
    pub(super) fn ask(&self, request: &Request) -> Result<Response, CliError> {
        let response = client::ask(&lazaret_config::runtime_dir(&self.config_dir), request)?;
        if let Response::Failed { kind, why } = response {
            return Err(CliError::refused(kind, why));
        }
        Ok(response)
    }

    /// A good or bad word, coloured if that is wanted.
    pub(super) fn verdict(&self, word: &str, good: bool) -> String {
        match (self.colour, good) {
            (false, _) => word.to_owned(),
            (true, true) => format!("\u{1b}[1;32m{word}\u{1b}[0m"),
            (true, false) => format!("\u{1b}[1;31m{word}\u{1b}[0m"),
        }
    }
}

/// The daemon answered something that is no answer to the question.
pub(super) fn strange() -> CliError {
    CliError::new(Exit::Failure, "the gateway is of another version")
}

/// Colour only on a terminal, and not when `NO_COLOR` says so.
pub(super) fn terminal_colour() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !unwanted && std::io::stdout().is_terminal()
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    v: u32,
    #[serde(flatten)]
    value: &'a T,
}

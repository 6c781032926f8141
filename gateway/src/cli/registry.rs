//! `lazaret registry backup|adopt`: what the database of devices needs from an operator.

use std::path::PathBuf;

use clap::Subcommand;

use super::apply::done;
use super::context::Context;
use super::{CliError, Exit};
use crate::control::message::Request;

/// Subcommands of `registry`.
#[derive(Debug, Subcommand)]
pub(super) enum Registry {
    /// Copy the database into a new file while the gateway works
    Backup {
        /// The new file, where the gateway may write
        path: PathBuf,
    },
    /// Take the database that is there as the registry's, or make one; the gateway writes down what it knows.
    ///
    /// Needed when the database was lost, damaged, put back from a copy, or moved.
    /// A damaged file is put aside. Nobody may do more by it: what is revoked or in quarantine stays so.
    Adopt {
        /// Why, for the journal
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            hide_default_value = true
        )]
        why: String,
    },
}

impl Registry {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let request = match self {
            Self::Backup { path } => Request::Backup {
                path: std::path::absolute(path)?,
            },
            Self::Adopt { why } => Request::Adopt { why },
        };
        let response = context.ask(&request)?;
        done(context, &response)
    }
}

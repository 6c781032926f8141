//! `lazaret device …`: who is known, what became of them, and who may what.

mod change;
mod habit;
mod list;
mod seen;

pub(in crate::cli) use change::{Described, Why};

use clap::Subcommand;

use super::context::{Context, strange};
use super::{CliError, Exit};
use crate::control::message::{Request, Response, Standing};
use crate::flow::DeviceName;

/// Subcommands of `device`.
#[derive(Debug, Subcommand)]
pub(super) enum Device {
    /// All devices and how they fare
    List(list::List),
    /// One device and its story
    Show {
        /// Its name
        device: DeviceName,
    },
    /// Make a device known that stands in no file
    Add(Box<change::Add>),
    /// Let in a device that waits for it
    Approve(change::Change),
    /// Let nothing of a device pass; its tunnel stays up
    Quarantine(change::Change),
    /// Let a quarantined or revoked device do again what the rules say
    Release(change::Change),
    /// Refuse the key of a device
    Revoke(change::Change),
    /// Give a device another key
    Rotate(change::Rotate),
    /// Give a device that stands in no file another end
    Extend(change::Extend),
    /// Take a revoked device that stands in no file out of all lists; its name and its key stay taken
    Remove(change::Remove),
    /// Print the devices as a list for a spreadsheet, or as JSON
    Export(list::Export),
    /// Make all devices of a list known, or none
    Import(change::Import),
}

impl Device {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        match self {
            Self::List(list) => list.run(context),
            Self::Show { device } => list::show(context, device),
            Self::Add(add) => add.run(context),
            Self::Approve(change) => change.run(context, Standing::Active, true),
            Self::Quarantine(change) => change.run(context, Standing::Quarantined, false),
            Self::Release(change) => change.run(context, Standing::Active, false),
            Self::Revoke(change) => change.run(context, Standing::Revoked, false),
            Self::Rotate(rotate) => rotate.run(context),
            Self::Extend(extend) => extend.run(context),
            Self::Remove(remove) => remove.run(context),
            Self::Export(export) => export.run(context),
            Self::Import(import) => import.run(context),
        }
    }
}

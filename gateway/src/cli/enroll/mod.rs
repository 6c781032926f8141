//! `lazaret enroll …`: tokens with which devices enrol themselves, configurations for the WireGuard apps,
//! and the enrolment of the machine on which the command runs.

mod machine;
mod token;
mod wireguard;

use clap::Subcommand;

use super::context::Context;
use super::{CliError, Exit};

/// Subcommands of `enroll`.
#[derive(Debug, Subcommand)]
pub(super) enum Enroll {
    /// Make, show and take back tokens
    #[command(subcommand)]
    Token(token::Token),
    /// Make a device known and print its configuration for the WireGuard apps, once
    Wireguard(Box<wireguard::Wireguard>),
    /// On the machine that is enrolled: make a key and get a certificate for it with a token
    Request(machine::Request),
    /// On the machine that is enrolled: renew its certificate when it is time
    Renew(machine::Renew),
}

impl Enroll {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        match self {
            Self::Token(token) => token.run(context),
            Self::Wireguard(wireguard) => wireguard.run(context),
            Self::Request(request) => request.run(context),
            Self::Renew(renew) => renew.run(context),
        }
    }
}

//! `lazaret apply`, `rollback`, `approve` and `confirm`: the daemon puts a policy into force.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::context::{Context, strange};
use super::units::{parse_period, period};
use super::{CliError, Exit};
use crate::control::message::{Request, Response};

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub(super) struct Apply {
    /// Undo it after this time (90s, 10m, 1h) unless `lazaret confirm` is called
    #[arg(long, value_name = "TIME", value_parser = parse_period)]
    confirm: Option<Duration>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// A signature under what `lazaret check --statement` prints, made with `ssh-keygen -Y sign -n lazaret-policy`
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
}

impl Apply {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let signature = match &self.signature {
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
                let text = format!("cannot read {}: {error}", path.display());
                CliError::new(Exit::Failure, text)
            })?),
            None => None,
        };
        let response = context.ask(&Request::Apply {
            confirm_seconds: self.confirm.map(|time| time.as_secs()),
            why: self.why.clone().unwrap_or_default(),
            signature,
        })?;
        applied(context, &response)
    }
}

/// Arguments of `rollback`.
#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The version, as `lazaret history` numbers it
    number: u64,
    /// Undo it after this time (90s, 10m, 1h) unless `lazaret confirm` is called
    #[arg(long, value_name = "TIME", value_parser = parse_period)]
    confirm: Option<Duration>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

impl Rollback {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let response = context.ask(&Request::Rollback {
            number: self.number,
            confirm_seconds: self.confirm.map(|time| time.as_secs()),
            why: self.why.clone().unwrap_or_default(),
        })?;
        applied(context, &response)
    }
}

/// Arguments of `approve`.
#[derive(Debug, Args)]
pub(super) struct Approve {
    /// The digest of what was proposed, or its first 12 digits and more
    digest: String,
}

impl Approve {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let response = context.ask(&Request::Approve {
            digest: self.digest.clone(),
        })?;
        applied(context, &response)
    }
}

/// Prints what came into force, or waits for a second person.
fn applied(context: &mut Context<'_>, response: &Response) -> Result<Exit, CliError> {
    let text = if let Response::Proposed { digest, seconds } = response {
        proposed(digest, *seconds)
    } else if let Response::Applied {
        changes,
        confirm_seconds,
    } = response
    {
        render(changes, *confirm_seconds)
    } else {
        return Err(strange());
    };
    if context.json {
        context.print_json(response)?;
    } else {
        context.print(&text)?;
    }
    Ok(Exit::Ok)
}

pub(super) fn confirm(context: &mut Context<'_>) -> Result<Exit, CliError> {
    let response = context.ask(&Request::Confirm).map_err(|error| {
        // The daemon answers, but there is nothing to keep, or not any more.
        if error.exit == Exit::Failure {
            error.with(Exit::NotConfirmed)
        } else {
            error
        }
    })?;
    done(context, &response)
}

/// Prints what the daemon did.
pub(super) fn done(context: &mut Context<'_>, response: &Response) -> Result<Exit, CliError> {
    let Response::Done { what } = response else {
        return Err(strange());
    };
    if context.json {
        context.print_json(response)?;
    } else {
        context.print(&format!("{what}\n"))?;
    }
    Ok(Exit::Ok)
}

fn proposed(digest: &str, seconds: u64) -> String {
    let short = digest.get(..12).unwrap_or(digest);
    let left = period(seconds);
    format!("proposed: another operator has {left} to run: lazaret approve {short}\n")
}

fn render(changes: &[String], confirm_seconds: Option<u64>) -> String {
    let mut text = match changes {
        [] => "nothing changed\n".to_owned(),
        changes => changes.iter().map(|change| format!("{change}\n")).collect(),
    };
    if let Some(seconds) = confirm_seconds {
        let left = period(seconds);
        text.push_str(&format!(
            "this is undone in {left} unless you run: lazaret confirm\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_and_how_long_it_holds() {
        let changes = [
            "device us-07 added".to_owned(),
            "rule consoles removed".to_owned(),
        ];
        insta::assert_snapshot!(format!(
            "{}--\n{}--\n{}",
            render(&changes, Some(600)),
            render(&[], None),
            proposed(&"4f3c9a0b1d2e".repeat(6), 86_400)
        ));
    }
}

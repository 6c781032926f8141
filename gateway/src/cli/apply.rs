//! `lazaret apply` and `lazaret confirm`: the daemon puts the files into force.

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
}

impl Apply {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let response = context.ask(&Request::Apply {
            confirm_seconds: self.confirm.map(|time| time.as_secs()),
        })?;
        let Response::Applied {
            changes,
            confirm_seconds,
        } = &response
        else {
            return Err(strange());
        };
        if context.json {
            context.print_json(&response)?;
        } else {
            context.print(&render(changes, *confirm_seconds))?;
        }
        Ok(Exit::Ok)
    }
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
            "{}--\n{}",
            render(&changes, Some(600)),
            render(&[], None)
        ));
    }
}

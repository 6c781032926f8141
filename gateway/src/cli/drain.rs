//! `lazaret drain`: nothing new is taken, and what is under way may be finished, before a restart.

use std::time::Duration;

use clap::Args;

use super::apply::done;
use super::context::{Context, strange};
use super::units::{counted, parse_period};
use super::{CliError, Exit};
use crate::control::message::{Request, Response};

/// Arguments of `drain`.
#[derive(Debug, Args)]
pub(super) struct Drain {
    /// End what is left after this time (30s, 5m)
    #[arg(long, value_name = "TIME", value_parser = parse_period, default_value = "60s")]
    timeout: Duration,
    /// Take connections again
    #[arg(long, conflicts_with = "timeout")]
    cancel: bool,
}

impl Drain {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        if self.cancel {
            let response = context.ask(&Request::Drain {
                timeout_seconds: None,
            })?;
            return done(context, &response);
        }
        let left = drain(context, self.timeout)?;
        let what = match left {
            0 => "no session is left; nothing new is taken".to_owned(),
            left => format!("{} still there", counted(left, "session")),
        };
        done(context, &Response::Done { what })?;
        Ok(if left == 0 { Exit::Ok } else { Exit::Failure })
    }
}

/// Drains, and waits until it is done; how many sessions are left.
pub(super) fn drain(context: &Context<'_>, timeout: Duration) -> Result<usize, CliError> {
    let timeout_seconds = Some(timeout.as_secs());
    context.ask(&Request::Drain { timeout_seconds })?;
    // What is left at the deadline is ended, which takes a moment.
    let turns = timeout.saturating_add(GRACE).as_millis() / TURN.as_millis();
    for _ in 0..turns {
        if sessions(context)? == 0 {
            return Ok(0);
        }
        std::thread::sleep(TURN);
    }
    sessions(context)
}

fn sessions(context: &Context<'_>) -> Result<usize, CliError> {
    let Response::Status(status) = context.ask(&Request::Status)? else {
        return Err(strange());
    };
    Ok(status.sessions)
}

const TURN: Duration = Duration::from_millis(200);
const GRACE: Duration = Duration::from_secs(5);

//! `lazaret learn`: rules that let pass what was seen, and nothing else.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use lazaret_config::{Config, Habit, Proposal, Seen};
use serde::Serialize;

use super::context::{Context, strange};
use super::units::{counted, parse_long_period, period};
use super::{CliError, Exit};
use crate::control::message::{
    BehaviourRequest, BehaviourResponse, HabitLine, HabitStatus, Request, Response,
};
use crate::daemon::SystemClock;
use crate::flow::{Clock, DeviceName};

/// Arguments of `learn`.
#[derive(Debug, Args)]
pub(super) struct Learn {
    /// Only of this device
    #[arg(long, value_name = "NAME", conflicts_with = "role")]
    device: Option<DeviceName>,
    /// Only of devices with this role
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// Only what was seen in so long
    #[arg(long, value_name = "TIME", value_parser = parse_long_period)]
    since: Option<Duration>,
    /// Write the rules to a new file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

impl Learn {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let request = BehaviourRequest::Habits {
            device: self.device.clone(),
            role: self.role.clone(),
        };
        let Response::Behaviour(BehaviourResponse::Habits { habits }) =
            context.ask(&Request::Behaviour(request))?
        else {
            return Err(strange());
        };
        let sources = lazaret_config::sources(&context.config_dir)?;
        let config = Config::from_sources(&context.config_dir, &sources)?;
        let whole = self.device.is_none() && self.role.is_none() && self.since.is_none();
        let known = self.known(&habits);
        let files = (context.config_dir.as_path(), sources.as_slice());
        let proposal = lazaret_config::propose(files, &config, &known, whole);
        if let Some(path) = self.write.as_ref().filter(|_| proposal.rules > 0) {
            write(path, &proposal.text)?;
        }
        self.print(&proposal, &habits, context)?;
        Ok(match proposal.trouble {
            Some(_) => Exit::Configuration,
            None => Exit::Ok,
        })
    }

    /// What was seen in the time that was asked for.
    fn known(&self, habits: &[HabitStatus]) -> Vec<Habit> {
        let now = SystemClock.wall();
        let begin = self.since.and_then(|since| now.checked_sub(since).ok());
        let recent = |line: &&HabitLine| begin.is_none_or(|begin| line.last >= begin);
        let habits = habits.iter().map(|habit| Habit {
            device: habit.device.clone(),
            roles: habit
                .roles
                .iter()
                .filter_map(|role| role.parse().ok())
                .collect(),
            weeks: habit.watched_seconds >= WEEK,
            busiest_minute: habit.busiest_minute,
            hours: hours(&habit.hours),
            seen: habit.lines.iter().filter(recent).map(seen).collect(),
        });
        habits.collect()
    }

    fn print(
        &self,
        proposal: &Proposal,
        habits: &[HabitStatus],
        context: &mut Context<'_>,
    ) -> Result<(), CliError> {
        if context.json {
            return context.print_json(&Learnt {
                rules: proposal.rules,
                replaces: proposal.replaces.keys().map(ToString::to_string).collect(),
                trouble: proposal.trouble.as_deref(),
                toml: &proposal.text,
                habits,
            });
        }
        let learning = habits.iter().filter_map(|habit| habit.learning_seconds);
        if let Some(longest) = learning.clone().max() {
            let (devices, longest) = (counted(learning.count(), "device"), period(longest));
            context.print(&format!(
                "# {devices} still being learnt, for up to {longest}\n"
            ))?;
        }
        match &self.write {
            // A file without a rule would only be one more version of the policy.
            Some(path) if proposal.rules > 0 => {
                let rules = counted(proposal.rules, "rule");
                context.print(&format!("{rules} written to {}\n", path.display()))?;
            }
            Some(_) | None => context.print(&proposal.text)?,
        }
        if let Some(trouble) = &proposal.trouble {
            let lines = trouble.lines().map(|line| format!("# {line}\n"));
            let lines: String = lines.collect();
            context.print(&format!("\n# It is not accepted as it is:\n{lines}"))?;
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(path)?;
    file.write_all(text.as_bytes())
}

fn seen(line: &HabitLine) -> Seen {
    Seen {
        service: line.service.clone(),
        rule: line.rule.clone(),
        message: line.message.clone(),
        sop_class: line.sop_class.clone(),
        amount: line.amount,
        largest: line.largest,
        would_refuse: line.would_refuse,
    }
}

/// The hours at which something was seen.
fn hours(counts: &[u16]) -> BTreeSet<u8> {
    let seen = (0u8..).zip(counts).filter(|(_, count)| **count > 0);
    seen.map(|(hour, _)| hour).collect()
}

#[derive(Serialize)]
struct Learnt<'l> {
    rules: usize,
    replaces: Vec<String>,
    trouble: Option<&'l str>,
    toml: &'l str,
    habits: &'l [HabitStatus],
}

const WEEK: u64 = 7 * 24 * 3600;

//! `lazaret break-glass`: access for a time that no rule gives, with a reason, on record and with an alarm.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::apply::done;
use super::context::{Context, strange};
use super::table::Table;
use super::units::{count, parse_period, period};
use super::{CliError, Exit};
use crate::control::message::{AccessRequest, AccessStatus, Request, Response};
use crate::flow::{DeviceName, ServiceName};

/// `break-glass DEVICE SERVICE --for 30m --reason TEXT`, `break-glass list`, `break-glass end NUMBER`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct BreakGlass {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    open: Option<Open>,
}

/// What to open.
#[derive(Debug, Args)]
struct Open {
    /// The device
    device: DeviceName,
    /// The service that it may reach meanwhile
    service: ServiceName,
    /// How long (90s, 30m, 2h)
    #[arg(long = "for", value_name = "TIME", value_parser = parse_period)]
    period: Duration,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Open it although the device is in quarantine, and stays there
    #[arg(long)]
    although_quarantined: bool,
}

#[derive(Debug, Subcommand)]
enum Other {
    /// Show what is open
    List,
    /// End it before its time
    End {
        /// Its number, as `lazaret break-glass list` says
        number: u64,
        /// Why, for the journal
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            hide_default_value = true
        )]
        reason: String,
    },
}

impl BreakGlass {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let request = match (self.other, self.open) {
            (Some(Other::List), _) => AccessRequest::List,
            (Some(Other::End { number, reason }), _) => {
                let why = reason;
                let request = AccessRequest::End { number, why };
                let response = context.ask(&Request::BreakGlass(request))?;
                return done(context, &response);
            }
            (None, Some(open)) => AccessRequest::Open {
                device: open.device,
                service: open.service,
                seconds: open.period.as_secs(),
                why: open.reason,
                in_quarantine: open.although_quarantined,
            },
            (None, None) => return Err(CliError::new(Exit::Usage, "say what to open, or list")),
        };
        let is_list = request == AccessRequest::List;
        let response = context.ask(&Request::BreakGlass(request))?;
        if context.json {
            context.print_json(&response)?;
            return Ok(Exit::Ok);
        }
        let Response::BreakGlass { accesses, trouble } = response else {
            return Err(strange());
        };
        let mut text = if is_list {
            listed(&accesses)
        } else {
            accesses.iter().map(opened).collect()
        };
        if let Some(trouble) = trouble {
            text.push_str(&format!("ALARM: {trouble}\n"));
        }
        context.print(&text)?;
        Ok(Exit::Ok)
    }
}

fn opened(access: &AccessStatus) -> String {
    format!(
        "device {} reaches service {} for {}, until {}\nend it with: lazaret break-glass end {}\n",
        access.device,
        access.service,
        period(access.seconds),
        access.ends,
        access.number
    )
}

fn listed(accesses: &[AccessStatus]) -> String {
    if accesses.is_empty() {
        return "nothing is open beside the rules\n".to_owned();
    }
    let mut table =
        Table::new(&["NUMBER", "DEVICE", "SERVICE", "LEFT", "USES", "BY", "WHY"]).right(&[0, 3, 4]);
    for access in accesses {
        let device = if access.in_quarantine {
            format!("{} (although quarantined)", access.device)
        } else {
            access.device.to_string()
        };
        table.row([
            access.number.to_string(),
            device,
            access.service.to_string(),
            period(access.seconds),
            count(access.uses),
            access.by.name.clone(),
            access.why.clone(),
        ]);
    }
    table.render()
}

/// For `status`: one line an access.
pub(super) fn alarms(accesses: &[AccessStatus]) -> impl Iterator<Item = String> {
    accesses.iter().map(|access| {
        let left = period(access.seconds);
        format!(
            "ALARM: break-glass access {}: device {} reaches service {} for {left}, opened by {}",
            access.number, access.device, access.service, access.by.name
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::Person;

    #[test]
    fn what_is_open_is_shown() {
        let access = AccessStatus {
            number: 3,
            rule: "BREAK-GLASS-3".to_owned(),
            device: "us-07".parse().unwrap(),
            service: "pacs".parse().unwrap(),
            in_quarantine: false,
            why: "shock room".to_owned(),
            by: Person {
                uid: 1001,
                name: "ana".to_owned(),
            },
            began: "2026-11-22T18:00:00Z".parse().unwrap(),
            ends: "2026-11-22T18:30:00Z".parse().unwrap(),
            seconds: 1200,
            uses: 2,
        };
        let other = AccessStatus {
            in_quarantine: true,
            ..access.clone()
        };
        let all = [access.clone(), other];
        let response = Response::BreakGlass {
            accesses: vec![access.clone()],
            trouble: None,
        };
        let alarms: Vec<String> = alarms(&all[..1]).collect();
        insta::assert_snapshot!(format!(
            "{}\n{}\n{}\n{}\n{}",
            opened(&access),
            listed(&all),
            listed(&[]),
            alarms.join("\n"),
            serde_json::to_string(&response).unwrap()
        ));
    }
}

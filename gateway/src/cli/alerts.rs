//! `lazaret alerts`: what devices did that they never did before.

use clap::{Args, Subcommand};

use super::apply::done;
use super::context::{Context, strange};
use super::device::Why;
use super::table::Table;
use super::units::count;
use super::{CliError, Exit};
use crate::control::message::{
    AlertStatus, BehaviourRequest, BehaviourResponse, Request, Response,
};
use crate::flow::DeviceName;

/// Arguments of `alerts`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Alerts {
    #[command(subcommand)]
    command: Option<Command>,
    /// Only of this device
    #[arg(long, value_name = "NAME")]
    device: Option<DeviceName>,
    /// Also those that were accepted
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say that what the alerts tell of a device is usual from now on
    Accept(Whose),
    /// Forget what was learnt of a device and learn it anew
    Relearn(Whose),
}

#[derive(Debug, Args)]
struct Whose {
    /// Its name
    device: DeviceName,
    #[command(flatten)]
    why: Why,
}

impl Alerts {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let request = match self.command {
            Some(Command::Accept(whose)) => BehaviourRequest::Accept {
                device: whose.device,
                why: whose.why.why,
            },
            Some(Command::Relearn(whose)) => BehaviourRequest::Relearn {
                device: whose.device,
                why: whose.why.why,
            },
            None => return list(context, self.device, self.all),
        };
        let response = context.ask(&Request::Behaviour(request))?;
        done(context, &response)
    }
}

fn list(
    context: &mut Context<'_>,
    device: Option<DeviceName>,
    all: bool,
) -> Result<Exit, CliError> {
    let mut alerts = ask(context, device)?;
    alerts.retain(|alert| all || !alert.accepted);
    if context.json {
        let alerts = BehaviourResponse::Alerts { alerts };
        context.print_json(&Response::Behaviour(alerts))?;
    } else if alerts.is_empty() {
        context.print("no alerts\n")?;
    } else {
        context.print(&render(&alerts))?;
    }
    Ok(Exit::Ok)
}

/// What was told of a device, or of all.
pub(super) fn ask(
    context: &Context<'_>,
    device: Option<DeviceName>,
) -> Result<Vec<AlertStatus>, CliError> {
    let request = Request::Behaviour(BehaviourRequest::Alerts { device });
    let Response::Behaviour(BehaviourResponse::Alerts { alerts }) = context.ask(&request)? else {
        return Err(strange());
    };
    Ok(alerts)
}

/// A line each.
pub(super) fn render(alerts: &[AlertStatus]) -> String {
    let header = [
        "ALERT",
        "DEVICE",
        "WHAT IT DOES",
        "HOW OFTEN",
        "FIRST",
        "LAST",
        "",
    ];
    let mut table = Table::new(&header).right(&[0, 3]);
    for alert in alerts {
        let others = match alert.values.get(1..).unwrap_or_default() {
            [] => String::new(),
            others => format!("; also {}", others.join(", ")),
        };
        let state = match (alert.accepted, alert.quarantines) {
            (true, _) => "accepted",
            (false, true) => "QUARANTINE",
            (false, false) => "",
        };
        table.row([
            alert.number.to_string(),
            alert.device.to_string(),
            format!("{}{others}", alert.words),
            count(alert.amount),
            alert.first.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
            alert.last.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
            state.to_owned(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_lines() {
        let alert = |number, words: &str, values: &[&str], accepted, quarantines| AlertStatus {
            number,
            device: "ecg-0042".parse().unwrap(),
            what: "message".to_owned(),
            words: words.to_owned(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            amount: 1204,
            first: "2026-11-22T08:00:00Z".parse().unwrap(),
            last: "2026-11-22T08:00:04.5Z".parse().unwrap(),
            quarantines,
            accepted,
        };
        insta::assert_snapshot!(render(&[
            alert(
                3,
                "sends ADT^A01 to his for the first time",
                &["ADT^A01 to his", "MDM^T02 to his"],
                false,
                true
            ),
            alert(
                2,
                "sends too much: 40 messages in a minute, 2 before",
                &["x"],
                false,
                false
            ),
            alert(
                1,
                "is there at an unusual hour: sat 03:00",
                &["sat 03:00"],
                true,
                false
            ),
        ]));
    }
}

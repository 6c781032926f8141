//! `lazaret flow denied`.

use clap::Subcommand;

use super::context::{Context, strange};
use super::table::Table;
use super::units::{ago, count};
use super::{CliError, Exit};
use crate::control::message::{DeniedFlow, Request, Response};

/// Subcommands of `flow`.
#[derive(Debug, Subcommand)]
pub(super) enum Flow {
    /// Recently denied flows, newest first
    Denied,
}

impl Flow {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let Self::Denied = self;
        let response = context.ask(&Request::Denied)?;
        let Response::Denied { flows } = &response else {
            return Err(strange());
        };
        if context.json {
            context.print_json(&response)?;
        } else {
            context.print(&render(flows))?;
        }
        Ok(Exit::Ok)
    }
}

fn render(flows: &[DeniedFlow]) -> String {
    let mut table = Table::new(&[
        "LAST",
        "DEVICE",
        "FROM",
        "TO",
        "TRANSPORT",
        "PACKETS",
        "WHY",
    ])
    .right(&[5]);
    for denied in flows {
        let device = denied
            .device
            .as_ref()
            .map_or("unknown".to_owned(), ToString::to_string);
        table.row([
            ago(Some(denied.seconds)),
            device,
            denied.flow.source.to_string(),
            denied.flow.destination.to_string(),
            denied.transport.clone(),
            count(denied.packets),
            denied.why.clone(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denied_flows_are_shown() {
        let denied = DeniedFlow {
            device: Some("ecg-0042".parse().unwrap()),
            flow: crate::flow::Flow {
                source: "10.64.0.1".parse().unwrap(),
                destination: "10.20.1.10:104".parse().unwrap(),
            },
            transport: "tcp".to_owned(),
            packets: 1234,
            seconds: 3,
            why: "no rule".to_owned(),
        };
        let stranger = DeniedFlow {
            device: None,
            flow: crate::flow::Flow {
                source: "fd64::9".parse().unwrap(),
                destination: "[fd20::5]:22".parse().unwrap(),
            },
            packets: 1,
            ..denied.clone()
        };
        let flows = vec![denied, stranger];
        let json = serde_json::to_string(&Response::Denied {
            flows: flows.clone(),
        });
        insta::assert_snapshot!(format!("{}\n{}", render(&flows), json.unwrap()));
    }
}

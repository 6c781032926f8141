//! `lazaret check`: loads, tests, prints, touches nothing.

use clap::Args;
use lazaret_config::{Config, Identity};
use serde::Serialize;

use super::context::Context;
use super::units::{bytes, count, counted};
use super::{CliError, Exit};
use crate::daemon;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Print what must be signed where `[policy]` asks for signatures
    #[arg(long)]
    statement: bool,
}

pub(super) fn run(check: &Check, context: &mut Context<'_>) -> Result<Exit, CliError> {
    let checked = daemon::check(&context.config_dir)?;
    if check.statement {
        let statement = daemon::statement(&checked);
        if context.json {
            context.print_json(&Statement { statement })?;
        } else {
            context.print(&statement)?;
        }
        return Ok(Exit::Ok);
    }
    let config = checked.config;
    let summary = Summary::of(&config);
    if context.json {
        context.print_json(&summary)?;
    } else {
        context.print(&render(&summary, &config))?;
    }
    Ok(Exit::Ok)
}

#[derive(Clone, Debug, Serialize)]
struct Statement {
    statement: String,
}

#[derive(Clone, Debug, Serialize)]
struct Summary {
    gateway: String,
    devices: usize,
    via: usize,
    services: usize,
    rules: usize,
    roles: usize,
    tests: usize,
}

impl Summary {
    fn of(config: &Config) -> Self {
        let via = |device: &&lazaret_config::Device| matches!(device.identity, Identity::Via(_));
        Self {
            gateway: config.gateway.name.clone(),
            devices: config.devices.len(),
            via: config.devices.values().filter(via).count(),
            services: config.services.len(),
            rules: config.rules.len(),
            roles: config.roles.len(),
            tests: config
                .tests
                .iter()
                .map(|t| t.allow.len() + t.deny.len())
                .sum(),
        }
    }
}

fn render(summary: &Summary, config: &Config) -> String {
    let limits = &config.limits;
    let via = match summary.via {
        0 => String::new(),
        via => format!(" ({} identified by address only)", count(via)),
    };
    let tests = match summary.tests {
        0 => "no policy tests".to_owned(),
        1 => "1 policy test holds".to_owned(),
        tests => format!("{} policy tests hold", count(tests)),
    };
    format!(
        "{}: the configuration is good\n\
         {}{via}, {}, {}, {}; {tests}\n\
         bounds: {} inspected connections, {} a device; HL7 message {}, DICOM data set {}, spool {}\n",
        summary.gateway,
        counted(summary.devices, "device"),
        counted(summary.services, "service"),
        counted(summary.rules, "rule"),
        counted(summary.roles, "role"),
        count(limits.connections),
        count(limits.connections_per_device),
        bytes(limits.hl7_message),
        bytes(limits.dicom_dataset),
        bytes(limits.spool),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample::config;

    #[test]
    fn summary() {
        let config = config();
        let summary = Summary::of(&config);
        insta::assert_snapshot!(render(&summary, &config));
        insta::assert_snapshot!(serde_json::to_string(&summary).unwrap());
    }
}

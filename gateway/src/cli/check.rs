//! `lazaret check`: loads, tests, prints, touches nothing.

use clap::Args;
use lazaret_config::{Config, Identity};
use serde::Serialize;

use super::context::Context;
use super::enrolled::Beside;
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
    let summary = Summary::of(&config, &Beside::of(context, &config));
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
    /// Devices that stand in no file.
    enrolled: usize,
    /// Those whom these files keep out.
    contradicted: Vec<KeptOut>,
    /// Why it is not known who is enrolled.
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<String>,
    /// What is in shadow: content is judged and not refused.
    shadow: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct KeptOut {
    device: String,
    why: String,
}

impl Summary {
    fn of(config: &Config, beside: &Beside) -> Self {
        let (_, out) = beside.merge(config);
        let out = out.into_iter().map(|(device, why)| KeptOut {
            device: device.to_string(),
            why: why.to_string(),
        });
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
            enrolled: beside.count(),
            contradicted: out.collect(),
            registry: beside.missing().map(str::to_owned),
            shadow: daemon::in_shadow(config),
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
    let enrolled = beside(summary);
    let shadow: String = (summary.shadow.iter())
        .map(|one| format!("warning: {one} is in shadow: wrong content is counted and passes\n"))
        .collect();
    format!(
        "{}: the configuration is good\n\
         {}{via}, {}, {}, {}; {tests}\n\
         {enrolled}\
         bounds: {} inspected connections, {} a device; HL7 message {}, DICOM data set {}, spool {}\n{shadow}",
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

/// Devices that stand in no file, and those among them whom these files keep out.
fn beside(summary: &Summary) -> String {
    if let Some(why) = &summary.registry {
        return format!("without the enrolled devices, which cannot be read: {why}\n");
    }
    let mut text = match summary.enrolled {
        0 => String::new(),
        some => format!("{} enrolled beside them\n", counted(some, "device")),
    };
    for out in summary.contradicted.iter().take(MOST_TOLD) {
        text.push_str(&format!("  {} would stay out: {}\n", out.device, out.why));
    }
    if let Some(more) = summary.contradicted.len().checked_sub(MOST_TOLD)
        && more > 0
    {
        text.push_str(&format!("  and {} more\n", count(more)));
    }
    text
}

/// Lines about devices that would stay out.
//= C7
const MOST_TOLD: usize = 20;

#[cfg(test)]
mod tests {
    use lazaret_config::{Credential, Enrolled};

    use super::*;
    use crate::cli::sample::config;

    #[test]
    fn summary() {
        let config = config();
        let summary = Summary::of(&config, &Beside::these(Ok(Vec::new())));
        insta::assert_snapshot!(render(&summary, &config));
        insta::assert_snapshot!(serde_json::to_string(&summary).unwrap());
    }

    #[test]
    fn who_is_enrolled_is_counted_and_who_would_stay_out_is_named() {
        let config = config();
        let one = |name: &str, key, address: &str| {
            let enrolled = Enrolled {
                origin: "enrolled",
                credential: Credential::wireguard([key; 32]),
                addresses: vec![address.parse().unwrap()],
                roles: ["ecg-home".parse().unwrap()].into(),
                hl7_sender: None,
                ae_title: None,
                patients: Vec::new(),
            };
            (name.parse().unwrap(), enrolled)
        };
        let address = config.wireguard.networks[0].hosts().nth(700).unwrap();
        let (free, outside) = (address.to_string(), "192.0.2.7".to_owned());
        let all = vec![one("home-1", 1, &free), one("home-2", 2, &outside)];
        let summary = Summary::of(&config, &Beside::these(Ok(all)));
        insta::assert_snapshot!(render(&summary, &config));
        insta::assert_snapshot!(serde_json::to_string(&summary).unwrap());
        let unread = Beside::these(Err("cannot read /s/registry.snapshot.json".to_owned()));
        insta::assert_snapshot!(render(&Summary::of(&config, &unread), &config));
    }
}

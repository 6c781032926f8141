//! `lazaret health`: whether this gateway does its work, by a look at itself alone.
//!
//! Every item has a line. Nothing outside of the machine is asked: a cable that is out must not undo an update.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::context::{Context, strange};
use super::table::Table;
use super::{CliError, Exit};
use crate::control::message::{Request, Response, Status};
use crate::daemon;

/// Arguments of `health`.
#[derive(Debug, Args)]
pub(super) struct Health {
    /// Try again until all is well or `health_timeout` is over, as after a start
    #[arg(long)]
    boot: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Report {
    healthy: bool,
    /// Whether there is a configuration; without one there is nothing to look at.
    provisioned: bool,
    items: Vec<Item>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Item {
    item: String,
    ok: bool,
    /// What is the matter, or what was seen.
    detail: String,
}

impl Item {
    fn new(item: &str, result: Result<String, String>) -> Self {
        let ok = result.is_ok();
        let (Ok(detail) | Err(detail)) = result;
        Self {
            item: item.to_owned(),
            ok,
            detail,
        }
    }
}

impl Health {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let report = if context.config_dir.join(MAIN_FILE).exists() {
            self.look_until_healthy(context)
        } else {
            // A new machine waits at its console, whatever version it started.
            let nothing = "there is no configuration yet: lazaret setup".to_owned();
            let result = if self.boot { Ok(nothing) } else { Err(nothing) };
            Report {
                healthy: self.boot,
                provisioned: false,
                items: vec![Item::new("configuration", result)],
            }
        };
        if context.json {
            context.print_json(&report)?;
        } else {
            let text = render(&report, context);
            context.print(&text)?;
        }
        Ok(if report.healthy {
            Exit::Ok
        } else {
            Exit::Failure
        })
    }

    fn look_until_healthy(&self, context: &Context<'_>) -> Report {
        let config = context.config();
        let appliance = config.ok().and_then(|config| config.appliance);
        let patience = appliance.map_or(PATIENCE, |appliance| appliance.health_timeout);
        let clock = daemon::SystemClock;
        let begun = crate::flow::Clock::now(&clock);
        loop {
            let items = look(context);
            let healthy = items.iter().all(|item| item.ok);
            let waited = crate::flow::Clock::now(&clock).saturating_duration_since(begun);
            if healthy || !self.boot || waited.saturating_add(PAUSE) >= patience {
                return Report {
                    healthy,
                    provisioned: true,
                    items,
                };
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Everything once, within the bounds of the control socket.
fn look(context: &Context<'_>) -> Vec<Item> {
    let checked = daemon::check(&context.config_dir);
    let mut items = vec![Item::new(
        "configuration",
        match &checked {
            Ok(_) => Ok("good".to_owned()),
            Err(error) => Err(first_line(&error.to_string())),
        },
    )];
    let parts = match context.ask(&Request::Probe) {
        Ok(Response::Probed { parts }) => parts,
        Ok(_) => return with_control(items, Err(strange())),
        Err(error) => return with_control(items, Err(error)),
    };
    let status = match context.ask(&Request::Status) {
        Ok(Response::Status(status)) => status,
        Ok(_) => return with_control(items, Err(strange())),
        Err(error) => return with_control(items, Err(error)),
    };
    items = with_control(items, Ok(()));
    let digest = checked.ok().map(|checked| checked.digest());
    items.push(policy(&status, digest.as_deref()));
    items.push(device(&status));
    items.push(workers(&status));
    items.extend(parts.into_iter().map(|probed| {
        let took = format!(
            "{:.1} ms",
            Duration::from_micros(probed.micros).as_secs_f64() * 1e3
        );
        Item::new(&probed.part, probed.failed.map_or(Ok(took), Err))
    }));
    items
}

fn with_control(mut items: Vec<Item>, result: Result<(), CliError>) -> Vec<Item> {
    let answered = result.map(|()| "answers".to_owned());
    let answered = answered.map_err(|error| first_line(&error.to_string()));
    items.push(Item::new("control", answered));
    items
}

/// What is in force; files that an operator has not applied yet are no fault of the gateway.
fn policy(status: &Status, files: Option<&str>) -> Item {
    let short = status.config.get(..12).unwrap_or(&status.config);
    let result = match files {
        _ if status.config.is_empty() => Err("none is in force".to_owned()),
        Some(files) if files != status.config => Ok(format!("{short}; the files differ from it")),
        Some(_) | None => Ok(short.to_owned()),
    };
    Item::new("policy", result)
}

fn device(status: &Status) -> Item {
    let name = &status.interface;
    Item::new(
        "device",
        interface(name)
            .map(|()| name.clone())
            .map_err(|error| format!("{name} is not there: {error}")),
    )
}

fn interface(name: &str) -> std::io::Result<()> {
    use rustix::net::{AddressFamily, SocketType};
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
    rustix::net::netdevice::name_to_index(&socket, name)?;
    Ok(())
}

fn workers(status: &Status) -> Item {
    let down: Vec<&str> = (status.workers.iter())
        .filter(|worker| worker.pid.is_none())
        .map(|worker| worker.name.as_str())
        .collect();
    let result = match down.as_slice() {
        [] => Ok(format!("{} run", status.workers.len())),
        down => Err(format!("{} down", down.join(", "))),
    };
    Item::new("workers", result)
}

fn first_line(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty());
    let line = line.unwrap_or_default().trim();
    line.strip_prefix("lazaret: ").unwrap_or(line).to_owned()
}

fn render(report: &Report, context: &Context<'_>) -> String {
    let mut table = Table::default();
    for item in &report.items {
        let word = context.verdict(if item.ok { "ok" } else { "FAILED" }, item.ok);
        table.row([item.item.clone(), word, item.detail.clone()]);
    }
    let word = if report.healthy {
        "healthy"
    } else {
        "NOT HEALTHY"
    };
    let word = context.verdict(word, report.healthy);
    format!("{}{word}\n", table.render())
}

const MAIN_FILE: &str = "lazaret.toml";
/// Where the configuration does not say another time.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(report: &Report) -> String {
        let mut out = Vec::new();
        let context = Context {
            config_dir: "/".into(),
            json: false,
            colour: false,
            out: &mut out,
        };
        render(report, &context)
    }

    #[test]
    fn every_item_has_its_line() {
        let ok = |item: &str, detail: &str| Item::new(item, Ok(detail.to_owned()));
        let mut report = Report {
            healthy: true,
            provisioned: true,
            items: vec![ok("control", "answers"), ok("hl7", "3.2 ms")],
        };
        let good = shown(&report);
        report.healthy = false;
        let late = Err("no answer in 5 s".to_owned());
        report.items.push(Item::new("dicom", late));
        insta::assert_snapshot!(format!("{good}--\n{}", shown(&report)));
    }

    #[test]
    fn a_machine_without_configuration_is_well_only_while_it_starts() {
        let empty = tempfile::tempdir().unwrap();
        for (boot, exit) in [(true, Exit::Ok), (false, Exit::Failure)] {
            let mut out = Vec::new();
            let mut context = Context {
                config_dir: empty.path().to_owned(),
                json: true,
                colour: false,
                out: &mut out,
            };
            assert_eq!(Health { boot }.run(&mut context).unwrap(), exit);
            let text = String::from_utf8(out).unwrap();
            assert!(text.contains("\"provisioned\":false"), "{text}");
        }
    }

    #[test]
    fn a_gateway_that_does_not_answer_is_not_healthy() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(MAIN_FILE), "schema = 1\n[gateway]\n").unwrap();
        let mut out = Vec::new();
        let mut context = Context {
            config_dir: folder.path().to_owned(),
            json: false,
            colour: false,
            out: &mut out,
        };
        let exit = Health { boot: false }.run(&mut context).unwrap();
        assert_eq!(exit, Exit::Failure);
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("control") && text.contains("NOT HEALTHY"),
            "{text}"
        );
    }

    #[test]
    fn an_interface_is_found_by_its_name() {
        assert!(interface("lo").is_ok());
        assert!(interface("lz-none").is_err());
    }
}

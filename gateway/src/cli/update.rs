//! `lazaret update`: what is offered, taking it, what became of it, going back.
//!
//! The decisions are in [`crate::update`]; here are the window, the drain before the restart, and the words.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::context::Context;
use super::drain::drain;
use super::table::Table;
use super::units::{bytes, counted, parse_period};
use super::{CliError, Exit};
use crate::daemon::SystemClock;
use crate::flow::Clock;
use crate::update::https::{Https, Patience};
use crate::update::machine::Places;
use crate::update::refusal::Refusal;
use crate::update::slots::Slot;
use crate::update::source::{Folder, Source};
use crate::update::stick::Stick;
use crate::update::{Offer, Status, UpdateError, Updater};

/// What to do about updates.
#[derive(Debug, Subcommand)]
pub(super) enum Update {
    /// Say whether there is one; write nothing
    Check(From),
    /// Fetch, verify and install it, finish what is under way, and restart
    Apply(Apply),
    /// Show what is installed and what became of the last update
    Status,
    /// Start the version before from now on
    Rollback(Restart),
}

/// Where an update comes from.
#[derive(Debug, Args)]
pub(super) struct From {
    /// A folder with an update, or `stick` for the one labelled LAZARET-UPDATE, in place of the server
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
}

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub(super) struct Apply {
    #[command(flatten)]
    from: From,
    /// Do it only inside of the `window` of [appliance.update]
    #[arg(long, conflicts_with = "from")]
    scheduled: bool,
    #[command(flatten)]
    restart: Restart,
}

/// How to restart.
#[derive(Debug, Args)]
pub(super) struct Restart {
    /// Leave the restart to somebody else
    #[arg(long)]
    no_reboot: bool,
    /// How long sessions may take to finish what is under way
    #[arg(long, value_name = "TIME", value_parser = parse_period, default_value = "60s")]
    drain: Duration,
}

impl Update {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let updater = Updater {
            places: Places::of_image(),
            wall: SystemClock.wall().to_string(),
        };
        match self {
            Self::Check(from) => from.check(&updater, context),
            Self::Apply(apply) => apply.run(&updater, context),
            Self::Status => {
                let status = updater.status()?;
                if context.json {
                    context.print_json(&status)?;
                } else {
                    context.print(&render_status(&status))?;
                }
                Ok(Exit::Ok)
            }
            Self::Rollback(restart) => match updater.rollback() {
                Ok(version) => {
                    let what = format!("version {version} is started from now on");
                    restart.run(&what, context)
                }
                Err(error) => refused(error, context),
            },
        }
    }
}

impl From {
    fn check(&self, updater: &Updater, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let (mut source, _stick) = self.source(&updater.places, context)?;
        match updater.check(&mut *source) {
            Ok(offer) => {
                if context.json {
                    context.print_json(&offer)?;
                } else {
                    context.print(&render_offer(&offer))?;
                }
                Ok(Exit::Ok)
            }
            Err(error) => refused(error, context),
        }
    }

    /// The source, and the stick that it is on, to be held as long as it is read.
    fn source(
        &self,
        places: &Places,
        context: &Context<'_>,
    ) -> Result<(Box<dyn Source>, Option<Stick>), CliError> {
        if let Some(folder) = &self.from {
            if folder == Path::new("stick") {
                let stick = Stick::mount()?;
                let folder = Folder(stick.folder().to_owned());
                return Ok((Box::new(folder), Some(stick)));
            }
            return Ok((Box::new(Folder(folder.clone())), None));
        }
        let appliance = context.config()?.appliance;
        let hospital_root = (appliance.as_ref()).and_then(|one| one.hospital_root.clone());
        let update = appliance.and_then(|appliance| appliance.update);
        let url = update.map(|update| update.url).ok_or_else(|| {
            let help = "no server is configured: set `url` of [appliance.update], or use --from";
            CliError::new(Exit::Configuration, help)
        })?;
        let root = hospital_root.as_deref();
        let server = Https::new(&url, root, &places.roots, Patience::default())?;
        Ok((Box::new(server), None))
    }
}

impl Apply {
    fn run(&self, updater: &Updater, context: &mut Context<'_>) -> Result<Exit, CliError> {
        if self.scheduled
            && let Some(why) = out_of_window(context)?
        {
            return said(context, why, Exit::Ok);
        }
        let (mut source, _stick) = self.from.source(&updater.places, context)?;
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{msg:12} {bytes}/{total_bytes} {bar:30}") {
            bar.set_style(style);
        }
        let applied = updater.apply(
            &mut *source,
            |name, at, size| {
                bar.set_length(size);
                bar.set_position(at);
                bar.set_message(name.to_owned());
            },
            || true,
        );
        bar.finish_and_clear();
        match applied {
            // It did not start after the restart that its installation asked for: another would not help.
            Ok(offer) if offer.installed && self.scheduled => {
                let version = &offer.manifest.version;
                let what =
                    format!("version {version} is installed already and waits for a restart");
                said(context, &what, Exit::Ok)
            }
            Ok(offer) => {
                let what = format!("version {} is installed", offer.manifest.version);
                self.restart.run(&what, context)
            }
            // Every time but once there is nothing new.
            Err(UpdateError::Refused(refusal @ (Refusal::NotNewer(_) | Refusal::Older { .. })))
                if self.scheduled =>
            {
                said(context, &refusal.to_string(), Exit::Ok)
            }
            Err(error) => refused(error, context),
        }
    }
}

impl Restart {
    fn run(&self, what: &str, context: &mut Context<'_>) -> Result<Exit, CliError> {
        if self.no_reboot {
            let what = format!("{what}; restart to start it");
            return said(context, &what, Exit::Ok);
        }
        // A gateway that is not there has nothing to finish; one that is slow may have.
        let left = match drain(context, self.drain) {
            Ok(0) => "no session was cut".to_owned(),
            Ok(left) => format!("{} cut", counted(left, "session")),
            Err(error) if error.is_down() => "the gateway is down".to_owned(),
            Err(error) => return Err(error),
        };
        said(context, &format!("{what}; {left}; restarting"), Exit::Ok)?;
        context.out.flush()?;
        let restarted = Command::new(SYSTEMCTL).arg("reboot").status();
        match restarted {
            Ok(status) if status.success() => Ok(Exit::Ok),
            failed => {
                let taken = crate::control::message::Request::Drain {
                    timeout_seconds: None,
                };
                // Without a restart the gateway must work on; if it does not answer, nothing was drained.
                let _again = context.ask(&taken);
                let why =
                    failed.map_or_else(|error| error.to_string(), |status| status.to_string());
                let text = format!("the machine could not be restarted: {why}");
                Err(CliError::new(Exit::Failure, text))
            }
        }
    }
}

/// Why a scheduled update does not happen now; `None` if it may.
fn out_of_window(context: &Context<'_>) -> Result<Option<&'static str>, CliError> {
    let update = (context.config()?.appliance).and_then(|appliance| appliance.update);
    let Some(window) = update.and_then(|update| update.window) else {
        return Ok(Some(
            "updates are by hand: no `window` in [appliance.update]",
        ));
    };
    let open = window.contain(SystemClock.wall());
    Ok((!open).then_some("not now: outside of the window"))
}

/// A refusal has a name for scripts and a code of its own; everything else is an error as any other.
fn refused(error: UpdateError, context: &mut Context<'_>) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Refused<'a> {
        refused: &'a str,
        why: String,
    }
    let UpdateError::Refused(refusal) = error else {
        return Err(error.into());
    };
    let (code, why) = (refusal.code(), refusal.to_string());
    if context.json {
        let refused = Refused {
            refused: code,
            why: why.clone(),
        };
        context.print_json(&refused)?;
    }
    Err(CliError::new(Exit::Denied, format!("{code}: {why}")))
}

fn said(context: &mut Context<'_>, what: &str, exit: Exit) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Said<'a> {
        done: &'a str,
    }
    if context.json {
        context.print_json(&Said { done: what })?;
    } else {
        context.print(&format!("{what}\n"))?;
    }
    Ok(exit)
}

fn render_offer(offer: &Offer) -> String {
    let Offer {
        running,
        manifest,
        installed,
    } = offer;
    let (version, size) = (&manifest.version, bytes(manifest.size()));
    let what = if *installed {
        "installed; restart to start it".to_owned()
    } else {
        format!("{size} to fetch: lazaret update apply")
    };
    format!(
        "version {version} of {} ({running} runs): {what}\n",
        manifest.created
    )
}

fn render_status(status: &Status) -> String {
    let mut text = format!("version {} ({}) runs\n", status.running, status.flavour);
    if let Some(version) = &status.pending {
        text.push_str(&format!(
            "version {version} is installed; restart to start it\n"
        ));
    }
    if let Some(version) = &status.came_back_from {
        text.push_str(&format!(
            "version {version} did not become healthy and was left\n"
        ));
    }
    let mut table = Table::new(&["VERSION", "STATE", "TRIALS LEFT", "DONE"]).right(&[2, 3]);
    for slot in &status.slots {
        let number = |of: fn(crate::update::slots::Trial) -> u32| {
            slot.trial
                .map_or("-".to_owned(), |trial| of(trial).to_string())
        };
        table.row([
            slot.version.to_string(),
            state(slot).to_owned(),
            number(|trial| trial.left),
            number(|trial| trial.done),
        ]);
    }
    text.push_str(&table.render());
    for (version, why) in &status.bad {
        text.push_str(&format!(
            "version {version} is bad and not offered again: {why}\n"
        ));
    }
    text
}

fn state(slot: &Slot) -> &'static str {
    match (slot.running, slot.trial.is_some(), slot.is_bootable()) {
        (true, true, _) => "runs on trial",
        (true, false, _) => "runs",
        (false, true, true) => "waits for its trial",
        (false, false, true) => "can be started",
        (false, true, false) if slot.partitions => "failed its trials",
        (false, _, false) => "incomplete",
    }
}

const SYSTEMCTL: &str = "/usr/bin/systemctl";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::slots::Trial;

    fn slot(version: &str, running: bool, trial: Option<(u32, u32)>, partitions: bool) -> Slot {
        Slot {
            version: version.parse().unwrap(),
            running,
            entry: Some(String::new()),
            trial: trial.map(|(left, done)| Trial { left, done }),
            partitions,
        }
    }

    #[test]
    fn status_is_shown() {
        let status = Status {
            running: "1".parse().unwrap(),
            flavour: "vm".to_owned(),
            slots: vec![
                slot("1", true, None, true),
                slot("3", false, Some((0, 3)), true),
            ],
            pending: None,
            came_back_from: Some("3".parse().unwrap()),
            bad: vec![(
                "3".to_owned(),
                "it did not become healthy in 3 starts".to_owned(),
            )],
        };
        let waiting = Status {
            slots: vec![
                slot("1", true, Some((2, 1)), true),
                slot("2", false, Some((3, 0)), true),
                slot("0.9", false, None, true),
                slot("0.8", false, None, false),
            ],
            pending: Some("2".parse().unwrap()),
            came_back_from: None,
            bad: Vec::new(),
            ..status.clone()
        };
        let (status, waiting) = (render_status(&status), render_status(&waiting));
        insta::assert_snapshot!(format!("{status}--\n{waiting}"));
    }

    #[test]
    fn refusals_have_their_name_and_their_code() {
        let mut out = Vec::new();
        let mut context = Context {
            config_dir: "/".into(),
            json: true,
            colour: false,
            out: &mut out,
        };
        let error = refused(Refusal::Unsigned.into(), &mut context).unwrap_err();
        assert_eq!(error.exit, Exit::Denied);
        assert_eq!(
            error.to_string(),
            "lazaret: unsigned: the update has no signature"
        );
        let json = String::from_utf8(out).unwrap();
        assert!(json.contains("\"refused\":\"unsigned\""), "{json}");
    }
}

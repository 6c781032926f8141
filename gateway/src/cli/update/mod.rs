//! `lazaret update`: what is offered, taking it, what became of it, going back.
//!
//! The decisions are in [`crate::update`]; here are the window, the drain before the restart, and the words.
//! What became of it is put on record (`update/on_record.rs`).

mod on_record;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use self::on_record::Note;
use super::context::Context;
use super::drain::drain;
use super::table::Table;
use super::units::{bytes, counted, parse_period};
use super::{CliError, Exit};
use crate::control::message::{Request, UpdateAction};
use crate::daemon::SystemClock;
use crate::flow::Clock;
use crate::systemd::{END, REBOOT};
use crate::update::https::{Https, Patience};
use crate::update::machine::Places;
use crate::update::refusal::Refusal;
use crate::update::slots::Slot;
use crate::update::source::{Folder, Source};
use crate::update::stick::Stick;
use crate::update::{Offer, Status, UpdateError, Updater, WENT_BACK};

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
    /// A folder with an update, or `stick` for the one labelled LAZARET-UPD, in place of the server
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
            Self::Rollback(restart) => {
                let running = updater.places.identity().map(|identity| identity.version);
                match (updater.rollback(), running) {
                    (Ok(version), Ok(running)) => {
                        let mut what = format!("version {version} is started from now on");
                        let note = Note {
                            action: UpdateAction::Rollback,
                            from: running,
                            to: Some(version),
                            verdict: "started from now on".to_owned(),
                        };
                        what.push_str(&note.write(context));
                        restart.run(&what, || Ok(()), context)
                    }
                    (Ok(_), Err(error)) => Err(error.into()),
                    (Err(error), _) => failed(UpdateAction::Rollback, &updater, error, context),
                }
            }
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
            Err(error) => refused(error, "", context),
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
        // A serial line is slow: what is drawn on it is waited for.
        let target = ProgressDrawTarget::stderr_with_hz(2);
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) = ProgressStyle::with_template("{msg:12} {bytes}/{total_bytes} {bar:30}") {
            bar.set_style(style);
        }
        // A download takes its time, and the window may be over by then.
        let may_install = || !self.scheduled || matches!(out_of_window(context), Ok(None));
        let progress = |name: &str, at, size| {
            bar.set_length(size);
            bar.set_position(at);
            bar.set_message(name.to_owned());
        };
        let applied = updater.apply(&mut *source, progress, may_install);
        bar.finish_and_clear();
        match applied {
            Ok(offer) => self.installed(updater, &offer, context),
            Err(UpdateError::Refused(refusal)) if self.scheduled && is_usual(&refusal) => {
                said(context, &refusal.to_string(), Exit::Ok)
            }
            Err(error @ UpdateError::Fetch(_)) if self.scheduled => match updater.waiting() {
                // What was installed in an earlier window needs no server any more.
                Ok(Some(offer)) => self.installed(updater, &offer, context),
                // One that cannot be reached for a while is no news each quarter of an hour.
                Ok(None) => refused(error, "", context),
                Err(error) => failed(UpdateAction::Apply, updater, error, context),
            },
            Err(error) => failed(UpdateAction::Apply, updater, error, context),
        }
    }

    /// The new version is there, and verified: since now, or since an earlier time that was not followed by a restart.
    fn installed(
        &self,
        updater: &Updater,
        offer: &Offer,
        context: &mut Context<'_>,
    ) -> Result<Exit, CliError> {
        let version = &offer.manifest.version;
        let mut what = format!("version {version} is installed");
        if !offer.installed {
            let note = Note {
                action: UpdateAction::Apply,
                from: offer.running.clone(),
                to: Some(version.clone()),
                verdict: "installed".to_owned(),
            };
            what.push_str(&note.write(context));
        }
        if self.scheduled
            && let Some(why) = no_restart(out_of_window(context)?, updater.may_restart()?)
        {
            return said(context, &format!("{what}; {why}"), Exit::Ok);
        }
        let restarting = || Ok(updater.restarting()?);
        self.restart.run(&what, restarting, context)
    }
}

/// What a schedule may meet each quarter of an hour: there is nothing to do, or not yet.
fn is_usual(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::NotNewer(_)
            | Refusal::Older { .. }
            | Refusal::Bad { .. }
            | Refusal::OnTrial(_)
            | Refusal::Window(_)
    )
}

/// Why a schedule does not restart into what it installed; `None` if it does.
fn no_restart(closed: Option<&str>, may_restart: bool) -> Option<&'static str> {
    match (closed, may_restart) {
        (Some(_), _) => Some("the window is over: it is started in the next one"),
        (None, false) => Some(
            "it was restarted for several times and did not start: `lazaret update apply` tries again",
        ),
        (None, true) => None,
    }
}

impl Restart {
    /// Lets sessions finish and restarts; `restarting` is the last thing before.
    fn run(
        &self,
        what: &str,
        restarting: impl FnOnce() -> Result<(), CliError>,
        context: &mut Context<'_>,
    ) -> Result<Exit, CliError> {
        if self.no_reboot {
            let what = format!("{what}; restart to start it");
            return said(context, &what, Exit::Ok);
        }
        // A gateway that is not there has nothing to finish; one that is slow may have.
        let left = match drain(context, self.drain) {
            Ok(0) => "no session was cut".to_owned(),
            Ok(left) => format!("{} cut", counted(left, "session")),
            Err(error) if error.is_down() => "the gateway is down".to_owned(),
            Err(error) => {
                take_back(context);
                return Err(error);
            }
        };
        said(context, &format!("{what}; {left}; restarting"), Exit::Ok)?;
        context.out.flush()?;
        let restarted = restarting()
            .and_then(|()| Ok(Command::new(SYSTEMCTL).args(END).arg(REBOOT).status()?));
        let why = match restarted {
            Ok(status) if status.success() => return Ok(Exit::Ok),
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        take_back(context);
        let text = format!("the machine could not be restarted: {why}");
        Err(CliError::new(Exit::Failure, text))
    }
}

/// Without a restart the gateway works on; if it does not answer now, its drain ends by itself.
fn take_back(context: &Context<'_>) {
    let taken = Request::Drain {
        timeout_seconds: None,
    };
    let _again = context.ask(&taken);
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

/// Nothing was done: that too is put on record.
fn failed(
    action: UpdateAction,
    updater: &Updater,
    error: UpdateError,
    context: &mut Context<'_>,
) -> Result<Exit, CliError> {
    let note = Note::of_failure(action, updater, &error);
    let elsewhere = note.map_or(String::new(), |note| note.write(context));
    refused(error, &elsewhere, context)
}

/// A refusal has a name for scripts and a code of its own; everything else is an error as any other.
/// `elsewhere` says where it is on record, if not in the journal.
fn refused(
    error: UpdateError,
    elsewhere: &str,
    context: &mut Context<'_>,
) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Refused<'a> {
        refused: &'a str,
        why: String,
    }
    let UpdateError::Refused(refusal) = error else {
        let error = CliError::from(error);
        if elsewhere.is_empty() {
            return Err(error);
        }
        let text = error.to_string();
        let text = text.strip_prefix("lazaret: ").unwrap_or(&text);
        return Err(CliError::new(error.exit, format!("{text}{elsewhere}")));
    };
    let (code, why) = (refusal.code(), refusal.to_string());
    if context.json {
        let refused = Refused {
            refused: code,
            why: why.clone(),
        };
        context.print_json(&refused)?;
    }
    Err(CliError::new(
        Exit::Denied,
        format!("{code}: {why}{elsewhere}"),
    ))
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
        text.push_str(&match status.restarts {
            0 => format!("version {version} is installed; restart to start it\n"),
            1 => format!("version {version} is installed; a restart for it did not start it\n"),
            more => {
                format!("version {version} is installed; {more} restarts for it did not start it\n")
            }
        });
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
            state(slot, &status.bad).to_owned(),
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

fn state(slot: &Slot, bad: &[(String, String)]) -> &'static str {
    let version = slot.version.to_string();
    let left = |(one, why): &(String, String)| *one == version && why == WENT_BACK;
    if !slot.running && bad.iter().any(left) {
        return "left by an operator";
    }
    match (slot.running, slot.trial.is_some(), slot.is_bootable()) {
        (true, true, _) => "runs on trial",
        (true, false, _) => "runs",
        (false, true, true) => "waits for its trial",
        (false, false, true) => "can be started",
        (false, true, false) if slot.is_exhausted() && slot.partitions => "failed its trials",
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
            restarts: 0,
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
        let left = Status {
            slots: vec![
                slot("1", true, None, true),
                slot("2", false, Some((0, 1)), true),
            ],
            came_back_from: None,
            bad: vec![("2".to_owned(), WENT_BACK.to_owned())],
            ..status.clone()
        };
        let tried = Status {
            restarts: 3,
            ..waiting.clone()
        };
        let texts = [status, waiting, left, tried].map(|one| render_status(&one));
        insta::assert_snapshot!(texts.join("--\n"));
    }

    #[test]
    fn a_schedule_restarts_inside_of_its_window_and_not_for_ever() {
        assert_eq!(no_restart(None, true), None);
        let over = no_restart(Some("not now"), true).unwrap();
        assert!(over.contains("next"), "{over}");
        assert!(no_restart(None, false).unwrap().contains("tries again"));
        let two: crate::update::version::Version = "2".parse().unwrap();
        let bad = Refusal::Bad {
            version: two.clone(),
            why: String::new(),
        };
        for usual in [
            Refusal::NotNewer(two.clone()),
            Refusal::OnTrial(two.clone()),
            Refusal::Window(two),
            bad,
        ] {
            assert!(is_usual(&usual), "{usual}");
        }
        assert!(!is_usual(&Refusal::Signature));
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
        let error = refused(Refusal::Unsigned.into(), "", &mut context).unwrap_err();
        assert_eq!(error.exit, Exit::Denied);
        assert_eq!(
            error.to_string(),
            "lazaret: unsigned: the update has no signature"
        );
        let json = String::from_utf8(out).unwrap();
        assert!(json.contains("\"refused\":\"unsigned\""), "{json}");
    }
}

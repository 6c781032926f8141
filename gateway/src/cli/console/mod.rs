//! `lazaret console`: a prompt for everything that the command can do, and for the machine.
//!
//! There is no way from here to a shell: nothing is expanded, the few programs that are started get fixed arguments, no terminal and no environment.

mod complete;
mod login;
mod prompt;
mod recovery;
pub(super) mod screen;
mod support;
pub(super) mod wizard;
mod words;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;

use super::context::Context;
use super::setup::Root;
use super::{CliError, Exit, factory_reset};
use crate::setup::{Places, network};
use crate::systemd::{self, REBOOT};
use prompt::Prompt;
use screen::{Screen, Terminal};
use words::Word;

/// Arguments of `console`.
#[derive(Debug, Args)]
pub(super) struct Console {
    /// Show a banner and ask for the password first; without configuration, ask for one
    #[arg(long)]
    login: bool,
    /// Leave after so many seconds without a key
    #[arg(long, value_name = "SECONDS", default_value_t = IDLE, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    idle: u64,
    #[command(flatten)]
    root: Root,
}

/// After so many seconds without a key the console is left.
pub(super) const IDLE: u64 = 15 * 60;

impl Console {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let places = self.root.places(context);
        if self.login {
            clean_environment()?;
        }
        if !places.is_running() {
            context.config_dir = places.config();
        }
        outlive_interrupts()?;
        let idle = Duration::from_secs(self.idle);
        let mut screen = Terminal::new(idle)?;
        match session(self.login, &places, context, &mut screen) {
            Err(error) if error.is_idle() => {
                screen.print("\nnobody was there: logged out\n")?;
                Ok(Exit::Ok)
            }
            other => other,
        }
    }
}

fn session(
    login: bool,
    places: &Places,
    context: &mut Context<'_>,
    screen: &mut Terminal,
) -> Result<Exit, CliError> {
    if login {
        let runtime = lazaret_config::runtime_dir(&places.config());
        screen.print(&login::banner(places, &runtime))?;
        if !places.provisioned() {
            // There is no password yet, and nothing that it would keep.
            recovery::show(places, screen)?;
            if wizard::run(places, screen)? {
                screen.print("The machine starts again now.\n")?;
                return end(places, REBOOT);
            }
            return Ok(Exit::Ok);
        }
        if !login::login(places, screen)? {
            return Ok(Exit::Ok);
        }
        recovery::show(places, screen)?;
    }
    screen.print("`help` lists what there is.\n")?;
    let mut prompt = Prompt::new(&context.config_dir, screen.idle())?;
    while let Some(line) = prompt.line(screen)? {
        let word = words::read(&line);
        if word == Word::Exit {
            break;
        }
        if let Err(error) = obey(word, places, context, screen) {
            if error.is_idle() {
                return Err(error);
            }
            screen.print(&format!("{error}\n"))?;
        }
    }
    Ok(Exit::Ok)
}

fn obey(
    word: Word,
    places: &Places,
    context: &Context<'_>,
    screen: &mut Terminal,
) -> Result<(), CliError> {
    match word {
        Word::Nothing | Word::Exit => Ok(()),
        Word::Help => Ok(screen.print(&help())?),
        Word::Network => Ok(screen.print(&network_now(places))?),
        Word::Password => login::change(places, screen),
        Word::ConfigShow => {
            let dir = places.config();
            for source in lazaret_config::sources(&dir)? {
                screen.print(&format!("# {}\n{}\n", source.path.display(), source.text))?;
            }
            Ok(())
        }
        Word::ConfigImport => Ok(screen.print(&super::setup::from_stick(places)?)?),
        Word::ConfigExport => Ok(screen.print(&support::export(places)?)?),
        Word::Log(unit) => log(unit.as_deref()),
        Word::Reboot => end(places, REBOOT).map(|_| ()),
        Word::PowerOff => end(places, "poweroff.target").map(|_| ()),
        Word::FactoryReset => {
            let answer = screen.line(factory_reset::WARNING)?.unwrap_or_default();
            factory_reset::reset(places, answer.trim())?;
            end(places, REBOOT).map(|_| ())
        }
        Word::SupportBundle => {
            Ok(screen.print(&support::onto_stick(places, &context.config_dir)?)?)
        }
        Word::Command(words) => {
            if words.iter().any(|word| FOLLOW.contains(&word.as_str())) {
                return follow(&words, context);
            }
            invoke(&words, context);
            Ok(())
        }
        Word::Wrong(why) => Ok(screen.print(&format!("{why}; `help` lists what there is\n"))?),
    }
}

/// A subcommand in this process; what goes wrong it says itself.
fn invoke(words: &[String], context: &Context<'_>) {
    let own = [
        OsString::from("lazaret"),
        "--config".into(),
        context.config_dir.clone().into(),
    ];
    let words = words.iter().map(OsString::from);
    let mut out = std::io::stdout();
    super::invoke(own.into_iter().chain(words), &mut out, context.colour);
}

/// A subcommand that goes on until it is interrupted has a process of its own.
fn follow(words: &[String], context: &Context<'_>) -> Result<(), CliError> {
    let mut own = child("/proc/self/exe");
    own.arg("--config").arg(&context.config_dir).args(words);
    own.status()?;
    Ok(())
}

/// An interrupt ends what was started from here, never the console.
fn outlive_interrupts() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _inside = runtime.enter();
    // The handler stays when nobody listens to it any more.
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).map(|_| ())
}

fn help() -> String {
    use clap::CommandFactory;
    let mut text = String::new();
    for (word, what) in words::WORDS {
        text.push_str(&format!("  {word:<16} {what}\n"));
    }
    for command in super::Cli::command().get_subcommands() {
        let name = command.get_name();
        let own = words::WORDS.iter().any(|(word, _)| *word == name);
        if command.is_hide_set() || own || words::ELSEWHERE.contains(&name) {
            continue;
        }
        let about = command.get_about().map(ToString::to_string);
        text.push_str(&format!("  {name:<16} {}\n", about.unwrap_or_default()));
    }
    text
}

/// Links, addresses and routes now.
fn network_now(places: &Places) -> String {
    let names = network::name_servers(places);
    network::render(&network::links(places), &network::defaults(places), &names)
}

/// Asks systemd for a restart or an end of the machine.
pub(super) fn end(places: &Places, target: &str) -> Result<Exit, CliError> {
    if !places.is_running() {
        return Ok(Exit::Ok);
    }
    let status = child("systemctl").args(systemd::END).arg(target).status()?;
    match status.success() {
        true => Ok(Exit::Ok),
        false => Err(CliError::new(Exit::Failure, format!("{target}: {status}"))),
    }
}

/// The log, without a pager: pagers can start shells.
fn log(unit: Option<&str>) -> Result<(), CliError> {
    let mut command = child("journalctl");
    command.args(["--no-pager", "--quiet", "--boot", "--lines=500"]);
    if let Some(unit) = unit {
        command.arg(format!("--unit={unit}"));
    }
    let status = command.status()?;
    match status.success() {
        true => Ok(()),
        false => Err(CliError::new(
            Exit::Failure,
            format!("journalctl: {status}"),
        )),
    }
}

/// A program that knows nothing of whoever stands here.
fn child(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", PATH)
        .env("SYSTEMD_COLORS", "0")
        .stdin(Stdio::null());
    command
}

/// Begins anew without the environment, unless it is clean.
fn clean_environment() -> Result<(), CliError> {
    let kept = |name: &std::ffi::OsStr| KEPT.iter().any(|known| name == *known);
    if std::env::vars_os().all(|(name, _)| kept(&name)) {
        return Ok(());
    }
    let mut command = Command::new("/proc/self/exe");
    command
        .args(std::env::args_os().skip(1))
        .env_clear()
        .env("PATH", PATH);
    if let Some(term) = std::env::var_os("TERM") {
        command.env("TERM", term);
    }
    Err(command.exec().into())
}

/// The option of commands that have no end.
const FOLLOW: [&str; 2] = ["--follow", "-f"];
/// The environment of a console.
const KEPT: [&str; 2] = ["PATH", "TERM"];
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

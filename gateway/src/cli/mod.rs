//! The command: one file a subcommand.
//!
//! In: arguments. Out: the result on the standard output, errors once on the standard error, and an [`Exit`] code.
//! Each subcommand asks somebody who knows (the configuration, the daemon, the journal, an inspector)
//! and renders the answer; rendering is pure.

mod alerts;
mod apply;
mod audit;
mod break_glass;
mod ca;
mod cert;
mod check;
mod completion;
mod connect;
mod console;
mod context;
mod device;
mod diff;
mod drain;
mod doctor;
mod enroll;
mod enrolled;
mod exit;
mod explain;
mod factory_reset;
mod flow;
mod health;
mod history;
mod inspect;
mod learn;
mod patient;
mod registry;
mod run;
#[cfg(test)]
mod sample;
mod session;
mod setup;
mod status;
mod table;
mod units;
mod update;
mod version;
mod words;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use context::Context;
pub use exit::{CliError, Exit};

/// Telemedicine secure gateway: tunnel, segment, inspect, forward, audit.
#[derive(Debug, Parser)]
#[command(
    name = "lazaret",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
#[command(
    after_help = "Exit codes: 0 ok, 1 failure, 2 usage, 3 invalid configuration, 4 policy test failed,\n\
    5 denied or refused, 6 daemon unreachable, 7 not confirmed, 8 drift"
)]
struct Cli {
    /// Directory of lazaret.toml and conf.d
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/etc/lazaret"
    )]
    config: PathBuf,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway in the foreground
    Run,
    /// Check the configuration and its tests; change nothing
    Check(check::Check),
    /// Show what the files would change, and who gains or loses what
    Diff(diff::Diff),
    /// Put the files into force
    Apply(apply::Apply),
    /// Keep what was applied with --confirm
    Confirm,
    /// Put into force what another operator proposed
    Approve(apply::Approve),
    /// Put an earlier policy into force
    Rollback(apply::Rollback),
    /// Show the policies that were in force
    History(history::History),
    /// Show how the gateway fares
    Status,
    /// Show which security settings are not as they should be
    Doctor(doctor::Doctor),
    /// Show devices and change their standing
    #[command(subcommand)]
    Device(device::Device),
    /// Open a service to a device for a time although no rule does, in an emergency
    BreakGlass(break_glass::BreakGlass),
    /// Make and show the certification authority
    #[command(subcommand)]
    Ca(ca::Ca),
    /// Show, give and revoke certificates
    #[command(subcommand)]
    Cert(cert::Cert),
    /// Let devices enrol themselves, or enrol this machine
    #[command(subcommand)]
    Enroll(enroll::Enroll),
    /// Look after the database of devices
    #[command(subcommand)]
    Registry(registry::Registry),
    /// Say whether a device may reach a service, and why
    Explain(explain::Explain),
    /// Show what devices did that they never did before
    Alerts(alerts::Alerts),
    /// Propose rules that let pass what was seen, and nothing else
    Learn(learn::Learn),
    /// Say what a code means and what to do, in every language
    Words(words::Explained),
    /// Show and end inspected connections
    #[command(subcommand)]
    Session(session::Session),
    /// Show what was denied
    #[command(subcommand)]
    Flow(flow::Flow),
    /// Read and verify the journal
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Judge files as the gateway would
    #[command(subcommand)]
    Inspect(inspect::Inspect),
    /// Make the hashes by which devices are bound to patients
    #[command(subcommand)]
    Patient(patient::Patient),
    /// Set up the machine of the signed image
    #[command(subcommand)]
    Setup(setup::Setup),
    /// Connect this machine to a gateway, as a clinician's does
    Connect(connect::Connect),
    /// Open the console: a prompt for everything here
    Console(console::Console),
    /// Erase the data of the signed image and restart
    FactoryReset(factory_reset::FactoryReset),
    /// Say whether the gateway does its work, by exchanges that it plays itself
    Health(health::Health),
    /// Take nothing new and let sessions finish, before a restart
    Drain(drain::Drain),
    /// Update the signed image, or go back to the version before
    #[command(subcommand)]
    Update(update::Update),
    /// Print a completion script
    Completion(completion::Completion),
    /// Print the names of all devices, for completion scripts
    #[command(hide = true)]
    Names,
    /// Print the version
    Version,
    /// One process of the gateway; started by `run`
    #[command(hide = true)]
    Worker(run::Worker),
}

/// The whole life of the command.
#[must_use]
pub fn main() -> ExitCode {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let exit = invoke(std::env::args_os(), &mut out, context::terminal_colour());
    ExitCode::from(exit as u8)
}

/// Runs one command line; the result goes to `out`, errors to the standard error.
pub fn invoke(
    arguments: impl IntoIterator<Item = OsString>,
    out: &mut dyn Write,
    colour: bool,
) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results, everything else is misuse.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
            let _ = error.print();
            return exit;
        }
    };
    let mut context = Context {
        config_dir: cli.config,
        json: cli.json,
        colour,
        out,
    };
    let done = dispatch(cli.command, &mut context).and_then(|exit| {
        context.out.flush()?;
        Ok(exit)
    });
    match done {
        Ok(exit) => exit,
        // The reader has seen enough.
        Err(error) if error.is_broken_pipe() => Exit::Ok,
        Err(error) => {
            let _ = context.out.flush();
            let _ = writeln!(std::io::stderr(), "{error}");
            error.exit
        }
    }
}

fn dispatch(command: Command, context: &mut Context<'_>) -> Result<Exit, CliError> {
    match command {
        Command::Run => run::run(context),
        Command::Check(check) => check::run(&check, context),
        Command::Diff(diff) => diff.run(context),
        Command::Apply(apply) => apply.run(context),
        Command::Confirm => apply::confirm(context),
        Command::Approve(approve) => approve.run(context),
        Command::Rollback(rollback) => rollback.run(context),
        Command::History(history) => history.run(context),
        Command::Status => status::run(context),
        Command::Doctor(doctor) => doctor.run(context),
        Command::Device(device) => device.run(context),
        Command::BreakGlass(access) => access.run(context),
        Command::Ca(ca) => ca.run(context),
        Command::Cert(cert) => cert.run(context),
        Command::Enroll(enroll) => enroll.run(context),
        Command::Registry(registry) => registry.run(context),
        Command::Explain(explain) => explain.run(context),
        Command::Alerts(alerts) => alerts.run(context),
        Command::Learn(learn) => learn.run(context),
        Command::Words(words) => words.run(context),
        Command::Session(session) => session.run(context),
        Command::Flow(flow) => flow.run(context),
        Command::Audit(audit) => audit.run(context),
        Command::Inspect(inspect) => inspect.run(context),
        Command::Patient(patient) => patient.run(context),
        Command::Setup(setup) => setup.run(context),
        Command::Connect(connect) => connect.run(context),
        Command::Console(console) => console.run(context),
        Command::FactoryReset(reset) => reset.run(context),
        Command::Health(health) => health.run(context),
        Command::Drain(drain) => drain.run(context),
        Command::Update(update) => update.run(context),
        Command::Completion(completion) => completion.run(context),
        Command::Names => completion::names(context),
        Command::Version => version::run(context),
        Command::Worker(worker) => worker.run(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn help_is_stable() {
        let mut all = String::new();
        let mut root = Cli::command().term_width(100);
        root.build();
        help(&root, &mut all);
        insta::assert_snapshot!(all);
    }

    fn help(command: &clap::Command, all: &mut String) {
        if command.is_hide_set() {
            return;
        }
        all.push_str(&command.clone().render_help().to_string());
        all.push_str("\n--------\n");
        for sub in command.get_subcommands() {
            help(&sub.clone().term_width(100), all);
        }
    }

    #[test]
    fn arguments_make_sense() {
        Cli::command().debug_assert();
    }

    #[test]
    fn exit_codes_of_arguments() {
        let run = |line: &str| invoke(line.split(' ').map(OsString::from), &mut Vec::new(), false);
        assert_eq!(run("lazaret frobnicate"), Exit::Usage);
        assert_eq!(run("lazaret session kill x"), Exit::Usage);
        assert_eq!(run("lazaret apply --confirm soon"), Exit::Usage);
        assert_eq!(run("lazaret version"), Exit::Ok);
    }
}

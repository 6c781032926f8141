//! `lazaret setup boot|import|status|wizard`: the machine of the signed image.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};

use super::console::screen::Terminal;
use super::console::{IDLE, wizard};
use super::context::Context;
use super::{CliError, Exit};
use crate::daemon::SystemClock;
use crate::setup::{
    self, BootError, ImportError, Imported, Places, Report, boot, import, origin, places, stick,
};

/// Subcommands of `setup`.
#[derive(Debug, Subcommand)]
pub(super) enum Setup {
    /// What happens at every start of the machine: first configuration, network, name, time
    Boot(Root),
    /// Set the clock, when it is certainly wrong; before everything else
    #[command(hide = true)]
    Clock(Root),
    /// Put a file with `[secrets]` in the place of the whole configuration
    Import(Import),
    /// Show how the machine was set up at its last start
    Status(Root),
    /// Ask for a first configuration
    Wizard(Root),
}

/// Of which system.
#[derive(Clone, Debug, Args)]
pub(super) struct Root {
    /// Directory of another system, whose kernel is left alone
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

/// Arguments of `setup import`.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file; without it the stick labelled LAZARET
    path: Option<PathBuf>,
    #[command(flatten)]
    root: Root,
}

impl Root {
    /// The places of that system.
    pub(super) fn places(&self, context: &Context<'_>) -> Places {
        Places::new(&self.root, &context.config_dir)
    }
}

impl Setup {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        match self {
            Self::Boot(root) => start(&root.places(context), context),
            Self::Clock(root) => {
                boot::set_clock(&root.places(context), &SystemClock)?;
                Ok(Exit::Ok)
            }
            Self::Import(import) => import.run(context),
            Self::Status(root) => status(&root.places(context), context),
            Self::Wizard(root) => {
                let places = root.places(context);
                let idle = Duration::from_secs(IDLE);
                wizard::run(&places, &mut Terminal::new(idle)?)?;
                Ok(Exit::Ok)
            }
        }
    }
}

impl Import {
    fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let places = self.root.places(context);
        let text = match &self.path {
            Some(path) => told(&from_file(&places, path)?, None),
            None => from_stick(&places)?,
        };
        context.print(&text)?;
        Ok(Exit::Ok)
    }
}

/// Imports the one stick; the answer is for people.
pub(super) fn from_stick(places: &Places) -> Result<String, CliError> {
    let (from, imported, problem) = boot::import_from_stick(places).map_err(refused)?;
    let mut text = format!("imported {from}\n");
    text.push_str(&told(&imported, problem.as_deref()));
    Ok(text)
}

/// An import that did not happen has the code of what is wrong.
pub(super) fn refused(error: impl Into<BootError>) -> CliError {
    let error = error.into();
    let exit = match &error {
        BootError::Import(ImportError::Secrets(_)) => Exit::Configuration,
        BootError::Import(ImportError::Refused(_, cause)) => Exit::of(cause.failure()),
        BootError::Import(
            ImportError::Random(_)
            | ImportError::Kept { .. }
            | ImportError::Busy
            | ImportError::Files { .. },
        )
        | BootError::Stick(_)
        | BootError::Credential(_) => Exit::Failure,
    };
    CliError::new(exit, boot::chain(&error))
}

fn start(places: &Places, context: &mut Context<'_>) -> Result<Exit, CliError> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
    let report = boot(places, credentials.as_deref());
    context.print(&render(&report))?;
    Ok(exit(&report))
}

fn status(places: &Places, context: &mut Context<'_>) -> Result<Exit, CliError> {
    let Some(report) = setup::report(places) else {
        let text = "the machine was not set up by this start: `lazaret setup boot` does that";
        return Err(CliError::new(Exit::Failure, text));
    };
    if context.json {
        context.print_json(&report)?;
    } else {
        context.print(&render(&report))?;
    }
    Ok(exit(&report))
}

fn exit(report: &Report) -> Exit {
    if report.problems.is_empty() {
        Exit::Ok
    } else {
        Exit::Configuration
    }
}

/// A report for people.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    let _ = match (&report.imported_from, report.provisioned) {
        (Some(from), _) => writeln!(text, "configuration imported from {from}"),
        (None, true) => writeln!(text, "configuration in force"),
        (None, false) => writeln!(text, "no configuration yet"),
    };
    if let Some(key) = &report.public_key {
        let made = if report.key_made {
            " (made by this start)"
        } else {
            ""
        };
        let _ = writeln!(text, "public key {key}{made}");
    }
    for problem in &report.problems {
        let _ = writeln!(text, "PROBLEM {problem}");
    }
    text
}

fn from_file(places: &Places, path: &Path) -> Result<Imported, CliError> {
    let bytes = places::read_bounded(path, stick::LONGEST_FILE)?;
    let text = String::from_utf8(bytes)?;
    let imported = import(places, path, &text).map_err(refused)?;
    // Whoever keeps the file keeps its secrets.
    origin::note_wiped(places)?;
    Ok(imported)
}

fn told(imported: &Imported, problem: Option<&str>) -> String {
    let mut text = String::new();
    if let Some(key) = &imported.public_key {
        let made = if imported.key_made { ", made now" } else { "" };
        let _ = writeln!(text, "public key of the gateway{made}: {key}");
    }
    if let Some(problem) = problem {
        let _ = writeln!(text, "THE SECRETS ARE STILL ON THE STICK: {problem}");
    }
    text.push_str("the gateway works by it from its next start on, the machine (name, network, time) from its own: `reboot` does both\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports() {
        let report = Report {
            provisioned: true,
            imported_from: Some("/dev/sda1:/lazaret.toml".to_owned()),
            public_key: Some("hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=".to_owned()),
            key_made: true,
            problems: vec!["cannot set the clock: no".to_owned()],
        };
        assert_eq!(exit(&report), Exit::Configuration);
        insta::assert_snapshot!(render(&report));
        insta::assert_snapshot!(render(&Report::default()));
        assert_eq!(exit(&Report::default()), Exit::Ok);
    }
}

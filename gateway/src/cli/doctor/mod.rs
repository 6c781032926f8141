//! `lazaret doctor`: shows how the security settings of this host fare.

mod read;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::context::Context;
use super::table::Table;
use super::{CliError, Exit};
use crate::doctor::{self, Form, Item, Report, Verdict};

/// What to judge, and how much to show.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Judge the files below this folder instead of this host's
    #[arg(long, value_name = "DIR", hide = true)]
    root: Option<PathBuf>,
    /// Show also what is as it should be
    #[arg(long)]
    all: bool,
}

impl Doctor {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let facts = read::Host::new(self.root.as_deref(), context).read();
        let report = doctor::judge(&facts);
        if context.json {
            context.print_json(&Printed::of(&report))?;
        } else {
            let text = render(&report, self.all, context);
            context.print(&text)?;
        }
        Ok(exit(&report))
    }
}

/// Unknown and warnings are not failures: another user, another kernel.
fn exit(report: &Report) -> Exit {
    if report.count(Verdict::Bad) > 0 {
        Exit::Failure
    } else {
        Exit::Ok
    }
}

fn render(report: &Report, all: bool, context: &Context<'_>) -> String {
    let mut table = Table::default();
    for item in &report.items {
        let (word, good) = match item.verdict {
            Verdict::Ok => ("ok", true),
            Verdict::NotApplicable => ("-", true),
            Verdict::Unknown => ("unknown", false),
            Verdict::Warn => ("warn", false),
            Verdict::Bad => ("BAD", false),
        };
        if good && !all {
            continue;
        }
        table.row([word, &item.id, &item.found]);
        if !good {
            table.row(["", "", &format!("should be: {}", item.right)]);
        }
    }
    let counted = |verdict| report.count(verdict);
    let sum = format!(
        "{}: {} ok, {} warnings, {} bad, {} unknown",
        match report.form {
            Form::Appliance => "appliance",
            Form::Server => "server",
        },
        counted(Verdict::Ok),
        counted(Verdict::Warn),
        counted(Verdict::Bad),
        counted(Verdict::Unknown),
    );
    let sum = context.verdict(&sum, counted(Verdict::Bad) == 0);
    format!("{}{sum}\n", table.render())
}

/// The report as JSON: `v` is beside these.
#[derive(Serialize)]
struct Printed<'a> {
    report: &'static str,
    form: Form,
    program: &'static str,
    verdict: Verdict,
    items: &'a [Item],
}

impl<'a> Printed<'a> {
    fn of(report: &'a Report) -> Self {
        Self {
            report: "doctor",
            form: report.form,
            program: env!("CARGO_PKG_VERSION"),
            verdict: report.verdict(),
            items: &report.items,
        }
    }
}

//! `lazaret audit tail|verify`: reads the journal's files; needs no daemon.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::context::Context;
use super::table::Table;
use super::units::{count, counted};
use super::{CliError, Exit};
use crate::audit::record::Record;
use crate::audit::show;
use crate::audit::tail;
use crate::audit::told;
use crate::audit::verify::{self, Report, SyncPoint};
use crate::words::Language;

/// Subcommands of `audit`.
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Print the newest records
    Tail(Tail),
    /// Check that nothing was changed, removed, inserted, reordered or cut off
    Verify {
        #[command(flatten)]
        place: Place,
    },
}

/// Arguments of `audit tail`.
#[derive(Debug, Args)]
pub(super) struct Tail {
    /// How many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    lines: usize,
    /// Go on with those that come
    #[arg(short, long)]
    follow: bool,
    /// Say below refusals and alarms what happened and what to do, in the language of the gateway
    #[arg(short, long)]
    words: bool,
    /// In this language
    #[arg(long, value_name = "en|fr", requires = "words")]
    language: Option<Language>,
    #[command(flatten)]
    place: Place,
}

/// Where the journal is.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// Directory of the journal; by default as configured
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl Audit {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        match self {
            Self::Tail(tail) => tail.run(context),
            Self::Verify { place } => check(context, &place.directory(context)?),
        }
    }
}

impl Place {
    fn directory(&self, context: &Context<'_>) -> Result<PathBuf, CliError> {
        match &self.directory {
            Some(directory) => Ok(directory.clone()),
            None => Ok(context.config()?.audit.directory),
        }
    }
}

impl Tail {
    fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let directory = self.place.directory(context)?;
        let (mut tail, lines) = tail::Tail::open(&directory, self.lines).map_err(|error| {
            let text = format!(
                "cannot read the journal in {}: {error}",
                directory.display()
            );
            CliError::new(Exit::Failure, text)
        })?;
        let language = self.words.then(|| {
            let configured = || lazaret_config::language(&context.config_dir);
            self.language.unwrap_or_else(configured)
        });
        print(context, &lines, language)?;
        if !self.follow {
            return Ok(Exit::Ok);
        }
        loop {
            context.out.flush()?;
            std::thread::sleep(POLL);
            let mut lines = tail.read()?;
            while !lines.is_empty() {
                print(context, &lines, language)?;
                lines = tail.read()?;
            }
        }
    }
}

/// With `--json` the lines of the journal as they are, otherwise their stories.
fn print(
    context: &mut Context<'_>,
    lines: &[Vec<u8>],
    language: Option<Language>,
) -> Result<(), CliError> {
    for line in lines {
        if context.json {
            context.out.write_all(line)?;
            context.out.write_all(b"\n")?;
        } else if let Some(record) = Record::read(line) {
            writeln!(context.out, "{}", show::line(&record))?;
            if let (Some(language), Some(code)) = (language, told::code(&record)) {
                writeln!(context.out, "    {code}: {}", code.words(language))?;
            }
        } else {
            writeln!(context.out, "(this is not a record)")?;
        }
    }
    Ok(())
}

fn check(context: &mut Context<'_>, directory: &std::path::Path) -> Result<Exit, CliError> {
    let report = verify::verify(directory)?;
    if context.json {
        context.print_json(&report)?;
    } else {
        let whole = report.is_whole();
        let word = context.verdict(if whole { "WHOLE" } else { "NOT WHOLE" }, whole);
        context.print(&format!("{word}  {}", render(&report)))?;
    }
    Ok(if report.is_whole() {
        Exit::Ok
    } else {
        Exit::Failure
    })
}

/// Everything behind the verdict's word.
fn render(report: &Report) -> String {
    let mut text = format!(
        "{} in {}",
        counted(usize_of(report.records), "record"),
        counted(usize_of(report.files), "file")
    );
    if let (Some(first), Some(last)) = (&report.first, &report.last) {
        text.push_str(&format!(
            ", {} to {}, {} to {}",
            count(first.seq),
            count(last.seq),
            first.time,
            last.time
        ));
    }
    text.push('\n');
    match report.sync_point {
        SyncPoint::Sealed(seq) => {
            text.push_str(&format!("synced up to record {}, sealed\n", count(seq)))
        }
        SyncPoint::Unchecked(seq) => {
            text.push_str(&format!(
                "synced up to record {}, seal not checked\n",
                count(seq)
            ));
        }
        SyncPoint::Unknown => text.push_str("synced up to an unknown record\n"),
    }
    for note in &report.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    if !report.faults.is_empty() {
        text.push('\n');
        let mut table = Table::new(&["WHERE", "RECORD", "FAULT"]).right(&[1]);
        for fault in &report.faults {
            let place = match fault.line {
                0 => fault.file.clone(),
                line => format!("{}:{line}", fault.file),
            };
            let seq = fault.seq.map_or("-".to_owned(), |seq| seq.to_string());
            table.row([place, seq, fault.what.clone()]);
        }
        text.push_str(&table.render());
    }
    text
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Between looks for new records.
const POLL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::verify::{Fault, Mark};

    #[test]
    fn reports_are_shown() {
        let mark = |seq| {
            Some(Mark {
                seq,
                time: "2026-11-21T22:56:17.000001Z".to_owned(),
            })
        };
        let good = Report {
            files: 1,
            records: 1234,
            first: mark(1),
            last: mark(1234),
            sync_point: SyncPoint::Sealed(1234),
            ..Report::default()
        };
        let fault = |line, seq, what: &str| Fault {
            file: "journal-000002.jsonl".to_owned(),
            line,
            seq,
            what: what.to_owned(),
        };
        let bad = Report {
            files: 2,
            sync_point: SyncPoint::Unchecked(1250),
            notes: vec![
                "the seal of the sync point was not checked: the log key cannot be read".to_owned(),
            ],
            faults: vec![
                fault(17, Some(1017), "the record was changed"),
                fault(0, None, "the file is missing"),
            ],
            ..good.clone()
        };
        let json = serde_json::to_string_pretty(&bad).unwrap();
        insta::assert_snapshot!(format!(
            "{}----\n{}----\n{json}",
            render(&good),
            render(&bad)
        ));
    }
}

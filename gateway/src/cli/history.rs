//! `lazaret history`: the policies that were in force.
//!
//! In: what the daemon says, or its files when no gateway runs. Out: a list, or one version and what it would change.

use clap::{Args, Subcommand};
use lazaret_config::{Config, Source};
use serde::Serialize;

use super::context::{Context, strange};
use super::diff::{self, Difference};
use super::table::Table;
use super::{CliError, Exit};
use crate::control::message::{Person, PolicyFile, Request, Response, Version, VersionRecord};
use crate::daemon;
use crate::flow::GATEWAY;

/// Arguments of `history`.
#[derive(Debug, Args)]
pub(super) struct History {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show one of them, and what a rollback to it would change
    Show {
        /// Its number
        number: u64,
    },
}

impl History {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        match self.what {
            None => list(context),
            Some(What::Show { number }) => show(context, number),
        }
    }
}

/// What a version of the history says; without a number, what is in force.
pub(super) fn version(context: &Context<'_>, number: Option<u64>) -> Result<Config, CliError> {
    let (_, sources) = load(context, number)?;
    Ok(Config::from_sources(&context.config_dir, &sources)?)
}

fn load(
    context: &Context<'_>,
    number: Option<u64>,
) -> Result<(VersionRecord, Vec<Source>), CliError> {
    match (context.ask(&Request::Version { number }), number) {
        (Ok(Response::Version(version)), _) => {
            let Version { record, files } = *version;
            let sources = files.into_iter().map(|PolicyFile { path, text }| Source {
                path: context.config_dir.join(path),
                text,
            });
            Ok((record, sources.collect()))
        }
        (Ok(_), _) => Err(strange()),
        (Err(error), Some(number)) if error.is_down() => {
            Ok(kept(context).load(number, &context.config_dir)?)
        }
        (Err(error), _) => Err(error),
    }
}

/// What the gateway wrote, read without it.
fn kept(context: &Context<'_>) -> daemon::History {
    daemon::History::of(&lazaret_config::state_dir(&context.config_dir))
}

fn list(context: &mut Context<'_>) -> Result<Exit, CliError> {
    let response = match context.ask(&Request::History) {
        Ok(response) => response,
        Err(error) if error.is_down() => {
            let listed = kept(context).list();
            Response::History {
                versions: listed.records,
                damaged: listed.damaged,
            }
        }
        Err(error) => return Err(error),
    };
    let Response::History { versions, damaged } = &response else {
        return Err(strange());
    };
    if context.json {
        context.print_json(&response)?;
    } else {
        context.print(&render(versions, damaged))?;
    }
    Ok(if damaged.is_empty() {
        Exit::Ok
    } else {
        Exit::Failure
    })
}

/// A version beside what is in force.
#[derive(Serialize)]
struct Shown {
    record: VersionRecord,
    /// What putting it into force would change; none if no gateway runs, or the caller may not read its key files.
    difference: Option<Difference>,
}

fn show(context: &mut Context<'_>, number: u64) -> Result<Exit, CliError> {
    let (record, sources) = load(context, number.into())?;
    let difference = match version(context, None) {
        Ok(now) => {
            let config = Config::from_sources(&context.config_dir, &sources)?;
            Some(diff::between(context, now, config))
        }
        Err(error) if error.is_down() => None,
        // An operator who may not read the key files still sees the record.
        Err(error) if error.exit == Exit::Configuration => None,
        Err(error) => return Err(error),
    };
    if context.json {
        context.print_json(&Shown { record, difference })?;
    } else {
        let mut text = one(&record);
        if let Some(difference) = &difference {
            text.push_str("\na rollback to it would change:\n");
            text.push_str(&diff::render(difference));
        }
        context.print(&text)?;
    }
    Ok(Exit::Ok)
}

/// The newest first.
fn render(versions: &[VersionRecord], damaged: &[String]) -> String {
    let mut table = Table::new(&["VERSION", "SINCE", "HOW", "BY", "CONFIG", "WHY"]).right(&[0]);
    for record in versions.iter().rev() {
        table.row([
            record.number.to_string(),
            moment(&record.at),
            how(record),
            record.by.name.clone(),
            short(&record.digest).to_owned(),
            record.why.clone(),
        ]);
    }
    let mut text = table.render();
    for line in damaged {
        text.push_str(&format!("skipped: {line}\n"));
    }
    text
}

fn one(record: &VersionRecord) -> String {
    let person = |person: &Person| match person.uid {
        GATEWAY => "the gateway itself".to_owned(),
        uid => format!("{} (user {uid})", person.name),
    };
    let mut table = Table::default();
    table.row(["version", &record.number.to_string()]);
    table.row(["config", &record.digest]);
    table.row(["since", &moment(&record.at)]);
    table.row(["how", &how(record)]);
    table.row(["by", &person(&record.by)]);
    if let Some(proposer) = &record.proposed_by {
        table.row(["proposed by", &person(proposer)]);
    }
    if let Some(signer) = &record.signer {
        table.row(["signed by", signer]);
    }
    if !record.why.is_empty() {
        table.row(["why", &record.why]);
    }
    for (place, change) in record.changes.iter().enumerate() {
        table.row([if place == 0 { "changes" } else { "" }, change]);
    }
    table.render()
}

fn how(record: &VersionRecord) -> String {
    let mut how = record.how.as_str().to_owned();
    if let Some(of) = record.of {
        how.push_str(&format!(" to {of}"));
    }
    if record.trial {
        how.push_str(" on trial");
    }
    how
}

/// To the second.
fn moment(at: &str) -> String {
    let at = at.get(..19).unwrap_or(at);
    format!("{}Z", at.replace('T', " "))
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::How;

    #[test]
    fn the_newest_is_shown_first_and_damage_is_told() {
        let person = |uid, name: &str| Person {
            uid,
            name: name.to_owned(),
        };
        let first = VersionRecord {
            number: 9,
            digest: "4f3c9a0b1d2e".repeat(5),
            at: "2026-11-21T22:56:17.000001Z".to_owned(),
            by: person(0, "root"),
            how: How::Start,
            of: None,
            guarded: false,
            trial: false,
            why: String::new(),
            changes: Vec::new(),
            proposed_by: None,
            signer: None,
            signature: None,
        };
        let second = VersionRecord {
            number: 10,
            by: person(1002, "bob"),
            how: How::Rollback,
            of: Some(7),
            trial: true,
            why: "the ward lost its monitors".to_owned(),
            changes: vec!["rule a added".to_owned(), "rule b removed".to_owned()],
            proposed_by: Some(person(1001, "alice")),
            signer: Some("chief@example.org".to_owned()),
            ..first.clone()
        };
        let damaged = ["/var/lib/lazaret/history/8 is damaged: it has no record".to_owned()];
        let list = render(&[first, second.clone()], &damaged);
        insta::assert_snapshot!(format!("{list}--\n{}", one(&second)));
    }
}

//! Rules that let pass what was seen of devices, and nothing else.
//!
//! In: the files in force, and what was seen under which rule. Out: TOML with a remark on each line.
//! A rule is proposed for each rule and service that were used: what was seen is narrowed to that, the rest stays as it is.
//! What is proposed takes the place of the rules that were used, and was read with the other files before it is shown.
//! Knows nothing of how long or how anything was seen.

mod group;
mod lines;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use toml::{Table, Value};

use self::group::Group;
use crate::model::Config;
use crate::name::{DeviceName, RoleName, RuleName, ServiceName};
use crate::source::Source;

/// What was seen of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Habit {
    /// Whose.
    pub device: DeviceName,
    /// Its roles.
    pub roles: BTreeSet<RoleName>,
    /// Whether it was watched for a week or more, so that its hours mean something.
    pub weeks: bool,
    /// Most messages in a minute.
    pub busiest_minute: u32,
    /// The hours of the week at which it was there, from Monday at 0.
    pub hours: BTreeSet<u8>,
    /// What it said.
    pub seen: Vec<Seen>,
}

/// Something that a device said, and that was let pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// To whom.
    pub service: ServiceName,
    /// By which rule.
    pub rule: String,
    /// `ORU^R01`, `C-STORE`; empty if it has no type, as batches.
    pub message: String,
    /// UID.
    pub sop_class: Option<String>,
    /// How often.
    pub amount: u64,
    /// The longest in bytes.
    pub largest: u64,
    /// How often it would have been refused, were its rule not in shadow.
    pub would_refuse: u64,
}

/// What is proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// As it goes into a file of `conf.d`.
    pub text: String,
    /// How many rules there are in it.
    pub rules: usize,
    /// The rules whose place it takes, with file and line.
    pub replaces: BTreeMap<RuleName, String>,
    /// Why it is not accepted beside the other files, if it is not.
    pub trouble: Option<String>,
}

/// Proposes rules. `whole`: everything was asked for, so that limits and hours can be of what was seen.
#[must_use]
pub fn propose(
    (dir, sources): (&Path, &[Source]),
    config: &Config,
    habits: &[Habit],
    whole: bool,
) -> Proposal {
    let groups = group::groups(config, habits);
    let tables = rules_of(sources);
    let replaces: BTreeMap<RuleName, String> = (groups.iter())
        .filter_map(|group| {
            let rule = config.rules.get(&group.rule)?;
            let (file, line) = (rule.origin.file.display(), rule.origin.line);
            Some((group.rule.clone(), format!("{file}:{line}")))
        })
        .collect();
    let mut proposal = Proposal {
        text: String::new(),
        rules: groups.len(),
        replaces,
        trouble: None,
    };
    // Rules that are proposed may contradict each other in limits and hours: then these are remarks.
    for bounded in [whole, false] {
        proposal.text = text(config, &groups, &tables, bounded, &proposal.replaces);
        proposal.trouble = trouble((dir, sources), &proposal);
        if proposal.trouble.is_none() || !bounded {
            break;
        }
    }
    proposal
}

fn text(
    config: &Config,
    groups: &[Group],
    tables: &BTreeMap<String, Table>,
    bounded: bool,
    replaces: &BTreeMap<RuleName, String>,
) -> String {
    let mut text = String::from(
        "# What `lazaret learn` proposes from what was seen. Read it before you put it into conf.d and `lazaret check` it.\n",
    );
    for (rule, place) in replaces {
        text.push_str(&format!("# It takes the place of rule {rule} ({place}).\n"));
    }
    if groups.is_empty() {
        text.push_str("# Nothing was seen that a rule of the configuration let pass.\n");
    }
    let mut taken: BTreeSet<String> = config.rules.keys().map(ToString::to_string).collect();
    let zone = &config.behaviour.zone;
    for group in groups {
        let name = name_for(group, &mut taken);
        let table = tables.get(group.rule.as_str());
        let empty = Table::new();
        let own = table.unwrap_or(&empty);
        text.push('\n');
        text.push_str(&lines::rule(group, (&name, own), bounded, zone_name(zone)));
        text.push_str(&lines::tests(group, config));
    }
    text
}

fn zone_name(zone: &TimeZone) -> &str {
    zone.iana_name().unwrap_or("UTC")
}

/// `learnt-RULE-SERVICE`, as far as it is long enough and free.
fn name_for(group: &Group, taken: &mut BTreeSet<String>) -> String {
    let rule = group.rule.as_str().trim_start_matches("learnt-");
    let mut name = format!("learnt-{rule}-{}", group.service);
    name.truncate(LONGEST_NAME);
    let mut free = name.clone();
    let mut number = 2u32;
    while !taken.insert(free.clone()) {
        free = format!("{name}-{number}");
        number = number.saturating_add(1);
    }
    free
}

/// The tables of rules as they stand in the files.
fn rules_of(sources: &[Source]) -> BTreeMap<String, Table> {
    let parsed = sources.iter().filter_map(|one| one.text.parse().ok());
    let mut rules = BTreeMap::new();
    for mut file in parsed.map(|file: Table| file) {
        if let Some(Value::Table(named)) = file.remove("rule") {
            for (name, value) in named {
                if let Value::Table(table) = value {
                    rules.insert(name, table);
                }
            }
        }
    }
    rules
}

/// Reads it in the place of what it replaces.
fn trouble((dir, sources): (&Path, &[Source]), proposal: &Proposal) -> Option<String> {
    let mut all = Vec::with_capacity(sources.len().saturating_add(1));
    for source in sources {
        let mut file: Table = source.text.parse().ok()?;
        if let Some(Value::Table(rules)) = file.get_mut("rule") {
            rules.retain(|name, _| !proposal.replaces.keys().any(|rule| rule.as_str() == name));
        }
        all.push(Source {
            path: source.path.clone(),
            text: file.to_string(),
        });
    }
    all.push(Source {
        path: PathBuf::from("learnt.toml"),
        text: proposal.text.clone(),
    });
    match Config::from_sources(dir, &all) {
        Err(errors) => Some(errors.to_string()),
        Ok(config) => {
            let failures = config.run_tests();
            let first = failures.first().map(ToString::to_string);
            first.map(|first| format!("a test does not hold any more: {first}"))
        }
    }
}

/// Room is left for a number.
const LONGEST_NAME: usize = 58;

#[cfg(test)]
mod tests;

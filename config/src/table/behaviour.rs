//! `[behaviour]`: how long devices are watched, and what follows when they do something else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::behaviour::{Behaviour, Deviation, Reaction, Whom};
use crate::field::hours::zone_of;
use crate::field::machine::ZoneName;
use crate::field::quantity::Period;
use crate::problem::{At, Fault};
use crate::section::{Keys, Section, Text, word};

pub(crate) const KEYS: Keys = Keys {
    table: "[behaviour]",
    known: &[
        "learn",
        "on_deviation",
        "quarantine",
        "alert",
        "ignore",
        "quarantine_for",
        "rate_factor",
        "timezone",
    ],
    later: &[],
};

/// The table as it is written.
#[derive(Default)]
pub(crate) struct RawBehaviour {
    learn: Option<Duration>,
    on_deviation: Option<Reaction>,
    pub(crate) exceptions: Vec<(At<Whom>, Reaction)>,
    quarantine_for: Option<BTreeSet<Deviation>>,
    rate_factor: Option<u32>,
    timezone: Option<TimeZone>,
}

impl Text for Reaction {
    const WHAT: &'static str = "`ignore`, `alert` or `quarantine`";
    fn parse(text: &str) -> Result<Self, Fault> {
        let words = [
            ("ignore", Self::Ignore),
            ("alert", Self::Alert),
            ("quarantine", Self::Quarantine),
        ];
        word(text, &words)
    }
}

impl Text for Deviation {
    const WHAT: &'static str = "a kind of deviation like \"message\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        word(text, &Self::ALL.map(|one| (one.as_str(), one)))
    }
}

impl Text for Whom {
    const WHAT: &'static str = "a party or rule like \"role:infusion-pump\" or \"rule:orders\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let not = || Fault::new(format!("not {}", Self::WHAT));
        if let Some(name) = text.strip_prefix("rule:") {
            return name.parse().map(Self::Rule).map_err(|_| not());
        }
        text.parse()
            .map(Self::Party)
            .map_err(|_| not().help("write role:NAME, device:NAME or rule:NAME"))
    }
}

pub(crate) fn read(section: &Section<'_>) -> RawBehaviour {
    let learn = section.optional::<Period>("learn").map(|at| at.value.0);
    if learn.is_some_and(|learn| !(SHORTEST..=LONGEST).contains(&learn)) {
        let fault = Fault::new("devices are watched for 1s to 366d");
        section.report(
            "learn",
            fault.help(
                "what is usual shows in two weeks; `on_deviation = \"ignore\"` tells nothing",
            ),
        );
    }
    let zone = section.optional::<ZoneName>("timezone");
    RawBehaviour {
        learn,
        on_deviation: section.optional("on_deviation").map(|at| at.value),
        exceptions: exceptions(section),
        quarantine_for: section.has("quarantine_for").then(|| {
            let all = section.list_or_empty::<Deviation>("quarantine_for");
            all.into_iter().map(|at| at.value).collect()
        }),
        rate_factor: section.within("rate_factor", 2..=1000),
        timezone: zone.and_then(|at| zone_of(&at.value.0).ok()),
    }
}

fn exceptions(section: &Section<'_>) -> Vec<(At<Whom>, Reaction)> {
    let mut all: Vec<(At<Whom>, Reaction)> = Vec::new();
    let mut seen = BTreeMap::new();
    for (key, reaction) in [
        ("ignore", Reaction::Ignore),
        ("alert", Reaction::Alert),
        ("quarantine", Reaction::Quarantine),
    ] {
        let list = section.list::<Whom>(key, "leave it out, or name at least one party or rule");
        //= C7
        if list.len() > MOST {
            section.report(
                key,
                Fault::new(format!("more than {MOST} parties and rules")),
            );
        }
        for at in list {
            if let Some(first) = seen.insert(at.value.clone(), at.place) {
                let problem = Fault::new("named twice").at(at.place);
                let problem = problem.also(first, "first named here");
                section.problems().report(problem);
            }
            all.push((at, reaction));
        }
    }
    all
}

impl RawBehaviour {
    /// `timezone` is that of the machine, if it is known.
    pub(crate) fn into_model(self, timezone: Option<&str>) -> Behaviour {
        let default = Behaviour::default();
        let machine = || timezone.and_then(|name| zone_of(name).ok());
        Behaviour {
            learn: self.learn.unwrap_or(default.learn),
            on_deviation: self.on_deviation.unwrap_or_default(),
            exceptions: (self.exceptions.into_iter())
                .map(|(at, reaction)| (at.value, reaction))
                .collect(),
            quarantine_for: self.quarantine_for.unwrap_or(default.quarantine_for),
            rate_factor: self.rate_factor.unwrap_or(default.rate_factor),
            zone: self.timezone.or_else(machine).unwrap_or(default.zone),
        }
    }
}

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_hours(366 * 24);
/// Parties and rules in each list.
const MOST: usize = 1024;

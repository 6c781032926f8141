//! `[pki]`: the certification authority of the gateway.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::field::pki::CrlUrl;
use crate::field::quantity::Period;
use crate::pki::{Pki, ServerName};
use crate::problem::Fault;
use crate::section::{Keys, Section};

pub(crate) const KEYS: Keys = Keys {
    table: "[pki]",
    known: &[
        "algorithm",
        "lifetime",
        "grace",
        "ca_lifetime",
        "overlap",
        "server_names",
        "crl_url",
    ],
    later: &[],
};

pub(crate) fn read(section: &Section<'_>) -> Pki {
    let period = |key, shortest, longest, default| {
        let range = Period(shortest)..=Period(longest);
        section
            .within(key, range)
            .map_or(default, |period| period.0)
    };
    let default = Pki::default();
    let lifetime = period("lifetime", SHORTEST, days(398), default.lifetime);
    let grace = period("grace", Duration::ZERO, days(365), default.grace);
    let least = lifetime.saturating_add(grace);
    let overlap = period("overlap", SHORTEST, days(3650), least.saturating_mul(2));
    let ca_lifetime = period("ca_lifetime", SHORTEST, days(14_600), default.ca_lifetime);
    if overlap < least {
        let help = format!(
            "at least {}: `lifetime` and `grace` together, so that no device is locked out by a rotation",
            Period(least)
        );
        section.report("overlap", Fault::new("`overlap` is too short").help(help));
    }
    let needed = overlap.saturating_add(lifetime);
    if ca_lifetime < needed {
        let help = format!(
            "at least {}: `overlap` and `lifetime` together, so that it can be rotated before it ends",
            Period(needed)
        );
        section.report(
            "ca_lifetime",
            Fault::new("`ca_lifetime` is too short").help(help),
        );
    }
    Pki {
        algorithm: section.or("algorithm", default.algorithm),
        lifetime,
        grace,
        ca_lifetime,
        overlap,
        server_names: server_names(section),
        crl_url: section.optional::<CrlUrl>("crl_url").map(|at| at.value.0),
    }
}

//= C7
fn server_names(section: &Section<'_>) -> Vec<ServerName> {
    let names = section.list::<ServerName>("server_names", "leave it out, or name at least one");
    if names.len() > MOST_NAMES {
        section.report(
            "server_names",
            Fault::new(format!("more than {MOST_NAMES} names")),
        );
    }
    let mut seen = BTreeSet::new();
    names
        .into_iter()
        .map(|at| at.value)
        .filter(|name| seen.insert(name.clone()))
        .collect()
}

const fn days(days: u64) -> Duration {
    Duration::from_hours(days.saturating_mul(24))
}

const SHORTEST: Duration = Duration::from_secs(30);
const MOST_NAMES: usize = 16;

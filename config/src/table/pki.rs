//! `[pki]`: the certification authority of the gateway.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::field::basic::{AbsolutePath, FilePath};
use crate::field::pki::{CrlUrl, TokenLabel, Variable, VariableValue};
use crate::field::quantity::Period;
use crate::pki::{Pkcs11, Pki, ServerName, SocketFamily};
use crate::problem::{At, Fault};
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
        "pkcs11",
    ],
    later: &[],
};

pub(crate) const PKCS11: Keys = Keys {
    table: "[pki.pkcs11]",
    known: &[
        "module",
        "token",
        "pin_file",
        "paths",
        "sockets",
        "environment",
    ],
    later: &[],
};

/// `[pki]` as it is written.
pub(crate) struct RawPki {
    pub(crate) pki: Pki,
    pub(crate) pin_file: Option<At<FilePath>>,
    pub(crate) paths: Vec<At<AbsolutePath>>,
}

impl RawPki {
    pub(crate) fn into_model(self, dir: &Path) -> Pki {
        let mut pki = self.pki;
        if let Some(pkcs11) = &mut pki.pkcs11 {
            pkcs11.pin_file = dir.join(&pkcs11.pin_file);
        }
        pki
    }
}

pub(crate) fn read(section: &Section<'_>) -> RawPki {
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
    let mut raw = RawPki {
        pki: default,
        pin_file: None,
        paths: Vec::new(),
    };
    if let Some(section) = section.section("pkcs11", &PKCS11) {
        pkcs11(&section, &mut raw);
    }
    let pkcs11 = raw.pki.pkcs11.take();
    raw.pki = Pki {
        algorithm: section.or("algorithm", raw.pki.algorithm),
        lifetime,
        grace,
        ca_lifetime,
        overlap,
        server_names: server_names(section),
        crl_url: section.optional::<CrlUrl>("crl_url").map(|at| at.value.0),
        pkcs11,
    };
    raw
}

fn pkcs11(section: &Section<'_>, raw: &mut RawPki) {
    let module = section.required::<AbsolutePath>("module");
    let token = section.required::<TokenLabel>("token");
    raw.pin_file = section.required::<FilePath>("pin_file");
    raw.paths = section.list::<AbsolutePath>("paths", "leave it out, or name at least one");
    let sockets = section.list::<SocketFamily>("sockets", "leave it out: then there are none");
    let environment = section.map::<Variable, VariableValue>("environment");
    let environment = environment.unwrap_or_default();
    //= C7
    for (key, length) in [
        ("paths", raw.paths.len()),
        ("environment", environment.len()),
    ] {
        if length > MOST_OF_A_MODULE {
            let fault = Fault::new(format!("more than {MOST_OF_A_MODULE} entries"));
            section.report(key, fault);
        }
    }
    let (Some(module), Some(token), Some(pin_file)) = (module, token, &raw.pin_file) else {
        return;
    };
    raw.pki.pkcs11 = Some(Pkcs11 {
        module: module.value.0,
        token: token.value.0,
        pin_file: pin_file.value.0.clone(),
        paths: raw.paths.iter().map(|at| at.value.0.clone()).collect(),
        sockets: sockets.into_iter().map(|at| at.value).collect(),
        environment: environment
            .into_iter()
            .map(|(name, value)| (name.value.0, value.value.0))
            .collect(),
    });
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
/// Paths, and variables.
const MOST_OF_A_MODULE: usize = 16;

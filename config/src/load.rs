//! From files to a [`Config`].

use std::path::Path;

use crate::behaviour::Behaviour;
use crate::check;
use crate::decide::Index;
use crate::document::{self, Document};
use crate::error::ConfigErrors;
use crate::excerpt::Lines;
use crate::model::{Config, Origin, Party, PatientKey, Role};
use crate::problem::{Place, Problems};
use crate::quic::Quic;
use crate::source::{Source, sources};
use crate::table::appliance::RawAppliance;
use crate::table::behaviour::RawBehaviour;
use crate::table::quic::RawQuic;

impl Config {
    /// Reads and checks the configuration in a directory.
    ///
    /// # Errors
    /// Everything that is wrong with it, as far as it can be told at once.
    pub fn load(dir: &Path) -> Result<Self, ConfigErrors> {
        Self::from_sources(dir, &sources(dir)?)
    }

    /// Checks a configuration that was read; the first source is `lazaret.toml`, the others are those of `conf.d`.
    /// Relative paths of key files belong to `dir`; the key files are looked at.
    ///
    /// # Errors
    /// Everything that is wrong with it, as far as it can be told at once.
    pub fn from_sources(dir: &Path, sources: &[Source]) -> Result<Self, ConfigErrors> {
        let problems = Problems::default();
        let document = document::read(sources, &problems);
        if !document.broken {
            check::check(&document, dir, &problems);
        }
        let patient_key = check::secrets::patient_key(&document, dir, &problems);
        if let Some(errors) = problems.into_errors(sources) {
            return Err(errors);
        }
        // Without a problem every required part is there.
        build(document, patient_key, dir, sources)
            .ok_or_else(|| ConfigErrors::without_place("the configuration is empty".to_owned()))
    }
}

/// Inside: the tunnel, if there is to be one.
fn quic(raw: Option<RawQuic>) -> Option<Option<Quic>> {
    raw.map_or(Some(None), |raw| raw.into_model().map(Some))
}

/// In the time zone of the machine, if it says no other.
fn behaviour(raw: RawBehaviour, machine: Option<&RawAppliance>) -> Behaviour {
    raw.into_model(machine.map(RawAppliance::timezone))
}

fn build(
    document: Document,
    patient_key: Option<PatientKey>,
    dir: &Path,
    sources: &[Source],
) -> Option<Config> {
    let lines: Vec<Lines<'_>> = (sources.iter())
        .map(|source| Lines::new(&source.text))
        .collect();
    let origin = |place: Place| {
        let source = sources.get(place.file);
        let lines = lines.get(place.file);
        Origin {
            file: source.map(|source| source.path.clone()).unwrap_or_default(),
            line: lines.map_or(1, |lines| lines.line_of(place.start)),
        }
    };
    let gateway = document.gateway?;
    let mut config = Config {
        wireguard: document.wireguard?.into_model(dir)?,
        quic: quic(document.quic)?,
        hospital: document.hospital?.into_model()?,
        audit: document.audit.into_model(&gateway.state_dir),
        pki: document.pki.map(|pki| pki.into_model(dir)),
        policy: document.policy,
        behaviour: behaviour(document.behaviour, document.appliance.as_ref()),
        quarantine: document.quarantine.into_model(),
        break_glass: document.break_glass,
        registry: document.registry.into_model(dir),
        enrol: document.enrol.into_model(),
        appliance: document
            .appliance
            .map(|appliance| appliance.into_model(&gateway.name, dir)),
        gateway,
        patient_key,
        limits: document.limits,
        roles: (document.roles.into_iter())
            .map(|(name, role)| (name, role.value))
            .collect(),
        services: document
            .services
            .into_iter()
            .map(|(name, raw)| {
                let origin = origin(raw.header);
                Some((name, raw.into_model(origin)?))
            })
            .collect::<Option<_>>()?,
        devices: document
            .devices
            .into_iter()
            .map(|(name, raw)| {
                let origin = origin(raw.header);
                Some((name, raw.into_model(origin, dir)?))
            })
            .collect::<Option<_>>()?,
        profiles: document
            .profiles
            .into_iter()
            .map(|(name, raw)| {
                let origin = origin(raw.header);
                (name.clone(), raw.into_model(name, origin))
            })
            .collect(),
        rules: document
            .rules
            .into_iter()
            .map(|(name, raw)| {
                let origin = origin(raw.header);
                (name, raw.into_model(origin))
            })
            .collect(),
        tests: (document.tests.into_iter())
            .map(|raw| {
                let origin = origin(raw.header);
                raw.into_model(origin)
            })
            .collect::<Option<_>>()?,
        index: Index::default(),
    };
    undeclared_roles(&mut config);
    config.index = Index::new(&config.devices, &config.rules);
    Some(config)
}

/// Roles need no table.
fn undeclared_roles(config: &mut Config) {
    for device in config.devices.values() {
        for role in &device.roles {
            if !config.roles.contains_key(role) {
                config.roles.insert(role.clone(), Role::default());
            }
        }
    }
    for party in config.rules.values().flat_map(|rule| &rule.parties) {
        if let Party::Role(role) = party
            && !config.roles.contains_key(role)
        {
            config.roles.insert(role.clone(), Role::default());
        }
    }
}

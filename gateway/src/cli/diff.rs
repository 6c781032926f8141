//! `lazaret diff`: what the files would change, and who gains or loses what.
//!
//! In: devices that stand in no file, the configuration in force, which the daemon keeps in `STATE_DIR/applied`, or a version of the history, and the one in the files.
//! Out: [`Difference`]. Where something is written is no difference.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clap::Args;
use lazaret_config::{
    Config, DeviceName, Identity, Origin, Rule, ServiceName, ServiceProtocol, SiteProfile,
};
use serde::Serialize;

use super::context::Context;
use super::enrolled::Beside;
use super::history::version;
use super::units::counted;
use super::{CliError, Exit};

/// The name of the copy in the state directory.
const APPLIED: &str = "applied";

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub(super) struct Diff {
    /// Compare with this version instead of what is in force, as `lazaret history` numbers it
    #[arg(long, value_name = "NUMBER")]
    from: Option<u64>,
}

impl Diff {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let new = context.config()?;
        let applied = new.gateway.state_dir.join(APPLIED);
        let old = match self.from {
            Some(number) => version(context, Some(number))?,
            None if !applied.is_dir() => {
                let text = format!("nothing was applied yet: there is no {}", applied.display());
                return Err(CliError::new(Exit::Failure, text));
            }
            // Key files are named relative to the directory of the files, and are not copied.
            None => Config::from_sources(&context.config_dir, &lazaret_config::sources(&applied)?)?,
        };
        let difference = between(context, old, new);
        if context.json {
            context.print_json(&difference)?;
        } else {
            context.print(&render(&difference))?;
        }
        Ok(Exit::Ok)
    }
}

/// What differs between two configurations, wherever they are written.
pub(super) fn between(context: &Context<'_>, old: Config, new: Config) -> Difference {
    let directory = &context.config_dir;
    let beside = Beside::of(context, &new);
    let whole = |config: Config| beside.merge(&comparable(config, directory)).0;
    let mut difference = Difference::between(&whole(old), &whole(new));
    difference.registry = beside.missing().map(str::to_owned);
    difference
}

/// What differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    changes: Vec<Change>,
    /// Devices that can do more or less than before.
    access: BTreeMap<DeviceName, Access>,
    /// Why devices that stand in no file are not among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<String>,
    /// What is left to devices in quarantine, if that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantine: Option<Access>,
}

/// One thing that is new, gone or different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Change {
    kind: &'static str,
    name: String,
    change: How,
    /// Which settings, if it is different.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    what: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum How {
    Added,
    Removed,
    Changed,
}

/// What a device gains and loses, as in tests: `console`, `his-results#ORU^R01`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Access {
    gains: BTreeSet<String>,
    loses: BTreeSet<String>,
}

/// Without places in files and directories, which differ between the files and their copy.
fn comparable(mut config: Config, directory: &Path) -> Config {
    let nowhere = || Origin {
        file: "".into(),
        line: 0,
    };
    let relative = |path: &mut std::path::PathBuf| {
        if let Ok(rest) = path.strip_prefix(directory) {
            *path = rest.to_owned();
        }
    };
    relative(&mut config.wireguard.private_key_file);
    if let Some(patient) = &mut config.patient_key {
        relative(&mut patient.file);
    }
    for service in config.services.values_mut() {
        service.origin = nowhere();
    }
    for profile in config.profiles.values_mut() {
        profile.origin = nowhere();
    }
    for rule in config.rules.values_mut() {
        rule.origin = nowhere();
    }
    for device in config.devices.values_mut() {
        device.origin = nowhere();
        if let Identity::WireGuard {
            preshared_key_file: Some(file),
            ..
        } = &mut device.identity
        {
            relative(file);
        }
    }
    for test in &mut config.tests {
        test.origin = nowhere();
    }
    config
}

impl Difference {
    fn between(old: &Config, new: &Config) -> Self {
        let mut difference = Self::default();
        let sections = [
            (
                "gateway",
                old.gateway != new.gateway || old.patient_key != new.patient_key,
            ),
            ("tunnel.wireguard", old.wireguard != new.wireguard),
            ("tunnel.quic", old.quic != new.quic),
            ("hospital", old.hospital != new.hospital),
            ("limits", old.limits != new.limits),
            ("audit", old.audit != new.audit),
            ("pki", old.pki != new.pki),
            ("policy", old.policy != new.policy),
            ("behaviour", old.behaviour != new.behaviour),
            ("quarantine", old.quarantine != new.quarantine),
            ("break_glass", old.break_glass != new.break_glass),
            ("test", old.tests != new.tests),
        ];
        for (name, differs) in sections {
            if differs {
                difference.push("section", &name, How::Changed, Vec::new());
            }
        }
        difference.tables("service", &old.services, &new.services, |a, b| {
            settings(&[
                ("address", a.address != b.address),
                ("protocol", a.protocol != b.protocol),
            ])
        });
        difference.tables("device", &old.devices, &new.devices, |a, b| {
            settings(&[
                ("identity", a.identity != b.identity),
                ("addresses", a.addresses != b.addresses),
                ("networks", a.networks != b.networks),
                ("roles", a.roles != b.roles),
                ("hl7_sender", a.hl7_senders != b.hl7_senders),
                ("ae_title", a.ae_title != b.ae_title),
                ("dicom_port", a.dicom_port != b.dicom_port),
                ("hospital_port", a.hospital_port != b.hospital_port),
                ("patients", a.patients != b.patients),
                ("device_ids", a.device_ids != b.device_ids),
                ("default_charset", a.default_charset != b.default_charset),
            ])
        });
        difference.tables("role", &old.roles, &new.roles, |_, _| vec!["description"]);
        let profiles = (&old.profiles, &new.profiles);
        difference.tables("profile", profiles.0, profiles.1, profile_settings);
        difference.tables("rule", &old.rules, &new.rules, rule_settings);
        difference.access = access(old, new);
        difference.quarantine = remediation(old, new);
        difference
    }

    fn push(
        &mut self,
        kind: &'static str,
        name: &impl ToString,
        change: How,
        what: Vec<&'static str>,
    ) {
        self.changes.push(Change {
            kind,
            name: name.to_string(),
            change,
            what,
        });
    }

    fn tables<K: Ord + ToString, V: PartialEq>(
        &mut self,
        kind: &'static str,
        old: &BTreeMap<K, V>,
        new: &BTreeMap<K, V>,
        what: impl Fn(&V, &V) -> Vec<&'static str>,
    ) {
        let names: BTreeSet<&K> = old.keys().chain(new.keys()).collect();
        for name in names {
            match (old.get(name), new.get(name)) {
                (None, Some(_)) => self.push(kind, name, How::Added, Vec::new()),
                (Some(_), None) => self.push(kind, name, How::Removed, Vec::new()),
                (Some(a), Some(b)) if a != b => self.push(kind, name, How::Changed, what(a, b)),
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
    }
}

fn profile_settings(a: &SiteProfile, b: &SiteProfile) -> Vec<&'static str> {
    settings(&[
        ("base", a.base != b.base),
        ("severities", a.severities != b.severities),
        ("versions", a.versions != b.versions),
        ("charsets", a.charsets != b.charsets),
        ("message", a.messages != b.messages),
        ("observation", a.observations != b.observations),
        ("dicom", a.dicom != b.dicom),
    ])
}

fn rule_settings(a: &Rule, b: &Rule) -> Vec<&'static str> {
    settings(&[
        ("from", a.direction != b.direction || a.parties != b.parties),
        ("to", a.services != b.services),
        ("hl7", a.hl7 != b.hl7),
        ("dicom", a.dicom != b.dicom),
        ("limit", a.limit != b.limit),
        ("priority", a.priority != b.priority),
        ("profile", a.profile != b.profile),
        ("shadow", a.shadow != b.shadow),
        ("hours", a.hours != b.hours),
        ("until", a.until != b.until),
    ])
}

fn settings(all: &[(&'static str, bool)]) -> Vec<&'static str> {
    let differing = all.iter().filter(|(_, differs)| *differs);
    differing.map(|(name, _)| *name).collect()
}

fn access(old: &Config, new: &Config) -> BTreeMap<DeviceName, Access> {
    let names: BTreeSet<&DeviceName> = old.devices.keys().chain(new.devices.keys()).collect();
    let mut all = BTreeMap::new();
    for name in names {
        let (before, after) = (abilities(old, name), abilities(new, name));
        if before != after {
            let access = Access {
                gains: after.difference(&before).cloned().collect(),
                loses: before.difference(&after).cloned().collect(),
            };
            all.insert(name.clone(), access);
        }
    }
    all
}

/// What is left to devices in quarantine.
fn remediation(old: &Config, new: &Config) -> Option<Access> {
    let (before, after) = (&old.quarantine.services, &new.quarantine.services);
    let only = |some: &BTreeSet<ServiceName>, others: &BTreeSet<ServiceName>| {
        some.difference(others).map(ToString::to_string).collect()
    };
    (before != after).then(|| Access {
        gains: only(after, before),
        loses: only(before, after),
    })
}

/// What a device can reach and say there.
fn abilities(config: &Config, device: &DeviceName) -> BTreeSet<String> {
    let mut all = visitors(config, device);
    for (name, rules) in config.services_of(device) {
        let protocol = config.services.get(name).map(|service| &service.protocol);
        for rule in rules.into_iter().filter_map(|rule| config.rules.get(rule)) {
            let said = match protocol {
                Some(ServiceProtocol::Hl7 { .. }) => rule.hl7.as_ref().map(|hl7| &hl7.send),
                Some(ServiceProtocol::Dicom { .. }) => {
                    rule.dicom.as_ref().map(|dicom| &dicom.allow)
                }
                Some(ServiceProtocol::Plain { .. }) | None => None,
            };
            match said {
                Some(said) => all.extend(said.iter().map(|word| format!("{name}#{word}"))),
                None => {
                    all.insert(name.to_string());
                }
            }
        }
    }
    all
}

/// What services can do at a device: `from pacs#C-STORE`.
fn visitors(config: &Config, device: &DeviceName) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for service in config.callers(device) {
        if config.entrances(device, service).is_empty() {
            continue;
        }
        for one in config.inward(device, service) {
            all.extend(one.allows().map(|word| format!("from {service}#{word}")));
        }
    }
    all
}

/// In words.
pub(super) fn render(difference: &Difference) -> String {
    let mut text = match &difference.registry {
        Some(why) => format!("without the enrolled devices, which cannot be read: {why}\n"),
        None => String::new(),
    };
    let access = difference.access.is_empty() && difference.quarantine.is_none();
    if difference.changes.is_empty() && access {
        text.push_str("no difference\n");
        return text;
    }
    for change in &difference.changes {
        let sign = match change.change {
            How::Added => '+',
            How::Removed => '-',
            How::Changed => '~',
        };
        text.push_str(&format!("{sign} {} {}", change.kind, change.name));
        if !change.what.is_empty() {
            text.push_str(&format!(": {}", change.what.join(", ")));
        }
        text.push('\n');
    }
    // Devices with the same fate are told of together.
    let mut fates: BTreeMap<&Access, Vec<&str>> = BTreeMap::new();
    for (device, access) in &difference.access {
        fates.entry(access).or_default().push(device.as_str());
    }
    let mut fates: Vec<_> = fates.into_iter().collect();
    fates.sort_by(|a, b| a.1.cmp(&b.1));
    let quarantine = difference.quarantine.iter();
    let told = quarantine.map(|access| (access, vec!["devices in quarantine"], ""));
    let fates = fates.into_iter().map(|(access, devices)| {
        let ending = if devices.len() == 1 { "s" } else { "" };
        (access, devices, ending)
    });
    for (access, devices, ending) in fates.chain(told) {
        text.push_str(&format!("\n{}\n", listed(&devices)));
        for (word, services) in [("gain", &access.gains), ("lose", &access.loses)] {
            let services: Vec<&str> = services.iter().map(String::as_str).collect();
            if !services.is_empty() {
                text.push_str(&format!("  {word}{ending}  {}\n", services.join(", ")));
            }
        }
    }
    text
}

/// Some names, and how many more.
fn listed(devices: &[&str]) -> String {
    match devices {
        [one] => (*one).to_owned(),
        all if all.len() <= SHOWN => {
            format!("{}: {}", counted(all.len(), "device"), all.join(", "))
        }
        all => {
            let some = all.get(..SHOWN).unwrap_or_default().join(", ");
            format!(
                "{}: {some} and {} more",
                counted(all.len(), "device"),
                all.len() - SHOWN
            )
        }
    }
}

/// Most devices that are named together.
const SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample::{CLINIC, config, load};

    #[test]
    fn the_same_is_no_difference() {
        let (old, mut new) = (config(), config());
        for rule in new.rules.values_mut() {
            rule.origin.line += 7;
        }
        new.wireguard.private_key_file = "/b/wireguard.key".into();
        let old = comparable(old, Path::new("/etc/lazaret"));
        let difference = Difference::between(&old, &comparable(new, Path::new("/b")));
        assert_eq!(difference, Difference::default());
        assert_eq!(render(&difference), "no difference\n");
    }

    #[test]
    fn who_gains_and_loses_what() {
        let old = config();
        let mut new = config();
        let ecg = new.devices["ecg-0042".parse().as_ref().unwrap()].clone();
        for number in 1..=7 {
            new.devices
                .insert(format!("ecg-{number}").parse().unwrap(), ecg.clone());
        }
        new.rules.remove(&"ct-images".parse().unwrap());
        let rule = new.rules.get_mut(&"ecg-results".parse().unwrap()).unwrap();
        rule.hl7.as_mut().unwrap().send.insert("ORU^R30".to_owned());
        rule.shadow = true;
        new.limits.spool += 1;
        new.pki = Some(lazaret_config::Pki::default());
        let nowhere = Path::new("/nowhere");
        let difference = Difference::between(&comparable(old, nowhere), &comparable(new, nowhere));
        insta::assert_snapshot!(render(&difference));
        insta::assert_snapshot!(serde_json::to_string_pretty(&difference).unwrap());
    }

    #[test]
    fn profiles_differ_by_what_they_say() {
        let profile = |lines: &str| {
            let text = format!("{CLINIC}\n{lines}\n[profile.x]\nversions = [\"2.5\"]\n");
            comparable(load(&text), Path::new("/nowhere"))
        };
        let (old, moved) = (profile(""), profile("\n\n"));
        assert_eq!(Difference::between(&old, &moved), Difference::default());
        let mut new = moved;
        let x = new.profiles.get_mut(&"x".parse().unwrap()).unwrap();
        x.versions.insert("2.5.1".to_owned());
        let change = Change {
            kind: "profile",
            name: "x".to_owned(),
            change: How::Changed,
            what: vec!["versions"],
        };
        assert_eq!(Difference::between(&old, &new).changes, [change]);
    }

    #[test]
    fn many_names_are_counted() {
        let names: Vec<String> = (0..8).map(|n| format!("d{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(listed(&names), "8 devices: d0, d1, d2, d3, d4 and 3 more");
        assert_eq!(listed(&names[..1]), "d0");
    }
}

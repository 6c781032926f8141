//! All files together, before the checks across tables.
//!
//! In: the texts. Out: every table as it is written, with places; what is wrong inside of a table is reported.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::containment::BreakGlass;
use crate::field::basic::FilePath;
use crate::model::{Gateway, Limits, Role};
use crate::name::{DeviceName, InvalidName, ProfileName, RoleName, RuleName, ServiceName};
use crate::policy::Policy;
use crate::problem::{At, Fault, Place, Problems};
use crate::section::{Keys, Section, place};
use crate::source::Source;
use crate::table::appliance::RawAppliance;
use crate::table::audit::RawAudit;
use crate::table::behaviour::RawBehaviour;
use crate::table::containment::RawQuarantine;
use crate::table::device::RawDevice;
use crate::table::enrol::RawEnrol;
use crate::table::hospital::RawHospital;
use crate::table::pki::RawPki;
use crate::table::profile::RawProfile;
use crate::table::quic::RawQuic;
use crate::table::registry::RawRegistry;
use crate::table::rule::RawRule;
use crate::table::service::RawService;
use crate::table::test::RawTest;
use crate::table::wireguard::RawWireGuard;
use crate::table::{
    appliance, audit, behaviour, containment, device, enrol, gateway, hospital, limits, pki,
    policy, profile, quic, registry, role, rule, service, test, wireguard,
};

/// All tables of all files.
#[derive(Default)]
pub(crate) struct Document {
    /// A file could not be parsed: names may be missing, so nothing can be said across tables.
    pub(crate) broken: bool,
    pub(crate) gateway: Option<Gateway>,
    pub(crate) patient_key_file: Option<At<FilePath>>,
    /// Whether `patient_key_file` is there, right or wrong.
    pub(crate) has_patient_key: bool,
    pub(crate) wireguard: Option<RawWireGuard>,
    pub(crate) quic: Option<RawQuic>,
    pub(crate) hospital: Option<RawHospital>,
    pub(crate) services: BTreeMap<ServiceName, RawService>,
    pub(crate) devices: BTreeMap<DeviceName, RawDevice>,
    pub(crate) roles: BTreeMap<RoleName, At<Role>>,
    pub(crate) profiles: BTreeMap<ProfileName, RawProfile>,
    pub(crate) rules: BTreeMap<RuleName, RawRule>,
    pub(crate) limits: Limits,
    pub(crate) audit: RawAudit,
    pub(crate) pki: Option<RawPki>,
    pub(crate) policy: Policy,
    pub(crate) behaviour: RawBehaviour,
    pub(crate) quarantine: RawQuarantine,
    pub(crate) break_glass: Option<BreakGlass>,
    pub(crate) registry: RawRegistry,
    pub(crate) enrol: RawEnrol,
    pub(crate) appliance: Option<RawAppliance>,
    pub(crate) tests: Vec<RawTest>,
}

/// `lazaret.toml` as a whole.
pub(crate) const MAIN: Keys = Keys {
    table: "lazaret.toml",
    known: &[
        "schema",
        "gateway",
        "tunnel",
        "hospital",
        "service",
        "device",
        "role",
        "profile",
        "rule",
        "limits",
        "audit",
        "pki",
        "policy",
        "behaviour",
        "quarantine",
        "break_glass",
        "registry",
        "enrol",
        "appliance",
        "secrets",
        "test",
    ],
    later: &[],
};

/// `[tunnel]`, which only holds other tables.
pub(crate) const TUNNEL: Keys = Keys {
    table: "[tunnel]",
    known: &["wireguard", "quic"],
    later: &[],
};

/// A file of `conf.d` as a whole.
const PART: Keys = Keys {
    table: "conf.d",
    known: &["service", "device", "role", "profile", "rule", "test"],
    later: MAIN.later,
};

/// Reads all files; the first is `lazaret.toml`.
pub(crate) fn read(sources: &[Source], problems: &Problems) -> Document {
    let mut document = Document::default();
    for (file, source) in sources.iter().enumerate() {
        let is_toml = parse(file, source, problems, |root| {
            document.read_file(file, root, problems);
        });
        document.broken |= !is_toml;
    }
    document
}

/// Reads the profiles of a file, and nothing else that is there.
pub(crate) fn read_profiles(
    source: &Source,
    problems: &Problems,
) -> BTreeMap<ProfileName, RawProfile> {
    let mut profiles = BTreeMap::new();
    let header = Place {
        file: 0,
        start: 0,
        end: 0,
    };
    parse(0, source, problems, |root| {
        let section = Section::new("this file".to_owned(), header, root, &MAIN, problems);
        section.named("profile", &profile::KEYS, &mut profiles, profile::read);
    });
    crate::check::names_of_profiles(&profiles, problems);
    profiles
}

/// Whether a file is TOML; says why not.
pub(crate) fn parse(
    file: usize,
    source: &Source,
    problems: &Problems,
    read: impl FnOnce(&DeTable<'_>),
) -> bool {
    let (root, errors) = DeTable::parse_recoverable(&source.text);
    if errors.is_empty() {
        read(root.get_ref());
        return true;
    }
    for (number, error) in errors.iter().take(MAX_SYNTAX_ERRORS).enumerate() {
        report_syntax(file, &source.text, error, number == 0, problems);
    }
    false
}

impl Document {
    fn read_file(&mut self, file: usize, root: &DeTable<'_>, problems: &Problems) {
        let top = Place {
            file,
            start: 0,
            end: 0,
        };
        let section = if file == 0 {
            let section = Section::new("lazaret.toml".to_owned(), top, root, &MAIN, problems);
            self.read_main(&section);
            section
        } else {
            misplaced(file, root, problems);
            let keys = Keys {
                known: MAIN.known,
                ..PART
            };
            Section::new("this file".to_owned(), top, root, &keys, problems)
        };
        if let Some(place) = section.place_of_key("secrets") {
            let fault = Fault::new("secrets do not belong in a configuration that is in force");
            let help = "`[secrets]` stands only in a file that `lazaret setup import` reads; here keys are in files of their own";
            problems.report(fault.help(help).at(place));
        }
        section.named("service", &service::KEYS, &mut self.services, service::read);
        section.named("device", &device::KEYS, &mut self.devices, device::read);
        section.named("role", &role::KEYS, &mut self.roles, |section| At {
            place: section.header,
            value: role::read(section),
        });
        section.named("profile", &profile::KEYS, &mut self.profiles, profile::read);
        section.named("rule", &rule::KEYS, &mut self.rules, rule::read);
        self.tests
            .extend(section.tables("test", &test::KEYS, test::read));
    }

    fn read_main(&mut self, main: &Section<'_>) {
        match main.optional::<i64>("schema") {
            Some(schema) if schema.value == 1 => {}
            Some(_) => main.report("schema", Fault::new("this version reads `schema = 1`")),
            None if main.has("schema") => {}
            None => {
                let fault = Fault::new("missing key `schema` in lazaret.toml");
                main.report("schema", fault.help("begin with `schema = 1`"));
            }
        }
        self.gateway = main
            .table("gateway", "[gateway]", &gateway::KEYS)
            .and_then(|section| {
                self.patient_key_file = section.optional("patient_key_file");
                self.has_patient_key = section.has("patient_key_file");
                gateway::read(&section)
            });
        if let Some(tunnel) = main.table("tunnel", "[tunnel]", &TUNNEL) {
            self.wireguard = tunnel
                .table("wireguard", "[tunnel.wireguard]", &wireguard::KEYS)
                .map(|section| wireguard::read(&section));
            self.quic = tunnel
                .optional_table("quic", "[tunnel.quic]", &quic::KEYS)
                .map(|section| quic::read(&section));
        }
        self.hospital = main
            .table("hospital", "[hospital]", &hospital::KEYS)
            .map(|section| hospital::read(&section));
        if let Some(section) = main.optional_table("limits", "[limits]", &limits::KEYS) {
            self.limits = limits::read(&section);
        }
        if let Some(section) = main.optional_table("audit", "[audit]", &audit::KEYS) {
            self.audit = audit::read(&section);
        }
        self.pki = main
            .optional_table("pki", "[pki]", &pki::KEYS)
            .map(|section| pki::read(&section));
        if let Some(section) = main.optional_table("policy", "[policy]", &policy::KEYS) {
            self.policy = policy::read(&section);
        }
        if let Some(section) = main.optional_table("behaviour", "[behaviour]", &behaviour::KEYS) {
            self.behaviour = behaviour::read(&section);
        }
        if let Some(section) =
            main.optional_table("quarantine", "[quarantine]", &containment::QUARANTINE)
        {
            self.quarantine = containment::quarantine(&section);
        }
        self.break_glass = main
            .optional_table("break_glass", "[break_glass]", &containment::BREAK_GLASS)
            .map(|section| containment::break_glass(&section));
        if let Some(section) = main.optional_table("registry", "[registry]", &registry::KEYS) {
            self.registry = registry::read(&section);
        }
        if let Some(section) = main.optional_table("enrol", "[enrol]", &enrol::KEYS) {
            self.enrol = enrol::read(&section);
        }
        self.appliance = main
            .optional_table("appliance", "[appliance]", &appliance::KEYS)
            .map(|section| appliance::read(&section));
    }
}

impl<'a> Section<'a> {
    /// A table that must be there.
    fn table(&self, key: &str, title: &str, keys: &Keys) -> Option<Self> {
        if !self.has(key) {
            let fault = Fault::new(format!("the table {title} is missing"));
            self.problems().report(fault.at(self.header));
        }
        self.optional_table(key, title, keys)
    }

    /// A table that may be missing.
    fn optional_table(&self, key: &str, title: &str, keys: &Keys) -> Option<Self> {
        let (name, value) = self.entry(key)?;
        self.open(name, value, title.to_owned(), keys)
    }

    /// Tables that have a name each, whatever the names may be; `{}` in the title is for it.
    pub(crate) fn children(&self, key: &str, title: &str, keys: &Keys) -> Vec<(&'a str, Self)> {
        let Some((_, value)) = self.entry(key) else {
            return Vec::new();
        };
        let Some(tables) = value.get_ref().as_table() else {
            let what = format!("expected tables like {}", keys.table);
            self.report(key, Fault::new(what));
            return Vec::new();
        };
        let mut children = Vec::new();
        for (name, value) in tables {
            let text: &'a str = name.get_ref();
            let title = title.replace("{}", text);
            children.extend(
                self.open(name, value, title, keys)
                    .map(|child| (text, child)),
            );
        }
        children
    }

    /// Tables that have a name each.
    fn named<N, T>(
        &self,
        key: &str,
        keys: &Keys,
        into: &mut BTreeMap<N, T>,
        read: impl Fn(&Self) -> T,
    ) where
        N: TryFrom<String, Error = InvalidName> + Ord,
        T: Header,
    {
        let Some((_, value)) = self.entry(key) else {
            return;
        };
        let Some(tables) = value.get_ref().as_table() else {
            let what = format!("expected tables like {}", keys.table);
            self.report(key, Fault::new(what));
            return;
        };
        for (name, value) in tables {
            let title = format!("[{key}.{}]", name.get_ref());
            let Some(section) = self.open(name, value, title, keys) else {
                continue;
            };
            let table = read(&section);
            match crate::field::basic::name::<N>(name.get_ref()) {
                Err(fault) => self.problems().report(fault.at(section.header)),
                Ok(parsed) => match into.entry(parsed) {
                    Entry::Vacant(free) => {
                        free.insert(table);
                    }
                    Entry::Occupied(first) => {
                        let message = format!("{key} `{}` is defined twice", name.get_ref());
                        let problem = Fault::new(message).at(section.header);
                        let first = first.get().header();
                        self.problems()
                            .report(problem.also(first, "first defined here"));
                    }
                },
            }
        }
    }

    /// Tables of a list, `[[test]]`.
    pub(crate) fn tables<T>(&self, key: &str, keys: &Keys, read: impl Fn(&Self) -> T) -> Vec<T> {
        let Some((_, value)) = self.entry(key) else {
            return Vec::new();
        };
        let array = value.get_ref().as_array();
        if array.is_none() {
            let fault = Fault::new(format!("expected tables {}", keys.table));
            self.report(
                key,
                fault.help("with two brackets, because there can be many"),
            );
        }
        let tables = array.into_iter().flat_map(|array| array.iter());
        tables
            .filter_map(|value| self.open(value, value, keys.table.to_owned(), keys))
            .map(|section| read(&section))
            .collect()
    }

    fn open<K>(
        &self,
        name: &Spanned<K>,
        value: &'a Spanned<DeValue<'a>>,
        title: String,
        keys: &Keys,
    ) -> Option<Self> {
        let header = place(self.header.file, name);
        match value.get_ref().as_table() {
            Some(table) => Some(Section::new(title, header, table, keys, self.problems())),
            None => {
                let fault = Fault::new(format!("expected the table {title}"));
                let place = place(self.header.file, value);
                self.problems().report(fault.at(place));
                None
            }
        }
    }
}

/// A table that knows where its header is.
pub(crate) trait Header {
    fn header(&self) -> Place;
}
impl Header for RawService {
    fn header(&self) -> Place {
        self.header
    }
}
impl Header for RawDevice {
    fn header(&self) -> Place {
        self.header
    }
}
impl Header for RawRule {
    fn header(&self) -> Place {
        self.header
    }
}
impl Header for RawProfile {
    fn header(&self) -> Place {
        self.header
    }
}
impl Header for At<Role> {
    fn header(&self) -> Place {
        self.place
    }
}

/// Reports tables in `conf.d` that belong in `lazaret.toml`.
fn misplaced(file: usize, root: &DeTable<'_>, problems: &Problems) {
    for key in root.keys() {
        let name: &str = key.get_ref();
        if MAIN.known.contains(&name) && !PART.known.contains(&name) && name != "secrets" {
            let fault = Fault::new(format!("`{name}` belongs in lazaret.toml"))
                .help("files in conf.d have services, devices, roles, profiles, rules and tests");
            problems.report(fault.at(place(file, key)));
        }
    }
}

fn report_syntax(
    file: usize,
    text: &str,
    error: &toml::de::Error,
    is_first: bool,
    problems: &Problems,
) {
    let span = error.span().unwrap_or_default();
    let place = |span: Range<usize>| Place {
        file,
        start: span.start,
        end: span.end,
    };
    let at = place(span.clone());
    let twice = error.message() == "duplicate key";
    match first_definition(text, &span).map(place) {
        Some(first) if twice => {
            let problem = Fault::new("defined twice").at(at);
            problems.report(problem.also(first, "first defined here"));
        }
        // A table that is defined twice has its keys twice too; that says nothing new.
        None if twice && !is_first => {}
        Some(_) | None => {
            problems.report(Fault::new(format!("not TOML: {}", error.message())).at(at));
        }
    }
}

/// The parser names only the second place of two; the first is the nearest equal header or key before it.
fn first_definition(text: &str, span: &Range<usize>) -> Option<Range<usize>> {
    let before = text.get(..span.start)?;
    let line_start = before.rfind('\n').map_or(0, |at| at.saturating_add(1));
    let line = text.get(line_start..)?.lines().next()?.trim();
    let name = text.get(span.clone())?;
    let is_header = line.starts_with('[');
    let mut offset = line_start;
    for earlier in before.get(..line_start)?.split_inclusive('\n').rev() {
        offset = offset.saturating_sub(earlier.len());
        let trimmed = earlier.trim();
        let same = if is_header {
            trimmed.split('#').next()?.trim() == line.split('#').next()?.trim()
        } else {
            let key = trimmed.split('=').next()?.trim();
            if trimmed.starts_with('[') {
                return None;
            }
            key == name
        };
        if same {
            let start = offset.saturating_add(earlier.find(name)?);
            return Some(start..start.saturating_add(name.len()));
        }
    }
    None
}

/// Syntax errors shown of one file: most of what follows the first is its consequence.
const MAX_SYNTAX_ERRORS: usize = 3;

/// All kinds of tables, for the test of `REFERENCE.md`.
#[cfg(test)]
pub(crate) const TABLES: &[&Keys] = &[
    &MAIN,
    &TUNNEL,
    &gateway::KEYS,
    &wireguard::KEYS,
    &quic::KEYS,
    &hospital::KEYS,
    &service::KEYS,
    &device::KEYS,
    &role::KEYS,
    &profile::KEYS,
    &profile::MESSAGE,
    &profile::OBSERVATION,
    &rule::KEYS,
    &rule::HL7,
    &rule::EMBEDDED,
    &crate::table::dicom::RULE,
    &crate::table::dicom::QUERY,
    &crate::table::dicom::PROFILE,
    &rule::LIMIT,
    &limits::KEYS,
    &audit::KEYS,
    &pki::KEYS,
    &pki::PKCS11,
    &behaviour::KEYS,
    &containment::QUARANTINE,
    &containment::BREAK_GLASS,
    &registry::KEYS,
    &enrol::KEYS,
    &appliance::KEYS,
    &appliance::INTERFACE,
    &appliance::UPDATE,
    &crate::table::secrets::KEYS,
    &test::KEYS,
];

#[cfg(test)]
mod tests {
    use super::TABLES;

    #[test]
    fn every_key_is_in_the_reference() {
        let reference = include_str!("../REFERENCE.md");
        for keys in TABLES {
            let heading = format!("\n## {}\n", keys.table);
            let (_, section) = reference.split_once(&heading).unwrap_or_else(|| {
                panic!("no heading {}", keys.table);
            });
            let section = section.split("\n## ").next().unwrap_or_default();
            for key in keys.known {
                let rows = section.lines().filter(|line| line.starts_with("| `"));
                let first = |row: &str| row.split('|').nth(1).unwrap_or_default().to_owned();
                let mut cells = rows.map(first);
                assert!(
                    cells.any(|cell| cell.contains(&format!("`{key}`"))),
                    "no row for {key} under {}",
                    keys.table
                );
            }
            for (later, _) in keys.later {
                let (_, last) = reference.split_once("## Not carried").unwrap_or_default();
                assert!(last.contains(later), "{later} is not said to be missing");
            }
        }
    }
}

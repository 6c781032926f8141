//! Why something is allowed, or which rule is missing; and the `[[test]]`s, which ask the same.

use std::fmt;

use crate::decide::covers;
use crate::inward::Inward;
use crate::model::{
    Config, Direction, Origin, Party, Port, Rule, Sender, Service, ServiceProtocol, Target,
    Transport,
};
use crate::name::{RuleName, ServiceName};

/// Why something is allowed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whether at least one rule allows it, at whatever time the rule holds.
    pub allowed: bool,
    /// The rules that allow it.
    pub because: Vec<(RuleName, Origin)>,
    /// In words, which rule is missing or why the nearest one does not fit; empty if allowed.
    pub missing: String,
}

/// A `[[test]]` whose expectation does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestFailure {
    /// Where the test is written.
    pub origin: Origin,
    /// What was expected and what holds instead.
    pub text: String,
}

impl fmt::Display for TestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { file, line } = &self.origin;
        write!(f, "{}:{line}: {}", file.display(), self.text)
    }
}

impl Config {
    /// Whether a party may reach a target, by which rules, or what is missing.
    /// A role stands for a device that has this role and no other.
    #[must_use]
    pub fn explain(&self, from: &Party, target: &Target) -> Explanation {
        let (name, message, port) = match target {
            Target::Device { .. } => return denied("devices never reach each other"),
            Target::Service {
                service,
                message,
                port,
            } => (service, message.as_deref(), *port),
        };
        let known = match from {
            Party::Role(role) => self.roles.contains_key(role),
            Party::Device(device) => self.devices.contains_key(device),
        };
        if !known {
            return denied(format!("{} does not exist", described(from)));
        }
        let Some(service) = self.services.get(name) else {
            return denied(format!("there is no service {name}"));
        };
        if let Some(missing) = port.and_then(|port| closed(name, service, port)) {
            return denied(missing);
        }
        let mut reach = self.rules_of(from, Direction::FromDevices);
        reach.retain(|(_, rule)| rule.services.contains(name));
        let because: Vec<_> = reach
            .iter()
            .filter(|(_, rule)| message.is_none_or(|message| accepts(rule, service, message)))
            .map(|(name, rule)| ((*name).clone(), rule.origin.clone()))
            .collect();
        if because.is_empty() {
            return denied(self.missing(from, name, service, &reach));
        }
        Explanation {
            allowed: true,
            because,
            missing: String::new(),
        }
    }

    /// As [`Self::explain`], also of a service that dials a device.
    #[must_use]
    pub fn explain_sender(&self, from: &Sender, target: &Target) -> Explanation {
        match from {
            Sender::Party(party) => self.explain(party, target),
            Sender::Service(service) => self.explain_inward(service, target),
        }
    }

    /// Whether a service may dial a device and do this there, by which rules, or what is missing.
    fn explain_inward(&self, service: &ServiceName, target: &Target) -> Explanation {
        let Target::Device { device, message } = target else {
            return denied("services reach devices only");
        };
        if !self.services.contains_key(service) {
            return denied(format!("there is no service {service}"));
        }
        if !self.devices.contains_key(device) {
            return denied(format!("device {device} does not exist"));
        }
        let rules = self.inward(device, service);
        if rules.is_empty() {
            return denied(format!(
                "no rule lets service {service} dial device {device}"
            ));
        }
        if self.entrances(device, service).is_empty() {
            let what = "has no place at which it is dialled (dicom_port, hospital_port)";
            return denied(format!("device {device} {what}"));
        }
        let may = |one: &Inward<'_>, said: &str| one.allows().any(|word| word == said);
        let because: Vec<_> = (rules.iter())
            .filter(|one| message.as_deref().is_none_or(|said| may(one, said)))
            .map(|one| (one.name.clone(), one.rule.origin.clone()))
            .collect();
        if because.is_empty() {
            let each = rules.iter().map(|one| {
                let words: Vec<&str> = one.allows().collect();
                format!("rule {} allows {} only", one.name, words.join(", "))
            });
            return denied(each.collect::<Vec<_>>().join(", "));
        }
        Explanation {
            allowed: true,
            because,
            missing: String::new(),
        }
    }

    /// The tests that do not hold, in the order in which they are written.
    #[must_use]
    pub fn run_tests(&self) -> Vec<TestFailure> {
        let mut failures = Vec::new();
        for test in &self.tests {
            let expectations = test
                .allow
                .iter()
                .map(|target| (target, true))
                .chain(test.deny.iter().map(|target| (target, false)));
            for (target, expected) in expectations {
                let found = self.explain_sender(&test.from, target);
                if found.allowed == expected {
                    continue;
                }
                let text = if expected {
                    format!("{} should reach {target}: {}", test.from, found.missing)
                } else {
                    let rules: Vec<_> = found
                        .because
                        .iter()
                        .map(|(rule, origin)| {
                            format!("rule {rule} ({}:{})", origin.file.display(), origin.line)
                        })
                        .collect();
                    let rules = rules.join(", ");
                    format!(
                        "{} should not reach {target}: allowed by {rules}",
                        test.from
                    )
                };
                failures.push(TestFailure {
                    origin: test.origin.clone(),
                    text,
                });
            }
        }
        failures
    }

    /// Why none of the rules that reach the service fits, or who has one.
    fn missing(
        &self,
        from: &Party,
        name: &ServiceName,
        service: &Service,
        reach: &[(&RuleName, &Rule)],
    ) -> String {
        let nearest: Vec<String> = reach
            .iter()
            .map(|(rule, content)| format!("rule {rule} allows {} only", allowed(content, service)))
            .collect();
        if !nearest.is_empty() {
            return nearest.join(", ");
        }
        let others: Vec<String> = self
            .rules
            .iter()
            .filter(|(_, rule)| {
                rule.direction == Direction::FromDevices && rule.services.contains(name)
            })
            .take(3)
            .map(|(rule, content)| {
                let from: Vec<String> = content.parties.iter().take(3).map(described).collect();
                format!("rule {rule} does for {}", from.join(", "))
            })
            .collect();
        let who = match from {
            Party::Role(_) => described(from),
            Party::Device(device) => {
                let roles = self.devices.get(device).map(|device| &device.roles);
                let roles: Vec<_> = roles.into_iter().flatten().map(|r| r.as_str()).collect();
                match roles.as_slice() {
                    [] => format!("device {device} (no roles)"),
                    [role] => format!("device {device} (role {role})"),
                    roles => format!("device {device} (roles {})", roles.join(", ")),
                }
            }
        };
        if others.is_empty() {
            format!("no rule lets anyone reach {name}")
        } else {
            format!("no rule lets {who} reach {name}; {}", others.join("; "))
        }
    }
}

fn denied(missing: impl Into<String>) -> Explanation {
    Explanation {
        allowed: false,
        because: Vec::new(),
        missing: missing.into(),
    }
}

fn described(party: &Party) -> String {
    match party {
        Party::Role(role) => format!("role {role}"),
        Party::Device(device) => format!("device {device}"),
    }
}

/// Why a port is not one of the service's.
fn closed(name: &ServiceName, service: &Service, port: Port) -> Option<String> {
    let open: Vec<Port> = match &service.protocol {
        ServiceProtocol::Hl7 { port, .. } | ServiceProtocol::Dicom { port, .. } => vec![Port {
            transport: Transport::Tcp,
            number: *port,
        }],
        ServiceProtocol::Plain { ports } => ports.iter().copied().collect(),
    };
    let ports: Vec<String> = open.iter().map(ToString::to_string).collect();
    (!open.contains(&port)).then(|| format!("service {name} has {} only", ports.join(", ")))
}

/// Whether a rule accepts this kind of message; nothing is inspected at plain services.
fn accepts(rule: &Rule, service: &Service, message: &str) -> bool {
    match &service.protocol {
        ServiceProtocol::Hl7 { .. } => rule
            .hl7
            .as_ref()
            .is_some_and(|hl7| hl7.send.iter().any(|allowed| covers(allowed, message))),
        ServiceProtocol::Dicom { .. } => rule
            .dicom
            .as_ref()
            .is_some_and(|dicom| dicom.allow.contains(message)),
        ServiceProtocol::Plain { .. } => false,
    }
}

/// What a rule allows at a service, in words.
fn allowed(rule: &Rule, service: &Service) -> String {
    let list = |words: &std::collections::BTreeSet<String>| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.join(", ")
    };
    match &service.protocol {
        ServiceProtocol::Hl7 { .. } => {
            let hl7 = rule.hl7.as_ref();
            hl7.map(|hl7| list(&hl7.send)).unwrap_or_default()
        }
        ServiceProtocol::Dicom { .. } => {
            let dicom = rule.dicom.as_ref();
            dicom.map(|dicom| list(&dicom.allow)).unwrap_or_default()
        }
        ServiceProtocol::Plain { .. } => "connections without messages".to_owned(),
    }
}

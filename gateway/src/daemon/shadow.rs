//! What rules in shadow let pass that they would have refused, since the start.
//!
//! In: decisions. Out: figures for operators. Bounded by the rules of the configuration and so many findings of each.

use std::collections::BTreeMap;

use lazaret_config::{Config, RuleName, ServiceProtocol};

use crate::control::message::ShadowStatus;
use crate::flow::{ServiceName, Side};
use crate::inspect::{Decision, Outcome, Subject};

/// By rule.
#[derive(Default)]
pub(super) struct Shadow {
    rules: BTreeMap<RuleName, Figures>,
}

#[derive(Default)]
struct Figures {
    messages: u64,
    would_refuse: u64,
    findings: BTreeMap<String, u64>,
}

impl Shadow {
    pub(super) fn note(&mut self, config: &Config, service: &ServiceName, one: &Decision) {
        let is_message = one.from == Side::Device && one.what == Subject::Message;
        let passed = matches!(one.outcome, Outcome::Forwarded | Outcome::Unanswered);
        let Some(name) = one.rule.as_deref().filter(|_| is_message && passed) else {
            return;
        };
        let name: Option<RuleName> = name.parse().ok();
        let known = name.and_then(|name| config.rules.get_key_value(&name));
        let Some((name, rule)) = known else { return };
        if !rule.shadow && !service_is_in_shadow(config, service) {
            return;
        }
        if !self.rules.contains_key(name) {
            // Rules come and go with the configuration.
            self.rules
                .retain(|known, _| config.rules.contains_key(known));
            self.rules.insert(name.clone(), Figures::default());
        }
        let Some(figures) = self.rules.get_mut(name) else {
            return;
        };
        figures.messages = figures.messages.saturating_add(1);
        let Some(why) = &one.would_refuse else { return };
        figures.would_refuse = figures.would_refuse.saturating_add(1);
        let why = general(why);
        if let Some(count) = figures.findings.get_mut(&why) {
            *count = count.saturating_add(1);
        } else if figures.findings.len() < MOST_FINDINGS {
            figures.findings.insert(why, 1);
        }
    }

    /// All that are in shadow now, with what they let pass.
    pub(super) fn status(&self, config: &Config) -> Vec<ShadowStatus> {
        let rules = config.rules.iter().filter(|(name, rule)| {
            let services = &rule.services;
            let own = || services.iter().any(|one| service_is_in_shadow(config, one));
            rule.shadow || own() || self.rules.get(*name).is_some_and(|f| f.would_refuse > 0)
        });
        let nothing = Figures::default();
        let status = rules.map(|(name, _)| {
            let figures = self.rules.get(name).unwrap_or(&nothing);
            let mut findings: Vec<(String, u64)> = (figures.findings.iter())
                .map(|(why, count)| (why.clone(), *count))
                .collect();
            findings.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            ShadowStatus {
                rule: name.to_string(),
                messages: figures.messages,
                would_refuse: figures.would_refuse,
                findings,
            }
        });
        status.collect()
    }
}

/// Rules and services that are in shadow, in words.
#[must_use]
pub fn in_shadow(config: &Config) -> Vec<String> {
    let rules = config.rules.iter().filter(|(_, rule)| rule.shadow);
    let rules = rules.map(|(name, _)| format!("rule {name}"));
    let services = config.services.keys();
    let services = services.filter(|name| service_is_in_shadow(config, name));
    let services = services.map(|name| format!("service {name}"));
    rules.chain(services).collect()
}

fn service_is_in_shadow(config: &Config, service: &ServiceName) -> bool {
    let protocol = config
        .services
        .get(service)
        .map(|service| &service.protocol);
    match protocol {
        Some(ServiceProtocol::Hl7 { shadow, .. } | ServiceProtocol::Dicom { shadow, .. }) => {
            *shadow
        }
        Some(ServiceProtocol::Plain { .. }) | None => false,
    }
}

/// Without repetitions and bytes, `OBX[3]-5 (byte 212)` is `OBX-5`: otherwise each message is its own.
fn general(why: &str) -> String {
    let mut text = String::with_capacity(why.len());
    let mut rest = why;
    while let Some(at) = rest.find(['[', '(']) {
        let (before, behind) = rest.split_at(at);
        let close = if behind.starts_with('[') { ']' } else { ')' };
        let inner = behind.get(1..).unwrap_or_default();
        let Some(end) = inner.find(close) else { break };
        let (inside, after) = (inner.get(..end).unwrap_or_default(), inner.get(end + 1..));
        text.push_str(before.trim_end_matches(' '));
        // The tag of an element stays.
        if inside.len() == 9 && inside.as_bytes().get(4) == Some(&b',') {
            if before.ends_with(' ') {
                text.push(' ');
            }
            text.push_str(&format!("({inside})"));
        }
        rest = after.unwrap_or_default();
    }
    text.push_str(rest);
    text
}

/// Different findings of a rule that are told apart.
//= C7
const MOST_FINDINGS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_without_numbers() {
        for (why, general_why) in [
            (
                "field PID-7 (byte 212): is not a date",
                "field PID-7: is not a date",
            ),
            ("field OBX[3]-5(2).1: is empty", "field OBX-5.1: is empty"),
            (
                "field (0008,1140)[2].(0008,0060): is missing",
                "field (0008,1140).(0008,0060): is missing",
            ),
            (
                "field (0009,0010): is private",
                "field (0009,0010): is private",
            ),
            ("structure x (open", "structure x (open"),
        ] {
            assert_eq!(general(why), general_why);
        }
    }
}

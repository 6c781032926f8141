//! Which rules may still accept a data set while it is walked.
//!
//! One rule must accept the whole message. All that allow its command are candidates; what the data set says, and what is
//! found wrong in it, takes candidates away. While one is left the walk goes on, and what it tolerates is tolerated;
//! when the last would go, the fault that it goes for is the refusal.
//! In: what is found. Out: what it leads to, and at the end the rule that accepts.
//! Knows nothing of elements and of what rules ask for.

use std::sync::Arc;

use super::super::policy::{Level, Policy, Rule, Strictness};
use super::brief::{Brief, Content};
use crate::severity::{Severity, Weight};

/// The rules that may still accept a data set, the most lenient first. Never empty.
#[derive(Clone, Debug)]
pub(in super::super) struct Candidates {
    policy: Arc<Policy>,
    list: Vec<Candidate>,
    /// The data set is the identifier of a query.
    is_query: bool,
    /// Something was found that no rule tolerates.
    is_firm: bool,
    /// Findings of which weights at which levels were seen: only the first of a kind can take a candidate away.
    seen: [bool; KINDS],
}

#[derive(Clone, Debug)]
struct Candidate {
    /// `None` for what needs no rule.
    rule: Option<usize>,
    strictness: Strictness,
    shadow: bool,
}

impl Candidates {
    /// The one rule of a brief, or none.
    pub(in super::super) fn of(brief: &Brief) -> Self {
        Self::among(brief, brief.rule.as_slice())
    }

    /// These rules of the policy of a brief; without any, what needs no rule.
    pub(in super::super) fn among(brief: &Brief, rules: &[usize]) -> Self {
        let candidate = |index: &usize| {
            let rule = brief.policy.rules.get(*index)?;
            Some(Candidate {
                rule: Some(*index),
                strictness: Strictness::of(&rule.profiles),
                shadow: rule.shadow,
            })
        };
        let mut list: Vec<Candidate> = rules.iter().filter_map(candidate).collect();
        if list.is_empty() {
            list.push(Candidate {
                rule: None,
                strictness: Strictness::of_base(brief.policy.base()),
                shadow: false,
            });
        }
        Self {
            policy: brief.policy.clone(),
            list,
            is_query: brief.content == Content::Query,
            is_firm: false,
            seen: [false; KINDS],
        }
    }

    /// The most lenient that is left: the one that accepts, when the walk is over.
    pub(in super::super) fn first(&self) -> Option<usize> {
        self.list.first().and_then(|candidate| candidate.rule)
    }

    /// The rules that are left.
    pub(in super::super) fn rules(&self) -> impl Iterator<Item = &Rule> {
        let rules = &self.policy.rules;
        let indexes = self.list.iter().filter_map(|candidate| candidate.rule);
        indexes.filter_map(|index| rules.get(index))
    }

    /// What holds for the association.
    pub(in super::super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// As [`Self::policy`], to keep.
    pub(in super::super) fn shared_policy(&self) -> Arc<Policy> {
        self.policy.clone()
    }

    /// What a finding leads to. Who refuses it is no candidate any more, unless all do.
    pub(super) fn found(&mut self, level: Level, weight: Weight) -> Found {
        self.is_firm |= weight == Weight::Firm;
        let first = self
            .seen
            .get_mut(kind(level, weight))
            .is_none_or(|seen| !std::mem::replace(seen, true));
        let refuses = |candidate: &Candidate| candidate.severity(level, weight) == Severity::Refuse;
        if first && !self.list.iter().all(refuses) {
            self.list.retain(|candidate| !refuses(candidate));
        }
        Found {
            severity: (self.list.iter())
                .map(|candidate| candidate.severity(level, weight))
                .max()
                .unwrap_or(Severity::Refuse),
            in_shadow: (self.list.iter()).all(|one| one.only_in_shadow(level, weight)),
        }
    }

    /// As [`Self::found`], for what only some rules mind.
    pub(super) fn found_by(
        &mut self,
        level: Level,
        weight: Weight,
        minds: impl Fn(&Rule) -> bool,
    ) -> Found {
        let rules = &self.policy.rules;
        let minding = |candidate: &Candidate| {
            let rule = candidate.rule.and_then(|index| rules.get(index));
            // What needs no rule is judged as one that asks for nothing.
            rule.map_or_else(|| minds(&Rule::default()), &minds)
        };
        let severity = |candidate: &Candidate| {
            if minding(candidate) {
                candidate.severity(level, weight)
            } else {
                Severity::Ignore
            }
        };
        let refuses = |candidate: &Candidate| severity(candidate) == Severity::Refuse;
        if self.list.iter().all(refuses) {
            self.is_firm |= weight == Weight::Firm;
            return Found {
                severity: Severity::Refuse,
                in_shadow: false,
            };
        }
        self.list.retain(|candidate| !refuses(candidate));
        let severities = self.list.iter().map(severity);
        Found {
            severity: severities.max().unwrap_or(Severity::Refuse),
            in_shadow: (self.list.iter())
                .all(|one| minding(one) && one.only_in_shadow(level, weight)),
        }
    }

    /// Leaves only those that a rule's own bounds leave, in shadow too. False, and nothing changes, if that is none.
    pub(in super::super) fn narrow(&mut self, keep: impl Fn(&Rule) -> bool) -> bool {
        let rules = &self.policy.rules;
        let kept = |candidate: &Candidate| {
            let rule = candidate.rule.and_then(|index| rules.get(index));
            rule.is_none_or(&keep)
        };
        if !self.list.iter().any(kept) {
            return false;
        }
        self.list.retain(kept);
        true
    }

    /// Leaves only those that tolerate any fault of the content but a firm one, being in shadow. False, and nothing changes, if that is none.
    /// With `partial` the walk could not go on: then those go too that only a whole walk can satisfy.
    pub(in super::super) fn in_shadow(&mut self, partial: bool) -> bool {
        let rules = &self.policy.rules;
        let tolerates = |candidate: &Candidate| {
            let rule = candidate.rule.and_then(|index| rules.get(index));
            candidate.shadow && !(partial && rule.is_none_or(|rule| rule.needs_walk(self.is_query)))
        };
        if self.is_firm || !self.list.iter().any(tolerates) {
            return false;
        }
        self.list.retain(tolerates);
        true
    }
}

impl Candidate {
    /// In shadow the content is only warned of.
    fn severity(&self, level: Level, weight: Weight) -> Severity {
        let severity = self.strictness.severity(level, weight);
        match weight {
            Weight::Strict | Weight::Content if self.shadow => severity.min(Severity::Warn),
            Weight::Strict | Weight::Content | Weight::Firm | Weight::Notice | Weight::Hint => {
                severity
            }
        }
    }

    /// Whether shadow is why it does not refuse.
    fn only_in_shadow(&self, level: Level, weight: Weight) -> bool {
        self.strictness.severity(level, weight) == Severity::Refuse
            && self.severity(level, weight) != Severity::Refuse
    }
}

/// What a finding leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) severity: Severity,
    /// Every rule that is left tolerates it for being in shadow alone.
    pub(super) in_shadow: bool,
}

fn kind(level: Level, weight: Weight) -> usize {
    let weight = match weight {
        Weight::Hint => 0,
        Weight::Notice => 1,
        Weight::Strict => 2,
        Weight::Content => 3,
        Weight::Firm => 4,
    };
    level.index().saturating_mul(WEIGHTS).saturating_add(weight)
}

const WEIGHTS: usize = 5;
const KINDS: usize = WEIGHTS * Level::ALL.len();

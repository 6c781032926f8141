//! What is put on record about one message while it travels.

use std::time::Instant;

use protocol_inspect::hl7::{Frame, Header};
use protocol_inspect::{Reason, Refusal, Warning};

use crate::flow::Side;
use crate::inspect::{Decision, Observed, Outcome, Subject, digest, would_refuse};

/// The facts about one frame that do not depend on what becomes of it.
#[derive(Clone)]
pub(super) struct Trace {
    from: Side,
    what: Subject,
    kind: String,
    rule: Option<String>,
    length: u64,
    digest: Option<[u8; 32]>,
    identifier: Option<Vec<u8>>,
    received: Option<Instant>,
    warnings: Vec<String>,
    would_refuse: Option<String>,
    observed: Option<Observed>,
}

/// Why something was not done, in the words of a decision.
#[derive(Clone, Debug)]
pub(super) struct Why {
    reason: Reason,
    location: Option<String>,
    detail: String,
}

impl Trace {
    /// A frame, before it is judged. The digest is that of the message without its envelope.
    pub(super) fn of(from: Side, what: Subject, frame: &Frame, received: Instant) -> Self {
        let content = frame.content();
        Self {
            length: u64::try_from(content.len()).unwrap_or(u64::MAX),
            digest: Some(digest::of(content)),
            received: Some(received),
            ..Self::stream(from, what)
        }
    }

    /// The stream itself.
    pub(super) fn stream(from: Side, what: Subject) -> Self {
        Self {
            from,
            what,
            kind: String::new(),
            rule: None,
            length: 0,
            digest: None,
            identifier: None,
            received: None,
            warnings: Vec::new(),
            would_refuse: None,
            observed: None,
        }
    }

    /// Who sent it.
    pub(super) fn from(&self) -> Side {
        self.from
    }

    /// The rule that accepts it.
    pub(super) fn rule_name(&self) -> &str {
        self.rule.as_deref().unwrap_or_default()
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        self.digest.unwrap_or_default()
    }

    pub(super) fn read(&mut self, header: Option<&Header>) {
        let Some(header) = header else {
            return;
        };
        self.kind = header.kind();
        let id = header.control_id();
        self.identifier = (!id.is_empty()).then(|| id.to_vec());
    }

    pub(super) fn observe(&mut self, observed: Option<Observed>) {
        self.observed = observed;
    }

    pub(super) fn rule(&mut self, rule: Option<&str>) {
        self.rule = rule.map(str::to_owned);
    }

    pub(super) fn warn_all(&mut self, warnings: &[Warning]) {
        self.would_refuse = self.would_refuse.take().or_else(|| would_refuse(warnings));
        for warning in warnings {
            self.warn(warning.reason, &warning.location);
        }
    }

    pub(super) fn warn(&mut self, reason: Reason, location: &str) {
        if self.warnings.len() < MOST_WARNINGS {
            if self.warnings.is_empty() {
                self.warnings.reserve(MOST_WARNINGS);
            }
            self.warnings.push([reason.code(), location].join(" "));
        }
    }

    /// The one decision about it.
    pub(super) fn decide(
        self,
        outcome: Outcome,
        why: Option<Why>,
        answer: Option<&str>,
        now: Instant,
    ) -> Decision {
        let (reason, location, detail) = match why {
            Some(why) => (
                Some(why.reason.code().to_owned()),
                why.location,
                Some(why.detail),
            ),
            None => (None, None, None),
        };
        let waited = self.received.map(|at| now.saturating_duration_since(at));
        Decision {
            from: self.from,
            what: self.what,
            kind: self.kind,
            rule: self.rule,
            outcome,
            reason,
            location,
            detail,
            answer: answer.map(str::to_owned),
            length: self.length,
            digest: self.digest,
            identifier: self.identifier,
            micros: waited.map_or(0, |w| u64::try_from(w.as_micros()).unwrap_or(u64::MAX)),
            warnings: self.warnings,
            would_refuse: self.would_refuse,
            observed: self.observed.into_iter().collect(),
        }
    }
}

impl Why {
    pub(super) fn new(reason: Reason, detail: &str) -> Self {
        Self {
            reason,
            location: None,
            detail: detail.to_owned(),
        }
    }

    pub(super) fn at(reason: Reason, location: &str, detail: &str) -> Self {
        Self {
            location: Some(location.to_owned()),
            ..Self::new(reason, detail)
        }
    }
}

impl From<&Refusal> for Why {
    fn from(refusal: &Refusal) -> Self {
        Self::at(refusal.reason, &refusal.location, &refusal.detail)
    }
}

/// As [`Decision::warnings`] promises.
const MOST_WARNINGS: usize = 16;

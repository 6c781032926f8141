//! What is put on record about a message or an association while it travels.

use std::time::Instant;

use bytes::Bytes;
use protocol_inspect::dicom::{AbortReason, Direction, Head};
use protocol_inspect::{Reason, Refusal, Warning};

use crate::flow::Side;
use crate::inspect::digest::{self, Running};
use crate::inspect::{Decision, Observed, Outcome, Subject, would_refuse};

/// The facts that do not depend on what becomes of it.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    pub(super) from: Side,
    what: Subject,
    kind: String,
    rule: Option<String>,
    length: u64,
    digest: Option<Digest>,
    identifier: Option<Vec<u8>>,
    received: Instant,
    warnings: Vec<String>,
    would_refuse: Option<String>,
    observed: Vec<Observed>,
}

impl Trace {
    /// Something that has no digest.
    pub(super) fn new(from: Side, what: Subject, kind: &str, received: Instant) -> Self {
        Self {
            from,
            what,
            kind: kind.to_owned(),
            rule: None,
            length: 0,
            digest: None,
            identifier: None,
            received,
            warnings: Vec::new(),
            would_refuse: None,
            observed: Vec::new(),
        }
    }

    /// What a device says of itself.
    pub(super) fn observe(&mut self, observed: Option<Observed>) {
        if self.from == Side::Device {
            self.observed.extend(observed);
        }
    }

    /// A DIMSE message.
    pub(super) fn message(from: Side, head: &Head, received: Instant) -> Self {
        let what = match head.command.direction() {
            Direction::Request => Subject::Message,
            Direction::Response => Subject::Answer,
        };
        let instance = head.command.sop_instance();
        let mut trace = Self {
            rule: head.rule.clone(),
            identifier: instance.map(|uid| uid.as_str().as_bytes().to_vec()),
            ..Self::new(from, what, head.command.service().name(), received)
        };
        if what == Subject::Message {
            let class = head.command.sop_class();
            trace.observe(class.map(|uid| Observed::SopClass(uid.as_str().to_owned())));
        }
        if head.streamed {
            trace.warn("streaming: released as it was verified".to_owned());
        }
        trace
    }

    pub(super) fn digested(mut self, digest: Digest, length: u64) -> Self {
        self.digest = Some(digest);
        self.length = length;
        self
    }

    pub(super) fn digest(&mut self) -> Option<&mut Digest> {
        self.digest.as_mut()
    }

    pub(super) fn warn_all(&mut self, warnings: &[Warning]) {
        self.would_refuse = self.would_refuse.take().or_else(|| would_refuse(warnings));
        for warning in warnings {
            self.warn(format!("{} {}", warning.reason.code(), warning.location));
        }
    }

    pub(super) fn warn(&mut self, warning: String) {
        if self.warnings.len() < MOST_WARNINGS && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// The one decision about it.
    pub(super) fn decide(
        self,
        outcome: Outcome,
        why: Option<Refusal>,
        answer: Option<String>,
        now: Instant,
    ) -> Decision {
        let micros = now.saturating_duration_since(self.received).as_micros();
        let (reason, location, detail) = why.map_or((None, None, None), |why| {
            let code = why.reason.code().to_owned();
            (Some(code), Some(why.location), Some(why.detail))
        });
        Decision {
            from: self.from,
            what: self.what,
            kind: self.kind,
            rule: self.rule,
            outcome,
            reason,
            location,
            detail,
            answer,
            length: self.length,
            digest: self.digest.map(|mut digest| digest.end()),
            identifier: self.identifier,
            micros: u64::try_from(micros).unwrap_or(u64::MAX),
            warnings: self.warnings,
            would_refuse: self.would_refuse,
            observed: self.observed,
        }
    }
}

/// A digest that is made after its bytes went on, in the same turn: no peer waits for it.
#[derive(Clone, Default)]
pub(super) struct Digest {
    running: Running,
    waiting: Vec<Bytes>,
    /// Once the message is whole.
    whole: Option<[u8; 32]>,
}

impl Digest {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self {
            whole: Some(digest::of(bytes)),
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, bytes: Bytes) {
        self.waiting.push(bytes);
    }

    pub(super) fn catch_up(&mut self) {
        for bytes in self.waiting.drain(..) {
            self.running.add(&bytes);
        }
    }

    /// As [`Self::catch_up`], of a message that is whole.
    pub(super) fn end(&mut self) -> [u8; 32] {
        if let Some(whole) = self.whole {
            return whole;
        }
        self.catch_up();
        let whole = std::mem::take(&mut self.running).finish();
        // Not even the room for pieces is kept.
        self.waiting = Vec::new();
        *self.whole.insert(whole)
    }

    /// Bytes in memory, apart from those that others hold as well.
    pub(super) fn held(&self) -> usize {
        self.running.held()
    }
}

/// Never the bytes.
impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Digest").finish_non_exhaustive()
    }
}

/// A reason of the gateway's own.
pub(super) fn why(reason: Reason, location: &str, detail: &str) -> Refusal {
    Refusal {
        reason,
        location: location.to_owned(),
        detail: detail.to_owned(),
    }
}

/// Why what the other end had under way ends.
pub(super) fn broken_by(side: Side, opener: Side) -> Refusal {
    if side == opener {
        let detail = format!("broken by the {}", name(side));
        return why(Reason::Sequence, "association", &detail);
    }
    why(Reason::Destination, "destination", "broke the protocol")
}

/// For people.
pub(super) fn name(side: Side) -> &'static str {
    match side {
        Side::Device => "device",
        Side::Hospital => "service",
    }
}

/// As in `A-ABORT 2/6`.
pub(super) fn abort_words(reason: AbortReason) -> String {
    format!("A-ABORT 2/{}", reason.code())
}

/// As in `A-ASSOCIATE-RJ 1/1/3`.
pub(super) fn reject_words((result, source, reason): (u8, u8, u8)) -> String {
    format!("A-ASSOCIATE-RJ {result}/{source}/{reason}")
}

/// As in `A700`.
pub(super) fn status_words(status: u16) -> String {
    format!("{status:04X}")
}

/// As [`Decision::warnings`] promises.
const MOST_WARNINGS: usize = 16;

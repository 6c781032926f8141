//! What is put on record about a message or an association while it travels.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use protocol_inspect::dicom::{AbortReason, Direction, Head};
use protocol_inspect::{Reason, Refusal, Warning};

use crate::flow::Side;
use crate::inspect::digest::Running;
use crate::inspect::{Decision, Outcome, Subject};

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
            digest: self.digest.map(Digest::finish),
            identifier: self.identifier,
            micros: u64::try_from(micros).unwrap_or(u64::MAX),
            warnings: self.warnings,
        }
    }
}

/// A digest that is behind what went on: nobody waits for it but the record.
#[derive(Clone, Default)]
pub(super) struct Digest {
    digested: Running,
    waiting: VecDeque<Bytes>,
    length: usize,
}

impl Digest {
    pub(super) fn of(bytes: Bytes) -> Self {
        let mut digest = Self::default();
        digest.add(bytes);
        digest
    }

    //= C7
    pub(super) fn add(&mut self, bytes: Bytes) {
        self.length = self.length.saturating_add(bytes.len());
        self.waiting.push_back(bytes);
        while self.length > MOST_BEHIND || self.waiting.len() > MOST_PIECES {
            self.step(usize::MAX);
        }
    }

    pub(super) fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A little of what waits, so that whoever has something to say meanwhile does not wait long.
    pub(super) fn catch_up(&mut self) {
        self.step(STEP);
    }

    fn step(&mut self, most: usize) {
        if let Some(first) = self.waiting.front_mut() {
            let some = first.split_to(most.min(first.len()));
            self.length = self.length.saturating_sub(some.len());
            self.digested.add(&some);
            if first.is_empty() {
                self.waiting.pop_front();
            }
        }
    }

    fn finish(mut self) -> [u8; 32] {
        while self.is_behind() {
            self.step(usize::MAX);
        }
        self.digested.finish()
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

/// Bytes that a digest may be behind: a slice, which is digested while its answer is waited for.
const MOST_BEHIND: usize = 640 << 10;
/// The same, of small pieces, each of which may keep the rest of a buffer.
const MOST_PIECES: usize = 64;
/// Bytes that are digested before anything else is looked at.
const STEP: usize = 64 << 10;
/// As [`Decision::warnings`] promises.
const MOST_WARNINGS: usize = 16;

//! How long each end may take, and what its silence means.

use std::time::Instant;

use protocol_inspect::Reason;
use protocol_inspect::dicom::{AbortReason, Violation};

use super::end::{End, Socket};
use super::record::{Trace, name, why};
use super::{DicomSession, Phase, after};
use crate::flow::Side;
use crate::inspect::{Outcome, Subject};

/// What is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// The A-ASSOCIATE-RQ, or the release of an association without contexts (ARTIM).
    Artim,
    /// The connection to the destination.
    Connect,
    /// The destination's answer to the A-ASSOCIATE-RQ.
    Accept,
    /// The rest of a PDU or of a message.
    Rest(Side),
    /// The response to a request of this end.
    Response(Side),
    /// The answer to A-RELEASE-RQ.
    Release,
    /// Anything at all.
    Idle,
    /// The peer's close, after our last word.
    Close(Side),
}

impl DicomSession {
    pub(super) fn next_deadline(&self) -> Option<(Instant, Late)> {
        let ends = [&self.device, &self.hospital];
        let closes = ends.into_iter().filter_map(|end| match end.socket {
            Socket::Closing(at) => Some((at, Late::Close(end.side))),
            Socket::Absent | Socket::Open | Socket::Closed => None,
        });
        let timing = self.timing;
        let phase = match &self.phase {
            // Who is held back is not late, but does not stay for ever.
            Phase::Request(_) if self.holds(self.opener) => {
                Some((after(self.last_activity, timing.idle_ms), Late::Artim))
            }
            Phase::Request(since) | Phase::Empty(since) => {
                Some((after(*since, timing.receive_ms), Late::Artim))
            }
            Phase::Connecting(_, since) => {
                let ms = timing.connect_ms.saturating_add(GRACE);
                Some((after(*since, ms), Late::Connect))
            }
            Phase::Accepting(_, since) => Some((after(*since, timing.answer_ms), Late::Accept)),
            Phase::Releasing(since) => Some((after(*since, timing.answer_ms), Late::Release)),
            Phase::Established => Some(self.message_deadline()),
            Phase::Over => None,
        };
        closes.chain(phase).min_by_key(|(at, _)| *at)
    }

    fn message_deadline(&self) -> (Instant, Late) {
        let timing = self.timing;
        let rest = |end: &End| {
            // A PDU under way must end in its time, however many pieces of it come.
            let since = end.began.or(end.message.since);
            let since = since.filter(|_| self.takes(end.side))?;
            Some((after(since, timing.receive_ms), Late::Rest(end.side)))
        };
        let response = |end: &End| {
            let request = end.request.as_ref();
            let since = request.filter(|_| self.takes(end.side.other()))?.since;
            Some((after(since, timing.answer_ms), Late::Response(end.side)))
        };
        let ends = [&self.device, &self.hospital];
        let due = ends.into_iter().flat_map(|end| [rest(end), response(end)]);
        let idle = (after(self.last_activity, timing.idle_ms), Late::Idle);
        due.flatten().min_by_key(|(at, _)| *at).unwrap_or(idle)
    }

    pub(super) fn late(&mut self, late: Late, now: Instant) {
        let refusal = match late {
            Late::Artim => {
                self.artim(now);
                return;
            }
            Late::Connect => {
                self.undelivered("cannot be reached in time", now);
                return;
            }
            Late::Accept => {
                self.undelivered("did not answer in time", now);
                return;
            }
            Late::Rest(side) => {
                let refusal = why(Reason::Framing, "message", "did not end in time");
                let reason = AbortReason::NotSpecified;
                self.violated(side, Violation { refusal, reason }, now);
                return;
            }
            Late::Close(side) => {
                self.close(side);
                return;
            }
            Late::Response(side) if side == self.opener => {
                why(Reason::Destination, "destination", "no answer in time")
            }
            Late::Response(_) => why(Reason::Sequence, name(self.opener), "no answer in time"),
            Late::Release => why(Reason::Sequence, "association", "not released in time"),
            Late::Idle => why(Reason::Sequence, "association", "nothing is said any more"),
        };
        if matches!(late, Late::Release | Late::Idle) {
            let trace = Trace::new(self.opener, Subject::Stream, "", now);
            self.record(trace, Outcome::Abandoned, Some(refusal.clone()), None, now);
        }
        self.abort(None, &refusal, now);
    }

    /// Nobody is there to talk to: the connection ends without a word, as PS3.8 asks (AA-2).
    fn artim(&mut self, now: Instant) {
        if self.end_at(self.opener).reader.is_partial() {
            let trace = Trace::new(self.opener, Subject::Stream, "", now);
            let refusal = why(Reason::Framing, "PDU", "did not end in time");
            self.record(trace, Outcome::Refused, Some(refusal), None, now);
        }
        self.close_both();
    }
}

/// The supervisor answers a request for a connection itself; this much later it has forgotten it. In milliseconds.
const GRACE: u64 = 2_000;

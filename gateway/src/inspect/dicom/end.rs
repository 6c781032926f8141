//! One end of an association: its PDUs, its state, and the message of its that is under way.
//!
//! In: bytes. Out: PDUs and PDVs in order, and the facts about the message. Decides nothing of what goes on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use protocol_inspect::Refusal;
use protocol_inspect::dicom::{Approved, Head, Leg, PduReader, Pdv, Policy};

use super::pledge::Pledge;
use super::record::Trace;
use super::sent::Sent;
use crate::flow::Side;

/// One end.
pub(super) struct End {
    pub(super) side: Side,
    pub(super) socket: Socket,
    pub(super) leg: Leg,
    pub(super) reader: PduReader,
    /// Of the last P-DATA-TF, what is not yet looked at.
    pub(super) values: VecDeque<Pdv>,
    /// When the PDU under way began, or reading went on after a pause.
    pub(super) began: Option<Instant>,
    /// PDUs that ended before.
    ended: u64,
    /// The message that this end is sending.
    pub(super) message: Message,
    pub(super) turn: Turn,
    /// A request of this end that the other end has and did not answer yet.
    pub(super) request: Option<Request>,
    /// The abort that it heard from us.
    pub(super) told: Option<String>,
}

/// The transport connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Socket {
    /// None yet.
    Absent,
    Open,
    /// Our last word was said: the peer closes, or we do at this time (ARTIM).
    Closing(Instant),
    Closed,
}

/// What the bytes of this end wait for.
pub(super) enum Turn {
    /// Nothing: they are read.
    Reading,
    /// The rate limiter.
    Token(Box<Ready>),
    /// The rate limiter, before the data set of a streamed message is read.
    Admission,
    /// The spool, which the other end's message uses.
    Spool,
    /// The spool to be read and sent on.
    Unspooling(Box<Ready>),
}

/// An approved message.
pub(super) struct Ready {
    pub(super) approved: Approved,
    pub(super) trace: Trace,
    pub(super) held: Held,
    /// What of it outlives its association.
    pub(super) pledge: Pledge,
}

/// A request that was sent on.
pub(super) struct Request {
    pub(super) trace: Trace,
    pub(super) pledge: Pledge,
    /// Since when an answer is waited for; the last pending response starts it anew.
    pub(super) since: Instant,
}

/// The facts about the message under way.
pub(super) struct Message {
    /// Its command, once that is whole and allowed.
    pub(super) head: Option<Arc<Head>>,
    sent: Sent,
    /// When the last of it came, or reading went on after a pause.
    pub(super) since: Option<Instant>,
    pub(super) held: Held,
    /// Why it is refused after some of it went on.
    pub(super) broken: Option<Refusal>,
}

/// The data set, until its verdict.
#[derive(Default)]
pub(super) struct Held {
    pub(super) chunks: Vec<Bytes>,
    pub(super) length: usize,
    /// The beginning is in the spool, and so must be all that follows.
    pub(super) spooled: bool,
}

impl End {
    pub(super) fn new(side: Side, opener: Side, policy: &Policy) -> Self {
        let (socket, leg) = if side == opener {
            (Socket::Open, Leg::accepted())
        } else {
            (Socket::Absent, Leg::opening())
        };
        Self {
            side,
            socket,
            leg,
            reader: PduReader::new(&policy.limits, policy.base()),
            values: VecDeque::new(),
            began: None,
            ended: 0,
            message: Message::new(),
            turn: Turn::Reading,
            request: None,
            told: None,
        }
    }

    pub(super) fn receive(&mut self, bytes: Bytes, now: Instant) {
        self.began.get_or_insert(now);
        self.reader.receive_bytes(bytes);
    }

    /// After a PDU or a part of one was taken: the next one may have begun.
    pub(super) fn look(&mut self, now: Instant) {
        let ended = self.reader.finished();
        if !self.reader.is_partial() {
            self.began = None;
        } else if ended != self.ended {
            self.began = Some(now);
        }
        self.ended = ended;
    }

    /// A peer that was held back is not late.
    pub(super) fn resume(&mut self, now: Instant) {
        for since in [&mut self.began, &mut self.message.since] {
            if since.is_some() {
                *since = Some(now);
            }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.socket == Socket::Open
    }

    pub(super) fn is_reading(&self) -> bool {
        matches!(self.turn, Turn::Reading)
    }

    /// The facts about the message that just ended.
    pub(super) fn take_message(&mut self, head: &Head, now: Instant) -> (Trace, Held) {
        let message = std::mem::replace(&mut self.message, Message::new());
        let mut trace = Trace::message(self.side, head, now);
        if let (Some(_), Some(went)) = (&message.broken, message.sent.went()) {
            trace.warn(incomplete(went));
        }
        let (digest, length) = message.sent.into_all();
        (trace.digested(digest, length), message.held)
    }

    /// Makes the digests of what was received.
    pub(super) fn catch_up(&mut self) {
        let waiting = match &mut self.turn {
            Turn::Token(ready) | Turn::Unspooling(ready) => ready.trace.digest(),
            Turn::Reading | Turn::Admission | Turn::Spool => None,
        };
        let request = self.request.as_mut();
        let request = request.and_then(|request| request.trace.digest());
        for whole in [request, waiting].into_iter().flatten() {
            whole.end();
        }
        self.message.sent.digest.catch_up();
    }

    /// Bytes in memory.
    pub(super) fn held(&self) -> usize {
        let waiting = match &self.turn {
            Turn::Token(ready) => ready.held.length,
            Turn::Reading | Turn::Admission | Turn::Spool | Turn::Unspooling(_) => 0,
        };
        let values: usize = self.values.iter().map(|value| value.data.len()).sum();
        let message = self.message.held.length + self.message.sent.held();
        self.reader.buffered() + message + waiting + values
    }
}

impl Message {
    pub(super) fn new() -> Self {
        Self {
            head: None,
            sent: Sent::default(),
            since: None,
            held: Held::default(),
            broken: None,
        }
    }

    /// Some of it may be with the other end already.
    pub(super) fn is_streamed(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.streamed)
    }

    /// A fragment of the command or of the data set.
    pub(super) fn count(&mut self, bytes: &Bytes, now: Instant) {
        if self.is_streamed() {
            self.sent.add_streamed(bytes);
        } else {
            self.sent.add(bytes.clone());
        }
        self.since = Some(now);
    }

    /// So much of the data set goes on before the verdict.
    pub(super) fn released(&mut self, length: usize) {
        self.sent.released(length);
    }

    /// It will be refused: what did not go on stays here. With a reason, some of it went on.
    pub(super) fn condemn(&mut self, why: Option<Refusal>) {
        self.sent.cut();
        self.broken = why;
    }

    /// Whether the other end has some of it.
    pub(super) fn went_on(&self) -> bool {
        self.sent.went().is_some()
    }

    /// What the record says of a message that did not end: what of it went on, if anything did.
    //= C8
    pub(super) fn incomplete(self, trace: Trace) -> Trace {
        match self.sent.into_went() {
            Some((digest, length)) => {
                let mut trace = trace.digested(digest, length);
                trace.warn(incomplete(length));
                trace
            }
            None => trace,
        }
    }
}

fn incomplete(length: u64) -> String {
    format!("incomplete: {length} bytes went on, without the last fragment")
}

impl Held {
    pub(super) fn push(&mut self, bytes: Bytes) {
        self.length = self.length.saturating_add(bytes.len());
        self.chunks.push(bytes);
    }

    /// What is in memory, which is forgotten here.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        self.length = 0;
        std::mem::take(&mut self.chunks)
    }
}

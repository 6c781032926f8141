//! The messages of both ends of one association, and what is outstanding between them.
//!
//! In: the PDVs of an association, in order. Out: [`Event`]s; an approved message becomes an [`Approved`],
//! from which alone the [`Permit`]s for the other end are made.
//! Knows nothing of PDUs' headers, of sockets and of the spool in which the session keeps held bytes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::approved::{Approved, RefusedMessage};
use super::association::{Established, Peer};
use super::claim::status_of;
use super::dimse::{Command, Direction};
use super::exchange::Exchange;
use super::fault::Violation;
use super::inspector::MessageInspector;
use super::pdu::Pdv;
use super::policy::Policy;
use crate::{Permit, Refusal, Spoken};

/// What became of the PDVs so far.
pub enum Event {
    /// A command set is complete and allowed; its data set, if it has one, follows.
    Command(Arc<Head>),
    /// The next bytes of the data set, to be kept until the verdict. Their concatenation is the data set.
    Held(Bytes),
    /// The next bytes of a streamed message, framed for the other end: in order, and never its last fragment.
    /// And how many bytes of the data set they are; the command goes with the first of them.
    Released(Permit, usize),
    /// The message will be refused when its last fragment is in: what was held can be dropped.
    /// With a reason, some of it went on already: the other end must be aborted now.
    Condemned(Option<Refusal>),
    /// The whole message is approved.
    Complete(Approved),
    /// The whole message came and is refused. Nothing of it may go on.
    Refused(Box<RefusedMessage>),
    /// A response beyond the results that the rule allows: nothing of it goes on.
    /// The first of them brings the C-CANCEL for its sender.
    Surplus(Option<Spoken>),
    /// The last response to a request of which results were left out: who asked gets the answer of this in its place.
    Cut(Box<RefusedMessage>),
}

/// Never the bytes.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(head) => f.debug_tuple("Command").field(head).finish(),
            Self::Held(bytes) => f.debug_tuple("Held").field(&bytes.len()).finish(),
            Self::Released(permit, _) => f.debug_tuple("Released").field(permit).finish(),
            Self::Condemned(why) => f.debug_tuple("Condemned").field(why).finish(),
            Self::Complete(approved) => f.debug_tuple("Complete").field(approved).finish(),
            Self::Refused(refused) => f.debug_tuple("Refused").field(refused).finish(),
            Self::Surplus(cancel) => f.debug_tuple("Surplus").field(&cancel.is_some()).finish(),
            Self::Cut(refused) => f.debug_tuple("Cut").field(refused).finish(),
        }
    }
}

/// What is known of a message when its command set is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its presentation context.
    pub context_id: u8,
    /// Its command.
    pub command: Command,
    /// The rule that accepted it, or the most lenient of those that may still do; `None` for responses, and when none
    /// allows it.
    pub rule: Option<String>,
    /// Its data set is released as it is verified.
    pub streamed: bool,
}

/// The messages of both ends of one association.
pub struct Dialogue {
    established: Arc<Established>,
    of_requestor: MessageInspector,
    of_acceptor: MessageInspector,
    exchange: Exchange,
    events: VecDeque<(Peer, Event)>,
}

/// Never the bytes under way.
impl fmt::Debug for Dialogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialogue")
            .field("established", &self.established)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

impl Dialogue {
    /// At the moment of A-ASSOCIATE-AC.
    #[must_use]
    pub fn new(established: Established, policy: &Arc<Policy>) -> Self {
        let established = Arc::new(established);
        let inspector = |from| MessageInspector::new(from, &established, policy);
        Self {
            of_requestor: inspector(Peer::Requestor),
            of_acceptor: inspector(Peer::Acceptor),
            established: established.clone(),
            exchange: Exchange::default(),
            events: VecDeque::new(),
        }
    }

    /// A PDV came from this end. Poll until `None` afterwards.
    ///
    /// # Errors
    /// The association must be aborted.
    pub fn receive(&mut self, from: Peer, pdv: Pdv) -> Result<(), Violation> {
        self.inspector(from).receive(pdv)?;
        while let Some(event) = self.inspector(from).poll() {
            let event = match event {
                Event::Command(head) => {
                    self.exchange.begin(from, head.context_id, &head.command)?;
                    Event::Command(head)
                }
                Event::Complete(approved) => self.complete(from, approved),
                other @ (Event::Held(_)
                | Event::Released(..)
                | Event::Condemned(_)
                | Event::Refused(_)
                | Event::Surplus(_)
                | Event::Cut(_)) => other,
            };
            self.events.push_back((from, event));
        }
        Ok(())
    }

    /// The exchange goes on; what comes back is bound by the rule that let it be asked.
    fn complete(&mut self, from: Peer, approved: Approved) -> Event {
        let head = approved.head();
        let (context_id, command) = (head.context_id, head.command.clone());
        let request = self.exchange.outstanding(from.other());
        let request = request.map(|(id, asked)| (id, asked.clone()));
        self.exchange.complete(from, context_id, &command);
        match command.direction() {
            Direction::Request => {
                if let Some(accepted) = self.inspector(from).accepted.take() {
                    self.inspector(from.other()).asked = Some(accepted);
                }
                Event::Complete(approved)
            }
            Direction::Response => {
                let lengths = [from, from.other()].map(|to| self.established.max_length(to));
                let asked = &mut self.inspector(from).asked;
                let event = match (&mut *asked, request) {
                    (Some(asked), Some(request)) => asked.answered(approved, request, lengths),
                    (Some(_) | None, _) => Event::Complete(approved),
                };
                if !command.is_pending() {
                    *asked = None;
                }
                event
            }
        }
    }

    /// The next event and the end whose message it is about.
    pub fn poll(&mut self) -> Option<(Peer, Event)> {
        self.events.pop_front()
    }

    /// What was negotiated.
    #[must_use]
    pub fn established(&self) -> &Established {
        &self.established
    }

    /// The request of this end that was approved and waits for its (last) response.
    #[must_use]
    pub fn outstanding(&self, of: Peer) -> Option<(u8, &Command)> {
        self.exchange.outstanding(of)
    }

    /// Whether this end is in the middle of a message: no release now.
    #[must_use]
    pub fn is_partial(&self, from: Peer) -> bool {
        match from {
            Peer::Requestor => self.of_requestor.is_partial(),
            Peer::Acceptor => self.of_acceptor.is_partial(),
        }
    }

    /// An approved request of this end is refused after all, for a reason outside of its content, and answered here:
    /// it does not wait for a response any more.
    pub fn refuse(&mut self, from: Peer, approved: Approved, why: Refusal) -> RefusedMessage {
        let status = status_of(&why);
        self.refuse_with(from, approved, status, why)
    }

    /// As [`Self::refuse`], with the status of the answer.
    pub fn refuse_with(
        &mut self,
        from: Peer,
        approved: Approved,
        status: u16,
        why: Refusal,
    ) -> RefusedMessage {
        self.exchange.withdraw(from, &approved.head().command);
        let max_length = self.established.max_length(from);
        approved.refuse(status, why, max_length)
    }

    /// The message that this end is sending is refused for a reason outside of its content.
    /// It is answered when its last fragment is in.
    pub fn condemn(&mut self, from: Peer, why: Refusal) {
        self.inspector(from).condemn_from_outside(why);
        while let Some(event) = self.inspector(from).poll() {
            self.events.push_back((from, event));
        }
    }

    /// Bytes of both ends that wait for more, or for their verdict.
    #[must_use]
    pub fn held(&self) -> usize {
        let of_requestor = self.of_requestor.held();
        of_requestor.saturating_add(self.of_acceptor.held())
    }

    /// The policy changed. A message under way, and what comes back for a request, is judged by the one that it began with.
    pub fn update(&mut self, policy: &Arc<Policy>) {
        self.of_requestor.policy = policy.clone();
        self.of_acceptor.policy = policy.clone();
    }

    fn inspector(&mut self, from: Peer) -> &mut MessageInspector {
        match from {
            Peer::Requestor => &mut self.of_requestor,
            Peer::Acceptor => &mut self.of_acceptor,
        }
    }
}

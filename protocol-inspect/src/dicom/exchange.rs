//! Which requests wait for a response, in both directions (PS3.7 7.5, D.3.3.3: one at a time).
//!
//! In: approved messages of both ends. Out: a violation when a message does not fit the exchange.

use super::association::Peer;
use super::dimse::{Command, Direction, Service};
use super::fault::{Violation, refusal};
use super::pdu::AbortReason;
use crate::Reason;

/// What is outstanding on one association.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    of_requestor: Option<Outstanding>,
    of_acceptor: Option<Outstanding>,
}

#[derive(Debug)]
struct Outstanding {
    context_id: u8,
    command: Command,
}

impl Exchange {
    /// Whether a message with this command may come now.
    pub(super) fn begin(
        &self,
        from: Peer,
        context_id: u8,
        command: &Command,
    ) -> Result<(), Violation> {
        match (command.direction(), command.service()) {
            (Direction::Request, Service::CCancel) => self.cancel(from, command),
            (Direction::Request, Service::CStore) if self.is_uninvited(from) => {
                Err(unexpected(command, "belongs to no retrieval"))
            }
            (Direction::Request, _) => match self.slot(from) {
                None => Ok(()),
                Some(_) => Err(unexpected(
                    command,
                    "comes before the last request was answered",
                )),
            },
            (Direction::Response, _) => {
                let Some(request) = self.slot(from.other()) else {
                    return Err(unexpected(command, "answers no request"));
                };
                let fits = request.context_id == context_id
                    && request.command.service() == command.service()
                    && request.command.message_id() == command.message_id();
                if !fits {
                    return Err(unexpected(command, "does not fit the request"));
                }
                let same = |class| request.command.sop_class() == Some(class);
                if !command.sop_class().is_none_or(same) {
                    return Err(unexpected(
                        command,
                        "is about another SOP class than the request",
                    ));
                }
                let asked = request.command.sop_instance();
                let other = |answered| asked.is_some_and(|asked| asked != answered);
                if command.sop_instance().is_some_and(other) {
                    return Err(unexpected(
                        command,
                        "is about another SOP instance than the request",
                    ));
                }
                Ok(())
            }
        }
    }

    /// A cancel may cross with the last response, and then has nothing to cancel (PS3.7 9.3.2.3).
    fn cancel(&self, from: Peer, command: &Command) -> Result<(), Violation> {
        let Some(request) = self.slot(from) else {
            return Ok(());
        };
        let fits = request.command.service().has_pending()
            && request.command.message_id() == command.message_id();
        if fits {
            return Ok(());
        }
        Err(unexpected(
            command,
            "cancels another request than the one under way",
        ))
    }

    /// The acceptor stores to the requestor only what it retrieves by C-GET (PS3.4 C.4.3).
    fn is_uninvited(&self, from: Peer) -> bool {
        let retrieves = |request: &Outstanding| request.command.service() == Service::CGet;
        from == Peer::Acceptor && !self.slot(from.other()).is_some_and(retrieves)
    }

    /// The message goes on to the other end.
    pub(super) fn complete(&mut self, from: Peer, context_id: u8, command: &Command) {
        match (command.direction(), command.service()) {
            (Direction::Request, Service::CCancel) => {}
            (Direction::Request, _) => {
                *self.slot_mut(from) = Some(Outstanding {
                    context_id,
                    command: command.clone(),
                });
            }
            (Direction::Response, _) => {
                if !command.is_pending() {
                    *self.slot_mut(from.other()) = None;
                }
            }
        }
    }

    /// The request does not go on after all.
    pub(super) fn withdraw(&mut self, from: Peer, command: &Command) {
        if self
            .slot(from)
            .is_some_and(|request| request.command == *command)
        {
            *self.slot_mut(from) = None;
        }
    }

    /// The request of this end that waits for a response.
    pub(super) fn outstanding(&self, of: Peer) -> Option<(u8, &Command)> {
        self.slot(of)
            .map(|request| (request.context_id, &request.command))
    }

    fn slot(&self, of: Peer) -> Option<&Outstanding> {
        match of {
            Peer::Requestor => self.of_requestor.as_ref(),
            Peer::Acceptor => self.of_acceptor.as_ref(),
        }
    }

    fn slot_mut(&mut self, of: Peer) -> &mut Option<Outstanding> {
        match of {
            Peer::Requestor => &mut self.of_requestor,
            Peer::Acceptor => &mut self.of_acceptor,
        }
    }
}

fn unexpected(command: &Command, detail: &str) -> Violation {
    Violation::new(
        AbortReason::UnexpectedPdu,
        refusal(Reason::Sequence, command.kind(), detail),
    )
}

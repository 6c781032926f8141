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
            // A cancel may cross with the last response and then has nothing to cancel.
            (Direction::Request, Service::CCancel) => Ok(()),
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
                Ok(())
            }
        }
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

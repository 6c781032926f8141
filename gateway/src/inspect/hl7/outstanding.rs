//! Messages that went up and may still be answered on the same connection (enhanced mode),
//! and the answers that the device may still acknowledge.
//!
//! Both tables forget their oldest entry when they are full: a late answer to it is then dropped and recorded.

use std::collections::VecDeque;

use protocol_inspect::hl7::{Answer, Header};

/// What is still open between the two ends.
#[derive(Default)]
pub(super) struct Outstanding {
    messages: VecDeque<Header>,
    answers: VecDeque<Vec<u8>>,
}

impl Outstanding {
    /// A message of the device that wants answers later.
    pub(super) fn expect(&mut self, message: Header, most: usize) {
        self.messages.push_back(message);
        while self.messages.len() > most.max(1) {
            self.messages.pop_front();
        }
    }

    /// Whether the answer belongs to a message.
    pub(super) fn awaits(&self, answer: &Answer) -> bool {
        self.index(answer).is_some()
    }

    /// The message to which the answer belongs; if it is the last word about it, the message is forgotten.
    pub(super) fn settle(&mut self, answer: &Answer) -> Option<Header> {
        let index = self.index(answer)?;
        let message = self.messages.get(index)?.clone();
        let more = answer.code.is_accept() && message.wants_application();
        if !more {
            self.messages.remove(index);
        }
        Some(message)
    }

    fn index(&self, answer: &Answer) -> Option<usize> {
        self.messages
            .iter()
            .position(|m| m.control_id() == answer.acknowledged() && answer.fits(m))
    }

    /// An answer that went to the device, which will acknowledge it in its turn.
    pub(super) fn relayed(&mut self, answer: &Header, most: usize) {
        if !answer.wants_accept() && !answer.wants_accept_error() {
            return;
        }
        self.answers.push_back(answer.control_id().to_vec());
        while self.answers.len() > most.max(1) {
            self.answers.pop_front();
        }
    }

    /// Whether such an answer went to the device and is not acknowledged yet.
    pub(super) fn acknowledge(&mut self, control_id: &[u8]) -> bool {
        let found = self.answers.iter().position(|id| id == control_id);
        found.and_then(|index| self.answers.remove(index)).is_some()
    }

    /// Whether answers may still come.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The connection to the destination is gone, and with it all that could be said on it.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

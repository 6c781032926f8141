//! The verdict on a whole message: approved, with the right to send it on, or refused, with the answer.

use std::sync::Arc;

use bytes::Bytes;

use super::dataset::Transaction;
use super::dimse::refusal_response;
use super::fault::refusal;
use super::message::Head;
use super::pdu::Outbound;
use crate::{Permit, Reason, Refusal, Spoken, Warning};

/// An approved message, not yet sent on, or not yet as a whole.
///
/// It releases the command once and as many bytes of data set as were judged, not one more.
/// The caller hands back the held bytes in order; of a streamed message it has only the end to ask for.
#[derive(Debug)]
#[must_use = "an approved message that is not sent on is lost"]
pub struct Approved {
    head: Arc<Head>,
    warnings: Vec<Warning>,
    length: u64,
    released: u64,
    out: Option<Outbound>,
    transaction: Transaction,
}

impl Approved {
    pub(super) fn new(
        head: Arc<Head>,
        warnings: Vec<Warning>,
        length: u64,
        max_length: u32,
    ) -> Self {
        let out = Outbound::new(head.context_id, head.command.bytes(), max_length);
        Self {
            head,
            warnings,
            length,
            released: 0,
            out: Some(out),
            transaction: Transaction::None,
        }
    }

    /// The end of a message that was streamed.
    pub(super) fn streamed(
        head: Arc<Head>,
        warnings: Vec<Warning>,
        length: u64,
        out: Outbound,
    ) -> Self {
        Self {
            head,
            warnings,
            length,
            released: length,
            out: Some(out),
            transaction: Transaction::None,
        }
    }

    /// Notes what its data set says of a transaction.
    pub(super) fn about(self, transaction: Transaction) -> Self {
        Self {
            transaction,
            ..self
        }
    }

    /// What its data set says of storage commitment or a performed procedure step.
    #[must_use]
    pub fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// What it is.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What is wrong but tolerated.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Length of the data set.
    #[must_use]
    pub fn data_length(&self) -> u64 {
        self.length
    }

    /// Whether everything was released.
    #[must_use]
    pub fn is_released(&self) -> bool {
        self.out.is_none()
    }

    /// The next held bytes of the data set, at least one, in P-DATA-TF for the receiver: what fills them.
    /// `None` while more is needed for that. The command goes before the first bytes, the rest with [`Self::last_permit`].
    ///
    /// # Errors
    /// More bytes than were approved: a fault of the caller or its spool. The receiver must be aborted.
    //= C2
    pub fn data_permit(&mut self, chunk: Bytes) -> Result<Option<Permit>, Refusal> {
        let added = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        let released = self.released.saturating_add(added);
        let detail = "is not of the length that was approved";
        let fault = || refusal(Reason::Structure, "data set", detail);
        if released > self.length || chunk.is_empty() {
            return Err(fault());
        }
        let out = self.out.as_mut().ok_or_else(fault)?;
        self.released = released;
        out.push(chunk);
        Ok(out.full())
    }

    /// What is left when all bytes were handed back: the last fragment, and all before it that was not sent.
    /// `None` before that, and the second time.
    //= C1
    pub fn last_permit(&mut self) -> Option<Permit> {
        if self.released < self.length {
            return None;
        }
        let mut out = self.out.take()?;
        Some(out.finish(self.head.command.has_data_set()))
    }

    pub(super) fn refuse(self, status: u16, refusal: Refusal, max_length: u32) -> RefusedMessage {
        RefusedMessage::new(self.head, status, refusal, self.length, max_length)
    }
}

/// A refused message, all of whose bytes have come.
#[derive(Debug)]
pub struct RefusedMessage {
    head: Arc<Head>,
    status: u16,
    refusal: Refusal,
    length: u64,
    max_length: u32,
}

impl RefusedMessage {
    pub(super) fn new(
        head: Arc<Head>,
        status: u16,
        refusal: Refusal,
        length: u64,
        max_length: u32,
    ) -> Self {
        let status = super::dimse::for_service(head.command.service(), status);
        Self {
            head,
            status,
            refusal,
            length,
            max_length,
        }
    }

    /// What it is.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Why.
    #[must_use]
    pub fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// Length of the data set.
    #[must_use]
    pub fn data_length(&self) -> u64 {
        self.length
    }

    /// The answer to its sender. `None` for what has no answer (responses, C-CANCEL): abort both legs.
    #[must_use]
    pub fn answer(&self) -> Option<Spoken> {
        self.answer_with(self.status, &self.refusal.to_string())
    }

    /// As [`Self::answer`], with another status: for messages that are refused outside of this library.
    #[must_use]
    pub fn answer_with(&self, status: u16, comment: &str) -> Option<Spoken> {
        let head = &self.head;
        refusal_response(
            &head.command,
            head.context_id,
            status,
            comment,
            self.max_length,
        )
    }

    pub(super) fn context_id(&self) -> u8 {
        self.head.context_id
    }

    pub(super) fn count(&mut self, len: usize) {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        self.length = self.length.saturating_add(len);
    }
}

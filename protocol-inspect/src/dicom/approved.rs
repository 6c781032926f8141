//! The verdict on a whole message: approved, with the right to send it on, or refused, with the answer.

use std::sync::Arc;

use bytes::Bytes;

use super::dataset::Transaction;
use super::dimse::refusal_response;
use super::fault::refusal;
use super::message::Head;
use super::pdu::frame;
use crate::{Permit, Reason, Refusal, Spoken, Warning};

/// An approved message, not yet sent on.
///
/// It releases the command once and as many bytes of data set as were judged, not one more.
/// The caller hands back the held bytes in order.
#[derive(Debug)]
#[must_use = "an approved message that is not sent on is lost"]
pub struct Approved {
    head: Arc<Head>,
    warnings: Vec<Warning>,
    command_is_due: bool,
    length: u64,
    released: u64,
    max_length: u32,
    transaction: Transaction,
}

impl Approved {
    pub(super) fn new(
        head: Arc<Head>,
        warnings: Vec<Warning>,
        length: u64,
        max_length: u32,
    ) -> Self {
        Self {
            command_is_due: true,
            head,
            warnings,
            length,
            released: 0,
            max_length,
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
        !self.command_is_due && self.released == self.length
    }

    /// The command set in P-DATA-TF for the receiver. `None` the second time.
    /// Of a message with a data set, [`Self::data_permit`] puts it before the first bytes by itself.
    pub fn command_permit(&mut self) -> Option<Permit> {
        let command = self.take_command()?;
        let mut out = Vec::with_capacity(command.len().saturating_add(FRAME));
        self.frame_command(&command, &mut out);
        Some(Permit::new(out.into()))
    }

    /// The next held bytes of the data set, at least one, in P-DATA-TF for the receiver; the last fragment is marked by itself.
    ///
    /// # Errors
    /// More bytes than were approved: a fault of the caller or its spool. The receiver must be aborted.
    //= C2
    pub fn data_permit(&mut self, chunk: &[u8]) -> Result<Permit, Refusal> {
        let added = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        let released = self.released.saturating_add(added);
        if released > self.length || chunk.is_empty() {
            let detail = "is not of the length that was approved";
            return Err(refusal(Reason::Structure, "data set", detail));
        }
        self.released = released;
        let mut out = Vec::with_capacity(chunk.len().saturating_add(FRAME));
        if let Some(command) = self.take_command() {
            self.frame_command(&command, &mut out);
        }
        let last = released == self.length;
        let id = self.head.context_id;
        frame(id, false, chunk, last, self.max_length, &mut out);
        Ok(Permit::new(out.into()))
    }

    fn take_command(&mut self) -> Option<Bytes> {
        let due = std::mem::take(&mut self.command_is_due);
        due.then(|| self.head.command.bytes().clone())
    }

    pub(super) fn refuse(self, status: u16, refusal: Refusal, max_length: u32) -> RefusedMessage {
        RefusedMessage::new(self.head, status, refusal, self.length, max_length)
    }

    fn frame_command(&self, command: &[u8], out: &mut Vec<u8>) {
        let id = self.head.context_id;
        frame(id, true, command, true, self.max_length, out);
        // A data set of no bytes has a last fragment too, and no held bytes to carry it.
        if self.head.command.has_data_set() && self.length == 0 {
            frame(id, false, &[], true, self.max_length, out);
        }
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

/// Room for some headers.
const FRAME: usize = 128;

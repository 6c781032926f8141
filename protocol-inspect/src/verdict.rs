//! What an inspector says of bytes.
//!
//! [`Permit`] and [`Spoken`] are the only values that a relay may write to a socket.
//! Both can be made in this crate alone: a [`Permit`] by an inspector that approved the bytes,
//! a [`Spoken`] by a builder of the gateway's own answers (acknowledgements, rejections, aborts).

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::LimitReached;

/// Proof that an inspector approved these bytes, which are forwarded unchanged.
///
/// It cannot be cloned, so that nothing is forwarded twice.
/// Bulk data lies where it was received: the bytes are one or more parts, in order.
//= C1
//= C2
#[derive(PartialEq, Eq)]
#[must_use = "approved bytes that are not forwarded are lost"]
pub struct Permit {
    first: Bytes,
    rest: Vec<Bytes>,
}

impl Permit {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self {
            first: bytes,
            rest: Vec::new(),
        }
    }

    /// Of several parts in their order.
    pub(crate) fn of(parts: Vec<Bytes>) -> Self {
        let mut rest = parts;
        let first = if rest.is_empty() {
            Bytes::new()
        } else {
            rest.remove(0)
        };
        Self { first, rest }
    }

    /// The approved bytes. Copies if there are several parts.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        if self.rest.is_empty() {
            return self.first.clone();
        }
        let mut bytes = self.first.to_vec();
        for part in &self.rest {
            bytes.extend_from_slice(part);
        }
        bytes.into()
    }

    /// How many there are.
    #[must_use]
    pub fn length(&self) -> usize {
        let rest = self.rest.iter().map(Bytes::len).sum();
        self.first.len().saturating_add(rest)
    }

    /// As [`Self::into_parts`], in one piece. Copies if there are several parts.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes()
    }

    /// Gives up the proof for the bytes, at the moment of writing them.
    pub fn into_parts(self) -> impl Iterator<Item = Bytes> {
        std::iter::once(self.first).chain(self.rest)
    }
}

/// Bytes that the gateway says in its own name: an acknowledgement, a rejection, an abort.
#[derive(PartialEq, Eq)]
#[must_use = "an answer that is not sent leaves the peer waiting"]
pub struct Spoken {
    bytes: Bytes,
}

impl Spoken {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// The bytes to write.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

// What a message says is in no log: only how long it is.
impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({} bytes)", self.length())
    }
}

impl fmt::Debug for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spoken({} bytes)", self.bytes.len())
    }
}

/// Why a message, an association or a whole connection was refused.
///
/// It says where and what is wrong in the standard's words, never what the message contained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{location}: {detail}")]
pub struct Refusal {
    /// The closed code of the reason, stable for scripts.
    pub reason: Reason,
    /// Where: `PID-7`, `OBX[2]-5(1).1`, `(0008,0018)`, `PDU length`, with the byte offset where it helps.
    pub location: String,
    /// What is wrong, in lower case, without a value from the message.
    pub detail: String,
}

/// Something that is wrong but not refused under the profile in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The closed code of the reason.
    pub reason: Reason,
    /// Where.
    pub location: String,
    /// What is wrong.
    pub detail: String,
    /// It would have been refused, were the rule not in shadow.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shadow: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The closed list of reasons, sorted by who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Bytes outside of a frame, or a frame that breaks MLLP or PS3.8 framing.
    Framing,
    /// Delimiters, escapes, control bytes, character set, value representation syntax.
    Encoding,
    /// Segments, elements, items: order, presence, nesting.
    Structure,
    /// A field or element lacks a required value or has a wrong one.
    Field,
    /// A document inside of a field or element is not of a kind that is carried.
    Embedded,
    /// Sender broke the protocol's state machine.
    Sequence,
    /// Legal, but not carried by this gateway.
    Unsupported,
    /// A rule of this site says no.
    Forbidden,
    /// The identity inside the message is not the device's own.
    Identity,
    /// A bound of [`crate::Limits`] was reached.
    Limit,
    /// Too many messages or bytes in too short a time.
    Rate,
    /// The destination did not take the message (refused, hung, died); the sender is not at fault.
    Destination,
}

impl Reason {
    /// The code as it stands in records and JSON.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Framing => "framing",
            Self::Encoding => "encoding",
            Self::Structure => "structure",
            Self::Field => "field",
            Self::Embedded => "embedded",
            Self::Sequence => "sequence",
            Self::Unsupported => "unsupported",
            Self::Forbidden => "forbidden",
            Self::Identity => "identity",
            Self::Limit => "limit",
            Self::Rate => "rate",
            Self::Destination => "destination",
        }
    }
}

impl Refusal {
    pub(crate) fn new(
        reason: Reason,
        location: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            reason,
            location: location.into(),
            detail: detail.into(),
        }
    }
}

impl From<Refusal> for Warning {
    fn from(refusal: Refusal) -> Self {
        Self {
            reason: refusal.reason,
            location: refusal.location,
            detail: refusal.detail,
            shadow: false,
        }
    }
}

impl From<LimitReached> for Refusal {
    fn from(reached: LimitReached) -> Self {
        Self {
            reason: Reason::Limit,
            location: reached.limit.to_owned(),
            detail: format!("{} is more than {}", reached.got, reached.max),
        }
    }
}

/// What an offline inspection says of one message or connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The type in the protocol's words: `ORU^R01`, a SOP class name; empty if unreadable.
    pub kind: String,
    /// Why it is refused; `None` is accepted.
    pub refusal: Option<Refusal>,
    /// What is wrong but not refused.
    pub warnings: Vec<Warning>,
}

/// For tests of relays alone: the feature is on in dev-dependencies only, which the gateway's architecture test holds.
#[cfg(feature = "testing")]
impl Permit {
    /// A proof of nothing.
    pub fn for_test(bytes: Bytes) -> Self {
        Self::new(bytes)
    }
}

/// As for [`Permit`].
#[cfg(feature = "testing")]
impl Spoken {
    /// Words of a test.
    pub fn for_test(bytes: Bytes) -> Self {
        Self::new(bytes)
    }
}

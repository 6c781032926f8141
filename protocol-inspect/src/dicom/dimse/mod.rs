//! DIMSE command sets (PS3.7 9.3, 10.3 and annex E).
//!
//! In: the bytes of a command set. Out: a typed [`Command`], or a refusal; the gateway's own refusing responses.
//! Knows nothing of fragments and of data sets.

mod dictionary;
mod parse;
mod allowed;
mod conditions;
mod originator;
mod respond;

use bytes::Bytes;

use super::uid::{AeTitle, Uid};
use crate::{Refusal, Warning};
use dictionary::Presence;

pub use allowed::{Denied, allowed};
pub(super) use respond::{cancel, for_service};
pub use respond::{refusal_response, status};

/// The DIMSE services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are the standard's")]
pub enum Service {
    CStore,
    CGet,
    CFind,
    CMove,
    CEcho,
    CCancel,
    NEventReport,
    NGet,
    NSet,
    NAction,
    NCreate,
    NDelete,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::CStore,
        Self::CGet,
        Self::CFind,
        Self::CMove,
        Self::CEcho,
        Self::CCancel,
        Self::NEventReport,
        Self::NGet,
        Self::NSet,
        Self::NAction,
        Self::NCreate,
        Self::NDelete,
    ];

    /// The name in the standard, as rules write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CStore => "C-STORE",
            Self::CGet => "C-GET",
            Self::CFind => "C-FIND",
            Self::CMove => "C-MOVE",
            Self::CEcho => "C-ECHO",
            Self::CCancel => "C-CANCEL",
            Self::NEventReport => "N-EVENT-REPORT",
            Self::NGet => "N-GET",
            Self::NSet => "N-SET",
            Self::NAction => "N-ACTION",
            Self::NCreate => "N-CREATE",
            Self::NDelete => "N-DELETE",
        }
    }

    /// Command field of the request (PS3.7 E.1-1).
    fn code(self) -> u16 {
        match self {
            Self::CStore => 0x0001,
            Self::CGet => 0x0010,
            Self::CFind => 0x0020,
            Self::CMove => 0x0021,
            Self::CEcho => 0x0030,
            Self::CCancel => 0x0fff,
            Self::NEventReport => 0x0100,
            Self::NGet => 0x0110,
            Self::NSet => 0x0120,
            Self::NAction => 0x0130,
            Self::NCreate => 0x0140,
            Self::NDelete => 0x0150,
        }
    }

    /// Whether one request may be answered by several responses.
    pub(super) fn has_pending(self) -> bool {
        match self {
            Self::CGet | Self::CFind | Self::CMove => true,
            Self::CStore
            | Self::CEcho
            | Self::CCancel
            | Self::NEventReport
            | Self::NGet
            | Self::NSet
            | Self::NAction
            | Self::NCreate
            | Self::NDelete => false,
        }
    }
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// It asks (C-CANCEL is a request too).
    Request,
    /// It answers.
    Response,
}

/// A checked command set.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    pub(super) service: Service,
    pub(super) direction: Direction,
    pub(super) message_id: u16,
    pub(super) sop_class: Option<Uid>,
    pub(super) sop_instance: Option<Uid>,
    /// Why the instance of a C-STORE request is none: answered by status, so that the association lives on.
    pub(super) bad_instance: Option<Refusal>,
    pub(super) has_data_set: bool,
    pub(super) status: Option<u16>,
    pub(super) move_destination: Option<AeTitle>,
    pub(super) type_id: Option<u16>,
    pub(super) bytes: Bytes,
    pub(super) warnings: Vec<Warning>,
}

impl Command {
    /// Which service.
    #[must_use]
    pub fn service(&self) -> Service {
        self.service
    }

    /// Request or response.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Message ID of a request; for responses and C-CANCEL that of the request they belong to.
    #[must_use]
    pub fn message_id(&self) -> u16 {
        self.message_id
    }

    /// Affected or requested SOP class.
    #[must_use]
    pub fn sop_class(&self) -> Option<&Uid> {
        self.sop_class.as_ref()
    }

    /// Affected or requested SOP instance.
    #[must_use]
    pub fn sop_instance(&self) -> Option<&Uid> {
        self.sop_instance.as_ref()
    }

    /// Whether a data set follows.
    #[must_use]
    pub fn has_data_set(&self) -> bool {
        self.has_data_set
    }

    /// Status of a response.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Whether a response says success (0000).
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status == Some(0)
    }

    /// Whether more responses to the same request follow.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.service.has_pending() && matches!(self.status, Some(0xff00 | 0xff01))
    }

    /// Destination of a C-MOVE request.
    #[must_use]
    pub fn move_destination(&self) -> Option<&AeTitle> {
        self.move_destination.as_ref()
    }

    /// Event type or action type.
    #[must_use]
    pub fn type_id(&self) -> Option<u16> {
        self.type_id
    }

    /// `C-STORE-RQ`, as the standard writes it.
    #[must_use]
    pub fn kind(&self) -> String {
        let suffix = match self.direction {
            Direction::Request => "RQ",
            Direction::Response => "RSP",
        };
        format!("{}-{suffix}", self.service.name())
    }

    /// The command set as received, for the digest.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What is wrong but tolerated.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    fn command_field(&self) -> u16 {
        match self.direction {
            Direction::Request => self.service.code(),
            Direction::Response => self.service.code() | RESPONSE,
        }
    }
}

/// Never the instance, never the bytes.
impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Command")
            .field("kind", &self.kind())
            .field("message_id", &self.message_id)
            .field("sop_class", &self.sop_class)
            .field("has_data_set", &self.has_data_set)
            .field("status", &self.status)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

const RESPONSE: u16 = 0x8000;
/// Command data set type: none (PS3.7 E.1-1); any other value announces one.
const NO_DATA_SET: u16 = 0x0101;

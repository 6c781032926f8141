//! Writes the gateway's own responses: refusals of a request (PS3.7 9.3, 10.3, annex C).

use super::super::pdu::frame_spoken;
use super::dictionary::{
    AFFECTED_CLASS, AFFECTED_INSTANCE, COMMAND_FIELD, COMMENT, DATA_SET_TYPE, GROUP_LENGTH,
    RESPONDED_TO, STATUS,
};
use super::{Command, Direction, NO_DATA_SET, RESPONSE, Service};
use crate::Spoken;

/// Statuses that the gateway gives (PS3.7 annex C, PS3.4 B.2.3, C.4).
pub mod status {
    /// Refused: out of resources.
    pub const OUT_OF_RESOURCES: u16 = 0xa700;
    /// Refused: out of resources, unable to calculate the number of matches (C-GET and C-MOVE).
    pub const NO_MATCHES_FOR_RESOURCES: u16 = 0xa701;
    /// Refused: move destination unknown.
    pub const MOVE_DESTINATION_UNKNOWN: u16 = 0xa801;
    /// Error: data set does not match SOP class; of a query, its identifier does not.
    pub const DATA_SET_MISMATCH: u16 = 0xa900;
    /// Error: cannot understand.
    pub const CANNOT_UNDERSTAND: u16 = 0xc000;
    /// Invalid SOP instance: the UID breaks the rules of UIDs (PS3.7 C.5.6).
    pub const INVALID_INSTANCE: u16 = 0x0117;
    /// No such SOP class (N-services).
    pub const NO_SUCH_CLASS: u16 = 0x0118;
    /// Refused: SOP class not supported.
    pub const SOP_CLASS_NOT_SUPPORTED: u16 = 0x0122;
    /// Refused: not authorized.
    pub const NOT_AUTHORIZED: u16 = 0x0124;
    /// Failure: processing failure (N-services).
    pub const PROCESSING_FAILURE: u16 = 0x0110;
    /// Invalid attribute value (N-services, PS3.7 C.5.12).
    pub const INVALID_ATTRIBUTE: u16 = 0x0106;
    /// No such SOP instance (N-services, PS3.7 C.5.8).
    pub const NO_SUCH_INSTANCE: u16 = 0x0112;
    /// No such event type (PS3.7 C.5.11).
    pub const NO_SUCH_EVENT: u16 = 0x0113;
    /// Invalid argument value (PS3.7 C.5.5).
    pub const INVALID_ARGUMENT: u16 = 0x0115;
    /// Missing attribute (PS3.7 C.5.9).
    pub const MISSING_ATTRIBUTE: u16 = 0x0120;
    /// Missing attribute value (PS3.7 C.5.24).
    pub const MISSING_VALUE: u16 = 0x0121;
    /// No such action type (PS3.7 C.5.10).
    pub const NO_SUCH_ACTION: u16 = 0x0123;
    /// Failure: resource limitation (N-services).
    pub const RESOURCE_LIMITATION: u16 = 0x0213;

    /// What a status says (PS3.7 C.1 to C.6).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in super::super::super) enum Class {
        Success,
        Warning,
        Failure,
        Cancel,
        Pending,
    }

    impl Class {
        /// `None` for a status that is of no class.
        pub(in super::super::super) fn of(status: u16) -> Option<Self> {
            match status {
                0x0000 => Some(Self::Success),
                0x0001 | 0x0107 | 0x0116 | 0xb000..=0xbfff => Some(Self::Warning),
                0x0100..=0x02ff | 0xa000..=0xafff | 0xc000..=0xcfff => Some(Self::Failure),
                0xfe00 => Some(Self::Cancel),
                0xff00 | 0xff01 => Some(Self::Pending),
                _ => None,
            }
        }
    }
}

/// A response that refuses `command`, framed for its context and for the longest PDU of its sender.
/// The comment is ours: at most 64 characters, never a value of the message.
/// `None` for what cannot be answered: responses and C-CANCEL.
#[must_use]
pub fn refusal_response(
    command: &Command,
    context_id: u8,
    status: u16,
    comment: &str,
    max_length: u32,
) -> Option<Spoken> {
    let unanswerable = match command.direction {
        Direction::Response => true,
        Direction::Request => command.service == Service::CCancel,
    };
    if unanswerable {
        return None;
    }
    let mut body = Vec::new();
    if let Some(class) = &command.sop_class {
        element(&mut body, AFFECTED_CLASS, &padded(class.as_str(), 0));
    }
    number(&mut body, COMMAND_FIELD, command.command_field() | RESPONSE);
    number(&mut body, RESPONDED_TO, command.message_id);
    number(&mut body, DATA_SET_TYPE, NO_DATA_SET);
    number(&mut body, STATUS, for_service(command.service, status));
    let comment: String = comment
        .chars()
        .filter(char::is_ascii)
        .take(MAX_COMMENT)
        .collect();
    if !comment.is_empty() {
        element(&mut body, COMMENT, &padded(&comment, b' '));
    }
    if let Some(instance) = &command.sop_instance {
        element(&mut body, AFFECTED_INSTANCE, &padded(instance.as_str(), 0));
    }
    Some(framed(context_id, body, max_length))
}

/// The C-CANCEL of a request that is under way (PS3.7 9.3.2.3), framed for its context and for the longest PDU of its receiver.
pub(in super::super) fn cancel(request: &Command, context_id: u8, max_length: u32) -> Spoken {
    let mut body = Vec::new();
    number(&mut body, COMMAND_FIELD, Service::CCancel.code());
    number(&mut body, RESPONDED_TO, request.message_id);
    number(&mut body, DATA_SET_TYPE, NO_DATA_SET);
    framed(context_id, body, max_length)
}

/// With its group length before it.
fn framed(context_id: u8, body: Vec<u8>, max_length: u32) -> Spoken {
    let mut set = Vec::new();
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    element(&mut set, GROUP_LENGTH, &len.to_le_bytes());
    set.extend(body);
    frame_spoken(context_id, &set, max_length)
}

/// Each service has statuses of its own; what it has none for becomes what comes closest.
//= DICOM PS3.4 B.2.3
//= DICOM PS3.4 C.4
//= DICOM PS3.7 10.1
pub(in super::super) fn for_service(service: Service, wanted: u16) -> u16 {
    match service {
        Service::CStore | Service::CFind | Service::CCancel => wanted,
        // Retrievals have two such statuses; this is that of the identifier.
        Service::CGet | Service::CMove => match wanted {
            status::OUT_OF_RESOURCES => status::NO_MATCHES_FOR_RESOURCES,
            other => other,
        },
        Service::CEcho => status::SOP_CLASS_NOT_SUPPORTED,
        // An event report cannot be unauthorized.
        Service::NEventReport if wanted == status::NOT_AUTHORIZED => status::PROCESSING_FAILURE,
        // Actions and events have arguments where operations have attributes.
        Service::NAction | Service::NEventReport if wanted == status::INVALID_ATTRIBUTE => {
            status::INVALID_ARGUMENT
        }
        Service::NEventReport
        | Service::NGet
        | Service::NSet
        | Service::NAction
        | Service::NCreate
        | Service::NDelete => match wanted {
            status::OUT_OF_RESOURCES => status::RESOURCE_LIMITATION,
            status::DATA_SET_MISMATCH | status::CANNOT_UNDERSTAND => status::PROCESSING_FAILURE,
            status::SOP_CLASS_NOT_SUPPORTED => status::NO_SUCH_CLASS,
            other => other,
        },
    }
}

fn number(out: &mut Vec<u8>, tag: u16, value: u16) {
    element(out, tag, &value.to_le_bytes());
}

fn element(out: &mut Vec<u8>, tag: u16, value: &[u8]) {
    out.extend([0, 0]);
    out.extend(tag.to_le_bytes());
    out.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(value);
}

fn padded(text: &str, padding: u8) -> Vec<u8> {
    let mut value = text.as_bytes().to_vec();
    if !value.len().is_multiple_of(2) {
        value.push(padding);
    }
    value
}

const MAX_COMMENT: usize = 64;

//! What a command says of its data set, whether the data set says the same, and which status a fault has.
//!
//! In: a command, the facts of its data set. Out: what the data set claims to be, a refusal, a status.
//! Knows nothing of bytes and of rules.

use super::dataset::{Content, Facts, Normalized, Subject};
use super::dimse::{Command, Direction, Service, status};
use super::fault::refusal;
use super::iod;
use super::normalized;
use super::sop::{has_level, is_about_a_patient};
use super::uid::Uid;
use crate::{Reason, Refusal};

/// What the data set of this command claims to be.
pub(super) fn content_of(command: &Command) -> Content {
    match (command.service(), command.direction()) {
        (Service::CStore, _) => Content::Instance(command.sop_class().cloned()),
        (_, Direction::Request) if is_query(command.service()) => Content::Query,
        (_, Direction::Response) if is_query(command.service()) => Content::QueryResult,
        (_, Direction::Request | Direction::Response) => {
            Content::Normalized(Normalized::of(command))
        }
    }
}

/// What rules ask of the data set of this request.
pub(super) fn subject_of(command: &Command) -> Subject {
    let class = command.sop_class().map(Uid::as_str);
    let patient = match command.service() {
        Service::CStore | Service::CFind | Service::CGet | Service::CMove => true,
        Service::NCreate => class.is_some_and(is_about_a_patient),
        Service::CEcho
        | Service::CCancel
        | Service::NEventReport
        | Service::NGet
        | Service::NSet
        | Service::NAction
        | Service::NDelete => false,
    };
    Subject {
        patient,
        level: class.is_some_and(has_level),
        answer: false,
    }
}

/// What carries bulk data, in whichever direction.
pub(super) fn is_store(command: &Command) -> bool {
    command.service() == Service::CStore && command.direction() == Direction::Request
}

pub(super) fn is_query(service: Service) -> bool {
    matches!(service, Service::CFind | Service::CGet | Service::CMove)
}

/// What the command says of the instance must be what the data set says (PS3.4 B.2).
pub(super) fn compare(command: &Command, facts: &Facts) -> Result<(), Refusal> {
    let stores = is_store(command);
    let creates =
        command.service() == Service::NCreate && command.direction() == Direction::Request;
    if !stores && !creates {
        return Ok(());
    }
    let pairs = [
        ("(0008,0016)", command.sop_class(), &facts.sop_class),
        ("(0008,0018)", command.sop_instance(), &facts.sop_instance),
    ];
    for (location, in_command, in_data_set) in pairs {
        match in_data_set {
            None if stores => {
                return Err(refusal(Reason::Field, location, "is missing"));
            }
            Some(_) if in_data_set.as_ref() != in_command && in_command.is_some() => {
                return Err(refusal(Reason::Field, location, MISMATCH));
            }
            None | Some(_) => {}
        }
    }
    Ok(())
}

/// PS3.4 B.2.3: what a storage provider answers; other services translate it.
pub(super) fn status_of(fault: &Refusal) -> u16 {
    if let Some(status) = normalized::status_of(&fault.detail) {
        return status;
    }
    match fault.reason {
        Reason::Limit | Reason::Rate => status::OUT_OF_RESOURCES,
        Reason::Field if fault.detail == MISMATCH || iod::is_finding(&fault.detail) => {
            status::DATA_SET_MISMATCH
        }
        Reason::Forbidden | Reason::Identity => status::NOT_AUTHORIZED,
        Reason::Framing
        | Reason::Encoding
        | Reason::Structure
        | Reason::Field
        | Reason::Embedded
        | Reason::Sequence
        | Reason::Unsupported
        | Reason::Destination => status::CANNOT_UNDERSTAND,
    }
}

const MISMATCH: &str = "is not that of the command";

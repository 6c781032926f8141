//! The command dictionary (PS3.7 E.1) and which elements each message has (PS3.7 9.3 and 10.3).

use super::{Direction, Service};

/// Value representations that command elements have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommandVr {
    Ul,
    Us,
    Ui,
    Ae,
    /// Attribute tags, one or more.
    At,
    Lo,
    /// Of a retired element.
    Retired,
}

/// The value representation of a command element, `None` if there is no such element.
pub(super) fn vr(element: u16) -> Option<CommandVr> {
    match element {
        GROUP_LENGTH => Some(CommandVr::Ul),
        AFFECTED_CLASS | REQUESTED_CLASS | AFFECTED_INSTANCE | REQUESTED_INSTANCE => {
            Some(CommandVr::Ui)
        }
        COMMAND_FIELD
        | MESSAGE_ID
        | RESPONDED_TO
        | PRIORITY
        | DATA_SET_TYPE
        | STATUS
        | ERROR_ID
        | EVENT_TYPE
        | ACTION_TYPE
        | ORIGINATOR_ID
        | REMAINING..=WARNED => Some(CommandVr::Us),
        MOVE_DESTINATION | ORIGINATOR => Some(CommandVr::Ae),
        OFFENDING | ATTRIBUTES => Some(CommandVr::At),
        COMMENT => Some(CommandVr::Lo),
        0x0001 | 0x0010 | 0x0200 | 0x0300 | 0x0400 | 0x0850 | 0x0860 => Some(CommandVr::Retired),
        _ => None,
    }
}

/// Whether a message has an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Required,
    Optional,
    Forbidden,
}

/// Whether this message has this element.
pub(super) fn presence(service: Service, direction: Direction, element: u16) -> Presence {
    let (required, optional) = elements(service, direction);
    if ALWAYS.contains(&element) || required.contains(&element) {
        return Presence::Required;
    }
    if optional.contains(&element) {
        return Presence::Optional;
    }
    match direction {
        Direction::Response if RESPONSE_OPTIONAL.contains(&element) => Presence::Optional,
        Direction::Response | Direction::Request => Presence::Forbidden,
    }
}

/// All elements that this message must have.
pub(super) fn required(service: Service, direction: Direction) -> impl Iterator<Item = u16> {
    let (required, _) = elements(service, direction);
    ALWAYS.into_iter().chain(required.iter().copied())
}

/// Whether a data set follows this message.
pub(super) fn data_set(service: Service, direction: Direction) -> Presence {
    match (service, direction) {
        (
            Service::CStore | Service::CFind | Service::CGet | Service::CMove | Service::NSet,
            Direction::Request,
        ) => Presence::Required,
        (Service::CStore, Direction::Response)
        | (Service::CEcho | Service::CCancel | Service::NDelete, _)
        | (Service::NGet, Direction::Request) => Presence::Forbidden,
        (Service::NEventReport | Service::NAction | Service::NCreate, _)
        | (
            Service::CFind | Service::CGet | Service::CMove | Service::NGet | Service::NSet,
            Direction::Response,
        ) => Presence::Optional,
    }
}

type Lists = (&'static [u16], &'static [u16]);

fn elements(service: Service, direction: Direction) -> Lists {
    match direction {
        Direction::Request => request(service),
        Direction::Response => (&[RESPONDED_TO, STATUS], response_optional(service)),
    }
}

fn request(service: Service) -> Lists {
    match service {
        Service::CStore => (
            &[AFFECTED_CLASS, MESSAGE_ID, PRIORITY, AFFECTED_INSTANCE],
            &[ORIGINATOR, ORIGINATOR_ID],
        ),
        Service::CFind | Service::CGet => (&[AFFECTED_CLASS, MESSAGE_ID, PRIORITY], &[]),
        Service::CMove => (
            &[AFFECTED_CLASS, MESSAGE_ID, PRIORITY, MOVE_DESTINATION],
            &[],
        ),
        Service::CEcho => (&[AFFECTED_CLASS, MESSAGE_ID], &[]),
        Service::CCancel => (&[RESPONDED_TO], &[]),
        Service::NEventReport => (
            &[AFFECTED_CLASS, MESSAGE_ID, AFFECTED_INSTANCE, EVENT_TYPE],
            &[],
        ),
        Service::NGet => (
            &[REQUESTED_CLASS, MESSAGE_ID, REQUESTED_INSTANCE],
            &[ATTRIBUTES],
        ),
        Service::NSet | Service::NDelete => {
            (&[REQUESTED_CLASS, MESSAGE_ID, REQUESTED_INSTANCE], &[])
        }
        Service::NAction => (
            &[REQUESTED_CLASS, MESSAGE_ID, REQUESTED_INSTANCE, ACTION_TYPE],
            &[],
        ),
        Service::NCreate => (&[AFFECTED_CLASS, MESSAGE_ID], &[AFFECTED_INSTANCE]),
    }
}

fn response_optional(service: Service) -> &'static [u16] {
    match service {
        Service::CGet | Service::CMove => &[REMAINING, COMPLETED, FAILED, WARNED],
        Service::NEventReport => &[EVENT_TYPE],
        Service::NAction => &[ACTION_TYPE],
        Service::CStore
        | Service::CFind
        | Service::CEcho
        | Service::CCancel
        | Service::NGet
        | Service::NSet
        | Service::NCreate
        | Service::NDelete => &[],
    }
}

pub(super) const GROUP_LENGTH: u16 = 0x0000;
pub(super) const AFFECTED_CLASS: u16 = 0x0002;
pub(super) const REQUESTED_CLASS: u16 = 0x0003;
pub(super) const COMMAND_FIELD: u16 = 0x0100;
pub(super) const MESSAGE_ID: u16 = 0x0110;
pub(super) const RESPONDED_TO: u16 = 0x0120;
pub(super) const MOVE_DESTINATION: u16 = 0x0600;
pub(super) const PRIORITY: u16 = 0x0700;
pub(super) const DATA_SET_TYPE: u16 = 0x0800;
pub(super) const STATUS: u16 = 0x0900;
pub(super) const OFFENDING: u16 = 0x0901;
pub(super) const COMMENT: u16 = 0x0902;
pub(super) const ERROR_ID: u16 = 0x0903;
pub(super) const AFFECTED_INSTANCE: u16 = 0x1000;
pub(super) const REQUESTED_INSTANCE: u16 = 0x1001;
pub(super) const EVENT_TYPE: u16 = 0x1002;
pub(super) const ATTRIBUTES: u16 = 0x1005;
pub(super) const ACTION_TYPE: u16 = 0x1008;
pub(super) const REMAINING: u16 = 0x1020;
pub(super) const COMPLETED: u16 = 0x1021;
pub(super) const FAILED: u16 = 0x1022;
pub(super) const WARNED: u16 = 0x1023;
pub(super) const ORIGINATOR: u16 = 0x1030;
pub(super) const ORIGINATOR_ID: u16 = 0x1031;

const ALWAYS: [u16; 3] = [GROUP_LENGTH, COMMAND_FIELD, DATA_SET_TYPE];
/// What any response may say of its request and of its status (PS3.7 annex C).
const RESPONSE_OPTIONAL: [u16; 6] = [
    AFFECTED_CLASS,
    AFFECTED_INSTANCE,
    OFFENDING,
    COMMENT,
    ERROR_ID,
    ATTRIBUTES,
];

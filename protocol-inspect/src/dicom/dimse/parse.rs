//! Reads a command set: implicit VR little endian whatever the context says (PS3.7 6.3.1).

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::fault::{Warnings, refusal};
use super::super::reader::Reader;
use super::super::uid::{AeTitle, Uid};
use super::conditions::{self, Facts};
use super::dictionary::{
    ACTION_TYPE, AFFECTED_CLASS, AFFECTED_INSTANCE, COMMAND_FIELD, COMMENT, CommandVr,
    DATA_SET_TYPE, EVENT_TYPE, GROUP_LENGTH, MESSAGE_ID, MOVE_DESTINATION, PRIORITY,
    REQUESTED_CLASS, REQUESTED_INSTANCE, RESPONDED_TO, STATUS, data_set, presence, required, vr,
};
use super::{Command, Direction, NO_DATA_SET, Presence, RESPONSE, Service};
use crate::Base;
use crate::{Reason, Refusal};

impl Command {
    /// Reads a whole command set.
    ///
    /// # Errors
    /// The place and kind of the first fault.
    pub fn parse(bytes: &Bytes, base: Base) -> Result<Self, Refusal> {
        let mut warnings = Warnings::default();
        let mut set = Elements::read(bytes)?;
        let (service, direction) = set.command_field()?;
        set.check_presence(service, direction, base, &mut warnings)?;
        set.drop_empty(service, direction, base, &mut warnings)?;
        set.check_values(service, direction, base, &mut warnings)?;
        let has_data_set = set.number(DATA_SET_TYPE)? != NO_DATA_SET;
        let expected = match (data_set(service, direction), has_data_set) {
            (Presence::Required, false) => Some("announces no data set, but needs one"),
            (Presence::Forbidden, true) => Some("announces a data set, but has none"),
            (Presence::Required | Presence::Optional | Presence::Forbidden, _) => None,
        };
        if let Some(detail) = expected {
            return Err(refusal(Reason::Field, at(DATA_SET_TYPE), detail));
        }
        let status = match direction {
            Direction::Response => Some(set.number(STATUS)?),
            Direction::Request => None,
        };
        let facts = Facts {
            service,
            direction,
            has_data_set,
            status,
            has: &|element| set.has(element),
        };
        conditions::check(&facts, base, &mut warnings)?;
        let is_answer = direction == Direction::Response || service == Service::CCancel;
        let id = if is_answer { RESPONDED_TO } else { MESSAGE_ID };
        let type_id = [EVENT_TYPE, ACTION_TYPE]
            .into_iter()
            .find(|element| set.has(*element));
        let instance = set.uid(AFFECTED_INSTANCE, REQUESTED_INSTANCE, base, &mut warnings);
        let is_store = service == Service::CStore && direction == Direction::Request;
        let (sop_instance, bad_instance) = match instance {
            Ok(instance) => (instance, None),
            Err(refusal) if is_store => (None, Some(refusal)),
            Err(refusal) => return Err(refusal),
        };
        Ok(Self {
            service,
            direction,
            message_id: set.number(id)?,
            sop_class: set.uid(AFFECTED_CLASS, REQUESTED_CLASS, base, &mut warnings)?,
            sop_instance,
            bad_instance,
            has_data_set,
            status,
            move_destination: set.title(MOVE_DESTINATION)?,
            type_id: type_id.map(|element| set.number(element)).transpose()?,
            bytes: bytes.clone(),
            warnings: warnings.into_vec(),
        })
    }
}

/// The elements of a command set by element number; the group is always 0000.
struct Elements<'a>(BTreeMap<u16, &'a [u8]>);

impl<'a> Elements<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(bytes);
        let mut set = BTreeMap::new();
        let mut last = None;
        while !reader.is_empty() {
            let (group, element) = (
                reader.u16_le("command element")?,
                reader.u16_le("command element")?,
            );
            if group != 0 {
                let location = format!("({group:04x},{element:04x})");
                return Err(refusal(
                    Reason::Structure,
                    location,
                    "does not belong to a command set",
                ));
            }
            let len = usize::try_from(reader.u32_le("command element length")?);
            let value = reader.take(len.unwrap_or(usize::MAX), "command element value")?;
            let fault = |detail| Err(refusal(Reason::Structure, at(element), detail));
            if last.is_none() && element != GROUP_LENGTH {
                return Err(refusal(Reason::Structure, at(GROUP_LENGTH), "is missing"));
            }
            if last == Some(element) {
                return fault("occurs twice");
            }
            if last > Some(element) {
                return fault("is out of order");
            }
            if element == GROUP_LENGTH {
                let [a, b, c, d] = *value else {
                    return fault("is not four bytes long");
                };
                let length = usize::try_from(u32::from_le_bytes([a, b, c, d]));
                if length != Ok(reader.len()) {
                    return fault("does not match the length of the command set");
                }
            }
            if !value.len().is_multiple_of(2) {
                return fault("is of odd length");
            }
            last = Some(element);
            set.insert(element, value);
        }
        Ok(Self(set))
    }

    fn has(&self, element: u16) -> bool {
        self.0.contains_key(&element)
    }

    fn value(&self, element: u16) -> Result<&'a [u8], Refusal> {
        let missing = || refusal(Reason::Structure, at(element), "is missing");
        self.0.get(&element).copied().ok_or_else(missing)
    }

    fn number(&self, element: u16) -> Result<u16, Refusal> {
        match *self.value(element)? {
            [low, high] => Ok(u16::from_le_bytes([low, high])),
            _ => Err(refusal(
                Reason::Encoding,
                at(element),
                "is not two bytes long",
            )),
        }
    }

    fn uid(
        &self,
        affected: u16,
        requested: u16,
        base: Base,
        warnings: &mut Warnings,
    ) -> Result<Option<Uid>, Refusal> {
        let Some(element) = [affected, requested].into_iter().find(|one| self.has(*one)) else {
            return Ok(None);
        };
        let value = self.value(element)?;
        // N-CREATE may leave the instance to the provider, and some responses say nothing.
        if value.is_empty() {
            return Ok(None);
        }
        Uid::in_element(value, || at(element), base, warnings).map(Some)
    }

    fn title(&self, element: u16) -> Result<Option<AeTitle>, Refusal> {
        let Some(value) = self.0.get(&element) else {
            return Ok(None);
        };
        AeTitle::parse(value, &at(element)).map(Some)
    }

    fn command_field(&self) -> Result<(Service, Direction), Refusal> {
        let field = self.number(COMMAND_FIELD)?;
        let unknown = || {
            refusal(
                Reason::Unsupported,
                at(COMMAND_FIELD),
                "is not a known command",
            )
        };
        let code = field & !RESPONSE;
        let direction = if code == field {
            Direction::Request
        } else {
            Direction::Response
        };
        let known = |service: &Service| service.code() == code;
        let service = Service::ALL.into_iter().find(known).ok_or_else(unknown)?;
        match (service, direction) {
            (Service::CCancel, Direction::Response) => Err(unknown()),
            (_, Direction::Request | Direction::Response) => Ok((service, direction)),
        }
    }

    fn check_presence(
        &self,
        service: Service,
        direction: Direction,
        base: Base,
        warnings: &mut Warnings,
    ) -> Result<(), Refusal> {
        for element in required(service, direction) {
            self.value(element)?;
        }
        for element in self.0.keys().copied() {
            if vr(element).is_none() {
                let detail = "is not in the command dictionary";
                return Err(refusal(Reason::Structure, at(element), detail));
            }
            if presence(service, direction, element) == Presence::Forbidden {
                let detail = "does not belong to this message";
                warnings.doubt(base, refusal(Reason::Structure, at(element), detail))?;
            }
        }
        Ok(())
    }

    /// Titles and numbers that need not be there, and are there without a value, are absent.
    fn drop_empty(
        &mut self,
        service: Service,
        direction: Direction,
        base: Base,
        warnings: &mut Warnings,
    ) -> Result<(), Refusal> {
        let is_absent = |element: u16, value: &[u8]| {
            let kind = matches!(vr(element), Some(CommandVr::Ae | CommandVr::Us));
            let optional = presence(service, direction, element) != Presence::Required;
            value.is_empty() && kind && optional
        };
        for (element, value) in &self.0 {
            if is_absent(*element, value) {
                let detail = "is there without a value";
                warnings.doubt(base, refusal(Reason::Encoding, at(*element), detail))?;
            }
        }
        self.0.retain(|element, value| !is_absent(*element, value));
        Ok(())
    }

    fn check_values(
        &self,
        service: Service,
        direction: Direction,
        base: Base,
        warnings: &mut Warnings,
    ) -> Result<(), Refusal> {
        for (element, value) in &self.0 {
            let element = *element;
            match vr(element) {
                None | Some(CommandVr::Retired) => {}
                Some(CommandVr::Ul) if value.len() == 4 => {}
                Some(CommandVr::At) if value.len().is_multiple_of(4) => {}
                Some(CommandVr::Us) => {
                    self.number(element)?;
                }
                Some(CommandVr::Ui) => {
                    let optional = presence(service, direction, element) != Presence::Required;
                    let is_store = service == Service::CStore && direction == Direction::Request;
                    let answered_by_status = is_store && element == AFFECTED_INSTANCE;
                    let judged = if value.is_empty() {
                        !optional
                    } else {
                        !answered_by_status
                    };
                    if judged {
                        Uid::in_element(value, || at(element), base, warnings)?;
                    }
                }
                Some(CommandVr::Ae) => {
                    AeTitle::parse(value, &at(element))?;
                }
                Some(CommandVr::Lo) => check_comment(value, base, warnings)?,
                Some(CommandVr::Ul | CommandVr::At) => {
                    let detail = "does not have the length of its value representation";
                    return Err(refusal(Reason::Encoding, at(element), detail));
                }
            }
        }
        if self.has(PRIORITY) && self.number(PRIORITY)? > LOW {
            let fault = refusal(Reason::Field, at(PRIORITY), "is not a priority");
            warnings.doubt(base, fault)?;
        }
        Ok(())
    }
}

fn check_comment(value: &[u8], base: Base, warnings: &mut Warnings) -> Result<(), Refusal> {
    let fault = |detail| refusal(Reason::Encoding, at(COMMENT), detail);
    if value.len() > MAX_COMMENT {
        warnings.doubt(base, fault("is longer than 64"))?;
    }
    if value.iter().any(|byte| *byte < b' ') {
        warnings.doubt(base, fault("has a control character"))?;
    }
    Ok(())
}

fn at(element: u16) -> String {
    format!("(0000,{element:04x})")
}

/// Priority: 0 medium, 1 high, 2 low.
const LOW: u16 = 2;
const MAX_COMMENT: usize = 64;

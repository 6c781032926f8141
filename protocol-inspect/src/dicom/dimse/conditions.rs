//! What the elements of a command set ask of each other: conditional ones, status against data set (PS3.7 9.1, 10.1, C).
//!
//! In: a command set whose elements are there and well formed. Out: a refusal, or warnings.
//! Knows nothing of the request that a response belongs to; [`Exchange`](super::super::exchange) does.

use super::super::fault::{Warnings, refusal};
use super::dictionary::{
    ACTION_TYPE, COMPLETED, DATA_SET_TYPE, EVENT_TYPE, FAILED, ORIGINATOR, ORIGINATOR_ID,
    REMAINING, STATUS, WARNED,
};
use super::status::Class;
use super::{Direction, Service};
use crate::{Base, Reason, Refusal};

/// What of a command set the conditions depend on.
pub(super) struct Facts<'s> {
    pub(super) service: Service,
    pub(super) direction: Direction,
    pub(super) has_data_set: bool,
    /// Of responses.
    pub(super) status: Option<u16>,
    /// Whether an element is there.
    pub(super) has: &'s dyn Fn(u16) -> bool,
}

pub(super) fn check(facts: &Facts<'_>, base: Base, warnings: &mut Warnings) -> Result<(), Refusal> {
    let mut doubt =
        |element, detail: &str| warnings.doubt(base, refusal(Reason::Field, at(element), detail));
    let has = facts.has;
    if has(ORIGINATOR) != has(ORIGINATOR_ID) {
        let missing = if has(ORIGINATOR) {
            ORIGINATOR_ID
        } else {
            ORIGINATOR
        };
        doubt(
            missing,
            "is missing: an originator has a title and a message id",
        )?;
    }
    let (Direction::Response, Some(status)) = (facts.direction, facts.status) else {
        return Ok(());
    };
    let type_id = match facts.service {
        Service::NEventReport => Some(EVENT_TYPE),
        Service::NAction => Some(ACTION_TYPE),
        Service::CStore
        | Service::CGet
        | Service::CFind
        | Service::CMove
        | Service::CEcho
        | Service::CCancel
        | Service::NGet
        | Service::NSet
        | Service::NCreate
        | Service::NDelete => None,
    };
    if let Some(element) = type_id
        && facts.has_data_set
        && !has(element)
    {
        doubt(element, "is missing, but a data set follows")?;
    }
    let Some(class) = Class::of(status) else {
        return doubt(STATUS, "is of no status class");
    };
    response(facts, class, &mut doubt)
}

fn response(
    facts: &Facts<'_>,
    class: Class,
    doubt: &mut dyn FnMut(u16, &str) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let (pending, data) = (class == Class::Pending, facts.has_data_set);
    if !facts.service.has_pending() {
        return match class {
            // Whoever asked would wait for more.
            Class::Pending | Class::Cancel => {
                let detail = "is a status that this service does not have";
                Err(refusal(Reason::Field, at(STATUS), detail))
            }
            Class::Success | Class::Warning | Class::Failure => Ok(()),
        };
    }
    if facts.service == Service::CFind {
        return match (pending, data) {
            (true, false) => Err(refusal(
                Reason::Field,
                at(DATA_SET_TYPE),
                "announces no data set, but brings a match",
            )),
            (false, true) => doubt(DATA_SET_TYPE, "announces a data set, but brings no match"),
            (true, true) | (false, false) => Ok(()),
        };
    }
    if data && (pending || class == Class::Success) {
        doubt(
            DATA_SET_TYPE,
            "announces a data set, but names no failed instance",
        )?;
    }
    match class {
        Class::Pending => {
            for element in [REMAINING, COMPLETED, FAILED, WARNED] {
                if !(facts.has)(element) {
                    doubt(element, "is missing while sub-operations go on")?;
                }
            }
        }
        Class::Success | Class::Warning | Class::Failure if (facts.has)(REMAINING) => {
            doubt(REMAINING, "says what remains, but no sub-operation does")?;
        }
        Class::Success | Class::Warning | Class::Failure | Class::Cancel => {}
    }
    Ok(())
}

fn at(element: u16) -> String {
    format!("(0000,{element:04x})")
}

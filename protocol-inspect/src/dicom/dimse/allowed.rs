//! Whether a rule allows a request.
//!
//! In: a command, its presentation context, the policy. Out: the rule, or a status and a refusal.

use super::super::association::{Context, Peer};
use super::super::fault::refusal;
use super::super::policy::{Policy, Rule};
use super::super::sop::{Kind, retrieves_by_patient, serves, travels_in};
use super::originator;
use super::{Command, Direction, Service, status};
use crate::{Reason, Refusal};

/// A request that is well formed but not wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{refusal}")]
pub struct Denied {
    /// What the response says.
    pub status: u16,
    /// For the record.
    pub refusal: Refusal,
}

/// Which of the rules allow this request, the most lenient first: one that accepts the whole message is enough.
/// Responses need no rule: they belong to a request that had one. Without an error, a request has at least one.
///
/// # Errors
/// The status and why.
pub fn allowed(
    command: &Command,
    context: &Context,
    from: Peer,
    calling: &str,
    policy: &Policy,
) -> Result<Vec<usize>, Denied> {
    if command.direction == Direction::Response {
        return Ok(Vec::new());
    }
    if let Some(refusal) = &command.bad_instance {
        return Err(Denied {
            status: status::INVALID_INSTANCE,
            refusal: refusal.clone(),
        });
    }
    check_context(command, context)?;
    check_role(command, context, from)?;
    let mut nearest = "no rule allows this service";
    let mut candidates = Vec::new();
    for (index, rule) in policy.rules_for(calling) {
        if !allows_service(command, context, from, rule) {
            continue;
        }
        let class = context.abstract_syntax.as_str();
        let classless = matches!(command.service, Service::CEcho | Service::CCancel);
        if !classless && !rule.covers(class) {
            nearest = "no rule allows this service for this SOP class";
            continue;
        }
        if !classless && !rule.transfers(context.transfer_syntax_uid.as_str()) {
            nearest = "no rule allows this service in this transfer syntax";
            continue;
        }
        //= C5
        if command.service == Service::CMove && rule.bind_patient && !retrieves_by_patient(class) {
            nearest = "the rule binds patients, and this retrieval need not heed them";
            continue;
        }
        if let Some(detail) = originator::strays(command, rule) {
            nearest = detail;
            continue;
        }
        let moves = |title: &super::AeTitle| rule.may_move_to(title.as_str());
        if !command.move_destination.as_ref().is_none_or(moves) {
            nearest = DESTINATION;
            continue;
        }
        candidates.push(index);
    }
    if !candidates.is_empty() {
        return Ok(candidates);
    }
    let (status, location) = if nearest == DESTINATION {
        (status::MOVE_DESTINATION_UNKNOWN, "(0000,0600)")
    } else {
        (status::NOT_AUTHORIZED, "(0000,0100)")
    };
    let refused = refusal(Reason::Forbidden, location, nearest);
    Err(Denied {
        status,
        refusal: refused,
    })
}

/// The SOP class must be that of the context (PS3.7 9.1, 10.1), and the service one that the class has.
fn check_context(command: &Command, context: &Context) -> Result<(), Denied> {
    let abstract_syntax = context.abstract_syntax.as_str();
    let fault = |location, detail| {
        Err(Denied {
            status: status::SOP_CLASS_NOT_SUPPORTED,
            refusal: refusal(Reason::Structure, location, detail),
        })
    };
    if let Some(class) = &command.sop_class
        && !travels_in(class.as_str(), abstract_syntax)
        // C-ECHO may be asked in any context; some do.
        && command.service != Service::CEcho
    {
        return fault("SOP class", "is not that of the presentation context");
    }
    let kind = Kind::of(abstract_syntax);
    let fits = match command.service {
        Service::CEcho => {
            let class = command.sop_class.as_ref();
            class.is_some_and(|class| Kind::of(class.as_str()) == Kind::Verification)
        }
        Service::CCancel => matches!(kind, Kind::Find | Kind::Move | Kind::Get | Kind::Other),
        Service::CStore
        | Service::CFind
        | Service::CMove
        | Service::CGet
        | Service::NEventReport
        | Service::NGet
        | Service::NSet
        | Service::NAction
        | Service::NCreate
        | Service::NDelete => serves(abstract_syntax, command.service.name()),
    };
    if fits {
        return Ok(());
    }
    fault("(0000,0100)", "is not a service of this SOP class")
}

/// Who may ask is settled by role selection; event reports and what C-GET brings back go against it.
fn check_role(command: &Command, context: &Context, from: Peer) -> Result<(), Denied> {
    let may = match (from, command.service) {
        (Peer::Requestor, Service::NEventReport) => context.requestor_scp,
        (Peer::Requestor, _) => context.requestor_scu,
        (Peer::Acceptor, Service::NEventReport) => context.requestor_scu,
        (Peer::Acceptor, _) => context.requestor_scp,
    };
    if may {
        return Ok(());
    }
    let detail = "goes against the negotiated roles";
    Err(Denied {
        status: status::NOT_AUTHORIZED,
        refusal: refusal(Reason::Sequence, "(0000,0100)", detail),
    })
}

/// Rules name what the device may do; what the destination does in return follows from it.
fn allows_service(command: &Command, context: &Context, from: Peer, rule: &Rule) -> bool {
    let services: &[&str] = match (from, command.service) {
        (Peer::Acceptor, Service::CStore) => &["C-GET"],
        (Peer::Acceptor, Service::NEventReport) => &["N-EVENT-REPORT", "N-ACTION", "N-CREATE"],
        (_, Service::CCancel) => match Kind::of(context.abstract_syntax.as_str()) {
            Kind::Find => &["C-FIND"],
            Kind::Move => &["C-MOVE"],
            Kind::Get => &["C-GET"],
            Kind::Verification | Kind::Storage | Kind::Other => &["C-FIND", "C-MOVE", "C-GET"],
        },
        (Peer::Requestor | Peer::Acceptor, service) => return rule.allows(service.name()),
    };
    services.iter().any(|service| rule.allows(service))
}

const DESTINATION: &str = "no rule allows this move destination";

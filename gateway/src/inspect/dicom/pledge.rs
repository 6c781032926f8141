//! Transactions that outlive a message: what is asked of their memory before a request goes on, and what is noted
//! when it went and when it was answered.
//!
//! In: approved requests and their statuses. Out: refusals with a status of PS3.7, and what is to be kept.

use std::sync::{Arc, MutexGuard, PoisonError};

use protocol_inspect::dicom::{
    Approved, Command, Commitment, Direction, Follows, Head, PERFORMED_PROCEDURE_STEP, Policy,
    Retrieval, Rule, STORAGE_COMMITMENT, Service, StepStatus, Transaction, status,
};
use protocol_inspect::{Reason, Refusal};

use super::DicomSession;
use super::outstanding::{Conflict, Digest, Entry, Outstanding, State};
use super::record::why;
use crate::flow::Side;
use crate::inspect::Step;

/// What is to be done when a request was sent, and when it was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pledge {
    /// Nothing.
    #[default]
    None,
    /// A C-MOVE to the device itself; the number is its own once it was sent.
    Retrieval(Option<u64>),
    /// Storage commitment is asked for.
    Asks { id: Digest, instances: Digest },
    /// Its result.
    Reports(Digest),
    /// A performed procedure step begins; without an id the destination names it.
    Begins(Option<Digest>),
    /// It changes.
    Changes { id: Digest, ends: bool },
}

/// A status of PS3.7 and why.
pub(super) type Unfit = (u16, Refusal);

impl DicomSession {
    /// Whether a request fits what is outstanding, and what it will change.
    pub(super) fn pledge(&self, side: Side, approved: &Approved) -> Result<Pledge, Unfit> {
        let command = &approved.head().command;
        if command.direction() == Direction::Response {
            return Ok(Pledge::None);
        }
        let class = command.sop_class().map_or("", |uid| uid.as_str());
        match (side, command.service(), class) {
            (Side::Device, Service::CMove, _) => Ok(self.retrieval(command)),
            (Side::Device, Service::NAction, STORAGE_COMMITMENT) => self.asks(approved),
            (Side::Hospital, Service::NEventReport, STORAGE_COMMITMENT) => self.reports(approved),
            (Side::Device, Service::NCreate, PERFORMED_PROCEDURE_STEP) => self.begins(approved),
            (Side::Device, Service::NSet, PERFORMED_PROCEDURE_STEP) => self.changes(approved),
            (Side::Device | Side::Hospital, _, _) => Ok(Pledge::None),
        }
    }

    fn retrieval(&self, command: &Command) -> Pledge {
        match command.move_destination() {
            Some(_) => Pledge::Retrieval(None),
            None => Pledge::None,
        }
    }

    //= DICOM PS3.4 J.3.2
    fn asks(&self, approved: &Approved) -> Result<Pledge, Unfit> {
        let command = &approved.head().command;
        if command.type_id() != Some(REQUEST) {
            return Err(unfit(status::NO_SUCH_ACTION, "(0000,1008)", "is not 1"));
        }
        well_known(command, status::NO_SUCH_INSTANCE)?;
        let commitment = commitment(approved)?;
        let (id, instances) = self.digests(commitment)?;
        if commitment.failed() > 0 {
            return Err(unfit(status::INVALID_ARGUMENT, FAILED, "is in a request"));
        }
        let mut outstanding = self.outstanding();
        let lifetime = self.lifetime();
        match outstanding.asks(id, instances, self.wall, lifetime) {
            Ok(()) => Ok(Pledge::Asks { id, instances }),
            Err(Conflict::Full) => Err(full()),
            Err(Conflict::Other | Conflict::Unknown | Conflict::Over) => Err(unfit(
                status::INVALID_ARGUMENT,
                TRANSACTION,
                "was used for other instances",
            )),
        }
    }

    //= DICOM PS3.4 J.3.3
    fn reports(&self, approved: &Approved) -> Result<Pledge, Unfit> {
        let command = &approved.head().command;
        well_known(command, status::INVALID_INSTANCE)?;
        let commitment = commitment(approved)?;
        let fault = match (command.type_id(), commitment.failed()) {
            (Some(SUCCESS), 0) => None,
            (Some(SUCCESS), _) => Some("is in a report of success"),
            (Some(FAILURES), 0) => Some("is missing in a report of failures"),
            (Some(FAILURES), _) => None,
            (Some(_) | None, _) => {
                let detail = "is neither 1 nor 2";
                return Err(unfit(status::NO_SUCH_EVENT, "(0000,1002)", detail));
            }
        };
        if let Some(detail) = fault {
            return Err(unfit(status::INVALID_ARGUMENT, FAILED, detail));
        }
        let (id, instances) = self.digests(commitment)?;
        let known = self
            .outstanding()
            .reports(id, instances, self.wall, self.lifetime());
        match known {
            Ok(()) => Ok(Pledge::Reports(id)),
            Err(Conflict::Other) => Err(unfit(
                status::INVALID_ARGUMENT,
                "(0008,1199)",
                "is not of the instances that were asked for",
            )),
            Err(Conflict::Unknown | Conflict::Over | Conflict::Full) => Err(unfit(
                status::INVALID_ARGUMENT,
                TRANSACTION,
                "is of no outstanding request",
            )),
        }
    }

    fn digests(&self, commitment: &Commitment) -> Result<(Digest, Digest), Unfit> {
        let Some(transaction) = commitment.transaction() else {
            return Err(unfit(status::MISSING_ATTRIBUTE, TRANSACTION, "is missing"));
        };
        let instances = commitment.instances();
        let instances =
            instances.map_err(|detail| unfit(status::INVALID_ARGUMENT, "(0008,1199)", detail))?;
        let outstanding = self.outstanding();
        Ok((
            outstanding.digest("transaction", transaction.as_str().as_bytes()),
            outstanding.digest("instances", &instances),
        ))
    }

    //= DICOM PS3.4 F.7.2.1
    fn begins(&self, approved: &Approved) -> Result<Pledge, Unfit> {
        match step_status(approved)? {
            Some(StepStatus::InProgress) => {}
            Some(StepStatus::Completed | StepStatus::Discontinued | StepStatus::Unknown) => {
                let detail = "of a new step is not IN PROGRESS";
                return Err(unfit(status::INVALID_ATTRIBUTE, STEP_STATUS, detail));
            }
            None => {
                return Err(unfit(status::MISSING_ATTRIBUTE, STEP_STATUS, "is missing"));
            }
        }
        let mut outstanding = self.outstanding();
        let lifetime = self.lifetime();
        outstanding.room(self.wall, lifetime).map_err(|_| full())?;
        let instance = approved.head().command.sop_instance();
        Ok(Pledge::Begins(instance.map(|uid| {
            outstanding.digest("step", uid.as_str().as_bytes())
        })))
    }

    //= DICOM PS3.4 F.7.2.2
    fn changes(&self, approved: &Approved) -> Result<Pledge, Unfit> {
        let ends = match step_status(approved)? {
            Some(StepStatus::Completed | StepStatus::Discontinued) => true,
            Some(StepStatus::InProgress) | None => false,
            Some(StepStatus::Unknown) => {
                let detail = "is none that a step can have";
                return Err(unfit(status::INVALID_ATTRIBUTE, STEP_STATUS, detail));
            }
        };
        let outstanding = self.outstanding();
        let instance = approved.head().command.sop_instance();
        let unknown = || {
            let detail = "is of no step that this device began";
            unfit(status::NO_SUCH_INSTANCE, "(0000,1001)", detail)
        };
        let id = instance.map(|uid| outstanding.digest("step", uid.as_str().as_bytes()));
        let id = id.ok_or_else(unknown)?;
        match outstanding.changes(id, self.wall, self.lifetime()) {
            Ok(()) => Ok(Pledge::Changes { id, ends }),
            Err(Conflict::Over) => Err(unfit(
                status::PROCESSING_FAILURE,
                "(0000,1001)",
                "is of a step that has ended",
            )),
            Err(Conflict::Unknown | Conflict::Other | Conflict::Full) => Err(unknown()),
        }
    }

    /// The request goes on.
    pub(super) fn pledged(&mut self, pledge: Pledge, command: &Command) -> Pledge {
        match pledge {
            Pledge::Retrieval(_) => {
                let established = self.dialogue.as_ref().map(|d| d.established());
                let (Some(established), Some(to)) = (established, command.move_destination())
                else {
                    return Pledge::None;
                };
                let retrieval = Retrieval {
                    originator: established.calling_ae().to_owned(),
                    message_id: command.message_id(),
                };
                let number = self.outstanding().retrieves(retrieval, to.as_str());
                self.retrieves = Some(number);
                Pledge::Retrieval(Some(number))
            }
            // Not before: what never went up must open nothing.
            //= C3
            Pledge::Asks { id, instances } => {
                let (state, lifetime) = (State::Asked(instances), self.lifetime());
                let entry = (self.outstanding()).insert(id, state, self.wall, lifetime);
                self.keep(entry.ok());
                pledge
            }
            Pledge::None | Pledge::Reports(_) | Pledge::Begins(_) | Pledge::Changes { .. } => {
                pledge
            }
        }
    }

    /// Its last response passed, with this status.
    pub(super) fn answered_pledge(&mut self, pledge: Pledge, response: &Command) {
        let done = response.status().is_some_and(is_done);
        let entry = match pledge {
            Pledge::None => None,
            Pledge::Retrieval(_) => {
                self.end_retrieval();
                None
            }
            Pledge::Asks { .. } if done => None,
            Pledge::Asks { id, .. } => self.outstanding().advance(id, |state| match state {
                State::Asked(_) => State::Withdrawn,
                // The result was quicker than the answer.
                other @ (State::Reported(_)
                | State::InProgress
                | State::Ended
                | State::Withdrawn) => other,
            }),
            Pledge::Reports(id) if done => self.outstanding().advance(id, |state| match state {
                State::Asked(instances) => State::Reported(instances),
                other @ (State::Reported(_)
                | State::InProgress
                | State::Ended
                | State::Withdrawn) => other,
            }),
            Pledge::Begins(id) if done => {
                let mut outstanding = self.outstanding();
                let named = response.sop_instance();
                let named = named.map(|uid| outstanding.digest("step", uid.as_str().as_bytes()));
                let lifetime = self.lifetime();
                id.or(named).and_then(|id| {
                    let begun = outstanding.insert(id, State::InProgress, self.wall, lifetime);
                    begun.ok()
                })
            }
            Pledge::Begins(Some(id)) if response.status() == Some(DUPLICATE) => self.begun(id),
            Pledge::Changes { id, ends: true } if done => {
                self.outstanding().advance(id, |_| State::Ended)
            }
            Pledge::Reports(_) | Pledge::Begins(_) | Pledge::Changes { .. } => None,
        };
        self.keep(entry);
    }

    /// A step that was begun without a word of the destination that it is: it may be, and its changes must go up.
    fn begun(&self, id: Digest) -> Option<Entry> {
        let (mut outstanding, lifetime) = (self.outstanding(), self.lifetime());
        match outstanding.changes(id, self.wall, lifetime) {
            Err(Conflict::Unknown) => {
                let begun = outstanding.insert(id, State::InProgress, self.wall, lifetime);
                begun.ok()
            }
            Ok(()) | Err(Conflict::Over | Conflict::Other | Conflict::Full) => None,
        }
    }

    /// Nobody will answer any more. A device that does not hear whether its step began goes on with it.
    pub(super) fn keep_begun(&mut self) {
        let request = self.device.request.as_ref();
        if let Some(Pledge::Begins(Some(id))) = request.map(|request| request.pledge) {
            let entry = self.begun(id);
            self.keep(entry);
        }
    }

    /// The C-MOVE of this association brings nothing any more.
    pub(super) fn end_retrieval(&mut self) {
        if let Some(number) = self.retrieves.take() {
            self.outstanding().retrieved(number);
        }
    }

    fn keep(&mut self, entry: Option<Entry>) {
        self.steps.extend(entry.map(Box::new).map(Step::Keep));
    }

    /// What holds at this moment: rules that return something go with what is outstanding.
    /// `void` says whether those that have nothing to return are left out.
    //= DICOM PS3.4 C.4.2
    pub(super) fn in_effect(&self, void: bool) -> Arc<Policy> {
        let follows = |policy: &Policy| policy.rules.iter().any(|rule| rule.follows.is_some());
        if !follows(&self.policy) {
            return Arc::clone(&self.policy);
        }
        let mut policy = Policy::clone(&self.policy);
        let outstanding = self.outstanding();
        let own = policy.called_ae.clone().unwrap_or_default();
        policy.rules.retain_mut(|rule| match &mut rule.follows {
            None => true,
            Some(Follows::Retrieval(retrievals)) => {
                *retrievals = outstanding.retrievals(&own);
                !void || !retrievals.is_empty()
            }
            Some(Follows::Commitment) => {
                !void || outstanding.awaits_commitment(self.wall, self.lifetime())
            }
        });
        Arc::new(policy)
    }

    /// Whether it came by a rule that returns images, but does not say for which C-MOVE.
    pub(super) fn is_nameless(&self, head: &Head) -> bool {
        let returns = |rule: &Rule| {
            matches!(rule.follows, Some(Follows::Retrieval(_)))
                && head.rule.as_ref() == Some(&rule.name)
        };
        let stores = head.command.service() == Service::CStore
            && head.command.direction() == Direction::Request;
        stores && self.policy.rules.iter().any(returns) && !head.command.names_originator()
    }

    /// Tells the dialogue of retrievals that began or ended since it last heard of them.
    pub(super) fn refresh(&mut self) {
        let version = self.outstanding().version();
        if version != self.seen {
            self.seen = version;
            let policy = self.in_effect(false);
            if let Some(dialogue) = &mut self.dialogue {
                dialogue.update(&policy);
            }
        }
    }

    pub(super) fn outstanding(&self) -> MutexGuard<'_, Outstanding> {
        // A panic ends the process; nobody sees what it left.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lifetime(&self) -> i64 {
        i64::try_from(self.timing.transaction_ms / 1_000).unwrap_or(i64::MAX)
    }
}

fn commitment(approved: &Approved) -> Result<&Commitment, Unfit> {
    match approved.transaction() {
        Transaction::Commitment(commitment) => Ok(commitment),
        Transaction::None | Transaction::Step(_) => Err(unreadable()),
    }
}

fn step_status(approved: &Approved) -> Result<Option<StepStatus>, Unfit> {
    match approved.transaction() {
        Transaction::Step(status) => Ok(*status),
        // An N-SET of nothing.
        Transaction::None if approved.data_length() == 0 => Ok(None),
        Transaction::None | Transaction::Commitment(_) => Err(unreadable()),
    }
}

/// The one instance of the storage commitment push model.
fn well_known(command: &Command, status: u16) -> Result<(), Unfit> {
    if command
        .sop_instance()
        .is_some_and(|uid| uid.as_str() == WELL_KNOWN)
    {
        return Ok(());
    }
    let detail = "is not the well-known instance";
    Err(unfit(status, "SOP instance", detail))
}

fn unfit(status: u16, location: &str, detail: &str) -> Unfit {
    (status, why(Reason::Sequence, location, detail))
}

fn full() -> Unfit {
    let refusal = why(Reason::Limit, "transaction", "too many are outstanding");
    (status::RESOURCE_LIMITATION, refusal)
}

fn unreadable() -> Unfit {
    unfit(
        status::PROCESSING_FAILURE,
        "data set",
        "cannot be understood",
    )
}

/// Success, or a warning: it was done all the same (PS3.7 annex C).
fn is_done(status: u16) -> bool {
    matches!(status, 0x0000 | 0x0001 | 0x0107 | 0x0116) || status >> 12 == 0xb
}

/// Action type: request storage commitment.
const REQUEST: u16 = 1;
/// Event type: all instances are committed.
const SUCCESS: u16 = 1;
/// Event type: some are not.
const FAILURES: u16 = 2;
/// Duplicate SOP instance: it was there before (PS3.7 C.4.7).
const DUPLICATE: u16 = 0x0111;
const WELL_KNOWN: &str = "1.2.840.10008.1.20.1.1";
const TRANSACTION: &str = "(0008,1195)";
const FAILED: &str = "(0008,1198)";
const STEP_STATUS: &str = "(0040,0252)";

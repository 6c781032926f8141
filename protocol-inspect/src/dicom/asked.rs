//! What a request bounds of what comes back: whose patients, and how many results.
//!
//! In: the rule that accepted the request, then each response and each instance that comes back for it.
//! Out: what goes on, what is left out, and the answer when something was. Knows nothing of bytes.

use std::sync::Arc;

use super::approved::{Approved, RefusedMessage};
use super::claim::is_store;
use super::dataset::{Brief, Candidates, Content, Subject};
use super::dimse::{Command, Denied, Service, cancel, status};
use super::fault::refusal;
use super::message::{Event, Head};
use super::policy::Policy;
use crate::{LimitReached, Reason, Refusal};

/// An accepted request, as far as what comes back is bound by its rule.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    policy: Arc<Policy>,
    rule: usize,
    name: String,
    most: Option<u32>,
    service: Service,
    /// Results of C-FIND, or instances that C-GET brings.
    results: u32,
    is_cut: bool,
}

impl Asked {
    /// Accepted by a rule of this policy; `None` if there is no such rule.
    pub(super) fn by(policy: &Arc<Policy>, rule: usize, command: &Command) -> Option<Self> {
        let bounds = policy.rules.get(rule)?;
        Some(Self {
            policy: policy.clone(),
            rule,
            name: bounds.name.clone(),
            most: bounds.query.max_results,
            service: command.service(),
            results: 0,
            is_cut: false,
        })
    }

    /// The name of the rule that accepted it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// By what the data set of a response is judged.
    pub(super) fn candidates(&self) -> (Candidates, Subject) {
        let subject = Subject {
            answer: true,
            // A result has the keys of the query (PS3.4 C.4.1.1.3.2), and such a query has a patient.
            patient: self.service == Service::CFind,
            ..Subject::default()
        };
        let brief = Brief {
            content: Content::QueryResult,
            policy: self.policy.clone(),
            rule: Some(self.rule),
        };
        (Candidates::of(&brief), subject)
    }

    /// What judges a sub-operation of this C-GET: the policy that it was asked under.
    pub(super) fn policy_of_part(&self, command: &Command) -> Option<&Arc<Policy>> {
        self.is_part(command).then_some(&self.policy)
    }

    /// Of the rules that allow a sub-operation of this C-GET, only the one that let it be asked may accept it.
    ///
    /// # Errors
    /// It is not among them.
    pub(super) fn only(&self, command: &Command, rules: Vec<usize>) -> Result<Vec<usize>, Denied> {
        if !self.is_part(command) {
            return Ok(rules);
        }
        if rules.contains(&self.rule) {
            return Ok(vec![self.rule]);
        }
        let detail = "the rule that let the C-GET does not allow what it brings";
        Err(Denied {
            status: status::NOT_AUTHORIZED,
            refusal: refusal(Reason::Forbidden, "(0000,0100)", detail),
        })
    }

    fn is_part(&self, command: &Command) -> bool {
        self.service == Service::CGet && is_store(command)
    }

    /// Counts an instance that C-GET brings. Each beyond the bound is refused, and its sender counts it as failed.
    //= C7
    pub(super) fn brings(&mut self, command: &Command) -> Option<Denied> {
        if !self.is_part(command) {
            return None;
        }
        let refusal = self.count()?;
        Some(Denied {
            status: status::OUT_OF_RESOURCES,
            refusal,
        })
    }

    /// A response to this request is approved; `lengths` are the longest PDUs of its sender and of who asked.
    //= C7
    pub(super) fn answered(
        &mut self,
        approved: Approved,
        (context_id, request): (u8, Command),
        lengths: [u32; 2],
    ) -> Event {
        let [of_sender, of_asker] = lengths;
        if self.service != Service::CFind {
            return Event::Complete(approved);
        }
        if approved.head().command.is_pending() {
            if self.is_cut {
                return Event::Surplus(None);
            }
            if self.count().is_none() {
                return Event::Complete(approved);
            }
            self.is_cut = true;
            return Event::Surplus(Some(cancel(&request, context_id, of_sender)));
        }
        if !self.is_cut {
            return Event::Complete(approved);
        }
        let head = Head {
            context_id,
            streamed: false,
            rule: Some(self.name.clone()),
            command: request,
        };
        let status = status::OUT_OF_RESOURCES;
        let refused = RefusedMessage::new(Arc::new(head), status, self.surplus(), 0, of_asker);
        Event::Cut(Box::new(refused))
    }

    /// The refusal, if this is one result too many.
    fn count(&mut self) -> Option<Refusal> {
        let most = self.most?;
        if self.results >= most {
            return Some(self.surplus());
        }
        self.results = self.results.saturating_add(1);
        None
    }

    fn surplus(&self) -> Refusal {
        let most = self.most.unwrap_or_default();
        LimitReached {
            limit: "max_results",
            got: u64::from(most).saturating_add(1),
            max: u64::from(most),
        }
        .into()
    }
}

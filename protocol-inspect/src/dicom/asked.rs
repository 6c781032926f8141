//! What a request bounds of what comes back: whose patients, and how many results.
//!
//! In: the rule that accepted the request, then each response and each instance that comes back for it.
//! Out: what goes on, what is left out, and the answer when something was. Knows nothing of bytes.

use std::sync::Arc;

use super::approved::{Approved, RefusedMessage};
use super::dataset::{Candidates, Subject};
use super::dimse::{Command, Denied, Direction, Service, cancel, status};
use super::message::{Event, Head};
use super::policy::Policy;
use crate::{LimitReached, Refusal};

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
            ..Subject::default()
        };
        (Candidates::answer(&self.policy, self.rule), subject)
    }

    /// Counts an instance that C-GET brings. Each beyond the bound is refused, and its sender counts it as failed.
    //= C7
    pub(super) fn brings(&mut self, command: &Command) -> Option<Denied> {
        let stores = command.service() == Service::CStore;
        let brought = stores && command.direction() == Direction::Request;
        if !brought || self.service != Service::CGet {
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

//! What a data set claims to be, and what it is judged by.

use std::sync::Arc;

use super::super::dimse::{Command, Direction, Service};
use super::super::policy::{Policy, Rule};
use super::super::uid::Uid;

/// What a data set claims to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A composite instance (PS3.4 B), of this SOP class if the command or the file says so.
    Instance(Option<Uid>),
    /// The identifier of a query or retrieval (PS3.4 C, K).
    Query,
    /// The identifier of an answer to one.
    QueryResult,
    /// Attributes, actions and events of a normalized instance (PS3.7 10).
    Normalized(Normalized),
}

/// What a data set does to a normalized instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normalized {
    /// By which service.
    pub service: Service,
    /// Request or response.
    pub direction: Direction,
    /// To an instance of which class, if the command says so.
    pub sop_class: Option<Uid>,
    /// Event type or action type.
    pub type_id: Option<u16>,
}

impl Normalized {
    /// What the data set of this command does.
    #[must_use]
    pub fn of(command: &Command) -> Self {
        Self {
            service: command.service(),
            direction: command.direction(),
            sop_class: command.sop_class().cloned(),
            type_id: command.type_id(),
        }
    }
}

/// What a data set is judged by.
#[derive(Clone, Debug)]
pub struct Brief {
    /// What it claims to be.
    pub content: Content,
    /// What holds for the association.
    pub policy: Arc<Policy>,
    /// Which of its rules allowed the command, of several the most lenient; `None` for answers, which are judged by the
    /// most lenient base.
    pub rule: Option<usize>,
}

impl Brief {
    /// The rule that allowed the command.
    #[must_use]
    pub fn rule(&self) -> Option<&Rule> {
        self.policy.rules.get(self.rule?)
    }
}

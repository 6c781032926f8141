//! What a data set claims to be, and what it is judged by.

use std::sync::Arc;

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
    /// Attributes, actions and events of a normalized instance of this SOP class (PS3.7 10).
    Normalized(Option<Uid>),
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

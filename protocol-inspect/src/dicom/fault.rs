//! How this inspector says that something is wrong.
//!
//! Decides which faults a profile tolerates. Knows nothing of PDUs or elements.

use crate::{Reason, Refusal, Spoken, Warning};

use super::pdu::{AbortReason, abort};
use crate::Base;

/// The peer broke the upper layer or DIMSE beyond what a status can answer: the association must be aborted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{refusal}")]
pub struct Violation {
    /// What is wrong.
    pub refusal: Refusal,
    /// What the A-ABORT says.
    pub reason: AbortReason,
}

impl Violation {
    /// The A-ABORT that answers it.
    pub fn abort(&self) -> Spoken {
        abort(self.reason)
    }

    pub(super) fn new(reason: AbortReason, refusal: Refusal) -> Self {
        Self { refusal, reason }
    }
}

/// A bad parameter is what most faults come down to.
impl From<Refusal> for Violation {
    fn from(refusal: Refusal) -> Self {
        Self::new(AbortReason::InvalidParameter, refusal)
    }
}

pub(super) fn refusal(
    reason: Reason,
    location: impl Into<String>,
    detail: impl Into<String>,
) -> Refusal {
    Refusal {
        reason,
        location: location.into(),
        detail: detail.into(),
    }
}

/// What is wrong and tolerated, so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Warnings {
    list: Vec<Warning>,
}

impl Warnings {
    /// Something that only the strict profile refuses.
    pub(super) fn doubt(&mut self, base: Base, fault: Refusal) -> Result<(), Refusal> {
        match base {
            Base::Strict => Err(fault),
            Base::Standard => {
                self.warn(fault);
                Ok(())
            }
        }
    }

    /// Something that no profile refuses. Only the first of a kind and only so many are kept.
    //= C7
    pub(super) fn warn(&mut self, fault: Refusal) {
        if !self.is_told(&fault.detail) {
            self.list.push(Warning {
                reason: fault.reason,
                location: fault.location,
                detail: fault.detail,
                shadow: false,
            });
        }
    }

    /// Something that only shadow tolerates. One such thing is always kept, since it says what would have happened.
    pub(super) fn warn_in_shadow(&mut self, fault: Refusal) {
        if let Some(known) = self.list.iter_mut().find(|one| one.detail == fault.detail) {
            known.shadow = true;
            return;
        }
        if self.list.len() >= MAX_WARNINGS && !self.list.iter().any(|one| one.shadow) {
            self.list.pop();
        }
        self.warn(fault);
        if let Some(last) = self.list.last_mut() {
            last.shadow = true;
        }
    }

    /// Whether it would tell nothing new to warn of it.
    pub(super) fn is_told(&self, detail: &str) -> bool {
        let known = |warning: &Warning| warning.detail == detail;
        self.list.len() >= MAX_WARNINGS || self.list.iter().any(known)
    }

    /// As [`Self::is_told`], of what only shadow tolerates.
    pub(super) fn is_told_in_shadow(&self, detail: &str) -> bool {
        let known = |warning: &Warning| warning.detail == detail || self.list.len() >= MAX_WARNINGS;
        self.list.iter().any(|one| one.shadow && known(one))
    }

    pub(super) fn as_slice(&self) -> &[Warning] {
        &self.list
    }

    pub(super) fn append(&mut self, other: Self) {
        for warning in other.list {
            let fault = refusal(warning.reason, warning.location, warning.detail);
            if warning.shadow {
                self.warn_in_shadow(fault);
            } else {
                self.warn(fault);
            }
        }
    }

    pub(super) fn into_vec(self) -> Vec<Warning> {
        self.list
    }
}

const MAX_WARNINGS: usize = 16;

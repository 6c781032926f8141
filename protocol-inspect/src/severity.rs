//! What a finding weighs, and what it leads to: shared by all inspectors.
//!
//! In: the weight of a finding, the base of a profile, what the profile says of the finding's level.
//! Out: whether it is refused, told or ignored. Knows nothing of messages.

use serde::{Deserialize, Serialize};

/// The profiles that need no configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// Refuses what is wrong beyond doubt.
    #[default]
    Standard,
    /// Refuses all that the standard refuses.
    Strict,
}

/// What a finding leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nobody is told.
    Ignore,
    /// The message passes, and the record says what was found.
    Warn,
    /// The message does not pass.
    Refuse,
}

/// Who refuses for a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// Nobody refuses for it, and only the strict profile tells it.
    Hint,
    /// Nobody refuses for it.
    Notice,
    /// The strict profile only.
    Strict,
    /// Every profile, but a rule in shadow only warns.
    Content,
    /// Always: without it neither identity nor rule can be judged.
    Firm,
}

impl Weight {
    /// What a finding of this weight leads to, where the profile says this of its level.
    pub(crate) fn severity(self, base: Base, level: Option<Severity>) -> Severity {
        let by_base = match (self, base) {
            (Self::Firm | Self::Content, _) | (Self::Strict, Base::Strict) => Severity::Refuse,
            (Self::Strict | Self::Notice, _) | (Self::Hint, Base::Strict) => Severity::Warn,
            (Self::Hint, Base::Standard) => Severity::Ignore,
        };
        match (self, level) {
            (Self::Strict | Self::Content, Some(severity)) => severity,
            (Self::Notice | Self::Hint, Some(Severity::Ignore)) => Severity::Ignore,
            (Self::Firm | Self::Notice | Self::Hint, _) | (_, None) => by_base,
        }
    }
}

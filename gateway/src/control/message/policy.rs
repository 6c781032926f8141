//! What is said of policies: versions in the history, what waits for approval, and how what is in force came to be.

use serde::{Deserialize, Serialize};

/// Somebody, as the kernel and this machine know them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// User id.
    pub uid: u32,
    /// The user's name, or the number if it has none.
    pub name: String,
}

/// How a policy came into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It stood in the files when the gateway started.
    Start,
    /// By `lazaret apply`, or SIGHUP.
    Apply,
    /// What was on trial after it was not confirmed.
    Undone,
    /// By `lazaret rollback`.
    Rollback,
}

impl How {
    /// In one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Apply => "apply",
            Self::Undone => "undone",
            Self::Rollback => "rollback",
        }
    }
}

/// What is known of a policy that was in force: `record.json` beside its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRecord {
    /// From 1, in the order in which they came into force.
    pub number: u64,
    /// SHA-256 over its files, in hex.
    pub digest: String,
    /// When it came into force, by the wall clock, RFC 3339.
    pub at: String,
    /// Who put it into force.
    pub by: Person,
    /// How it came into force.
    pub how: How,
    /// The version that was gone back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// What comes after it needs a second person or a signature.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub guarded: bool,
    /// It came into force on trial.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trial: bool,
    /// In the operator's words; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What changed, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// Who proposed it, where another person had to approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed_by: Option<Person>,
    /// The principal whose signature it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// The signature itself, armoured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// A file of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyFile {
    /// Relative to the configuration directory.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// A version with its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// What is known of it.
    pub record: VersionRecord,
    /// `lazaret.toml` first.
    pub files: Vec<PolicyFile>,
}

/// The policy in force, and what waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// Its number in the history; none if it could not be written there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Why the files are not what is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<String>,
    /// Why the history cannot be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// What waits for a second person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<ProposalStatus>,
}

impl PolicyStatus {
    /// Nothing has to be done.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.alarm.is_none() && self.trouble.is_none()
    }
}

/// What waits for a second person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalStatus {
    /// SHA-256 over its files, in hex.
    pub digest: String,
    /// Who proposed it.
    pub by: Person,
    /// The version that is gone back to; none if it is what is in the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<u64>,
    /// Until it is forgotten.
    pub seconds: u64,
    /// In the proposer's words; may be empty.
    pub why: String,
}

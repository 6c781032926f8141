//! What a site asks of its messages beyond the standard: segments, fields, values, observations.
//!
//! In: a message before one rule, and the constraints of the rule's profiles. Out: findings.
//! Values are compared as they stand in the message, escape sequences and character set included.
//! An empty value is compared with nothing; the null `""` is a value that no set has unless it lists it,
//! and does not satisfy what must be valued.
//! Knows nothing of what the standard says; `fields` and `structure` do.

mod decimal;
mod message;
mod observation;
mod pattern;
mod walk;

use serde::{Deserialize, Serialize};

use super::finding::{ErrorCode, Fault, Finding, Findings, Weight};
use super::judge::Case;
use super::place::Place;
use super::policy::{Level, Profile, Severity};
use crate::Reason;

pub use decimal::{Decimal, NotDecimal};
pub use message::{Constraint, MessageConstraints, Part};
pub use observation::{Observation, Observations};
pub use pattern::Pattern;

/// What a profile asks for. The default asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constraints {
    /// Allowed values of MSH-12.1; empty allows all that the library knows.
    pub versions: Vec<String>,
    /// Allowed character sets of MSH-18; empty allows all that the library knows.
    pub charsets: Vec<String>,
    /// What messages must look like; all that are about a message hold for it.
    pub messages: Vec<MessageConstraints>,
    /// The observations that may be made; empty allows all.
    pub observations: Observations,
}

impl Constraints {
    /// Whether it asks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }
}

/// Judges a message by all profiles of the rule.
//= C7
pub(super) fn judge(case: &Case<'_>, findings: &mut Findings) {
    for profile in &case.rule.profiles {
        if let Some(weight) = weight(profile) {
            let mut told = Told { weight, findings };
            one(case, &profile.constraints, &mut told);
        }
    }
}

/// What a finding of this profile weighs, so that no other profile of the rule makes it heavier; `None` if nobody is told.
fn weight(profile: &Profile) -> Option<Weight> {
    match profile.levels.get(&Level::Site) {
        Some(Severity::Ignore) => None,
        Some(Severity::Warn) => Some(Weight::Notice),
        Some(Severity::Refuse) | None => Some(Weight::Content),
    }
}

fn one(case: &Case<'_>, constraints: &Constraints, told: &mut Told<'_>) {
    let Constraints {
        versions,
        charsets,
        messages,
        observations,
    } = constraints;
    if !versions.is_empty() {
        version(case, versions, told);
    }
    if !charsets.is_empty() {
        charset(case, charsets, told);
    }
    for constraints in messages {
        if constraints.is_about(case.header) {
            message::judge(case.message, constraints, told);
        }
    }
    if !observations.is_empty() {
        for segment in case.message.segments().filter(|s| s.name() == "OBX") {
            observation::judge(segment, observations, told);
        }
    }
}

fn version(case: &Case<'_>, allowed: &[String], told: &mut Told<'_>) {
    // A version that is not known is said to be so elsewhere.
    let Some(version) = case.header.version.map(super::Version::code) else {
        return;
    };
    if !allowed.iter().any(|one| one == version) {
        told.add(|weight| {
            let detail = "is not a version that the profile allows";
            let code = ErrorCode::VersionId;
            Finding::new(
                weight,
                Reason::Field,
                Place::msh(12),
                detail,
                code,
                Fault::Header,
            )
        });
    }
}

/// Each character set that the message declares, or the one that holds without a declaration.
fn charset(case: &Case<'_>, allowed: &[String], told: &mut Told<'_>) {
    let Some(msh) = case.message.segments().next() else {
        return;
    };
    let default = match case.policy.default_charset.as_str() {
        "" => "ASCII",
        name => name,
    };
    let listed = |name: &[u8]| allowed.iter().any(|one| one.as_bytes() == name);
    for (number, declared) in msh.field(18).repetitions().enumerate() {
        let detail = match (number, declared.bytes()) {
            (0, b"") if !listed(default.as_bytes()) => {
                "is empty, and the profile does not allow the character set that holds then"
            }
            (_, b"") => continue,
            (_, name) if listed(name) => continue,
            (_, _) => "is not a character set that the profile allows",
        };
        told.add(|weight| {
            let code = ErrorCode::TableValue;
            Finding::new(
                weight,
                Reason::Field,
                Place::msh(18),
                detail,
                code,
                Fault::Content,
            )
        });
    }
}

/// Where findings of one profile go.
struct Told<'f> {
    weight: Weight,
    findings: &'f mut Findings,
}

impl Told<'_> {
    /// Places are costly, so the finding is made only if it is kept.
    fn add(&mut self, finding: impl FnOnce(Weight) -> Finding) {
        if self.findings.wants(self.weight, Level::Site) {
            self.findings
                .add(finding(self.weight).at_level(Level::Site));
        }
    }
}

#[cfg(test)]
mod tests;

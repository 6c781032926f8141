//! The verdict on one message: which rule lets it pass, or why none does.
//!
//! In: a frame and the policy of its connection. Out: a [`Permit`] for the frame exactly as it came,
//! or a refusal with all that an acknowledgement needs.
//! Knows nothing of connections, clocks, rates or duplicates.

use super::check;
use super::finding::{ErrorCode, Fault, Finding, Findings, Weight};
use super::header::Header;
use super::mllp::Frame;
use super::place::Place;
use super::policy::{Policy, Profile, Rule};
use crate::{Permit, Reason, Refusal, Warning};

/// What was read of a message, and what is said of it.
#[derive(Debug)]
pub struct Judgement {
    /// The message header, if it could be read; without it there is nobody to answer.
    pub header: Option<Header>,
    /// Whether it may pass.
    pub verdict: Verdict,
}

/// Whether a message may pass.
#[derive(Debug)]
pub enum Verdict {
    /// It may.
    Accept(Accepted),
    /// It may not.
    Refuse(Refused),
}

/// A message that may pass.
#[derive(Debug)]
pub struct Accepted {
    /// The frame as it came.
    pub permit: Permit,
    /// The rule that accepts it.
    pub rule: String,
    /// What is wrong but not refused.
    pub warnings: Vec<Warning>,
}

/// A message that may not pass.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Why, for the operator.
    pub refusal: Refusal,
    /// Why, in the code of table 0357.
    pub code: ErrorCode,
    /// Where, for ERR; `None` if it is no place in the message.
    pub place: Option<Place>,
    /// Whose word the acknowledgement is.
    pub fault: Fault,
    /// The rule that came closest.
    pub rule: Option<String>,
    /// What else is wrong.
    pub warnings: Vec<Warning>,
}

/// Judges one message. `now` is the present in seconds since 1970, to which MSH-7 is compared; without it, it is not.
//= C1
#[must_use]
pub fn judge(frame: Frame, policy: &Policy, now: Option<i64>) -> Judgement {
    let header = Header::read(frame.content(), policy.limits.hl7_segment);
    let findings = check::examine(
        frame.content(),
        &policy.limits,
        &policy.default_charset,
        now,
    );
    let verdict = match (&findings.firm, &header) {
        (Some(finding), _) => Verdict::Refuse(Refused::from_finding(finding, None)),
        (None, Some(header)) => choose(frame, header, &findings, policy),
        (None, None) => Verdict::Refuse(Refused::from_finding(&unreadable(), None)),
    };
    Judgement { header, verdict }
}

impl Refused {
    /// A refusal that no byte of the message is to blame for: too many messages, nobody at home.
    #[must_use]
    pub fn without_place(reason: Reason, location: &str, detail: &str, fault: Fault) -> Self {
        Self {
            refusal: Refusal::new(reason, location, detail),
            code: ErrorCode::Internal,
            place: None,
            fault,
            rule: None,
            warnings: Vec::new(),
        }
    }

    fn from_finding(finding: &Finding, rule: Option<&Rule>) -> Self {
        Self {
            refusal: finding.refusal(),
            code: finding.code,
            place: (finding.place.field > 0 || finding.place.segment.len() == 3)
                .then(|| finding.place.clone()),
            fault: finding.fault,
            rule: rule.map(|rule| rule.name.clone()),
            warnings: Vec::new(),
        }
    }
}

/// One rule must accept the whole message; if none does, the one that came furthest says why.
fn choose(frame: Frame, header: &Header, findings: &Findings, policy: &Policy) -> Verdict {
    let mut nearest: Option<(Miss, &Rule)> = None;
    for rule in &policy.rules {
        match try_rule(rule, header, findings, policy) {
            Ok(()) => {
                return Verdict::Accept(Accepted {
                    permit: frame.permit(),
                    rule: rule.name.clone(),
                    warnings: findings
                        .others
                        .iter()
                        .filter(|other| tells(rule, other))
                        .map(Finding::warning)
                        .collect(),
                });
            }
            Err(miss) => {
                if nearest.as_ref().is_none_or(|((best, _), _)| miss.0 > *best) {
                    nearest = Some((miss, rule));
                }
            }
        }
    }
    Verdict::Refuse(match nearest {
        Some(((_, finding), rule)) => Refused {
            warnings: findings
                .others
                .iter()
                .filter(|other| **other != *finding && tells(rule, other))
                .map(Finding::warning)
                .collect(),
            ..Refused::from_finding(&finding, Some(rule))
        },
        None => Refused::without_place(
            Reason::Forbidden,
            "message",
            "no rule allows any",
            Fault::Rule,
        ),
    })
}

/// Whether the profile of a rule speaks of such a finding.
fn tells(rule: &Rule, finding: &Finding) -> bool {
    finding.weight > Weight::Hint || rule.profile == Profile::Strict
}

/// How far a message came with a rule, and what stopped it.
type Miss = (Step, Box<Finding>);

/// The questions to a rule, in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Type,
    Version,
    Sender,
    Content,
}

fn try_rule(
    rule: &Rule,
    header: &Header,
    findings: &Findings,
    policy: &Policy,
) -> Result<(), Miss> {
    let content = match rule.profile {
        Profile::Standard => Weight::Content,
        Profile::Strict => Weight::Strict,
    };
    // A header that is wrong in itself is said to be wrong, and not to be forbidden.
    let broken_header = findings
        .others
        .iter()
        .find(|f| f.fault == Fault::Header && f.weight >= content);
    if let Some(finding) = broken_header
        && !rule.shadow
    {
        return Err((Step::Content, Box::new(finding.clone())));
    }
    rule_allows(rule, header)?;
    sender_is_own(rule, header, policy).map_err(|finding| (Step::Sender, Box::new(finding)))?;
    match findings.first(content) {
        Some(finding) if !rule.shadow => Err((Step::Content, Box::new(finding.clone()))),
        Some(_) | None => Ok(()),
    }
}

fn rule_allows(rule: &Rule, header: &Header) -> Result<(), Miss> {
    let forbidden = |field, detail: &'static str, code| {
        Box::new(Finding::new(
            Weight::Firm,
            Reason::Forbidden,
            Place::msh(field),
            detail,
            code,
            Fault::Header,
        ))
    };
    let same_code = |allowed: &&String| {
        allowed.as_str() == "*"
            || allowed
                .split('^')
                .next()
                .is_some_and(|code| code.as_bytes() == header.code)
    };
    let same_trigger = |allowed: &String| match allowed.split_once('^') {
        Some((_, "*")) => true,
        Some((_, trigger)) => trigger.as_bytes() == header.trigger,
        None => allowed == "*" || header.trigger.is_empty(),
    };
    let mut of_code = rule.send.iter().filter(same_code).peekable();
    if of_code.peek().is_none() {
        let detail = "no rule allows this message type";
        return Err((Step::Type, forbidden(9, detail, ErrorCode::MessageType)));
    }
    if !of_code.any(same_trigger) {
        let detail = "no rule allows this trigger event";
        return Err((Step::Type, forbidden(9, detail, ErrorCode::EventCode)));
    }
    let version = header.version.map(super::Version::code);
    let version_allowed = rule.versions.is_empty()
        || version.is_some_and(|version| rule.versions.iter().any(|v| v == version));
    if !version_allowed {
        let detail = "the rule does not allow this version";
        return Err((Step::Version, forbidden(12, detail, ErrorCode::VersionId)));
    }
    Ok(())
}

//= C5
fn sender_is_own(rule: &Rule, header: &Header, policy: &Policy) -> Result<(), Finding> {
    if !rule.bind_sender {
        return Ok(());
    }
    if policy.is_own(header.sender()) {
        return Ok(());
    }
    let (application, _) = header.sender();
    let application_is_own = policy
        .senders
        .iter()
        .any(|(a, _)| a.as_bytes() == application);
    let (field, detail) = if policy.senders.is_empty() {
        (3, "the device has no sending application of its own")
    } else if application_is_own {
        (4, "is not the device's own facility")
    } else {
        (3, "is not the device's own application")
    };
    Err(Finding::new(
        Weight::Firm,
        Reason::Identity,
        Place::msh(field),
        detail,
        ErrorCode::UnknownKey,
        Fault::Rule,
    ))
}

fn unreadable() -> Finding {
    Finding::firm(
        Reason::Structure,
        Place::default(),
        "has no readable header",
        ErrorCode::SegmentSequence,
        Fault::Content,
    )
}

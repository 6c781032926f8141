//! The verdict on one message: which rule lets it pass, or why none does.
//!
//! In: a frame and the policy of its connection. Out: a [`Permit`] for the frame exactly as it came,
//! or a refusal with all that an acknowledgement needs.
//! Knows nothing of connections, clocks, rates or duplicates.

use super::batch::{self, Batch};
use super::check;
use super::finding::{ErrorCode, Fault, Finding, Findings, Weight};
use super::header::Header;
use super::identity;
use super::message::Message;
use super::mllp::Frame;
use super::place::Place;
use super::policy::{Policy, Rule, Severity};
use super::profile;
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
    /// What its answer may refer to, if it is a batch.
    pub batch: Option<Batch>,
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
    if batch::is_batch(frame.content()) {
        return batch::judge(frame, policy, now);
    }
    let header = Header::read(frame.content(), policy.limits.hl7_segment);
    let verdict = match decide(frame.content(), header.as_ref(), policy, now) {
        Ok((rule, warnings)) => Verdict::Accept(Accepted {
            permit: frame.permit(),
            rule,
            warnings,
            batch: None,
        }),
        Err(refused) => Verdict::Refuse(*refused),
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

    pub(super) fn from_finding(finding: &Finding, rule: Option<&Rule>) -> Self {
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
pub(super) fn decide(
    content: &[u8],
    header: Option<&Header>,
    policy: &Policy,
    now: Option<i64>,
) -> Result<(String, Vec<Warning>), Box<Refused>> {
    let message = Message::read(content, &policy.limits)
        .map_err(|finding| Box::new(Refused::from_finding(&finding, None)))?;
    let findings = check::examine(&message, policy, now);
    let firm = findings.firm.as_ref();
    if let Some(finding) = firm {
        return Err(Box::new(Refused::from_finding(finding, None)));
    }
    let header = header.ok_or_else(|| Box::new(Refused::from_finding(&unreadable(), None)))?;
    let mut nearest: Option<Box<Miss<'_>>> = None;
    for rule in &policy.rules {
        let case = Case {
            message: &message,
            header,
            policy,
            rule,
            now,
            is_answer: false,
        };
        match case.decide(&findings) {
            Ok(warnings) => return Ok((rule.name.clone(), warnings)),
            Err(miss) => {
                if nearest.as_ref().is_none_or(|best| miss.step > best.step) {
                    nearest = Some(miss);
                }
            }
        }
    }
    Err(Box::new(match nearest {
        Some(miss) => Refused {
            warnings: told(miss.rule, &findings, &miss.own)
                .filter(|other| **other != miss.finding)
                .map(Finding::warning)
                .collect(),
            ..Refused::from_finding(&miss.finding, Some(miss.rule))
        },
        None => Refused::without_place(
            Reason::Forbidden,
            "message",
            "no rule allows any",
            Fault::Rule,
        ),
    }))
}

/// A message before one rule.
pub(crate) struct Case<'m> {
    pub(crate) message: &'m Message<'m>,
    pub(crate) header: &'m Header,
    pub(crate) policy: &'m Policy,
    pub(crate) rule: &'m Rule,
    /// The present in seconds since 1970, if it matters.
    pub(crate) now: Option<i64>,
    /// Whether the destination says it.
    pub(crate) is_answer: bool,
}

/// How far a message came with a rule, and what stopped it.
struct Miss<'m> {
    step: Step,
    finding: Finding,
    rule: &'m Rule,
    /// What is wrong in the eyes of this rule alone.
    own: Findings,
}

/// The questions to a rule, in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Type,
    Version,
    Sender,
    Content,
}

impl<'m> Case<'m> {
    /// The warnings under this rule, if it lets the message pass. `general` is what is wrong whatever the rule.
    fn decide(&self, general: &Findings) -> Result<Vec<Warning>, Box<Miss<'m>>> {
        let miss = |step, finding: &Finding, own| {
            Box::new(Miss {
                step,
                finding: finding.clone(),
                rule: self.rule,
                own,
            })
        };
        // A header that is wrong in itself is said to be wrong, and not to be forbidden.
        let broken_header = general
            .others
            .iter()
            .find(|f| f.fault == Fault::Header && self.refuses(f));
        if let Some(finding) = broken_header {
            return Err(miss(Step::Content, finding, Findings::default()));
        }
        rule_allows(self.rule, self.header)
            .map_err(|(step, finding)| miss(step, &finding, Findings::default()))?;
        sender_is_own(self.rule, self.header, self.policy)
            .map_err(|finding| miss(Step::Sender, &finding, Findings::default()))?;
        let own = self.examine();
        let refused = own
            .firm
            .iter()
            .chain(general.others.iter().filter(|f| self.refuses(f)))
            .chain(own.others.iter().filter(|f| self.refuses(f)))
            .next();
        match refused.cloned() {
            Some(finding) => Err(miss(Step::Content, &finding, own)),
            None => Ok(told(self.rule, general, &own)
                .map(Finding::warning)
                .collect()),
        }
    }

    /// What depends on the rule.
    pub(crate) fn examine(&self) -> Findings {
        let mut findings = Findings::default();
        identity::judge(self, &mut findings);
        profile::judge(self, &mut findings);
        super::local::judge(self, &mut findings);
        super::embedded::judge(self, &mut findings);
        findings
    }

    pub(crate) fn refuses(&self, finding: &Finding) -> bool {
        !self.rule.shadow && self.rule.severity(finding.level, finding.weight) == Severity::Refuse
    }
}

/// The findings of which a rule speaks.
fn told<'f>(
    rule: &'f Rule,
    general: &'f Findings,
    own: &'f Findings,
) -> impl Iterator<Item = &'f Finding> {
    let all = general.others.iter().chain(&own.others);
    all.filter(|f| rule.severity(f.level, f.weight) > Severity::Ignore)
}

fn rule_allows(rule: &Rule, header: &Header) -> Result<(), (Step, Box<Finding>)> {
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

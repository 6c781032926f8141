//! The verdict on one message: which rule lets it pass, or why none does.
//!
//! In: a frame and the policy of its connection. Out: a [`Permit`] for the frame exactly as it came,
//! or a refusal with all that an acknowledgement needs.
//! Knows nothing of connections, clocks, rates or duplicates.

use super::answer::Answer;
use super::batch::{self, Batch};
use super::charset;
use super::check;
use super::finding::{ErrorCode, Fault, Finding, Findings, Weight};
use super::header::Header;
use super::identity;
use super::message::{Message, Room};
use super::mllp::Frame;
use super::place::Place;
use super::policy::{Policy, Rule, Severity};
use super::profile;
use super::whole;
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
    /// The rule that accepts it, by its place in [`Policy::rules`].
    pub rule: usize,
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

/// Judges messages one after the other, and remembers nothing of them: what it keeps is room.
#[derive(Default)]
pub struct Judge {
    room: Room,
    findings: Findings,
}

impl Judge {
    /// A judge without room yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Judges one message. `now` is the present in seconds since 1970, to which MSH-7 is compared; without it, it is not.
    ///
    /// Once it has seen messages like it, a message that is accepted without a warning costs no allocation.
    //= C1
    #[must_use]
    pub fn judge(&mut self, frame: Frame, policy: &Policy, now: Option<i64>) -> Judgement {
        if batch::is_batch(frame.content()) {
            return batch::judge(self, frame, policy, now);
        }
        let (header, decided) = self.decide(frame.content(), policy, now);
        let verdict = match decided {
            Ok((rule, warnings)) => Verdict::Accept(Accepted {
                permit: frame.permit(),
                rule,
                warnings,
                batch: None,
            }),
            Err(refused) => Verdict::Refuse(refused),
        };
        Judgement { header, verdict }
    }

    /// Judges a frame of the destination, as [`Answer::read`] does.
    ///
    /// # Errors
    /// When it is no message, or none that answers another.
    pub fn answer(&mut self, frame: Frame, policy: &Policy) -> Result<Answer, Refusal> {
        Answer::read_in(frame, policy, &mut self.room, &mut self.findings)
    }

    /// Judges a message without its frame: which rule lets it pass, with which warnings.
    pub(super) fn decide(
        &mut self,
        content: &[u8],
        policy: &Policy,
        now: Option<i64>,
    ) -> (Option<Header>, Decided) {
        let content = match charset::mask(content, policy) {
            Ok(content) => content,
            Err(finding) => {
                let header = Header::read(content, policy.limits.hl7_segment);
                return (header, Err(Refused::from_finding(&finding, None)));
            }
        };
        match Message::read_in(&content, &policy.limits, &mut self.room) {
            Ok(message) => {
                let header = Header::of_head(message.head());
                check::examine_into(&message, policy, now, &mut self.findings);
                let decided = decide(&message, &header, policy, now, &self.findings);
                self.room.take_back(message);
                (Some(header), decided)
            }
            Err(finding) => (
                Header::read(&content, policy.limits.hl7_segment),
                Err(Refused::from_finding(&finding, None)),
            ),
        }
    }
}

/// The rule that accepts a message, by its place in [`Policy::rules`], and the warnings; or why none does.
type Decided = Result<(usize, Vec<Warning>), Refused>;

/// Judges one message; who has many asks a [`Judge`].
#[must_use]
pub fn judge(frame: Frame, policy: &Policy, now: Option<i64>) -> Judgement {
    Judge::new().judge(frame, policy, now)
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

    /// A refusal because MSH-10 was used for another message.
    //= HL7 v2.5.1 2.15.9.10
    #[must_use]
    pub fn reused_id() -> Self {
        Self {
            code: ErrorCode::DuplicateKey,
            place: Some(Place::msh(10)),
            ..Self::without_place(
                Reason::Sequence,
                "MSH-10",
                "was used for another message, which the rule does not allow",
                Fault::Content,
            )
        }
    }

    pub(super) fn from_finding(finding: &Finding, rule: Option<&Rule>) -> Self {
        Self {
            refusal: finding.refusal(),
            code: finding.code,
            place: (finding.place.field > 0 || finding.place.segment.len() == 3)
                .then_some(finding.place),
            fault: finding.fault,
            rule: rule.map(|rule| rule.name.clone()),
            warnings: Vec::new(),
        }
    }
}

/// One rule must accept the whole message; if none does, the one that came furthest says why.
#[expect(
    clippy::result_large_err,
    reason = "it is taken apart where it was made, and accepted messages must not allocate"
)]
fn decide(
    message: &Message<'_>,
    header: &Header,
    policy: &Policy,
    now: Option<i64>,
    findings: &Findings,
) -> Decided {
    if let Some(finding) = &findings.firm {
        return Err(Refused::from_finding(finding, None));
    }
    let mut nearest: Option<Miss<'_>> = None;
    for (index, rule) in policy.rules.iter().enumerate() {
        let case = Case {
            message,
            header,
            policy,
            rule,
            now,
            is_answer: false,
        };
        match case.decide(findings) {
            Ruling::Pass(warnings) => return Ok((index, warnings)),
            Ruling::Miss(miss) => {
                if nearest.as_ref().is_none_or(|best| miss.step > best.step) {
                    nearest = Some(miss);
                }
            }
        }
    }
    Err(match nearest {
        Some(miss) => Refused {
            warnings: told(miss.rule, findings, &miss.own)
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
    })
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

/// What a rule says to a message.
#[expect(
    clippy::large_enum_variant,
    reason = "most messages are missed by some rule before one accepts them, and must not allocate for it"
)]
enum Ruling<'m> {
    /// It may pass, with these warnings.
    Pass(Vec<Warning>),
    Miss(Miss<'m>),
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
    /// Whether this rule lets the message pass. `general` is what is wrong whatever the rule.
    fn decide(&self, general: &Findings) -> Ruling<'m> {
        let miss = |step, finding, own| {
            Ruling::Miss(Miss {
                step,
                finding,
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
            return miss(Step::Content, finding.clone(), Findings::default());
        }
        if let Some((step, finding)) = forbidden(self.rule, self.header) {
            return miss(step, finding, Findings::default());
        }
        if let Some(finding) = foreign_sender(self.rule, self.header, self.policy) {
            return miss(Step::Sender, finding, Findings::default());
        }
        let own = self.examine();
        let refused = own
            .firm
            .iter()
            .chain(general.others.iter().filter(|f| self.refuses(f)))
            .chain(own.others.iter().filter(|f| self.refuses(f)))
            .next();
        match refused.cloned() {
            Some(finding) => miss(Step::Content, finding, own),
            None => {
                let most = general.others.len().saturating_add(own.others.len());
                let mut warnings = Vec::with_capacity(most);
                warnings.extend(told(self.rule, general, &own).map(|f| self.warning(f)));
                Ruling::Pass(warnings)
            }
        }
    }

    /// What depends on the rule.
    pub(crate) fn examine(&self) -> Findings {
        let mut findings = Findings::default();
        charset::judge_rule(self, &mut findings);
        identity::judge(self, &mut findings);
        whole::judge(self, &mut findings);
        profile::judge(self, &mut findings);
        super::local::judge(self, &mut findings);
        super::embedded::judge(self, &mut findings);
        findings
    }

    pub(crate) fn refuses(&self, finding: &Finding) -> bool {
        !self.rule.shadow && self.would_refuse(finding)
    }

    fn would_refuse(&self, finding: &Finding) -> bool {
        self.rule.severity(finding.level, finding.weight) == Severity::Refuse
    }

    /// What the rule tolerates, and whether only because it is in shadow.
    fn warning(&self, finding: &Finding) -> Warning {
        if self.would_refuse(finding) {
            finding.shadow_warning()
        } else {
            finding.warning()
        }
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

/// Why the rule does not allow messages of this type or version, if it does not.
fn forbidden(rule: &Rule, header: &Header) -> Option<(Step, Finding)> {
    let forbidden = |field, detail: &'static str, code| {
        Finding::new(
            Weight::Firm,
            Reason::Forbidden,
            Place::msh(field),
            detail,
            code,
            Fault::Header,
        )
    };
    let is_of = |allowed: &String| allowed == "*" || header.is_of(allowed);
    if !rule.send.iter().any(is_of) {
        let same_code = |allowed: &String| {
            let code = allowed.split('^').next().unwrap_or_default();
            header.code == code.as_bytes()
        };
        let (detail, code) = if rule.send.iter().any(same_code) {
            ("no rule allows this trigger event", ErrorCode::EventCode)
        } else {
            ("no rule allows this message type", ErrorCode::MessageType)
        };
        return Some((Step::Type, forbidden(9, detail, code)));
    }
    let version = header.version.map(super::Version::code);
    let version_allowed = rule.versions.is_empty()
        || version.is_some_and(|version| rule.versions.iter().any(|v| v == version));
    if !version_allowed {
        let detail = "the rule does not allow this version";
        return Some((Step::Version, forbidden(12, detail, ErrorCode::VersionId)));
    }
    None
}

/// What is wrong with the sender's name, if the rule binds it and it is not the device's own.
//= C5
fn foreign_sender(rule: &Rule, header: &Header, policy: &Policy) -> Option<Finding> {
    if !rule.bind_sender || policy.is_own(header.sender()) {
        return None;
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
    Some(Finding::new(
        Weight::Firm,
        Reason::Identity,
        Place::msh(field),
        detail,
        ErrorCode::UnknownKey,
        Fault::Rule,
    ))
}

//! Judges what a destination answers, before it goes back to the sender.
//!
//! In: a frame of the destination. Out: an [`Answer`], and a [`Permit`] to relay it as it came, or a refusal.
//! The answer must be a whole message with one MSA segment; what else is wrong in an acknowledgement are warnings,
//! for a sloppy acknowledgement is still the truth about what the destination did.
//! An answer of another type, as to a query, carries data: it is relayed only if the rule of its message expects
//! the type, and is judged as that rule judges messages.
//! Which message it belongs to, and whether that one wants such an answer, is for the session: it compares
//! [`Answer::acknowledged`] and asks [`Answer::fits`].

use std::fmt;

use super::ack::AckCode;
use super::batch::{self, Batch};
use super::charset;
use super::check;
use super::finding::{Finding, Findings, Weight};
use super::header::Header;
use super::judge::Case;
use super::message::{Message, Room};
use super::mllp::Frame;
use super::policy::{Policy, Rule, Severity};
use crate::{Permit, Reason, Refusal, Warning};

/// An answer that may be relayed once it is known to whom it belongs.
pub struct Answer {
    /// The answer's own header.
    pub header: Header,
    /// MSA-1.
    pub code: AckCode,
    acknowledged: Vec<u8>,
    /// MSA-2 of each message, if it is a batch of acknowledgements.
    parts: Option<Vec<Vec<u8>>>,
    frame: Frame,
    /// What is wrong with an answer that carries data, before a rule is asked.
    findings: Vec<Finding>,
    /// What is wrong but not refused.
    pub warnings: Vec<Warning>,
}

impl Answer {
    /// Judges a frame of the destination.
    ///
    /// # Errors
    /// When it is no message, or none that answers another.
    pub fn read(frame: Frame, policy: &Policy) -> Result<Self, Refusal> {
        Self::read_in(
            frame,
            policy,
            &mut Room::default(),
            &mut Findings::default(),
        )
    }

    /// The same, in room that earlier messages had.
    pub(super) fn read_in(
        frame: Frame,
        policy: &Policy,
        room: &mut Room,
        findings: &mut Findings,
    ) -> Result<Self, Refusal> {
        if batch::is_batch(frame.content()) {
            return Self::of_batch(frame, policy, room, findings);
        }
        Self::examine(frame, policy, Weight::Firm, room, findings)
    }

    /// A batch of plain acknowledgements.
    fn of_batch(
        frame: Frame,
        policy: &Policy,
        room: &mut Room,
        findings: &mut Findings,
    ) -> Result<Self, Refusal> {
        let one = |content: &[u8]| {
            let frame = Frame::around(content);
            let answer = Self::examine(frame, policy, Weight::Firm, room, findings)?;
            if answer.is_plain() {
                return Ok((answer.code, answer.acknowledged));
            }
            let detail = "is no acknowledgement, in a batch of them";
            Err(Refusal::new(Reason::Forbidden, "MSH-9", detail))
        };
        let response = batch::response(frame.content(), &policy.limits, one)?;
        Ok(Self {
            header: response.header,
            code: response.code,
            acknowledged: response.reference,
            parts: Some(response.messages),
            frame,
            findings: Vec::new(),
            warnings: Vec::new(),
        })
    }

    /// Judges what a sender says to an answer that it was given. No rule speaks of it, so it may be
    /// nothing but an acknowledgement in the sender's own name, with nothing wrong in its content.
    ///
    /// # Errors
    /// When it is more than that, or less.
    //= C5
    pub fn of_sender(frame: Frame, policy: &Policy) -> Result<Self, Refusal> {
        let message = Message::parse(frame.content(), &policy.limits)?;
        if let Some(other) = message.segments().find(|s| !PLAIN.contains(&s.name())) {
            let detail = "has no place in an acknowledgement";
            return Err(Refusal::new(Reason::Structure, other.name(), detail));
        }
        let header = Header::read(frame.content(), policy.limits.hl7_segment);
        let is_own = header.as_ref().is_some_and(|h| policy.is_own(h.sender()));
        if !is_own && policy.rules.iter().all(|rule| rule.bind_sender) {
            let detail = "is not the device's own application and facility";
            return Err(Refusal::new(Reason::Identity, "MSH-3", detail));
        }
        let (room, findings) = (&mut Room::default(), &mut Findings::default());
        Self::examine(frame, policy, Weight::Content, room, findings)
    }

    /// What weighs as much as `refused` or more is refused.
    fn examine(
        frame: Frame,
        policy: &Policy,
        refused: Weight,
        room: &mut Room,
        findings: &mut Findings,
    ) -> Result<Self, Refusal> {
        let content =
            charset::mask(frame.content(), policy).map_err(|finding| finding.refusal())?;
        let message = Message::read_in(&content, &policy.limits, room)
            .map_err(|finding| finding.refusal())?;
        check::examine_into(&message, policy, None, findings);
        if let Some(finding) = findings.firm.as_ref().or(findings.first(refused)) {
            return Err(finding.refusal());
        }
        let (code, acknowledged) = msa(&message)?;
        let header = Header::of_head(message.head());
        room.take_back(message);
        let warnings = findings
            .others
            .iter()
            .filter(|f| f.weight >= Weight::Strict)
            .map(Finding::warning)
            .collect();
        // Nobody asks a rule about a plain acknowledgement.
        let findings = if header.is_acknowledgement() {
            Vec::new()
        } else {
            findings.others.clone()
        };
        Ok(Self {
            header,
            code,
            acknowledged,
            parts: None,
            frame,
            findings,
            warnings,
        })
    }

    /// The proof that it may be relayed, as it came, to the sender of a message that this rule accepted.
    ///
    /// # Errors
    /// When it is no acknowledgement and the rule does not expect its type, or refuses what it says.
    //= C2
    pub fn approve(self, policy: &Policy, rule: &str) -> Result<(Permit, Vec<Warning>), Refusal> {
        if self.is_plain() {
            return Ok((self.frame.permit(), self.warnings));
        }
        let rule = policy.rules.iter().find(|of| of.name == rule);
        let Some(rule) = rule.filter(|rule| expects(rule, &self.header)) else {
            let detail = "the rule does not let the destination answer with this message type";
            return Err(Refusal::new(Reason::Forbidden, "MSH-9", detail));
        };
        let content =
            charset::mask(self.frame.content(), policy).map_err(|finding| finding.refusal())?;
        let message = Message::parse(&content, &policy.limits)?;
        let case = Case {
            message: &message,
            header: &self.header,
            policy,
            rule,
            now: None,
            is_answer: true,
        };
        let own = case.examine();
        let mut all = own.firm.iter().chain(&self.findings).chain(&own.others);
        let refused = |finding: &&Finding| finding.weight == Weight::Firm || case.refuses(finding);
        if let Some(finding) = all.clone().find(refused) {
            return Err(finding.refusal());
        }
        let told =
            |finding: &&Finding| rule.severity(finding.level, finding.weight) > Severity::Ignore;
        let warnings = all.by_ref().filter(told).map(Finding::warning).collect();
        Ok((self.frame.permit(), warnings))
    }

    /// MSA-2: MSH-10 of the message that is answered; of a batch BHS-12, the control id of the batch.
    #[must_use]
    pub fn acknowledged(&self) -> &[u8] {
        &self.acknowledged
    }

    /// Whether it is nothing but an acknowledgement, so that its code says all.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.is_batch() || self.header.is_acknowledgement()
    }

    /// Whether it is a batch of acknowledgements.
    #[must_use]
    pub fn is_batch(&self) -> bool {
        self.parts.is_some()
    }

    /// Whether it answers this message, which is `batch` if it is one.
    #[must_use]
    pub fn answers(&self, message: &Header, batch: Option<&Batch>) -> bool {
        let refers = match (batch, &self.parts) {
            (None, None) => self.acknowledged == message.control_id(),
            (None, Some(_)) => false,
            (Some(batch), None) => batch.is_known_by(&self.acknowledged),
            (Some(batch), Some(parts)) => {
                batch.is_known_by(&self.acknowledged) && batch.has_all(parts)
            }
        };
        refers && self.fits(message)
    }

    /// Whether its code speaks of all that was sent: of a batch it may name some messages only.
    #[must_use]
    pub fn is_complete(&self, batch: Option<&Batch>) -> bool {
        match (batch, &self.parts) {
            (Some(batch), Some(parts)) => batch.is_within(parts),
            (Some(_) | None, None) => self.is_plain(),
            (None, Some(_)) => false,
        }
    }

    /// Whether this kind of answer may follow such a message.
    ///
    /// An accept code means nothing to a sender in the original mode.
    /// An application code is relayed also where only an accept code was asked for:
    /// destinations that do not know the enhanced mode are common, and what they say is the truth.
    #[must_use]
    pub fn fits(&self, message: &Header) -> bool {
        !self.code.is_accept() || message.wants_accept() || message.wants_accept_error()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {:?})", self.code.code(), self.frame)
    }
}

/// Whether the rule lets the destination answer with this message type.
fn expects(rule: &Rule, header: &Header) -> bool {
    rule.receive.iter().any(|expected| header.is_of(expected))
}

/// The code and the message that a frame acknowledges, if it is a plain acknowledgement at all.
///
/// For a sender's own accept acknowledgements: they are not messages under a rule, if they answer something.
#[must_use]
pub fn acknowledges(frame: &Frame, policy: &Policy) -> Option<(AckCode, Vec<u8>)> {
    if !may_acknowledge(frame.content()) {
        return None;
    }
    let header = Header::read(frame.content(), policy.limits.hl7_segment)?;
    if !header.is_acknowledgement() {
        return None;
    }
    let message = Message::parse(frame.content(), &policy.limits).ok()?;
    msa(&message).ok()
}

/// Whether what stands where MSH-9 does begins like an acknowledgement: most messages need no second look.
fn may_acknowledge(content: &[u8]) -> bool {
    let Some(separator) = content.get(3) else {
        return false;
    };
    let mut fields = content.split(|b| b == separator);
    fields
        .nth(8)
        .is_some_and(|kind| kind.starts_with(b"ACK") || kind.starts_with(b"MCF"))
}

/// MSA-1 and MSA-2.
fn msa(message: &Message<'_>) -> Result<(AckCode, Vec<u8>), Refusal> {
    let mut all = message.segments().filter(|s| s.name() == "MSA");
    let (Some(msa), None) = (all.next(), all.next()) else {
        let detail = "is not there once";
        return Err(Refusal::new(Reason::Structure, "MSA", detail));
    };
    let code = AckCode::named(msa.field(1).bytes()).ok_or_else(|| {
        Refusal::new(
            Reason::Field,
            "MSA-1",
            "is not an acknowledgement code of table 0008",
        )
    })?;
    let acknowledged = msa.field(2).bytes().to_vec();
    Ok((code, acknowledged))
}

/// Segments of a general acknowledgement.
//= HL7 v2.5.1 2.13.1
const PLAIN: [&str; 6] = ["MSH", "SFT", "UAC", "MSA", "ERR", "NTE"];

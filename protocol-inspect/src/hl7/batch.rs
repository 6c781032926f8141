//! Batches: messages in one frame inside of an envelope of FHS, BHS, BTS and FTS.
//!
//! In: a frame that begins with FHS or BHS. Out: a verdict on all of it, for one rule must accept every message and
//! the envelope: nothing of a batch passes alone. The same for batches of acknowledgements, with which a destination
//! answers.
//! A batch needs a control id (FHS-11, or BHS-11 of an only batch), because its answer refers to it.
//! What is refused is answered with one acknowledgement of that id and not with a response batch: the absence of a
//! message from a response batch says that it was taken.
//! Every line is looked at once, and every message once for each rule that carries batches.
//= HL7 v2.5.1 2.10.3

use super::ack::AckCode;
use super::delimiters::Delimiters;
use super::finding::{ErrorCode, Fault, Finding, Weight};
use super::header::Header;
use super::judge::{Accepted, Judge, Judgement, Refused, Verdict};
use super::kept::Kept;
use super::message::too_large;
use super::mllp::Frame;
use super::place::Place;
use super::policy::{Policy, Rule, Severity};
use crate::{LimitReached, Limits, Reason, Refusal, Warning};

/// What the answer to a batch may refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// FHS-11, and BHS-11 of an only batch.
    references: Vec<Vec<u8>>,
    /// MSH-10 of each message.
    messages: Vec<Vec<u8>>,
}

impl Batch {
    /// Whether it is known by this control id.
    #[must_use]
    pub fn is_known_by(&self, reference: &[u8]) -> bool {
        self.references.iter().any(|own| own == reference)
    }

    /// Whether each of these is the MSH-10 of one of its messages.
    #[must_use]
    pub fn has_all(&self, messages: &[Vec<u8>]) -> bool {
        let own: std::collections::BTreeSet<_> = self.messages.iter().collect();
        messages.iter().all(|id| own.contains(id))
    }

    /// Whether each of its messages is among these.
    #[must_use]
    pub fn is_within(&self, messages: &[Vec<u8>]) -> bool {
        let others: std::collections::BTreeSet<_> = messages.iter().collect();
        self.messages.iter().all(|id| others.contains(id))
    }
}

/// Whether the content of a frame is a batch.
pub(crate) fn is_batch(content: &[u8]) -> bool {
    content.starts_with(b"FHS") || content.starts_with(b"BHS")
}

/// The header of a message, or what stands for it in a batch; `None` if its delimiters cannot be read.
#[must_use]
pub fn header_of(content: &[u8]) -> Option<Header> {
    if is_batch(content) {
        header(content, usize::MAX)
    } else {
        Header::of(content)
    }
}

/// Judges a batch. `now` as for a message.
//= C1
pub(crate) fn judge(
    judge: &mut Judge,
    frame: Frame,
    policy: &Policy,
    now: Option<i64>,
) -> Judgement {
    let header = header(frame.content(), policy.limits.hl7_segment);
    let verdict = match decide(judge, frame.content(), policy, now) {
        Ok((rule, warnings, batch)) => Verdict::Accept(Accepted {
            permit: frame.permit(),
            rule,
            warnings,
            batch: Some(batch),
        }),
        Err(refused) => Verdict::Refuse(*refused),
    };
    Judgement { header, verdict }
}

/// What a destination answers with a batch of acknowledgements.
pub(crate) struct Response {
    /// BHS-12 or FHS-12.
    pub(crate) reference: Vec<u8>,
    /// MSA-1 that is no success, if there is any.
    pub(crate) code: AckCode,
    /// MSA-2 of each.
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) header: Header,
}

/// Reads a batch of acknowledgements; `read` takes one of them apart.
pub(crate) fn response(
    content: &[u8],
    limits: &Limits,
    mut read: impl FnMut(&[u8]) -> Result<(AckCode, Vec<u8>), Refusal>,
) -> Result<Response, Refusal> {
    let envelope = Envelope::read(content, limits).map_err(|finding| finding.refusal())?;
    let (mut code, mut messages) = (None, Vec::new());
    for (number, message) in envelope.messages() {
        let (one, id) = read(message).map_err(|refusal| within(number, refusal))?;
        if code.is_some_and(|code: AckCode| code.is_accept() != one.is_accept()) {
            let detail = "mixes accept and application acknowledgements";
            return Err(Refusal::new(Reason::Sequence, "MSA-1", detail));
        }
        if code.is_none_or(AckCode::is_success) {
            code = Some(one);
        }
        messages.push(id);
    }
    let reference = envelope.heads.iter().map(|head| head.field(12));
    let reference = reference.into_iter().find(|id| !id.is_empty());
    let header = header(content, limits.hl7_segment);
    let (Some(code), Some(reference), Some(header)) = (code, reference, header) else {
        let detail = "refers to no batch";
        return Err(Refusal::new(Reason::Sequence, "BHS-12", detail));
    };
    Ok(Response {
        reference: reference.to_vec(),
        code,
        messages,
        header,
    })
}

/// One rule must accept it all; of those that do not, the one that came furthest says why.
fn decide(
    judge: &mut Judge,
    content: &[u8],
    policy: &Policy,
    now: Option<i64>,
) -> Result<(usize, Vec<Warning>, Batch), Box<Refused>> {
    let carrying = || {
        let all = policy.rules.iter().enumerate();
        all.filter(|(_, rule)| rule.batches)
    };
    if carrying().next().is_none() {
        let finding = Finding::firm(
            Reason::Unsupported,
            Place::default().byte(0),
            "batches are not carried",
            ErrorCode::MessageType,
            Fault::Header,
        );
        return Err(Box::new(Refused::from_finding(&finding, None)));
    }
    let envelope = Envelope::read(content, &policy.limits)
        .map_err(|finding| Box::new(Refused::from_finding(&finding, None)))?;
    let mut nearest: Option<(usize, Box<Refused>)> = None;
    for (index, rule) in carrying() {
        match envelope.pass(judge, rule, policy, now) {
            Ok((warnings, batch)) => return Ok((index, warnings, batch)),
            Err((number, refused)) => {
                if nearest.as_ref().is_none_or(|(best, _)| number > *best) {
                    nearest = Some((number, refused));
                }
            }
        }
    }
    Err(nearest.map_or_else(
        || {
            let detail = "no rule allows any";
            let (reason, fault) = (Reason::Forbidden, Fault::Rule);
            Box::new(Refused::without_place(reason, "message", detail, fault))
        },
        |(_, refused)| refused,
    ))
}

/// FHS, BHS, BTS or FTS.
struct Line<'a> {
    name: &'static str,
    /// Which of this name.
    occurrence: usize,
    bytes: &'a [u8],
    separator: u8,
}

/// A batch, taken apart.
struct Envelope<'a> {
    delimiters: Delimiters,
    /// FHS and each BHS.
    heads: Vec<Line<'a>>,
    messages: Vec<&'a [u8]>,
    /// What is missing and only strict profiles ask for.
    missing: Vec<Finding>,
}

/// Where in a batch its reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    File,
    /// With so many messages.
    Batch(usize),
    BetweenBatches,
    End,
}

/// How a line begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    FileHeader,
    BatchHeader,
    Message,
    BatchTrailer,
    FileTrailer,
    Other,
}

impl<'a> Envelope<'a> {
    //= C7
    fn read(content: &'a [u8], limits: &Limits) -> Result<Self, Box<Finding>> {
        let mut envelope = Self {
            delimiters: Delimiters::parse(content)?,
            heads: Vec::new(),
            messages: Vec::new(),
            missing: Vec::new(),
        };
        let (mut state, mut batches, mut is_file) = (State::Start, 0_usize, false);
        let (mut offset, mut begun) = (0_usize, None);
        let body = content.strip_suffix(b"\r").unwrap_or(content);
        for bytes in body.split(|b| *b == b'\r') {
            let begins = envelope.begins(bytes);
            if begins != Begins::Other
                && let Some(start) = begun.take()
            {
                envelope
                    .messages
                    .push(content.get(start..offset).unwrap_or_default());
            }
            let line = |name, occurrence| envelope.line(name, occurrence, bytes, limits);
            state = match (state, begins) {
                (State::Start, Begins::FileHeader) => {
                    let head = line("FHS", 1)?;
                    envelope.heads.push(head);
                    is_file = true;
                    State::File
                }
                (State::Start | State::File | State::BetweenBatches, Begins::BatchHeader) => {
                    batches = batches.saturating_add(1);
                    let head = line("BHS", batches)?;
                    envelope.heads.push(head);
                    State::Batch(0)
                }
                (State::Batch(messages), Begins::Message) => {
                    envelope.same_delimiters(bytes, offset)?;
                    begun = Some(offset);
                    let all = envelope.messages.len().saturating_add(1);
                    LimitReached::check("hl7_batch_messages", all, limits.hl7_batch_messages)
                        .map_err(|reached| too_large(reached, "messages of a batch"))?;
                    State::Batch(messages.saturating_add(1))
                }
                (State::Batch(messages @ 1..), Begins::Other) => State::Batch(messages),
                (State::Batch(messages @ 1..), Begins::BatchTrailer) => {
                    let trailer = line("BTS", batches)?;
                    envelope.counts(&trailer, messages)?;
                    State::BetweenBatches
                }
                (State::BetweenBatches, Begins::FileTrailer) if is_file => {
                    let trailer = line("FTS", 1)?;
                    envelope.counts(&trailer, batches)?;
                    State::End
                }
                (
                    State::Start
                    | State::File
                    | State::Batch(_)
                    | State::BetweenBatches
                    | State::End,
                    _,
                ) => return Err(out_of_order(offset).into()),
            };
            offset = offset.saturating_add(bytes.len()).saturating_add(1);
        }
        let is_whole = state == State::End || (state == State::BetweenBatches && !is_file);
        if !is_whole {
            let place = Place::default().byte(content.len());
            return Err(broken(place, "the batch has no end").into());
        }
        Ok(envelope)
    }

    fn begins(&self, bytes: &[u8]) -> Begins {
        let (name, rest) = bytes.split_at_checked(3).unwrap_or((bytes, &[]));
        if rest.first().is_some_and(|b| *b != self.delimiters.field) && name != b"MSH" {
            return Begins::Other;
        }
        match name {
            b"FHS" => Begins::FileHeader,
            b"BHS" => Begins::BatchHeader,
            b"MSH" => Begins::Message,
            b"BTS" => Begins::BatchTrailer,
            b"FTS" => Begins::FileTrailer,
            _ => Begins::Other,
        }
    }

    /// A line of the envelope: short, in plain text, with the delimiters of the whole.
    fn line(
        &self,
        name: &'static str,
        occurrence: usize,
        bytes: &'a [u8],
        limits: &Limits,
    ) -> Result<Line<'a>, Box<Finding>> {
        LimitReached::check("hl7_segment", bytes.len(), limits.hl7_segment)
            .map_err(|reached| too_large(reached, "segment length"))?;
        let line = Line {
            name,
            occurrence,
            bytes,
            separator: self.delimiters.field,
        };
        if !bytes.iter().all(|b| *b == b' ' || b.is_ascii_graphic()) {
            return Err(Finding::firm(
                Reason::Encoding,
                line.place(0),
                "is not plain text",
                ErrorCode::DataType,
                Fault::Content,
            )
            .into());
        }
        if matches!(name, "FHS" | "BHS") && Delimiters::parse(bytes)? != self.delimiters {
            return Err(other_delimiters(line.place(2)).into());
        }
        Ok(line)
    }

    fn same_delimiters(&self, bytes: &[u8], offset: usize) -> Result<(), Box<Finding>> {
        if Delimiters::parse(bytes)? == self.delimiters {
            return Ok(());
        }
        Err(other_delimiters(Place::msh(2).byte(offset)).into())
    }

    /// The count in BTS-1 or FTS-1.
    fn counts(&mut self, trailer: &Line<'_>, expected: usize) -> Result<(), Box<Finding>> {
        let place = trailer.place(1);
        let count = trailer.bytes.split(|b| *b == trailer.separator).nth(1);
        let count = count.unwrap_or_default();
        if count.is_empty() {
            self.missing.push(Finding::new(
                Weight::Strict,
                Reason::Structure,
                place,
                "has no count",
                ErrorCode::RequiredField,
                Fault::Content,
            ));
            return Ok(());
        }
        let number = std::str::from_utf8(count).ok();
        let number = number.filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        if number.and_then(|text| text.parse().ok()) == Some(expected) {
            return Ok(());
        }
        Err(Finding::firm(
            Reason::Structure,
            place,
            "is not the number of what is there",
            ErrorCode::SegmentSequence,
            Fault::Content,
        )
        .into())
    }

    /// The messages and their numbers.
    fn messages(&self) -> impl Iterator<Item = (usize, &'a [u8])> {
        (1..).zip(self.messages.iter().copied())
    }

    /// Whether a rule accepts all of it; if not, how far it came.
    fn pass(
        &self,
        judge: &mut Judge,
        rule: &Rule,
        policy: &Policy,
        now: Option<i64>,
    ) -> Result<(Vec<Warning>, Batch), (usize, Box<Refused>)> {
        let refuse = |finding: &Finding| {
            let refused = Refused::from_finding(finding, Some(rule));
            (0, Box::new(refused))
        };
        let batch = self.batch(rule, policy).map_err(|f| refuse(&f))?;
        let mut warnings = Vec::new();
        for finding in &self.missing {
            match rule.severity(finding.level, finding.weight) {
                Severity::Refuse if !rule.shadow => return Err(refuse(finding)),
                Severity::Refuse => warnings.push(finding.shadow_warning()),
                Severity::Warn => warnings.push(finding.warning()),
                Severity::Ignore => {}
            }
        }
        let alone = Policy {
            rules: vec![rule.clone()],
            ..policy.clone()
        };
        for (number, message) in self.messages() {
            match judge.decide(message, &alone, now).1 {
                Ok((_, more)) => {
                    let room = MOST_WARNINGS.saturating_sub(warnings.len());
                    warnings.extend(more.into_iter().take(room).map(|w| Warning {
                        location: place_within(number, &w.location),
                        ..w
                    }));
                }
                Err(mut refused) => {
                    refused.refusal = within(number, refused.refusal);
                    return Err((number, Box::new(refused)));
                }
            }
        }
        Ok((warnings, batch))
    }

    /// What it is known by, in the name of the device.
    //= C5
    fn batch(&self, rule: &Rule, policy: &Policy) -> Result<Batch, Box<Finding>> {
        let mut batch = Batch::default();
        for head in &self.heads {
            let sender = (head.field(3), head.field(4));
            let claims = !sender.0.is_empty() || !sender.1.is_empty();
            if rule.bind_sender && claims && !policy.is_own(sender) {
                return Err(Finding::firm(
                    Reason::Identity,
                    head.place(3),
                    "is not the device's own application and facility",
                    ErrorCode::UnknownKey,
                    Fault::Rule,
                )
                .into());
            }
            let id = head.field(11);
            // An answer to one of several batches says nothing of the others.
            let names_all = self.heads.len() <= 2 || head.name == "FHS";
            if !id.is_empty() && names_all {
                batch.references.push(id.to_vec());
            }
        }
        let first = self.heads.first();
        let is_named = first.is_some_and(|head| !head.field(11).is_empty());
        let is_alone = self.heads.len() <= 2;
        if let Some(head) = first
            && !(is_named && (head.name == "FHS" || self.heads.len() == 1)
                || (head.name == "FHS" && is_alone && !batch.references.is_empty()))
        {
            return Err(Finding::firm(
                Reason::Field,
                head.place(11),
                "is required to know the answer by, and missing",
                ErrorCode::RequiredField,
                Fault::Content,
            )
            .into());
        }
        for (_, message) in self.messages() {
            let header = Header::read(message, policy.limits.hl7_segment);
            batch
                .messages
                .extend(header.map(|header| header.control_id().to_vec()));
        }
        let mut ids: Vec<&[u8]> = batch.messages.iter().map(Vec::as_slice).collect();
        ids.sort_unstable();
        let twice = ids.array_windows().any(|[one, next]| one == next);
        if twice || ids.iter().any(|id| batch.is_known_by(id)) {
            return Err(Finding::firm(
                Reason::Sequence,
                Place::msh(10),
                "is used twice in one batch",
                ErrorCode::DuplicateKey,
                Fault::Content,
            )
            .into());
        }
        Ok(batch)
    }
}

impl<'a> Line<'a> {
    /// A field of FHS or BHS, numbered as in MSH.
    fn field(&self, number: usize) -> &'a [u8] {
        let at = number.saturating_sub(1);
        self.bytes
            .split(|b| *b == self.separator)
            .nth(at)
            .unwrap_or_default()
    }

    fn place(&self, field: usize) -> Place {
        Place {
            occurrence: self.occurrence,
            repeated: self.occurrence > 1,
            ..Place::field(self.name, field)
        }
    }
}

/// What stands for the header of a message: sender, receiver and id of the envelope, version and processing of the
/// first message, and the acknowledgements that all messages ask for alike.
fn header(content: &[u8], longest: usize) -> Option<Header> {
    let delimiters = Delimiters::parse(content).ok()?;
    let lines = || content.split(|b| *b == b'\r');
    let separator = delimiters.field;
    let field = |line, number| nth(line, longest, separator, number);
    let first = lines().next()?;
    let heads = lines().take(2).filter(|line| is_batch(line));
    let id = heads.map(|line| field(line, 10)).find(|id| !id.is_empty());
    let mut messages = lines()
        .filter(|line| line.starts_with(b"MSH"))
        .filter_map(|line| Header::read(line, longest));
    let leading = messages.next();
    let (mut accept, mut application) = leading
        .as_ref()
        .map_or((None, None), |m| (m.accept, m.application));
    if messages.any(|m| (m.accept, m.application) != (accept, application)) {
        (accept, application) = (None, None);
    }
    let name = first.get(..3).unwrap_or_default();
    Some(Header {
        delimiters,
        sending_application: Kept::new(field(first, 2)),
        sending_facility: Kept::new(field(first, 3)),
        receiving_application: Kept::new(field(first, 4)),
        receiving_facility: Kept::new(field(first, 5)),
        code: Kept::new(name),
        trigger: Kept::new(&[]),
        control_id: Kept::new(id.unwrap_or_default()),
        processing_id: leading
            .as_ref()
            .map_or_else(|| Kept::new(&[]), |m| m.processing_id.clone()),
        accents: leading.as_ref().and_then(|m| m.accents),
        version: leading.and_then(|m| m.version),
        accept,
        application,
    })
}

fn nth(line: &[u8], longest: usize, separator: u8, number: usize) -> &[u8] {
    let line = line.get(..longest).unwrap_or(line);
    let mut fields = line.split(|b| *b == separator);
    fields.nth(number).unwrap_or_default()
}

fn within(number: usize, refusal: Refusal) -> Refusal {
    Refusal {
        location: place_within(number, &refusal.location),
        ..refusal
    }
}

fn place_within(number: usize, location: &str) -> String {
    format!("message {number} of the batch, {location}")
}

fn out_of_order(offset: usize) -> Finding {
    let place = Place::default().byte(offset);
    broken(place, "has a segment that is out of order in a batch")
}

fn other_delimiters(place: Place) -> Finding {
    Finding::firm(
        Reason::Encoding,
        place,
        "has other delimiters than the batch",
        ErrorCode::DataType,
        Fault::Content,
    )
}

fn broken(place: Place, detail: &'static str) -> Finding {
    let code = ErrorCode::SegmentSequence;
    Finding::firm(Reason::Structure, place, detail, code, Fault::Content)
}

/// Most warnings that are kept of one batch.
//= C7
const MOST_WARNINGS: usize = 16;

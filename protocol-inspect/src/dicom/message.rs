//! Assembles presentation data values into DIMSE messages and judges each as a whole.
//!
//! In: the PDVs of an association, in order. Out: [`Event`]s; an approved message becomes an [`Approved`],
//! from which alone the [`Permit`](crate::Permit)s for the other end are made.
//! Knows nothing of PDUs' headers, of sockets and of the spool in which the session keeps held bytes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::approved::{Approved, RefusedMessage};
use super::asked::Asked;
use super::association::{Established, Peer};
use super::claim::{compare, content_of, is_query, status_of, subject_of};
use super::dataset::{Brief, Candidates, Transaction, Walker};
use super::dimse::{Command, Direction, Service, allowed, status};
use super::exchange::Exchange;
use super::fault::{Violation, Warnings, refusal};
use super::pdu::{AbortReason, Pdv};
use super::policy::Policy;
use crate::{LimitReached, Reason, Refusal, Spoken};

/// What became of the PDVs so far.
pub enum Event {
    /// A command set is complete and allowed; its data set, if it has one, follows.
    Command(Arc<Head>),
    /// The next bytes of the data set, to be kept until the verdict. Their concatenation is the data set.
    Held(Bytes),
    /// The message will be refused when its last fragment is in: what was held can be dropped.
    Condemned,
    /// The whole message is approved.
    Complete(Approved),
    /// The whole message came and is refused. Nothing of it may go on.
    Refused(Box<RefusedMessage>),
    /// A response beyond the results that the rule allows: nothing of it goes on.
    /// The first of them brings the C-CANCEL for its sender.
    Surplus(Option<Spoken>),
    /// The last response to a request of which results were left out: who asked gets the answer of this in its place.
    Cut(Box<RefusedMessage>),
}

/// Never the bytes.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(head) => f.debug_tuple("Command").field(head).finish(),
            Self::Held(bytes) => f.debug_tuple("Held").field(&bytes.len()).finish(),
            Self::Condemned => f.write_str("Condemned"),
            Self::Complete(approved) => f.debug_tuple("Complete").field(approved).finish(),
            Self::Refused(refused) => f.debug_tuple("Refused").field(refused).finish(),
            Self::Surplus(cancel) => f.debug_tuple("Surplus").field(&cancel.is_some()).finish(),
            Self::Cut(refused) => f.debug_tuple("Cut").field(refused).finish(),
        }
    }
}

/// What is known of a message when its command set is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its presentation context.
    pub context_id: u8,
    /// Its command.
    pub command: Command,
    /// The rule that accepted it, or the most lenient of those that may still do; `None` for responses, and when none
    /// allows it.
    pub rule: Option<String>,
}

/// The messages of both ends of one association.
pub struct Dialogue {
    established: Arc<Established>,
    of_requestor: MessageInspector,
    of_acceptor: MessageInspector,
    exchange: Exchange,
    events: VecDeque<(Peer, Event)>,
}

/// Never the bytes under way.
impl fmt::Debug for Dialogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialogue")
            .field("established", &self.established)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

impl Dialogue {
    /// At the moment of A-ASSOCIATE-AC.
    #[must_use]
    pub fn new(established: Established, policy: &Arc<Policy>) -> Self {
        let established = Arc::new(established);
        let inspector = |from| MessageInspector::new(from, &established, policy);
        Self {
            of_requestor: inspector(Peer::Requestor),
            of_acceptor: inspector(Peer::Acceptor),
            established: established.clone(),
            exchange: Exchange::default(),
            events: VecDeque::new(),
        }
    }

    /// A PDV came from this end. Poll until `None` afterwards.
    ///
    /// # Errors
    /// The association must be aborted.
    pub fn receive(&mut self, from: Peer, pdv: Pdv) -> Result<(), Violation> {
        self.inspector(from).receive(pdv)?;
        while let Some(event) = self.inspector(from).poll() {
            let event = match event {
                Event::Command(head) => {
                    self.exchange.begin(from, head.context_id, &head.command)?;
                    Event::Command(head)
                }
                Event::Complete(approved) => self.complete(from, approved),
                other @ (Event::Held(_)
                | Event::Condemned
                | Event::Refused(_)
                | Event::Surplus(_)
                | Event::Cut(_)) => other,
            };
            self.events.push_back((from, event));
        }
        Ok(())
    }

    /// The exchange goes on; what comes back is bound by the rule that let it be asked.
    fn complete(&mut self, from: Peer, approved: Approved) -> Event {
        let head = approved.head();
        let (context_id, command) = (head.context_id, head.command.clone());
        let request = self.exchange.outstanding(from.other());
        let request = request.map(|(id, asked)| (id, asked.clone()));
        self.exchange.complete(from, context_id, &command);
        match command.direction() {
            Direction::Request => {
                if let Some(accepted) = self.inspector(from).accepted.take() {
                    self.inspector(from.other()).asked = Some(accepted);
                }
                Event::Complete(approved)
            }
            Direction::Response => {
                let lengths = [from, from.other()].map(|to| self.established.max_length(to));
                match (&mut self.inspector(from).asked, request) {
                    (Some(asked), Some(request)) => asked.answered(approved, request, lengths),
                    (Some(_) | None, _) => Event::Complete(approved),
                }
            }
        }
    }

    /// The next event and the end whose message it is about.
    pub fn poll(&mut self) -> Option<(Peer, Event)> {
        self.events.pop_front()
    }

    /// What was negotiated.
    #[must_use]
    pub fn established(&self) -> &Established {
        &self.established
    }

    /// The request of this end that was approved and waits for its (last) response.
    #[must_use]
    pub fn outstanding(&self, of: Peer) -> Option<(u8, &Command)> {
        self.exchange.outstanding(of)
    }

    /// Whether this end is in the middle of a message: no release now.
    #[must_use]
    pub fn is_partial(&self, from: Peer) -> bool {
        match from {
            Peer::Requestor => self.of_requestor.is_partial(),
            Peer::Acceptor => self.of_acceptor.is_partial(),
        }
    }

    /// An approved request of this end is refused after all, for a reason outside of its content, and answered here:
    /// it does not wait for a response any more.
    pub fn refuse(&mut self, from: Peer, approved: Approved, why: Refusal) -> RefusedMessage {
        let status = status_of(&why);
        self.refuse_with(from, approved, status, why)
    }

    /// As [`Self::refuse`], with the status of the answer.
    pub fn refuse_with(
        &mut self,
        from: Peer,
        approved: Approved,
        status: u16,
        why: Refusal,
    ) -> RefusedMessage {
        self.exchange.withdraw(from, &approved.head().command);
        let max_length = self.established.max_length(from);
        approved.refuse(status, why, max_length)
    }

    /// The policy changed; it holds from the next message on.
    pub fn update(&mut self, policy: &Arc<Policy>) {
        self.of_requestor.policy = policy.clone();
        self.of_acceptor.policy = policy.clone();
    }

    fn inspector(&mut self, from: Peer) -> &mut MessageInspector {
        match from {
            Peer::Requestor => &mut self.of_requestor,
            Peer::Acceptor => &mut self.of_acceptor,
        }
    }
}

/// The messages of one end, without regard to what the other says.
pub(super) struct MessageInspector {
    from: Peer,
    established: Arc<Established>,
    policy: Arc<Policy>,
    state: State,
    /// By which rule the last request of this end was accepted.
    accepted: Option<Asked>,
    /// What the last request of the other end bounds.
    asked: Option<Asked>,
    events: VecDeque<Event>,
}

enum State {
    Idle,
    Command {
        context_id: u8,
        bytes: BytesMut,
    },
    Data(Box<Data>),
    /// The rest of a message that is refused already.
    Condemned(Box<RefusedMessage>),
}

/// A data set on its way.
struct Data {
    head: Arc<Head>,
    walker: Walker,
    /// False in shadow, after a fault that the walk could not pass.
    is_walking: bool,
    warnings: Warnings,
    length: u64,
    /// Small fragments are gathered, so that what is held costs no more than its size.
    gathered: BytesMut,
    /// What it says of storage commitment or a performed procedure step.
    transaction: Transaction,
}

impl MessageInspector {
    pub(super) fn new(from: Peer, established: &Arc<Established>, policy: &Arc<Policy>) -> Self {
        Self {
            from,
            established: established.clone(),
            policy: policy.clone(),
            state: State::Idle,
            accepted: None,
            asked: None,
            events: VecDeque::new(),
        }
    }

    pub(super) fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(super) fn is_partial(&self) -> bool {
        match self.state {
            State::Idle => false,
            State::Command { .. } | State::Data(_) | State::Condemned(_) => true,
        }
    }

    //= DICOM PS3.8 E.1
    pub(super) fn receive(&mut self, pdv: Pdv) -> Result<(), Violation> {
        if !self.established.contexts.contains_key(&pdv.context_id) {
            let detail = "was not accepted";
            return Err(refusal(Reason::Structure, "presentation context id", detail).into());
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => self.command(pdv.context_id, BytesMut::new(), &pdv),
            State::Command { context_id, bytes } => self.command(context_id, bytes, &pdv),
            State::Data(data) => {
                expect(&pdv, data.head.context_id, false)?;
                self.data(data, pdv);
                Ok(())
            }
            State::Condemned(mut refused) => {
                expect(&pdv, refused.context_id(), false)?;
                refused.count(pdv.data.len());
                if pdv.last {
                    self.events.push_back(Event::Refused(refused));
                } else {
                    self.state = State::Condemned(refused);
                }
                Ok(())
            }
        }
    }

    fn command(&mut self, context_id: u8, mut bytes: BytesMut, pdv: &Pdv) -> Result<(), Violation> {
        expect(pdv, context_id, true)?;
        let max = self.policy.limits.dicom_command;
        let got = bytes.len().saturating_add(pdv.data.len());
        if got > max {
            let reached = LimitReached {
                limit: "dicom_command",
                got: u64::try_from(got).unwrap_or(u64::MAX),
                max: u64::try_from(max).unwrap_or(u64::MAX),
            };
            return Err(Refusal::from(reached).into());
        }
        bytes.extend_from_slice(&pdv.data);
        if !pdv.last {
            self.state = State::Command { context_id, bytes };
            return Ok(());
        }
        let command = Command::parse(&bytes.freeze(), self.policy.base())?;
        self.judge_command(context_id, command);
        Ok(())
    }

    fn judge_command(&mut self, context_id: u8, command: Command) {
        let Some(context) = self.established.contexts.get(&context_id) else {
            return;
        };
        let calling = &self.established.calling_ae;
        let (rules, denied) = match allowed(&command, context, self.from, calling, &self.policy) {
            Ok(rules) => (rules, None),
            Err(denied) => (Vec::new(), Some(denied)),
        };
        let denied = denied.or_else(|| self.asked.as_mut()?.brings(&command));
        let has_data_set = command.has_data_set();
        let brief = Brief {
            content: content_of(&command),
            policy: self.policy.clone(),
            rule: rules.first().copied(),
        };
        let head = Arc::new(Head {
            context_id,
            rule: brief.rule().map(|rule| rule.name.clone()),
            command,
        });
        match (denied, has_data_set) {
            (Some(denied), _) => {
                let refused = self.refused(head, denied.status, denied.refusal, 0);
                self.condemn(refused, !has_data_set);
            }
            (None, false) => {
                self.events.push_back(Event::Command(head.clone()));
                self.approve(
                    head,
                    brief.rule,
                    Warnings::default(),
                    (0, Transaction::None),
                );
            }
            (None, true) => {
                let (candidates, subject) = match (&self.asked, head.command.direction()) {
                    (Some(asked), Direction::Response) => asked.candidates(),
                    (_, Direction::Response | Direction::Request) => {
                        let candidates = Candidates::among(&brief, &rules);
                        (candidates, subject_of(&head.command))
                    }
                };
                let syntax = context.transfer_syntax;
                let walker = Walker::among(syntax, &brief, candidates, subject);
                self.events.push_back(Event::Command(head.clone()));
                self.state = State::Data(Box::new(Data {
                    head,
                    walker,
                    is_walking: true,
                    warnings: Warnings::default(),
                    length: 0,
                    gathered: BytesMut::new(),
                    transaction: Transaction::None,
                }));
            }
        }
    }

    fn data(&mut self, mut data: Box<Data>, pdv: Pdv) {
        let last = pdv.last;
        let added = u64::try_from(pdv.data.len()).unwrap_or(u64::MAX);
        data.length = data.length.saturating_add(added);
        let verdict = self.check_length(data.length).and_then(|()| {
            data.check_room()?;
            data.feed(&pdv.data)?;
            if last { data.finish() } else { Ok(()) }
        });
        if let Err(fault) = verdict {
            let asks = is_query(data.head.command.service());
            let status = if asks && fault.reason == Reason::Forbidden {
                // An identifier that no rule lets ask (PS3.4 C.4.1.1.4).
                status::DATA_SET_MISMATCH
            } else {
                status_of(&fault)
            };
            let refused = self.refused(data.head, status, fault, data.length);
            return self.condemn(refused, last);
        }
        self.hold(&mut data.gathered, pdv.data, last);
        if !last {
            self.state = State::Data(data);
            return;
        }
        let Data {
            head,
            mut walker,
            mut warnings,
            length,
            transaction,
            ..
        } = *data;
        warnings.append(walker.take_warnings());
        let rule = walker.candidates().first();
        self.approve(head, rule, warnings, (length, transaction));
    }

    /// Also holds when the walk has ended in shadow.
    //= C7
    fn check_length(&self, length: u64) -> Result<(), Refusal> {
        let max = self.policy.limits.dicom_dataset;
        if length <= max {
            return Ok(());
        }
        Err(LimitReached {
            limit: "dicom_dataset",
            got: length,
            max,
        }
        .into())
    }

    fn hold(&mut self, gathered: &mut BytesMut, bytes: Bytes, last: bool) {
        if gathered.is_empty() && bytes.len() >= WHOLE {
            self.events.push_back(Event::Held(bytes));
            return;
        }
        gathered.extend_from_slice(&bytes);
        if gathered.len() >= GATHER || (last && !gathered.is_empty()) {
            let held = std::mem::take(gathered).freeze();
            self.events.push_back(Event::Held(held));
        }
    }

    fn approve(
        &mut self,
        mut head: Arc<Head>,
        rule: Option<usize>,
        warnings: Warnings,
        (length, transaction): (u64, Transaction),
    ) {
        if head.command.direction() == Direction::Request {
            let rule = rule.and_then(|index| Asked::by(&self.policy, index, &head.command));
            let name = rule.as_ref().map(|asked| asked.name().to_owned());
            if head.rule != name {
                // The most lenient did not accept it, and this one does.
                head = Arc::new(Head {
                    rule: name,
                    ..Head::clone(&head)
                });
            }
            if head.command.service() != Service::CCancel {
                self.accepted = rule;
            }
        }
        let mut all = Warnings::default();
        for warning in head.command.warnings().iter().cloned() {
            all.warn(refusal(warning.reason, warning.location, warning.detail));
        }
        all.append(warnings);
        let max_length = self.established.max_length(self.from.other());
        let approved = Approved::new(head, all.into_vec(), length, max_length).about(transaction);
        self.events.push_back(Event::Complete(approved));
    }

    fn condemn(&mut self, refused: RefusedMessage, complete: bool) {
        self.events.push_back(Event::Condemned);
        if complete {
            self.events.push_back(Event::Refused(Box::new(refused)));
        } else {
            self.state = State::Condemned(Box::new(refused));
        }
    }

    fn refused(
        &self,
        head: Arc<Head>,
        status: u16,
        refusal: Refusal,
        length: u64,
    ) -> RefusedMessage {
        let max_length = self.established.max_length(self.from);
        RefusedMessage::new(head, status, refusal, length, max_length)
    }
}

impl Data {
    /// The largest object of a rule is its own bound, in shadow too.
    //= C7
    fn check_room(&mut self) -> Result<(), Refusal> {
        let length = self.length;
        let stores = self.head.command.service() == Service::CStore;
        let candidates = self.walker.candidates();
        if !stores || candidates.narrow(|rule| rule.has_room(length)) {
            return Ok(());
        }
        let most = candidates.rules().filter_map(|rule| rule.max_object).max();
        Err(LimitReached {
            limit: "max_object",
            got: length,
            max: most.unwrap_or_default(),
        }
        .into())
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if !self.is_walking {
            return Ok(());
        }
        let verdict = self.walker.feed(bytes);
        self.in_shadow(verdict, true)
    }

    fn finish(&mut self) -> Result<(), Refusal> {
        if !self.is_walking {
            return Ok(());
        }
        match self.walker.finish() {
            Ok(facts) => {
                let verdict = compare(&self.head.command, &facts);
                self.transaction = facts.transaction;
                self.in_shadow(verdict, false)
            }
            verdict @ Err(_) => self.in_shadow(verdict.map(|_| ()), true),
        }
    }

    /// In shadow a content verdict only warns; bounds hold all the same, those of the rule too.
    /// A fault that the walk could not pass is `partial`: what comes behind it nobody has seen.
    fn in_shadow(&mut self, verdict: Result<(), Refusal>, partial: bool) -> Result<(), Refusal> {
        let Err(fault) = verdict else {
            return Ok(());
        };
        let is_bound = match fault.reason {
            Reason::Limit | Reason::Identity | Reason::Forbidden => true,
            Reason::Framing
            | Reason::Encoding
            | Reason::Structure
            | Reason::Field
            | Reason::Embedded
            | Reason::Sequence
            | Reason::Unsupported
            | Reason::Destination
            | Reason::Rate => false,
        };
        if is_bound || !self.walker.candidates().in_shadow(partial) {
            return Err(fault);
        }
        self.is_walking = false;
        self.warnings.append(self.walker.take_warnings());
        self.warnings.warn(fault);
        Ok(())
    }
}

/// Fragments come in order: all of the command, then all of the data set, in one context.
fn expect(pdv: &Pdv, context_id: u8, command: bool) -> Result<(), Violation> {
    let detail = match (pdv.command, command) {
        _ if pdv.context_id != context_id => "changes within a message",
        (true, false) => "is of a command while a data set is under way",
        (false, true) => "is of a data set without its command",
        (true, true) | (false, false) => return Ok(()),
    };
    let refused = refusal(Reason::Sequence, "presentation data value", detail);
    Err(Violation::new(AbortReason::UnexpectedParameter, refused))
}

/// A fragment of this size is held as it came.
const WHOLE: usize = 16 << 10;
/// Smaller ones are gathered to this size.
const GATHER: usize = 64 << 10;

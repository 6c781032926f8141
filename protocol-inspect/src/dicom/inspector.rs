//! Judges the messages of one end of an association, fragment by fragment.
//!
//! In: presentation data values in order, what holds for them. Out: [`Event`]s. Knows nothing of what the other end says,
//! but which request its responses answer.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::approved::{Approved, RefusedMessage};
use super::asked::Asked;
use super::association::{Established, Peer};
use super::claim::{compare, content_of, is_query, is_store, status_of, subject_of};
use super::dataset::{Brief, Candidates, Transaction, Walker};
use super::dimse::{Command, Direction, Service, allowed, status};
use super::fault::{Violation, Warnings, refusal};
use super::message::{Event, Head};
use super::pdu::{AbortReason, Outbound, Pdv};
use super::policy::Policy;
use crate::{LimitReached, Reason, Refusal};

/// The messages of one end, without regard to what the other says.
pub(super) struct MessageInspector {
    from: Peer,
    established: Arc<Established>,
    pub(super) policy: Arc<Policy>,
    state: State,
    /// By which rule the last request of this end was accepted.
    pub(super) accepted: Option<Asked>,
    /// What the last request of the other end bounds.
    pub(super) asked: Option<Asked>,
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
    /// What was verified and does not go yet, when it is streamed.
    out: Option<Outbound>,
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
        let asked = self.asked.as_ref();
        let policy = asked.and_then(|asked| asked.policy_of_part(&command));
        let policy = policy.unwrap_or(&self.policy).clone();
        let rules = allowed(&command, context, self.from, calling, &policy);
        let rules = match asked {
            Some(asked) => rules.and_then(|rules| asked.only(&command, rules)),
            None => rules,
        };
        let (rules, denied) = match rules {
            Ok(rules) => (rules, None),
            Err(denied) => (Vec::new(), Some(denied)),
        };
        let denied = denied.or_else(|| self.asked.as_mut()?.brings(&command));
        let has_data_set = command.has_data_set();
        let brief = Brief {
            content: content_of(&command),
            policy,
            rule: rules.first().copied(),
        };
        let head = Arc::new(Head {
            context_id,
            rule: brief.rule().map(|rule| rule.name.clone()),
            streamed: is_store(&command) && streams(&brief.policy, &rules),
            command,
        });
        match (denied, has_data_set) {
            (Some(denied), _) => {
                let refused = self.refused(head, denied.status, denied.refusal, 0);
                self.condemn(refused, false, !has_data_set);
            }
            (None, false) => {
                self.events.push_back(Event::Command(head.clone()));
                self.approve(
                    head,
                    (brief.policy, brief.rule),
                    Warnings::default(),
                    (0, Transaction::None),
                    None,
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
                let out = head.streamed.then(|| {
                    let max_length = self.established.max_length(self.from.other());
                    Outbound::new(context_id, head.command.bytes(), max_length)
                });
                self.state = State::Data(Box::new(Data {
                    out,
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
            data.check_room()?;
            if last { data.finish() } else { Ok(()) }
        });
        if let Err(fault) = verdict {
            let begun = data.has_begun();
            let asks = is_query(data.head.command.service());
            let status = if asks && matches!(fault.reason, Reason::Forbidden | Reason::Identity) {
                // An identifier that no rule lets ask (PS3.4 C.4.1.1.4).
                status::DATA_SET_MISMATCH
            } else {
                status_of(&fault)
            };
            let refused = self.refused(data.head, status, fault, data.length);
            return self.condemn(refused, begun, last);
        }
        self.hold(&mut data, pdv.data, last);
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
            out,
            ..
        } = *data;
        warnings.append(walker.take_warnings());
        let candidates = walker.candidates();
        let by = (candidates.shared_policy(), candidates.first());
        self.approve(head, by, warnings, (length, transaction), out);
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

    fn hold(&mut self, data: &mut Data, bytes: Bytes, last: bool) {
        let gathered = &mut data.gathered;
        let is_large = bytes.len() >= WHOLE;
        if !is_large {
            gathered.extend_from_slice(&bytes);
        }
        let mut keep = |bytes| match &mut data.out {
            Some(out) => out.push(bytes),
            None => self.events.push_back(Event::Held(bytes)),
        };
        if !gathered.is_empty() && (is_large || last || gathered.len() >= GATHER) {
            keep(std::mem::take(gathered).freeze());
        }
        if is_large {
            keep(bytes);
        }
        //= C1
        if !last && let Some(out) = &mut data.out {
            let before = out.waiting();
            if let Some(permit) = out.full() {
                let length = before.saturating_sub(out.waiting());
                self.events.push_back(Event::Released(permit, length));
            }
        }
    }

    /// By a rule of the policy that the message was judged by, which may have changed since.
    fn approve(
        &mut self,
        mut head: Arc<Head>,
        (policy, rule): (Arc<Policy>, Option<usize>),
        warnings: Warnings,
        (length, transaction): (u64, Transaction),
        out: Option<Outbound>,
    ) {
        if head.command.direction() == Direction::Request {
            let rule = rule.and_then(|index| Asked::by(&policy, index, &head.command));
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
        let warnings = all.into_vec();
        let approved = match out {
            Some(out) => Approved::streamed(head, warnings, length, out),
            None => Approved::new(head, warnings, length, max_length),
        };
        let approved = approved.about(transaction);
        self.events.push_back(Event::Complete(approved));
    }

    fn condemn(&mut self, refused: RefusedMessage, begun: bool, complete: bool) {
        let why = begun.then(|| refused.refusal().clone());
        self.events.push_back(Event::Condemned(why));
        if complete {
            self.events.push_back(Event::Refused(Box::new(refused)));
        } else {
            self.state = State::Condemned(Box::new(refused));
        }
    }

    pub(super) fn condemn_from_outside(&mut self, why: Refusal) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Data(data) => {
                let begun = data.has_begun();
                let refused = self.refused(data.head, status_of(&why), why, data.length);
                self.condemn(refused, begun, false);
            }
            other @ (State::Idle | State::Command { .. } | State::Condemned(_)) => {
                self.state = other;
            }
        }
    }

    pub(super) fn held(&self) -> usize {
        match &self.state {
            State::Idle | State::Condemned(_) => 0,
            State::Command { bytes, .. } => bytes.len(),
            State::Data(data) => {
                let waiting = data.out.as_ref().map_or(0, Outbound::waiting);
                data.gathered.len().saturating_add(waiting)
            }
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
    /// Whether something of the message went on.
    fn has_begun(&self) -> bool {
        self.out.as_ref().is_some_and(|out| !out.is_untouched())
    }

    /// The largest object of a rule is its own bound, in shadow too. What is deflated is as large as what it inflates to.
    //= C7
    fn check_room(&mut self) -> Result<(), Refusal> {
        let length = self.length.max(self.walker.inflated());
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
        // Nobody inflates the rest.
        let blind = partial && self.walker.is_deflated();
        let candidates = self.walker.candidates();
        if is_bound
            || (blind && !candidates.narrow(|rule| rule.max_object.is_none()))
            || !candidates.in_shadow(partial)
        {
            return Err(fault);
        }
        self.is_walking = false;
        self.warnings.append(self.walker.take_warnings());
        self.warnings.warn_in_shadow(fault);
        Ok(())
    }
}

/// Whether all rules that may still accept a message release it as it is verified.
fn streams(policy: &Policy, rules: &[usize]) -> bool {
    let streams = |index: &usize| {
        let rule = policy.rules.get(*index);
        rule.is_some_and(|rule| rule.streaming)
    };
    !rules.is_empty() && rules.iter().all(streams)
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

//! Judges bytes from a file exactly as the relay would, but without rules.
//!
//! In: a Part 10 file, or the client-to-server stream of an upper layer connection. Out: reports.

use std::collections::BTreeMap;
use std::sync::Arc;

use dicom_core::dictionary::{UidDictionary, UidDictionaryEntry};
use dicom_dictionary_std::StandardSopClassDictionary;

use super::association::{Context, Established, Filtered, Peer, filter};
use super::dimse::Service;
use super::fault::refusal;
use super::inspector::MessageInspector;
use super::message::{Event, Head};
use super::part10;
use super::pdu::{Pdu, PduReader, PduType};
use super::policy::{Policy, Profile, Rule};
use super::state::Leg;
use super::transfer::TransferSyntax;
use crate::{Reason, Refusal, Report, Warning};

/// The reports on a file: one for a Part 10 file; with `raw` one for the association and one for each message.
#[must_use]
pub fn inspect_offline(bytes: &[u8], raw: bool, profile: impl Into<Profile>) -> Vec<Report> {
    let profile = profile.into();
    if raw {
        return stream(bytes, profile);
    }
    vec![part10::inspect(bytes, profile)]
}

/// The name of a SOP class, or its UID if it has none here.
pub(super) fn sop_class_name(uid: &str) -> String {
    let entry = StandardSopClassDictionary.by_uid(uid);
    entry.map_or(uid, |entry| entry.name()).to_owned()
}

fn stream(bytes: &[u8], profile: Profile) -> Vec<Report> {
    let policy = Arc::new(open_policy(profile));
    let (pdus, fault) = read_all(bytes, &policy);
    let mut reports = Vec::new();
    let ended = Walk::new(&policy).run(&pdus, &mut reports);
    if let Err(fault) = ended.and(fault) {
        reports.push(report(String::new(), Some(fault), &[]));
    }
    reports
}

/// All PDUs up to the end or the first violation.
fn read_all(bytes: &[u8], policy: &Policy) -> (Vec<Pdu>, Result<(), Refusal>) {
    let mut reader = PduReader::new(&policy.limits, policy.base());
    let mut pdus = Vec::new();
    for chunk in bytes.chunks(CHUNK) {
        reader.receive(chunk);
        while let Some(pdu) = reader.poll() {
            match pdu {
                Ok(pdu) => pdus.push(pdu),
                Err(violation) => return (pdus, Err(violation.refusal)),
            }
        }
    }
    let end = if reader.is_partial() {
        Err(refusal(
            Reason::Framing,
            "PDU",
            "is cut off by the end of the stream",
        ))
    } else {
        Ok(())
    };
    (pdus, end)
}

/// One pass over the PDUs of a client.
struct Walk<'p> {
    policy: &'p Arc<Policy>,
    leg: Leg,
    inspector: Option<MessageInspector>,
}

impl<'p> Walk<'p> {
    fn new(policy: &'p Arc<Policy>) -> Self {
        Self {
            policy,
            leg: Leg::accepted(),
            inspector: None,
        }
    }

    fn run(mut self, pdus: &[Pdu], reports: &mut Vec<Report>) -> Result<(), Refusal> {
        for pdu in pdus {
            self.leg = self
                .leg
                .received(pdu.kind())
                .map_err(|violation| violation.refusal)?;
            match pdu {
                Pdu::AssociateRq(rq) => {
                    let filtered = match filter(rq, self.policy) {
                        Ok(filtered) => filtered,
                        Err(rejection) => {
                            let name = PduType::AssociateRq.name().to_owned();
                            reports.push(report(name, Some(rejection.refusal), rq.warnings()));
                            return Ok(());
                        }
                    };
                    let name = PduType::AssociateRq.name().to_owned();
                    reports.push(report(name, None, rq.warnings()));
                    let established = Arc::new(suppose(&filtered, pdus));
                    let inspector =
                        MessageInspector::new(Peer::Requestor, &established, self.policy);
                    self.inspector = Some(inspector);
                    self.leg = self.leg.sent(PduType::AssociateAc).unwrap_or(self.leg);
                }
                Pdu::PData(values) => {
                    for pdv in values {
                        let Some(inspector) = &mut self.inspector else {
                            continue;
                        };
                        let received = inspector.receive(pdv.clone());
                        collect(inspector, reports);
                        received.map_err(|violation| violation.refusal)?;
                    }
                }
                // What follows a release request would be answered by the server, which is not heard here.
                Pdu::ReleaseRq => {
                    self.leg = self.leg.sent(PduType::ReleaseRp).unwrap_or(self.leg);
                }
                Pdu::AssociateAc(_) | Pdu::AssociateRj(_) | Pdu::ReleaseRp | Pdu::Abort(_) => {}
            }
        }
        if self
            .inspector
            .is_some_and(|inspector| inspector.is_partial())
        {
            let detail = "is cut off by the end of the stream";
            return Err(refusal(Reason::Structure, "message", detail));
        }
        Ok(())
    }
}

fn collect(inspector: &mut MessageInspector, reports: &mut Vec<Report>) {
    while let Some(event) = inspector.poll() {
        match event {
            Event::Complete(approved) => {
                reports.push(report(kind(approved.head()), None, approved.warnings()));
            }
            Event::Refused(refused) => {
                let fault = Some(refused.refusal().clone());
                reports.push(report(kind(refused.head()), fault, &[]));
            }
            Event::Command(_)
            | Event::Held(_)
            | Event::Released(..)
            | Event::Condemned(_)
            | Event::Surplus(_)
            | Event::Cut(_) => {}
        }
    }
}

fn kind(head: &Head) -> String {
    let class = head.command.sop_class();
    let name = class.map(|class| sop_class_name(class.as_str()));
    match name {
        Some(name) => format!("{} {name}", head.command.kind()),
        None => head.command.kind(),
    }
}

/// The server's answer is not in the stream: every context counts as accepted,
/// with the proposed transfer syntax that its first data set looks like.
fn suppose(filtered: &Filtered, pdus: &[Pdu]) -> Established {
    let mut contexts = BTreeMap::new();
    for context in filtered.original().contexts() {
        let syntaxes: Vec<_> = context
            .transfer_syntaxes
            .iter()
            .filter_map(|uid| Some((TransferSyntax::from_uid(uid.as_str())?, uid)))
            .collect();
        let start = first_data(pdus, context.id);
        let looks = |(syntax, _): &&(TransferSyntax, _)| looks_like(*syntax, &start);
        let chosen = syntaxes.iter().find(looks).or_else(|| syntaxes.first());
        if let Some((transfer_syntax, uid)) = chosen {
            contexts.insert(
                context.id,
                Context {
                    abstract_syntax: context.abstract_syntax.clone(),
                    transfer_syntax: *transfer_syntax,
                    transfer_syntax_uid: (*uid).clone(),
                    requestor_scu: true,
                    requestor_scp: true,
                },
            );
        }
    }
    Established {
        calling_ae: filtered.original().calling_ae().as_str().to_owned(),
        contexts,
        requestor_max: SUPPOSED_MAX,
        acceptor_max: SUPPOSED_MAX,
    }
}

fn first_data(pdus: &[Pdu], context_id: u8) -> Vec<u8> {
    let mut start = Vec::new();
    for pdu in pdus {
        let Pdu::PData(values) = pdu else {
            continue;
        };
        for pdv in values {
            if pdv.context_id == context_id && !pdv.command {
                start.extend(pdv.data.iter().take(HEADER));
            }
        }
        if start.len() >= HEADER {
            break;
        }
    }
    start
}

/// Whether the first element looks like one of this encoding.
pub(super) fn looks_like(syntax: TransferSyntax, start: &[u8]) -> bool {
    let [g0, g1, _, _, v0, v1, ..] = *start else {
        return true;
    };
    let explicit = v0.is_ascii_uppercase() && v1.is_ascii_uppercase();
    match syntax {
        TransferSyntax::ImplicitLittle => !explicit,
        TransferSyntax::ExplicitLittle | TransferSyntax::Encapsulated(_) => explicit && g0 >= g1,
        // No data set begins in an odd or so high a group.
        TransferSyntax::Deflated => !explicit && (!g0.is_multiple_of(2) || g1 > 0),
        TransferSyntax::ExplicitBig => explicit && g1 > g0,
    }
}

fn report(kind: String, refusal: Option<Refusal>, warnings: &[Warning]) -> Report {
    Report {
        kind,
        refusal,
        warnings: warnings.to_vec(),
    }
}

/// Everything is allowed; only the standard is asked.
pub(super) fn open_policy(profile: Profile) -> Policy {
    Policy {
        rules: vec![Rule {
            allow: Service::ALL
                .into_iter()
                .map(|service| service.name().to_owned())
                .collect(),
            move_destinations: vec!["*".to_owned()],
            transfer_syntaxes: vec!["*".to_owned()],
            reverse_roles: true,
            profiles: vec![profile],
            ..Rule::default()
        }],
        ..Policy::default()
    }
}

const CHUNK: usize = 64 << 10;
const HEADER: usize = 8;
const SUPPOSED_MAX: u32 = 16 << 10;

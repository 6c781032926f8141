//! A-ASSOCIATE-RQ and A-ASSOCIATE-AC (PS3.8 9.3.2 and 9.3.3).
//!
//! In: the content of a PDU. Out: a structure in which every item was checked and every byte accounted for.
//! Whether the association is wanted is decided in `association.rs`.

use std::collections::BTreeSet;

use super::super::fault::{Warnings, refusal};
use super::super::reader::Reader;
use super::super::uid::{AeTitle, Uid};
use super::user::{Sender, UserInformation};
use crate::Base;
use crate::{Reason, Refusal, Warning};

/// A-ASSOCIATE-RQ.
#[derive(Clone, Debug)]
pub struct AssociateRq {
    pub(in super::super) protocol_version: u16,
    pub(in super::super) called_ae: AeTitle,
    pub(in super::super) calling_ae: AeTitle,
    pub(in super::super) application_context: Uid,
    pub(in super::super) contexts: Vec<ProposedContext>,
    pub(in super::super) user: UserInformation,
    warnings: Warnings,
}

impl PartialEq for AssociateRq {
    fn eq(&self, other: &Self) -> bool {
        self.protocol_version == other.protocol_version
            && self.called_ae == other.called_ae
            && self.calling_ae == other.calling_ae
            && self.application_context == other.application_context
            && self.contexts == other.contexts
            && self.user == other.user
    }
}
impl Eq for AssociateRq {}

/// What the requestor proposes for one presentation context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedContext {
    /// Odd, unique in the association.
    pub id: u8,
    /// Usually a SOP class.
    pub abstract_syntax: Uid,
    /// At least one.
    pub transfer_syntaxes: Vec<Uid>,
}

impl AssociateRq {
    /// Who is called.
    #[must_use]
    pub fn called_ae(&self) -> &AeTitle {
        &self.called_ae
    }

    /// Who calls.
    #[must_use]
    pub fn calling_ae(&self) -> &AeTitle {
        &self.calling_ae
    }

    /// What is proposed.
    #[must_use]
    pub fn contexts(&self) -> &[ProposedContext] {
        &self.contexts
    }

    /// User information.
    #[must_use]
    pub fn user(&self) -> &UserInformation {
        &self.user
    }

    /// What is wrong but tolerated.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        self.warnings.as_slice()
    }

    pub(super) fn parse(content: &[u8], base: Base) -> Result<Self, Refusal> {
        let mut reader = Reader::new(content);
        let mut warnings = Warnings::default();
        let protocol_version = reader.u16_be("protocol version")?;
        reader.take(2, "reserved")?;
        let called_ae = AeTitle::parse(reader.take(16, CALLED)?, CALLED)?;
        let calling_ae = AeTitle::parse(reader.take(16, CALLING)?, CALLING)?;
        reader.take(32, "reserved")?;
        let (mut application_context, mut user, mut contexts) = (None, None, Vec::new());
        while !reader.is_empty() {
            let (kind, item) = reader.item("variable item")?;
            match kind {
                0x10 => application(&mut application_context, item, base, &mut warnings)?,
                0x20 => contexts.push(proposed(item, base, &mut warnings)?),
                0x50 => {
                    let parsed =
                        UserInformation::parse(item, Sender::Requestor, base, &mut warnings)?;
                    once(&mut user, parsed, USER)?;
                }
                _ => unknown(kind, &mut warnings)?,
            }
        }
        if contexts.is_empty() {
            return Err(refusal(Reason::Structure, CONTEXT, "is missing"));
        }
        check_ids(contexts.iter().map(|context| context.id))?;
        Ok(Self {
            protocol_version,
            called_ae,
            calling_ae,
            application_context: application_context.ok_or_else(|| missing(APPLICATION))?,
            contexts,
            user: user.ok_or_else(|| missing(USER))?,
            warnings,
        })
    }
}

/// A-ASSOCIATE-AC. Its AE titles are reserved fields and are not looked at (PS3.8 table 9-17).
#[derive(Clone, Debug)]
pub struct AssociateAc {
    pub(in super::super) contexts: Vec<ContextResult>,
    pub(in super::super) user: UserInformation,
    warnings: Warnings,
}

impl PartialEq for AssociateAc {
    fn eq(&self, other: &Self) -> bool {
        self.contexts == other.contexts && self.user == other.user
    }
}
impl Eq for AssociateAc {}

/// What the acceptor says to one presentation context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextResult {
    /// As proposed.
    pub id: u8,
    /// 0 is acceptance; 1 to 4 say why not.
    pub result: u8,
    /// The accepted one; `None` if the context was not accepted.
    pub transfer_syntax: Option<Uid>,
}

impl AssociateAc {
    /// What is accepted.
    #[must_use]
    pub fn contexts(&self) -> &[ContextResult] {
        &self.contexts
    }

    /// User information.
    #[must_use]
    pub fn user(&self) -> &UserInformation {
        &self.user
    }

    /// What is wrong but tolerated.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        self.warnings.as_slice()
    }

    pub(super) fn parse(content: &[u8], base: Base) -> Result<Self, Refusal> {
        let mut reader = Reader::new(content);
        let mut warnings = Warnings::default();
        let version = reader.u16_be("protocol version")?;
        if version & VERSION_1 == 0 {
            let detail = "is not version 1";
            return Err(refusal(Reason::Unsupported, "protocol version", detail));
        }
        reader.take(66, "reserved")?;
        let (mut application_context, mut user, mut contexts) = (None, None, Vec::new());
        while !reader.is_empty() {
            let (kind, item) = reader.item("variable item")?;
            match kind {
                0x10 => application(&mut application_context, item, base, &mut warnings)?,
                0x21 => contexts.push(result(item, base, &mut warnings)?),
                0x50 => {
                    let parsed =
                        UserInformation::parse(item, Sender::Acceptor, base, &mut warnings)?;
                    once(&mut user, parsed, USER)?;
                }
                _ => unknown(kind, &mut warnings)?,
            }
        }
        check_ids(contexts.iter().map(|context| context.id))?;
        application_context
            .filter(|context| context.as_str() == APPLICATION_CONTEXT)
            .ok_or_else(|| missing(APPLICATION))?;
        Ok(Self {
            contexts,
            user: user.ok_or_else(|| missing(USER))?,
            warnings,
        })
    }
}

fn application(
    place: &mut Option<Uid>,
    mut item: Reader<'_>,
    base: Base,
    warnings: &mut Warnings,
) -> Result<(), Refusal> {
    let uid = Uid::in_pdu(item.rest(), APPLICATION, base, warnings)?;
    once(place, uid, APPLICATION)
}

fn proposed(
    mut item: Reader<'_>,
    base: Base,
    warnings: &mut Warnings,
) -> Result<ProposedContext, Refusal> {
    let id = item.u8(CONTEXT)?;
    item.take(3, CONTEXT)?;
    let (mut abstract_syntax, mut transfer_syntaxes) = (None, Vec::new());
    while !item.is_empty() {
        let (kind, mut content) = item.item("presentation context sub-item")?;
        match kind {
            0x30 => {
                let uid = Uid::in_pdu(content.rest(), ABSTRACT_SYNTAX, base, warnings)?;
                once(&mut abstract_syntax, uid, ABSTRACT_SYNTAX)?;
            }
            0x40 => {
                let uid = Uid::in_pdu(content.rest(), TRANSFER_SYNTAX, base, warnings)?;
                if transfer_syntaxes.contains(&uid) {
                    let fault = refusal(Reason::Structure, TRANSFER_SYNTAX, "is proposed twice");
                    warnings.doubt(base, fault)?;
                } else {
                    transfer_syntaxes.push(uid);
                }
            }
            _ => {
                let detail = "is neither an abstract nor a transfer syntax";
                return Err(refusal(Reason::Structure, CONTEXT, detail));
            }
        }
    }
    if transfer_syntaxes.is_empty() {
        return Err(missing(TRANSFER_SYNTAX));
    }
    Ok(ProposedContext {
        id,
        abstract_syntax: abstract_syntax.ok_or_else(|| missing(ABSTRACT_SYNTAX))?,
        transfer_syntaxes,
    })
}

fn result(
    mut item: Reader<'_>,
    base: Base,
    warnings: &mut Warnings,
) -> Result<ContextResult, Refusal> {
    let id = item.u8(CONTEXT)?;
    item.u8(CONTEXT)?;
    let result = item.u8("result")?;
    item.u8(CONTEXT)?;
    if result > 4 {
        return Err(refusal(Reason::Field, "result", "does not exist"));
    }
    let mut transfer_syntax = None;
    while !item.is_empty() {
        let (kind, mut content) = item.item("presentation context sub-item")?;
        if kind != 0x40 {
            let detail = "has a sub-item other than a transfer syntax";
            return Err(refusal(Reason::Structure, CONTEXT, detail));
        }
        let content = content.rest();
        // Of a context that was not accepted the transfer syntax means nothing, and some leave it empty.
        if result == 0 {
            let uid = Uid::in_pdu(content, TRANSFER_SYNTAX, base, warnings)?;
            once(&mut transfer_syntax, uid, TRANSFER_SYNTAX)?;
        }
    }
    if result == 0 && transfer_syntax.is_none() {
        return Err(missing(TRANSFER_SYNTAX));
    }
    Ok(ContextResult {
        id,
        result,
        transfer_syntax,
    })
}

fn check_ids(ids: impl Iterator<Item = u8>) -> Result<(), Refusal> {
    let fault = |detail| {
        Err(refusal(
            Reason::Structure,
            "presentation context id",
            detail,
        ))
    };
    let mut seen = BTreeSet::new();
    for id in ids {
        if id.is_multiple_of(2) {
            return fault("is even");
        }
        if !seen.insert(id) {
            return fault("occurs twice");
        }
    }
    Ok(())
}

/// Items that the standard does not know are ignored and not sent on, but the items of the other PDU are an error.
fn unknown(kind: u8, warnings: &mut Warnings) -> Result<(), Refusal> {
    if matches!(kind, 0x20 | 0x21 | 0x30 | 0x40 | 0x51..=0x59) {
        let detail = "does not belong here";
        return Err(refusal(Reason::Structure, "variable item", detail));
    }
    let detail = "is not known and is not sent on";
    warnings.warn(refusal(Reason::Structure, "variable item", detail));
    Ok(())
}

fn once<T>(place: &mut Option<T>, value: T, field: &'static str) -> Result<(), Refusal> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(refusal(Reason::Structure, field, "occurs twice")),
    }
}

fn missing(field: &'static str) -> Refusal {
    refusal(Reason::Structure, field, "is missing")
}

/// The only application context (PS3.7 A.2.1).
pub(in super::super) const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// Bit 0 of the protocol version.
pub(super) const VERSION_1: u16 = 1;
const CALLED: &str = "called AE title";
const CALLING: &str = "calling AE title";
const APPLICATION: &str = "application context";
const CONTEXT: &str = "presentation context";
const ABSTRACT_SYNTAX: &str = "abstract syntax";
const TRANSFER_SYNTAX: &str = "transfer syntax";
const USER: &str = "user information";

//! The user information item and its sub-items (PS3.8 9.3.2.3 and annex D, PS3.7 D.3).

use bytes::Bytes;

use super::super::fault::{Warnings, refusal};
use super::super::reader::Reader;
use super::super::uid::Uid;
use crate::Base;
use crate::{Reason, Refusal};

/// What a side says of itself and wishes beyond presentation contexts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInformation {
    pub(in super::super) max_length: u32,
    pub(in super::super) implementation_class: Uid,
    pub(in super::super) implementation_version: Option<String>,
    pub(in super::super) asynchronous: Option<(u16, u16)>,
    pub(in super::super) roles: Vec<RoleSelection>,
    pub(in super::super) extended: Vec<Negotiation>,
    pub(in super::super) common_extended: Vec<Negotiation>,
    pub(in super::super) identity: Option<UserIdentity>,
}

impl UserInformation {
    /// The longest P-DATA-TF that this side receives; 0 is no limit.
    #[must_use]
    pub fn max_length(&self) -> u32 {
        self.max_length
    }

    /// The implementation class UID and the implementation version name (PS3.7 D.3.3.2).
    #[must_use]
    pub fn implementation(&self) -> (&Uid, Option<&str>) {
        let version = self.implementation_version.as_deref();
        (&self.implementation_class, version)
    }

    /// Operations invoked and performed at once, if the side asked for more than one.
    #[must_use]
    pub fn asynchronous(&self) -> Option<(u16, u16)> {
        self.asynchronous
    }

    /// Role selections.
    #[must_use]
    pub fn roles(&self) -> &[RoleSelection] {
        &self.roles
    }

    /// Whether the side identifies a user.
    #[must_use]
    pub fn has_identity(&self) -> bool {
        self.identity.is_some()
    }
}

/// Which roles the requestor of the association plays for a SOP class (PS3.7 D.3.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleSelection {
    /// Of what.
    pub sop_class: Uid,
    /// The requestor is a user.
    pub scu: bool,
    /// The requestor is a provider.
    pub scp: bool,
}

/// An extended negotiation that belongs to a SOP class. What it says is between the two ends.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct Negotiation {
    pub(in super::super) sop_class: Uid,
    pub(in super::super) content: Bytes,
}

impl std::fmt::Debug for Negotiation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} +{} bytes", self.sop_class, self.content.len())
    }
}

/// 58H of a request or 59H of an answer. It may hold a password: never shown.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct UserIdentity {
    pub(in super::super) response_wanted: bool,
    pub(in super::super) content: Bytes,
}

impl std::fmt::Debug for UserIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(user identity)")
    }
}

/// Whose user information it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    Requestor,
    Acceptor,
}

#[derive(Default)]
struct Seen {
    max_length: Option<u32>,
    implementation_class: Option<Uid>,
    implementation_version: Option<String>,
    asynchronous: Option<(u16, u16)>,
    roles: Vec<RoleSelection>,
    extended: Vec<Negotiation>,
    common_extended: Vec<Negotiation>,
    identity: Option<UserIdentity>,
}

impl UserInformation {
    pub(super) fn parse(
        mut reader: Reader<'_>,
        sender: Sender,
        base: Base,
        warnings: &mut Warnings,
    ) -> Result<Self, Refusal> {
        let mut seen = Seen::default();
        while !reader.is_empty() {
            let (kind, content) = reader.item("user information sub-item")?;
            seen.sub_item(kind, content, sender, base, warnings)?;
        }
        Ok(Self {
            max_length: seen.max_length.ok_or_else(|| missing(MAX_LENGTH))?,
            implementation_class: seen
                .implementation_class
                .ok_or_else(|| missing(IMPLEMENTATION_CLASS))?,
            implementation_version: seen.implementation_version,
            asynchronous: seen.asynchronous,
            roles: seen.roles,
            extended: seen.extended,
            common_extended: seen.common_extended,
            identity: seen.identity,
        })
    }
}

impl Seen {
    fn sub_item(
        &mut self,
        kind: u8,
        mut content: Reader<'_>,
        sender: Sender,
        base: Base,
        warnings: &mut Warnings,
    ) -> Result<(), Refusal> {
        match kind {
            0x51 => {
                let length = content.u32_be(MAX_LENGTH)?;
                content.finish(MAX_LENGTH)?;
                once(&mut self.max_length, length, MAX_LENGTH)
            }
            0x52 => {
                let uid = Uid::in_pdu(content.rest(), IMPLEMENTATION_CLASS, base, warnings)?;
                once(&mut self.implementation_class, uid, IMPLEMENTATION_CLASS)
            }
            0x53 => {
                let window = (content.u16_be(WINDOW)?, content.u16_be(WINDOW)?);
                content.finish(WINDOW)?;
                once(&mut self.asynchronous, window, WINDOW)
            }
            0x54 => self.role(content, base, warnings),
            0x55 => {
                let version = version_name(content.rest(), base, warnings)?;
                once(
                    &mut self.implementation_version,
                    version,
                    IMPLEMENTATION_VERSION,
                )
            }
            0x56 => negotiation(&mut self.extended, content, EXTENDED, base, warnings),
            0x57 => self.common(content, base, warnings),
            0x58 if sender == Sender::Requestor => self.identity_rq(content),
            0x59 if sender == Sender::Acceptor => self.identity_ac(content),
            0x58 | 0x59 => Err(refusal(
                Reason::Structure,
                IDENTITY,
                "belongs to the other side",
            )),
            // PS3.8 9.3.2.3 has receivers ignore what they do not know; it is not sent on.
            _ => {
                let detail = "is not known and is not sent on";
                warnings.warn(refusal(
                    Reason::Structure,
                    "user information sub-item",
                    detail,
                ));
                Ok(())
            }
        }
    }

    fn role(
        &mut self,
        mut content: Reader<'_>,
        base: Base,
        warnings: &mut Warnings,
    ) -> Result<(), Refusal> {
        let sop_class = Uid::in_pdu(content.counted(ROLE)?, ROLE, base, warnings)?;
        let (scu, scp) = (content.u8(ROLE)?, content.u8(ROLE)?);
        content.finish(ROLE)?;
        if scu > 1 || scp > 1 {
            return Err(refusal(
                Reason::Field,
                ROLE,
                "has a role that is not 0 or 1",
            ));
        }
        if self.roles.iter().any(|role| role.sop_class == sop_class) {
            let detail = "occurs twice for a SOP class";
            return Err(refusal(Reason::Structure, ROLE, detail));
        }
        self.roles.push(RoleSelection {
            sop_class,
            scu: scu == 1,
            scp: scp == 1,
        });
        Ok(())
    }

    /// 57H: SOP class, service class, related general SOP classes (PS3.7 D.3.3.6).
    fn common(
        &mut self,
        content: Reader<'_>,
        base: Base,
        warnings: &mut Warnings,
    ) -> Result<(), Refusal> {
        let mut inner = content;
        inner.counted(COMMON)?;
        let service = inner.counted(COMMON)?;
        Uid::in_pdu(service, COMMON, base, warnings)?;
        let mut related = Reader::new(inner.counted(COMMON)?);
        while !related.is_empty() {
            Uid::in_pdu(related.counted(COMMON)?, COMMON, base, warnings)?;
        }
        // Behind the related SOP classes the standard has reserved room.
        negotiation(&mut self.common_extended, content, COMMON, base, warnings)
    }

    /// 58H: type, positive response requested, primary and secondary field (PS3.7 D.3.3.7.1).
    fn identity_rq(&mut self, content: Reader<'_>) -> Result<(), Refusal> {
        let mut inner = content;
        let kind = inner.u8(IDENTITY)?;
        let response = inner.u8(IDENTITY)?;
        let primary = inner.counted(IDENTITY)?;
        let secondary = inner.counted(IDENTITY)?;
        inner.finish(IDENTITY)?;
        if !matches!(kind, 1..=5) || response > 1 {
            let detail = "has a type or response flag that does not exist";
            return Err(refusal(Reason::Field, IDENTITY, detail));
        }
        if primary.is_empty() || (kind != WITH_PASSWORD && !secondary.is_empty()) {
            let detail = "has fields that do not fit its type";
            return Err(refusal(Reason::Field, IDENTITY, detail));
        }
        let identity = UserIdentity {
            response_wanted: response == 1,
            content: copied(content),
        };
        once(&mut self.identity, identity, IDENTITY)
    }

    /// 59H: server response (PS3.7 D.3.3.7.2).
    fn identity_ac(&mut self, content: Reader<'_>) -> Result<(), Refusal> {
        let mut inner = content;
        inner.counted(IDENTITY)?;
        inner.finish(IDENTITY)?;
        let identity = UserIdentity {
            response_wanted: false,
            content: copied(content),
        };
        once(&mut self.identity, identity, IDENTITY)
    }
}

/// Sub-items 56H and 57H begin with the SOP class that they are about; each may occur once for it.
fn negotiation(
    known: &mut Vec<Negotiation>,
    content: Reader<'_>,
    field: &'static str,
    base: Base,
    warnings: &mut Warnings,
) -> Result<(), Refusal> {
    let mut inner = content;
    let sop_class = Uid::in_pdu(inner.counted(field)?, field, base, warnings)?;
    if known.iter().any(|other| other.sop_class == sop_class) {
        let detail = "occurs twice for a SOP class";
        return Err(refusal(Reason::Structure, field, detail));
    }
    known.push(Negotiation {
        sop_class,
        content: copied(content),
    });
    Ok(())
}

fn version_name(bytes: &[u8], base: Base, warnings: &mut Warnings) -> Result<String, Refusal> {
    let fault = |detail| refusal(Reason::Encoding, IMPLEMENTATION_VERSION, detail);
    if bytes.len() > MAX_VERSION_NAME || !bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(fault("is longer than 16 or not plain text"));
    }
    if bytes.is_empty() {
        warnings.doubt(base, fault("is empty"))?;
    }
    Ok(String::from_utf8_lossy(bytes).into_owned())
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

fn copied(mut reader: Reader<'_>) -> Bytes {
    Bytes::copy_from_slice(reader.rest())
}

const MAX_LENGTH: &str = "maximum length";
const IMPLEMENTATION_CLASS: &str = "implementation class UID";
const IMPLEMENTATION_VERSION: &str = "implementation version name";
const WINDOW: &str = "asynchronous operations window";
const ROLE: &str = "role selection";
const EXTENDED: &str = "SOP class extended negotiation";
const COMMON: &str = "SOP class common extended negotiation";
const IDENTITY: &str = "user identity";
const MAX_VERSION_NAME: usize = 16;
/// User identity type 2: user name and passcode.
const WITH_PASSWORD: u8 = 2;

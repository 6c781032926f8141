//! Negotiates an association: what of a request may go on, and what the requestor is told.
//!
//! In: the verified request, the policy, the verified answer of the destination.
//! Out: PDUs for the other leg, and the [`Established`] contexts. Knows nothing of sockets or of the order of PDUs.

use std::collections::BTreeMap;

use super::bounds::IdentityUse;
use super::fault::{Violation, refusal};
use super::pdu::{
    APPLICATION_CONTEXT, AbortReason, AcceptedContext, AssociateAc, AssociateRq, ContextResult,
    ProposedContext, RejectReason, RoleSelection, UserInformation, encode_associate_ac,
    encode_associate_rq, reject,
};
use super::policy::Policy;
use super::transfer::TransferSyntax;
use super::uid::Uid;
use crate::{LimitReached, Permit, Reason, Refusal, Spoken};

/// The two ends of an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// Who asked for the association: the device.
    Requestor,
    /// Who was asked: the destination.
    Acceptor,
}

impl Peer {
    /// The opposite end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Requestor => Self::Acceptor,
            Self::Acceptor => Self::Requestor,
        }
    }
}

/// Why an association is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{refusal}")]
pub struct Rejection {
    /// What the A-ASSOCIATE-RJ says.
    pub reason: RejectReason,
    /// For the record.
    pub refusal: Refusal,
}

impl Rejection {
    /// The A-ASSOCIATE-RJ.
    pub fn reject(&self) -> Spoken {
        reject(self.reason)
    }
}

/// A request of which the forbidden parts were taken out.
#[derive(Clone, Debug)]
pub struct Filtered {
    request: AssociateRq,
    /// Why a proposed context does not go on, by id.
    dropped: BTreeMap<u8, Dropped>,
    kept: Vec<ProposedContext>,
    user: UserInformation,
    announced: u32,
    changed: bool,
}

/// Why a proposed context does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dropped {
    Rule,
    TransferSyntaxes,
}

/// What of a request may go on.
///
/// # Errors
/// A [`Rejection`] with the codes of the A-ASSOCIATE-RJ.
pub fn filter(rq: &AssociateRq, policy: &Policy) -> Result<Filtered, Rejection> {
    check(rq, policy)?;
    let calling = rq.calling_ae.as_str();
    let mut dropped = BTreeMap::new();
    let mut kept = Vec::new();
    let mut changed = rq.user.asynchronous.is_some() || !rq.warnings().is_empty();
    for context in &rq.contexts {
        let class = context.abstract_syntax.as_str();
        if !policy.carries(calling, class) {
            dropped.insert(context.id, Dropped::Rule);
            continue;
        }
        let carried = |uid: &&Uid| {
            let known = TransferSyntax::from_uid(uid.as_str()).is_some();
            known && policy.carries_in(calling, class, uid.as_str())
        };
        let syntaxes: Vec<Uid> = context
            .transfer_syntaxes
            .iter()
            .filter(carried)
            .cloned()
            .collect();
        changed |= syntaxes.len() < context.transfer_syntaxes.len();
        if syntaxes.is_empty() {
            dropped.insert(context.id, Dropped::TransferSyntaxes);
            continue;
        }
        kept.push(ProposedContext {
            transfer_syntaxes: syntaxes,
            ..context.clone()
        });
    }
    changed |= !dropped.is_empty();
    let announced = u32::try_from(policy.limits.dicom_pdu).unwrap_or(u32::MAX);
    let (user, narrowed) = kept_user(rq, &kept, announced, policy);
    changed |= narrowed;
    Ok(Filtered {
        user,
        request: rq.clone(),
        dropped,
        kept,
        announced,
        changed,
    })
}

//= DICOM PS3.8 9.3.4
fn check(rq: &AssociateRq, policy: &Policy) -> Result<(), Rejection> {
    let fault = |reason, refused| {
        Err(Rejection {
            reason,
            refusal: refused,
        })
    };
    if rq.protocol_version & 1 == 0 {
        let detail = "does not include version 1";
        let refused = refusal(Reason::Unsupported, "protocol version", detail);
        return fault(RejectReason::ProtocolVersion, refused);
    }
    if rq.application_context.as_str() != APPLICATION_CONTEXT {
        let refused = refusal(Reason::Unsupported, "application context", "is not DICOM's");
        return fault(RejectReason::ApplicationContext, refused);
    }
    let max = policy.limits.dicom_contexts;
    if rq.contexts.len() > max {
        let reached = LimitReached {
            limit: "dicom_contexts",
            got: u64::try_from(rq.contexts.len()).unwrap_or(u64::MAX),
            max: u64::try_from(max).unwrap_or(u64::MAX),
        };
        return fault(RejectReason::LocalLimit, reached.into());
    }
    let called = rq.called_ae.as_str();
    if policy.called_ae.as_deref().is_some_and(|own| own != called) {
        let detail = "is not that of the service";
        let refused = refusal(Reason::Forbidden, "called AE title", detail);
        return fault(RejectReason::CalledAe, refused);
    }
    if policy.rules_for(rq.calling_ae.as_str()).next().is_none() {
        let detail = "is not the caller's own";
        let refused = refusal(Reason::Identity, "calling AE title", detail);
        return fault(RejectReason::CallingAe, refused);
    }
    let needs_user = policy.identity_use(rq.calling_ae.as_str()) == IdentityUse::Require;
    if needs_user && rq.user.identity.is_none() {
        let detail = "is missing, and the rule requires one";
        let refused = refusal(Reason::Identity, "user identity", detail);
        return fault(RejectReason::NoReason, refused);
    }
    if (1..MIN_MAX_LENGTH).contains(&rq.user.max_length) {
        let detail = "is too small to carry messages";
        let refused = refusal(Reason::Unsupported, "maximum length", detail);
        return fault(RejectReason::NoReason, refused);
    }
    Ok(())
}

/// Negotiations about SOP classes that do not go on stay behind with them; so do roles and users that no rule lets through.
/// Also whether something of the latter stayed behind.
fn kept_user(
    rq: &AssociateRq,
    kept: &[ProposedContext],
    announced: u32,
    policy: &Policy,
) -> (UserInformation, bool) {
    let calling = rq.calling_ae.as_str();
    let known = |uid: &Uid| kept.iter().any(|context| context.abstract_syntax == *uid);
    let mut user = rq.user.clone();
    user.max_length = announced;
    user.asynchronous = None;
    user.extended.retain(|item| known(&item.sop_class));
    user.common_extended.retain(|item| known(&item.sop_class));
    let mut narrowed = false;
    user.roles.retain_mut(|role| {
        if role.scp && !policy.reverses(calling, role.sop_class.as_str()) {
            role.scp = false;
            narrowed = true;
        }
        // Without a role left there is nothing to select: the usual ones hold.
        known(&role.sop_class) && (role.scu || role.scp)
    });
    if policy.identity_use(calling) == IdentityUse::Strip {
        narrowed |= user.identity.take().is_some();
    }
    (user, narrowed)
}

impl Filtered {
    /// The request for the destination, written anew.
    pub fn request(&self) -> Permit {
        let (called, calling) = (&self.request.called_ae, &self.request.calling_ae);
        Permit::new(encode_associate_rq(called, calling, &self.kept, &self.user))
    }

    /// Whether something but the maximum length is not as the requestor proposed it; goes on record.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// Whether no context is left: the destination need not be asked, see [`Self::refuse_all`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// How many contexts were proposed, and how many go on.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.request.contexts.len(), self.kept.len())
    }

    /// What the requestor asked for.
    #[must_use]
    pub fn original(&self) -> &AssociateRq {
        &self.request
    }

    /// Our own answer when no context is left: all are refused, the association stands and can be released.
    pub fn refuse_all(&self) -> Spoken {
        let contexts: Vec<_> = self
            .request
            .contexts
            .iter()
            .map(|c| self.say(c, None))
            .collect();
        let mut user = self.user.clone();
        user.identity = None;
        user.implementation_class = Uid::known(OUR_CLASS);
        user.implementation_version = None;
        let (called, calling) = (&self.request.called_ae, &self.request.calling_ae);
        Spoken::new(encode_associate_ac(called, calling, &contexts, &user))
    }

    /// What the requestor is told about one of its contexts.
    fn say(&self, context: &ProposedContext, answer: Option<&ContextResult>) -> AcceptedContext {
        let result = match self.dropped.get(&context.id) {
            Some(Dropped::Rule) => USER_REJECTION,
            Some(Dropped::TransferSyntaxes) => TRANSFER_SYNTAXES,
            None => answer.map_or(PROVIDER_REJECTION, |answer| answer.result),
        };
        let accepted = answer.and_then(|answer| answer.transfer_syntax.clone());
        AcceptedContext {
            id: context.id,
            result,
            transfer_syntax: accepted
                .or_else(|| context.transfer_syntaxes.first().cloned())
                .unwrap_or_else(|| Uid::known(IMPLICIT_LITTLE)),
        }
    }
}

/// An established association, as far as messages need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Established {
    pub(super) calling_ae: String,
    pub(super) contexts: BTreeMap<u8, Context>,
    pub(super) requestor_max: u32,
    pub(super) acceptor_max: u32,
}

/// An accepted presentation context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// What it is for.
    pub abstract_syntax: Uid,
    /// How its data sets are encoded.
    pub transfer_syntax: TransferSyntax,
    /// Which transfer syntax that is.
    pub transfer_syntax_uid: Uid,
    /// The requestor may ask.
    pub requestor_scu: bool,
    /// The requestor may be asked.
    pub requestor_scp: bool,
}

impl Established {
    /// The title of who asked for it.
    #[must_use]
    pub fn calling_ae(&self) -> &str {
        &self.calling_ae
    }

    /// The accepted contexts.
    #[must_use]
    pub fn contexts(&self) -> &BTreeMap<u8, Context> {
        &self.contexts
    }

    /// The longest P-DATA-TF that we send to this end.
    #[must_use]
    pub fn max_length(&self, to: Peer) -> u32 {
        match to {
            Peer::Requestor => self.requestor_max,
            Peer::Acceptor => self.acceptor_max,
        }
    }
}

/// What the requestor is told, once the destination has answered.
///
/// # Errors
/// A [`Violation`] of the destination: it accepted what was not proposed.
pub fn answer(filtered: &Filtered, ac: &AssociateAc) -> Result<(Permit, Established), Violation> {
    if (1..MIN_MAX_LENGTH).contains(&ac.user.max_length) {
        let detail = "is too small to carry messages";
        return Err(refusal(Reason::Unsupported, "maximum length", detail).into());
    }
    let roles = accepted_roles(filtered, &ac.user)?;
    let mut contexts = BTreeMap::new();
    for result in &ac.contexts {
        if let Some(context) = accepted(filtered, result, &roles)? {
            contexts.insert(result.id, context);
        }
    }
    let told: Vec<AcceptedContext> = filtered
        .request
        .contexts
        .iter()
        .map(|context| {
            let answered = ac.contexts.iter().find(|result| result.id == context.id);
            filtered.say(context, answered)
        })
        .collect();
    let user = answered_user(filtered, &ac.user, roles);
    let (called, calling) = (&filtered.request.called_ae, &filtered.request.calling_ae);
    let permit = Permit::new(encode_associate_ac(called, calling, &told, &user));
    let cap = |announced: u32| match announced {
        0 => filtered.announced,
        _ => announced.min(filtered.announced),
    };
    let established = Established {
        calling_ae: calling.as_str().to_owned(),
        contexts,
        requestor_max: cap(filtered.request.user.max_length),
        acceptor_max: cap(ac.user.max_length),
    };
    Ok((permit, established))
}

fn accepted(
    filtered: &Filtered,
    result: &ContextResult,
    roles: &[RoleSelection],
) -> Result<Option<Context>, Violation> {
    let fault = |detail| {
        let refused = refusal(Reason::Structure, "presentation context", detail);
        Err(Violation::new(AbortReason::InvalidParameter, refused))
    };
    let Some(proposed) = filtered.kept.iter().find(|context| context.id == result.id) else {
        return fault("was answered but not proposed");
    };
    let Some(uid) = &result.transfer_syntax else {
        return Ok(None);
    };
    if !proposed.transfer_syntaxes.contains(uid) {
        return fault("was accepted with a transfer syntax that was not proposed");
    }
    let Some(transfer_syntax) = TransferSyntax::from_uid(uid.as_str()) else {
        return fault("was accepted with a transfer syntax that is not carried");
    };
    // Without role selection the requestor is user and the acceptor provider (PS3.7 D.3.3.4).
    let role = roles
        .iter()
        .find(|role| role.sop_class == proposed.abstract_syntax);
    Ok(Some(Context {
        abstract_syntax: proposed.abstract_syntax.clone(),
        transfer_syntax,
        transfer_syntax_uid: uid.clone(),
        requestor_scu: role.is_none_or(|role| role.scu),
        requestor_scp: role.is_some_and(|role| role.scp),
    }))
}

/// The acceptor may only narrow the roles that were proposed.
fn accepted_roles(
    filtered: &Filtered,
    user: &UserInformation,
) -> Result<Vec<RoleSelection>, Violation> {
    for role in &user.roles {
        let proposed = |other: &&RoleSelection| other.sop_class == role.sop_class;
        let fits = filtered
            .user
            .roles
            .iter()
            .find(proposed)
            .is_some_and(|other| (other.scu || !role.scu) && (other.scp || !role.scp));
        if !fits {
            let detail = "accepts a role that was not proposed";
            return Err(refusal(Reason::Structure, "role selection", detail).into());
        }
    }
    Ok(user.roles.clone())
}

fn answered_user(
    filtered: &Filtered,
    user: &UserInformation,
    roles: Vec<RoleSelection>,
) -> UserInformation {
    let wanted = |identity: &super::pdu::UserIdentity| identity.response_wanted;
    let asked = filtered.user.identity.as_ref().is_some_and(wanted);
    let mut user = user.clone();
    user.max_length = filtered.announced;
    user.asynchronous = None;
    user.roles = roles;
    user.common_extended.clear();
    let known = |uid: &Uid| {
        filtered
            .user
            .extended
            .iter()
            .any(|item| item.sop_class == *uid)
    };
    user.extended.retain(|item| known(&item.sop_class));
    user.identity = user.identity.filter(|_| asked);
    user
}

/// Below this a peer would turn every message into a storm of tiny PDUs.
const MIN_MAX_LENGTH: u32 = 128;
const USER_REJECTION: u8 = 1;
const PROVIDER_REJECTION: u8 = 2;
const TRANSFER_SYNTAXES: u8 = 4;
const IMPLICIT_LITTLE: &str = "1.2.840.10008.1.2";
/// A UUID-derived UID (PS3.5 B.2) that names this implementation.
const OUR_CLASS: &str = "2.25.118446287034955284403254128513267114263";

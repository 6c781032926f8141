//! Writes A-ASSOCIATE-RQ and -AC anew from verified structures.
//!
//! Nothing that a peer sent is copied here but fields that were checked.

use bytes::Bytes;

use super::super::uid::{AeTitle, Uid};
use super::associate::{APPLICATION_CONTEXT, ProposedContext, VERSION_1};
use super::user::{Negotiation, RoleSelection, UserIdentity, UserInformation};
use super::{PduType, assemble};

/// What the acceptor says to one context, for writing.
pub(in super::super) struct AcceptedContext {
    pub(in super::super) id: u8,
    pub(in super::super) result: u8,
    /// Written even when the context is refused, because some requestors insist on the sub-item.
    pub(in super::super) transfer_syntax: Uid,
}

/// A request with these contexts and this user information; the asynchronous window is left out, which means 1/1.
pub(in super::super) fn encode_associate_rq(
    called: &AeTitle,
    calling: &AeTitle,
    contexts: &[ProposedContext],
    user: &UserInformation,
) -> Bytes {
    let mut content = opening(called, calling);
    for context in contexts {
        let mut inner = vec![context.id, 0, 0, 0];
        item(
            &mut inner,
            0x30,
            context.abstract_syntax.as_str().as_bytes(),
        );
        for syntax in &context.transfer_syntaxes {
            item(&mut inner, 0x40, syntax.as_str().as_bytes());
        }
        item(&mut content, 0x20, &inner);
    }
    item(&mut content, 0x50, &user_information(user, 0x58));
    assemble(PduType::AssociateRq, &content).into()
}

/// An answer. The AE titles are those of the request (PS3.8 table 9-17).
pub(in super::super) fn encode_associate_ac(
    called: &AeTitle,
    calling: &AeTitle,
    contexts: &[AcceptedContext],
    user: &UserInformation,
) -> Bytes {
    let mut content = opening(called, calling);
    for context in contexts {
        let mut inner = vec![context.id, 0, context.result, 0];
        item(
            &mut inner,
            0x40,
            context.transfer_syntax.as_str().as_bytes(),
        );
        item(&mut content, 0x21, &inner);
    }
    item(&mut content, 0x50, &user_information(user, 0x59));
    assemble(PduType::AssociateAc, &content).into()
}

fn opening(called: &AeTitle, calling: &AeTitle) -> Vec<u8> {
    let mut content = Vec::new();
    content.extend(VERSION_1.to_be_bytes());
    content.extend([0; 2]);
    content.extend(called.padded());
    content.extend(calling.padded());
    content.extend([0; 32]);
    item(&mut content, 0x10, APPLICATION_CONTEXT.as_bytes());
    content
}

fn user_information(user: &UserInformation, identity_item: u8) -> Vec<u8> {
    let mut content = Vec::new();
    item(&mut content, 0x51, &user.max_length.to_be_bytes());
    item(
        &mut content,
        0x52,
        user.implementation_class.as_str().as_bytes(),
    );
    for role in &user.roles {
        item(&mut content, 0x54, &role_selection(role));
    }
    if let Some(version) = &user.implementation_version {
        item(&mut content, 0x55, version.as_bytes());
    }
    for Negotiation { content: inner, .. } in &user.extended {
        item(&mut content, 0x56, inner);
    }
    for Negotiation { content: inner, .. } in &user.common_extended {
        item(&mut content, 0x57, inner);
    }
    if let Some(UserIdentity { content: inner, .. }) = &user.identity {
        item(&mut content, identity_item, inner);
    }
    content
}

fn role_selection(role: &RoleSelection) -> Vec<u8> {
    let uid = role.sop_class.as_str().as_bytes();
    let mut content = Vec::new();
    content.extend(u16::try_from(uid.len()).unwrap_or(u16::MAX).to_be_bytes());
    content.extend_from_slice(uid);
    content.extend([u8::from(role.scu), u8::from(role.scp)]);
    content
}

/// Every content that is written here was read from an item, or is a part of one, and so fits.
fn item(out: &mut Vec<u8>, kind: u8, content: &[u8]) {
    out.extend([kind, 0]);
    out.extend(
        u16::try_from(content.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes(),
    );
    out.extend_from_slice(content);
}

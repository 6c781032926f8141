//! DICOM: upper layer (PS3.8), DIMSE (PS3.7) and data sets (PS3.5).
//!
//! A relay holds, for each association, two [`PduReader`]s and two [`Leg`]s (one of each side);
//! it asks [`filter`] and [`answer`] what to say to whom while the association is negotiated,
//! and a [`Dialogue`] what to do with every [`Pdv`] afterwards.

mod reader;
mod fault;
mod uid;
mod transfer;
mod sop;
mod policy;
mod bounds;
mod pdu;
mod state;
mod association;
mod dimse;
mod dictionary;
mod values;
mod iod;
mod normalized;
mod dataset;
mod exchange;
mod asked;
mod claim;
mod inspector;
mod message;
mod approved;
mod offline;
mod part10;

pub use crate::embedded::Kind as DocumentKind;
pub use approved::{Approved, RefusedMessage};
pub use association::{Context, Established, Filtered, Peer, Rejection, answer, filter};
pub use bounds::{IdentityUse, Query};
pub use dataset::{
    Brief, Commitment, Content, Facts, Normalized, StepStatus, Transaction, Walker, tree,
};
pub use dimse::{Command, Denied, Direction, Service, allowed, refusal_response, status};
pub use fault::Violation;
pub use message::{Dialogue, Event, Head};
pub use offline::inspect_offline;
pub use pdu::{
    Abort, AbortReason, AssociateAc, AssociateRj, AssociateRq, ContextResult, Pdu, PduReader,
    PduType, Pdv, ProposedContext, RejectReason, RoleSelection, UserInformation, abort, reject,
    release_rp, release_rq,
};
pub use policy::{Follows, Level, Policy, Profile, Retrieval, Rule, Strictness};
pub use sop::{PERFORMED_PROCEDURE_STEP, STORAGE_COMMITMENT, is_storage};
pub use state::{Leg, Side, State};
pub use transfer::{Compression, TransferSyntax};
pub use uid::{AeTitle, Uid};

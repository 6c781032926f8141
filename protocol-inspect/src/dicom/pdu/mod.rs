//! Protocol data units of the upper layer (PS3.8 9.3).
//!
//! In: the bytes of one side, in any chunks. Out: PDUs, each checked to its last byte, or a violation.
//! Knows nothing of the order of PDUs (see `state.rs`) nor of what DIMSE says inside.

mod framer;
mod associate;
mod user;
mod encode;
mod data;
mod control;

pub use associate::{AssociateAc, AssociateRq, ContextResult, ProposedContext};
pub use control::{
    Abort, AbortReason, AssociateRj, RejectReason, abort, reject, release_rp, release_rq,
};
pub use data::Pdv;
pub use framer::PduReader;
pub use user::{RoleSelection, UserInformation};

pub(super) use associate::APPLICATION_CONTEXT;
pub(super) use data::{Outbound, frame_spoken};
pub(super) use encode::{AcceptedContext, encode_associate_ac, encode_associate_rq};
pub(super) use user::UserIdentity;

/// One PDU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pdu {
    /// A-ASSOCIATE-RQ.
    AssociateRq(Box<AssociateRq>),
    /// A-ASSOCIATE-AC.
    AssociateAc(Box<AssociateAc>),
    /// A-ASSOCIATE-RJ.
    AssociateRj(AssociateRj),
    /// P-DATA-TF: at least one PDV.
    PData(Vec<Pdv>),
    /// A-RELEASE-RQ.
    ReleaseRq,
    /// A-RELEASE-RP.
    ReleaseRp,
    /// A-ABORT.
    Abort(Abort),
}

impl Pdu {
    /// Its type.
    #[must_use]
    pub fn kind(&self) -> PduType {
        match self {
            Self::AssociateRq(_) => PduType::AssociateRq,
            Self::AssociateAc(_) => PduType::AssociateAc,
            Self::AssociateRj(_) => PduType::AssociateRj,
            Self::PData(_) => PduType::PData,
            Self::ReleaseRq => PduType::ReleaseRq,
            Self::ReleaseRp => PduType::ReleaseRp,
            Self::Abort(_) => PduType::Abort,
        }
    }
}

/// The seven types of PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PduType {
    /// 01H.
    AssociateRq,
    /// 02H.
    AssociateAc,
    /// 03H.
    AssociateRj,
    /// 04H.
    PData,
    /// 05H.
    ReleaseRq,
    /// 06H.
    ReleaseRp,
    /// 07H.
    Abort,
}

impl PduType {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AssociateRq,
        Self::AssociateAc,
        Self::AssociateRj,
        Self::PData,
        Self::ReleaseRq,
        Self::ReleaseRp,
        Self::Abort,
    ];

    /// The name in the standard.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AssociateRq => "A-ASSOCIATE-RQ",
            Self::AssociateAc => "A-ASSOCIATE-AC",
            Self::AssociateRj => "A-ASSOCIATE-RJ",
            Self::PData => "P-DATA-TF",
            Self::ReleaseRq => "A-RELEASE-RQ",
            Self::ReleaseRp => "A-RELEASE-RP",
            Self::Abort => "A-ABORT",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::AssociateRq => 1,
            Self::AssociateAc => 2,
            Self::AssociateRj => 3,
            Self::PData => 4,
            Self::ReleaseRq => 5,
            Self::ReleaseRp => 6,
            Self::Abort => 7,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// Type, reserved byte, length.
const HEADER: usize = 6;

/// Puts the header before the content of a PDU.
fn assemble(kind: PduType, content: &[u8]) -> Vec<u8> {
    let mut pdu = Vec::with_capacity(content.len().saturating_add(HEADER));
    pdu.extend([kind.code(), 0]);
    let len = u32::try_from(content.len()).unwrap_or(u32::MAX);
    pdu.extend(len.to_be_bytes());
    pdu.extend_from_slice(content);
    pdu
}

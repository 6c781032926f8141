//! The PDUs of four bytes: A-ASSOCIATE-RJ, A-RELEASE-RQ and -RP, A-ABORT (PS3.8 9.3.4, 9.3.6 to 9.3.8).

use bytes::Bytes;

use super::super::fault::refusal;
use super::super::reader::Reader;
use super::{PduType, assemble};
use crate::{Permit, Reason, Refusal, Spoken};

/// A-ASSOCIATE-RJ of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssociateRj {
    result: u8,
    source: u8,
    reason: u8,
}

impl AssociateRj {
    /// Result, source and reason, as in `1/1/7`.
    #[must_use]
    pub fn codes(self) -> (u8, u8, u8) {
        (self.result, self.source, self.reason)
    }

    /// For the other side.
    pub fn permit(self) -> Permit {
        let content = [0, self.result, self.source, self.reason];
        Permit::new(assemble(PduType::AssociateRj, &content).into())
    }

    pub(super) fn parse(content: &Bytes) -> Result<Self, Refusal> {
        let mut reader = Reader::new(content);
        reader.u8("reserved")?;
        let result = reader.u8("result")?;
        let source = reader.u8("source")?;
        let reason = reader.u8("reason")?;
        if !matches!(result, 1 | 2) || !matches!(source, 1..=3) {
            let detail = "has a result or source that does not exist";
            return Err(refusal(Reason::Field, "A-ASSOCIATE-RJ", detail));
        }
        Ok(Self {
            result,
            source,
            reason,
        })
    }
}

/// Why this gateway rejects an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RejectReason {
    /// 1/1/1.
    NoReason,
    /// 1/1/2.
    ApplicationContext,
    /// 1/1/3.
    CallingAe,
    /// 1/1/7.
    CalledAe,
    /// 1/2/2.
    ProtocolVersion,
    /// 2/3/1: the destination cannot be reached.
    Congestion,
    /// 2/3/2.
    LocalLimit,
}

impl RejectReason {
    /// Result, source and reason.
    #[must_use]
    pub fn codes(self) -> (u8, u8, u8) {
        match self {
            Self::NoReason => (1, 1, 1),
            Self::ApplicationContext => (1, 1, 2),
            Self::CallingAe => (1, 1, 3),
            Self::CalledAe => (1, 1, 7),
            Self::ProtocolVersion => (1, 2, 2),
            Self::Congestion => (2, 3, 1),
            Self::LocalLimit => (2, 3, 2),
        }
    }
}

/// Our A-ASSOCIATE-RJ.
pub fn reject(reason: RejectReason) -> Spoken {
    let (result, source, reason) = reason.codes();
    spoken(PduType::AssociateRj, [0, result, source, reason])
}

/// A-ABORT of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    source: u8,
    reason: u8,
}

impl Abort {
    /// Source and reason, as in `2/6`.
    #[must_use]
    pub fn codes(self) -> (u8, u8) {
        (self.source, self.reason)
    }

    /// For the other side.
    pub fn permit(self) -> Permit {
        Permit::new(assemble(PduType::Abort, &[0, 0, self.source, self.reason]).into())
    }

    /// The values are not judged: the association is over whatever they are.
    pub(super) fn parse(content: &Bytes) -> Result<Self, Refusal> {
        let mut reader = Reader::new(content);
        reader.take(2, "reserved")?;
        Ok(Self {
            source: reader.u8("source")?,
            reason: reader.u8("reason")?,
        })
    }
}

/// Why this gateway aborts; the source is 2, the service provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AbortReason {
    /// 0.
    NotSpecified,
    /// 1.
    UnrecognizedPdu,
    /// 2.
    UnexpectedPdu,
    /// 4.
    UnrecognizedParameter,
    /// 5.
    UnexpectedParameter,
    /// 6.
    InvalidParameter,
}

impl AbortReason {
    /// The code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::NotSpecified => 0,
            Self::UnrecognizedPdu => 1,
            Self::UnexpectedPdu => 2,
            Self::UnrecognizedParameter => 4,
            Self::UnexpectedParameter => 5,
            Self::InvalidParameter => 6,
        }
    }
}

/// Our A-ABORT.
pub fn abort(reason: AbortReason) -> Spoken {
    spoken(PduType::Abort, [0, 0, PROVIDER, reason.code()])
}

/// A-RELEASE-RQ.
pub fn release_rq() -> Spoken {
    spoken(PduType::ReleaseRq, [0; 4])
}

/// A-RELEASE-RP.
pub fn release_rp() -> Spoken {
    spoken(PduType::ReleaseRp, [0; 4])
}

fn spoken(kind: PduType, content: [u8; 4]) -> Spoken {
    Spoken::new(assemble(kind, &content).into())
}

const PROVIDER: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_words() {
        let bytes = |spoken: Spoken| spoken.into_bytes().to_vec();
        assert_eq!(
            bytes(reject(RejectReason::CalledAe)),
            [3, 0, 0, 0, 0, 4, 0, 1, 1, 7]
        );
        assert_eq!(
            bytes(abort(AbortReason::InvalidParameter)),
            [7, 0, 0, 0, 0, 4, 0, 0, 2, 6]
        );
        assert_eq!(bytes(release_rq()), [5, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
        assert_eq!(bytes(release_rp()), [6, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    }

    #[test]
    fn rejections_have_a_result_and_a_source() {
        assert!(AssociateRj::parse(&Bytes::from_static(&[0, 2, 3, 1])).is_ok());
        assert!(AssociateRj::parse(&Bytes::from_static(&[0, 0, 3, 1])).is_err());
        assert!(AssociateRj::parse(&Bytes::from_static(&[0, 1, 4, 1])).is_err());
    }
}

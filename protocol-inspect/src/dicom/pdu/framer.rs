//! Cuts a TCP stream into PDUs.
//!
//! In: bytes in any chunks. Out: PDUs or a violation.
//! The six bytes of a header are judged before anything behind them is kept.

use bytes::{Buf, Bytes, BytesMut};

use super::super::fault::{Violation, refusal};
use super::super::reader::Reader;
use super::{Abort, AbortReason, AssociateAc, AssociateRj, AssociateRq, HEADER, Pdu, PduType, Pdv};
use crate::Base;
use crate::{LimitReached, Limits, Reason, Refusal};

/// Reads the PDUs of one side.
///
/// Poll until `None` after each `receive`: then it never holds more than one PDU and what was received last.
pub struct PduReader {
    buffer: BytesMut,
    base: Base,
    association_pdu: u64,
    data_pdu: u64,
    /// Length of the PDU whose header was accepted, header included.
    expected: Option<(PduType, usize)>,
    failed: bool,
}

/// Never the bytes.
impl std::fmt::Debug for PduReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PduReader")
            .field("buffered", &self.buffer.len())
            .finish_non_exhaustive()
    }
}

impl PduReader {
    /// A reader at the start of a connection. `profile` decides what of the association is tolerated.
    #[must_use]
    pub fn new(limits: &Limits, base: Base) -> Self {
        Self {
            buffer: BytesMut::new(),
            base,
            association_pdu: u64::try_from(limits.dicom_association_pdu).unwrap_or(u64::MAX),
            data_pdu: u64::try_from(limits.dicom_pdu).unwrap_or(u64::MAX),
            expected: None,
            failed: false,
        }
    }

    /// Bytes came.
    pub fn receive(&mut self, bytes: &[u8]) {
        if !self.failed {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next PDU. After a violation nothing more is read.
    pub fn poll(&mut self) -> Option<Result<Pdu, Violation>> {
        if self.failed {
            return None;
        }
        let pdu = match self.frame() {
            Ok(None) => return None,
            Ok(Some((kind, pdu))) => parse(kind, &pdu, self.base),
            Err(violation) => Err(violation),
        };
        if pdu.is_err() {
            self.failed = true;
            self.buffer = BytesMut::new();
        }
        Some(pdu)
    }

    /// Whether a PDU has begun and not ended: the deadline for receiving it runs.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn frame(&mut self) -> Result<Option<(PduType, Bytes)>, Violation> {
        let (kind, total) = match self.expected {
            Some(expected) => expected,
            None => match self.header()? {
                Some(expected) => expected,
                None => return Ok(None),
            },
        };
        self.expected = Some((kind, total));
        if self.buffer.len() < total {
            return Ok(None);
        }
        self.expected = None;
        let mut pdu = self.buffer.split_to(total).freeze();
        pdu.advance(HEADER);
        Ok(Some((kind, pdu)))
    }

    /// The header, once it is there and within bounds.
    fn header(&self) -> Result<Option<(PduType, usize)>, Violation> {
        let mut reader = Reader::new(&self.buffer);
        let Some(code) = self.buffer.first() else {
            return Ok(None);
        };
        let kind = PduType::from_code(*code).ok_or_else(|| unrecognized(*code))?;
        if self.buffer.len() < HEADER {
            return Ok(None);
        }
        reader.u8("PDU type")?;
        reader.u8("reserved")?;
        let len = reader.u32_be("PDU length")?;
        self.check_length(kind, len)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        Ok(Some((kind, len.saturating_add(HEADER))))
    }

    fn check_length(&self, kind: PduType, len: u32) -> Result<(), Refusal> {
        let (least, limit, most) = match kind {
            PduType::AssociateRq | PduType::AssociateAc => {
                (MIN_ASSOCIATE, "dicom_association_pdu", self.association_pdu)
            }
            PduType::PData => (MIN_DATA, "dicom_pdu", self.data_pdu),
            PduType::AssociateRj | PduType::ReleaseRq | PduType::ReleaseRp | PduType::Abort => {
                if len == CONTROL {
                    return Ok(());
                }
                let detail = format!("of {} is not 4", kind.name());
                return Err(refusal(Reason::Framing, "PDU length", detail));
            }
        };
        if len < least {
            let detail = format!("of {} is too small", kind.name());
            return Err(refusal(Reason::Framing, "PDU length", detail));
        }
        let got = u64::from(len);
        if got > most {
            return Err(LimitReached {
                limit,
                got,
                max: most,
            }
            .into());
        }
        Ok(())
    }
}

fn parse(kind: PduType, content: &Bytes, base: Base) -> Result<Pdu, Violation> {
    let pdu = match kind {
        PduType::AssociateRq => Pdu::AssociateRq(Box::new(AssociateRq::parse(content, base)?)),
        PduType::AssociateAc => Pdu::AssociateAc(Box::new(AssociateAc::parse(content, base)?)),
        PduType::AssociateRj => Pdu::AssociateRj(AssociateRj::parse(content)?),
        PduType::PData => Pdu::PData(Pdv::parse_all(content)?),
        PduType::ReleaseRq => Pdu::ReleaseRq,
        PduType::ReleaseRp => Pdu::ReleaseRp,
        PduType::Abort => Pdu::Abort(Abort::parse(content)?),
    };
    Ok(pdu)
}

fn unrecognized(code: u8) -> Violation {
    let (reason, detail) = match code {
        TLS_HANDSHAKE => (
            Reason::Unsupported,
            "is the start of TLS, which is not terminated here",
        ),
        _ => (Reason::Framing, "is not one of PS3.8"),
    };
    Violation::new(
        AbortReason::UnrecognizedPdu,
        refusal(reason, "PDU type", detail),
    )
}

/// Version, two AE titles and the reserved fields around them.
const MIN_ASSOCIATE: u32 = 68;
/// One PDV without a byte of message.
const MIN_DATA: u32 = 6;
/// Every other PDU.
const CONTROL: u32 = 4;
const TLS_HANDSHAKE: u8 = 0x16;

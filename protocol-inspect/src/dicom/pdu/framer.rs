//! Cuts a TCP stream into PDUs.
//!
//! In: bytes in any chunks. Out: PDUs or a violation.
//! The six bytes of a header are judged before anything behind them is kept, and values are not kept at all.

use bytes::{Bytes, BytesMut};

use super::super::fault::{Violation, refusal};
use super::super::reader::Reader;
use super::data::{PDV_OVERHEAD, PdvHead};
use super::{Abort, AbortReason, AssociateAc, AssociateRj, AssociateRq, HEADER, Pdu, PduType, Pdv};
use crate::Base;
use crate::{LimitReached, Limits, Reason, Refusal};

/// Reads the PDUs of one side.
///
/// Poll until `None` after each `receive`: then it never holds more than one PDU of association.
/// A P-DATA-TF is handed over as it comes: its values in pieces, of which only the final one can be the last.
pub struct PduReader {
    /// What was received last and is not looked at yet.
    chunk: Bytes,
    /// The beginning of a header, or of a PDU other than P-DATA-TF.
    begun: BytesMut,
    place: Place,
    base: Base,
    association_pdu: u64,
    data_pdu: u64,
    finished: u64,
    /// Found behind values that were handed over first.
    fault: Option<Violation>,
    failed: bool,
}

/// What comes next.
#[derive(Clone, Copy)]
enum Place {
    /// The header of a PDU.
    Header,
    /// So many bytes of a PDU other than P-DATA-TF.
    Whole(PduType, usize),
    /// The header of a PDV, so many bytes before the end of its P-DATA-TF.
    Values(usize),
    /// The content of a PDV.
    Value(Open),
}

/// A PDV of which some bytes are still to come.
#[derive(Clone, Copy)]
struct Open {
    head: PdvHead,
    left: usize,
    /// Bytes of the P-DATA-TF behind it.
    behind: usize,
}

/// Never the bytes.
impl std::fmt::Debug for PduReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PduReader")
            .field("buffered", &self.buffered())
            .finish_non_exhaustive()
    }
}

impl PduReader {
    /// A reader at the start of a connection. `profile` decides what of the association is tolerated.
    #[must_use]
    pub fn new(limits: &Limits, base: Base) -> Self {
        Self {
            chunk: Bytes::new(),
            begun: BytesMut::new(),
            place: Place::Header,
            base,
            association_pdu: u64::try_from(limits.dicom_association_pdu).unwrap_or(u64::MAX),
            data_pdu: u64::try_from(limits.dicom_pdu).unwrap_or(u64::MAX),
            finished: 0,
            fault: None,
            failed: false,
        }
    }

    /// Bytes came; they are copied.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.receive_bytes(Bytes::copy_from_slice(bytes));
    }

    /// Bytes came. The values that are handed over are slices of them.
    pub fn receive_bytes(&mut self, bytes: Bytes) {
        if self.failed {
            return;
        }
        if self.chunk.is_empty() {
            self.chunk = bytes;
        } else {
            self.chunk = [&self.chunk[..], &bytes[..]].concat().into();
        }
    }

    /// The next PDU. After a violation nothing more is read.
    pub fn poll(&mut self) -> Option<Result<Pdu, Violation>> {
        if self.failed {
            return None;
        }
        let pdu = match self.fault.take() {
            Some(fault) => Err(fault),
            None => self.next().transpose()?,
        };
        if pdu.is_err() {
            self.failed = true;
            self.chunk = Bytes::new();
            self.begun = BytesMut::new();
        }
        Some(pdu)
    }

    /// Whether a PDU has begun and not ended: the deadline for receiving it runs.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.failed && (!matches!(self.place, Place::Header) || self.buffered() > 0)
    }

    /// How many PDUs have ended.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.finished
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.chunk.len().saturating_add(self.begun.len())
    }

    fn next(&mut self) -> Result<Option<Pdu>, Violation> {
        loop {
            match self.place {
                Place::Header => {
                    let Some((kind, len)) = self.header()? else {
                        return Ok(None);
                    };
                    self.place = match kind {
                        PduType::PData => Place::Values(len),
                        PduType::AssociateRq
                        | PduType::AssociateAc
                        | PduType::AssociateRj
                        | PduType::ReleaseRq
                        | PduType::ReleaseRp
                        | PduType::Abort => Place::Whole(kind, len),
                    };
                }
                Place::Whole(kind, len) => {
                    let Some(content) = self.take(len) else {
                        return Ok(None);
                    };
                    self.end_pdu();
                    return parse(kind, &content, self.base).map(Some);
                }
                Place::Values(_) | Place::Value(_) => {
                    let mut values = Vec::new();
                    let fault = self.values(&mut values).err();
                    if values.is_empty() {
                        return fault.map_or(Ok(None), |fault| Err(fault.into()));
                    }
                    // What was said before a fault was said.
                    self.fault = fault.map(Violation::from);
                    return Ok(Some(Pdu::PData(values)));
                }
            }
        }
    }

    /// The header, once it is there and within bounds.
    fn header(&mut self) -> Result<Option<(PduType, usize)>, Violation> {
        let Some(code) = self.begun.first().or(self.chunk.first()) else {
            return Ok(None);
        };
        let kind = PduType::from_code(*code).ok_or_else(|| unrecognized(*code))?;
        let Some(header) = self.take(HEADER) else {
            return Ok(None);
        };
        let mut reader = Reader::new(&header);
        reader.u8("PDU type")?;
        reader.u8("reserved")?;
        let len = reader.u32_be("PDU length")?;
        self.check_length(kind, len)?;
        Ok(Some((kind, usize::try_from(len).unwrap_or(usize::MAX))))
    }

    /// The values of a P-DATA-TF as far as they came.
    fn values(&mut self, values: &mut Vec<Pdv>) -> Result<(), Refusal> {
        loop {
            match self.place {
                Place::Header | Place::Whole(..) => return Ok(()),
                Place::Values(0) => {
                    self.end_pdu();
                    return Ok(());
                }
                Place::Values(left) => {
                    let Some(header) = self.take(left.min(PDV_OVERHEAD)) else {
                        return Ok(());
                    };
                    let (head, content) = PdvHead::parse(&header, left)?;
                    let behind = left.saturating_sub(PDV_OVERHEAD).saturating_sub(content);
                    let open = Open {
                        head,
                        left: content,
                        behind,
                    };
                    self.place = Place::Value(open);
                    if content == 0 {
                        values.push(self.piece(open));
                    }
                }
                Place::Value(open) => {
                    if self.chunk.is_empty() {
                        return Ok(());
                    }
                    values.push(self.piece(open));
                }
            }
        }
    }

    /// What came of a value, perhaps its end.
    fn piece(&mut self, open: Open) -> Pdv {
        let data = self.chunk.split_to(open.left.min(self.chunk.len()));
        let left = open.left.saturating_sub(data.len());
        self.place = match left {
            0 => Place::Values(open.behind),
            left => Place::Value(Open { left, ..open }),
        };
        open.head.piece(data, left == 0)
    }

    fn end_pdu(&mut self) {
        self.place = Place::Header;
        self.finished = self.finished.saturating_add(1);
    }

    /// So many bytes, once they are there.
    fn take(&mut self, len: usize) -> Option<Bytes> {
        if self.begun.is_empty() && self.chunk.len() >= len {
            return Some(self.chunk.split_to(len));
        }
        let missing = len.saturating_sub(self.begun.len());
        let some = self.chunk.split_to(missing.min(self.chunk.len()));
        self.begun.extend_from_slice(&some);
        (self.begun.len() == len).then(|| self.begun.split().freeze())
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
        // Never whole, see `values`.
        PduType::PData => Pdu::PData(Vec::new()),
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

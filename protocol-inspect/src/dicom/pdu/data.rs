//! P-DATA-TF and its presentation data values (PS3.8 9.3.5, annex E).

use bytes::Bytes;

use super::super::fault::refusal;
use super::super::reader::Reader;
use super::PduType;
use crate::{Reason, Refusal, Spoken};

/// One presentation data value: a fragment of a command or of a data set.
#[derive(Clone, PartialEq, Eq)]
pub struct Pdv {
    /// Odd.
    pub context_id: u8,
    /// A fragment of a command set, else of a data set.
    pub command: bool,
    /// The last of its command or data set.
    pub last: bool,
    /// The fragment.
    pub data: Bytes,
}

/// Never the bytes.
impl std::fmt::Debug for Pdv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pdv")
            .field("context_id", &self.context_id)
            .field("command", &self.command)
            .field("last", &self.last)
            .field("len", &self.data.len())
            .finish()
    }
}

impl Pdv {
    pub(super) fn parse_all(content: &Bytes) -> Result<Vec<Self>, Refusal> {
        let mut reader = Reader::new(content);
        let mut values = Vec::new();
        while !reader.is_empty() {
            values.push(Self::parse(content, &mut reader)?);
        }
        Ok(values)
    }

    fn parse(content: &Bytes, reader: &mut Reader<'_>) -> Result<Self, Refusal> {
        let len = reader.u32_be("PDV length")?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len < MIN_PDV {
            return Err(refusal(Reason::Framing, "PDV length", "is less than 2"));
        }
        let mut value = Reader::new(reader.take(len, "presentation data value")?);
        let context_id = value.u8("presentation context id")?;
        let control = value.u8("message control header")?;
        if context_id.is_multiple_of(2) {
            let detail = "is even";
            return Err(refusal(Reason::Field, "presentation context id", detail));
        }
        if control & !(COMMAND | LAST) != 0 {
            let detail = "has bits that PS3.8 leaves zero";
            return Err(refusal(Reason::Field, "message control header", detail));
        }
        Ok(Self {
            context_id,
            command: control & COMMAND != 0,
            last: control & LAST != 0,
            data: content.slice_ref(value.rest()),
        })
    }
}

/// Frames bytes of a command or data set into as many P-DATA-TF as the peer's maximum length asks for.
/// With `last`, the final fragment is marked as such, even if it is empty.
pub(in super::super) fn frame(
    context_id: u8,
    command: bool,
    bytes: &[u8],
    last: bool,
    max_length: u32,
    out: &mut Vec<u8>,
) {
    let most = usize::try_from(max_length).unwrap_or(usize::MAX);
    // Fragments of even length: some receivers take each fragment for a whole number of words.
    let room = (most.saturating_sub(PDV_OVERHEAD) & !1).max(2);
    let mut rest = bytes;
    while !rest.is_empty() || last {
        let (fragment, behind) = rest.split_at_checked(room).unwrap_or((rest, &[]));
        rest = behind;
        let done = last && rest.is_empty();
        let value = u32::try_from(fragment.len().saturating_add(2)).unwrap_or(u32::MAX);
        out.extend([PduType::PData.code(), 0]);
        out.extend(value.saturating_add(4).to_be_bytes());
        out.extend(value.to_be_bytes());
        let control = if command { COMMAND } else { 0 } | if done { LAST } else { 0 };
        out.extend([context_id, control]);
        out.extend_from_slice(fragment);
        if done {
            return;
        }
    }
}

/// A command set of our own, framed.
pub(in super::super) fn frame_spoken(context_id: u8, command: &[u8], max_length: u32) -> Spoken {
    let mut out = Vec::new();
    frame(context_id, true, command, true, max_length, &mut out);
    Spoken::new(out.into())
}

const COMMAND: u8 = 1;
const LAST: u8 = 2;
/// Context id and message control header.
const MIN_PDV: usize = 2;
/// PDV length, context id, message control header.
const PDV_OVERHEAD: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_fit_the_peer_and_only_the_last_is_last() {
        let mut out = Vec::new();
        frame(3, false, &[7; 10], true, 11, &mut out);
        let fragments: Vec<(u8, usize)> = out_fragments(&out);
        assert_eq!(fragments, [(0, 4), (0, 4), (2, 2)]);
        let mut open = Vec::new();
        frame(3, false, &[7; 8], false, 11, &mut open);
        assert_eq!(out_fragments(&open), [(0, 4), (0, 4)]);
        let mut empty = Vec::new();
        frame(3, true, &[], true, 11, &mut empty);
        assert_eq!(out_fragments(&empty), [(3, 0)]);
    }

    fn out_fragments(mut out: &[u8]) -> Vec<(u8, usize)> {
        let mut all = Vec::new();
        while !out.is_empty() {
            let len = u32::from_be_bytes(out[2..6].try_into().unwrap()) as usize;
            let values = Pdv::parse_all(&Bytes::copy_from_slice(&out[6..6 + len])).unwrap();
            assert_eq!(values.len(), 1);
            all.push((out[11], values[0].data.len()));
            out = &out[6 + len..];
        }
        all
    }
}

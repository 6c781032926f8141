//! P-DATA-TF and its presentation data values (PS3.8 9.3.5, annex E).

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::fault::refusal;
use super::super::reader::Reader;
use super::{HEADER, PduType};
use crate::{Permit, Reason, Refusal, Spoken};

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

/// What stands before the content of a PDV.
#[derive(Clone, Copy)]
pub(super) struct PdvHead {
    context_id: u8,
    command: bool,
    last: bool,
}

impl PdvHead {
    /// From the first bytes of a PDV, `left` bytes before the end of its P-DATA-TF; with the length of the content.
    pub(super) fn parse(header: &[u8], left: usize) -> Result<(Self, usize), Refusal> {
        let mut reader = Reader::new(header);
        let len = reader.u32_be("PDV length")?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len < MIN_PDV {
            return Err(refusal(Reason::Framing, "PDV length", "is less than 2"));
        }
        if len > left.saturating_sub(PDV_LENGTH) {
            let value = "presentation data value";
            return Err(refusal(Reason::Framing, value, "is cut short"));
        }
        let context_id = reader.u8("presentation context id")?;
        let control = reader.u8("message control header")?;
        if context_id.is_multiple_of(2) {
            let detail = "is even";
            return Err(refusal(Reason::Field, "presentation context id", detail));
        }
        if control & !(COMMAND | LAST) != 0 {
            let detail = "has bits that PS3.8 leaves zero";
            return Err(refusal(Reason::Field, "message control header", detail));
        }
        let head = Self {
            context_id,
            command: control & COMMAND != 0,
            last: control & LAST != 0,
        };
        Ok((head, len.saturating_sub(MIN_PDV)))
    }

    /// A piece of the content: as good as a fragment of its own. The final piece is as last as the whole.
    pub(super) fn piece(self, data: Bytes, is_final: bool) -> Pdv {
        Pdv {
            context_id: self.context_id,
            command: self.command,
            last: self.last && is_final,
            data,
        }
    }
}

/// Frames a message for its receiver, in as few P-DATA-TF as its maximum length allows.
///
/// In: the command, then the data set in any pieces. Out: [`Permit`]s, whose bulk is the pieces themselves.
/// The last fragment goes with [`Self::finish`] and is never empty, if there was a byte at all.
pub(in super::super) struct Outbound {
    context_id: u8,
    /// Framed, until it went.
    command: Option<Bytes>,
    room: usize,
    max_length: u32,
    waiting: VecDeque<Bytes>,
    length: usize,
}

/// Never the bytes.
impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound")
            .field("waiting", &self.length)
            .finish_non_exhaustive()
    }
}

impl Outbound {
    pub(in super::super) fn new(context_id: u8, command: &[u8], max_length: u32) -> Self {
        let mut framed = Vec::with_capacity(command.len().saturating_add(2 * HEADERS));
        frame(context_id, true, command, true, max_length, &mut framed);
        Self {
            context_id,
            command: Some(framed.into()),
            room: room(max_length),
            max_length,
            waiting: VecDeque::new(),
            length: 0,
        }
    }

    /// The next bytes of the data set.
    pub(in super::super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.length = self.length.saturating_add(bytes.len());
            self.waiting.push_back(bytes);
        }
    }

    /// Bytes that wait.
    pub(in super::super) fn waiting(&self) -> usize {
        self.length
    }

    /// Whether nothing was taken yet.
    pub(in super::super) fn is_untouched(&self) -> bool {
        self.command.is_some()
    }

    /// What fills PDUs, but for the last byte. `None` if that is nothing.
    pub(in super::super) fn full(&mut self) -> Option<Permit> {
        let count = self.length.saturating_sub(1).checked_div(self.room)?;
        (count > 0).then(|| self.frames(count, false))
    }

    /// The rest, with the last fragment; the command alone if there is no data set.
    pub(in super::super) fn finish(&mut self, has_data_set: bool) -> Permit {
        let count = self.length.div_ceil(self.room);
        self.frames(if has_data_set { count.max(1) } else { 0 }, has_data_set)
    }

    fn frames(&mut self, count: usize, last: bool) -> Permit {
        let mut parts: Vec<Bytes> = self.command.take().into_iter().collect();
        if self.room < COPIED {
            let len = self.room.saturating_mul(count).min(self.length);
            let mut bytes = Vec::with_capacity(len);
            while bytes.len() < len {
                bytes.extend_from_slice(&self.part(len.saturating_sub(bytes.len())));
            }
            let mut out = Vec::new();
            frame(
                self.context_id,
                false,
                &bytes,
                last,
                self.max_length,
                &mut out,
            );
            parts.push(out.into());
            return Permit::of(parts);
        }
        let mut headers = Vec::with_capacity(count.saturating_mul(HEADERS));
        for number in 1..=count {
            let before = number.saturating_sub(1).saturating_mul(self.room);
            let len = self.room.min(self.length.saturating_sub(before));
            put_headers(
                self.context_id,
                false,
                len,
                last && number == count,
                &mut headers,
            );
        }
        let mut headers = Bytes::from(headers);
        for _ in 0..count {
            parts.push(headers.split_to(HEADERS));
            let mut left = self.room.min(self.length);
            while left > 0 {
                let part = self.part(left);
                left = left.saturating_sub(part.len());
                parts.push(part);
            }
        }
        Permit::of(parts)
    }

    /// At most so many bytes of what waits, at least one if there is one.
    fn part(&mut self, most: usize) -> Bytes {
        let Some(first) = self.waiting.front_mut() else {
            return Bytes::new();
        };
        let part = first.split_to(most.min(first.len()));
        if first.is_empty() {
            self.waiting.pop_front();
        }
        self.length = self.length.saturating_sub(part.len());
        part
    }
}

/// Content of the longest fragment.
/// It is of even length: some receivers take each fragment for a whole number of words.
fn room(max_length: u32) -> usize {
    let most = usize::try_from(max_length).unwrap_or(usize::MAX);
    (most.saturating_sub(PDV_OVERHEAD) & !1).max(2)
}

fn put_headers(context_id: u8, command: bool, content: usize, last: bool, out: &mut Vec<u8>) {
    let value = u32::try_from(content.saturating_add(MIN_PDV)).unwrap_or(u32::MAX);
    out.extend([PduType::PData.code(), 0]);
    out.extend(value.saturating_add(4).to_be_bytes());
    out.extend(value.to_be_bytes());
    let control = if command { COMMAND } else { 0 } | if last { LAST } else { 0 };
    out.extend([context_id, control]);
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
    let room = room(max_length);
    let mut rest = bytes;
    while !rest.is_empty() || last {
        let (fragment, behind) = rest.split_at_checked(room).unwrap_or((rest, &[]));
        rest = behind;
        let done = last && rest.is_empty();
        put_headers(context_id, command, fragment.len(), done, out);
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
const PDV_LENGTH: usize = 4;
/// PDV length, context id, message control header.
pub(super) const PDV_OVERHEAD: usize = 6;
/// The same, and the header of the P-DATA-TF.
const HEADERS: usize = HEADER + PDV_OVERHEAD;
/// Fragments up to this size are copied together with their headers, since many small writes cost more.
const COPIED: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::super::{Pdu, PduReader};
    use super::*;
    use crate::{Base, Limits};

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

    fn out_fragments(out: &[u8]) -> Vec<(u8, usize)> {
        let mut reader = PduReader::new(&Limits::default(), Base::Strict);
        reader.receive(out);
        let mut all = Vec::new();
        while let Some(pdu) = reader.poll() {
            let Pdu::PData(values) = pdu.unwrap() else {
                panic!("not data");
            };
            let [value] = values.as_slice() else {
                panic!("not one value");
            };
            let control = (u8::from(value.command) * COMMAND) | (u8::from(value.last) * LAST);
            all.push((control, value.data.len()));
        }
        assert!(!reader.is_partial());
        all
    }

    #[test]
    fn whole_pdus_go_as_they_fill_and_the_last_is_never_empty() {
        for max_length in [12, 106, 20_006, 131_072] {
            let whole: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
            let mut out = Outbound::new(5, b"command!", max_length);
            let mut sent = Vec::new();
            for piece in whole.chunks(40_000) {
                out.push(Bytes::copy_from_slice(piece));
                sent.extend(out.full().into_iter().flat_map(Permit::into_parts));
                assert!((1..=room(max_length)).contains(&out.waiting()));
            }
            let before = sent.concat();
            sent.extend(out.finish(true).into_parts());
            let sent = sent.concat();
            let fragments = out_fragments(&sent);
            let data: Vec<_> = fragments.iter().filter(|(c, _)| c & COMMAND == 0).collect();
            assert_eq!(data.len(), whole.len().div_ceil(room(max_length)));
            assert_eq!(data.iter().map(|(_, len)| len).sum::<usize>(), whole.len());
            let lasts = |bytes| {
                out_fragments(bytes)
                    .iter()
                    .filter(|(c, _)| *c == LAST)
                    .count()
            };
            assert_eq!((lasts(&before), lasts(&sent)), (0, 1));
        }
    }

    #[test]
    fn a_command_alone_and_a_data_set_of_no_bytes() {
        let sent = |has_data_set| {
            let mut out = Outbound::new(5, b"command!", 131_072);
            assert!(out.full().is_none());
            out_fragments(&out.finish(has_data_set).into_bytes())
        };
        assert_eq!(sent(false), [(3, 8)]);
        assert_eq!(sent(true), [(3, 8), (2, 0)]);
    }
}

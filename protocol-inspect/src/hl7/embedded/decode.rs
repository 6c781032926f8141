//! Takes away what stands between the bytes of a message and the bytes of a document: escape sequences, Base64,
//! hexadecimal digits. A piece at a time; nothing is held.
//!
//! In: a value and where it begins. Out: pieces of the document, and the first byte that is wrong.
//! Every byte is looked at once.

use std::ops::ControlFlow;

use super::Part;
use crate::hl7::Delimiters;

/// Something that is no Base64 and no hexadecimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Byte of the message.
    pub(super) offset: usize,
    pub(super) detail: &'static str,
    /// Whether a reader that is not strict gets the same bytes anyway.
    pub(super) harmless: bool,
}

/// How the bytes of a document became text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// They are text.
    Plain,
    /// Base64.
    Base64,
    /// Hexadecimal digits.
    Hex,
}

/// Calls `sink` with the bytes that a reader gets of a value once its escape sequences are replaced,
/// and with where in the message they come from. Repetitions become lines, as in TX.
pub(super) fn unescape(
    value: Part<'_>,
    delimiters: &Delimiters,
    mut sink: impl FnMut(usize, &[u8]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut rest = value.bytes;
    let mut offset = value.offset;
    while let Some(at) = memchr::memchr2(delimiters.escape, delimiters.repetition, rest) {
        let (before, from) = rest.split_at(at);
        if !before.is_empty() {
            sink(offset, before)?;
        }
        offset = offset.saturating_add(at);
        let Some((&first, after)) = from.split_first() else {
            break;
        };
        let mut taken = 1_usize;
        if first == delimiters.repetition {
            sink(offset, b"\n")?;
        } else if let Some(length) = memchr::memchr(delimiters.escape, after) {
            let inner = after.get(..length).unwrap_or_default();
            sequence(inner, offset, delimiters, &mut sink)?;
            taken = length.saturating_add(2);
        } else {
            // Judged elsewhere: an escape character without its end.
            sink(offset, &[first])?;
        }
        rest = from.get(taken..).unwrap_or_default();
        offset = offset.saturating_add(taken);
    }
    if rest.is_empty() {
        return ControlFlow::Continue(());
    }
    sink(offset, rest)
}

/// What a reader makes of an escape sequence. Highlighting and the like is nothing.
//= HL7 v2.5.1 2.7
fn sequence(
    inner: &[u8],
    offset: usize,
    delimiters: &Delimiters,
    sink: &mut impl FnMut(usize, &[u8]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    match inner {
        b"F" => sink(offset, &[delimiters.field]),
        b"S" => sink(offset, &[delimiters.component]),
        b"T" => sink(offset, &[delimiters.subcomponent]),
        b"R" => sink(offset, &[delimiters.repetition]),
        b"E" => sink(offset, &[delimiters.escape]),
        b"P" => sink(offset, delimiters.truncation.as_slice()),
        [b'X', digits @ ..] => {
            for pair in digits.as_chunks::<2>().0 {
                let byte = pair.iter().fold(0_u8, |value, digit| {
                    value.wrapping_shl(4) | hex_digit(*digit).unwrap_or(0)
                });
                sink(offset, &[byte])?;
            }
            ControlFlow::Continue(())
        }
        [b'.', b'b' | b's', ..] => sink(offset, b"\n"),
        _ => ControlFlow::Continue(()),
    }
}

/// Decodes a value and calls `sink` with the document, until it has enough.
pub(super) fn document(
    value: Part<'_>,
    encoding: Encoding,
    delimiters: &Delimiters,
    mut sink: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<(), Wrong> {
    let mut decoder = Decoder::new(encoding);
    let mut wrong = None;
    let flow = unescape(value, delimiters, |offset, piece| {
        match decoder.push(offset, piece, &mut sink) {
            Ok(flow) => flow,
            Err(error) => {
                wrong = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    if flow.is_break() {
        return Ok(());
    }
    decoder.finish(value, &mut sink)
}

/// The state between two pieces.
struct Decoder {
    encoding: Encoding,
    /// The value of each Base64 character.
    sextets: [u8; 256],
    /// What is not yet a whole number of bytes.
    bits: u32,
    count: u8,
    /// How many `=` there were.
    pads: u8,
    /// Where the first character stands to which only a lenient reader has no objection.
    blank: Option<usize>,
    buffer: Buffer,
}

impl Decoder {
    fn new(encoding: Encoding) -> Self {
        let sextet = |index: usize| match u8::try_from(index).unwrap_or(0) {
            upper @ b'A'..=b'Z' => upper.wrapping_sub(b'A'),
            lower @ b'a'..=b'z' => lower.wrapping_sub(b'a').wrapping_add(26),
            digit @ b'0'..=b'9' => digit.wrapping_sub(b'0').wrapping_add(52),
            b'+' => 62,
            b'/' => 63,
            _ => NO_SEXTET,
        };
        Self {
            encoding,
            sextets: std::array::from_fn(sextet),
            bits: 0,
            count: 0,
            pads: 0,
            blank: None,
            buffer: Buffer::new(),
        }
    }

    fn push(
        &mut self,
        offset: usize,
        piece: &[u8],
        sink: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Wrong> {
        match self.encoding {
            Encoding::Plain => Ok(sink(piece)),
            Encoding::Base64 => self.base64(offset, piece, sink),
            Encoding::Hex => self.hex(offset, piece, sink),
        }
    }

    //= RFC 4648 4
    fn base64(
        &mut self,
        offset: usize,
        piece: &[u8],
        sink: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Wrong> {
        for (index, &byte) in piece.iter().enumerate() {
            let at = offset.saturating_add(index);
            let sextet = self.sextets.get(usize::from(byte)).copied();
            match sextet {
                Some(value) if value != NO_SEXTET && self.pads == 0 => {
                    self.bits = self.bits.wrapping_shl(6) | u32::from(value);
                    self.count = self.count.wrapping_add(1);
                    if self.count == 4 {
                        let [_, bytes @ ..] = self.bits.to_be_bytes();
                        (self.bits, self.count) = (0, 0);
                        if self.buffer.add(&bytes, sink).is_break() {
                            return Ok(ControlFlow::Break(()));
                        }
                    }
                }
                _ => self.unusual(byte, at)?,
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A byte that is no Base64 character, or one behind the end.
    fn unusual(&mut self, byte: u8, at: usize) -> Result<(), Wrong> {
        let wrong = |detail| Wrong {
            offset: at,
            detail,
            harmless: false,
        };
        match byte {
            b'\n' | b'\r' => Ok(()),
            b' ' | b'\t' => {
                self.blank.get_or_insert(at);
                Ok(())
            }
            b'=' if self.count.wrapping_add(self.pads) < 4 && self.count >= 2 => {
                self.pads = self.pads.wrapping_add(1);
                Ok(())
            }
            b'=' => Err(wrong("has padding of Base64 where none belongs")),
            _ if self.pads > 0 => Err(wrong("goes on behind the end of its Base64")),
            _ => Err(wrong("has a character that is not Base64")),
        }
    }

    fn hex(
        &mut self,
        offset: usize,
        piece: &[u8],
        sink: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Wrong> {
        for (index, &byte) in piece.iter().enumerate() {
            let at = offset.saturating_add(index);
            let Some(digit) = hex_digit(byte) else {
                match byte {
                    b'\n' | b'\r' => {}
                    b' ' | b'\t' => _ = self.blank.get_or_insert(at),
                    _ => {
                        return Err(Wrong {
                            offset: at,
                            detail: "has a character that is no hexadecimal digit",
                            harmless: false,
                        });
                    }
                }
                continue;
            };
            self.bits = self.bits.wrapping_shl(4) | u32::from(digit);
            self.count = self.count.wrapping_add(1);
            if self.count == 2 {
                let [.., byte] = self.bits.to_be_bytes();
                (self.bits, self.count) = (0, 0);
                if self.buffer.add(&[byte], sink).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn finish(
        mut self,
        value: Part<'_>,
        sink: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), Wrong> {
        let wrong = |detail, harmless| Wrong {
            offset: value.offset,
            detail,
            harmless,
        };
        let mut soft = self.blank.map(|offset| Wrong {
            offset,
            detail: "has blanks in its encoding",
            harmless: true,
        });
        match (self.encoding, self.count) {
            (Encoding::Plain, _) | (Encoding::Base64 | Encoding::Hex, 0) => {}
            (Encoding::Hex, _) => {
                return Err(wrong("has an odd number of hexadecimal digits", false));
            }
            (Encoding::Base64, 1) => return Err(wrong("is cut within its Base64", false)),
            (Encoding::Base64, count) => {
                let last = self.bits.wrapping_shl(if count == 2 { 12 } else { 6 });
                let [_, first, second, third] = last.to_be_bytes();
                let (bytes, left): (&[u8], _) = if count == 2 {
                    (&[first], second)
                } else {
                    (&[first, second], third)
                };
                let _ = self.buffer.add(bytes, sink);
                if count.wrapping_add(self.pads) != 4 {
                    soft = Some(wrong("has Base64 without its padding", true));
                } else if left != 0 {
                    soft = Some(wrong("has Base64 with bits behind its end", true));
                }
            }
        }
        let _ = self.buffer.flush(sink);
        soft.map_or(Ok(()), Err)
    }
}

/// Collects bytes, so that the sink gets more than three of them at once.
struct Buffer {
    bytes: [u8; 768],
    length: usize,
}

impl Buffer {
    fn new() -> Self {
        Self {
            bytes: [0; 768],
            length: 0,
        }
    }

    fn add(
        &mut self,
        bytes: &[u8],
        sink: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let end = self.length.saturating_add(bytes.len());
        if end > self.bytes.len() {
            self.flush(sink)?;
        }
        let end = self.length.saturating_add(bytes.len());
        if let Some(free) = self.bytes.get_mut(self.length..end) {
            free.copy_from_slice(bytes);
            self.length = end;
        }
        ControlFlow::Continue(())
    }

    fn flush(&mut self, sink: &mut impl FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
        let length = std::mem::take(&mut self.length);
        match self.bytes.get(..length) {
            Some(bytes) if length > 0 => sink(bytes),
            Some(_) | None => ControlFlow::Continue(()),
        }
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// Not a character of Base64.
const NO_SEXTET: u8 = 0xff;

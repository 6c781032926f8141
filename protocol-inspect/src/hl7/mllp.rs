//! Cuts a TCP stream into MLLP frames, of release 1 or 2: in the latter some hold a commit acknowledgement.
//!
//! In: bytes as they come. Out: frames, or the one refusal after which the stream is dead.
//! Between frames nothing is allowed, and inside a frame neither of the two block bytes:
//! what tolerant receivers skip or glue together is how messages are smuggled.
//! Knows nothing of HL7 inside the frame.

use bytes::{Bytes, BytesMut};

use crate::{LimitReached, Permit, Reason, Refusal, Spoken};

/// Collects bytes until they are a frame.
pub struct Framer {
    buffer: BytesMut,
    /// How many bytes of `buffer` hold neither a block byte nor anything else to look at again.
    scanned: usize,
    /// Where `buffer` begins in the stream.
    offset: u64,
    max: usize,
    examined: u64,
    dead: bool,
}

/// One frame as it came: start block, content, end block, carriage return.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    bytes: Bytes,
}

impl Framer {
    /// A framer for content of at most `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            offset: 0,
            max,
            examined: 0,
            dead: false,
        }
    }

    /// Changes the bound; it holds for what is still to come.
    pub fn limit(&mut self, max: usize) {
        self.max = max;
    }

    /// Takes bytes of the stream. They are bounded only if [`Self::poll`] is called until `None` in between.
    pub fn receive(&mut self, bytes: &[u8]) {
        if !self.dead {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next frame, or why the stream cannot go on. After a refusal there is nothing more.
    //= C7
    pub fn poll(&mut self) -> Option<Result<Frame, Refusal>> {
        match self.cut() {
            Ok(None) => None,
            Ok(Some(length)) => {
                let bytes = self.buffer.split_to(length).freeze();
                self.offset = self.offset.saturating_add(to_u64(length));
                self.scanned = 0;
                Some(Ok(Frame { bytes }))
            }
            Err(refusal) => {
                self.dead = true;
                self.buffer = BytesMut::new();
                self.scanned = 0;
                Some(Err(refusal))
            }
        }
    }

    /// How many bytes wait for the rest of their frame, or to be polled.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Whether a frame has begun and not ended.
    #[must_use]
    pub fn mid_frame(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Whether the stream was refused.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// How many bytes were looked at so far: never much more than were received, however they were cut.
    #[must_use]
    pub fn examined(&self) -> u64 {
        self.examined
    }

    /// The length of the frame at the start of the buffer, envelope included.
    fn cut(&mut self) -> Result<Option<usize>, Refusal> {
        let Some(&first) = self.buffer.first() else {
            return Ok(None);
        };
        if first != START_BLOCK {
            return Err(self.refuse(0, stranger(first)));
        }
        let scanned = self.scanned.max(1);
        let fresh = self.buffer.get(scanned..).unwrap_or_default();
        let Some(found) = memchr::memchr2(START_BLOCK, END_BLOCK, fresh) else {
            self.examined = self.examined.saturating_add(to_u64(fresh.len()));
            self.scanned = self.buffer.len();
            self.fits(self.scanned.saturating_sub(1))?;
            return Ok(None);
        };
        self.examined = self
            .examined
            .saturating_add(to_u64(found).saturating_add(1));
        let at = scanned.saturating_add(found);
        self.scanned = at;
        self.fits(at.saturating_sub(1))?;
        if self.buffer.get(at) == Some(&START_BLOCK) {
            return Err(self.refuse(at, "a start block inside a frame"));
        }
        match self.buffer.get(at.saturating_add(1)) {
            None => Ok(None),
            Some(&CARRIAGE_RETURN) if at == 1 => Err(self.refuse(at, "an empty frame")),
            Some(&CARRIAGE_RETURN) => Ok(Some(at.saturating_add(2))),
            Some(_) => Err(self.refuse(at, "an end block without carriage return")),
        }
    }

    fn fits(&self, content: usize) -> Result<(), Refusal> {
        // What lies beyond the bound is not counted, so that the answer does not depend on how the stream was cut.
        let got = content.min(self.max.saturating_add(1));
        LimitReached::check("hl7_message", got, self.max).map_err(Refusal::from)
    }

    fn refuse(&self, at: usize, detail: &str) -> Refusal {
        let byte = self.offset.saturating_add(to_u64(at));
        Refusal::new(Reason::Framing, format!("MLLP frame (byte {byte})"), detail)
    }
}

impl Frame {
    /// Puts the envelope around a message that came without one, as from a file.
    #[must_use]
    pub fn around(content: &[u8]) -> Self {
        Self {
            bytes: envelope(content),
        }
    }

    /// The message inside the envelope.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        let inner = self.bytes.len().saturating_sub(2);
        self.bytes.get(1..inner).unwrap_or_default()
    }

    /// What a commit acknowledgement of MLLP release 2 says; `None` if the frame is none.
    //= HL7 MLLP R2 2.4
    #[must_use]
    pub fn commit(&self) -> Option<bool> {
        match self.content() {
            [ACKNOWLEDGE] => Some(true),
            [NEGATIVE_ACKNOWLEDGE] => Some(false),
            _ => None,
        }
    }

    /// The frame as it came, envelope included.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The proof that this frame, exactly as it came, may go on.
    //= C2
    pub(crate) fn permit(self) -> Permit {
        Permit::new(self.bytes)
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({} bytes)", self.bytes.len())
    }
}

/// A commit acknowledgement of MLLP release 2: whether a block was taken.
pub fn commit(taken: bool) -> Spoken {
    let byte = if taken {
        ACKNOWLEDGE
    } else {
        NEGATIVE_ACKNOWLEDGE
    };
    Spoken::new(envelope(&[byte]))
}

/// The content in its envelope.
pub(crate) fn envelope(content: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(content.len().saturating_add(3));
    bytes.extend_from_slice(&[START_BLOCK]);
    bytes.extend_from_slice(content);
    bytes.extend_from_slice(&[END_BLOCK, CARRIAGE_RETURN]);
    bytes.freeze()
}

/// What a first byte that is no start block looks like. One byte only, so that it does not depend on how the stream was cut.
fn stranger(first: u8) -> &'static str {
    match first {
        0x16 => "not a start block: this looks like TLS, which is not spoken here",
        b'M' => "not a start block: this looks like HL7 without MLLP",
        b'G' | b'P' | b'H' | b'D' | b'O' | b'C' | b'T' => "not a start block: this looks like HTTP",
        ACKNOWLEDGE | NEGATIVE_ACKNOWLEDGE => {
            "not a start block: this looks like an MLLP release 2 acknowledgement"
        }
        END_BLOCK => "an end block outside a frame",
        b'\r' | b'\n' => "a line end between frames",
        _ => "not a start block",
    }
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

const ACKNOWLEDGE: u8 = 0x06;
const NEGATIVE_ACKNOWLEDGE: u8 = 0x15;
const START_BLOCK: u8 = 0x0b;
const END_BLOCK: u8 = 0x1c;
const CARRIAGE_RETURN: u8 = 0x0d;

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(stream: &[u8], chunk: usize, max: usize) -> Vec<Result<Vec<u8>, String>> {
        let mut framer = Framer::new(max);
        let mut out = Vec::new();
        for part in stream.chunks(chunk) {
            framer.receive(part);
            while let Some(next) = framer.poll() {
                out.push(
                    next.map(|f| f.content().to_vec())
                        .map_err(|r| r.to_string()),
                );
            }
            assert!(framer.buffered() <= max + 3 + chunk);
        }
        out
    }

    #[test]
    fn cuts_the_same_however_the_stream_is_split() {
        for (stream, expected) in [
            (&b"\x0bab\x1c\r\x0bc\x1c\r"[..], "[Ok(\"ab\"), Ok(\"c\")]"),
            (
                b"GET / HTTP/1.1\r\n",
                "[Err(\"MLLP frame (byte 0): not a start block: this looks like HTTP\")]",
            ),
            (
                b"\x16\x03\x01\x02",
                "[Err(\"MLLP frame (byte 0): not a start block: this looks like TLS, which is not spoken here\")]",
            ),
            (
                b"\x0ba\x1c\r\n\x0bb\x1c\r",
                "[Ok(\"a\"), Err(\"MLLP frame (byte 4): a line end between frames\")]",
            ),
            (
                b"\x0ba\x0bb\x1c\r",
                "[Err(\"MLLP frame (byte 2): a start block inside a frame\")]",
            ),
            (
                b"\x0ba\x1cb\x1c\r",
                "[Err(\"MLLP frame (byte 2): an end block without carriage return\")]",
            ),
            (
                b"\x0b\x1c\r",
                "[Err(\"MLLP frame (byte 1): an empty frame\")]",
            ),
            (b"\x0b12345678\x1c\r", "[Ok(\"12345678\")]"),
            (
                b"\x0b123456789\x1c\r",
                "[Err(\"hl7_message: 9 is more than 8\")]",
            ),
            (
                b"\x0b1234567890123",
                "[Err(\"hl7_message: 9 is more than 8\")]",
            ),
            (b"\x0bwaiting", "[]"),
        ] {
            for chunk in 1..=stream.len() {
                let got: Vec<_> = cut(stream, chunk, 8)
                    .into_iter()
                    .map(|r| r.map(|b| String::from_utf8(b).unwrap()))
                    .collect();
                assert_eq!(format!("{got:?}"), expected, "chunks of {chunk}");
            }
        }
    }

    #[test]
    fn a_byte_drip_costs_no_more_than_one_look_at_each_byte() {
        let mut framer = Framer::new(1 << 20);
        framer.receive(&[START_BLOCK]);
        for _ in 0..1 << 20 {
            framer.receive(b"x");
            assert!(framer.poll().is_none());
        }
        assert_eq!(framer.examined(), 1 << 20);
        framer.receive(b"x");
        assert_eq!(framer.poll().unwrap().unwrap_err().reason, Reason::Limit);
        assert_eq!(framer.buffered(), 0);
    }

    #[test]
    fn is_dead_after_a_refusal() {
        let mut framer = Framer::new(8);
        framer.receive(b"x\x0ba\x1c\r");
        assert!(framer.poll().unwrap().is_err());
        framer.receive(b"\x0ba\x1c\r");
        assert!(framer.poll().is_none() && framer.is_dead() && framer.buffered() == 0);
    }

    #[test]
    fn a_permit_is_the_frame_as_it_came() {
        let frame = Frame::around(b"MSH");
        assert_eq!(frame.content(), b"MSH");
        assert_eq!(frame.permit().into_bytes(), &b"\x0bMSH\x1c\r"[..]);
    }
}

//! Frames of HTTP/3, read as their bytes come (RFC 9114 7).
//!
//! In: bytes of one stream in any pieces. Out: pieces of frames: whole payloads of the few that are read as one, bytes of DATA,
//! and nothing of unknown ones. Buffers at most one payload of [`super::qpack::MAX_SECTION`].
//! Knows not which frame may stand where.

use super::error::Code;
use super::qpack::MAX_SECTION;
use super::varint;

/// Types of frames (RFC 9114 11.2.1).
pub mod kind {
    /// DATA
    pub const DATA: u64 = 0x00;
    /// HEADERS
    pub const HEADERS: u64 = 0x01;
    /// CANCEL_PUSH
    pub const CANCEL_PUSH: u64 = 0x03;
    /// SETTINGS
    pub const SETTINGS: u64 = 0x04;
    /// PUSH_PROMISE
    pub const PUSH_PROMISE: u64 = 0x05;
    /// GOAWAY
    pub const GOAWAY: u64 = 0x07;
    /// MAX_PUSH_ID
    pub const MAX_PUSH_ID: u64 = 0x0d;
}

/// Longest SETTINGS frame that is read.
//= C7
const MAX_SETTINGS: u64 = 1024;

/// What the reader found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'b> {
    /// Some bytes of a DATA frame.
    Data(&'b [u8]),
    /// A field section.
    Headers(Vec<u8>),
    /// A whole SETTINGS frame.
    Settings(Vec<u8>),
    /// The number of a GOAWAY, MAX_PUSH_ID or CANCEL_PUSH frame, with its type.
    Number(u64, u64),
    /// A PUSH_PROMISE begins; its payload is not read.
    PushPromise,
    /// A type that HTTP/2 had and HTTP/3 forbids.
    Forbidden,
    /// So many bytes that mean nothing to us.
    Skipped(u64),
}

/// Reads frames from a stream.
#[derive(Debug, Default)]
pub struct Reader {
    state: State,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Type and length, which lie in the buffer until both are there.
    #[default]
    Head,
    /// What is left of a DATA frame.
    Data(u64),
    /// Type and what is left of a frame that is read as a whole.
    Whole(u64, u64),
    /// What is left of a frame that is not read.
    Skip(u64),
}

/// A frame that cannot be read: a code for the connection, and why.
pub type Broken = (Code, &'static str);

impl Reader {
    /// Takes bytes off the front and says what they are; nothing when more are needed.
    ///
    /// # Errors
    /// When a frame is longer than it may be or its length contradicts its content.
    pub fn next<'b>(&mut self, bytes: &mut &'b [u8]) -> Result<Option<Piece<'b>>, Broken> {
        loop {
            match self.state {
                State::Head => {
                    let Some((kind, length)) = self.head(bytes) else {
                        return Ok(None);
                    };
                    if let Some(piece) = self.begin(kind, length)? {
                        return Ok(Some(piece));
                    }
                }
                State::Data(0) | State::Skip(0) => self.state = State::Head,
                State::Data(left) => {
                    let (piece, left) = split(bytes, left);
                    self.state = State::Data(left);
                    return Ok((!piece.is_empty()).then_some(Piece::Data(piece)));
                }
                State::Skip(left) => {
                    let (piece, left) = split(bytes, left);
                    self.state = State::Skip(left);
                    let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                    return Ok((length > 0).then_some(Piece::Skipped(length)));
                }
                State::Whole(kind, left) => {
                    let (piece, left) = split(bytes, left);
                    self.buffer.extend(piece);
                    self.state = State::Whole(kind, left);
                    if left > 0 {
                        return Ok(None);
                    }
                    self.state = State::Head;
                    return whole(kind, std::mem::take(&mut self.buffer)).map(Some);
                }
            }
        }
    }

    /// Whether the stream may end here.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        match self.state {
            State::Head => self.buffer.is_empty(),
            State::Data(left) | State::Skip(left) => left == 0,
            State::Whole(..) => false,
        }
    }

    /// Type and length, once both are there.
    fn head(&mut self, bytes: &mut &[u8]) -> Option<(u64, u64)> {
        loop {
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            self.buffer.push(*byte);
            let mut head = self.buffer.as_slice();
            if let (Some(kind), Some(length)) = (varint::take(&mut head), varint::take(&mut head)) {
                self.buffer.clear();
                return Some((kind, length));
            }
        }
    }

    fn begin(&mut self, kind: u64, length: u64) -> Result<Option<Piece<'static>>, Broken> {
        let most = match kind {
            kind::DATA => {
                self.state = State::Data(length);
                // An empty frame costs its head.
                return Ok((length == 0).then_some(Piece::Skipped(2)));
            }
            kind::HEADERS => MAX_SECTION,
            kind::SETTINGS => MAX_SETTINGS,
            kind::GOAWAY | kind::MAX_PUSH_ID | kind::CANCEL_PUSH => {
                if !(1..=8).contains(&length) {
                    return Err((Code::Frame, "a frame with one number has another length"));
                }
                8
            }
            kind::PUSH_PROMISE => return Ok(Some(Piece::PushPromise)),
            //= RFC 9114 7.2.8
            0x02 | 0x06 | 0x08 | 0x09 => return Ok(Some(Piece::Forbidden)),
            _ => {
                self.state = State::Skip(length);
                return Ok(Some(Piece::Skipped(2)));
            }
        };
        if length > most {
            return Err((Code::ExcessiveLoad, "a frame is longer than we read"));
        }
        self.state = State::Whole(kind, length);
        Ok(None)
    }
}

fn whole(kind: u64, payload: Vec<u8>) -> Result<Piece<'static>, Broken> {
    match kind {
        kind::HEADERS => Ok(Piece::Headers(payload)),
        kind::SETTINGS => Ok(Piece::Settings(payload)),
        _ => match varint::read(&payload) {
            Some((number, length)) if length == payload.len() => Ok(Piece::Number(kind, number)),
            _ => Err((Code::Frame, "a frame with one number has another length")),
        },
    }
}

fn split<'b>(bytes: &mut &'b [u8], left: u64) -> (&'b [u8], u64) {
    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    let (piece, rest) = bytes.split_at(here);
    *bytes = rest;
    (piece, left.saturating_sub(u64::try_from(here).unwrap_or(0)))
}

/// Writes a frame.
pub fn write(kind: u64, payload: &[u8], out: &mut Vec<u8>) {
    varint::write(kind, out);
    varint::write(u64::try_from(payload.len()).unwrap_or(varint::MAX), out);
    out.extend(payload);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Everything that a stream holds, with the pieces of DATA and of what is skipped put together.
    fn read(reader: &mut Reader, chunks: &[&[u8]]) -> Result<(Vec<u8>, u64, Vec<String>), Broken> {
        let (mut data, mut skipped, mut others) = (Vec::new(), 0, Vec::new());
        for chunk in chunks {
            let mut bytes = *chunk;
            while let Some(piece) = reader.next(&mut bytes)? {
                match piece {
                    Piece::Data(bytes) => data.extend(bytes),
                    Piece::Skipped(length) => skipped += length,
                    other @ (Piece::Headers(_)
                    | Piece::Settings(_)
                    | Piece::Number(..)
                    | Piece::PushPromise
                    | Piece::Forbidden) => others.push(format!("{other:?}")),
                }
            }
            assert!(bytes.is_empty());
        }
        Ok((data, skipped, others))
    }

    #[test]
    fn each_malformed_frame_beside_its_twin() {
        let cases: [(&str, &[u8], &[u8], Code); 6] = [
            ("two numbers", &[7, 1, 4], &[7, 2, 4, 4], Code::Frame),
            ("no number", &[7, 1, 4], &[7, 0], Code::Frame),
            (
                "half a number",
                &[7, 2, 0x40, 4],
                &[7, 1, 0x40],
                Code::Frame,
            ),
            ("nine bytes", &[13, 1, 4], &[13, 9, 0, 0], Code::Frame),
            (
                "endless settings",
                &[4, 0x44, 0],
                &[4, 0x44, 1],
                Code::ExcessiveLoad,
            ),
            (
                "endless fields",
                &[1, 0x60, 0],
                &[1, 0x60, 1],
                Code::ExcessiveLoad,
            ),
        ];
        for (what, good, bad, code) in cases {
            assert!(
                read(&mut Reader::default(), &[good]).is_ok(),
                "{what}: the twin"
            );
            let broken = read(&mut Reader::default(), &[bad]);
            assert_eq!(broken.map_err(|(code, _)| code), Err(code), "{what}");
        }
    }

    #[test]
    fn a_stream_ends_between_frames_only() {
        for (bytes, ends) in [
            (&[][..], true),
            (&[0, 2, 7, 7], true),
            (&[0, 2, 7], false),
            (&[0], false),
            (&[0x21, 1, 0], true),
            (&[0x21, 1], false),
            (&[1, 1], false),
            (&[1, 0], true),
        ] {
            let mut reader = Reader::default();
            read(&mut reader, &[bytes]).unwrap();
            assert_eq!(reader.is_between_frames(), ends, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            frames in vec((prop_oneof![Just(0_u64), Just(1), Just(4), Just(0x21), Just(0x4021)], vec(any::<u8>(), 0..60)), 0..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut stream = Vec::new();
            for (kind, payload) in &frames {
                write(*kind, payload, &mut stream);
            }
            let whole = read(&mut Reader::default(), &[&stream]).unwrap();
            let data: Vec<u8> = frames.iter().filter(|(kind, _)| *kind == 0).flat_map(|(_, payload)| payload.clone()).collect();
            prop_assert_eq!(&whole.0, &data);
            let bytewise: Vec<&[u8]> = stream.chunks(1).collect();
            prop_assert_eq!(&read(&mut Reader::default(), &bytewise).unwrap(), &whole);
            let at = cut.index(stream.len() + 1);
            prop_assert_eq!(&read(&mut Reader::default(), &[&stream[..at], &stream[at..]]).unwrap(), &whole);
        }

        #[test]
        fn any_bytes_are_read_or_refused(stream in vec(any::<u8>(), 0..300)) {
            let mut reader = Reader::default();
            let mut bytes = stream.as_slice();
            while let Ok(Some(piece)) = reader.next(&mut bytes) {
                // Forbidden frames and promises end the connection.
                if matches!(piece, Piece::Forbidden | Piece::PushPromise) {
                    break;
                }
            }
        }
    }
}

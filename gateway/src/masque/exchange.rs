//! The stream of one request, alike for both ends (RFC 9114 4.1, 4.4; RFC 9297 3).
//!
//! In: its bytes. Out: field sections, then capsules.
//! Knows not what is asked for.

use super::capsule::{self, Capsule};
use super::error::{Code, Error};
use super::frame::{self, Piece, kind};
use super::qpack::{self, Field, Undecodable};
use super::streams::Patience;

/// What has to come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expects {
    /// A field section.
    Fields,
    /// The content of a tunnel.
    Capsules,
    /// Content that nobody reads.
    Nothing,
}

/// What the stream held.
#[derive(Debug)]
pub(super) enum Found {
    Fields(Vec<Field>),
    Capsule(Capsule),
}

/// Bytes of the stream that are not read yet, and bytes of its content.
#[derive(Debug)]
pub(super) struct Input<'b> {
    stream: &'b [u8],
    content: &'b [u8],
}

impl<'b> Input<'b> {
    pub(super) const fn new(stream: &'b [u8]) -> Self {
        Self {
            stream,
            content: &[],
        }
    }
}

/// One direction of a request.
#[derive(Debug)]
pub(super) struct Exchange {
    stream: u64,
    frames: frame::Reader,
    capsules: capsule::Reader,
    pub(super) expects: Expects,
}

impl Exchange {
    pub(super) fn new(stream: u64) -> Self {
        Self {
            stream,
            frames: frame::Reader::default(),
            capsules: capsule::Reader::default(),
            expects: Expects::Fields,
        }
    }

    pub(super) fn next(
        &mut self,
        input: &mut Input<'_>,
        patience: &mut Patience,
    ) -> Result<Option<Found>, Error> {
        let unexpected = |why| Err(Error::connection(Code::FrameUnexpected, why));
        loop {
            match self.expects {
                Expects::Capsules => {
                    if let Some(capsule) = self.capsule(input, patience)? {
                        return Ok(Some(Found::Capsule(capsule)));
                    }
                }
                Expects::Fields | Expects::Nothing => {
                    let content = std::mem::take(&mut input.content);
                    patience.take(u64::try_from(content.len()).unwrap_or(u64::MAX))?;
                }
            }
            let piece = self.frames.next(&mut input.stream);
            let broken = |(code, why)| Error::connection(code, why);
            let Some(piece) = piece.map_err(broken)? else {
                return Ok(None);
            };
            match (piece, self.expects) {
                (Piece::Skipped(length), _) => patience.take(length)?,
                (Piece::Data(_), Expects::Fields) => {
                    return unexpected("DATA stands before HEADERS");
                }
                (Piece::Data(content), Expects::Capsules | Expects::Nothing) => {
                    input.content = content;
                }
                (Piece::Headers(section), Expects::Fields) => {
                    return self
                        .fields(&section)
                        .map(|fields| Some(Found::Fields(fields)));
                }
                //= RFC 9114 4.4
                (Piece::Headers(_), Expects::Capsules) => {
                    return unexpected("HEADERS stand in a tunnel");
                }
                (Piece::Headers(_), Expects::Nothing) => patience.take(1)?,
                (Piece::Settings(_), _) => return unexpected("SETTINGS stand in a request"),
                (Piece::Number(..), _) => {
                    return unexpected("a frame of the control stream stands in a request");
                }
                (Piece::PushPromise, _) => return unexpected("a push is promised"),
                (Piece::Forbidden, _) => return unexpected("a frame of HTTP/2"),
            }
        }
    }

    /// The stream ended in order.
    pub(super) fn end(&self) -> Result<(), Error> {
        if !self.frames.is_between_frames() {
            return Err(Error::connection(
                Code::Frame,
                "a stream ended within a frame",
            ));
        }
        let wrong = |code, why| Err(Error::stream(self.stream, code, why));
        match self.expects {
            Expects::Fields => wrong(Code::RequestIncomplete, "a stream ended without HEADERS"),
            Expects::Capsules if !self.capsules.is_between_capsules() => {
                wrong(Code::Message, "a stream ended within a capsule")
            }
            Expects::Capsules | Expects::Nothing => Ok(()),
        }
    }

    fn capsule(
        &mut self,
        input: &mut Input<'_>,
        patience: &mut Patience,
    ) -> Result<Option<Capsule>, Error> {
        let broken = |(code, why)| Error::stream(self.stream, code, why);
        while let Some(piece) = self.capsules.next(&mut input.content).map_err(broken)? {
            match piece {
                capsule::Piece::Capsule(capsule) => return Ok(Some(capsule)),
                capsule::Piece::Skipped(length) => patience.take(length)?,
            }
        }
        Ok(None)
    }

    fn fields(&self, section: &[u8]) -> Result<Vec<Field>, Error> {
        qpack::decode(section).map_err(|wrong| match wrong {
            Undecodable::Failed(why) => Error::connection(Code::QpackDecompression, why),
            Undecodable::TooLong => Error::stream(
                self.stream,
                Code::ExcessiveLoad,
                "a field section is longer than we read",
            ),
        })
    }
}

/// A HEADERS frame.
pub(super) fn headers(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(kind::HEADERS, &qpack::encode(fields), &mut bytes);
    bytes
}

/// A DATA frame with capsules.
pub(super) fn content(capsules: &[Capsule]) -> Vec<u8> {
    let (mut payload, mut bytes) = (Vec::new(), Vec::new());
    for capsule in capsules {
        capsule.write(&mut payload);
    }
    frame::write(kind::DATA, &payload, &mut bytes);
    bytes
}

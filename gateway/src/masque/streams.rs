//! The unidirectional streams of a connection, alike for both ends (RFC 9114 6.2, RFC 9204 4.2).
//!
//! In: their bytes. Out: settings and GOAWAY of the peer, and what is to be sent.
//! Knows nothing of requests.

use std::collections::{BTreeMap, VecDeque};

use super::error::{Code, Error};
use super::frame::{self, Piece, kind};
use super::settings::{self, Settings};
use super::{MAX_SKIPPED, varint};

/// Types of unidirectional streams.
const CONTROL: u64 = 0x00;
const PUSH: u64 = 0x01;
const ENCODER: u64 = 0x02;
const DECODER: u64 = 0x03;

/// Most streams of a peer at a time that are no request.
//= C7
pub const MAX_STREAMS: usize = 8;
/// Most streams that are remembered to be of no interest: twice as many as there can be at a time.
//= C7
const MAX_IGNORED: usize = 2 * MAX_STREAMS;
/// Most bytes that wait to be sent. Who carries them takes them before giving more to read.
//= C7
pub const MAX_QUEUED: usize = 65_536;

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// On our control stream: the first unidirectional stream that we open, and the only one. It never ends.
    Control(Vec<u8>),
    /// On the stream of a request.
    Request {
        /// Its number; that of a client is its first, 0.
        stream: u64,
        /// In order after all before.
        bytes: Vec<u8>,
        /// Nothing follows.
        fin: bool,
    },
    /// Ask the peer to send no more on a stream, and read no more of it.
    Stop {
        /// Its number.
        stream: u64,
        /// Why.
        code: Code,
    },
}

impl Transmit {
    fn length(&self) -> usize {
        match self {
            Self::Control(bytes) | Self::Request { bytes, .. } => bytes.len(),
            Self::Stop { .. } => 0,
        }
    }
}

/// What a peer may still make us read for nothing.
#[derive(Debug)]
pub(super) struct Patience(u64);

impl Patience {
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), Error> {
        let left = self.0.checked_sub(bytes);
        self.0 = left.ok_or_else(|| {
            Error::connection(
                Code::ExcessiveLoad,
                "there is too much that means nothing to us",
            )
        })?;
        Ok(())
    }
}

/// What the peer said on its control stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Settings(Settings),
    GoAway,
}

#[derive(Debug)]
enum Kind {
    /// The type is not yet there as a whole.
    New(Vec<u8>),
    Control,
    Encoder,
    /// How many more bytes the number of a cancelled stream may have.
    Decoder(u8),
}

/// All unidirectional streams, and what waits to be sent.
#[derive(Debug)]
pub(super) struct Streams {
    is_server: bool,
    /// The peer's transport takes datagrams.
    datagrams: bool,
    open: BTreeMap<u64, Kind>,
    frames: frame::Reader,
    settings: Option<Settings>,
    /// Streams of no interest to us whose bytes may still be on their way.
    ignored: VecDeque<u64>,
    going_away: Option<u64>,
    most_push: Option<u64>,
    pub(super) patience: Patience,
    queue: VecDeque<Transmit>,
    queued: usize,
}

impl Streams {
    pub(super) fn new(is_server: bool, datagrams: bool) -> Self {
        let mut streams = Self {
            is_server,
            datagrams,
            open: BTreeMap::new(),
            frames: frame::Reader::default(),
            settings: None,
            ignored: VecDeque::new(),
            going_away: None,
            most_push: None,
            patience: Patience(MAX_SKIPPED),
            queue: VecDeque::new(),
            queued: 0,
        };
        let mut bytes = Vec::new();
        varint::write(CONTROL, &mut bytes);
        frame::write(kind::SETTINGS, &settings::encode(is_server), &mut bytes);
        streams.send(Transmit::Control(bytes));
        streams
    }

    /// Whether datagrams may be sent (RFC 9297 2.1.1).
    pub(super) fn may_send_datagrams(&self) -> bool {
        self.settings.is_some_and(|settings| settings.h3_datagram)
    }

    pub(super) fn has_settings(&self) -> bool {
        self.settings.is_some()
    }

    pub(super) fn send(&mut self, transmit: Transmit) {
        self.queued = self.queued.saturating_add(transmit.length());
        self.queue.push_back(transmit);
    }

    pub(super) fn poll(&mut self) -> Option<Transmit> {
        let transmit = self.queue.pop_front()?;
        self.queued = self.queued.saturating_sub(transmit.length());
        Some(transmit)
    }

    /// Whether so many bytes more may wait.
    pub(super) fn has_space(&self, bytes: usize) -> bool {
        self.queued.saturating_add(bytes) <= MAX_QUEUED
    }

    /// Says that no more requests are taken.
    pub(super) fn go_away(&mut self, number: u64) {
        let (mut payload, mut bytes) = (Vec::new(), Vec::new());
        varint::write(number, &mut payload);
        frame::write(kind::GOAWAY, &payload, &mut bytes);
        self.send(Transmit::Control(bytes));
    }

    /// Reads from a unidirectional stream of the peer.
    pub(super) fn receive(
        &mut self,
        stream: u64,
        bytes: &[u8],
        fin: bool,
        heard: &mut Vec<Heard>,
    ) -> Result<(), Error> {
        let mut bytes = bytes;
        if self.ignored.contains(&stream) {
            return self
                .patience
                .take(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        }
        if !self.open.contains_key(&stream) {
            if self.open.len() == MAX_STREAMS {
                return Err(Error::connection(
                    Code::ExcessiveLoad,
                    "there are too many unidirectional streams",
                ));
            }
            self.open.insert(stream, Kind::New(Vec::new()));
        }
        self.begin(stream, &mut bytes)?;
        match self.open.get(&stream) {
            Some(Kind::Control) => self.control(bytes, heard)?,
            Some(Kind::Encoder) => self.encoder(bytes)?,
            Some(Kind::Decoder(_)) => self.decoder(stream, bytes)?,
            // Not yet known, or of no interest.
            Some(Kind::New(_)) | None => {}
        }
        if fin { self.closed(stream) } else { Ok(()) }
    }

    /// The stream ended or was reset.
    pub(super) fn closed(&mut self, stream: u64) -> Result<(), Error> {
        match self.open.remove(&stream) {
            //= RFC 9114 6.2: a stream may end before its type is there.
            None | Some(Kind::New(_)) => Ok(()),
            Some(Kind::Control | Kind::Encoder | Kind::Decoder(_)) => Err(Error::connection(
                Code::ClosedCriticalStream,
                "a stream that must stay open was closed",
            )),
        }
    }

    /// Finds out the type of a stream.
    fn begin(&mut self, stream: u64, bytes: &mut &[u8]) -> Result<(), Error> {
        let Some(Kind::New(head)) = self.open.get_mut(&stream) else {
            return Ok(());
        };
        let kind = loop {
            if let Some((kind, _)) = varint::read(head) {
                break kind;
            }
            let Some((byte, rest)) = bytes.split_first() else {
                return Ok(());
            };
            *bytes = rest;
            head.push(*byte);
        };
        let creation = |why| Err(Error::connection(Code::StreamCreation, why));
        let found = match kind {
            CONTROL => Kind::Control,
            ENCODER => Kind::Encoder,
            DECODER => Kind::Decoder(0),
            PUSH if self.is_server => return creation("a client opened a push stream"),
            PUSH => {
                return Err(Error::connection(
                    Code::Id,
                    "a push was sent and none was allowed",
                ));
            }
            _ => {
                // RFC 9114 6.2.3: of a type that we do not know.
                self.open.remove(&stream);
                self.patience.take(64)?;
                if self.ignored.len() == MAX_IGNORED {
                    self.ignored.pop_front();
                }
                self.ignored.push_back(stream);
                self.send(Transmit::Stop {
                    stream,
                    code: Code::StreamCreation,
                });
                *bytes = &[];
                return Ok(());
            }
        };
        let same = |other: &Kind| std::mem::discriminant(other) == std::mem::discriminant(&found);
        if self.open.values().any(same) {
            return creation("a second stream of a type of which there is one");
        }
        self.open.insert(stream, found);
        Ok(())
    }

    fn control(&mut self, bytes: &[u8], heard: &mut Vec<Heard>) -> Result<(), Error> {
        let mut bytes = bytes;
        let broken = |(code, why)| Error::connection(code, why);
        while let Some(piece) = self.frames.next(&mut bytes).map_err(broken)? {
            let unexpected = |why| Err(Error::connection(Code::FrameUnexpected, why));
            match piece {
                Piece::Settings(_) if self.settings.is_some() => {
                    return unexpected("there is a second SETTINGS frame");
                }
                Piece::Settings(payload) => {
                    let settings = settings::decode(&payload)?;
                    if settings.h3_datagram && !self.datagrams {
                        return Err(Error::connection(
                            Code::Settings,
                            "datagrams of HTTP without datagrams of QUIC",
                        ));
                    }
                    self.settings = Some(settings);
                    heard.push(Heard::Settings(settings));
                }
                _ if self.settings.is_none() => {
                    return Err(Error::connection(
                        Code::MissingSettings,
                        "the control stream does not begin with SETTINGS",
                    ));
                }
                Piece::Number(kind, number) => self.number(kind, number, heard)?,
                Piece::Skipped(length) => self.patience.take(length)?,
                Piece::Data(_) | Piece::Headers(_) | Piece::PushPromise => {
                    return unexpected("a frame of requests stands in the control stream");
                }
                Piece::Forbidden => return unexpected("a frame of HTTP/2"),
            }
        }
        Ok(())
    }

    fn number(&mut self, kind: u64, number: u64, heard: &mut Vec<Heard>) -> Result<(), Error> {
        let wrong = |why| Err(Error::connection(Code::Id, why));
        // A peer may repeat itself, but not for ever.
        self.patience.take(3)?;
        match kind {
            kind::GOAWAY => {
                //= RFC 9114 5.2
                if !self.is_server && number & 3 != 0 {
                    return wrong("GOAWAY names no stream of a request");
                }
                if self.going_away.is_some_and(|before| number > before) {
                    return wrong("the number of GOAWAY grew");
                }
                self.going_away = Some(number);
                heard.push(Heard::GoAway);
                Ok(())
            }
            kind::MAX_PUSH_ID if !self.is_server => Err(Error::connection(
                Code::FrameUnexpected,
                "a server sent MAX_PUSH_ID",
            )),
            kind::MAX_PUSH_ID => {
                if self.most_push.is_some_and(|before| number < before) {
                    return wrong("MAX_PUSH_ID shrank");
                }
                self.most_push = Some(number);
                Ok(())
            }
            // CANCEL_PUSH: nobody promised any.
            _ => wrong("a push is cancelled that was never promised"),
        }
    }

    /// Instructions for a table that there is not: its size may be set to nothing (RFC 9204 3.2.3, 4.3.1).
    fn encoder(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.patience
            .take(u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        if bytes.iter().all(|byte| *byte == 0x20) {
            return Ok(());
        }
        Err(Error::connection(
            Code::QpackEncoderStream,
            "an instruction for a dynamic table, which we do not have",
        ))
    }

    /// Only cancelled streams can be told: we never use a dynamic table (RFC 9204 4.4).
    fn decoder(&mut self, stream: u64, bytes: &[u8]) -> Result<(), Error> {
        const LONGEST_NUMBER: u8 = 10;
        self.patience
            .take(u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        let Some(Kind::Decoder(more)) = self.open.get_mut(&stream) else {
            return Ok(());
        };
        let wrong = |why| Err(Error::connection(Code::QpackDecoderStream, why));
        for byte in bytes {
            *more = match (*more, byte >> 6) {
                (0, 0b01) if byte & 0x3f == 0x3f => LONGEST_NUMBER,
                (0, 0b01) => 0,
                (0, _) => return wrong("an acknowledgement of what we never sent"),
                (1, _) => return wrong("a number is too long"),
                (left, 0b10 | 0b11) => left.saturating_sub(1),
                _ => 0,
            };
        }
        Ok(())
    }
}

//! A message as a list of segments: the ground on which every other judgement stands.
//!
//! In: the content of a frame. Out: segments, or the finding that makes it no message.
//! Segments end with a carriage return and nothing else, there is one MSH and it comes first, no control byte hides anywhere.
//! Knows nothing of what the fields mean.

use super::delimiters::Delimiters;
use super::finding::{ErrorCode, Fault, Finding};
use super::header::Head;
use super::occurrences::Occurrences;
use super::place::Place;
use super::segment::Segment;
use crate::{LimitReached, Limits, Reason, Refusal};

/// The view over one message.
pub struct Message<'a> {
    bytes: &'a [u8],
    delimiters: Delimiters,
    head: Head<'a>,
    segments: Vec<Segment<'a>>,
    /// The length of the longest segment.
    longest: usize,
}

/// Room for the segments of one message after the other.
#[derive(Default)]
pub(crate) struct Room {
    segments: Vec<Segment<'static>>,
    occurrences: Occurrences,
}

impl Room {
    /// Room for the segments of the next message: what an earlier one had, or none.
    fn give<'a>(&mut self) -> Vec<Segment<'a>> {
        std::mem::take(&mut self.segments)
    }

    /// Keeps what a message does not need any more, unless it was uncommonly much.
    //= C7
    pub(crate) fn take_back(&mut self, message: Message<'_>) {
        let mut segments = message.segments;
        segments.clear();
        if segments.capacity() <= MOST_KEPT {
            // Nothing is left to be converted: this changes the lifetime, and the standard library keeps the allocation.
            self.segments = segments.into_iter().map_while(|_| None).collect();
        }
    }
}

impl<'a> Message<'a> {
    /// Cuts the content of a frame into segments.
    ///
    /// # Errors
    /// When it is not a single message in the encoding of the standard.
    pub fn parse(content: &'a [u8], limits: &Limits) -> Result<Self, Refusal> {
        Self::read(content, limits).map_err(|finding| finding.refusal())
    }

    /// The same, with the finding.
    pub(crate) fn read(content: &'a [u8], limits: &Limits) -> Result<Self, Box<Finding>> {
        Self::read_in(content, limits, &mut Room::default())
    }

    /// The same, in room that earlier messages had.
    pub(crate) fn read_in(
        content: &'a [u8],
        limits: &Limits,
        room: &mut Room,
    ) -> Result<Self, Box<Finding>> {
        begins_with_msh(content)?;
        let delimiters = Delimiters::parse(content)?;
        let body = content.strip_suffix(b"\r").unwrap_or(content);
        let msh = body.split(|b| *b == b'\r').next().unwrap_or_default();
        let mut message = Self {
            bytes: content,
            delimiters,
            head: Head::new(msh, delimiters),
            segments: room.give(),
            longest: 0,
        };
        room.occurrences.clear();
        let pure = !has_control(body);
        let mut offset = 0_usize;
        let ends = memchr::memchr_iter(b'\r', body).chain([body.len()]);
        for end in ends {
            let bytes = body.get(offset..end).unwrap_or_default();
            LimitReached::check(
                "hl7_segments",
                message.segments.len().saturating_add(1),
                limits.hl7_segments,
            )
            .map_err(|reached| too_large(reached, "segments"))?;
            LimitReached::check("hl7_segment", bytes.len(), limits.hl7_segment)
                .map_err(|reached| too_large(reached, "segment length"))?;
            let segment = message.segment(bytes, offset, pure, &mut room.occurrences)?;
            message.segments.push(segment);
            message.longest = message.longest.max(bytes.len());
            offset = end.saturating_add(1);
        }
        Ok(message)
    }

    /// The segments in their order; the first is MSH.
    pub fn segments(&self) -> impl Iterator<Item = &Segment<'a>> {
        self.segments.iter()
    }

    /// The length of its longest segment.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Its delimiters.
    #[must_use]
    pub fn delimiters(&self) -> &Delimiters {
        &self.delimiters
    }

    /// The fields of its header.
    pub(crate) fn head(&self) -> &Head<'a> {
        &self.head
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether the last segment has its carriage return.
    pub(crate) fn is_terminated(&self) -> bool {
        self.bytes.ends_with(b"\r")
    }

    pub(crate) fn count(&self) -> usize {
        self.segments.len()
    }

    /// The segment in which a byte of the message stands.
    pub(crate) fn segment_at(&self, offset: usize) -> Option<&Segment<'a>> {
        let after = self.segments.partition_point(|s| s.offset() <= offset);
        self.segments.get(after.saturating_sub(1))
    }

    /// The place of a byte of the message.
    pub(crate) fn place(&self, offset: usize) -> Place {
        match self.segment_at(offset) {
            Some(segment) => Place::of(segment, offset),
            None => Place::default().byte(offset),
        }
    }

    /// Reads one segment; `pure` if no control byte is in the whole message.
    fn segment(
        &self,
        bytes: &'a [u8],
        offset: usize,
        pure: bool,
        occurrences: &mut Occurrences,
    ) -> Result<Segment<'a>, Box<Finding>> {
        let name = segment_name(bytes, self.delimiters.field)
            .ok_or_else(|| self.no_segment(bytes, offset))?;
        let occurrence = occurrences.next(name);
        let segment = Segment::new(bytes, name, offset, occurrence, self.delimiters);
        if !pure && let Some(at) = bytes.iter().position(u8::is_ascii_control) {
            let detail = if bytes.get(at) == Some(&b'\n') {
                "has a line feed, where only a carriage return ends a segment"
            } else {
                "has a control byte"
            };
            return Err(broken(
                Reason::Encoding,
                Place::of(&segment, offset.saturating_add(at)),
                detail,
            ));
        }
        match name {
            "MSH" if occurrence > 1 => Err(broken(
                Reason::Structure,
                Place::of(&segment, offset),
                "is a second message header in one frame",
            )),
            "FHS" | "BHS" | "BTS" | "FTS" => Err(Box::new(Finding::firm(
                Reason::Unsupported,
                Place::of(&segment, offset),
                "batches are not carried",
                ErrorCode::MessageType,
                Fault::Header,
            ))),
            _ => Ok(segment),
        }
    }

    fn no_segment(&self, bytes: &[u8], offset: usize) -> Box<Finding> {
        let number = self.segments.len().saturating_add(1);
        let place = Place {
            segment: format!("segment {number}").as_str().into(),
            offset: Some(offset),
            ..Place::default()
        };
        let (reason, detail) = match bytes.first() {
            None => (Reason::Structure, "is empty"),
            Some(b'\n') => (
                Reason::Encoding,
                "begins with a line feed, where only a carriage return ends a segment",
            ),
            Some(_) => (Reason::Structure, "does not begin with a segment name"),
        };
        broken(reason, place, detail)
    }
}

/// Whether a byte is in it that is neither text nor the end of a segment. Without branches, so that many bytes are looked at at once.
fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, byte| {
        found | ((*byte < b' ') & (*byte != b'\r')) | (*byte == 0x7f)
    })
}

/// The name, if it is one and is followed by a field separator or nothing.
pub(super) fn segment_name(bytes: &[u8], separator: u8) -> Option<&str> {
    let (name, rest) = bytes.split_at_checked(3)?;
    let well_formed = match name {
        [first, others @ ..] => {
            first.is_ascii_uppercase()
                && others
                    .iter()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        }
        [] => false,
    };
    if !well_formed || rest.first().is_some_and(|b| *b != separator) {
        return None;
    }
    match name {
        // Most segments are these.
        b"OBX" => Some("OBX"),
        b"NTE" => Some("NTE"),
        b"OBR" => Some("OBR"),
        _ => std::str::from_utf8(name).ok(),
    }
}

fn begins_with_msh(content: &[u8]) -> Result<(), Box<Finding>> {
    if content.starts_with(b"MSH") {
        return Ok(());
    }
    let place = Place::default().byte(0);
    if content.starts_with(b"FHS") || content.starts_with(b"BHS") {
        return Err(Box::new(Finding::firm(
            Reason::Unsupported,
            place,
            "batches are not carried",
            ErrorCode::MessageType,
            Fault::Header,
        )));
    }
    let marks: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xfe\xff", b"\xff\xfe"];
    if marks.iter().any(|mark| content.starts_with(mark)) {
        return Err(broken(
            Reason::Encoding,
            place,
            "begins with a byte order mark",
        ));
    }
    if content.starts_with(b"\x0b") {
        return Err(broken(
            Reason::Framing,
            place,
            "begins with an MLLP start block",
        ));
    }
    Err(broken(Reason::Structure, place, "does not begin with MSH"))
}

fn broken(reason: Reason, place: Place, detail: &'static str) -> Box<Finding> {
    let code = if reason == Reason::Structure {
        ErrorCode::SegmentSequence
    } else {
        ErrorCode::DataType
    };
    Box::new(Finding::firm(reason, place, detail, code, Fault::Content))
}

/// A bound was reached; `what` is told to the sender.
pub(crate) fn too_large(reached: LimitReached, what: &str) -> Finding {
    let place = Place {
        segment: reached.limit.into(),
        ..Place::default()
    };
    Finding::firm(
        Reason::Limit,
        place,
        format!("{what}: {} is more than {}", reached.got, reached.max),
        ErrorCode::Internal,
        Fault::Content,
    )
}

/// Most segments for which room is kept from message to message.
//= C7
const MOST_KEPT: usize = 4_096;

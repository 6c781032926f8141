//! A message as a list of segments: the ground on which every other judgement stands.
//!
//! In: the content of a frame. Out: segments, or the finding that makes it no message.
//! Segments end with a carriage return and nothing else, there is one MSH and it comes first, no control byte hides anywhere.
//! Knows nothing of what the fields mean.

use std::collections::BTreeMap;

use super::delimiters::Delimiters;
use super::finding::{ErrorCode, Fault, Finding};
use super::place::Place;
use super::segment::Segment;
use crate::{LimitReached, Limits, Reason, Refusal};

/// The view over one message.
pub struct Message<'a> {
    bytes: &'a [u8],
    delimiters: Delimiters,
    segments: Vec<Segment<'a>>,
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
    pub(crate) fn read(content: &'a [u8], limits: &Limits) -> Result<Self, Finding> {
        begins_with_msh(content)?;
        let delimiters = Delimiters::parse(content)?;
        let mut message = Self {
            bytes: content,
            delimiters,
            segments: Vec::new(),
        };
        let mut counts = BTreeMap::new();
        let mut offset = 0_usize;
        let body = content.strip_suffix(b"\r").unwrap_or(content);
        for bytes in body.split(|b| *b == b'\r') {
            LimitReached::check(
                "hl7_segments",
                message.segments.len().saturating_add(1),
                limits.hl7_segments,
            )
            .map_err(|reached| too_large(reached, "segments"))?;
            LimitReached::check("hl7_segment", bytes.len(), limits.hl7_segment)
                .map_err(|reached| too_large(reached, "segment length"))?;
            let segment = message.segment(bytes, offset, &mut counts)?;
            message.segments.push(segment);
            offset = offset.saturating_add(bytes.len()).saturating_add(1);
        }
        Ok(message)
    }

    /// The segments in their order; the first is MSH.
    pub fn segments(&self) -> impl Iterator<Item = &Segment<'a>> {
        self.segments.iter()
    }

    /// Its delimiters.
    #[must_use]
    pub fn delimiters(&self) -> &Delimiters {
        &self.delimiters
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

    fn segment(
        &self,
        bytes: &'a [u8],
        offset: usize,
        counts: &mut BTreeMap<&'a str, usize>,
    ) -> Result<Segment<'a>, Finding> {
        let name = segment_name(bytes, self.delimiters.field)
            .ok_or_else(|| self.no_segment(bytes, offset))?;
        let occurrence = counts.entry(name).or_insert(0);
        *occurrence = occurrence.saturating_add(1);
        let segment = Segment::new(bytes, name, offset, *occurrence, self.delimiters);
        if let Some(at) = bytes.iter().position(|b| b.is_ascii_control()) {
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
            "MSH" if *occurrence > 1 => Err(broken(
                Reason::Structure,
                Place::of(&segment, offset),
                "is a second message header in one frame",
            )),
            "FHS" | "BHS" | "BTS" | "FTS" => Err(Finding::firm(
                Reason::Unsupported,
                Place::of(&segment, offset),
                "batches are not carried",
                ErrorCode::MessageType,
                Fault::Header,
            )),
            _ => Ok(segment),
        }
    }

    fn no_segment(&self, bytes: &[u8], offset: usize) -> Finding {
        let number = self.segments.len().saturating_add(1);
        let place = Place {
            segment: format!("segment {number}"),
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

/// The name, if it is one and is followed by a field separator or nothing.
fn segment_name(bytes: &[u8], separator: u8) -> Option<&str> {
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
    std::str::from_utf8(name).ok()
}

fn begins_with_msh(content: &[u8]) -> Result<(), Finding> {
    if content.starts_with(b"MSH") {
        return Ok(());
    }
    let place = Place::default().byte(0);
    if content.starts_with(b"FHS") || content.starts_with(b"BHS") {
        return Err(Finding::firm(
            Reason::Unsupported,
            place,
            "batches are not carried",
            ErrorCode::MessageType,
            Fault::Header,
        ));
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

fn broken(reason: Reason, place: Place, detail: &'static str) -> Finding {
    let code = if reason == Reason::Structure {
        ErrorCode::SegmentSequence
    } else {
        ErrorCode::DataType
    };
    Finding::firm(reason, place, detail, code, Fault::Content)
}

/// A bound was reached; `what` is told to the sender.
pub(crate) fn too_large(reached: LimitReached, what: &str) -> Finding {
    let place = Place {
        segment: reached.limit.to_owned(),
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

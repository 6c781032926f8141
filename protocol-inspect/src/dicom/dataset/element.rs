//! Element headers (PS3.5 7.1, 7.5, annex A): what they may be, and where.

use dicom_core::Tag;
use dicom_core::header::VR;

use super::super::dictionary::Entry;
use super::super::fault::refusal;
use super::super::policy::Level;
use super::super::transfer::TransferSyntax;
use super::nesting::{Encoding, IMPLICIT_LITTLE, Kind, Nesting};
use super::vr::{self, Fit};
use super::{PIXEL_DATA, Walker};
use crate::{Reason, Refusal};

/// A complete header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) tag: Tag,
    /// The two bytes of an explicit VR, with the reserved ones if there are.
    vr: Option<([u8; 2], u16)>,
    pub(super) length: u32,
}

/// Collects a header of 8 or 12 bytes.
#[derive(Default)]
pub(super) struct HeaderBytes {
    bytes: [u8; 12],
    len: usize,
}

impl HeaderBytes {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes what is missing; the header, once it is complete.
    pub(super) fn fill<'b>(
        &mut self,
        bytes: &'b [u8],
        encoding: Encoding,
    ) -> (&'b [u8], Option<Header>) {
        let mut rest = bytes;
        while self.len < self.needed(encoding) {
            let (Some((byte, behind)), Some(place)) =
                (rest.split_first(), self.bytes.get_mut(self.len))
            else {
                return (rest, None);
            };
            *place = *byte;
            self.len = self.len.saturating_add(1);
            rest = behind;
        }
        let header = Header::read(&self.bytes, self.len, encoding);
        self.len = 0;
        (rest, Some(header))
    }

    fn needed(&self, encoding: Encoding) -> usize {
        let [g0, g1, _, _, v0, v1, ..] = self.bytes;
        if self.len < SHORT {
            return SHORT;
        }
        let group = word([g0, g1], encoding);
        if encoding.implicit || group == DELIMITERS || !vr::is_long([v0, v1]) {
            return SHORT;
        }
        LONG
    }
}

impl Header {
    fn read(bytes: &[u8; 12], len: usize, encoding: Encoding) -> Self {
        let [g0, g1, e0, e1, b4, b5, b6, b7, b8, b9, b10, b11] = *bytes;
        let tag = Tag(word([g0, g1], encoding), word([e0, e1], encoding));
        if encoding.implicit || tag.group() == DELIMITERS {
            return Self {
                tag,
                vr: None,
                length: double([b4, b5, b6, b7], encoding),
            };
        }
        let short = word([b6, b7], encoding);
        if len == LONG {
            return Self {
                tag,
                vr: Some(([b4, b5], short)),
                length: double([b8, b9, b10, b11], encoding),
            };
        }
        Self {
            tag,
            vr: Some(([b4, b5], 0)),
            length: u32::from(short),
        }
    }
}

impl Walker {
    pub(super) fn on_header(&mut self, header: Header) -> Result<(), Refusal> {
        let kind = self.levels.last().map(|level| level.kind);
        match (kind, header.tag) {
            (Some(Kind::Elements), ITEM_END) => self.end_level(header, Kind::Elements),
            (Some(Kind::Elements), _) => self.on_element(header),
            (Some(Kind::Sequence), ITEM) => self.on_item(header),
            (Some(Kind::Sequence), SEQUENCE_END) => self.end_level(header, Kind::Sequence),
            (Some(Kind::Fragments), ITEM) => self.on_fragment(header),
            (Some(Kind::Fragments), SEQUENCE_END) => self.end_fragments(header),
            (Some(Kind::Sequence | Kind::Fragments) | None, _) => {
                let detail = "stands where an item must";
                Err(self.fault(header.tag, Reason::Structure, detail))
            }
        }
    }

    /// Item and sequence delimiters end what they belong to, and nothing that has a length of its own.
    fn end_level(&mut self, header: Header, kind: Kind) -> Result<(), Refusal> {
        if header.length != 0 {
            let detail = "is a delimiter with a length";
            return Err(self.fault(header.tag, Reason::Structure, detail));
        }
        let delimited = self.levels.len() > 1
            && self
                .levels
                .last()
                .is_some_and(|level| level.kind == kind && level.end.is_none());
        if !delimited {
            let detail = "is a delimiter that ends nothing";
            return Err(self.fault(header.tag, Reason::Structure, detail));
        }
        self.levels.pop();
        Ok(())
    }

    fn on_item(&mut self, header: Header) -> Result<(), Refusal> {
        let end = self.optional_end(header)?;
        let Some(sequence) = self.levels.last_mut() else {
            return Ok(());
        };
        sequence.items = sequence.items.saturating_add(1);
        let item = Nesting::new(Kind::Elements, sequence.tag, end, sequence.encoding);
        self.push_level(item)
    }

    fn on_element(&mut self, header: Header) -> Result<(), Refusal> {
        self.check_tag(header.tag)?;
        let vr = self.resolve(header)?;
        if header.length == UNDEFINED {
            return self.on_undefined(header, vr);
        }
        if vr == VR::SQ {
            let end = Some(self.even_end(header)?);
            let level = self.sequence(header.tag, end);
            return self.push_level(level);
        }
        if header.tag == PIXEL_DATA {
            self.check_native_pixels(header)?;
        }
        self.even_end(header)?;
        let width = vr::width(vr);
        if !header.length.is_multiple_of(width) {
            let detail = "is not a whole number of values";
            return Err(self.fault(header.tag, Reason::Encoding, detail));
        }
        self.begin_value(header.tag, vr, header.length)
    }

    /// Undefined length: sequences, unknown sequences, and encapsulated pixel data.
    fn on_undefined(&mut self, header: Header, vr: VR) -> Result<(), Refusal> {
        let tag = header.tag;
        if vr == VR::SQ {
            let level = self.sequence(tag, None);
            return self.push_level(level);
        }
        if vr == VR::UN && tag != PIXEL_DATA {
            return self.push_level(Nesting::new(Kind::Sequence, tag, None, IMPLICIT_LITTLE));
        }
        if tag != PIXEL_DATA || !matches!(vr, VR::OB | VR::OW) {
            let detail = "has undefined length, which its value representation cannot have";
            return Err(self.fault(tag, Reason::Structure, detail));
        }
        if self.syntax != TransferSyntax::Encapsulated {
            let detail = "is encapsulated, but the transfer syntax is native";
            return Err(self.fault(tag, Reason::Structure, detail));
        }
        if vr == VR::OW {
            self.doubt(
                tag,
                Level::Pixels,
                Reason::Encoding,
                "is encapsulated, but not OB",
            )?;
        }
        let mut level = self.sequence(tag, None);
        level.kind = Kind::Fragments;
        self.push_level(level)
    }

    fn sequence(&self, tag: Tag, end: Option<u64>) -> Nesting {
        let encoding = self
            .levels
            .last()
            .map_or(IMPLICIT_LITTLE, |level| level.encoding);
        Nesting::new(Kind::Sequence, tag, end, encoding)
    }

    /// Order, group and private creator (PS3.5 7.1, 7.8; PS3.7 6.3.1; PS3.10 7.1).
    fn check_tag(&mut self, tag: Tag) -> Result<(), Refusal> {
        let Some(level) = self.levels.last_mut() else {
            return Ok(());
        };
        let last = level.last.replace(tag);
        let detail = match tag.group() {
            0x0000 => Some("belongs to a command set"),
            0x0002 => Some("belongs to the meta information of a file"),
            DELIMITERS => Some("is a delimiter that ends nothing"),
            0x0001 | 0x0003 | 0x0005 | 0x0007 | 0xffff => Some("is in a group that cannot be used"),
            _ if last == Some(tag) => Some("occurs twice"),
            _ if last > Some(tag) => Some("is out of order"),
            _ => None,
        };
        if let Some(detail) = detail {
            return Err(self.fault(tag, Reason::Structure, detail));
        }
        if tag.element() == 0 {
            return self.retired_group_length(tag);
        }
        if !tag.group().is_multiple_of(2) {
            return self.check_private(tag);
        }
        Ok(())
    }

    fn retired_group_length(&mut self, tag: Tag) -> Result<(), Refusal> {
        let fault = self.fault(
            tag,
            Reason::Structure,
            "is a group length, which is retired",
        );
        self.warnings.warn(fault);
        Ok(())
    }

    fn check_private(&mut self, tag: Tag) -> Result<(), Refusal> {
        match tag.element() {
            0x0010..=0x00ff => {
                if let Some(level) = self.levels.last_mut() {
                    level.reserve(tag);
                }
                Ok(())
            }
            0x1000..=0xffff => {
                if self
                    .levels
                    .last()
                    .is_some_and(|level| level.is_reserved(tag))
                {
                    return Ok(());
                }
                self.doubt(
                    tag,
                    Level::Private,
                    Reason::Structure,
                    "is private, but has no private creator",
                )
            }
            _ => self.doubt(
                tag,
                Level::Private,
                Reason::Structure,
                "is not a private element that can be",
            ),
        }
    }

    fn resolve(&mut self, header: Header) -> Result<VR, Refusal> {
        let tag = header.tag;
        let Some((letters, reserved)) = header.vr else {
            return Ok(vr::implied(Entry::of(tag)));
        };
        let Some(vr) = VR::from_binary(letters) else {
            return Err(self.fault(tag, Reason::Encoding, "has an unknown value representation"));
        };
        if reserved != 0 {
            let detail = "has reserved bytes that are not zero";
            return Err(self.fault(tag, Reason::Encoding, detail));
        }
        match vr::fit(Entry::of(tag), vr) {
            Fit::Right => Ok(vr),
            Fit::Similar => {
                let detail = "has another value representation than in the dictionary";
                self.doubt(tag, Level::Elements, Reason::Encoding, detail)?;
                Ok(vr)
            }
            Fit::Wrong => {
                let detail = "has a value representation that its element cannot have";
                Err(self.fault(tag, Reason::Encoding, detail))
            }
        }
    }

    pub(super) fn even_end(&self, header: Header) -> Result<u64, Refusal> {
        if !header.length.is_multiple_of(2) {
            return Err(self.fault(header.tag, Reason::Encoding, "is of odd length"));
        }
        self.end_of(header.tag, header.length)
    }

    fn optional_end(&self, header: Header) -> Result<Option<u64>, Refusal> {
        if header.length == UNDEFINED {
            return Ok(None);
        }
        self.even_end(header).map(Some)
    }

    fn check_native_pixels(&mut self, header: Header) -> Result<(), Refusal> {
        let tag = header.tag;
        if self.levels.len() > 1 {
            return Ok(());
        }
        if self.syntax == TransferSyntax::Encapsulated {
            let detail = "is native, but the transfer syntax is encapsulated";
            return Err(self.fault(tag, Reason::Structure, detail));
        }
        match self.judges.pixels.native_length() {
            Some(expected) if expected == u64::from(header.length) => Ok(()),
            // PS3.5 8.1.1 knows no padding but to even length.
            Some(_) => {
                let detail = "is not as long as the image needs";
                Err(self.fault(tag, Reason::Field, detail))
            }
            None => {
                let detail = "comes without the image geometry";
                let fault = refusal(Reason::Field, super::nesting::name(tag), detail);
                self.warnings.warn(fault);
                Ok(())
            }
        }
    }
}

fn word(bytes: [u8; 2], encoding: Encoding) -> u16 {
    if encoding.big_endian {
        u16::from_be_bytes(bytes)
    } else {
        u16::from_le_bytes(bytes)
    }
}

fn double(bytes: [u8; 4], encoding: Encoding) -> u32 {
    if encoding.big_endian {
        u32::from_be_bytes(bytes)
    } else {
        u32::from_le_bytes(bytes)
    }
}

pub(super) const UNDEFINED: u32 = 0xffff_ffff;
const ITEM: Tag = Tag(0xfffe, 0xe000);
const ITEM_END: Tag = Tag(0xfffe, 0xe00d);
const SEQUENCE_END: Tag = Tag(0xfffe, 0xe0dd);
pub(super) const DELIMITERS: u16 = 0xfffe;
const SHORT: usize = 8;
const LONG: usize = 12;

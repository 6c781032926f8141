//! Elements, items and delimiters (PS3.5 7, annex A): what they may be, and where.

use dicom_core::Tag;
use dicom_core::header::VR;

use super::super::dictionary::Entry;
use super::super::policy::Level;
use super::header::{DELIMITERS, Header, ITEM, ITEM_END, SEQUENCE_END, UNDEFINED, Written};
use super::nesting::{Kind, Nesting, UNTOLD, number};
use super::rules;
use super::vr::{self, Fit};
use super::{PIXEL_DATA, Walker};
use crate::severity::Weight;
use crate::{Reason, Refusal};

impl Walker {
    #[inline]
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
        let ends = |level: &Nesting| level.kind == kind && level.delimited;
        if self.levels.len() < 2 || !self.levels.last().is_some_and(ends) {
            let detail = "is a delimiter that ends nothing";
            return Err(self.fault(header.tag, Reason::Structure, detail));
        }
        self.pop_level(self.header_at)
    }

    fn on_element(&mut self, header: Header) -> Result<(), Refusal> {
        let entry = Entry::of(header.tag);
        self.check_tag(header.tag, entry)?;
        let vr = self.resolve(header, entry)?;
        if header.length == UNDEFINED {
            return self.on_undefined(header, vr, entry);
        }
        let end = self.even_end(header)?;
        // PS3.5 6.2.2: who knows it reads a sequence in UN, so it is walked as one.
        if vr == VR::SQ || (vr == VR::UN && entry.is_some_and(|entry| entry.vrs == [VR::SQ])) {
            return self.push_sequence(header, vr, entry, Some(end));
        }
        let rest = header.length & vr::width(vr).wrapping_sub(1);
        if rest != 0 {
            let detail = "is not a whole number of values";
            return Err(self.fault(header.tag, Reason::Encoding, detail));
        }
        self.begin_value(header.tag, vr, entry, header.length)
    }

    /// Undefined length: sequences, unknown sequences, and encapsulated pixel data.
    fn on_undefined(
        &mut self,
        header: Header,
        vr: VR,
        entry: Option<&'static Entry>,
    ) -> Result<(), Refusal> {
        let tag = header.tag;
        let may_be = entry.is_none_or(|entry| entry.vrs.contains(&VR::SQ));
        if vr == VR::SQ || (vr == VR::UN && may_be) {
            return self.push_sequence(header, vr, entry, None);
        }
        if tag != PIXEL_DATA || !matches!(vr, VR::OB | VR::OW) {
            let detail = "has undefined length, which its value representation cannot have";
            return Err(self.fault(tag, Reason::Structure, detail));
        }
        if self.syntax.compression().is_none() {
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
        self.push_fragments(vr, entry)
    }

    /// Order, group and private creator (PS3.5 7.1, 7.8; PS3.7 6.3.1; PS3.10 7.1).
    #[inline]
    fn check_tag(&mut self, tag: Tag, entry: Option<&Entry>) -> Result<(), Refusal> {
        let Some(level) = self.levels.last_mut() else {
            return Ok(());
        };
        let last = std::mem::replace(&mut level.last, number(tag));
        let (group, element) = (tag.group(), tag.element());
        let usual = number(tag) > last && (FIRST..PADDING.group()).contains(&group) && element != 0;
        if !usual || level.group_end != UNTOLD {
            self.check_unusual(tag, last)?;
        }
        match entry {
            Some(entry) if !entry.retired => Ok(()),
            _ if group & 1 == 1 => self.check_private(tag),
            _ => self.remark(tag, entry),
        }
    }

    /// What most elements need not be asked.
    #[cold]
    fn check_unusual(&mut self, tag: Tag, last: u32) -> Result<(), Refusal> {
        let detail = match tag.group() {
            0x0000 => Some("belongs to a command set"),
            0x0002 => Some("belongs to the meta information of a file"),
            DELIMITERS => Some("is a delimiter that ends nothing"),
            0x0001 | 0x0003 | 0x0005 | 0x0007 | 0xffff => Some("is in a group that cannot be used"),
            _ if last == number(tag) => Some("occurs twice"),
            _ if last > number(tag) => Some("is out of order"),
            _ => None,
        };
        if let Some(detail) = detail {
            return Err(self.fault(tag, Reason::Structure, detail));
        }
        // PS3.10 7.2.
        if tag == PADDING && self.levels.len() > 1 {
            let what = (Level::Elements, Weight::Content);
            let detail = "is padding, but not at the end of the data set";
            self.finding(tag, what, Reason::Structure, detail)?;
        }
        if last >> 16 != u32::from(tag.group()) {
            self.end_group(self.header_at)?;
        }
        Ok(())
    }

    /// Elements that the dictionary does not know, or would not have any more.
    #[cold]
    fn remark(&mut self, tag: Tag, entry: Option<&Entry>) -> Result<(), Refusal> {
        let (weight, detail) = match entry {
            _ if tag.element() == 0 => (Weight::Notice, "is a group length, which is retired"),
            Some(_) => (Weight::Hint, "is retired"),
            None if tag == PADDING => return Ok(()),
            None => (Weight::Notice, "is not in the data dictionary"),
        };
        self.finding(tag, (Level::Elements, weight), Reason::Structure, detail)
    }

    fn check_private(&mut self, tag: Tag) -> Result<(), Refusal> {
        match tag.element() {
            0x0000 => self.remark(tag, None),
            // Creators are noted once their value is there.
            0x0010..=0x00ff => Ok(()),
            // Below 0x1000 nobody can reserve any.
            element @ (0x0001..=0x000f | 0x0100..=0xffff) => {
                let level = self.levels.last();
                if element >= 0x1000 && level.is_some_and(|level| self.creators.has(level, tag)) {
                    return Ok(());
                }
                let (_, mut tell) = self.judging();
                rules::without_creator(tag, &mut tell)
            }
        }
    }

    #[inline]
    fn resolve(&mut self, header: Header, entry: Option<&Entry>) -> Result<VR, Refusal> {
        match header.vr {
            Written::Nothing => Ok(vr::implied(entry)),
            Written::As(vr) if entry.is_some_and(|entry| entry.vrs.first() == Some(&vr)) => Ok(vr),
            Written::As(vr) => self.compare(header.tag, vr, entry),
            Written::Reserved(vr) => {
                let detail = "has reserved bytes that are not zero";
                self.doubt(header.tag, Level::Elements, Reason::Encoding, detail)?;
                self.compare(header.tag, vr, entry)
            }
            Written::Unknown => {
                let detail = "has an unknown value representation";
                Err(self.fault(header.tag, Reason::Encoding, detail))
            }
        }
    }

    fn compare(&mut self, tag: Tag, vr: VR, entry: Option<&Entry>) -> Result<VR, Refusal> {
        if vr == VR::UN && entry.is_some_and(|entry| entry.vrs != [VR::UN]) {
            let what = (Level::Elements, Weight::Notice);
            let detail = "is UN, though its value representation is known";
            self.finding(tag, what, Reason::Encoding, detail)?;
        }
        match vr::fit(entry, vr) {
            Fit::Right => Ok(vr),
            Fit::Similar => {
                let detail = "has another value representation than in the dictionary";
                self.doubt(tag, Level::Elements, Reason::Encoding, detail)?;
                Ok(vr)
            }
            // Once US or SS, now OW (PS3.3 C.7.9); the bytes are the same.
            Fit::Wrong if is_palette(tag) && matches!(vr, VR::US | VR::SS) => {
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
}

/// Red, Green and Blue Palette Color Lookup Table Data.
fn is_palette(tag: Tag) -> bool {
    matches!(tag, Tag(0x0028, 0x1201..=0x1203))
}

/// The first group that a data set can begin with, media directories apart.
const FIRST: u16 = 0x0008;
/// Data set trailing padding: the greatest tag, so it can only be the last.
const PADDING: Tag = Tag(0xfffc, 0xfffc);

//! Sequences and items as they open and close (PS3.5 7.5), and what that bounds.

use dicom_core::Tag;
use dicom_core::header::VR;

use super::super::dictionary::Entry;
use super::header::{Header, UNDEFINED};
use super::judges::Element;
use super::nesting::{IMPLICIT_LITTLE, Kind, Nesting, UNTOLD};
use super::{PIXEL_DATA, Walker};
use crate::{LimitReached, Reason, Refusal};

impl Walker {
    /// A sequence opens; one of unknown value representation is implicit inside (PS3.5 6.2.2).
    pub(super) fn push_sequence(
        &mut self,
        header: Header,
        vr: VR,
        entry: Option<&'static Entry>,
        end: Option<u64>,
    ) -> Result<(), Refusal> {
        let Some(around) = self.levels.last() else {
            return Ok(());
        };
        let encoding = if vr == VR::UN {
            IMPLICIT_LITTLE
        } else {
            around.encoding
        };
        let level = around.inner(Kind::Sequence, header.tag, end, encoding);
        //= C7
        if level.depth > self.depth {
            return Err(LimitReached {
                limit: "dicom_depth",
                got: u64::try_from(level.depth).unwrap_or(u64::MAX),
                max: u64::try_from(self.depth).unwrap_or(u64::MAX),
            }
            .into());
        }
        let (judges, element, mut tell) = self.about((header.tag, vr, header.length), entry, &[]);
        judges.open_sequence(&element, &mut tell)?;
        self.push_level(level);
        Ok(())
    }

    /// An item of a sequence opens.
    pub(super) fn on_item(&mut self, header: Header) -> Result<(), Refusal> {
        let end = if header.length == UNDEFINED {
            None
        } else {
            Some(self.even_end(header)?)
        };
        let Some(sequence) = self.levels.last_mut() else {
            return Ok(());
        };
        sequence.items = sequence.items.saturating_add(1);
        let item = sequence.inner(Kind::Elements, sequence.tag, end, sequence.encoding);
        let depth = item.depth;
        self.push_level(item);
        let (judges, mut tell) = self.judging();
        judges.open_item(depth, &mut tell)
    }

    /// Encapsulated pixel data opens.
    pub(super) fn push_fragments(
        &mut self,
        vr: VR,
        entry: Option<&'static Entry>,
    ) -> Result<(), Refusal> {
        let (judges, element, mut tell) = self.about((PIXEL_DATA, vr, UNDEFINED), entry, &[]);
        judges.open_fragments(&element, &mut tell)?;
        let fragments = self
            .levels
            .last()
            .map(|around| around.inner(Kind::Fragments, PIXEL_DATA, None, around.encoding));
        if let Some(fragments) = fragments {
            self.push_level(fragments);
        }
        Ok(())
    }

    fn push_level(&mut self, mut level: Nesting) {
        level.creators = self.creators.len();
        self.levels.push(level);
    }

    /// Items and sequences of defined length end where they said.
    pub(super) fn close_levels(&mut self) -> Result<(), Refusal> {
        while let [_, .., level] = self.levels.as_slice() {
            if level.delimited || level.bound != self.offset {
                return Ok(());
            }
            self.pop_level(self.offset)?;
        }
        Ok(())
    }

    /// The innermost level ends at this offset.
    pub(super) fn pop_level(&mut self, at: u64) -> Result<(), Refusal> {
        self.end_group(at)?;
        let Some(level) = self.levels.last() else {
            return Ok(());
        };
        let (kind, depth) = (level.kind, level.depth);
        let (judges, mut tell) = self.judging();
        match kind {
            Kind::Elements => judges.close_item(depth, &mut tell)?,
            Kind::Sequence => judges.close_sequence(depth, &mut tell)?,
            Kind::Fragments => judges.close_fragments(&mut tell)?,
        }
        if let Some(level) = self.levels.pop() {
            self.creators.close(&level);
        }
        Ok(())
    }

    /// The group of the innermost level's last element is over at this offset, which can be compared with the length
    /// that it told (PS3.5 7.2).
    pub(super) fn end_group(&mut self, at: u64) -> Result<(), Refusal> {
        let Some(level) = self.levels.last_mut() else {
            return Ok(());
        };
        if level.group_end == UNTOLD {
            return Ok(());
        }
        let group = Tag(level.group, 0);
        let right = level.group_end == at;
        level.group_end = UNTOLD;
        if right {
            return Ok(());
        }
        let detail = "does not say how long its group is";
        self.doubt(group, super::Level::Elements, Reason::Structure, detail)
    }

    /// What the innermost level was told by a group length.
    pub(super) fn begin_group(&mut self, tag: Tag, value: &[u8]) {
        let offset = self.offset;
        if let Some(level) = self.levels.last_mut()
            && let Ok(length) = value.try_into()
        {
            let length = if level.encoding.big_endian {
                u32::from_be_bytes(length)
            } else {
                u32::from_le_bytes(length)
            };
            level.group = tag.group();
            level.group_end = offset.saturating_add(u64::from(length));
        }
    }

    /// The judges, an element that they should look at, and where they tell what they find.
    pub(super) fn about<'w>(
        &'w mut self,
        (tag, vr, length): (Tag, VR, u32),
        entry: Option<&'static Entry>,
        value: &'w [u8],
    ) -> (&'w mut super::Judges, Element<'w>, super::Tell<'w>) {
        let level = self.levels.last();
        let element = Element {
            tag,
            vr,
            entry,
            length,
            value,
            big_endian: level.is_some_and(|level| level.encoding.big_endian),
            depth: level.map_or(0, |level| level.depth),
        };
        let tell = super::Tell {
            candidates: &mut self.candidates,
            nesting: &self.levels,
            warnings: &mut self.warnings,
        };
        (&mut self.judges, element, tell)
    }
}

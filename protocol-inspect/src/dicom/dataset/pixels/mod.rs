//! Bulk data against its description: pixel data (PS3.3 C.7.6.3, PS3.5 8 and A.4), overlays, lookup tables, waveforms.
//!
//! In: complete elements, long values and fragments as they stream by, items as they close. Out: findings.
//! Each item that describes something is judged by itself: icons, multiplex groups, lookup tables.
//! Nothing is decoded.

mod code;
mod described;
mod frames;
mod geometry;
mod offsets;
mod photometric;

use dicom_core::Tag;

use super::super::policy::Level;
use super::super::transfer::{Compression, TransferSyntax};
use super::PIXEL_DATA;
use super::judges::{Element, Long, MAX_KEPT, Tell};
use crate::severity::Weight;
use crate::{Limits, Reason, Refusal};
use described::{Length, Luts, Overlay, Waveform};
use frames::{Extended, Frames};
use geometry::Image;
use offsets::Table;

/// Something about pixels that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Doubt {
    weight: Weight,
    detail: &'static str,
}

/// The judge of bulk data.
pub(super) struct Pixels {
    compression: Option<Compression>,
    most_offsets: usize,
    /// Of the data set and of open items, those that describe something, by depth.
    levels: Vec<Described>,
    extended: Extended,
    /// Which extended table streams by.
    reads: Option<Tag>,
    frames: Option<Frames>,
}

/// What one data set or item says.
#[derive(Clone, Copy, Debug, Default)]
struct Described {
    depth: usize,
    image: Image,
    overlay: Overlay,
    luts: Luts,
    waveform: Waveform,
    /// Whether pixel data of some kind came.
    has_pixels: bool,
}

impl Pixels {
    pub(super) fn new(syntax: TransferSyntax, limits: &Limits) -> Self {
        Self {
            compression: syntax.compression(),
            most_offsets: limits.dicom_offsets,
            levels: Vec::new(),
            extended: Extended::default(),
            reads: None,
            frames: None,
        }
    }

    pub(super) fn element(
        &mut self,
        element: &Element<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<(), Refusal> {
        let (tag, value) = (element.tag, element.value);
        if !describes(tag) {
            return Ok(());
        }
        let is_short = usize::try_from(element.length).is_ok_and(|length| length <= MAX_KEPT);
        if is_short {
            self.data(tag, element.length, element.depth, tell)?;
            self.table(tag, element.length, element.depth)?;
            self.chunk(value, tell)?;
        }
        self.reads = None;
        let wanted = exact_length(tag).filter(|_| element.length > 0);
        if wanted.is_some_and(|wanted| wanted != element.length) {
            // Readers take the first of several values: it must not switch off what is checked with it.
            content(tell, tag, "is not exactly one value of its type")?;
        }
        let level = self.level(element.depth);
        match tag.group() {
            0x0028 => {
                level.image.learn(tag, value, element.big_endian);
                if !level.luts.learn(tag, value, element.big_endian) {
                    let detail = "is not a descriptor that a lookup table can have";
                    return content(tell, tag, detail);
                }
            }
            0x003a | 0x5400 => level.waveform.learn(tag, value, element.big_endian),
            0x6000..=0x60ff => level.overlay.learn(tag, value, element.big_endian),
            _ => {}
        }
        Ok(())
    }

    /// A value of more than [`MAX_KEPT`] bytes begins.
    pub(super) fn long(&mut self, long: &Long, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        if !describes(long.tag) {
            return Ok(());
        }
        self.data(long.tag, long.length, long.depth, tell)?;
        self.table(long.tag, long.length, long.depth)
    }

    /// Bytes of a fragment or of an extended offset table; others are of no interest.
    pub(super) fn chunk(&mut self, bytes: &[u8], tell: &mut Tell<'_>) -> Result<(), Refusal> {
        if let Some(frames) = &mut self.frames {
            return frames.chunk(bytes, tell);
        }
        let table = match self.reads {
            Some(EXTENDED_OFFSETS) => &mut self.extended.offsets,
            Some(_) => &mut self.extended.lengths,
            None => return Ok(()),
        };
        if let Some(table) = table {
            table.push(bytes);
        }
        Ok(())
    }

    /// The item at this depth is over, and what it described with it.
    pub(super) fn close_item(&mut self, depth: usize) {
        if self.levels.last().is_some_and(|level| level.depth == depth) {
            self.levels.pop();
        }
    }

    /// Pixel data of undefined length begin.
    pub(super) fn open_fragments(
        &mut self,
        pixels: &Element<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<(), Refusal> {
        let Some(compression) = self.compression else {
            return Ok(());
        };
        let depth = pixels.depth;
        self.pixels(PIXEL_DATA, depth, Some(compression), tell)?;
        let extended = std::mem::take(&mut self.extended);
        let extended = if depth == 0 {
            extended
        } else {
            Extended::default()
        };
        let image = self.level(depth).image;
        if image.rows.is_none() || image.columns.is_none() {
            content(tell, PIXEL_DATA, NO_GEOMETRY)?;
        }
        self.frames = Some(Frames::new(compression, image, extended));
        Ok(())
    }

    /// An item of pixel data begins; number 0 is the basic offset table.
    pub(super) fn fragment(
        &mut self,
        number: u64,
        length: u32,
        tell: &mut Tell<'_>,
    ) -> Result<(), Refusal> {
        match &mut self.frames {
            Some(frames) => frames.fragment(number, length, self.most_offsets, tell),
            None => Ok(()),
        }
    }

    /// Pixel data of undefined length are over.
    pub(super) fn close_fragments(&mut self, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        match self.frames.take() {
            Some(mut frames) => frames.close(tell),
            None => Ok(()),
        }
    }

    /// What was described at this depth; deeper items are over.
    fn level(&mut self, depth: usize) -> &mut Described {
        while self.levels.last().is_some_and(|level| level.depth > depth) {
            self.levels.pop();
        }
        if self.levels.last().is_none_or(|level| level.depth < depth) {
            self.levels.push(Described {
                depth,
                ..Described::default()
            });
        }
        let last = self.levels.len().saturating_sub(1);
        #[expect(
            clippy::indexing_slicing,
            reason = "one was just pushed if there was none"
        )]
        &mut self.levels[last]
    }

    /// Data whose length follows from its description.
    fn data(
        &mut self,
        tag: Tag,
        length: u32,
        depth: usize,
        tell: &mut Tell<'_>,
    ) -> Result<(), Refusal> {
        let level = self.level(depth);
        let expected = match tag {
            PIXEL_DATA | FLOAT_PIXEL_DATA | DOUBLE_FLOAT_PIXEL_DATA => {
                return self.native_pixels(tag, length, depth, tell);
            }
            WAVEFORM_DATA => level.waveform.length(),
            Tag(0x0028, _) => level.luts.length(tag),
            Tag(0x6000..=0x60ff, 0x3000) => level.overlay.length(tag.group()),
            _ => None,
        };
        if expected.is_some_and(|expected| expected.fits(length) && expected.is_doubtful(length)) {
            let detail = "has entries of 8 bits, but its descriptor says more";
            return tell.finding(tag, (Level::Pixels, Weight::Strict), Reason::Field, detail);
        }
        if expected.is_none_or(|expected: Length| expected.fits(length)) {
            return Ok(());
        }
        content(tell, tag, "is not as long as its description says")
    }

    fn native_pixels(
        &mut self,
        tag: Tag,
        length: u32,
        depth: usize,
        tell: &mut Tell<'_>,
    ) -> Result<(), Refusal> {
        // Icons may be native in any syntax.
        if self.compression.is_some() && depth == 0 && tag == PIXEL_DATA {
            let detail = "is native, but the transfer syntax is encapsulated";
            return Err(tell.refuse(tag, Reason::Structure, detail));
        }
        self.pixels(tag, depth, None, tell)?;
        let image = self.level(depth).image;
        let expected = match tag {
            FLOAT_PIXEL_DATA => image.float_length(32),
            DOUBLE_FLOAT_PIXEL_DATA => image.float_length(64),
            _ => image.native_length(),
        };
        match expected {
            Some(expected) if expected == u128::from(length) => Ok(()),
            Some(_)
                if tag == PIXEL_DATA && image.unsubsampled_length() == Some(u128::from(length)) =>
            {
                let detail = "has all samples, though its photometric interpretation halves two";
                tell.finding(tag, (Level::Pixels, Weight::Strict), Reason::Field, detail)
            }
            // PS3.5 8.1.1 knows no padding but to even length.
            Some(_) => content(tell, tag, "is not as long as the image needs"),
            // Else leaving out Rows would leave out every check of the length.
            None => content(tell, tag, NO_GEOMETRY),
        }
    }

    /// Pixel data of some kind begin: everything that describes them came before.
    fn pixels(
        &mut self,
        tag: Tag,
        depth: usize,
        compression: Option<Compression>,
        tell: &mut Tell<'_>,
    ) -> Result<(), Refusal> {
        let level = self.level(depth);
        let again = std::mem::replace(&mut level.has_pixels, true);
        let Described { image, luts, .. } = *level;
        if again {
            content(tell, tag, "comes besides other pixel data")?;
        }
        for doubt in image.doubts(compression) {
            tell.finding(
                tag,
                (Level::Pixels, doubt.weight),
                Reason::Field,
                doubt.detail,
            )?;
        }
        if let Some(detail) = luts.palette_doubt().filter(|_| image.is_palette()) {
            tell.finding(tag, (Level::Pixels, Weight::Strict), Reason::Field, detail)?;
        }
        Ok(())
    }

    /// An extended offset table begins.
    fn table(&mut self, tag: Tag, length: u32, depth: usize) -> Result<(), Refusal> {
        if depth > 0 || length == 0 {
            return Ok(());
        }
        let table = match tag {
            EXTENDED_OFFSETS => &mut self.extended.offsets,
            EXTENDED_LENGTHS => &mut self.extended.lengths,
            _ => return Ok(()),
        };
        *table = Some(Table::new(length, self.most_offsets)?);
        self.reads = Some(tag);
        Ok(())
    }
}

/// Whether an element is of those that are looked at here.
fn describes(tag: Tag) -> bool {
    match tag.group() {
        0x0028 | 0x003a | 0x5400 | 0x7fe0 => true,
        // Odd groups are private.
        group @ 0x6000..=0x60ff => group.is_multiple_of(2),
        _ => false,
    }
}

/// How long an element that says how long bulk data is must be, if it is not empty.
fn exact_length(tag: Tag) -> Option<u32> {
    match tag {
        Tag(0x0028, 0x0002 | 0x0010 | 0x0011 | 0x0100..=0x0103)
        | Tag(0x003a, 0x0005)
        | Tag(0x5400, 0x1004)
        | Tag(0x6000..=0x60ff, 0x0010 | 0x0011) => Some(2),
        Tag(0x003a, 0x0010) => Some(4),
        _ => None,
    }
}

/// A value of two bytes.
fn number(value: &[u8], big_endian: bool) -> Option<u16> {
    match *value {
        [a, b] if big_endian => Some(u16::from_be_bytes([a, b])),
        [a, b] => Some(u16::from_le_bytes([a, b])),
        _ => None,
    }
}

fn content(tell: &mut Tell<'_>, tag: Tag, detail: &'static str) -> Result<(), Refusal> {
    tell.finding(tag, (Level::Pixels, Weight::Content), Reason::Field, detail)
}

const NO_GEOMETRY: &str = "comes without the image geometry";
const FRAGMENT: Tag = Tag(0xfffe, 0xe000);
const EXTENDED_OFFSETS: Tag = Tag(0x7fe0, 0x0001);
const EXTENDED_LENGTHS: Tag = Tag(0x7fe0, 0x0002);
const FLOAT_PIXEL_DATA: Tag = Tag(0x7fe0, 0x0008);
const DOUBLE_FLOAT_PIXEL_DATA: Tag = Tag(0x7fe0, 0x0009);
const WAVEFORM_DATA: Tag = Tag(0x5400, 0x1010);

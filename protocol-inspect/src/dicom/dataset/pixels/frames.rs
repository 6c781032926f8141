//! The fragments of encapsulated pixel data (PS3.5 A.4): offset table, frames, how each begins.
//!
//! In: where each fragment begins and how long it is, and its bytes. Out: findings at the pixel data.
//! Keeps the offset tables and the first bytes of one fragment; the rest streams by.

use super::super::super::policy::Level;
use super::super::super::transfer::Compression;
use super::super::documents;
use super::super::judges::Tell;
use super::super::nesting::Kind;
use super::code::{self, HEAD, Start, WIDE_HEAD};
use super::geometry::Image;
use super::offsets::{Cursor, Table};
use super::{FRAGMENT, PIXEL_DATA};
use crate::severity::Weight;
use crate::{Reason, Refusal};

/// The extended offset table and its lengths (PS3.3 C.7.6.3.1.8).
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) offsets: Option<Table<8>>,
    pub(super) lengths: Option<Table<8>>,
}

/// Encapsulated pixel data under way.
pub(super) struct Frames {
    compression: Compression,
    image: Image,
    basic: Table<4>,
    extended: Extended,
    cursor: Cursor,
    /// Items so far: the offset table is the first.
    items: u64,
    /// Where the next fragment begins, counted from the first.
    next: u64,
    /// Length of the fragment under way.
    length: u32,
    /// Its first bytes, as far as they came in pieces, and whether they are judged.
    head: Vec<u8>,
    is_judged: bool,
    /// Whether more than [`HEAD`] bytes are needed to see how it begins.
    is_wide: bool,
    /// Whether the fragment under way begins a frame: unknown without a table.
    starts: Option<bool>,
    /// What was wrong with a fragment that begins a frame only if each does.
    postponed: Option<super::Doubt>,
    /// The table is known to be wrong: no more is said of it.
    is_lost: bool,
    /// The basic table had the first of several frames only: it is left out.
    has_first_only: bool,
}

impl Frames {
    pub(super) fn new(compression: Compression, image: Image, extended: Extended) -> Self {
        Self {
            compression,
            image,
            basic: Table::default(),
            extended,
            cursor: Cursor::default(),
            items: 0,
            next: 0,
            length: 0,
            head: Vec::new(),
            is_judged: true,
            is_wide: false,
            starts: None,
            postponed: None,
            is_lost: false,
            has_first_only: false,
        }
    }

    /// An item of this length begins; number 0 is the basic offset table.
    pub(super) fn fragment(
        &mut self,
        number: u64,
        length: u32,
        most: usize,
        tell: &mut Tell<'_>,
    ) -> Result<(), Refusal> {
        self.items = number.saturating_add(1);
        if number == 0 {
            self.basic = Table::new(length, most)?;
            return Ok(());
        }
        if number == 1 {
            self.check_tables(tell)?;
        }
        if length == 0 {
            finding(tell, Weight::Content, "has an empty fragment")?;
        }
        self.length = length;
        self.head.clear();
        self.is_judged = false;
        self.is_wide = false;
        let begins = self.next;
        self.next = begins
            .saturating_add(ITEM_HEADER)
            .saturating_add(u64::from(length));
        self.starts = self.place(begins, tell)?;
        self.check_extended_length(length, tell)
    }

    /// The next bytes of the item.
    pub(super) fn chunk(&mut self, bytes: &[u8], tell: &mut Tell<'_>) -> Result<(), Refusal> {
        if self.items == 1 {
            self.basic.push(bytes);
            return Ok(());
        }
        if self.is_judged {
            return Ok(());
        }
        let most = if self.is_wide { WIDE_HEAD } else { HEAD };
        let wanted = usize::try_from(self.length).map_or(most, |length| length.min(most));
        let whole = bytes.get(..wanted).filter(|_| self.head.is_empty());
        if let Some(head) = whole {
            self.judge_head(head, tell)?;
            if self.is_judged {
                return Ok(());
            }
            self.head.extend_from_slice(head);
            return self.chunk(bytes.get(wanted..).unwrap_or_default(), tell);
        }
        let room = wanted.saturating_sub(self.head.len());
        self.head.extend(bytes.iter().take(room));
        if self.head.len() < wanted {
            return Ok(());
        }
        let head = std::mem::take(&mut self.head);
        let verdict = self.judge_head(&head, tell);
        self.head = head;
        verdict?;
        if self.is_judged {
            return Ok(());
        }
        // Once more at most, as the head is wide now.
        self.chunk(bytes.get(room..).unwrap_or_default(), tell)
    }

    /// The sequence of items is over.
    pub(super) fn close(&mut self, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        if self.has_table() {
            if !self.is_lost && !self.is_at_end() {
                finding(tell, Weight::Content, POINTS_AT_NOTHING)?;
            }
            return Ok(());
        }
        let fragments = self.items.saturating_sub(1);
        if self.has_first_only {
            let plain = self.image.frames().map(u64::from) == Some(fragments);
            let weight = if plain {
                Weight::Strict
            } else {
                Weight::Content
            };
            finding(tell, weight, OTHER_NUMBER)?;
        }
        let Some(frames) = self.image.frames().map(u64::from) else {
            return Ok(());
        };
        match sharing(self.compression) {
            Sharing::OneStream => {}
            Sharing::OneFragment if fragments != frames => {
                let detail = "does not have one fragment for each frame";
                finding(tell, Weight::Content, detail)?;
            }
            Sharing::Fragments if fragments < frames => {
                finding(tell, Weight::Content, "has fewer fragments than frames")?;
            }
            Sharing::Fragments if frames > 1 && fragments > frames => {
                let detail = "has no offset table that says where its frames begin";
                finding(tell, Weight::Strict, detail)?;
            }
            Sharing::Fragments | Sharing::OneFragment => {
                if let Some(doubt) = self.postponed.take().filter(|_| fragments == frames) {
                    let detail = "has a frame that does not begin as the transfer syntax says";
                    finding(tell, doubt.weight, detail)?;
                }
            }
        }
        Ok(())
    }

    /// The basic offset table is complete.
    //= DICOM PS3.5 A.4
    fn check_tables(&mut self, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        let frames = self
            .image
            .frames()
            .and_then(|frames| usize::try_from(frames).ok());
        let (count, ascends) = match (&self.extended.offsets, self.basic.is_empty()) {
            (Some(table), true) => (table.len(), table.ascends()),
            (Some(_), false) => {
                let detail = "has a basic offset table besides the extended one";
                return finding(tell, Weight::Content, detail);
            }
            (None, true) => return Ok(()),
            (None, false) => (self.basic.len(), self.basic.ascends()),
        };
        if !ascends {
            self.is_lost = true;
            let detail = "has an offset table that does not ascend from 0";
            finding(tell, Weight::Content, detail)?;
        }
        let one_stream = sharing(self.compression) == Sharing::OneStream;
        if frames.is_some_and(|frames| frames != count) && !(one_stream && count == 1) {
            if ascends && count == 1 && self.extended.offsets.is_none() {
                // What it weighs depends on the number of fragments.
                self.has_first_only = true;
                self.basic = Table::default();
                return Ok(());
            }
            finding(tell, Weight::Content, OTHER_NUMBER)?;
        }
        let lengths = self.extended.lengths.as_ref().map(Table::len);
        if self.extended.offsets.is_some() && lengths != Some(count) {
            let detail = "has an extended offset table without as many lengths";
            finding(tell, Weight::Content, detail)?;
        }
        Ok(())
    }

    /// Whether a frame begins at this offset, as far as is known.
    fn place(&mut self, begins: u64, tell: &mut Tell<'_>) -> Result<Option<bool>, Refusal> {
        let is_first = begins == 0;
        if self.is_lost || !self.has_table() {
            let known = is_first || sharing(self.compression) == Sharing::OneFragment;
            return Ok(known.then_some(true));
        }
        let found = match &self.extended.offsets {
            Some(table) => self.cursor.fragment(table, begins),
            None => self.cursor.fragment(&self.basic, begins),
        };
        let Ok(starts) = found else {
            self.is_lost = true;
            finding(tell, Weight::Content, POINTS_AT_NOTHING)?;
            return Ok(None);
        };
        let undivided =
            self.extended.offsets.is_some() || sharing(self.compression) == Sharing::OneFragment;
        if undivided && !starts {
            self.is_lost = true;
            let detail = "does not have one fragment for each frame";
            finding(tell, Weight::Content, detail)?;
        }
        Ok(Some(starts))
    }

    /// A frame is as long as its fragment, but for the pad byte.
    fn check_extended_length(&mut self, length: u32, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        if self.is_lost || self.starts != Some(true) {
            return Ok(());
        }
        let index = self
            .items
            .checked_sub(2)
            .and_then(|index| usize::try_from(index).ok());
        let said = self.extended.lengths.as_ref().zip(index);
        let said = said.and_then(|(lengths, index)| lengths.get(index));
        let Some(said) = said else {
            return Ok(());
        };
        if said.checked_next_multiple_of(2) != Some(u64::from(length)) {
            let detail = "has a fragment that is not as long as the extended offset table says";
            return finding(tell, Weight::Content, detail);
        }
        Ok(())
    }

    fn judge_head(&mut self, head: &[u8], tell: &mut Tell<'_>) -> Result<(), Refusal> {
        self.is_judged = true;
        if !self.is_wide
            && let Some((weight, detail)) = documents::smuggled(head, true)
        {
            let severity = (Level::Documents, weight);
            tell.finding(FRAGMENT, severity, Reason::Embedded, detail)?;
        }
        let start = match self.starts {
            Some(false) => return Ok(()),
            Some(true) | None => code::start(self.compression, head, self.length, &self.image),
        };
        let is_all = u32::try_from(head.len()).is_ok_and(|length| length == self.length);
        let doubt = match start {
            Start::Seen(doubt) => doubt,
            Start::Unclear(_) if !self.is_wide && !is_all => {
                self.is_wide = true;
                self.is_judged = false;
                return Ok(());
            }
            Start::Unclear(doubt) => Some(doubt),
        };
        match (self.starts, doubt) {
            (Some(true), Some(doubt)) => finding_in_fragment(tell, doubt.weight, doubt.detail),
            (_, doubt) => {
                self.postponed = self.postponed.take().or(doubt);
                Ok(())
            }
        }
    }

    fn has_table(&self) -> bool {
        self.extended.offsets.is_some() || !self.basic.is_empty()
    }

    fn is_at_end(&self) -> bool {
        match &self.extended.offsets {
            Some(table) => self.cursor.is_done(table),
            None => self.cursor.is_done(&self.basic),
        }
    }
}

/// How frames and fragments go together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// All frames are in one stream, however it is cut.
    OneStream,
    /// Each frame is in one or more fragments.
    Fragments,
    /// Each frame is in one fragment.
    OneFragment,
}

//= DICOM PS3.5 A.4
fn sharing(compression: Compression) -> Sharing {
    match compression {
        Compression::Mpeg2 | Compression::Mpeg4 | Compression::Jpeg2000Part2 => Sharing::OneStream,
        Compression::Rle | Compression::Uncompressed | Compression::Deflated => {
            Sharing::OneFragment
        }
        Compression::Jpeg
        | Compression::JpegLossless
        | Compression::JpegLs
        | Compression::Jpeg2000
        | Compression::JpegXl => Sharing::Fragments,
    }
}

/// A finding at the pixel data as a whole, also while its items are read.
fn finding(tell: &mut Tell<'_>, weight: Weight, detail: &'static str) -> Result<(), Refusal> {
    let nesting = tell.nesting;
    if let [outer @ .., last] = nesting
        && last.kind == Kind::Fragments
    {
        tell.nesting = outer;
    }
    let severity = (Level::Pixels, weight);
    let verdict = tell.finding(PIXEL_DATA, severity, Reason::Structure, detail);
    tell.nesting = nesting;
    verdict
}

fn finding_in_fragment(
    tell: &mut Tell<'_>,
    weight: Weight,
    detail: &'static str,
) -> Result<(), Refusal> {
    tell.finding(FRAGMENT, (Level::Pixels, weight), Reason::Encoding, detail)
}

const OTHER_NUMBER: &str = "has an offset table of another number of frames";
const POINTS_AT_NOTHING: &str = "has an offset table that points where no fragment begins";
/// Tag and length of an item.
const ITEM_HEADER: u64 = 8;

//! Walks a data set (PS3.5 section 7) as it arrives.
//!
//! In: bytes in any chunks, whatever their size. Out: a refusal at the first fault, or the [`Facts`] at the end.
//! Nothing is kept of the values but the few facts; nesting lives in a bounded list, never on the call stack.
//! Knows nothing of commands and of modules (PS3.3).

mod brief;
mod deflate;
mod documents;
mod creators;
mod candidates;
mod element;
mod facts;
mod fragments;
mod header;
mod transaction;
mod judges;
mod levels;
mod nesting;
mod object;
pub mod tree;
mod value;
mod values;
mod pixels;
mod rules;
mod vr;

use dicom_core::Tag;
use dicom_core::header::VR;

use super::dictionary::Entry;
use super::fault::{Warnings, refusal};
use super::policy::Level;
use super::transfer::TransferSyntax;
use crate::severity::Weight;
use crate::{LimitReached, Reason, Refusal, Warning};
use creators::Creators;
use deflate::Inflater;
use header::{Header, HeaderBytes};
use judges::{Judges, Long, MAX_KEPT, Tell};
use nesting::Nesting;
use rules::RuleJudge;
use value::Value;

pub use brief::{Brief, Content, Normalized};
pub(super) use candidates::Candidates;
pub use facts::Facts;
pub(super) use rules::Subject;
pub use transaction::{Commitment, StepStatus, Transaction};

/// The walk of one data set.
pub struct Walker {
    syntax: TransferSyntax,
    /// Of a deflated data set.
    inflater: Option<Inflater>,
    candidates: Candidates,
    bytes: u64,
    depth: usize,
    max_elements: usize,
    /// The first bytes, until it is certain that they are not a Part 10 file.
    prefix: Option<Vec<u8>>,
    header: HeaderBytes,
    /// Offset at which the header begins that was read last, or is being read.
    header_at: u64,
    /// The value whose header was read last.
    value: Value,
    /// Whether some of its bytes are still to come.
    is_waiting: bool,
    /// The first bytes of a value that comes in several chunks. At most [`MAX_KEPT`].
    kept: Vec<u8>,
    levels: Vec<Nesting>,
    creators: Creators,
    offset: u64,
    elements: usize,
    judges: Judges,
    warnings: Warnings,
}

/// Never the bytes under way.
impl std::fmt::Debug for Walker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walker")
            .field("offset", &self.offset)
            .field("elements", &self.elements)
            .finish_non_exhaustive()
    }
}

impl Walker {
    /// A walk at the start of a data set in this transfer syntax.
    #[must_use]
    pub fn new(syntax: TransferSyntax, brief: &Brief) -> Self {
        Self::among(syntax, brief, Candidates::of(brief), Subject::default())
    }

    /// As [`Self::new`], where several rules may accept the data set.
    pub(super) fn among(
        syntax: TransferSyntax,
        brief: &Brief,
        candidates: Candidates,
        subject: Subject,
    ) -> Self {
        let mut judges = Judges::new(brief, syntax);
        judges.rules = RuleJudge::new(&brief.content, subject, &candidates);
        let limits = &brief.policy.limits;
        Self {
            syntax,
            inflater: (syntax == TransferSyntax::Deflated).then(|| Inflater::new(limits)),
            candidates,
            bytes: limits.dicom_dataset,
            depth: limits.dicom_depth,
            max_elements: limits.dicom_elements,
            prefix: Some(Vec::new()),
            header: HeaderBytes::default(),
            header_at: 0,
            value: Value::none(),
            is_waiting: false,
            kept: Vec::new(),
            levels: vec![Nesting::root(syntax, limits.dicom_dataset)],
            creators: Creators::default(),
            offset: 0,
            elements: 0,
            judges,
            warnings: Warnings::default(),
        }
    }

    /// The next bytes.
    ///
    /// # Errors
    /// The place and kind of the fault. Nothing may be fed afterwards.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let Some(mut inflater) = self.inflater.take() else {
            return self.feed_plain(bytes);
        };
        inflater.feed(bytes, |inflated| self.feed_plain(inflated))?;
        self.inflater = Some(inflater);
        Ok(())
    }

    fn feed_plain(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let Some(prefix) = &mut self.prefix else {
            return self.walk(bytes);
        };
        let wanted = PART_10.saturating_sub(prefix.len());
        let (head, rest) = bytes.split_at_checked(wanted).unwrap_or((bytes, &[]));
        if head.len() < wanted {
            prefix.extend_from_slice(head);
            return Ok(());
        }
        let prefix = self.prefix.take().unwrap_or_default();
        let is_file = if prefix.is_empty() {
            head.ends_with(MAGIC)
        } else {
            [&prefix, head].concat().ends_with(MAGIC)
        };
        if is_file {
            let detail = "is a Part 10 file, not a data set";
            return Err(refusal(Reason::Structure, "data set", detail));
        }
        if prefix.is_empty() {
            return self.walk(bytes);
        }
        self.walk(&prefix)?;
        self.walk(head)?;
        self.walk(rest)
    }

    /// The data set is complete.
    ///
    /// # Errors
    /// It is not.
    pub fn finish(&mut self) -> Result<Facts, Refusal> {
        if let Some(inflater) = &self.inflater {
            inflater.finish()?;
        }
        if let Some(prefix) = self.prefix.take() {
            self.walk(&prefix)?;
        }
        if self.is_waiting {
            return Err(self.fault(
                self.value.tag,
                Reason::Structure,
                "ends before its value does",
            ));
        }
        if !self.header.is_empty() {
            let location = format!("data set (byte {})", self.offset);
            return Err(refusal(
                Reason::Structure,
                location,
                "ends in an element header",
            ));
        }
        self.close_levels()?;
        if let [_, .., open] = self.levels.as_slice() {
            return Err(refusal(
                Reason::Structure,
                nesting::name(open.tag),
                "is not ended",
            ));
        }
        self.end_group(self.offset)?;
        let (judges, mut tell) = self.judging();
        judges.finish(&mut tell)?;
        Ok(std::mem::take(&mut self.judges.facts))
    }

    /// How many headers of elements, items and delimiters came so far.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// How many bytes were inflated so far; 0 of what is not deflated.
    pub(super) fn inflated(&self) -> u64 {
        self.inflater.as_ref().map_or(0, Inflater::inflated)
    }

    /// Whether its bytes are deflated.
    pub(super) fn is_deflated(&self) -> bool {
        self.syntax == TransferSyntax::Deflated
    }

    /// What is wrong but tolerated, so far.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        self.warnings.as_slice()
    }

    /// The rules that may still accept it.
    pub(super) fn candidates(&mut self) -> &mut Candidates {
        &mut self.candidates
    }

    pub(super) fn take_warnings(&mut self) -> Warnings {
        std::mem::take(&mut self.warnings)
    }

    fn walk(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        while !bytes.is_empty() {
            if self.is_waiting {
                self.walk_value(&mut bytes)?;
            } else {
                self.walk_header(&mut bytes)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn walk_value(&mut self, bytes: &mut &[u8]) -> Result<(), Refusal> {
        let is_fresh = self.value.is_fresh();
        let own = self.value.take(bytes);
        self.advance(own.len());
        if self.value.is_long() {
            let (judges, mut tell) = self.judging();
            judges.chunk(own, &mut tell)?;
        }
        if is_fresh && self.value.is_complete() {
            return self.end_value(own.get(..MAX_KEPT).unwrap_or(own));
        }
        self.gather(own, is_fresh)
    }

    /// Keeps what came of a value that did not come at once.
    #[cold]
    fn gather(&mut self, own: &[u8], is_fresh: bool) -> Result<(), Refusal> {
        if is_fresh {
            self.kept.clear();
        }
        let room = MAX_KEPT.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(own.get(..room).unwrap_or(own));
        if self.value.is_complete() {
            let kept = std::mem::take(&mut self.kept);
            self.end_value(&kept)?;
            self.kept = kept;
        }
        Ok(())
    }

    #[inline]
    fn walk_header(&mut self, bytes: &mut &[u8]) -> Result<(), Refusal> {
        let is_fresh = self.header.is_empty();
        if is_fresh {
            self.close_levels()?;
            self.header_at = self.offset;
        }
        let Some(level) = self.levels.last() else {
            return Err(refusal(Reason::Structure, "data set", "is over"));
        };
        let encoding = level.encoding;
        let before = bytes.len();
        let header = if is_fresh && let Some((header, rest)) = Header::split(bytes, encoding) {
            *bytes = rest;
            header
        } else {
            let header = self.header.fill(bytes, encoding);
            let Some(header) = header else {
                self.advance(before);
                return Ok(());
            };
            header
        };
        self.advance(before.saturating_sub(bytes.len()));
        self.count_element()?;
        if self.is_beyond(self.offset) {
            let detail = "crosses the end of its item or sequence";
            return Err(self.beyond(self.offset, header.tag, detail));
        }
        self.on_header(header)
    }

    //= C7
    fn count_element(&mut self) -> Result<(), Refusal> {
        self.elements = self.elements.saturating_add(1);
        if self.elements <= self.max_elements {
            return Ok(());
        }
        Err(LimitReached {
            limit: "dicom_elements",
            got: u64::try_from(self.elements).unwrap_or(u64::MAX),
            max: u64::try_from(self.max_elements).unwrap_or(u64::MAX),
        }
        .into())
    }

    /// Whether nothing of the innermost level can be there.
    fn is_beyond(&self, offset: u64) -> bool {
        let bound = self.levels.last().map_or(self.bytes, |level| level.bound);
        offset > bound
    }

    /// What is wrong with reaching an offset beyond the bound of a level: the data set is too long, or what contains it
    /// ends before.
    #[cold]
    fn beyond(&self, offset: u64, tag: Tag, detail: &'static str) -> Refusal {
        let mut around = self.levels.iter().filter(|level| !level.delimited);
        if around.any(|level| level.bound < offset) {
            return self.fault(tag, Reason::Structure, detail);
        }
        //= C7
        LimitReached {
            limit: "dicom_dataset",
            got: offset,
            max: self.bytes,
        }
        .into()
    }

    /// Where a value or level of this length would end, if there is room for it.
    fn end_of(&self, tag: Tag, length: u32) -> Result<u64, Refusal> {
        let end = self.offset.saturating_add(u64::from(length));
        if self.is_beyond(end) {
            return Err(self.beyond(end, tag, "is longer than what contains it"));
        }
        Ok(end)
    }

    fn begin_value(
        &mut self,
        tag: Tag,
        vr: VR,
        entry: Option<&'static Entry>,
        length: u32,
    ) -> Result<(), Refusal> {
        self.value.begin(tag, vr, entry, length);
        if length == 0 {
            return self.end_value(&[]);
        }
        self.is_waiting = true;
        if self.value.is_long() && !self.value.is_fragment() {
            let depth = nesting::depth(&self.levels);
            let (judges, mut tell) = self.judging();
            let long = Long {
                tag,
                vr,
                length,
                depth,
            };
            judges.long(&long, &mut tell)?;
        }
        Ok(())
    }

    #[inline]
    fn end_value(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.is_waiting = false;
        if self.value.is_fragment() {
            return Ok(());
        }
        let Value {
            tag,
            vr,
            entry,
            length,
            ..
        } = self.value;
        let (judges, element, mut tell) = self.about((tag, vr, length), entry, bytes);
        judges.element(&element, &mut tell)?;
        if tag.element() == 0 {
            self.begin_group(tag, bytes);
        } else if tag.group() & 1 == 1
            && (0x0010..=0x00ff).contains(&tag.element())
            && let Some(level) = self.levels.last()
        {
            let is_named = self.creators.reserve(level, tag, bytes);
            if !is_named {
                let detail = "is a private creator without a name";
                return self.doubt(tag, Level::Private, Reason::Field, detail);
            }
        }
        Ok(())
    }

    /// The judges, and where they tell what they find.
    fn judging(&mut self) -> (&mut Judges, Tell<'_>) {
        let tell = Tell {
            candidates: &mut self.candidates,
            nesting: &self.levels,
            warnings: &mut self.warnings,
        };
        (&mut self.judges, tell)
    }

    fn advance(&mut self, by: usize) {
        self.offset = self
            .offset
            .saturating_add(u64::try_from(by).unwrap_or(u64::MAX));
    }

    /// A refusal with the path of sequences and items down to `tag`.
    fn fault(&self, tag: Tag, reason: Reason, detail: impl Into<String>) -> Refusal {
        refusal(reason, nesting::path(&self.levels, tag), detail)
    }

    /// Something that the strict profile refuses, if it does not say otherwise of the level.
    fn doubt(
        &mut self,
        tag: Tag,
        level: Level,
        reason: Reason,
        detail: &'static str,
    ) -> Result<(), Refusal> {
        self.finding(tag, (level, Weight::Strict), reason, detail)
    }

    #[cold]
    fn finding(
        &mut self,
        tag: Tag,
        what: (Level, Weight),
        reason: Reason,
        detail: &'static str,
    ) -> Result<(), Refusal> {
        let (_, mut tell) = self.judging();
        tell.finding(tag, what, reason, detail)
    }
}

const PIXEL_DATA: Tag = Tag(0x7fe0, 0x0010);
/// Preamble and prefix of a file (PS3.10 7.1).
const PART_10: usize = 132;
const MAGIC: &[u8] = b"DICM";

//! Walks a data set (PS3.5 section 7) as it arrives.
//!
//! In: bytes in any chunks, whatever their size. Out: a refusal at the first fault, or the [`Facts`] at the end.
//! Nothing is kept of the values but the few facts; nesting lives in a bounded list, never on the call stack.
//! Knows nothing of commands and of modules (PS3.3).

mod brief;
mod element;
mod facts;
mod judges;
mod nesting;
mod value;
mod pixel;
mod vr;

use dicom_core::Tag;
use dicom_core::header::VR;

use super::dictionary::Entry;
use super::fault::{Warnings, refusal};
use super::policy::{Level, Strictness};
use super::transfer::TransferSyntax;
use crate::severity::Weight;
use crate::{LimitReached, Reason, Refusal, Warning};
use element::HeaderBytes;
use judges::{Element, Judges, Tell};
use nesting::{Kind, Nesting};
use value::Value;

pub use brief::{Brief, Content};
pub use facts::Facts;

/// The walk of one data set.
pub struct Walker {
    syntax: TransferSyntax,
    strictness: Strictness,
    bytes: u64,
    depth: usize,
    max_elements: usize,
    /// The first bytes, until it is certain that they are not a Part 10 file.
    prefix: Option<Vec<u8>>,
    header: HeaderBytes,
    value: Option<Value>,
    levels: Vec<Nesting>,
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
        let limits = &brief.policy.limits;
        Self {
            syntax,
            strictness: brief.strictness(),
            bytes: limits.dicom_dataset,
            depth: limits.dicom_depth,
            max_elements: limits.dicom_elements,
            prefix: Some(Vec::new()),
            header: HeaderBytes::default(),
            value: None,
            levels: vec![Nesting::root(syntax)],
            offset: 0,
            elements: 0,
            judges: Judges::new(brief),
            warnings: Warnings::default(),
        }
    }

    /// The next bytes.
    ///
    /// # Errors
    /// The place and kind of the fault. Nothing may be fed afterwards.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let Some(prefix) = &mut self.prefix else {
            return self.walk(bytes);
        };
        let wanted = PART_10.saturating_sub(prefix.len());
        let (head, rest) = bytes.split_at_checked(wanted).unwrap_or((bytes, &[]));
        prefix.extend_from_slice(head);
        if prefix.len() < PART_10 {
            return Ok(());
        }
        let prefix = self.prefix.take().unwrap_or_default();
        if prefix.ends_with(MAGIC) {
            let detail = "is a Part 10 file, not a data set";
            return Err(refusal(Reason::Structure, "data set", detail));
        }
        self.walk(&prefix)?;
        self.walk(rest)
    }

    /// The data set is complete.
    ///
    /// # Errors
    /// It is not.
    pub fn finish(&mut self) -> Result<Facts, Refusal> {
        if let Some(prefix) = self.prefix.take() {
            self.walk(&prefix)?;
        }
        if let Some(value) = &self.value {
            return Err(self.fault(value.tag, Reason::Structure, "ends before its value does"));
        }
        if !self.header.is_empty() {
            let location = format!("data set (byte {})", self.offset);
            return Err(refusal(
                Reason::Structure,
                location,
                "ends in an element header",
            ));
        }
        self.close_levels();
        if let [_, .., open] = self.levels.as_slice() {
            return Err(refusal(
                Reason::Structure,
                nesting::name(open.tag),
                "is not ended",
            ));
        }
        Ok(std::mem::take(&mut self.judges.facts))
    }

    /// What is wrong but tolerated, so far.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        self.warnings.as_slice()
    }

    pub(super) fn take_warnings(&mut self) -> Warnings {
        std::mem::take(&mut self.warnings)
    }

    fn walk(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        while !bytes.is_empty() {
            bytes = match self.value.take() {
                Some(value) => self.walk_value(value, bytes)?,
                None => self.walk_header(bytes)?,
            };
        }
        Ok(())
    }

    fn walk_value<'b>(&mut self, mut value: Value, bytes: &'b [u8]) -> Result<&'b [u8], Refusal> {
        let (_, mut tell) = self.judging();
        let rest = value.push(bytes, &mut tell)?;
        self.advance(bytes.len().saturating_sub(rest.len()));
        if value.is_complete() {
            self.end_value(value)?;
        } else {
            self.value = Some(value);
        }
        Ok(rest)
    }

    fn walk_header<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Refusal> {
        if self.header.is_empty() {
            self.close_levels();
        }
        let Some(level) = self.levels.last() else {
            return Err(refusal(Reason::Structure, "data set", "is over"));
        };
        let encoding = level.encoding;
        let (rest, header) = self.header.fill(bytes, encoding);
        self.advance(bytes.len().saturating_sub(rest.len()));
        if let Some(header) = header {
            self.count_element()?;
            if level_end_before(self.levels.last(), self.offset) {
                let detail = "crosses the end of its item or sequence";
                return Err(self.fault(header.tag, Reason::Structure, detail));
            }
            self.on_header(header)?;
        }
        Ok(rest)
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

    /// Items and sequences of defined length end where they said.
    fn close_levels(&mut self) {
        while let [_, .., level] = self.levels.as_slice() {
            if level.end != Some(self.offset) {
                return;
            }
            self.levels.pop();
        }
    }

    fn push_level(&mut self, level: Nesting) -> Result<(), Refusal> {
        let depth = nesting::depth(&self.levels).saturating_add(1);
        if level.kind == Kind::Sequence && depth > self.depth {
            return Err(LimitReached {
                limit: "dicom_depth",
                got: u64::try_from(depth).unwrap_or(u64::MAX),
                max: u64::try_from(self.depth).unwrap_or(u64::MAX),
            }
            .into());
        }
        self.levels.push(level);
        Ok(())
    }

    /// Where a value or level of this length would end, if there is room for it.
    fn end_of(&self, tag: Tag, length: u32) -> Result<u64, Refusal> {
        let end = self.offset.saturating_add(u64::from(length));
        if level_end_before(self.levels.last(), end) {
            let detail = "is longer than what contains it";
            return Err(self.fault(tag, Reason::Structure, detail));
        }
        if end > self.bytes {
            return Err(LimitReached {
                limit: "dicom_dataset",
                got: end,
                max: self.bytes,
            }
            .into());
        }
        Ok(end)
    }

    fn begin_value(&mut self, tag: Tag, vr: VR, length: u32) -> Result<(), Refusal> {
        self.end_of(tag, length)?;
        let value = Value::new(tag, vr, length);
        if value.is_complete() {
            return self.end_value(value);
        }
        self.value = Some(value);
        Ok(())
    }

    fn end_value(&mut self, value: Value) -> Result<(), Refusal> {
        let depth = nesting::depth(&self.levels);
        let big_endian = self
            .levels
            .last()
            .is_some_and(|level| level.encoding.big_endian);
        let (judges, mut tell) = self.judging();
        value.end(&mut tell)?;
        if value.tag.group() == element::DELIMITERS {
            return Ok(());
        }
        let element = Element {
            tag: value.tag,
            vr: value.vr,
            entry: Entry::of(value.tag),
            length: value.length,
            value: value.kept(),
            big_endian,
            depth,
        };
        judges.element(&element, &mut tell)
    }

    /// The judges, and where they tell what they find.
    fn judging(&mut self) -> (&mut Judges, Tell<'_>) {
        let tell = Tell {
            strictness: &self.strictness,
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
        let (_, mut tell) = self.judging();
        tell.finding(tag, (level, Weight::Strict), reason, detail)
    }
}

fn level_end_before(level: Option<&Nesting>, offset: u64) -> bool {
    level
        .and_then(|level| level.end)
        .is_some_and(|end| end < offset)
}

const PIXEL_DATA: Tag = Tag(0x7fe0, 0x0010);
/// Preamble and prefix of a file (PS3.10 7.1).
const PART_10: usize = 132;
const MAGIC: &[u8] = b"DICM";

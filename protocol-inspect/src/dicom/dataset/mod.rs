//! Walks a data set (PS3.5 section 7) as it arrives.
//!
//! In: bytes in any chunks, whatever their size. Out: a refusal at the first fault, or the [`Facts`] at the end.
//! Nothing is kept of the values but the few facts; nesting lives in a bounded list, never on the call stack.
//! Knows nothing of commands and of modules (PS3.3).

mod element;
mod level;
mod value;
mod pixel;
mod vr;

use dicom_core::Tag;
use dicom_core::header::VR;

use super::fault::{Warnings, refusal};
use super::policy::Profile;
use super::transfer::TransferSyntax;
use super::uid::Uid;
use crate::{LimitReached, Limits, Reason, Refusal, Warning};
use element::HeaderBytes;
use level::{Kind, Level};
use pixel::Geometry;
use value::Value;

/// The walk of one data set.
pub struct Walker {
    syntax: TransferSyntax,
    profile: Profile,
    bytes: u64,
    depth: usize,
    max_elements: usize,
    /// The first bytes, until it is certain that they are not a Part 10 file.
    prefix: Option<Vec<u8>>,
    header: HeaderBytes,
    value: Option<Value>,
    levels: Vec<Level>,
    offset: u64,
    elements: usize,
    facts: Facts,
    geometry: Geometry,
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

/// What the walk learned of the data set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// (0008,0016).
    pub sop_class: Option<Uid>,
    /// (0008,0018).
    pub sop_instance: Option<Uid>,
    /// (0008,0052).
    pub query_level: Option<String>,
    /// Whether (0010,0020) is there.
    pub has_patient_id: bool,
    /// Whether (0008,0005) is there.
    pub has_character_set: bool,
}

impl Walker {
    /// A walk at the start of a data set in this transfer syntax.
    #[must_use]
    pub fn new(syntax: TransferSyntax, profile: Profile, limits: &Limits) -> Self {
        Self {
            syntax,
            profile,
            bytes: limits.dicom_dataset,
            depth: limits.dicom_depth,
            max_elements: limits.dicom_elements,
            prefix: Some(Vec::new()),
            header: HeaderBytes::default(),
            value: None,
            levels: vec![Level::root(syntax)],
            offset: 0,
            elements: 0,
            facts: Facts::default(),
            geometry: Geometry::default(),
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
                level::name(open.tag),
                "is not ended",
            ));
        }
        Ok(std::mem::take(&mut self.facts))
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
        let rest = value
            .push(bytes, self.profile, &mut self.warnings)
            .map_err(|fault| self.fault(value.tag, fault.reason, fault.detail))?;
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

    fn push_level(&mut self, level: Level) -> Result<(), Refusal> {
        let sequences = self
            .levels
            .iter()
            .filter(|level| level.kind == Kind::Sequence);
        let depth = sequences.count().saturating_add(1);
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
        let is_root = self.levels.len() == 1;
        let value = Value::new(tag, vr, length, is_root);
        if value.is_complete() {
            return self.end_value(value);
        }
        self.value = Some(value);
        Ok(())
    }

    fn end_value(&mut self, value: Value) -> Result<(), Refusal> {
        let tag = value.tag;
        value
            .end(self.profile, &mut self.warnings)
            .map_err(|fault| self.fault(tag, fault.reason, fault.detail))?;
        let Some(kept) = value.kept() else {
            return Ok(());
        };
        let big_endian = self.syntax.is_big_endian();
        if let Some(geometry) = self.geometry.learn(tag, kept, big_endian) {
            self.geometry = geometry;
            return Ok(());
        }
        let uid = |warnings: &mut Warnings| {
            Uid::in_element(kept, || level::name(tag), self.profile, warnings)
        };
        match tag {
            SOP_CLASS if !kept.is_empty() => self.facts.sop_class = Some(uid(&mut self.warnings)?),
            SOP_INSTANCE if !kept.is_empty() => {
                self.facts.sop_instance = Some(uid(&mut self.warnings)?);
            }
            QUERY_LEVEL => {
                let text = String::from_utf8_lossy(kept.trim_ascii()).into_owned();
                self.facts.query_level = Some(text);
            }
            PATIENT_ID => {
                self.facts.has_patient_id = !kept.is_empty();
                if looks_like_path(kept) {
                    return Err(self.fault(tag, Reason::Field, "looks like a path"));
                }
            }
            CHARACTER_SET => self.facts.has_character_set = !kept.is_empty(),
            _ => {}
        }
        Ok(())
    }

    fn advance(&mut self, by: usize) {
        self.offset = self
            .offset
            .saturating_add(u64::try_from(by).unwrap_or(u64::MAX));
    }

    /// A refusal with the path of sequences and items down to `tag`.
    fn fault(&self, tag: Tag, reason: Reason, detail: impl Into<String>) -> Refusal {
        refusal(reason, level::path(&self.levels, tag), detail)
    }

    fn doubt(&mut self, tag: Tag, reason: Reason, detail: &'static str) -> Result<(), Refusal> {
        let fault = self.fault(tag, reason, detail);
        self.warnings.doubt(self.profile, fault)
    }
}

fn level_end_before(level: Option<&Level>, offset: u64) -> bool {
    level
        .and_then(|level| level.end)
        .is_some_and(|end| end < offset)
}

/// Identifiers become file names in more than one archive.
fn looks_like_path(value: &[u8]) -> bool {
    let starts = value.starts_with(b"/") || value.get(1..3) == Some(b":\\");
    starts
        || value
            .windows(3)
            .any(|part| matches!(part, b"../" | b"..\\"))
}

/// The values that the walk keeps.
fn is_fact(tag: Tag) -> bool {
    matches!(
        tag,
        SOP_CLASS | SOP_INSTANCE | QUERY_LEVEL | PATIENT_ID | CHARACTER_SET
    ) || Geometry::wants(tag)
}

const SOP_CLASS: Tag = Tag(0x0008, 0x0016);
const SOP_INSTANCE: Tag = Tag(0x0008, 0x0018);
const CHARACTER_SET: Tag = Tag(0x0008, 0x0005);
const QUERY_LEVEL: Tag = Tag(0x0008, 0x0052);
const PATIENT_ID: Tag = Tag(0x0010, 0x0020);
const PIXEL_DATA: Tag = Tag(0x7fe0, 0x0010);
/// Preamble and prefix of a file (PS3.10 7.1).
const PART_10: usize = 132;
const MAGIC: &[u8] = b"DICM";

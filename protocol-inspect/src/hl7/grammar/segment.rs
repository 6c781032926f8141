//! Segments, data types and tables: what a field may hold.
//!
//! Out: [`Segment`], [`DataType`] and [`Table`], views over the blob. Knows nothing of messages; judges only whether a code is listed.

use std::fmt;

use super::blob;

/// The three characters that name a segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub [u8; 3]);

impl SegmentId {
    /// From exactly three bytes.
    #[must_use]
    pub fn new(name: &[u8]) -> Option<Self> {
        name.try_into().ok().map(Self)
    }

    /// A number in the same order, which is compared at once.
    #[inline]
    pub(in crate::hl7) fn number(self) -> u32 {
        let [a, b, c] = self.0;
        u32::from_be_bytes([0, a, b, c])
    }

    /// As text; empty if it is none.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A segment of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    id: SegmentId,
    fields: Fields,
}

impl Segment {
    pub(super) fn read(record: &[u8; 6]) -> Self {
        let [a, b, c, _, d, e] = *record;
        Self {
            id: SegmentId([a, b, c]),
            fields: Fields(blob::layout(u16::from_le_bytes([d, e]))),
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(self) -> SegmentId {
        self.id
    }

    /// Its fields. None at all: the segment is known, its fields are not, and they cannot be judged.
    #[must_use]
    pub fn fields(self) -> Fields {
        self.fields
    }

    /// A field by its number in the standard, from 1.
    #[must_use]
    pub fn field(self, number: usize) -> Option<Field> {
        self.fields.nth(number)
    }
}

/// The fields of a segment or the components of a data type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields(&'static [[u8; 2]]);

impl Fields {
    /// How many.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// One by its number in the standard, from 1.
    #[must_use]
    pub fn nth(self, number: usize) -> Option<Field> {
        self.0.get(number.checked_sub(1)?).and_then(Field::read)
    }

    /// All, in order.
    pub fn iter(self) -> impl Iterator<Item = Field> {
        self.0.iter().filter_map(Field::read)
    }
}

/// A field of a segment or a component of a data type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its data type.
    pub data_type: DataTypeId,
    /// Whether it must, may or must not be valued.
    pub usage: Usage,
    /// How often it may repeat; 0 has no limit. Always 1 for components.
    pub repeats: u8,
    /// The most characters it may have; 0 if not known.
    pub length: u32,
    /// The number of its table; 0 if it has none.
    pub table: u16,
}

impl Field {
    fn read(number: &[u8; 2]) -> Option<Self> {
        let record = blob::field(u16::from_le_bytes(*number))?;
        let [a, b, c, d, e, f, g, h, usage, repeats, _, _] = *record;
        Some(Self {
            data_type: DataTypeId(u16::from_le_bytes([a, b])),
            table: u16::from_le_bytes([c, d]),
            length: u32::from_le_bytes([e, f, g, h]),
            usage: Usage::read(usage)?,
            repeats,
        })
    }
}

/// Whether a field must, may or must not be valued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// R: required.
    Required,
    /// O: optional.
    Optional,
    /// C: required under a condition that the tables do not know.
    Conditional,
    /// B: kept for older versions.
    Backward,
    /// W: withdrawn.
    Withdrawn,
    /// X: not used.
    NotUsed,
}

impl Usage {
    fn read(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Required,
            2 => Self::Optional,
            3 => Self::Conditional,
            4 => Self::Backward,
            5 => Self::Withdrawn,
            6 => Self::NotUsed,
            _ => return None,
        })
    }
}

/// The name of a data type, as a number that is the same in all versions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataTypeId(pub(super) u16);

impl DataTypeId {
    /// The number of a name that any version knows; other words of the tables get a number that no version knows.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        blob::number_of(name).map(Self)
    }

    /// The name: `CX`, `varies`, `CM_PAT_ID`.
    #[must_use]
    pub fn name(self) -> &'static str {
        blob::string(self.0)
    }
}

impl fmt::Debug for DataTypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A data type of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataType {
    id: DataTypeId,
    kind: DataKind,
    components: Fields,
}

impl DataType {
    pub(super) fn read(record: &[u8; 6]) -> Option<Self> {
        let [a, b, c, d, e, f] = *record;
        Some(Self {
            id: DataTypeId(u16::from_le_bytes([a, b])),
            kind: DataKind::read(u16::from_le_bytes([e, f]))?,
            components: Fields(blob::layout(u16::from_le_bytes([c, d]))),
        })
    }

    /// Its name.
    #[must_use]
    pub fn id(self) -> DataTypeId {
        self.id
    }

    /// What it is made of.
    #[must_use]
    pub fn kind(self) -> DataKind {
        self.kind
    }

    /// Its components; none unless it is composite.
    #[must_use]
    pub fn components(self) -> Fields {
        self.components
    }

    /// Whether it is one value without components.
    #[must_use]
    pub fn is_primitive(self) -> bool {
        matches!(self.kind, DataKind::Primitive(_))
    }
}

/// What a data type is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKind {
    /// One value.
    Primitive(Primitive),
    /// Components.
    Composite,
    /// Told by another field (`varies`), never told (`CM` of 2.1), or withdrawn: cannot be judged.
    Opaque,
}

impl DataKind {
    fn read(code: u16) -> Option<Self> {
        use Primitive as P;
        Some(Self::Primitive(match code {
            0 => return Some(Self::Composite),
            1 => return Some(Self::Opaque),
            16 => P::St,
            17 => P::Tx,
            18 => P::Ft,
            19 => P::Nm,
            20 => P::Si,
            21 => P::Id,
            22 => P::Is,
            23 => P::Dt,
            24 => P::Tm,
            25 => P::Dtm,
            26 => P::Gts,
            27 => P::Snm,
            28 => P::Tn,
            29 => P::Ts,
            _ => return None,
        }))
    }
}

/// The data types without components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Primitive {
    /// String.
    St,
    /// Text.
    Tx,
    /// Formatted text.
    Ft,
    /// Number.
    Nm,
    /// Sequence number.
    Si,
    /// Code of a table of HL7; before 2.3 of any table.
    Id,
    /// Code of a table of the site.
    Is,
    /// Date.
    Dt,
    /// Time.
    Tm,
    /// Date and time.
    Dtm,
    /// General timing specification.
    Gts,
    /// Digits.
    Snm,
    /// Telephone number.
    Tn,
    /// Time stamp, where a version gives it no components.
    Ts,
}

/// A table of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    number: u16,
    kind: TableKind,
    open: bool,
    codes: &'static [[u8; 2]],
}

impl Table {
    pub(super) fn read(record: &[u8; 6]) -> Self {
        let [a, b, c, d, flags, _] = *record;
        Self {
            number: u16::from_le_bytes([a, b]),
            kind: if flags & 1 == 1 {
                TableKind::Hl7
            } else {
                TableKind::User
            },
            open: flags & 2 == 2,
            codes: blob::codes(u16::from_le_bytes([c, d])),
        }
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.number
    }

    /// Who defines its codes.
    #[must_use]
    pub fn kind(self) -> TableKind {
        self.kind
    }

    /// Whether codes outside the list can be right: some are told by a pattern, or none is listed.
    #[must_use]
    pub fn is_open(self) -> bool {
        self.open || self.codes.is_empty()
    }

    /// Whether the code is listed. An unlisted code of an open table is not wrong.
    #[must_use]
    pub fn contains(self, code: &[u8]) -> bool {
        self.codes
            .binary_search_by(|c| text(*c).as_bytes().cmp(code))
            .is_ok()
    }

    /// The listed codes, sorted.
    pub fn codes(self) -> impl ExactSizeIterator<Item = &'static str> {
        self.codes.iter().map(|c| text(*c))
    }
}

/// Who defines the codes of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// The standard.
    Hl7,
    /// The site; the codes are suggestions.
    User,
}

fn text(number: [u8; 2]) -> &'static str {
    blob::string(u16::from_le_bytes(number))
}

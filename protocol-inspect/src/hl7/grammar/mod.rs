//! The grammar of HL7 v2: what the standard says of messages, segments, fields, data types and tables.
//!
//! In: names from a message. Out: views over tables that are compiled in; nothing is allocated for a message.
//! Knows nothing of messages and judges nothing. Where the facts come from: `data/PROVENANCE.md`.
//!
//! # Format of `tables.bin`
//!
//! All numbers are little-endian. The head is `HL7G`, the CRC-32 of all that follows, a format number (u16), the count of
//! sections (u16), the first span of a code list (u32), and per section its offset and its count of records (u32 each):
//!
//! | section | record |
//! |---|---|
//! | versions | name (8), then first and count (u16 each) in structures, events, segments, types, tables |
//! | structures | name (8), first and count in nodes; sorted |
//! | events | `TYPE_EVENT` or `TYPE` (8), structure within the version (u16), 2 free; sorted |
//! | segments | name (3), 1 free, span of its fields (u16); sorted |
//! | types | name as string (u16), span of its components (u16), kind (u16); sorted |
//! | tables | number (u16), span of its codes (u16), bit 0 HL7's, bit 1 open (u16); sorted |
//! | nodes | kind, min, max, 1 free, segment name or first and count in nodes (4), group name as string (u16), 2 free |
//! | layouts | field (u16) |
//! | fields | type as string (u16), table (u16), length (u32), usage, repeats, 2 free |
//! | spans | first (u32) and count (u16) in layouts or codes |
//! | codes | code as string (u16); ascending |
//! | strings | where each begins in the bytes, and where the last ends (u32); sorted by bytes |
//! | bytes | UTF-8 |
//!
//! Equal layouts, code lists and groups are stored once, over all versions.

mod blob;
mod segment;
mod structure;

use std::sync::OnceLock;

pub use segment::{
    DataKind, DataType, DataTypeId, Field, Fields, Primitive, Segment, SegmentId, Table, TableKind,
    Usage,
};
pub use structure::{MAX_DEPTH, Node, NodeKind, Nodes, Structure, StructureName};

/// One version of the standard.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Version(&'static [u8; 28]);

impl Version {
    /// The version of a name such as `2.5.1`.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let name = StructureName::new(name.as_bytes())?.0;
        let of_name = |v: &Self| v.0.first_chunk() == Some(&name);
        Self::all().find(of_name).filter(|_| name != [0; 8])
    }

    /// All versions, oldest first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        blob::VERSIONS.iter().map(Self)
    }

    /// Which of the versions it is, from 0, the oldest.
    #[must_use]
    pub fn number(self) -> usize {
        let same = |record: &[u8; 28]| std::ptr::eq(record, self.0);
        blob::VERSIONS.iter().position(same).unwrap_or_default()
    }

    /// Its name, as in MSH-12.
    #[must_use]
    pub fn name(self) -> &'static str {
        let (name, _) = self.0.split_at(8);
        let text = str::from_utf8(name).unwrap_or_default();
        text.trim_end_matches('\0')
    }

    /// Whether the lengths of its fields bind; from 2.7 on they are hints.
    #[must_use]
    pub fn lengths_bind(self) -> bool {
        !matches!(self.name(), "2.7" | "2.7.1" | "2.8" | "2.8.1" | "2.8.2")
    }

    /// The structure of MSH-9.1 and MSH-9.2. An acknowledgement has one structure whatever it answers;
    /// without an event the type alone must tell the structure.
    #[must_use]
    pub fn structure_for(self, message_type: &[u8], trigger: &[u8]) -> Option<StructureName> {
        let name = if trigger.is_empty() || message_type == b"ACK" {
            StructureName::new(message_type)
        } else {
            StructureName::joined(&[message_type, b"_", trigger])
        }?;
        let events = self.part(blob::EVENTS, 1);
        let found = events
            .binary_search_by_key(&u64::from_be_bytes(name.0), |record| {
                u64::from_be_bytes(head(record))
            })
            .ok()?;
        let [.., a, b, _, _] = *events.get(found)?;
        let structure = usize::from(u16::from_le_bytes([a, b]));
        let record = self.part(blob::STRUCTURES, 0).get(structure)?;
        Some(Structure::read(record).name())
    }

    /// The structure of this name.
    #[must_use]
    pub fn structure(self, name: StructureName) -> Option<Structure> {
        let structures = self.part(blob::STRUCTURES, 0);
        let found = structures
            .binary_search_by_key(&u64::from_be_bytes(name.0), |record| {
                u64::from_be_bytes(head(record))
            })
            .ok()?;
        structures.get(found).map(Structure::read)
    }

    /// The number of a structure among those of all versions.
    pub(in crate::hl7) fn structure_number(self, name: StructureName) -> Option<usize> {
        let structures = self.part(blob::STRUCTURES, 0);
        let found = structures
            .binary_search_by_key(&u64::from_be_bytes(name.0), |record| {
                u64::from_be_bytes(head(record))
            })
            .ok()?;
        let before = blob::STRUCTURES
            .element_offset(structures.first()?)
            .unwrap_or_default();
        before.checked_add(found)
    }

    /// All structures, by name.
    pub fn structures(self) -> impl ExactSizeIterator<Item = Structure> {
        self.part(blob::STRUCTURES, 0).iter().map(Structure::read)
    }

    /// The segment of this name.
    #[must_use]
    pub fn segment(self, id: SegmentId) -> Option<Segment> {
        let segments = self.part(blob::SEGMENTS, 2);
        let found = segments
            .binary_search_by_key(&id.number(), |&[a, b, c, ..]| SegmentId([a, b, c]).number())
            .ok()?;
        segments.get(found).map(Segment::read)
    }

    /// All segments, by name.
    pub fn segments(self) -> impl ExactSizeIterator<Item = Segment> {
        self.part(blob::SEGMENTS, 2).iter().map(Segment::read)
    }

    /// The data type of this name.
    #[must_use]
    pub fn data_type(self, id: DataTypeId) -> Option<DataType> {
        let types = self.part(blob::TYPES, 3);
        let found = types
            .binary_search_by_key(&id.0, |&[a, b, ..]| u16::from_le_bytes([a, b]))
            .ok()?;
        types.get(found).and_then(DataType::read)
    }

    /// All data types, by name.
    pub fn data_types(self) -> impl Iterator<Item = DataType> {
        self.part(blob::TYPES, 3).iter().filter_map(DataType::read)
    }

    /// The table of this number.
    #[must_use]
    pub fn table(self, number: u16) -> Option<Table> {
        let tables = self.part(blob::TABLES, 4);
        let found = tables
            .binary_search_by_key(&number, |&[a, b, ..]| u16::from_le_bytes([a, b]))
            .ok()?;
        tables.get(found).map(Table::read)
    }

    /// All tables, by number.
    pub fn tables(self) -> impl ExactSizeIterator<Item = Table> {
        self.part(blob::TABLES, 4).iter().map(Table::read)
    }

    /// The records of this version in one of the five indexes.
    fn part<const N: usize>(self, section: &'static [[u8; N]], index: usize) -> &'static [[u8; N]] {
        let (_, ranges) = self.0.split_at(8);
        match ranges.as_chunks::<4>().0.get(index) {
            Some(&[a, b, c, d]) => blob::slice(
                section,
                u16::from_le_bytes([a, b]),
                u16::from_le_bytes([c, d]),
            ),
            None => &[],
        }
    }
}

impl std::fmt::Debug for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The segment of this name in the newest version that has it.
#[must_use]
pub fn segment_of_any_version(id: SegmentId) -> Option<(Version, Segment)> {
    Version::all()
        .rev()
        .find_map(|v| v.segment(id).map(|segment| (v, segment)))
}

/// Whether some version has a segment of this name.
pub(in crate::hl7) fn is_segment_of_any_version(id: SegmentId) -> bool {
    static NAMES: OnceLock<Vec<u64>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let mut names = vec![0; NAMES_OF_THREE.div_ceil(64)];
        for segment in Version::all().flat_map(Version::segments) {
            let Some((word, bit)) = bit_of(segment.id()) else {
                continue;
            };
            if let Some(word) = names.get_mut(word) {
                *word |= bit;
            }
        }
        names
    });
    bit_of(id).is_some_and(|(word, bit)| names.get(word).is_some_and(|word| word & bit != 0))
}

/// A place for each name of three letters or digits; `None` for what is none.
fn bit_of(id: SegmentId) -> Option<(usize, u64)> {
    let mut number = 0_usize;
    for byte in id.0 {
        if byte.is_ascii_lowercase() {
            return None;
        }
        let letter = char::from(byte).to_digit(36)?;
        number = number
            .wrapping_mul(36)
            .wrapping_add(usize::try_from(letter).ok()?);
    }
    let bit = u32::try_from(number % 64).unwrap_or_default();
    Some((number / 64, 1_u64.wrapping_shl(bit)))
}

/// How many names of three letters or digits there are.
const NAMES_OF_THREE: usize = 36 * 36 * 36;

/// How many structures all versions have together.
pub(in crate::hl7) fn count_of_structures() -> usize {
    blob::STRUCTURES.len()
}

fn head(record: &[u8; 12]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *record;
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests;

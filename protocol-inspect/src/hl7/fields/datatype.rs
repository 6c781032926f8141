//! Data types as the walk needs them: what a value at some depth is made of, whether it is too long or unlisted.
//!
//! In: fields of the grammar. Out: shapes. Knows nothing of places and weighs nothing.

use super::super::grammar::{
    self, DataKind, DataTypeId, Field, Fields, Primitive, TableKind, Usage, Version,
};
use std::hash::{Hash, Hasher};

use super::super::segment::Segment;

/// What stands in a field or component.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// Not looked up yet.
    Unread,
    /// Cannot be judged.
    Opaque,
    /// One value.
    Primitive(Primitive),
    /// Components.
    Composite(Parts),
    /// TS: a time, then its precision. Before 2.5 the tables call its time a string.
    TimeStamp(Parts),
}

/// The components of a data type.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    /// What they are.
    pub(super) fields: Fields,
    /// Which are required.
    pub(super) required: u64,
}

impl Shape {
    /// The components, if it has any.
    pub(super) fn parts(self) -> Option<Parts> {
        match self {
            Self::Composite(parts) | Self::TimeStamp(parts) => Some(parts),
            Self::Unread | Self::Opaque | Self::Primitive(_) => None,
        }
    }
}

/// The bit of a component, counted from 1; all behind the 63rd share one.
pub(super) fn bit(number: usize) -> u64 {
    let shift = u32::try_from(number.saturating_sub(1)).unwrap_or(u32::MAX);
    1_u64.wrapping_shl(shift.min(63))
}

/// The data types and tables of one version.
pub(super) struct Types<'a> {
    version: Version,
    lengths_bind: bool,
    time_stamp: Option<DataTypeId>,
    /// The last OBX-2: observations come in rows.
    value_type: (&'a [u8], Shape),
    /// Data types and tables that were looked up, each where its number says.
    shapes: [Option<(DataTypeId, Shape)>; SHAPES],
    tables: [Option<Listed<'a>>; TABLES],
}

/// A table, and the last code that was found in it: codes repeat.
#[derive(Clone, Copy)]
struct Listed<'a> {
    number: u16,
    table: Option<grammar::Table>,
    code: &'a [u8],
}

impl<'a> Types<'a> {
    pub(super) fn new(version: Version) -> Self {
        Self {
            version,
            lengths_bind: version.lengths_bind(),
            time_stamp: DataTypeId::named(b"TS"),
            value_type: (&[], Shape::Opaque),
            shapes: [None; SHAPES],
            tables: [None; TABLES],
        }
    }

    /// The shape of a field or component.
    pub(super) fn shape(&mut self, field: Field) -> Shape {
        let id = field.data_type;
        let mut number = Number(0);
        id.hash(&mut number);
        let at = number.0 % SHAPES;
        if let Some(Some((known, shape))) = self.shapes.get(at)
            && *known == id
        {
            return *shape;
        }
        let shape = self.shape_in(self.version, id).unwrap_or(Shape::Opaque);
        if let Some(slot) = self.shapes.get_mut(at) {
            *slot = Some((id, shape));
        }
        shape
    }

    fn shape_in(&self, version: Version, id: DataTypeId) -> Option<Shape> {
        let data_type = version.data_type(id)?;
        Some(match data_type.kind() {
            DataKind::Primitive(primitive) => Shape::Primitive(primitive),
            DataKind::Composite => {
                let fields = data_type.components();
                let required = fields
                    .iter()
                    .zip(1..)
                    .filter(|(part, _)| part.usage == Usage::Required)
                    .fold(0, |mask, (_, number)| mask | bit(number));
                let parts = Parts { fields, required };
                if self.time_stamp == Some(id) {
                    Shape::TimeStamp(parts)
                } else {
                    Shape::Composite(parts)
                }
            }
            DataKind::Opaque => Shape::Opaque,
        })
    }

    /// The shape of a component of `whole`.
    pub(super) fn part_shape(&mut self, whole: Shape, number: usize, part: Field) -> Shape {
        if number == 1 && matches!(whole, Shape::TimeStamp(_)) {
            Shape::Primitive(Primitive::Ts)
        } else {
            self.shape(part)
        }
    }

    /// The shape of a data type that the message names. Senders use types of other versions early and late;
    /// those are judged as the newest version that has them says.
    pub(super) fn shape_named(&mut self, name: &'a [u8]) -> Shape {
        if self.value_type.0 != name {
            let shape = DataTypeId::named(name).and_then(|id| {
                self.shape_in(self.version, id)
                    .or_else(|| Version::all().rev().find_map(|v| self.shape_in(v, id)))
            });
            self.value_type = (name, shape.unwrap_or(Shape::Opaque));
        }
        self.value_type.1
    }

    /// The primitive that stands for a data type where nothing divides it any more: its first component's first component.
    pub(super) fn innermost(&mut self, mut field: Field) -> Option<(Primitive, u16)> {
        for _ in 0..DEEPEST {
            match self.shape(field) {
                Shape::Primitive(primitive) => return Some((primitive, field.table)),
                Shape::TimeStamp(_) => return Some((Primitive::Ts, 0)),
                Shape::Composite(parts) => field = parts.fields.nth(1)?,
                Shape::Opaque | Shape::Unread => return None,
            }
        }
        None
    }

    /// Whether the standard has a closed list of codes, and this is not among them.
    pub(super) fn is_unlisted(&mut self, table: u16, code: &'a [u8]) -> bool {
        if table == 0 {
            return false;
        }
        let Some(slot) = self.tables.get_mut(usize::from(table) % TABLES) else {
            return false;
        };
        let listed = match slot {
            Some(listed) if listed.number == table => listed,
            Some(_) | None => slot.insert(Listed {
                number: table,
                table: self
                    .version
                    .table(table)
                    .filter(|t| t.kind() == TableKind::Hl7 && !t.is_open()),
                code: &[],
            }),
        };
        let unlisted = listed
            .table
            .is_some_and(|t| listed.code != code && !t.contains(code));
        if !unlisted {
            listed.code = code;
        }
        unlisted
    }

    /// Whether bytes of a segment are more characters than the standard allows.
    /// A character counts once however many bytes it has, and so does an escape sequence.
    //= HL7 v2.5.1 2.5.3.2
    pub(super) fn is_too_long(
        &mut self,
        segment: &Segment<'_>,
        (start, end): (usize, usize),
        field: Field,
    ) -> bool {
        let most = usize::try_from(field.length).unwrap_or(usize::MAX);
        let bounded = self.lengths_bind && (1..UNLIMITED).contains(&most);
        if !bounded || end.saturating_sub(start) <= most {
            return false;
        }
        // How long a code is, its table says; what varies has no length of its own.
        if matches!(
            self.shape(field),
            Shape::Opaque | Shape::Primitive(Primitive::Id)
        ) {
            return false;
        }
        let bytes = segment.bytes().get(start..end).unwrap_or_default();
        let escape = segment.delimiters().escape;
        let (mut characters, mut escaped) = (0_usize, false);
        for byte in bytes {
            if *byte == escape {
                escaped = !escaped;
                characters = characters.saturating_add(usize::from(escaped));
            } else if !escaped && !matches!(byte, 0x80..=0xbf) {
                characters = characters.saturating_add(1);
            }
        }
        characters > most
    }
}

/// Whether a field is the first of as many as the query or the table of results has columns.
pub(super) fn goes_on(field: Field) -> bool {
    field.data_type.name() == "varies"
}

/// The number of a data type, which the grammar keeps to itself but hashes.
struct Number(usize);

impl Hasher for Number {
    fn finish(&self) -> u64 {
        u64::try_from(self.0).unwrap_or_default()
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u16(u16::from(*byte));
        }
    }

    fn write_u16(&mut self, number: u16) {
        self.0 = self.0.wrapping_add(usize::from(number));
    }
}

/// How many data types and tables are kept at hand.
const SHAPES: usize = 64;
const TABLES: usize = 16;

/// Deepest nesting of data types that is followed.
const DEEPEST: usize = 4;

/// Lengths from here on mean "as long as you like" (65536 and 99999 in OBX-5).
const UNLIMITED: usize = 65_535;

//! Data types by the grammar: what a value at some depth is made of, how long it may be, which codes bind.
//!
//! In: fields of the grammar. Out: shapes. Knows nothing of places and weighs nothing.
//! Looks everything up anew; [`super::compiled`] asks once.

use super::super::grammar::{
    self, DataKind, DataTypeId, Field, Fields, Primitive, TableKind, Usage, Version,
};

use super::composite;

/// What stands in a field or component.
#[derive(Clone, Copy)]
pub(super) enum Shape {
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
    /// What they must have to do with each other.
    pub(super) rule: Option<composite::Rule>,
    /// Whether the last may come as often as it likes.
    pub(super) is_array: bool,
}

#[cfg(test)]
impl Shape {
    /// The components, if it has any.
    pub(super) fn parts(self) -> Option<Parts> {
        match self {
            Self::Composite(parts) | Self::TimeStamp(parts) => Some(parts),
            Self::Opaque | Self::Primitive(_) => None,
        }
    }
}

/// The bit of a component, counted from 1; all behind the 63rd share one.
pub(super) fn bit(number: usize) -> u64 {
    let shift = u32::try_from(number.saturating_sub(1)).unwrap_or(u32::MAX);
    1_u64.wrapping_shl(shift.min(63))
}

/// The data types and tables of one version.
pub(super) struct Types {
    version: Version,
    lengths_bind: bool,
    time_stamp: Option<DataTypeId>,
}

impl Types {
    pub(super) fn new(version: Version) -> Self {
        Self {
            version,
            lengths_bind: version.lengths_bind(),
            time_stamp: DataTypeId::named(b"TS"),
        }
    }

    /// The shape of a field or component.
    pub(super) fn shape(&self, field: Field) -> Shape {
        self.shape_in(self.version, field.data_type)
            .unwrap_or(Shape::Opaque)
    }

    /// The shape of a data type as some version has it.
    pub(super) fn shape_in(&self, version: Version, id: DataTypeId) -> Option<Shape> {
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
                let parts = Parts {
                    fields,
                    required,
                    rule: composite::Rule::of(id.name()),
                    is_array: composite::is_array(id.name()),
                };
                if self.time_stamp == Some(id) {
                    Shape::TimeStamp(parts)
                } else {
                    Shape::Composite(parts)
                }
            }
            DataKind::Opaque => Shape::Opaque,
        })
    }

    /// The primitive that stands for a data type where nothing divides it any more: its first component's first component.
    pub(super) fn innermost(&self, mut field: Field) -> Option<(Primitive, u16)> {
        for _ in 0..DEEPEST {
            match self.shape(field) {
                Shape::Primitive(primitive) => return Some((primitive, field.table)),
                Shape::TimeStamp(_) => return Some((Primitive::Ts, 0)),
                Shape::Composite(parts) => field = parts.fields.nth(1)?,
                Shape::Opaque => return None,
            }
        }
        None
    }

    /// The table of a number, if the standard has a closed list of codes for it.
    pub(super) fn closed_table(&self, number: u16) -> Option<grammar::Table> {
        if number == 0 {
            return None;
        }
        self.version
            .table(number)
            .filter(|t| t.kind() == TableKind::Hl7 && !t.is_open())
    }

    /// The most characters that the standard allows.
    //= HL7 v2.5.1 2.5.3.2
    pub(super) fn most(&self, field: Field) -> u32 {
        // How long a code is, its table says; what varies has no length of its own.
        let by_itself = matches!(
            self.shape(field),
            Shape::Opaque | Shape::Primitive(Primitive::Id)
        );
        let bounded = self.lengths_bind && (1..UNLIMITED).contains(&field.length);
        if bounded && !by_itself {
            field.length
        } else {
            u32::MAX
        }
    }
}

/// Whether a field is the first of as many as the query or the table of results has columns.
pub(super) fn goes_on(field: Field) -> bool {
    field.data_type.name() == "varies"
}

/// Deepest nesting of data types that is followed.
const DEEPEST: usize = 4;

/// Lengths from here on mean "as long as you like" (65536 and 99999 in OBX-5).
const UNLIMITED: u32 = 65_535;

//! Simple values that are right by data type, table and length.

use protocol_inspect::hl7::grammar::{
    DataKind, DataType, Field, Primitive, TableKind, Usage, Version,
};

/// What divides the parts of a value at each depth; below the last nothing does.
const DIVIDERS: [&str; 2] = ["^", "&"];

/// A value for a field.
pub(crate) fn value(version: Version, field: Field) -> String {
    at_depth(version, field, 0)
}

fn at_depth(version: Version, field: Field, depth: usize) -> String {
    let data_type = version.data_type(field.data_type).unwrap();
    match data_type.kind() {
        DataKind::Opaque => "A".to_owned(),
        DataKind::Primitive(primitive) => one(version, field, primitive),
        DataKind::Composite if is_time_stamp(field) => one(version, field, Primitive::Ts),
        DataKind::Composite => composite(version, data_type, depth),
    }
}

fn composite(version: Version, data_type: DataType, depth: usize) -> String {
    let parts = data_type.components();
    let Some(divider) = DIVIDERS.get(depth) else {
        return at_depth(version, parts.nth(1).unwrap(), depth);
    };
    let required = parts.iter().any(|part| part.usage == Usage::Required);
    let first = parts
        .iter()
        .position(|part| !matches!(part.usage, Usage::Withdrawn | Usage::NotUsed));
    let written: Vec<String> = parts
        .iter()
        .enumerate()
        .map(|(index, part)| {
            let wanted = part.usage == Usage::Required || (!required && Some(index) == first);
            if wanted {
                at_depth(version, part, depth + 1)
            } else {
                String::new()
            }
        })
        .collect();
    written.join(divider).trim_end_matches(divider).to_owned()
}

/// Whether the field holds a time and its precision: before 2.5 the tables call that time a string.
pub(crate) fn is_time_stamp(field: Field) -> bool {
    field.data_type.name() == "TS"
}

fn one(version: Version, field: Field, primitive: Primitive) -> String {
    let room = if field.length == 0 {
        usize::MAX
    } else {
        usize::try_from(field.length).unwrap()
    };
    let of = |texts: &[&str]| {
        let fits = texts.iter().find(|text| text.len() <= room);
        (*fits.unwrap_or(&texts[texts.len() - 1])).to_owned()
    };
    match primitive {
        Primitive::Id | Primitive::Is => code(version, field).unwrap_or_else(|| of(&["A"])),
        Primitive::St | Primitive::Tx | Primitive::Ft | Primitive::Gts => of(&["A"]),
        Primitive::Nm | Primitive::Si | Primitive::Snm => of(&["1"]),
        Primitive::Dt => of(&["20260131", "2026"]),
        Primitive::Dtm | Primitive::Ts => of(&["20260131120000", "20260131", "2026"]),
        Primitive::Tm => of(&["1200", "12"]),
        Primitive::Tn => of(&["555-0100", "1"]),
    }
}

/// The shortest listed code that needs no escape.
fn code(version: Version, field: Field) -> Option<String> {
    let codes = version.table(field.table)?.codes();
    let plain = codes.filter(|code| !code.contains(['|', '^', '&', '~', '\\']));
    plain.min_by_key(|code| code.len()).map(ToOwned::to_owned)
}

/// Whether the standard has a closed list of codes for the field.
pub(crate) fn is_listed(version: Version, field: Field) -> bool {
    let closed = |table: protocol_inspect::hl7::grammar::Table| {
        table.kind() == TableKind::Hl7 && !table.is_open()
    };
    let kind = version.data_type(field.data_type).unwrap().kind();
    kind == DataKind::Primitive(Primitive::Id) && version.table(field.table).is_some_and(closed)
}

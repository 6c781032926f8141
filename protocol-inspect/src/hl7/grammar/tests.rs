//! Walks the whole blob; a few structures and segments are snapshots to be read against the standard.

use std::fmt::Write as _;

use super::*;

const PROVENANCE: &str = include_str!("../../../data/PROVENANCE.md");
const EXCEPTIONS: &str = include_str!("../../../data/exceptions.tsv");

fn version(name: &str) -> Version {
    Version::of(name).unwrap()
}

fn named(version: Version, name: &str) -> Structure {
    let name = StructureName::new(name.as_bytes()).unwrap();
    version.structure(name).unwrap()
}

fn segment(version: Version, name: &[u8]) -> Segment {
    version.segment(SegmentId::new(name).unwrap()).unwrap()
}

/// One node a line: `[` optional, `{` repeating, the limit if it is not 1.
fn render(nodes: Nodes, depth: usize, out: &mut String) {
    for node in nodes.iter() {
        let (open, close) = match (node.min, node.max) {
            (0, 1) => ("[", "]"),
            (0, _) => ("[{", "}]"),
            (_, 1) => ("", ""),
            _ => ("{", "}"),
        };
        let indent = "  ".repeat(depth);
        match node.kind {
            NodeKind::Segment(id) => writeln!(out, "{indent}{open}{id}{close}").unwrap(),
            NodeKind::AnySegment => writeln!(out, "{indent}{open}any{close}").unwrap(),
            NodeKind::Group(inner) => {
                writeln!(out, "{indent}{open}{}{close}", node.group_name()).unwrap();
                render(inner, depth + 1, out);
            }
            NodeKind::Choice(inner) => {
                writeln!(out, "{indent}{open}one of {}{close}", node.group_name()).unwrap();
                render(inner, depth + 1, out);
            }
        }
    }
}

#[test]
fn structures_look_as_in_the_standard() {
    for (v, name) in [
        ("2.5.1", "ORU_R01"),
        ("2.3", "ADT_A01"),
        ("2.6", "OML_O21"),
        ("2.5.1", "ORM_O01"),
    ] {
        let mut out = String::new();
        render(named(version(v), name).nodes(), 0, &mut out);
        insta::assert_snapshot!(format!("{name} {v}"), out);
    }
}

#[test]
fn fields_look_as_in_the_standard() {
    let mut out = String::new();
    for (v, name) in [
        ("2.5.1", "PID"),
        ("2.3", "OBX"),
        ("2.7", "OBR"),
        ("2.8", "OBX"),
    ] {
        writeln!(out, "{name} {v}").unwrap();
        for (index, f) in segment(version(v), name.as_bytes())
            .fields()
            .iter()
            .enumerate()
        {
            let table = if f.table == 0 {
                String::new()
            } else {
                format!(" table {:04}", f.table)
            };
            writeln!(
                out,
                "{:3} {:?} {:?} repeats {} length {}{table}",
                index + 1,
                f.data_type,
                f.usage,
                f.repeats,
                f.length
            )
            .unwrap();
        }
    }
    insta::assert_snapshot!(out);
}

#[test]
fn the_blob_is_whole_and_small() {
    let (head, checked) = blob::BLOB.split_at(8);
    assert_eq!(&head[..4], b"HL7G");
    let mut crc = u32::MAX;
    for byte in checked {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    assert_eq!(head[4..], (!crc).to_le_bytes());
    assert!(blob::BLOB.len() <= 600 * 1024, "{}", blob::BLOB.len());
}

#[test]
fn counts_are_those_of_the_provenance() {
    let mut names = Vec::new();
    for v in Version::all() {
        let fields: usize = v.segments().map(|s| s.fields().iter().count()).sum();
        let components: usize = v.data_types().map(|t| t.components().iter().count()).sum();
        let codes: usize = v.tables().map(|t| t.codes().len()).sum();
        let row = format!(
            "| {} | {} | {} | {} | {fields} | {} | {components} | {} | {codes} |",
            v.name(),
            v.structures().len(),
            v.part(blob::EVENTS, 1).len(),
            v.segments().len(),
            v.data_types().count(),
            v.tables().len(),
        );
        assert!(PROVENANCE.lines().any(|line| line == row), "{row}");
        names.push(v.name());
    }
    assert_eq!(
        names,
        [
            "2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8",
            "2.8.1", "2.8.2"
        ]
    );
    assert!(PROVENANCE.contains(&format!("({} bytes)", blob::BLOB.len())));
}

#[test]
fn every_node_of_every_structure_leads_somewhere() {
    fn walk(v: Version, nodes: Nodes, depth: usize) -> usize {
        assert!(depth <= MAX_DEPTH && !nodes.is_empty());
        assert_eq!(nodes.iter().count(), nodes.len());
        let mut segments = 0;
        for node in nodes.iter() {
            assert!(node.max == 0 || node.min <= node.max, "{node:?}");
            segments += match node.kind {
                NodeKind::Segment(id) => usize::from(v.segment(id).is_some_and(|s| s.id() == id)),
                NodeKind::AnySegment => 1,
                NodeKind::Group(inner) | NodeKind::Choice(inner) => {
                    assert!(!node.group_name().is_empty());
                    walk(v, inner, depth + 1)
                }
            };
            assert!(segments > 0, "{v:?} {node:?}");
        }
        segments
    }
    for v in Version::all() {
        for structure in v.structures() {
            assert!(walk(v, structure.nodes(), 1) > 0);
            assert_eq!(v.structure(structure.name()), Some(structure));
            let first = structure.nodes().get(0).unwrap();
            assert_eq!(
                first.kind,
                NodeKind::Segment(SegmentId(*b"MSH")),
                "{v:?} {structure:?}"
            );
        }
        let events = v.part(blob::EVENTS, 1);
        assert!(events.is_sorted_by_key(head));
        for event in events {
            let name = StructureName(head(event));
            let (kind, trigger) = name.as_str().split_once('_').unwrap_or((name.as_str(), ""));
            let found = v.structure_for(kind.as_bytes(), trigger.as_bytes());
            assert!(found.and_then(|n| v.structure(n)).is_some(), "{v:?} {name}");
        }
    }
}

#[test]
fn every_field_has_a_type_and_every_table_codes_or_an_excuse() {
    for v in Version::all() {
        let owners = v.segments().map(|s| (s.id().to_string(), s.fields()));
        let owners = owners.chain(
            v.data_types()
                .map(|t| (t.id().name().to_owned(), t.components())),
        );
        for (owner, fields) in owners {
            for field in fields.iter() {
                let data_type = v.data_type(field.data_type);
                assert!(data_type.is_some(), "{v:?} {owner} {field:?}");
                if field.table != 0 {
                    let table = v.table(field.table).unwrap();
                    let excuse = format!("no-codes\t{}\ttable {:04}\t", v.name(), field.table);
                    assert!(
                        table.kind() == TableKind::User
                            || table.codes().len() > 0
                            || EXCEPTIONS.contains(&excuse),
                        "{v:?} {owner} {field:?}"
                    );
                }
            }
        }
        for table in v.tables() {
            assert!(
                table.codes().is_sorted() && table.codes().all(|c| table.contains(c.as_bytes()))
            );
        }
        for data_type in v.data_types() {
            let composite = data_type.kind() == DataKind::Composite;
            assert_eq!(
                composite,
                !data_type.components().is_empty(),
                "{data_type:?}"
            );
            assert_eq!(
                DataTypeId::named(data_type.id().name().as_bytes()),
                Some(data_type.id())
            );
        }
    }
}

/// No data type contains itself: descent into subcomponents ends.
#[test]
fn no_type_contains_itself() {
    fn depth(v: Version, id: DataTypeId, left: usize) -> usize {
        let inner = v.data_type(id).unwrap().components();
        let left = left.checked_sub(1).unwrap();
        inner
            .iter()
            .map(|c| depth(v, c.data_type, left))
            .max()
            .unwrap_or(0)
            + 1
    }
    for v in Version::all() {
        for data_type in v.data_types() {
            assert!(depth(v, data_type.id(), 8) <= 8);
        }
    }
}

#[test]
fn events_lead_to_structures() {
    let found = |v: &str, kind: &str, trigger: &str| {
        let found = version(v).structure_for(kind.as_bytes(), trigger.as_bytes());
        found.map(|n| n.to_string()).unwrap_or_default()
    };
    assert_eq!(found("2.5.1", "ADT", "A08"), "ADT_A01");
    assert_eq!(found("2.5.1", "ADT", "A31"), "ADT_A05");
    assert_eq!(found("2.3", "ADT", "A04"), "ADT_A01");
    assert_eq!(found("2.5.1", "ORU", "R01"), "ORU_R01");
    assert_eq!(found("2.5.1", "SIU", "S15"), "SIU_S12");
    assert_eq!(found("2.6", "MDM", "T10"), "MDM_T02");
    assert_eq!(found("2.5.1", "ACK", "R01"), "ACK");
    assert_eq!(found("2.3", "ACK", ""), "ACK");
    assert_eq!(found("2.3", "ORM", ""), "ORM_O01");
    assert_eq!(found("2.5.1", "ADT", ""), "");
    assert_eq!(found("2.5.1", "ORU", "Z99"), "");
    assert_eq!(found("2.5.1", "ORU", "R01 and more"), "");
}

#[test]
fn tables_tell_who_defines_them() {
    let v = version("2.5.1");
    let sex = v.table(1).unwrap();
    assert_eq!(
        (sex.kind(), sex.contains(b"F"), sex.contains(b"Q")),
        (TableKind::User, true, false)
    );
    let status = v.table(85).unwrap();
    assert_eq!((status.kind(), status.is_open()), (TableKind::Hl7, false));
    assert!(status.contains(b"F") && !status.contains(b"f") && !status.contains(b""));
    assert!(v.table(211).unwrap().contains(b"UNICODE UTF-8"));
    assert!(v.table(9998).is_none());
    assert!(version("2.3").table(85).unwrap().is_open());
    assert!(version("2.6").lengths_bind() && !version("2.7").lengths_bind());
}

#[test]
fn unknown_names_are_not_found() {
    assert_eq!(Version::of("2.5.2"), None);
    assert_eq!(StructureName::new(b"ORU_R01_X"), None);
    assert_eq!(SegmentId::new(b"PI"), None);
    assert_eq!(version("2.1").segment(SegmentId(*b"SPM")), None);
    let (newest, urd) = segment_of_any_version(SegmentId(*b"URD")).unwrap();
    assert_eq!(newest.name(), "2.8.2");
    assert!(urd.fields().is_empty());
    assert_eq!(segment(version("2.5"), b"PID").field(0), None);
    assert_eq!(segment(version("2.5"), b"PID").field(40), None);
    assert_eq!(DataTypeId::named(b"NOPE"), None);
}

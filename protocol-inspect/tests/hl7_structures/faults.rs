//! Each single fault in the least message of every structure is refused by the strict profile, where it is.
//! Of each kind of fault every message gets one, at another place each time, or all with `LAZARET_EVERYTHING=1`.

use protocol_inspect::hl7::grammar::{
    DataKind, Field, NodeKind, Nodes, Primitive, SegmentId, Usage, Version,
};
use protocol_inspect::hl7::{Place, Policy};

use super::oracle::first_fault;
use super::synthetic::{Line, Synthetic, structures};
use super::values::{is_listed, is_time_stamp, value};
use super::{everything, strict, verdict};

/// The candidates that are tried: all, or one that differs from message to message.
fn sample<T>(ordinal: usize, candidates: Vec<T>) -> Vec<T> {
    let count = candidates.len().max(1);
    let chosen = |index: usize| everything() || index == ordinal % count;
    let all = candidates.into_iter().enumerate();
    all.filter(|(index, _)| chosen(*index))
        .map(|(_, candidate)| candidate)
        .collect()
}

fn messages() -> impl Iterator<Item = (usize, Synthetic)> {
    structures()
        .filter_map(|(v, s)| Synthetic::least(v, s))
        .enumerate()
}

/// Changes the segments of every message and asks a slow matcher what is still right.
fn judge_structures(change: impl Fn(&mut Synthetic, usize)) {
    let policy = strict();
    let (mut refused, mut right) = (0, 0);
    for (ordinal, message) in messages() {
        for line in sample(ordinal, (1..message.lines.len()).collect()) {
            let mut changed = message.clone();
            change(&mut changed, line);
            // A header alone is no message, whatever its structure.
            if changed.lines.len() == 1 {
                assert!(verdict(&changed.bytes(), &policy).is_err());
                continue;
            }
            let what = format!("{} {:?}", message.title(), changed.names());
            let said = verdict(&changed.bytes(), &policy);
            let Some(fault) = first_fault(message.structure, &changed.names()) else {
                assert!(said.is_ok(), "{what}: {said:?}");
                right += 1;
                continue;
            };
            refused += 1;
            let why = said.expect_err(&what);
            assert_eq!(why.code.code(), "100", "{what}: {}", why.refusal);
            let Some(place) = why.place else {
                // Where any segment may stand, none can be named.
                let here = format!("message (byte {})", changed.offset(fault));
                assert_eq!(why.refusal.location, here, "{what}: {}", why.refusal);
                continue;
            };
            assert_eq!(place.offset, Some(changed.offset(fault)), "{what}: {place}");
            // Either what stands there is wrong, or what is missing there mends it.
            let stands = changed.lines.get(fault).map(|l| l.id.to_string());
            if stands.is_none_or(|stands| place.segment != *stands) {
                let mut mended = changed.names();
                mended.insert(fault, SegmentId::new(place.segment.as_bytes()).unwrap());
                let next = first_fault(message.structure, &mended);
                assert!(next.is_none_or(|next| next > fault), "{what}: {place}");
            }
            let before = &changed.lines[..fault];
            let before = before.iter().filter(|l| place.segment == l.id.as_str());
            assert_eq!(place.occurrence, before.count() + 1, "{what}: {place}");
        }
    }
    assert!(refused > 1_000, "{refused} refused, {right} right");
    println!("{refused} refused, {right} still right");
}

#[test]
fn a_segment_that_is_not_there() {
    judge_structures(|message, line| {
        message.lines.remove(line);
    });
}

#[test]
fn two_segments_the_wrong_way_round() {
    judge_structures(|message, line| message.lines.swap(line, line.max(2) - 1));
}

#[test]
fn a_segment_once_too_often() {
    judge_structures(|message, line| message.lines.insert(line, message.lines[line].clone()));
}

#[test]
fn a_segment_that_belongs_elsewhere() {
    judge_structures(|message, line| {
        let mut own = Vec::new();
        names(message.structure.nodes(), &mut own);
        let version = message.version;
        let foreign = version.segments().map(|s| s.id()).find(|id| {
            let plain = !matches!(&id.0, b"ADD" | b"BHS" | b"BTS" | b"FHS" | b"FTS" | b"MSH");
            plain && !own.contains(id)
        });
        let foreign = Line::new(version, foreign.unwrap());
        message.lines.insert(line, foreign);
    });
}

fn names(nodes: Nodes, out: &mut Vec<SegmentId>) {
    for node in nodes.iter() {
        match node.kind {
            NodeKind::Segment(id) => out.push(id),
            NodeKind::AnySegment => {}
            NodeKind::Group(parts) | NodeKind::Choice(parts) => names(parts, out),
        }
    }
}

/// A field of a message that a fault can be put into.
#[derive(Clone, Copy)]
struct Spot {
    line: usize,
    number: usize,
    field: Field,
}

/// The fields of MSH that have rules of their own.
const HEADER: [usize; 11] = [1, 2, 7, 9, 10, 11, 12, 14, 15, 16, 18];

/// The fields of a message that may be valued and are of some kind.
fn spots(message: &Synthetic, fits: impl Fn(usize, Field) -> bool) -> Vec<Spot> {
    let version = message.version;
    let mut out = Vec::new();
    for (line, own) in message.lines.iter().enumerate() {
        let grammar = own.grammar(version);
        let fields = grammar.iter().flat_map(|segment| segment.fields().iter());
        for (index, field) in fields.enumerate() {
            let number = index + 1;
            let header = own.id.0 == *b"MSH" && HEADER.contains(&number);
            let told_elsewhere = own.id.0 == *b"OBX" && number == 5;
            let free = !matches!(field.usage, Usage::Withdrawn | Usage::NotUsed);
            if !header && !told_elsewhere && free && fits(number, field) {
                let spot = Spot {
                    line,
                    number,
                    field,
                };
                out.push(spot);
            }
        }
    }
    out
}

fn primitive(version: Version, field: Field) -> Option<Primitive> {
    match version.data_type(field.data_type).unwrap().kind() {
        DataKind::Primitive(primitive) => Some(primitive),
        DataKind::Composite | DataKind::Opaque => None,
    }
}

/// Puts a value into a spot of every message, and wants it refused there with this code. `fault` may name a component.
fn judge_fields(
    least: usize,
    code: &str,
    fits: impl Fn(Version, Field) -> bool,
    fault: impl Fn(Version, Field) -> (String, usize),
) {
    let policy = strict();
    let mut refused = 0;
    for (ordinal, message) in messages() {
        let version = message.version;
        for spot in sample(ordinal, spots(&message, |_, field| fits(version, field))) {
            let (value, component) = fault(version, spot.field);
            let mut changed = message.clone();
            changed.lines[spot.line].set(spot.number, &value);
            expect(&changed, &spot, component, code, &policy);
            refused += 1;
        }
    }
    assert!(refused >= least, "{refused}");
    println!("{refused} refused");
}

fn expect(changed: &Synthetic, spot: &Spot, component: usize, code: &str, policy: &Policy) {
    let id = changed.lines[spot.line].id;
    let what = format!("{} {id}-{}", changed.title(), spot.number);
    let why = verdict(&changed.bytes(), policy).expect_err(&what);
    let place = why.place.unwrap_or_default();
    let wanted = Place {
        segment: id.as_str().into(),
        occurrence: changed.occurrence(spot.line),
        field: spot.number,
        component,
        ..Place::default()
    };
    let said = Place {
        repeated: false,
        offset: None,
        repetition: 0,
        subcomponent: 0,
        component: if component == 0 { 0 } else { place.component },
        ..place
    };
    assert_eq!(said, wanted, "{what}: {}", why.refusal);
    assert_eq!(why.code.code(), code, "{what}: {}", why.refusal);
    if let Some(offset) = place.offset {
        let line = changed.offset(spot.line)..changed.offset(spot.line + 1);
        assert!(line.contains(&offset), "{what}: {}", why.refusal);
    }
}

#[test]
fn a_required_field_without_value() {
    let required = |_: Version, field: Field| field.usage == Usage::Required;
    judge_fields(1_500, "101", required, |_, _| (String::new(), 0));
}

#[test]
fn a_required_field_of_the_header_without_value() {
    let policy = strict();
    for (_, message) in messages() {
        let since = if message.version.lengths_bind() { 9 } else { 7 };
        for number in [7, 9, 10, 11, 12] {
            let field = message.lines[0].grammar(message.version).unwrap();
            let field = field.field(number).unwrap();
            if number < since && field.usage != Usage::Required {
                continue;
            }
            let mut changed = message.clone();
            changed.lines[0].set(number, "");
            let spot = Spot {
                line: 0,
                number,
                field,
            };
            expect(&changed, &spot, 0, "101", &policy);
        }
    }
}

#[test]
fn a_required_component_without_value() {
    let policy = strict();
    let mut refused = 0;
    for (ordinal, message) in messages() {
        let written = |spot: &Spot| {
            let field = message.lines[spot.line].fields.get(spot.number - 1);
            field.cloned().unwrap_or_default()
        };
        let mut all = Vec::new();
        for spot in spots(&message, |_, _| true) {
            let value = written(&spot);
            let parts: Vec<&str> = value.split('^').collect();
            let valued = parts.iter().filter(|part| !part.is_empty()).count();
            let data_type = message.version.data_type(spot.field.data_type).unwrap();
            let fields = data_type.components().iter().zip(&parts).enumerate();
            all.extend(
                fields
                    .filter(|(_, (part, _))| part.usage == Usage::Required && valued > 1)
                    .map(|(index, _)| {
                        let mut parts = parts.clone();
                        parts[index] = "";
                        (spot, index + 1, parts.join("^"))
                    }),
            );
        }
        for (spot, component, value) in sample(ordinal, all) {
            let mut changed = message.clone();
            changed.lines[spot.line].set(spot.number, &value);
            expect(&changed, &spot, component, "101", &policy);
            refused += 1;
        }
    }
    assert!(refused > 250, "{refused}");
}

#[test]
fn a_value_that_cannot_be_read() {
    let read = |version: Version, field: Field| {
        use Primitive as P;
        let primitive = primitive(version, field);
        is_time_stamp(field)
            || matches!(
                primitive,
                Some(P::Nm | P::Si | P::Dt | P::Tm | P::Dtm | P::Ts)
            )
    };
    judge_fields(1_500, "102", read, |_, _| ("x".to_owned(), 0));
}

#[test]
fn a_repetition_too_many() {
    let bounded =
        |_: Version, field: Field| field.repeats > 0 && field.data_type.name() != "varies";
    judge_fields(2_000, "102", bounded, |version, field| {
        let value = value(version, field);
        (vec![value; usize::from(field.repeats) + 1].join("~"), 0)
    });
}

#[test]
fn a_value_that_is_too_long() {
    let bounded = |version: Version, field: Field| {
        use Primitive as P;
        let text = matches!(
            primitive(version, field),
            Some(P::St | P::Tx | P::Ft | P::Is | P::Nm)
        );
        version.lengths_bind() && (1..5_000).contains(&field.length) && text
    };
    judge_fields(1_000, "102", bounded, |_, field| {
        let length = usize::try_from(field.length).unwrap();
        ("1".repeat(length + 1), 0)
    });
}

#[test]
fn a_code_that_is_not_listed() {
    judge_fields(1_500, "103", is_listed, |_, _| ("QQQQ".to_owned(), 0));
}

#[test]
fn an_escape_sequence_that_does_not_exist() {
    let text = |version: Version, field: Field| primitive(version, field) == Some(Primitive::St);
    judge_fields(2_000, "102", text, |_, _| ("A\\Q\\".to_owned(), 0));
}

#[test]
fn a_control_byte() {
    let text = |version: Version, field: Field| primitive(version, field) == Some(Primitive::St);
    judge_fields(2_000, "102", text, |_, _| ("A\u{1}".to_owned(), 0));
}

#[test]
fn a_component_too_many() {
    let typed = |version: Version, field: Field| {
        version.data_type(field.data_type).unwrap().kind() != DataKind::Opaque
    };
    judge_fields(2_000, "102", typed, |version, field| {
        let value = value(version, field);
        let parts = version.data_type(field.data_type).unwrap().components();
        let last = parts.len().max(1);
        let more = "^".repeat(last - value.matches('^').count());
        (format!("{value}{more}A"), last + 1)
    });
}

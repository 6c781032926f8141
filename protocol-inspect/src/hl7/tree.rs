//! A message as a tree for people: segments, fields, repetitions, components, subcomponents, with their data types.
//!
//! In: the content of a frame, also of one that is refused. Out: nodes in the order of the message, and the nodes that places mean.
//! Judges nothing, and reads what no inspector would: bytes that are no segment are nodes too.
//! A node says where its bytes are and whether they may be shown to anybody; it holds none of them.
//! Nothing is kept of a node once it was visited, so a message costs its length in time and its segment names in memory.

use std::collections::BTreeMap;
use std::ops::Range;

use super::delimiters::Delimiters;
use super::grammar::{
    self, DataKind, DataTypeId, Fields, Primitive, SegmentId, TableKind, Version,
};
use super::place::Place;

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Where it stands, without a byte.
    pub place: Place,
    /// Its bytes in the message.
    pub range: Range<usize>,
    /// Its data type; empty if the version does not know it.
    pub data_type: &'static str,
    /// Whether nothing divides it further.
    pub is_leaf: bool,
    /// Whether it says nothing of a person: delimiters, the type and version of the message, codes that HL7 defines.
    pub is_public: bool,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeKind {
    /// Between two carriage returns, but no segment.
    Stray,
    /// A segment.
    Segment,
    /// A field with all its repetitions.
    Field,
    /// One repetition, where there are several.
    Repetition,
    /// A component, where the data type or the message has any.
    Component,
    /// A subcomponent, likewise.
    Subcomponent,
}

/// The node that a place means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The number of the node, counted from 0 in the order of the visits.
    pub node: usize,
    /// The number of its segment (or stray line), counted from 0.
    pub segment: usize,
}

/// Visits the nodes of a message, each before its parts.
pub fn visit(message: &[u8], mut visitor: impl FnMut(&Node)) {
    let delimiters = Delimiters::parse(message).ok();
    let body = message.strip_suffix(b"\r").unwrap_or(message);
    let mut counts: BTreeMap<&[u8], usize> = BTreeMap::new();
    let version = delimiters.and_then(|d| version(body, d));
    let mut start = 0_usize;
    for bytes in body.split(|b| *b == b'\r') {
        let end = start.saturating_add(bytes.len());
        let name = segment_name(bytes, delimiters);
        let mut place = Place::default();
        if let Some(name) = name {
            let count = counts.entry(name.as_bytes()).or_insert(0);
            *count = count.saturating_add(1);
            place.segment = name.into();
            place.occurrence = *count;
            place.repeated = *count > 1;
        }
        visitor(&Node {
            kind: match name {
                Some(_) => NodeKind::Segment,
                None => NodeKind::Stray,
            },
            place,
            range: start..end,
            data_type: "",
            is_leaf: name.is_none() || delimiters.is_none(),
            is_public: false,
        });
        if let (Some(name), Some(delimiters)) = (name, delimiters) {
            let grammar = SegmentId::new(name.as_bytes()).and_then(|id| version?.segment(id));
            Walk {
                message,
                delimiters,
                version,
                fields: grammar.map(grammar::Segment::fields),
                value_type: None,
                place,
                visitor: &mut visitor,
            }
            .segment(start..end);
        }
        start = end.saturating_add(1);
    }
}

/// The deepest node that each place means. A part that is not there is at the next deepest that is;
/// a segment that is not there, and bytes that are no segment, are at the segment where their byte stands.
#[must_use]
pub fn locate(message: &[u8], places: &[Place]) -> Vec<Option<Found>> {
    let mut found: Vec<Option<(NodeKind, Found)>> = vec![None; places.len()];
    let mut here: Vec<usize> = Vec::new();
    let (mut node_number, mut segments) = (0_usize, 0_usize);
    visit(message, |node| {
        let whole_segment = node.kind <= NodeKind::Segment;
        if whole_segment {
            segments = segments.saturating_add(1);
            here.clear();
            here.extend((0..).zip(places).filter_map(|(number, place)| {
                let covers = covers(node, place);
                // The carriage return belongs to what it ends.
                let inside = |byte| (node.range.start..=node.range.end).contains(&byte);
                (covers || place.offset.is_some_and(inside)).then_some(number)
            }));
        }
        for &number in &here {
            let (Some(place), Some(slot)) = (places.get(number), found.get_mut(number)) else {
                continue;
            };
            let deeper = slot.is_none_or(|(kind, _)| kind < node.kind);
            if (whole_segment || covers(node, place)) && deeper {
                let at = Found {
                    node: node_number,
                    segment: segments.saturating_sub(1),
                };
                *slot = Some((node.kind, at));
            }
        }
        node_number = node_number.saturating_add(1);
    });
    found
        .into_iter()
        .map(|slot| slot.map(|(_, at)| at))
        .collect()
}

/// Whether a place is this node or a part of it. Places leave out the numbers that do not matter.
fn covers(node: &Node, place: &Place) -> bool {
    let here = &node.place;
    let repetition = if place.repetition == 0 && place.component > 0 {
        1
    } else {
        place.repetition
    };
    let same = |own: usize, asked: usize| own == 0 || own == asked;
    node.kind != NodeKind::Stray
        && here.segment == place.segment
        && here.occurrence == place.occurrence
        && same(here.field, place.field)
        && same(here.repetition, repetition)
        && same(here.component, place.component)
        && same(here.subcomponent, place.subcomponent)
}

fn version(body: &[u8], delimiters: Delimiters) -> Option<Version> {
    let msh = body.split(|b| *b == b'\r').next()?;
    // MSH-1 is the first separator.
    let field = msh.split(|b| *b == delimiters.field).nth(11)?;
    let first = field
        .split(|b| *b == delimiters.component || *b == delimiters.repetition)
        .next()?;
    Version::of(str::from_utf8(first).ok()?)
}

fn segment_name(bytes: &[u8], delimiters: Option<Delimiters>) -> Option<&str> {
    let (name, rest) = bytes.split_at_checked(3)?;
    let well_formed = name.first().is_some_and(u8::is_ascii_uppercase)
        && name
            .iter()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let ends = match (rest.first(), delimiters) {
        (Some(next), Some(delimiters)) => *next == delimiters.field,
        (Some(_) | None, _) => true,
    };
    (well_formed && ends)
        .then(|| str::from_utf8(name).ok())
        .flatten()
}

/// On the way through one segment.
struct Walk<'w, V> {
    message: &'w [u8],
    delimiters: Delimiters,
    version: Option<Version>,
    /// The fields of the segment in this version.
    fields: Option<Fields>,
    /// What OBX-2 says of OBX-5.
    value_type: Option<DataTypeId>,
    place: Place,
    visitor: &'w mut V,
}

/// What the grammar says of a part.
#[derive(Clone, Copy, Default)]
struct Type {
    id: Option<DataTypeId>,
    data_type: Option<grammar::DataType>,
    table: u16,
}

impl<'w, V: FnMut(&Node)> Walk<'w, V> {
    fn segment(mut self, range: Range<usize>) {
        let is_header = self.place.segment == "MSH";
        let body = range.start.saturating_add(4)..range.end;
        if is_header {
            self.place.field = 1;
            let separator = range.start.saturating_add(3)..body.start;
            self.verbatim(separator);
        }
        if body.start > range.end {
            return;
        }
        for (range, number) in parts(self.message, body, self.delimiters.field).zip(1_usize..) {
            self.place.field = number.saturating_add(usize::from(is_header));
            if is_header && self.place.field == 2 {
                self.verbatim(range);
                continue;
            }
            if self.place.segment == "OBX" && number == 2 {
                self.value_type = DataTypeId::named(self.bytes(&range));
            }
            self.field(range);
        }
    }

    /// MSH-1 and MSH-2 are not divided by what they declare.
    fn verbatim(&mut self, range: Range<usize>) {
        let kind = self.field_type();
        self.node(NodeKind::Field, range, kind, true);
    }

    fn field(&mut self, range: Range<usize>) {
        let kind = self.field_type();
        let repeats = self.has(&range, self.delimiters.repetition);
        let divided = self.divided(&range, kind, self.delimiters.component);
        self.node(NodeKind::Field, range.clone(), kind, !repeats && !divided);
        for (range, number) in parts(self.message, range, self.delimiters.repetition).zip(1_usize..)
        {
            if repeats {
                self.place.repetition = number;
                let divided = self.divided(&range, kind, self.delimiters.component);
                self.node(NodeKind::Repetition, range.clone(), kind, !divided);
            }
            self.components(range, kind);
        }
        self.place.repetition = 0;
    }

    fn components(&mut self, range: Range<usize>, whole: Type) {
        if !self.divided(&range, whole, self.delimiters.component) {
            return;
        }
        for (range, number) in parts(self.message, range, self.delimiters.component).zip(1_usize..)
        {
            self.place.component = number;
            let kind = self.part_type(whole, number);
            let divided = self.divided(&range, kind, self.delimiters.subcomponent);
            self.node(NodeKind::Component, range.clone(), kind, !divided);
            if divided {
                let parts = parts(self.message, range, self.delimiters.subcomponent);
                for (range, number) in parts.zip(1_usize..) {
                    self.place.subcomponent = number;
                    let kind = self.part_type(kind, number);
                    self.node(NodeKind::Subcomponent, range, kind, true);
                }
                self.place.subcomponent = 0;
            }
        }
        self.place.component = 0;
    }

    fn node(&mut self, kind: NodeKind, range: Range<usize>, of: Type, is_leaf: bool) {
        let is_public = is_leaf && self.is_public(self.bytes(&range), of);
        (self.visitor)(&Node {
            kind,
            place: self.place,
            range,
            data_type: of.id.map_or("", DataTypeId::name),
            is_leaf,
            is_public,
        });
    }

    fn is_public(&self, value: &[u8], of: Type) -> bool {
        if self.place.segment == "MSH" {
            let is_word = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_';
            match self.place.field {
                1 | 2 => return true,
                9 => return value.len() <= LONGEST_STRUCTURE && value.iter().all(is_word),
                12 => return str::from_utf8(value).is_ok_and(|v| Version::of(v).is_some()),
                _ => {}
            }
        }
        let is_code = of
            .data_type
            .is_some_and(|t| t.kind() == DataKind::Primitive(Primitive::Id));
        let table = self.version.and_then(|v| v.table(of.table));
        let listed = table.is_some_and(|t| t.kind() == TableKind::Hl7 && t.contains(value));
        value.is_empty() || value == NULL || (is_code && listed)
    }

    fn field_type(&self) -> Type {
        if self.place.segment == "OBX" && self.place.field == 5 {
            return self
                .value_type
                .map_or(Type::default(), |id| self.lookup(id, 0));
        }
        let field = self.fields.and_then(|fields| fields.nth(self.place.field));
        field.map_or(Type::default(), |f| self.lookup(f.data_type, f.table))
    }

    fn part_type(&self, whole: Type, number: usize) -> Type {
        let parts = whole.data_type.map(grammar::DataType::components);
        let part = parts.and_then(|parts| parts.nth(number));
        part.map_or(Type::default(), |p| self.lookup(p.data_type, p.table))
    }

    /// Senders use types of other versions, as the judges know.
    fn lookup(&self, id: DataTypeId, table: u16) -> Type {
        let own = self.version.and_then(|v| v.data_type(id));
        let any = || Version::all().rev().find_map(|v| v.data_type(id));
        let data_type = own.or_else(any);
        Type {
            id: data_type.map(grammar::DataType::id),
            data_type,
            table,
        }
    }

    fn divided(&self, range: &Range<usize>, of: Type, delimiter: u8) -> bool {
        let composite = of
            .data_type
            .is_some_and(|t| t.kind() == DataKind::Composite);
        let bytes = self.bytes(range);
        let valued = !bytes.is_empty() && bytes != NULL;
        (composite && valued)
            || bytes.contains(&delimiter)
            || bytes.contains(&self.delimiters.subcomponent)
    }

    fn has(&self, range: &Range<usize>, delimiter: u8) -> bool {
        self.bytes(range).contains(&delimiter)
    }

    fn bytes(&self, range: &Range<usize>) -> &'w [u8] {
        self.message.get(range.clone()).unwrap_or_default()
    }
}

/// Where the parts of a range are.
fn parts(message: &[u8], range: Range<usize>, delimiter: u8) -> impl Iterator<Item = Range<usize>> {
    let bytes = message.get(range.clone()).unwrap_or_default();
    let mut start = range.start;
    bytes.split(move |b| *b == delimiter).map(move |part| {
        let end = start.saturating_add(part.len());
        let here = start..end;
        start = end.saturating_add(1);
        here
    })
}

/// Deletes what the receiver has.
//= HL7 v2.5.1 2.5.3.5
const NULL: &[u8] = b"\"\"";

/// `ORU_R01`: what is longer in MSH-9 is no name of the standard.
const LONGEST_STRUCTURE: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7::Offline;

    const TEXT: &str = "MSH|^~\\&|A|B|C|D|20260101||ORU^R01^ORU_R01|1|P|2.5\r\
                        PID|1||4711^^^KH&1.2&ISO~12||Muster^Eva\rOBX|1|NM|x\rOBX|2|CX|x||1^2|\r";

    fn nodes(text: &str) -> Vec<Node> {
        let mut nodes = Vec::new();
        visit(text.as_bytes(), |node| nodes.push(node.clone()));
        nodes
    }

    fn shown(text: &str) -> String {
        let line = |node: Node| {
            let value = match (node.is_leaf, node.is_public) {
                (false, _) => "",
                (true, false) => "…",
                (true, true) => &text[node.range.clone()],
            };
            let indent = "  ".repeat(node.place.to_string().matches(['-', '(', '.']).count());
            format!(
                "{indent}{} {:?} {}-{} {} {value}",
                node.place, node.kind, node.range.start, node.range.end, node.data_type
            )
        };
        let lines = nodes(text).into_iter().map(line);
        lines.map(|l| format!("{}\n", l.trim_end())).collect()
    }

    #[test]
    fn parts_have_places_types_and_bytes() {
        insta::assert_snapshot!(shown(TEXT));
    }

    #[test]
    fn what_no_inspector_reads_is_shown_nevertheless() {
        let text = "MSH|^~\\&|A\rPID\r\rnothing\rPIDX|1\rZZ1|a^b&c~d\r\r";
        insta::assert_snapshot!(shown(text));
        // Without delimiters there are lines, and without a header segments without types.
        assert!(nodes("").iter().all(|n| n.kind == NodeKind::Stray));
        assert!(nodes("MSH|||\rPID|1").iter().all(|n| n.is_leaf));
    }

    /// The leaves and the delimiters between them are the message.
    #[test]
    fn no_byte_is_left_out() {
        let mut covered = vec![0; TEXT.len()];
        for node in nodes(TEXT).iter().filter(|node| node.is_leaf) {
            covered[node.range.clone()].iter_mut().for_each(|n| *n += 1);
        }
        for (at, (times, byte)) in covered.iter().zip(TEXT.bytes()).enumerate() {
            let name = TEXT[..at].rfind('\r').map_or(at, |cr| at - cr - 1) < 3;
            let delimiter = b"|^~&\r".contains(&byte) && !(3..8).contains(&at);
            assert_eq!(*times, usize::from(!name && !delimiter), "byte {at}");
        }
    }

    #[test]
    fn places_are_found() {
        let at = |place: &str| {
            let place: Place = place.parse().unwrap();
            let found = locate(TEXT.as_bytes(), &[place])[0]?;
            Some(format!(
                "{} in {}",
                nodes(TEXT)[found.node].place,
                found.segment
            ))
        };
        let found = |place: &str| at(place).unwrap_or_default();
        assert_eq!(found("PID-3(1).4.2 (byte 70)"), "PID-3(1).4.2 in 1");
        assert_eq!(found("PID-3.4"), "PID-3(1).4 in 1");
        assert_eq!(found("PID-3(2)"), "PID-3(2) in 1");
        assert_eq!(found("PID-3"), "PID-3 in 1");
        assert_eq!(found("OBX[2]-5.2"), "OBX[2]-5.2 in 3");
        // What is not there is where it would be.
        assert_eq!(found("PID-3(3)"), "PID-3 in 1");
        assert_eq!(found("PID-8"), "PID in 1");
        let obx = TEXT.find("OBX").unwrap();
        assert_eq!(found(&format!("OBR (byte {obx})")), "OBX in 2");
        assert_eq!(found(&format!("segment 3 (byte {obx})")), "OBX in 2");
        assert_eq!(found(&format!("segment 2 (byte {})", obx - 1)), "PID in 1");
        assert_eq!(at("OBR"), None);
        assert_eq!(at(&format!("message (byte {})", TEXT.len())), None);
    }

    /// Every finding about a part that is there is marked at exactly this part.
    #[test]
    fn findings_are_found() {
        let text = TEXT
            .replace("|1||4711", "|x||4711")
            .replace("NM|x\r", "NM|x||abc\r");
        let profile = crate::hl7::Profile::strict();
        let offline = Offline {
            profile,
            ..Offline::default()
        };
        let judged = offline.judge(text.as_bytes()).next().unwrap();
        let report = judged.report;
        let told = report.refusal.iter().map(|r| r.location.clone());
        let warned = report.warnings.iter().map(|w| w.location.clone());
        let places: Vec<Place> = told.chain(warned).map(|l| l.parse().unwrap()).collect();
        assert!(places.len() > 1, "{places:?}");
        let nodes = nodes(&text);
        for (place, found) in places.iter().zip(locate(text.as_bytes(), &places)) {
            let Some(found) = found else {
                assert_eq!(place.offset.unwrap_or_default(), text.len() - 1, "{place}");
                continue;
            };
            let node = &nodes[found.node];
            assert!(
                covers(node, place) || node.range.start == place.offset.unwrap(),
                "{place}"
            );
        }
    }

    #[test]
    fn cost_grows_with_length_only() {
        for unit in ["|", "~", "^", "&", "\rPID", "\r", "x|"] {
            let text = format!("{TEXT}PID|{}", unit.repeat(20_000));
            let mut count = 0;
            visit(text.as_bytes(), |_| count += 1);
            assert!((20_000..60_200).contains(&count), "{unit:?}: {count}");
        }
    }
}

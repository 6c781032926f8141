//! The least message of a structure that is right: its required segments with their required fields.

use protocol_inspect::hl7::grammar::{
    Node, NodeKind, Nodes, Segment, SegmentId, Structure, Usage, Version,
};

use super::values::value;

/// What conditions ask for although no grammar requires it: segment, field, and a value where not any will do.
/// Fields that a version does not have, or no longer, stay empty.
const CONDITIONAL: [(&[u8; 3], usize, Option<&str>); 9] = [
    // Answers are wanted to each record, so they are numbered.
    (b"MFE", 2, None),
    (b"OBR", 3, None),
    (b"OBR", 7, None),
    (b"OBX", 2, Some("ST")),
    (b"PRT", 8, None),
    (b"RQD", 2, None),
    // Some tests write it twice.
    (b"TQ1", 12, None),
    (b"TXA", 3, None),
    (b"TXA", 7, None),
];

/// A message in parts.
#[derive(Clone)]
pub(crate) struct Synthetic {
    pub(crate) version: Version,
    pub(crate) structure: Structure,
    pub(crate) lines: Vec<Line>,
}

/// A segment in parts.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) id: SegmentId,
    /// From the first field on; of MSH, that is the separator, and the second the other delimiters.
    pub(crate) fields: Vec<String>,
}

/// All structures of all versions.
pub(crate) fn structures() -> impl Iterator<Item = (Version, Structure)> {
    Version::all().flat_map(|v| v.structures().map(move |s| (v, s)))
}

impl Synthetic {
    /// The least message; `None` if no message type and trigger leads to the structure.
    pub(crate) fn least(version: Version, structure: Structure) -> Option<Self> {
        let (code, trigger) = event(version, structure)?;
        let mut names = Vec::new();
        required(structure.nodes(), &mut names);
        // A header alone is no message: some structures require nothing else.
        if names.len() < 2 {
            let optional = structure.nodes().iter().nth(1).unwrap();
            forced(optional, &mut names);
        }
        let mut lines: Vec<Line> = names.iter().map(|id| Line::new(version, *id)).collect();
        for line in &mut lines {
            line.fill_in(version, &trigger);
        }
        let kind = match (trigger.as_str(), version.name()) {
            ("", _) => code,
            (_, "2.1" | "2.2" | "2.3") => format!("{code}^{trigger}"),
            _ => format!("{code}^{trigger}^{}", structure.name()),
        };
        let head = [
            "|",
            "^~\\&",
            "A",
            "B",
            "C",
            "D",
            "20260131120000",
            "",
            &kind,
            "1",
            "P",
        ];
        lines[0].fields = head.map(ToOwned::to_owned).to_vec();
        lines[0].fields.push(version.name().to_owned());
        Some(Self {
            version,
            structure,
            lines,
        })
    }

    pub(crate) fn names(&self) -> Vec<SegmentId> {
        self.lines.iter().map(|line| line.id).collect()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.lines.iter().flat_map(Line::bytes).collect()
    }

    /// The byte at which a line begins, or at which the message ends.
    pub(crate) fn offset(&self, line: usize) -> usize {
        self.lines[..line].iter().map(|l| l.bytes().len()).sum()
    }

    /// Which of the segments of its name a line is.
    pub(crate) fn occurrence(&self, line: usize) -> usize {
        let id = self.lines[line].id;
        self.lines[..=line].iter().filter(|l| l.id == id).count()
    }

    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.version.name(), self.structure.name())
    }
}

impl Line {
    /// A segment with its required fields.
    pub(crate) fn new(version: Version, id: SegmentId) -> Self {
        let known = version.segment(id);
        let fields: Vec<String> = known
            .iter()
            .flat_map(|segment| segment.fields().iter())
            .enumerate()
            .map(|(index, field)| match (field.usage, &id.0, index + 1) {
                (Usage::Required, b"OBX", 2) => "ST".to_owned(),
                (Usage::Required, ..) => value(version, field),
                _ => String::new(),
            })
            .collect();
        let mut line = Self { id, fields };
        line.trim();
        line
    }

    /// Adds what conditions ask for.
    fn fill_in(&mut self, version: Version, trigger: &str) {
        let Some(grammar) = self.grammar(version) else {
            return;
        };
        if self.id.0 == *b"EVN" && self.fields.first().is_some_and(|event| !event.is_empty()) {
            self.set(1, trigger);
        }
        for (id, number, own) in CONDITIONAL {
            let field = grammar.field(number).filter(|_| self.id.0 == *id);
            if let Some(field) = field
                && matches!(field.usage, Usage::Optional | Usage::Conditional)
            {
                let any = || value(version, field);
                self.set(number, &own.map_or_else(any, ToOwned::to_owned));
            }
        }
    }

    /// Puts a value into a field, counted from 1.
    pub(crate) fn set(&mut self, field: usize, value: &str) {
        if self.fields.len() < field {
            self.fields.resize(field, String::new());
        }
        value.clone_into(&mut self.fields[field - 1]);
        self.trim();
    }

    pub(crate) fn grammar(&self, version: Version) -> Option<Segment> {
        version.segment(self.id)
    }

    fn trim(&mut self) {
        while self.fields.last().is_some_and(String::is_empty) {
            self.fields.pop();
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let fields = self.fields.join("|");
        match &self.id.0 {
            b"MSH" => format!(
                "MSH{}\r",
                fields.trim_start_matches('|').replacen("", "|", 1)
            ),
            _ if fields.is_empty() => format!("{}\r", self.id),
            _ => format!("{}|{fields}\r", self.id),
        }
        .into_bytes()
    }
}

/// The segments that must be there; of a choice the first.
fn required(nodes: Nodes, out: &mut Vec<SegmentId>) {
    for node in nodes.iter().filter(|node| node.min > 0) {
        forced(node, out);
    }
}

/// The segments of a node that is there.
fn forced(node: Node, out: &mut Vec<SegmentId>) {
    match node.kind {
        NodeKind::Segment(id) => out.push(id),
        NodeKind::AnySegment => out.push(SegmentId(*b"NTE")),
        NodeKind::Choice(parts) => forced(parts.get(0).unwrap(), out),
        NodeKind::Group(parts) => {
            let before = out.len();
            required(parts, out);
            if out.len() == before {
                forced(parts.get(0).unwrap(), out);
            }
        }
    }
}

/// A message type and a trigger that lead to the structure: its own name if that does, else the first that does.
fn event(version: Version, structure: Structure) -> Option<(String, String)> {
    let name = structure.name();
    let (code, trigger) = name.as_str().split_once('_').unwrap_or((name.as_str(), ""));
    let leads =
        |trigger: &str| version.structure_for(code.as_bytes(), trigger.as_bytes()) == Some(name);
    if (!trigger.is_empty() || matches!(code, "ACK" | "MCF")) && leads(trigger) {
        return Some((code.to_owned(), trigger.to_owned()));
    }
    let all = (b'A'..=b'Z').flat_map(|letter| {
        (0..100).map(move |number| format!("{}{number:02}", char::from(letter)))
    });
    let found = all.into_iter().find(|trigger| leads(trigger))?;
    Some((code.to_owned(), found))
}

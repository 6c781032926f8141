//! Message structures: what may follow what, how often.
//!
//! Out: a [`Structure`] whose [`Nodes`] are slices of one shared array; children of a group lie side by side.
//! Knows nothing of messages: matching is not done here.

use std::fmt;

use super::{SegmentId, blob};

/// Deepest nesting in any structure: the outermost nodes are the first level.
pub const MAX_DEPTH: usize = 9;

/// The structure of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Structure {
    name: StructureName,
    nodes: Nodes,
}

impl Structure {
    pub(super) fn read(record: &'static [u8; 12]) -> Self {
        let [n0, n1, n2, n3, n4, n5, n6, n7, a, b, c, d] = *record;
        Self {
            name: StructureName([n0, n1, n2, n3, n4, n5, n6, n7]),
            nodes: Nodes::read([a, b, c, d]),
        }
    }

    /// Its name, as in MSH-9.3.
    #[must_use]
    pub fn name(self) -> StructureName {
        self.name
    }

    /// The outermost nodes.
    #[must_use]
    pub fn nodes(self) -> Nodes {
        self.nodes
    }
}

/// Nodes side by side, in the order in which their segments come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nodes {
    start: u16,
    records: &'static [[u8; 12]],
}

impl Nodes {
    fn read([a, b, c, d]: [u8; 4]) -> Self {
        let start = u16::from_le_bytes([a, b]);
        let count = u16::from_le_bytes([c, d]);
        Self {
            start,
            records: blob::slice(blob::NODES, start, count),
        }
    }

    /// How many.
    #[must_use]
    pub fn len(self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.records.is_empty()
    }

    /// One of them, from 0.
    #[must_use]
    pub fn get(self, index: usize) -> Option<Node> {
        self.records.get(index).and_then(Node::read)
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = Node> {
        self.records.iter().filter_map(Node::read)
    }

    /// The place of the first in the array that all structures share: names these nodes in a matcher's own tables.
    #[must_use]
    pub fn start(self) -> u16 {
        self.start
    }
}

/// A place in a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// What stands here.
    pub kind: NodeKind,
    /// How often at least.
    pub min: u8,
    /// How often at most; 0 has no limit.
    pub max: u8,
    label: u16,
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// This segment.
    Segment(SegmentId),
    /// Any one segment: the part of a master file or query that a site defines.
    AnySegment,
    /// These nodes, in order.
    Group(Nodes),
    /// Exactly one of these nodes.
    Choice(Nodes),
}

impl Node {
    fn read(record: &[u8; 12]) -> Option<Self> {
        let [kind, min, max, _, a, b, c, d, e, f, _, _] = *record;
        let kind = match kind {
            1 => NodeKind::Segment(SegmentId([a, b, c])),
            2 => NodeKind::AnySegment,
            3 => NodeKind::Group(Nodes::read([a, b, c, d])),
            4 => NodeKind::Choice(Nodes::read([a, b, c, d])),
            _ => return None,
        };
        Some(Self {
            kind,
            min,
            max,
            label: u16::from_le_bytes([e, f]),
        })
    }

    /// The name of a group or choice, without the name of its structure; nothing for segments.
    #[must_use]
    pub fn group_name(self) -> &'static str {
        blob::string(self.label)
    }
}

/// The name of a structure, or of a type and its event: `ORU_R01`, `ACK`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StructureName(pub(super) [u8; 8]);

impl StructureName {
    /// From up to eight bytes without NUL; longer names do not exist.
    #[must_use]
    pub fn new(name: &[u8]) -> Option<Self> {
        Self::joined(&[name])
    }

    pub(super) fn joined(parts: &[&[u8]]) -> Option<Self> {
        let mut bytes = [0; 8];
        let mut slots = bytes.iter_mut();
        for byte in parts.iter().copied().flatten() {
            if *byte == 0 {
                return None;
            }
            *slots.next()? = *byte;
        }
        Some(Self(bytes))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = str::from_utf8(&self.0).unwrap_or_default();
        text.trim_end_matches('\0')
    }
}

impl fmt::Display for StructureName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for StructureName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

//! Whether names of segments are those of a structure: a slow matcher, written from the meaning of the nodes alone.

use std::collections::BTreeSet;

use protocol_inspect::hl7::grammar::{Node, NodeKind, Nodes, SegmentId, Structure};

/// The first segment that cannot be placed, or the number of segments if the end comes too early; nothing if all is right.
pub(crate) fn first_fault(structure: Structure, names: &[SegmentId]) -> Option<usize> {
    let mut reader = Reader { names, furthest: 0 };
    let ends = reader.sequence(structure.nodes(), &BTreeSet::from([0]));
    (!ends.contains(&names.len())).then_some(reader.furthest)
}

struct Reader<'a> {
    names: &'a [SegmentId],
    /// How far any reading came.
    furthest: usize,
}

impl Reader<'_> {
    fn sequence(&mut self, nodes: Nodes, from: &BTreeSet<usize>) -> BTreeSet<usize> {
        nodes
            .iter()
            .fold(from.clone(), |at, node| self.node(node, &at))
    }

    fn node(&mut self, node: Node, from: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut ends = self.once(node, from);
        let mut fresh = ends.clone();
        while node.max != 1 && !fresh.is_empty() {
            let more = self.once(node, &fresh);
            fresh = more.difference(&ends).copied().collect();
            ends.extend(&fresh);
        }
        if node.min == 0 {
            ends.extend(from);
        }
        ends
    }

    fn once(&mut self, node: Node, from: &BTreeSet<usize>) -> BTreeSet<usize> {
        match node.kind {
            NodeKind::Segment(id) => self.segment(Some(id), from),
            NodeKind::AnySegment => self.segment(None, from),
            NodeKind::Group(parts) => self.sequence(parts, from),
            NodeKind::Choice(parts) => parts
                .iter()
                .flat_map(|part| self.node(part, from))
                .collect(),
        }
    }

    fn segment(&mut self, id: Option<SegmentId>, from: &BTreeSet<usize>) -> BTreeSet<usize> {
        let here = |at: &&usize| {
            let name = self.names.get(**at);
            name.is_some_and(|name| id.is_none_or(|id| id == *name))
        };
        let ends: BTreeSet<usize> = from.iter().filter(here).map(|at| at + 1).collect();
        self.furthest = self.furthest.max(ends.last().copied().unwrap_or(0));
        ends
    }
}

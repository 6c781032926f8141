//! Matches the names of segments, one by one, against a structure.
//!
//! In: a [`Structure`] and names. Out: a [`Fault`] for each name that has no place where it stands.
//! Knows nothing of fields, versions or weights.
//!
//! # Why it is exact, and why it is linear
//!
//! No place of any structure counts beyond "at most once" or "without end", so a structure is a regular expression over
//! names. [`Plan`] numbers its places in order, at most [`MOST`] of them, and knows per place which segments can come
//! first in it. [`Walk`] holds the set of the places at which the segment before may have stood: all readings of an
//! ambiguous structure at once, one bit each, so that nothing is ever tried again. A message is accepted if any reading
//! accepts it, and the first fault is at the first segment that no reading can place.
//!
//! What may follow a place, and where a name may stand, is laid out in the plan, once for all messages.
//! With `p` places and `n` segments that is per segment one look at each place of the set and one at the name:
//! no more than `(p + 1) n` steps, with `p ≤ 128` whatever the sender does; for real messages the set has one place,
//! and a step that was just taken from it is taken again with one look. After a fault a segment is skipped or placed further on,
//! never tried again; the search for what is missing looks at each place at most `p` times and happens
//! at most once a fault, and whoever calls stops after a few of those. Nothing is allocated for a message; recursion is as deep as groups are nested.

use std::collections::BTreeMap;
use std::sync::{LazyLock, OnceLock};

use crate::hl7::grammar::{
    MAX_DEPTH, Node, NodeKind, Nodes, SegmentId, Structure, Version, count_of_structures,
};

/// A structure with its places in a row.
pub(super) struct Plan {
    places: Vec<Place>,
    /// The segments with which each place can begin.
    first: Vec<u128>,
    /// What may follow each place.
    next: Vec<Next>,
    /// Where each segment may stand, by its name.
    named: Vec<(SegmentId, u128)>,
    /// Where any segment may stand.
    any: u128,
    count: usize,
}

/// A message on its way through a plan.
pub(super) struct Walk<'p> {
    plan: &'p Plan,
    /// Where the segment before may have stood.
    at: u128,
    /// Steps that were taken lately, found by the lowest place of the set: messages repeat themselves.
    last: [(u128, SegmentId, u128); KEPT],
    steps: usize,
}

/// Why a segment has no place where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// This required place was passed over. The segment itself was placed behind it.
    Missing(usize),
    /// It stands where it belongs, but once too often; it was skipped.
    Repeated,
    /// It belongs elsewhere; it was skipped.
    OutOfOrder,
    /// It belongs nowhere in this structure; it was skipped.
    Foreign,
}

/// One place, segments and groups alike.
#[derive(Clone, Copy)]
struct Place {
    kind: Kind,
    name: SegmentId,
    optional: bool,
    repeats: bool,
    /// Whether it can be passed without any segment.
    nullable: bool,
    /// The group around it; itself for the outermost, of which there is one: the structure.
    parent: usize,
    /// The number behind its last part.
    end: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Segment,
    Any,
    Group,
    Choice,
}

/// What may follow a place.
#[derive(Clone, Copy)]
struct Next {
    segments: u128,
    /// Whether the message may end.
    end: bool,
}

impl Plan {
    /// Lays a structure out; `None` if it has more places than there are bits.
    pub(super) fn new(structure: Structure) -> Option<Self> {
        let mut plan = Self {
            places: vec![ROOT; MOST],
            first: vec![0; MOST],
            next: Vec::new(),
            named: Vec::new(),
            any: 0,
            count: 1,
        };
        plan.lay(structure.nodes(), 0, 0)?;
        plan.close(0, plan.count)?;
        // The groups come before their parts, so that the parts are ready when their group is looked at.
        for index in (0..plan.count).rev() {
            plan.summarize(index)?;
        }
        plan.places = plan.places.get(..plan.count)?.to_vec();
        plan.first = plan.first.get(..plan.count)?.to_vec();
        plan.next = (0..plan.count).map(|leaf| plan.follow(leaf)).collect();
        plan.name();
        Some(plan)
    }

    /// The plan of a structure; laid out when it is asked for first, and never changed.
    /// There are no more of them than the standard has structures, however many messages come.
    pub(super) fn of(version: Version, structure: Structure) -> Option<&'static Self> {
        static ALL: LazyLock<Vec<OnceLock<Option<Plan>>>> = LazyLock::new(|| {
            (0..count_of_structures())
                .map(|_| OnceLock::new())
                .collect()
        });
        let number = version.structure_number(structure.name())?;
        let plan = ALL.get(number)?.get_or_init(|| Self::new(structure));
        plan.as_ref()
    }

    fn name(&mut self) {
        let mut named = BTreeMap::new();
        for (index, place) in self.places.iter().enumerate() {
            match place.kind {
                Kind::Segment => *named.entry(place.name).or_insert(0) |= bit(index),
                Kind::Any => self.any |= bit(index),
                Kind::Group | Kind::Choice => {}
            }
        }
        self.named = named.into_iter().collect();
    }

    /// The segment that a required place asks for: of a group its first required one, of a choice its first.
    pub(super) fn required(&self, place: usize) -> usize {
        let mut place = place;
        // Parts have higher numbers than their group, so this ends.
        loop {
            let needed = |part: &usize| self.place(*part).is_some_and(|p| !p.nullable);
            let first = self.parts(place).find(needed);
            match first.or_else(|| self.parts(place).next()) {
                Some(part) => place = part,
                None => return place,
            }
        }
    }

    /// The name of the segment at a place; none if any segment may stand there.
    pub(super) fn segment(&self, place: usize) -> Option<SegmentId> {
        let place = self.place(place)?;
        (place.kind == Kind::Segment).then_some(place.name)
    }

    /// The group or choice around a place; 0 is the structure itself.
    pub(super) fn group(&self, place: usize) -> usize {
        self.place(place).map_or(0, |p| p.parent)
    }

    fn lay(&mut self, nodes: Nodes, parent: usize, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        for node in nodes.iter() {
            let index = self.count;
            let (kind, name, parts) = match node.kind {
                NodeKind::Segment(name) => (Kind::Segment, name, None),
                NodeKind::AnySegment => (Kind::Any, NOBODY, None),
                NodeKind::Group(parts) => (Kind::Group, NOBODY, Some(parts)),
                NodeKind::Choice(parts) => (Kind::Choice, NOBODY, Some(parts)),
            };
            *self.places.get_mut(index)? = Place {
                kind,
                name,
                optional: node.min == 0,
                repeats: node.max != 1,
                nullable: node.min == 0,
                parent,
                end: index,
            };
            self.count = index.checked_add(1)?;
            if let Some(parts) = parts {
                self.lay(parts, index, depth.saturating_add(1))?;
            }
            self.close(index, self.count)?;
        }
        Some(())
    }

    fn close(&mut self, index: usize, end: usize) -> Option<()> {
        self.places.get_mut(index)?.end = end;
        Some(())
    }

    fn summarize(&mut self, index: usize) -> Option<()> {
        let place = self.place(index)?;
        let (first, passes) = match place.kind {
            Kind::Segment | Kind::Any => (bit(index), false),
            Kind::Group => {
                let (mut first, mut open) = (0, true);
                for part in self.parts(index) {
                    if open {
                        first |= self.first(part);
                        open = self.place(part)?.nullable;
                    }
                }
                (first, open)
            }
            Kind::Choice => {
                let (mut first, mut open) = (0, false);
                for part in self.parts(index) {
                    first |= self.first(part);
                    open |= self.place(part)?.nullable;
                }
                (first, open)
            }
        };
        *self.first.get_mut(index)? = first;
        self.places.get_mut(index)?.nullable = place.optional || passes;
        Some(())
    }

    /// What may follow place `leaf`.
    fn follow(&self, leaf: usize) -> Next {
        let mut segments = 0;
        let mut done = leaf;
        while let Some(place) = self.place(done) {
            if place.repeats {
                segments |= self.first(done);
            }
            if done == 0 {
                return Next {
                    segments,
                    end: true,
                };
            }
            for sibling in self.later(done) {
                segments |= self.first(sibling);
                if self.place(sibling).is_some_and(|s| !s.nullable) {
                    let end = false;
                    return Next { segments, end };
                }
            }
            done = place.parent;
        }
        let end = false;
        Next { segments, end }
    }

    /// The first required place that is passed over on the way from `leaf` to the segment `target`,
    /// which comes later in the same turn of all groups around both, or to the end.
    fn passed_over(&self, leaf: usize, target: Option<usize>) -> Option<usize> {
        let inside = |index: usize| {
            let end = self.place(index).map_or(0, |p| p.end);
            target.is_some_and(|t| (index..end).contains(&t))
        };
        let required = |index: &usize| self.place(*index).is_some_and(|p| !p.nullable);
        let mut done = leaf;
        while done != 0 {
            for sibling in self.later(done) {
                if inside(sibling) {
                    return self.before(sibling, target?);
                }
                if required(&sibling) {
                    return Some(sibling);
                }
            }
            done = self.place(done)?.parent;
        }
        None
    }

    /// The first required part of a group that comes before `target` in it.
    fn before(&self, group: usize, target: usize) -> Option<usize> {
        let mut group = group;
        while group != target {
            let is_choice = self.place(group)?.kind == Kind::Choice;
            let mut into = None;
            for part in self.parts(group) {
                let place = self.place(part)?;
                if (part..place.end).contains(&target) {
                    into = Some(part);
                    break;
                }
                if !is_choice && !place.nullable {
                    return Some(part);
                }
            }
            group = into?;
        }
        None
    }

    /// All segments that come later than `leaf` in the same turn of the groups around it, required places between or not.
    fn ahead(&self, leaf: usize) -> u128 {
        let mut ahead = 0;
        let mut done = leaf;
        while done != 0 {
            for sibling in self.later(done) {
                let end = self.place(sibling).map_or(0, |p| p.end);
                ahead |= below(end) & !below(sibling);
            }
            done = self.place(done).map_or(0, |p| p.parent);
        }
        ahead
    }

    /// The places of a set at which this segment may stand.
    fn named(&self, set: u128, name: SegmentId) -> u128 {
        let found = self
            .named
            .binary_search_by_key(&name.number(), |(known, _)| known.number());
        let here = found.ok().and_then(|found| self.named.get(found));
        set & (self.any | here.map_or(0, |(_, places)| *places))
    }

    /// The direct parts of a group.
    fn parts(&self, group: usize) -> impl Iterator<Item = usize> {
        let end = self.place(group).map_or(0, |p| p.end);
        self.from(group.saturating_add(1), end)
    }

    /// The siblings behind a place; alternatives are no siblings.
    fn later(&self, place: usize) -> impl Iterator<Item = usize> {
        let behind = self.place(place).map_or(0, |p| p.end);
        let around = self.place(place).and_then(|p| self.place(p.parent));
        let end = match around {
            Some(around) if around.kind != Kind::Choice => around.end,
            Some(_) | None => 0,
        };
        self.from(behind, end)
    }

    fn from(&self, start: usize, end: usize) -> impl Iterator<Item = usize> {
        let mut at = start;
        std::iter::from_fn(move || {
            let here = at;
            (here < end).then(|| {
                at = self.place(here).map_or(end, |p| p.end);
                here
            })
        })
    }

    fn place(&self, index: usize) -> Option<Place> {
        self.places.get(index).copied()
    }

    fn first(&self, index: usize) -> u128 {
        self.first.get(index).copied().unwrap_or_default()
    }
}

impl<'p> Walk<'p> {
    /// Begins behind the first segment, which is MSH in every structure and in every message.
    pub(super) fn new(plan: &'p Plan) -> Self {
        Self {
            plan,
            at: bit(1),
            last: [(0, NOBODY, 0); KEPT],
            steps: 0,
        }
    }

    /// Takes the next segment. Local segments may stand anywhere; one that a site defines in a place for any segment takes that place.
    pub(super) fn take(&mut self, name: SegmentId) -> Result<(), Fault> {
        let slot = numbers(self.at).next().unwrap_or_default() % KEPT;
        if let Some((at, last, to)) = self.last.get(slot)
            && (*at, *last) == (self.at, name)
        {
            self.at = *to;
            self.steps = self.steps.saturating_add(1);
            return Ok(());
        }
        let next = self.next();
        self.steps = self.steps.saturating_add(1);
        let placed = self.plan.named(next.segments, name);
        if is_local(name) {
            self.at |= placed;
            return Ok(());
        }
        if placed != 0 {
            if let Some(last) = self.last.get_mut(slot) {
                *last = (self.at, name, placed);
            }
            self.at = placed;
            return Ok(());
        }
        Err(self.fault(name))
    }

    /// What is missing where the message ends.
    pub(super) fn finish(&mut self) -> Result<(), Fault> {
        if self.next().end {
            return Ok(());
        }
        // The highest place is the reading that came furthest.
        let missing = numbers(self.at)
            .filter_map(|leaf| self.plan.passed_over(leaf, None))
            .last();
        Err(missing.map_or(Fault::OutOfOrder, Fault::Missing))
    }

    /// How many looks at places it took.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    fn next(&mut self) -> Next {
        let mut all = Next {
            segments: 0,
            end: false,
        };
        for leaf in numbers(self.at) {
            self.steps = self.steps.saturating_add(1);
            let Some(next) = self.plan.next.get(leaf) else {
                continue;
            };
            all.segments |= next.segments;
            all.end |= next.end;
        }
        all
    }

    fn fault(&mut self, name: SegmentId) -> Fault {
        if self.plan.named(self.at, name) != 0 {
            return Fault::Repeated;
        }
        for leaf in numbers(self.at) {
            let ahead = self.plan.named(self.plan.ahead(leaf), name);
            if let Some(target) = numbers(ahead).next()
                && let Some(missing) = self.plan.passed_over(leaf, Some(target))
            {
                self.at = bit(target);
                return Fault::Missing(missing);
            }
        }
        if self.plan.named(below(self.plan.count), name) == 0 {
            Fault::Foreign
        } else {
            Fault::OutOfOrder
        }
    }
}

/// The group or choice that a place of a plan is.
pub(super) fn node_at(structure: Structure, place: usize) -> Option<Node> {
    fn find(nodes: Nodes, left: &mut usize) -> Option<Node> {
        for node in nodes.iter() {
            *left = left.checked_sub(1)?;
            if *left == 0 {
                return Some(node);
            }
            if let NodeKind::Group(parts) | NodeKind::Choice(parts) = node.kind
                && let Some(found) = find(parts, left)
            {
                return Some(found);
            }
        }
        None
    }
    find(structure.nodes(), &mut { place })
}

/// Segments that a site defines.
//= HL7 v2.5.1 2.10.1
pub(super) fn is_local(name: SegmentId) -> bool {
    name.0.starts_with(b"Z")
}

fn bit(index: usize) -> u128 {
    u32::try_from(index)
        .ok()
        .and_then(|index| 1_u128.checked_shl(index))
        .unwrap_or_default()
}

/// All bits lower than this one.
fn below(index: usize) -> u128 {
    bit(index).wrapping_sub(1)
}

/// The bits of a set, lowest first.
fn numbers(set: u128) -> impl Iterator<Item = usize> {
    let mut rest = set;
    std::iter::from_fn(move || {
        let lowest = rest.trailing_zeros();
        rest &= rest.wrapping_sub(1);
        usize::try_from(lowest).ok().filter(|i| *i < MOST)
    })
}

/// Most places of a plan: as many as a set has bits. The largest structure has 127, and its own makes 128.
const MOST: usize = 128;

/// How many steps are kept to be taken again.
const KEPT: usize = 8;

const NOBODY: SegmentId = SegmentId([0; 3]);

const ROOT: Place = Place {
    kind: Kind::Group,
    name: NOBODY,
    optional: false,
    repeats: false,
    nullable: false,
    parent: 0,
    end: 0,
};

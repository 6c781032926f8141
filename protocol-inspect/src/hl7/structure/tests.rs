//! Every structure of every version: what is right passes, each single fault is told where it shows.
//! A slow matcher, written from the meaning of the nodes alone, decides what is right.

use std::collections::BTreeSet;

use super::matcher::{Fault, Plan, Walk};
use super::*;
use crate::Limits;
use crate::hl7::check::findings_of;
use crate::hl7::grammar::{Node, NodeKind, Nodes};

/// Where in the names each reading of a node can end, and the furthest segment that any reading takes.
struct Slow<'a> {
    names: &'a [SegmentId],
    furthest: usize,
}

impl Slow<'_> {
    fn sequence(&mut self, nodes: Nodes, from: BTreeSet<usize>) -> BTreeSet<usize> {
        nodes.iter().fold(from, |ends, node| self.node(node, ends))
    }

    fn node(&mut self, node: Node, from: BTreeSet<usize>) -> BTreeSet<usize> {
        let mut all = from.clone();
        let mut ends = self.once(node, &from);
        if node.min == 0 {
            ends.extend(&from);
        }
        if node.max == 1 {
            return ends;
        }
        // A turn that takes nothing leads nowhere new, so this ends.
        loop {
            let fresh: BTreeSet<usize> = ends.difference(&all).copied().collect();
            if fresh.is_empty() {
                return ends;
            }
            all.extend(&fresh);
            let more = self.once(node, &fresh);
            ends.extend(more);
        }
    }

    fn once(&mut self, node: Node, from: &BTreeSet<usize>) -> BTreeSet<usize> {
        match node.kind {
            NodeKind::Segment(id) => self.one(from, |name| name == id),
            NodeKind::AnySegment => self.one(from, |_| true),
            NodeKind::Group(parts) => self.sequence(parts, from.clone()),
            NodeKind::Choice(parts) => parts
                .iter()
                .flat_map(|part| self.node(part, from.clone()))
                .collect(),
        }
    }

    fn one(&mut self, from: &BTreeSet<usize>, fits: impl Fn(SegmentId) -> bool) -> BTreeSet<usize> {
        let fits = |at: &&usize| self.names.get(**at).is_some_and(|name| fits(*name));
        let ends: BTreeSet<usize> = from.iter().filter(fits).map(|at| at + 1).collect();
        self.furthest = self.furthest.max(ends.last().copied().unwrap_or(0));
        ends
    }
}

/// The first segment that cannot be placed, or the number of segments if the end comes too early; nothing if all is right.
fn slow(structure: Structure, names: &[SegmentId]) -> Option<usize> {
    let mut slow = Slow { names, furthest: 0 };
    let ends = slow.sequence(structure.nodes(), BTreeSet::from([0]));
    (!ends.contains(&names.len())).then_some(slow.furthest)
}

/// The same, by the matcher that is used, with its word for it and the steps that it took.
fn fast(plan: &Plan, names: &[SegmentId]) -> (Option<(usize, Fault)>, usize) {
    let mut walk = Walk::new(plan);
    for (index, name) in names.iter().enumerate().skip(1) {
        if let Err(fault) = walk.take(*name) {
            return (Some((index, fault)), walk.steps());
        }
    }
    let end = walk.finish().err().map(|fault| (names.len(), fault));
    (end, walk.steps())
}

fn structures() -> impl Iterator<Item = (Version, Structure)> {
    Version::all().flat_map(|v| v.structures().map(move |s| (v, s)))
}

/// The same without those that an older version has in the same form.
fn different_structures() -> impl Iterator<Item = (Version, Structure)> {
    let mut seen = BTreeSet::new();
    structures().filter(move |(_, structure)| {
        let nodes = structure.nodes();
        seen.insert((nodes.start(), nodes.len()))
    })
}

/// The segments of a structure: of each choice the first, and of what is optional everything or nothing.
fn walk(nodes: Nodes, all: bool, out: &mut Vec<SegmentId>) {
    for node in nodes.iter().filter(|node| all || node.min > 0) {
        one_of(node, all, out);
    }
}

fn one_of(node: Node, all: bool, out: &mut Vec<SegmentId>) {
    match node.kind {
        NodeKind::Segment(id) => out.push(id),
        NodeKind::AnySegment => out.push(SegmentId(*b"ANY")),
        NodeKind::Group(parts) => walk(parts, all, out),
        NodeKind::Choice(parts) => one_of(parts.get(0).unwrap(), all, out),
    }
}

fn names_of(nodes: Nodes, out: &mut Vec<SegmentId>) {
    for node in nodes.iter() {
        match node.kind {
            NodeKind::Segment(id) => out.push(id),
            NodeKind::AnySegment => {}
            NodeKind::Group(parts) | NodeKind::Choice(parts) => names_of(parts, out),
        }
    }
}

fn samples(structure: Structure) -> [Vec<SegmentId>; 2] {
    [false, true].map(|all| {
        let mut names = Vec::new();
        walk(structure.nodes(), all, &mut names);
        names
    })
}

/// Both say the same of the same names. None of them is local: the slow one does not know that those are free.
fn agree(version: Version, structure: Structure, plan: &Plan, names: &[SegmentId]) -> bool {
    let right = slow(structure, names);
    let (said, _) = fast(plan, names);
    assert_eq!(
        said.map(|(index, _)| index),
        right,
        "{version:?} {structure:?} {names:?}: {said:?}"
    );
    right.is_none()
}

#[test]
fn every_structure_fits_and_begins_with_the_header() {
    let mut count = 0;
    for (version, structure) in structures() {
        assert!(Plan::new(structure).is_some(), "{version:?} {structure:?}");
        let first = structure.nodes().get(0).unwrap();
        assert_eq!(first.kind, NodeKind::Segment(SegmentId(*b"MSH")));
        assert_eq!((first.min, first.max), (1, 1));
        count += 1;
    }
    assert!(count > 2_000, "{count}");
}

#[test]
fn the_least_and_the_most_of_every_structure_pass() {
    for (version, structure) in structures() {
        let plan = Plan::new(structure).unwrap();
        for names in samples(structure) {
            assert!(agree(version, structure, &plan, &names), "{names:?}");
        }
    }
}

#[test]
fn every_single_fault_is_told_where_it_shows() {
    let (mut wrong, mut right) = (0, 0);
    let mut count = |accepted: bool| {
        if accepted {
            right += 1;
        } else {
            wrong += 1;
        }
    };
    let foreign = SegmentId(*b"QQQ");
    for (version, structure) in different_structures() {
        let plan = Plan::new(structure).unwrap();
        for names in samples(structure) {
            for index in 1..names.len() {
                let mut deleted = names.clone();
                deleted.remove(index);
                count(agree(version, structure, &plan, &deleted));
                let mut twice = names.clone();
                twice.insert(index, names[index]);
                count(agree(version, structure, &plan, &twice));
                let mut swapped = names.clone();
                swapped.swap(index, index.max(2) - 1);
                count(agree(version, structure, &plan, &swapped));
                let mut inserted = names.clone();
                inserted.insert(index, foreign);
                count(agree(version, structure, &plan, &inserted));
            }
        }
    }
    // The grammar takes some of them: optional segments deleted, repeatable ones repeated.
    assert!(wrong > right && right > 10_000, "{wrong} {right}");
}

#[test]
fn agrees_with_the_slow_matcher_on_random_messages() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    let (mut accepted, mut refused) = (0, 0);
    for (version, structure) in different_structures() {
        let plan = Plan::new(structure).unwrap();
        let mut names = Vec::new();
        names_of(structure.nodes(), &mut names);
        let [least, most] = samples(structure);
        for _ in 0..20 {
            // Pieces of right messages one after another, with a few random names: often right, often nearly.
            let mut message = least.clone();
            for _ in 0..random(4) {
                let piece = if random(2) == 0 { &least } else { &most };
                let from = random(piece.len());
                let to = from + random(piece.len() - from + 1);
                let at = 1 + random(message.len());
                message.splice(at..at, piece[from..to].iter().copied());
            }
            for _ in 0..random(2) {
                let at = 1 + random(message.len());
                message.insert(at, names[random(names.len())]);
            }
            if agree(version, structure, &plan, &message) {
                accepted += 1;
            } else {
                refused += 1;
            }
        }
    }
    assert!(accepted > 3_000 && refused > 3_000, "{accepted} {refused}");
}

/// No more than the head of the matcher promises, on the worst that each structure can be given:
/// its own parts again and again, single names again and again, and the structures on which other engines hang.
#[test]
fn ten_thousand_segments_cost_no_more_than_promised() {
    let mut worst = 0;
    for (version, structure) in different_structures() {
        let mut names = Vec::new();
        names_of(structure.nodes(), &mut names);
        if names.len() < 75 && structure.name().as_str() != "OML_O21" {
            continue;
        }
        let plan = Plan::new(structure).unwrap();
        let [least, most] = samples(structure);
        let mut inputs = vec![least[1..].to_vec(), most[1..].to_vec()];
        let distinct: BTreeSet<SegmentId> = names.iter().copied().collect();
        inputs.extend(distinct.iter().map(|name| vec![*name]));
        inputs.push([b"ORC", b"OBR"].map(|n| SegmentId(*n)).to_vec());
        for input in inputs {
            let mut walk = Walk::new(&plan);
            // Nobody goes on after so many faults, but here it does.
            for name in input.iter().cycle().take(10_000) {
                let _ = walk.take(*name);
            }
            let most = 129 * 10_000;
            assert!(walk.steps() <= most, "{version:?} {structure:?} {input:?}");
            worst = worst.max(walk.steps());
        }
    }
    // What really happens is far below the promise.
    assert!(worst < 128 * 10_000, "{worst}");
}

/// What is said of the structure of a message whose segments are given by name.
fn say(version: &str, event: &str, segments: &str) -> String {
    let mut text = format!("MSH|^~\\&|A|B|C|D|20260101||{event}|1|P|{version}\r");
    for name in segments.split(' ').filter(|name| !name.is_empty()) {
        text.push_str(name);
        text.push('\r');
    }
    let message = Message::read(text.as_bytes(), &Limits::default()).unwrap();
    let mut findings = Findings::default();
    judge(&message, &mut findings);
    let said: Vec<String> = findings
        .others
        .iter()
        .map(|f| {
            assert!(f.weight <= Weight::Strict);
            format!("{} {}", f.code.code(), f.refusal())
        })
        .collect();
    said.join("; ")
}

#[test]
fn says_where_and_of_which_group() {
    let missing = "is required by group ORDER_OBSERVATION of ORU_R01 and missing";
    for (event, segments, said) in [
        ("ORU^R01", "PID OBR OBX OBX NTE OBR", String::new()),
        ("ORU^R01^ORU_R01", "OBR", String::new()),
        ("ORU^R01", "PID OBX", format!("100 OBR (byte 47): {missing}")),
        ("ORU^R01", "PID", format!("100 OBR (byte 47): {missing}")),
        ("ORU^R01", "PID OBR ORC TQ1", format!("100 OBR[2] (byte 55): {missing}")),
        ("ORU^R01", "PID PID OBR", "100 PID[2] (byte 47): may not be repeated here in ORU_R01".into()),
        ("ORU^R01", "PID OBR PD1", "100 PD1 (byte 51): is out of order in ORU_R01".into()),
        (
            "ORU^R01",
            "PID OBR RXA OBX RXA",
            "100 RXA (byte 51): is no segment of ORU_R01; 100 RXA[2] (byte 59): is no segment of ORU_R01".into(),
        ),
        ("ORU^R01^ORU_R30", "OBR", "200 MSH-9.3: is not the structure of this event in this version".into()),
        ("ACK^R01", "MSA ERR", String::new()),
        ("ACK^R01", "ERR", "100 MSA (byte 43): is required by ACK and missing".into()),
    ] {
        assert_eq!(say("2.5", event, segments), said, "{event} {segments}");
    }
}

#[test]
fn local_segments_stand_anywhere() {
    assert_eq!(say("2.5", "ORU^R01", "PID ZAA OBR ZBB OBX ZAA"), "");
    // Where the standard leaves a place to the site, it is that place; and elsewhere it does not fill it.
    assert_eq!(say("2.5", "MFN^M01", "MFI MFE ZAA MFE"), "");
}

#[test]
fn an_event_that_the_version_does_not_know_cannot_be_judged() {
    let event = "201 MSH-9.2: is not an event of this type in this version";
    let twice = format!("{event}; 100 RXA (byte 55): is no segment of ORU_R01");
    for (version, type_, said) in [
        ("2.3", "ORU^R30", event),
        (
            "2.5",
            "ORU^R30^ORU_R30",
            "100 RXA (byte 55): is no segment of ORU_R30",
        ),
        (
            "2.5",
            "ZZZ^Z01",
            "200 MSH-9.1: is not a message type of this version",
        ),
        ("2.5", "ORU^Z01", event),
        ("2.5", "ORU^Z01^ORU_R01", &twice),
        ("9.9", "ORU^R01", ""),
    ] {
        let told = say(version, type_, "PID RXA");
        let told = told.split("; 100 O").next().unwrap();
        assert_eq!(told, said, "{type_}");
    }
}

#[test]
fn faults_without_end_are_not_told_without_end() {
    let many = "QQQ ".repeat(1_000);
    assert_eq!(say("2.5", "ORU^R01", &many).split("; ").count(), 8);
    let text = format!(
        "MSH|^~\\&|A|B|C|D|20260101||ORU^R01|1|P|2.5\r{}",
        "QQQ\r".repeat(1_000)
    );
    let findings = findings_of(&text, &Limits::default());
    assert!(findings.others.len() < 16);
}

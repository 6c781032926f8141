//! The tables, and the judge against instances made from them.

mod cases;
mod groups;

use std::collections::BTreeMap;

use dicom_core::Tag;
use dicom_core::header::VR;

use super::blob;
use super::condition;
use super::groups as frames;
use super::item::{EMPTY, MISSING};
use super::tables::{self, Condition, Iod, LevelId, Type, Usage};
use super::{Judge, Tell, Value, number, tag};
use crate::severity::Weight;
use crate::{Reason, Refusal};

/// A level: the data set, or an item.
type Level = BTreeMap<u32, Node>;

#[derive(Clone, Debug)]
enum Node {
    Value(VR, Vec<u8>),
    Items(Vec<Level>),
}

/// What was found: the path of sequences, the tag, weight and detail.
type Finding = (Vec<u32>, u32, Weight, &'static str);

#[derive(Default)]
struct Collected {
    path: Vec<u32>,
    found: Vec<Finding>,
    /// What is refused at once.
    refused: Option<Weight>,
}

impl Tell for Collected {
    fn finding(&mut self, tag: Tag, weight: Weight, detail: &'static str) -> Result<(), Refusal> {
        self.found
            .push((self.path.clone(), number(tag), weight, detail));
        if self.refused.is_some_and(|refused| weight >= refused) {
            return Err(Refusal {
                reason: Reason::Field,
                location: String::new(),
                detail: detail.to_owned(),
            });
        }
        Ok(())
    }
}

fn judge(class: &str, data_set: &Level) -> Vec<Finding> {
    let mut judge = Judge::new(class).unwrap();
    let mut tell = Collected::default();
    walk(&mut judge, data_set, &mut tell);
    judge.finish(&mut tell).unwrap();
    tell.found
}

fn walk(judge: &mut Judge, level: &Level, tell: &mut Collected) {
    for (place, node) in level {
        match node {
            Node::Value(vr, bytes) => {
                let value = value(*place, *vr, bytes);
                judge.element(&value, tell).unwrap();
            }
            Node::Items(items) => {
                judge.open_sequence(tag(*place), tell).unwrap();
                tell.path.push(*place);
                for item in items {
                    judge.open_item();
                    walk(judge, item, tell);
                    judge.close_item(tell).unwrap();
                }
                tell.path.pop();
                judge.close_sequence();
            }
        }
    }
}

fn value(place: u32, vr: VR, bytes: &[u8]) -> Value<'_> {
    Value {
        tag: tag(place),
        vr,
        length: u32::try_from(bytes.len()).unwrap(),
        bytes,
        big_endian: false,
    }
}

/// Something that stands for a value: one that all modules of the class allow, if they enumerate some.
fn filled(class: &str, place: u32, rule: &tables::AttributeRule) -> Node {
    if place == 0x0008_0016 {
        return Node::Value(VR::UI, class.as_bytes().to_vec());
    }
    let mut allowed: BTreeMap<u8, Vec<&str>> = BTreeMap::new();
    for (component, terms) in rules(class, place, rule)
        .iter()
        .flat_map(tables::AttributeRule::values)
    {
        let terms: Vec<&str> = terms.map(|term| str::from_utf8(term).unwrap()).collect();
        let known = allowed.entry(component).or_insert_with(|| terms.clone());
        known.retain(|term| terms.contains(term));
    }
    let count = allowed.keys().copied().max().unwrap_or_default().max(1);
    let component = |number| {
        allowed
            .get(&number)
            .or(allowed.get(&0))
            .map_or("1", |terms| terms[0])
    };
    let parts: Vec<&str> = (1..=count).map(component).collect();
    let numeric = !allowed.is_empty() && parts.iter().all(|part| part.parse::<i64>().is_ok());
    let vr = if numeric { VR::IS } else { VR::CS };
    Node::Value(vr, parts.join("\\").into_bytes())
}

/// The one given, and those of the modules for an attribute of that name in the data set itself.
fn rules(class: &str, place: u32, rule: &tables::AttributeRule) -> Vec<tables::AttributeRule> {
    let modules = Iod::of(class).unwrap().modules();
    let mandatory = modules.filter(|module| module.usage() == Usage::Mandatory);
    let rows = mandatory.filter_map(|module| find(module.level(), place));
    let mut rules: Vec<tables::AttributeRule> =
        rows.filter_map(|row| tables::rule(row).get()).collect();
    rules.push(*rule);
    rules
}

/// All that is required without a condition, at every level.
fn required(class: &str, level: LevelId, depth: usize) -> Level {
    assert!(depth < 12, "sequences that require each other");
    let rows = level.rows().iter();
    rows.filter_map(|row| {
        let rule = tables::rule(row).get().unwrap();
        let needed = matches!(rule.kind, Type::Required | Type::Present);
        let node = || node(class, row, &rule, depth);
        needed.then(|| (tables::tag(row), node()))
    })
    .collect()
}

fn node(class: &str, row: &tables::Row, rule: &tables::AttributeRule, depth: usize) -> Node {
    if tables::items(row) == LevelId::default() {
        return filled(class, tables::tag(row), rule);
    }
    Node::Items(vec![required(class, tables::items(row), depth + 1)])
}

/// The least instance of a SOP class: what is required, then whatever conditions ask for on top.
fn least(class: &str) -> Level {
    let iod = Iod::of(class).unwrap();
    let mut data_set = Level::new();
    for module in iod.modules() {
        if module.usage() == Usage::Mandatory {
            merge(&mut data_set, required(class, module.level(), 0));
        }
    }
    let groups = tables::groups(class).map(|group| group.tag);
    let frame: Level = groups
        .map(|group| (group, Node::Items(vec![Level::new()])))
        .collect();
    if !frame.is_empty() {
        let frames = Level::from([(frames::PER_FRAME, Node::Items(vec![frame]))]);
        data_set.remove(&frames::PER_FRAME);
        merge(&mut data_set, frames);
    }
    for _ in 0..8 {
        let missing: Vec<Finding> = judge(class, &data_set)
            .into_iter()
            .filter(|(_, _, weight, _)| *weight >= Weight::Notice)
            .collect();
        for (path, place, _, _) in &missing {
            add(class, iod, &mut data_set, path, *place);
        }
        if missing.is_empty() {
            break;
        }
    }
    data_set
}

/// Puts an attribute into every item along a path.
fn add(class: &str, iod: Iod, data_set: &mut Level, path: &[u32], place: u32) {
    let mut levels: Vec<LevelId> = iod.modules().map(|module| module.level()).collect();
    let mut here = vec![data_set];
    for sequence in path {
        levels = levels
            .iter()
            .flat_map(|level| find(*level, *sequence))
            .map(tables::items)
            .collect();
        levels.extend(iod.items_of(*sequence));
        here = here
            .into_iter()
            .flat_map(|level| match level.get_mut(sequence) {
                Some(Node::Items(items)) => items.iter_mut().collect(),
                Some(Node::Value(..)) | None => Vec::new(),
            })
            .collect();
    }
    let row = levels.iter().find_map(|level| find(*level, place)).unwrap();
    let rule = tables::rule(row).get().unwrap();
    for level in here {
        level
            .entry(place)
            .or_insert_with(|| node(class, row, &rule, path.len()));
    }
}

fn find(level: LevelId, place: u32) -> Option<&'static tables::Row> {
    level.rows().iter().find(|row| tables::tag(row) == place)
}

/// What several modules say of a level.
fn merge(into: &mut Level, from: Level) {
    for (place, node) in from {
        match (into.get_mut(&place), node) {
            (Some(Node::Items(old)), Node::Items(new)) => {
                for (old, new) in old.iter_mut().zip(new) {
                    merge(old, new);
                }
            }
            (_, node) => {
                into.insert(place, node);
            }
        }
    }
}

fn sop_classes() -> impl Iterator<Item = &'static str> {
    let uid = |[a, b, _, _]: &[u8; 4]| blob::string(u16::from_le_bytes([*a, *b]));
    blob::SOP_CLASSES.iter().map(uid)
}

/// Worth a refusal by the strict profile.
fn wrong(found: &[Finding]) -> Vec<&Finding> {
    let heavy = |finding: &&Finding| finding.2 >= Weight::Strict;
    found.iter().filter(heavy).collect()
}

#[test]
fn the_least_instance_of_every_class_is_accepted() {
    for class in sop_classes() {
        let found = judge(class, &least(class));
        assert_eq!(wrong(&found), Vec::<&Finding>::new(), "{class}");
    }
}

/// Every attribute of a level that no condition asks for, with the path of sequences above it.
fn places(class: &str) -> Vec<(Vec<u32>, u32, Type)> {
    let mut places = Vec::new();
    for module in Iod::of(class).unwrap().modules() {
        if module.usage() == Usage::Mandatory {
            collect(module.level(), &mut Vec::new(), &mut places);
        }
    }
    places
}

fn collect(level: LevelId, path: &mut Vec<u32>, places: &mut Vec<(Vec<u32>, u32, Type)>) {
    for row in level.rows() {
        let kind = tables::rule(row).get().unwrap().kind;
        if !matches!(kind, Type::Required | Type::Present) {
            continue;
        }
        places.push((path.clone(), tables::tag(row), kind));
        path.push(tables::tag(row));
        collect(tables::items(row), path, places);
        path.pop();
    }
}

fn at<'l>(level: &'l mut Level, path: &[u32]) -> &'l mut Level {
    path.iter().fold(level, |level, sequence| {
        match level.get_mut(sequence).unwrap() {
            Node::Items(items) => items.first_mut().unwrap(),
            Node::Value(..) => panic!("no sequence"),
        }
    })
}

#[test]
fn what_an_instance_lacks_is_found_at_its_place() {
    let mut mutants = 0;
    for class in sop_classes() {
        let least = least(class);
        let places = places(class);
        for (path, place, kind) in places.iter().cloned() {
            // What several modules say of a sequence may be less than what one of them says.
            let shared = path
                .first()
                .is_some_and(|first| Iod::of(class).unwrap().items_of(*first).is_some());
            if shared {
                continue;
            }
            let mut mutant = least.clone();
            let removed = at(&mut mutant, &path).remove(&place);
            assert!(removed.is_some(), "{class} {path:08x?} {place:08x}");
            expect(class, &mutant, (&path, place, MISSING));
            let empty = match removed.unwrap() {
                Node::Value(vr, _) => Node::Value(vr, Vec::new()),
                Node::Items(_) => Node::Items(Vec::new()),
            };
            at(&mut mutant, &path).insert(place, empty);
            let strictest = places
                .iter()
                .all(|other| (&other.0, other.1) != (&path, place) || other.2 == kind);
            if kind == Type::Required {
                expect(class, &mutant, (&path, place, EMPTY));
            } else if strictest {
                let found = judge(class, &mutant);
                let named = found
                    .iter()
                    .find(|found| found.0 == path && found.1 == place);
                assert_eq!(named, None, "{class}");
            }
            mutants += 2;
        }
    }
    println!("{mutants} mutants");
    assert!(mutants > 10_000);
}

fn expect(class: &str, mutant: &Level, (path, place, detail): (&[u32], u32, &str)) {
    let found = judge(class, mutant);
    let groups = [0x5200_9229, 0x5200_9230];
    let identity = [0x0008_0016, 0x0008_0018, 0x0020_000d, 0x0020_000e];
    let weight = match path {
        [] if identity.contains(&place) => Weight::Content,
        [first, ..] if groups.contains(first) => Weight::Notice,
        _ => Weight::Strict,
    };
    let named = found.iter().any(|finding| {
        (finding.0.as_slice(), finding.1, finding.2, finding.3) == (path, place, weight, detail)
    });
    assert!(
        named,
        "{class} {path:08x?} {place:08x} {detail}: {found:08x?}"
    );
}

#[test]
fn the_blob_fits_its_checksum_and_its_head() {
    let (head, rest) = blob::BLOB.split_at(8);
    assert_eq!(&head[..4], b"IODT");
    let sum = u32::from_le_bytes(head[4..].try_into().unwrap());
    assert_eq!(crc(rest), sum);
    assert_eq!(u16::from_le_bytes([rest[0], rest[1]]), 2);
    assert_eq!(u16::from_le_bytes([rest[2], rest[3]]), 18);
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(!0, step)
}

#[test]
fn every_number_in_the_tables_leads_somewhere() {
    for class in sop_classes() {
        let iod = Iod::of(class).unwrap_or_else(|| panic!("{class}"));
        assert!(iod.modules().count() > 0, "{class}");
        assert!(
            iod.modules()
                .all(|module| !module.level().rows().is_empty()),
            "{class}"
        );
    }
    for level in (1..).map(LevelId).take(blob::LEVELS.len()) {
        let tags: Vec<u32> = level.rows().iter().map(tables::tag).collect();
        assert!(tags.is_sorted_by(|one, two| one < two), "{level:?}");
        for row in level.rows() {
            let rule = tables::rule(row).get().unwrap();
            let items = tables::items(row);
            assert!(items == LevelId::default() || !items.rows().is_empty());
            assert!(
                rule.values()
                    .all(|(_, terms)| (1..=64).contains(&terms.count()))
            );
            assert!(rule.watched().count() <= 62);
            let asks = matches!(rule.kind, Type::Required | Type::Present)
                || (rule.kind != Type::Optional && rule.condition.is_some());
            assert_eq!(asks, !tables::rule(row).lets_be_absent());
            if let Some(condition) = rule.condition {
                assert!(condition.steps().count() > 0);
                balanced(condition);
            }
        }
    }
}

/// Steps leave one result, never take from an empty stack and never fill it.
fn balanced(condition: Condition) {
    let mut height = 0;
    for step in condition.steps() {
        match step {
            tables::Step::Test { .. } => height += 1,
            tables::Step::Not => {}
            tables::Step::And | tables::Step::Or => height -= 1,
        }
        assert!((1..=i32::try_from(tables::MAX_STACK).unwrap()).contains(&height));
    }
    assert_eq!(height, 1);
    assert_eq!(condition::holds(condition, |_| None), None);
}

/// Judged one after the other, each as the first of its kind.
fn found_in_turns(class: &str, sequence: u32, kinds: &[Level]) -> Vec<Vec<Finding>> {
    let mut judge = Judge::new(class).unwrap();
    let mut tell = Collected::default();
    judge.open_sequence(tag(sequence), &mut tell).unwrap();
    let mut each = Vec::new();
    for kind in kinds.iter().cycle().take(100 * kinds.len()) {
        let mut tell = Collected::default();
        judge.open_item();
        walk(&mut judge, kind, &mut tell);
        judge.close_item(&mut tell).unwrap();
        each.push(tell.found);
    }
    for turn in each.chunks(kinds.len()) {
        assert_eq!(turn, &each[..kinds.len()]);
    }
    each.truncate(kinds.len());
    each
}

#[test]
fn equal_items_are_judged_alike() {
    let code = |text: &str| Node::Value(VR::CS, text.as_bytes().to_vec());
    let item = |kind: &str| {
        Level::from([
            (0x0040_a010, code("CONTAINS")),
            (0x0040_a040, code(kind)),
            (0x0040_a043, Node::Items(vec![Level::new()])),
        ])
    };
    let kinds = ["TEXT", "DATE", "TIME", "UIDREF", "CONTAINER"].map(item);
    let found = found_in_turns("1.2.840.10008.5.1.4.1.1.88.33", 0x0040_a730, &kinds);
    for (place, missing) in [0x0040_a160, 0x0040_a121, 0x0040_a122, 0x0040_a124]
        .into_iter()
        .enumerate()
    {
        assert!(found[place].iter().any(|(_, tag, ..)| *tag == missing));
        assert!(found[place].iter().any(|(path, ..)| path == &[0x0040_a043]));
    }
}

/// The inner items are equal; what they must have, the outer ones say.
#[test]
fn equal_items_in_others_are_judged_by_those() {
    let observed = |vr: &str| {
        Level::from([
            (0x0072_0050, Node::Value(VR::CS, vr.as_bytes().to_vec())),
            (0x0082_0010, Node::Items(vec![Level::new()])),
        ])
    };
    let observation = |vr| Level::from([(0x0082_000c, Node::Items(vec![observed(vr)]))]);
    let kinds = ["LO", "SH", "LT"].map(observation);
    let found = found_in_turns("1.2.840.10008.5.1.4.1.1.90.1", 0x0082_0007, &kinds);
    let inner = |found: &[Finding]| -> Vec<u32> {
        let inner = found.iter().filter(|(path, ..)| path.len() == 2);
        inner.map(|(_, tag, ..)| *tag).collect()
    };
    assert_ne!(inner(&found[0]), inner(&found[1]));
    assert_ne!(inner(&found[1]), inner(&found[2]));
}

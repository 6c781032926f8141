//! Functional groups: each fault beside its nearest right twin.

use dicom_core::header::VR;

use super::*;
use crate::dicom::iod::groups::{BOTH, MORE_SHARED, NEITHER, OTHER_NUMBER, PER_FRAME, SHARED};

const ENHANCED_CT: &str = "1.2.840.10008.5.1.4.1.1.2.1";
const SLIDE: &str = "1.2.840.10008.5.1.4.1.1.77.1.6";
const SEGMENTATION: &str = "1.2.840.10008.5.1.4.1.1.66.4";
/// Frame Content, Frame Anatomy, Pixel Measures.
const CONTENT: u32 = 0x0020_9111;
const ANATOMY: u32 = 0x0020_9071;
const MEASURES: u32 = 0x0028_9110;

fn mandatory(class: &str) -> Vec<u32> {
    tables::groups(class).map(|group| group.tag).collect()
}

/// An item with these groups.
fn holding(groups: &[u32]) -> Level {
    let group = |tag: &u32| (*tag, Node::Items(vec![Level::new()]));
    groups.iter().map(group).collect()
}

/// What is found of groups in an instance with these shared and per-frame items.
fn found(class: &str, changes: &[(u32, Node)]) -> Vec<(Vec<u32>, u32, Weight, &'static str)> {
    let mut data_set = least(class);
    data_set.remove(&PER_FRAME);
    data_set.extend(changes.iter().cloned());
    let mut found = judge(class, &data_set);
    found.retain(|finding| crate::dicom::iod::groups::DETAILS.contains(&finding.3));
    found
}

fn frames(told: &str, items: &[Level]) -> [(u32, Node); 2] {
    let number = Node::Value(VR::IS, told.as_bytes().to_vec());
    [
        (0x0028_0008, number),
        (PER_FRAME, Node::Items(items.to_vec())),
    ]
}

fn shared(items: &[Level]) -> (u32, Node) {
    (SHARED, Node::Items(items.to_vec()))
}

#[test]
fn a_mandatory_group_is_shared_or_of_every_frame() {
    let all = mandatory(ENHANCED_CT);
    assert!(
        all.contains(&CONTENT) && all.contains(&ANATOMY),
        "{all:08x?}"
    );
    let but =
        |group: u32| -> Vec<u32> { all.iter().copied().filter(|own| *own != group).collect() };
    let with = |common: &[u32], each: &[Level]| {
        let [number, frames] = frames("2", each);
        found(ENHANCED_CT, &[number, frames, shared(&[holding(common)])])
    };
    let own = holding(&[CONTENT]);
    assert_eq!(with(&but(CONTENT), &[own.clone(), own.clone()]), []);
    assert_eq!(with(&[], &[holding(&all), holding(&all)]), []);
    // One frame lacks it.
    let lacking = (vec![PER_FRAME], CONTENT, Weight::Strict, NEITHER);
    let found = with(&but(CONTENT), &[own.clone(), Level::new()]);
    assert_eq!(found, [lacking]);
    // An empty sequence holds no group.
    let empty = Level::from([(CONTENT, Node::Items(Vec::new()))]);
    assert_eq!(with(&but(CONTENT), &[own.clone(), empty]).len(), 1);
    // All frames have it, and it is shared.
    let both = holding(&[CONTENT, ANATOMY]);
    let twice = (vec![PER_FRAME], ANATOMY, Weight::Strict, BOTH);
    assert_eq!(with(&but(CONTENT), &[own, both]), [twice]);
    // What stands deeper is no group.
    let deep = |group| (group, Node::Items(vec![holding(&[CONTENT])]));
    let frame = Level::from([deep(ANATOMY)]);
    let found = with(&but(ANATOMY), &[frame.clone(), frame]);
    assert_eq!(found, []);
}

#[test]
fn there_are_as_many_items_as_frames() {
    let all = mandatory(ENHANCED_CT);
    let with = |told: &str, count: usize| {
        let [number, frames] = frames(told, &vec![Level::new(); count]);
        found(ENHANCED_CT, &[number, frames, shared(&[holding(&all)])])
    };
    assert_eq!(with("3", 3), []);
    let other = (Vec::new(), PER_FRAME, Weight::Content, OTHER_NUMBER);
    assert_eq!(with("3", 2), std::slice::from_ref(&other));
    assert_eq!(with("3", 4), [other]);
    // That it is no number is told where values are judged.
    assert_eq!(with("many", 2), []);
}

#[test]
fn shared_groups_have_one_item() {
    let all = mandatory(ENHANCED_CT);
    let with = |items: &[Level]| {
        let [number, frames] = frames("1", &[Level::new()]);
        found(ENHANCED_CT, &[number, frames, shared(items)])
    };
    assert_eq!(with(&[holding(&all)]), []);
    let found = with(&[holding(&all), Level::new(), Level::new()]);
    let (place, weight, detail) = (SHARED, Weight::Strict, MORE_SHARED);
    let same = |finding: &Finding| (finding.1, finding.2, finding.3) == (place, weight, detail);
    assert!(found.len() == 1 && found.iter().all(same), "{found:08x?}");
}

#[test]
fn frames_that_fill_a_plane_need_no_items() {
    let tiled = |value: &str| (0x0020_9311, Node::Value(VR::CS, value.as_bytes().to_vec()));
    assert_eq!(mandatory(SEGMENTATION), [CONTENT]);
    assert_eq!(found(SEGMENTATION, &[tiled("TILED_FULL")]), []);
    let lacking = (Vec::new(), CONTENT, Weight::Strict, NEITHER);
    assert_eq!(found(SEGMENTATION, &[tiled("TILED_SPARSE")]), [lacking]);
    // What is the same for all of them is shared all the same.
    let measures = (Vec::new(), MEASURES, Weight::Strict, NEITHER);
    let all = mandatory(SLIDE);
    let rest: Vec<u32> = all.iter().copied().filter(|own| *own != MEASURES).collect();
    let with = |groups: &[u32]| found(SLIDE, &[tiled("TILED_FULL"), shared(&[holding(groups)])]);
    assert_eq!(with(&all), []);
    assert_eq!(with(&rest), [measures]);
}

#[test]
fn what_is_kept_does_not_grow_with_the_frames() {
    let mut judge = Judge::new(ENHANCED_CT).unwrap();
    let mut tell = Collected::default();
    for sequence in [SHARED, PER_FRAME] {
        judge.open_sequence(tag(sequence), &mut tell).unwrap();
        for _ in 0..200 {
            judge.open_item();
            for group in 0x0018_9000..0x0018_9100 {
                judge.open_sequence(tag(group), &mut tell).unwrap();
                judge.close_sequence();
            }
            judge.close_item(&mut tell).unwrap();
        }
        judge.close_sequence();
    }
    let said = format!("{:?}", judge.groups);
    assert!(said.len() < 8_000, "{}", said.len());
}

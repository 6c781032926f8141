//! Conditions, modules, enumerated values, content trees: each fault beside its nearest right twin.

use dicom_core::header::VR;

use super::*;
use crate::dicom::iod::item::{EMPTY_HERE, FORBIDDEN, MISSING_HERE, OUTSIDE};
use crate::dicom::iod::root::FOREIGN;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const US: &str = "1.2.840.10008.5.1.4.1.1.6.1";
const DX: &str = "1.2.840.10008.5.1.4.1.1.1.1";
const NM: &str = "1.2.840.10008.5.1.4.1.1.20";
const SR: &str = "1.2.840.10008.5.1.4.1.1.88.33";
const ENHANCED_CT: &str = "1.2.840.10008.5.1.4.1.1.2.1";

const CONTENT: u32 = 0x0040_a730;

fn text(value: &str) -> Node {
    Node::Value(VR::CS, value.as_bytes().to_vec())
}

fn short(value: u16) -> Node {
    Node::Value(VR::US, value.to_le_bytes().to_vec())
}

fn with(class: &str, changes: &[(u32, Node)]) -> Vec<Finding> {
    let mut data_set = least(class);
    data_set.extend(changes.iter().cloned());
    judge(class, &data_set)
}

fn weight_of(found: &[Finding], place: u32, detail: &str) -> Option<Weight> {
    let named = found
        .iter()
        .find(|finding| finding.1 == place && finding.3 == detail);
    named.map(|finding| finding.2)
}

#[test]
fn what_a_condition_asks_for() {
    let strict = Some(Weight::Strict);
    let planar = |samples| {
        with(
            CT,
            &[(0x0028_0002, short(samples)), (0x0028_0004, text("RGB"))],
        )
    };
    assert_eq!(weight_of(&planar(3), 0x0028_0006, MISSING_HERE), strict);
    assert_eq!(weight_of(&planar(1), 0x0028_0006, MISSING_HERE), None);

    let lossy = |value| with(DX, &[(0x0028_2110, text(value))]);
    assert_eq!(weight_of(&lossy("01"), 0x0028_2112, MISSING_HERE), strict);
    assert_eq!(weight_of(&lossy("00"), 0x0028_2112, MISSING_HERE), None);

    // Pixel data is required unless a URL provides it.
    let mut data_set = least(CT);
    data_set.remove(&0x7fe0_0010);
    assert_eq!(
        weight_of(&judge(CT, &data_set), 0x7fe0_0010, MISSING_HERE),
        strict
    );
    data_set.insert(0x7fe0_0010, text(""));
    assert_eq!(
        weight_of(&judge(CT, &data_set), 0x7fe0_0010, EMPTY_HERE),
        strict
    );
    data_set.remove(&0x7fe0_0010);
    data_set.insert(0x0028_7fe0, text("https://example.org"));
    assert_eq!(
        weight_of(&judge(CT, &data_set), 0x7fe0_0010, MISSING_HERE),
        None
    );
}

#[test]
fn what_is_present_without_its_condition() {
    let planar = |samples| {
        let changes = [(0x0028_0002, short(samples)), (0x0028_0006, short(0))];
        weight_of(&with(CT, &changes), 0x0028_0006, FORBIDDEN)
    };
    assert_eq!(planar(1), Some(Weight::Hint));
    assert_eq!(planar(3), None);
}

#[test]
fn modules_that_depend_on_a_value() {
    let palette = |value| with(US, &[(0x0028_0004, text(value))]);
    let strict = Some(Weight::Strict);
    assert_eq!(
        weight_of(&palette("PALETTE COLOR"), 0x0028_1101, MISSING),
        strict
    );
    assert_eq!(weight_of(&palette("RGB"), 0x0028_1101, MISSING), None);

    let kind = |value| with(NM, &[(0x0008_0008, text(value))]);
    assert_eq!(
        weight_of(&kind("ORIGINAL\\PRIMARY\\TOMO"), 0x0054_0022, MISSING),
        None
    );
    let tomo = kind("ORIGINAL\\PRIMARY\\RECON TOMO\\EMISSION");
    let stat = kind("ORIGINAL\\PRIMARY\\STATIC\\EMISSION");
    assert!(wrong(&tomo).len() > wrong(&stat).len(), "{tomo:08x?}");

    // Rotations are for tomographic images only, though the standard does not say so in so many words.
    let rotations = |value| {
        let changes = [
            (0x0008_0008, text(value)),
            (0x0054_0052, Node::Items(Vec::new())),
        ];
        weight_of(&with(NM, &changes), 0x0054_0052, FOREIGN)
    };
    assert_eq!(
        rotations("ORIGINAL\\PRIMARY\\STATIC\\EMISSION"),
        Some(Weight::Hint)
    );
    assert_eq!(rotations("ORIGINAL\\PRIMARY\\TOMO\\EMISSION"), None);
}

#[test]
fn a_user_module_is_judged_only_if_it_is_used_and_only_warns() {
    // Clinical trial: sponsor name and protocol id are its own type 1, protocol name type 2.
    let used = with(CT, &[(0x0012_0010, text("SPONSOR"))]);
    assert_eq!(weight_of(&used, 0x0012_0020, MISSING), Some(Weight::Notice));
    assert_eq!(weight_of(&used, 0x0012_0021, MISSING), Some(Weight::Notice));
    assert_eq!(wrong(&used), Vec::<&Finding>::new());
    // An optional attribute of it does not show that it is used.
    let unused = with(CT, &[(0x0012_0081, text("COMMITTEE"))]);
    assert_eq!(weight_of(&unused, 0x0012_0020, MISSING), None);
}

#[test]
fn enumerated_values() {
    let signs = |value| with(CT, &[(0x0028_0103, short(value))]);
    assert_eq!(
        weight_of(&signs(2), 0x0028_0103, OUTSIDE),
        Some(Weight::Strict)
    );
    assert_eq!(weight_of(&signs(1), 0x0028_0103, OUTSIDE), None);
    // Zero is a value, though its bytes look like padding.
    assert_eq!(weight_of(&signs(0), 0x0028_0103, OUTSIDE), None);
    assert_eq!(weight_of(&signs(0), 0x0028_0103, EMPTY), None);
    let sex = |value| with(CT, &[(0x0010_0040, text(value))]);
    assert_eq!(
        weight_of(&sex("X"), 0x0010_0040, OUTSIDE),
        Some(Weight::Strict)
    );
    assert_eq!(weight_of(&sex("O "), 0x0010_0040, OUTSIDE), None);
    assert_eq!(weight_of(&sex(""), 0x0010_0040, OUTSIDE), None);
}

/// An item of a content tree with this value type.
fn item(kind: &str, more: &[(u32, Node)]) -> Level {
    let mut item: Level = more.iter().cloned().collect();
    item.insert(0x0040_a010, text("CONTAINS"));
    item.insert(0x0040_a040, text(kind));
    item.insert(0x0040_a043, Node::Items(vec![code()]));
    item
}

fn code() -> Level {
    [
        (0x0008_0100, text("121071")),
        (0x0008_0102, text("DCM")),
        (0x0008_0104, text("Finding")),
    ]
    .into()
}

#[test]
fn content_items() {
    let strict = Some(Weight::Strict);
    let tree = |items| with(SR, &[(CONTENT, Node::Items(items))]);
    let right = vec![
        item("TEXT", &[(0x0040_a160, text("none"))]),
        item("CODE", &[(0x0040_a168, Node::Items(vec![code()]))]),
        item("NUM", &[(0x0040_a300, Node::Items(Vec::new()))]),
        item(
            "CONTAINER",
            &[
                (0x0040_a050, text("SEPARATE")),
                (CONTENT, Node::Items(Vec::new())),
            ],
        ),
    ];
    assert_eq!(wrong(&tree(right.clone())), Vec::<&Finding>::new());
    for (kind, place) in [
        ("TEXT", 0x0040_a160),
        ("CODE", 0x0040_a168),
        ("NUM", 0x0040_a300),
        ("CONTAINER", 0x0040_a050),
        ("IMAGE", 0x0008_1199),
        ("SCOORD", 0x0070_0022),
        ("DATE", 0x0040_a121),
    ] {
        let found = tree(vec![item(kind, &[])]);
        assert_eq!(weight_of(&found, place, MISSING_HERE), strict, "{kind}");
        // However deep.
        let inner = item(
            "CONTAINER",
            &[
                (0x0040_a050, text("SEPARATE")),
                (CONTENT, Node::Items(vec![item(kind, &[])])),
            ],
        );
        let found = tree(vec![right[3].clone(), inner]);
        assert_eq!(weight_of(&found, place, MISSING_HERE), strict, "{kind}");
    }
    let unknown = tree(vec![item("NUMERIC", &[])]);
    assert_eq!(weight_of(&unknown, 0x0040_a040, OUTSIDE), strict);
    let mut unrelated = right[0].clone();
    unrelated.remove(&0x0040_a010);
    assert_eq!(
        weight_of(&tree(vec![unrelated]), 0x0040_a010, MISSING),
        strict
    );
    // An item that refers to another one has neither value nor name.
    let reference: Level = [
        (0x0040_a010, text("INFERRED FROM")),
        (0x0040_db73, short(1)),
    ]
    .into();
    assert_eq!(wrong(&tree(vec![reference])), Vec::<&Finding>::new());
}

#[test]
fn codes_have_one_of_three_values() {
    let coded = |code: Level| with(SR, &[(0x0040_a043, Node::Items(vec![code]))]);
    let mut without = code();
    without.remove(&0x0008_0100);
    assert_eq!(
        weight_of(&coded(without.clone()), 0x0008_0100, MISSING_HERE),
        Some(Weight::Strict)
    );
    without.insert(0x0008_0119, text("A CODE THAT IS LONGER"));
    assert_eq!(wrong(&coded(without)), Vec::<&Finding>::new());
    assert_eq!(wrong(&coded(code())), Vec::<&Finding>::new());
}

#[test]
fn what_is_in_functional_groups_only_warns() {
    let mut data_set = least(ENHANCED_CT);
    at(&mut data_set, &[0x5200_9230, 0x0028_9110]).insert(0x0028_0030, text(""));
    let found = judge(ENHANCED_CT, &data_set);
    assert_eq!(
        weight_of(&found, 0x0028_0030, EMPTY_HERE),
        Some(Weight::Notice)
    );
    assert_eq!(wrong(&found), Vec::<&Finding>::new());
}

#[test]
fn what_no_table_knows_is_passed_over() {
    let private: Level = [
        (0x0008_0100, text("")),
        (0x0040_a730, Node::Items(vec![Level::new()])),
    ]
    .into();
    let found = with(
        CT,
        &[
            (0x0009_0010, text("MAKER")),
            (0x0009_1001, Node::Items(vec![private.clone(), private])),
            (0x0054_9999, Node::Items(vec![Level::new()])),
        ],
    );
    assert_eq!(wrong(&found), Vec::<&Finding>::new());
    assert!(Judge::new("1.2.826.0.1.3680043.2.1").is_none());
}

#[test]
fn the_work_is_linear_and_the_room_is_bounded() {
    let mut judge = Judge::new(SR).unwrap();
    let mut tell = Collected::default();
    let mut most = 0;
    for _ in 0..200 {
        for _ in 0..60 {
            judge.open_sequence(tag(CONTENT), &mut tell).unwrap();
            judge.open_item();
            most = most.max(judge.states.len());
        }
        for _ in 0..60 {
            judge.close_item(&mut tell).unwrap();
            judge.close_sequence();
        }
    }
    assert!(most < 60 * 100 + 1000, "{most}");
    assert_eq!(judge.open.len(), 1);
    assert_eq!(judge.ignored, 0);
}

//! What services ask of the data sets of normalized instances, each refusal beside what is accepted.

use protocol_inspect::Base;
use protocol_inspect::dicom::{
    Command, Content, Direction, Normalized, PERFORMED_PROCEDURE_STEP, STORAGE_COMMITMENT, Service,
};

use super::build::{US, command, delimiter, element, header, text, ui, us};
use super::object::walk;

const EVENT: (Service, &str) = (Service::NEventReport, STORAGE_COMMITMENT);
const ACTION: (Service, &str) = (Service::NAction, STORAGE_COMMITMENT);
const CREATE: (Service, &str) = (Service::NCreate, PERFORMED_PROCEDURE_STEP);
const SET: (Service, &str) = (Service::NSet, PERFORMED_PROCEDURE_STEP);

/// An element, as its tag and its bytes.
type Part = (u32, Vec<u8>);

fn content((service, class): (Service, &str), type_id: u16) -> Content {
    let (field, affected, kind) = match service {
        Service::NEventReport => (0x0100, true, Some(0x1002)),
        Service::NSet => (0x0120, false, None),
        Service::NAction => (0x0130, false, Some(0x1008)),
        Service::NCreate => (0x0140, true, None),
        _ => panic!("{service:?}"),
    };
    let (class_at, instance_at) = match affected {
        true => (0x0002, 0x1000),
        false => (0x0003, 0x1001),
    };
    let mut elements = vec![
        (class_at, ui(class)),
        (0x0100, us(field)),
        (0x0110, us(1)),
        (0x0800, us(0x0101 - 1)),
        (instance_at, ui("2.25.9")),
    ];
    elements.extend(kind.map(|at| (at, us(type_id))));
    let command = Command::parse(&command(&elements).into(), Base::Strict).unwrap();
    Content::Normalized(Normalized::of(&command))
}

fn judge(base: Base, what: (Service, &str), parts: &[Part]) -> String {
    judge_type(base, what, 1, parts)
}

fn judge_type(base: Base, what: (Service, &str), type_id: u16, parts: &[Part]) -> String {
    let mut parts = parts.to_vec();
    parts.sort_by_key(|(tag, _)| *tag);
    let set: Vec<u8> = parts.into_iter().flat_map(|(_, bytes)| bytes).collect();
    walk(base, None, content(what, type_id), &set)
}

fn split(tag: u32) -> (u16, u16) {
    (u16::try_from(tag >> 16).unwrap(), tag as u16)
}

fn value(tag: u32, vr: &str, value: &str) -> Part {
    let (group, number) = split(tag);
    let bytes = if vr == "UI" { ui(value) } else { text(value) };
    (tag, element(group, number, vr, &bytes))
}

fn items(tag: u32, items: &[Vec<Part>]) -> Part {
    let (group, number) = split(tag);
    let mut out = header(group, number, "SQ", u32::MAX);
    for item in items {
        out.extend(delimiter(0xe000, u32::MAX));
        let mut item = item.clone();
        item.sort_by_key(|(tag, _)| *tag);
        out.extend(item.into_iter().flat_map(|(_, bytes)| bytes));
        out.extend(delimiter(0xe00d, 0));
    }
    out.extend(delimiter(0xe0dd, 0));
    (tag, out)
}

fn without(parts: &[Part], tag: u32) -> Vec<Part> {
    let mut rest = parts.to_vec();
    rest.retain(|(own, _)| *own != tag);
    assert_ne!(rest.len(), parts.len(), "{tag:08x} was not there");
    rest
}

fn with(parts: &[Part], part: Part) -> Vec<Part> {
    let mut all = parts.to_vec();
    all.retain(|(own, _)| *own != part.0);
    all.push(part);
    all
}

fn reference() -> Vec<Part> {
    vec![
        value(0x0008_1150, "UI", US),
        value(0x0008_1155, "UI", "2.25.1"),
    ]
}

fn scheduled() -> Vec<Part> {
    vec![
        value(0x0008_0050, "SH", ""),
        items(0x0008_1110, &[reference()]),
        value(0x0020_000d, "UI", "2.25.3"),
        value(0x0032_1060, "LO", ""),
        value(0x0040_0007, "LO", ""),
        items(0x0040_0008, &[]),
        value(0x0040_0009, "SH", ""),
        value(0x0040_1001, "SH", ""),
    ]
}

fn series() -> Vec<Part> {
    vec![
        value(0x0008_0054, "AE", ""),
        value(0x0008_103e, "LO", ""),
        value(0x0008_1050, "PN", ""),
        value(0x0008_1070, "PN", ""),
        items(0x0008_1140, &[reference()]),
        value(0x0018_1030, "LO", "ABDOMEN"),
        value(0x0020_000e, "UI", "2.25.4"),
        items(0x0040_0220, &[]),
    ]
}

fn begun() -> Vec<Part> {
    vec![
        value(0x0008_0060, "CS", "US"),
        items(0x0008_1032, &[]),
        items(0x0008_1120, &[]),
        value(0x0010_0010, "PN", "CANARY^ANNA"),
        value(0x0010_0020, "LO", "CANARY-1"),
        value(0x0010_0030, "DA", ""),
        value(0x0010_0040, "CS", ""),
        value(0x0020_0010, "SH", ""),
        value(0x0040_0241, "AE", "US07"),
        value(0x0040_0242, "SH", ""),
        value(0x0040_0243, "SH", ""),
        value(0x0040_0244, "DA", "20260102"),
        value(0x0040_0245, "TM", "101112"),
        value(0x0040_0250, "DA", ""),
        value(0x0040_0251, "TM", ""),
        value(0x0040_0252, "CS", "IN PROGRESS"),
        value(0x0040_0253, "SH", "1"),
        value(0x0040_0254, "LO", ""),
        value(0x0040_0255, "LO", ""),
        items(0x0040_0260, &[]),
        items(0x0040_0270, &[scheduled()]),
        items(0x0040_0340, &[]),
    ]
}

fn ended(status: &str) -> Vec<Part> {
    vec![
        value(0x0040_0250, "DA", "20260102"),
        value(0x0040_0251, "TM", "101212"),
        value(0x0040_0252, "CS", status),
        items(0x0040_0340, &[series()]),
    ]
}

const MISSING: &str = "is required by the service and missing";
const EMPTY: &str = "is required by the service and empty";
const NOT_FINAL: &str = "is required in the final state and does not come with it";

fn refused(place: &str, said: &str) -> String {
    format!("refuses {place}: {said}")
}

fn warned(place: &str, said: &str) -> String {
    format!("warns: {place} {said}; accepts")
}

//= DICOM PS3.4 F.7.2.1
#[test]
fn a_step_begins_with_all_that_it_must_have() {
    assert_eq!(judge(Base::Strict, CREATE, &begun()), "accepts");
    let types = [
        (0x0008_0060, "(0008,0060)", true),
        (0x0040_0241, "(0040,0241)", true),
        (0x0040_0253, "(0040,0253)", true),
        (0x0040_0270, "(0040,0270)", true),
        (0x0010_0020, "(0010,0020)", false),
        (0x0020_0010, "(0020,0010)", false),
        (0x0040_0340, "(0040,0340)", false),
    ];
    for (tag, place, required) in types {
        let set = without(&begun(), tag);
        let expected = match required {
            true => refused(place, MISSING),
            false => warned(place, MISSING),
        };
        assert_eq!(judge(Base::Standard, CREATE, &set), expected);
        assert_eq!(judge(Base::Strict, CREATE, &set), refused(place, MISSING));
    }
    let nameless = with(&begun(), value(0x0040_0241, "AE", ""));
    let expected = refused("(0040,0241)", EMPTY);
    assert_eq!(judge(Base::Standard, CREATE, &nameless), expected);
    let unscheduled = with(&begun(), items(0x0040_0270, &[]));
    let expected = refused("(0040,0270)", EMPTY);
    assert_eq!(judge(Base::Standard, CREATE, &unscheduled), expected);
}

#[test]
fn items_are_judged_where_they_end() {
    let studyless = without(&scheduled(), 0x0020_000d);
    let set = with(&begun(), items(0x0040_0270, &[scheduled(), studyless]));
    let expected = refused("(0040,0270)[2].(0020,000d)", MISSING);
    assert_eq!(judge(Base::Standard, CREATE, &set), expected);
    let instance = vec![reference().remove(0)];
    let scheduled = with(&scheduled(), items(0x0008_1110, &[instance]));
    let set = with(&begun(), items(0x0040_0270, &[scheduled]));
    let expected = refused("(0040,0270)[1].(0008,1110)[1].(0008,1155)", MISSING);
    assert_eq!(judge(Base::Standard, CREATE, &set), expected);
    // What no table has may hold anything.
    let other = items(0x0040_0320, &[vec![items(0x0040_0270, &[vec![]])]]);
    assert_eq!(
        judge(Base::Strict, CREATE, &with(&begun(), other)),
        "accepts"
    );
}

#[test]
fn a_step_begins_in_progress_and_ends_by_a_change() {
    let state = "of a new step is not IN PROGRESS";
    for status in ["COMPLETED", "DISCONTINUED", "DONE"] {
        let set = with(&begun(), value(0x0040_0252, "CS", status));
        let expected = refused("(0040,0252)", state);
        assert_eq!(judge(Base::Standard, CREATE, &set), expected, "{status}");
    }
    for status in ["COMPLETED", "DISCONTINUED"] {
        assert_eq!(judge(Base::Strict, SET, &ended(status)), "accepts");
    }
    let changed = [value(0x0040_0252, "CS", "IN PROGRESS")];
    assert_eq!(judge(Base::Strict, SET, &changed), "accepts");
    let expected = refused("(0040,0252)", "is none that a step can have");
    for status in ["DONE", ""] {
        let changed = [value(0x0040_0252, "CS", status)];
        assert_eq!(judge(Base::Standard, SET, &changed), expected);
    }
}

//= DICOM PS3.4 F.7.2.2.2
#[test]
fn a_step_ends_with_its_end_and_its_series() {
    for (tag, place) in [
        (0x0040_0250, "(0040,0250)"),
        (0x0040_0251, "(0040,0251)"),
        (0x0040_0340, "(0040,0340)"),
    ] {
        // It may have come with a change before.
        let set = without(&ended("COMPLETED"), tag);
        assert_eq!(judge(Base::Standard, SET, &set), warned(place, NOT_FINAL));
        assert_eq!(judge(Base::Strict, SET, &set), refused(place, NOT_FINAL));
        let going = with(&set, value(0x0040_0252, "CS", "IN PROGRESS"));
        assert_eq!(judge(Base::Strict, SET, &going), "accepts");
    }
    let none = with(&ended("DISCONTINUED"), items(0x0040_0340, &[]));
    let expected = refused("(0040,0340)", EMPTY);
    assert_eq!(judge(Base::Standard, SET, &none), expected);
    let unnamed = items(0x0040_0340, &[series(), without(&series(), 0x0020_000e)]);
    let expected = refused("(0040,0340)[2].(0020,000e)", MISSING);
    let set = with(&ended("COMPLETED"), unnamed);
    assert_eq!(judge(Base::Standard, SET, &set), expected);
}

//= DICOM PS3.4 F.7.2.2
#[test]
fn a_change_leaves_what_the_step_is_about() {
    let change = "must not change";
    let patient = with(&ended("COMPLETED"), value(0x0010_0020, "LO", "CANARY-2"));
    let expected = refused("(0010,0020)", change);
    assert_eq!(judge(Base::Standard, SET, &patient), expected);
    let scheduled = with(&ended("COMPLETED"), items(0x0040_0270, &[]));
    let expected = refused("(0040,0270)", change);
    assert_eq!(judge(Base::Standard, SET, &scheduled), expected);
    let station = with(&ended("COMPLETED"), value(0x0040_0241, "AE", "US08"));
    let place = "(0040,0241)";
    assert_eq!(judge(Base::Standard, SET, &station), warned(place, change));
    assert_eq!(judge(Base::Strict, SET, &station), refused(place, change));
    // A description may change, and so may what stands in a series.
    let described = with(&ended("COMPLETED"), value(0x0040_0254, "LO", "LIVER"));
    assert_eq!(judge(Base::Strict, SET, &described), "accepts");
}

fn asked() -> Vec<Part> {
    vec![
        value(0x0008_1195, "UI", "2.25.7"),
        items(0x0008_1199, &[reference()]),
    ]
}

fn failed(reason: u16) -> Part {
    let reason = (0x0008_1197, element(0x0008, 0x1197, "US", &us(reason)));
    items(0x0008_1198, &[with(&reference(), reason)])
}

//= DICOM PS3.4 J.3.2
#[test]
fn storage_commitment_is_asked_for_some_instances() {
    assert_eq!(judge(Base::Strict, ACTION, &asked()), "accepts");
    for (tag, place) in [(0x0008_1195, "(0008,1195)"), (0x0008_1199, "(0008,1199)")] {
        let set = without(&asked(), tag);
        assert_eq!(judge(Base::Standard, ACTION, &set), refused(place, MISSING));
    }
    let none = with(&asked(), items(0x0008_1199, &[]));
    let expected = refused("(0008,1199)", EMPTY);
    assert_eq!(judge(Base::Standard, ACTION, &none), expected);
    let half = with(&asked(), items(0x0008_1199, &[vec![reference().remove(0)]]));
    let expected = refused("(0008,1199)[1].(0008,1155)", MISSING);
    assert_eq!(judge(Base::Standard, ACTION, &half), expected);
}

#[test]
fn a_medium_stands_outside_of_the_list_or_inside() {
    let medium = || value(0x0088_0130, "SH", "CD1");
    let inside = items(0x0008_1199, &[with(&reference(), medium())]);
    assert_eq!(
        judge(Base::Strict, ACTION, &with(&asked(), inside.clone())),
        "accepts"
    );
    assert_eq!(
        judge(Base::Strict, ACTION, &with(&asked(), medium())),
        "accepts"
    );
    let both = with(&with(&asked(), inside), medium());
    let place = "(0088,0130)";
    let said = "stands outside of the list of instances and inside";
    assert_eq!(judge(Base::Strict, ACTION, &both), refused(place, said));
    assert_eq!(judge(Base::Standard, ACTION, &both), warned(place, said));
}

//= DICOM PS3.4 J.3.3
#[test]
fn a_report_says_what_its_type_says() {
    let report = |kind, set: &[Part]| judge_type(Base::Standard, EVENT, kind, set);
    assert_eq!(report(1, &asked()), "accepts");
    let partly = with(&asked(), failed(0x0112));
    assert_eq!(report(2, &partly), "accepts");
    assert_eq!(report(2, &without(&partly, 0x0008_1199)), "accepts");
    let place = "(0008,1198)";
    let said = "is in a message in which nothing can have failed";
    assert_eq!(report(1, &partly), refused(place, said));
    assert_eq!(judge(Base::Standard, ACTION, &partly), refused(place, said));
    assert_eq!(report(2, &asked()), refused(place, MISSING));
    let unlisted = without(&asked(), 0x0008_1199);
    assert_eq!(report(1, &unlisted), refused("(0008,1199)", MISSING));
    let place = "(0008,1198)[1].(0008,1197)";
    let unexplained = with(&asked(), items(0x0008_1198, &[reference()]));
    assert_eq!(report(2, &unexplained), refused(place, MISSING));
    let strange = with(&asked(), failed(0x0042));
    assert_eq!(
        report(2, &strange),
        warned(place, "is not one of the reasons")
    );
}

#[test]
fn responses_and_other_classes_are_not_judged() {
    let mut response = content(CREATE, 1);
    if let Content::Normalized(normalized) = &mut response {
        normalized.direction = Direction::Response;
    }
    let (_, status) = value(0x0040_0252, "CS", "COMPLETED");
    assert_eq!(walk(Base::Strict, None, response, &status), "accepts");
    let other = content((Service::NCreate, US), 1);
    assert_eq!(walk(Base::Strict, None, other, &status), "accepts");
}

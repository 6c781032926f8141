//! Information objects, from bytes: where the walk says that something is missing, and what it leads to.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol_inspect::dicom::{
    Brief, Content, Direction, Level, Normalized, Policy, Profile, Rule, Service, TransferSyntax,
    Walker,
};
use protocol_inspect::{Base, Severity};

use super::build::{ct, delimiter, element, header, text, ui};

const SR: &str = "1.2.840.10008.5.1.4.1.1.88.33";

pub(super) fn walk(base: Base, level: Option<Severity>, content: Content, bytes: &[u8]) -> String {
    let levels = level.map(|severity| (Level::Object, severity));
    let profile = Profile {
        levels: BTreeMap::from_iter(levels),
        ..Profile::of(base)
    };
    let rule = Rule {
        profiles: vec![profile],
        ..Rule::default()
    };
    let policy = Policy {
        rules: vec![rule],
        ..Policy::default()
    };
    let brief = Brief {
        content,
        policy: Arc::new(policy),
        rule: Some(0),
    };
    let mut walker = Walker::new(TransferSyntax::ExplicitLittle, &brief);
    let mut fed = bytes.chunks(7).try_for_each(|chunk| walker.feed(chunk));
    if fed.is_ok() {
        fed = walker.finish().map(|_| ());
    }
    let warned = walker.warnings().iter();
    let warned = warned.map(|warning| format!("warns: {} {}; ", warning.location, warning.detail));
    let verdict = fed.map_or_else(
        |fault| format!("refuses {fault}"),
        |()| "accepts".to_owned(),
    );
    warned.chain([verdict]).collect()
}

fn judge(base: Base, bytes: &[u8]) -> String {
    walk(base, None, Content::Instance(None), bytes)
}

/// A CT instance without one of its parts.
fn without(place: usize) -> Vec<u8> {
    let mut set = ct();
    set.remove(place);
    set.concat()
}

#[test]
fn what_is_missing_is_refused_by_weight_and_level() {
    assert_eq!(judge(Base::Strict, &ct().concat()), "accepts");
    let missing = "(0010,0010)";
    let said = "is required by the information object and missing";
    let unnamed = without(4);
    assert_eq!(
        judge(Base::Standard, &unnamed),
        format!("warns: {missing} {said}; accepts")
    );
    assert_eq!(
        judge(Base::Strict, &unnamed),
        format!("refuses {missing}: {said}")
    );
    let level = |base, severity| walk(base, Some(severity), Content::Instance(None), &unnamed);
    assert_eq!(
        level(Base::Standard, Severity::Refuse),
        format!("refuses {missing}: {said}")
    );
    assert_eq!(level(Base::Strict, Severity::Ignore), "accepts");
    // Nobody can file an instance without its series.
    let anonymous = element(0x0010, 0x0020, "LO", &text("CANARY-1"));
    let mut set = ct();
    set[5] = anonymous;
    let verdict = judge(Base::Standard, &set.concat());
    assert!(
        verdict.ends_with(&format!("refuses (0020,000d): {said}")),
        "{verdict}"
    );
}

#[test]
fn only_instances_are_judged_and_only_of_known_classes() {
    let unnamed = without(4);
    for content in [
        Content::Query,
        Content::QueryResult,
        Content::Normalized(Normalized {
            service: Service::NCreate,
            direction: Direction::Request,
            sop_class: None,
            type_id: None,
        }),
    ] {
        assert_eq!(walk(Base::Strict, None, content, &unnamed), "accepts");
    }
    let private = element(0x0008, 0x0016, "UI", &ui("1.2.826.0.1.3680043.2.1"));
    let said =
        "warns: (0008,0016) names a class whose information object is not known here; accepts";
    assert_eq!(judge(Base::Strict, &private), said);
}

/// A report with one numeric finding in a container, whose items end by length or by delimiter.
fn report(number: &[u8], open: bool) -> Vec<u8> {
    let item = |content: &[u8]| match open {
        true => [
            delimiter(0xe000, u32::MAX),
            content.to_vec(),
            delimiter(0xe00d, 0),
        ]
        .concat(),
        false => [
            delimiter(0xe000, u32::try_from(content.len()).unwrap()),
            content.to_vec(),
        ]
        .concat(),
    };
    let sequence = |group, number, items: &[u8]| match open {
        true => [
            header(group, number, "SQ", u32::MAX),
            items.to_vec(),
            delimiter(0xe0dd, 0),
        ]
        .concat(),
        false => element(group, number, "SQ", items),
    };
    let name = || {
        let code = [
            element(0x0008, 0x0100, "SH", b"121071"),
            element(0x0008, 0x0102, "SH", b"DCM "),
            element(0x0008, 0x0104, "LO", b"Finding "),
        ];
        sequence(0x0040, 0xa043, &item(&code.concat()))
    };
    let cs = |number, value| element(0x0040, number, "CS", &text(value));
    let finding = [
        cs(0xa010, "CONTAINS"),
        cs(0xa040, "NUM"),
        name(),
        number.to_vec(),
    ];
    let container = [
        cs(0xa010, "CONTAINS"),
        cs(0xa040, "CONTAINER"),
        name(),
        cs(0xa050, "SEPARATE"),
        sequence(0x0040, 0xa730, &item(&finding.concat())),
    ];
    let set = [
        element(0x0008, 0x0016, "UI", &ui(SR)),
        element(0x0008, 0x0018, "UI", &ui("1.2.3")),
        element(0x0020, 0x000d, "UI", &ui("1.2.826.0.1.1")),
        element(0x0020, 0x000e, "UI", &ui("1.2.826.0.1.2")),
        cs(0xa040, "CONTAINER"),
        name(),
        cs(0xa050, "SEPARATE"),
        sequence(0x0040, 0xa730, &item(&container.concat())),
    ];
    set.concat()
}

#[test]
fn content_items_are_judged_where_they_end() {
    let path = "warns: (0040,a730)[1].(0040,a730)[1].(0040,a300) is required here";
    let measured = element(0x0040, 0xa300, "SQ", b"");
    for open in [true, false] {
        assert!(judge(Base::Standard, &report(b"", open)).contains(path));
        assert!(!judge(Base::Standard, &report(&measured, open)).contains("required here"));
    }
}

//! What data sets of storage commitment and procedure steps say.

use std::sync::Arc;

use protocol_inspect::dicom::{
    Brief, Command, Content, Level, Normalized, Policy, Profile, StepStatus, Transaction,
    TransferSyntax, Walker,
};
use protocol_inspect::{Base, Severity};

use super::build::{COMMITMENT, EXPLICIT, US, command, delimiter, element, header, policy, ui, us};

const STEP: &str = "1.2.840.10008.3.1.2.3.3";

/// The data sets here have no more than what is looked at.
fn unjudged(mut policy: Policy) -> Policy {
    policy.rules[0].profiles = vec![Profile {
        levels: [(Level::Object, Severity::Ignore)].into(),
        ..Profile::of(Base::Standard)
    }];
    policy
}

/// What a data set of this class says; the refusal's place and words if it is refused.
fn said(class: &str, set: &[u8]) -> Result<Transaction, String> {
    let request = command(&[
        (0x0003, ui(class)),
        (0x0100, us(0x0110)),
        (0x0110, us(1)),
        (0x0800, us(0x0101)),
        (0x1001, ui("1.2")),
    ]);
    let request = Command::parse(&request.into(), Base::Standard).unwrap();
    let brief = Brief {
        content: Content::Normalized(Normalized::of(&request)),
        policy: Arc::new(unjudged(policy(&["N-ACTION"], &[]))),
        rule: Some(0),
    };
    let mut walker = Walker::new(TransferSyntax::from_uid(EXPLICIT).unwrap(), &brief);
    let walked = set.chunks(5).try_for_each(|chunk| walker.feed(chunk));
    let facts = walked.and_then(|()| walker.finish());
    facts
        .map(|facts| facts.transaction)
        .map_err(|refusal| refusal.to_string())
}

fn items(sequence: u16, items: &[&[(u16, &str)]]) -> Vec<u8> {
    let mut out = header(0x0008, sequence, "SQ", u32::MAX);
    for item in items {
        out.extend(delimiter(0xe000, u32::MAX));
        for (number, uid) in *item {
            out.extend(element(0x0008, *number, "UI", &ui(uid)));
        }
        out.extend(delimiter(0xe00d, 0));
    }
    out.extend(delimiter(0xe0dd, 0));
    out
}

fn transaction(uid: &str, lists: &[Vec<u8>]) -> Vec<u8> {
    let mut out = element(0x0008, 0x1195, "UI", &ui(uid));
    out.extend(lists.concat());
    out
}

const ONE: &[(u16, &str)] = &[(0x1150, US), (0x1155, "2.25.1")];
const TWO: &[(u16, &str)] = &[(0x1150, US), (0x1155, "2.25.2")];
const OTHER_CLASS: &[(u16, &str)] = &[(0x1150, COMMITMENT), (0x1155, "2.25.2")];

fn instances(lists: &[Vec<u8>]) -> Result<[u8; 32], String> {
    match said(COMMITMENT, &transaction("2.25.7", lists))? {
        Transaction::Commitment(commitment) => {
            assert_eq!(commitment.transaction().unwrap().as_str(), "2.25.7");
            commitment.instances().map_err(str::to_owned)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_same_instances_are_the_same_in_any_order_and_list() {
    let asked = instances(&[items(0x1199, &[ONE, TWO])]).unwrap();
    assert_eq!(instances(&[items(0x1199, &[TWO, ONE])]), Ok(asked));
    let both = [items(0x1198, &[TWO]), items(0x1199, &[ONE])];
    assert_eq!(instances(&both), Ok(asked));
    for other in [
        vec![items(0x1199, &[ONE])],
        vec![items(0x1199, &[ONE, OTHER_CLASS])],
    ] {
        assert_ne!(instances(&other).unwrap(), asked);
    }
    // Where something may be retrieved from is no list of instances.
    let set = [
        items(0x1115, &[TWO]),
        transaction("2.25.7", &[items(0x1199, &[ONE])]),
    ];
    let Transaction::Commitment(elsewhere) = said(COMMITMENT, &set.concat()).unwrap() else {
        panic!("not of storage commitment");
    };
    assert_ne!(elsewhere.instances().unwrap(), asked);
}

#[test]
fn lists_that_are_none_are_told() {
    let twice = [items(0x1198, &[ONE]), items(0x1199, &[ONE])];
    assert_eq!(instances(&twice), Err("names an instance twice".to_owned()));
    assert_eq!(instances(&[]), Err("names no instance".to_owned()));
    let half = &[(0x1150, US)];
    assert_eq!(
        instances(&[items(0x1199, &[half])]),
        Err("has an item without instance".to_owned())
    );
    let late = instances(&[items(0x1199, &[half, ONE])]).unwrap_err();
    assert!(late.contains("(0008,1199)[2].(0008,1150)"), "{late}");
    let classless = instances(&[items(0x1199, &[&[(0x1155, "2.25.1")]])]).unwrap_err();
    assert!(classless.contains("has no SOP class"), "{classless}");
}

#[test]
fn a_step_has_a_status_and_other_classes_say_nothing() {
    let status = |value: &[u8]| element(0x0040, 0x0252, "CS", value);
    for (value, expected) in [
        (&b"IN PROGRESS "[..], StepStatus::InProgress),
        (b"COMPLETED ", StepStatus::Completed),
        (b"DISCONTINUED", StepStatus::Discontinued),
        (b"DONE", StepStatus::Unknown),
    ] {
        let said = said(STEP, &status(value)).unwrap();
        assert_eq!(said, Transaction::Step(Some(expected)));
    }
    assert_eq!(said(STEP, &[]).unwrap(), Transaction::Step(None));
    assert_eq!(said(US, &status(b"DONE")).unwrap(), Transaction::None);
}

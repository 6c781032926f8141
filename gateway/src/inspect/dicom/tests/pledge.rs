//! Transactions whose request did not go up, or whose answer did not come back.

use jiff::Timestamp;
use protocol_inspect::dicom::{Level, PERFORMED_PROCEDURE_STEP, Profile, STORAGE_COMMITMENT};
use protocol_inspect::{Base, Severity};

use super::script::{Script, rules};
use super::words::*;
use super::*;
use crate::inspect::Rate;

const WELL_KNOWN: &str = "1.2.840.10008.1.20.1.1";
const STEP: &str = "1.2.826.0.1.77";

/// With an association for both; the memory is that of another connection where there was one.
fn association(rated: bool, memory: Option<Arc<Mutex<Outstanding>>>) -> Script {
    let mut s = Script::with(|policy| {
        let rule = &mut rules(policy)[0];
        rule.allow = ["N-ACTION", "N-CREATE", "N-SET"]
            .map(str::to_owned)
            .to_vec();
        rule.sop_classes = Vec::new();
        // The data sets here have no more than what is looked at.
        rule.profiles = vec![Profile {
            levels: [(Level::Object, Severity::Ignore)].into(),
            ..Profile::of(Base::Standard)
        }];
        policy.rate = rated.then_some(Rate {
            messages: 1,
            per_ms: 1_000,
            burst: 1,
        });
    });
    if let Some(memory) = memory {
        s.session.memory = memory;
    }
    let contexts = vec![(1, STORAGE_COMMITMENT), (3, PERFORMED_PROCEDURE_STEP)];
    let rq = Rq {
        contexts,
        ..Rq::default()
    };
    s.device(&rq.bytes()).connected().hospital(&ac(&[1, 3]));
    s
}

fn asks(id: u16) -> Vec<u8> {
    let elements = [
        uid(3, STORAGE_COMMITMENT),
        us(0x110, id),
        uid(0x1001, WELL_KNOWN),
        us(0x1008, 1),
    ];
    let mut reference = explicit(0x0008, 0x1150, b"UI", &padded(ULTRASOUND));
    reference.extend(explicit(0x0008, 0x1155, b"UI", &padded("1.2.3.4")));
    let mut set = explicit(0x0008, 0x1195, b"UI", &padded("1.2.826.0.1.9"));
    let length = u32::try_from(reference.len()).unwrap();
    set.extend([0x08, 0, 0x99, 0x11]);
    set.extend(b"SQ\0\0");
    set.extend((length + 8).to_le_bytes());
    set.extend([0xfe, 0xff, 0, 0xe0]);
    set.extend(length.to_le_bytes());
    set.extend(reference);
    let mut stream = data(1, 3, &command(0x130, &elements, true));
    stream.extend(fragments(1, &set, 700));
    stream
}

fn begins(id: u16) -> Vec<u8> {
    let elements = [
        uid(2, PERFORMED_PROCEDURE_STEP),
        us(0x110, id),
        uid(0x1000, STEP),
    ];
    step(0x140, &elements, b"IN PROGRESS ")
}

fn ends(id: u16) -> Vec<u8> {
    let elements = [
        uid(3, PERFORMED_PROCEDURE_STEP),
        us(0x110, id),
        uid(0x1001, STEP),
    ];
    step(0x120, &elements, b"COMPLETED ")
}

fn step(field: u16, elements: &[(u16, Vec<u8>)], status: &[u8]) -> Vec<u8> {
    let mut stream = data(3, 3, &command(field, elements, true));
    stream.extend(fragments(3, &explicit(0x0040, 0x0252, b"CS", status), 700));
    stream
}

fn answers(context: u8, field: u16, id: u16, status: u16) -> Vec<u8> {
    let elements = [us(0x120, id), us(0x900, status)];
    data(context, 3, &command(field, &elements, false))
}

fn awaits(s: &Script) -> bool {
    let wall = Timestamp::from_second(1_767_225_600).unwrap();
    s.session.outstanding().awaits_commitment(wall, 3_600)
}

//= C3
#[test]
fn a_request_that_never_went_up_opens_nothing() {
    let mut s = association(true, None);
    s.device(&asks(1));
    assert!(!awaits(&s));
    s.token(false);
    assert!(!awaits(&s), "refused for its rate");
    s.device(&asks(2)).token(true);
    assert!(awaits(&s), "it went up");
    let mut s = association(true, None);
    s.device(&asks(1)).device_ends();
    assert!(!awaits(&s), "its sender was gone before");
}

#[test]
fn a_step_whose_answer_was_lost_can_be_ended() {
    let mut s = association(false, None);
    s.device(&ends(1));
    assert_eq!(s.decisions.last().unwrap().outcome, Outcome::Refused);
    s.device(&begins(2)).hospital_ends();
    let memory = Arc::clone(&s.session.memory);
    let mut s = association(false, Some(memory));
    s.device(&ends(1)).hospital(&answers(3, 0x8120, 1, 0));
    assert_eq!(s.decisions.last().unwrap().outcome, Outcome::Forwarded);
    s.device(&begins(2))
        .hospital(&answers(3, 0x8140, 2, 0x0111));
    s.device(&ends(3));
    let refused = s.decisions.last().unwrap();
    assert_eq!(
        refused.outcome,
        Outcome::Refused,
        "it has ended all the same"
    );
}

#[test]
fn a_step_that_was_there_before_can_be_ended_and_one_that_was_refused_cannot() {
    for (status, outcome) in [(0x0111, Outcome::Forwarded), (0x0110, Outcome::Refused)] {
        let mut s = association(false, None);
        s.device(&begins(1))
            .hospital(&answers(3, 0x8140, 1, status));
        s.device(&ends(2));
        if outcome == Outcome::Forwarded {
            s.hospital(&answers(3, 0x8120, 2, 0));
        }
        assert_eq!(s.decisions.last().unwrap().outcome, outcome, "{status:04x}");
    }
}

//! Associations that the service opens to the device.

use protocol_inspect::dicom::{Follows, Level, Profile, Retrieval, Rule};

use protocol_inspect::{Base, Severity};

use super::script::Script;
use super::words::*;
use super::*;

/// The service may bring what a C-MOVE of the device asked for, and ask whether it is there by a rule of its own.
fn inward(strict: bool) -> Script {
    Script::with(|policy| {
        policy.opener = Side::Hospital;
        let ProtocolPolicy::Dicom(dicom) = &mut policy.protocol else {
            return;
        };
        dicom.calling_ae = Some("PACS1".into());
        dicom.called_ae = Some("US07".into());
        let retrieval = Rule {
            name: "retrieves".into(),
            allow: vec!["C-STORE".into()],
            bind_sender: true,
            // The instances here have no more than their identifiers.
            profiles: vec![Profile {
                levels: [(Level::Object, Severity::Ignore)].into(),
                ..Profile::of(if strict { Base::Strict } else { Base::Standard })
            }],
            follows: Some(Follows::Retrieval(Vec::new())),
            ..Rule::default()
        };
        dicom.rules = vec![retrieval];
    })
}

fn asked(calling: &'static str, called: &'static str) -> Vec<u8> {
    let contexts = vec![(1, VERIFICATION), (3, ULTRASOUND)];
    Rq {
        called,
        calling,
        contexts,
        ..Rq::default()
    }
    .bytes()
}

/// Makes a C-MOVE of the device outstanding; the number ends it.
fn moves(s: &Script) -> u64 {
    let retrieval = Retrieval {
        originator: "US07".to_owned(),
        message_id: 7,
    };
    s.session.outstanding().retrieves(retrieval, "US07")
}

//= C3
#[test]
fn nobody_is_dialled_while_nothing_is_outstanding() {
    let mut s = inward(false);
    s.hospital(&asked("PACS1", "US07"));
    insta::assert_snapshot!(s.told());
    let mut s = inward(false);
    moves(&s);
    s.say("another title");
    s.hospital(&asked("OTHER", "US07"));
    insta::assert_snapshot!(s.told());
}

//= C2 C5
#[test]
fn what_belongs_to_the_retrieval_arrives_and_nothing_else() {
    let mut s = inward(false);
    let number = moves(&s);
    s.hospital(&asked("PACS1", "US07"));
    s.connected();
    s.device(&ac_of("US07", "PACS1", &[3]));
    let set = instance("1.2.3.4", 900);
    s.hospital(&moved(1, "1.2.3.4", ("US07", 7), &set));
    assert!(s.to_device.ends_with(&set) && s.to_hospital.is_empty());
    s.device(&store_rsp(1, 0));
    let before = s.to_device.len();
    s.say("another message");
    s.hospital(&moved(2, "1.2.3.4", ("US07", 8), &set));
    s.say("another sender");
    s.hospital(&moved(3, "1.2.3.4", ("US08", 7), &set));
    assert_eq!(s.to_device.len(), before);
    s.say("without a word of it: tolerated");
    s.hospital(&store(4, "1.2.3.4", &set, 700));
    s.device(&store_rsp(4, 0));
    s.session.outstanding().retrieved(number);
    s.say("the retrieval is over");
    s.hospital(&moved(5, "1.2.3.4", ("US07", 7), &set));
    insta::assert_snapshot!(s.told());
    let mut s = inward(true);
    moves(&s);
    s.hospital(&asked("PACS1", "US07"));
    s.connected();
    s.device(&ac_of("US07", "PACS1", &[3]));
    s.hospital(&store(4, "1.2.3.4", &set, 700));
    assert!(s.to_device.is_empty(), "strict wants to know");
    s.hospital(&moved(5, "1.2.3.4", ("US07", 7), &set));
    assert!(s.to_device.ends_with(&set));
}

#[test]
fn a_device_that_does_not_answer_is_the_destination() {
    let mut s = inward(false);
    moves(&s);
    s.hospital(&asked("PACS1", "US07"));
    s.connect_failed();
    insta::assert_snapshot!(s.told());
    let mut s = inward(false);
    moves(&s);
    s.hospital(&asked("PACS1", "US07"));
    s.connected();
    s.device(&ac_of("US07", "PACS1", &[3]));
    s.hospital(&moved(1, "1.2.3.4", ("US07", 7), &instance("1.2.3.4", 10)));
    s.device_ends();
    insta::assert_snapshot!(s.told());
    let unanswered = s.decisions.last().unwrap();
    assert_eq!(
        (unanswered.from, unanswered.outcome),
        (Side::Hospital, Outcome::Unanswered)
    );
}

//= C8
#[test]
fn who_opened_the_association_is_held_back_and_the_device_is_not() {
    let mut s = inward(false);
    moves(&s);
    s.hospital(&asked("PACS1", "US07"));
    s.connected();
    s.device(&ac_of("US07", "PACS1", &[3]));
    let set = instance("1.2.3.4", 10);
    s.hospital(&moved(1, "1.2.3.4", ("US07", 7), &set));
    s.hold(true);
    assert!(!s.session.wants(Side::Hospital) && s.session.wants(Side::Device));
    s.device(&store_rsp(1, 0)).later(20_000).hold(false);
    s.hospital(&moved(2, "1.2.3.4", ("US07", 7), &set));
    s.device(&store_rsp(2, 0));
    let stored = s.decisions.iter().filter(|one| one.from == Side::Hospital);
    assert_eq!(
        stored
            .filter(|one| one.outcome == Outcome::Forwarded)
            .count(),
        3
    );
}

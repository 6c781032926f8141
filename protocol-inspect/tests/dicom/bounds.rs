//! Which rule bounds a request and what comes back for it: reloads, retrievals, shadow.

use std::sync::Arc;

use protocol_inspect::dicom::{Dialogue, Event, Peer, Policy, answer, filter};

use super::build::{
    CT, EXPLICIT, INSTANCE, Rq, ac, command, element, established, parsed_ac, pdv, policy,
};
use super::build::{role, store_rq, text, us, user};
use super::rules::{GET, MPPS, ct, dialogue, find_rq, identifier, put, respond, rules, said, with};

#[test]
fn a_reload_within_a_message_changes_nothing_for_it() {
    let named = |name: &'static str, bound: bool| {
        with(move |rule| {
            rule.name = name.into();
            rule.bind_patient = bound;
        })
    };
    let after = Arc::new(rules([named("free", false), named("a", true)]));
    let mut dialogue = dialogue(&rules([named("a", true)]));
    let mut send = |command, bytes: &[u8]| {
        let value = pdv(7, command, true, bytes);
        dialogue.receive(Peer::Requestor, value).unwrap();
        dialogue.update(&after);
    };
    send(true, &find_rq());
    send(false, &identifier());
    let approved = std::iter::from_fn(|| dialogue.poll()).find_map(|(_, event)| match event {
        Event::Complete(approved) => Some(approved),
        _ => None,
    });
    assert_eq!(approved.unwrap().head().rule.as_deref(), Some("a"));
    let patient = |id: &str| element(0x0010, 0x0020, "LO", &text(id));
    let own = respond(&mut dialogue, 0xff00, &patient("4711"));
    assert!(matches!(own, Event::Complete(_)), "{own:?}");
    let foreign = respond(&mut dialogue, 0xff00, &patient("4712"));
    assert!(matches!(foreign, Event::Refused(_)), "{foreign:?}");
}

#[test]
fn what_a_retrieval_brings_is_bound_by_its_rule() {
    let brought = |patient: &str, asked_by_free: bool| {
        let bound = with(|rule| {
            rule.name = "bound".into();
            rule.bind_patient = true;
        });
        let free = with(|rule| {
            rule.name = "free".into();
            rule.query.require = vec![vec![0x0008_0050]];
        });
        let mut keys = vec![
            element(0x0008, 0x0052, "CS", b"STUDY "),
            element(0x0010, 0x0020, "LO", b"4711"),
        ];
        if asked_by_free {
            keys.insert(0, element(0x0008, 0x0050, "SH", b"A7"));
            keys[2] = element(0x0010, 0x0020, "LO", b"4712");
        }
        let mut dialogue = retrieving(rules([bound, free]));
        let mut get = store_rq(GET, INSTANCE);
        get.remove(5);
        get[1] = (0x0100, us(0x10));
        said(&mut dialogue, 5, &command(&get), &keys.concat()).unwrap();
        let object = put(ct(), 0x0010, 0x0020, "LO", &text(patient));
        let set = command(&store_rq(CT, INSTANCE));
        for (command, bytes) in [(true, set), (false, object.concat())] {
            let value = pdv(3, command, true, &bytes);
            dialogue.receive(Peer::Acceptor, value).unwrap();
        }
        std::iter::from_fn(|| dialogue.poll())
            .find_map(|(_, event)| match event {
                Event::Complete(approved) => Some(Ok(approved.head().rule.clone().unwrap())),
                Event::Refused(refused) => Some(Err(refused.status())),
                _ => None,
            })
            .unwrap()
    };
    assert_eq!(brought("4711", false), Ok("bound".into()));
    assert_eq!(brought("4712", false), Err(0x0124));
    assert_eq!(brought("4712", true), Ok("free".into()));
}

#[test]
fn normalized_classes_are_not_stored() {
    let stores = |class: &str| {
        let open = policy(&["C-STORE", "N-CREATE"], &[]);
        let established = established(&open, &[(1, class, EXPLICIT)]);
        let mut dialogue = Dialogue::new(established, &Arc::new(open));
        let set = command(&store_rq(class, INSTANCE));
        let value = pdv(1, true, true, &set);
        dialogue.receive(Peer::Requestor, value).unwrap();
        let first = dialogue.poll().unwrap().1;
        matches!(first, Event::Command(_))
    };
    assert!(!stores(MPPS));
    assert!(stores("1.2.3.4"));
    assert!(stores(CT));
}

/// An association on which the requestor takes what C-GET brings.
fn retrieving(policy: Policy) -> Dialogue {
    let rq = Rq::new(&[(3, CT, &[EXPLICIT]), (5, GET, &[EXPLICIT])]);
    let filtered = filter(&rq.user(&user(&[role(CT, 0, 1)])).parsed(), &policy).unwrap();
    let accepted = ac(&[(3, 0, EXPLICIT), (5, 0, EXPLICIT)], &[role(CT, 0, 1)]);
    let (_, established) = answer(&filtered, &parsed_ac(&accepted)).unwrap();
    Dialogue::new(established, &Arc::new(policy))
}

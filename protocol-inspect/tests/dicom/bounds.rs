//! Which rule bounds a request and what comes back for it: reloads, retrievals, shadow.

use std::sync::Arc;

use protocol_inspect::dicom::{Dialogue, Event, Peer, Policy, answer, filter};

use super::build::{
    CT, EXPLICIT, INSTANCE, Rq, ac, command, element, established, parsed_ac, pdv, policy,
};
use super::build::{role, store_rq, text, us, user};
use super::rules::{
    GET, MPPS, accepts, asks, ct, dialogue, find_rq, identifier, items, put, refuses, respond,
    rules, said, with,
};

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

#[test]
fn required_keys_are_exact_and_where_archives_match() {
    let required = rules([with(|rule| {
        rule.query.require = vec![vec![0x0010_0020, 0x0008_0020, 0x0020_000d]];
        rule.query.selective = true;
    })]);
    let key = |group, number, vr: &str, value: &str| element(group, number, vr, &text(value));
    let level = || key(0x0008, 0x0052, "CS", "STUDY");
    let date = |value: &str| key(0x0008, 0x0020, "DA", value);
    let id = |value: &str| key(0x0010, 0x0020, "LO", value);
    let nested = |keys: &[u8]| element(0x0008, 0x1140, "SQ", &items(&[keys.to_vec()]));
    let missing = "A900 (0010,0020): has no value to match";
    asks(&required, &[level(), id("4711")], "images");
    asks(&required, &[level(), id("4*")], missing);
    asks(&required, &[level(), id("471?")], missing);
    asks(&required, &[level(), id("4711\\4712")], missing);
    asks(&required, &[date("20260101-20260102"), level()], "images");
    asks(&required, &[date("20260101-"), level()], missing);
    asks(&required, &[date("-20260101"), level()], missing);
    asks(
        &required,
        &[level(), key(0x0020, 0x000d, "UI", "1.2\\1.3")],
        "images",
    );
    asks(&required, &[level(), nested(&id("4711"))], missing);
    let selective = rules([with(|rule| rule.query.selective = true)]);
    asks(
        &selective,
        &[level(), nested(&id("4711"))],
        "A900 identifier",
    );
    asks(&selective, &[level(), id("4*")], "images");
}

#[test]
fn what_qualifies_the_issuer_is_directly_in_its_item() {
    let bound = rules([with(|rule| rule.bind_patient = true)]);
    let issued = |facility: &[u8]| {
        let inner = [
            element(0x0040, 0x0032, "UT", &text("1.2.250.1")),
            element(0x0040, 0x0033, "CS", b"ISO "),
            element(0x0040, 0x0036, "SQ", &items(&[facility.to_vec()])),
        ];
        let set = put(ct(), 0x0010, 0x0020, "LO", b"77");
        let set = put(set, 0x0010, 0x0021, "LO", b"NORD");
        put(set, 0x0010, 0x0024, "SQ", &items(&[inner.concat()]))
    };
    let facility = element(0x0040, 0x0032, "UT", &text("1.2.3"));
    accepts(&bound, &issued(&facility));
    let mut second = issued(&facility);
    let both = [element(0x0040, 0x0032, "UT", &text("1.2.250.1")), facility];
    second = put(second, 0x0010, 0x0024, "SQ", &items(&both));
    refuses(&bound, &second, 0x0124, "is none of");
}

#[test]
fn a_query_in_shadow_is_seen_to_its_end() {
    let shadow = |selective: bool| {
        rules([with(move |rule| {
            rule.shadow = true;
            rule.query.selective = selective;
        })])
    };
    let level = element(0x0008, 0x0052, "CS", b"STUDY ");
    let cut = || [level.clone(), b"\x01\x02".to_vec()];
    asks(&shadow(false), &cut(), "images");
    asks(&shadow(true), &cut(), "C000 ");
    let mut stored = ct();
    stored.push(b"\x01\x02".to_vec());
    accepts(&shadow(true), &stored);
}

#[test]
fn answers_are_judged_as_their_rule_says() {
    let answered = |shadow: bool| {
        let rules = rules([with(|rule| rule.shadow = shadow)]);
        let mut dialogue = dialogue(&rules);
        said(&mut dialogue, 7, &find_rq(), &identifier()).unwrap();
        let wrong = element(0x0010, 0x0010, "PN", b"A\x01");
        matches!(respond(&mut dialogue, 0xff00, &wrong), Event::Complete(_))
    };
    assert!(answered(true));
    assert!(!answered(false));
}

/// An association on which the requestor takes what C-GET brings.
fn retrieving(policy: Policy) -> Dialogue {
    let rq = Rq::new(&[(3, CT, &[EXPLICIT]), (5, GET, &[EXPLICIT])]);
    let filtered = filter(&rq.user(&user(&[role(CT, 0, 1)])).parsed(), &policy).unwrap();
    let accepted = ac(&[(3, 0, EXPLICIT), (5, 0, EXPLICIT)], &[role(CT, 0, 1)]);
    let (_, established) = answer(&filtered, &parsed_ac(&accepted)).unwrap();
    Dialogue::new(established, &Arc::new(policy))
}

//! Which rule bounds a request and what comes back for it: reloads, retrievals, shadow.

use std::sync::Arc;

use protocol_inspect::dicom::{Event, Peer};

use super::build::{element, pdv, text};
use super::rules::{dialogue, find_rq, identifier, respond, rules, with};

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

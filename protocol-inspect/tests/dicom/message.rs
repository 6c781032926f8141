//! Whole messages: order of fragments, verdicts, what may be sent on, what is answered.

use std::sync::Arc;

use bytes::Bytes;
use protocol_inspect::Base;
use protocol_inspect::dicom::{
    Approved, Command, Dialogue, Event, Pdv, Peer, Policy, RefusedMessage, inspect_offline,
};

use super::build::{CT, EXPLICIT, FIND, IMPLICIT, INSTANCE, MOVE, Rq, US, VERIFICATION};
use super::build::{command, ct, echo_rq, established, p_data, pdu, pdv, policy, read, response};
use super::build::{store_rq, text, ui, us};

const CONTEXTS: [(u8, &str, &str); 5] = [
    (1, VERIFICATION, IMPLICIT),
    (3, CT, EXPLICIT),
    (5, US, EXPLICIT),
    (7, FIND, IMPLICIT),
    (9, MOVE, IMPLICIT),
];
const ALL: [&str; 4] = ["C-ECHO", "C-STORE", "C-FIND", "C-MOVE"];

#[test]
fn an_approved_message_goes_on_byte_for_byte() {
    let mut dialogue = dialogue(&policy(&ALL, &[]));
    let (set, body) = (command(&store_rq(CT, INSTANCE)), ct().concat());
    dialogue
        .receive(Peer::Requestor, pdv(3, true, false, &set[..20]))
        .unwrap();
    dialogue
        .receive(Peer::Requestor, pdv(3, true, true, &set[20..]))
        .unwrap();
    assert!(matches!(dialogue.poll(), Some((_, Event::Command(_)))));
    let mut held = Vec::new();
    for (number, chunk) in body.chunks(11).enumerate() {
        let last = (number + 1) * 11 >= body.len();
        dialogue
            .receive(Peer::Requestor, pdv(3, false, last, chunk))
            .unwrap();
    }
    let mut approved = loop {
        match dialogue.poll() {
            Some((_, Event::Held(bytes))) => held.push(bytes),
            Some((_, Event::Complete(approved))) => break approved,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(approved.head().rule.as_deref(), Some("images"));
    assert_eq!(held.len(), 1, "small fragments are gathered");
    assert_eq!(held.concat(), body);
    assert_eq!(sent(&mut approved, &held), (set, body));
    assert!(approved.is_released());
    assert!(dialogue.outstanding(Peer::Requestor).is_some());
}

#[test]
fn no_more_is_released_than_was_approved() {
    let (mut approved, held) = store(&policy(&ALL, &[]));
    let all = held.concat();
    let bytes = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    let longer = [&all[..], b"x"].concat();
    assert!(approved.data_permit(longer.into()).is_err());
    assert!(approved.data_permit(bytes(&all[..50])).is_ok());
    assert!(approved.last_permit().is_none());
    assert!(approved.data_permit(bytes(&all[50..])).is_ok());
    assert!(approved.data_permit(bytes(&all[..1])).is_err());
    assert!(!approved.is_released());
    assert!(approved.last_permit().is_some() && approved.is_released());
    assert!(approved.last_permit().is_none());
}

#[test]
fn a_data_set_of_no_bytes_has_a_last_fragment_too() {
    let mut dialogue = dialogue(&policy(&ALL, &[]));
    let mut find = store_rq(FIND, INSTANCE);
    find.remove(5);
    find[1] = (0x0100, us(0x20));
    let mut approved = exchange(&mut dialogue, 7, &command(&find), &[]).unwrap();
    assert!(approved.data_permit(Bytes::new()).is_err());
    let permit = approved.last_permit().unwrap();
    assert_eq!(read(&permit.bytes(), Base::Strict).len(), 2);
    assert!(permit.bytes().ends_with(&[0, 0, 0, 2, 7, 2]));
    assert!(approved.last_permit().is_none());
}

#[test]
fn refused_messages_are_swallowed_and_answered() {
    let other = |class: &str| {
        let mut set = ct();
        set[1] = super::build::element(0x0008, 0x0016, "UI", &ui(class));
        set.concat()
    };
    let mut moved = store_rq(CT, INSTANCE);
    moved.remove(5);
    moved[0] = (0x0002, ui(MOVE));
    moved[1] = (0x0100, us(0x21));
    let to = |destination: &str| {
        let mut elements = moved.clone();
        elements.insert(3, (0x0600, text(destination)));
        elements
    };
    let key = [
        8, 0, 0x52, 0, 6, 0, 0, 0, b'S', b'T', b'U', b'D', b'Y', b' ',
    ];
    let narrow = policy(&ALL, &[CT, MOVE]);
    let mut no_store = policy(&["C-ECHO", "C-FIND"], &[]);
    no_store.rules[0].name = "queries".into();
    let mut small = narrow.clone();
    small.limits.dicom_dataset = 100;
    let mut said = String::new();
    for (name, rules, id, elements, body) in [
        ("good", &narrow, 3, store_rq(CT, INSTANCE), ct().concat()),
        (
            "instance differs",
            &narrow,
            3,
            store_rq(CT, "1.2.3"),
            ct().concat(),
        ),
        (
            "class differs",
            &narrow,
            3,
            store_rq(CT, INSTANCE),
            other(US),
        ),
        (
            "class of another context",
            &narrow,
            3,
            store_rq(US, INSTANCE),
            other(US),
        ),
        (
            "data set broken",
            &narrow,
            3,
            store_rq(CT, INSTANCE),
            ct().concat()[..70].to_vec(),
        ),
        (
            "data set without identity",
            &narrow,
            3,
            store_rq(CT, INSTANCE),
            vec![],
        ),
        (
            "too large",
            &small,
            3,
            store_rq(CT, INSTANCE),
            ct().concat(),
        ),
        (
            "class not in the rule",
            &narrow,
            5,
            store_rq(US, INSTANCE),
            other(US),
        ),
        (
            "service not in the rule",
            &no_store,
            3,
            store_rq(CT, INSTANCE),
            ct().concat(),
        ),
        (
            "store in a query context",
            &narrow,
            9,
            store_rq(MOVE, INSTANCE),
            ct().concat(),
        ),
        ("move", &narrow, 9, to("VIEWER"), key.to_vec()),
        ("move elsewhere", &narrow, 9, to("ROGUE"), key.to_vec()),
    ] {
        let mut dialogue = dialogue(rules);
        let outcome = exchange(&mut dialogue, id, &command(&elements), &body);
        let line = match outcome {
            Ok(approved) => format!("approved by {:?}", approved.head().rule),
            Err(refused) => {
                let spoken = refused.answer().unwrap().into_bytes();
                let answer = Command::parse(&spoken.slice(12..), Base::Strict).unwrap();
                assert_eq!(answer.status(), Some(refused.status()));
                assert_eq!(refused.data_length(), body.len() as u64);
                format!("{:04x} {}", refused.status(), refused.refusal())
            }
        };
        said.push_str(&format!("{name}: {line}\n"));
        // The association lives on.
        assert!(!dialogue.is_partial(Peer::Requestor));
    }
    insta::assert_snapshot!(said);
}

#[test]
fn in_shadow_content_only_warns_but_bounds_hold() {
    let mut rules = policy(&ALL, &[]);
    rules.rules[0].shadow = true;
    let broken = ct().concat()[..70].to_vec();
    let set = command(&store_rq(CT, INSTANCE));
    let approved = exchange(&mut dialogue(&rules), 3, &set, &broken).unwrap();
    assert_eq!(approved.warnings().len(), 1);
    rules.limits.dicom_dataset = 60;
    assert!(exchange(&mut dialogue(&rules), 3, &set, &broken).is_err());
    rules.rules[0].shadow = false;
    rules.limits.dicom_dataset = 4 << 30;
    assert!(exchange(&mut dialogue(&rules), 3, &set, &broken).is_err());
}

#[test]
fn fragments_out_of_place_abort() {
    let set = command(&store_rq(CT, INSTANCE));
    let whole = |id| pdv(id, true, true, &set);
    let mut said = String::new();
    for (name, fragments) in [
        ("context that was not accepted", vec![whole(99)]),
        ("data without a command", vec![pdv(3, false, true, b"x")]),
        ("command in a data set", vec![whole(3), whole(3)]),
        (
            "data set in another context",
            vec![whole(3), pdv(5, false, true, b"x")],
        ),
        (
            "command in another context",
            vec![
                pdv(3, true, false, &set[..9]),
                pdv(5, true, true, &set[9..]),
            ],
        ),
        (
            "data before the command ends",
            vec![pdv(3, true, false, &set[..9]), pdv(3, false, true, b"x")],
        ),
        (
            "command too long",
            vec![
                pdv(3, true, false, &vec![0; 64 << 10]),
                pdv(3, true, false, b"x"),
            ],
        ),
        ("command broken", vec![pdv(3, true, true, &set[..30])]),
        (
            "response to nothing",
            vec![pdv(3, true, true, &command(&response(0x8001, 7, 0)))],
        ),
        (
            "two requests at once",
            vec![
                pdv(1, true, true, &command(&echo_rq(1))),
                pdv(1, true, true, &command(&echo_rq(2))),
            ],
        ),
    ] {
        let mut dialogue = dialogue(&policy(&ALL, &[]));
        let verdict = fragments
            .into_iter()
            .find_map(|fragment| dialogue.receive(Peer::Requestor, fragment).err())
            .unwrap();
        said.push_str(&format!(
            "{name}: {verdict} (A-ABORT 2/{})\n",
            verdict.reason.code()
        ));
    }
    insta::assert_snapshot!(said);
}

#[test]
fn responses_must_fit_their_request() {
    let rules = policy(&ALL, &[]);
    let asked = || {
        let mut dialogue = dialogue(&rules);
        let echo = command(&echo_rq(5));
        dialogue
            .receive(Peer::Requestor, pdv(1, true, true, &echo))
            .unwrap();
        dialogue
    };
    let answer = |mut dialogue: Dialogue, id, elements: Vec<(u16, Vec<u8>)>| {
        dialogue
            .receive(Peer::Acceptor, pdv(id, true, true, &command(&elements)))
            .map(|()| dialogue)
    };
    let answered = answer(asked(), 1, response(0x8030, 5, 0)).unwrap();
    assert!(answered.outstanding(Peer::Requestor).is_none());
    assert!(
        answer(answered, 1, response(0x8030, 5, 0)).is_err(),
        "a second answer"
    );
    assert!(
        answer(asked(), 1, response(0x8030, 6, 0)).is_err(),
        "another message id"
    );
    assert!(
        answer(asked(), 3, response(0x8030, 5, 0)).is_err(),
        "another context"
    );
    assert!(
        answer(asked(), 1, response(0x8001, 5, 0)).is_err(),
        "another service"
    );
    let mut class = response(0x8030, 5, 0);
    class.insert(0, (0x0002, ui(CT)));
    assert!(answer(asked(), 1, class).is_err(), "another SOP class");
    let stored = || {
        let mut dialogue = dialogue(&rules);
        let set = command(&store_rq(CT, INSTANCE));
        let _approved = exchange(&mut dialogue, 3, &set, &ct().concat()).unwrap();
        dialogue
    };
    let about = |instance| {
        let mut elements = response(0x8001, 7, 0);
        elements.push((0x1000, ui(instance)));
        elements
    };
    assert!(answer(stored(), 3, about(INSTANCE)).is_ok());
    assert!(
        answer(stored(), 3, about("1.2.3")).is_err(),
        "another SOP instance"
    );
    assert!(
        answer(stored(), 3, response(0x8001, 7, 0xff00)).is_err(),
        "a store is never pending"
    );
}

#[test]
fn a_cancel_belongs_to_a_query_under_way() {
    let rules = policy(&ALL, &[]);
    let cancel = |id| {
        let set = [(0x0100, us(0x0fff)), (0x0120, us(id)), (0x0800, us(0x0101))];
        command(&set)
    };
    let cancels = |mut dialogue: Dialogue, context, id| {
        dialogue.receive(Peer::Requestor, pdv(context, true, true, &cancel(id)))
    };
    let find = || {
        let mut dialogue = dialogue(&rules);
        let _approved = exchange(&mut dialogue, 7, &command(&find_rq()), &STUDY).unwrap();
        dialogue
    };
    let echo = || {
        let mut dialogue = dialogue(&rules);
        let set = command(&echo_rq(5));
        dialogue
            .receive(Peer::Requestor, pdv(1, true, true, &set))
            .unwrap();
        dialogue
    };
    assert!(cancels(find(), 7, 7).is_ok());
    assert!(cancels(find(), 7, 8).is_err(), "another query");
    assert!(cancels(echo(), 7, 5).is_err(), "an echo");
    // It crossed with the last response.
    assert!(cancels(dialogue(&rules), 7, 7).is_ok());
}

/// A query and its identifier: the level and no key.
fn find_rq() -> Vec<(u16, Vec<u8>)> {
    let mut find = store_rq(FIND, INSTANCE);
    find.remove(5);
    find[1] = (0x0100, us(0x20));
    find
}

const STUDY: [u8; 14] = [
    8, 0, 0x52, 0, 6, 0, 0, 0, b'S', b'T', b'U', b'D', b'Y', b' ',
];

#[test]
fn pending_responses_keep_the_request_open_and_cancel_passes() {
    let mut dialogue = dialogue(&policy(&ALL, &[]));
    let _approved = exchange(&mut dialogue, 7, &command(&find_rq()), &STUDY).unwrap();
    let mut pending = response(0x8020, 7, 0xff00);
    pending[2] = (0x0800, us(1));
    dialogue
        .receive(Peer::Acceptor, pdv(7, true, true, &command(&pending)))
        .unwrap();
    dialogue
        .receive(Peer::Acceptor, pdv(7, false, true, &STUDY))
        .unwrap();
    assert!(dialogue.outstanding(Peer::Requestor).is_some());
    let cancel = vec![(0x0100, us(0x0fff)), (0x0120, us(7)), (0x0800, us(0x0101))];
    dialogue
        .receive(Peer::Requestor, pdv(7, true, true, &command(&cancel)))
        .unwrap();
    let last = command(&response(0x8020, 7, 0xfe00));
    dialogue
        .receive(Peer::Acceptor, pdv(7, true, true, &last))
        .unwrap();
    assert!(dialogue.outstanding(Peer::Requestor).is_none());
}

#[test]
fn the_destination_may_not_store_to_a_device_that_did_not_ask() {
    let set = command(&store_rq(CT, INSTANCE));
    let mut dialogue = dialogue(&policy(&ALL, &[]));
    dialogue
        .receive(Peer::Acceptor, pdv(3, true, true, &set))
        .unwrap();
    dialogue
        .receive(Peer::Acceptor, pdv(3, false, true, &ct().concat()))
        .unwrap();
    assert!(matches!(
        dialogue.poll(),
        Some((Peer::Acceptor, Event::Condemned(None)))
    ));
    assert!(matches!(
        dialogue.poll(),
        Some((Peer::Acceptor, Event::Refused(_)))
    ));
}

#[test]
fn a_stream_from_a_file_is_judged_message_by_message() {
    let stream = [
        Rq::usual().bytes(),
        p_data(1, true, true, &command(&echo_rq(1))),
        p_data(3, true, true, &command(&store_rq(CT, INSTANCE))),
        p_data(3, false, true, &ct().concat()),
        p_data(3, true, true, &command(&store_rq(CT, "1.2.3"))),
        p_data(3, false, true, &ct().concat()),
        pdu(5, &[0; 4]),
    ]
    .concat();
    let mut said = String::new();
    for bytes in [&stream[..], &stream[..stream.len() - 20], &pdu(5, &[0; 4])] {
        for report in inspect_offline(bytes, true, Base::Standard) {
            let verdict = report
                .refusal
                .map_or("accepts".to_owned(), |refusal| refusal.to_string());
            said.push_str(&format!("{}: {verdict}\n", report.kind));
        }
        said.push('\n');
    }
    insta::assert_snapshot!(said);
}

#[test]
fn patients_are_not_shown() {
    let mut dialogue = dialogue(&policy(&ALL, &[]));
    let set = command(&store_rq(CT, INSTANCE));
    dialogue
        .receive(Peer::Requestor, pdv(3, true, true, &set))
        .unwrap();
    let fragment = pdv(3, false, true, &ct().concat());
    let mut shown = format!("{fragment:?}");
    dialogue.receive(Peer::Requestor, fragment).unwrap();
    while let Some((_, event)) = dialogue.poll() {
        shown.push_str(&format!("{event:?} {dialogue:?}"));
    }
    assert!(
        !shown.contains("Canary") && !shown.contains(INSTANCE),
        "{shown}"
    );
}

fn dialogue(rules: &Policy) -> Dialogue {
    // All contexts are open, so that it is the message that is judged.
    let mut open = policy(&ALL, &[]);
    open.limits = rules.limits.clone();
    let established = established(&open, &CONTEXTS);
    Dialogue::new(established, &Arc::new(rules.clone()))
}

fn store(rules: &Policy) -> (Approved, Vec<Bytes>) {
    let mut dialogue = dialogue(rules);
    let set = command(&store_rq(CT, INSTANCE));
    dialogue
        .receive(Peer::Requestor, pdv(3, true, true, &set))
        .unwrap();
    dialogue
        .receive(Peer::Requestor, pdv(3, false, true, &ct().concat()))
        .unwrap();
    let mut held = Vec::new();
    loop {
        match dialogue.poll().unwrap().1 {
            Event::Command(_) => {}
            Event::Held(bytes) => held.push(bytes),
            Event::Complete(approved) => return (approved, held),
            other => panic!("{other:?}"),
        }
    }
}

/// One message of the requestor and its verdict.
fn exchange(
    dialogue: &mut Dialogue,
    id: u8,
    set: &[u8],
    body: &[u8],
) -> Result<Approved, Box<RefusedMessage>> {
    dialogue
        .receive(Peer::Requestor, pdv(id, true, true, set))
        .unwrap();
    dialogue
        .receive(Peer::Requestor, pdv(id, false, true, body))
        .unwrap();
    loop {
        match dialogue.poll().expect("a verdict").1 {
            Event::Complete(approved) => return Ok(approved),
            Event::Refused(refused) => return Err(refused),
            Event::Command(_)
            | Event::Held(_)
            | Event::Released(..)
            | Event::Condemned(_)
            | Event::Surplus(_)
            | Event::Cut(_) => {}
        }
    }
}

/// Command and data set as the receiver puts them together again.
fn sent(approved: &mut Approved, held: &[Bytes]) -> (Vec<u8>, Vec<u8>) {
    let mut stream = Vec::new();
    for bytes in held {
        let permit = approved.data_permit(bytes.clone()).unwrap();
        stream.extend(permit.into_iter().flat_map(|permit| permit.bytes()));
    }
    stream.extend(approved.last_permit().unwrap().bytes());
    let (mut set, mut body) = (Vec::new(), Vec::new());
    let mut last = None;
    for pdu in read(&stream, Base::Strict) {
        let protocol_inspect::dicom::Pdu::PData(values) = pdu.unwrap() else {
            panic!("not P-DATA-TF");
        };
        for Pdv {
            command,
            data,
            last: ends,
            ..
        } in values
        {
            if command { &mut set } else { &mut body }.extend_from_slice(&data);
            last = Some((command, ends));
        }
    }
    assert_eq!(last, Some((false, true)));
    (set, body)
}

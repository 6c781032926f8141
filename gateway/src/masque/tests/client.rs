//! What a client refuses, each beside what it takes.

use super::*;
use crate::masque::client::{Event, Session};
use crate::masque::exchange::headers;
use crate::masque::fields::{Status, answer};
use crate::masque::qpack::Field;
use crate::masque::{Code, Error};

fn control() -> Vec<u8> {
    [&[0][..], &frame(4, &[0x33, 1, 8, 1])].concat()
}

fn session() -> Session {
    let mut session = Session::new("gateway.example", true);
    session.receive(3, &control(), false).unwrap();
    session
}

fn code(result: Result<(), Error>) -> Option<Code> {
    result.err().map(|error| error.code)
}

fn yes() -> Vec<u8> {
    headers(&answer(Status(200), None))
}

/// What is wrong, a stream, what it may hold, what it may not, and the code for that.
type Case = (&'static str, u64, Vec<u8>, Vec<u8>, Code);

fn malformed() -> Vec<Case> {
    let with = |head: &[u8], tail: &[u8]| [head, tail].concat();
    let go = |id| with(&control(), &frame(7, &number(id)));
    let status = |text| headers(&[Field::new(":status", text)]);
    vec![
        (
            "no extended CONNECT",
            3,
            control(),
            with(&[0], &frame(4, &[0x33, 1])),
            Code::GeneralProtocol,
        ),
        ("GOAWAY of a stream of ours", 3, go(8), go(9), Code::Id),
        (
            "MAX_PUSH_ID",
            3,
            go(0),
            with(&control(), &frame(13, &[1])),
            Code::FrameUnexpected,
        ),
        ("a push stream", 7, vec![2], vec![1], Code::Id),
        (
            "a push is promised",
            0,
            yes(),
            with(&yes(), &frame(5, &[0])),
            Code::FrameUnexpected,
        ),
        (
            "a stream of its own",
            0,
            yes(),
            vec![],
            Code::StreamCreation,
        ),
        (
            "DATA before the answer",
            0,
            yes(),
            frame(0, &[0]),
            Code::FrameUnexpected,
        ),
        (
            "a status of HTTP/1",
            0,
            status("200"),
            status("101"),
            Code::Message,
        ),
        ("no answer", 0, status("100"), headers(&[]), Code::Message),
        (
            "interim answers",
            0,
            with(&status("103").repeat(8), &yes()),
            with(&status("103").repeat(9), &yes()),
            Code::Message,
        ),
        (
            "a capsule of routes in disorder",
            0,
            with(&yes(), &frame(0, &[3, 0])),
            with(&yes(), &frame(0, &[3, 10, 4, 2, 0, 0, 0, 1, 0, 0, 0, 0])),
            Code::Message,
        ),
    ]
}

#[test]
fn each_malformed_stream_beside_its_twin() {
    for (what, stream, good, bad, expected) in malformed() {
        let fresh = || match stream {
            3 => Session::new("gateway.example", true),
            _ => session(),
        };
        assert_eq!(
            code(fresh().receive(stream, &good, false)),
            None,
            "{what}: the twin"
        );
        let stream = if bad.is_empty() { 1 } else { stream };
        assert_eq!(
            code(fresh().receive(stream, &bad, false)),
            Some(expected),
            "{what}"
        );
    }
}

#[test]
fn an_answer_needs_a_question() {
    let mut silent = Session::new("gateway.example", true);
    assert_eq!(code(silent.receive(0, &yes(), false)), Some(Code::Message));
    assert_eq!(
        code(session().receive(0, &[], true)),
        Some(Code::RequestIncomplete)
    );
}

#[test]
fn a_refusal_says_why_and_its_body_is_not_read() {
    let mut session = session();
    let mut refusal = headers(&answer(
        Status(403),
        Some("the certificate is not approved yet"),
    ));
    refusal.extend(frame(0, b"<html>"));
    session.receive(0, &refusal, true).unwrap();
    let Some(Event::Refused(response)) = session.poll_event() else {
        panic!("not refused");
    };
    assert_eq!(
        response.details.as_deref(),
        Some("the certificate is not approved yet")
    );
    assert_eq!(session.poll_event(), None);
    assert!(!session.send_packet(&[0x45]));
}

#[test]
fn a_server_that_wants_addresses_gets_none() {
    let mut session = session();
    while session.poll_transmit().is_some() {}
    let ask = frame(0, &[2, 7, 5, 4, 10, 0, 0, 1, 32]);
    session.receive(0, &[yes(), ask].concat(), false).unwrap();
    let sent = session.poll_transmit();
    let Some(crate::masque::Transmit::Request { bytes, .. }) = sent else {
        panic!("no answer");
    };
    assert_eq!(bytes, frame(0, &[1, 7, 5, 4, 0, 0, 0, 0, 32]));
}

#[test]
fn all_zero_is_no_address() {
    let mut session = session();
    let assign = frame(0, &[1, 14, 1, 4, 10, 0, 0, 1, 32, 2, 4, 0, 0, 0, 0, 32]);
    session
        .receive(0, &[yes(), assign].concat(), false)
        .unwrap();
    assert_eq!(session.poll_event(), Some(Event::Open));
    assert_eq!(
        session.poll_event(),
        Some(Event::Addresses(vec![net("10.0.0.1/32")]))
    );
}

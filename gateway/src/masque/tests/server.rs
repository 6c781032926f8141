//! What a server refuses, each beside what it takes.

use super::*;
use crate::masque::exchange::headers;
use crate::masque::fields::connect_ip;
use crate::masque::qpack::Field;
use crate::masque::server::{Event, MAX_ASKED, MAX_REQUESTS, Session};
use crate::masque::{Code, Error, MAX_SKIPPED, Scope, Transmit};

/// The control stream of a client with datagrams.
fn control() -> Vec<u8> {
    [&[0][..], &frame(4, &[0x33, 1])].concat()
}

fn request() -> Vec<u8> {
    headers(&connect_ip("gateway.example"))
}

/// A session whose client said its settings.
fn fresh() -> Session {
    let mut session = Session::new(true);
    session.receive(2, &control(), false).unwrap();
    session
}

fn open() -> Session {
    let mut session = fresh();
    session.receive(0, &request(), false).unwrap();
    session.accept(grant());
    drain(&mut session);
    session
}

fn drain(session: &mut Session) -> Vec<Event> {
    while session.poll_transmit().is_some() {}
    std::iter::from_fn(|| session.poll_event()).collect()
}

fn code(result: Result<(), Error>) -> Option<Code> {
    result.err().map(|error| error.code)
}

/// What is wrong, a stream, what it may hold, what it may not, and the code for that.
type Case = (&'static str, u64, Vec<u8>, Vec<u8>, Code);

#[expect(clippy::too_many_lines, reason = "a table")]
fn malformed() -> Vec<Case> {
    let with = |head: &[u8], tail: &[u8]| [head, tail].concat();
    let go = |id| with(&control(), &frame(7, &number(id)));
    let push = |first, then| with(&with(&control(), &frame(13, &[first])), &frame(13, &[then]));
    let content = |payload: &[u8]| with(&request(), &frame(0, payload));
    vec![
        (
            "no settings first",
            2,
            control(),
            with(&[0], &frame(7, &[0])),
            Code::MissingSettings,
        ),
        (
            "data first",
            2,
            control(),
            with(&[0], &frame(0, &[1])),
            Code::MissingSettings,
        ),
        (
            "settings twice",
            2,
            control(),
            with(&control(), &frame(4, &[])),
            Code::FrameUnexpected,
        ),
        (
            "a flag of 2",
            2,
            control(),
            with(&[0], &frame(4, &[0x33, 2])),
            Code::Settings,
        ),
        (
            "HEADERS in control",
            2,
            go(0),
            with(&control(), &request()),
            Code::FrameUnexpected,
        ),
        (
            "DATA in control",
            2,
            go(0),
            with(&control(), &frame(0, &[1])),
            Code::FrameUnexpected,
        ),
        (
            "a frame of HTTP/2",
            2,
            with(&control(), &frame(0x21, &[])),
            with(&control(), &frame(6, &[])),
            Code::FrameUnexpected,
        ),
        (
            "GOAWAY grows",
            2,
            with(&go(9), &frame(7, &[8])),
            with(&go(8), &frame(7, &[9])),
            Code::Id,
        ),
        (
            "GOAWAY of two numbers",
            2,
            go(1),
            with(&control(), &frame(7, &[1, 1])),
            Code::Frame,
        ),
        ("MAX_PUSH_ID shrinks", 2, push(4, 5), push(5, 4), Code::Id),
        (
            "CANCEL_PUSH",
            2,
            push(4, 4),
            with(&control(), &frame(3, &[0])),
            Code::Id,
        ),
        (
            "a push stream",
            6,
            vec![0x21],
            vec![1],
            Code::StreamCreation,
        ),
        (
            "a second control stream",
            6,
            vec![2],
            vec![0],
            Code::StreamCreation,
        ),
        (
            "encoder: an insertion",
            6,
            vec![2, 0x20],
            vec![2, 0x3f, 0x01],
            Code::QpackEncoderStream,
        ),
        (
            "decoder: an acknowledgement",
            6,
            vec![3, 0x40, 0x7f, 0x80, 1],
            vec![3, 0x80],
            Code::QpackDecoderStream,
        ),
        (
            "decoder: an increment",
            6,
            vec![3, 0x41],
            vec![3, 0x01],
            Code::QpackDecoderStream,
        ),
        (
            "decoder: endless",
            6,
            vec![3, 0x7f, 0x80, 0x01],
            with(&[3, 0x7f], &[0x80; 11]),
            Code::QpackDecoderStream,
        ),
        (
            "DATA before HEADERS",
            0,
            request(),
            frame(0, &[1]),
            Code::FrameUnexpected,
        ),
        (
            "SETTINGS in a request",
            0,
            request(),
            with(&request(), &frame(4, &[])),
            Code::FrameUnexpected,
        ),
        (
            "GOAWAY in a request",
            0,
            request(),
            with(&request(), &frame(7, &[0])),
            Code::FrameUnexpected,
        ),
        (
            "PUSH_PROMISE",
            0,
            request(),
            with(&request(), &frame(5, &[0])),
            Code::FrameUnexpected,
        ),
        (
            "trailers in a tunnel",
            0,
            request(),
            with(&request(), &request()),
            Code::FrameUnexpected,
        ),
        (
            "QPACK",
            0,
            request(),
            frame(1, &[1, 0, 0x80]),
            Code::QpackDecompression,
        ),
        (
            "a long section",
            0,
            frame(1, &[&[0, 0][..], &[0xd1; 195]].concat()),
            frame(1, &[&[0, 0][..], &[0xd1; 196]].concat()),
            Code::ExcessiveLoad,
        ),
        ("no fields", 0, request(), headers(&[]), Code::Message),
        (
            "a capsule of no address",
            0,
            content(&[1, 0]),
            content(&[2, 0]),
            Code::Message,
        ),
        (
            "a capsule of 17 KiB",
            0,
            content(&[0x17, 0x80, 0, 0x44, 0]),
            content(&[1, 0x80, 0, 0x44, 0]),
            Code::ExcessiveLoad,
        ),
        (
            "a datagram without context",
            0,
            content(&[0, 1, 0]),
            content(&[0, 0]),
            Code::Datagram,
        ),
        (
            "a stream of ours",
            2,
            control(),
            vec![],
            Code::StreamCreation,
        ),
    ]
}

#[test]
fn each_malformed_stream_beside_its_twin() {
    for (what, stream, good, bad, expected) in malformed() {
        let begin = || {
            if stream == 2 {
                Session::new(true)
            } else {
                fresh()
            }
        };
        let (twin, wrong) = (&mut begin(), &mut begin());
        let twin_code = code(twin.receive(stream, &good, false));
        // A section of a legal length that says nothing is malformed in another way.
        assert!(
            twin_code.is_none() || (what == "a long section" && twin_code == Some(Code::Message)),
            "{what}: {twin_code:?}"
        );
        let stream = if bad.is_empty() { 3 } else { stream };
        assert_eq!(
            code(wrong.receive(stream, &bad, false)),
            Some(expected),
            "{what}"
        );
    }
}

#[test]
fn what_ends_where_it_must_not() {
    let closed = Some(Code::ClosedCriticalStream);
    assert_eq!(code(fresh().receive(2, &[], true)), closed);
    assert_eq!(code(fresh().reset(2)), closed);
    assert_eq!(code(fresh().reset(3)), closed, "ours");
    assert_eq!(code(fresh().reset(6)), None, "never opened");
    assert_eq!(code(fresh().receive(6, &[], true)), None, "without a type");
    assert_eq!(
        code(fresh().receive(0, &[], true)),
        Some(Code::RequestIncomplete)
    );
    let cut = &request()[..9];
    assert_eq!(code(fresh().receive(0, cut, true)), Some(Code::Frame));
    assert_eq!(
        code(open().receive(0, &frame(0, &[0x21, 1, 0]), true)),
        None
    );
    assert_eq!(
        code(open().receive(0, &frame(0, &[1, 2, 0]), true)),
        Some(Code::Message)
    );
}

//= RFC 9114 5.2
#[test]
fn after_it_said_so_nothing_new_is_taken_and_the_tunnel_goes_on() {
    let other = || headers(&[Field::new(":method", "GET")]);
    let mut session = open();
    session.go_away();
    let left = Transmit::Control(frame(7, &[4]));
    assert_eq!(session.poll_transmit(), Some(left));
    let error = session.receive(8, &other(), false).unwrap_err();
    let rejected = (Scope::Stream(8), Code::RequestRejected);
    assert_eq!((error.scope, error.code), rejected);
    session.go_away();
    assert_eq!(session.poll_transmit(), None);
    assert!(session.is_open() && drain(&mut session).is_empty());
    assert_eq!(session.datagram(&[0, 0, 0x45]), Ok(Some(&[0x45][..])));
    // The twin: before it is said, such a request is judged.
    let code = code(open().receive(8, &other(), false));
    assert_eq!(code, Some(Code::Message));
}

#[test]
fn requests_given_up_before_anything_came_are_no_flood() {
    let mut session = fresh();
    let streams = (0..4 * MAX_REQUESTS as u64).map(|number| number * 4);
    for stream in streams.clone() {
        assert_eq!(session.reset(stream), Ok(()));
    }
    let next = streams.max().unwrap() + 4;
    session.receive(next, &request(), false).unwrap();
    assert!(matches!(drain(&mut session)[..], [Event::Request { .. }]));
}

#[test]
fn settings_want_datagrams_below_them() {
    assert!(Session::new(true).receive(2, &control(), false).is_ok());
    assert_eq!(
        code(Session::new(false).receive(2, &control(), false)),
        Some(Code::Settings)
    );
}

#[test]
fn a_stream_error_ends_the_tunnel_and_nothing_else() {
    let mut session = open();
    let error = session.receive(0, &frame(0, &[2, 0]), false).unwrap_err();
    assert_eq!(error.scope, Scope::Stream(0));
    assert_eq!(drain(&mut session), [Event::Ended]);
    assert!(!session.is_open() && session.head().is_none());
    // What comes after is nobody's; another tunnel may be asked for.
    assert_eq!(session.receive(0, &frame(0, &[1, 0]), false), Ok(()));
    assert_eq!(session.datagram(&[0, 0, 0x45]), Ok(None));
    session.receive(4, &request(), false).unwrap();
    session.accept(grant());
    assert_eq!(session.head(), Some(&[1, 0][..]));
    assert_eq!(session.datagram(&[1, 0, 0x45]), Ok(Some(&[0x45][..])));
}

#[test]
fn other_requests_are_answered() {
    for (change, status) in [
        ((":protocol", "connect-udp"), "501"),
        ((":path", "/"), "404"),
    ] {
        let mut fields = connect_ip("gateway.example");
        let at = fields
            .iter()
            .position(|field| field.name == change.0.as_bytes());
        fields[at.unwrap()] = Field::new(change.0, change.1);
        let mut session = fresh();
        while session.poll_transmit().is_some() {}
        session.receive(0, &headers(&fields), false).unwrap();
        let bytes = headers(&[Field::new(":status", status)]);
        let answer = Transmit::Request {
            stream: 0,
            bytes,
            fin: true,
        };
        assert_eq!(session.poll_transmit(), Some(answer));
        let stop = Transmit::Stop {
            stream: 0,
            code: Code::None,
        };
        assert_eq!(session.poll_transmit(), Some(stop));
        assert_eq!(session.poll_event(), None);
    }
    let mut session = open();
    session.receive(4, &request(), false).unwrap();
    assert!(matches!(
        session.poll_transmit(),
        Some(Transmit::Request {
            stream: 4,
            fin: true,
            ..
        })
    ));
    assert!(session.is_open(), "the first tunnel goes on");
}

#[test]
fn streams_come_in_any_order_and_are_counted() {
    let mut session = fresh();
    session.receive(8, &request()[..3], false).unwrap();
    session.receive(0, &request(), false).unwrap();
    assert_eq!(drain(&mut session).len(), 1);
    session.receive(4, &request(), false).unwrap();
    assert_eq!(drain(&mut session), [], "the second is answered");
    let mut gap = fresh();
    assert_eq!(code(gap.receive(8 * 4, &[], false)), None);
    let mut gap = fresh();
    assert_eq!(
        code(gap.receive(9 * 4, &[], false)),
        Some(Code::ExcessiveLoad)
    );
    let mut many = fresh();
    for n in 0..=u64::try_from(MAX_REQUESTS).unwrap() {
        let expected = (n == 8).then_some(Code::RequestRejected);
        assert_eq!(code(many.receive(n * 4, &[1], false)), expected);
    }
    let mut types = fresh();
    for n in 1..=8_u64 {
        let expected = (n == 8).then_some(Code::ExcessiveLoad);
        assert_eq!(code(types.receive(n * 4 + 2, &[0x40], false)), expected);
    }
}

#[test]
fn patience_ends() {
    let skip = |unknown: &dyn Fn(usize) -> Vec<u8>| {
        let mut session = open();
        let mut read = 0;
        loop {
            let bytes = unknown(10_000);
            read += u64::try_from(bytes.len()).unwrap();
            match session.receive(0, &bytes, false) {
                Ok(()) => assert!(read <= 2 * MAX_SKIPPED),
                Err(error) => return (error.code, error.scope, read),
            }
        }
    };
    let (load, connection) = (Code::ExcessiveLoad, Scope::Connection);
    for unknown in [
        &|length: usize| frame(0x21, &vec![0; length]) as _,
        &|length: usize| frame(0, &frame(0x17, &vec![0; length])),
        &|length: usize| frame(0, &frame(0, &vec![0; length])),
        &|_| frame(0, &[]).repeat(4000),
        &|_| frame(0x21, &[]).repeat(4000),
    ] as [&dyn Fn(usize) -> Vec<u8>; 5]
    {
        let (code, scope, _) = skip(unknown);
        assert_eq!((code, scope), (load, connection));
    }
    // What is useful may go on for ever.
    let mut session = open();
    let packet = frame(0, &[&[0, 0x44, 1, 0][..], &[0x45; 1024]].concat());
    for _ in 0..2000 {
        session.receive(0, &packet, false).unwrap();
        assert_eq!(drain(&mut session).len(), 1);
    }
}

/// A request on a stream, which ends.
type Ask<'a> = &'a dyn Fn(&mut Session, u64) -> Result<(), Error>;

/// Requests that are answered, or given up before they say anything, are not free either.
//= C7
#[test]
fn requests_one_after_the_other_end() {
    let mut get = connect_ip("gateway.example");
    get.retain(|field| field.name != b":protocol");
    get[0] = Field::new(":method", "GET");
    let get = headers(&get);
    let asks: [Ask<'_>; 2] = [
        &|session, stream| session.receive(stream, &get, true),
        &|session, stream| session.reset(stream),
    ];
    for ask in asks {
        let mut session = open();
        let most = MAX_SKIPPED / 64;
        let asked = (1..=most).find_map(|n| {
            let error = ask(&mut session, n * 4).err();
            drain(&mut session);
            error.map(|error| (n, error.code))
        });
        assert_eq!(asked, Some((most, Code::ExcessiveLoad)));
    }
}

/// Whoever gave up requests may still make one.
#[test]
fn requests_that_were_given_up_are_not_missing() {
    let mut session = fresh();
    for n in 0..20 {
        session.reset(n * 4).unwrap();
    }
    session.receive(20 * 4, &request(), false).unwrap();
    assert_eq!(drain(&mut session).len(), 1);
}

#[test]
fn a_client_that_leaves_is_told_once() {
    let mut session = fresh();
    for _ in 0..3 {
        session.receive(2, &frame(7, &[0]), false).unwrap();
    }
    session
        .receive(2, &frame(7, &[0]).repeat(3), false)
        .unwrap();
    assert_eq!(drain(&mut session), [Event::GoingAway]);
}

#[test]
fn addresses_are_asked_for_once_each() {
    let ask = |ids: &[u64]| {
        let mut payload = Vec::new();
        for id in ids {
            payload.extend(number(*id));
            payload.extend([4, 0, 0, 0, 0, 32]);
        }
        frame(0, &frame(2, &payload))
    };
    let mut session = open();
    assert_eq!(code(session.receive(0, &ask(&[1, 2]), false)), None);
    let Some(Transmit::Request { bytes, .. }) = session.poll_transmit() else {
        panic!("no answer");
    };
    // The one address, nothing for the second request, and what nobody asked for.
    let assigned = [
        &[
            1, 4, 10, 65, 0, 7, 32, 2, 4, 0, 0, 0, 0, 32, 0, 6, 0xfd, 0x65,
        ][..],
        &[0; 13],
        &[7, 128],
    ];
    assert_eq!(bytes, frame(0, &frame(1, &assigned.concat())));
    assert_eq!(
        code(session.receive(0, &ask(&[2]), false)),
        Some(Code::Message)
    );
    let mut session = open();
    for id in 1..=u64::try_from(MAX_ASKED).unwrap() {
        assert_eq!(code(session.receive(0, &ask(&[id]), false)), None);
        drain(&mut session);
    }
    assert_eq!(
        code(session.receive(0, &ask(&[99]), false)),
        Some(Code::ExcessiveLoad)
    );
}

#[test]
fn who_asks_and_does_not_listen_is_left() {
    let mut session = fresh();
    let mut get = connect_ip("gateway.example");
    get.retain(|field| field.name != b":protocol");
    get[0] = Field::new(":method", "GET");
    let refused = (0_u64..20_000).find_map(|n| session.receive(n * 4, &headers(&get), false).err());
    assert_eq!(refused.map(|error| error.code), Some(Code::ExcessiveLoad));
}

#[test]
fn what_comes_before_the_decision_is_kept_or_dropped() {
    let mut session = fresh();
    let early = [
        request(),
        frame(
            0,
            &[&[0, 2, 0, 0x45, 2, 7, 1, 4][..], &[0, 0, 0, 0, 32]].concat(),
        ),
    ];
    session.receive(0, &early.concat(), false).unwrap();
    assert_eq!(
        drain(&mut session).len(),
        1,
        "no packet before there is a tunnel"
    );
    assert_eq!(session.datagram(&[0, 0, 0x45]), Ok(None));
    session.accept(grant());
    let sent: Vec<_> = std::iter::from_fn(|| session.poll_transmit()).collect();
    let Some(Transmit::Request { bytes, .. }) = sent.get(1) else {
        panic!("no capsules");
    };
    // DATA, its length, ADDRESS_ASSIGN, its length, and the request is answered.
    assert_eq!(bytes[..1], [0]);
    assert!(
        bytes
            .windows(7)
            .any(|window| window == [1, 4, 10, 65, 0, 7, 32])
    );
}

//! What holds for all bytes: no panic, no difference by how a stream is cut, nothing forwarded but what came, bounds.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;
use protocol_inspect::Limits;
use protocol_inspect::hl7::{
    Answer, Framer, Policy, Profile, Rule, Verdict, inspect_offline, judge,
};

fn policy(limits: Limits) -> Policy {
    Policy {
        limits,
        default_charset: "ASCII".into(),
        senders: vec![("A".into(), "B".into())],
        rules: vec![Rule {
            name: "any".into(),
            send: vec!["*".into()],
            ..Rule::default()
        }],
        ..Policy::default()
    }
}

/// Streams that are nearly right: frames and junk of the bytes that matter.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let good = Just(b"\x0bMSH|^~\\&|A|B|C|D|20260101||ORU^R01|1|P|2.5\rPID|1\r\x1c\r".to_vec());
    let piece = prop_oneof![
        8 => good,
        1 => proptest::collection::vec(
            prop_oneof![Just(0x0b), Just(0x1c), Just(b'\r'), Just(b'|'), Just(b'M'), any::<u8>()], 0..12),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// What a relay would do with a stream: verdicts in words, and the bytes it would forward.
fn relay(chunks: &[&[u8]], policy: &Policy) -> (Vec<String>, Vec<u8>) {
    let mut framer = Framer::new(policy.limits.hl7_message);
    let (mut said, mut forwarded) = (Vec::new(), Vec::new());
    for chunk in chunks {
        framer.receive(chunk);
        while let Some(next) = framer.poll() {
            match next.map(|frame| judge(frame, policy, None)) {
                Ok(judgement) => match judgement.verdict {
                    Verdict::Accept(accepted) => {
                        said.push(policy.rules[accepted.rule].name.clone());
                        forwarded.extend_from_slice(&accepted.permit.into_bytes());
                    }
                    Verdict::Refuse(refused) => said.push(refused.refusal.to_string()),
                },
                Err(refusal) => said.push(refusal.to_string()),
            }
        }
        assert!(framer.buffered() <= policy.limits.hl7_message + 3 + chunk.len());
    }
    (said, forwarded)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same(stream in stream(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let policy = policy(Limits { hl7_message: 80, ..Limits::default() });
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        let whole = relay(&[&stream], &policy);
        prop_assert_eq!(&relay(&chunks, &policy), &whole);
        prop_assert_eq!(&relay(&bytes, &policy), &whole);
    }

    #[test]
    fn what_is_forwarded_came_in_this_order(stream in stream()) {
        let (_, forwarded) = relay(&[&stream], &policy(Limits::default()));
        let mut rest = stream.as_slice();
        for frame in forwarded.split_inclusive(|b| *b == 0x1c) {
            let at = rest.windows(frame.len()).position(|w| w == frame);
            prop_assert!(at.is_some());
            rest = &rest[at.unwrap_or(0)..];
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), raw: bool) {
        let _ = inspect_offline(&bytes, raw, &Profile::strict());
    }

    #[test]
    fn arbitrary_tails_of_a_header_do_not_panic(
        delimiters in proptest::collection::vec(any::<u8>(), 0..7),
        tail in proptest::collection::vec(
            prop_oneof![Just(b'|'), Just(b'^'), Just(b'~'), Just(b'\\'), Just(b'&'), Just(b'\r'), any::<u8>()], 0..200),
    ) {
        let mut content = b"MSH".to_vec();
        content.extend(delimiters);
        content.extend(&tail);
        let _ = inspect_offline(&content, false, &Profile::standard());
        let message = [b"MSH|^~\\&".as_slice(), &tail].concat();
        let _ = inspect_offline(&message, false, &Profile::strict());
        let mut framer = Framer::new(1 << 20);
        framer.receive(b"\x0b");
        framer.receive(&message);
        framer.receive(b"\x1c\r");
        if let Some(Ok(frame)) = framer.poll() {
            let _ = Answer::read(frame, &policy(Limits::default()));
        }
    }
}

#[test]
fn floods_are_refused_by_name() {
    let head = "MSH|^~\\&|A|B|C|D|20260101||ORU^R01|1|P|2.5\r";
    for (body, refusal) in [
        (
            "A01\r".repeat(10_000),
            "hl7_segments: segments: 10001 is more than 10000",
        ),
        (
            format!("PID{}\r", "|".repeat(513)),
            "hl7_fields: PID: 513 is more than 512",
        ),
        (
            format!("PID|{}\r", "~".repeat(10_000)),
            "hl7_repetitions: PID: 10001 is more than 10000",
        ),
        (
            format!("PID|{}\r", "&^".repeat(2_048)),
            "hl7_components: PID: 4097 is more than 4096",
        ),
        (
            format!("PID|{}\r", "x".repeat(2 << 20)),
            "hl7_segment: segment length: 2097156 is more than 2097152",
        ),
    ] {
        let reports = inspect_offline(
            format!("{head}{body}").as_bytes(),
            false,
            &Profile::standard(),
        );
        let said: Vec<String> = reports
            .iter()
            .filter_map(|r| r.refusal.as_ref())
            .map(ToString::to_string)
            .collect();
        assert_eq!(said, [refusal]);
    }
}

#[test]
fn the_largest_legal_floods_pass() {
    let head = "MSH|^~\\&|A|B|C|D|20260101||ORU^R01|1|P|2.5\r";
    for body in [
        "NTE\r".repeat(9_999),
        format!("PID{}\r", "|".repeat(512)),
        format!("PID|{}\r", "~".repeat(9_999)),
        format!("PID|||1||{}\r", "x\\F\\".repeat(500_000)),
    ] {
        let reports = inspect_offline(
            format!("{head}{body}").as_bytes(),
            false,
            &Profile::standard(),
        );
        assert!(reports.iter().all(|r| r.refusal.is_none()), "{reports:?}");
    }
}

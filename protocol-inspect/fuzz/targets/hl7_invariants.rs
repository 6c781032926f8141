//! What holds for any stream of bytes, however it is cut. Shared by the fuzz target and by the test that replays its corpus.
//!
//! The first byte of an input says how the rest is judged: bit 0 by the strict profile, bit 1 with tight limits,
//! and all of it where the stream is cut. The rest is the stream.

use protocol_inspect::Limits;
use protocol_inspect::hl7::{Framer, Policy, Profile, Rule, Verdict, judge};

/// Panics if anything does not hold.
pub(crate) fn hold(input: &[u8]) {
    let Some((&how, stream)) = input.split_first() else {
        return;
    };
    let policy = policy(how & 1 == 1, how & 2 == 2);
    let whole = Relay::run(&policy, std::iter::once(stream));
    let bytes = Relay::run(&policy, stream.chunks(1));
    assert_eq!(bytes, whole, "byte by byte gives something else");
    let pieces = Relay::run(&policy, cut(stream, how));
    assert_eq!(pieces, whole, "in pieces gives something else");
    whole.came_in_this_order(stream);
    // Who passes the strict profile passes the standard one.
    if how & 1 == 1 {
        let lenient = Relay::run(&self::policy(false, how & 2 == 2), std::iter::once(stream));
        assert_eq!(lenient.said.len(), whole.said.len());
        for (strict, standard) in whole.said.iter().zip(&lenient.said) {
            assert!(strict != ACCEPTED || standard == ACCEPTED, "{standard}");
        }
    }
}

fn policy(strict: bool, tight: bool) -> Policy {
    let limits = if tight {
        Limits {
            hl7_message: 300,
            hl7_segment: 120,
            hl7_segments: 6,
            hl7_fields: 24,
            hl7_repetitions: 4,
            hl7_components: 12,
            ..Limits::default()
        }
    } else {
        Limits::default()
    };
    let profile = if strict {
        Profile::strict()
    } else {
        Profile::standard()
    };
    Policy {
        limits,
        default_charset: "ASCII".to_owned(),
        rules: vec![Rule {
            name: "any".to_owned(),
            send: vec!["*".to_owned()],
            profiles: vec![profile],
            ..Rule::default()
        }],
        ..Policy::default()
    }
}

/// Pieces of lengths that follow from a seed.
fn cut(stream: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut state = u32::from(seed) | 0x100;
    let mut rest = stream;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = usize::try_from(state >> 27).unwrap_or(1) + 1;
        let (piece, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        Some(piece)
    })
}

/// What a relay says and forwards.
#[derive(Debug, Default, PartialEq, Eq)]
struct Relay {
    said: Vec<String>,
    forwarded: Vec<Vec<u8>>,
}

impl Relay {
    fn run<'a>(policy: &Policy, pieces: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut framer = Framer::new(policy.limits.hl7_message);
        let mut relay = Self::default();
        for piece in pieces {
            framer.receive(piece);
            while let Some(next) = framer.poll() {
                match next.map(|frame| judge(frame, policy, None).verdict) {
                    Ok(Verdict::Accept(accepted)) => {
                        assert!(accepted.warnings.len() <= MOST_WARNINGS);
                        relay.said.push(ACCEPTED.to_owned());
                        relay.forwarded.push(accepted.permit.into_bytes().to_vec());
                    }
                    Ok(Verdict::Refuse(refused)) => {
                        assert!(refused.warnings.len() <= MOST_WARNINGS);
                        let refusal = refused.refusal.to_string();
                        assert!(refusal.len() <= LONGEST_TEXT, "{refusal}");
                        relay.said.push(refusal);
                    }
                    Err(refusal) => relay.said.push(refusal.to_string()),
                }
            }
            // The frame, its three marks, and what came with this piece.
            let most = policy.limits.hl7_message + 3 + piece.len();
            assert!(framer.buffered() <= most, "{}", framer.buffered());
        }
        relay
    }

    /// What is forwarded is whole ranges of what came, in its order, none twice.
    fn came_in_this_order(&self, stream: &[u8]) {
        let mut rest = stream;
        for frame in &self.forwarded {
            let at = rest.windows(frame.len()).position(|w| w == frame);
            let at = at.expect("forwarded what did not come");
            rest = &rest[at + frame.len()..];
        }
    }
}

const ACCEPTED: &str = "accepted";

/// Findings of a message are few, whatever it holds.
const MOST_WARNINGS: usize = 80;

/// Reasons are ours, and hold nothing of the message but the name of a segment.
const LONGEST_TEXT: usize = 400;

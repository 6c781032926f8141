//! What a relay says, in bytes: each message of a device is a decision, and JSON would cost more than its judgement.
//!
//! In: [`FromRelay`]. Out: bytes, and back. Numbers have eight bytes, the lowest first; texts and lists their count
//! before them. Reading takes nothing on trust: what is cut off, left over or no word of ours is no message.
//! Knows nothing of what was decided.

use super::message::{Decided, FromRelay};
use crate::channel::{Wire, WireError};
use crate::flow::{ConnectionId, Side};
use crate::inspect::{Decision, Observed, Outcome, Subject};

impl Wire for FromRelay {
    const MAY_BE_LARGE: bool = false;

    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), WireError> {
        match self {
            Self::Ready => bytes.push(READY),
            Self::Connect { id } => put_id(bytes, CONNECT, *id),
            Self::Spool { id } => put_id(bytes, SPOOL, *id),
            Self::Decided(decisions) => {
                bytes.push(DECIDED);
                for decided in decisions {
                    put_decided(bytes, decided.id, &decided.decision);
                }
            }
            // Seldom, and of many forms.
            Self::Keep { id, entry } => {
                put_id(bytes, KEEP, *id);
                serde_json::to_writer(&mut *bytes, entry)?;
            }
            Self::Closed {
                id,
                forwarded,
                refused,
                received,
                sent,
            } => {
                put_id(bytes, CLOSED, *id);
                for count in [forwarded, refused, received, sent] {
                    put_u64(bytes, *count);
                }
            }
        }
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader { rest: bytes };
        let message = reader.message().ok_or(WireError::Own)?;
        if reader.rest.is_empty() {
            Ok(message)
        } else {
            Err(WireError::Own)
        }
    }
}

/// How a packet of decisions begins; each decision follows as [`put_decided`] writes it.
pub(super) const DECIDED: u8 = 3;
const READY: u8 = 0;
const CONNECT: u8 = 1;
const SPOOL: u8 = 2;
const CLOSED: u8 = 4;
const KEEP: u8 = 5;

/// Adds one decision to a packet.
pub(super) fn put_decided(bytes: &mut Vec<u8>, id: ConnectionId, decision: &Decision) {
    put_u64(bytes, id.0);
    bytes.push(match decision.from {
        Side::Device => 0,
        Side::Hospital => 1,
    });
    bytes.push(match decision.what {
        Subject::Message => 0,
        Subject::Answer => 1,
        Subject::Association => 2,
        Subject::Stream => 3,
    });
    bytes.push(match decision.outcome {
        Outcome::Forwarded => 0,
        Outcome::Refused => 1,
        Outcome::Unanswered => 2,
        Outcome::Repeated => 3,
        Outcome::Undelivered => 4,
        Outcome::Abandoned => 5,
    });
    put_bytes(bytes, decision.kind.as_bytes());
    for text in [
        &decision.rule,
        &decision.reason,
        &decision.location,
        &decision.detail,
        &decision.answer,
    ] {
        put_option(bytes, text.as_deref().map(str::as_bytes));
    }
    put_u64(bytes, decision.length);
    put_option(bytes, decision.digest.as_ref().map(<[u8; 32]>::as_slice));
    put_option(bytes, decision.identifier.as_deref());
    put_u64(bytes, decision.micros);
    put_u64(bytes, decision.warnings.len() as u64);
    for warning in &decision.warnings {
        put_bytes(bytes, warning.as_bytes());
    }
    put_option(bytes, decision.would_refuse.as_deref().map(str::as_bytes));
    put_u64(bytes, decision.observed.len() as u64);
    for observed in &decision.observed {
        let (what, text) = match observed {
            Observed::SopClass(text) => (0, text),
            Observed::Software(text) => (1, text),
        };
        bytes.push(what);
        put_bytes(bytes, text.as_bytes());
    }
}

fn put_id(bytes: &mut Vec<u8>, what: u8, id: ConnectionId) {
    bytes.push(what);
    put_u64(bytes, id.0);
}

fn put_u64(bytes: &mut Vec<u8>, number: u64) {
    bytes.extend_from_slice(&number.to_le_bytes());
}

fn put_bytes(bytes: &mut Vec<u8>, some: &[u8]) {
    put_u64(bytes, some.len() as u64);
    bytes.extend_from_slice(some);
}

fn put_option(bytes: &mut Vec<u8>, some: Option<&[u8]>) {
    match some {
        Some(some) => {
            bytes.push(1);
            put_bytes(bytes, some);
        }
        None => bytes.push(0),
    }
}

/// What is left of a packet. `None` everywhere: it is no message.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn message(&mut self) -> Option<FromRelay> {
        Some(match self.byte()? {
            READY => FromRelay::Ready,
            CONNECT => FromRelay::Connect { id: self.id()? },
            SPOOL => FromRelay::Spool { id: self.id()? },
            DECIDED => {
                let mut decisions = Vec::with_capacity((self.rest.len() / LEAST).min(USUAL));
                while !self.rest.is_empty() {
                    decisions.push(self.decided()?);
                }
                FromRelay::Decided(decisions)
            }
            KEEP => FromRelay::Keep {
                id: self.id()?,
                entry: serde_json::from_slice(std::mem::take(&mut self.rest)).ok()?,
            },
            CLOSED => FromRelay::Closed {
                id: self.id()?,
                forwarded: self.u64()?,
                refused: self.u64()?,
                received: self.u64()?,
                sent: self.u64()?,
            },
            _ => return None,
        })
    }

    fn decided(&mut self) -> Option<Decided> {
        let id = self.id()?;
        let from = match self.byte()? {
            0 => Side::Device,
            1 => Side::Hospital,
            _ => return None,
        };
        let what = match self.byte()? {
            0 => Subject::Message,
            1 => Subject::Answer,
            2 => Subject::Association,
            3 => Subject::Stream,
            _ => return None,
        };
        let outcome = match self.byte()? {
            0 => Outcome::Forwarded,
            1 => Outcome::Refused,
            2 => Outcome::Unanswered,
            3 => Outcome::Repeated,
            4 => Outcome::Undelivered,
            5 => Outcome::Abandoned,
            _ => return None,
        };
        let decision = Decision {
            from,
            what,
            outcome,
            kind: self.text()?,
            rule: self.option(Self::text)?,
            reason: self.option(Self::text)?,
            location: self.option(Self::text)?,
            detail: self.option(Self::text)?,
            answer: self.option(Self::text)?,
            length: self.u64()?,
            digest: self.option(|reader| reader.bytes()?.try_into().ok())?,
            identifier: self.option(|reader| Some(reader.bytes()?.to_vec()))?,
            micros: self.u64()?,
            warnings: {
                let count = self.u64()?;
                // Nothing is set aside for a number that is only claimed.
                (0..count).map(|_| self.text()).collect::<Option<_>>()?
            },
            would_refuse: self.option(Self::text)?,
            observed: {
                let count = self.u64()?;
                (0..count).map(|_| self.observed()).collect::<Option<_>>()?
            },
        };
        Some(Decided { id, decision })
    }

    fn observed(&mut self) -> Option<Observed> {
        Some(match self.byte()? {
            0 => Observed::SopClass(self.text()?),
            1 => Observed::Software(self.text()?),
            _ => return None,
        })
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.byte()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<String> {
        Some(str::from_utf8(self.bytes()?).ok()?.to_owned())
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u64()?).ok()?;
        let (some, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(some)
    }

    fn id(&mut self) -> Option<ConnectionId> {
        Some(ConnectionId(self.u64()?))
    }

    fn u64(&mut self) -> Option<u64> {
        let (number, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }
}

/// No decision is shorter.
const LEAST: usize = 50;
/// Decisions that room is set aside for before they are read.
//= C7
const USUAL: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(decision: Decision) -> FromRelay {
        let id = ConnectionId(7);
        let decided = Decided { id, decision };
        FromRelay::Decided(vec![decided.clone(), decided])
    }

    fn full() -> Decision {
        Decision {
            from: Side::Hospital,
            what: Subject::Answer,
            kind: "ORU^R01".to_owned(),
            rule: Some("results".to_owned()),
            outcome: Outcome::Abandoned,
            reason: Some("field".to_owned()),
            location: Some("PID-7".to_owned()),
            detail: Some("is not \u{e9}".to_owned()),
            answer: Some("AE".to_owned()),
            length: u64::MAX,
            digest: Some([255; 32]),
            identifier: Some(vec![0, 255]),
            micros: 3,
            warnings: vec![String::new(), "field PID-7".to_owned()],
            would_refuse: Some("field PID-7: is not a date".to_owned()),
            observed: vec![
                Observed::SopClass("1.2.840.10008.5.1.4.1.1.6.1".to_owned()),
                Observed::Software("ECG".to_owned()),
            ],
        }
    }

    fn least() -> Decision {
        Decision {
            from: Side::Device,
            what: Subject::Message,
            kind: String::new(),
            rule: None,
            outcome: Outcome::Forwarded,
            reason: None,
            location: None,
            detail: None,
            answer: None,
            length: 0,
            digest: None,
            identifier: None,
            micros: 0,
            warnings: Vec::new(),
            would_refuse: None,
            observed: Vec::new(),
        }
    }

    fn all() -> Vec<FromRelay> {
        let id = ConnectionId(9);
        let mut all = vec![
            FromRelay::Ready,
            FromRelay::Connect { id },
            FromRelay::Spool { id },
            FromRelay::Closed {
                id,
                forwarded: 1,
                refused: 2,
                received: 3,
                sent: 4,
            },
            decided(full()),
            decided(least()),
        ];
        for what in [Subject::Association, Subject::Stream] {
            all.push(decided(Decision { what, ..least() }));
        }
        for outcome in [
            Outcome::Refused,
            Outcome::Unanswered,
            Outcome::Repeated,
            Outcome::Undelivered,
        ] {
            all.push(decided(Decision { outcome, ..least() }));
        }
        all
    }

    #[test]
    fn everything_that_a_relay_says_comes_back_as_it_was() {
        for message in all() {
            let mut bytes = Vec::new();
            message.encode(&mut bytes).unwrap();
            let back = FromRelay::decode(&bytes).unwrap();
            assert_eq!(format!("{back:?}"), format!("{message:?}"));
            let (FromRelay::Decided(back), FromRelay::Decided(sent)) = (back, message) else {
                continue;
            };
            // The texts above leave out what is keyed.
            let decisions = |some: &[Decided]| some.iter().map(|d| d.decision.clone()).collect();
            let (back, sent): (Vec<Decision>, Vec<Decision>) = (decisions(&back), decisions(&sent));
            assert_eq!(back, sent);
        }
    }

    #[test]
    fn what_is_cut_off_or_left_over_or_unknown_is_no_message() {
        for message in all() {
            let mut bytes = Vec::new();
            message.encode(&mut bytes).unwrap();
            let whole_decisions = [bytes.len(), bytes.len().div_ceil(2), 1];
            let is_decided = matches!(message, FromRelay::Decided(_));
            for length in 0..bytes.len() {
                // Fewer decisions are a message, and none as well.
                let is_whole = is_decided && whole_decisions.contains(&length);
                let cut = FromRelay::decode(&bytes[..length]);
                assert_eq!(cut.is_ok(), is_whole, "{length} bytes of {message:?}");
            }
            bytes.push(0);
            assert!(FromRelay::decode(&bytes).is_err());
        }
        assert!(FromRelay::decode(&[5]).is_err());
    }

    #[test]
    fn a_count_that_is_only_claimed_costs_nothing() {
        let mut bytes = vec![DECIDED];
        let (id, decision) = (ConnectionId(1), least());
        put_decided(&mut bytes, id, &decision);
        let end = bytes.len();
        bytes[end - 8..].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(FromRelay::decode(&bytes).is_err());
    }
}

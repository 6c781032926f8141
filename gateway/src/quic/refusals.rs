//! Who was not let in, told once and then counted: a flood is a number and not a flood of records.
//!
//! In: refusals with the time. Out: events, at most one of each kind in [`TOGETHER`].

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::message::QuicEvent;
use crate::flow::DeviceName;
use crate::masque::Error;

/// The kinds of refusals that were told lately.
#[derive(Default)]
pub(super) struct Refusals(BTreeMap<(Why, Option<DeviceName>), Counted>);

/// Why somebody is not let in or not any more, in words of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Why {
    /// The RFC's name of the error by which the connection was closed, if a rule was broken.
    pub(super) code: Option<&'static str>,
    /// What happened.
    pub(super) text: &'static str,
}

impl From<&'static str> for Why {
    fn from(text: &'static str) -> Self {
        Self { code: None, text }
    }
}

impl From<Error> for Why {
    fn from(error: Error) -> Self {
        Self {
            code: Some(error.code.name()),
            text: error.why,
        }
    }
}

impl Display for Why {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(out, "{code}: {}", self.text),
            None => out.write_str(self.text),
        }
    }
}

struct Counted {
    since: Instant,
    first: Option<SocketAddr>,
    times: u64,
}

impl Refusals {
    /// The event, if it is the first of its kind.
    //= C8
    pub(super) fn note(
        &mut self,
        why: impl Into<Why>,
        device: Option<&DeviceName>,
        peer: SocketAddr,
        now: Instant,
    ) -> Option<QuicEvent> {
        let why = why.into();
        let known = self.0.len();
        let mut device = device.cloned();
        if known >= MAX_KINDS && !self.0.contains_key(&(why, device.clone())) {
            device = None;
        }
        if let Some(counted) = self.0.get_mut(&(why, device.clone())) {
            counted.first.get_or_insert(peer);
            counted.times = counted.times.saturating_add(1);
            return None;
        }
        let counted = Counted {
            since: now,
            first: None,
            times: 0,
        };
        self.0.insert((why, device.clone()), counted);
        Some(QuicEvent::Refused {
            why: why.to_string(),
            device,
            peer,
            times: 1,
        })
    }

    /// What came together since it was told last.
    pub(super) fn tell(&mut self, now: Instant) -> Vec<QuicEvent> {
        let mut told = Vec::new();
        self.0.retain(|(why, device), counted| {
            if now.saturating_duration_since(counted.since) < TOGETHER {
                return true;
            }
            let Some(peer) = counted.first.take() else {
                return false;
            };
            told.push(QuicEvent::Refused {
                why: why.to_string(),
                device: device.clone(),
                peer,
                times: std::mem::take(&mut counted.times),
            });
            counted.since = now;
            true
        });
        told
    }
}

/// How long refusals of one kind are counted together.
const TOGETHER: Duration = Duration::from_secs(10);
/// Beyond this, refusals of devices are counted without their names.
//= C7
const MAX_KINDS: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs a first instant")]
    use super::*;

    fn times(event: &QuicEvent) -> u64 {
        let QuicEvent::Refused { times, .. } = event else {
            panic!("{event:?}");
        };
        *times
    }

    #[test]
    fn the_first_is_told_at_once_and_the_others_together() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let peer = "192.0.2.1:9".parse().unwrap();
        let note = |refusals: &mut Refusals, why, at| refusals.note(why, None, peer, at);
        let first = note(&mut refusals, "a", start).unwrap();
        assert_eq!(times(&first), 1);
        for _ in 0..1000 {
            assert_eq!(note(&mut refusals, "a", start), None);
        }
        assert!(note(&mut refusals, "b", start).is_some());
        assert_eq!(refusals.tell(start), []);
        let told = refusals.tell(start + TOGETHER);
        assert_eq!(told.iter().map(times).collect::<Vec<_>>(), [1000]);
        assert_eq!(note(&mut refusals, "a", start + TOGETHER), None);
        assert_eq!(refusals.tell(start + TOGETHER * 2).len(), 1);
        assert_eq!(refusals.tell(start + TOGETHER * 3), []);
        assert!(note(&mut refusals, "a", start + TOGETHER * 3).is_some());
    }

    //= C7
    #[test]
    fn what_is_remembered_does_not_grow() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let peer = "192.0.2.1:9".parse().unwrap();
        for number in 0..5000 {
            let device: DeviceName = format!("d-{number}").parse().unwrap();
            refusals.note("a", Some(&device), peer, start);
        }
        assert!(refusals.0.len() <= MAX_KINDS + 1);
        let told = refusals.tell(start + TOGETHER);
        let all: u64 = told.iter().map(times).sum();
        assert_eq!(all, 5000 - 1 - MAX_KINDS as u64);
    }
}

//! Whose handshakes were not answered because nobody knows their key, by source.
//!
//! In: source and key of each. Out: how many since the last look. A flood fills the table, not the memory: then what is
//! there is counted on, and nothing is added. The source is what the datagram claims.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::message::Stranger;

/// Handshakes of unknown keys.
#[derive(Default)]
pub struct Strangers {
    all: BTreeMap<(IpAddr, [u8; 32]), u64>,
}

impl Strangers {
    /// Counts one.
    pub fn note(&mut self, source: IpAddr, key: [u8; 32]) {
        let who = (source.to_canonical(), key);
        if self.all.len() < MOST || self.all.contains_key(&who) {
            let count = self.all.entry(who).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// All since the last time.
    pub fn take(&mut self) -> Vec<Stranger> {
        let all = std::mem::take(&mut self.all).into_iter();
        all.map(|((source, key), handshakes)| Stranger {
            source,
            key,
            handshakes,
        })
        .collect()
    }
}

//= C7
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_counted_by_source_and_key_within_bounds() {
        let mut strangers = Strangers::default();
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        strangers.note(one, [1; 32]);
        strangers.note("::ffff:192.0.2.1".parse().unwrap(), [1; 32]);
        strangers.note(one, [2; 32]);
        let taken = strangers.take();
        let counts: Vec<u64> = taken.iter().map(|one| one.handshakes).collect();
        assert_eq!(counts, [2, 1]);
        assert!(strangers.take().is_empty());
        for number in 0..1000_u16 {
            let mut key = [0; 32];
            key[..2].copy_from_slice(&number.to_be_bytes());
            strangers.note(one, key);
            strangers.note(one, [0; 32]);
        }
        let taken = strangers.take();
        assert_eq!((taken.len(), taken[0].handshakes), (MOST, 1001));
    }
}

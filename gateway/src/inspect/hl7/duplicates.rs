//! Which messages of one device were already taken by their destination.
//!
//! In: who sent which bytes under which MSH-10. Out: the code that the destination gave to exactly these bytes.
//! Remembers halves of hashes only (nobody finds a second message with the same half), for a day, and the newest of them; what is forgotten is simply forwarded again.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

use protocol_inspect::hl7::Header;
use protocol_inspect::hl7::ack::AckCode;
use sha2::{Digest, Sha256};

/// The messages that were acknowledged with success.
#[derive(Debug, Default)]
pub(super) struct Duplicates {
    taken: HashMap<Half, Taken, BuildHasherDefault<Place>>,
    /// Keys in the order in which they were remembered.
    order: VecDeque<(Half, Instant)>,
}

/// The first half of a hash: SHA-256 for keys, a message's own digest for its bytes. There is one table for each device and service, thousands of them: every byte counts.
pub(super) type Half = [u8; 16];

/// Where a key is in the table: keys are hashes already. Who finds some that begin alike makes his own table slow,
/// and that not by much, for it is bounded.
#[derive(Default)]
struct Place(u64);

impl Hasher for Place {
    fn write(&mut self, key: &[u8]) {
        if let Some(first) = key.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    /// The length of a key says nothing.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    digest: Half,
    code: AckCode,
    at: Instant,
}

/// What is known of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing, or it was not taken.
    New,
    /// The destination took these very bytes and said so.
    Taken(AckCode),
    /// Other bytes came under this MSH-10: devices restart their counters.
    Changed,
}

impl Duplicates {
    /// What is known of these bytes under this [`key`].
    pub(super) fn seen(&self, key: Half, digest: &[u8; 32], now: Instant) -> Seen {
        match self.taken.get(&key) {
            Some(taken) if now.saturating_duration_since(taken.at) >= WINDOW => Seen::New,
            Some(taken) if taken.digest == half(digest) => Seen::Taken(taken.code),
            Some(_) => Seen::Changed,
            None => Seen::New,
        }
    }

    /// The destination said later that it did not take a message after all.
    pub(super) fn forget(&mut self, key: Half) {
        self.taken.remove(&key);
    }

    /// Remembers that the destination took a message.
    //= C7
    pub(super) fn insert(&mut self, key: Half, digest: [u8; 32], code: AckCode, now: Instant) {
        let (at, digest) = (now, half(&digest));
        self.taken.insert(key, Taken { digest, code, at });
        self.order.push_back((key, at));
        while let Some((oldest, since)) = self.order.front().copied() {
            let stale = now.saturating_duration_since(since) >= WINDOW;
            if !stale && self.order.len() <= MOST {
                break;
            }
            self.order.pop_front();
            // The key may have been remembered again since.
            if self.taken.get(&oldest).is_some_and(|t| t.at == since) {
                self.taken.remove(&oldest);
            }
        }
    }
}

/// MSH-3, MSH-4 and MSH-10.
pub(super) fn key(header: &Header) -> Half {
    let (application, facility) = header.sender();
    hash(&[application, facility, header.control_id()])
}

/// The lengths keep the parts apart.
pub(super) fn hash(parts: &[&[u8]]) -> Half {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    half(&hash.finalize().into())
}

fn half(hash: &[u8; 32]) -> Half {
    hash.first_chunk().copied().unwrap_or_default()
}

/// How long a message is remembered.
const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
/// Most messages that are remembered for one device and service: some 200 KiB.
const MOST: usize = 2_048;

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "tests begin at the real time once"
)]
mod tests {
    use super::*;

    fn id(id: &str) -> Half {
        let text = format!("MSH|^~\\&|A|B|C|D|20260101||ORU^R01|{id}|P|2.5\rPID|1\r");
        key(&Header::of(text.as_bytes()).unwrap())
    }

    #[test]
    fn remembers_for_a_day_and_only_these_bytes() {
        let now = Instant::now();
        let mut table = Duplicates::default();
        assert_eq!(table.seen(id("1"), &[1; 32], now), Seen::New);
        table.insert(id("1"), [1; 32], AckCode::Aa, now);
        assert_eq!(table.seen(id("1"), &[1; 32], now), Seen::Taken(AckCode::Aa));
        assert_eq!(table.seen(id("1"), &[2; 32], now), Seen::Changed);
        assert_eq!(table.seen(id("2"), &[1; 32], now), Seen::New);
        let later = now + WINDOW;
        assert_eq!(table.seen(id("1"), &[1; 32], later), Seen::New);
    }

    #[test]
    fn forgets_the_oldest_when_full() {
        let now = Instant::now();
        let mut table = Duplicates::default();
        for number in 0..MOST + 10 {
            table.insert(id(&number.to_string()), [1; 32], AckCode::Ca, now);
        }
        assert_eq!(table.taken.len(), MOST);
        assert_eq!(table.seen(id("9"), &[1; 32], now), Seen::New);
        assert_eq!(
            table.seen(id("10"), &[1; 32], now),
            Seen::Taken(AckCode::Ca)
        );
        let later = now + WINDOW;
        table.insert(id("x"), [1; 32], AckCode::Aa, later);
        assert_eq!((table.taken.len(), table.order.len()), (1, 1));
    }
}

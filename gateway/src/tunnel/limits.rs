//! Who may cost us a handshake.
//!
//! In: the source of a handshake message whose first MAC is right, and the time.
//! Out: go on, ask for a proof of the address (a cookie), or drop.
//! A flood must not lock out a third party: whoever is over a limit without proof is asked for proof,
//! and whoever proved its address has a bucket that others cannot empty.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Token buckets per source and the load of the whole socket.
pub struct Gate {
    unproven: Buckets,
    proven: Buckets,
    load: Load,
    proven_load: Load,
}

impl Gate {
    /// Open.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            unproven: Buckets::new(now),
            proven: Buckets::new(now),
            load: Load::new(now, UNPROVEN_PER_SECOND),
            proven_load: Load::new(now, PROVEN_PER_SECOND),
        }
    }

    /// Whether a source may go on without a proof of its address.
    pub fn admit(&mut self, source: IpAddr, now: Instant) -> bool {
        // In this order: what one source has too much must not become the load of all.
        self.unproven.admit(source, now) && self.load.admit(now)
    }

    /// Whether a source that proved its address may go on.
    pub fn admit_proven(&mut self, source: IpAddr, now: Instant) -> bool {
        self.proven.admit(source, now) && self.proven_load.admit(now)
    }
}

/// A token bucket for each IPv4 address and each IPv6 /64.
///
/// Two generations of at most [`MAX_SOURCES`]; the elder goes when the younger is full or [`REFILL`] old.
/// A bucket that old is full again, so nothing is lost, unless more sources speak than the table holds.
struct Buckets {
    young: HashMap<u64, Bucket>,
    old: HashMap<u64, Bucket>,
    since: Instant,
}

#[derive(Clone, Copy)]
struct Bucket {
    /// Time for which the bucket has tokens.
    credit: Duration,
    at: Instant,
}

impl Buckets {
    fn new(now: Instant) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            since: now,
        }
    }

    fn admit(&mut self, source: IpAddr, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= REFILL || self.young.len() >= MAX_SOURCES {
            self.old = std::mem::take(&mut self.young);
            self.since = now;
        }
        let key = key(source);
        let known = self.young.get(&key).or_else(|| self.old.get(&key));
        let mut bucket = known.copied().unwrap_or(Bucket {
            credit: REFILL,
            at: now,
        });
        let gained = now.saturating_duration_since(bucket.at);
        bucket.credit = bucket.credit.saturating_add(gained).min(REFILL);
        bucket.at = now;
        let left = bucket.credit.checked_sub(TOKEN);
        bucket.credit = left.unwrap_or(bucket.credit);
        self.young.insert(key, bucket);
        left.is_some()
    }
}

/// What counts as one source: an IPv4 address, or an IPv6 /64.
pub(crate) fn key(source: IpAddr) -> u64 {
    match source.to_canonical() {
        // No IPv6 source has these upper 32 bits: 100::/64 is the discard prefix.
        IpAddr::V4(address) => 0x0100_0000_0000_0000 | u64::from(address.to_bits()),
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or_default(),
    }
}

/// Counts to a limit each second.
struct Load {
    since: Instant,
    count: u32,
    most: u32,
}

impl Load {
    fn new(now: Instant, most: u32) -> Self {
        Self {
            since: now,
            count: 0,
            most,
        }
    }

    fn admit(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            (self.since, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(1);
        self.count <= self.most
    }
}

/// One handshake of a source costs this much time of its credit: 20 a second.
const TOKEN: Duration = Duration::from_millis(50);
/// A full bucket: a burst of 5.
const REFILL: Duration = Duration::from_millis(250);
/// Most sources in one generation of a table.
pub const MAX_SOURCES: usize = 8192;
/// Beyond this all sources are asked for a proof of their address.
pub const UNPROVEN_PER_SECOND: u32 = 500;
/// Beyond this handshakes are dropped: a third of a core.
pub const PROVEN_PER_SECOND: u32 = 1000;

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs a first instant")]
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_has_a_burst_of_5_and_20_a_second() {
        let start = Instant::now();
        let mut buckets = Buckets::new(start);
        let admitted = |buckets: &mut Buckets, source: &str, at: Instant, tries: usize| {
            (0..tries).filter(|_| buckets.admit(ip(source), at)).count()
        };
        assert_eq!(admitted(&mut buckets, "192.0.2.1", start, 100), 5);
        assert_eq!(admitted(&mut buckets, "192.0.2.2", start, 1), 1);
        let total: usize = (1..=1000)
            .map(|ms| {
                admitted(
                    &mut buckets,
                    "192.0.2.1",
                    start + Duration::from_millis(ms),
                    1,
                )
            })
            .sum();
        assert_eq!(total, 20);
        let later = start + Duration::from_secs(60);
        assert_eq!(admitted(&mut buckets, "192.0.2.1", later, 100), 5);
    }

    #[test]
    fn an_ipv6_source_is_its_64() {
        let start = Instant::now();
        let mut buckets = Buckets::new(start);
        for host in 1..=5 {
            assert!(buckets.admit(ip(&format!("2001:db8::{host}")), start));
        }
        assert!(!buckets.admit(ip("2001:db8::6"), start));
        assert!(buckets.admit(ip("2001:db8:0:1::6"), start));
    }

    #[test]
    fn the_table_is_bounded_and_keeps_a_flooder_through_a_rotation() {
        let start = Instant::now();
        let mut buckets = Buckets::new(start);
        for host in 0..u32::try_from(MAX_SOURCES * 5).unwrap() {
            buckets.admit(IpAddr::V4(host.into()), start);
            assert!(buckets.young.len() <= MAX_SOURCES && buckets.old.len() <= MAX_SOURCES);
        }
        let mut buckets = Buckets::new(start);
        for _ in 0..5 {
            assert!(buckets.admit(ip("192.0.2.1"), start));
        }
        for host in 0..u32::try_from(MAX_SOURCES).unwrap() {
            buckets.admit(IpAddr::V4(host.into()), start);
        }
        assert!(!buckets.admit(ip("192.0.2.1"), start));
    }

    #[test]
    fn a_flood_asks_for_proof_and_proof_has_its_own_bucket() {
        let start = Instant::now();
        let mut gate = Gate::new(start);
        let victim = ip("192.0.2.1");
        let spoofed = (0..100).filter(|_| gate.admit(victim, start)).count();
        assert_eq!(spoofed, 5);
        assert!(gate.admit_proven(victim, start));
        assert!((0..5000).all(|_| !gate.admit(victim, start)));
        assert!(
            gate.admit(ip("192.0.2.2"), start),
            "one flooder is not the load of all"
        );
        let mut gate = Gate::new(start);
        let many = (0..5000u32).filter(|host| gate.admit(IpAddr::V4((*host).into()), start));
        assert_eq!(u32::try_from(many.count()).unwrap(), UNPROVEN_PER_SECOND);
        let many = (0..5000u32).filter(|host| gate.admit_proven(IpAddr::V4((*host).into()), start));
        assert_eq!(u32::try_from(many.count()).unwrap(), PROVEN_PER_SECOND);
        assert!(gate.admit(victim, start + Duration::from_secs(1)));
    }
}

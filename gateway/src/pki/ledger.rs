//! What was issued and what became of it: the truth of the list of revoked certificates.
//!
//! In: entries, in the order in which they were written. Out: who holds which key, what is revoked.
//! An entry that contradicts those before it is refused. Knows nothing of the file that keeps them.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use lazaret_config::DeviceName;
use serde::{Deserialize, Serialize};

use super::authority::{AuthorityId, Reason, RevokedEntry};
use super::key::{Fingerprint, Serial};
use super::validity::{Validity, later};

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
pub enum Entry {
    /// A certificate was signed; written before it is handed out.
    Issued(Issued),
    /// A certificate is revoked.
    Revoked {
        /// Which.
        serial: Serial,
        /// Since when.
        at: Timestamp,
        /// Why.
        reason: Reason,
    },
    /// A list of revoked certificates was signed; no later one has a smaller number.
    List {
        /// Of whom.
        authority: AuthorityId,
        /// Its number.
        number: u64,
    },
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// Its number.
    pub serial: Serial,
    /// By whom.
    pub authority: AuthorityId,
    /// To whom.
    pub holder: Holder,
    /// Of its key.
    pub key: Fingerprint,
    /// From when to when.
    #[serde(flatten)]
    pub validity: Validity,
}

/// To whom a certificate was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// A device.
    Device(DeviceName),
    /// A listener of the gateway.
    Server(Listener),
}

/// The gateway's own listeners that have certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listener {
    /// Where devices are enrolled.
    Enrol,
    /// The QUIC tunnel.
    Quic,
}

/// Since when and why a certificate is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// Everything that was written.
#[derive(Debug, Default)]
pub struct Ledger {
    issued: BTreeMap<Serial, Issued>,
    revoked: BTreeMap<Serial, Revocation>,
    /// Any certificate of each key: all of one key have one holder.
    keys: BTreeMap<Fingerprint, Serial>,
    /// All certificates of each holder.
    holders: BTreeMap<Holder, Vec<Serial>>,
    lists: BTreeMap<AuthorityId, u64>,
}

/// Why an entry is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The number was given before.
    #[error("the serial number was given before")]
    Repeated,
    /// Another holder has a certificate of this key.
    #[error("the key belongs to another device")]
    KeyTaken,
    /// More than [`MOST_CERTIFICATES`].
    #[error("the ledger holds {MOST_CERTIFICATES} certificates already")]
    Full,
    /// There is no certificate with this number.
    #[error("there is no certificate with this serial number")]
    Unknown,
    /// The number of a list is not larger than the one before.
    #[error("the number of the list does not grow")]
    Backwards,
}

impl Ledger {
    /// Takes an entry.
    ///
    /// # Errors
    /// When it contradicts what was written before.
    pub fn take(&mut self, entry: Entry) -> Result<(), LedgerError> {
        match entry {
            Entry::Issued(issued) => {
                self.may_issue(&issued)?;
                self.keys.entry(issued.key).or_insert(issued.serial);
                let holder = self.holders.entry(issued.holder.clone());
                holder.or_default().push(issued.serial);
                self.issued.insert(issued.serial, issued);
            }
            Entry::Revoked { serial, at, reason } => {
                if !self.issued.contains_key(&serial) {
                    return Err(LedgerError::Unknown);
                }
                self.revoked
                    .entry(serial)
                    .or_insert(Revocation { at, reason });
            }
            Entry::List { authority, number } => {
                if self.last_list(authority) >= number {
                    return Err(LedgerError::Backwards);
                }
                self.lists.insert(authority, number);
            }
        }
        Ok(())
    }

    /// Whether a certificate may be written.
    ///
    /// # Errors
    /// When it contradicts what was written before.
    //= C5
    //= C7
    pub fn may_issue(&self, issued: &Issued) -> Result<(), LedgerError> {
        if self.issued.contains_key(&issued.serial) {
            return Err(LedgerError::Repeated);
        }
        if self.issued.len() >= MOST_CERTIFICATES {
            return Err(LedgerError::Full);
        }
        match self.holder(issued.key) {
            Some(holder) if *holder != issued.holder => Err(LedgerError::KeyTaken),
            Some(_) | None => Ok(()),
        }
    }

    /// How many certificates of a holder hold at a time, or will.
    #[must_use]
    pub fn held_by(&self, holder: &Holder, at: Timestamp) -> usize {
        let all = self.holders.get(holder).into_iter().flatten();
        let holds = all.filter_map(|serial| self.find(*serial));
        holds
            .filter(|(issued, revoked)| revoked.is_none() && issued.validity.not_after >= at)
            .count()
    }

    /// Who has certificates of this key.
    #[must_use]
    pub fn holder(&self, key: Fingerprint) -> Option<&Holder> {
        let serial = self.keys.get(&key)?;
        self.issued.get(serial).map(|issued| &issued.holder)
    }

    /// Whether a certificate of this key was revoked.
    #[must_use]
    pub fn is_key_revoked(&self, key: Fingerprint) -> bool {
        let revoked = self.revoked.keys();
        let mut of_key = revoked.filter_map(|serial| self.issued.get(serial));
        of_key.any(|issued| issued.key == key)
    }

    /// A certificate, and whether it is revoked.
    #[must_use]
    pub fn find(&self, serial: Serial) -> Option<(&Issued, Option<Revocation>)> {
        let issued = self.issued.get(&serial)?;
        Some((issued, self.revoked.get(&serial).copied()))
    }

    /// All certificates, and whether they are revoked.
    pub fn all(&self) -> impl Iterator<Item = (&Issued, Option<Revocation>)> {
        let all = self.issued.values();
        all.map(|issued| (issued, self.revoked.get(&issued.serial).copied()))
    }

    /// What the list of an authority has to say: certificates that have not ended, or could still be renewed.
    #[must_use]
    pub fn revoked_by(
        &self,
        authority: AuthorityId,
        now: Timestamp,
        grace: Duration,
    ) -> Vec<RevokedEntry> {
        let all = self.all();
        let listed = all.filter(|(issued, _)| {
            issued.authority == authority && later(issued.validity.not_after, grace) >= now
        });
        let entries = listed.filter_map(|(issued, revocation)| {
            let Revocation { at, reason } = revocation?;
            let serial = issued.serial;
            Some(RevokedEntry { serial, at, reason })
        });
        entries.collect()
    }

    /// The number of the last list of an authority; 0 if there was none.
    #[must_use]
    pub fn last_list(&self, authority: AuthorityId) -> u64 {
        self.lists.get(&authority).copied().unwrap_or(0)
    }

    /// Forgets certificates that can never again be of any use, and says how many.
    pub fn forget(&mut self, now: Timestamp, grace: Duration) -> usize {
        let before = self.issued.len();
        let keep = grace.saturating_add(REMEMBERED);
        self.issued
            .retain(|_, issued| later(issued.validity.not_after, keep) >= now);
        let kept = &self.issued;
        self.revoked.retain(|serial, _| kept.contains_key(serial));
        self.keys = kept.values().map(|one| (one.key, one.serial)).collect();
        self.holders.retain(|_, all| {
            all.retain(|serial| kept.contains_key(serial));
            !all.is_empty()
        });
        before.saturating_sub(self.issued.len())
    }

    /// How many could be forgotten.
    #[must_use]
    pub fn forgettable(&self, now: Timestamp, grace: Duration) -> usize {
        let keep = grace.saturating_add(REMEMBERED);
        let old = |issued: &&Issued| later(issued.validity.not_after, keep) < now;
        self.issued.values().filter(old).count()
    }

    /// Entries from which the same ledger can be made.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let issued = self.issued.values().cloned().map(Entry::Issued);
        let revoked = self.revoked.iter().map(|(serial, one)| Entry::Revoked {
            serial: *serial,
            at: one.at,
            reason: one.reason,
        });
        let lists = self.lists.iter().map(|(authority, number)| Entry::List {
            authority: *authority,
            number: *number,
        });
        issued.chain(revoked).chain(lists)
    }

    /// How many certificates it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.issued.len()
    }

    /// Whether nothing was issued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.issued.is_empty()
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Device(device) => device.fmt(f),
            Self::Server(listener) => write!(f, "listener {}", listener.as_str()),
        }
    }
}

impl Listener {
    /// As in records and arguments.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enrol => "enrol",
            Self::Quic => "quic",
        }
    }
}

/// Certificates that the ledger holds: ten thousand devices that renew every day for three months.
//= C7
pub const MOST_CERTIFICATES: usize = 1_000_000;
/// How long after the end of its grace a certificate is remembered, so that its key is not given to another device.
const REMEMBERED: Duration = Duration::from_hours(30 * 24);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(1_770_000_000 + day * 86_400).unwrap()
    }

    fn issued(serial: u8, device: &str, key: u8) -> Issued {
        Issued {
            serial: Serial::new([serial; 16]),
            authority: AuthorityId([1; 6]),
            holder: Holder::Device(device.parse().unwrap()),
            key: Fingerprint([key; 32]),
            validity: Validity {
                not_before: at(0),
                not_after: at(30),
            },
        }
    }

    fn revoked(serial: u8) -> Entry {
        Entry::Revoked {
            serial: Serial::new([serial; 16]),
            at: at(3),
            reason: Reason::KeyCompromise,
        }
    }

    #[test]
    fn one_key_has_one_holder() {
        let mut ledger = Ledger::default();
        let mut take = |one| ledger.take(Entry::Issued(one));
        assert_eq!(take(issued(1, "ecg", 1)), Ok(()));
        assert_eq!(take(issued(1, "ecg", 1)), Err(LedgerError::Repeated));
        assert_eq!(take(issued(2, "us", 1)), Err(LedgerError::KeyTaken));
        assert_eq!(take(issued(2, "ecg", 1)), Ok(()));
        assert_eq!(take(issued(3, "us", 2)), Ok(()));
    }

    #[test]
    fn the_list_holds_what_is_revoked_and_not_ended() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.take(revoked(1)), Err(LedgerError::Unknown));
        for serial in 1..4 {
            let one = Entry::Issued(issued(serial, "ecg", serial));
            ledger.take(one).unwrap();
        }
        for serial in [1, 3, 3] {
            ledger.take(revoked(serial)).unwrap();
        }
        let list = |authority, day, days: u64| {
            let days = Duration::from_hours(24 * days);
            let list = ledger.revoked_by(AuthorityId([authority; 6]), at(day), days);
            list.iter().map(|one| one.serial).collect::<Vec<_>>()
        };
        let (first, third) = (Serial::new([1; 16]), Serial::new([3; 16]));
        assert_eq!(list(1, 10, 0), [first, third]);
        assert_eq!(list(1, 30, 0), [first, third]);
        // What could still be renewed.
        assert_eq!(list(1, 31, 14), [first, third]);
        assert_eq!(list(1, 45, 14), []);
        assert_eq!((list(1, 31, 0), list(2, 10, 0)), (vec![], vec![]));
        assert!(ledger.is_key_revoked(Fingerprint([1; 32])));
        assert!(!ledger.is_key_revoked(Fingerprint([2; 32])));
    }

    #[test]
    fn numbers_of_lists_grow() {
        let mut ledger = Ledger::default();
        let list = |authority, number| Entry::List {
            authority: AuthorityId([authority; 6]),
            number,
        };
        ledger.take(list(1, 5)).unwrap();
        assert_eq!(ledger.take(list(1, 5)), Err(LedgerError::Backwards));
        ledger.take(list(1, 6)).unwrap();
        ledger.take(list(2, 1)).unwrap();
    }

    #[test]
    fn what_is_forgotten_was_of_no_use_and_the_rest_is_the_same() {
        let grace = Duration::from_hours(14 * 24);
        let mut ledger = Ledger::default();
        for (serial, device) in [(1, "ecg"), (2, "us")] {
            let mut one = issued(serial, device, serial);
            one.validity.not_after = at(30 + i64::from(serial));
            ledger.take(Entry::Issued(one)).unwrap();
            ledger.take(revoked(serial)).unwrap();
        }
        let last = 31 + 14 + 30;
        assert_eq!(ledger.forgettable(at(last), grace), 0);
        assert_eq!(ledger.forget(at(last), grace), 0);
        assert_eq!(ledger.forgettable(at(last + 1), grace), 1);
        assert_eq!(ledger.forget(at(last + 1), grace), 1);
        assert_eq!(
            (ledger.len(), ledger.holder(Fingerprint([1; 32]))),
            (1, None)
        );
        let mut again = Ledger::default();
        for entry in ledger.entries() {
            let line = serde_json::to_string(&entry).unwrap();
            again.take(serde_json::from_str(&line).unwrap()).unwrap();
        }
        let all = |ledger: &Ledger| ledger.entries().collect::<Vec<_>>();
        assert_eq!(all(&again), all(&ledger));
    }
}

//! What a device and a service still owe each other, beyond one association.
//!
//! In: transactions as they are asked, answered and reported, and the time. Out: whether one may be, and what to keep.
//! Decided here: which C-MOVE, storage commitment and performed procedure step a message belongs to.
//! UIDs are known by keyed digests alone; what must outlive the process is kept by who made the key.

use std::collections::BTreeMap;

use hmac::{Hmac, Mac};
use jiff::Timestamp;
use protocol_inspect::dicom::Retrieval;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// What is outstanding between one device and one service, over all their associations.
#[derive(Default)]
pub struct Outstanding {
    key: [u8; 32],
    /// By the association on which each was asked: one at a time.
    retrievals: BTreeMap<u64, (Retrieval, String)>,
    last: u64,
    /// By what they are about.
    entries: BTreeMap<Digest, Entry>,
    /// Changes with the retrievals.
    version: u64,
    /// There is little room for all devices together.
    tight: bool,
}

/// An HMAC-SHA-256 under a key of this device and service, in hex where it is written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// Text that is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 64 hexadecimal digits")]
pub struct InvalidDigest;

/// One transaction that outlives its association.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Of its UID.
    pub id: Digest,
    /// Where it stands.
    pub state: State,
    /// When it was asked or began, in seconds since 1970.
    pub since: i64,
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Storage commitment was asked for these instances.
    Asked(Digest),
    /// And its result was delivered; the service may not know that and say it again.
    Reported(Digest),
    /// A performed procedure step is in progress.
    InProgress,
    /// And is completed or discontinued.
    Ended,
    /// There is none after all.
    Withdrawn,
}

/// What the supervisor remembers for a relay.
#[derive(Clone, Serialize, Deserialize)]
pub struct Recall {
    /// Of the digests of this device and service, and of no other.
    pub key: [u8; 32],
    /// What is outstanding between the device and the service.
    pub entries: Vec<Entry>,
    /// Whether there is little room for all devices together: see [`Outstanding::tighten`].
    pub tight: bool,
}

impl std::fmt::Debug for Recall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recall({} entries)", self.entries.len())
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(keyed)")
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;
    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return Err(InvalidDigest);
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let digits = std::str::from_utf8(pair).map_err(|_| InvalidDigest)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| InvalidDigest)?;
        }
        Ok(Self(bytes))
    }
}

/// Why a transaction cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conflict {
    /// Nothing like it is outstanding.
    Unknown,
    /// It is about other instances.
    Other,
    /// It has ended.
    Over,
    /// There is no room for one more.
    Full,
}

impl Outstanding {
    /// Takes back what the supervisor remembers. What is newer here stays.
    pub fn recall(&mut self, recall: &Recall) {
        self.key = recall.key;
        self.tight = recall.tight;
        for entry in &recall.entries {
            self.entries.entry(entry.id).or_insert(*entry);
        }
    }

    /// All devices together have little room left, or enough again. While it is little, those that hold
    /// [`SHARE`] or more get nothing more; the others still do.
    //= C7
    pub fn tighten(&mut self, tight: bool) {
        self.tight = tight;
    }

    /// The digest of a UID or hash.
    pub(super) fn digest(&self, what: &str, value: &[u8]) -> Digest {
        // A key of any length is taken.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            return Digest([0; 32]);
        };
        mac.update(what.as_bytes());
        mac.update(b"\0");
        mac.update(value);
        Digest(mac.finalize().into_bytes().into())
    }

    /// A C-MOVE goes up; the number ends it.
    pub(super) fn retrieves(&mut self, retrieval: Retrieval, destination: &str) -> u64 {
        self.last = self.last.saturating_add(1);
        self.version = self.version.saturating_add(1);
        let outstanding = (retrieval, destination.to_owned());
        self.retrievals.insert(self.last, outstanding);
        self.last
    }

    /// Its last response came, or its association is over.
    pub(super) fn retrieved(&mut self, number: u64) {
        if self.retrievals.remove(&number).is_some() {
            self.version = self.version.saturating_add(1);
        }
    }

    /// The outstanding retrievals to a title.
    pub(super) fn retrievals(&self, destination: &str) -> Vec<Retrieval> {
        let to = |(_, title): &&(Retrieval, String)| title == destination;
        let all = self.retrievals.values().filter(to);
        all.map(|(retrieval, _)| retrieval.clone()).collect()
    }

    /// Changes whenever the retrievals do.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Whether a result of storage commitment may come at all.
    pub(super) fn awaits_commitment(&self, now: Timestamp, lifetime: i64) -> bool {
        let mut live = self.entries.values().filter(|e| e.lives(now, lifetime));
        live.any(|entry| matches!(entry.state, State::Asked(_) | State::Reported(_)))
    }

    /// Whether storage commitment may be asked for. The same request may be asked again.
    //= C7
    pub(super) fn asks(
        &mut self,
        id: Digest,
        instances: Digest,
        now: Timestamp,
        lifetime: i64,
    ) -> Result<(), Conflict> {
        let known = self.live(id, now, lifetime);
        if let Some(Entry { state, .. }) = known {
            match state {
                State::Asked(same) | State::Reported(same) if same == instances => {}
                State::Withdrawn => {}
                State::Asked(_) | State::Reported(_) | State::InProgress | State::Ended => {
                    return Err(Conflict::Other);
                }
            }
        }
        if self.entries.contains_key(&id) {
            return Ok(());
        }
        self.room(now, lifetime)
    }

    /// A result of storage commitment comes: is it one that was asked for?
    pub(super) fn reports(
        &self,
        id: Digest,
        instances: Digest,
        now: Timestamp,
        lifetime: i64,
    ) -> Result<(), Conflict> {
        match self.live(id, now, lifetime).map(|entry| entry.state) {
            Some(State::Asked(asked) | State::Reported(asked)) if asked == instances => Ok(()),
            Some(State::Asked(_) | State::Reported(_)) => Err(Conflict::Other),
            Some(State::InProgress | State::Ended | State::Withdrawn) | None => {
                Err(Conflict::Unknown)
            }
        }
    }

    /// A performed procedure step may change only while it is in progress.
    pub(super) fn changes(
        &self,
        id: Digest,
        now: Timestamp,
        lifetime: i64,
    ) -> Result<(), Conflict> {
        match self.live(id, now, lifetime).map(|entry| entry.state) {
            Some(State::InProgress) => Ok(()),
            Some(State::Ended) => Err(Conflict::Over),
            Some(State::Asked(_) | State::Reported(_) | State::Withdrawn) | None => {
                Err(Conflict::Unknown)
            }
        }
    }

    /// Whether one more fits; what is over makes room.
    pub(super) fn room(&mut self, now: Timestamp, lifetime: i64) -> Result<(), Conflict> {
        let most = most_entries(self.tight);
        if self.entries.len() < most {
            return Ok(());
        }
        self.entries.retain(|_, entry| entry.lives(now, lifetime));
        if self.entries.len() < most {
            return Ok(());
        }
        let oldest = oldest_over(self.entries.values()).ok_or(Conflict::Full)?;
        self.entries.remove(&oldest);
        Ok(())
    }

    /// A transaction comes to stand so.
    pub(super) fn insert(
        &mut self,
        id: Digest,
        state: State,
        now: Timestamp,
        lifetime: i64,
    ) -> Result<Entry, Conflict> {
        if !self.entries.contains_key(&id) {
            self.room(now, lifetime)?;
        }
        let since = now.as_second();
        let entry = Entry { id, state, since };
        self.entries.insert(id, entry);
        Ok(entry)
    }

    /// A transaction moves on, if it is known: to what the function makes of its state.
    pub(super) fn advance(
        &mut self,
        id: Digest,
        next: impl FnOnce(State) -> State,
    ) -> Option<Entry> {
        let entry = self.entries.get_mut(&id)?;
        entry.state = next(entry.state);
        Some(*entry)
    }

    fn live(&self, id: Digest, now: Timestamp, lifetime: i64) -> Option<Entry> {
        let entry = self.entries.get(&id)?;
        entry.lives(now, lifetime).then_some(*entry)
    }
}

impl Entry {
    /// Whether it has not expired.
    #[must_use]
    pub fn lives(&self, now: Timestamp, lifetime: i64) -> bool {
        now.as_second().saturating_sub(self.since) < lifetime
    }

    /// Whether nothing is expected of it any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self.state {
            State::Asked(_) | State::InProgress => false,
            State::Reported(_) | State::Ended | State::Withdrawn => true,
        }
    }
}

/// Most transactions of one device with one service at once.
//= C7
#[must_use]
pub fn most_entries(tight: bool) -> usize {
    if tight { SHARE } else { MOST_ENTRIES }
}

/// Which makes room for another: the oldest of which nothing is expected any more.
pub fn oldest_over<'a>(entries: impl Iterator<Item = &'a Entry>) -> Option<Digest> {
    let over = entries.filter(|entry| entry.is_over());
    over.min_by_key(|entry| entry.since).map(|entry| entry.id)
}

/// Transactions of one device with one service that are remembered at once.
//= C7
pub const MOST_ENTRIES: usize = 4_096;
/// So many of them always, however many those of other devices are.
//= C7
pub const SHARE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: i64 = 7 * 24 * 3_600;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn made() -> Outstanding {
        let mut all = Outstanding::default();
        all.recall(&Recall {
            key: [7; 32],
            entries: Vec::new(),
            tight: false,
        });
        all
    }

    fn ask(all: &mut Outstanding, id: Digest, set: Digest, at: Timestamp) -> Result<(), Conflict> {
        all.asks(id, set, at, WEEK)?;
        all.insert(id, State::Asked(set), at, WEEK).map(drop)
    }

    #[test]
    fn a_result_is_of_what_was_asked_and_of_nothing_else() {
        let mut all = made();
        let (id, set) = (all.digest("t", b"1.2"), all.digest("i", b"ab"));
        let other = all.digest("t", b"1.3");
        assert_eq!(all.reports(id, set, at(0), WEEK), Err(Conflict::Unknown));
        all.asks(id, set, at(0), WEEK).unwrap();
        assert_eq!(
            all.reports(id, set, at(0), WEEK),
            Err(Conflict::Unknown),
            "it did not go up"
        );
        ask(&mut all, id, set, at(0)).unwrap();
        assert_eq!(all.reports(id, set, at(5), WEEK), Ok(()));
        assert_eq!(all.reports(id, other, at(5), WEEK), Err(Conflict::Other));
        assert_eq!(all.reports(other, set, at(5), WEEK), Err(Conflict::Unknown));
        // Told twice, and asked twice.
        let told = all.advance(id, |_| State::Reported(set)).unwrap();
        assert_eq!(all.reports(id, set, at(6), WEEK), Ok(()));
        assert!(ask(&mut all, id, set, at(7)).is_ok());
        assert_eq!(all.asks(id, other, at(7), WEEK), Err(Conflict::Other));
        // Not for ever, and not by another process without the supervisor's help.
        let late = at(7 + WEEK);
        assert_eq!(all.reports(id, set, late, WEEK), Err(Conflict::Unknown));
        let mut next = made();
        next.recall(&Recall {
            key: [7; 32],
            entries: vec![told],
            tight: false,
        });
        assert_eq!(next.reports(id, set, at(8), WEEK), Ok(()));
    }

    #[test]
    fn a_step_ends_once() {
        let mut all = made();
        let id = all.digest("s", b"1.2");
        assert_eq!(all.changes(id, at(0), WEEK), Err(Conflict::Unknown));
        all.insert(id, State::InProgress, at(0), WEEK).unwrap();
        assert_eq!(all.changes(id, at(1), WEEK), Ok(()));
        let _ = all.advance(id, |_| State::Ended);
        assert_eq!(all.changes(id, at(1), WEEK), Err(Conflict::Over));
    }

    #[test]
    fn what_is_over_makes_room_and_what_is_not_does_not() {
        let mut all = made();
        let set = all.digest("i", b"x");
        let ids: Vec<Digest> = (0..=MOST_ENTRIES)
            .map(|i| all.digest("t", i.to_string().as_bytes()))
            .collect();
        for id in &ids[..MOST_ENTRIES] {
            ask(&mut all, *id, set, at(0)).unwrap();
        }
        let more = ids[MOST_ENTRIES];
        assert_eq!(all.asks(more, set, at(0), WEEK), Err(Conflict::Full));
        let _ = all.advance(ids[5], |_| State::Reported(set));
        assert!(all.asks(more, set, at(0), WEEK).is_ok());
        assert_eq!(
            all.reports(ids[5], set, at(0), WEEK),
            Err(Conflict::Unknown)
        );
    }

    //= C7
    #[test]
    fn where_room_is_little_who_holds_much_gets_no_more_and_who_holds_little_does() {
        let (mut much, mut little) = (made(), made());
        let set = much.digest("i", b"x");
        let ids: Vec<Digest> = (0..SHARE + 9)
            .map(|i| much.digest("t", i.to_string().as_bytes()))
            .collect();
        for id in &ids[..SHARE + 5] {
            ask(&mut much, *id, set, at(0)).unwrap();
        }
        for id in &ids[..SHARE - 1] {
            ask(&mut little, *id, set, at(0)).unwrap();
        }
        for all in [&mut much, &mut little] {
            all.tighten(true);
        }
        let more = ids[SHARE + 5];
        assert_eq!(ask(&mut much, more, set, at(1)), Err(Conflict::Full));
        assert!(ask(&mut little, more, set, at(1)).is_ok());
        assert_eq!(
            ask(&mut little, ids[SHARE], set, at(1)),
            Err(Conflict::Full)
        );
        // What is outstanding stays; what is over makes room, and so does room.
        assert_eq!(much.reports(ids[0], set, at(2), WEEK), Ok(()));
        let _ = much.advance(ids[0], |_| State::Reported(set));
        assert!(much.asks(more, set, at(2), WEEK).is_ok());
        much.tighten(false);
        assert!(ask(&mut much, more, set, at(2)).is_ok());
    }

    #[test]
    fn retrievals_are_of_their_destination_until_they_end() {
        let mut all = made();
        let retrieval = Retrieval {
            originator: "US07".to_owned(),
            message_id: 7,
        };
        let number = all.retrieves(retrieval.clone(), "US07");
        assert_eq!(all.retrievals("US07"), [retrieval]);
        assert!(all.retrievals("STORE2").is_empty());
        all.retrieved(number);
        assert!(all.retrievals("US07").is_empty());
    }
}

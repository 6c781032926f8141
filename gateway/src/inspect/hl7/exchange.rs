//! What the connections of one device to one service know together: which messages were taken, which may still be
//! answered, which answers the device may still acknowledge, and what one connection left for another.
//!
//! In enhanced mode the application acknowledgement is a message of its own and may come on another connection than
//! the message it answers. It goes to the device on the connection of the message if that is still open, else on the
//! one on which it came, else on any.
//! In: headers, digests, the time. Out: to whom an answer belongs, and on which connection the device hears it.
//! Remembers hashes instead of values. Every table is bounded and forgets its oldest entry, and all of it after a day:
//! a later answer belongs to nothing and is then dropped and recorded.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use protocol_inspect::Permit;
use protocol_inspect::hl7::ack::AckCode;
use protocol_inspect::hl7::{Answer, Header};

use super::duplicates::{Duplicates, Half, hash, key};
use super::record::Trace;

/// What is shared by the connections of one device to one service.
#[derive(Default)]
pub struct Exchange {
    pub(super) duplicates: Duplicates,
    waiting: VecDeque<Waiting>,
    relayed: VecDeque<Relayed>,
    connections: BTreeMap<Number, Connection>,
    last: Number,
    serial: u64,
}

/// A connection, as long as it lives.
pub(super) type Number = u64;

/// A message that went up and may still be answered.
struct Waiting {
    serial: u64,
    /// Of its MSH-10.
    id: Half,
    /// Under which it is remembered as taken.
    key: Half,
    digest: [u8; 32],
    is_batch: bool,
    rule: String,
    /// Whether an accept acknowledgement may come.
    accept: bool,
    /// Whether an application acknowledgement may come.
    application: bool,
    /// Whether the application acknowledgement is the only one.
    only: bool,
    connection: Number,
    at: Instant,
}

/// An answer that went to the device, which will acknowledge it in its turn.
struct Relayed {
    serial: u64,
    id: Half,
    /// On which connection the destination said it.
    connection: Number,
    /// On which the device hears it.
    heard: Number,
    at: Instant,
}

/// What others may know of a connection.
#[derive(Default)]
struct Connection {
    hears: Hears,
    has_upstream: bool,
    parcels: VecDeque<Parcel>,
}

/// Whether the device hears what is said to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Hears {
    /// It is there.
    #[default]
    Yes,
    /// It ended its side, and may still read.
    Perhaps,
    /// It is gone.
    No,
}

/// What one connection leaves for another.
pub(super) struct Parcel {
    pub(super) permit: Permit,
    pub(super) code: AckCode,
    pub(super) trace: Trace,
    /// Under which the device may acknowledge it.
    pub(super) relayed: Option<u64>,
}

/// Of how much an answer speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// Of the whole message or batch, with its code alone.
    All,
    /// Of the whole message, with data.
    Data,
    /// Perhaps of some messages of a batch only, so that others are still awaited.
    Part,
}

impl Says {
    pub(super) fn of(answer: &Answer) -> Self {
        if answer.is_batch() {
            Self::Part
        } else if answer.is_plain() {
            Self::All
        } else {
            Self::Data
        }
    }
}

/// To whom an answer belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settled {
    /// The rule of the message.
    pub(super) rule: String,
    /// The connection of the message.
    pub(super) connection: Number,
    /// Of the message.
    pub(super) digest: [u8; 32],
    serial: u64,
}

impl Exchange {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A connection begins.
    pub(super) fn join(&mut self) -> Number {
        self.last = self.last.saturating_add(1);
        self.connections.insert(self.last, Connection::default());
        self.last
    }

    /// A connection is over; what was left for it comes back.
    pub(super) fn leave(&mut self, number: Number) -> VecDeque<Parcel> {
        let gone = self.connections.remove(&number);
        gone.map(|connection| connection.parcels)
            .unwrap_or_default()
    }

    /// What others may count on.
    pub(super) fn show(&mut self, number: Number, hears: Hears, has_upstream: bool) {
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.hears = hears;
            connection.has_upstream = has_upstream;
        }
    }

    /// A message goes up that may be answered later. The same bytes again take the place of the earlier ones.
    //= C7
    pub(super) fn expect(
        &mut self,
        header: &Header,
        is_batch: bool,
        digest: [u8; 32],
        rule: &str,
        connection: Number,
        now: Instant,
    ) -> u64 {
        self.forget_old(now);
        let key = key(header);
        self.waiting.retain(|w| w.key != key || w.digest != digest);
        if self.waiting.len() >= MOST {
            self.waiting.pop_front();
        }
        self.serial = self.serial.saturating_add(1);
        self.waiting.push_back(Waiting {
            serial: self.serial,
            id: hash(&[header.control_id()]),
            key,
            digest,
            is_batch,
            rule: rule.to_owned(),
            accept: header.wants_accept() || header.wants_accept_error(),
            application: header.wants_application(),
            only: !header.wants_accept(),
            connection,
            at: now,
        });
        self.serial
    }

    /// Nothing more is awaited for a message.
    pub(super) fn drop_expected(&mut self, serial: u64) {
        self.waiting.retain(|w| w.serial != serial);
    }

    /// Which message the answer belongs to, besides the one under way; the oldest if there are several.
    pub(super) fn find(
        &self,
        answer: &Answer,
        connection: Number,
        under_way: Option<u64>,
    ) -> Option<Settled> {
        if self.waiting.is_empty() {
            return None;
        }
        let id = hash(&[answer.acknowledged()]);
        let mut fitting = self.waiting.iter().filter(|w| {
            let fits = if answer.code.is_accept() {
                // It is said on the connection of its message.
                w.accept && w.connection == connection
            } else {
                w.application
            };
            let speaks = w.is_batch || !answer.is_batch();
            w.id == id && fits && speaks && Some(w.serial) != under_way
        });
        let found = fitting
            .clone()
            .find(|w| w.connection == connection)
            .or_else(|| fitting.next())?;
        Some(Settled {
            rule: found.rule.clone(),
            connection: found.connection,
            digest: found.digest,
            serial: found.serial,
        })
    }

    /// The answer was taken for a message. What failed may go up again, and so may what was answered with data.
    //= C6
    pub(super) fn settle(&mut self, settled: &Settled, code: AckCode, says: Says, now: Instant) {
        let Some(index) = self.waiting.iter().position(|w| w.serial == settled.serial) else {
            return;
        };
        let more = code == AckCode::Ca;
        let Some(waiting) = self.waiting.get(index) else {
            return;
        };
        if !code.is_success() {
            self.duplicates.forget(waiting.key);
        } else if code == AckCode::Aa && waiting.only && says == Says::All {
            self.duplicates
                .insert(waiting.key, waiting.digest, code, now);
        }
        if says != Says::Part && (!more || !waiting.application) {
            self.waiting.remove(index);
        }
    }

    /// On which connection the device hears an answer to a message of `origin` that came on `own`.
    pub(super) fn receiver(&self, origin: Number, own: Number) -> Option<Number> {
        let hears = |number: &Number, how: Hears| {
            self.connections
                .get(number)
                .is_some_and(|c| c.hears == how && c.parcels.len() < MOST_PARCELS)
        };
        let in_turn = || {
            [origin, own]
                .into_iter()
                .chain(self.connections.keys().copied())
        };
        in_turn()
            .find(|number| hears(number, Hears::Yes))
            .or_else(|| in_turn().find(|number| hears(number, Hears::Perhaps)))
    }

    /// Whether a connection can still speak to the destination.
    pub(super) fn has_upstream(&self, number: Number) -> bool {
        self.connections
            .get(&number)
            .is_some_and(|c| c.has_upstream && c.parcels.len() < MOST_PARCELS)
    }

    /// Leaves something for another connection, which must then be woken; comes back if that is gone.
    pub(super) fn send(&mut self, to: Number, parcel: Parcel) -> Result<(), Box<Parcel>> {
        match self.connections.get_mut(&to) {
            Some(connection) => {
                connection.parcels.push_back(parcel);
                Ok(())
            }
            None => Err(Box::new(parcel)),
        }
    }

    /// What was left for a connection.
    pub(super) fn collect(&mut self, number: Number) -> Option<Parcel> {
        self.connections.get_mut(&number)?.parcels.pop_front()
    }

    /// An answer that came on `connection` goes to the device on `heard`, where it may acknowledge it.
    //= C7
    pub(super) fn relayed(
        &mut self,
        answer: &Header,
        connection: Number,
        heard: Number,
        now: Instant,
    ) -> Option<u64> {
        if !answer.wants_accept() && !answer.wants_accept_error() {
            return None;
        }
        if self.relayed.len() >= MOST {
            self.relayed.pop_front();
        }
        let id = hash(&[answer.control_id()]);
        self.serial = self.serial.saturating_add(1);
        self.relayed.push_back(Relayed {
            serial: self.serial,
            id,
            connection,
            heard,
            at: now,
        });
        Some(self.serial)
    }

    /// It is said to the device now, after all that was said before, or not at all.
    pub(super) fn heard(&mut self, serial: u64, at_all: bool) {
        let found = self.relayed.iter().position(|r| r.serial == serial);
        let relayed = found.and_then(|index| self.relayed.remove(index));
        self.relayed.extend(relayed.filter(|_| at_all));
    }

    /// On which connection the answer came that the device acknowledges now on `own`, once.
    /// Destinations may use one id on several of their connections: what the device heard on this one comes first, and
    /// what it heard on others only where there is no doubt to whom it speaks.
    pub(super) fn acknowledge(
        &mut self,
        control_id: &[u8],
        own: Number,
        now: Instant,
    ) -> Option<Number> {
        self.forget_old(now);
        if self.relayed.is_empty() {
            return None;
        }
        let id = hash(&[control_id]);
        let here = |r: &Relayed| r.id == id && r.heard == own;
        let found = self.relayed.iter().position(here).or_else(|| {
            let first = self.relayed.iter().position(|r| r.id == id)?;
            let origin = self.relayed.get(first)?.connection;
            let mut others = self.relayed.iter().filter(|r| r.id == id);
            others.all(|r| r.connection == origin).then_some(first)
        })?;
        self.relayed.remove(found).map(|r| r.connection)
    }

    /// Whether something may still come to or from a connection.
    pub(super) fn concerns(&self, number: Number) -> bool {
        self.waiting.iter().any(|w| w.connection == number)
            || self.relayed.iter().any(|r| r.connection == number)
    }

    fn forget_old(&mut self, now: Instant) {
        let stale = |at: Instant| now.saturating_duration_since(at) >= WINDOW;
        while self.waiting.front().is_some_and(|w| stale(w.at)) {
            self.waiting.pop_front();
        }
        while self.relayed.front().is_some_and(|r| stale(r.at)) {
            self.relayed.pop_front();
        }
    }
}

/// How long an answer is awaited.
const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
/// Most messages of one exchange that may still be answered, and answers that may still be acknowledged:
/// some 200 KiB.
//= C7
const MOST: usize = 1_024;
/// Most answers that wait for one connection to fetch them.
//= C7
const MOST_PARCELS: usize = 64;

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "tests begin at the real time once"
)]
mod tests {
    use super::*;
    use protocol_inspect::hl7::{Frame, Policy};

    fn header(id: &str) -> Header {
        let text = format!("MSH|^~\\&|A|B|C|D|20260101||ORU^R01|{id}|P|2.5|||NE|AL\r");
        Header::of(text.as_bytes()).unwrap()
    }

    fn answer(code: &str, id: &str) -> Answer {
        let text = format!("MSH|^~\\&|C|D|A|B|20260101||ACK|9|P|2.5\rMSA|{code}|{id}\r");
        Answer::read(Frame::around(text.as_bytes()), &Policy::default()).unwrap()
    }

    #[test]
    fn forgets_the_oldest_when_full_and_all_after_a_day() {
        let now = Instant::now();
        let mut exchange = Exchange::new();
        let one = exchange.join();
        for id in 0..=MOST {
            exchange.expect(&header(&id.to_string()), false, [1; 32], "r", one, now);
        }
        assert_eq!(exchange.waiting.len(), MOST);
        assert_eq!(exchange.find(&answer("AA", "0"), one, None), None);
        assert!(exchange.find(&answer("AA", "1"), one, None).is_some());
        exchange.expect(&header("x"), false, [1; 32], "r", one, now + WINDOW);
        assert_eq!(exchange.waiting.len(), 1);
    }

    #[test]
    fn the_same_bytes_again_are_one_message() {
        let now = Instant::now();
        let mut exchange = Exchange::new();
        let (one, two) = (exchange.join(), exchange.join());
        exchange.expect(&header("1"), false, [1; 32], "r", one, now);
        exchange.expect(&header("1"), false, [2; 32], "r", one, now);
        exchange.expect(&header("1"), false, [1; 32], "r", two, now);
        assert_eq!(exchange.waiting.len(), 2);
    }

    #[test]
    fn an_answer_is_heard_where_its_message_came_from_or_wherever_the_device_is() {
        let mut exchange = Exchange::new();
        let (one, two, three) = (exchange.join(), exchange.join(), exchange.join());
        assert_eq!(exchange.receiver(one, two), Some(one));
        exchange.show(one, Hears::Perhaps, true);
        assert_eq!(exchange.receiver(one, two), Some(two));
        exchange.show(two, Hears::No, true);
        assert_eq!(exchange.receiver(one, two), Some(three));
        assert!(exchange.leave(three).is_empty());
        assert_eq!(exchange.receiver(one, two), Some(one));
        exchange.show(one, Hears::No, true);
        assert_eq!(exchange.receiver(one, two), None);
    }
}

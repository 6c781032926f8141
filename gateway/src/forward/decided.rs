//! Decisions on their way to the supervisor: what many connections decide in one turn of the process travels together.
//!
//! In: a decision of a connection. Out: packets of them, in order.
//! What a connection decided is sent before anything else that it has to tell; see [`Decisions::flush`].
//! Knows nothing of what was decided.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use tokio::sync::{Mutex, Notify};

use super::compact::{self, DECIDED};
use super::message::{FromRelay, MOST_UNRECORDED, ToRelay};
use crate::channel::{Channel, ChannelError, MAX_PACKET};
use crate::flow::ConnectionId;
use crate::inspect::Decision;

/// Decisions that are not sent yet.
#[derive(Default)]
pub(super) struct Decisions {
    /// As they travel, oldest first; the last packet still has room.
    packets: RefCell<VecDeque<Vec<u8>>>,
    waiting: Cell<usize>,
    /// All that were made so far, and how many of them the supervisor has dealt with.
    made: Cell<u64>,
    recorded: Cell<u64>,
    /// Room of a packet that was sent.
    spare: RefCell<Vec<u8>>,
    /// Whoever takes a packet also sends it before the next may take one.
    sending: Mutex<()>,
    some: Notify,
}

/// Whether time passed while a decision was taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    AtOnce,
    Waited,
}

impl Decisions {
    /// Takes a decision. Waits while the supervisor is slow and many wait already.
    ///
    /// # Errors
    /// When the supervisor is gone.
    //= C8
    pub(super) async fn add(
        &self,
        channel: &Channel<FromRelay, ToRelay>,
        id: ConnectionId,
        decision: &Decision,
    ) -> Result<Added, ChannelError> {
        self.push(id, decision);
        self.made.set(self.made.get().saturating_add(1));
        let waiting = self.waiting.get() + 1;
        self.waiting.set(waiting);
        if waiting >= MOST {
            self.flush(channel).await?;
            return Ok(Added::Waited);
        }
        if waiting == 1 {
            self.some.notify_one();
        }
        Ok(Added::AtOnce)
    }

    /// The supervisor has dealt with so many.
    pub(super) fn recorded(&self, decisions: u64) {
        self.recorded.set(decisions);
    }

    /// Whether the journal must catch up before anything new begins.
    //= C8
    pub(super) fn is_ahead(&self) -> bool {
        let unrecorded = self.made.get().saturating_sub(self.recorded.get());
        unrecorded >= MOST_UNRECORDED
    }

    fn push(&self, id: ConnectionId, decision: &Decision) {
        let mut packets = self.packets.borrow_mut();
        if packets.is_empty() {
            packets.push_back(self.new_packet());
        }
        let Some(last) = packets.back_mut() else {
            return;
        };
        let end = last.len();
        compact::put_decided(last, id, decision);
        if last.len() > PACKET && end > 1 {
            let mut next = self.new_packet();
            next.extend_from_slice(last.get(end..).unwrap_or_default());
            last.truncate(end);
            packets.push_back(next);
        }
    }

    fn new_packet(&self) -> Vec<u8> {
        let mut packet = self.spare.take();
        packet.clear();
        packet.push(DECIDED);
        packet
    }

    /// Sends what waits, and returns when all that was added before is sent.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub(super) async fn flush(
        &self,
        channel: &Channel<FromRelay, ToRelay>,
    ) -> Result<(), ChannelError> {
        if self.waiting.get() == 0 && self.sending.try_lock().is_ok() {
            return Ok(());
        }
        let _turn = self.sending.lock().await;
        self.waiting.set(0);
        // What is added while this waits is for the next who sends.
        let mut unsent = Unsent {
            packets: std::mem::take(&mut *self.packets.borrow_mut()),
            decisions: self,
        };
        while let Some(packet) = unsent.packets.front() {
            channel.send_encoded(packet).await?;
            if let Some(packet) = unsent.packets.pop_front() {
                self.spare.replace(packet);
            }
        }
        Ok(())
    }

    /// Sends what was added whenever the connections have had their turn, until the supervisor is gone.
    pub(super) async fn run(&self, channel: &Channel<FromRelay, ToRelay>) {
        loop {
            self.some.notified().await;
            if self.flush(channel).await.is_err() {
                // The worker hears of it too, and ends.
                return;
            }
        }
    }
}

/// Packets that one who sends has taken. A packet goes as a whole or not at all; when sending ends before its time,
/// since the task or the process does, the others are there for the next who sends.
//= C8
struct Unsent<'d> {
    packets: VecDeque<Vec<u8>>,
    decisions: &'d Decisions,
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        if self.packets.is_empty() {
            return;
        }
        let mut packets = self.decisions.packets.borrow_mut();
        self.packets.append(&mut packets);
        std::mem::swap(&mut self.packets, &mut packets);
        let waiting = self.decisions.waiting.get().max(1);
        self.decisions.waiting.set(waiting);
    }
}

/// Bytes of one packet; the longest decision is far shorter.
const PACKET: usize = 48 << 10;
const _: () = assert!(PACKET < MAX_PACKET);
/// Decisions after which they are sent at once; more wait only while the supervisor is slow, one for each connection.
//= C7
const MOST: usize = 256;

#[cfg(test)]
pub(super) mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::channel::pair;
    use crate::flow::Side;
    use crate::inspect::{Outcome, Subject};

    /// The longest that a pump hands over.
    pub(in crate::forward) fn decision() -> Decision {
        let text = || "\"".repeat(512);
        Decision {
            from: Side::Device,
            what: Subject::Message,
            kind: text(),
            rule: Some(text()),
            outcome: Outcome::Refused,
            reason: Some(text()),
            location: Some(text()),
            detail: Some(text()),
            answer: Some(text()),
            length: u64::MAX,
            digest: Some([255; 32]),
            identifier: Some(vec![255; 1_024]),
            micros: u64::MAX,
            warnings: vec![text(); 16],
            would_refuse: None,
            observed: Vec::new(),
        }
    }

    #[test]
    fn the_longest_decision_fits_a_packet() {
        let (id, decision) = (ConnectionId(u64::MAX), decision());
        let mut packet = vec![DECIDED];
        compact::put_decided(&mut packet, id, &decision);
        assert!(packet.len() < PACKET);
    }

    /// The supervisor is slow, and the task that sends ends while it waits for it.
    //= C8
    #[tokio::test]
    async fn what_was_not_sent_is_sent_by_the_next() {
        let (ours, theirs) = pair().unwrap();
        let relay = Channel::<FromRelay, ToRelay>::new(theirs).unwrap();
        let supervisor = Channel::<ToRelay, FromRelay>::new(ours).unwrap();
        let decisions = Decisions::default();
        let mut made = 0;
        let add = async |number| {
            let (id, decision) = (ConnectionId(number), decision());
            decisions.add(&relay, id, &decision).await.unwrap();
        };
        // Until the channel is full.
        loop {
            for _ in 0..40 {
                add(made).await;
                made += 1;
            }
            if decisions.flush(&relay).now_or_never().is_none() {
                break;
            }
        }
        add(made).await;
        made += 1;
        let mut heard = Vec::new();
        let hear = async {
            while heard.len() < usize::try_from(made).unwrap() {
                let (FromRelay::Decided(some), _) = supervisor.receive().await.unwrap() else {
                    panic!("not decisions");
                };
                heard.extend(some.into_iter().map(|decided| decided.id.0));
            }
        };
        let (flushed, ()) = tokio::join!(decisions.flush(&relay), hear);
        flushed.unwrap();
        assert_eq!(heard, (0..made).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn many_long_decisions_travel_in_packets_that_need_no_file() {
        let (ours, theirs) = pair().unwrap();
        let relay = Channel::<FromRelay, ToRelay>::new(theirs).unwrap();
        let supervisor = Channel::<ToRelay, FromRelay>::new(ours).unwrap();
        let decisions = Decisions::default();
        for number in 0..40 {
            let id = ConnectionId(number);
            let decision = decision();
            decisions.add(&relay, id, &decision).await.unwrap();
        }
        let hear = async {
            let mut heard = Vec::new();
            while heard.len() < 40 {
                let (FromRelay::Decided(some), files) = supervisor.receive().await.unwrap() else {
                    panic!("not decisions");
                };
                assert!(files.is_empty());
                assert!(some.len() < 40);
                heard.extend(some.into_iter().map(|decided| decided.id.0));
            }
            heard
        };
        let (flushed, heard) = tokio::join!(decisions.flush(&relay), hear);
        flushed.unwrap();
        assert_eq!(heard, (0..40).collect::<Vec<_>>());
    }
}

//! Decisions on their way to the supervisor: what many connections decide in one turn of the process travels together.
//!
//! In: a decision of a connection. Out: packets of them, in order.
//! What a connection decided is sent before anything else that it has to tell; see [`Decisions::flush`].
//! Knows nothing of what was decided.

use std::cell::RefCell;

use tokio::sync::{Mutex, Notify};

use super::message::{Decided, FromRelay, ToRelay};
use crate::channel::{Channel, ChannelError};
use crate::inspect::Decision;

/// Decisions that are not sent yet.
#[derive(Default)]
pub(super) struct Decisions {
    waiting: RefCell<Vec<Decided>>,
    /// Whoever takes what waits also sends it before the next may take.
    sending: Mutex<()>,
    some: Notify,
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
        decided: Decided,
    ) -> Result<(), ChannelError> {
        let waiting = {
            let mut waiting = self.waiting.borrow_mut();
            waiting.push(decided);
            waiting.len()
        };
        if waiting >= MOST {
            return self.flush(channel).await;
        }
        self.some.notify_one();
        Ok(())
    }

    /// Sends what waits, and returns when all that was added before is sent.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub(super) async fn flush(
        &self,
        channel: &Channel<FromRelay, ToRelay>,
    ) -> Result<(), ChannelError> {
        let _turn = self.sending.lock().await;
        let mut waiting = std::mem::take(&mut *self.waiting.borrow_mut()).into_iter();
        let mut packet = Vec::new();
        let mut length = 0;
        for decided in waiting.by_ref() {
            let own = longest(&decided.decision);
            if length + own > PACKET && !packet.is_empty() {
                let full = std::mem::take(&mut packet);
                channel.send(&FromRelay::Decided(full), &[]).await?;
                length = 0;
            }
            length += own;
            packet.push(decided);
        }
        if packet.is_empty() {
            return Ok(());
        }
        channel.send(&FromRelay::Decided(packet), &[]).await
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

/// What a decision is at most in a packet: texts may be escaped, bytes are numbers with a comma.
fn longest(decision: &Decision) -> usize {
    let texts = [
        &decision.rule,
        &decision.reason,
        &decision.location,
        &decision.detail,
        &decision.answer,
    ];
    let texts = texts.into_iter().flatten().chain(&decision.warnings);
    let letters = decision.kind.len() + texts.map(|text| text.len() + 3).sum::<usize>();
    let bytes = decision.identifier.as_ref().map_or(0, Vec::len);
    FRAME + 2 * letters + 4 * bytes
}

/// Names of fields, numbers and the digest of one decision.
const FRAME: usize = 600;
/// Bytes of one packet. Longer messages would travel as memory files, which a relay must not make.
const PACKET: usize = 48 << 10;
/// Decisions after which they are sent at once; more wait only while the supervisor is slow, one for each connection.
//= C7
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::pair;
    use crate::flow::{ConnectionId, Side};
    use crate::inspect::{Outcome, Subject};

    /// The longest that a pump hands over.
    fn decision() -> Decision {
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
        }
    }

    #[test]
    fn no_decision_is_longer_than_was_counted_and_the_longest_fits() {
        let least = Decision {
            kind: String::new(),
            rule: None,
            reason: None,
            location: None,
            detail: None,
            answer: None,
            identifier: None,
            warnings: Vec::new(),
            ..decision()
        };
        for decision in [decision(), least] {
            let counted = longest(&decision);
            let decided = Decided {
                id: ConnectionId(u64::MAX),
                decision,
            };
            assert!(serde_json::to_vec(&decided).unwrap().len() <= counted);
            assert!(counted <= PACKET);
        }
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
            decisions
                .add(&relay, Decided { id, decision })
                .await
                .unwrap();
        }
        let hear = async {
            let mut heard = Vec::new();
            while heard.len() < 40 {
                let (FromRelay::Decided(some), files) = supervisor.receive().await.unwrap() else {
                    panic!("not decisions");
                };
                assert!(files.is_empty());
                assert!(serde_json::to_vec(&some).unwrap().len() < 60 << 10);
                heard.extend(some.into_iter().map(|decided| decided.id.0));
            }
            heard
        };
        let (flushed, heard) = tokio::join!(decisions.flush(&relay), hear);
        flushed.unwrap();
        assert_eq!(heard, (0..40).collect::<Vec<_>>());
    }
}

//! Decisions on their way to the supervisor: what many connections decide in one turn of the process travels together.
//!
//! In: a decision of a connection. Out: packets of them, in order.
//! What a connection decided is sent before anything else that it has to tell; see [`Decisions::flush`].
//! Knows nothing of what was decided.

use std::cell::RefCell;

use tokio::sync::{Mutex, Notify};

use super::message::{Decided, FromRelay, ToRelay};
use crate::channel::{Channel, ChannelError};

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
        let decisions = std::mem::take(&mut *self.waiting.borrow_mut());
        if decisions.is_empty() {
            return Ok(());
        }
        channel.send(&FromRelay::Decided(decisions), &[]).await
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

/// Decisions of one packet; more wait only while the supervisor is slow, one for each connection.
//= C7
const MOST: usize = 64;

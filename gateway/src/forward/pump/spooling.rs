//! What a connection has in its spool: gets the file when the first byte goes there, and gives its place on the
//! disk back when it is empty for a while. What the session holds and sends back is its own decision.

use std::time::Duration;

use bytes::Bytes;

use super::super::spool::{Spool, SpoolError};
use super::{FromRelay, Pump};
use crate::channel::ChannelError;
use crate::inspect::EndReason;

impl Pump {
    pub(super) async fn append(&mut self, bytes: Bytes) -> Result<(), ChannelError> {
        if self.ending || self.spool_lost {
            return Ok(());
        }
        self.spool_until = None;
        if let Some(spool) = &mut self.spool {
            if let Err(error) = spool.append(&bytes) {
                self.lose_spool(&error);
            }
            return Ok(());
        }
        self.unspooled = Some(bytes);
        self.tell(&FromRelay::Spool { id: self.id }).await
    }

    /// The file for what waits, or none.
    pub(super) fn take_spool(&mut self, spool: Result<Spool, SpoolError>) {
        let Some(bytes) = self.unspooled.take() else {
            return;
        };
        match spool {
            Ok(spool) => {
                let appended = self.spool.insert(spool).append(&bytes);
                if let Err(error) = appended {
                    self.lose_spool(&error);
                }
            }
            Err(error) => self.lose_spool(&error),
        }
    }

    /// A message that cannot be held is refused; others are none the worse for it.
    //= C7
    fn lose_spool(&mut self, error: &SpoolError) {
        tracing::warn!(connection = %self.id, %error, "spool");
        // The supervisor has the file open, so that only this makes room on a full disk.
        let spool = self.spool.take();
        let _other = spool.map(|mut spool| spool.give_back());
        self.spool_lost = true;
        let (now, wall) = self.times();
        if !self.session.spool_failed(now, wall) {
            self.end(EndReason::Resources);
        }
    }

    pub(super) fn unspool(&mut self) {
        let (now, wall) = self.times();
        match self.spool.as_mut().map(Spool::read).transpose() {
            Ok(chunk) => {
                if let Some(bytes) = chunk.flatten() {
                    self.session.unspooled(bytes, now, wall);
                }
            }
            Err(error) => self.spool_result(Err(error)),
        }
    }

    /// The blocks stay for the next message, which mostly follows at once.
    //= C7
    pub(super) fn empty_spool(&mut self) {
        self.spool_lost = false;
        self.spool_until = self.now.checked_add(KEPT);
        let cleared = self.spool.as_mut().map_or(Ok(()), Spool::clear);
        self.spool_result(cleared);
    }

    /// Gives back to the disk what no message came for.
    pub(super) fn give_up_spool(&mut self) {
        if self.spool_until.is_some_and(|at| at <= self.now) {
            self.spool_until = None;
            let given = self.spool.as_mut().map_or(Ok(()), Spool::give_back);
            self.spool_result(given);
        }
    }

    fn spool_result(&mut self, result: Result<(), SpoolError>) {
        if let Err(error) = result {
            tracing::warn!(connection = %self.id, %error, "spool");
            self.spool = None;
            self.end(EndReason::Resources);
        }
    }
}

/// How long an empty spool keeps its place on the disk.
const KEPT: Duration = Duration::from_secs(1);

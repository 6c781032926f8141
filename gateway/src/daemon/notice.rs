//! Tells the service manager how the gateway fares.
//!
//! A manager that does not read must not hold up the gateway: a thread of its own does the talking,
//! and what does not fit its queue is not said.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tracing::warn;

/// What a service manager can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// The gateway works.
    Ready,
    /// The gateway still works.
    Alive,
    /// The gateway is about to end.
    Stopping,
}

/// The way to the service manager; without one, nothing is said.
pub(super) struct Notices(SyncSender<Notice>);

impl Notices {
    /// Starts the thread. Capabilities must be limited before.
    pub(super) fn start() -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("notices".to_owned())
            .spawn(move || talk(&receiver))?;
        Ok(Self(sender))
    }

    /// Says it, unless the manager does not listen.
    pub(super) fn say(&self, notice: Notice) {
        if self.0.try_send(notice).is_err() {
            tracing::debug!(?notice, "the service manager does not listen");
        }
    }
}

fn talk(notices: &Receiver<Notice>) {
    while let Ok(notice) = notices.recv() {
        let state = match notice {
            Notice::Ready => sd_notify::NotifyState::Ready,
            Notice::Alive => sd_notify::NotifyState::Watchdog,
            Notice::Stopping => sd_notify::NotifyState::Stopping,
        };
        if let Err(error) = sd_notify::notify(&[state]) {
            warn!(%error, "the service manager cannot be told");
        }
    }
}

const QUEUE: usize = 8;

//! The process `signer`: holds all keys of the certification authority and answers typed questions, one at a time.
//!
//! In: questions of the supervisor, handshakes of listeners through their doors. Out: answers.
//! What the disk has of it is read when it is first asked; while that cannot be used, each question is refused with
//! the reason and tried again with the next one. Has no network; its filter knows no call that makes a socket.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing::{debug, warn};

use super::keystore::Keystore;
use super::ledger::Listener;
use super::message::{Answer, Der, FromSigner, Question, Refusal, Settings, TlsSign, ToSigner};
use super::office::{Handshakes, Office, OfficeError};
use super::steady::Steady;
use crate::channel::{Channel, ChannelError};
use crate::flow::Clock;

/// Why the signer ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The supervisor cannot be spoken with.
    #[error("cannot speak with the supervisor")]
    Channel(#[from] ChannelError),
    /// The first message was not `Start`.
    #[error("the supervisor did not say how to start")]
    NotStarted,
    /// Something came without its descriptor.
    #[error("the supervisor said something that makes no sense")]
    Confused,
}

/// The whole life of the signer. Ends when the supervisor is gone.
///
/// # Errors
/// When the channel breaks.
pub async fn run(
    channel: Channel<FromSigner, ToSigner>,
    clock: Arc<dyn Clock>,
) -> Result<(), SignerError> {
    let (first, _) = match channel.receive().await {
        Err(ChannelError::Closed) => return Ok(()),
        first => first?,
    };
    let ToSigner::Start(settings) = first else {
        return Err(SignerError::NotStarted);
    };
    let keystore = Keystore::new(Arc::clone(&clock));
    let desk = Arc::new(Mutex::new(Desk {
        settings,
        office: None,
        steady: Steady::default(),
        keystore: keystore.clone(),
        handshakes: Shelf::default(),
    }));
    let shelf = lock(&desk).handshakes.clone();
    lock(&desk).tidy(&*clock);
    channel.send(&FromSigner::Ready, &[]).await?;
    let mut tidying = tokio::time::interval(TIDY_EVERY);
    loop {
        let received = tokio::select! {
            received = channel.receive() => received,
            _ = tidying.tick() => {
                lock(&desk).tidy(&*clock);
                continue;
            }
        };
        match received {
            Ok((ToSigner::Ask { request, question }, _)) => {
                let answer = Box::new(lock(&desk).answer(question, clock.wall()));
                let answer = FromSigner::Answer { request, answer };
                channel.send(&answer, &[]).await?;
                if keystore.take_silence() {
                    channel.send(&FromSigner::KeystoreSilent, &[]).await?;
                }
            }
            Ok((ToSigner::Keystore, descriptors)) => {
                let [socket] =
                    <[OwnedFd; 1]>::try_from(descriptors).map_err(|_| SignerError::Confused)?;
                keystore.replace(socket);
            }
            Ok((ToSigner::Door { listener }, descriptors)) => {
                let [socket] =
                    <[OwnedFd; 1]>::try_from(descriptors).map_err(|_| SignerError::Confused)?;
                let door = Channel::new(socket).map_err(ChannelError::from)?;
                tokio::spawn(stand_at(door, listener, Arc::clone(&desk), shelf.clone()));
            }
            Ok((ToSigner::Start(settings), _)) => {
                lock(&desk).change(settings, &*clock);
                channel.send(&FromSigner::Ready, &[]).await?;
            }
            Err(ChannelError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Signs handshakes of one listener until it is gone.
async fn stand_at(
    door: Channel<Result<Der, Refusal>, TlsSign>,
    listener: Listener,
    desk: Arc<Mutex<Desk>>,
    shelf: Shelf,
) {
    loop {
        let wanted = match door.receive().await {
            Ok((wanted, _)) => wanted,
            Err(ChannelError::Closed) => return,
            Err(error) => {
                warn!(listener = listener.as_str(), %error, "a listener cannot be understood");
                return;
            }
        };
        // The office may be waiting for the key store.
        let signed = match shelf.handshakes() {
            Some(handshakes) => handshakes.sign(Some(listener), &wanted),
            None => lock(&desk).sign(listener, &wanted),
        };
        if let Err(error) = door.send(&signed, &[]).await {
            debug!(listener = listener.as_str(), %error, "a listener is gone");
            return;
        }
    }
}

/// The office, once it could be opened.
struct Desk {
    settings: Settings,
    office: Option<Office>,
    steady: Steady,
    keystore: Keystore,
    handshakes: Shelf,
}

/// What signs handshakes, for those who must not wait for the office; nothing while that cannot be used.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Option<Arc<Handshakes>>>>);

impl Shelf {
    fn handshakes(&self) -> Option<Arc<Handshakes>> {
        let shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.clone()
    }

    fn put(&self, handshakes: Option<Handshakes>) {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *shelf = handshakes.map(Arc::new);
    }
}

impl Desk {
    fn open(&mut self) -> Result<&mut Office, Refusal> {
        let office = match self.office.take() {
            Some(office) => office,
            None => Office::open(self.settings.clone(), self.keystore.clone())
                .map_err(|error| refused(&error))?,
        };
        Ok(self.office.insert(office))
    }

    fn change(&mut self, settings: Settings, clock: &dyn Clock) {
        self.settings = settings;
        self.office = None;
        self.tidy(clock);
    }

    fn answer(&mut self, question: Question, now: Timestamp) -> Result<Answer, Refusal> {
        let answer = self.open()?.answer(question, now);
        if matches!(answer, Err(Refusal::Storage(_))) {
            // What is in memory may be ahead of the disk or behind it: read it again.
            self.office = None;
        }
        self.show();
        answer
    }

    /// What signs handshakes from now on.
    fn show(&self) {
        let office = self.office.as_ref();
        self.handshakes.put(office.map(Office::handshakes));
    }

    fn sign(&mut self, listener: Listener, wanted: &TlsSign) -> Result<Der, Refusal> {
        let handshakes = self.open()?.handshakes();
        handshakes.sign(Some(listener), wanted)
    }

    fn tidy(&mut self, clock: &dyn Clock) {
        let wall = clock.wall();
        let steady = self.steady.look(clock.now(), wall);
        match self.open() {
            Ok(office) if steady => office.tidy(wall),
            Ok(_) => {}
            Err(error) => warn!(%error, "nothing can be signed"),
        }
        self.show();
    }
}

fn refused(error: &OfficeError) -> Refusal {
    Refusal::Storage(super::office::chain(error))
}

/// Nothing in here panics with the lock held; if it did, what is in memory is read anew.
fn lock(desk: &Mutex<Desk>) -> std::sync::MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
        let mut desk = poisoned.into_inner();
        desk.office = None;
        desk
    })
}

/// Between looks at what has ended.
const TIDY_EVERY: Duration = Duration::from_mins(1);

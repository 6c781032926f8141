//! The thread that speaks with the database, so that nobody else ever waits for it.
//!
//! In: changes and questions through a bounded channel. Out: what the database says, in the order of the questions,
//! and whether it can be used.
//! It looks every second whether the database is there and whether another gateway changed something.
//! Knows nothing of what the answers are for: each comes back with the ticket of its question.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{error, info};

use super::addresses::Addresses;
use super::known::{Change, Chapter, Known, Newcomer, Sighting, Strange};
use super::store::{Extension, Loaded, Place, Removal, Rotation, Store, StoreError, Version};
use super::token::{NewToken, Redemption, Token, TokenHash};
use crate::flow::DeviceName;

/// What the thread is to do.
#[derive(Debug)]
pub enum ToTask {
    /// Write another standing down. Answered by [`FromTask::Saved`] when it is there; not at all otherwise.
    Save(Change),
    /// Note what was seen of devices and of strangers. Answered by [`FromTask::Noted`].
    Seen(Vec<Sighting>, Vec<Strange>),
    /// Something that is answered by [`FromTask::Done`].
    Do(u64, Work),
}

/// What is answered with its ticket.
#[derive(Debug)]
pub enum Work {
    /// Add devices, all or none.
    Add {
        /// Who.
        newcomers: Vec<Newcomer>,
        /// Where addresses come from.
        addresses: Addresses,
    },
    /// Give a device another key.
    Rotate(Rotation),
    /// Give a device another end.
    Extend(Extension),
    /// Keep a token.
    KeepToken(Box<NewToken>),
    /// Tell what is kept of a token.
    Token(TokenHash),
    /// Tell all tokens.
    Tokens,
    /// Take back the token of this id.
    RevokeToken(String, Timestamp),
    /// Use a token.
    Redeem(Box<Redemption>, Addresses),
    /// Take a device out of all lists.
    Remove(Removal),
    /// Tell what became of a device.
    Story(DeviceName),
    /// Copy the database into a new file.
    Backup(PathBuf),
    /// Make the database there, whichever it is, the registry's, with everything that the gateway knows.
    Adopt(Vec<(DeviceName, Known)>),
}

/// What the thread says.
#[derive(Debug)]
pub enum FromTask {
    /// All that is known: after the start, after a change of many, and when somebody else changed something.
    Loaded(Box<Loaded>),
    /// What is known of one device after a change of it, and of it alone, since the last of these two.
    Changed(Box<Loaded>),
    /// The database has this change.
    Saved {
        /// Of the change.
        mark: i64,
    },
    /// What was seen is written down, or is not and may come again.
    Noted(bool),
    /// What was seen before; after the first [`Self::Loaded`].
    Remembered(Vec<Sighting>, Vec<Strange>),
    /// The database can be used from now on (`None`), or cannot and why.
    Trouble(Option<String>),
    /// The thread works: after each look, whatever it found.
    Alive,
    /// To [`ToTask::Do`].
    Done {
        /// Of the question.
        ticket: u64,
        /// What came of it. What is known now was said before.
        result: Result<Outcome, StoreError>,
    },
}

/// What came of some work.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// To [`Work::Story`].
    Story(Vec<Chapter>),
    /// To [`Work::Token`].
    Token(Option<Box<Token>>),
    /// To [`Work::Tokens`].
    Tokens(Vec<Token>),
    /// To [`Work::KeepToken`] and [`Work::RevokeToken`]: nobody became known by it.
    Kept,
}

/// The supervisor's end of the channel to the thread.
#[derive(Debug)]
pub struct Handle {
    queue: mpsc::Sender<ToTask>,
}

impl Handle {
    /// Starts the thread. It ends when the handle is dropped.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        place: Place,
        known: Option<Version>,
        seed: i64,
        out: mpsc::Sender<FromTask>,
    ) -> std::io::Result<Self> {
        let (queue, inbox) = mpsc::channel(QUEUE);
        let task = Task {
            place,
            known,
            seed,
            store: None,
            trouble: None,
            pause: 0,
            remembered: false,
            out,
        };
        std::thread::Builder::new()
            .name("registry".to_owned())
            .spawn(move || task.run(inbox))?;
        Ok(Self { queue })
    }

    /// Whether the thread ended, which it does not by itself.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.queue.is_closed()
    }

    /// Asks for something; gives it back if the thread has too much to do.
    ///
    /// # Errors
    /// What was asked.
    pub fn ask(&self, what: ToTask) -> Result<(), Box<ToTask>> {
        self.queue.try_send(what).map_err(|error| {
            Box::new(match error {
                mpsc::error::TrySendError::Full(what) | mpsc::error::TrySendError::Closed(what) => {
                    what
                }
            })
        })
    }
}

struct Task {
    place: Place,
    known: Option<Version>,
    seed: i64,
    store: Option<Store>,
    trouble: Option<String>,
    /// Ticks until the next attempt to open.
    pause: u32,
    /// What was seen before is told.
    remembered: bool,
    out: mpsc::Sender<FromTask>,
}

impl Task {
    fn run(mut self, inbox: mpsc::Receiver<ToTask>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.serve(inbox)),
            Err(error) => error!(%error, "the registry's thread cannot begin"),
        }
    }

    async fn serve(&mut self, mut inbox: mpsc::Receiver<ToTask>) {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let on = tokio::select! {
                // In this order, so that the first thing is to open.
                biased;
                _ = tick.tick() => self.look().await && self.say(FromTask::Alive).await,
                asked = inbox.recv() => match asked {
                    Some(asked) => self.handle(asked).await,
                    None => break,
                },
            };
            if !on {
                break;
            }
        }
        if let Some(store) = self.store.take()
            && timeout(PATIENCE, store.close()).await.is_err()
        {
            error!("the registry's database was not closed in time");
        }
    }

    /// False when nobody listens any more.
    async fn say(&self, what: FromTask) -> bool {
        self.out.send(what).await.is_ok()
    }

    async fn handle(&mut self, asked: ToTask) -> bool {
        match asked {
            ToTask::Save(change) => {
                let saved = match &self.store {
                    Some(store) => in_time(store.save(&change)).await,
                    // It comes again when the database does.
                    None => return true,
                };
                match saved {
                    Ok(()) => {
                        self.say(FromTask::Saved { mark: change.mark }).await
                            && self.load_change(Some(&change.device)).await
                    }
                    Err(error) if error.is_trouble() => self.failed(&error).await,
                    // It would never be taken; the database says how it is.
                    Err(error) => {
                        let device = change.device;
                        error!(%device, why = told(&error), "its standing contradicts the database");
                        self.say(FromTask::Saved { mark: change.mark }).await && self.load().await
                    }
                }
            }
            ToTask::Seen(seen, strange) => {
                let noted = match &self.store {
                    Some(store) => in_time(store.note(&seen, &strange)).await,
                    None => return self.say(FromTask::Noted(false)).await,
                };
                match noted {
                    Ok(()) => self.say(FromTask::Noted(true)).await,
                    Err(error) => {
                        self.say(FromTask::Noted(false)).await && self.failed(&error).await
                    }
                }
            }
            ToTask::Do(ticket, work) => {
                let about = about(&work);
                let result = self.work(work).await;
                let mut on = true;
                match &result {
                    Ok(
                        Outcome::Story(_) | Outcome::Token(_) | Outcome::Tokens(_) | Outcome::Kept,
                    ) => {}
                    Ok(Outcome::Done) => on = self.load_change(about.as_ref()).await,
                    Err(error) if error.is_trouble() => on = self.failed(error).await,
                    Err(_) => {}
                }
                on && self.say(FromTask::Done { ticket, result }).await
            }
        }
    }

    async fn work(&mut self, work: Work) -> Result<Outcome, StoreError> {
        if let Work::Adopt(devices) = work {
            return self.adopt(devices).await.map(|()| Outcome::Done);
        }
        let Some(store) = &self.store else {
            let why = self.trouble.clone().unwrap_or_default();
            return Err(StoreError::Unusable(why));
        };
        match work {
            Work::Add {
                newcomers,
                addresses,
            } => in_time(store.add(&newcomers, addresses)).await?,
            Work::Rotate(rotation) => in_time(store.rotate(&rotation)).await?,
            Work::Extend(extension) => in_time(store.extend(&extension)).await?,
            Work::Remove(removal) => in_time(store.remove(&removal)).await?,
            Work::Story(device) => {
                return Ok(Outcome::Story(in_time(store.story(&device)).await?));
            }
            Work::KeepToken(token) => {
                in_time(store.keep_token(&token)).await?;
                return Ok(Outcome::Kept);
            }
            Work::Token(hash) => {
                let token = in_time(store.token(&hash)).await?;
                return Ok(Outcome::Token(token.map(Box::new)));
            }
            Work::Tokens => return Ok(Outcome::Tokens(in_time(store.tokens()).await?)),
            Work::RevokeToken(id, at) => {
                in_time(store.revoke_token(&id, at)).await?;
                return Ok(Outcome::Kept);
            }
            Work::Redeem(redemption, addresses) => {
                in_time(store.redeem(&redemption, addresses)).await?;
            }
            Work::Backup(path) => in_time(store.backup(&path)).await?,
            Work::Adopt(_) => {}
        }
        Ok(Outcome::Done)
    }

    async fn adopt(&mut self, devices: Vec<(DeviceName, Known)>) -> Result<(), StoreError> {
        if let Some(store) = self.store.take() {
            store.close().await;
        }
        let store = in_time(Store::adopt(&self.place, self.seed, &devices)).await?;
        self.known = None;
        self.store = Some(store);
        Ok(())
    }

    /// Is it there, and did anybody change anything?
    async fn look(&mut self) -> bool {
        let Some(store) = &self.store else {
            if self.pause > 0 {
                self.pause -= 1;
                return true;
            }
            return self.open().await;
        };
        match in_time(store.version()).await {
            Ok(version) if Some(version) == self.known => true,
            Ok(version) => match self.known.map_or(Ok(()), |known| version.after(known)) {
                Ok(()) => self.load().await,
                Err(error) => self.failed(&error).await,
            },
            Err(error) => self.failed(&error).await,
        }
    }

    async fn open(&mut self) -> bool {
        match in_time(Store::open(&self.place, self.known, self.seed)).await {
            Ok(store) => {
                self.store = Some(store);
                self.load().await
            }
            Err(error) => self.failed(&error).await,
        }
    }

    /// What a change of one device came to; everything, if there may be more.
    async fn load_change(&mut self, device: Option<&DeviceName>) -> bool {
        let (Some(store), Some(device)) = (&self.store, device) else {
            return self.load().await;
        };
        let steady = self
            .known
            .filter(|_| self.trouble.is_none() && self.remembered);
        let Some(known) = steady else {
            return self.load().await;
        };
        match in_time(store.load_one(device)).await {
            Ok(one) if one.version == known => true,
            Ok(one) if one.version.follows(known) => {
                self.known = Some(one.version);
                self.say(FromTask::Changed(Box::new(one))).await
            }
            // Somebody else changed something too, or whatever it is, it shows again.
            Ok(_) | Err(_) => self.load().await,
        }
    }

    async fn load(&mut self) -> bool {
        let Some(store) = &self.store else {
            return true;
        };
        // A server that went back in time answers as if nothing had happened.
        let known = self.known;
        let loaded = in_time(store.load()).await.and_then(|loaded| {
            known.map_or(Ok(()), |known| loaded.version.after(known))?;
            Ok(loaded)
        });
        match loaded {
            Ok(loaded) => {
                self.known = Some(loaded.version);
                let recovered = self.trouble.take().is_some();
                if recovered {
                    info!("the registry's database can be used again");
                }
                self.say(FromTask::Loaded(Box::new(loaded))).await
                    && self.say(FromTask::Trouble(None)).await
                    && self.remember().await
            }
            Err(error) => self.failed(&error).await,
        }
    }

    /// Tells once what was seen before.
    async fn remember(&mut self) -> bool {
        let Some(store) = self.store.as_ref().filter(|_| !self.remembered) else {
            return true;
        };
        match in_time(store.seen()).await {
            Ok((seen, strange)) => {
                self.remembered = true;
                self.say(FromTask::Remembered(seen, strange)).await
            }
            Err(error) => self.failed(&error).await,
        }
    }

    /// The database is not used until it can be opened anew.
    async fn failed(&mut self, error: &StoreError) -> bool {
        let why = told(error);
        // Its connections may hang, and SQLite may have ended a transaction that the driver still sees.
        if let Some(store) = self.store.take() {
            drop(timeout(BRIEF, store.close()).await);
        }
        self.pause = PAUSE;
        if self.trouble.as_ref() == Some(&why) {
            return true;
        }
        error!(
            why,
            "the registry's database cannot be used; what is in force stays in force"
        );
        self.trouble = Some(why.clone());
        self.say(FromTask::Trouble(Some(why))).await
    }
}

/// Of which one device some work is.
fn about(work: &Work) -> Option<DeviceName> {
    match work {
        Work::Rotate(rotation) => Some(rotation.device.clone()),
        Work::Extend(extension) => Some(extension.device.clone()),
        Work::Remove(removal) => Some(removal.device.clone()),
        Work::Redeem(redemption, _) => Some(redemption.newcomer.name.clone()),
        Work::Add { newcomers, .. } => match newcomers.as_slice() {
            [one] => Some(one.name.clone()),
            _ => None,
        },
        Work::KeepToken(_)
        | Work::Token(_)
        | Work::Tokens
        | Work::RevokeToken(..)
        | Work::Story(_)
        | Work::Backup(_)
        | Work::Adopt(_) => None,
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match timeout(PATIENCE, work).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::Away(sqlx::Error::PoolTimedOut)),
    }
}

/// The error with its causes, in one line.
pub fn told(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

//= C7
const QUEUE: usize = 256;
/// Between two looks. What another gateway decided is in force here within two of them.
const LOOK: Duration = Duration::from_secs(1);
/// Looks that are left out after a failure.
const PAUSE: u32 = 1;
/// For anything that the database does; an import of 10,000 devices takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(30);
const BRIEF: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;

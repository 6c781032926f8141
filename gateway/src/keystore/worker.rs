//! The process `keystore`: holds a token open for the signer.
//!
//! In: what the supervisor says, and what the signer asks through its door, one after the other. Out: answers, and how
//! the token is. The PIN is read before the process is confined, and the maker's library is loaded after that. A PIN
//! that is refused is never tried again here. A library that hangs hangs this process, which the supervisor ends.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use cryptoki::types::AuthPin;
use lazaret_config::Pkcs11;
use tracing::{info, warn};

use super::message::{
    Answered, Bytes, FromKeystore, Given, KeystoreRefusal as Refusal, MAX_SIGNED, Settings,
    ToKeystore, Wanted,
};
use super::token::{PAUSE, Token};
use crate::channel::{Channel, ChannelError};
use crate::flow::Clock;

/// Why the key store ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The supervisor cannot be spoken with.
    #[error("cannot speak with the supervisor")]
    Channel(#[from] ChannelError),
    /// The first message was not `Start`, or something came without its descriptor.
    #[error("the supervisor said something that makes no sense")]
    Confused,
}

/// The whole life of the key store. Ends when the supervisor is gone. `confine` shuts the process in, or says why not.
///
/// # Errors
/// When the channel breaks.
pub async fn run(
    channel: Channel<FromKeystore, ToKeystore>,
    clock: Arc<dyn Clock>,
    confine: impl Fn(&Pkcs11) -> Result<(), String>,
) -> Result<(), KeystoreError> {
    let settings = match channel.receive().await {
        Err(ChannelError::Closed) => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok((ToKeystore::Start(settings), _)) => settings,
        Ok((ToKeystore::Door, _)) => return Err(KeystoreError::Confused),
    };
    let mut hold = Hold::prepare(settings, clock, confine);
    let mut told = hold.reach().map(|_| ());
    channel
        .send(&FromKeystore::Token(told.clone()), &[])
        .await?;
    let mut door: Option<Channel<Answered, Wanted>> = None;
    loop {
        tokio::select! {
            received = channel.receive() => match received {
                Ok((ToKeystore::Door, descriptors)) => {
                    let [socket] = <[OwnedFd; 1]>::try_from(descriptors)
                        .map_err(|_| KeystoreError::Confused)?;
                    hold.message.clear();
                    door = Some(Channel::new(socket).map_err(ChannelError::from)?);
                }
                Ok((ToKeystore::Start(_), _)) => return Err(KeystoreError::Confused),
                Err(ChannelError::Closed) => return Ok(()),
                Err(error) => return Err(error.into()),
            },
            wanted = next(door.as_ref()) => {
                let Some(wanted) = wanted else {
                    door = None;
                    continue;
                };
                let answered = hold.answer(wanted);
                if let Some(open) = &door
                    && open.send(&answered, &[]).await.is_err()
                {
                    door = None;
                }
                let state = hold.state();
                if state != told {
                    told = state;
                    channel.send(&FromKeystore::Token(told.clone()), &[]).await?;
                }
            }
        }
    }
}

/// The next question; `None` when the signer is gone. Without a door there is none.
async fn next(door: Option<&Channel<Answered, Wanted>>) -> Option<Wanted> {
    let Some(door) = door else {
        return std::future::pending().await;
    };
    match door.receive().await {
        Ok((wanted, _)) => Some(wanted),
        Err(ChannelError::Closed) => None,
        Err(error) => {
            warn!(%error, "the signer cannot be understood");
            None
        }
    }
}

/// The token, or why there is none.
enum State {
    Open(Token),
    /// It is tried again with the next question after a pause.
    Closed {
        why: Refusal,
        since: Option<Instant>,
    },
    /// Nothing is tried until this process begins anew.
    Stopped(Refusal),
}

struct Hold {
    settings: Pkcs11,
    pin: Option<AuthPin>,
    state: State,
    clock: Arc<dyn Clock>,
    /// The first parts of what is signed next.
    message: Vec<u8>,
}

impl Hold {
    fn prepare(
        settings: Settings,
        clock: Arc<dyn Clock>,
        confine: impl Fn(&Pkcs11) -> Result<(), String>,
    ) -> Self {
        let Settings { pkcs11, may_log_in } = settings;
        let read = || {
            if !may_log_in {
                return Err(Refusal::Pin);
            }
            let pin = lazaret_config::read_password(&pkcs11.pin_file)
                .map_err(|error| Refusal::PinFile(error.to_string()))?;
            let text = std::str::from_utf8(pin.as_bytes())
                .map_err(|error| Refusal::PinFile(error.to_string()))?;
            Ok(AuthPin::from(text))
        };
        let pin = read();
        let confined = confine(&pkcs11).map_err(Refusal::Confine);
        let (pin, state) = match confined.and(pin) {
            Ok(pin) => {
                let why = Refusal::Unavailable;
                (Some(pin), State::Closed { why, since: None })
            }
            Err(refusal) => (None, State::Stopped(refusal)),
        };
        Self {
            settings: pkcs11,
            pin,
            state,
            clock,
            message: Vec::new(),
        }
    }

    fn state(&self) -> Result<(), Refusal> {
        match &self.state {
            State::Open(_) => Ok(()),
            State::Closed { why, .. } | State::Stopped(why) => Err(why.clone()),
        }
    }

    /// The token, opened if it can be; and whether it was open before.
    fn reach(&mut self) -> Result<bool, Refusal> {
        match &self.state {
            State::Open(_) => return Ok(true),
            State::Stopped(why) => return Err(why.clone()),
            State::Closed { why, since } => {
                let now = self.clock.now();
                if since.is_some_and(|since| now.saturating_duration_since(since) < PAUSE) {
                    return Err(why.clone());
                }
            }
        }
        let pin = self.pin.as_ref().ok_or(Refusal::Unavailable)?;
        match Token::open(&self.settings, pin) {
            Ok(token) => {
                info!("the token is open");
                self.state = State::Open(token);
                Ok(false)
            }
            Err(why) => {
                warn!(%why, "the token cannot be opened");
                self.state = if why.is_of_pin() {
                    self.pin = None;
                    State::Stopped(why.clone())
                } else {
                    self.closed(why.clone())
                };
                Err(why)
            }
        }
    }

    fn closed(&self, why: Refusal) -> State {
        let since = Some(self.clock.now());
        State::Closed { why, since }
    }

    fn answer(&mut self, wanted: Wanted) -> Answered {
        let wanted = match wanted {
            Wanted::More(part) => return self.more(part),
            Wanted::Sign {
                label,
                algorithm,
                message,
            } => {
                self.more(message)?;
                let message = Bytes(std::mem::take(&mut self.message));
                Wanted::Sign {
                    label,
                    algorithm,
                    message,
                }
            }
            Wanted::Generate { .. } | Wanted::Public { .. } => wanted,
        };
        let was_open = self.reach()?;
        match self.serve(&wanted) {
            // A session that lay idle may be gone though the token is not: it is opened once more.
            Err(Refusal::Lost(_) | Refusal::NoKey(_)) if was_open => {
                self.state = State::Closed {
                    why: Refusal::Unavailable,
                    since: None,
                };
                self.reach()?;
                let answered = self.serve(&wanted);
                self.unless_lost(answered)
            }
            answered => self.unless_lost(answered),
        }
    }

    /// Lets go of a token that cannot be used.
    fn unless_lost(&mut self, answered: Answered) -> Answered {
        if let Err(why @ Refusal::Lost(_)) = &answered {
            self.state = self.closed(why.clone());
        }
        answered
    }

    fn serve(&self, wanted: &Wanted) -> Answered {
        let State::Open(token) = &self.state else {
            return Err(Refusal::Unavailable);
        };
        match wanted {
            Wanted::Generate { label, algorithm } => {
                let made = token.generate(*label, *algorithm)?;
                info!(%label, algorithm = algorithm.as_str(), "a pair of keys was made in the token");
                Ok(Given::Public(Bytes(made)))
            }
            Wanted::Public { label, algorithm } => {
                let public = token.public(*label, *algorithm)?;
                Ok(Given::Public(Bytes(public)))
            }
            Wanted::Sign {
                label,
                algorithm,
                message,
            } => {
                let signature = token.sign(*label, *algorithm, &message.0)?;
                Ok(Given::Signature(Bytes(signature)))
            }
            Wanted::More(_) => Ok(Given::Taken),
        }
    }

    //= C7
    fn more(&mut self, part: Bytes) -> Answered {
        if self.message.len().saturating_add(part.0.len()) > MAX_SIGNED {
            self.message = Vec::new();
            return Err(Refusal::TooLarge);
        }
        self.message.extend_from_slice(&part.0);
        Ok(Given::Taken)
    }
}

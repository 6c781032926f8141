//! How the command ends: the exit codes that scripts rely on, and errors that know theirs.

use std::error::Error;
use std::fmt;
use std::io;

use lazaret_config::ConfigErrors;

use crate::control::client::ClientError;
use crate::control::message::Failure;
use crate::daemon::ReloadError;

/// The exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Anything that has no code of its own.
    Failure = 1,
    /// The arguments make no sense.
    Usage = 2,
    /// The configuration is wrong.
    Configuration = 3,
    /// A `[[test]]` does not hold.
    PolicyTest = 4,
    /// Denied or refused.
    Denied = 5,
    /// The daemon does not answer.
    Unreachable = 6,
    /// There was nothing left to confirm.
    NotConfirmed = 7,
    /// What is in force is not what should be.
    Drift = 8,
}

impl Exit {
    pub(super) fn of(kind: Failure) -> Self {
        match kind {
            Failure::Usage => Self::Usage,
            Failure::Configuration => Self::Configuration,
            Failure::PolicyTest => Self::PolicyTest,
            Failure::Denied => Self::Denied,
            Failure::Unknown | Failure::Internal => Self::Failure,
        }
    }
}

/// Why a command did not succeed, and the code to end with.
#[derive(Debug)]
pub struct CliError {
    /// The code.
    pub exit: Exit,
    cause: Box<dyn Error>,
}

impl CliError {
    /// In the command's own words.
    pub(super) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self {
            exit,
            cause: text.into().into(),
        }
    }

    /// The daemon said no.
    pub(super) fn refused(kind: Failure, why: String) -> Self {
        Self::new(Exit::of(kind), why)
    }

    /// With another code.
    pub(super) fn with(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Nobody answered at the console.
    pub(super) fn is_idle(&self) -> bool {
        self.cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
    }

    /// There is no gateway that runs, as opposed to one that is slow.
    pub(super) fn is_down(&self) -> bool {
        (self.cause.downcast_ref::<ClientError>()).is_some_and(ClientError::is_down)
    }

    /// The gateway may answer if it is asked again.
    pub(super) fn is_passing(&self) -> bool {
        (self.cause.downcast_ref::<ClientError>()).is_some_and(ClientError::is_passing)
    }

    /// The reader of our output went away.
    pub(super) fn is_broken_pipe(&self) -> bool {
        self.cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Everything that can go wrong below has its code here.
impl<E: Error + 'static> From<E> for CliError {
    fn from(error: E) -> Self {
        let mut exit = Exit::Failure;
        let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<ReloadError>() {
                exit = Exit::of(error.failure());
            } else if error.is::<ConfigErrors>() {
                exit = Exit::Configuration;
            } else if matches!(
                error.downcast_ref(),
                Some(ClientError::Unreachable { .. } | ClientError::NoAnswer(_))
            ) {
                exit = Exit::Unreachable;
            }
            cause = error.source();
        }
        Self {
            exit,
            cause: Box::new(error),
        }
    }
}

/// The chain, once. What has lines of its own (configuration errors) begins on its own line.
impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.cause.to_string();
        if text.contains('\n') {
            return f.write_str(text.trim_end());
        }
        write!(f, "lazaret: {text}")?;
        let mut cause = self.cause.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_know_their_code_and_print_their_chain_once() {
        let unreachable = ClientError::Unreachable {
            socket: "/run/lazaret/control.sock".into(),
            cause: io::Error::other("connection refused"),
        };
        let error = CliError::from(unreachable);
        assert_eq!(error.exit, Exit::Unreachable);
        assert_eq!(
            error.to_string(),
            "lazaret: cannot reach the gateway at /run/lazaret/control.sock: connection refused"
        );
        assert_eq!(CliError::from(io::Error::other("x")).exit, Exit::Failure);
        assert_eq!(
            CliError::refused(Failure::PolicyTest, String::new()).exit,
            Exit::PolicyTest
        );
        assert!(CliError::from(io::Error::from(io::ErrorKind::BrokenPipe)).is_broken_pipe());
    }
}

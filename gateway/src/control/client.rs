//! The command's end of the control socket: asks once and waits, within bounds.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::message::{Request, Response};
use super::server::SOCKET;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens, or the caller may not connect.
    #[error("cannot reach the gateway at {socket}")]
    Unreachable {
        /// Where.
        socket: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// It went away or did not answer in time.
    #[error("the gateway did not answer")]
    NoAnswer(#[source] io::Error),
    /// It is of another version.
    #[error("the gateway's answer cannot be understood")]
    Answer(#[source] serde_json::Error),
}

impl ClientError {
    /// Nobody is there: no socket, or none that listens. A gateway that is slow, or lets nobody in, is there.
    #[must_use]
    pub fn is_down(&self) -> bool {
        let Self::Unreachable { cause, .. } = self else {
            return false;
        };
        matches!(
            cause.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
        )
    }

    /// It may answer if it is asked again.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { cause, .. } => matches!(
                cause.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ),
            Self::NoAnswer(_) => true,
            Self::Answer(_) => false,
        }
    }
}

/// Asks the daemon.
///
/// # Errors
/// When there is no daemon or no answer. That the daemon refuses is an answer: [`Response::Failed`].
pub fn ask(runtime_dir: &Path, request: &Request) -> Result<Response, ClientError> {
    let socket = runtime_dir.join(SOCKET);
    let stream = connect(&socket).map_err(|cause| ClientError::Unreachable { socket, cause })?;
    exchange(&stream, request)
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The kernel also bounds `connect` by it, when the daemon does not accept.
    socket.set_write_timeout(Some(CONNECT_TIMEOUT))?;
    socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

fn exchange(mut stream: &UnixStream, request: &Request) -> Result<Response, ClientError> {
    let mut line = serde_json::to_vec(request).map_err(ClientError::Answer)?;
    line.push(b'\n');
    // A daemon that refuses the caller may answer and close before it has read.
    let sent = stream.write_all(&line);
    let mut answer = Vec::new();
    let read = BufReader::new(stream.take(MAX_RESPONSE)).read_until(b'\n', &mut answer);
    match (sent, read) {
        (_, Ok(_)) if answer.ends_with(b"\n") => {
            serde_json::from_slice(&answer).map_err(ClientError::Answer)
        }
        (Err(cause), _) | (Ok(()), Err(cause)) => Err(ClientError::NoAnswer(cause)),
        (Ok(()), Ok(_)) => Err(ClientError::NoAnswer(io::ErrorKind::UnexpectedEof.into())),
    }
}

/// Longest response: the devices of a large region.
const MAX_RESPONSE: u64 = 256 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An apply of 10,000 devices with its read-back takes seconds on a slow appliance.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

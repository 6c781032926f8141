//! The daemon's end of the control socket.
//!
//! Binds it so that only its owner can reach it, takes one bounded request from a connection
//! after asking the kernel who speaks, and writes one response.
//! Knows nothing of what requests do.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::message::{Failure, Request, Response};

/// The name of the socket in the runtime directory.
pub const SOCKET: &str = "control.sock";

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The system says no.
    #[error("cannot use the control connection")]
    Io(#[from] io::Error),
    /// Neither root nor the gateway's own user, nor an operator.
    #[error("user {0} may not control the gateway")]
    Denied(u32),
    /// Longer than [`MAX_REQUEST`].
    #[error("the request is longer than {MAX_REQUEST} bytes")]
    TooLarge,
    /// Not finished in time.
    #[error("the request did not come in time")]
    Timeout,
    /// The connection ended before the end of the line.
    #[error("the request is unfinished")]
    Unfinished,
    /// Not one of [`Request`].
    #[error("the request cannot be understood")]
    Request(#[from] serde_json::Error),
}

impl ControlError {
    /// What the other end may be told, if it is still there.
    #[must_use]
    pub fn response(&self) -> Response {
        let kind = match self {
            Self::Denied(_) => Failure::Denied,
            Self::TooLarge | Self::Timeout | Self::Unfinished | Self::Request(_) => Failure::Usage,
            Self::Io(_) => Failure::Internal,
        };
        Response::Failed {
            kind,
            why: self.to_string(),
        }
    }
}

/// Binds the control socket; a stale one is replaced, a live one is not.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] when another daemon listens there.
pub fn bind(runtime_dir: &Path) -> io::Result<UnixListener> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(runtime_dir)?;
    let path = runtime_dir.join(SOCKET);
    match std::fs::symlink_metadata(&path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the name of the control socket is taken by something else",
            ));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(&path).is_ok() => {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another gateway answers on the control socket",
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // It gets its name only when its mode is right.
    let new: PathBuf = runtime_dir.join(format!("{SOCKET}.new"));
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    std::fs::rename(&new, &path)?;
    Ok(listener)
}

/// The request of a connection, and the user id of who asks: root, the gateway's own user, or an operator.
///
/// # Errors
/// When the caller may not, or says nothing sensible in time.
pub async fn read_request(
    stream: &mut UnixStream,
    operators: &[u32],
) -> Result<(Request, u32), ControlError> {
    read_within(stream, operators, REQUEST_TIMEOUT).await
}

/// Whether a user is root or the gateway's own.
#[must_use]
pub fn is_own(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Whether a process was started by this one. Such a one does not command the gateway, whatever was loaded into it.
fn is_worker(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name of a program may have anything in it, but what follows has no parenthesis.
    let after = stat.rsplit_once(')').map(|(_, after)| after);
    let parent = after.and_then(|after| after.split_whitespace().nth(1));
    let own = std::process::id();
    pid.unsigned_abs() != own && parent.is_some_and(|parent| parent == own.to_string())
}

/// Lets others than root and the gateway's own user connect, or not; who they are is asked of the kernel.
///
/// # Errors
/// When the system says no.
pub fn open_to(runtime_dir: &Path, others: bool) -> io::Result<()> {
    let mode = if others { 0o666 } else { 0o600 };
    std::fs::set_permissions(runtime_dir.join(SOCKET), Permissions::from_mode(mode))
}

async fn read_within(
    stream: &mut UnixStream,
    operators: &[u32],
    limit: Duration,
) -> Result<(Request, u32), ControlError> {
    let peer = stream.peer_cred()?;
    let user = peer.uid();
    if peer.pid().is_some_and(is_worker) {
        return Err(ControlError::Denied(user));
    }
    if !is_own(user) && !operators.contains(&user) {
        return Err(ControlError::Denied(user));
    }
    let line = timeout(limit, read_line(stream))
        .await
        .map_err(|_| ControlError::Timeout)??;
    Ok((serde_json::from_slice(&line)?, user))
}

async fn read_line(stream: &mut UnixStream) -> Result<Vec<u8>, ControlError> {
    let mut line = Vec::new();
    let mut block = [0; 4096];
    loop {
        let read = stream.read(&mut block).await?;
        if read == 0 {
            return Err(ControlError::Unfinished);
        }
        let read = block.get(..read).unwrap_or_default();
        let end = read.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(read.get(..end.unwrap_or(read.len())).unwrap_or_default());
        if line.len() > MAX_REQUEST {
            return Err(ControlError::TooLarge);
        }
        if end.is_some() {
            return Ok(line);
        }
    }
}

/// Writes the response; the connection can be closed then.
///
/// # Errors
/// When the other end does not take it in time.
pub async fn respond(stream: &mut UnixStream, response: &Response) -> Result<(), ControlError> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    timeout(RESPONSE_TIMEOUT, async {
        stream.write_all(&line).await?;
        stream.shutdown().await
    })
    .await
    .map_err(|_| ControlError::Timeout)??;
    Ok(())
}

/// Longest request in bytes: a list of devices of a large region.
pub const MAX_REQUEST: usize = 8 << 20;
/// For the whole request to come.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// For the whole response to be taken.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::control::client::{self, ClientError};

    async fn exchange(words: &[u8], close: bool) -> Result<(Request, u32), ControlError> {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let words = words.to_vec();
        // What is too long is not read to its end.
        let writing = tokio::spawn(async move {
            let written = theirs.write_all(&words).await;
            if !close {
                std::future::pending::<()>().await;
            }
            written
        });
        let read = read_request(&mut ours, &[]).await;
        writing.abort();
        read
    }

    #[tokio::test]
    async fn takes_one_line_and_nothing_else() {
        let (request, user) = exchange(b"{\"request\":\"status\"}\n", false)
            .await
            .unwrap();
        assert_eq!(
            (request, user),
            (Request::Status, rustix::process::geteuid().as_raw())
        );
        let refused = [
            (
                &b"{\"request\":\"status\"}"[..],
                "the request is unfinished",
            ),
            (b"", "the request is unfinished"),
            (
                b"{\"request\":\"reboot\"}\n",
                "the request cannot be understood",
            ),
            (b"\n", "the request cannot be understood"),
        ];
        for (words, why) in refused {
            assert_eq!(exchange(words, true).await.unwrap_err().to_string(), why);
        }
        let long = vec![b' '; MAX_REQUEST + 1];
        assert!(matches!(
            exchange(&long, false).await,
            Err(ControlError::TooLarge)
        ));
    }

    #[tokio::test]
    async fn does_not_wait_for_ever() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"{").await.unwrap();
        let read = read_within(&mut ours, &[], Duration::from_millis(20)).await;
        assert!(matches!(read, Err(ControlError::Timeout)));
    }

    #[tokio::test]
    async fn client_and_server_understand_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let runtime = directory.path().join("run");
        assert!(matches!(
            client::ask(&runtime, &Request::Status),
            Err(ClientError::Unreachable { .. })
        ));
        let listener = bind(&runtime).unwrap();
        assert_eq!(
            runtime.join(SOCKET).metadata().unwrap().mode() & 0o777,
            0o600
        );
        assert_eq!(bind(&runtime).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        // The name of a dead socket stays behind.
        let listener = bind(&runtime).unwrap();
        let asking = tokio::task::spawn_blocking(move || client::ask(&runtime, &Request::Confirm));
        let (mut stream, _) = listener.accept().await.unwrap();
        let (request, _) = read_request(&mut stream, &[]).await.unwrap();
        assert_eq!(request, Request::Confirm);
        let response = Response::Done {
            what: "x".repeat(1 << 20),
        };
        respond(&mut stream, &response).await.unwrap();
        assert_eq!(asking.await.unwrap().unwrap(), response);
    }
}

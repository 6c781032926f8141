//! The hatch for `wg`: the cross-platform text protocol on a Unix socket.
//!
//! In: connections, text. Out: requests for the worker, its answers as text.
//! `wg show` sees everything; `wg set` may move a known peer, and change its keepalive and preshared key.
//! All else is the policy's, and a request that contradicts it is refused whole.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

pub mod answer;
pub mod judge;
pub mod request;

use request::{Framer, Request};

/// Makes the socket `directory/interface.sock`, where `wg` looks for it; to be called by the supervisor.
///
/// The directory is made if need be, for root alone. A socket that nobody answers is replaced.
///
/// # Errors
/// `AddrInUse` when somebody answers on it; else what the kernel says.
pub fn listen(directory: &Path, interface: &str) -> io::Result<OwnedFd> {
    if interface.is_empty() || interface.contains('/') || interface.starts_with('.') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let socket = directory.join(format!("{interface}.sock"));
    match std::fs::symlink_metadata(&socket) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(&socket).is_ok() => {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Private keys are told here, so the socket gets its place only with its mode.
    let nursery = tempdir(directory, interface)?;
    let young = nursery.join("sock");
    let listener = (|| {
        let listener = StdListener::bind(&young)?;
        std::fs::set_permissions(&young, Permissions::from_mode(0o600))?;
        std::fs::rename(&young, &socket)?;
        Ok(listener)
    })();
    let _ = std::fs::remove_file(&young);
    let _ = std::fs::remove_dir(&nursery);
    listener.map(OwnedFd::from)
}

fn tempdir(directory: &Path, interface: &str) -> io::Result<std::path::PathBuf> {
    let nursery = directory.join(format!(".{interface}.new"));
    let _ = std::fs::remove_file(nursery.join("sock"));
    let _ = std::fs::remove_dir(&nursery);
    DirBuilder::new().mode(0o700).create(&nursery)?;
    Ok(nursery)
}

/// A request and where its answer goes.
pub type Question = (Request, oneshot::Sender<String>);

/// Accepts on the listener and hands requests to the worker until it is gone.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(listener: OwnedFd, questions: mpsc::Sender<Question>) -> io::Result<()> {
    let listener = StdListener::from(listener);
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return Ok(());
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let questions = questions.clone();
                tokio::spawn(async move {
                    // A client that says nothing, or goes, is nobody's error: `wg` probes sockets so.
                    let _ = converse(stream, questions).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept on the UAPI socket");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn converse(mut stream: UnixStream, questions: mpsc::Sender<Question>) -> io::Result<()> {
    let mut framer = Framer::default();
    let mut buffer = vec![0; 4096];
    loop {
        while let Some(request) = framer.poll() {
            let (answer, is_last) = match request {
                Ok(request) => {
                    let (reply, answer) = oneshot::channel();
                    let sent = questions.send((request, reply)).await;
                    if sent.is_err() {
                        return Ok(());
                    }
                    (
                        answer.await.unwrap_or_else(|_| answer::errno(libc::EIO)),
                        false,
                    )
                }
                Err(request::Invalid) => (answer::errno(libc::EINVAL), true),
            };
            timely(stream.write_all(answer.as_bytes())).await?;
            if is_last {
                return Ok(());
            }
        }
        let read = timely(stream.read(&mut buffer)).await?;
        if read == 0 {
            return Ok(());
        }
        framer.receive(buffer.get(..read).unwrap_or_default());
    }
}

async fn timely<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Most clients at once; others wait.
const MAX_CLIENTS: usize = 16;
/// How long a client may keep its place without a word.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_private_and_replaces_only_a_dead_one() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("wireguard");
        let socket = directory.join("lz-wg.sock");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let first = listen(&directory, "lz-wg").unwrap();
        assert_eq!((mode(&directory), mode(&socket)), (0o700, 0o600));
        let taken = listen(&directory, "lz-wg").unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let second = listen(&directory, "lz-wg").unwrap();
        assert!(std::os::unix::net::UnixStream::connect(&socket).is_ok());
        drop(second);
        let entries = std::fs::read_dir(&directory).unwrap().count();
        assert_eq!(entries, 1, "nothing is left beside the socket");
        std::fs::write(directory.join("file.sock"), "x").unwrap();
        assert!(listen(&directory, "file").is_err());
        for name in ["", "../x", ".hidden", "a/b"] {
            assert!(listen(&directory, name).is_err(), "{name}");
        }
    }

    #[tokio::test]
    async fn clients_are_served_side_by_side_and_a_silent_one_is_no_error() {
        let root = tempfile::tempdir().unwrap();
        let listener = listen(root.path(), "t").unwrap();
        let (questions, mut asked) = mpsc::channel(1);
        let server = tokio::spawn(serve(listener, questions));
        tokio::spawn(async move {
            while let Some((request, reply)) = asked.recv().await {
                let _ = reply.send(format!("{}\n\n", request.lines().len()));
            }
        });
        let path = root.path().join("t.sock");
        let silent = UnixStream::connect(&path).await.unwrap();
        drop(UnixStream::connect(&path).await.unwrap());
        let mut client = UnixStream::connect(&path).await.unwrap();
        for (text, expected) in [
            ("get=1\n\n", "0\n\n"),
            ("set=1\nfwmark=0\n\n", "1\n\n"),
            ("nonsense\n\n", "errno=-22\n\n"),
        ] {
            for part in text.as_bytes().chunks(3) {
                client.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            let mut answer = vec![0; expected.len()];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(String::from_utf8(answer).unwrap(), expected);
        }
        assert_eq!(
            client.read(&mut [0]).await.unwrap(),
            0,
            "closed after nonsense"
        );
        drop(silent);
        server.abort();
    }
}

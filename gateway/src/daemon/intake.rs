//! What comes in from outside: operators, intercepted connections, denied packets.
//!
//! Each is brought to the supervisor's loop as an [`Input`] and decided there.

use std::time::Duration;

use lazaret_config::Config;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::error::DaemonError;
use super::supervisor::Input;
use crate::control::server;
use crate::segment::denied::DeniedWatch;

pub(super) fn bind_control(config: &Config) -> Result<UnixListener, DaemonError> {
    let directory = &config.gateway.runtime_dir;
    server::bind(directory).map_err(|cause| DaemonError::Listen {
        what: directory.join(server::SOCKET).display().to_string(),
        cause,
    })
}

/// Brings connections while they are taken; the others wait where the kernel keeps them.
//= C8
pub(super) async fn accept(
    listener: TcpListener,
    inputs: mpsc::Sender<Input>,
    mut taking: watch::Receiver<bool>,
) {
    loop {
        match listener
            .accept()
            .await
            .and_then(|(stream, _)| stream.into_std())
        {
            Ok(stream) => {
                let taken = taking.wait_for(|taking| *taking).await.is_ok();
                if !taken || inputs.send(Input::Accepted(stream)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

pub(super) async fn watch_denied(mut watch: DeniedWatch, inputs: mpsc::Sender<Input>) {
    loop {
        match watch.next().await {
            Ok(packets) => {
                if inputs.send(Input::Denied(packets)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                warn!(%error, "some denied packets were not seen");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// After an error, so that a lasting one does not fill the log.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    //= C8
    #[tokio::test]
    async fn connections_wait_until_they_are_taken_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (inputs, mut queue) = mpsc::channel(8);
        let taking = watch::Sender::new(false);
        tokio::spawn(accept(listener, inputs, taking.subscribe()));
        let _device = tokio::net::TcpStream::connect(address).await.unwrap();
        let _other = tokio::net::TcpStream::connect(address).await.unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(queue.try_recv().is_err());
        taking.send_replace(true);
        for _ in 0..2 {
            let next = tokio::time::timeout(Duration::from_secs(10), queue.recv())
                .await
                .unwrap();
            assert!(matches!(next, Some(Input::Accepted(_))));
        }
    }
}

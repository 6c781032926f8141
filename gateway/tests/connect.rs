//! A client over the loopback interface against a server of the same protocol, with certificates made for the purpose.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::indexing_slicing,
    reason = "what goes wrong in a test must fail it, in its helpers too"
)]

#[path = "connect/pki.rs"]
mod pki;
#[path = "connect/server.rs"]
mod server;

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use lazaret::connect::{self, Ending, Event};
use lazaret_config::{Client, Forward};
use pki::{Authority, Fault};
use server::{Answer, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// A client that runs, and what it tells.
struct Running {
    events: mpsc::UnboundedReceiver<Event>,
    stop: Option<oneshot::Sender<()>>,
    ending: tokio::task::JoinHandle<Ending>,
}

const PATIENCE: Duration = Duration::from_secs(20);

impl Running {
    fn start(client: Client, once: bool) -> Self {
        let (told, events) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let ending = tokio::task::spawn_local(async move {
            let mut tell = |event: &Event| told.send(event.clone()).unwrap_or(());
            let mut stop: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async {
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            });
            connect::run(&client, once, &mut tell, stop.as_mut())
                .await
                .unwrap()
        });
        Self {
            events,
            stop: Some(stop),
            ending,
        }
    }

    /// The next event that is wanted; others are passed over.
    async fn wait<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.events.recv().await.expect("the client ended");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, found).await.expect("it was never told")
    }

    async fn listen(&mut self) -> SocketAddr {
        self.wait(|event| match event {
            Event::Forwarding { listen, .. } => Some(listen),
            _ => None,
        })
        .await
    }

    async fn services(&mut self) -> Vec<String> {
        self.wait(|event| match event {
            Event::Services { services } => {
                Some(services.into_iter().map(|service| service.name).collect())
            }
            _ => None,
        })
        .await
    }

    async fn end(mut self) -> Ending {
        if let Some(stop) = self.stop.take() {
            stop.send(()).unwrap();
        }
        timeout(PATIENCE, self.ending).await.unwrap().unwrap()
    }
}

fn forward() -> Forward {
    let mut forward: Forward = "127.0.0.1:1=pacs".parse().unwrap();
    forward.listen.set_port(0);
    forward
}

/// Runs a test with everything in one thread.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        timeout(Duration::from_secs(60), test).await.unwrap()
    });
}

async fn echo(stream: &mut TcpStream, length: usize) {
    let sent: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
    let (mut reader, mut writer) = stream.split();
    let mut heard = vec![0; length];
    let both = async {
        let (wrote, read) = tokio::join!(writer.write_all(&sent), reader.read_exact(&mut heard));
        wrote.unwrap();
        read.unwrap();
    };
    timeout(PATIENCE, both).await.unwrap();
    assert!(heard == sent, "other bytes came back");
}

#[test]
fn a_program_reaches_a_service_by_its_name() {
    run(async {
        let authority = Authority::new();
        let server = Server::start(&authority, Answer::Grant, true);
        let mut client = authority.client(server.address, Fault::None);
        client.post_quantum_required = true;
        client.forwards = vec![forward()];
        let mut running = Running::start(client, false);
        let listen = running.listen().await;
        let post_quantum = running
            .wait(|event| match event {
                Event::Connected { post_quantum, .. } => Some(post_quantum),
                _ => None,
            })
            .await;
        assert_eq!(post_quantum, Some(true));
        assert_eq!(running.services().await, ["pacs"]);
        let mut stream = TcpStream::connect(listen).await.unwrap();
        echo(&mut stream, 1).await;
        echo(&mut stream, 1 << 20).await;
        let mut second = TcpStream::connect(listen).await.unwrap();
        echo(&mut second, 70_000).await;
        // The end of what the program says goes through, and comes back.
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut rest))
            .await
            .unwrap()
            .unwrap();
        assert!(rest.is_empty());
        assert_eq!(running.end().await, Ending::Stopped);
        assert!(
            server.capsules() > 0,
            "packets of 1280 bytes do not fit the first datagrams"
        );
    });
}

#[test]
fn streams_outlive_the_connection() {
    run(async {
        let authority = Authority::new();
        let server = Server::start(&authority, Answer::Grant, false);
        let mut client = authority.client(server.address, Fault::None);
        client.forwards = vec![forward()];
        let mut running = Running::start(client, false);
        let listen = running.listen().await;
        running.services().await;
        let mut stream = TcpStream::connect(listen).await.unwrap();
        echo(&mut stream, 5000).await;
        server.cut();
        let retry = running
            .wait(|event| match event {
                Event::Lost { retry, .. } => Some(retry),
                _ => None,
            })
            .await;
        assert_eq!(retry, Some(1));
        assert_eq!(running.services().await, ["pacs"]);
        echo(&mut stream, 5000).await;
        assert_eq!(running.end().await, Ending::Stopped);
    });
}

/// Who was refused for its certificate does not wait minutes with another one.
#[test]
fn another_certificate_is_shown_within_seconds() {
    run(async {
        let authority = Authority::new();
        let server = Server::start(&authority, Answer::Grant, false);
        let client = authority.client(server.address, Fault::Expired);
        let mut running = Running::start(client, false);
        let retry = running
            .wait(|event| match event {
                Event::Refused { retry, .. } => retry,
                _ => None,
            })
            .await;
        assert!(retry >= 150, "{retry}");
        authority.client(server.address, Fault::None);
        assert_eq!(running.services().await, ["pacs"]);
        assert_eq!(running.end().await, Ending::Stopped);
    });
}

#[test]
fn a_service_that_is_not_told_is_not_reached() {
    run(async {
        let authority = Authority::new();
        let server = Server::start(&authority, Answer::GrantNothing, false);
        let mut client = authority.client(server.address, Fault::None);
        client.forwards = vec![forward()];
        let mut running = Running::start(client, false);
        let listen = running.listen().await;
        assert!(running.services().await.is_empty());
        let mut stream = TcpStream::connect(listen).await.unwrap();
        let why = running
            .wait(|event| match event {
                Event::NotAllowed { why, .. } => Some(why),
                _ => None,
            })
            .await;
        assert_eq!(why, "it may not be used now");
        let read = timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap();
        assert!(matches!(read, Ok(0) | Err(_)));
        running.end().await;
    });
}

/// What the client hears, with a server and a fault each.
async fn refusal(answer: Answer, fault: Fault, post_quantum: bool) -> Ending {
    let authority = Authority::new();
    let server = Server::start(&authority, answer, false);
    let mut client = authority.client(server.address, fault);
    client.post_quantum_required = post_quantum;
    let running = Running::start(client, true);
    timeout(PATIENCE, running.ending).await.unwrap().unwrap()
}

#[test]
fn each_refusal_says_why() {
    run(async {
        let refused = |why: &str| Ending::Refused(why.to_owned());
        assert_eq!(
            refusal(
                Answer::Refuse("outside hours: mon-fri 07:00-20:00"),
                Fault::None,
                false
            )
            .await,
            refused("outside hours: mon-fri 07:00-20:00"),
        );
        for (fault, word) in [
            (Fault::Expired, "this certificate has expired"),
            (Fault::OtherAuthority, "the authority of this certificate"),
            (Fault::ServerOfAnother, "not of the authority in `ca`"),
            (Fault::OtherName, "for another name"),
        ] {
            match refusal(Answer::Grant, fault, false).await {
                Ending::Refused(why) => assert!(why.contains(word), "{fault:?}: {why}"),
                other => panic!("{fault:?}: {other:?}"),
            }
        }
        // A server without the hybrid key exchange, and one with it.
        match refusal(Answer::Classical, Fault::None, true).await {
            Ending::Refused(why) => assert!(why.contains("post_quantum"), "{why}"),
            other => panic!("{other:?}"),
        }
        match refusal(Answer::Classical, Fault::None, false).await {
            Ending::Lost(why) => assert_eq!(why, "the gateway ended the tunnel"),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_server_that_breaks_the_rules_is_left() {
    run(async {
        match refusal(Answer::Nonsense, Fault::None, false).await {
            Ending::Lost(why) => assert!(why.contains("H3_MISSING_SETTINGS"), "{why}"),
            other => panic!("{other:?}"),
        }
    });
}

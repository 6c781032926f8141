//! The process of the signer, on a thread: questions over its channel, handshakes through a door.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::office::settings;
use super::trust::handshake;
use super::world::{asked, at, key, new_request, request};
use crate::channel::{self, Channel, ChannelError};
use crate::flow::Clock;
use crate::pki::authority::{Authority, SecretKey};
use crate::pki::door::{Door, DoorError};
use crate::pki::ledger::Listener;
use crate::pki::message::{
    Answer, Der, FromSigner, Question, Refusal, ServerIdentity, TlsSign, ToSigner, Way,
};
use crate::pki::pem;
use crate::pki::worker;

struct Stopped(Timestamp);

impl Clock for Stopped {
    #[allow(clippy::disallowed_methods, reason = "a test")]
    fn now(&self) -> Instant {
        Instant::now()
    }
    fn wall(&self) -> Timestamp {
        self.0
    }
}

fn signer(now: Timestamp) -> Channel<ToSigner, FromSigner> {
    let (ours, theirs) = channel::pair().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let channel = Channel::new(theirs).unwrap();
            worker::run(channel, Arc::new(Stopped(now))).await
        })
    });
    Channel::new(ours).unwrap()
}

async fn ask(
    channel: &Channel<ToSigner, FromSigner>,
    question: Question,
) -> Result<Answer, Refusal> {
    let request = 7;
    let message = ToSigner::Ask { request, question };
    channel.send(&message, &[]).await.unwrap();
    let FromSigner::Answer { request: 7, answer } = channel.receive().await.unwrap().0 else {
        panic!("another answer");
    };
    *answer
}

#[tokio::test]
async fn a_listener_shakes_hands_with_a_key_that_it_does_not_have() {
    let folder = tempfile::tempdir().unwrap();
    let now = at("2026-03-01T12:00:00Z");
    let channel = signer(now);
    let start = ToSigner::Start(settings(folder.path()));
    channel.send(&start, &[]).await.unwrap();
    assert!(matches!(
        channel.receive().await.unwrap().0,
        FromSigner::Ready
    ));
    assert_eq!(ask(&channel, Question::Trust).await.map(|_| ()), Ok(()));
    let made = Question::NewAuthority {
        rotate: false,
        way: Way::Root,
        overlap: None,
    };
    let Ok(Answer::Status(status)) = ask(&channel, made).await else {
        panic!("no authority");
    };
    let listener = Listener::Enrol;
    let question = Question::Server {
        listener,
        renew: false,
    };
    let Ok(Answer::Server(identity)) = ask(&channel, question).await else {
        panic!("no certificate");
    };
    let pair = key(&rcgen::PKCS_ED25519);
    let question = Question::Issue {
        request: Der(request(&asked(), &pair)),
        device: "ecg".parse().unwrap(),
        lifetime: None,
    };
    let Ok(Answer::Issued(issued)) = ask(&channel, question).await else {
        panic!("no certificate");
    };
    let Ok(Answer::Trust(trust)) = ask(&channel, Question::Trust).await else {
        panic!("nobody is trusted");
    };

    let (ours, theirs) = channel::pair().unwrap();
    let message = ToSigner::Door { listener };
    let descriptor = std::os::fd::AsFd::as_fd(&theirs);
    channel.send(&message, &[descriptor]).await.unwrap();
    drop(theirs);
    let door = Door::new(ours);
    let certified = door.certified(&identity);
    let ca = trusted(&status.authorities[0].certificate, folder.path());
    let device = (issued.certificate.0.clone(), pair.serialize_der());
    let key = Arc::clone(&certified.key);
    let leaf = identity.chain[0].0.clone();
    let presented = handshake(&trust, (&ca, key, leaf), device, now).unwrap();
    assert_eq!(presented, issued.certificate.0);
    refuses_more(&door, &identity);

    // The signer goes; so does its door, until there is another.
    drop(channel);
    let gone = loop {
        match door.sign(&wanted(&identity, 32)) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(gone, DoorError::Channel(ChannelError::Closed)));
    let shut = door.sign(&wanted(&identity, 32));
    assert!(matches!(shut, Err(DoorError::Shut)));
}

fn wanted(identity: &ServerIdentity, length: usize) -> TlsSign {
    let begin = [&[b' '; 64][..], b"TLS 1.3, server CertificateVerify\0"].concat();
    TlsSign {
        key: identity.key,
        message: Der([begin, vec![7; length]].concat()),
    }
}

fn refuses_more(door: &Door, identity: &ServerIdentity) {
    let refused = |length| {
        let signed = door.sign(&wanted(identity, length));
        matches!(signed, Err(DoorError::Refused(Refusal::NotAHandshake)))
    };
    assert_eq!([32, 48, 31, 64].map(refused), [false, false, true, true]);
}

/// The authority as clients know it: the key does not matter.
fn trusted(text: &str, folder: &std::path::Path) -> Authority {
    let chain = pem::all(text, pem::CERTIFICATE).unwrap();
    let name = std::fs::read_dir(folder.join("pki")).unwrap();
    let mut keys = name.map(|entry| entry.unwrap().path());
    let own = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("ca-") && name.ends_with(".key")
    };
    let text = std::fs::read_to_string(keys.find(own).unwrap()).unwrap();
    let pkcs8 = pem::one(&text, pem::PRIVATE_KEY).unwrap();
    let key = SecretKey::read(&pkcs8, lazaret_config::KeyAlgorithm::EcdsaP256).unwrap();
    Authority::with(super::world::GATEWAY, key, chain).unwrap()
}

#[tokio::test]
async fn a_store_that_cannot_be_used_is_said_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let channel = signer(at("2026-03-01T12:00:00Z"));
    let in_the_way = folder.path().join("pki");
    std::fs::write(&in_the_way, "").unwrap();
    let start = ToSigner::Start(settings(folder.path()));
    channel.send(&start, &[]).await.unwrap();
    assert!(matches!(
        channel.receive().await.unwrap().0,
        FromSigner::Ready
    ));
    let refused = ask(&channel, Question::Status).await;
    assert!(matches!(refused, Err(Refusal::Storage(_))), "{refused:?}");
    std::fs::remove_file(&in_the_way).unwrap();
    assert!(matches!(
        ask(&channel, Question::Status).await,
        Ok(Answer::Status(_))
    ));
    let issue = Question::Issue {
        request: Der(new_request()),
        device: "ecg".parse().unwrap(),
        lifetime: None,
    };
    assert_eq!(ask(&channel, issue).await, Err(Refusal::NoAuthority));
}

//! The office over its files: what it gives, what it refuses, and what outlives a restart.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use lazaret_config::{KeyAlgorithm, Pki, ServerName};
use rcgen::KeyPair;

use super::world::{GATEWAY, asked, at, days, device, key, new_request, request};
use crate::flow::DeviceName;
use crate::pki::authority::Reason;
use crate::pki::certificate::Facts;
use crate::pki::key::Serial;
use crate::pki::keystore::Keystore;
use crate::pki::ledger::Listener;
use crate::pki::message::{
    Answer, AuthorityStatus, Der, IssuedCertificate, Question, Refusal, ServerIdentity, Settings,
    TlsSign, Way, Which,
};
use crate::pki::office::Office;
use crate::pki::pem;
use crate::pki::trust::Trust;

pub(super) fn settings(directory: &Path) -> Settings {
    Settings {
        gateway: GATEWAY.to_owned(),
        directory: directory.join("pki"),
        pki: Pki {
            algorithm: KeyAlgorithm::EcdsaP256,
            lifetime: days(30),
            grace: days(14),
            ca_lifetime: days(3650),
            overlap: days(60),
            server_names: vec![ServerName::Dns("gw.example.org".to_owned())],
            crl_url: None,
            pkcs11: None,
        },
    }
}

/// An office in a folder of its own, and the day it is.
pub(super) struct World {
    pub(super) office: Option<Office>,
    pub(super) settings: Settings,
    pub(super) now: Timestamp,
    /// Certificates of devices hold no longer.
    bound: Option<Duration>,
    _folder: tempfile::TempDir,
}

impl World {
    pub(super) fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        Self {
            office: Some(Office::open(settings.clone(), Keystore::default()).unwrap()),
            settings,
            now: at("2026-03-01T12:00:00Z"),
            bound: None,
            _folder: folder,
        }
    }

    pub(super) fn new() -> Self {
        let mut world = Self::empty();
        world.ca(false, Way::Root, None).unwrap();
        world
    }

    /// As if the process died and came back.
    pub(super) fn again(&mut self) {
        self.office = None;
        self.office = Some(Office::open(self.settings.clone(), Keystore::default()).unwrap());
    }

    pub(super) fn tidy(&mut self) {
        self.office.as_mut().unwrap().tidy(self.now);
    }

    pub(super) fn ask(&mut self, question: Question) -> Result<Answer, Refusal> {
        self.office.as_mut().unwrap().answer(question, self.now)
    }

    pub(super) fn ca(
        &mut self,
        rotate: bool,
        way: Way,
        overlap: Option<Duration>,
    ) -> Result<Answer, Refusal> {
        self.ask(Question::NewAuthority {
            rotate,
            way,
            overlap,
        })
    }

    pub(super) fn status(&mut self) -> AuthorityStatus {
        let Answer::Status(status) = self.ask(Question::Status).unwrap() else {
            panic!("another answer");
        };
        status
    }

    pub(super) fn trust(&mut self) -> Trust {
        let Answer::Trust(trust) = self.ask(Question::Trust).unwrap() else {
            panic!("another answer");
        };
        trust
    }

    pub(super) fn issue(
        &mut self,
        device: &str,
        request: Vec<u8>,
    ) -> Result<IssuedCertificate, Refusal> {
        let question = Question::Issue {
            request: Der(request),
            device: device.parse().unwrap(),
            lifetime: self.bound,
        };
        self.ask(question).map(certificate)
    }

    pub(super) fn renew(
        &mut self,
        old: &IssuedCertificate,
        request: Vec<u8>,
    ) -> Result<IssuedCertificate, Refusal> {
        let question = Question::Renew {
            certificate: old.certificate.clone(),
            request: Der(request),
            lifetime: self.bound,
        };
        self.ask(question).map(certificate)
    }

    pub(super) fn server(&mut self, renew: bool) -> Result<ServerIdentity, Refusal> {
        let listener = Listener::Enrol;
        let Answer::Server(identity) = self.ask(Question::Server { listener, renew })? else {
            panic!("another answer");
        };
        Ok(identity)
    }

    pub(super) fn revoke(&mut self, which: Which) -> Result<Vec<Serial>, Refusal> {
        let reason = Reason::KeyCompromise;
        let Answer::Revoked(serials) = self.ask(Question::Revoke { which, reason })? else {
            panic!("another answer");
        };
        Ok(serials)
    }

    pub(super) fn listed(&mut self) -> usize {
        use x509_cert::der::Decode;
        let Answer::Lists(lists) = self.ask(Question::Lists).unwrap() else {
            panic!("another answer");
        };
        let count = |der: &Der| {
            let list =
                x509_cert::crl::CertificateList::<x509_cert::certificate::Rfc5280>::from_der(
                    &der.0,
                )
                .unwrap();
            list.tbs_cert_list
                .revoked_certificates
                .map_or(0, |all| all.len())
        };
        lists.iter().map(count).sum()
    }
}

fn certificate(answer: Answer) -> IssuedCertificate {
    let Answer::Issued(issued) = answer else {
        panic!("another answer");
    };
    issued
}

fn of(pair: &KeyPair) -> Vec<u8> {
    request(&asked(), pair)
}

fn new_key() -> KeyPair {
    key(&rcgen::PKCS_ECDSA_P256_SHA256)
}

/// Neither the first certificate of a device nor the next ones hold longer than it is let in.
#[test]
fn a_certificate_ends_with_its_device() {
    let mut world = World::new();
    let free = world.issue("ecg", new_request()).unwrap();
    world.bound = Some(days(3));
    let end = at("2026-03-04T12:00:00Z");
    let first = world.issue("ecg", new_request()).unwrap();
    let next = world.renew(&free, new_request()).unwrap();
    assert_eq!(
        [first.validity.not_after, next.validity.not_after],
        [end; 2]
    );
    world.bound = Some(days(300));
    let longest = world.renew(&free, new_request()).unwrap();
    assert_eq!(longest.validity.not_after, at("2026-03-31T12:00:00Z"));
}

/// Otherwise one that renews all the time fills the ledger for all.
//= C7
#[test]
fn a_device_has_so_many_certificates_and_no_more() {
    let mut world = World::new();
    let first = world.issue("ecg", new_request()).unwrap();
    for _ in 1..32 {
        world.renew(&first, new_request()).unwrap();
    }
    let full = Err(Refusal::TooManyCertificates(32));
    assert_eq!(world.renew(&first, new_request()).map(drop), full);
    world.again();
    assert_eq!(world.issue("ecg", new_request()).map(drop), full);
    assert!(world.issue("us", new_request()).is_ok());
    assert_eq!(world.revoke(Which::Serial(first.serial)).unwrap().len(), 1);
    assert!(world.issue("ecg", new_request()).is_ok());
    assert_eq!(world.issue("ecg", new_request()).map(drop), full);
    world.now = at("2026-04-01T12:00:01Z");
    assert!(world.issue("ecg", new_request()).is_ok());
}

#[test]
fn nothing_is_signed_before_there_is_an_authority() {
    let mut world = World::empty();
    assert_eq!(
        world.issue("ecg", new_request()).map(drop),
        Err(Refusal::NoAuthority)
    );
    assert_eq!(world.server(false), Err(Refusal::NoAuthority));
    assert_eq!(world.ca(true, Way::Root, None), Err(Refusal::NoAuthority));
    assert!(world.ca(false, Way::Root, None).is_ok());
    assert_eq!(
        world.ca(false, Way::Root, None),
        Err(Refusal::AuthorityExists)
    );
    assert!(world.issue("ecg", new_request()).is_ok());
    assert!(world.server(false).is_ok());
}

//= C5
#[test]
fn two_devices_never_share_a_key() {
    let mut world = World::new();
    let pair = new_key();
    let first = world.issue("ecg", of(&pair)).unwrap();
    assert_eq!(
        world.issue("us", of(&pair)).map(drop),
        Err(Refusal::KeyTaken)
    );
    // The device did not hear the answer.
    assert!(world.issue("ecg", of(&pair)).is_ok());
    world.again();
    assert_eq!(
        world.issue("us", of(&pair)).map(drop),
        Err(Refusal::KeyTaken)
    );
    assert!(world.issue("us", new_request()).is_ok());
    world.revoke(Which::Serial(first.serial)).unwrap();
    assert_eq!(
        world.issue("ecg", of(&pair)).map(drop),
        Err(Refusal::KeyRevoked)
    );
}

#[test]
fn a_certificate_is_renewed_with_a_new_key_while_it_may() {
    let mut world = World::new();
    let pair = new_key();
    let first = world.issue("ecg-0042", of(&pair)).unwrap();
    assert_eq!(first.validity.not_after, at("2026-03-31T12:00:00Z"));
    let two_thirds = at("2026-03-19T00:00:00Z")..at("2026-03-23T00:00:00Z");
    assert!(two_thirds.contains(&first.renew_at));
    world.now = at("2026-03-21T12:00:00Z");
    assert_eq!(
        world.renew(&first, of(&pair)).map(drop),
        Err(Refusal::SameKey)
    );
    let next = new_key();
    let second = world.renew(&first, of(&next)).unwrap();
    assert_eq!(
        (second.device.as_str(), second.validity.not_after),
        ("ecg-0042", at("2026-04-20T12:00:00Z"))
    );
    assert!(
        world.renew(&first, of(&next)).is_ok(),
        "the answer was lost"
    );
    let foreign = world.issue("us", new_request()).unwrap();
    assert_eq!(
        world.renew(&first, of(&new_key())).map(|one| one.device),
        Ok(device())
    );
    let named = request(&super::world::named("ecg-0042"), &new_key());
    assert!(matches!(
        world.renew(&foreign, named),
        Err(Refusal::Request(_))
    ));

    world.now = at("2026-04-14T12:00:00Z");
    assert!(world.renew(&first, new_request()).is_ok(), "in its grace");
    world.now = at("2026-04-14T12:00:01Z");
    assert_eq!(
        world.renew(&first, new_request()).map(drop),
        Err(Refusal::NotNow)
    );
    assert!(world.renew(&second, new_request()).is_ok());
    world.revoke(Which::Devices(vec![device()])).unwrap();
    assert_eq!(
        world.renew(&second, new_request()).map(drop),
        Err(Refusal::Revoked)
    );

    let mut stranger = World::new();
    let unknown = stranger.issue("ecg-0042", new_request()).unwrap();
    assert_eq!(
        world.renew(&unknown, new_request()).map(drop),
        Err(Refusal::Unknown)
    );
}

#[test]
fn what_is_revoked_stays_so() {
    let mut world = World::new();
    let one = world.issue("ecg", new_request()).unwrap();
    let other = world.issue("ecg", new_request()).unwrap();
    let us = world.issue("us", new_request()).unwrap();
    assert_eq!(world.listed(), 0);
    assert_eq!(world.revoke(Which::Serial(us.serial)), Ok(vec![us.serial]));
    assert_eq!(
        world.revoke(Which::Serial(us.serial)),
        Ok(vec![]),
        "already"
    );
    assert_eq!(
        world.revoke(Which::Serial(Serial::new([3; 16]))),
        Err(Refusal::Unknown)
    );
    assert_eq!(world.listed(), 1, "at once");
    let ecg: DeviceName = "ecg".parse().unwrap();
    let mut both = world.revoke(Which::Devices(vec![ecg])).unwrap();
    both.sort();
    let mut expected = vec![one.serial, other.serial];
    expected.sort();
    assert_eq!(both, expected);
    world.again();
    assert_eq!(world.listed(), 3, "after a restart");
    assert_eq!(world.status().revoked, 3);
    // Ended, but they could still be renewed: for 14 days.
    world.now = at("2026-04-14T12:00:00Z");
    assert_eq!(world.listed(), 3, "in their grace");
    // A list is made anew when half of its life is over.
    world.now = at("2026-04-21T12:00:00Z");
    assert_eq!(world.listed(), 0, "what is over needs no list");
}

#[test]
fn an_authority_follows_another_and_nobody_is_locked_out() {
    let mut world = World::new();
    let old = world.issue("ecg", new_request()).unwrap();
    let before = world.server(false).unwrap();
    world.now = at("2026-03-02T12:00:00Z");
    world.ca(true, Way::Root, None).unwrap();
    let status = world.status();
    assert_eq!(status.authorities.len(), 2);
    assert_eq!(status.authorities[0].trusted_until, None);
    let until = at("2026-05-01T12:00:00Z");
    assert_eq!(status.authorities[1].trusted_until, Some(until));
    // The device knows the old authority alone: the listener still shows that one.
    assert_eq!(world.server(false), Ok(before.clone()));
    let trust = world.trust();
    assert_eq!((trust.authorities.len(), trust.lists.len()), (2, 2));
    world.again();
    let renewed = world.renew(&old, new_request()).unwrap();
    let issuer = |one: &IssuedCertificate| Facts::of(&one.certificate.0).unwrap().issuer;
    assert_ne!(issuer(&renewed), issuer(&old));

    world.now = at("2026-04-15T12:00:00Z");
    let last = world.server(false).unwrap();
    assert_eq!(last.chain[1], before.chain[1], "the old authority");
    assert!(last.validity.not_after <= until);
    // Every certificate of the old authority has ended its grace.
    world.now = at("2026-04-15T12:00:01Z");
    let new = world.server(false).unwrap();
    assert_ne!(new.chain[1], before.chain[1], "the new authority");
    world.now = at("2026-05-01T12:00:00Z");
    let trust = world.trust();
    assert_eq!(trust.authorities.len(), 1);
    // The clock may be wrong: the key goes when that can be ruled out.
    world.tidy();
    let keys = || {
        let all = std::fs::read_dir(&world.settings.directory).unwrap();
        let names = all.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .filter(|name| name.starts_with("ca-") && name.ends_with(".key"))
            .count()
    };
    assert_eq!(keys(), 1, "the key of the old authority is gone");
    world.again();
    assert_eq!(world.status().authorities.len(), 1);
}

#[test]
fn an_authority_that_was_stolen_ends_at_once() {
    let mut world = World::new();
    let old = world.issue("ecg", new_request()).unwrap();
    let server = world.server(false).unwrap();
    world.ca(true, Way::Root, Some(Duration::ZERO)).unwrap();
    assert_eq!(world.status().authorities.len(), 1);
    assert_eq!(
        world.renew(&old, new_request()).map(drop),
        Err(Refusal::Unknown)
    );
    assert_ne!(world.server(false).unwrap().key, server.key);
}

#[test]
fn a_clock_that_stepped_ahead_and_back_made_nobody_forget() {
    let mut world = World::new();
    let old = world.issue("ecg", new_request()).unwrap();
    world.revoke(Which::Serial(old.serial)).unwrap();
    world.ca(true, Way::Root, None).unwrap();
    let today = world.now;
    world.now = at("2031-01-01T00:00:00Z");
    assert_eq!(world.status().authorities.len(), 1);
    assert_eq!(world.listed(), 0);
    world.again();
    world.now = today;
    assert_eq!(world.status().authorities.len(), 2);
    assert_eq!(world.listed(), 1);
    assert_eq!(
        world.renew(&old, new_request()).map(drop),
        Err(Refusal::Revoked)
    );
}

#[test]
fn so_many_authorities_and_no_more() {
    let mut world = World::new();
    for _ in 0..3 {
        world.ca(true, Way::Root, None).unwrap();
    }
    assert_eq!(
        world.ca(true, Way::Root, None),
        Err(Refusal::TooManyAuthorities(4))
    );
    world.now = at("2026-05-01T12:00:00Z");
    assert!(world.ca(true, Way::Root, None).is_ok());
}

#[test]
fn a_request_waits_for_the_certificate_of_the_hospital() {
    let mut world = World::empty();
    let Ok(Answer::Request(text)) = world.ca(false, Way::Request, None) else {
        panic!("no request");
    };
    world.again();
    let Ok(Answer::Request(again)) = world.ca(false, Way::Request, None) else {
        panic!("no request");
    };
    // All but the signature, which has a new random number.
    assert_eq!(again[60..200], text[60..200]);
    assert_eq!(
        world.issue("ecg", new_request()).map(drop),
        Err(Refusal::NoAuthority)
    );
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    std::fs::write(directory.join("r.pem"), text).unwrap();
    let run =
        |words: &str| super::world::satisfied(directory, &words.split(' ').collect::<Vec<_>>());
    run(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -keyout k.pem -out root.pem -days 4000 -subj /CN=Hospital",
    );
    std::fs::write(directory.join("x"), "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n").unwrap();
    run("x509 -req -in r.pem -CA root.pem -CAkey k.pem -out own.pem -days 3000 -extfile x");
    let read = |name| std::fs::read_to_string(directory.join(name)).unwrap();
    let both = read("own.pem") + &read("root.pem");
    // What openssl makes holds from now on, not from the world's day on.
    world.now = Facts::of(&pem::one(&read("own.pem"), pem::CERTIFICATE).unwrap())
        .unwrap()
        .validity
        .not_before;
    assert!(matches!(
        world.ca(false, Way::Certificate(read("root.pem")), None),
        Err(Refusal::Authority(_))
    ));
    world
        .ca(false, Way::Certificate(both.clone()), None)
        .unwrap();
    assert_eq!(
        world.ca(false, Way::Certificate(both), None),
        Err(Refusal::NothingWaits)
    );
    let status = world.status();
    assert!(!status.authorities[0].root && status.waiting.is_none());
    let issued = world.issue("ecg", new_request()).unwrap();
    assert_eq!(issued.chain.len(), 2);
    super::world::write_pem(
        directory,
        "c.pem",
        pem::CERTIFICATE,
        &[&issued.certificate.0],
    );
    let when = world.now.as_second();
    run(&format!(
        "verify -attime {when} -CAfile root.pem -untrusted own.pem c.pem"
    ));
    world.again();
    assert!(world.issue("ecg", new_request()).is_ok());
}

#[test]
fn a_listener_keeps_its_certificate_until_it_is_due() {
    let mut world = World::new();
    let first = world.server(false).unwrap();
    assert_eq!(world.server(false), Ok(first.clone()));
    let second = world.server(true).unwrap();
    assert_ne!(second.key, first.key);
    world.now = second.renew_at;
    let third = world.server(false).unwrap();
    assert_ne!(third.key, second.key);
    // As OpenSSL and rustls lay it out.
    let message = [
        &[b' '; 64][..],
        b"TLS 1.3, server CertificateVerify\0",
        &[7; 32],
    ]
    .concat();
    let sign = |world: &World, door, key, message: &[u8]| {
        let message = Der(message.to_vec());
        world
            .office
            .as_ref()
            .unwrap()
            .handshakes()
            .sign(door, &TlsSign { key, message })
            .map(drop)
    };
    let refused = Err(Refusal::NotAHandshake);
    assert_eq!(
        sign(&world, Some(Listener::Enrol), third.key, &message),
        Ok(())
    );
    assert_eq!(
        sign(&world, Some(Listener::Enrol), second.key, &message),
        Ok(()),
        "still in use"
    );
    assert_eq!(
        sign(&world, Some(Listener::Enrol), first.key, &message),
        refused,
        "long gone"
    );
    assert_eq!(
        sign(&world, Some(Listener::Quic), third.key, &message),
        refused
    );
    assert_eq!(
        sign(&world, Some(Listener::Enrol), third.key, &message[1..]),
        refused
    );
    let client = String::from_utf8(message)
        .unwrap()
        .replace("server", "client");
    assert_eq!(
        sign(&world, Some(Listener::Enrol), third.key, client.as_bytes()),
        refused
    );

    world
        .settings
        .pki
        .server_names
        .push(ServerName::Dns("new.example.org".to_owned()));
    world.again();
    assert!(matches!(world.server(false), Err(Refusal::ServerNames(_))));
    world.settings.pki.server_names.clear();
    world.again();
    assert!(matches!(world.server(false), Err(Refusal::ServerNames(_))));
}

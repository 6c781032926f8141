//! The listener of enrolment: its socket, its process, its certificate and whom it believes.
//!
//! In: the configuration, answers of the signer, time. Out: a process that has what it needs, and a door to the signer.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::enrolment::Signed;
use super::signing::Asker;
use super::supervisor::{Input, Supervisor};
use super::worker::{Kind, Worker};
use crate::channel;
use crate::enrol::message::{Identity, ToEnrol};
use crate::flow::Clock as _;
use crate::pki::message::{
    Answer, AuthorityStatus, Der, Listener, Question, Refusal, ServerIdentity, ToSigner, Trust,
};
use crate::pki::pem;

/// What the listener has.
#[derive(Default)]
pub(super) struct Desk {
    socket: Option<(SocketAddr, TcpListener)>,
    /// What the signer said of the listener; told when it is whole.
    server: Option<ServerIdentity>,
    trust: Option<Trust>,
    pub(super) authorities: Vec<Der>,
    told: Option<Identity>,
    /// Both processes have an end of the same door.
    has_door: bool,
    /// When the signer is asked again.
    look: Option<Instant>,
}

impl Supervisor {
    /// The processes that not every configuration wants.
    pub(super) fn start_optional_workers(&mut self) {
        if let Some(pki) = &self.config.pki {
            if pki.pkcs11.is_some() {
                self.start_worker(Kind::Keystore);
            }
            self.start_worker(Kind::Signer);
        }
        if self.wants_enrolment() {
            self.start_worker(Kind::Enrol);
        }
    }

    /// Whether the configuration wants the service.
    pub(super) fn wants_enrolment(&self) -> bool {
        self.files.enrol.listen.is_some() && self.files.pki.is_some()
    }

    pub(super) fn start_enrol(&mut self, generation: u64) -> std::io::Result<u32> {
        let listen = self.files.enrol.listen;
        let listen = listen.ok_or(std::io::ErrorKind::NotFound)?;
        let socket = self.enrol_socket(listen)?;
        let worker = Worker::start(Kind::Enrol, generation, &self.inputs, |message, _| {
            Input::Enrol(message)
        })?;
        let connections = self.files.enrol.connections;
        let start = ToEnrol::Start {
            connections,
            language: self.config.gateway.language,
        };
        worker.send(start, vec![socket.into()]);
        let pid = worker.pid;
        self.workers.enrol = Some(worker);
        (
            self.enrolment.listener.has_door,
            self.enrolment.listener.told,
        ) = (false, None);
        Ok(pid)
    }

    /// Kept for the life of the configuration: while the process is started again, connections wait.
    fn enrol_socket(&mut self, listen: SocketAddr) -> std::io::Result<TcpListener> {
        if let Some((address, socket)) = &self.enrolment.listener.socket
            && *address == listen
        {
            return socket.try_clone();
        }
        self.enrolment.listener.socket = None;
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(listen),
            socket2::Type::STREAM,
            None,
        )?;
        socket.set_reuse_address(true)?;
        socket.bind(&listen.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from(socket);
        info!(%listen, "the enrolment service listens");
        let copy = socket.try_clone()?;
        self.enrolment.listener.socket = Some((listen, socket));
        Ok(copy)
    }

    /// After a change of `[enrol]` or `[pki]`.
    pub(super) fn follow_enrol(&mut self) {
        if self.wants_enrolment() {
            // The next one has another number, so that the end of this one is not taken for its own.
            self.workers.forget(Kind::Enrol);
            self.start_worker(Kind::Enrol);
        } else {
            self.workers.dismiss(Kind::Enrol);
            self.enrolment.listener.socket = None;
        }
    }

    pub(super) fn listener_signed(&mut self, answered: Result<Answer, Refusal>) {
        match answered {
            Ok(Answer::Server(server)) => self.enrolment.listener.server = Some(server),
            Ok(Answer::Trust(trust)) => self.enrolment.listener.trust = Some(trust),
            Ok(Answer::Status(status)) => {
                self.enrolment.listener.authorities = authorities(&status)
            }
            Ok(_) => {}
            Err(Refusal::NoAuthority | Refusal::Unavailable) => {}
            Err(refusal) => warn!(%refusal, "the enrolment service has no certificate"),
        }
        self.tell_identity();
    }

    /// Tells the process what is new; a door for both ends comes with the first.
    fn tell_identity(&mut self) {
        let (Some(server), Some(trust)) = (
            &self.enrolment.listener.server,
            &self.enrolment.listener.trust,
        ) else {
            return;
        };
        let (Some(enrol), Some(signer)) = (&self.workers.enrol, &self.workers.signer) else {
            return;
        };
        let ready = self.workers.is_ready(Kind::Enrol) && self.workers.is_ready(Kind::Signer);
        if !ready || self.enrolment.listener.authorities.is_empty() {
            return;
        }
        let identity = Identity {
            server: server.clone(),
            trust: trust.clone(),
            authorities: self.enrolment.listener.authorities.clone(),
        };
        if self.enrolment.listener.has_door
            && self.enrolment.listener.told.as_ref() == Some(&identity)
        {
            return;
        }
        let mut descriptors = Vec::new();
        if !self.enrolment.listener.has_door {
            let (ours, theirs) = match channel::pair() {
                Ok(pair) => pair,
                Err(error) => return warn!(%error, "there is no way to the signer"),
            };
            let listener = Listener::Enrol;
            signer.send(ToSigner::Door { listener }, vec![theirs]);
            descriptors.push(ours);
        }
        let message = ToEnrol::Identity(Box::new(identity.clone()));
        enrol.send(message, descriptors);
        (
            self.enrolment.listener.has_door,
            self.enrolment.listener.told,
        ) = (true, Some(identity));
    }

    /// Asks the signer what the listener shows and believes, now and then and when something changed.
    //= C9
    pub(super) fn follow_identity(&mut self, now: Instant) {
        if !self.wants_enrolment() || !self.workers.is_ready(Kind::Signer) {
            return;
        }
        if self.enrolment.listener.look.is_some_and(|look| now < look) {
            return;
        }
        self.enrolment.listener.look = now.checked_add(LOOK);
        let listener = Listener::Enrol;
        let server = Question::Server {
            listener,
            renew: false,
        };
        for question in [server, Question::Trust, Question::Status] {
            self.ask_signer(question, Asker::Enrol(Signed::Listener));
        }
    }

    /// Authorities or lists changed, or the signer is another process.
    pub(super) fn identity_changed(&mut self) {
        self.enrolment.listener.look = None;
        self.quic.refresh();
        self.follow_quic_identity(self.clock.now());
    }

    pub(super) fn signer_left(&mut self) {
        self.enrolment.listener.has_door = false;
        self.enrolment.listener.look = None;
    }
}

/// Certificates of all trusted authorities and of those above them, each once.
fn authorities(status: &AuthorityStatus) -> Vec<Der> {
    let mut all = Vec::new();
    for one in &status.authorities {
        for der in pem::all(&one.certificate, pem::CERTIFICATE).unwrap_or_default() {
            let der = Der(der);
            if !all.contains(&der) {
                all.push(der);
            }
        }
    }
    all
}

/// Connections that wait to be taken.
const BACKLOG: i32 = 256;
/// Between two looks at certificate, authorities and lists.
const LOOK: Duration = Duration::from_secs(20);

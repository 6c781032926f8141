//! The supervisor's side of the signer: who asked what, and what became of it.
//!
//! In: what operators want of the certification authority, answers of the signer, its death. Out: questions, answers,
//! records. Nothing waits for the signer: who asks is answered when it did, or that it is not available.
//! Revocations that are owed for revoked devices are asked for until they are written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lazaret_config::Identity;
use tokio::net::UnixStream;
use tracing::{info, warn};

use super::connections::standing;
use super::enrolment::Signed;
use super::operator::{answer, failed};
use super::supervisor::{Input, Supervisor};
use super::worker::{Kind, Worker};
use crate::audit::event::Event;
use crate::control::message::{CaStatus, Failure, Response, Standing};
use crate::control::pki::{PkiRequest, PkiResponse};
use crate::flow::{Clock, DeviceName};
use crate::pki::message::{
    Answer, CertificateStatus, Der, FromSigner, Holder, Question, Reason, Refusal, Settings,
    ToSigner, Way, Which,
};
use crate::pki::{pem, store};

/// Questions under way, and what is owed.
#[derive(Default)]
pub(super) struct Signing {
    waiting: BTreeMap<u64, Waiting>,
    last: u64,
    /// Certificates of revoked devices are being revoked.
    paying: bool,
    /// When the certificate of the authority that issues ends, or why nothing can be signed.
    end: Option<Result<Timestamp, Refusal>>,
    /// The key of that authority is in a token.
    in_token: bool,
    /// Until when devices have certificates that are not revoked.
    certificates: BTreeMap<DeviceName, Timestamp>,
    /// When the signer was asked for them.
    asked: Option<Instant>,
}

impl Signing {
    /// When the last certificate of a device ends.
    pub(super) fn certificate_end(&self, device: &DeviceName) -> Option<Timestamp> {
        self.certificates.get(device).copied()
    }

    fn certificates_are(&mut self, all: &[CertificateStatus]) {
        self.certificates.clear();
        for one in all.iter().filter(|one| one.revoked.is_none()) {
            if let Holder::Device(device) = &one.holder {
                self.certificate_given(device, one.validity.not_after);
            }
        }
    }

    fn certificate_given(&mut self, device: &DeviceName, end: Timestamp) {
        let known = self.certificates.entry(device.clone()).or_insert(end);
        *known = end.max(*known);
    }
}

struct Waiting {
    asker: Asker,
    deadline: Option<Instant>,
}

pub(super) enum Asker {
    /// A device that enrols, or its listener.
    Enrol(Signed),
    Operator {
        stream: UnixStream,
        uid: u32,
        request: PkiRequest,
    },
    /// The supervisor, for these devices.
    Debt(BTreeSet<DeviceName>),
    /// The supervisor, to know when certificates end.
    Certificates,
    /// The supervisor, to know how the authority fares.
    Look,
    /// The supervisor, for the QUIC tunnel.
    Quic,
}

impl Supervisor {
    pub(super) fn start_signer(&mut self, generation: u64) -> std::io::Result<u32> {
        let settings = self.signer_settings().ok_or(std::io::ErrorKind::NotFound)?;
        let worker = Worker::start(Kind::Signer, generation, &self.inputs, |message, _| {
            Input::Signer(message)
        })?;
        worker.send(ToSigner::Start(settings), Vec::new());
        let pid = worker.pid;
        self.workers.signer = Some(worker);
        Ok(pid)
    }

    fn signer_settings(&self) -> Option<Settings> {
        let pki = self.config.pki.clone()?;
        Some(Settings {
            gateway: self.config.gateway.name.clone(),
            directory: self.config.gateway.state_dir.join(store::DIRECTORY),
            pki,
        })
    }

    /// After a change of `[pki]`: the signer follows, begins or ends; nothing else notices.
    pub(super) fn follow_pki(&mut self) {
        match (self.signer_settings(), &self.workers.signer) {
            (Some(settings), Some(signer)) => {
                signer.send(ToSigner::Start(settings), Vec::new());
            }
            (Some(_), None) => self.start_worker(Kind::Signer),
            (None, _) => {
                self.workers.dismiss(Kind::Signer);
                self.signer_died();
            }
        }
    }

    /// An operator wants something of the certification authority.
    pub(super) fn asked_pki(&mut self, stream: UnixStream, request: PkiRequest, uid: u32) {
        let question = match self.question(&request) {
            Ok(question) => question,
            Err(refused) => {
                self.record_pki(&request, uid, refused.refused());
                return answer(stream, refused);
            }
        };
        let asker = Asker::Operator {
            stream,
            uid,
            request,
        };
        self.ask_signer(question, asker);
    }

    /// What the signer is asked for a request, if the policy lets it.
    fn question(&self, request: &PkiRequest) -> Result<Question, Response> {
        let why = request.why();
        if why.len() > MAX_WHY || why.chars().any(char::is_control) {
            let text = format!("a reason is one line of at most {MAX_WHY} bytes");
            return Err(failed(Failure::Usage, &text));
        }
        if self.config.pki.is_none() {
            let text =
                "there is no certification authority in the configuration: add a table [pki]";
            return Err(failed(Failure::Usage, text));
        }
        Ok(match request {
            PkiRequest::NewAuthority {
                rotate, way, now, ..
            } => Question::NewAuthority {
                rotate: *rotate,
                way: way.clone(),
                overlap: now.then_some(Duration::ZERO),
            },
            PkiRequest::Status => Question::Status,
            PkiRequest::Lists => Question::Lists,
            PkiRequest::Certificates => Question::Certificates,
            PkiRequest::Issue { device, csr, .. } => {
                if !self.is_known(device) {
                    let text = format!("there is no device {device}");
                    return Err(failed(Failure::Unknown, &text));
                }
                if standing(&self.config, &self.registry, device) != Standing::Active {
                    let text = format!("device {device} is not active");
                    return Err(failed(Failure::Denied, &text));
                }
                Question::Issue {
                    request: Der(csr.clone().into_bytes()),
                    device: device.clone(),
                    lifetime: self.certificate_life(device),
                }
            }
            PkiRequest::Server { listener, .. } => Question::Server {
                listener: *listener,
                renew: true,
            },
            PkiRequest::Revoke { which, reason, .. } => Question::Revoke {
                which: which.clone(),
                reason: *reason,
            },
        })
    }

    /// Asks for the tunnel.
    pub(super) fn ask_for_quic(&mut self, question: Question) {
        self.ask_signer(question, Asker::Quic);
    }

    pub(super) fn ask_signer(&mut self, question: Question, asker: Asker) {
        let full = self.signing.waiting.len() >= MAX_WAITING;
        let ready = self.workers.is_ready(Kind::Signer);
        let number = self.signing.last.saturating_add(1);
        let ask = ToSigner::Ask {
            request: number,
            question,
        };
        let signer = self.workers.signer.as_ref();
        let sent = !full && ready && signer.is_some_and(|signer| signer.send(ask, Vec::new()));
        if !sent {
            return self.signer_answered(asker, Err(Refusal::Unavailable));
        }
        self.signing.last = number;
        let deadline = self.clock.now().checked_add(PATIENCE);
        let waiting = Waiting { asker, deadline };
        self.signing.waiting.insert(number, waiting);
    }

    pub(super) fn signer_said(&mut self, message: FromSigner) {
        match message {
            FromSigner::Ready => {
                self.workers.set_ready(Kind::Signer);
                self.connect_keystore();
                self.pay_revocations();
                self.ask_signer(Question::Status, Asker::Look);
                self.identity_changed();
            }
            FromSigner::Answer { request, answer } => {
                if let Some(waiting) = self.signing.waiting.remove(&request) {
                    self.signer_answered(waiting.asker, *answer);
                }
                // It lives, and the others wait for it in a row: a token may be slow.
                let deadline = self.clock.now().checked_add(PATIENCE);
                for waiting in self.signing.waiting.values_mut() {
                    waiting.deadline = deadline;
                }
            }
            FromSigner::KeystoreSilent => self.keystore_is_silent(),
        }
    }

    /// Whoever waits hears that there will be no answer; what was asked may have been done all the same.
    pub(super) fn signer_died(&mut self) {
        self.signer_left();
        for (_, waiting) in std::mem::take(&mut self.signing.waiting) {
            self.signer_answered(waiting.asker, Err(Refusal::Unavailable));
        }
    }

    /// Whether an authority issues, as far as is known.
    pub(super) fn can_sign(&self) -> bool {
        matches!(self.ca_status(), Some(CaStatus::Issues { .. }))
    }

    /// For operators and the doctor.
    pub(super) fn ca_status(&self) -> Option<CaStatus> {
        self.config.pki.as_ref()?;
        if !self.workers.is_ready(Kind::Signer) {
            return Some(CaStatus::Unavailable(Refusal::Unavailable.to_string()));
        }
        let refusal = self.token_refusal().filter(|_| self.signing.in_token);
        if let Some(refusal) = refusal {
            return Some(CaStatus::Unavailable(refusal.to_string()));
        }
        let now = self.clock.wall();
        Some(match &self.signing.end {
            Some(Ok(end)) => {
                let seconds = u64::try_from(end.duration_since(now).as_secs());
                seconds.map_or(CaStatus::Missing, |seconds| CaStatus::Issues { seconds })
            }
            Some(Err(Refusal::NoAuthority)) => CaStatus::Missing,
            Some(Err(refusal)) => CaStatus::Unavailable(refusal.to_string()),
            None => CaStatus::Unavailable(Refusal::Unavailable.to_string()),
        })
    }

    /// Asks now and then when the certificates of devices end.
    fn follow_certificates(&mut self, now: Instant) {
        let lately = |at: Instant| now.saturating_duration_since(at) < LOOK_AGAIN;
        if self.workers.is_ready(Kind::Signer) && !self.signing.asked.is_some_and(lately) {
            self.signing.asked = Some(now);
            self.ask_signer(Question::Certificates, Asker::Certificates);
        }
    }

    pub(super) fn answer_late_signing(&mut self, now: Instant) {
        let late = |_: &u64, one: &mut Waiting| one.deadline.is_none_or(|at| at <= now);
        let late: Vec<_> = self.signing.waiting.extract_if(.., late).collect();
        if !late.is_empty()
            && let Some(signer) = &self.workers.signer
        {
            warn!("the signer does not answer and is killed");
            signer.kill();
        }
        for (_, waiting) in late {
            self.signer_answered(waiting.asker, Err(Refusal::Unavailable));
        }
        self.pay_revocations();
        self.follow_certificates(now);
    }

    /// The certificates of a revoked device are revoked with it, as soon as the signer can write that: the registry
    /// remembers them until then.
    //= C9
    pub(super) fn pay_revocations(&mut self) {
        let owed = self.registry.owed();
        if self.signing.paying || owed.is_empty() || !self.workers.is_ready(Kind::Signer) {
            return;
        }
        let devices: BTreeSet<DeviceName> = owed.iter().take(AT_ONCE).cloned().collect();
        self.signing.paying = true;
        let question = Question::Revoke {
            which: Which::Devices(devices.iter().cloned().collect()),
            reason: Reason::PrivilegeWithdrawn,
        };
        self.ask_signer(question, Asker::Debt(devices));
    }

    fn signer_answered(&mut self, asker: Asker, answered: Result<Answer, Refusal>) {
        if let Ok(Answer::Status(status)) = &answered {
            let issues = status.authorities.first();
            let issues = issues.filter(|one| one.trusted_until.is_none());
            let end = issues.map(|one| one.validity.not_after);
            self.signing.in_token = issues.is_some_and(|one| one.place.is_some());
            self.signing.end = Some(end.ok_or(Refusal::NoAuthority));
        }
        match &answered {
            Ok(Answer::Certificates(all)) => self.signing.certificates_are(all),
            Ok(Answer::Issued(one)) => {
                (self.signing).certificate_given(&one.device, one.validity.not_after);
            }
            // Which are left has to be asked.
            Ok(Answer::Revoked(serials)) if !serials.is_empty() => self.signing.asked = None,
            Ok(_) | Err(_) => {}
        }
        match asker {
            Asker::Enrol(signed) => self.enrol_signed(signed, answered),
            Asker::Quic => self.identity_answered(answered),
            Asker::Certificates => {}
            Asker::Look => {
                if let Err(refusal) = answered {
                    warn!(%refusal, "nothing can be signed");
                    self.signing.end = Some(Err(refusal));
                }
            }
            Asker::Operator {
                stream,
                uid,
                request,
            } => {
                let response = response(&request, answered, self.clock.wall());
                if story(&request).is_some() {
                    self.identity_changed();
                }
                self.record_pki(&request, uid, response.refused());
                answer(stream, response);
            }
            Asker::Debt(devices) => self.revocations_answered(&devices, answered),
        }
    }

    fn revocations_answered(
        &mut self,
        devices: &BTreeSet<DeviceName>,
        answered: Result<Answer, Refusal>,
    ) {
        self.signing.paying = false;
        match answered {
            Ok(Answer::Revoked(serials)) => {
                self.registry.paid(devices);
                if !serials.is_empty() {
                    self.identity_changed();
                    info!(
                        certificates = serials.len(),
                        "certificates of revoked devices are revoked"
                    );
                    let about: Vec<String> = serials.iter().map(ToString::to_string).collect();
                    self.record(Event::Authority {
                        what: "revoke".to_owned(),
                        about: about.join(" "),
                        by: super::life::OURSELVES,
                        why: "the device is revoked".to_owned(),
                        result: "done".to_owned(),
                    });
                }
                self.pay_revocations();
            }
            // Without an authority there is nothing to revoke.
            Err(Refusal::NoAuthority) => self.registry.paid(devices),
            // The next tick asks again.
            Ok(_) | Err(_) => {}
        }
    }

    /// How long a certificate of a device may hold: not longer than the device is let in.
    pub(super) fn certificate_life(&self, device: &DeviceName) -> Option<Duration> {
        let end = |device: &DeviceName| self.registry.entry(device)?.expires;
        let router = match self.config.devices.get(device).map(|one| &one.identity) {
            Some(Identity::Via(router)) => end(router),
            Some(Identity::WireGuard { .. } | Identity::Certificate) | None => None,
        };
        let end = [end(device), router].into_iter().flatten().min()?;
        let left = end.duration_since(self.clock.wall());
        Some(Duration::try_from(left).unwrap_or(Duration::ZERO))
    }

    //= C8
    fn record_pki(&mut self, request: &PkiRequest, uid: u32, refused: Option<&str>) {
        let Some((what, about)) = story(request) else {
            return;
        };
        self.record(Event::Authority {
            what: what.to_owned(),
            about,
            by: uid,
            why: request.why().to_owned(),
            result: refused.unwrap_or("done").to_owned(),
        });
    }
}

/// What goes on record; `None` for what changes nothing.
fn story(request: &PkiRequest) -> Option<(&'static str, String)> {
    Some(match request {
        PkiRequest::NewAuthority {
            rotate, way, now, ..
        } => {
            let what = if *rotate { "ca rotate" } else { "ca init" };
            let how = match way {
                Way::Root => "certifies itself",
                Way::Request => "request",
                Way::Certificate(_) => "certificate",
            };
            let at_once = if *now {
                ", the old one ends at once"
            } else {
                ""
            };
            (what, format!("{how}{at_once}"))
        }
        PkiRequest::Issue { device, .. } => ("issue", device.to_string()),
        PkiRequest::Server { listener, .. } => ("issue", format!("listener {}", listener.as_str())),
        PkiRequest::Revoke { which, .. } => match which {
            Which::Serial(serial) => ("revoke", serial.to_string()),
            Which::Devices(devices) => {
                let names: Vec<&str> = devices.iter().map(DeviceName::as_str).collect();
                ("revoke", names.join(" "))
            }
        },
        PkiRequest::Status | PkiRequest::Lists | PkiRequest::Certificates => return None,
    })
}

fn response(request: &PkiRequest, answered: Result<Answer, Refusal>, now: Timestamp) -> Response {
    let done = match answered {
        Ok(Answer::Status(status)) => PkiResponse::Authorities { now, status },
        Ok(Answer::Request(csr)) => PkiResponse::Request { csr },
        Ok(Answer::Lists(lists)) => {
            let lists = lists.iter().map(|list| pem::encode(pem::CRL, &list.0));
            PkiResponse::Lists {
                lists: lists.collect(),
            }
        }
        Ok(Answer::Certificates(certificates)) => PkiResponse::Certificates { now, certificates },
        Ok(Answer::Issued(issued)) => {
            let chain = std::iter::once(&issued.certificate).chain(&issued.chain);
            PkiResponse::Certificate {
                serial: issued.serial,
                validity: issued.validity,
                renew_at: issued.renew_at,
                certificate: in_pem(chain),
            }
        }
        Ok(Answer::Server(identity)) => PkiResponse::Certificate {
            serial: identity.serial,
            validity: identity.validity,
            renew_at: identity.renew_at,
            certificate: in_pem(identity.chain.iter()),
        },
        Ok(Answer::Revoked(serials)) => PkiResponse::Revoked { serials },
        Ok(Answer::Trust(_) | Answer::Signed(_)) => {
            return failed(Failure::Internal, "the signer answered something else");
        }
        Err(refusal) => return refused(request, &refusal),
    };
    Response::Pki(done)
}

fn in_pem<'d>(chain: impl Iterator<Item = &'d Der>) -> String {
    chain
        .map(|der| pem::encode(pem::CERTIFICATE, &der.0))
        .collect()
}

fn refused(request: &PkiRequest, refusal: &Refusal) -> Response {
    let kind = match refusal {
        Refusal::Unknown | Refusal::NothingWaits => Failure::Unknown,
        Refusal::NoAuthority
        | Refusal::AuthorityExists
        | Refusal::TooManyAuthorities(_)
        | Refusal::Authority(_)
        | Refusal::ServerNames(_)
        | Refusal::OtherToken(_) => Failure::Usage,
        Refusal::Request(_)
        | Refusal::KeyTaken
        | Refusal::KeyRevoked
        | Refusal::SameKey
        | Refusal::Revoked
        | Refusal::NotNow
        | Refusal::TooManyCertificates(_)
        | Refusal::NotAHandshake => Failure::Denied,
        Refusal::Unavailable
        | Refusal::AuthorityEnds
        | Refusal::Full
        | Refusal::Storage(_)
        | Refusal::Keystore(_)
        | Refusal::Internal(_) => Failure::Internal,
    };
    let doubt = matches!(refusal, Refusal::Unavailable) && story(request).is_some();
    let more = if doubt {
        "; look with `lazaret ca status` and `lazaret cert list` before you try again"
    } else {
        ""
    };
    failed(kind, &format!("{refusal}{more}"))
}

/// For an answer of the signer, which may be writing its ledger.
const PATIENCE: Duration = Duration::from_secs(10);
/// Questions under way.
//= C7
const MAX_WAITING: usize = 64;
const MAX_WHY: usize = 512;
/// Between two looks at all certificates.
const LOOK_AGAIN: Duration = Duration::from_mins(10);
/// Devices whose certificates are revoked with one question.
//= C7
const AT_ONCE: usize = 200;

//! The supervisor's side of enrolment: what a token lets its bearer become, and who may renew.
//!
//! In: questions of the process `enrol`, answers of the registry and of the signer, requests of operators.
//! Out: answers, records. Nothing waits: each question goes from the registry to the signer by its ticket.
//! Whoever brings a token that is not good hears the same whatever is wrong with it; the journal says what it was.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use tracing::warn;

use super::denied::Allowance;
use super::enrolment_listener::Desk;
use super::operator_tokens::Errand;
use super::registry::mark;
use super::signing::Asker;
use super::supervisor::Supervisor;
use super::worker::Kind;
use crate::audit::event::Event;
use crate::enrol::message::{
    Away, FromEnrol, Gateway, Granted, Place, Refused, Said, ToEnrol, Wanted,
};
use crate::flow::{Clock, DeviceName, Standing};
use crate::pki::message::{Answer, Question, Refusal};
use crate::registry::PublicKey;
use crate::registry::request;
use crate::registry::store::{StoreError, Taken};
use crate::registry::task::{Outcome, Work};
use crate::registry::token::{self, BearerKey, Claim, Redemption, Token, TokenHash, Verdict};
use crate::tunnel::noise::Boring;

/// What is under way.
#[derive(Default)]
pub(super) struct Enrolment {
    /// What waits for the registry, by ticket.
    pub(super) errands: BTreeMap<u64, Errand>,
    pub(super) listener: Desk,
    /// Of those who have to wait: a flood of guesses must not hide who guesses.
    alarms: Allowance,
}

/// A device that waits for an answer.
pub(super) struct Waiting {
    request: u64,
    source: IpAddr,
    wanted: Wanted,
}

/// What a question to the signer was for.
pub(super) enum Signed {
    /// A device.
    Device(Box<Waiting>),
    /// The listener.
    Listener,
}

impl Supervisor {
    pub(super) fn enrol_said(&mut self, message: FromEnrol) {
        match message.0 {
            Said::Ready => {
                self.workers.set_ready(Kind::Enrol);
                self.identity_changed();
                self.follow_identity(self.clock.now());
            }
            Said::Ask {
                request,
                source,
                wanted,
            } => self.enrol_asked(Waiting {
                request,
                source,
                wanted,
            }),
            Said::Foreign { source, key } => self.foreign_certificate(source, key, 1),
            Said::SentAway { source, why } => {
                let now = self.clock.now();
                match why {
                    Away::NoToken => self.record_refusal(source, None, None, why.as_str()),
                    Away::TooOften if self.enrolment.alarms.take(now) => {
                        let from = source.to_string();
                        self.record_enrolment("refused", None, None, from, why.as_str());
                    }
                    Away::TooOften => {}
                }
            }
        }
    }

    fn enrol_asked(&mut self, waiting: Waiting) {
        let work = match &waiting.wanted {
            Wanted::Wireguard { token, .. } | Wanted::Certificate { token, .. } => {
                Work::Token(TokenHash(*token))
            }
            Wanted::Renewal {
                device,
                certificate,
                csr,
            } => {
                let question = Question::Renew {
                    certificate: certificate.clone(),
                    request: csr.clone(),
                    lifetime: self.certificate_life(device),
                };
                if let Err(why) = self.may_have(device) {
                    self.record_refusal(waiting.source, None, Some(device.clone()), &why);
                    return self.answer_device(&waiting, Err(Refused::Forbidden(why)));
                }
                let asker = Asker::Enrol(Signed::Device(Box::new(waiting)));
                return self.ask_signer(question, asker);
            }
        };
        if matches!(waiting.wanted, Wanted::Certificate { .. }) && !self.can_sign() {
            let why = "no certificate can be signed now: try again";
            return self.answer_device(&waiting, Err(unavailable(why)));
        }
        self.give_errand(work, Errand::Look(waiting));
    }

    /// Who is pending may have a certificate and renew it, so that it has one when it is approved.
    //= C9
    fn may_have(&self, device: &DeviceName) -> Result<(), String> {
        if !self.is_known(device) {
            return Err(format!("there is no device {device}"));
        }
        match super::connections::standing(&self.config, &self.registry, device) {
            Standing::Active | Standing::Pending => Ok(()),
            other @ (Standing::Quarantined | Standing::Expired | Standing::Revoked) => {
                Err(format!(
                    "device {device} is {}: it cannot renew or be enrolled",
                    other.as_str()
                ))
            }
        }
    }

    pub(super) fn give_errand(&mut self, work: Work, errand: Errand) {
        let room = self.enrolment.errands.len() < MAX_ERRANDS;
        match room.then(|| self.ticket(work)).flatten() {
            Some(ticket) => drop(self.enrolment.errands.insert(ticket, errand)),
            None => self.errand_failed(errand, "the registry has too much to do: try again"),
        }
    }

    pub(super) fn errand_failed(&mut self, errand: Errand, why: &str) {
        match errand {
            Errand::Look(waiting) | Errand::Redeem { waiting, .. } => {
                self.answer_device(&waiting, Err(unavailable(why)));
            }
            Errand::Operator(operator) => self.operator_refused(operator, why),
        }
    }

    /// The registry answered something that was not asked by an operator of devices.
    pub(super) fn enrolment_done(&mut self, ticket: u64, result: Result<Outcome, StoreError>) {
        let Some(errand) = self.enrolment.errands.remove(&ticket) else {
            return;
        };
        match (errand, result) {
            (Errand::Operator(operator), result) => self.operator_answered(operator, result),
            (Errand::Look(waiting), Ok(Outcome::Token(token))) => {
                self.token_found(waiting, token.map(|token| *token));
            }
            (
                Errand::Redeem {
                    waiting,
                    token,
                    device,
                },
                Ok(Outcome::Done),
            ) => {
                let from = waiting.source.to_string();
                let why = self.registry.entry(&device);
                let why = why.map(|known| known.why.clone()).unwrap_or_default();
                let (id, name) = (Some(token.clone()), Some(device.clone()));
                self.record_enrolment("enrolled", id, name, from, &why);
                self.grant(waiting, token, &device);
            }
            (Errand::Redeem { waiting, token, .. }, Err(StoreError::Spent)) => {
                let why = token::Refused::Used.to_string();
                self.record_refusal(waiting.source, Some(token), None, &why);
                self.answer_device(&waiting, Err(Refused::Token));
            }
            (Errand::Redeem { waiting, token, .. }, Err(StoreError::Refused(wrong))) => {
                let taken = wrong.into_iter().map(|(_, taken)| taken).next();
                let device = None;
                let why = taken.as_ref().map(ToString::to_string).unwrap_or_default();
                self.record_refusal(waiting.source, Some(token), device, &why);
                self.answer_device(&waiting, Err(taken.map_or(Refused::Token, refused)));
            }
            (errand @ (Errand::Look(_) | Errand::Redeem { .. }), result) => {
                if let Err(error) = result {
                    let why = crate::registry::task::told(&error);
                    warn!(why, "a device cannot be enrolled");
                }
                self.errand_failed(errand, "the registry cannot be used now: try again");
            }
        }
    }

    fn token_found(&mut self, waiting: Waiting, token: Option<Token>) {
        let (hash, claim, key) = match &waiting.wanted {
            Wanted::Wireguard {
                token,
                key,
                name,
                serial,
            } => (
                TokenHash(*token),
                claim(name, serial),
                BearerKey::Wireguard(PublicKey(*key)),
            ),
            Wanted::Certificate {
                token,
                key,
                name,
                serial,
                ..
            } => (
                TokenHash(*token),
                claim(name, serial),
                BearerKey::Certificate(key.to_string()),
            ),
            Wanted::Renewal { .. } => return,
        };
        let at = self.now();
        let verdict = token.as_ref().map(|token| token.judge(&claim, &key, at));
        let id = token.as_ref().map(|token| token.id.clone());
        let (token, why) = match (token, verdict) {
            (Some(token), Some(Verdict::Good)) => (token, None),
            (Some(token), Some(Verdict::Again(device))) => {
                let (from, why) = (waiting.source.to_string(), "it did not hear the answer");
                let (id, name) = (Some(token.id.clone()), Some(device.clone()));
                self.record_enrolment("again", id, name, from, why);
                return self.grant(waiting, token.id, &device);
            }
            (Some(token), Some(Verdict::Refused(why))) => (token, Some(why)),
            (Some(_) | None, None) | (None, Some(_)) => {
                let why = token::Refused::Unknown.to_string();
                self.record_refusal(waiting.source, None, claim.name, &why);
                return self.answer_device(&waiting, Err(Refused::Token));
            }
        };
        if let Some(why) = why {
            self.record_refusal(waiting.source, id, claim.name, &why.to_string());
            return self.answer_device(&waiting, Err(Refused::Token));
        }
        let chance = u32::try_from(mark() & i64::from(u32::MAX)).unwrap_or_default();
        let newcomer = token.newcomer(&claim, &key, &self.files, at, (chance, mark()));
        let newcomer = match newcomer {
            Ok(newcomer) => newcomer,
            Err(why) => {
                self.record_refusal(waiting.source, id, claim.name, &why);
                return self.answer_device(&waiting, Err(Refused::Taken(why)));
            }
        };
        let device = newcomer.name.clone();
        let redemption = Redemption {
            hash,
            key,
            newcomer,
            at,
        };
        let addresses = request::addresses(&self.files);
        self.give_errand(
            Work::Redeem(Box::new(redemption), addresses),
            Errand::Redeem {
                waiting,
                token: token.id,
                device,
            },
        );
    }

    /// The device is known: it gets its place or its certificate, unless it was contained meanwhile.
    fn grant(&mut self, waiting: Waiting, token: String, device: &DeviceName) {
        if let Err(why) = self.may_have(device) {
            self.record_refusal(waiting.source, Some(token), Some(device.clone()), &why);
            return self.answer_device(&waiting, Err(Refused::Forbidden(why)));
        }
        let question = match &waiting.wanted {
            Wanted::Certificate { csr, .. } => Question::Issue {
                request: csr.clone(),
                device: device.clone(),
                lifetime: self.certificate_life(device),
            },
            Wanted::Wireguard { .. } | Wanted::Renewal { .. } => {
                let place = self.gateway(device).map(|gateway| {
                    let known = self.registry.entry(device);
                    Granted::Wireguard(Place {
                        device: device.clone(),
                        standing: self.registry.standing(device),
                        addresses: known.map(|k| k.addresses.clone()).unwrap_or_default(),
                        gateway,
                    })
                });
                let place = place.ok_or_else(|| unavailable("the key of the tunnel is away"));
                return self.answer_device(&waiting, place);
            }
        };
        self.ask_signer(question, Asker::Enrol(Signed::Device(Box::new(waiting))));
    }

    /// How a device finds the tunnel; `None` without a key.
    pub(super) fn gateway(&self, device: &DeviceName) -> Option<Gateway> {
        let config = &self.config;
        let key = lazaret_config::read_key(&config.wireguard.private_key_file).ok()?;
        let key = Boring::new(zeroize::Zeroizing::new(*key.as_bytes()));
        let known = self.registry.entry(device);
        let reached = config.rules.values().filter(|rule| {
            rule.parties.iter().any(|party| match party {
                lazaret_config::Party::Role(role) => {
                    known.is_some_and(|known| known.roles.contains(role))
                }
                lazaret_config::Party::Device(name) => name == device,
            })
        });
        let services = reached.flat_map(|rule| &rule.services);
        let services = services.filter_map(|name| config.services.get(name));
        let addresses = services.map(|service| service.address);
        let all: std::collections::BTreeSet<IpAddr> = addresses
            .chain(config.wireguard.addresses.iter().copied())
            .collect();
        let host = |address: IpAddr| ipnet::IpNet::from(address).to_string();
        Some(Gateway {
            public_key: PublicKey(key.public_key()).to_string(),
            endpoint: self.endpoint(),
            networks: all.into_iter().map(host).collect(),
            mtu: config.wireguard.mtu,
        })
    }

    fn endpoint(&self) -> String {
        if let Some(endpoint) = &self.files.enrol.endpoint {
            return endpoint.clone();
        }
        let listen = self.files.wireguard.listen;
        let names = self.files.pki.iter().flat_map(|pki| &pki.server_names);
        match names.into_iter().next() {
            Some(lazaret_config::ServerName::Dns(name)) => format!("{name}:{}", listen.port()),
            Some(lazaret_config::ServerName::Address(address)) => {
                SocketAddr::new(*address, listen.port()).to_string()
            }
            None => listen.to_string(),
        }
    }

    fn answer_device(&self, waiting: &Waiting, answer: Result<Granted, Refused>) {
        if let Some(enrol) = &self.workers.enrol {
            let (request, answer) = (waiting.request, Box::new(answer));
            enrol.send(ToEnrol::Answer { request, answer }, Vec::new());
        }
    }

    /// The signer answered a question of this room.
    pub(super) fn enrol_signed(&mut self, signed: Signed, answered: Result<Answer, Refusal>) {
        match signed {
            Signed::Device(waiting) => self.device_signed(&waiting, answered),
            Signed::Listener => self.listener_signed(answered),
        }
    }

    fn device_signed(&mut self, waiting: &Waiting, answered: Result<Answer, Refusal>) {
        let from = waiting.source.to_string();
        let wanted = match &waiting.wanted {
            Wanted::Renewal { device, .. } => Some(device.clone()),
            Wanted::Wireguard { .. } | Wanted::Certificate { .. } => None,
        };
        let answer = match answered {
            Ok(Answer::Issued(issued)) => {
                let device = issued.device.clone();
                // The process may have said another name than the certificate does.
                let renews = wanted.as_ref();
                if renews.is_some_and(|wanted| *wanted != device) {
                    warn!(%device, "it was said to be another device");
                    return self.answer_device(waiting, Err(Refused::Token));
                }
                let what = if renews.is_some() {
                    "renewed"
                } else {
                    "certified"
                };
                let why = format!("certificate {}", issued.serial);
                self.record_enrolment(what, None, Some(device.clone()), from, &why);
                Ok(Granted::Certificate {
                    standing: self.registry.standing(&device),
                    device,
                    certificate: issued.certificate,
                    chain: issued.chain,
                    renew_at: issued.renew_at,
                })
            }
            Ok(_) => Err(unavailable("the signer answered something else")),
            Err(refusal) => {
                self.record_refusal(waiting.source, None, wanted, &refusal.to_string());
                Err(told(&refusal))
            }
        };
        self.answer_device(waiting, answer);
    }

    pub(super) fn record_enrolment(
        &mut self,
        what: &str,
        token: Option<String>,
        device: Option<DeviceName>,
        from: String,
        why: &str,
    ) {
        self.record(Event::Enrolment {
            what: what.to_owned(),
            token,
            device,
            from,
            why: why.to_owned(),
        });
    }

    /// A flood of guesses is a few records a second.
    //= C7
    fn record_refusal(
        &mut self,
        source: IpAddr,
        token: Option<String>,
        device: Option<DeviceName>,
        why: &str,
    ) {
        if self.refusals.take(self.clock.now()) {
            self.record_enrolment("refused", token, device, source.to_string(), why);
        }
    }
}

fn claim(name: &Option<DeviceName>, serial: &Option<String>) -> Claim {
    Claim {
        name: name.clone(),
        serial: serial.clone(),
    }
}

fn unavailable(why: &str) -> Refused {
    Refused::Unavailable(why.to_owned())
}

/// Whose key it is, the device is not told.
fn refused(taken: Taken) -> Refused {
    match taken {
        Taken::Key(_) => Refused::Taken(token::KEY_TAKEN.to_owned()),
        Taken::Serial(_) => Refused::Taken("another device has the same serial number".to_owned()),
        Taken::Name(name) => Refused::Taken(format!("there is a device {name} already")),
        Taken::Address(_) => unavailable("the address is taken: try again"),
        Taken::Exhausted(exhausted) => unavailable(&exhausted.to_string()),
    }
}

fn told(refusal: &Refusal) -> Refused {
    let text = refusal.to_string();
    match refusal {
        Refusal::Request(_) | Refusal::SameKey | Refusal::KeyRevoked => Refused::Request(text),
        Refusal::KeyTaken => Refused::Taken(token::KEY_TAKEN.to_owned()),
        Refusal::Revoked | Refusal::NotNow | Refusal::Unknown | Refusal::TooManyCertificates(_) => {
            Refused::Forbidden(text)
        }
        Refusal::Unavailable
        | Refusal::NoAuthority
        | Refusal::AuthorityExists
        | Refusal::NothingWaits
        | Refusal::TooManyAuthorities(_)
        | Refusal::Authority(_)
        | Refusal::AuthorityEnds
        | Refusal::ServerNames(_)
        | Refusal::NotAHandshake
        | Refusal::Full
        | Refusal::Storage(_)
        | Refusal::Keystore(_)
        | Refusal::OtherToken(_)
        | Refusal::Internal(_) => unavailable("no certificate can be signed now: try again"),
    }
}

/// Devices and operators that wait for the registry.
//= C7
const MAX_ERRANDS: usize = 128;

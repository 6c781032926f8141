//! What operators want of enrolment: tokens made, listed and taken back; the way to the tunnel.

use std::time::Duration;

use jiff::Timestamp;
use tokio::net::UnixStream;

use super::devices::bad_reason;
use super::enrolment::Waiting;
use super::operator::{answer, failed};
use super::registry::who;
use super::supervisor::Supervisor;
use crate::control::message::{
    EnrolRequest, EnrolResponse, Failure, NewToken, Response, TokenStatus,
};
use crate::enrol::token::{CHANCE, Token as Text};
use crate::flow::{Clock, DeviceName};
use crate::registry::known::By;
use crate::registry::request;
use crate::registry::store::StoreError;
use crate::registry::task::{Outcome, Work, told};
use crate::registry::token::{NewToken as Kept, Terms, Token, TokenHash};

/// What waits for the registry.
pub(super) enum Errand {
    /// A device, to hear what its token is.
    Look(Waiting),
    /// A device, to be known.
    Redeem {
        waiting: Waiting,
        /// The id of its token.
        token: String,
        device: DeviceName,
    },
    /// An operator.
    Operator(Operator),
}

/// An operator who waits.
pub(super) struct Operator {
    stream: UnixStream,
    by: By,
    what: What,
}

enum What {
    Create {
        token: Text,
        id: String,
        expires: Timestamp,
        terms: Terms,
        why: String,
    },
    List,
    Revoke {
        id: String,
        why: String,
    },
}

impl Supervisor {
    /// An operator wants something of enrolment.
    pub(super) fn asked_enrol(&mut self, stream: UnixStream, request: EnrolRequest, uid: u32) {
        let by = who(uid);
        let given = match request {
            EnrolRequest::Gateway { device } => {
                return answer(stream, self.gateway_for(&device));
            }
            EnrolRequest::Tokens => Ok((Work::Tokens, What::List)),
            EnrolRequest::RevokeToken { id, why } => self.revocation(id, why),
            EnrolRequest::CreateToken(new) => self.creation(&new, &by),
        };
        match given {
            Ok((work, what)) => {
                let operator = Operator { stream, by, what };
                self.give_errand(work, Errand::Operator(operator));
            }
            Err(refused) => answer(stream, *refused),
        }
    }

    fn gateway_for(&self, device: &DeviceName) -> Response {
        let Some(gateway) = self.gateway(device) else {
            return failed(Failure::Internal, "the key of the tunnel cannot be read");
        };
        Response::Enrol(EnrolResponse::Gateway {
            public_key: gateway.public_key,
            endpoint: gateway.endpoint,
            networks: gateway.networks,
            mtu: gateway.mtu,
        })
    }

    fn revocation(&self, id: String, why: String) -> Result<(Work, What), Box<Response>> {
        if let Some(refused) = bad_reason(&why) {
            return Err(Box::new(refused));
        }
        let digits = id
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if id.len() != ID || !digits {
            let text = format!("a token is called by {ID} digits: lazaret enroll token list");
            return Err(Box::new(failed(Failure::Usage, &text)));
        }
        let work = Work::RevokeToken(id.clone(), self.now());
        Ok((work, What::Revoke { id, why }))
    }

    fn creation(&self, new: &NewToken, by: &By) -> Result<(Work, What), Box<Response>> {
        let usage = |why: &str| Box::new(failed(Failure::Usage, why));
        if let Some(refused) = bad_reason(&new.why) {
            return Err(Box::new(refused));
        }
        let life = Duration::from_secs(new.seconds);
        if life < SHORTEST || life > LONGEST {
            return Err(usage("a token is good for 10 seconds to 90 days"));
        }
        let terms = self.terms(new).map_err(|why| usage(&why))?;
        let mut chance = [0; CHANCE];
        if getrandom::fill(&mut chance).is_err() {
            let why = "the system has no random numbers";
            return Err(Box::new(failed(Failure::Internal, why)));
        }
        let authority = self.enrolment.listener.authorities.first();
        let token = Text::new(chance, authority.map(|der| &*der.0));
        let hash = TokenHash(token.hash());
        let at = self.now();
        let expires = at.checked_add(life).map_err(|_| usage("too long"))?;
        let kept = Kept {
            hash,
            terms: terms.clone(),
            why: new.why.clone(),
            by: by.clone(),
            at,
            expires,
        };
        let what = What::Create {
            token,
            id: hash.id(),
            expires,
            terms,
            why: new.why.clone(),
        };
        Ok((Work::KeepToken(Box::new(kept)), what))
    }

    fn terms(&self, new: &NewToken) -> Result<Terms, String> {
        let roles = new.roles.iter().map(|role| role.parse());
        let terms = Terms {
            roles: roles
                .collect::<Result<_, _>>()
                .map_err(|error| format!("`role`: {error}"))?,
            device: new.device.clone(),
            serial: new.serial.clone(),
            patients: new.patients.clone(),
            hl7_sender: new.hl7_sender.clone(),
            ae_title: new.ae_title.clone(),
            approve: new.approve,
        };
        request::serial(terms.serial.as_deref())?;
        if let Some(device) = &terms.device
            && self.is_known(device)
        {
            return Err(format!("there is a device {device} already"));
        }
        terms.check(&self.files)?;
        Ok(terms)
    }

    pub(super) fn operator_refused(&mut self, operator: Operator, why: &str) {
        answer(operator.stream, failed(Failure::Internal, why));
    }

    pub(super) fn operator_answered(
        &mut self,
        operator: Operator,
        result: Result<Outcome, StoreError>,
    ) {
        let Operator { stream, by, what } = operator;
        let from = format!("{} ({})", by.name, by.uid);
        let response = match (what, result) {
            (_, Err(error)) => {
                let kind = if matches!(error, StoreError::NoToken) {
                    Failure::Unknown
                } else if error.is_trouble() {
                    Failure::Internal
                } else {
                    Failure::Usage
                };
                failed(kind, &told(&error))
            }
            (
                What::Create {
                    token,
                    id,
                    expires,
                    terms,
                    why,
                },
                Ok(_),
            ) => {
                let what = "token-created";
                self.record_enrolment(what, Some(id.clone()), terms.device, from, &why);
                Response::Enrol(EnrolResponse::Token {
                    id,
                    token: token.to_string(),
                    expires,
                    url: self.enrol_url(),
                })
            }
            (What::Revoke { id, why }, Ok(_)) => {
                self.record_enrolment("token-revoked", Some(id.clone()), None, from, &why);
                Response::Done {
                    what: format!("token {id} is revoked"),
                }
            }
            (What::List, Ok(Outcome::Tokens(tokens))) => {
                let now = self.clock.wall();
                let tokens = tokens.into_iter().map(|token| status(token, now));
                Response::Enrol(EnrolResponse::Tokens {
                    now,
                    tokens: tokens.collect(),
                })
            }
            (What::List, Ok(_)) => failed(Failure::Internal, "the registry answered another thing"),
        };
        answer(stream, response);
    }

    /// Where tokens are used.
    fn enrol_url(&self) -> Option<String> {
        let listen = self.files.enrol.listen?;
        let name = self.files.pki.as_ref()?.server_names.first()?;
        let host =
            match name {
                lazaret_config::ServerName::Address(std::net::IpAddr::V6(v6)) => format!("[{v6}]"),
                name @ (lazaret_config::ServerName::Dns(_)
                | lazaret_config::ServerName::Address(_)) => name.to_string(),
            };
        Some(format!("https://{host}:{}", listen.port()))
    }
}

fn status(token: Token, now: Timestamp) -> TokenStatus {
    let state = if token.used.is_some() {
        "used"
    } else if token.revoked.is_some() {
        "revoked"
    } else if token.expires <= now {
        "ended"
    } else {
        "open"
    };
    let roles = token.terms.roles.iter();
    TokenStatus {
        id: token.id,
        state: state.to_owned(),
        roles: roles.map(ToString::to_string).collect(),
        device: token.terms.device,
        serial: token.terms.serial,
        patients: token.terms.patients.len(),
        approve: token.terms.approve,
        why: token.why,
        created: token.created,
        created_by: token.created_by,
        expires: token.expires,
        used_at: token.used.as_ref().map(|used| used.at),
        used_by: token.used.map(|used| used.device),
    }
}

/// Digits by which a token is called.
const ID: usize = 12;
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_hours(90 * 24);

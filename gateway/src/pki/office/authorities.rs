//! How authorities begin and how one follows another.

use std::time::Duration;

use jiff::Timestamp;

use super::{Office, chain, new_serial};
use crate::pki::authority::{Authority, AuthorityError, AuthorityId, SecretKey};
use crate::pki::message::{Answer, Refusal, Way};
use crate::pki::pem;
use crate::pki::store::{Kept, Retiring, Waiting, authority_name};
use crate::pki::validity::{Validity, Verdict, later};

impl Office {
    pub(super) fn new_authority(
        &mut self,
        rotate: bool,
        way: Way,
        overlap: Option<Duration>,
        now: Timestamp,
    ) -> Result<Answer, Refusal> {
        let exists = !self.state.authorities.is_empty();
        // The answer to a request is taken by either command: which it is was decided with the request.
        match (&way, exists, rotate) {
            (Way::Root | Way::Request, true, false) => return Err(Refusal::AuthorityExists),
            (Way::Root | Way::Request, false, true) => return Err(Refusal::NoAuthority),
            (Way::Root | Way::Request | Way::Certificate(_), _, _) => {}
        }
        let overlap = overlap.unwrap_or(self.settings.pki.overlap);
        let keeps = if overlap.is_zero() {
            0
        } else {
            self.trusted(now).count()
        };
        if keeps >= MOST_AUTHORITIES {
            return Err(Refusal::TooManyAuthorities(MOST_AUTHORITIES));
        }
        match way {
            Way::Root => self.new_root(overlap, now),
            Way::Request => self.new_request(),
            Way::Certificate(text) => self.take_certificate(&text, overlap, now),
        }
    }

    fn new_root(&mut self, overlap: Duration, now: Timestamp) -> Result<Answer, Refusal> {
        let pki = &self.settings.pki;
        let key = SecretKey::generate(pki.algorithm)?;
        let validity = Validity::of_authority(now, pki.ca_lifetime);
        let (algorithm, servers) = (pki.algorithm, pki.server_names.clone());
        let gateway = &self.settings.gateway;
        let authority = Authority::root(gateway, key, &servers, validity, new_serial()?)?;
        let name = authority_name(authority.id());
        self.store.keep_key(&name, authority.key())?;
        let kept = Kept {
            id: authority.id(),
            algorithm,
            servers: Some(servers),
            retiring: None,
        };
        self.begin(authority, kept, overlap, now)
    }

    /// The same request again while it waits for its certificate.
    fn new_request(&mut self) -> Result<Answer, Refusal> {
        let gateway = self.settings.gateway.clone();
        if let Some(waiting) = self.state.waiting {
            let key = self.waiting_key(waiting)?;
            return request_of(&key, &gateway);
        }
        let algorithm = self.settings.pki.algorithm;
        let key = SecretKey::generate(algorithm)?;
        let id = AuthorityId::of(key.fingerprint());
        let answer = request_of(&key, &gateway)?;
        self.store.keep_key(&authority_name(id), &key)?;
        let mut state = self.state.clone();
        state.waiting = Some(Waiting { id, algorithm });
        self.store.save(&state)?;
        self.state = state;
        Ok(answer)
    }

    fn take_certificate(
        &mut self,
        text: &str,
        overlap: Duration,
        now: Timestamp,
    ) -> Result<Answer, Refusal> {
        let waiting = self.state.waiting.ok_or(Refusal::NothingWaits)?;
        let refused = |why: String| Refusal::Authority(why);
        let chain = pem::all(text, pem::CERTIFICATE).map_err(|why| refused(why.to_string()))?;
        let key = self.waiting_key(waiting)?;
        let authority = Authority::with(&self.settings.gateway, key, chain)
            .map_err(|error| refused(super::chain(&error)))?;
        match authority.validity().verdict(now, Duration::ZERO) {
            Verdict::Valid { .. } => {}
            Verdict::TooEarly { .. } => return Err(refused("it does not hold yet".to_owned())),
            Verdict::RenewOnly { .. } | Verdict::TooLate { .. } => {
                return Err(refused("it has ended".to_owned()));
            }
        }
        let kept = Kept {
            id: waiting.id,
            algorithm: waiting.algorithm,
            servers: None,
            retiring: None,
        };
        self.begin(authority, kept, overlap, now)
    }

    fn waiting_key(&self, waiting: Waiting) -> Result<SecretKey, Refusal> {
        let own = |key| AuthorityId::of(key) == waiting.id;
        let name = authority_name(waiting.id);
        Ok(self.store.key(&name, waiting.algorithm, own)?)
    }

    /// From now on this one issues; its key is kept already.
    fn begin(
        &mut self,
        authority: Authority,
        kept: Kept,
        overlap: Duration,
        now: Timestamp,
    ) -> Result<Answer, Refusal> {
        self.store
            .keep_chain(&authority_name(kept.id), authority.chain())?;
        let mut state = self.state.clone();
        let retiring = Retiring {
            since: now,
            until: later(now, overlap),
        };
        for one in &mut state.authorities {
            let end = one.retiring.get_or_insert(retiring);
            end.until = end.until.min(retiring.until);
        }
        state.waiting = state.waiting.filter(|waiting| waiting.id != kept.id);
        state.authorities.insert(0, kept);
        self.store.save(&state)?;
        self.state = state;
        self.authorities.insert(authority.id(), authority);
        if overlap.is_zero() {
            self.remove_ended(now);
        }
        Ok(Answer::Status(self.status(now)))
    }
}

fn request_of(key: &SecretKey, gateway: &str) -> Result<Answer, Refusal> {
    let der = key.authority_request(gateway)?;
    Ok(Answer::Request(pem::encode(pem::REQUEST, &der)))
}

impl From<AuthorityError> for Refusal {
    fn from(error: AuthorityError) -> Self {
        Self::Internal(chain(&error))
    }
}

/// Authorities that are trusted at a time.
//= C7
const MOST_AUTHORITIES: usize = 4;

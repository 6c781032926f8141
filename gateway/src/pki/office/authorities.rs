//! How authorities begin and how one follows another.

use std::time::Duration;

use jiff::Timestamp;

use super::{Office, chain, new_serial, serves};
use crate::keystore::message::KeyLabel;
use crate::pki::authority::{Authority, AuthorityError, AuthorityId, SecretKey, authority_request};
use crate::pki::custody::{AuthorityKey, Place, TokenKey};
use crate::pki::message::{Answer, KeystoreRefusal, Refusal, Way};
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
        let key = self.new_key()?;
        let pki = &self.settings.pki;
        let place = key.place().cloned();
        let validity = Validity::of_authority(now, pki.ca_lifetime);
        let (algorithm, servers) = (pki.algorithm, pki.server_names.clone());
        let gateway = &self.settings.gateway;
        let authority = Authority::root(gateway, key, &servers, validity, new_serial()?)?;
        let name = authority_name(authority.id());
        self.keep(&name, authority.key())?;
        let kept = Kept {
            id: authority.id(),
            algorithm,
            place,
            servers: Some(servers),
            retiring: None,
        };
        self.begin(authority, kept, overlap, now)
    }

    /// The same request again while it waits for its certificate.
    fn new_request(&mut self) -> Result<Answer, Refusal> {
        let gateway = self.settings.gateway.clone();
        if let Some(waiting) = &self.state.waiting {
            let key = self.waiting_key(waiting)?;
            return request_of(&key, &gateway);
        }
        let algorithm = self.settings.pki.algorithm;
        let key = self.new_key()?;
        let place = key.place().cloned();
        let id = AuthorityId::of(key.fingerprint());
        let answer = request_of(&key, &gateway)?;
        self.keep(&authority_name(id), &key)?;
        let mut state = self.state.clone();
        state.waiting = Some(Waiting {
            id,
            algorithm,
            place,
        });
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
        let waiting = self.state.waiting.clone();
        let waiting = waiting.ok_or(Refusal::NothingWaits)?;
        let refused = |why: String| Refusal::Authority(why);
        let chain = pem::all(text, pem::CERTIFICATE).map_err(|why| refused(why.to_string()))?;
        let key = self.waiting_key(&waiting)?;
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
            place: waiting.place,
            servers: None,
            retiring: None,
        };
        self.begin(authority, kept, overlap, now)
    }

    fn waiting_key(&self, waiting: &Waiting) -> Result<AuthorityKey, Refusal> {
        let own = |key| AuthorityId::of(key) == waiting.id;
        let Some(place) = &waiting.place else {
            let name = authority_name(waiting.id);
            return Ok(self.store.key(&name, waiting.algorithm, own)?.into());
        };
        if !serves(&self.settings, place) {
            return Err(Refusal::OtherToken(place.token.clone()));
        }
        let public = self.keystore.public(place.key, waiting.algorithm);
        let public = public.map_err(Refusal::Keystore)?;
        let keystore = Some(self.keystore.clone());
        let key = TokenKey::new(place.clone(), waiting.algorithm, public, keystore);
        let key = AuthorityKey::from(key);
        if own(key.fingerprint()) {
            Ok(key)
        } else {
            Err(Refusal::Keystore(KeystoreRefusal::NoKey(place.key)))
        }
    }

    /// A new key where the settings say; never anywhere else.
    fn new_key(&self) -> Result<AuthorityKey, Refusal> {
        let algorithm = self.settings.pki.algorithm;
        let Some(pkcs11) = &self.settings.pki.pkcs11 else {
            return Ok(SecretKey::generate(algorithm)?.into());
        };
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|_| Refusal::Internal("there are no random numbers".to_owned()))?;
        let place = Place {
            token: pkcs11.token.clone(),
            key: KeyLabel::new(random),
        };
        let public = self.keystore.generate(place.key, algorithm);
        let public = public.map_err(Refusal::Keystore)?;
        let keystore = Some(self.keystore.clone());
        Ok(TokenKey::new(place, algorithm, public, keystore).into())
    }

    /// Keeps a key that is not kept where it is.
    fn keep(&self, name: &str, key: &AuthorityKey) -> Result<(), Refusal> {
        match key {
            AuthorityKey::File(key) => Ok(self.store.keep_key(name, key)?),
            AuthorityKey::Token(_) => Ok(()),
        }
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

fn request_of(key: &AuthorityKey, gateway: &str) -> Result<Answer, Refusal> {
    let der = authority_request(gateway, key)?;
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

//! The office of the certification authority: one question after the other, answered by what is kept.
//!
//! In: a question and the time. Out: an answer, or the refusal and why. Whatever an answer says is on the disk before
//! it is given. Has files, but no socket and no clock.

mod authorities;
mod certificates;
mod listeners;

pub use listeners::Handshakes;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use super::authority::{Authority, AuthorityError, AuthorityId, SecretKey};
use super::custody::{AuthorityKey, Place, TokenKey};
use super::key::{Fingerprint, Serial};
use super::keystore::Keystore;
use super::ledger::{Entry, Ledger, LedgerError};
use super::message::{
    Answer, AuthorityStatus, CertificateStatus, Der, OneAuthority, Question, Refusal, Settings,
};
use super::pem;
use super::store::{Kept, State, Store, StoreError, authority_name, server_name};
use super::trust::Trust;
use super::validity::{Verdict, later};

/// Everything that the signer holds.
pub struct Office {
    settings: Settings,
    store: Store,
    state: State,
    ledger: Ledger,
    /// By the ids of the state.
    authorities: BTreeMap<AuthorityId, Authority>,
    /// Keys of listeners, by the fingerprints of the state.
    servers: BTreeMap<Fingerprint, Arc<SecretKey>>,
    keystore: Keystore,
    /// The lists that are still to be handed out.
    lists: BTreeMap<AuthorityId, KeptList>,
    /// When the ledger was looked through last.
    looked_through: Option<Timestamp>,
}

/// Why the office cannot open.
#[derive(Debug, thiserror::Error)]
pub enum OfficeError {
    /// Something is wrong with the files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An authority that is kept is none.
    #[error("the certification authority {id} cannot be used")]
    Authority {
        /// Which.
        id: AuthorityId,
        /// Why not.
        #[source]
        cause: AuthorityError,
    },
}

impl Office {
    /// Opens the office with what is kept; at first that is nothing.
    ///
    /// # Errors
    /// When something is missing, damaged, or not for its owner alone.
    pub fn open(settings: Settings, keystore: Keystore) -> Result<Self, OfficeError> {
        let (store, state, ledger) = Store::open(&settings.directory)?;
        let (mut authorities, mut lists) = (BTreeMap::new(), BTreeMap::new());
        for kept in &state.authorities {
            let name = authority_name(kept.id);
            let own = |key| AuthorityId::of(key) == kept.id;
            let unusable = |cause| OfficeError::Authority { id: kept.id, cause };
            let chain = store.chain(&name)?;
            let key: AuthorityKey = match &kept.place {
                None => store.key(&name, kept.algorithm, own)?.into(),
                Some(place) => {
                    let certificate = chain.first().ok_or(unusable(AuthorityError::Empty))?;
                    let keystore = serves(&settings, place).then(|| keystore.clone());
                    let place = place.clone();
                    TokenKey::certified(place, kept.algorithm, certificate, keystore)
                        .map_err(unusable)?
                        .into()
                }
            };
            if AuthorityId::of(key.fingerprint()) != kept.id {
                return Err(unusable(AuthorityError::OtherKey));
            }
            let authority = Authority::with(&settings.gateway, key, chain).map_err(unusable)?;
            authorities.insert(kept.id, authority);
            if let Some(der) = store.list(&name)?.map(Der) {
                lists.insert(kept.id, KeptList { made: None, der });
            }
        }
        let mut servers = BTreeMap::new();
        for kept in &state.servers {
            let name = server_name(kept.listener, kept.key);
            let key = store.key(&name, kept.algorithm, |key| key == kept.key)?;
            servers.insert(kept.key, Arc::new(key));
        }
        Ok(Self {
            settings,
            keystore,
            store,
            state,
            ledger,
            authorities,
            servers,
            lists,
            looked_through: None,
        })
    }

    /// Answers one question.
    ///
    /// # Errors
    /// The refusal, which says what to do instead.
    pub fn answer(&mut self, question: Question, now: Timestamp) -> Result<Answer, Refusal> {
        self.keystore.begin();
        self.decide(question, now).map_err(|refusal| {
            // The library of certificates says only that there is no signature.
            let refused = self.keystore.take_refusal();
            refused.map_or(refusal, Refusal::Keystore)
        })
    }

    fn decide(&mut self, question: Question, now: Timestamp) -> Result<Answer, Refusal> {
        match question {
            Question::NewAuthority {
                rotate,
                way,
                overlap,
            } => self.new_authority(rotate, way, overlap, now),
            Question::Status => Ok(Answer::Status(self.status(now))),
            Question::Trust => self.trust(now).map(Answer::Trust),
            Question::Issue {
                request,
                device,
                lifetime,
            } => self.issue(&request.0, &device, lifetime, now),
            Question::Renew {
                certificate,
                request,
                lifetime,
            } => self.renew(&certificate.0, &request.0, lifetime, now),
            Question::Server { listener, renew } => self.server(listener, renew, now),
            Question::Revoke { which, reason } => self.revoke(&which, reason, now),
            Question::Lists => self.lists(now).map(Answer::Lists),
            Question::Certificates => Ok(Answer::Certificates(self.certificates())),
            Question::TlsSign(wanted) => {
                let signed = self.handshakes().sign(None, &wanted);
                signed.map(Answer::Signed)
            }
        }
    }

    /// Lets go for ever of what time has ended; only for a clock that can be believed. What has ended is refused
    /// everywhere by its time, whether it is still kept or not.
    pub fn tidy(&mut self, now: Timestamp) {
        self.remove_ended(now);
        self.compact(now);
    }

    fn remove_ended(&mut self, now: Timestamp) {
        let ended: Vec<AuthorityId> = self
            .state
            .authorities
            .iter()
            .filter(|kept| !kept.is_trusted(now))
            .map(|kept| kept.id)
            .collect();
        let trusted = |id: &AuthorityId| !ended.contains(id);
        let servers = &self.state.servers;
        let done: Vec<_> = servers
            .iter()
            .filter(|one| one.validity.not_after < now || !trusted(&one.authority))
            .map(|one| (one.listener, one.key))
            .collect();
        if !ended.is_empty() || !done.is_empty() {
            let mut state = self.state.clone();
            state.authorities.retain(|kept| trusted(&kept.id));
            state
                .servers
                .retain(|one| !done.contains(&(one.listener, one.key)));
            if let Err(error) = self.store.save(&state) {
                // What has ended is still refused everywhere by its time.
                warn!(error = %chain(&error), "what has ended cannot be removed yet");
            } else {
                self.state = state;
                self.remove_keys(&ended, &done);
            }
        }
    }

    /// The authorities that are trusted, newest first.
    fn trusted(&self, now: Timestamp) -> impl Iterator<Item = (&Kept, &Authority)> {
        let kept = self.state.authorities.iter();
        kept.filter(move |kept| kept.is_trusted(now))
            .filter_map(|kept| Some((kept, self.authorities.get(&kept.id)?)))
    }

    fn remove_keys(
        &mut self,
        ended: &[AuthorityId],
        done: &[(super::ledger::Listener, Fingerprint)],
    ) {
        let authorities = ended.iter().map(|id| authority_name(*id));
        let servers = done
            .iter()
            .map(|(listener, key)| server_name(*listener, *key));
        for name in authorities.chain(servers) {
            info!(name, "a key has ended and is removed");
            if let Err(error) = self.store.remove(&name) {
                warn!(error = %chain(&error), "a key that has ended cannot be removed");
            }
        }
        for id in ended {
            self.authorities.remove(id);
            self.lists.remove(id);
        }
        for (_, key) in done {
            self.servers.remove(key);
        }
    }

    /// Writes the ledger anew when half of it is of no use any more.
    fn compact(&mut self, now: Timestamp) {
        let recently = |last: Timestamp| last <= now && now < later(last, LOOK_THROUGH);
        if self.looked_through.is_some_and(recently) {
            return;
        }
        self.looked_through = Some(now);
        let useful = self.ledger.len().saturating_mul(2);
        let lines = self.store.lines();
        let old = self.ledger.forgettable(now, self.settings.pki.grace);
        let due = old > FORGET_FROM.max(self.ledger.len() / 2)
            || lines > useful.saturating_add(FORGET_FROM);
        if !due {
            return;
        }
        let forgotten = self.ledger.forget(now, self.settings.pki.grace);
        match self.store.compact(&self.ledger) {
            Ok(()) => info!(
                forgotten,
                lines, "the ledger of certificates is written anew"
            ),
            Err(error) => {
                warn!(error = %chain(&error), "the ledger of certificates cannot be written anew");
            }
        }
    }

    /// The authority that issues.
    fn issuing(&self) -> Result<&Authority, Refusal> {
        let newest = self.state.authorities.first();
        let newest = newest.filter(|kept| kept.retiring.is_none());
        let kept = newest.ok_or(Refusal::NoAuthority)?;
        self.usable(kept)
    }

    /// An authority whose key can be asked for a signature.
    fn usable(&self, kept: &Kept) -> Result<&Authority, Refusal> {
        if let Some(place) = &kept.place
            && !serves(&self.settings, place)
        {
            return Err(Refusal::OtherToken(place.token.clone()));
        }
        self.authorities.get(&kept.id).ok_or(Refusal::NoAuthority)
    }

    fn status(&self, now: Timestamp) -> AuthorityStatus {
        let authorities = self.trusted(now).map(|(kept, authority)| {
            let all = authority.chain().iter();
            OneAuthority {
                id: kept.id,
                algorithm: kept.algorithm,
                place: kept.place.clone(),
                root: authority.is_root(),
                validity: authority.validity(),
                trusted_until: kept.retiring.map(|end| end.until),
                certificate: all.map(|der| pem::encode(pem::CERTIFICATE, der)).collect(),
            }
        });
        let holds = self.ledger.all().filter(|(one, _)| {
            matches!(
                one.validity.verdict(now, Duration::ZERO),
                Verdict::Valid { .. }
            )
        });
        let (mut certificates, mut revoked) = (0_usize, 0_usize);
        for (_, revocation) in holds {
            certificates = certificates.saturating_add(1);
            revoked = revoked.saturating_add(usize::from(revocation.is_some()));
        }
        AuthorityStatus {
            authorities: authorities.collect(),
            waiting: self.state.waiting.as_ref().map(|waiting| waiting.id),
            certificates,
            revoked,
        }
    }

    fn trust(&mut self, now: Timestamp) -> Result<Trust, Refusal> {
        let ids: Vec<AuthorityId> = self.trusted(now).map(|(kept, _)| kept.id).collect();
        let (mut lists, mut revoked) = (Vec::new(), Vec::new());
        for id in ids {
            match self.list(id, now) {
                Ok(list) => lists.push(list),
                Err(refusal) => {
                    // The key is away: the last list, and what it may not say yet.
                    let last = self.lists.get(&id).ok_or(refusal)?;
                    lists.push(last.der.clone());
                    let since = self.ledger.revoked_by(id, now, self.settings.pki.grace);
                    revoked.extend(since.into_iter().map(|one| one.serial));
                }
            }
        }
        let own = self
            .trusted(now)
            .filter_map(|(_, authority)| authority.chain().first().cloned().map(Der));
        Ok(Trust {
            authorities: own.collect(),
            lists,
            revoked,
            grace: self.settings.pki.grace,
        })
    }

    fn certificates(&self) -> Vec<CertificateStatus> {
        let all = self.ledger.all().map(|(one, revoked)| CertificateStatus {
            serial: one.serial,
            holder: one.holder.clone(),
            authority: one.authority,
            key: one.key,
            validity: one.validity,
            renew_at: one.validity.renewal(chance(one.serial)),
            revoked,
        });
        let mut all: Vec<CertificateStatus> = all.collect();
        if all.len() > MOST_LISTED {
            // Those that ended longest ago are of the least interest.
            all.sort_by_key(|one| std::cmp::Reverse(one.validity.not_after));
            all.truncate(MOST_LISTED);
            all.sort_by_key(|one| one.serial);
        }
        all
    }

    /// Puts an entry on the disk and into the ledger.
    fn write(&mut self, entry: Entry) -> Result<(), Refusal> {
        if let Entry::Issued(issued) = &entry {
            self.ledger.may_issue(issued)?;
        }
        self.store.append(&entry)?;
        Ok(self.ledger.take(entry)?)
    }
}

/// Whether the settings name the token of a key.
fn serves(settings: &Settings, place: &Place) -> bool {
    let pkcs11 = settings.pki.pkcs11.as_ref();
    pkcs11.is_some_and(|pkcs11| pkcs11.token == place.token)
}

/// When a certificate is renewed depends on its number, so that the signer and the device agree.
fn chance(serial: Serial) -> u32 {
    serial.chance()
}

//= RFC 5280 4.1.2.2
fn new_serial() -> Result<Serial, Refusal> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|_| Refusal::Internal("there are no random numbers".to_owned()))?;
    Ok(Serial::new(random))
}

/// Until when a list is handed out before a new one is made.
/// A list that was handed out.
struct KeptList {
    /// When; `None` if it is of another run, or something was revoked meanwhile.
    made: Option<Timestamp>,
    der: Der,
}

impl KeptList {
    fn is_fresh(&self, now: Timestamp) -> bool {
        let fresh = |made| made <= now && now < later(made, LIST_LIFE / 2);
        self.made.is_some_and(fresh)
    }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Storage(chain(&error))
    }
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::KeyTaken => Self::KeyTaken,
            LedgerError::Full => Self::Full,
            LedgerError::Unknown => Self::Unknown,
            LedgerError::Repeated | LedgerError::Backwards => Self::Internal(error.to_string()),
        }
    }
}

/// How long a list of revoked certificates holds.
const LIST_LIFE: Duration = Duration::from_hours(7 * 24);
/// Certificates in one answer, which travels as one message.
//= C7
const MOST_LISTED: usize = 200_000;
/// Between two looks through the whole ledger.
const LOOK_THROUGH: Duration = Duration::from_hours(1);
/// Lines that the ledger may have for nothing.
const FORGET_FROM: usize = 1000;

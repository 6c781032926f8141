//! Certificates of the gateway's own listeners, and the signatures of their handshakes.

use std::sync::Arc;

use jiff::Timestamp;
use lazaret_config::ServerName;

use super::{Office, chance, new_serial};
use crate::pki::authority::{Authority, Leaf, SecretKey};
use crate::pki::key::Fingerprint;
use crate::pki::ledger::{Entry, Holder, Issued, Listener};
use crate::pki::message::{Answer, Der, Refusal, ServerIdentity, TlsSign};
use crate::pki::store::{Kept, KeptServer, server_name};
use crate::pki::validity::{Validity, later};

impl Office {
    pub(super) fn server(
        &mut self,
        listener: Listener,
        renew: bool,
        now: Timestamp,
    ) -> Result<Answer, Refusal> {
        let by = self.for_servers(now)?.0.id;
        let names = &self.settings.pki.server_names;
        let mut servers = self.state.servers.iter();
        let newest = servers.find(|one| one.listener == listener);
        let current = newest.filter(|one| {
            one.authority == by
                && one.names == *names
                && one.validity.not_before <= now
                && now < one.validity.renewal(chance(one.serial))
        });
        match current.cloned() {
            Some(current) if !renew => self.identity(&current),
            Some(_) | None => self.new_server(listener, now),
        }
    }

    /// Who certifies listeners: the old authority while a device may know it alone.
    fn for_servers(&self, now: Timestamp) -> Result<(&Kept, &Authority), Refusal> {
        let pki = &self.settings.pki;
        let needed = |kept: &&Kept| match kept.retiring {
            None => true,
            Some(end) => {
                kept.is_trusted(now) && now <= later(later(end.since, pki.lifetime), pki.grace)
            }
        };
        // The newest is the last resort, the oldest that is needed the first.
        let kept = self.state.authorities.iter().rev().find(needed);
        kept.and_then(|kept| Some((kept, self.authorities.get(&kept.id)?)))
            .ok_or(Refusal::NoAuthority)
    }

    fn new_server(&mut self, listener: Listener, now: Timestamp) -> Result<Answer, Refusal> {
        let pki = &self.settings.pki;
        let names = pki.server_names.clone();
        let (kept, _) = self.for_servers(now)?;
        let authority = self.usable(kept)?;
        may_name(kept, &names)?;
        let mut limits = authority.validity();
        if let Some(end) = kept.retiring {
            limits.not_after = limits.not_after.min(end.until);
        }
        let validity = Validity::issued(now, pki.lifetime, limits);
        let validity = validity.ok_or(Refusal::AuthorityEnds)?;
        let algorithm = pki.algorithm;
        let key = SecretKey::generate(algorithm)?;
        let (serial, fingerprint) = (new_serial()?, key.fingerprint());
        let leaf = Leaf {
            serial,
            validity,
            crl_url: pki.crl_url.as_deref(),
        };
        let certificate = authority.server(&self.settings.gateway, &names, &key, &leaf)?;
        let mut chain = vec![certificate];
        chain.extend(authority.chain().iter().cloned());
        let issued = Issued {
            serial,
            authority: kept.id,
            holder: Holder::Server(listener),
            key: fingerprint,
            validity,
        };
        let server = KeptServer {
            listener,
            key: fingerprint,
            algorithm,
            authority: kept.id,
            serial,
            validity,
            names,
        };
        let name = server_name(listener, fingerprint);
        self.store.keep_key(&name, &key)?;
        self.store.keep_chain(&name, &chain)?;
        self.write(Entry::Issued(issued))?;
        let mut state = self.state.clone();
        state.servers.insert(0, server.clone());
        // The one before may still be in use by the listener, those before that are not.
        let mut seen = 0_usize;
        let mut gone = Vec::new();
        state.servers.retain(|one| {
            seen = seen.saturating_add(usize::from(one.listener == listener));
            let keeps = one.listener != listener || seen <= KEPT_OF_EACH;
            if !keeps {
                gone.push((one.listener, one.key));
            }
            keeps
        });
        self.store.save(&state)?;
        self.state = state;
        self.servers.insert(fingerprint, Arc::new(key));
        self.remove_keys(&[], &gone);
        self.identity(&server)
    }

    fn identity(&self, server: &KeptServer) -> Result<Answer, Refusal> {
        let chain = self
            .store
            .chain(&server_name(server.listener, server.key))?;
        Ok(Answer::Server(ServerIdentity {
            key: server.key,
            algorithm: server.algorithm,
            chain: chain.into_iter().map(Der).collect(),
            serial: server.serial,
            validity: server.validity,
            renew_at: server.validity.renewal(chance(server.serial)),
        }))
    }

    /// What signs handshakes, as it is now.
    #[must_use]
    pub fn handshakes(&self) -> Handshakes {
        let key = |one: &KeptServer| Some((one.listener, one.key, self.servers.get(&one.key)?));
        let keys = self.state.servers.iter().filter_map(key);
        let keys = keys.map(|(listener, of, key)| (listener, of, Arc::clone(key)));
        Handshakes(keys.collect())
    }
}

/// The keys of listeners, which sign while the office waits for something else.
pub struct Handshakes(Vec<(Listener, Fingerprint, Arc<SecretKey>)>);

impl Handshakes {
    /// Signs the end of a handshake; for a door, by the keys of its own listener alone.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn sign(&self, door: Option<Listener>, wanted: &TlsSign) -> Result<Der, Refusal> {
        let mut keys = (self.0.iter())
            .filter(|(listener, ..)| door.is_none_or(|door| door == *listener))
            .filter(|(_, key, _)| *key == wanted.key);
        let (_, _, key) = keys.next().ok_or(Refusal::NotAHandshake)?;
        if !ends_handshake(&wanted.message.0) {
            return Err(Refusal::NotAHandshake);
        }
        Ok(Der(key.sign(&wanted.message.0)?))
    }
}

/// Without this check whoever has a door could have certificates signed by it, if the keys were ever the same.
//= RFC 8446 4.4.3
fn ends_handshake(message: &[u8]) -> bool {
    let hash = message
        .strip_prefix(&[b' '; 64])
        .and_then(|rest| rest.strip_prefix(b"TLS 1.3, server CertificateVerify\0"));
    // Of SHA-256 and SHA-384, which all cipher suites of TLS 1.3 have.
    hash.is_some_and(|hash| matches!(hash.len(), 32 | 48))
}

fn may_name(authority: &Kept, names: &[ServerName]) -> Result<(), Refusal> {
    if names.is_empty() {
        let why = "no names are configured: `server_names` of [pki]";
        return Err(Refusal::ServerNames(why.to_owned()));
    }
    let Some(permitted) = &authority.servers else {
        return Ok(());
    };
    match names.iter().find(|name| !permitted.contains(name)) {
        None => Ok(()),
        Some(name) => Err(Refusal::ServerNames(format!(
            "the certification authority was made before {name} was configured: `lazaret ca rotate`"
        ))),
    }
}

/// Certificates of each listener that are kept with their keys.
//= C7
const KEPT_OF_EACH: usize = 2;

//! Certificates of devices: given, renewed, revoked, and listed.

use std::time::Duration;

use jiff::Timestamp;
use lazaret_config::DeviceName;
use tracing::warn;

use super::{KeptList, LIST_LIFE, Office, chain, chance, new_serial};
use crate::pki::authority::{AuthorityId, Leaf, Reason};
use crate::pki::certificate::Facts;
use crate::pki::key::{PublicKey, Serial};
use crate::pki::ledger::{Entry, Holder, Issued};
use crate::pki::message::{Answer, Der, IssuedCertificate, Refusal, Which};
use crate::pki::request::{Request, RequestRefusal};
use crate::pki::store::authority_name;
use crate::pki::validity::{Validity, Verdict, later};

impl Office {
    pub(super) fn issue(
        &mut self,
        request: &[u8],
        device: &DeviceName,
        lifetime: Option<Duration>,
        now: Timestamp,
    ) -> Result<Answer, Refusal> {
        let key = Request::read(request)?.of(device)?;
        self.give(device, &key, lifetime, now)
    }

    /// The listener saw in its handshake that the device has the key of the certificate.
    pub(super) fn renew(
        &mut self,
        certificate: &[u8],
        request: &[u8],
        lifetime: Option<Duration>,
        now: Timestamp,
    ) -> Result<Answer, Refusal> {
        let facts = Facts::of(certificate).map_err(|_| Refusal::Unknown)?;
        let serial = facts.serial().ok_or(Refusal::Unknown)?;
        let (issued, revoked) = self.ledger.find(serial).ok_or(Refusal::Unknown)?;
        let Holder::Device(device) = issued.holder.clone() else {
            return Err(Refusal::Unknown);
        };
        let by = issued.authority;
        let trusted = self.trusted(now).any(|(kept, _)| kept.id == by);
        if issued.key != facts.fingerprint || issued.validity != facts.validity || !trusted {
            return Err(Refusal::Unknown);
        }
        if revoked.is_some() {
            return Err(Refusal::Revoked);
        }
        match issued.validity.verdict(now, self.settings.pki.grace) {
            Verdict::Valid { .. } | Verdict::RenewOnly { .. } => {}
            Verdict::TooEarly { .. } | Verdict::TooLate { .. } => return Err(Refusal::NotNow),
        }
        let key = Request::read(request)?.of(&device)?;
        if key.fingerprint() == facts.fingerprint {
            return Err(Refusal::SameKey);
        }
        self.give(&device, &key, lifetime, now)
    }

    fn give(
        &mut self,
        device: &DeviceName,
        key: &PublicKey,
        lifetime: Option<Duration>,
        now: Timestamp,
    ) -> Result<Answer, Refusal> {
        let fingerprint = key.fingerprint();
        let id = AuthorityId::of(fingerprint);
        if self.authorities.contains_key(&id) || self.servers.contains_key(&fingerprint) {
            return Err(Refusal::KeyTaken);
        }
        if self.ledger.is_key_revoked(fingerprint) {
            return Err(Refusal::KeyRevoked);
        }
        let holder = Holder::Device(device.clone());
        if self.ledger.held_by(&holder, now) >= MOST_OF_ONE {
            return Err(Refusal::TooManyCertificates(MOST_OF_ONE));
        }
        let pki = &self.settings.pki;
        let authority = self.issuing()?;
        let lifetime = lifetime.map_or(pki.lifetime, |wanted| wanted.min(pki.lifetime));
        let validity = Validity::issued(now, lifetime, authority.validity());
        let validity = validity.ok_or(Refusal::AuthorityEnds)?;
        let serial = new_serial()?;
        let issued = Issued {
            serial,
            authority: authority.id(),
            holder,
            key: fingerprint,
            validity,
        };
        self.ledger.may_issue(&issued)?;
        let leaf = Leaf {
            serial,
            validity,
            crl_url: pki.crl_url.as_deref(),
        };
        let certificate = authority.device(&self.settings.gateway, device, key, &leaf)?;
        let chain = authority.chain().iter().cloned().map(Der).collect();
        self.write(Entry::Issued(issued))?;
        Ok(Answer::Issued(IssuedCertificate {
            device: device.clone(),
            certificate: Der(certificate),
            chain,
            serial,
            key: fingerprint,
            validity,
            renew_at: validity.renewal(chance(serial)),
        }))
    }

    /// Revokes what may still be of use, also what could only be renewed.
    //= C9
    pub(super) fn revoke(
        &mut self,
        which: &Which,
        reason: Reason,
        now: Timestamp,
    ) -> Result<Answer, Refusal> {
        let grace = self.settings.pki.grace;
        let serials: Vec<Serial> = match which {
            Which::Serial(serial) => {
                let (_, revoked) = self.ledger.find(*serial).ok_or(Refusal::Unknown)?;
                revoked.is_none().then_some(*serial).into_iter().collect()
            }
            Which::Devices(devices) => self
                .ledger
                .all()
                .filter(|(_, revoked)| revoked.is_none())
                .filter(|(one, _)| match &one.holder {
                    Holder::Device(device) => devices.contains(device),
                    Holder::Server(_) => false,
                })
                .filter(|(one, _)| later(one.validity.not_after, grace) >= now)
                .map(|(one, _)| one.serial)
                .collect(),
        };
        for serial in &serials {
            let serial = *serial;
            self.write(Entry::Revoked {
                serial,
                at: now,
                reason,
            })?;
            self.lists.values_mut().for_each(|list| list.made = None);
        }
        Ok(Answer::Revoked(serials))
    }

    /// One list of each trusted authority, made anew when something was revoked or half of its life is over.
    pub(super) fn lists(&mut self, now: Timestamp) -> Result<Vec<Der>, Refusal> {
        let ids: Vec<AuthorityId> = self.trusted(now).map(|(kept, _)| kept.id).collect();
        let mut lists = Vec::new();
        for id in ids {
            lists.push(self.list(id, now)?);
        }
        Ok(lists)
    }

    /// The list of an authority, made anew if need be.
    pub(super) fn list(&mut self, id: AuthorityId, now: Timestamp) -> Result<Der, Refusal> {
        let fresh = self.lists.get(&id).filter(|list| list.is_fresh(now));
        match fresh {
            Some(list) => Ok(list.der.clone()),
            None => self.new_list(id, now),
        }
    }

    fn new_list(&mut self, id: AuthorityId, now: Timestamp) -> Result<Der, Refusal> {
        // By the clock, so that numbers grow even if an older ledger was restored.
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let number = self.ledger.last_list(id).saturating_add(1).max(seconds);
        let kept = self.state.authorities.iter().find(|kept| kept.id == id);
        let authority = self.usable(kept.ok_or(Refusal::NoAuthority)?)?;
        let revoked = self.ledger.revoked_by(id, now, self.settings.pki.grace);
        let list = Der(authority.crl(number, &revoked, now, LIST_LIFE)?);
        self.write(Entry::List {
            authority: id,
            number,
        })?;
        if let Err(error) = self.store.keep_list(&authority_name(id), &list.0) {
            warn!(error = %chain(&error), "a list of revoked certificates is not kept for a token that is away");
        }
        let made = Some(now);
        let der = list.clone();
        self.lists.insert(id, KeptList { made, der });
        Ok(list)
    }
}

/// Certificates of one device that hold at a time: a renewal after two thirds of each life makes two. Otherwise one
/// device could fill the ledger for all.
//= C7
const MOST_OF_ONE: usize = 32;

impl From<RequestRefusal> for Refusal {
    fn from(refusal: RequestRefusal) -> Self {
        Self::Request(refusal.to_string())
    }
}

//! Tokens with which devices enrol themselves: what one lets its bearer become, and whether it is good.
//!
//! In: what is kept of a token, and what somebody wants with it. Out: yes, again, or why not. Pure.
//! The token itself is nowhere: it is known by its hash, which nobody can choose, so that how long a look takes
//! says nothing about any token.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use lazaret_config::{Admission, Config, Credential, Enrolled, RoleName};

use super::known::{By, DeviceKey, Known, Newcomer, Origin, PublicKey, whole};
use crate::flow::{DeviceName, Standing};

/// SHA-256 of a token's chance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// How the token is called by those who must not know it.
    #[must_use]
    pub fn id(&self) -> String {
        self.to_string().chars().take(ID).collect()
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id())
    }
}

/// What a token lets its bearer become.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The roles.
    pub roles: BTreeSet<RoleName>,
    /// The name; without one the bearer chooses a free one.
    pub device: Option<DeviceName>,
    /// The serial number, which the bearer has to know too.
    pub serial: Option<String>,
    /// The patients; `hmac:` values.
    pub patients: Vec<String>,
    /// MSH-3 and MSH-4, `ECG^CARDIO`.
    pub hl7_sender: Option<String>,
    /// The AE title.
    pub ae_title: Option<String>,
    /// The device is let in at once.
    pub approve: bool,
}

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// How it is called.
    pub id: String,
    /// What it lets its bearer become.
    pub terms: Terms,
    /// In the words of who made it.
    pub why: String,
    /// When it was made.
    pub created: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it ends.
    pub expires: Timestamp,
    /// By whom it was used.
    pub used: Option<Used>,
    /// Since when it is taken back.
    pub revoked: Option<Timestamp>,
}

/// The one use of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// Who came to be by it.
    pub device: DeviceName,
    /// With which key, as [`BearerKey::text`].
    pub key: String,
    /// When.
    pub at: Timestamp,
}

/// A token to be kept.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Of the token.
    pub hash: TokenHash,
    /// What it lets its bearer become.
    pub terms: Terms,
    /// In the operator's words.
    pub why: String,
    /// Who makes it.
    pub by: By,
    /// When.
    pub at: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
}

/// The key with which somebody comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BearerKey {
    /// Of a tunnel.
    Wireguard(PublicKey),
    /// SHA-256 of the SubjectPublicKeyInfo of a certificate's key, in hex.
    Certificate(String),
}

impl BearerKey {
    /// One text for each key.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Wireguard(key) => format!("wireguard:{key}"),
            Self::Certificate(fingerprint) => format!("certificate:{fingerprint}"),
        }
    }
}

/// The use of a token.
#[derive(Clone, Debug)]
pub struct Redemption {
    /// Of the token.
    pub hash: TokenHash,
    /// With which key.
    pub key: BearerKey,
    /// Who is known from now on.
    pub newcomer: Newcomer,
    /// When.
    pub at: Timestamp,
}

/// What somebody says of a device who wants to enrol it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// How it wants to be called.
    pub name: Option<DeviceName>,
    /// The serial number on its label.
    pub serial: Option<String>,
}

/// What a token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To enrol a device.
    Good,
    /// The device with this key was enrolled by it, and did not hear the answer.
    Again(DeviceName),
    /// Nothing.
    Refused(Refused),
}

/// Why a token is good for nothing. The bearer hears the same of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No such token was made.
    #[error("there is no such token")]
    Unknown,
    /// Its time is over.
    #[error("the token came late")]
    Late,
    /// Another key has used it.
    #[error("the token was used before")]
    Used,
    /// It was taken back.
    #[error("the token is revoked")]
    Revoked,
    /// It was made for another serial number.
    #[error("the token is for another serial number")]
    Serial,
    /// It was made for another name.
    #[error("the token is for another name")]
    Name,
}

impl Token {
    /// Whether somebody may use it now.
    #[must_use]
    pub fn judge(&self, claim: &Claim, key: &BearerKey, now: Timestamp) -> Verdict {
        if self.revoked.is_some() {
            return Verdict::Refused(Refused::Revoked);
        }
        // A clock that went back does not make it longer.
        if self.expires <= now || now < self.created.checked_sub(BACK).unwrap_or(self.created) {
            return Verdict::Refused(Refused::Late);
        }
        if let Some(serial) = &self.terms.serial
            && claim.serial.as_ref() != Some(serial)
        {
            return Verdict::Refused(Refused::Serial);
        }
        if let (Some(device), Some(wanted)) = (&self.terms.device, &claim.name)
            && device != wanted
        {
            return Verdict::Refused(Refused::Name);
        }
        match &self.used {
            None => Verdict::Good,
            Some(used) if used.key == key.text() => Verdict::Again(used.device.clone()),
            Some(_) => Verdict::Refused(Refused::Used),
        }
    }
}

impl Terms {
    /// Whether a device with them could stand beside the files.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, files: &Config) -> Result<(), String> {
        if self.roles.is_empty() {
            return Err("`role` is missing: without a role a device reaches nothing".to_owned());
        }
        if let Some(role) = self
            .roles
            .iter()
            .find(|role| !files.roles.contains_key(*role))
        {
            return Err(format!("there is no role `{role}` in the files"));
        }
        if let Some(device) = &self.device
            && files.devices.contains_key(device)
        {
            return Err(format!("the files have a device {device}"));
        }
        for patient in &self.patients {
            Enrolled::patient_of(patient).map_err(|error| format!("`patient`: {error}"))?;
        }
        if let Some(sender) = &self.hl7_sender {
            Enrolled::hl7_sender_of(sender).map_err(|error| format!("`hl7_sender`: {error}"))?;
        }
        if let Some(title) = &self.ae_title {
            Enrolled::ae_title_of(title).map_err(|error| format!("`ae_title`: {error}"))?;
        }
        // Rules that name a device name one of the files.
        let name = self.device.clone().map_or_else(|| "nobody".parse(), Ok);
        let name = name.map_err(|_| "there is no name for the device")?;
        let enrolled = self.enrolled(Credential::Certificate);
        files
            .binds(&name, &enrolled)
            .map_err(|error| error.to_string())
    }

    fn enrolled(&self, credential: Credential) -> Enrolled {
        let sender = self.hl7_sender.as_deref();
        Enrolled {
            origin: Origin::Enrolled.as_str(),
            credential,
            addresses: Vec::new(),
            roles: self.roles.clone(),
            hl7_sender: sender.and_then(|sender| Enrolled::hl7_sender_of(sender).ok()),
            ae_title: self.ae_title.clone(),
            patients: self.patients.clone(),
        }
    }
}

impl Token {
    /// The device that its bearer becomes. `chance` names one that has no name.
    ///
    /// # Errors
    /// Why it cannot stand beside the files.
    pub fn newcomer(
        &self,
        claim: &Claim,
        key: &BearerKey,
        files: &Config,
        at: Timestamp,
        (chance, mark): (u32, i64),
    ) -> Result<Newcomer, String> {
        let terms = &self.terms;
        terms.check(files)?;
        let role = terms.roles.first().ok_or("the token has no role")?;
        let name = match terms.device.as_ref().or(claim.name.as_ref()) {
            Some(name) => name.clone(),
            None => {
                let short: String = role.as_str().chars().take(LONGEST_PREFIX).collect();
                let name = format!("{short}-{:06x}", chance & 0xff_ffff);
                name.parse().map_err(|_| "the role makes no name")?
            }
        };
        if files.devices.contains_key(&name) {
            return Err(format!("there is a device {name} already"));
        }
        let (keys, certificates) = match key {
            BearerKey::Wireguard(public_key) => {
                let enrolled = terms.enrolled(Credential::wireguard(public_key.0));
                let mut admission = Admission::new(files);
                admission.admit(&name, &enrolled).map_err(|_| KEY_TAKEN)?;
                let key = DeviceKey {
                    wireguard: *public_key,
                    until: None,
                };
                (vec![key], Vec::new())
            }
            BearerKey::Certificate(fingerprint) => (Vec::new(), vec![fingerprint.clone()]),
        };
        let by = format!("token {}", self.id);
        let why = if self.why.is_empty() {
            format!("{by} of {}", self.created_by)
        } else {
            format!("{by} of {}: {}", self.created_by, self.why)
        };
        Ok(Newcomer {
            name,
            known: Known {
                origin: Origin::Enrolled,
                standing: if terms.approve {
                    Standing::Active
                } else {
                    Standing::Pending
                },
                approved: terms.approve,
                removed: false,
                why,
                since: whole(at),
                roles: terms.roles.clone(),
                keys,
                certificates,
                addresses: Vec::new(),
                serial: claim.serial.clone().or_else(|| terms.serial.clone()),
                patients: terms.patients.clone(),
                hl7_sender: terms.hl7_sender.clone(),
                ae_title: terms.ae_title.clone(),
                created: whole(at),
                created_by: by.clone(),
                expires: None,
            },
            mark,
            by: By { uid: 0, name: by },
        })
    }
}

/// Whose it is, is nobody's business.
pub const KEY_TAKEN: &str = "the key belongs to another device: make a new key";
/// Letters of a role in the name of a device.
const LONGEST_PREFIX: usize = 40;
/// Digits of a hash by which a token is called.
pub(super) const ID: usize = 12;
/// How far a clock may go back without ending tokens.
const BACK: std::time::Duration = std::time::Duration::from_mins(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn token() -> Token {
        Token {
            id: "0123456789ab".to_owned(),
            terms: Terms {
                serial: Some("SN-1".to_owned()),
                device: Some("ecg-1".parse().unwrap()),
                ..Terms::default()
            },
            why: String::new(),
            created: at(0),
            created_by: "root".to_owned(),
            expires: at(900),
            used: None,
            revoked: None,
        }
    }

    fn claim(name: Option<&str>, serial: Option<&str>) -> Claim {
        Claim {
            name: name.map(|name| name.parse().unwrap()),
            serial: serial.map(str::to_owned),
        }
    }

    fn judged(token: &Token, claim: &Claim, key: u8, seconds: i64) -> Verdict {
        let key = BearerKey::Wireguard(PublicKey([key; 32]));
        token.judge(claim, &key, at(seconds))
    }

    #[test]
    fn each_refusal_stands_beside_what_is_taken() {
        let right = claim(Some("ecg-1"), Some("SN-1"));
        let good = |seconds| judged(&token(), &right, 1, seconds);
        for seconds in [-300, 0, 899] {
            assert_eq!(good(seconds), Verdict::Good, "{seconds}");
        }
        for seconds in [900, 86_400, -301, -86_400] {
            assert_eq!(good(seconds), Verdict::Refused(Refused::Late), "{seconds}");
        }
        let unnamed = claim(None, Some("SN-1"));
        assert_eq!(judged(&token(), &unnamed, 1, 1), Verdict::Good);
        for (claim, why) in [
            (claim(Some("ecg-2"), Some("SN-1")), Refused::Name),
            (claim(Some("ecg-1"), Some("SN-2")), Refused::Serial),
            (claim(Some("ecg-1"), None), Refused::Serial),
        ] {
            assert_eq!(judged(&token(), &claim, 1, 1), Verdict::Refused(why));
        }
        let mut revoked = token();
        revoked.revoked = Some(at(1));
        assert_eq!(
            judged(&revoked, &right, 1, 1),
            Verdict::Refused(Refused::Revoked)
        );
    }

    #[test]
    fn only_the_same_key_hears_the_answer_again() {
        let right = claim(None, Some("SN-1"));
        let mut used = token();
        let device: DeviceName = "ecg-1".parse().unwrap();
        used.used = Some(Used {
            device: device.clone(),
            key: BearerKey::Wireguard(PublicKey([1; 32])).text(),
            at: at(1),
        });
        assert_eq!(judged(&used, &right, 1, 2), Verdict::Again(device));
        assert_eq!(judged(&used, &right, 2, 2), Verdict::Refused(Refused::Used));
        assert_eq!(
            judged(&used, &right, 1, 900),
            Verdict::Refused(Refused::Late)
        );
    }
}

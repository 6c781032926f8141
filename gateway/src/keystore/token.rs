//! One token behind its maker's library: found by its label, opened with a PIN, asked for keys and signatures.
//!
//! In: labels, algorithms, digests. Out: public keys and signatures, or what is wrong in our words.
//! There is one session, and a handle is looked up each time: nothing of the library is remembered. What it answers is
//! believed nowhere: whoever asked checks public keys and signatures.

use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use lazaret_config::KeyAlgorithm;
use tracing::debug;

use super::message::{KeyLabel, KeystoreRefusal as Refusal};
use super::point;

/// A token with somebody logged in.
pub(super) struct Token {
    session: Option<Session>,
    library: Option<Pkcs11>,
    slot: Slot,
}

impl Token {
    /// Loads the library, finds the token and logs in, with one try of the PIN.
    ///
    /// # Errors
    /// What is in the way; [`Refusal::is_of_pin`] says that it must not be tried again.
    pub(super) fn open(settings: &lazaret_config::Pkcs11, pin: &AuthPin) -> Result<Self, Refusal> {
        let module = |error: Error| Refusal::Module(told(&error));
        let library = Pkcs11::new(&settings.module).map_err(module)?;
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        match library.initialize(arguments) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(module(error)),
        }
        // From here on dropping it lets go of the library.
        let slot = find(&library, &settings.token);
        let mut token = Self {
            session: None,
            slot: match slot {
                Ok(slot) => slot,
                Err(refusal) => {
                    finalize(library);
                    return Err(refusal);
                }
            },
            library: Some(library),
        };
        token.log_in(pin)?;
        Ok(token)
    }

    fn log_in(&mut self, pin: &AuthPin) -> Result<(), Refusal> {
        let library = self.library.as_ref().ok_or(Refusal::Unavailable)?;
        let info = library.get_token_info(self.slot).map_err(lost)?;
        if info.user_pin_locked() {
            return Err(Refusal::PinLocked);
        }
        if info.user_pin_final_try() {
            return Err(Refusal::LastTry);
        }
        if !info.user_pin_initialized() || info.user_pin_to_be_changed() {
            return Err(Refusal::NewPin);
        }
        let session = library.open_rw_session(self.slot).map_err(lost)?;
        let session = self.session.insert(session);
        match session.login(UserType::User, Some(pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
                _,
            )) => Err(Refusal::Pin),
            Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(Refusal::PinLocked),
            Err(Error::Pkcs11(RvError::PinExpired | RvError::UserPinNotInitialized, _)) => {
                Err(Refusal::NewPin)
            }
            Err(error) => Err(lost(error)),
        }
    }

    /// Makes a pair of keys of which the private one never leaves the token.
    ///
    /// # Errors
    /// When the token does not serve it, or would let the key out; then there is none.
    pub(super) fn generate(
        &self,
        label: KeyLabel,
        algorithm: KeyAlgorithm,
    ) -> Result<Vec<u8>, Refusal> {
        let session = self.session()?;
        self.serves(algorithm)?;
        if !session.find_objects(&name(label)).map_err(lost)?.is_empty() {
            return Err(Refusal::SeveralKeys(label));
        }
        let mechanism = match algorithm {
            KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 => Mechanism::EccKeyPairGen,
            KeyAlgorithm::Ed25519 => Mechanism::EccEdwardsKeyPairGen,
        };
        let private = [
            name(label),
            vec![
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Sign(true),
            ],
        ]
        .concat();
        let mut refused = None;
        for parameters in point::parameters(algorithm) {
            let public = [
                name(label),
                vec![
                    Attribute::Token(true),
                    Attribute::Private(false),
                    Attribute::Verify(true),
                    Attribute::EcParams(parameters.to_vec()),
                ],
            ]
            .concat();
            match session.generate_key_pair(&mechanism, &public, &private) {
                Ok((public, private)) => {
                    let made = self.kept_inside(label, private);
                    let made = made.and_then(|()| self.point(public, algorithm));
                    if made.is_err() {
                        for handle in [public, private] {
                            if let Err(error) = session.destroy_object(handle) {
                                debug!(%error, "a key that is not used stays in the token");
                            }
                        }
                    }
                    return made;
                }
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.map_or(Refusal::Algorithm(algorithm), |error| {
            not_served(error, algorithm)
        }))
    }

    /// The public key of a pair.
    ///
    /// # Errors
    /// When there is none, or not one.
    pub(super) fn public(
        &self,
        label: KeyLabel,
        algorithm: KeyAlgorithm,
    ) -> Result<Vec<u8>, Refusal> {
        let handle = self.one(label, ObjectClass::PUBLIC_KEY, algorithm)?;
        self.point(handle, algorithm)
    }

    /// Signs a digest, or for Ed25519 a message.
    ///
    /// # Errors
    /// When there is no such key, or it cannot be used.
    pub(super) fn sign(
        &self,
        label: KeyLabel,
        algorithm: KeyAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let handle = self.one(label, ObjectClass::PRIVATE_KEY, algorithm)?;
        let mechanism = match algorithm {
            KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 => Mechanism::Ecdsa,
            KeyAlgorithm::Ed25519 => {
                Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519))
            }
        };
        let signature = self.session()?.sign(&mechanism, handle, message);
        let signature = signature.map_err(|error| not_served(error, algorithm))?;
        if signature.len() > MAX_SIGNATURE {
            return Err(Refusal::Nonsense("a signature is too long".to_owned()));
        }
        Ok(signature)
    }

    /// The only object of a class with the label.
    fn one(
        &self,
        label: KeyLabel,
        class: ObjectClass,
        algorithm: KeyAlgorithm,
    ) -> Result<ObjectHandle, Refusal> {
        let kind = match algorithm {
            KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 => KeyType::EC,
            KeyAlgorithm::Ed25519 => KeyType::EC_EDWARDS,
        };
        let mut wanted = name(label);
        wanted.extend([Attribute::Class(class), Attribute::KeyType(kind)]);
        let found = self.session()?.find_objects(&wanted).map_err(lost)?;
        match found.as_slice() {
            [] => Err(Refusal::NoKey(label)),
            [one] => Ok(*one),
            [_, _, ..] => Err(Refusal::SeveralKeys(label)),
        }
    }

    /// Whether the token made the key as it was asked.
    fn kept_inside(&self, label: KeyLabel, private: ObjectHandle) -> Result<(), Refusal> {
        let wanted = [
            AttributeType::Token,
            AttributeType::Private,
            AttributeType::Sensitive,
            AttributeType::AlwaysSensitive,
            AttributeType::Extractable,
            AttributeType::NeverExtractable,
        ];
        let kept = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::AlwaysSensitive(true),
            Attribute::Extractable(false),
            Attribute::NeverExtractable(true),
        ];
        let told = self.session()?.get_attributes(private, &wanted);
        let told = told.map_err(lost)?;
        if kept.iter().all(|one| told.contains(one)) {
            Ok(())
        } else {
            Err(Refusal::Exposed(label))
        }
    }

    fn point(&self, public: ObjectHandle, algorithm: KeyAlgorithm) -> Result<Vec<u8>, Refusal> {
        let told = self
            .session()?
            .get_attributes(public, &[AttributeType::EcPoint])
            .map_err(lost)?;
        let point = match told.as_slice() {
            [Attribute::EcPoint(point)] => point::of(point, algorithm),
            _ => None,
        };
        point.ok_or_else(|| Refusal::Nonsense("a public key has no point".to_owned()))
    }

    fn serves(&self, algorithm: KeyAlgorithm) -> Result<(), Refusal> {
        let library = self.library.as_ref().ok_or(Refusal::Unavailable)?;
        let served = library.get_mechanism_list(self.slot).map_err(lost)?;
        let needed = match algorithm {
            KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 => {
                [MechanismType::ECC_KEY_PAIR_GEN, MechanismType::ECDSA]
            }
            KeyAlgorithm::Ed25519 => [
                MechanismType::ECC_EDWARDS_KEY_PAIR_GEN,
                MechanismType::EDDSA,
            ],
        };
        if needed.iter().all(|one| served.contains(one)) {
            Ok(())
        } else {
            Err(Refusal::Algorithm(algorithm))
        }
    }

    fn session(&self) -> Result<&Session, Refusal> {
        self.session.as_ref().ok_or(Refusal::Unavailable)
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        // Before the library is told that nobody needs it.
        self.session = None;
        if let Some(library) = self.library.take() {
            finalize(library);
        }
    }
}

fn finalize(library: Pkcs11) {
    if let Err(error) = library.finalize() {
        debug!(%error, "the maker's library does not end");
    }
}

/// The one slot with the token of this label.
fn find(library: &Pkcs11, label: &str) -> Result<Slot, Refusal> {
    let slots = library.get_slots_with_initialized_token().map_err(lost)?;
    let mut found = Vec::new();
    for slot in slots.into_iter().take(MOST_SLOTS) {
        // One that was pulled out meanwhile is not the one.
        if library
            .get_token_info(slot)
            .is_ok_and(|info| info.label().trim_end() == label)
        {
            found.push(slot);
        }
    }
    match found.as_slice() {
        [] => Err(Refusal::NoToken(label.to_owned())),
        [one] => Ok(*one),
        [_, _, ..] => Err(Refusal::SeveralTokens(label.to_owned())),
    }
}

fn name(label: KeyLabel) -> Vec<Attribute> {
    vec![
        Attribute::Label(label.to_string().into_bytes()),
        Attribute::Id(label.id().to_vec()),
    ]
}

/// What a token says of an algorithm that it has not.
fn not_served(error: Error, algorithm: KeyAlgorithm) -> Refusal {
    if let Error::Pkcs11(
        RvError::MechanismInvalid
        | RvError::MechanismParamInvalid
        | RvError::CurveNotSupported
        | RvError::DomainParamsInvalid
        | RvError::KeySizeRange,
        _,
    ) = error
    {
        return Refusal::Algorithm(algorithm);
    }
    lost(error)
}

fn lost(error: Error) -> Refusal {
    Refusal::Lost(told(&error))
}

/// In few words: the library's own are whole sentences about the standard.
fn told(error: &Error) -> String {
    if let Error::Pkcs11(value, function) = error {
        return in_short(*value, *function);
    }
    error.to_string()
}

fn in_short(value: RvError, function: Function) -> String {
    format!("C_{function:?} says {value:?}")
}

/// Slots that are looked at.
//= C7
const MOST_SLOTS: usize = 256;
/// Of a signature, in bytes; those of P-384 have 96.
//= C7
const MAX_SIGNATURE: usize = 1024;
/// Between two attempts to open a token that was not there.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

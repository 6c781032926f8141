//! Whose signature counts: the Ed25519 keys that came with the image.
//!
//! In: PEM text, bytes and a signature. Out: yes or no. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};

use super::refusal::Refusal;

/// Public keys of those who release updates; at least one.
#[derive(Clone, Debug)]
pub struct Keys(Vec<[u8; 32]>);

impl Keys {
    /// Reads `BEGIN PUBLIC KEY` blocks, as `openssl pkey -pubout` writes them.
    ///
    /// # Errors
    /// When there is none, or one of them is no Ed25519 key.
    //= RFC 8410 4
    pub fn from_pem(text: &str) -> Result<Self, Refusal> {
        let mut keys = Vec::new();
        let mut rest = text;
        while let Some((_, from)) = rest.split_once(BEGIN) {
            let (body, after) = from.split_once(END).ok_or(Refusal::Keys)?;
            let compact: String = body.split_ascii_whitespace().collect();
            let der = STANDARD.decode(compact).map_err(|_| Refusal::Keys)?;
            let key = der.strip_prefix(&ED25519_SPKI).ok_or(Refusal::Keys)?;
            keys.push(key.try_into().map_err(|_| Refusal::Keys)?);
            if keys.len() > MOST_KEYS {
                return Err(Refusal::Keys);
            }
            rest = after;
        }
        if keys.is_empty() {
            return Err(Refusal::Keys);
        }
        Ok(Self(keys))
    }

    /// Whether one of the keys signed exactly these bytes.
    ///
    /// # Errors
    /// [`Refusal::Unsigned`] without a signature, [`Refusal::Signature`] with one of somebody else or of other bytes.
    //= RFC 8032 5.1.7
    pub fn verify(&self, message: &[u8], signature: Option<&[u8]>) -> Result<(), Refusal> {
        let signature = signature.ok_or(Refusal::Unsigned)?;
        if signature.is_empty() {
            return Err(Refusal::Unsigned);
        }
        let signed_by = |key: &[u8; 32]| {
            UnparsedPublicKey::new(&ED25519, key)
                .verify(message, signature)
                .is_ok()
        };
        if self.0.iter().any(signed_by) {
            Ok(())
        } else {
            Err(Refusal::Signature)
        }
    }
}

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";
/// Up to the key itself: a sequence, the algorithm's identifier, a bit string.
const ED25519_SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// The present key, the next one, and some for other hands.
//= C7
const MOST_KEYS: usize = 8;

#[cfg(test)]
pub(super) mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    pub(in crate::update) fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    pub(in crate::update) fn pem(pair: &Ed25519KeyPair) -> String {
        let der = [&ED25519_SPKI[..], pair.public_key().as_ref()].concat();
        format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(der))
    }

    #[test]
    fn either_key_signs_and_nobody_else() {
        let (one, two, stranger) = (pair(1), pair(2), pair(3));
        let keys = Keys::from_pem(&format!("# ours\n{}{}", pem(&one), pem(&two))).unwrap();
        for pair in [&one, &two] {
            let signature = pair.sign(b"manifest");
            assert_eq!(keys.verify(b"manifest", Some(signature.as_ref())), Ok(()));
            let other = keys.verify(b"manifesT", Some(signature.as_ref()));
            assert_eq!(other, Err(Refusal::Signature));
            let cut = keys.verify(b"manifest", signature.as_ref().get(..63));
            assert_eq!(cut, Err(Refusal::Signature));
        }
        let signature = stranger.sign(b"manifest");
        let theirs = keys.verify(b"manifest", Some(signature.as_ref()));
        assert_eq!(theirs, Err(Refusal::Signature));
        for none in [None, Some(&[][..])] {
            assert_eq!(keys.verify(b"manifest", none), Err(Refusal::Unsigned));
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let good = pem(&pair(1));
        assert!(Keys::from_pem(&good).is_ok());
        for bad in [
            String::new(),
            good.replace("END", "FIN"),
            good.replacen("MC", "MD", 1),
            good.replace('=', "!"),
            good.repeat(9),
        ] {
            assert!(Keys::from_pem(&bad).is_err(), "{bad}");
        }
    }
}

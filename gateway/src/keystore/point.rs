//! What tokens say about public keys, and which parameters they are asked for.
//!
//! In: `CKA_EC_POINT` as a maker's library gives it. Out: the bytes of the key, of the right length, or nothing.
//! Whether it is a point of the curve is for whoever uses it.

use lazaret_config::KeyAlgorithm;

/// The bytes of a public key out of `CKA_EC_POINT`: an OCTET STRING in DER, as PKCS#11 has it; a BIT STRING for Ed25519,
/// as version 3.0 had it; or the bytes alone, as some makers have it.
//= PKCS#11 v3.0 2.3.3
#[must_use]
pub fn of(attribute: &[u8], algorithm: KeyAlgorithm) -> Option<Vec<u8>> {
    let length = match algorithm {
        KeyAlgorithm::EcdsaP256 => 65,
        KeyAlgorithm::EcdsaP384 => 97,
        KeyAlgorithm::Ed25519 => 32,
    };
    let is_key = |bytes: &&[u8]| {
        let uncompressed = matches!(algorithm, KeyAlgorithm::Ed25519) || bytes.first() == Some(&4);
        bytes.len() == length && uncompressed
    };
    let octets = [OCTET_STRING, u8::try_from(length).ok()?];
    let bits = [BIT_STRING, u8::try_from(length.checked_add(1)?).ok()?, 0];
    let inside = attribute
        .strip_prefix(&octets)
        .or_else(|| attribute.strip_prefix(&bits));
    let key = inside.filter(is_key).or(Some(attribute).filter(is_key));
    key.map(<[u8]>::to_vec)
}

/// `CKA_EC_PARAMS` for new keys, in the order in which they are tried.
#[must_use]
pub fn parameters(algorithm: KeyAlgorithm) -> &'static [&'static [u8]] {
    match algorithm {
        KeyAlgorithm::EcdsaP256 => &[P256],
        KeyAlgorithm::EcdsaP384 => &[P384],
        // The name of RFC 8410, and that of PKCS#11 v3.0 2.3.10.
        KeyAlgorithm::Ed25519 => &[ED25519, b"\x13\x0cedwards25519"],
    }
}

const OCTET_STRING: u8 = 4;
const BIT_STRING: u8 = 3;
/// 1.2.840.10045.3.1.7.
const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// 1.3.132.0.34.
const P384: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 0x22];
/// 1.3.101.112.
const ED25519: &[u8] = &[6, 3, 0x2b, 0x65, 0x70];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [(KeyAlgorithm, usize); 3] = [
        (KeyAlgorithm::EcdsaP256, 65),
        (KeyAlgorithm::EcdsaP384, 97),
        (KeyAlgorithm::Ed25519, 32),
    ];

    #[test]
    fn a_key_is_found_in_each_form_and_in_no_other() {
        for (algorithm, length) in ALL {
            let mut key = vec![7; length];
            key[0] = 4;
            let size = u8::try_from(length).unwrap();
            let octets = [&[4, size][..], &key].concat();
            let bits = [&[3, size + 1, 0][..], &key].concat();
            for form in [&key, &octets, &bits] {
                assert_eq!(of(form, algorithm).as_ref(), Some(&key));
                assert_eq!(of(&form[1..], algorithm), None);
                assert_eq!(of(&[form.as_slice(), &[0]].concat(), algorithm), None);
            }
            key[0] = 2;
            let compressed = of(&key, algorithm);
            assert_eq!(compressed.is_some(), algorithm == KeyAlgorithm::Ed25519);
        }
    }

    proptest! {
        #[test]
        fn whatever_a_library_says_a_key_has_its_length(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            for (algorithm, length) in ALL {
                if let Some(key) = of(&bytes, algorithm) {
                    prop_assert_eq!(key.len(), length);
                    prop_assert!(bytes.ends_with(&key));
                }
            }
        }
    }
}

//! Signatures of ECDSA: as tokens make them, and as certificates carry them.
//!
//! In: `r || s` in bytes of one length. Out: the SEQUENCE of two INTEGERs in DER. Whether a key made it is not known here.

/// `r || s` in DER; `None` when it is not of twice `length` bytes, or one of both is 0.
//= RFC 3279 2.2.3
//= PKCS#11 v3.0 2.3.1
#[must_use]
pub fn in_der(raw: &[u8], length: usize) -> Option<Vec<u8>> {
    if raw.len() != length.checked_mul(2)? {
        return None;
    }
    let (r, s) = raw.split_at_checked(length)?;
    let inside = [integer(r)?, integer(s)?].concat();
    tagged(SEQUENCE, &inside)
}

/// A positive number in the fewest bytes.
fn integer(bytes: &[u8]) -> Option<Vec<u8>> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = bytes.get(zeros..)?;
    let first = *digits.first()?;
    // A first bit would make it negative.
    let sign: &[u8] = if first & 0x80 == 0 { &[] } else { &[0] };
    tagged(INTEGER, &[sign, digits].concat())
}

/// Of less than 128 bytes, as these all are.
fn tagged(tag: u8, contents: &[u8]) -> Option<Vec<u8>> {
    let length = u8::try_from(contents.len()).ok()?;
    (length < 0x80).then(|| [&[tag, length], contents].concat())
}

const INTEGER: u8 = 2;
const SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use x509_cert::der::asn1::UintRef;
    use x509_cert::der::{Decode, Reader, SliceReader};

    use super::*;

    /// Two numbers out of DER, by a reader that is not ours.
    fn read(der: &[u8], length: usize) -> Vec<u8> {
        let mut reader = SliceReader::new(der).unwrap();
        let padded = |number: UintRef<'_>| {
            let bytes = number.as_bytes();
            [vec![0; length - bytes.len()], bytes.to_vec()].concat()
        };
        let both = reader.sequence(|reader| {
            let r = padded(UintRef::decode(reader)?);
            let s = padded(UintRef::decode(reader)?);
            Ok::<_, x509_cert::der::Error>([r, s].concat())
        });
        reader.finish().unwrap();
        both.unwrap()
    }

    proptest! {
        #[test]
        fn numbers_are_the_same_in_der(
            (length, mut raw) in prop_oneof![Just(32_usize), Just(48)]
                .prop_flat_map(|n| (Just(n), proptest::collection::vec(any::<u8>(), 2 * n))),
            zeros in 0_usize..31,
        ) {
            raw[..zeros].fill(0);
            raw[length - 1] |= 1;
            raw[2 * length - 1] |= 1;
            let der = in_der(&raw, length).unwrap();
            prop_assert_eq!(read(&der, length), raw);
        }

        #[test]
        fn another_length_is_no_signature(raw in proptest::collection::vec(1_u8.., 0..200)) {
            for length in [32, 48] {
                prop_assert_eq!(in_der(&raw, length).is_some(), raw.len() == 2 * length);
            }
        }
    }

    #[test]
    fn nought_is_no_signature_and_one_is() {
        for (place, good) in [(31, false), (63, false)] {
            let mut raw = [0; 64];
            raw[place] = 1;
            assert_eq!(in_der(&raw, 32).is_some(), good);
        }
        let mut raw = [0; 64];
        (raw[31], raw[63]) = (1, 0x80);
        let der = [0x30, 7, 2, 1, 1, 2, 2, 0, 0x80];
        assert_eq!(in_der(&raw, 32).as_deref(), Some(&der[..]));
    }
}

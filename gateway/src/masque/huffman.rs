//! The Huffman code of HTTP fields (RFC 7541 5.2 and appendix B).
//!
//! In: coded bytes. Out: the octets, or that they are no code.
//! The code is canonical: the lengths of the codes say everything.

use std::sync::LazyLock;

/// The length in bits of the code of each octet, in rows of 16, and of the end of string (RFC 7541 appendix B).
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
    30,
];
/// The longest code.
const LONGEST: usize = 30;
/// Not an octet: the end of string, which must not be sent.
const END: u16 = 256;

/// For each length: the first code, and where its symbols begin among all of them in order.
struct Canonical {
    first: [u32; LONGEST + 1],
    count: [u32; LONGEST + 1],
    symbols: Vec<u16>,
}

static CANONICAL: LazyLock<Canonical> = LazyLock::new(|| {
    let mut count = [0_u32; LONGEST + 1];
    let mut symbols = Vec::with_capacity(LENGTHS.len());
    let mut first = [0_u32; LONGEST + 1];
    let mut code = 0_u32;
    for length in 1..=LONGEST {
        code <<= 1;
        let of_length = (0_u16..)
            .zip(LENGTHS)
            .filter(|(_, of)| usize::from(*of) == length);
        let before = symbols.len();
        symbols.extend(of_length.map(|(symbol, _)| symbol));
        let here = u32::try_from(symbols.len() - before).unwrap_or(0);
        if let (Some(count), Some(first)) = (count.get_mut(length), first.get_mut(length)) {
            (*count, *first) = (here, code);
        }
        code += here;
    }
    Canonical {
        first,
        count,
        symbols,
    }
});

/// Decodes; nothing when the bytes hold the end of string, or end in anything but fewer than eight ones.
#[must_use]
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let table = &*CANONICAL;
    // The shortest code has five bits.
    let mut out = Vec::with_capacity(coded.len() * 8 / 5);
    let (mut code, mut length, mut index) = (0_u32, 0_usize, 0_u32);
    for bit in coded
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| (byte >> at) & 1))
    {
        code = (code << 1) | u32::from(bit);
        length += 1;
        let (first, count) = (*table.first.get(length)?, *table.count.get(length)?);
        if code < first + count {
            let symbol = *table
                .symbols
                .get(usize::try_from(index + code - first).ok()?)?;
            if symbol == END {
                return None;
            }
            out.push(u8::try_from(symbol).ok()?);
            (code, length, index) = (0, 0, 0);
        } else {
            index += count;
        }
    }
    let padding = length < 8 && code == (1_u32 << length) - 1;
    padding.then_some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The other direction, which we never send.
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut codes = [(0_u32, 0_u8); 257];
        let table = &*CANONICAL;
        let mut at = 0;
        for length in 1..=LONGEST {
            for n in 0..table.count[length] {
                codes[usize::from(table.symbols[at])] =
                    (table.first[length] + n, u8::try_from(length).unwrap());
                at += 1;
            }
        }
        let mut bits = Vec::new();
        for byte in text {
            let (code, length) = codes[usize::from(*byte)];
            bits.extend((0..length).rev().map(|at| (code >> at) & 1 == 1));
        }
        while bits.len() % 8 != 0 {
            bits.push(true);
        }
        let byte = |bits: &[bool]| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        bits.chunks(8).map(byte).collect()
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.map(byte).collect()
    }

    //= RFC 7541 C.4 and C.6
    #[test]
    fn the_examples_of_the_standard() {
        let examples = [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("25a849e95bb8e8b4bf", "custom-value"),
            ("6402", "302"),
            ("aec3771a4b", "private"),
            (
                "d07abe941054d444a8200595040b8166e082a62d1bff",
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            (
                "9d29ad171863c78f0b97c8e9ae82ae43d3",
                "https://www.example.com",
            ),
            ("640eff", "307"),
            ("9bd9ab", "gzip"),
            (
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ),
        ];
        for (coded, text) in examples {
            assert_eq!(decode(&hex(coded)).unwrap(), text.as_bytes());
            assert_eq!(encode(text.as_bytes()), hex(coded));
        }
    }

    #[test]
    fn the_code_is_complete_and_ends_with_ones() {
        let table = &*CANONICAL;
        assert_eq!(table.symbols.len(), 257);
        assert_eq!(table.first[LONGEST] + table.count[LONGEST], 1 << LONGEST);
        assert_eq!(*table.symbols.last().unwrap(), END);
    }

    #[test]
    fn padding_is_short_and_of_ones() {
        assert_eq!(decode(&[0b0001_1111]).as_deref(), Some(&b"a"[..]));
        assert_eq!(decode(&[0b0001_1110]), None, "padding with a zero");
        assert_eq!(decode(&[0b0001_1111, 0xff]), None, "eight bits and more");
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff]), None, "the end of string");
        assert_eq!(decode(&[]).as_deref(), Some(&[][..]));
    }

    proptest! {
        #[test]
        fn what_is_coded_is_decoded(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(&encode(&text)), Some(text));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(coded in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(text) = decode(&coded) {
                prop_assert_eq!(encode(&text), coded);
            }
        }
    }
}

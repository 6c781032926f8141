//! Eight bytes at a time: what most values need to be told right.
//!
//! In: bytes. Out: whether all of them are of a kind. Knows nothing of values.

/// What one look at a value tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Glance {
    /// All bytes are printable ASCII: 0x20 to 0x7E.
    pub(super) printable: bool,
    /// One byte at least is a backslash.
    pub(super) divided: bool,
}

impl Glance {
    pub(super) fn at(bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        let (mut odd, mut backslash) = (0_u64, 0_u64);
        for word in words {
            let word = u64::from_le_bytes(*word);
            odd |= unprintable(word);
            backslash |= zero(word ^ BACKSLASHES);
        }
        let last = word(rest);
        odd |= unprintable(last);
        backslash |= zero(last ^ BACKSLASHES);
        Self {
            printable: odd & HIGH == 0,
            divided: backslash != 0,
        }
    }
}

/// The high bit of at least one byte is set if a byte is not printable, and of none otherwise.
/// A borrow or carry comes only from a byte that is not printable itself.
fn unprintable(word: u64) -> u64 {
    word | word.wrapping_sub(SPACES) | word.wrapping_add(ONES)
}

/// Not zero if a byte is zero.
fn zero(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGH
}

/// The high bits of exactly the bytes that are this one.
pub(super) fn equal(word: u64, byte: u8) -> u64 {
    let other = word ^ ONES.wrapping_mul(u64::from(byte));
    !((other & LOW).wrapping_add(LOW) | other | LOW)
}

/// Up to seven bytes, filled up with spaces. The first is the lowest.
pub(super) fn word(bytes: &[u8]) -> u64 {
    let double = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
    let word = match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        // They overlap, and are the same where they do.
        (Some(first), Some(last)) => {
            double(first) | shift(double(last), bytes.len().saturating_sub(4))
        }
        (_, _) => match *bytes {
            [a] => u64::from(a),
            [a, b] => u64::from(u16::from_le_bytes([a, b])),
            [a, b, c] => u64::from(u32::from_le_bytes([a, b, c, 0])),
            _ => 0,
        },
    };
    word | shift(SPACES, bytes.len())
}

/// By so many bytes, up to seven.
pub(super) fn shift(word: u64, bytes: usize) -> u64 {
    word << ((bytes & 7) << 3)
}

/// Whether no byte is a control character but those of text in several lines (PS3.5 6.1.3): TAB, LF, FF and CR.
pub(super) fn is_lines(bytes: &[u8]) -> bool {
    all(bytes, |byte| {
        u8::from(byte < b' ') & u8::from(!is_line_control(byte)) | u8::from(byte == DELETE)
    })
}

/// Whether no byte is a control character.
pub(super) fn is_line(bytes: &[u8]) -> bool {
    all(bytes, |byte| {
        u8::from(byte < b' ') | u8::from(byte == DELETE)
    })
}

fn all(bytes: &[u8], odd: impl Fn(u8) -> u8) -> bool {
    bytes.iter().fold(0, |found, byte| found | odd(*byte)) == 0
}

pub(super) fn is_line_control(byte: u8) -> bool {
    (byte == b'\t') | (byte == b'\n') | (byte == FORM_FEED) | (byte == b'\r')
}

pub(super) fn is_control(byte: u8) -> bool {
    byte < b' ' || byte == DELETE
}

/// How often a byte occurs that is no space.
pub(super) fn count(bytes: &[u8], wanted: u8) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut found = equal(word(rest), wanted).count_ones();
    for word in words {
        let here = equal(u64::from_le_bytes(*word), wanted).count_ones();
        found = found.saturating_add(here);
    }
    found
}

/// Without spaces behind it.
pub(super) fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b' '] = bytes {
        bytes = rest;
    }
    bytes
}

/// Without spaces around it.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = bytes {
        bytes = rest;
    }
    trim_end(bytes)
}

pub(super) const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;
const FORM_FEED: u8 = 0x0c;
/// The highest bit of every byte.
pub(super) const HIGH: u64 = 0x8080_8080_8080_8080;
const SPACES: u64 = 0x2020_2020_2020_2020;
const LOW: u64 = !HIGH;
const BACKSLASHES: u64 = 0x5c5c_5c5c_5c5c_5c5c;
const ONES: u64 = 0x0101_0101_0101_0101;

#[cfg(test)]
mod tests {
    use super::*;

    fn is_printable(bytes: &[u8]) -> bool {
        Glance::at(bytes).printable
    }

    #[test]
    fn every_byte_at_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..20 {
                let mut bytes = [b'a'; 20];
                bytes[place] = byte;
                let printable = (b' '..=b'~').contains(&byte);
                for end in place + 1..=20 {
                    let glance = Glance::at(&bytes[..end]);
                    assert_eq!(glance.printable, printable, "{byte:02x} at {place}");
                    assert_eq!(glance.divided, byte == b'\\', "{byte:02x} at {place}");
                    let backslashes = u32::from(byte == b'\\');
                    assert_eq!(count(&bytes[..end], b'\\'), backslashes);
                }
                let lines = !is_control(byte) || b"\t\n\r\x0c".contains(&byte);
                assert_eq!(is_lines(&bytes), lines, "{byte:02x}");
                assert_eq!(is_line(&bytes), !is_control(byte), "{byte:02x}");
            }
        }
        for pair in 0..=u16::MAX {
            let bytes = pair.to_le_bytes();
            let printable = bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
            assert_eq!(is_printable(&bytes), printable, "{bytes:02x?}");
            let backslashes = bytes.iter().filter(|byte| **byte == b'\\').count();
            assert_eq!(count(&bytes, b'\\'), u32::try_from(backslashes).unwrap());
            assert_eq!(Glance::at(&bytes).divided, backslashes > 0);
        }
        assert!(is_printable(b"") && is_lines(b""));
    }

    #[test]
    fn few_bytes_are_a_word() {
        for (bytes, expected) in [
            (&b""[..], b"        "),
            (b"a", b"a       "),
            (b"ab", b"ab      "),
            (b"abc", b"abc     "),
            (b"abcd", b"abcd    "),
            (b"abcde", b"abcde   "),
            (b"abcdef", b"abcdef  "),
            (b"abcdefg", b"abcdefg "),
        ] {
            assert_eq!(word(bytes).to_le_bytes(), *expected);
        }
    }
}

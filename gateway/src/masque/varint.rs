//! Integers of QUIC: one, two, four or eight bytes (RFC 9000 16).
//!
//! In: bytes. Out: a number and how many bytes it took.

/// The largest number that can be written.
pub const MAX: u64 = (1 << 62) - 1;

/// Reads a number from the beginning; nothing when it is not there as a whole.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = bytes.first()?;
    let number = |length: usize| {
        let tail = bytes.get(1..length)?;
        let head = u64::from(first & 0x3f);
        let value = tail
            .iter()
            .fold(head, |value, byte| (value << 8) | u64::from(*byte));
        Some((value, length))
    };
    number(1 << (first >> 6))
}

/// Takes a number off the beginning.
#[must_use]
pub fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (value, length) = read(bytes)?;
    *bytes = bytes.get(length..)?;
    Some(value)
}

/// Writes a number as short as it can be. What is above [`MAX`] has no form; its upper two bits are lost.
pub fn write(value: u64, out: &mut Vec<u8>) {
    let (length, mark) = match value {
        0..=0x3f => (1, 0),
        0x40..=0x3fff => (2, 0x40),
        0x4000..=0x3fff_ffff => (4, 0x80),
        _ => (8, 0xc0),
    };
    let mut bytes = (value & MAX).to_be_bytes();
    if let Some((first, _)) = bytes
        .get_mut(8 - length..)
        .and_then(|kept| kept.split_first_mut())
    {
        *first |= mark;
    }
    out.extend(bytes.iter().skip(8 - length));
}

/// How many bytes [`write()`] takes.
#[must_use]
pub const fn length(value: u64) -> usize {
    match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    //= RFC 9000 A.1
    const EXAMPLES: [(&[u8], u64); 5] = [
        (
            &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c],
            151_288_809_941_952_652,
        ),
        (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
        (&[0x7b, 0xbd], 15_293),
        (&[0x25], 37),
        (&[0x40, 0x25], 37),
    ];

    #[test]
    fn the_examples_of_the_standard() {
        for (bytes, value) in EXAMPLES {
            assert_eq!(read(bytes), Some((value, bytes.len())));
            for cut in 0..bytes.len() {
                assert_eq!(read(&bytes[..cut]), None);
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in 0..=MAX, tail in any::<[u8; 2]>()) {
            let mut bytes = Vec::new();
            write(value, &mut bytes);
            prop_assert_eq!(bytes.len(), length(value));
            bytes.extend(tail);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take(&mut rest), Some(value));
            prop_assert_eq!(rest, tail);
        }
    }
}

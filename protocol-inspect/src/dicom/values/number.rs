//! Numbers and ages as text: DS, IS, AS (PS3.5 table 6.2-1).
//!
//! In: one value without padding. Out: its flaws. Knows nothing of what the number is for.

use super::ascii::trim;
use super::flaw::{Flaw, Flaws};

/// DS: a decimal number of at most 16 bytes.
pub(super) fn decimal(value: &[u8]) -> Flaws {
    let number = trim(value);
    if !is_decimal(number) {
        return Flaws::of(Flaw::NotNumber);
    }
    too_long(value, MAX_DECIMAL)
}

/// IS: an integer of at most 12 bytes that 32 bits with sign can hold.
pub(super) fn integer(value: &[u8]) -> Flaws {
    let number = trim(value);
    let Some(integer) = read(number) else {
        let form = is_decimal(number);
        return Flaws::of(if form {
            Flaw::IntegerForm
        } else {
            Flaw::NotInteger
        });
    };
    let mut flaws = too_long(value, MAX_INTEGER);
    if i32::try_from(integer).is_err() {
        flaws.add(Flaw::IntegerRange);
    }
    flaws
}

/// AS: three digits and a unit.
pub(super) fn age(value: &[u8]) -> Flaws {
    match value {
        [a, b, c, b'D' | b'W' | b'M' | b'Y'] if [a, b, c].iter().all(|d| d.is_ascii_digit()) => {
            Flaws::default()
        }
        _ => Flaws::of(Flaw::Age),
    }
}

fn too_long(value: &[u8], max: usize) -> Flaws {
    if value.len() > max {
        return Flaws::of(Flaw::TooLong);
    }
    Flaws::default()
}

/// Sign, digits, fraction and exponent.
fn is_decimal(number: &[u8]) -> bool {
    let (whole, rest) = digits(unsigned(number));
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => digits(rest),
        _ => (0, rest),
    };
    if whole == 0 && fraction == 0 {
        return false;
    }
    match rest {
        [] => true,
        [b'e' | b'E', exponent @ ..] => {
            let (exponent, rest) = digits(unsigned(exponent));
            exponent > 0 && rest.is_empty()
        }
        _ => false,
    }
}

fn read(number: &[u8]) -> Option<i64> {
    let bare = unsigned(number);
    if bare.is_empty() {
        return None;
    }
    let mut value = 0_i64;
    for byte in bare {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.saturating_mul(10).saturating_add(i64::from(digit));
    }
    let negative = number.first() == Some(&b'-');
    Some(if negative {
        value.saturating_neg()
    } else {
        value
    })
}

fn unsigned(number: &[u8]) -> &[u8] {
    match number {
        [b'+' | b'-', rest @ ..] => rest,
        _ => number,
    }
}

/// How many digits lead, and what is behind them.
fn digits(bytes: &[u8]) -> (usize, &[u8]) {
    let mut rest = bytes;
    while let [b'0'..=b'9', behind @ ..] = rest {
        rest = behind;
    }
    (bytes.len().saturating_sub(rest.len()), rest)
}

const MAX_DECIMAL: usize = 16;
const MAX_INTEGER: usize = 12;

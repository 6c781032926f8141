//! Whether a value is one of its primitive data type.
//!
//! In: the bytes between two delimiters, neither empty nor the null. Out: nothing, or what is wrong and how much it weighs.
//! What is plainly the right thing in a wrong spelling weighs less than what cannot be understood.

use super::super::finding::Weight;
use super::super::grammar::Primitive;
use super::super::timestamp;

/// What is wrong and how much.
type Complaint = (Weight, &'static str);

/// Judges one value. Strings, text and codes of a site may be anything.
pub(super) fn judge(primitive: Primitive, value: &[u8]) -> Result<(), Complaint> {
    let judge: fn(&[u8]) -> Result<(), Complaint> = match primitive {
        Primitive::Nm => number,
        Primitive::Si => sequence_number,
        Primitive::Dt => date,
        Primitive::Tm => time,
        Primitive::Dtm | Primitive::Ts => time_stamp,
        Primitive::Snm => digits,
        Primitive::St
        | Primitive::Tx
        | Primitive::Ft
        | Primitive::Id
        | Primitive::Is
        | Primitive::Gts
        | Primitive::Tn => return Ok(()),
    };
    judge(value).map_err(|complaint| {
        let trimmed = value.trim_ascii();
        if trimmed.len() < value.len() && (trimmed.is_empty() || judge(trimmed).is_ok()) {
            (Weight::Strict, "has blanks around it")
        } else {
            complaint
        }
    })
}

/// Whether a value is plainly right. What is not may still be.
#[inline]
pub(super) fn is_right(primitive: Primitive, value: &[u8]) -> bool {
    match primitive {
        Primitive::Nm => is_decimal(value),
        Primitive::Si => value.iter().all(u8::is_ascii_digit),
        Primitive::Dtm | Primitive::Ts => timestamp::judge(value).is_ok(),
        Primitive::Dt
        | Primitive::Tm
        | Primitive::Snm
        | Primitive::St
        | Primitive::Tx
        | Primitive::Ft
        | Primitive::Id
        | Primitive::Is
        | Primitive::Gts
        | Primitive::Tn => judge(primitive, value).is_ok(),
    }
}

//= HL7 v2.5.1 2.A.47
fn number(value: &[u8]) -> Result<(), Complaint> {
    if is_decimal(value) {
        return Ok(());
    }
    let exponent = value.iter().position(|b| matches!(b, b'e' | b'E'));
    if let Some((mantissa, [_, power @ ..])) = exponent.and_then(|at| value.split_at_checked(at))
        && is_decimal(mantissa)
        && is_decimal(power)
        && !power.contains(&b'.')
    {
        return Err((Weight::Strict, "is a number with an exponent"));
    }
    Err((Weight::Content, "is not a number"))
}

fn is_decimal(value: &[u8]) -> bool {
    let unsigned = match value {
        [b'+' | b'-', rest @ ..] => rest,
        all => all,
    };
    let (mut digits, mut points) = (0_usize, 0_usize);
    for byte in unsigned {
        match byte {
            b'0'..=b'9' => digits = digits.saturating_add(1),
            b'.' => points = points.saturating_add(1),
            _ => return false,
        }
    }
    digits > 0 && points <= 1
}

//= HL7 v2.5.1 2.A.70
fn sequence_number(value: &[u8]) -> Result<(), Complaint> {
    if value.iter().all(u8::is_ascii_digit) {
        Ok(())
    } else {
        Err((Weight::Content, "is not a sequence number"))
    }
}

//= HL7 v2.6 2.A.71
fn digits(value: &[u8]) -> Result<(), Complaint> {
    let unsigned = value.strip_prefix(b"+").unwrap_or(value);
    if unsigned.iter().all(u8::is_ascii_digit) {
        Ok(())
    } else {
        Err((Weight::Strict, "is not a string of digits"))
    }
}

//= HL7 v2.5.1 2.A.21
fn date(value: &[u8]) -> Result<(), Complaint> {
    if !value.iter().all(u8::is_ascii_digit) || !matches!(value.len(), 4 | 6 | 8) {
        return Err(match time_stamp(value) {
            Ok(()) => (Weight::Strict, "has a time, and is a date only"),
            Err((weight, _)) => (weight, "is not a date"),
        });
    }
    timestamp::judge(value).map_err(|detail| (Weight::Content, detail))
}

/// `HH[MM[SS[.S[S[S[S]]]]]][+/-ZZZZ]`: a time stamp without its date.
//= HL7 v2.5.1 2.A.75
fn time(value: &[u8]) -> Result<(), Complaint> {
    let mut stamp = [0_u8; LONGEST_STAMP];
    let whole = DAY.len().saturating_add(value.len());
    let Some((head, tail)) = stamp
        .get_mut(..whole)
        .and_then(|room| room.split_at_mut_checked(DAY.len()))
    else {
        return Err((Weight::Content, "is not a time of day"));
    };
    head.copy_from_slice(DAY);
    tail.copy_from_slice(value);
    let begins_with_hours = value.iter().take_while(|b| b.is_ascii_digit()).count() >= 2;
    if !begins_with_hours {
        return Err((Weight::Content, "is not a time of day"));
    }
    time_stamp(stamp.get(..whole).unwrap_or_default())
        .map_err(|(weight, _)| (weight, "is not a time of day"))
}

//= HL7 v2.5.1 2.A.22
fn time_stamp(value: &[u8]) -> Result<(), Complaint> {
    let Err(detail) = timestamp::judge(value) else {
        return Ok(());
    };
    // Microseconds are everywhere; only the letter of the standard is against them.
    if let Some(at) = value.iter().position(|b| *b == b'.')
        && let Some((whole, [_, fraction @ ..])) = value.split_at_checked(at)
    {
        let length = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        let zone = fraction.get(length..).unwrap_or_default();
        if whole.len() == 14
            && (1..=9).contains(&length)
            && timestamp::judge(whole).is_ok()
            && (zone.is_empty() || is_zone(zone))
        {
            return Err((Weight::Strict, "has a wrong fraction of a second"));
        }
    }
    Err((Weight::Content, detail))
}

fn is_zone(zone: &[u8]) -> bool {
    matches!(zone, [b'+' | b'-', digits @ ..] if digits.len() == 4 && digits.iter().all(u8::is_ascii_digit))
}

/// Some day, to make a time stamp of a time.
const DAY: &[u8; 8] = b"20000101";

/// A day, a time with nine decimals and a zone have 28 bytes.
const LONGEST_STAMP: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use Primitive::{Dt, Dtm, Gts, Id, Is, Nm, Si, Snm, St, Tm};

    type Case = (
        Primitive,
        &'static [&'static str],
        &'static [&'static str],
        &'static [&'static str],
    );

    /// What is right, wrong by the letter only, and wrong beyond doubt.
    const CASES: &[Case] = &[
        (
            Nm,
            &["0", "-1", "+1.5", ".5", "5.", "007", "72.25"],
            &[" 7", "7 ", " ", "1e5", "1.5E-3"],
            &[
                "a", "1,5", "1.2.3", ".", "-", "--1", "<5", "1 2", "1e", "e5", "0x1", "1e.5",
                "\u{661}",
            ],
        ),
        (Si, &["0", "1", "00012"], &[" 1"], &["-1", "+1", "1.0", "a"]),
        (
            Dt,
            &["2026", "202601", "20260131", "20240229"],
            &["20260131 ", "20260131120000"],
            &[
                "20260132",
                "20261301",
                "20250229",
                "2026-01-31",
                "1",
                "26",
                "00000000",
                "2026013",
            ],
        ),
        (
            Tm,
            &[
                "12",
                "1230",
                "123059",
                "235959.1234",
                "1200+0100",
                "000000-0330",
            ],
            &["120000.123456", "1200 "],
            &[
                "24",
                "1260",
                "12:30",
                "1",
                "120000.",
                "+0100",
                "noon",
                "12000",
                "120000.1234567890123456789",
            ],
        ),
        (
            Dtm,
            &["2026", "20260101120000.1234+0100", "202601011200"],
            &["20260101120000.123456", " 2026"],
            &[
                "20260101250000",
                "2026-01-01T12:00:00",
                "20260101120000.+0100",
                "20260101120000.123456+1",
                "x",
            ],
        ),
        (Snm, &["+33123", "0"], &["12a"], &[]),
        (St, &["anything", " "], &[], &[]),
        (Is, &["anything"], &[], &[]),
        (Id, &["anything"], &[], &[]),
        (Gts, &["anything"], &[], &[]),
    ];

    #[test]
    fn values_are_of_their_type() {
        let judged = |primitive, value: &str| judge(primitive, value.as_bytes()).map_err(|c| c.0);
        for &(primitive, right, letter, wrong) in CASES {
            for value in right {
                assert!(is_right(primitive, value.as_bytes()), "{value}");
                assert_eq!(judged(primitive, value), Ok(()), "{primitive:?} {value}");
            }
            for value in letter.iter().chain(wrong) {
                assert!(!is_right(primitive, value.as_bytes()), "{value}");
            }
            for value in letter {
                assert_eq!(
                    judged(primitive, value),
                    Err(Weight::Strict),
                    "{primitive:?} {value}"
                );
            }
            for value in wrong {
                assert_eq!(
                    judged(primitive, value),
                    Err(Weight::Content),
                    "{primitive:?} {value}"
                );
            }
        }
    }
}

//! Whether a value is a time stamp by its form and by the calendar.

/// Why it is none.
pub(crate) type Complaint = &'static str;

/// Judges `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]`.
//= HL7 v2.5.1 2.A.22
pub(crate) fn judge(value: &[u8]) -> Result<(), Complaint> {
    let (local, zone) = match value.iter().position(|b| matches!(b, b'+' | b'-')) {
        Some(at) => value.split_at(at),
        None => (value, &[][..]),
    };
    let (digits, fraction) = match local.iter().position(|b| *b == b'.') {
        Some(at) => local.split_at(at),
        None => (local, &[][..]),
    };
    let parts = [
        number(digits, 0, 4),
        number(digits, 4, 2),
        number(digits, 6, 2),
        number(digits, 8, 2),
        number(digits, 10, 2),
        number(digits, 12, 2),
    ];
    if !matches!(digits.len(), 4 | 6 | 8 | 10 | 12 | 14) || !digits.iter().all(u8::is_ascii_digit) {
        return Err("is not a time stamp");
    }
    let [year, month, day, hour, minute, second] = parts;
    let year = year.unwrap_or(0);
    let month = month.unwrap_or(1);
    if year == 0
        || !(1..=12).contains(&month)
        || !(1..=days(year, month)).contains(&day.unwrap_or(1))
    {
        return Err("is not a date of the calendar");
    }
    if hour.unwrap_or(0) > 23 || minute.unwrap_or(0) > 59 || second.unwrap_or(0) > 59 {
        return Err("is not a time of day");
    }
    match fraction {
        [] => {}
        [b'.', decimals @ ..]
            if digits.len() == 14
                && (1..=4).contains(&decimals.len())
                && decimals.iter().all(u8::is_ascii_digit) => {}
        _ => return Err("has a wrong fraction of a second"),
    }
    match zone {
        [] => Ok(()),
        [_, offset @ ..] if offset.len() != 4 || !offset.iter().all(u8::is_ascii_digit) => {
            Err("is not a time stamp")
        }
        [_, offset @ ..]
            if number(offset, 0, 2).is_some_and(|h| h <= 23)
                && number(offset, 2, 2).is_some_and(|m| m <= 59) =>
        {
            Ok(())
        }
        _ => Err("has a wrong time zone"),
    }
}

fn number(digits: &[u8], from: usize, length: usize) -> Option<u32> {
    let digits = digits.get(from..from.checked_add(length)?)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_a_twin() {
        for (good, bad) in [
            ("2026", "226"),
            ("202602", "202613"),
            ("20240229", "20250229"),
            ("2026010123", "2026010124"),
            ("202601012359", "202601012360"),
            ("20260101235959", "20260101235960"),
            ("20260101235959.1234", "20260101235959.12345"),
            ("20260101235959.1", "20260101235959."),
            ("20260101235959", "202601012359.5"),
            ("20260101+0530", "20260101+05300"),
            ("20260101-0100", "20260101-01:0"),
            ("20260101", "2026-01-01"),
            ("20260101", "2026010"),
            ("20260101", "00000000"),
            ("20260101", ""),
            ("20260101", "2026010\u{b9}"),
        ] {
            assert_eq!(judge(good.as_bytes()), Ok(()), "{good}");
            assert!(judge(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}

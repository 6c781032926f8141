//! Whether a value is a time stamp by its form and by the calendar, and whether it is near the present.
//!
//! The present is an argument, in seconds since 1970: this file has no clock.

/// Why it is none.
pub(crate) type Complaint = &'static str;

/// Judges `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]`.
//= HL7 v2.5.1 2.A.22
pub(crate) fn judge(value: &[u8]) -> Result<(), Complaint> {
    if is_plain(value) {
        return Ok(());
    }
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

/// Whether it is a date, or a date with a time to the minute or second, that every month has: the most common of all.
/// What is not may still be right.
#[inline]
fn is_plain(value: &[u8]) -> bool {
    let pair = |at: usize| match value.get(at..).and_then(<[u8]>::first_chunk) {
        Some([tens @ b'0'..=b'9', ones @ b'0'..=b'9']) => tens
            .wrapping_sub(b'0')
            .wrapping_mul(10)
            .wrapping_add(ones.wrapping_sub(b'0')),
        Some(_) | None => u8::MAX,
    };
    let date = || {
        let year = (pair(0), pair(2));
        (1..100).contains(&year.0)
            && year.1 < 100
            && (1..=12).contains(&pair(4))
            && (1..=28).contains(&pair(6))
    };
    match value.len() {
        8 => date(),
        12 => date() && pair(8) < 24 && pair(10) < 60,
        14 => date() && pair(8) < 24 && pair(10) < 60 && pair(12) < 60,
        _ => false,
    }
}

/// Whether both are time stamps, and the first begins after the second has ended.
/// A time without zone is compared with its like only.
pub(crate) fn is_after(first: &[u8], second: &[u8]) -> bool {
    if judge(first).is_err() || judge(second).is_err() {
        return false;
    }
    match (span(first), span(second)) {
        (Some((begin, _, a)), Some((_, end, b))) => a == b && begin >= end,
        (_, _) => false,
    }
}

/// Why a time of sending is not near the present, if it is not. Devices send late what they could not send in time,
/// so the past is wide; a time without zone may be that of any zone.
//= HL7 v2.5.1 2.15.9.7
pub(crate) fn far_from(value: &[u8], now: i64) -> Option<Complaint> {
    let side = side(span(value)?, now, FUTURE, PAST)?;
    Some(match side {
        Side::Future => "is in the future",
        Side::Past => "is more than seven days ago",
    })
}

/// Why a time of sending is not within so many seconds of the present. What cannot be read is not.
pub(crate) fn outside(value: &[u8], now: i64, window: u32) -> Option<Complaint> {
    let Some(span) = span(value) else {
        return Some("cannot be compared with the present");
    };
    let window = i64::from(window);
    Some(match side(span, now, window, window)? {
        Side::Future => "is further in the future than the rule allows",
        Side::Past => "is longer ago than the rule allows",
    })
}

/// On which side of the present.
enum Side {
    Future,
    Past,
}

/// On which side of a window around the present all of a span is; `None` if a part is inside.
fn side((first, last, zoned): (i64, i64, bool), now: i64, future: i64, past: i64) -> Option<Side> {
    let play = if zoned { 0 } else { WIDEST_ZONE };
    if first > now.saturating_add(future).saturating_add(play) {
        return Some(Side::Future);
    }
    (last < now.saturating_sub(past).saturating_sub(play)).then_some(Side::Past)
}

/// The first second and the last that a well-formed time stamp can mean, and whether it names its zone.
fn span(value: &[u8]) -> Option<(i64, i64, bool)> {
    judge(value).ok()?;
    let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
    let part = |from, length, least| number(value, from, length).unwrap_or(least);
    let day = |from, least| {
        if digits > from {
            part(from, 2, least)
        } else {
            least
        }
    };
    let date = days_since_1970(part(0, 4, 1), day(4, 1), day(6, 1));
    let clock = [(8, 3_600), (10, 60), (12, 1)]
        .into_iter()
        .map(|(from, unit)| i64::from(day(from, 0)).saturating_mul(unit))
        .fold(0_i64, i64::saturating_add);
    let length: i64 = match digits {
        4 => 366 * DAY,
        6 => 31 * DAY,
        8 => DAY,
        10 => 3_600,
        12 => 60,
        _ => 1,
    };
    let sign = value.iter().position(|b| matches!(b, b'+' | b'-'));
    let offset = sign.map_or(0, |at| {
        let hours = i64::from(part(at.saturating_add(1), 2, 0));
        let minutes = i64::from(part(at.saturating_add(3), 2, 0));
        let ahead = hours
            .saturating_mul(3_600)
            .saturating_add(minutes.saturating_mul(60));
        if value.get(at) == Some(&b'-') {
            ahead.saturating_neg()
        } else {
            ahead
        }
    });
    let first = date
        .saturating_mul(DAY)
        .saturating_add(clock)
        .saturating_sub(offset);
    Some((first, first.saturating_add(length), sign.is_some()))
}

/// Days from 1 January 1970 in the Gregorian calendar.
fn days_since_1970(year: u32, month: u32, day: u32) -> i64 {
    let before = i64::from(year).saturating_sub(1);
    let leap = [(4, 1), (100, -1), (400, 1)]
        .into_iter()
        .map(|(every, sign): (i64, i64)| before.div_euclid(every).saturating_mul(sign))
        .fold(0_i64, i64::saturating_add);
    let months = (1..month)
        .map(|month| i64::from(days(year, month)))
        .fold(0_i64, i64::saturating_add);
    before
        .saturating_mul(365)
        .saturating_add(leap)
        .saturating_add(months)
        .saturating_add(i64::from(day))
        .saturating_sub(FIRST_OF_1970)
}

fn number(digits: &[u8], from: usize, length: usize) -> Option<u32> {
    let digits = digits.get(from..from.checked_add(length)?)?;
    digits.iter().try_fold(0_u32, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| byte.wrapping_sub(b'0'))?;
        number.checked_mul(10)?.checked_add(u32::from(digit))
    })
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

/// In seconds.
const DAY: i64 = 86_400;
/// 1 January 1970, counted from the day before 1 January of year 1.
const FIRST_OF_1970: i64 = 719_163;
/// How far the clock of a sender may be ahead, in seconds.
const FUTURE: i64 = 15 * 60;
/// How late a message may be sent, in seconds.
const PAST: i64 = 7 * DAY;
/// The widest offset of a zone that is in use, in seconds.
const WIDEST_ZONE: i64 = 14 * 3_600;

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

    #[test]
    fn each_far_time_has_a_near_twin() {
        // 2026-03-01 12:00:00 UTC.
        let now = 1_772_366_400;
        assert_eq!(span(b"19700101000000+0000"), Some((0, 1, true)));
        assert_eq!(span(b"20260301120000Z"), None);
        assert_eq!(span(b"20260301120000+0000"), Some((now, now + 1, true)));
        assert_eq!(span(b"202603011200"), Some((now, now + 60, false)));
        for (near, far) in [
            ("20260301121500+0000", "20260301121501+0000"),
            ("20260301141500+0200", "20260301141501+0200"),
            ("20260301014500-1030", "20260301014501-1030"),
            ("20260302021500", "20260302021501"),
            ("20260222120000+0000", "20260222115958+0000"),
            ("20260221220000", "20260221215958"),
            ("20260221", "20260220"),
            ("20260302", "20260303"),
            ("2026", "2025"),
            ("202603", "202604"),
            ("202602", "202601"),
        ] {
            assert_eq!(far_from(near.as_bytes(), now), None, "{near}");
            assert!(far_from(far.as_bytes(), now).is_some(), "{far}");
        }
    }

    #[test]
    fn a_window_has_an_inside_and_two_outsides() {
        let now = 1_772_366_400;
        for (inside, out) in [
            ("20260301121000+0000", "20260301121001+0000"),
            ("20260301115000+0000", "20260301114958+0000"),
            // Without a zone it may be that of any.
            ("20260302021000", "20260302021001"),
            ("20260301", "not a time"),
        ] {
            assert_eq!(outside(inside.as_bytes(), now, 600), None, "{inside}");
            assert!(outside(out.as_bytes(), now, 600).is_some(), "{out}");
        }
    }
}

//! Dates and times: DA, TM, DT (PS3.5 table 6.2-1), and ranges of them in queries (PS3.4 C.2.2.2.5).
//!
//! In: one value without padding. Out: its flaws. Knows nothing of time zones and of which date it is.

use super::ascii::trim;
use super::flaw::{Flaw, Flaws};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Date,
    Time,
    DateTime,
}

/// A value, in a query also a range.
pub(super) fn moment(kind: Kind, value: &[u8], query: bool) -> Flaws {
    let text = trim(value);
    let mut flaws = Flaws::default();
    if text.len() < value.len() {
        flaws.add(Flaw::LeadingSpace);
    }
    let Some(flaw) = single(kind, text) else {
        return flaws;
    };
    if !query {
        flaws.add(flaw);
        return flaws;
    }
    if text == b"-" {
        flaws.add(Flaw::OpenRange);
        return flaws;
    }
    let range = range(kind, text).unwrap_or(Some(flaw));
    if let Some(flaw) = range {
        flaws.add(flaw);
    }
    flaws
}

/// The flaw of the best reading as a range, `None` if there is no reading. The hyphen is also the sign of an offset.
fn range(kind: Kind, text: &[u8]) -> Option<Option<Flaw>> {
    let mut best: Option<Flaw> = None;
    for (at, byte) in text.iter().enumerate() {
        let (from, to) = (text.get(..at)?, text.get(at.saturating_add(1)..)?);
        // A bound on each side, of which one can be missing.
        if *byte != b'-' || (from.is_empty() && to.is_empty()) {
            continue;
        }
        let bound = |text: &[u8]| match trim(text) {
            [] => None,
            text => single(kind, text),
        };
        // Of the flaws the gravest, which comes first; of the readings the one whose flaw is the slightest.
        let gravest = [bound(from), bound(to)].into_iter().flatten();
        let Some(flaw) = gravest.min_by_key(|flaw| flaw.bit()) else {
            return Some(None);
        };
        let slighter = |best: &Flaw| best.bit() >= flaw.bit();
        best = best.filter(slighter).or(Some(flaw));
    }
    best.map(Some)
}

fn single(kind: Kind, text: &[u8]) -> Option<Flaw> {
    match kind {
        Kind::Date => date(text),
        Kind::Time => time(text),
        Kind::DateTime => date_time(text),
    }
}

/// YYYYMMDD.
fn date(text: &[u8]) -> Option<Flaw> {
    let (year, month, day, form) = match *text {
        [a, b, c, d, e, f, g, h] => ([a, b, c, d], [e, f], [g, h], None),
        [a, b, c, d, b'.', e, f, b'.', g, h] => ([a, b, c, d], [e, f], [g, h], Some(Flaw::OldDate)),
        // As much of it as is known.
        [a, b, c, d] => return partial([a, b, c, d], *b"01"),
        [a, b, c, d, e, f] => return partial([a, b, c, d], [e, f]),
        _ => return Some(Flaw::NotDate),
    };
    let (Some(year), Some(month), Some(day)) = (four(year), two(month), two(day)) else {
        return Some(Flaw::NotDate);
    };
    // What is not known is often written as 0.
    if day == 0 && month <= 12 {
        return Some(Flaw::UnsetDate);
    }
    if day == 0 || day > days(year, month) {
        return Some(Flaw::ImpossibleDate);
    }
    form
}

/// YYYY or YYYYMM, which a DA cannot be.
fn partial(year: [u8; 4], month: [u8; 2]) -> Option<Flaw> {
    let right = four(year).is_some() && two(month).is_some_and(|month| (1..=12).contains(&month));
    Some(if right {
        Flaw::UnsetDate
    } else {
        Flaw::NotDate
    })
}

/// HH, HHMM, HHMMSS or HHMMSS.F to HHMMSS.FFFFFF.
fn time(text: &[u8]) -> Option<Flaw> {
    let (parts, fraction, form) = match *text {
        [a, b] => ([Some([a, b]), None, None], None, None),
        [a, b, c, d] => ([Some([a, b]), Some([c, d]), None], None, None),
        [a, b, b':', c, d] => {
            let parts = [Some([a, b]), Some([c, d]), None];
            (parts, None, Some(Flaw::OldTime))
        }
        [a, b, b':', c, d, b':', e, f, ref rest @ ..] => {
            let parts = [Some([a, b]), Some([c, d]), Some([e, f])];
            (parts, Some(rest), Some(Flaw::OldTime))
        }
        [a, b, c, d, e, f, ref rest @ ..] => {
            let parts = [Some([a, b]), Some([c, d]), Some([e, f])];
            (parts, Some(rest), None)
        }
        _ => return Some(Flaw::NotTime),
    };
    let form = match fraction.map_or(Some(0), digits) {
        None => return Some(Flaw::NotTime),
        Some(0..=6) => form,
        Some(_) => form.or(Some(Flaw::TooLong)),
    };
    let is_zero = |part: Option<[u8; 2]>| part.is_none_or(|part| part == *b"00");
    let none = fraction.is_none_or(|rest| rest.iter().all(|b| matches!(b, b'.' | b'0')));
    if let [Some([b'2', b'4']), minutes, seconds] = parts
        && is_zero(minutes)
        && is_zero(seconds)
        && none
    {
        return Some(Flaw::Midnight);
    }
    // The second 60 is a leap second.
    for (part, most) in parts.into_iter().flatten().zip([23, 59, 60]) {
        match two(part) {
            None => return Some(Flaw::NotTime),
            Some(number) if number > most => return Some(Flaw::ImpossibleTime),
            Some(_) => {}
        }
    }
    form
}

/// A date and time of any precision from the year on, with the offset from UTC.
fn date_time(text: &[u8]) -> Option<Flaw> {
    let (text, offset) = match *text {
        [ref head @ .., sign @ (b'+' | b'-'), a, b, c, d] => (head, Some((sign, [a, b], [c, d]))),
        _ => (text, None),
    };
    if let Some((sign, hours, minutes)) = offset {
        let (Some(hours), Some(minutes)) = (two(hours), two(minutes)) else {
            return Some(Flaw::NotDateTime);
        };
        let most = if sign == b'-' { 12 } else { 14 };
        if minutes > 59 || hours > most || (hours == most && minutes > 0) {
            return Some(Flaw::ImpossibleTime);
        }
    }
    let flaw = match *text {
        [a, b, c, d] => four([a, b, c, d]).is_none().then_some(Flaw::NotDate),
        [a, b, c, d, e, f] => date(&[a, b, c, d, e, f, b'0', b'1']),
        [a, b, c, d, e, f, g, h] => date(&[a, b, c, d, e, f, g, h]),
        [a, b, c, d, e, f, g, h, ref rest @ ..] => {
            date(&[a, b, c, d, e, f, g, h]).or_else(|| time(rest))
        }
        _ => Some(Flaw::NotDate),
    };
    let flaw = flaw?;
    let told = matches!(
        flaw,
        Flaw::ImpossibleDate
            | Flaw::ImpossibleTime
            | Flaw::TooLong
            | Flaw::UnsetDate
            | Flaw::Midnight
    );
    Some(if told { flaw } else { Flaw::NotDateTime })
}

/// How many digits a fraction has, if it is one.
fn digits(fraction: &[u8]) -> Option<usize> {
    match fraction {
        [] => Some(0),
        [b'.', digits @ ..] if !digits.is_empty() => {
            let all = digits.iter().all(u8::is_ascii_digit);
            all.then_some(digits.len())
        }
        _ => None,
    }
}

fn days(year: u16, month: u16) -> u16 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 0,
    }
}

fn two([a, b]: [u8; 2]) -> Option<u16> {
    let (a, b) = (a.wrapping_sub(b'0'), b.wrapping_sub(b'0'));
    (a < 10 && b < 10).then(|| u16::from(a).saturating_mul(10).saturating_add(u16::from(b)))
}

fn four([a, b, c, d]: [u8; 4]) -> Option<u16> {
    let (high, low) = (two([a, b])?, two([c, d])?);
    Some(high.saturating_mul(100).saturating_add(low))
}

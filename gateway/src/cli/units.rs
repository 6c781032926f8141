//! Quantities for people.

use std::time::Duration;

/// `17 B`, `1.2 KiB`, `3.4 GiB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut scale = 0;
    while scale + 1 < UNITS.len() && count >> (10 * (scale + 2)) > 0 {
        scale += 1;
    }
    let shift = 10 * (scale + 1);
    let whole = count >> shift;
    let rest = count & ((1 << shift) - 1);
    let tenth = (u128::from(rest) * 10) >> shift;
    format!("{whole}.{tenth} {}", UNITS.get(scale).unwrap_or(&"EiB"))
}

/// `10,000`.
pub(super) fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 device`, `2 devices`.
pub(super) fn counted(number: usize, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", count(number))
}

/// `45 s`, `3 min`, `3 h 12 min`, `9 d 4 h`.
pub(super) fn period(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |large: u64, unit: &str, small: u64, part: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {part}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min"),
        3600..86_400 => pair(hours, "h", minutes % 60, "min"),
        _ => pair(days, "d", hours % 24, "h"),
    }
}

/// `3 min ago`, `now`, or `never`.
pub(super) fn ago(seconds: Option<u64>) -> String {
    match seconds {
        None => "never".to_owned(),
        Some(0) => "now".to_owned(),
        Some(seconds) => format!("{} ago", period(seconds)),
    }
}

/// Reads `90s`, `10m`, `2h`, and bare seconds.
pub(super) fn parse_period(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match text.get(digits.len()..).unwrap_or_default() {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err("use s, m or h, as in 90s, 10m or 1h".to_owned()),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "begin with a number, as in 10m".to_owned())?;
    match number.checked_mul(scale) {
        Some(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("from 1s to 24h".to_owned()),
    }
}

/// `90s`, `10m`, `24h`, `90d`; `0` is none at all.
pub(super) fn parse_long_period(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let Some(days) = text.strip_suffix('d') else {
        return parse_period(text).map_err(|why| why.replace("s, m or h", "s, m, h or d"));
    };
    match days.parse::<u32>() {
        Ok(days @ 1..=3650) => Ok(Duration::from_hours(u64::from(days) * 24)),
        Ok(_) => Err("from 1d to 3650d".to_owned()),
        Err(_) => Err("begin with a number, as in 90d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        let all = [0, 1023, 1024, 1300, (4 << 20) - 1, 4 << 30, u64::MAX].map(bytes);
        assert_eq!(
            all,
            [
                "0 B", "1023 B", "1.0 KiB", "1.2 KiB", "3.9 MiB", "4.0 GiB", "15.9 EiB"
            ]
        );
        assert_eq!(
            [0u64, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0, 59, 60, 3600, 11_520, 86_400, 795_600].map(period),
            [
                "0 s",
                "59 s",
                "1 min",
                "1 h",
                "3 h 12 min",
                "1 d",
                "9 d 5 h"
            ]
        );
        assert_eq!(ago(None), "never");
        assert_eq!(counted(1, "rule"), "1 rule");
    }

    #[test]
    fn periods_are_read() {
        assert_eq!(parse_period("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_period("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_long_period("30d"), Ok(Duration::from_hours(720)));
        for bad in ["", "d", "0d", "3651d", "30w"] {
            assert!(parse_long_period(bad).is_err(), "{bad}");
        }
        for bad in ["", "m", "10x", "0s", "25h", "-1s", "99999999999999999999h"] {
            assert!(parse_period(bad).is_err(), "{bad}");
        }
    }
}

//! Quantities with units: sizes, durations, rates.

use std::fmt;
use std::time::Duration;

use toml::de::DeValue;

use crate::field::basic::integer;
use crate::problem::Fault;
use crate::section::{Field, Text, wrong_type};

/// Bytes, written `"4MiB"` or as a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bytes(pub(crate) u64);

/// A duration, written `"30s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Period(pub(crate) Duration);

/// So many in a period, written `"2/s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) u32, pub(crate) Duration);

/// Seconds between keepalives, written `25` or `"25s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keepalive(pub(crate) u16);

impl Field for Bytes {
    const WHAT: &'static str = "a size like \"4MiB\"";
    fn read(value: &DeValue<'_>) -> Result<Self, Fault> {
        if let Some(number) = integer::<u64>(value) {
            return number.map(Self);
        }
        let text = value.as_str().ok_or_else(|| wrong_type::<Self>(value))?;
        let (number, unit) = split(text).ok_or_else(not::<Self>)?;
        let Some((_, factor)) = SIZES.iter().find(|(name, _)| *name == unit) else {
            let meant = SIZES.iter().find(|(name, _)| is_same_size(name, unit));
            return Err(not::<Self>()
                .help("the units are B, KiB, MiB, GiB and TiB")
                .maybe(meant.map(|(name, _)| format!("did you mean `{number}{name}`?"))));
        };
        let bytes = number.checked_mul(*factor);
        bytes
            .map(Self)
            .ok_or_else(|| Fault::new("the size is out of range"))
    }
}

impl Text for Period {
    const WHAT: &'static str = "a duration like \"30s\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let (number, unit) = split(text).ok_or_else(not::<Self>)?;
        let Some((_, millis)) = PERIODS.iter().find(|(name, _)| *name == unit) else {
            return Err(not::<Self>()
                .help("the units are ms, s, min, h and d")
                .maybe((unit == "m").then(|| format!("did you mean `{number}min`?"))));
        };
        let millis = number.checked_mul(*millis);
        millis
            .map(|millis| Self(Duration::from_millis(millis)))
            .ok_or_else(|| Fault::new("the duration is out of range"))
    }
}

impl Text for Rate {
    const WHAT: &'static str = "a rate like \"2/s\" or \"100/min\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let (number, unit) = text.split_once('/').ok_or_else(not::<Self>)?;
        let number: u32 = number.trim().parse().map_err(|_| not::<Self>())?;
        let seconds = match unit.trim() {
            "s" => 1,
            "min" => 60,
            "h" => 3600,
            _ => return Err(not::<Self>().help("the units are /s, /min and /h")),
        };
        if number == 0 {
            return Err(Fault::new("a rate of 0 allows nothing").help("leave the rule out instead"));
        }
        Ok(Self(number, Duration::from_secs(seconds)))
    }
}

impl Field for Keepalive {
    const WHAT: &'static str = "seconds like 25";
    fn read(value: &DeValue<'_>) -> Result<Self, Fault> {
        let whole = |Period(period): Period| {
            (period.subsec_millis() == 0).then(|| u16::try_from(period.as_secs()).ok())?
        };
        match (integer::<u16>(value), value.as_str()) {
            (Some(seconds), _) => seconds.map(Self),
            (None, Some(text)) => whole(Period::parse(text)?)
                .map(Self)
                .ok_or_else(|| Fault::new("must be whole seconds, at most 65535")),
            (None, None) => Err(wrong_type::<Self>(value)),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        largest(self.0, SIZES, f)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        largest(millis, PERIODS, f)
    }
}

/// Writes a number in the largest unit that divides it.
fn largest(number: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let unit = units
        .iter()
        .rev()
        .find(|(_, factor)| number != 0 && number.is_multiple_of(*factor));
    match unit {
        Some((name, factor)) => write!(f, "{}{name}", number.checked_div(*factor).unwrap_or(0)),
        None => write!(f, "{number}"),
    }
}

/// `4MiB` is 4 and `MiB`.
fn split(text: &str) -> Option<(u64, &str)> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(unit)?;
    Some((number.parse().ok()?, unit.trim()))
}

/// Whether `unit` is a sloppy way to write the size `name`: `m`, `MB`, `mib`.
fn is_same_size(name: &str, unit: &str) -> bool {
    let letter = |text: &str| text.chars().next().map(|c| c.to_ascii_lowercase());
    unit.len() <= 3 && name != "B" && letter(name) == letter(unit)
}

fn not<T: Field>() -> Fault {
    Fault::new(format!("not {}", T::WHAT))
}

const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

const PERIODS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

#[cfg(test)]
mod tests {
    use super::*;
    use toml::de::DeValue;

    fn read<T: Field>(toml: &str) -> Result<T, String> {
        let value = DeValue::parse(toml).unwrap();
        T::read(value.get_ref()).map_err(|fault| fault.help.unwrap_or(fault.message))
    }

    #[test]
    fn reads_sizes() {
        assert_eq!(read("\"4MiB\""), Ok(Bytes(4 << 20)));
        assert_eq!(read("\"8 GiB\""), Ok(Bytes(8 << 30)));
        assert_eq!(read("4096"), Ok(Bytes(4096)));
        assert_eq!(Bytes(4 << 20).to_string(), "4MiB");
        assert_eq!(Bytes(1025).to_string(), "1025B");
        let meant = Err("did you mean `4MiB`?".to_owned());
        assert_eq!(read::<Bytes>("\"4MB\""), meant);
        assert_eq!(read::<Bytes>("\"4m\""), meant);
        for bad in ["\"99999999999TiB\"", "-1", "\"MiB\"", "\"4.5MiB\"", "true"] {
            assert!(read::<Bytes>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_durations_and_rates() {
        let seconds = |s| Ok(Period(Duration::from_secs(s)));
        assert_eq!(read("\"30s\""), seconds(30));
        assert_eq!(read("\"5min\""), seconds(300));
        assert_eq!(read("\"1h\""), seconds(3600));
        assert_eq!(Period(Duration::from_secs(90)).to_string(), "90s");
        assert_eq!(
            read::<Period>("\"5m\""),
            Err("did you mean `5min`?".to_owned())
        );
        assert_eq!(read("\"100/min\""), Ok(Rate(100, Duration::from_secs(60))));
        for bad in ["\"0/s\"", "\"2\"", "\"2/week\"", "\"-2/s\"", "2"] {
            assert!(read::<Rate>(bad).is_err(), "{bad}");
        }
        assert_eq!(read("25"), Ok(Keepalive(25)));
        assert_eq!(read("\"25s\""), Ok(Keepalive(25)));
        assert!(read::<Keepalive>("\"500ms\"").is_err());
        assert!(read::<Keepalive>("70000").is_err());
    }
}

//! Decimal numbers as text, compared exactly: no rounding decides whether a dose is too high.
//!
//! In: a sign, digits and a dot. Out: an order. Knows nothing of exponents or of what the number means.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// A decimal number as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Decimal(String);

/// A text that is no decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal number")]
pub struct NotDecimal;

impl TryFrom<String> for Decimal {
    type Error = NotDecimal;
    fn try_from(text: String) -> Result<Self, NotDecimal> {
        match Number::parse(text.as_bytes()) {
            Some(_) => Ok(Self(text)),
            None => Err(NotDecimal),
        }
    }
}

impl From<Decimal> for String {
    fn from(decimal: Decimal) -> Self {
        decimal.0
    }
}

impl Decimal {
    /// How a number compares to it.
    pub(super) fn compare(&self, number: &Number<'_>) -> Ordering {
        match Number::parse(self.0.as_bytes()) {
            Some(own) => number.compare(&own),
            None => Ordering::Equal,
        }
    }
}

/// The parts of a decimal number that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number<'a> {
    /// Zero has no sign.
    negative: bool,
    /// Without leading zeros.
    whole: &'a [u8],
    /// Without trailing zeros.
    fraction: &'a [u8],
}

impl<'a> Number<'a> {
    /// Reads a number; blanks around it mean nothing.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let (negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            all => (false, all),
        };
        let mut halves = unsigned.splitn(2, |b| *b == b'.');
        let whole = halves.next().unwrap_or_default();
        let fraction = halves.next().unwrap_or_default();
        let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
        if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
            return None;
        }
        let significant = |b: &u8| *b != b'0';
        let leading = whole.iter().position(significant).unwrap_or(whole.len());
        let kept = fraction.iter().rposition(significant);
        let kept = kept.map_or(0, |last| last.saturating_add(1));
        let whole = whole.get(leading..).unwrap_or_default();
        let fraction = fraction.get(..kept).unwrap_or_default();
        Some(Self {
            negative: negative && !(whole.is_empty() && fraction.is_empty()),
            whole,
            fraction,
        })
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => self.size(other),
            (true, true) => other.size(self),
        }
    }

    /// Compares without the signs.
    fn size(&self, other: &Self) -> Ordering {
        let longer = self.whole.len().cmp(&other.whole.len());
        longer
            .then_with(|| self.whole.cmp(other.whole))
            .then_with(|| self.fraction.cmp(other.fraction))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_what_the_standard_says() {
        for good in ["0", "-0", "+1", "1.", ".5", "-0.50", "007", " 7 "] {
            assert!(Number::parse(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [
            "", " ", "-", ".", "+.", "1.2.3", "1e3", "--1", "1,5", "\"\"", "1 2", "\u{661}",
        ] {
            assert!(Number::parse(bad.as_bytes()).is_none(), "{bad}");
            assert_eq!(Decimal::try_from(bad.to_owned()), Err(NotDecimal));
        }
    }

    proptest! {
        #[test]
        fn order_is_that_of_integers(
            a in -3_000_000_i64..3_000_000, b in -3_000_000_i64..3_000_000,
            zeros in 0_usize..3, tail in 0_usize..3, plus in any::<bool>(),
        ) {
            let text = |n: i64, zeros: usize, tail: usize| {
                let sign = if n < 0 { "-" } else if plus { "+" } else { "" };
                let (whole, fraction) = (n.abs() / 1000, n.abs() % 1000);
                let text = format!("{sign}{}{whole}.{fraction:03}{}", "0".repeat(zeros), "0".repeat(tail));
                if fraction == 0 && tail == 0 { text.replace(".000", "") } else { text }
            };
            let bound = Decimal::try_from(text(b, tail, zeros)).unwrap();
            let value = text(a, zeros, tail);
            prop_assert_eq!(bound.compare(&Number::parse(value.as_bytes()).unwrap()), a.cmp(&b));
        }
    }

    #[test]
    fn no_number_is_too_long() {
        let long = format!("{}.{}1", "9".repeat(10_000), "0".repeat(10_000));
        let bound = Decimal::try_from("9".repeat(10_000)).unwrap();
        assert_eq!(
            bound.compare(&Number::parse(long.as_bytes()).unwrap()),
            Ordering::Greater
        );
    }
}

//! What the components of one value must have to do with each other.
//!
//! In: the bytes of a value of a composite data type. Out: the component that is wrong, what is wrong, how much it weighs.
//! Knows nothing of segments. Whether each component is of its own type, the walk judges.

use super::super::finding::Weight;
use super::super::timestamp;
use super::datatype::bit;
use super::walk::NULL;

/// A rule over the components of a data type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Two components that stand together or not at all: an identifier and its type.
    Both(usize, usize),
    /// A check digit, and the scheme that it follows.
    CheckDigit,
    /// Numbers of which the first is not greater.
    Numbers,
    /// Times of which the first is not later.
    Times,
    /// An amount of a currency.
    Money,
    /// A comparator, a number, a separator and a number.
    Structured,
}

/// The component, how much it weighs, and what is wrong.
pub(super) type Complaint = (usize, Weight, &'static str);

impl Rule {
    /// The rule of a data type.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            //= HL7 v2.5.1 2.A.33
            "HD" => Self::Both(2, 3),
            //= HL7 v2.5.1 2.A.28
            "EI" => Self::Both(3, 4),
            //= HL7 v2.5.1 2.A.11
            "CNN" => Self::Both(10, 11),
            //= HL7 v2.5.1 2.A.14
            "CX" | "CK" => Self::CheckDigit,
            //= HL7 v2.5.1 2.A.48
            "NR" => Self::Numbers,
            //= HL7 v2.5.1 2.A.20
            "DR" => Self::Times,
            //= HL7 v2.5.1 2.A.42
            "MO" => Self::Money,
            //= HL7 v2.5.1 2.A.72
            "SN" => Self::Structured,
            _ => return None,
        })
    }

    /// Whether nothing can be wrong with a value of which these components are there, the first in bit 0.
    pub(super) fn allows(self, valued: u64) -> bool {
        let has = |number| valued & bit(number) != 0;
        match self {
            Self::Both(identifier, kind) => !has(identifier) && !has(kind),
            Self::CheckDigit | Self::Numbers | Self::Times | Self::Money => !has(2),
            Self::Structured => false,
        }
    }

    /// What is wrong with a value whose components a separator divides, the first thing only.
    pub(super) fn judge(self, value: &[u8], separator: u8) -> Option<Complaint> {
        // Divided once, however many of them are asked for.
        let mut parts = [&[][..]; MOST];
        for (slot, part) in parts.iter_mut().zip(value.split(|b| *b == separator)) {
            *slot = part;
        }
        let part = |number: usize| {
            let part = parts.get(number.saturating_sub(1)).copied();
            part.filter(|part| *part != NULL).unwrap_or_default()
        };
        let has = |number| !part(number).is_empty();
        match self {
            Self::Both(identifier, kind) => {
                let alone = match (has(identifier), has(kind)) {
                    (true, false) => kind,
                    (false, true) => identifier,
                    (true, true) | (false, false) => return None,
                };
                Some((alone, Weight::Strict, "is required with what it belongs to"))
            }
            Self::CheckDigit => {
                let detail = "is required with a check digit";
                (has(2) && !has(3)).then_some((3, Weight::Notice, detail))
            }
            Self::Numbers => descends(part(1), part(2)).then_some((2, Weight::Strict, BACKWARDS)),
            Self::Times => {
                timestamp::is_after(part(1), part(2)).then_some((2, Weight::Strict, BACKWARDS))
            }
            Self::Money => {
                let currency = part(2);
                let right = currency.len() == 3 && currency.iter().all(u8::is_ascii_uppercase);
                let detail = "is not a currency code of three letters";
                (has(2) && !right).then_some((2, Weight::Strict, detail))
            }
            Self::Structured => structured(part(1), part(2), part(3), part(4)),
        }
    }
}

fn structured(
    comparator: &[u8],
    first: &[u8],
    separator: &[u8],
    second: &[u8],
) -> Option<Complaint> {
    let wrong = |component, detail| Some((component, Weight::Strict, detail));
    if !matches!(comparator, b"" | b">" | b"<" | b">=" | b"<=" | b"=" | b"<>") {
        return wrong(1, "is not a comparator");
    }
    match separator {
        b"" if !first.is_empty() && !second.is_empty() => {
            wrong(3, "is required between two numbers")
        }
        b"-" if descends(first, second) => wrong(4, BACKWARDS),
        b"" | b"-" | b"+" | b"/" | b"." | b":" => None,
        _ => wrong(3, "is not a separator of numbers"),
    }
}

/// Whether both are numbers, and the first is greater.
fn descends(first: &[u8], second: &[u8]) -> bool {
    let number = |text: &[u8]| -> Option<f64> {
        let plain = |b: &u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.');
        let text = Some(text).filter(|text| text.iter().all(plain))?;
        std::str::from_utf8(text).ok()?.parse().ok()
    };
    matches!((number(first), number(second)), (Some(a), Some(b)) if a > b)
}

/// Whether a data type goes on with as many components of the kind of its last as there are values: arrays of numbers.
//= HL7 v2.5.1 2.A.39
pub(super) fn is_array(name: &str) -> bool {
    matches!(name, "NA" | "MA")
}

/// The highest component of which a rule speaks.
const MOST: usize = 11;

const BACKWARDS: &str = "is less than where its range begins";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_a_twin() {
        for (data_type, good, bad, component, weight) in [
            ("HD", "A^1.2^ISO", "A^1.2", 3, Weight::Strict),
            ("HD", "A", "A^^ISO", 2, Weight::Strict),
            ("HD", "A^\"\"^\"\"", "A^\"\"^ISO", 2, Weight::Strict),
            ("EI", "1^A^1.2^ISO", "1^A^1.2", 4, Weight::Strict),
            ("EI", "1^A", "1^^^ISO", 3, Weight::Strict),
            (
                "CNN",
                "1^^^^^^^^A^1.2^ISO",
                "1^^^^^^^^A^1.2",
                11,
                Weight::Strict,
            ),
            ("CX", "1^5^M10", "1^5", 3, Weight::Notice),
            ("CX", "1^^^A^MR", "1^5^^A^MR", 3, Weight::Notice),
            ("NR", "-1^2", "2^-1", 2, Weight::Strict),
            ("NR", "1.0^1", "1.1^1", 2, Weight::Strict),
            ("NR", "1e^0", "1^0", 2, Weight::Strict),
            (
                "DR",
                "20260101^20260101",
                "20260102^20260101",
                2,
                Weight::Strict,
            ),
            (
                "DR",
                "20260115^202601",
                "20260201^202601",
                2,
                Weight::Strict,
            ),
            (
                "DR",
                "20260101120000+0100^20260101110000+0000",
                "20260101120001+0000^20260101120000+0000",
                2,
                Weight::Strict,
            ),
            ("MO", "10^EUR", "10^EURO", 2, Weight::Strict),
            ("MO", "10", "10^eur", 2, Weight::Strict),
            ("SN", ">^100", "=>^100", 1, Weight::Strict),
            ("SN", "^1^:^128", "^1^to^128", 3, Weight::Strict),
            ("SN", "^2^+", "^2^^3", 3, Weight::Strict),
            ("SN", "^100^-^200", "^200^-^100", 4, Weight::Strict),
            ("SN", "^2^/^1", "^2^-^1", 4, Weight::Strict),
        ] {
            let rule = Rule::of(data_type).unwrap();
            let judge = |value: &str| rule.judge(value.as_bytes(), b'^');
            assert_eq!(judge(good), None, "{data_type} {good}");
            let said = judge(bad).map(|(component, weight, _)| (component, weight));
            assert_eq!(said, Some((component, weight)), "{data_type} {bad}");
        }
        assert_eq!(Rule::of("ST"), None);
    }
}

//! Versions of the image, and which of two is newer.
//!
//! The order is that of the UAPI group's version format, of which this is a part: numbers with dots, compared one by one.
//! Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `1`, `0.9.2`, `2026.11.1`: one to four numbers of at most nine digits, without leading zeros.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(Vec<u32>);

/// It is not a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a version is one to four numbers with dots between them")]
pub struct NotAVersion;

impl FromStr for Version {
    type Err = NotAVersion;
    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let number = |part: &str| {
            let digits = (1..=MOST_DIGITS).contains(&part.len())
                && part.bytes().all(|byte| byte.is_ascii_digit());
            let canonical = part == "0" || !part.starts_with('0');
            (digits && canonical).then(|| part.parse().ok()).flatten()
        };
        let numbers: Option<Vec<u32>> = text.split('.').map(number).collect();
        numbers
            .filter(|numbers| numbers.len() <= MOST_NUMBERS)
            .map(Self)
            .ok_or(NotAVersion)
    }
}

impl TryFrom<String> for Version {
    type Error = NotAVersion;
    fn try_from(text: String) -> Result<Self, NotAVersion> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, number) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            write!(f, "{number}")?;
        }
        Ok(())
    }
}

//= C7
const MOST_NUMBERS: usize = 4;
//= C7
const MOST_DIGITS: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_is_greater() {
        let ordered = ["0.9", "0.10", "1", "1.0", "1.0.1", "1.2", "2", "2026.11.1"];
        let versions = ordered.map(|text| text.parse::<Version>().unwrap());
        assert!(versions.is_sorted_by(|a, b| a < b));
        assert_eq!(versions.map(|version| version.to_string()), ordered);
    }

    #[test]
    fn other_texts_are_no_versions() {
        for text in [
            "",
            ".",
            "1.",
            ".1",
            "01",
            "1.00",
            "v1",
            "1-1",
            "1~rc1",
            "1+2",
            "1 ",
            "+1",
            "1.2.3.4.5",
            "1234567890",
            "../1",
            "１",
        ] {
            assert_eq!(text.parse::<Version>(), Err(NotAVersion), "{text}");
        }
    }
}
